/**
 * Flapping link: the connection comes and goes many times in quick succession, at any step of the handshake as well as under
 * load. It must come back each time, and no write may fall between two connections.
 */

import type { Scenario } from '../sim/types.js';
import { drawSchedule } from '../sim/world/swarm.js';
import { ALICE, BOB, SECOND_US, afterStorm, commands, pairSetup, usableSectors } from './pair.js';
import { knobs, resolve } from './parameters.js';

const parameters = [
  knobs.protocol, knobs.fencing, knobs.volumes, knobs.alExtents, knobs.metaDisk, knobs.queueDepth, knobs.discards, knobs.twoPrimaries, knobs.readBalancing, knobs.protocolMax,
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
    setup.schedule = drawSchedule(swarm, {
      hosts: [ALICE, BOB],
      durationUs: setup.durationUs,
      kinds: swarm.chance(1, 4) ? ['reset', 'cut', 'command'] : ['reset', 'reset', 'cut', 'stall', 'slow-link'],
      meanGapUs: Math.floor(swarm.pick([0.5, 1, 3]) * SECOND_US),
      longestUs: 3 * SECOND_US,
      longestRestartUs: SECOND_US,
      firstSector: 0,
      sectors: usableSectors(setup.hosts),
      commands: [...operators.alice, ...operators.bob].filter(({ command }) => verbs.includes(command.verb)),
      oneWayCuts: true,
      togetherLosePower: false,
      atEventOneIn: 2,
    });
    setup.afterStorm = afterStorm(setup.schedule, Number(resolved['volumes']));
    return setup;
  },
};
