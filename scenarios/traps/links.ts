/** Traps in which a link, a machine or its power goes while something else is decided, and orders that come at that moment. */

import type { Trigger } from '../../sim/types.js';
import { ALICE, BOB, RESOURCE, SECOND_US, act, at, connectTo, disconnectFrom } from '../pair.js';
import { type Story, NEVER_US, busy, demote, detachHere, fencedAfter, large, largeInTime, net, notPlanned, notWithA, promote, withC } from './story.js';

export const links = {
  // Nobody is Primary while the two meet, until an operator promotes one of them, or both (bugs B077, B079).
  'role-in-handshake': {
    tell({ schedule }, random, startUs) {
      const handshake = ['P_PROTOCOL', 'P_SIZES', 'P_UUIDS', 'P_STATE'] as const;
      schedule.push(act('demote', startUs, ALICE, demote), at('part', startUs + SECOND_US, { do: 'reset', from: ALICE, to: BOB }));
      for (const host of random.pick([[ALICE], [BOB], [ALICE, BOB]])) {
        const [from, to] = random.chance(1, 2) ? [ALICE, BOB] : [BOB, ALICE];
        const trigger: Trigger = { onPacket: random.pick(handshake), from, to, nth: 1, when: random.pick(['sent', 'delivered'] as const), delayUs: random.integer(1, random.pick([200, 2000])) };
        schedule.push({ id: `promote-${host}`, trigger, action: { do: 'command', host, command: promote } });
      }
    },
  },
  // An administrator holds I/O to copy the disk (bug B147).
  'suspended': {
    tell({ schedule }, random, startUs) {
      for (let time = 1; time <= 6; time++) {
        const atUs = startUs + time * 2 * SECOND_US + random.integer(0, SECOND_US);
        schedule.push(act(`suspend-${time}`, atUs, ALICE, { verb: 'suspend-io', resource: RESOURCE }), act(`resume-${time}`, atUs + SECOND_US, ALICE, { verb: 'resume-io', resource: RESOURCE }));
      }
    },
  },
  // What alice has answered is still on its way when she is suspended, and the link breaks: bob is back before she goes on.
  'suspended-apart': {
    resolve: (resolved) => {
      resolved['protocol'] = 'A';
    },
    options: (writes) => ({ net, workload: busy(writes) }),
    tell({ schedule }, random, startUs) {
      for (let time = 0; time < 3; time++) {
        const atUs = startUs + time * 5 * SECOND_US;
        const suspendUs = atUs + random.integer(10_000, 300_000);
        schedule.push(
          at(`silence-${time}`, atUs, { do: 'stall', from: ALICE, to: BOB, forUs: SECOND_US }),
          act(`suspend-${time}`, suspendUs, ALICE, { verb: 'suspend-io', resource: RESOURCE }),
          at(`part-${time}`, suspendUs + random.integer(5000, 100_000), { do: 'reset', from: ALICE, to: BOB }),
          act(`resume-${time}`, atUs + 3.5 * SECOND_US, ALICE, { verb: 'resume-io', resource: RESOURCE }),
        );
      }
    },
  },
  // alice writes while her data are given up, and the link breaks: what she wrote last may be on her disk alone.
  'given-up-in-flight': {
    // Below 91 two who have missed a begin cannot solve it (rules 36, 37).
    resolve: (resolved) => {
      resolved['protocol-max'] = 101;
    },
    options: (writes) => ({ net, workload: busy(writes), disk: { ...notPlanned, resyncRate: 40_000 } }),
    tell({ schedule }, random, startUs) {
      schedule.push(at('slow', 0, { do: 'slow-disk', host: random.pick([ALICE, BOB]), forUs: 25 * SECOND_US, factor: random.pick([2, 10, 30]) }));
      for (let time = 0; time < 5; time++) {
        const atUs = startUs + time * 4 * SECOND_US;
        const [host, verb] = random.pick([[ALICE, 'invalidate'], [BOB, 'invalidate-remote']] as const);
        schedule.push(
          act(`give-up-${time}`, atUs, host, { verb, resource: RESOURCE, volume: 0 }),
          at(`part-${time}`, atUs + random.integer(50, random.pick([1000, 10_000, 50_000])), { do: 'reset', from: ALICE, to: BOB }),
        );
      }
    },
  },
  // They are parted, and one is told that the other's data, or its own, are worth nothing; that must be on its disk when its power goes.
  'given-up-apart': {
    tell(setup, random, startUs) {
      setup.failover = { by: 'nobody' };
      for (let time = 0; time < 3; time++) {
        const atUs = startUs + time * 7 * SECOND_US;
        const [host, peer, verb] = random.pick([[BOB, ALICE, 'invalidate'], [ALICE, BOB, 'invalidate-remote']] as const);
        for (let spot = 0; spot < 6; spot++) setup.schedule.push(at(`rot-${time}-${spot}`, atUs, { do: 'corrupt', host: BOB, firstSector: random.integer(0, 7000), sectors: 1 }));
        setup.schedule.push(
          act(`part-${time}`, atUs, host, disconnectFrom(peer)),
          act(`give-up-${time}`, atUs + SECOND_US, host, { verb, resource: RESOURCE, volume: 0 }),
          at(`power-${time}`, atUs + SECOND_US + random.integer(1000, random.pick([20_000, SECOND_US])), { do: 'power-loss', hosts: [host], restartAfterUs: SECOND_US, tear: random.integer(0, 0x7fffffff) }),
          act(`meet-${time}`, atUs + 3.5 * SECOND_US, host, connectTo(peer)),
          act(`promote-${time}`, atUs + 5 * SECOND_US, ALICE, promote),
        );
      }
    },
  },
  // alice, who has no disk, dies when bob has said that he has received what he has not begun to write: his activity log must hold it first.
  'received-unwritten': {
    resolve: (resolved) => {
      resolved['protocol'] = 'B';
      largeInTime(resolved);
    },
    options: () => large,
    tell(setup, random) {
      setup.prepare = [...setup.prepare, { host: ALICE, command: detachHere(false) }];
      setup.schedule.push(
        at('slow', 0, { do: 'slow-disk', host: BOB, forUs: 25 * SECOND_US, factor: random.pick([5, 20]) }),
        {
          id: 'alice-dies',
          trigger: { onPacket: 'P_RECV_ACK', from: BOB, to: ALICE, nth: random.integer(1, 300), when: 'delivered', delayUs: random.integer(1, 1000) },
          action: { do: 'crash', host: ALICE, restartAfterUs: random.integer(5, 9) * SECOND_US },
        },
      );
    },
  },
  // An application was told that what it wrote is flushed; then power goes on both sides, and alice stays away.
  'flushed-then-dark': {
    resolve: withC,
    options: (writes) => ({ net, workload: { ...busy(writes), flushEvery: 1, thinkUs: 3000 } }),
    tell({ schedule }, random, startUs) {
      schedule.push(at('slow', 0, { do: 'slow-disk', host: BOB, forUs: 25 * SECOND_US, factor: random.pick([5, 20, 50]) }));
      const dark = (id: string, host: string, restartAfterUs: number): number =>
        schedule.push(at(id, startUs, { do: 'power-loss', hosts: [host], restartAfterUs, tear: random.integer(0, 0x7fffffff) }));
      dark('bob-dark', BOB, SECOND_US / 2);
      dark('alice-dark', ALICE, 9 * SECOND_US);
      schedule.push(act('promote-bob', startUs + 5 * SECOND_US, BOB, promote));
    },
  },
  // The link breaks within a bitmap that takes several packets.
  'bitmap-cut': {
    resolve: largeInTime,
    options: () => ({ ...large, net: { ...net, useRle: false } }),
    tell({ schedule }, random, startUs) {
      for (let time = 0; time < 3; time++) {
        const [from, to] = random.pick([[ALICE, BOB], [BOB, ALICE]] as const);
        const trigger: Trigger = { onPacket: 'P_BITMAP', from, to, nth: time * 8 + random.integer(1, 6), when: random.pick(['sent', 'delivered'] as const) };
        schedule.push(
          act(`part-${time}`, startUs + time * 6 * SECOND_US, BOB, disconnectFrom(ALICE)),
          act(`meet-${time}`, startUs + time * 6 * SECOND_US + SECOND_US, BOB, connectTo(ALICE)),
          { id: `break-${time}`, trigger, action: { do: 'reset', from: ALICE, to: BOB } },
        );
      }
    },
  },
  // Of two volumes one is in sync and the other is being synced when alice loses bob: the first one alone is why she freezes.
  'half-synced-fencing': {
    resolve: (resolved) => {
      notWithA(resolved);
      Object.assign(resolved, { 'volumes': 2, 'protocol-max': 101 });
    },
    options: (_writes, random) => ({ ...fencedAfter(random.pick([SECOND_US, NEVER_US])), net, disk: { fencing: 'resource-and-stonith', ...notPlanned, resyncRate: 2000 } }),
    tell(setup, random, startUs) {
      setup.failover = { by: 'nobody' };
      for (let time = 0; time < 3; time++) {
        const atUs = startUs + time * 6 * SECOND_US;
        setup.schedule.push(
          act(`make-again-${time}`, atUs, BOB, { verb: 'invalidate', resource: RESOURCE, volume: random.pick([0, 1, 1]) }),
          at(`part-${time}`, atUs + random.integer(100_000, SECOND_US), { do: 'cut', from: ALICE, to: BOB, oneWay: false, forUs: 3 * SECOND_US }),
        );
      }
    },
  },
  // bob is back, and lost again, before the handler that was called for the first loss has ended: what it says of him is not true any more.
  'late-verdict': {
    resolve: notWithA,
    options: (_writes, random) => ({ disk: { fencing: 'resource-and-stonith' }, handlers: [{ name: 'fence-peer', exitCode: 4, delayUs: random.integer(2, 6) * SECOND_US }], net }),
    tell(setup, random, startUs) {
      setup.failover = { by: 'nobody' };
      for (let time = 0; time < 2; time++) {
        const atUs = startUs + time * 10 * SECOND_US;
        setup.schedule.push(
          at(`part-${time}`, atUs, { do: 'reset', from: ALICE, to: BOB }),
          at(`again-${time}`, atUs + random.integer(1.2 * SECOND_US, 3 * SECOND_US), { do: 'cut', from: ALICE, to: BOB, oneWay: false, forUs: 3 * SECOND_US }),
          at(`break-${time}`, atUs + 3 * SECOND_US, { do: 'reset', from: ALICE, to: BOB }),
        );
      }
    },
  },
  // bob's machine stands still for about as long as a dead one is silent; alice lives, and what she said meanwhile waits for him.
  'stood-still': {
    resolve: (resolved) => {
      resolved['failover'] = 'membership';
    },
    endsHere: true,
    tell({ schedule }, random, startUs) {
      for (let time = 0; time < 5; time++) schedule.push(at(`still-${time}`, startUs + time * 4.5 * SECOND_US, { do: 'pause', host: BOB, forUs: random.integer(2.5 * SECOND_US, 3.4 * SECOND_US) }));
    },
  },
  // The link breaks, and alice dies before the generation that she goes on in is on her disk (bugs B064-B066); bob takes over.
  'late-generation': {
    options: (writes) => ({ net, workload: busy(writes) }),
    tell({ schedule }, random, startUs) {
      schedule.push(at('part', startUs, { do: 'reset', from: ALICE, to: BOB }), at('silence', startUs, { do: 'cut', from: ALICE, to: BOB, oneWay: false, forUs: SECOND_US }));
      const restartAfterUs = random.integer(6, 9) * SECOND_US;
      const diesUs = startUs + random.integer(1, random.pick([1000, 4000]));
      schedule.push(at('alice-dies', diesUs, random.chance(1, 2) ? { do: 'crash', host: ALICE, restartAfterUs } : { do: 'power-loss', hosts: [ALICE], restartAfterUs, tear: random.integer(0, 0x7fffffff) }));
    },
  },
  // alice thaws, in a new generation, just when bob is back; her metadata is written slowly (bug B065).
  'fenced-in-handshake': {
    resolve: (resolved) => {
      notWithA(resolved);
      Object.assign(resolved, { 'volumes': 4, 'protocol-max': 101 });
    },
    options: (writes, random) => ({ ...fencedAfter(random.integer(100_000, 480_000)), net, workload: busy(writes) }),
    tell({ schedule }, random, startUs) {
      schedule.push(at('slow', 0, { do: 'slow-disk', host: ALICE, forUs: 25 * SECOND_US, factor: random.pick([20, 50]) }));
      for (let time = 0; time < 5; time++) schedule.push(at(`part-${time}`, startUs + time * 4 * SECOND_US, { do: 'reset', from: ALICE, to: BOB }));
    },
  },
  // bob loses power when he has acknowledged what he has not flushed (bug B012).
  'unflushed': {
    resolve: withC,
    options: (writes) => ({ net, workload: busy(writes) }),
    tell({ schedule }, random) {
      for (let time = 1; time <= 6; time++) {
        const trigger: Trigger = { onPacket: 'P_WRITE_ACK', from: BOB, to: ALICE, nth: time * 150 + random.integer(0, 99), when: 'delivered', delayUs: random.integer(1, 400) };
        schedule.push({ id: `power-${time}`, trigger, action: { do: 'power-loss', hosts: [BOB], restartAfterUs: SECOND_US / 2, tear: random.integer(0, 0x7fffffff) } });
      }
    },
  },
  // Somebody promotes bob while alice is Primary: he is refused (bug B207).
  'second-promotion': {
    tell(setup, _random, startUs) {
      setup.failover = { by: 'nobody' };
      for (let time = 0; time < 6; time++) setup.schedule.push(act(`promote-bob-${time}`, startUs + time * 3 * SECOND_US, BOB, promote));
    },
  },
  // bob comes back behind a broken link, where his handler cannot reach alice, who goes on: he is not promoted (bug B139).
  'unreachable-peer': {
    resolve: withC,
    options: (_writes, random) => ({ ...fencedAfter(random.integer(1000, SECOND_US)), net }),
    tell(setup, _random, startUs) {
      setup.failover = { by: 'nobody' };
      setup.expectations.splitBrainPossible = false;
      setup.schedule.push(
        at('part', startUs, { do: 'cut', from: ALICE, to: BOB, oneWay: false, forUs: 16 * SECOND_US }),
        at('bob-restarts', startUs + 4 * SECOND_US, { do: 'crash', host: BOB, restartAfterUs: SECOND_US }),
        act('promote-bob', startUs + 8 * SECOND_US, BOB, promote),
      );
    },
  },
  // Nobody has anything to say when bob's machine goes: only a ping that is not answered tells.
  'silent-death': {
    resolve: (resolved) => {
      resolved['duration'] = 55;
    },
    endsHere: true,
    tell(setup, random, startUs) {
      setup.failover = { by: 'nobody' };
      setup.schedule.push(
        act('demote', startUs, ALICE, demote),
        at('death', startUs + random.integer(4, 9) * SECOND_US, { do: 'power-loss', hosts: [BOB], restartAfterUs: 40 * SECOND_US, tear: random.integer(0, 0x7fffffff) }),
      );
    },
  },
  // alice is Ahead when she is told to be no Primary any more, and dies before bob has what she wrote meanwhile.
  'demoted-ahead': {
    resolve: (resolved) => {
      resolved['protocol'] = 'A';
    },
    options: (writes) => ({ net: { ...net, onCongestion: 'pull-ahead', congestionFill: 64 }, workload: busy(writes) }),
    tell(setup, random, startUs) {
      setup.failover = { by: 'nobody' };
      for (let time = 0; time < 4; time++) {
        const atUs = startUs + time * 5 * SECOND_US;
        const demoteUs = atUs + random.integer(SECOND_US / 2, 2 * SECOND_US);
        setup.schedule.push(
          at(`slow-${time}`, atUs, { do: 'slow-link', from: ALICE, to: BOB, forUs: 3 * SECOND_US, latencyUs: random.integer(1000, 100_000), bytesPerSecond: random.pick([20_000, 100_000]) }),
          act(`demote-${time}`, demoteUs, ALICE, demote),
          at(`die-${time}`, demoteUs + random.integer(20_000, 1.5 * SECOND_US), { do: 'crash', host: ALICE, restartAfterUs: SECOND_US / 2 }),
          act(`promote-${time}`, atUs + 4.5 * SECOND_US, ALICE, promote),
        );
      }
    },
  },
} satisfies Record<string, Story>;
