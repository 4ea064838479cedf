/**
 * Resync interrupted: bob is away for a while, comes back, and each resync is broken off somewhere: between any two of its
 * packets, by a crash of either side, a cut, a reset, a pause. It must go on where it was, and never be taken for finished.
 */

import type { Fault, FaultAction, RandomStream, Scenario, Trigger } from '../sim/types.js';
import { ALICE, BOB, RESOURCE, SECOND_US, act, afterStorm, at, connectTo, disconnectFrom, pairSetup } from './pair.js';
import { knobs, resolve } from './parameters.js';

const parameters = [
  knobs.protocol, knobs.fencing, knobs.volumes, knobs.alExtents, knobs.metaDisk, knobs.size, knobs.queueDepth, knobs.discards, knobs.rsDiscardGranularity, knobs.protocolMax,
  knobs.writes, knobs.durationS,
  knobs.cramHmacAlg, knobs.dataIntegrityAlg, knobs.csumsAlg, knobs.csumsAfterCrashOnly, knobs.onCongestion, knobs.congestionFill,
];

const fromSource = [
  'P_BITMAP', 'P_COMPRESSED_BITMAP', 'P_SYNC_UUID', 'P_RS_DATA_REPLY', 'P_RS_DEALLOCATED', 'P_RS_IS_IN_SYNC', 'P_STATE', 'P_UUIDS', 'P_DATA', 'P_OUT_OF_SYNC', 'P_PING',
] as const;
const fromTarget = [
  'P_BITMAP', 'P_COMPRESSED_BITMAP', 'P_RS_DATA_REQUEST', 'P_RS_THIN_REQ', 'P_CSUM_RS_REQUEST', 'P_RS_WRITE_ACK', 'P_STATE', 'P_PING', 'P_PING_ACK', 'P_WRITE_ACK',
] as const;

export const resyncInterrupted: Scenario = {
  name: 'resync-interrupted',
  summary: 'bob comes back again and again, and each resync is broken off between two of its packets',
  parameters,
  sometimes: ['resync interrupted', 'crash between two metadata writes'],
  setup(given, random) {
    const resolved = resolve(parameters, given, random);
    const resyncRate = random.fork('rate').pick([2000, 8000, 30_000]);
    const setup = pairSetup(resolved, random, { net: { connectInt: 1, pingInt: 3 }, disk: { cPlanAhead: 0, resyncRate } });
    const rounds = random.fork('rounds');
    const { durationUs } = setup;
    const latest = (atUs: number): number => Math.min(durationUs - 1, atUs);
    const count = rounds.integer(2, 5);
    const schedule: Fault[] = [];
    for (let number = 1; number <= count; number++) {
      const startUs = Math.floor((durationUs * (number - 1)) / count) + rounds.integer(SECOND_US / 2, 2 * SECOND_US);
      const backUs = startUs + rounds.integer(SECOND_US / 10, durationUs / count / 3);
      if (rounds.chance(1, 2)) {
        schedule.push(act(`away-${number}`, startUs, BOB, disconnectFrom(ALICE)), act(`back-${number}`, backUs, BOB, connectTo(ALICE)));
      } else {
        schedule.push(at(`away-${number}`, startUs, { do: 'crash', host: BOB, restartAfterUs: backUs - startUs }));
      }
      // A trigger counts from the beginning of the storm, so a later round's event may come in an earlier one.
      const trigger = rounds.chance(1, 4) ? { atUs: latest(backUs + rounds.integer(0, 3 * SECOND_US)) } : event(rounds, number);
      schedule.push({ id: `break-${number}`, trigger, action: breakOff(rounds) });
    }
    if (rounds.chance(1, 3)) {
      const volume = rounds.integer(0, Number(resolved['volumes']) - 1);
      const pausedUs = rounds.integer(0, durationUs - 1);
      const host = rounds.pick([ALICE, BOB]);
      const resumedUs = latest(pausedUs + rounds.integer(1, 5 * SECOND_US));
      schedule.push(act('pause-sync', pausedUs, host, { verb: 'pause-sync', resource: RESOURCE, volume }));
      schedule.push(act('resume-sync', resumedUs, host, { verb: 'resume-sync', resource: RESOURCE, volume }));
    }
    setup.schedule = schedule;
    setup.afterStorm = afterStorm(schedule, Number(resolved['volumes']));
    return setup;
  },
};

function event(random: RandomStream, round: number): Trigger {
  const delay = random.chance(1, 3) ? { delayUs: random.integer(1, 2000) } : {};
  if (random.chance(1, 4)) {
    const host = random.pick([ALICE, BOB]);
    const nth = random.integer(1, 30 * round);
    return { onDiskOperation: 'write', host, area: 'meta', nth, when: random.pick(['issued', 'done'] as const), ...delay };
  }
  const source = random.chance(1, 2);
  const packet = source ? random.pick(fromSource) : random.pick(fromTarget);
  const oncePerResync = ['P_BITMAP', 'P_COMPRESSED_BITMAP', 'P_SYNC_UUID', 'P_UUIDS'].includes(packet);
  const nth = random.integer(1, (oncePerResync ? 1 : 40) * round);
  const [from, to] = source ? [ALICE, BOB] : [BOB, ALICE];
  return { onPacket: packet, from, to, nth, when: random.pick(['sent', 'delivered'] as const), ...delay };
}

function breakOff(random: RandomStream): FaultAction {
  const restartAfterUs = random.integer(SECOND_US / 10, 4 * SECOND_US);
  const [from, to] = random.chance(1, 2) ? [ALICE, BOB] : [BOB, ALICE];
  switch (random.integer(1, 6)) {
    case 1:
      return { do: 'crash', host: random.pick([ALICE, BOB, BOB]), restartAfterUs };
    case 2:
      return { do: 'power-loss', hosts: random.pick([[BOB], [ALICE], [ALICE, BOB]]), restartAfterUs, tear: random.integer(0, 0x7fffffff) };
    case 3:
      return {
        do: 'cut',
        from,
        to,
        oneWay: random.chance(1, 2),
        forUs: random.integer(SECOND_US, 15 * SECOND_US),
        ...(random.chance(1, 3) && { stream: random.pick(['data', 'meta'] as const) }),
      };
    case 4:
      return { do: 'stall', from, to, forUs: random.integer(SECOND_US / 10, 8 * SECOND_US) };
    default:
      return { do: 'reset', from, to };
  }
}
