/**
 * Integrity: a link that turns bits over in replicated data. With data-integrity-alg the receiver drops the connection and takes nothing
 * of it; what was lost with it is made good by the resync, whose data may be damaged as well.
 */

import type { Scenario } from '../sim/types.js';
import { drawSwarm } from '../sim/world/swarm.js';
import { ALICE, BOB, SECOND_US, afterStorm, at, commands, pairSetup } from './pair.js';
import { knobs, resolve, withDefault } from './parameters.js';
import { drawStorm } from './storm.js';

const parameters = [
  knobs.protocol, { ...knobs.dataIntegrityAlg, default: 'any', choices: ['any', 'crc32c', 'md5', 'sha1', 'sha256'], odds: ['crc32c', 'crc32c', 'md5', 'sha1', 'sha256'] },
  knobs.fencing, knobs.volumes, knobs.alExtents, knobs.metaDisk, knobs.queueDepth, knobs.discards,
  // Below 87 nobody can announce an algorithm.
  { ...knobs.protocolMax, choices: ['any', 87, 88, 89, 90, 91, 92, 93, 94, 95, 96, 97, 101], odds: [101, 101, 101, 97, 95, 90, 87] },
  withDefault(knobs.writes, 1500), withDefault(knobs.durationS, 40),
];

export const integrity: Scenario = {
  name: 'integrity',
  summary: 'a link that turns bits over in replicated data, and digests that notice',
  parameters,
  sometimes: ['damaged data was refused', 'resync interrupted'],
  setup(given, random) {
    const resolved = resolve(parameters, given, random);
    const setup = pairSetup(resolved, random, { net: { connectInt: 1, pingInt: 3 } });
    const { durationUs } = setup;
    const swarm = random.fork('swarm');
    const damage = random.fork('damage');
    const operators = commands(resolved);
    for (let atUs = damage.integer(0, 4 * SECOND_US); atUs < durationUs; atUs += damage.integer(SECOND_US, 8 * SECOND_US)) {
      const [from, to] = damage.chance(3, 4) ? [ALICE, BOB] : [BOB, ALICE];
      setup.schedule.push(at(`damage-${setup.schedule.length + 1}`, atUs, { do: 'garble', from, to, times: damage.pick([1, 1, 2, 5]) }));
    }
    setup.schedule.push(
      ...drawStorm(setup, swarm, {
        kinds: drawSwarm(swarm.fork('kinds'), ['garble', 'stall', 'slow-disk', 'cut', 'reset', 'crash', 'power-loss', 'command']), gapsS: [5, 10, 20],
        longestS: 6, longestRestartS: 5, commands: [...operators.alice, ...operators.bob], oneWayCuts: true, togetherLosePower: false, atEventOneIn: 2,
      }, swarm.fork('faults')),
    );
    setup.afterStorm = afterStorm(setup.schedule, Number(resolved['volumes']));
    return setup;
  },
};
