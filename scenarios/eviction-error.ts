/**
 * Eviction errors: alice works alone, with more extents than her active set has slots, and from some moment on no bitmap page, or no block
 * of the activity log, can be written. A page that cannot be written when its extent leaves the active set means that the extent must not leave it:
 * the disk is given up. Going on would forget what bob lacks (bug B029).
 */

import { layoutOf } from '../src/metadata/layout.js';
import type { Scenario } from '../sim/types.js';
import { ALICE, BOB, SECOND_US, afterStorm, at, pairSetup } from './pair.js';
import { knobs, resolve } from './parameters.js';

const parameters = [knobs.protocol, knobs.metaDisk, knobs.queueDepth, knobs.writes, knobs.durationS];

/** More than the 67 extents of 4 MiB that the smallest active set holds. */
const DATA_SECTORS = 400 * 2048 + 7;

export const evictionError: Scenario = {
  name: 'eviction-error',
  summary: 'alice works alone, and bitmap pages, or the activity log, cannot be written when extents leave the active set',
  parameters,
  sometimes: [],
  setup(given, random) {
    const resolved = { ...resolve(parameters, given, random), 'al-extents': 67 };
    const setup = pairSetup(resolved, random, {
      dataSectors: DATA_SECTORS,
      workload: { pattern: 'random' },
      disk: { cPlanAhead: 0, resyncRate: 400_000, cMinRate: 0 },
    });
    const story = random.fork('story');
    const { durationUs } = setup;
    const { config, disks } = setup.hosts[0]!;
    const { metaDisk } = config.volumes[0]!;
    const { dataSectors, metaSectors } = disks[0]!;
    const layout = layoutOf(metaDisk, { dataSectors, metaSectors: metaSectors ?? dataSectors, shared: metaSectors === undefined });
    if (!layout.ok) throw new Error(layout.refusal.detail);
    // The ring of the activity log may fail as well: then no extent becomes active (bug B029).
    const where = random.fork('where').chance(1, 2)
      ? { firstSector: layout.value.bitmapSector, sectors: layout.value.bitmapSectors }
      : { firstSector: layout.value.alSector, sectors: layout.value.alBlocks * 8 };
    const aloneUs = story.integer(SECOND_US / 2, 3 * SECOND_US);
    const errorUs = aloneUs + story.integer(SECOND_US, Math.floor(durationUs / 3));
    const deathUs = errorUs + story.integer(SECOND_US, Math.floor(durationUs / 4));
    const restartAfterUs = story.integer(SECOND_US, Math.floor(durationUs / 4));
    setup.schedule = [
      at('bob-crashes', aloneUs, { do: 'crash', host: BOB }),
      at('metadata-fails', errorUs, {
        do: 'disk-error',
        host: ALICE,
        area: 'meta',
        operation: 'write',
        ...where,
        times: 1_000_000,
      }),
      story.chance(1, 2)
        ? at('alice-crashes', deathUs, { do: 'crash', host: ALICE, restartAfterUs })
        : at('alice-loses-power', deathUs, { do: 'power-loss', hosts: [ALICE], restartAfterUs, tear: story.integer(0, 0x7fffffff) }),
    ];
    setup.failover = { by: 'nobody' };
    setup.afterStorm = afterStorm(setup.schedule, 1);
    return setup;
  },
};
