/**
 * Partition: the link between the nodes is cut, both ways or one, in whole or one stream of it, again and again, while an
 * application writes. Nobody dies, so with fencing nobody else may take over; without it both may be Primary for a while.
 */

import type { Scenario } from '../sim/types.js';
import { drawSchedule } from '../sim/world/swarm.js';
import { ALICE, BOB, SECOND_US, afterStorm, commands, pairSetup, usableSectors } from './pair.js';
import { knobs, resolve } from './parameters.js';

const parameters = [
  knobs.protocol, knobs.fencing, knobs.volumes, knobs.alExtents, knobs.metaDisk, knobs.queueDepth, knobs.discards, knobs.twoPrimaries, knobs.readBalancing, knobs.protocolMax, knobs.failover,
  knobs.afterSb0Pri, knobs.afterSb1Pri, knobs.afterSb2Pri, knobs.writes, knobs.durationS,
  knobs.cramHmacAlg, knobs.dataIntegrityAlg, knobs.csumsAlg, knobs.csumsAfterCrashOnly,
];

export const partition: Scenario = {
  name: 'partition',
  summary: 'the link is cut, both ways, one way or one stream of it, while an application writes',
  parameters,
  sometimes: ['half-open connection', 'resync interrupted', 'split brain detected'],
  setup(given, random) {
    const resolved = resolve(parameters, given, random);
    const setup = pairSetup(resolved, random);
    const swarm = random.fork('swarm');
    const operators = commands(resolved);
    const verbs = ['primary', 'secondary', 'connect', 'disconnect'];
    setup.schedule = drawSchedule(swarm, {
      hosts: [ALICE, BOB],
      durationUs: setup.durationUs,
      kinds: swarm.chance(1, 3) ? ['cut', 'stall', 'command'] : ['cut', 'cut', 'stall', 'reset', 'slow-link'],
      meanGapUs: swarm.pick([4, 8, 15]) * SECOND_US,
      longestUs: 30 * SECOND_US,
      longestRestartUs: SECOND_US,
      firstSector: 0,
      sectors: usableSectors(setup.hosts),
      commands: [...operators.alice, ...operators.bob].filter(({ command }) => verbs.includes(command.verb)),
      oneWayCuts: true,
      togetherLosePower: false,
      atEventOneIn: 3,
    });
    setup.afterStorm = afterStorm(setup.schedule, Number(resolved['volumes']));
    return setup;
  },
};
