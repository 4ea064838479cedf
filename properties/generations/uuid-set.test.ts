/**
 * What happens to the four UUIDs: the specification's tuples, and the life of every set that a recorded kernel printed, lived
 * again with these operations.
 */

import fc from '../fast-check.js';
import * as assert from 'uvu/assert';
import { test } from 'uvu';
import {
  acceptSkippedSync,
  afterSkipAnnounced,
  derivedSyncUuid,
  expose,
  exposedEqualsCurrent,
  finishAsSource,
  finishAsTarget,
  formatSlots,
  formatUuid,
  newCurrent,
  newCurrentByOperator,
  setBitmap,
  setRoleBit,
  startAsSource,
  startAsTarget,
  uuidSet,
  uuidTuple,
  withoutPrimaryBit,
  type UuidSet,
} from '../../src/generations/uuid-set.js';
import { kernelLogs, recordingsExist } from '../state/recordings.js';

const STEP = 1n << 48n;
const [c, b, h1, h2, random] = [0xc000n, 0xb000n, 0x1000n, 0x2000n, 0x7777_7777n];
const tuple = (set: UuidSet): string => uuidTuple(set).map((uuid) => uuid.toString(16)).join(':');

test('net effect of a finished resync: the four tuples of the specification', () => {
  for (const bitmap of [b, 0n]) {
    const source = uuidSet([c, bitmap, h1, h2], c);
    const { set: syncing, syncUuid: u } = startAsSource(source, random);
    assert.is(u, bitmap === 0n ? random : b + STEP);
    assert.equal(uuidTuple(syncing), bitmap === 0n ? [c, u, h1, h2] : [c, u, b, h1], 'source while syncing');
    // The target descends from the source: it was its mirror until the bitmap's generation.
    const target = startAsTarget(uuidSet([b, 0n, 0x5000n, 0x6000n], b), u, false);
    assert.equal(uuidTuple(target), [withoutPrimaryBit(u), 0n, 0x5000n, 0x6000n], 'target while syncing');
    const after = bitmap === 0n ? [c, 0n, u, h1] : [c, 0n, u, b];
    assert.equal(uuidTuple(finishAsSource(syncing)), after, 'source afterwards');
    const ended = finishAsTarget(target, source, false);
    assert.equal(uuidTuple(ended).map(withoutPrimaryBit), after.map(withoutPrimaryBit), 'target afterwards');
    assert.is(ended.exposed, ended.current);
  }
});

test('a target that is Primary keeps its own bit 0 through a resync', () => {
  const target = startAsTarget(uuidSet([b | 1n, 0n, 0n, 0n], b), b + STEP, true);
  assert.is(target.current, (b + STEP) | 1n);
  const ended = finishAsTarget(target, uuidSet([c, b, 0n, 0n], 0n), true);
  assert.equal(uuidTuple(ended), [c | 1n, 0n, (b + STEP) | 1n, b]);
});

test('a resync of a just created disk has a random sync UUID, and 64 bits wrap', () => {
  assert.is(derivedSyncUuid(4n), undefined);
  assert.is(derivedSyncUuid(0n), undefined);
  assert.is(derivedSyncUuid(0xffff_0000_0000_1234n), 0x1234n);
  assert.is(derivedSyncUuid(0xffff_0000_0000_0004n), undefined, 'the sum may not look just created');
  const full = startAsSource(uuidSet([c, 4n, 0n, 0n], c), random);
  assert.equal(uuidTuple(full.set), [c, random, 4n, 0n]);
});

test('a new generation: what was becomes the bitmap UUID, bit 0 is kept there and follows the role in front', () => {
  const lost = newCurrent(uuidSet([c | 1n, 0n, h1, h2], c | 1n), random, true);
  assert.equal(uuidTuple(lost), [random | 1n, c | 1n, h1, h2]);
  assert.is(lost.exposed, random | 1n);
  const forced = newCurrent(uuidSet([c, b, h1, h2], c), random, true);
  assert.is(forced.bitmap, c, 'a forced promotion overwrites what was there');
  for (const reserved of [0n, 1n, 4n, 5n]) {
    const set = newCurrent(uuidSet([c, 0n, 0n, 0n], c), reserved, false);
    assert.is(set.current, (1n << 63n) | (reserved & ~1n), 'no generation is called absent or just created');
  }
});

test('bitmap slot, role bit, exposure, skip of the initial sync', () => {
  const set = uuidSet([c, b | 1n, h1, h2], 0n);
  assert.equal(uuidTuple(setBitmap(set, 0n)), [c, 0n, b | 1n, h1]);
  assert.is(setBitmap(setBitmap(set, 0n), 0n).history1, b | 1n, 'a second time nothing moves');
  assert.is(setBitmap(set, 0x99n).bitmap, 0x98n);
  assert.is(setRoleBit(set, true).current, c | 1n);
  assert.is(setRoleBit(set, true).exposed, 0n);
  assert.not.ok(exposedEqualsCurrent(set));
  assert.ok(exposedEqualsCurrent(expose(set)));
  assert.not.ok(exposedEqualsCurrent(setRoleBit(expose(set), true)), 'bit 0 counts');
  const created = uuidSet([4n, 0n, 0n, 0n], 0n);
  const announced = newCurrentByOperator(created, random & ~1n, false);
  assert.equal(uuidTuple(announced), [random & ~1n, 4n, 0n, 0n]);
  assert.equal(uuidTuple(afterSkipAnnounced(announced)), uuidTuple(acceptSkippedSync(created, announced.current, false)));
  assert.equal(uuidTuple(newCurrentByOperator(set, random & ~1n, false)), [random & ~1n, c, b | 1n, h1]);
});

test('nothing that is done leaves 64 bits or changes its argument', () => {
  const uuid = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
  const max = (1n << 64n) - 1n;
  fc.assert(
    fc.property(fc.tuple(uuid, uuid, uuid, uuid), uuid, uuid, fc.boolean(), (four, exposed, drawn, primary) => {
      const set = Object.freeze(uuidSet(four, exposed));
      const results = [
        newCurrent(set, drawn, primary),
        setBitmap(set, drawn),
        setRoleBit(set, primary),
        startAsSource(set, drawn).set,
        startAsTarget(set, drawn, primary),
        finishAsSource(set),
        finishAsTarget(set, uuidSet(four, 0n), primary),
      ];
      for (const result of results) for (const value of Object.values(result)) assert.ok(typeof value === 'bigint' && value >= 0n && value <= max);
      assert.equal(results[0] && (results[0].current & 1n) === 1n, primary);
    }),
  );
});

test('as logs have it', () => {
  assert.is(formatUuid(0x4n), '0000000000000004');
  assert.is(formatSlots(uuidSet([0xabcdef0123456789n, 0n, 0n, 0n], 0n)), 'ABCDEF0123456789:0000000000000000:0000000000000000:0000000000000000');
});

// ---- Kernel logs ---------------------------------------------------------------------------------------------------

const parse = (text: string): UuidSet => {
  const [current = 0n, bitmap = 0n, history1 = 0n, history2 = 0n] = text.split(':').map((part) => BigInt(`0x${part}`));
  return uuidSet([current, bitmap, history1, history2], 0n);
};

interface Life {
  set: UuidSet;
  /** The peer's set as received last. */
  peer: UuidSet;
  primary: boolean;
  /** The role changed, and bit 0 is still to follow. */
  bitDue: boolean;
}

const printed = /^block (drbd\d+): (attached to UUIDs|new current UUID|cleared bitmap UUID|receiver updated UUIDs to|updated sync UUID|updated sync uuid|updated UUIDs|self|peer) ([0-9A-F]{16}(?::[0-9A-F]{16}){3})/;

test('every set of UUIDs that a kernel node printed follows from the one before', () => {
  if (!recordingsExist('UUID sets in kernel logs')) return;
  const followed = new Map<string, number>();
  for (const { scenario, node, lines } of kernelLogs()) {
    // DRBD 9 sends more P_UUIDS than the log prints.
    if (scenario.startsWith('with-drbd9')) continue;
    const lives = new Map<string, Life>();
    for (const line of lines) {
      // A promotion's new generation is printed right after the role, and comes before the role bit.
      const ofPromotion = /: (?:new current UUID|Forced to consider)/.test(line);
      for (const life of lives.values()) {
        if (life.bitDue && !ofPromotion) [life.set, life.bitDue] = [setRoleBit(life.set, life.primary), false];
      }
      // A resize sends P_UUIDS without printing them: the peer's bitmap UUID is known to be 0 by now.
      if (line.includes('Peer sets u_size')) for (const life of lives.values()) life.peer = { ...life.peer, bitmap: 0n };
      const role = /^block (drbd\d+): .*\brole\( \w+ -> (\w+) \)/.exec(line);
      const roleLife = role && lives.get(role[1] ?? '');
      if (role && roleLife) {
        roleLife.primary = role[2] === 'Primary';
        roleLife.bitDue = true;
      }
      const [, device = '', what = '', text = ''] = printed.exec(line) ?? [];
      if (what === '') continue;
      const shown = parse(text);
      if (what === 'attached to UUIDs') {
        const primary = lives.get(device)?.primary ?? false;
        lives.set(device, { set: shown, peer: uuidSet([0n, 0n, 0n, 0n], 0n), primary, bitDue: true });
        continue;
      }
      const life = lives.get(device);
      assert.ok(life, `${scenario} ${node}: ${line}`);
      if (what === 'peer') {
        life.peer = shown;
        continue;
      }
      life.set = next(life, what, shown);
      if (life.bitDue) life.set = setRoleBit(life.set, life.primary);
      life.bitDue = false;
      assert.is(tuple(life.set), tuple(shown), `${scenario} ${node}: ${line}`);
      followed.set(what, (followed.get(what) ?? 0) + 1);
    }
  }
  console.log(`sets followed: ${[...followed].map(([what, times]) => `${what} ${times}x`).join(', ')}`);
  assert.ok([...followed.values()].reduce((sum, times) => sum + times, 0) > 250);
});

const next = (life: Life, what: string, shown: UuidSet): UuidSet => {
  const { set, peer, primary } = life;
  switch (what) {
    case 'self':
      return set;
    case 'new current UUID':
      return newCurrent(set, shown.current, primary);
    case 'cleared bitmap UUID':
      return afterSkipAnnounced(set);
    case 'receiver updated UUIDs to':
      // The announcement still had the sender's B = 4 (generation-uuids.md §3, second qualification).
      life.peer = uuidSet([shown.current, 4n, 0n, 0n], 0n);
      return acceptSkippedSync(set, shown.current, primary);
    case 'updated sync UUID':
      return startAsSource(set, shown.bitmap).set;
    case 'updated sync uuid':
      return startAsTarget(set, shown.current, primary);
    case 'updated UUIDs': {
      const ended = set.bitmap !== 0n ? finishAsSource(set) : finishAsTarget(set, peer, primary);
      life.peer = ended;
      return ended;
    }
    default:
      throw new Error(what);
  }
};

test.run();
