/** Traps in which a disk fails, hangs or is left behind. */

import type { Fault } from '../../sim/types.js';
import { ALICE, BOB, RESOURCE, SECOND_US, act, at, connectTo, disconnectFrom } from '../pair.js';
import { type Story, ALL_SECTORS, LARGE_SECTORS, attachHere, busy, demote, detachHere, large, largeInTime, net, notPlanned, promote, withC } from './story.js';

export const disks = {
  // alice is alone, and some of her sectors cannot be read (bug B024).
  'split-request': {
    resolve: (resolved, random) => {
      // An old peer takes 32 KiB at a time.
      resolved['protocol-max'] = random.fork('old').pick([86, 88, 90]);
    },
    options: () => ({ net, workload: { maxRequestSectors: 128, readShare: { numerator: 8, denominator: 12 }, pattern: 'random' } }),
    tell({ schedule }, random, startUs) {
      schedule.push(at('bob-crashes', startUs, { do: 'crash', host: BOB, restartAfterUs: 12 * SECOND_US }));
      for (let spot = 0; spot < 40; spot++) {
        const firstSector = random.integer(0, 8000);
        schedule.push(at(`spot-${spot}`, startUs + SECOND_US, { do: 'latent-error', host: ALICE, firstSector, sectors: 8 }));
      }
    },
  },
  // alice's disk hangs and is given up; until it has ended what it was doing she is Failed, and bob's disk is the only one (bug B029c).
  'failed-disk': {
    resolve: largeInTime,
    options: () => large,
    tell({ schedule }, random, startUs) {
      const forUs = random.integer(1, 4) * SECOND_US;
      schedule.push(
        at('hang', startUs, { do: 'hang-disk', host: ALICE, forUs }),
        act('give-up', startUs + random.integer(1000, SECOND_US / 2), ALICE, detachHere(true)),
        act('give-back', startUs + forUs + random.integer(1, 3) * SECOND_US, ALICE, attachHere),
      );
    },
  },
  // What a disk would not read is remembered until it is back (bug B031).
  'unreadable': {
    resolve: largeInTime,
    options: () => large,
    tell({ schedule }, random, startUs) {
      for (let spot = 0; spot < 12; spot++) {
        schedule.push(at(`spot-${spot}`, startUs, { do: 'latent-error', host: ALICE, firstSector: random.integer(0, LARGE_SECTORS - 60_000), sectors: 50_000 }));
      }
      for (let round = 1; round <= 3; round++) schedule.push(act(`give-back-${round}`, startUs + round * 4 * SECOND_US, ALICE, attachHere));
    },
  },
  // bob's new disk is smaller than what alice has in use (bug B172).
  'smaller-peer': {
    skip: [
      { property: 'unexpected-disconnect', reason: 'a peer whose disk is too small is refused' },
      { property: 'liveness', reason: 'a peer whose disk is too small is refused' },
      { property: 'complementary-states', reason: 'a peer whose disk is too small is refused' },
    ],
    endsHere: true,
    tell(setup, random) {
      setup.initial = 'blank';
      setup.hosts[1]!.disks[0] = { ...setup.hosts[1]!.disks[0]!, dataSectors: setup.hosts[0]!.disks[0]!.dataSectors - random.integer(1, 2000) };
      // They meet when alice is Primary, or they would agree on bob's size.
      setup.onBoot = 'nothing';
      setup.prepare = [
        ...setup.hosts.map(({ name, config }) => ({ host: name, command: { verb: 'new-resource', config } as const })),
        { host: ALICE, command: attachHere },
        { host: BOB, command: attachHere },
        { host: ALICE, command: { verb: 'primary', resource: RESOURCE, force: true } },
        { host: ALICE, command: connectTo(BOB) },
        { host: BOB, command: connectTo(ALICE) },
      ];
    },
  },
  // bob's disk hangs under writes that he has taken, is given up, and comes back (bug B001).
  'hung-peer-disk': {
    options: () => ({ net, disk: { diskTimeout: 5 } }),
    tell({ schedule }, random, startUs) {
      for (let time = 0; time < 2; time++) {
        const atUs = startUs + time * 8 * SECOND_US;
        const gone: Fault['action'] = random.chance(1, 2)
          ? { do: 'hang-disk', host: BOB, forUs: 2 * SECOND_US }
          : { do: 'disk-error', host: BOB, area: 'data', operation: 'write', firstSector: 0, sectors: ALL_SECTORS, times: random.integer(1, 3) };
        schedule.push(at(`gone-${time}`, atUs, gone), act(`give-back-${time}`, atUs + 4 * SECOND_US, BOB, attachHere));
      }
    },
  },
  // The link breaks, and alice's disk does not take the generation that she goes on in (bug B066).
  'failed-generation': {
    resolve: withC,
    options: (writes) => ({ net, workload: busy(writes) }),
    skip: [{ property: 'liveness', reason: 'a generation that is on the disk although its write failed is a history of its own: an operator must choose' }],
    tell({ schedule }, random, startUs) {
      for (let time = 0; time < 3; time++) {
        const atUs = startUs + time * 6 * SECOND_US;
        schedule.push(
          at(`bad-${time}`, atUs, { do: 'disk-error', host: ALICE, area: 'meta', operation: 'write', firstSector: 0, sectors: ALL_SECTORS, times: 1 }),
          at(`part-${time}`, atUs, { do: 'cut', from: ALICE, to: BOB, oneWay: false, forUs: SECOND_US }),
          at(`break-${time}`, atUs, { do: 'reset', from: ALICE, to: BOB }),
          act(`give-back-${time}`, atUs + random.integer(2, 4) * SECOND_US, ALICE, attachHere),
        );
      }
    },
  },
  // A verify finds what a disk would not read: it is equal to nothing (bug B160). Nobody is Primary when they part.
  'unreadable-verify': {
    resolve: (resolved) => {
      resolved['on-io-error'] = 'pass_on';
    },
    tell({ schedule }, random, startUs) {
      for (let time = 0; time < 3; time++) {
        const atUs = startUs + time * 7 * SECOND_US;
        const [host, other] = random.pick([[ALICE, BOB], [BOB, ALICE]] as const);
        schedule.push(
          at(`rot-${time}`, atUs, { do: 'latent-error', host, firstSector: random.integer(0, 7000), sectors: random.integer(1, 40) }),
          act(`verify-${time}`, atUs + SECOND_US / 2, random.pick([host, other]), { verb: 'verify', resource: RESOURCE, volume: 0 }),
          act(`demote-${time}`, atUs + 3 * SECOND_US, ALICE, demote),
          act(`part-${time}`, atUs + 4 * SECOND_US, BOB, disconnectFrom(ALICE)),
          act(`meet-${time}`, atUs + 5 * SECOND_US, BOB, connectTo(ALICE)),
          act(`promote-${time}`, atUs + 6 * SECOND_US, ALICE, promote),
        );
      }
    },
  },
  // What a verify has found to differ is read from the own disk, whatever the balance says.
  'marked-reads': {
    options: (writes) => ({ net, disk: { ...notPlanned, resyncRate: 40_000, readBalancing: 'prefer-remote' }, workload: { ...busy(writes), readShare: { numerator: 8, denominator: 12 } } }),
    endsHere: true,
    tell({ schedule }, random, startUs) {
      for (let time = 0; time < 2; time++) {
        const atUs = startUs + time * 10 * SECOND_US;
        for (let spot = 0; spot < 10; spot++) schedule.push(at(`rot-${time}-${spot}`, atUs, { do: 'corrupt', host: BOB, firstSector: random.integer(0, 7000), sectors: 8 }));
        schedule.push(
          act(`verify-${time}`, atUs + 1000, ALICE, { verb: 'verify', resource: RESOURCE, volume: 0 }),
          act(`mend-${time}`, atUs + 5 * SECOND_US, BOB, { verb: 'invalidate', resource: RESOURCE, volume: 0 }),
        );
      }
    },
  },
  // bob's disk is taken away when he has written what he has not flushed, and then he loses power: alice must not count that as stable.
  'unflushed-detach': {
    // At an old protocol so many losses in a row end in unrelated data (compare.ts, `syncUuidWasLost`).
    resolve: (resolved) => {
      Object.assign(resolved, { 'protocol': 'C', 'protocol-max': 101 });
    },
    options: (writes) => ({ net, workload: busy(writes) }),
    tell(setup, random, startUs) {
      setup.failover = { by: 'nobody' };
      for (let time = 0; time < 5; time++) {
        const atUs = startUs + time * 4 * SECOND_US;
        setup.schedule.push(
          act(`take-away-${time}`, atUs, BOB, detachHere(true)),
          at(`power-${time}`, atUs + random.integer(1000, random.pick([10_000, 500_000])), { do: 'power-loss', hosts: [BOB], restartAfterUs: SECOND_US / 2, tear: random.integer(0, 0x7fffffff) }),
        );
      }
    },
  },
  // alice's disk refuses a write while bob is being synced from it: he has that write, but no good disk has it.
  'refused-in-resync': {
    resolve: (resolved) => {
      withC(resolved);
      if (resolved['on-io-error'] === 'pass_on') resolved['on-io-error'] = 'detach';
    },
    options: (writes) => ({ net, workload: busy(writes), disk: { ...notPlanned, resyncRate: 4000 } }),
    skip: [{ property: 'liveness', reason: 'a resync that loses its source may leave no good disk: an operator must choose' }],
    tell({ schedule }, random, startUs) {
      schedule.push(
        act('make-again', startUs, BOB, { verb: 'invalidate', resource: RESOURCE, volume: 0 }),
        at('refuse', startUs + random.integer(50_000, SECOND_US / 2), { do: 'disk-error', host: ALICE, area: 'data', operation: 'write', firstSector: 0, sectors: ALL_SECTORS, times: 1 }),
        random.chance(1, 2)
          ? act('give-back', startUs + 2 * SECOND_US, ALICE, attachHere)
          : at('restart', startUs + SECOND_US, { do: 'crash', host: ALICE, restartAfterUs: SECOND_US }),
        act('promote', startUs + 6 * SECOND_US, ALICE, promote),
      );
    },
  },
  // bob's disk has an error and is given up, alice goes on; he comes back alone, and knows that his disk is not the newest.
  'left-behind': {
    resolve: (resolved) => {
      withC(resolved);
      resolved['on-io-error'] = 'detach';
    },
    tell(setup, random, startUs) {
      setup.failover = { by: 'nobody' };
      setup.schedule.push(
        at('refuse', startUs, { do: 'disk-error', host: BOB, area: 'data', operation: 'write', firstSector: 0, sectors: ALL_SECTORS, times: 1 }),
        at('part', startUs + 3 * SECOND_US, { do: 'cut', from: ALICE, to: BOB, oneWay: false, forUs: 8 * SECOND_US }),
        at('bob-restarts', startUs + random.integer(3, 5) * SECOND_US, { do: 'crash', host: BOB, restartAfterUs: SECOND_US }),
        act('promote-bob', startUs + 8 * SECOND_US, BOB, promote),
        act('demote-bob', startUs + 9 * SECOND_US, BOB, demote),
      );
    },
  },
  // Both are Primary, and alice's disk is bad and kept: what bob writes then she does not get, and must read from him.
  'bad-disk-reader': {
    resolve: (resolved) => {
      Object.assign(resolved, { 'protocol': 'C', 'protocol-max': 101, 'on-io-error': 'pass_on' });
    },
    options: (writes) => ({ net: { ...net, allowTwoPrimaries: true }, workload: { ...busy(writes), sectors: 512, writes: 10 * writes, readShare: { numerator: 6, denominator: 12 } } }),
    endsHere: true,
    tell(setup, _random, startUs) {
      setup.failover = { by: 'nobody' };
      setup.prepare = [...setup.prepare, { host: BOB, command: promote }];
      setup.schedule.push(at('refuse', startUs, { do: 'disk-error', host: ALICE, area: 'data', operation: 'write', firstSector: 0, sectors: ALL_SECTORS, times: 1 }));
    },
  },
  // bob's data are given up, alice is asked whether she may begin, writes meanwhile, and her disk fails before she has.
  'refused-while-asked': {
    resolve: (resolved) => {
      Object.assign(resolved, { 'protocol': 'C', 'protocol-max': 101, 'on-io-error': 'detach' });
    },
    options: (writes) => ({ net, workload: busy(writes), handlers: [{ name: 'before-resync-source', exitCode: 0, delayUs: SECOND_US / 2 }] }),
    endsHere: true,
    tell({ schedule }, random, startUs) {
      schedule.push(
        act('make-again', startUs, BOB, { verb: 'invalidate', resource: RESOURCE, volume: 0 }),
        at('refuse', startUs + random.integer(20_000, SECOND_US / 2), { do: 'disk-error', host: ALICE, area: 'data', operation: 'write', firstSector: 0, sectors: ALL_SECTORS, times: 1 }),
        act('give-back', startUs + 3 * SECOND_US, ALICE, attachHere),
      );
    },
  },
} satisfies Record<string, Story>;
