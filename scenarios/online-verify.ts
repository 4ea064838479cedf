/**
 * Online verify: blocks of bob's disk change and nobody is told. Verifies, of either node, find exactly them, while the application
 * writes and links and hosts fail between any two packets; the next resync makes them good. Alice stays the source: what a disk
 * lost that is synced *from* is lost.
 */

import type { Fault, FaultAction, RandomStream, Scenario, Trigger } from '../sim/types.js';
import { ALICE, BOB, RESOURCE, SECOND_US, act, at, connectTo, disconnectFrom, pairSetup, usableSectors } from './pair.js';
import { knobs, resolve } from './parameters.js';

const parameters = [
  knobs.protocol, knobs.volumes, knobs.alExtents, knobs.metaDisk, knobs.queueDepth, knobs.protocolMax, knobs.verifyAlg,
  knobs.writes, knobs.durationS,
];

const asked = ['P_STATE_CHG_REQ', 'P_OV_REQUEST', 'P_OV_RESULT', 'P_STATE', 'P_DATA', 'P_PING', 'P_PING_ACK', 'P_RS_DATA_REPLY', 'P_SYNC_UUID'] as const;
const answered = ['P_STATE_CHG_REPLY', 'P_OV_REPLY', 'P_STATE', 'P_WRITE_ACK', 'P_PING', 'P_PING_ACK', 'P_RS_DATA_REQUEST', 'P_RS_WRITE_ACK'] as const;

export const onlineVerify: Scenario = {
  name: 'online-verify',
  summary: "blocks of bob's disk change silently; verifies find exactly them, whatever breaks meanwhile, and a resync repairs them",
  parameters,
  sometimes: ['difference found', 'difference repaired', 'verify finished', 'verify interrupted'],
  setup(given, random) {
    const resolved = resolve(parameters, given, random);
    const resyncRate = random.fork('rate').pick([1000, 4000, 20_000]);
    const setup = pairSetup(resolved, random, { net: { connectInt: 1, pingInt: 3 }, disk: { cPlanAhead: 0, resyncRate } });
    setup.failover = { by: 'nobody' };
    const rounds = random.fork('rounds');
    const { durationUs } = setup;
    const sectors = usableSectors(setup.hosts);
    const volumes = Array.from({ length: Number(resolved['volumes']) }, (_, volume) => volume);
    const count = rounds.integer(2, 4);
    const schedule: Fault[] = [];
    const verify = (id: string, atUs: number): void => {
      const from = rounds.pick([undefined, 0, 0, rounds.integer(0, sectors)]);
      const to = rounds.pick([undefined, undefined, rounds.integer(0, sectors)]);
      const range = { ...(from !== undefined && { startSector: from }), ...(to !== undefined && { stopSector: to }) };
      schedule.push(act(id, atUs, rounds.pick([ALICE, ALICE, BOB]), { verb: 'verify', resource: RESOURCE, volume: rounds.pick(volumes), ...range }));
    };
    for (let round = 1; round <= count; round++) {
      const beginUs = Math.floor((durationUs * (round - 1)) / count);
      const spanUs = Math.floor(durationUs / count);
      const later = (): number => beginUs + rounds.integer(0, spanUs - 1);
      for (let blocks = rounds.integer(0, 4); blocks > 0; blocks--) {
        const firstSector = rounds.integer(0, sectors - 1);
        const action: FaultAction = { do: 'corrupt', host: BOB, firstSector, sectors: Math.min(rounds.pick([1, 8, 20]), sectors - firstSector) };
        schedule.push(at(`corrupt-${round}-${blocks}`, beginUs + rounds.integer(0, Math.floor(spanUs / 3)), action));
      }
      verify(`verify-${round}`, beginUs + rounds.integer(Math.floor(spanUs / 4), Math.floor(spanUs / 2)));
      if (rounds.chance(1, 2)) verify(`verify-again-${round}`, later());
      if (rounds.chance(2, 3)) {
        const trigger = rounds.chance(1, 4) ? { atUs: later() } : event(rounds, round);
        schedule.push({ id: `break-${round}`, trigger, action: breakOff(rounds) });
      }
      if (rounds.chance(1, 4)) schedule.push(act(`secondary-${round}`, later(), ALICE, { verb: 'secondary', resource: RESOURCE }));
      // After a crash or a demotion the application goes on where it was.
      for (const part of [1, 2, 3]) schedule.push(act(`primary-${round}-${part}`, beginUs + (part * spanUs) / 4, ALICE, { verb: 'primary', resource: RESOURCE, force: false }));
      const awayUs = beginUs + Math.floor((spanUs * 4) / 5);
      schedule.push(act(`away-${round}`, awayUs, BOB, disconnectFrom(ALICE)), act(`back-${round}`, awayUs + rounds.integer(1, SECOND_US), BOB, connectTo(ALICE)));
    }
    setup.schedule = schedule;
    // In the end everything is compared once more, and what that finds is made good.
    setup.afterStorm = [
      { host: BOB, command: connectTo(ALICE) },
      { host: ALICE, command: connectTo(BOB) },
      { host: ALICE, command: { verb: 'primary', resource: RESOURCE, force: false }, afterUs: 10 * SECOND_US },
      ...volumes.map((volume, index) => ({
        host: ALICE,
        command: { verb: 'verify' as const, resource: RESOURCE, volume, startSector: 0 },
        ...(index === 0 && { afterUs: 5 * SECOND_US }),
      })),
      { host: ALICE, command: disconnectFrom(BOB), afterUs: 30 * SECOND_US },
      { host: ALICE, command: connectTo(BOB), afterUs: SECOND_US },
    ];
    return setup;
  },
};

function event(random: RandomStream, round: number): Trigger {
  const delay = random.chance(1, 3) ? { delayUs: random.integer(1, 2000) } : {};
  if (random.chance(1, 4)) {
    const host = random.pick([ALICE, BOB]);
    return { onDiskOperation: random.pick(['write', 'read'] as const), host, area: random.pick(['meta', 'data'] as const), nth: random.integer(1, 200 * round), when: random.pick(['issued', 'done'] as const), ...delay };
  }
  const [source, target] = random.chance(2, 3) ? [ALICE, BOB] : [BOB, ALICE];
  const byAsker = random.chance(1, 2);
  const packet = byAsker ? random.pick(asked) : random.pick(answered);
  const nth = random.chance(1, 3) ? random.integer(1, 3) : random.integer(1, (packet.startsWith('P_OV') ? 1000 : 20) * round);
  const [from, to] = byAsker ? [source, target] : [target, source];
  return { onPacket: packet, from, to, nth, when: random.pick(['sent', 'delivered'] as const), ...delay };
}

function breakOff(random: RandomStream): FaultAction {
  const restartAfterUs = random.integer(SECOND_US / 10, 4 * SECOND_US);
  const [from, to] = random.chance(1, 2) ? [ALICE, BOB] : [BOB, ALICE];
  switch (random.integer(1, 7)) {
    case 1:
    case 2:
      return { do: 'crash', host: random.pick([ALICE, BOB]), restartAfterUs };
    case 3:
      return { do: 'power-loss', hosts: random.pick([[BOB], [ALICE], [ALICE, BOB]]), restartAfterUs, tear: random.integer(0, 0x7fffffff) };
    case 4:
      return { do: 'cut', from, to, oneWay: random.chance(1, 2), forUs: random.integer(SECOND_US, 15 * SECOND_US) };
    case 5:
      return { do: 'stall', from, to, forUs: random.integer(SECOND_US / 10, 8 * SECOND_US) };
    case 6:
      return { do: 'slow-disk', host: random.pick([ALICE, BOB]), forUs: random.integer(SECOND_US, 10 * SECOND_US), factor: random.integer(2, 50) };
    default:
      return { do: 'reset', from, to };
  }
}
