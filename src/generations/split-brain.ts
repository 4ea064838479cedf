/**
 * The policies after a split brain (generation-uuids.md §7): whose data is given up when two histories have parted. Both nodes
 * apply the same policy to mirrored inputs, so that just one of them becomes the source.
 */

import type { AfterSb0Pri, AfterSb1Pri, AfterSb2Pri } from '../config/types.js';
import { PRIMARY_BIT } from './uuid-set.js';

/** -1: this node's data is discarded. +1: the peer's. -100: unsolved. */
export type SplitBrainVerdict = -1 | 1 | -100;

/** Demotion comes first: this node is Primary and would lose its data (call-pri-lost-after-sb). Its success means -1. */
export type PolicyVerdict = SplitBrainVerdict | 'demote-first';

export interface SplitBrainFacts {
  /** Bitmap UUIDs: bit 0 says whether the node was Primary before its generation ended. */
  selfBitmapUuid: bigint;
  peerBitmapUuid: bigint;
  /** Out-of-sync bits of this node when it last sent its UUIDs, and those that the peer sent. */
  selfBits: bigint;
  peerBits: bigint;
  resolveConflicts: boolean;
  selfPrimary: boolean;
}

const byLot = (facts: SplitBrainFacts): SplitBrainVerdict => (facts.resolveConflicts ? -1 : 1);

/** Undefined when both changed something. */
const discardZeroChanges = (facts: SplitBrainFacts): SplitBrainVerdict | undefined => {
  if (facts.selfBits === 0n && facts.peerBits === 0n) return byLot(facts);
  if (facts.peerBits === 0n) return 1;
  if (facts.selfBits === 0n) return -1;
  return undefined;
};

const discardLeastChanges = (facts: SplitBrainFacts): SplitBrainVerdict => {
  if (facts.selfBits < facts.peerBits) return -1;
  if (facts.selfBits > facts.peerBits) return 1;
  return byLot(facts);
};

/**
 * Who was Primary longer: the one whose bitmap UUID is odd lost its peer while Primary, the other was promoted while alone.
 * Undefined when both, or neither, were.
 */
const olderPrimary = (facts: SplitBrainFacts): 'self' | 'peer' | undefined => {
  const self = (facts.selfBitmapUuid & PRIMARY_BIT) !== 0n;
  const peer = (facts.peerBitmapUuid & PRIMARY_BIT) !== 0n;
  if (self === peer) return undefined;
  return self ? 'self' : 'peer';
};

const fallBack = (facts: SplitBrainFacts): SplitBrainVerdict => discardZeroChanges(facts) ?? discardLeastChanges(facts);

/** No Primary present. */
export const afterSb0Pri = (policy: AfterSb0Pri, facts: SplitBrainFacts): SplitBrainVerdict => {
  const older = olderPrimary(facts);
  switch (policy) {
    case 'disconnect':
      return -100;
    case 'discard-younger-primary':
      return older === undefined ? fallBack(facts) : older === 'self' ? 1 : -1;
    case 'discard-older-primary':
      return older === undefined ? fallBack(facts) : older === 'self' ? -1 : 1;
    case 'discard-zero-changes':
      return discardZeroChanges(facts) ?? -100;
    case 'discard-least-changes':
      return discardLeastChanges(facts);
    case 'discard-local':
      return -1;
    case 'discard-remote':
      return 1;
    default:
      return unknownPolicy(policy);
  }
};

/** One Primary present. */
export const afterSb1Pri = (policy: AfterSb1Pri, policy0: AfterSb0Pri, facts: SplitBrainFacts): PolicyVerdict => {
  switch (policy) {
    case 'disconnect':
      return -100;
    case 'consensus': {
      const verdict = afterSb0Pri(policy0, facts);
      const losesSecondary = facts.selfPrimary ? verdict === 1 : verdict === -1;
      return losesSecondary ? verdict : -100;
    }
    case 'discard-secondary':
      return facts.selfPrimary ? 1 : -1;
    case 'call-pri-lost-after-sb': {
      const verdict = afterSb0Pri(policy0, facts);
      return verdict === -1 && facts.selfPrimary ? 'demote-first' : verdict;
    }
    case 'violently-as0p':
      return afterSb0Pri(policy0, facts);
    default:
      return unknownPolicy(policy);
  }
};

/** Both are Primary. */
export const afterSb2Pri = (policy: AfterSb2Pri, policy0: AfterSb0Pri, facts: SplitBrainFacts): PolicyVerdict => {
  switch (policy) {
    case 'disconnect':
      return -100;
    case 'violently-as0p':
      return afterSb0Pri(policy0, facts);
    case 'call-pri-lost-after-sb': {
      const verdict = afterSb0Pri(policy0, facts);
      return verdict === -1 ? 'demote-first' : verdict;
    }
    default:
      return unknownPolicy(policy);
  }
};

const unknownPolicy = (policy: never): never => {
  throw new Error(`no such policy: ${String(policy)}`);
};
