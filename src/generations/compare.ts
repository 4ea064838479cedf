/**
 * The comparison of two sets of generation UUIDs (generation-uuids.md §5): who is newer, by how much, or whether they have
 * parted. Both nodes run it on mirrored inputs and must come to mirrored results; that is a tested property. The exceptions,
 * which no pair of honest nodes produces: both current UUIDs 0 (rule 20 on both sides), and sets each of which claims to
 * descend from the other (a rule of 50-60 and a rule of 70-80 at once).
 */

import { JUST_CREATED, isDerivedFrom, sameGeneration, withoutPrimaryBit, type UuidSlots } from './uuid-set.js';

/** 110 is the specification's name for "nothing matched"; DRBD reports it as 100. */
export const comparisonRules = [
  '10', '20', '30', '34', '35', '36', '37', '40', '41', '50', '51', '60', '70', '71', '80', '90', '100', '110',
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
}

export interface Comparison {
  result: ComparisonResult;
  rule: ComparisonRule;
  /** What this node's slots must become before anything else is done: it, or the peer, missed the end or begin of a resync. */
  correctSelf?: UuidSlots;
  /** The same for this node's copy of the peer's slots. */
  correctPeer?: UuidSlots;
}

const TOO_OLD_BELOW_91 = -1091;

/** "Finished" was missed: the bitmap UUID goes into the history, as at the end of a resync. */
const bitmapToHistory = (slots: UuidSlots): UuidSlots => ({ ...slots, bitmap: 0n, history1: slots.bitmap, history2: slots.history1 });

/** The sync UUID never arrived: the rotation at the start of the resync is undone. */
const historyToBitmap = (slots: UuidSlots): UuidSlots => ({ ...slots, bitmap: slots.history1, history1: slots.history2 });

/** Is the younger history of `ahead` what its bitmap UUID was derived from, so that the last P_SYNC_UUID was lost? */
const syncUuidWasLost = (ahead: UuidSlots, behind: UuidSlots, protocol: number): boolean => {
  if (!sameGeneration(behind.current, ahead.history1)) return false;
  return protocol >= 96 ? isDerivedFrom(ahead.bitmap, ahead.history1) : sameGeneration(behind.history1, ahead.history2);
};

/** Rules 34-37: equal generations, and just one side believes that there is a difference. */
const compareOneSidedBitmap = (input: ComparisonInput): Comparison | undefined => {
  const { self, peer, protocol } = input;
  if (peer.bitmap === 0n && self.bitmap !== 0n) {
    const missedFinish = sameGeneration(self.bitmap, peer.history1) && sameGeneration(self.history1, peer.history2);
    const rule = missedFinish ? '34' : '36';
    if (protocol < 91) return { result: TOO_OLD_BELOW_91, rule };
    return missedFinish ? { result: 1, rule, correctSelf: bitmapToHistory(self) } : { result: 1, rule };
  }
  if (self.bitmap === 0n && peer.bitmap !== 0n) {
    const missedFinish = sameGeneration(self.history1, peer.bitmap) && sameGeneration(self.history2, peer.history1);
    const rule = missedFinish ? '35' : '37';
    if (protocol < 91) return { result: TOO_OLD_BELOW_91, rule };
    return missedFinish ? { result: -1, rule, correctPeer: bitmapToHistory(peer) } : { result: -1, rule };
  }
  return undefined;
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
  return { result: selfCrashed ? 1 : -1, rule: '40' };
};

/** Rules 50-110: different generations. */
const compareLineages = (input: ComparisonInput): Comparison => {
  const { self, peer, protocol } = input;
  if (sameGeneration(self.current, peer.bitmap)) return { result: -1, rule: '50' };
  if (syncUuidWasLost(peer, self, protocol)) {
    if (protocol < 91) return { result: TOO_OLD_BELOW_91, rule: '51' };
    return { result: -1, rule: '51', correctPeer: historyToBitmap(peer) };
  }
  if (sameGeneration(self.current, peer.history1) || sameGeneration(self.current, peer.history2)) return { result: -2, rule: '60' };
  if (sameGeneration(self.bitmap, peer.current)) return { result: 1, rule: '70' };
  if (syncUuidWasLost(self, peer, protocol)) {
    if (protocol < 91) return { result: TOO_OLD_BELOW_91, rule: '71' };
    return { result: 1, rule: '71', correctSelf: historyToBitmap(self) };
  }
  if (sameGeneration(peer.current, self.history1) || sameGeneration(peer.current, self.history2)) return { result: 2, rule: '80' };
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
