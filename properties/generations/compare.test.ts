/**
 * The comparison table: an example for each rule, the mirrored result over every pair of sets from a small pool of UUIDs, and
 * every comparison that the recorded kernels printed, computed again.
 */

import * as assert from 'uvu/assert';
import { test } from 'uvu';
import { NEEDS_FEATURE_WSAME, compareUuids, comparisonRules, type ComparisonInput, type ComparisonResult, type ComparisonRule } from '../../src/generations/compare.js';
import { sameGeneration, uuidSet, type UuidSlots } from '../../src/generations/uuid-set.js';
import { kernelLogs, recordedWords, recordingsExist } from '../state/recordings.js';

const STEP = 1n << 48n;
const slots = (current: bigint, bitmap = 0n, history1 = 0n, history2 = 0n): UuidSlots => ({ current, bitmap, history1, history2 });

const input = (self: UuidSlots, peer: UuidSlots, more: Partial<ComparisonInput> = {}): ComparisonInput => ({
  self,
  peer,
  selfBits: 0n,
  peerBits: 0n,
  selfCrashed: false,
  peerCrashed: false,
  selfPrimary: false,
  peerPrimary: false,
  resolveConflicts: false,
  protocol: 101,
  featureWsame: true,
  peerIsDrbd9: false,
  ...more,
});

const mirrored = (one: ComparisonInput): ComparisonInput => ({
  ...one,
  self: one.peer,
  peer: one.self,
  selfBits: one.peerBits,
  peerBits: one.selfBits,
  selfCrashed: one.peerCrashed,
  peerCrashed: one.selfCrashed,
  selfPrimary: one.peerPrimary,
  peerPrimary: one.selfPrimary,
  resolveConflicts: !one.resolveConflicts,
});

const mirroredResult = (result: ComparisonResult): number => (Math.abs(result) === 1 || Math.abs(result) === 2 ? -result : result);

const [A, B, C, D, E, F] = [0xa0n, 0xb0n, 0xc0n, 0xd0n, 0xe0n, 0xf0n];

const examples: [rule: ComparisonRule, result: ComparisonResult, self: UuidSlots, peer: UuidSlots, more?: Partial<ComparisonInput>][] = [
  ['10', 0, slots(4n), slots(5n)],
  ['20', -2, slots(4n), slots(A)],
  ['20', -2, slots(0n), slots(A)],
  ['30', 2, slots(A), slots(4n)],
  ['30', 2, slots(A), slots(0n)],
  ['34', 1, slots(A, B, C), slots(A, 0n, B, C)],
  ['36', 1, slots(A, B), slots(A)],
  ['36', -1091, slots(A, B), slots(A), { protocol: 90 }],
  ['35', -1, slots(A, 0n, B, C), slots(A, B, C)],
  ['35', -1091, slots(A, 0n, B, C), slots(A, B, C), { protocol: 90 }],
  ['37', -1, slots(A), slots(A, B)],
  ['40', 0, slots(A | 1n), slots(A)],
  ['40', 0, slots(A, B), slots(A, B)],
  ['40', 1, slots(A), slots(A), { selfCrashed: true }],
  ['40', -1, slots(A), slots(A), { peerCrashed: true }],
  ['40', -1, slots(A), slots(A), { selfCrashed: true, peerCrashed: true, resolveConflicts: true }],
  ['40', 1, slots(A), slots(A), { selfCrashed: true, peerCrashed: true }],
  // A DRBD 9 that survived makes itself the source; one that crashed knows that it is.
  ['40', -1, slots(A), slots(A), { selfCrashed: true, peerIsDrbd9: true }],
  ['40', -1, slots(A), slots(A), { peerCrashed: true, peerIsDrbd9: true }],
  ['41', 1, slots(A | 1n), slots(A), { peerCrashed: true, selfPrimary: true }],
  ['41', -1, slots(A), slots(A | 1n), { selfCrashed: true, peerPrimary: true }],
  ['41', -100, slots(A), slots(A), { selfCrashed: true, selfPrimary: true, peerPrimary: true }],
  ['41', NEEDS_FEATURE_WSAME, slots(A), slots(A), { peerCrashed: true, selfPrimary: true, featureWsame: false }],
  ['50', -1, slots(A), slots(B, A | 1n)],
  ['51', -1, slots(A), slots(B, A + STEP, A)],
  ['51', -1091, slots(A, 0n, C), slots(B, D, A, C), { protocol: 90 }],
  ['51', -1, slots(A, 0n, C), slots(B, D, A, C), { protocol: 95 }],
  // The target took one sync UUID, and lost the next (flapping-link 176): its histories are not the source's, but A + STEP can be no chance.
  ['51', -1, slots(A), slots(B, A + STEP, A, C), { protocol: 95 }],
  ['50b', 100, slots(A, C, D), slots(B, A, C, D), { selfBits: 3n }],
  ['50', -1, slots(A, C, D), slots(B, A, C, D), { peerBits: 3n }],
  ['50', -1, slots(A), slots(B, A), { selfBits: 3n, peerBits: 3n }],
  ['51b', -100, slots(A, C), slots(B, A + STEP, A), { selfBits: 3n }],
  ['60b', -100, slots(A, D), slots(B, C, A), { selfBits: 3n }],
  ['70b', 100, slots(B, A, C, D), slots(A, C, D), { peerBits: 3n }],
  ['71b', -100, slots(B, A + STEP, A), slots(A, C), { peerBits: 3n }],
  ['80b', -100, slots(B, C, A), slots(A, D), { peerBits: 3n }],
  ['60', -2, slots(A), slots(B, C, A)],
  ['60', -2, slots(A), slots(B, C, D, A)],
  ['70', 1, slots(B, A | 1n), slots(A)],
  ['71', 1, slots(B, A + STEP, A), slots(A)],
  ['71', -1091, slots(B, D, A, C), slots(A, 0n, C), { protocol: 90 }],
  ['80', 2, slots(B, C, A), slots(A)],
  ['90', 100, slots(A, C), slots(B, C | 1n)],
  ['100', -100, slots(A, C), slots(B, D)],
  ['100', -100, slots(A, C, E, F), slots(B, D, F, 0x77n)],
  ['110', -1000, slots(A, C, E, F), slots(B, D, 0x77n, 0x99n)],
];

test('every rule has its examples', () => {
  for (const [rule, result, self, peer, more] of examples) {
    const found = compareUuids(input(self, peer, more));
    assert.equal([found.rule, found.result], [rule, result], `rule ${rule}`);
  }
  assert.equal(comparisonRules.filter((rule) => !examples.some(([example]) => example === rule)), []);
});

test('corrections: who missed the end or the begin of a resync is put right', () => {
  assert.is(compareUuids(input(slots(A, B, C, D), slots(A, 0n, B, C))).correctSelf, undefined, 'a difference is not forgotten before a resync ends');
  assert.equal(compareUuids(input(slots(A, C, D), slots(B, A, C, D))).correctSelf, slots(A, 0n, C, D));
  assert.equal(compareUuids(input(slots(A), slots(B, A + STEP, A, C))).correctPeer, slots(B, A, C, C));
  assert.equal(compareUuids(input(slots(B, A + STEP, A, C), slots(A))).correctSelf, slots(B, A, C, C));
});

test('the sum that marks a sync UUID wraps at 64 bits', () => {
  const high = 0xffff_1234_5678_9ab0n;
  assert.is(compareUuids(input(slots(high), slots(B, 0x0000_1234_5678_9ab1n, high))).rule, '51');
});

/** The two exceptions of the specification's "mirror images", named in src/generations/compare.ts. */
const isException = ({ self, peer }: ComparisonInput, rules: ComparisonRule[]): 'both empty' | 'crossed lineages' | undefined => {
  if (sameGeneration(self.current, 0n) && sameGeneration(peer.current, 0n)) return 'both empty';
  const descends = ['50', '50b', '51', '51b', '60', '60b'];
  if (rules.every((rule) => descends.includes(rule))) return 'crossed lineages';
  return undefined;
};

const reached = new Map<ComparisonRule, number>();

const checkMirror = (one: ComparisonInput, exceptions: Map<string, number>): void => {
  const here = compareUuids(one);
  const there = compareUuids(mirrored(one));
  reached.set(here.rule, (reached.get(here.rule) ?? 0) + 1);
  const exception = isException(one, [here.rule, there.rule]);
  if (exception !== undefined) {
    exceptions.set(exception, (exceptions.get(exception) ?? 0) + 1);
    return;
  }
  if (there.result !== mirroredResult(here.result)) {
    assert.unreachable(`rule ${here.rule}: ${here.result}, mirrored rule ${there.rule}: ${there.result}: ${JSON.stringify(one, (_, value: unknown) => (typeof value === 'bigint' ? value.toString(16) : value))}`);
  }
  assert.equal(here.correctSelf, there.correctPeer);
  assert.equal(here.correctPeer, there.correctSelf);
};

function* pairs(pool: readonly bigint[]): Generator<[UuidSlots, UuidSlots]> {
  const all: UuidSlots[] = [];
  for (const current of pool) for (const bitmap of pool) for (const history1 of pool) for (const history2 of pool) all.push({ current, bitmap, history1, history2 });
  for (const self of all) for (const peer of all) yield [self, peer];
}

test('swapping the nodes mirrors the result: every pair of sets from a pool, and every rule is among them', () => {
  const exceptions = new Map<string, number>();
  let count = 0;
  // A random 1 in bit 0 must not matter, a derived value must be findable, 0 and 4 are special.
  for (const [self, peer] of pairs([0n, 4n, A, A + STEP, B | 1n])) {
    count++;
    checkMirror(input(self, peer), exceptions);
    checkMirror(input(self, peer, { selfBits: 2n, peerBits: 3n }), exceptions);
    if (self.current !== peer.current) checkMirror(input(self, peer, { protocol: 95 }), exceptions);
    else checkMirror(input(self, peer, { protocol: 90 }), exceptions);
  }
  // Rule 110 needs eight different values; the crash rules need flags.
  checkMirror(input(slots(A, C, E, F), slots(B, D, 0x77n, 0x99n)), exceptions);
  for (let bits = 0; bits < 64; bits++) {
    const flag = (bit: number): boolean => (bits & (1 << bit)) !== 0;
    checkMirror(
      input(slots(A, B), slots(A, B), {
        selfCrashed: flag(0),
        peerCrashed: flag(1),
        selfPrimary: flag(2),
        peerPrimary: flag(3),
        resolveConflicts: flag(4),
        featureWsame: flag(5),
      }),
      exceptions,
    );
  }
  console.log(`${count} pairs; exceptions: ${[...exceptions].map(([name, times]) => `${name} ${times}`).join(', ')}`);
  console.log(`rules: ${[...reached].map(([rule, times]) => `${rule}:${times}`).join(' ')}`);
  assert.is(count, 5 ** 8);
  assert.equal(comparisonRules.filter((rule) => !reached.has(rule)), []);
});

// ---- Kernel logs ---------------------------------------------------------------------------------------------------

const handshakeLine = /^block (drbd\d+): (self|peer) ([0-9A-F:]{67}) bits:(\d+) flags:([0-9A-F]+)/;

const parseSlots = (text: string): UuidSlots => {
  const [current = 0n, bitmap = 0n, history1 = 0n, history2 = 0n] = text.split(':').map((part) => BigInt(`0x${part}`));
  return uuidSet([current, bitmap, history1, history2], 0n);
};

/** The kernel prints its own flags as 0: whether it was a crashed Primary is in the P_UUIDS that it sent. */
const crashedSets = (): Set<string> =>
  new Set(
    recordedWords(['UUIDS'])
      .filter(({ words }) => ((words[11] ?? 0) & 2) !== 0)
      .map(({ where, words }) => `${where.replace(/^(\S+) \S+ (\w+)-to-.*$/, '$1 $2')} ${words.slice(0, 8).map((word) => word.toString(16).toUpperCase().padStart(8, '0')).join('')}`),
  );

test('every uuid_compare() that a kernel node printed is computed again', () => {
  if (!recordingsExist('uuid_compare lines')) return;
  const crashed = crashedSets();
  const seen = new Map<string, number>();
  for (const log of kernelLogs()) {
    let self = '';
    let peer = '';
    let peerFlags = 0;
    let selfBits = 0n;
    let peerBits = 0n;
    for (const line of log.lines) {
      const [, , who, set = '', bits = '0', flags = '0'] = handshakeLine.exec(line) ?? [];
      if (who === 'self') [self, selfBits] = [set, BigInt(bits)];
      if (who === 'peer') [peer, peerBits, peerFlags] = [set, BigInt(bits), parseInt(flags, 16)];
      const [, result, rule] = /uuid_compare\(\)=(-?\d+) by rule (\d+)/.exec(line) ?? [];
      if (result === undefined || rule === undefined) continue;
      const found = compareUuids(
        input(parseSlots(self), parseSlots(peer), {
          selfBits,
          peerBits,
          selfCrashed: crashed.has(`${log.scenario} ${log.node} ${self.replaceAll(':', '')}`),
          peerCrashed: (peerFlags & 2) !== 0,
        }),
      );
      assert.equal([found.result, found.rule], [Number(result), rule], `${log.scenario} ${log.node}: ${line}`);
      seen.set(`${rule}=${result}`, (seen.get(`${rule}=${result}`) ?? 0) + 1);
    }
  }
  console.log(`recorded comparisons: ${[...seen].map(([what, times]) => `${what} ${times}x`).join(', ')}`);
  assert.ok([...seen.values()].reduce((sum, times) => sum + times, 0) > 180);
});

test.run();
