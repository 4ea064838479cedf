/**
 * Partition: the link between the nodes is cut, both ways or one, in whole or one stream of it, again and again, while an
 * application writes. Nobody dies, so with fencing nobody else may take over; without it both may be Primary for a while.
 */

import type { Scenario } from '../sim/types.js';
import { afterStorm, commands, pairSetup } from './pair.js';
import { knobs, resolve } from './parameters.js';
import { drawStorm } from './storm.js';

const parameters = [
  knobs.protocol, knobs.fencing, knobs.volumes, knobs.alExtents, knobs.metaDisk, knobs.size, knobs.queueDepth, knobs.discards, knobs.twoPrimaries, knobs.readBalancing, knobs.protocolMax, knobs.failover,
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
    setup.schedule = drawStorm(setup, swarm, {
      kinds: swarm.chance(1, 3) ? ['cut', 'stall', 'command'] : ['cut', 'cut', 'stall', 'reset', 'slow-link'], gapsS: [4, 8, 15],
      longestS: 30, longestRestartS: 1, commands: [...operators.alice, ...operators.bob].filter(({ command }) => verbs.includes(command.verb)), oneWayCuts: true, togetherLosePower: false, atEventOneIn: 3,
    });
    setup.afterStorm = afterStorm(setup.schedule, Number(resolved['volumes']));
    return setup;
  },
};
