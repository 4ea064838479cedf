/**
 * Thin resync: bob's data is called invalid again and again, or bob comes back after a while, on disks that discard in granules of their own
 * and may refuse to. Most of a device is zeros, so that most of a resync is discards; it breaks off at its packets and at its
 * operations on a disk, while the application writes, discards and zeroes on.
 */

import type { Fault, FaultKind, RandomStream, Scenario, Trigger } from '../sim/types.js';
import { drawSwarm } from '../sim/world/swarm.js';
import { breakDown, refusals } from './discard.js';
import { ALICE, BOB, RESOURCE, SECOND_US, act, afterStorm, connectTo, disconnectFrom, pairSetup } from './pair.js';
import { type Knob, knobs, resolve, withDefault } from './parameters.js';
import { drawStorm } from './storm.js';

const granularity: Knob = { ...knobs.rsDiscardGranularity, odds: [4096, 65536, 65536, 1048576] };
const zeros: Knob = { ...knobs.discards, odds: [0, 3, 3, 20] };

const parameters = [
  granularity, zeros, knobs.protocol, knobs.volumes, knobs.metaDisk, knobs.queueDepth, knobs.protocolMax, knobs.features, knobs.csumsAlg,
  withDefault(knobs.writes, 600), withDefault(knobs.durationS, 30),
];

const kinds: FaultKind[] = ['crash', 'power-loss', 'cut', 'reset', 'stall', 'slow-disk', 'pause'];

export const thinResync: Scenario = {
  name: 'thin-resync',
  summary: 'resyncs in which zeros are discarded instead of sent, broken off at their packets and discards',
  parameters,
  sometimes: ['resync interrupted'],
  setup(given, random) {
    const resolved = resolve(parameters, given, random);
    const setup = pairSetup(resolved, random, { net: { connectInt: 1 }, disk: { cPlanAhead: 0, resyncRate: random.fork('rate').pick([4000, 30_000]) } });
    const swarm = random.fork('swarm');
    const rounds = random.fork('rounds');
    setup.schedule = [
      ...Array.from({ length: rounds.integer(2, 4) }, (_, index) => round(rounds, index + 1, setup.durationUs)).flat(),
      ...refusals(random.fork('refusals'), setup.durationUs),
      ...drawStorm(setup, swarm, {
        kinds: drawSwarm(swarm.fork('kinds'), kinds), gapsS: [10, 20],
        longestS: 5, longestRestartS: 5, oneWayCuts: true, togetherLosePower: true, atEventOneIn: 4,
      }, swarm.fork('faults')),
    ];
    setup.afterStorm = afterStorm(setup.schedule, Number(resolved['volumes']));
    return setup;
  },
};

/** A reason for a resync, and what breaks it off. */
function round(random: RandomStream, number: number, durationUs: number): Fault[] {
  const atUs = random.integer(SECOND_US / 2, Math.floor(durationUs * 0.9));
  const host = random.pick([ALICE, BOB]);
  const broken: Fault = { id: `break-${number}`, trigger: inResync(random, host), action: breakDown(random, host) };
  if (random.chance(1, 2)) return [act(`invalidate-${number}`, atUs, BOB, { verb: 'invalidate', resource: RESOURCE, volume: 0 }), broken];
  return [act(`away-${number}`, atUs, BOB, disconnectFrom(ALICE)), act(`back-${number}`, atUs + random.integer(SECOND_US / 10, 3 * SECOND_US), BOB, connectTo(ALICE)), broken];
}

function inResync(random: RandomStream, host: string): Trigger {
  const nth = random.integer(1, 80);
  const when = { nth, ...(random.chance(1, 2) && { delayUs: random.integer(1, 1500) }) };
  switch (random.integer(1, 3)) {
    case 1:
      return { onPacket: 'P_RS_THIN_REQ', from: BOB, to: ALICE, when: random.pick(['sent', 'delivered'] as const), ...when };
    case 2:
      return { onPacket: 'P_RS_DEALLOCATED', from: ALICE, to: BOB, when: random.pick(['sent', 'delivered'] as const), ...when };
    default:
      return { onDiskOperation: random.pick(['discard', 'zeroes'] as const), host, area: 'data', when: random.pick(['issued', 'done'] as const), ...when };
  }
}
