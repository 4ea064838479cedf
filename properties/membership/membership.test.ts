/** The heartbeat: who is asked to take over, when, and above all when not. */

import fc from '../fast-check.js';
import * as assert from 'uvu/assert';
import { test } from 'uvu';
import { decodeHeartbeat, encodeHeartbeat } from '../../src/membership/heartbeat.js';
import { newMembership, onHeartbeat, onTimer, type MembershipState } from '../../src/membership/membership.js';
import { Role } from '../../src/state/states.js';

const MS = 1000;
const config = { intervalMs: 100, deadTimeMs: 500 };
const beat = (role: Role, resource = 'r0'): Uint8Array => encodeHeartbeat({ resource, role });
const started = (peers = ['bob']): MembershipState => newMembership('r0', peers, config, 0);

/** Lets the alarm ring on time until `untilUs`; returns when it asked for a promotion. */
const live = (state: MembershipState, fromUs: number, untilUs: number, role: Role, each?: (nowUs: number) => void): number[] => {
  const asked: number[] = [];
  let nowUs = fromUs;
  while (nowUs <= untilUs) {
    each?.(nowUs);
    const wish = onTimer(state, nowUs, role);
    if (wish.promote) asked.push(nowUs);
    assert.ok(wish.nextDeadlineUs > nowUs, 'the alarm moves on');
    nowUs = wish.nextDeadlineUs;
  }
  return asked;
};

test('a message is understood, and nothing else is', () => {
  assert.equal(decodeHeartbeat(beat(Role.Primary)), { resource: 'r0', role: Role.Primary });
  const good = beat(Role.Secondary);
  for (let length = 0; length < good.length; length++) assert.is(decodeHeartbeat(good.subarray(0, length)), undefined);
  assert.is(decodeHeartbeat(new Uint8Array([...good, 0])), undefined);
  for (const [index, value] of [[0, 1], [1, 1], [2, 2], [3, 0], [3, 3], [4, 0], [4, 9]] as const) {
    const bad = good.slice();
    bad[index] = value;
    assert.is(decodeHeartbeat(bad), undefined, `byte ${index} = ${value}`);
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => void decodeHeartbeat(bytes)));
  const name = fc.string({ minLength: 1, maxLength: 128, unit: 'grapheme-ascii' });
  fc.assert(fc.property(name, fc.constantFrom(Role.Primary, Role.Secondary), (resource, role) => assert.equal(decodeHeartbeat(encodeHeartbeat({ resource, role })), { resource, role })));
});

test('it beats every interval, and at once when the role changes', () => {
  const state = started();
  const sent: number[] = [];
  for (let nowUs = 0; nowUs <= 1000 * MS; nowUs += 10 * MS) if (onTimer(state, nowUs, Role.Secondary).send) sent.push(nowUs / MS);
  assert.equal(sent, [0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000]);
  const changed = onTimer(state, 1010 * MS, Role.Primary);
  assert.equal(changed.send && decodeHeartbeat(changed.send), { resource: 'r0', role: Role.Primary });
});

test('a Primary that falls silent is succeeded after the dead time, not before', () => {
  const state = started();
  const lastBeatUs = 300 * MS;
  const asked = live(state, 0, 2000 * MS, Role.Secondary, (nowUs) => {
    if (nowUs <= lastBeatUs) assert.ok(onHeartbeat(state, nowUs, 'bob', beat(Role.Primary)));
  });
  assert.equal(asked, [800 * MS, 1300 * MS, 1800 * MS], 'at the dead time, and again while it is refused');
});

test('one lost heartbeat, or four, is no death', () => {
  const state = started();
  const asked = live(state, 0, 5000 * MS, Role.Secondary, (nowUs) => {
    if (nowUs % (500 * MS) === 0) onHeartbeat(state, nowUs, 'bob', beat(Role.Primary));
  });
  assert.equal(asked, []);
});

test('nobody is succeeded who was not known to be Primary', () => {
  assert.equal(live(started(), 0, 5000 * MS, Role.Secondary), [], 'never heard, as after a restart');
  const secondary = started();
  onHeartbeat(secondary, 0, 'bob', beat(Role.Secondary));
  assert.equal(live(secondary, 0, 5000 * MS, Role.Secondary), [], 'it was Secondary');
  const demoted = started();
  onHeartbeat(demoted, 0, 'bob', beat(Role.Primary));
  onHeartbeat(demoted, 1, 'bob', beat(Role.Secondary));
  assert.equal(live(demoted, 1, 5000 * MS, Role.Secondary), [], 'it was demoted');
  const strangers = started();
  assert.not.ok(onHeartbeat(strangers, 0, 'carol', beat(Role.Primary)));
  assert.not.ok(onHeartbeat(strangers, 0, 'bob', beat(Role.Primary, 'r1')));
  assert.not.ok(onHeartbeat(strangers, 0, 'bob', new Uint8Array(3)));
  assert.equal(live(strangers, 0, 5000 * MS, Role.Secondary), [], 'someone else, or something else, beat');
});

test('a Primary asks for nothing, and what it was demoted from it does not take again', () => {
  const state = started();
  onHeartbeat(state, 0, 'bob', beat(Role.Primary));
  assert.equal(live(state, 0, 3000 * MS, Role.Primary), []);
  assert.equal(live(state, 3100 * MS, 9000 * MS, Role.Secondary), [], 'an operator demoted it');
});

test('a peer that came back as Secondary ends the asking, and may die again', () => {
  const state = started();
  onHeartbeat(state, 0, 'bob', beat(Role.Primary));
  assert.equal(live(state, 0, 600 * MS, Role.Secondary), [500 * MS]);
  onHeartbeat(state, 700 * MS, 'bob', beat(Role.Secondary));
  assert.equal(live(state, 700 * MS, 3000 * MS, Role.Secondary), []);
  onHeartbeat(state, 3050 * MS, 'bob', beat(Role.Primary));
  assert.equal(live(state, 3100 * MS, 3700 * MS, Role.Secondary), [3550 * MS]);
});

test('a machine that slept does not take its own silence for the death of the peer', () => {
  const state = started();
  onHeartbeat(state, 0, 'bob', beat(Role.Primary));
  live(state, 0, 200 * MS, Role.Secondary);
  const wokeUs = 10_000 * MS;
  assert.not.ok(onTimer(state, wokeUs, Role.Secondary).promote);
  onHeartbeat(state, wokeUs + 1, 'bob', beat(Role.Primary));
  assert.equal(live(state, wokeUs + 100 * MS, wokeUs + 400 * MS, Role.Secondary), []);
  // Even a death that was known before is to be confirmed.
  assert.equal(live(state, wokeUs + 500 * MS, wokeUs + 600 * MS, Role.Secondary), [wokeUs + 500 * MS + 1]);
  assert.not.ok(onTimer(state, wokeUs + 20_000 * MS, Role.Secondary).promote);
  assert.equal(live(state, wokeUs + 20_100 * MS, wokeUs + 20_550 * MS, Role.Secondary), [wokeUs + 20_500 * MS]);
});

test('with several peers, a living Primary is reason enough to wait', () => {
  const state = started(['bob', 'carol']);
  onHeartbeat(state, 0, 'bob', beat(Role.Primary));
  const asked = live(state, 0, 2000 * MS, Role.Secondary, (nowUs) => {
    onHeartbeat(state, nowUs, 'carol', beat(nowUs < 1000 * MS ? Role.Primary : Role.Secondary));
  });
  assert.is(asked[0], 1000 * MS);
});

test('deaths are reported once', () => {
  const state = started();
  onHeartbeat(state, 0, 'bob', beat(Role.Secondary));
  const died: string[] = [];
  for (let nowUs = 0; nowUs <= 2000 * MS; nowUs += 100 * MS) died.push(...onTimer(state, nowUs, Role.Secondary).died);
  assert.equal(died, ['bob']);
});

test('whatever happens, a promotion is asked for only after a full dead time of silence from a peer last heard as Primary', () => {
  const step = fc.record({ kind: fc.constantFrom('primary', 'secondary', 'noise', 'timer', 'timer', 'timer'), afterUs: fc.nat(300 * MS) }, { noNullPrototype: true });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const state = started();
      let nowUs = 0;
      let heardUs = -1;
      let lastRole: Role = Role.Unknown;
      for (const { kind, afterUs } of steps) {
        nowUs += afterUs;
        if (kind === 'timer') {
          if (onTimer(state, nowUs, Role.Secondary).promote) assert.ok(lastRole === Role.Primary && nowUs - heardUs >= 500 * MS);
        } else if (kind === 'noise') {
          onHeartbeat(state, nowUs, 'bob', new Uint8Array([1, 2, 3]));
        } else {
          lastRole = kind === 'primary' ? Role.Primary : Role.Secondary;
          heardUs = nowUs;
          onHeartbeat(state, nowUs, 'bob', beat(lastRole));
        }
      }
    }),
    { numRuns: 2000 },
  );
});

test.run();
