/**
 * The handshake's decision: each step of the specification with an example, the policies over their whole table, and the
 * property that the two nodes of a pair, from mirrored snapshots, come to complementary plans.
 */

import fc from '../fast-check.js';
import * as assert from 'uvu/assert';
import { test } from 'uvu';
import type { AfterSb0Pri, AfterSb1Pri, AfterSb2Pri, RrConflict } from '../../src/config/types.js';
import { decideHandshake, effectivePeerDisk, type DecisionStep, type HandshakePlan, type HandshakeSnapshot } from '../../src/generations/decide.js';
import { afterSb0Pri, afterSb1Pri, afterSb2Pri, type SplitBrainFacts } from '../../src/generations/split-brain.js';
import type { UuidSlots } from '../../src/generations/uuid-set.js';
import { Disk, Role } from '../../src/state/states.js';
import { UuidsFlag } from '../../src/wire/packets.js';

const slots = (current: bigint, bitmap = 0n, history1 = 0n, history2 = 0n): UuidSlots => ({ current, bitmap, history1, history2 });
const [A, B, C, D, E, F] = [0xa0n, 0xb0n, 0xc0n, 0xd0n, 0xe0n, 0xf0n];

interface Changes {
  self?: Partial<HandshakeSnapshot['self']>;
  peer?: Partial<HandshakeSnapshot['peer']>;
  options?: Partial<HandshakeSnapshot['options']>;
  rest?: Partial<Omit<HandshakeSnapshot, 'self' | 'peer' | 'options'>>;
}

const snapshot = ({ self, peer, options, rest }: Changes = {}): HandshakeSnapshot => ({
  self: {
    uuids: slots(A),
    bitsSent: 0n,
    role: Role.Secondary,
    disk: Disk.UpToDate,
    negotiatedDisk: undefined,
    crashedPrimary: false,
    discardMyData: false,
    tentative: false,
    ...self,
  },
  peer: { uuids: slots(A), bits: 0n, flags: 0, role: Role.Secondary, disk: Disk.UpToDate, dryRun: false, ...peer },
  resolveConflicts: false,
  protocol: 101,
  featureWsame: true,
  peerIsDrbd9: false,
  options: { afterSb0Pri: 'disconnect', afterSb1Pri: 'disconnect', afterSb2Pri: 'disconnect', alwaysAsbp: false, rrConflict: 'disconnect', ...options },
  demotion: 'not-tried',
  ...rest,
});

/** Outcome, direction and what decided, in one line. */
const brief = (plan: HandshakePlan): string => {
  const how = plan.outcome === 'refuse' ? ` ${plan.refusal}` : 'full' in plan && plan.full ? ' full' : '';
  return `${plan.outcome}${how} by ${plan.rule} ${plan.decidedBy}${plan.handlers.length > 0 ? ` [${plan.handlers.join(' ')}]` : ''}`;
};

const splitBrain: Changes = { self: { uuids: slots(A, C | 1n), bitsSent: 8n }, peer: { uuids: slots(B, C), bits: 20n } };
const ambiguous: Changes = { self: { uuids: slots(A, C), bitsSent: 8n }, peer: { uuids: slots(B, D), bits: 20n } };
const with_ = (base: Changes, more: Changes): Changes => ({
  self: { ...base.self, ...more.self },
  peer: { ...base.peer, ...more.peer },
  options: { ...base.options, ...more.options },
  rest: { ...base.rest, ...more.rest },
});

const examples: [changes: Changes, expected: string][] = [
  [{}, 'connected by 40 uuid-compare'],
  [{ self: { uuids: slots(B, A), bitsSent: 3n } }, 'source by 70 uuid-compare'],
  [{ peer: { uuids: slots(B, A) } }, 'target by 50 uuid-compare'],
  [{ self: { uuids: slots(4n) } }, 'target full by 20 uuid-compare'],
  // Step 1
  [{ self: { uuids: slots(A, C, E, F) }, peer: { uuids: slots(B, D, 0x77n, 0x99n) } }, 'refuse disconnect by 110 unrelated-data'],
  [{ self: { uuids: slots(A, B) }, rest: { protocol: 90 } }, 'refuse disconnect by 36 peer-too-old'],
  [{ self: { role: Role.Primary }, peer: { flags: UuidsFlag.CRASHED_PRIMARY }, rest: { featureWsame: false } }, 'refuse disconnect by 41 peer-too-old'],
  // Step 2
  [{ self: { disk: Disk.Inconsistent } }, 'target by 40 disk-states'],
  [{ peer: { disk: Disk.Inconsistent } }, 'source by 40 disk-states'],
  [with_(ambiguous, { self: { disk: Disk.Inconsistent } }), 'target full by 100 disk-states'],
  [with_(splitBrain, { peer: { disk: Disk.Inconsistent } }), 'source by 90 disk-states'],
  [{ self: { uuids: slots(4n) }, peer: { disk: Disk.Inconsistent } }, 'source full by 20 disk-states'],
  [{ self: { disk: Disk.Outdated } }, 'connected by 40 uuid-compare'],
  // Steps 3 to 6
  [splitBrain, 'refuse disconnect by 90 split-brain [initial-split-brain split-brain]'],
  [with_(splitBrain, { options: { afterSb0Pri: 'discard-least-changes' } }), 'target by 90 after-sb-0pri [initial-split-brain]'],
  [with_(splitBrain, { self: { role: Role.Primary }, options: { afterSb1Pri: 'discard-secondary' } }), 'source by 90 after-sb-1pri [initial-split-brain]'],
  [with_(splitBrain, { self: { discardMyData: true } }), 'target by 90 discard-my-data [initial-split-brain]'],
  [with_(splitBrain, { peer: { flags: UuidsFlag.DISCARD_MY_DATA } }), 'source by 90 discard-my-data [initial-split-brain]'],
  [with_(splitBrain, { self: { discardMyData: true }, peer: { flags: UuidsFlag.DISCARD_MY_DATA } }), 'refuse disconnect by 90 split-brain [initial-split-brain split-brain]'],
  [with_(ambiguous, { options: { afterSb0Pri: 'discard-least-changes' } }), 'refuse disconnect by 100 split-brain [initial-split-brain split-brain]'],
  [with_(ambiguous, { options: { afterSb0Pri: 'discard-least-changes', alwaysAsbp: true } }), 'target full by 100 after-sb-0pri [initial-split-brain]'],
  // B088: no bitmap describes this difference.
  [with_(ambiguous, { self: { discardMyData: true } }), 'target full by 100 discard-my-data [initial-split-brain]'],
  // Demotion
  [
    with_(splitBrain, { self: { role: Role.Primary }, options: { afterSb0Pri: 'discard-least-changes', afterSb1Pri: 'call-pri-lost-after-sb' } }),
    'demote-first by 90 after-sb-1pri',
  ],
  [
    with_(splitBrain, {
      self: { role: Role.Primary },
      options: { afterSb0Pri: 'discard-least-changes', afterSb1Pri: 'call-pri-lost-after-sb' },
      rest: { demotion: 'done' },
    }),
    'target by 90 after-sb-1pri [initial-split-brain]',
  ],
  [
    with_(splitBrain, {
      self: { role: Role.Primary },
      options: { afterSb0Pri: 'discard-least-changes', afterSb1Pri: 'call-pri-lost-after-sb' },
      rest: { demotion: 'refused' },
    }),
    'refuse disconnect by 90 split-brain [initial-split-brain pri-lost-after-sb split-brain]',
  ],
  // Step 7
  [{ self: { uuids: slots(B, A), disk: Disk.Inconsistent }, peer: { disk: Disk.Inconsistent } }, 'refuse disconnect by 70 source-inconsistent'],
  // Step 8
  [{ self: { role: Role.Primary }, peer: { uuids: slots(B, A) } }, 'refuse disconnect by 50 rr-conflict'],
  [{ self: { role: Role.Primary }, peer: { uuids: slots(B, A) }, options: { rrConflict: 'call-pri-lost' } }, 'refuse disconnect by 50 rr-conflict [pri-lost]'],
  [{ self: { role: Role.Primary }, peer: { uuids: slots(B, A) }, options: { rrConflict: 'violently' } }, 'target by 50 uuid-compare'],
  [{ self: { role: Role.Primary, disk: Disk.Outdated }, peer: { uuids: slots(B, A) } }, 'target by 50 uuid-compare'],
  // Step 9
  [{ self: { tentative: true } }, 'refuse disconnect by 40 tentative'],
  [{ peer: { dryRun: true } }, 'refuse retry by 40 tentative'],
  // Refusals of a late attach
  [with_(splitBrain, { self: { disk: Disk.Negotiating, negotiatedDisk: Disk.UpToDate } }), 'refuse disk-failed by 90 split-brain [initial-split-brain split-brain]'],
  [with_(splitBrain, { peer: { disk: Disk.Negotiating } }), 'refuse peer-diskless by 90 split-brain [initial-split-brain split-brain]'],
  [{ self: { disk: Disk.Negotiating, negotiatedDisk: Disk.Inconsistent } }, 'target by 40 disk-states'],
  [{ peer: { disk: Disk.Negotiating, flags: UuidsFlag.INCONSISTENT } }, 'source by 40 disk-states'],
  [{ peer: { disk: Disk.Negotiating } }, 'connected by 40 uuid-compare'],
];

test('each step has its examples', () => {
  for (const [changes, expected] of examples) assert.is(brief(decideHandshake(snapshot(changes))), expected);
  const steps: Record<DecisionStep, true> = {
    'uuid-compare': true,
    'unrelated-data': true,
    'peer-too-old': true,
    'disk-states': true,
    'after-sb-0pri': true,
    'after-sb-1pri': true,
    'after-sb-2pri': true,
    'discard-my-data': true,
    'split-brain': true,
    'source-inconsistent': true,
    'rr-conflict': true,
    tentative: true,
  };
  const missing = Object.keys(steps).filter((step) => !examples.some(([, expected]) => expected.includes(` ${step}`)));
  assert.equal(missing, ['after-sb-2pri'], 'two Primaries have their own test below');
});

test('two Primaries', () => {
  const both = with_(splitBrain, { self: { role: Role.Primary }, peer: { role: Role.Primary }, options: { afterSb0Pri: 'discard-local' } });
  assert.is(brief(decideHandshake(snapshot(both))), 'refuse disconnect by 90 split-brain [initial-split-brain split-brain]');
  const violent = with_(both, { options: { afterSb2Pri: 'violently-as0p' } });
  assert.is(brief(decideHandshake(snapshot(violent))), 'refuse disconnect by 90 rr-conflict [initial-split-brain]', 'data would change under a Primary');
  const demoting = with_(both, { options: { afterSb2Pri: 'call-pri-lost-after-sb' } });
  assert.is(brief(decideHandshake(snapshot(demoting))), 'demote-first by 90 after-sb-2pri');
  assert.is(brief(decideHandshake(snapshot(with_(demoting, { rest: { demotion: 'done' } })))), 'target by 90 after-sb-2pri [initial-split-brain]');
});

test("the log says it in DRBD's words, and corrections come with the plan", () => {
  const plan = decideHandshake(snapshot(splitBrain));
  assert.equal(
    plan.log.map(({ text }) => text),
    [
      'self 00000000000000A0:00000000000000C1:0000000000000000:0000000000000000 bits:8 flags:0',
      'peer 00000000000000B0:00000000000000C0:0000000000000000:0000000000000000 bits:20 flags:0',
      'uuid_compare()=100 by rule 90',
      'Split-Brain detected but unresolved, dropping connection!',
    ],
  );
  const lost: Changes = { self: { uuids: slots(B, A + (1n << 48n), A, C) } };
  const corrected = decideHandshake(snapshot(lost));
  assert.is(brief(corrected), 'source by 71 uuid-compare');
  assert.equal('correctSelf' in corrected && corrected.correctSelf, slots(B, A, C, C));
  assert.not.ok('correctSelf' in decideHandshake(snapshot(with_(lost, { self: { tentative: true } }))), 'nothing is changed by what is refused');
  const leftBits = decideHandshake(snapshot({ self: { bitsSent: 7n } }));
  assert.is(leftBits.log.at(-1)?.text, 'No resync, but 7 bits in bitmap!');
});

test('a negotiating disk without its remembered state is a bug of ours', () => {
  assert.throws(() => decideHandshake(snapshot({ self: { disk: Disk.Negotiating } })));
  assert.is(effectivePeerDisk(Disk.Outdated, UuidsFlag.INCONSISTENT), Disk.Outdated, 'flag 4 counts only behind Negotiating');
});

// ---- Policies ------------------------------------------------------------------------------------------------------

const policies0: AfterSb0Pri[] = [
  'disconnect',
  'discard-younger-primary',
  'discard-older-primary',
  'discard-zero-changes',
  'discard-least-changes',
  'discard-local',
  'discard-remote',
];
const policies1: AfterSb1Pri[] = ['disconnect', 'consensus', 'discard-secondary', 'call-pri-lost-after-sb', 'violently-as0p'];
const policies2: AfterSb2Pri[] = ['disconnect', 'call-pri-lost-after-sb', 'violently-as0p'];
const conflicts: RrConflict[] = ['disconnect', 'call-pri-lost', 'violently'];

const swapLocal = (policy: AfterSb0Pri): AfterSb0Pri => (policy === 'discard-local' ? 'discard-remote' : policy === 'discard-remote' ? 'discard-local' : policy);

test('after-sb-0pri, over the whole table: one node wins, the other loses, or both give up', () => {
  const bits = [0n, 3n, 5n];
  let cases = 0;
  for (const policy of policies0)
    for (const self of [C, C | 1n])
      for (const peer of [C, C | 1n])
        for (const selfBits of bits)
          for (const peerBits of bits)
            for (const resolveConflicts of [false, true]) {
              cases++;
              const facts: SplitBrainFacts = { selfBitmapUuid: self, peerBitmapUuid: peer, selfBits, peerBits, resolveConflicts, selfPrimary: false };
              const other: SplitBrainFacts = { ...facts, selfBitmapUuid: peer, peerBitmapUuid: self, selfBits: peerBits, peerBits: selfBits, resolveConflicts: !resolveConflicts };
              const here = afterSb0Pri(policy, facts);
              const there = afterSb0Pri(swapLocal(policy), other);
              assert.is(there, here === -100 ? -100 : -here, `${policy} ${JSON.stringify([self & 1n, peer & 1n, selfBits, peerBits, resolveConflicts].map(String))}`);
            }
  assert.is(cases, 7 * 4 * 9 * 2);
  const facts: SplitBrainFacts = { selfBitmapUuid: C | 1n, peerBitmapUuid: C, selfBits: 1n, peerBits: 9n, resolveConflicts: false, selfPrimary: false };
  assert.is(afterSb0Pri('discard-younger-primary', facts), 1, 'we lost our peer while Primary: we are the older one');
  assert.is(afterSb0Pri('discard-older-primary', facts), -1);
  assert.is(afterSb0Pri('discard-younger-primary', { ...facts, peerBitmapUuid: C | 1n }), -1, 'undecided: fewest changes');
  assert.is(afterSb0Pri('discard-older-primary', { ...facts, peerBitmapUuid: C | 1n, selfBits: 0n, peerBits: 0n }), 1, 'undecided: by lot');
  assert.is(afterSb0Pri('discard-zero-changes', facts), -100);
  assert.is(afterSb0Pri('discard-zero-changes', { ...facts, peerBits: 0n }), 1);
  assert.is(afterSb0Pri('discard-least-changes', facts), -1);
});

test('after-sb-1pri and -2pri', () => {
  const facts: SplitBrainFacts = { selfBitmapUuid: C, peerBitmapUuid: C, selfBits: 1n, peerBits: 9n, resolveConflicts: false, selfPrimary: true };
  const secondary = { ...facts, selfPrimary: false };
  const expected: [AfterSb1Pri, AfterSb0Pri, as_primary: unknown, as_secondary: unknown][] = [
    ['disconnect', 'discard-local', -100, -100],
    ['consensus', 'discard-local', -100, -1],
    ['consensus', 'discard-remote', 1, -100],
    ['discard-secondary', 'disconnect', 1, -1],
    ['call-pri-lost-after-sb', 'discard-local', 'demote-first', -1],
    ['call-pri-lost-after-sb', 'discard-remote', 1, 1],
    ['call-pri-lost-after-sb', 'disconnect', -100, -100],
    ['violently-as0p', 'discard-local', -1, -1],
  ];
  for (const [policy, policy0, asPrimary, asSecondary] of expected) {
    assert.equal([afterSb1Pri(policy, policy0, facts), afterSb1Pri(policy, policy0, secondary)], [asPrimary, asSecondary], `${policy} ${policy0}`);
  }
  assert.is(afterSb2Pri('disconnect', 'discard-local', facts), -100);
  assert.is(afterSb2Pri('violently-as0p', 'discard-local', facts), -1);
  assert.is(afterSb2Pri('call-pri-lost-after-sb', 'discard-local', facts), 'demote-first');
  assert.is(afterSb2Pri('call-pri-lost-after-sb', 'discard-remote', facts), 1);
});

// ---- Mirrored plans ------------------------------------------------------------------------------------------------

const uuid = fc.constantFrom(4n, A, A | 1n, A + (1n << 48n), B, C, 0n);
/** A disk state as a node's own P_STATE says it; a kernel's sets have a current UUID. */
const anySlots = fc.record({ current: uuid.filter((value) => value !== 0n), bitmap: uuid, history1: uuid, history2: uuid }, { noNullPrototype: true });
const side = fc.record(
  {
    uuids: anySlots,
    bits: fc.constantFrom(0n, 3n, 9n),
    role: fc.constantFrom(Role.Primary, Role.Secondary),
    disk: fc.constantFrom(Disk.Inconsistent, Disk.Outdated, Disk.Consistent, Disk.UpToDate),
    negotiating: fc.boolean(),
    crashed: fc.boolean(),
    discards: fc.boolean(),
    tentative: fc.constantFrom(false, false, false, true),
  },
  { noNullPrototype: true },
);
type Side = typeof side extends fc.Arbitrary<infer T> ? T : never;

const seenFrom = (me: Side, other: Side, resolveConflicts: boolean, options: HandshakeSnapshot['options']): HandshakeSnapshot => ({
  self: {
    uuids: me.uuids,
    bitsSent: me.bits,
    role: me.role,
    disk: me.negotiating ? Disk.Negotiating : me.disk,
    negotiatedDisk: me.negotiating ? me.disk : undefined,
    crashedPrimary: me.crashed,
    discardMyData: me.discards,
    tentative: me.tentative,
  },
  peer: {
    uuids: other.uuids,
    bits: other.bits,
    flags:
      (other.discards ? UuidsFlag.DISCARD_MY_DATA : 0) |
      (other.crashed ? UuidsFlag.CRASHED_PRIMARY : 0) |
      (other.negotiating && other.disk === Disk.Inconsistent ? UuidsFlag.INCONSISTENT : 0),
    role: other.role,
    disk: other.negotiating ? Disk.Negotiating : other.disk,
    dryRun: other.tentative,
  },
  resolveConflicts,
  protocol: 101,
  featureWsame: true,
  peerIsDrbd9: false,
  options,
  demotion: 'not-tried',
});

/** What one node may decide alone, while the other goes on: it drops the connection, and the other sees that. */
const oneSided: DecisionStep[] = ['source-inconsistent', 'rr-conflict', 'after-sb-1pri', 'after-sb-2pri'];

test('mirrored snapshots give complementary plans', () => {
  const outcomes = new Map<string, number>();
  let crossed = 0;
  const options = fc.record(
    {
      afterSb0Pri: fc.constantFrom(...policies0),
      afterSb1Pri: fc.constantFrom(...policies1),
      afterSb2Pri: fc.constantFrom(...policies2),
      alwaysAsbp: fc.boolean(),
      rrConflict: fc.constantFrom(...conflicts),
    },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(side, side, fc.boolean(), options, (one, two, resolveConflicts, local) => {
      const remote = { ...local, afterSb0Pri: swapLocal(local.afterSb0Pri) };
      const here = decideHandshake(seenFrom(one, two, resolveConflicts, local));
      const there = decideHandshake(seenFrom(two, one, !resolveConflicts, remote));
      const text = `${brief(here)} | ${brief(there)}`;
      // Each set claims to descend from the other: not from honest nodes (compare.ts).
      const descends = ['50', '50b', '51', '51b', '60', '60b'];
      if (descends.includes(here.rule) && descends.includes(there.rule)) {
        crossed++;
        return;
      }
      outcomes.set(here.outcome, (outcomes.get(here.outcome) ?? 0) + 1);
      const pair = [here.outcome, there.outcome].sort().join('+');
      if (here.outcome === 'source' && there.outcome === 'target') assert.is(here.full, there.full, text);
      if (['connected+connected', 'source+target', 'refuse+refuse'].includes(pair)) return;
      // One side drops the connection or has to demote first; the other may be on its way to anything but Connected.
      const stopper = [here, there].find(({ outcome, decidedBy }) => (outcome === 'refuse' || outcome === 'demote-first') && oneSided.includes(decidedBy));
      assert.ok(stopper, text);
      assert.is.not(stopper === here ? there.outcome : here.outcome, 'connected', text);
    }),
    { numRuns: 30000 },
  );
  console.log(`outcomes: ${[...outcomes].map(([name, times]) => `${name} ${times}`).join(', ')}; crossed lineages left out: ${crossed}`);
  assert.is(outcomes.size, 5);
});

test.run();
