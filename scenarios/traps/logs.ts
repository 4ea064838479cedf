/** Traps of the activity log: what it must name when somebody dies, and what it gives up. */

import type { Command } from '../../src/contract/index.js';
import type { HostSpec, Trigger } from '../../sim/types.js';
import { ALICE, BOB, RESOURCE, SECOND_US, act, at, connectTo, disconnectFrom } from '../pair.js';
import { type Story, attachHere, busy, large, largeInTime, net, notPlanned, promote, withC } from './story.js';

const EXTENT_SECTORS = 8192;

export const logs = {
  // alice kept no activity log when she died, and is told to keep one when she comes back: what is in it is not hers.
  'log-switched': {
    resolve: withC,
    options: (writes) => ({ net, disk: { alUpdates: false }, workload: busy(writes) }),
    endsHere: true,
    tell(setup, random, startUs) {
      setup.failover = { by: 'nobody' };
      setup.onBoot = 'nothing';
      const start = (host: HostSpec, alUpdates: boolean): Command[] => [
        { verb: 'new-resource', config: { ...host.config, volumes: host.config.volumes.map((volume) => ({ ...volume, disk: { ...volume.disk, alUpdates } })) } },
        attachHere,
        connectTo(host.name === ALICE ? BOB : ALICE),
      ];
      setup.prepare = [...setup.hosts.flatMap((host) => start(host, false).map((command) => ({ host: host.name, command }))), { host: ALICE, command: promote }];
      setup.schedule.push(at('alice-dies', startUs, { do: 'crash', host: ALICE, restartAfterUs: SECOND_US }));
      for (const [step, command] of start(setup.hosts[0]!, true).entries()) setup.schedule.push(act(`start-${step}`, startUs + 2 * SECOND_US + step * 100_000, ALICE, command));
      setup.schedule.push(act('promote', startUs + random.integer(5, 8) * SECOND_US, ALICE, promote));
    },
  },
  // Power goes while a transaction of the activity log is being written (bugs B052-B055).
  'torn-log': {
    resolve: largeInTime,
    options: () => large,
    tell({ schedule }, random) {
      for (let time = 1; time <= 3; time++) {
        const trigger: Trigger = { onDiskOperation: 'write', host: ALICE, area: 'meta', nth: random.integer(1, 60) + time * 60, when: 'issued', delayUs: random.integer(1, 700) };
        schedule.push({ id: `power-${time}`, trigger, action: { do: 'power-loss', hosts: [random.pick([ALICE, ALICE, BOB])], restartAfterUs: random.integer(SECOND_US / 10, 2 * SECOND_US), tear: random.integer(0, 0x7fffffff) } });
      }
    },
  },
  // More slots of the active set than one block of the log repeats: a few blocks in a row tell of all of them.
  'wide-set': {
    resolve: (resolved) => {
      Object.assign(resolved, { 'protocol': 'C', 'al-extents': 1237, 'protocol-max': 101, 'duration': 12 });
    },
    options: (writes) => ({ net, dataSectors: 1300 * EXTENT_SECTORS, disk: { ...notPlanned, resyncRate: 400_000 }, workload: { ...busy(writes), thinkUs: 3000, writes: 5 * writes } }),
    endsHere: true,
    tell({ schedule }, random) {
      schedule.push(at('alice-dies', random.integer(5, 8) * SECOND_US, { do: 'power-loss', hosts: [ALICE], restartAfterUs: SECOND_US, tear: random.integer(0, 0x7fffffff) }));
    },
  },
  // Far more extents are asked for at once than one transaction can name.
  'cold-crowd': {
    resolve: (resolved) => {
      Object.assign(resolved, { 'protocol': 'C', 'al-extents': 1237, 'queue-depth': 32, 'protocol-max': 101, 'writes': 300 });
    },
    options: (writes) => ({ ...large, workload: { pattern: 'random', zerosOneIn: 1, maxRequestSectors: 2 * EXTENT_SECTORS, writes, thinkUs: 50_000 } }),
    endsHere: true,
    tell({ schedule }, random) {
      schedule.push(at('slow', 0, { do: 'slow-disk', host: ALICE, forUs: 5 * SECOND_US, factor: random.pick([5, 20]) }));
    },
  },
  // alice is alone, and her log gives extents up; she dies: what bob lacks of these must be marked on her disk.
  'alone-evicting': {
    resolve: (resolved) => {
      Object.assign(resolved, { 'al-extents': 67, 'protocol-max': 101 });
    },
    options: (writes) => ({ ...large, workload: busy(writes) }),
    tell({ schedule }, random, startUs) {
      schedule.push(
        act('part', SECOND_US / 2, BOB, disconnectFrom(ALICE)),
        at('alice-dies', startUs + SECOND_US, { do: 'crash', host: ALICE, restartAfterUs: SECOND_US }),
        act('meet', startUs + random.integer(4, 6) * SECOND_US, BOB, connectTo(ALICE)),
      );
    },
  },
  // Extents are given up quickly, and both lose power: what bob had not flushed must still be in one that alice's log names.
  'evicted-unstable': {
    resolve: (resolved) => {
      Object.assign(resolved, { 'al-extents': 67, 'protocol-max': 101 });
    },
    options: (writes) => ({ ...large, workload: { ...busy(writes), thinkUs: 4000, writes: 10 * writes } }),
    tell({ schedule }, random, startUs) {
      schedule.push(at('slow', 0, { do: 'slow-disk', host: BOB, forUs: 25 * SECOND_US, factor: random.pick([5, 20]) }));
      for (let time = 0; time < 3; time++) {
        schedule.push(at(`dark-${time}`, startUs + time * 6 * SECOND_US, { do: 'power-loss', hosts: [ALICE, BOB], restartAfterUs: SECOND_US / 2, tear: random.integer(0, 0x7fffffff) }), act(`promote-${time}`, startUs + time * 6 * SECOND_US + 3 * SECOND_US, ALICE, promote));
      }
    },
  },
  // The device grows, and its metadata moves, while nothing is under way but a transaction of the activity log.
  'grown-while-cold': {
    resolve: (resolved) => {
      Object.assign(resolved, { 'meta-disk': 'internal', 'protocol-max': 101, 'queue-depth': 1 });
    },
    options: (writes) => ({ ...large, workload: { pattern: 'random', writes, thinkUs: 50_000 } }),
    endsHere: true,
    tell({ schedule }, random) {
      const more = random.integer(1000, 40_000);
      for (const host of [ALICE, BOB]) schedule.push(at(`grow-${host}`, SECOND_US / 2, { do: 'resize-disk', host, more, fewer: 0, noise: 0 }));
      const trigger: Trigger = { onDiskOperation: 'write', host: ALICE, area: 'meta', nth: random.integer(20, 80), when: 'issued', delayUs: random.integer(1, 200) };
      const command: Command = { verb: 'resize', resource: RESOURCE, volume: 0, sizeSectors: 0, assumeClean: true, assumePeerHasSpace: false };
      schedule.push({ id: 'resize', trigger, action: { do: 'command', host: ALICE, command } });
    },
  },
} satisfies Record<string, Story>;
