/**
 * Both lose power: at the same instant, under load, once or several times. Whatever a completed flush covers must be there
 * afterwards, on both with protocol C, on the former Primary with A and B; the rest may be gone, in any order.
 */

import type { Fault, Scenario } from '../sim/types.js';
import { drawSchedule } from '../sim/world/swarm.js';
import { ALICE, BOB, SECOND_US, afterStorm, at, pairSetup, usableSectors } from './pair.js';
import { knobs, resolve } from './parameters.js';
import { drawMetadataDeath } from './storm.js';

const parameters = [
  knobs.protocol, knobs.fencing, knobs.volumes, knobs.alExtents, knobs.alUpdates, knobs.metaDisk, knobs.size, knobs.queueDepth, knobs.discards, knobs.protocolMax,
  knobs.writes, knobs.durationS,
  knobs.cramHmacAlg, knobs.dataIntegrityAlg, knobs.csumsAlg, knobs.csumsAfterCrashOnly,
];

export const bothLosePower: Scenario = {
  name: 'both-lose-power',
  summary: 'both nodes lose power at the same instant under load, once or several times',
  parameters,
  sometimes: ['both lost power', 'power loss tore a sector', 'crash between two metadata writes'],
  setup(given, random) {
    const resolved = resolve(parameters, given, random);
    const setup = pairSetup(resolved, random);
    const { durationUs } = setup;
    const outages = random.fork('outages');
    const schedule: Fault[] = [];
    const count = outages.integer(1, 3);
    for (let number = 1; number <= count; number++) {
      const [fromUs, untilUs] = [number - 1, number].map((part) => Math.floor((durationUs * part) / count));
      const atUs = outages.integer(fromUs! + SECOND_US, untilUs! - SECOND_US);
      const restartAfterUs = outages.integer(SECOND_US / 10, 5 * SECOND_US);
      const tear = (): number => outages.integer(0, 0x7fffffff);
      // Mains fail for both at once, or a moment apart, so that the second one still acts on the first one's silence.
      if (outages.chance(2, 3)) {
        schedule.push(at(`outage-${number}`, atUs, { do: 'power-loss', hosts: [ALICE, BOB], restartAfterUs, tear: tear() }));
      } else {
        const [first, second] = outages.chance(1, 2) ? [ALICE, BOB] : [BOB, ALICE];
        const apartUs = outages.pick([100, 5000, 700_000]);
        const firstBackUs = restartAfterUs + apartUs;
        schedule.push(at(`outage-${number}`, atUs, { do: 'power-loss', hosts: [first], restartAfterUs: firstBackUs, tear: tear() }));
        schedule.push(at(`outage-${number}-second`, atUs + apartUs, { do: 'power-loss', hosts: [second], restartAfterUs, tear: tear() }));
      }
    }
    const around = drawSchedule(random.fork('around'), {
      hosts: [ALICE, BOB],
      durationUs,
      kinds: ['slow-disk', 'slow-link', 'stall'],
      meanGapUs: 12 * SECOND_US,
      longestUs: 5 * SECOND_US,
      longestRestartUs: 5 * SECOND_US,
      firstSector: 0,
      sectors: usableSectors(setup.hosts),
      commands: [],
      oneWayCuts: false,
      togetherLosePower: true,
      atEventOneIn: 0,
    });
    setup.schedule = [...schedule, ...drawMetadataDeath(random.fork('metadata'), [[ALICE, BOB]]), ...around];
    setup.afterStorm = afterStorm(setup.schedule, Number(resolved['volumes']));
    return setup;
  },
};
