/** Traps in a resync, or in what a verify leaves for one. */

import type { Trigger } from '../../sim/types.js';
import { ALICE, BOB, RESOURCE, SECOND_US, act, at, connectTo, disconnectFrom } from '../pair.js';
import { type Story, attachHere, busy, demote, detachHere, net, notPlanned, promote } from './story.js';

export const resyncs = {
  // Pauses come and go while a resync ends (bugs B075, B114, B116).
  'pause-at-end': {
    options: () => ({ net, disk: { ...notPlanned, resyncRate: 8000 } }),
    tell({ schedule }, random, startUs) {
      schedule.push(act('part', startUs, BOB, disconnectFrom(ALICE)), act('meet', startUs + random.integer(SECOND_US / 2, 3 * SECOND_US), BOB, connectTo(ALICE)));
      for (let time = 1; time <= 6; time++) {
        const host = random.pick([ALICE, BOB]);
        const packet = random.pick(['P_RS_WRITE_ACK', 'P_PING', 'P_PING_ACK', 'P_STATE', 'P_SYNC_UUID'] as const);
        const [from, to] = packet === 'P_SYNC_UUID' || random.chance(1, 3) ? [ALICE, BOB] : [BOB, ALICE];
        const verb = time % 2 === 1 ? 'pause-sync' : 'resume-sync';
        const trigger: Trigger = { onPacket: packet, from, to, nth: random.integer(1, packet === 'P_RS_WRITE_ACK' ? 60 : 4), when: random.pick(['sent', 'delivered'] as const), delayUs: random.integer(1, 3000) };
        schedule.push({ id: `pause-${time}`, trigger, action: { do: 'command', host, command: { verb, resource: RESOURCE, volume: 0 } } });
      }
    },
  },
  // Writes wait behind a resync on bob's slow disk while barriers come (bugs B008, B215).
  'parked-write': {
    resolve: (resolved, random) => {
      resolved['protocol'] = random.fork('early').pick(['A', 'A', 'B']);
    },
    options: () => ({ net, workload: { pattern: 'hot-spot', flushEvery: 4 }, disk: { ...notPlanned, resyncRate: 4000 } }),
    tell({ schedule }, random, startUs) {
      schedule.push(
        act('part', startUs, BOB, disconnectFrom(ALICE)),
        at('slow', startUs, { do: 'slow-disk', host: BOB, forUs: 12 * SECOND_US, factor: random.pick([20, 50, 100]) }),
        act('meet', startUs + 2 * SECOND_US, BOB, connectTo(ALICE)),
        at('break', startUs + random.integer(3, 8) * SECOND_US, random.pick([{ do: 'reset', from: ALICE, to: BOB }, { do: 'power-loss', hosts: [BOB], restartAfterUs: SECOND_US, tear: 1 }] as const)),
      );
    },
  },
  // alice, Primary, is the target, and the link breaks under the blocks that she has asked for (bugs B125, B215).
  'primary-target': {
    options: () => ({ net, disk: { ...notPlanned, resyncRate: 8000 } }),
    tell({ schedule }, random, startUs) {
      schedule.push(act('take-away', startUs, ALICE, detachHere(false)), act('give-back', startUs + random.integer(1, 4) * SECOND_US, ALICE, attachHere));
      for (let time = 1; time <= 3; time++) {
        const trigger: Trigger = { onPacket: random.pick(['P_RS_DATA_REQUEST', 'P_RS_DATA_REPLY', 'P_RS_WRITE_ACK']), from: ALICE, to: BOB, nth: random.integer(1, 30), when: 'sent', delayUs: random.integer(1, 1000) };
        schedule.push({ id: `break-${time}`, trigger, action: { do: 'reset', from: ALICE, to: BOB } });
      }
    },
  },
  // The application writes much while all of bob's blocks are copied, time and again (bug B006). On a slow disk a write is under way for long, with
  // FUA longer than a read.
  'busy-resync': {
    options: (writes) => ({ net, workload: { thinkUs: 1000, writes: 6 * writes, fuaEvery: 2 }, disk: { ...notPlanned, resyncRate: 100_000 } }),
    tell({ schedule }, random) {
      schedule.push(at('slow', 0, { do: 'slow-disk', host: ALICE, forUs: 12 * SECOND_US, factor: random.pick([4, 10, 25]) }));
      for (let time = 0; time < 16; time++) {
        schedule.push(act(`make-again-${time}`, (time + 1) * SECOND_US / 4 + random.integer(0, SECOND_US / 10), BOB, { verb: 'invalidate', resource: RESOURCE, volume: 0 }));
      }
    },
  },
  // A verify has marked what differs, and nobody writes when the link breaks: equal generations, and the marks stay (bug B050).
  'kept-marks': {
    tell({ schedule }, random, startUs) {
      for (let time = 0; time < 3; time++) {
        const atUs = startUs + time * 7 * SECOND_US;
        schedule.push(
          act(`demote-${time}`, atUs, ALICE, demote),
          at(`rot-${time}`, atUs + SECOND_US / 2, { do: 'corrupt', host: BOB, firstSector: random.integer(0, 7000), sectors: 1 }),
          act(`verify-${time}`, atUs + SECOND_US, ALICE, { verb: 'verify', resource: RESOURCE, volume: 0 }),
          at(`part-${time}`, atUs + 4.5 * SECOND_US, { do: 'reset', from: ALICE, to: BOB }),
          act(`promote-${time}`, atUs + 6 * SECOND_US, ALICE, promote),
        );
      }
      // What a verify has found is for an operator to mend.
      schedule.push(act('mend', startUs + 22 * SECOND_US, BOB, { verb: 'invalidate', resource: RESOURCE, volume: 0 }));
    },
  },
  // bob loses power when he has written which blocks he has, in the middle of a resync: these blocks must be on his disk, not in its cache.
  'lazy-marks': {
    // With one flush for both, the marks' takes the blocks along.
    resolve: (resolved) => {
      resolved['meta-disk'] = 'flexible';
    },
    options: (writes) => ({ net, workload: busy(writes), disk: { ...notPlanned, resyncRate: 1000 } }),
    tell({ schedule }, random, startUs) {
      schedule.push(
        at('slow', 0, { do: 'slow-disk', host: BOB, forUs: 25 * SECOND_US, factor: random.pick([20, 50]) }),
        act('part', SECOND_US / 2, BOB, disconnectFrom(ALICE)),
        // Nobody's barrier makes him flush.
        act('demote', startUs + 2 * SECOND_US, ALICE, demote),
        act('meet', startUs + 5 * SECOND_US, BOB, connectTo(ALICE)),
        at('power', startUs + random.integer(7 * SECOND_US, 12 * SECOND_US), { do: 'power-loss', hosts: [BOB], restartAfterUs: SECOND_US / 2, tear: random.integer(0, 0x7fffffff) }),
      );
    },
  },
  // alice, who writes no more, does not hear that bob has all of it; he goes on alone, and she is merely behind when they meet.
  'missed-end': {
    resolve: (resolved) => {
      resolved['protocol-max'] = 101;
    },
    tell(setup, random, startUs) {
      setup.failover = { by: 'nobody' };
      const end: Trigger = { onPacket: 'P_STATE', from: BOB, to: ALICE, nth: random.integer(1, 5), when: 'sent' };
      setup.schedule.push(
        act('part', startUs, BOB, disconnectFrom(ALICE)),
        act('demote', startUs + SECOND_US, ALICE, demote),
        act('meet', startUs + 3 * SECOND_US, BOB, connectTo(ALICE)),
        { id: 'lose', trigger: end, action: { do: 'cut', from: ALICE, to: BOB, oneWay: false, forUs: 7 * SECOND_US } },
        { id: 'promote-bob', trigger: { ...end, delayUs: 4 * SECOND_US }, action: { do: 'command', host: BOB, command: promote } },
      );
    },
  },
  // What bob has asked for is on its way while the resync is paused and goes on: nobody asks for the rest if he does not.
  'paused-in-stall': {
    options: () => ({ net, disk: { ...notPlanned, resyncRate: 4000 } }),
    tell({ schedule }, random, startUs) {
      schedule.push(act('make-again', startUs, BOB, { verb: 'invalidate', resource: RESOURCE, volume: 0 }));
      for (let time = 0; time < 3; time++) {
        const atUs = startUs + SECOND_US / 4 + time * SECOND_US;
        const host = random.pick([ALICE, BOB]);
        schedule.push(
          at(`stall-${time}`, atUs, { do: 'stall', from: ALICE, to: BOB, stream: 'data', forUs: SECOND_US * 0.6 }),
          act(`pause-${time}`, atUs + random.integer(1000, SECOND_US / 10), host, { verb: 'pause-sync', resource: RESOURCE, volume: 0 }),
          act(`resume-${time}`, atUs + random.integer(SECOND_US / 4, SECOND_US / 2), host, { verb: 'resume-sync', resource: RESOURCE, volume: 0 }),
        );
      }
    },
  },
  // The source cannot read some of what the target asks for, and the resync is paused when the target ends it without these.
  'failed-while-paused': {
    resolve: (resolved) => {
      resolved['on-io-error'] = 'pass_on';
    },
    tell({ schedule }, random, startUs) {
      const order = (id: string, trigger: Trigger, verb: 'pause-sync' | 'resume-sync', host: string): number =>
        schedule.push({ id, trigger, action: { do: 'command', host, command: { verb, resource: RESOURCE, volume: 0 } } });
      schedule.push(
        act('part', startUs, BOB, disconnectFrom(ALICE)),
        act('demote', startUs + SECOND_US, ALICE, demote),
        // What is written again can be read again.
        at('rot', startUs + 2.9 * SECOND_US, { do: 'latent-error', host: ALICE, firstSector: 0, sectors: random.integer(1000, 8000) }),
        act('meet', startUs + 3 * SECOND_US, BOB, connectTo(ALICE)),
      );
      for (let time = 0; time < 3; time++) {
        const host = random.pick([ALICE, BOB]);
        const end: Trigger = { onPacket: 'P_NEG_RS_DREPLY', from: ALICE, to: BOB, nth: random.integer(1, 12), when: random.pick(['sent', 'delivered'] as const), delayUs: random.integer(1, 3000) };
        order(`pause-${time}`, end, 'pause-sync', host);
        order(`resume-${time}`, { ...end, delayUs: random.integer(5000, SECOND_US) }, 'resume-sync', host);
      }
    },
  },
} satisfies Record<string, Story>;
