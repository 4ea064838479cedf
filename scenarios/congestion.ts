/**
 * Congestion: protocol A over a link that is too slow for the application, with on-congestion. The Primary goes Ahead, marks what it
 * does not mirror, and comes back by a resync, again and again, while hosts die and links are cut at any point of it.
 */

import type { Fault, RandomStream, Scenario } from '../sim/types.js';
import { drawSwarm } from '../sim/world/swarm.js';
import { ALICE, BOB, SECOND_US, afterStorm, at, commands, connectTo, pairSetup } from './pair.js';
import { knobs, resolve, withDefault } from './parameters.js';
import { drawStorm } from './storm.js';

const parameters = [
  withDefault(knobs.protocol, 'A'), { ...withDefault(knobs.onCongestion, 'any'), odds: ['pull-ahead', 'pull-ahead', 'pull-ahead', 'pull-ahead', 'disconnect'] },
  knobs.congestionFill, knobs.volumes, knobs.alExtents, knobs.metaDisk, knobs.size, withDefault(knobs.queueDepth, 8), knobs.discards,
  { ...knobs.protocolMax, odds: [101, 101, 101, 101, 97, 96, 95] }, withDefault(knobs.writes, 3000), withDefault(knobs.durationS, 40),
];

/** Packets of its exchange: where a fault may find it half done. */
const packets = ['P_OUT_OF_SYNC', 'P_SYNC_UUID', 'P_STATE', 'P_RS_CANCEL', 'P_RS_DATA_REQUEST', 'P_RS_DATA_REPLY', 'P_RS_WRITE_ACK', 'P_BARRIER_ACK'];

export const congestion: Scenario = {
  name: 'congestion',
  summary: 'protocol A over links that are too slow for the application: the Primary pulls ahead, or gives the connection up',
  parameters,
  sometimes: ['pulled ahead', 'pulled ahead in the middle of a resync', 'crash while ahead', 'resync interrupted'],
  setup(given, random) {
    const resolved = resolve(parameters, given, random);
    const setup = pairSetup(resolved, random);
    const { durationUs } = setup;
    const swarm = random.fork('swarm');
    const operators = commands(resolved);
    setup.schedule = [
      ...slowness(random.fork('slowness'), durationUs),
      ...accidents(random.fork('accidents'), durationUs),
      ...drawStorm(setup, swarm, {
        kinds: drawSwarm(swarm.fork('kinds'), ['stall', 'slow-disk', 'cut', 'reset', 'pause', 'crash', 'power-loss', 'command']), gapsS: [5, 10, 40],
        longestS: 8, longestRestartS: 5, commands: [...operators.alice, ...operators.bob], oneWayCuts: true, togetherLosePower: true, atEventOneIn: 2,
      }, swarm.fork('faults')),
    ];
    setup.afterStorm = afterStorm(setup.schedule, Number(resolved['volumes']));
    // Whoever gave the connection up for congestion waits for an operator.
    if (resolved['on-congestion'] === 'disconnect') setup.afterStorm.push({ host: ALICE, command: connectTo(BOB) }, { host: BOB, command: connectTo(ALICE) });
    return setup;
  },
};

/** For much of the storm the link carries less than the application writes, in bursts, so that the way back is gone as well. */
function slowness(random: RandomStream, durationUs: number): Fault[] {
  const faults: Fault[] = [];
  for (let atUs = random.integer(0, 3 * SECOND_US); atUs < durationUs; ) {
    const forUs = random.integer(SECOND_US / 2, 8 * SECOND_US);
    const bytesPerSecond = random.pick([20_000, 100_000, 400_000, 1_500_000]);
    const [from, to] = random.chance(4, 5) ? [ALICE, BOB] : [BOB, ALICE];
    faults.push(at(`slowness-${faults.length + 1}`, atUs, { do: 'slow-link', from, to, forUs, latencyUs: random.integer(1000, 200_000), bytesPerSecond }));
    atUs += forUs + random.integer(SECOND_US / 10, 6 * SECOND_US);
  }
  return faults;
}

/** A crash, a cut, or a stall at a packet of the exchange or at a metadata write. */
function accidents(random: RandomStream, durationUs: number): Fault[] {
  return Array.from({ length: random.integer(1, 4) }, (_, index): Fault => {
    const [from, to] = random.chance(1, 2) ? [ALICE, BOB] : [BOB, ALICE];
    const nth = random.chance(1, 2) ? random.integer(1, 4) : random.integer(1, 60);
    const delayUs = random.integer(0, 3000);
    const trigger: Fault['trigger'] = random.chance(2, 3)
      ? { onPacket: random.pick(packets), from, to, nth, when: random.pick(['sent', 'delivered'] as const), delayUs }
      : { onDiskOperation: 'write', host: from, area: 'meta', nth: random.integer(1, 60), when: random.pick(['issued', 'done'] as const), delayUs };
    const restartAfterUs = random.integer(SECOND_US / 10, Math.min(6 * SECOND_US, durationUs));
    const host = random.pick([ALICE, BOB]);
    const action = random.pick<Fault['action']>([
      { do: 'crash', host, restartAfterUs },
      { do: 'power-loss', hosts: [host], restartAfterUs, tear: random.integer(0, 0x7fffffff) },
      { do: 'cut', from, to, oneWay: random.chance(1, 2), forUs: random.integer(SECOND_US / 10, 6 * SECOND_US) },
      { do: 'stall', from, to, stream: random.pick(['data', 'meta'] as const), forUs: random.integer(SECOND_US / 10, 4 * SECOND_US) },
      { do: 'reset', from, to },
    ]);
    return { id: `accident-${index + 1}`, trigger, action };
  });
}
