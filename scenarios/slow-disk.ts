/**
 * Slow disks: one or both disks become slow or hang for a while, clocks and links lag, and nobody dies. Everything is late and
 * in another order; nothing may be lost, and a peer that is merely slow must not be taken for broken by mistake.
 */

import type { Scenario } from '../sim/types.js';
import { drawSchedule } from '../sim/world/swarm.js';
import { ALICE, BOB, SECOND_US, afterStorm, pairSetup, usableSectors } from './pair.js';
import { knobs, resolve } from './parameters.js';

const parameters = [
  knobs.protocol, knobs.fencing, knobs.volumes, knobs.alExtents, knobs.metaDisk, knobs.size, knobs.queueDepth, knobs.protocolMax,
  knobs.writes, knobs.durationS,
];

export const slowDisk: Scenario = {
  name: 'slow-disk',
  summary: 'disks are slow or hang for a while, clocks and links lag; nobody dies',
  parameters,
  sometimes: ['resync interrupted'],
  setup(given, random) {
    const resolved = resolve(parameters, given, random);
    const setup = pairSetup(resolved, random);
    const swarm = random.fork('swarm');
    setup.schedule = drawSchedule(swarm, {
      hosts: [ALICE, BOB],
      durationUs: setup.durationUs,
      kinds: ['slow-disk', 'slow-disk', 'hang-disk', 'slow-clock', 'slow-link', 'stall'],
      meanGapUs: swarm.pick([3, 6, 12]) * SECOND_US,
      longestUs: 20 * SECOND_US,
      longestRestartUs: SECOND_US,
      firstSector: 0,
      sectors: usableSectors(setup.hosts),
      commands: [],
      oneWayCuts: false,
      togetherLosePower: false,
      atEventOneIn: 4,
    });
    setup.afterStorm = afterStorm(setup.schedule, Number(resolved['volumes']));
    return setup;
  },
};
