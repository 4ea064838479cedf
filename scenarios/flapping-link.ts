/**
 * Flapping link: the connection comes and goes many times in quick succession, at any step of the handshake as well as under
 * load. It must come back each time, and no write may fall between two connections.
 */

import type { Scenario } from '../sim/types.js';
import { afterStorm, commands, pairSetup } from './pair.js';
import { knobs, resolve } from './parameters.js';
import { drawStorm } from './storm.js';

const parameters = [
  knobs.protocol, knobs.fencing, knobs.volumes, knobs.alExtents, knobs.metaDisk, knobs.size, knobs.queueDepth, knobs.discards, knobs.twoPrimaries, knobs.readBalancing, knobs.protocolMax,
  knobs.writes, knobs.durationS,
  knobs.cramHmacAlg, knobs.dataIntegrityAlg, knobs.csumsAlg, knobs.csumsAfterCrashOnly, knobs.onCongestion, knobs.congestionFill,
];

export const flappingLink: Scenario = {
  name: 'flapping-link',
  summary: 'the connection comes and goes many times, at any step of the handshake',
  parameters,
  sometimes: ['resync interrupted', 'half-open connection'],
  setup(given, random) {
    const resolved = resolve(parameters, given, random);
    const setup = pairSetup(resolved, random, { net: { connectInt: 1, pingInt: 1 } });
    const swarm = random.fork('swarm');
    const operators = commands(resolved);
    const verbs = ['connect', 'disconnect'];
    setup.schedule = drawStorm(setup, swarm, {
      kinds: swarm.chance(1, 4) ? ['reset', 'cut', 'command'] : ['reset', 'reset', 'cut', 'stall', 'slow-link'], gapsS: [0.5, 1, 3],
      longestS: 3, longestRestartS: 1, commands: [...operators.alice, ...operators.bob].filter(({ command }) => verbs.includes(command.verb)), oneWayCuts: true, togetherLosePower: false, atEventOneIn: 2,
    });
    setup.afterStorm = afterStorm(setup.schedule, Number(resolved['volumes']));
    return setup;
  },
};
