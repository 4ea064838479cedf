/**
 * Several volumes in one resource: a node loses the disk of one of them, perhaps so that not even its metadata can be written any more,
 * and keeps the others; it restarts, its disk comes back; and then the Primary dies. What is promoted must be one set: every volume
 * good, and nothing of a later moment on one beside something older on another.
 */

import type { Fault, RandomStream, Scenario } from '../sim/types.js';
import { drawSwarm } from '../sim/world/swarm.js';
import { ALICE, BOB, RESOURCE, SECOND_US, act, afterStorm, at, commands, pairSetup } from './pair.js';
import { knobs, resolve, withDefault, type Knob } from './parameters.js';
import { drawStorm } from './storm.js';

const volumesKnob: Knob = { ...knobs.volumes, choices: ['any', 2, 3, 4, 6], odds: [2, 2, 3, 4, 6] };

const parameters = [
  knobs.protocol, knobs.fencing, volumesKnob, knobs.alExtents, knobs.metaDisk, knobs.queueDepth, knobs.diskTimeout, knobs.onNoData,
  withDefault(knobs.protocolMax, 101), withDefault(knobs.failover, 'manager'), knobs.writes, knobs.durationS,
];

const META_SECTORS_ALL = 2 ** 30;

export const volumes: Scenario = {
  name: 'volumes',
  summary: 'one volume of several loses its disk, then the Primary dies: what is promoted is one consistent set of volumes, or nothing',
  parameters,
  sometimes: ['resync interrupted', 'volume left behind'],
  setup(given, random) {
    const resolved = resolve(parameters, given, random);
    const setup = pairSetup(resolved, random, { workload: { flushEvery: random.fork('flush').pick([3, 8, 30]) } });
    const { durationUs } = setup;
    const count = Number(resolved['volumes']);
    const story = random.fork('story');
    const swarm = random.fork('swarm');
    const operators = commands(resolved);
    setup.schedule = [
      ...losses(story, count, durationUs),
      ...drawStorm(setup, swarm, {
        kinds: drawSwarm(swarm.fork('kinds'), ['cut', 'reset', 'stall', 'pause', 'slow-disk', 'command']), gapsS: [6, 12, 25],
        longestS: 8, longestRestartS: 8, commands: [...operators.alice, ...operators.bob], oneWayCuts: false, togetherLosePower: false, atEventOneIn: 2,
      }, swarm.fork('faults')),
    ];
    setup.afterStorm = afterStorm(setup.schedule, count);
    return setup;
  },
};

/** A disk goes, perhaps its host restarts, perhaps the disk comes back, and then the Primary dies for a while; the whole once or twice. */
function losses(random: RandomStream, count: number, durationUs: number): Fault[] {
  const faults: Fault[] = [];
  const rounds = random.integer(1, 2);
  for (let round = 0; round < rounds; round++) {
    const loser = random.pick([BOB, BOB, ALICE]);
    const volume = random.integer(0, count - 1);
    const end = (durationUs * (round + 1)) / rounds;
    let nowUs = random.integer((durationUs * round) / rounds + SECOND_US, end - durationUs / (3 * rounds));
    const id = (what: string): string => `${what}-${round + 1}`;
    const later = (most: number): number => (nowUs += random.integer(SECOND_US / 20, most));
    const errors = (operation: 'write' | 'flush', area: 'data' | 'meta'): Fault['action'] =>
      ({ do: 'disk-error', host: loser, volume, area, operation, firstSector: 0, sectors: META_SECTORS_ALL, times: area === 'meta' ? 3 : 1 });
    switch (random.pick(['forced', 'forced', 'dead', 'plain'] as const)) {
      case 'forced':
        faults.push(act(id('detach'), nowUs, loser, { verb: 'detach', resource: RESOURCE, volume, force: true }));
        break;
      case 'dead':
        faults.push(at(id('meta-dies'), nowUs, errors('write', 'meta')), at(id('data-dies'), nowUs, errors('write', 'data')));
        break;
      case 'plain':
        faults.push(act(id('detach'), nowUs, loser, { verb: 'detach', resource: RESOURCE, volume, force: false }));
        break;
    }
    later(4 * SECOND_US);
    const restartAfterUs = random.integer(SECOND_US / 10, 2 * SECOND_US);
    if (random.chance(1, 2)) faults.push(at(id('restart'), nowUs, { do: 'crash', host: loser, restartAfterUs }));
    else if (random.chance(1, 3)) faults.push(at(id('both'), nowUs, { do: 'power-loss', hosts: [ALICE, BOB], restartAfterUs, tear: random.integer(0, 0x7fffffff) }));
    if (random.chance(1, 2)) faults.push(act(id('attach'), later(3 * SECOND_US), loser, { verb: 'attach', resource: RESOURCE, volume }));
    const [diesUs, backUs] = [later(3 * SECOND_US), random.integer(SECOND_US, durationUs / 4)];
    const dies = random.pick([ALICE, ALICE, BOB]);
    if (random.chance(2, 3)) faults.push(at(id('death'), diesUs, { do: 'power-loss', hosts: [dies], restartAfterUs: backUs, tear: random.integer(0, 0x7fffffff) }));
    else faults.push(at(id('death'), diesUs, { do: 'crash', host: dies, restartAfterUs: backUs }));
    if (random.chance(1, 2)) faults.push(act(id('attach-late'), later(4 * SECOND_US), loser, { verb: 'attach', resource: RESOURCE, volume }));
  }
  return faults;
}
