/**
 * The comparison of two sets of generation UUIDs (generation-uuids.md §5): who is newer, by how much, or whether they have
 * parted. Both nodes run it on mirrored inputs and must come to mirrored results; that is a tested property. The exceptions,
 * which no pair of honest nodes produces: both current UUIDs 0 (rule 20 on both sides), and sets each of which claims to
 * descend from the other (a rule of 50-60 and a rule of 70-80 at once).
 */

import { JUST_CREATED, isDerivedFrom, sameGeneration, withoutPrimaryBit, type UuidSlots } from './uuid-set.js';

/**
 * 110 is the specification's name for "nothing matched"; DRBD reports it as 100.
 *
 * The rules with a `b` (both changed) are not the kernel's. A source that lost the link just when its target finished keeps a
 * bitmap UUID, so it begins no new generation when it goes on alone as Primary. The target, which finished, is promoted and
 * begins one that descends from theirs. The kernel's rule 50 then makes the source a target, and what it wrote alone is lost
 * without a word. But it has a bitmap UUID and out-of-sync bits, which nobody has who merely fell behind: that is a split brain.
 */
export const comparisonRules = [
  '10', '20', '30', '34', '35', '36', '37', '40', '41', '50', '50b', '51', '51b', '60', '60b', '70', '70b', '71', '71b', '80', '80b', '90', '100', '110',
] as const;
export type ComparisonRule = (typeof comparisonRules)[number];

/** Rule 41's "too old": the protocol and the feature that the peer would need, packed as DRBD does. */
export const NEEDS_FEATURE_WSAME = -(0x10000 | 101 | (0x4 << 8));

/**
 * 0: same data. +1/-1: this node is source/target, by bitmap; +2/-2: the same, everything. +100: split brain, policies may
 * solve it; -100: ambiguous split brain. -1000: unrelated. -1091, NEEDS_FEATURE_WSAME: the peer is too old for what is needed.
 */
export type ComparisonResult = 0 | 1 | -1 | 2 | -2 | 100 | -100 | -1000 | -1091 | typeof NEEDS_FEATURE_WSAME;

export interface ComparisonInput {
  self: UuidSlots;
  peer: UuidSlots;
  /** Out-of-sync bits as they were when the UUIDs were exchanged. */
  selfBits: bigint;
  peerBits: bigint;
  /** CRASHED_PRIMARY of this node; flag 2 of the peer's P_UUIDS. */
  selfCrashed: boolean;
  peerCrashed: boolean;
  selfPrimary: boolean;
  peerPrimary: boolean;
  /** The asymmetry bit of the connection: set on the node that accepted the meta stream. */
  resolveConflicts: boolean;
  /** Agreed protocol version, 86..101. */
  protocol: number;
  /** Feature WSAME (0x4) was negotiated. */
  featureWsame: boolean;
  /** It announced more than protocol 101. */
  peerIsDrbd9: boolean;
}

export interface Comparison {
  result: ComparisonResult;
  rule: ComparisonRule;
  /** What this node's slots must become when the result is acted upon: it, or the peer, missed the end or begin of a resync. */
  correctSelf?: UuidSlots;
  /** The same for this node's copy of the peer's slots. */
  correctPeer?: UuidSlots;
}

const TOO_OLD_BELOW_91 = -1091;

/** The bitmap UUID goes into the history, as at the end of a resync. */
const bitmapToHistory = (slots: UuidSlots): UuidSlots => ({ ...slots, bitmap: 0n, history1: slots.bitmap, history2: slots.history1 });

/** The sync UUID never arrived: the rotation at the start of the resync is undone. */
const historyToBitmap = (slots: UuidSlots): UuidSlots => ({ ...slots, bitmap: slots.history1, history1: slots.history2 });

/**
 * Is the younger history of `ahead` what its bitmap UUID was derived from, so that the last P_SYNC_UUID was lost? Below protocol 96 a source
 * drew the sync UUID at random, and only the older histories can tell. They do not where `behind` took an earlier sync UUID and was cut then:
 * each further loss would push its generation one slot down and, at last, out of what `ahead` remembers (unrelated data, rule 110). But one
 * of us derives whatever the protocol, and a derived one is proof.
 */
const syncUuidWasLost = (ahead: UuidSlots, behind: UuidSlots, protocol: number): boolean => {
  if (!sameGeneration(behind.current, ahead.history1)) return false;
  return isDerivedFrom(ahead.bitmap, ahead.history1) || (protocol < 96 && sameGeneration(behind.history1, ahead.history2));
};

/**
 * Rules 34-37: equal generations, and just one side believes that there is a difference.
 *
 * Rules 34 and 35 are those where the source missed the end of its resync. The kernel corrects its sets at once, as that end
 * would have done. Here the bitmap UUID stays until a resync really ends: if this one is cut before it began, a source whose
 * bitmap UUID is 0 would be taken as in sync by rule 40, whatever its bits say. The sets at the end are the same.
 */
const compareOneSidedBitmap = ({ self, peer, protocol }: ComparisonInput): Comparison | undefined => {
  const isSource = peer.bitmap === 0n && self.bitmap !== 0n;
  const isTarget = self.bitmap === 0n && peer.bitmap !== 0n;
  if (!isSource && !isTarget) return undefined;
  const [source, target] = isSource ? [self, peer] : [peer, self];
  const missedFinish = sameGeneration(source.bitmap, target.history1) && sameGeneration(source.history1, target.history2);
  const rule = isSource ? (missedFinish ? '34' : '36') : missedFinish ? '35' : '37';
  if (protocol < 91) return { result: TOO_OLD_BELOW_91, rule };
  return { result: isSource ? 1 : -1, rule };
};

/** Rules 40 and 41: equal generations, but a Primary that crashed may have written what the other does not have. */
const compareCrashes = (input: ComparisonInput): Comparison => {
  const { selfCrashed, peerCrashed, selfPrimary, peerPrimary } = input;
  if (!selfCrashed && !peerCrashed) return { result: 0, rule: '40' };
  if (selfPrimary || peerPrimary) {
    if (!input.featureWsame) return { result: NEEDS_FEATURE_WSAME, rule: '41' };
    if (selfPrimary && peerPrimary) return { result: -100, rule: '41' };
    return { result: selfPrimary ? 1 : -1, rule: '41' };
  }
  if (selfCrashed && peerCrashed) return { result: input.resolveConflicts ? -1 : 1, rule: '40' };
  // DRBD 9, which survived, makes itself the source: two sources would wait for each other for ever (captures/with-drbd9, 23).
  return { result: selfCrashed && !input.peerIsDrbd9 ? 1 : -1, rule: '40' };
};

type DescentRule = '50' | '51' | '60';
const mirroredRule = { '50': '70', '51': '71', '60': '80' } as const;

/** Does `descendant` say that its data comes from the generation that `ancestor` has? Rules 50-60, seen from the other side 70-80. */
const descent = (ancestor: UuidSlots, descendant: UuidSlots, protocol: number): DescentRule | undefined => {
  if (sameGeneration(ancestor.current, descendant.bitmap)) return '50';
  if (syncUuidWasLost(descendant, ancestor, protocol)) return '51';
  if (sameGeneration(ancestor.current, descendant.history1) || sameGeneration(ancestor.current, descendant.history2)) return '60';
  return undefined;
};

/** What follows from a descent, for the node that `descendantIs` names as the one with the newer data. */
const judgeDescent = (found: DescentRule, input: ComparisonInput, descendantIs: 'self' | 'peer'): Comparison => {
  const isSource = descendantIs === 'self';
  const [ancestor, descendant] = isSource ? [input.peer, input.self] : [input.self, input.peer];
  const ancestorBits = isSource ? input.peerBits : input.selfBits;
  const rule = isSource ? mirroredRule[found] : found;
  if (found === '51' && input.protocol < 91) return { result: TOO_OLD_BELOW_91, rule };
  // Where the common generation is in the history, no bitmap describes the difference: ambiguous.
  if (ancestor.bitmap !== 0n && ancestorBits > 0n) return { result: found === '50' ? 100 : -100, rule: `${rule}b` };
  const comparison: Comparison = { result: found === '60' ? (isSource ? 2 : -2) : isSource ? 1 : -1, rule };
  const corrections = {
    // It missed the end of a resync as source and changed nothing since: from now on it is a target like any other.
    ancestor: ancestor.bitmap !== 0n ? bitmapToHistory(ancestor) : undefined,
    descendant: found === '51' ? historyToBitmap(descendant) : undefined,
  };
  const [correctSelf, correctPeer] = isSource ? [corrections.descendant, corrections.ancestor] : [corrections.ancestor, corrections.descendant];
  if (correctSelf !== undefined) comparison.correctSelf = correctSelf;
  if (correctPeer !== undefined) comparison.correctPeer = correctPeer;
  return comparison;
};

/** Rules 50-110: different generations. */
const compareLineages = (input: ComparisonInput): Comparison => {
  const { self, peer, protocol } = input;
  const peerIsNewer = descent(self, peer, protocol);
  if (peerIsNewer !== undefined) return judgeDescent(peerIsNewer, input, 'peer');
  const selfIsNewer = descent(peer, self, protocol);
  if (selfIsNewer !== undefined) return judgeDescent(selfIsNewer, input, 'self');
  if (sameGeneration(self.bitmap, peer.bitmap) && withoutPrimaryBit(self.bitmap) !== 0n) return { result: 100, rule: '90' };
  // An empty history slot equals an empty one: young sets without a common ancestor are ambiguous, not unrelated (§5, details).
  const selfHistory = [self.history1, self.history2];
  const shared = selfHistory.some((uuid) => sameGeneration(uuid, peer.history1) || sameGeneration(uuid, peer.history2));
  return shared ? { result: -100, rule: '100' } : { result: -1000, rule: '110' };
};

/** First match wins; all comparisons ignore bit 0, but for the zero tests of rules 34-37. */
export const compareUuids = (input: ComparisonInput): Comparison => {
  const { self, peer } = input;
  const selfNew = sameGeneration(self.current, JUST_CREATED);
  const peerNew = sameGeneration(peer.current, JUST_CREATED);
  if (selfNew && peerNew) return { result: 0, rule: '10' };
  if ((selfNew || withoutPrimaryBit(self.current) === 0n) && !peerNew) return { result: -2, rule: '20' };
  if (!selfNew && (peerNew || withoutPrimaryBit(peer.current) === 0n)) return { result: 2, rule: '30' };
  if (sameGeneration(self.current, peer.current)) return compareOneSidedBitmap(input) ?? compareCrashes(input);
  return compareLineages(input);
};
