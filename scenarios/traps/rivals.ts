/** Traps of two Primaries. */

import type { Trigger } from '../../sim/types.js';
import { ALICE, BOB, SECOND_US, act, at } from '../pair.js';
import { type Story, NEVER_US, busy, fencedAfter, net, promote, withC } from './story.js';

export const rivals = {
  // Both are Primary and write the same blocks; what they send does not arrive, both freeze until the other is fenced, meet again, and of several
  // volumes one is thawed after the other.
  'rivals-thaw': {
    resolve: (resolved) => {
      Object.assign(resolved, { 'protocol': 'C', 'volumes': 2, 'protocol-max': 101 });
    },
    options: () => ({ ...fencedAfter(NEVER_US), net: { ...net, allowTwoPrimaries: true }, workload: { pattern: 'random', sectors: 16 } }),
    tell(setup, random, startUs) {
      setup.failover = { by: 'nobody' };
      setup.prepare = [...setup.prepare, { host: BOB, command: promote }];
      for (let time = 0; time < 4; time++) {
        const [from, to] = random.pick([[ALICE, BOB], [BOB, ALICE]] as const);
        setup.schedule.push(at(`silence-${time}`, startUs + time * 5.5 * SECOND_US, { do: 'stall', from, to, forUs: 3 * SECOND_US }));
      }
    },
  },
  // So many writes collide that the connection is lost between a verdict and what becomes of it.
  'crowded-rivals': {
    resolve: (resolved) => {
      Object.assign(resolved, { 'protocol': 'C', 'queue-depth': 32, 'protocol-max': 101 });
    },
    options: (writes) => ({ ...fencedAfter(NEVER_US), net: { ...net, allowTwoPrimaries: true }, workload: { ...busy(writes), sectors: 128 } }),
    tell(setup, random) {
      setup.failover = { by: 'nobody' };
      setup.prepare = [...setup.prepare, { host: BOB, command: promote }];
      for (const [from, to] of [[ALICE, BOB], [BOB, ALICE]] as const) {
        for (let time = 1; time <= 12; time++) {
          const trigger: Trigger = { onPacket: 'P_RETRY_WRITE', from, to, nth: time * 40 + random.integer(0, 30), when: random.pick(['sent', 'delivered']), delayUs: random.integer(1, 2000) };
          setup.schedule.push({ id: `part-${from}-${time}`, trigger, action: { do: 'reset', from, to } });
        }
      }
    },
  },
  // Both are Primary and lose power in the middle of their writes (bug B069).
  'both-die': {
    resolve: withC,
    options: (writes) => ({ net: { ...net, allowTwoPrimaries: true }, workload: busy(writes) }),
    tell(setup, random, startUs) {
      setup.failover = { by: 'nobody' };
      setup.prepare = [...setup.prepare, { host: BOB, command: promote }];
      for (let time = 0; time < 3; time++) {
        const atUs = startUs + time * 5 * SECOND_US;
        setup.schedule.push(
          at(`power-${time}`, atUs, { do: 'power-loss', hosts: [ALICE, BOB], restartAfterUs: SECOND_US / 2, tear: random.integer(0, 0x7fffffff) }),
          act(`promote-alice-${time}`, atUs + 3 * SECOND_US, ALICE, promote),
          act(`promote-bob-${time}`, atUs + 3.5 * SECOND_US, BOB, promote),
        );
      }
    },
  },
  // While they connect, the stream that says who decides conflicts is lost and made again, now by this side, now by the other.
  'lost-meta': {
    resolve: (resolved) => {
      Object.assign(resolved, { 'protocol': 'C', 'protocol-max': 101 });
    },
    options: (writes) => ({ ...fencedAfter(NEVER_US), net: { ...net, allowTwoPrimaries: true }, workload: { ...busy(writes), sectors: 16 } }),
    tell(setup, random, startUs) {
      setup.failover = { by: 'nobody' };
      setup.prepare = [...setup.prepare, { host: BOB, command: promote }];
      for (let time = 1; time <= 6; time++) {
        const [from, to] = random.pick([[ALICE, BOB], [BOB, ALICE]] as const);
        const trigger: Trigger = { onPacket: 'P_INITIAL_META', from, to, nth: random.integer(1, 2 * time), when: random.pick(['sent', 'delivered'] as const), delayUs: random.integer(1, 3000) };
        setup.schedule.push(
          at(`part-${time}`, startUs + time * 3 * SECOND_US, { do: 'reset', from: ALICE, to: BOB }),
          { id: `lose-${time}`, trigger, action: { do: 'reset', from, to, stream: 'meta' } },
        );
      }
    },
  },
} satisfies Record<string, Story>;
