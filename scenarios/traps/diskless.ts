/** Traps of nodes without a disk: it is taken away, by force or in order, and given back, while the other one is all there is. */

import type { Command } from '../../src/contract/index.js';
import type { Trigger } from '../../sim/types.js';
import { ALICE, BOB, RESOURCE, SECOND_US, act, at, connectTo, disconnectFrom } from '../pair.js';
import { type Story, NEVER_US, attachHere, busy, demote, detachHere, fencedAfter, large, largeInTime, net, notWithA, promote, withC } from './story.js';

export const diskless = {
  // alice's disk goes, and the link before she could say so; she comes back without it, and it comes back later (bugs B082, B083).
  'diskless-return': {
    tell({ schedule }, random, startUs) {
      schedule.push(
        at('silence', startUs, { do: 'stall', from: ALICE, to: BOB, forUs: 2 * SECOND_US }),
        act('take-away', startUs + random.integer(1000, 20_000), ALICE, detachHere(true)),
        at('part', startUs + random.integer(30_000, 400_000), { do: 'reset', from: ALICE, to: BOB }),
        act('give-back', startUs + random.integer(5, 9) * SECOND_US, ALICE, attachHere),
      );
    },
  },
  // alice is frozen until bob is fenced, and thaws towards a bob who has lost his disk meanwhile (bug B081).
  'frozen-diskless': {
    resolve: notWithA,
    options: () => ({ ...fencedAfter(NEVER_US), net }),
    tell({ schedule }, random, startUs) {
      schedule.push(
        at('part', startUs, { do: 'cut', from: ALICE, to: BOB, oneWay: false, forUs: random.integer(3, 6) * SECOND_US }),
        act('take-away', startUs + 2.5 * SECOND_US, BOB, detachHere(true)),
        act('give-back', startUs + random.integer(9, 14) * SECOND_US, BOB, attachHere),
      );
    },
  },
  // Both are there without their disks, one of which has missed something, and get them back at the same moment (bug B097).
  'attach-both': {
    tell({ schedule }, random, startUs) {
      schedule.push(
        act('part', startUs, BOB, disconnectFrom(ALICE)),
        act('demote', startUs + 2 * SECOND_US, ALICE, demote),
        act('take-alices', startUs + 3 * SECOND_US, ALICE, detachHere(true)),
        act('take-bobs', startUs + 3 * SECOND_US, BOB, detachHere(true)),
        act('meet', startUs + 4 * SECOND_US, BOB, connectTo(ALICE)),
        act('give-alices', startUs + 6 * SECOND_US, ALICE, attachHere),
        act('give-bobs', startUs + 6 * SECOND_US + random.integer(0, random.pick([0, 500, 5000])), BOB, attachHere),
        act('promote', startUs + 9 * SECOND_US, ALICE, promote),
      );
    },
  },
  // alice is promoted beside a bob who has no disk, and gets it back later: what it holds then is of a generation before.
  'beside-diskless': {
    tell(setup, random, startUs) {
      setup.failover = { by: 'nobody' };
      setup.schedule.push(
        act('demote', startUs, ALICE, demote),
        act('take-bobs', startUs + SECOND_US, BOB, detachHere(random.chance(1, 2))),
        act('promote', startUs + 2 * SECOND_US, ALICE, promote),
        act('give-bobs', startUs + random.integer(4, 9) * SECOND_US, BOB, attachHere),
      );
    },
  },
  // alice loses her disk and bob in one moment, freezes, and has the disk again before or after she meets him (bug B061).
  'disk-in-freeze': {
    resolve: (resolved) => {
      resolved['on-no-data-accessible'] = 'suspend-io';
    },
    options: (writes) => ({ net, workload: busy(writes) }),
    tell({ schedule }, random, startUs) {
      if (random.chance(1, 2)) schedule.push(at('slow', 0, { do: 'slow-disk', host: ALICE, forUs: 25 * SECOND_US, factor: random.pick([5, 20]) }));
      for (let time = 0; time < 4; time++) {
        const atUs = startUs + time * 5 * SECOND_US;
        schedule.push(
          act(`take-away-${time}`, atUs, ALICE, detachHere(true)),
          at(`part-${time}`, atUs + random.integer(0, 2000), { do: 'reset', from: ALICE, to: BOB }),
          act(`give-back-${time}`, atUs + random.integer(5000, random.pick([100_000, 1.5 * SECOND_US])), ALICE, attachHere),
        );
      }
    },
  },
  // alice is frozen until bob is fenced; meanwhile her disk is taken away under her writes, and given back (bug B061).
  'disk-in-fencing': {
    resolve: notWithA,
    options: (writes) => ({ ...fencedAfter(NEVER_US), net, workload: busy(writes) }),
    tell({ schedule }, random, startUs) {
      schedule.push(at('slow', 0, { do: 'slow-disk', host: ALICE, forUs: 25 * SECOND_US, factor: random.pick([5, 20]) }));
      for (let time = 0; time < 4; time++) {
        const atUs = startUs + time * 5 * SECOND_US;
        schedule.push(
          at(`part-${time}`, atUs, { do: 'reset', from: ALICE, to: BOB }),
          act(`take-away-${time}`, atUs + random.integer(0, 3000), ALICE, detachHere(true)),
          act(`give-back-${time}`, atUs + random.integer(10_000, 200_000), ALICE, attachHere),
        );
      }
    },
  },
  // alice gives up her disk and writes on bob's alone; both go down before bob has written that a generation began with that.
  'undurable-alone': {
    resolve: notWithA,
    // A transaction of the activity log would be written behind it.
    options: (writes) => ({ net, disk: { alUpdates: false }, workload: busy(writes) }),
    endsHere: true,
    tell(setup, random, startUs) {
      setup.failover = { by: 'nobody' };
      // She asks whether she may.
      const gone: Trigger = { onPacket: 'P_STATE_CHG_REQ', from: ALICE, to: BOB, nth: 1, when: 'delivered' };
      const bobDiesUs = random.integer(500, random.pick([4000, 15_000]));
      setup.schedule.push(
        at('slow', 0, { do: 'slow-disk', host: BOB, forUs: 25 * SECOND_US, factor: random.pick([5, 20]) }),
        act('take-away', startUs, ALICE, detachHere(false)),
        { id: 'bob-dies', trigger: { ...gone, delayUs: bobDiesUs }, action: { do: 'crash', host: BOB, restartAfterUs: SECOND_US } },
        { id: 'alice-dies', trigger: { ...gone, delayUs: bobDiesUs + random.integer(1, 20_000) }, action: { do: 'crash', host: ALICE, restartAfterUs: SECOND_US } },
        act('promote', startUs + 3 * SECOND_US, ALICE, promote),
      );
    },
  },
  // alice is told to go on when she has met bob again: one volume still has no data anywhere, and the other has missed nothing.
  'resumed-together': {
    resolve: (resolved) => {
      Object.assign(resolved, { 'protocol': 'C', 'volumes': 2, 'protocol-max': 101, 'on-no-data-accessible': 'suspend-io' });
    },
    endsHere: true,
    tell(setup, random, startUs) {
      setup.failover = { by: 'nobody' };
      const disk = (verb: 'attach' | 'detach', force: boolean): Command => ({ verb, resource: RESOURCE, volume: 1, force });
      setup.schedule.push(
        act('take-away', startUs, ALICE, disk('detach', false)),
        at('part', startUs + SECOND_US, { do: 'cut', from: ALICE, to: BOB, oneWay: false, forUs: 3 * SECOND_US }),
        act('take-bobs', startUs + 3.5 * SECOND_US, BOB, disk('detach', true)),
        act('resume', startUs + 7 * SECOND_US, ALICE, { verb: 'resume-io', resource: RESOURCE }),
        act('give-bobs', startUs + 8 * SECOND_US, BOB, disk('attach', false)),
        at('alice-dies', startUs + random.integer(9, 11) * SECOND_US, { do: 'crash', host: ALICE, restartAfterUs: 7 * SECOND_US }),
        act('promote-bob', startUs + 13 * SECOND_US, BOB, promote),
      );
    },
  },
  // bob is outdated, and alice comes back without her disk: he is no better for having met her.
  'outdated-beside-diskless': {
    resolve: withC,
    options: () => ({ net, disk: { fencing: 'resource-only' } }),
    endsHere: true,
    tell(setup, random, startUs) {
      setup.failover = { by: 'nobody' };
      setup.schedule.push(
        act('part', startUs, ALICE, disconnectFrom(BOB)),
        act('demote', startUs + 2 * SECOND_US, ALICE, demote),
        act('take-away', startUs + 8 * SECOND_US, ALICE, detachHere(random.chance(1, 2))),
        act('meet', startUs + 9 * SECOND_US, ALICE, connectTo(BOB)),
        act('promote-bob', startUs + 11 * SECOND_US, BOB, promote),
        act('demote-bob', startUs + 14 * SECOND_US, BOB, demote),
      );
    },
  },
  // alice, who has no disk, writes on bob's, the only one; his process dies, and what he had in memory of what her disk lacks.
  'lone-disk': {
    resolve: (resolved) => {
      notWithA(resolved);
      largeInTime(resolved);
    },
    options: () => large,
    tell(setup, random, startUs) {
      setup.failover = { by: 'nobody' };
      for (let time = 0; time < 2; time++) {
        const atUs = startUs + time * 9 * SECOND_US;
        setup.schedule.push(
          act(`take-away-${time}`, atUs, ALICE, detachHere(false)),
          at(`bob-${time}`, atUs + random.integer(SECOND_US / 2, 3 * SECOND_US), { do: 'crash', host: BOB, restartAfterUs: SECOND_US / 2 }),
          act(`give-back-${time}`, atUs + 6 * SECOND_US, ALICE, attachHere),
        );
      }
    },
  },
} satisfies Record<string, Story>;
