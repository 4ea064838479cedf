/**
 * Reads that go to the peer although our own disk is good: each policy, under a load that mostly reads what it has just written,
 * while links break and stall in the middle of an exchange, disks fail to read, and nodes die. A read never shows less than the
 * application was told is written, wherever it was read, and one that finds no answer there is made again here.
 */

import type { FaultKind, Scenario } from '../sim/types.js';
import { drawSwarm } from '../sim/world/swarm.js';
import { BOB, RESOURCE, afterStorm, commands, pairSetup, usableSectors } from './pair.js';
import { type Knob, knobs, resolve, withDefault } from './parameters.js';
import { drawStorm } from './storm.js';

const policy: Knob = { ...knobs.readBalancing, odds: ['prefer-remote', 'prefer-remote', 'round-robin', 'least-pending', 'when-congested-remote', '32K-striping', '1M-striping'] };

const parameters = [
  policy, knobs.protocol, knobs.twoPrimaries, knobs.fencing, knobs.volumes, knobs.metaDisk, knobs.queueDepth, knobs.protocolMax,
  withDefault(knobs.failover, 'manager'), withDefault(knobs.writes, 1000), withDefault(knobs.durationS, 30),
];

const kinds: FaultKind[] = ['crash', 'power-loss', 'cut', 'reset', 'stall', 'slow-link', 'slow-disk', 'pause', 'latent-error', 'disk-error', 'command'];

export const readBalancing: Scenario = {
  name: 'read-balancing',
  summary: 'reads go to the peer although our own disk is good; links, disks and nodes fail meanwhile',
  parameters,
  sometimes: ['resync interrupted', 'both Primary'],
  setup(given, random) {
    const resolved = resolve(parameters, given, random);
    const load = random.fork('read load');
    const setup = pairSetup(resolved, random, {
      workload: { readShare: { numerator: load.integer(4, 9), denominator: 12 }, sectors: load.pick([64, 512, 4096]), pattern: load.pick(['random', 'hot-spot']) },
      net: { connectInt: 1, pingInt: 1 },
    });
    if (resolved['two-primaries'] === 'yes') setup.prepare = [...setup.prepare, { host: BOB, command: { verb: 'primary', resource: RESOURCE, force: false } }];
    const swarm = random.fork('swarm');
    const operators = commands(resolved);
    setup.schedule = drawStorm(setup, swarm, {
      kinds: drawSwarm(swarm.fork('kinds'), kinds), gapsS: [2, 4, 10],
      longestS: 5, longestRestartS: 5, sectors: Math.min(4096, usableSectors(setup.hosts)), commands: [...operators.alice, ...operators.bob], oneWayCuts: true, togetherLosePower: true, atEventOneIn: 2,
    }, swarm.fork('faults'));
    setup.afterStorm = afterStorm(setup.schedule, Number(resolved['volumes']));
    return setup;
  },
};
