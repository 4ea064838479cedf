/**
 * The resync handshake: from two sets of UUIDs to what the connection becomes (generation-uuids.md §6, wire-protocol.md §3.9).
 *
 * Both nodes run this on mirrored snapshots when the peer's P_STATE arrives, and must come to mirrored plans. So everything is
 * decided here, once, on one snapshot (bugs B077, B090, B091): who is source, by bitmap or whole, which helpers run, which
 * UUIDs are put right, what the log says, and by which rule. The caller only carries it out.
 *
 * How to use it: build the snapshot, call `decideHandshake`. On `demote-first` try to demote without waiting for transient
 * states, and call again with the same snapshot and `demotion` set to how that went. Any other outcome is final: apply the
 * corrections, run the handlers in order, write the log, then act on the outcome.
 */

import type { AfterSb0Pri, AfterSb1Pri, AfterSb2Pri, NetOptions } from '../config/types.js';
import type { HandlerName } from '../contract/output.js';
import { Disk, Role } from '../state/states.js';
import { UuidsFlag } from '../wire/packets.js';
import { NEEDS_FEATURE_WSAME, compareUuids, type Comparison, type ComparisonRule } from './compare.js';
import { afterSb0Pri, afterSb1Pri, afterSb2Pri, type PolicyVerdict, type SplitBrainFacts } from './split-brain.js';
import { formatSlots, type UuidSlots } from './uuid-set.js';

export interface HandshakeSnapshot {
  self: {
    uuids: UuidSlots;
    /** Out-of-sync bits when our UUIDs were last sent on this connection: the peer decides on the same number. */
    bitsSent: bigint;
    role: Role;
    disk: Disk;
    /** While `disk` is Negotiating: what it would be without the negotiation. */
    negotiatedDisk: Disk | undefined;
    crashedPrimary: boolean;
    discardMyData: boolean;
    /** A dry run that this node's operator asked for. */
    tentative: boolean;
  };
  peer: {
    uuids: UuidSlots;
    bits: bigint;
    /** `UuidsFlag`s of its P_UUIDS. */
    flags: number;
    role: Role;
    /** As its P_STATE says, >= Negotiating. */
    disk: Disk;
    /** Its P_PROTOCOL asked for a dry run. */
    dryRun: boolean;
  };
  resolveConflicts: boolean;
  protocol: number;
  featureWsame: boolean;
  peerIsDrbd9: boolean;
  options: Pick<NetOptions, 'afterSb0Pri' | 'afterSb1Pri' | 'afterSb2Pri' | 'alwaysAsbp' | 'rrConflict'>;
  /** How the demotion went that an earlier call asked for. */
  demotion: 'not-tried' | 'done' | 'refused';
}

/** What decided in the end; `rule` of the plan says what the comparison of the UUIDs came to before that. */
export type DecisionStep =
  | 'uuid-compare'
  | 'unrelated-data'
  | 'peer-too-old'
  | 'disk-states'
  | 'after-sb-0pri'
  | 'after-sb-1pri'
  | 'after-sb-2pri'
  | 'discard-my-data'
  | 'split-brain'
  | 'source-inconsistent'
  | 'rr-conflict'
  | 'tentative';

/**
 * What to do on a refusal: fail our own negotiating disk and stay Connected; treat the peer, whose attach was aborted, as
 * Diskless; give the connection up (Disconnecting, no retry); or treat it as a protocol error, so that it is tried again.
 */
export type Refusal = 'disk-failed' | 'peer-diskless' | 'disconnect' | 'retry';

export interface HandshakeLog {
  level: 'info' | 'warning' | 'error';
  text: string;
}

interface PlanBase {
  rule: ComparisonRule;
  decidedBy: DecisionStep;
  /**
   * New values of this node's slots, and of its copy of the peer's, due before anything else. Never with a refusal: a Primary
   * that goes on alone must keep the bitmap UUID that tells of its changes.
   */
  correctSelf?: UuidSlots;
  correctPeer?: UuidSlots;
  /** To run in this order; their exit codes change nothing. */
  handlers: HandlerName[];
  log: HandshakeLog[];
}

export type HandshakePlan =
  | (PlanBase & { outcome: 'demote-first' })
  | (PlanBase & { outcome: 'connected' })
  /** `full`: set all bits and write the bitmap first (generation-uuids.md §6 step 10). */
  | (PlanBase & { outcome: 'source' | 'target'; full: boolean })
  | (PlanBase & { outcome: 'refuse'; refusal: Refusal });

/** The peer's disk as the rules see it: behind Negotiating stands what flag 4 of its P_UUIDS says (wire-protocol.md §3.7). */
export const effectivePeerDisk = (disk: Disk, uuidFlags: number): Disk => {
  if (disk !== Disk.Negotiating) return disk;
  return (uuidFlags & UuidsFlag.INCONSISTENT) !== 0 ? Disk.Inconsistent : Disk.Consistent;
};

const ownDisk = (self: HandshakeSnapshot['self']): Disk => {
  if (self.disk !== Disk.Negotiating) return self.disk;
  if (self.negotiatedDisk === undefined) throw new Error('a negotiating disk without its remembered state');
  return self.negotiatedDisk;
};

const compare = (snapshot: HandshakeSnapshot): Comparison =>
  compareUuids({
    self: snapshot.self.uuids,
    peer: snapshot.peer.uuids,
    selfBits: snapshot.self.bitsSent,
    peerBits: snapshot.peer.bits,
    selfCrashed: snapshot.self.crashedPrimary,
    peerCrashed: (snapshot.peer.flags & UuidsFlag.CRASHED_PRIMARY) !== 0,
    selfPrimary: snapshot.self.role === Role.Primary,
    peerPrimary: snapshot.peer.role === Role.Primary,
    resolveConflicts: snapshot.resolveConflicts,
    protocol: snapshot.protocol,
    featureWsame: snapshot.featureWsame,
    peerIsDrbd9: snapshot.peerIsDrbd9,
  });

const policyFor = (options: HandshakeSnapshot['options'], primaries: number): AfterSb0Pri | AfterSb1Pri | AfterSb2Pri =>
  primaries === 0 ? options.afterSb0Pri : primaries === 1 ? options.afterSb1Pri : options.afterSb2Pri;

const policyVerdict = (snapshot: HandshakeSnapshot, primaries: number): { verdict: PolicyVerdict; step: DecisionStep } => {
  const { options } = snapshot;
  const facts: SplitBrainFacts = {
    selfBitmapUuid: snapshot.self.uuids.bitmap,
    peerBitmapUuid: snapshot.peer.uuids.bitmap,
    selfBits: snapshot.self.bitsSent,
    peerBits: snapshot.peer.bits,
    resolveConflicts: snapshot.resolveConflicts,
    selfPrimary: snapshot.self.role === Role.Primary,
  };
  if (primaries === 0) return { verdict: afterSb0Pri(options.afterSb0Pri, facts), step: 'after-sb-0pri' };
  if (primaries === 1) return { verdict: afterSb1Pri(options.afterSb1Pri, options.afterSb0Pri, facts), step: 'after-sb-1pri' };
  return { verdict: afterSb2Pri(options.afterSb2Pri, options.afterSb0Pri, facts), step: 'after-sb-2pri' };
};

/**
 * Decides one volume's handshake. Needs own and peer disk >= Negotiating and the peer's UUIDs of this connection.
 * One step differs from the kernel on purpose: a manually solved *ambiguous* split brain syncs everything, since no bitmap
 * describes a difference whose common ancestor is in the history (bug B088). A kernel peer agrees: bitmaps are merged.
 */
export const decideHandshake = (snapshot: HandshakeSnapshot): HandshakePlan => {
  const { self, peer, options } = snapshot;
  const comparison = compare(snapshot);
  const log: HandshakeLog[] = [];
  const handlers: HandlerName[] = [];
  const say = (level: HandshakeLog['level'], text: string): void => void log.push({ level, text });
  const plan = (decidedBy: DecisionStep): PlanBase => ({
    rule: comparison.rule,
    decidedBy,
    handlers,
    log,
  });
  const corrections: Pick<PlanBase, 'correctSelf' | 'correctPeer'> = {
    ...(comparison.correctSelf && { correctSelf: comparison.correctSelf }),
    ...(comparison.correctPeer && { correctPeer: comparison.correctPeer }),
  };
  const refuse = (decidedBy: DecisionStep): HandshakePlan => ({ ...plan(decidedBy), outcome: 'refuse', refusal: refusalOf(snapshot) });

  const selfFlags = (self.discardMyData ? UuidsFlag.DISCARD_MY_DATA : 0) | (self.crashedPrimary ? UuidsFlag.CRASHED_PRIMARY : 0);
  say('info', `self ${formatSlots(self.uuids)} bits:${self.bitsSent} flags:${selfFlags.toString(16)}`);
  say('info', `peer ${formatSlots(peer.uuids)} bits:${peer.bits} flags:${peer.flags.toString(16)}`);
  say('info', `uuid_compare()=${comparison.result} by rule ${comparison.rule === '110' ? '100' : comparison.rule}`);

  // 1. Nothing can be made of it.
  if (comparison.result === -1000) {
    say('error', 'Unrelated data, aborting!');
    return refuse('unrelated-data');
  }
  if (comparison.result === -1091) {
    say('error', 'To resolve this both sides have to support at least protocol 91');
    return refuse('peer-too-old');
  }
  if (comparison.result === NEEDS_FEATURE_WSAME) {
    say('error', 'To resolve this both sides have to support at least protocol 101 and feature flags 0x4');
    return refuse('peer-too-old');
  }
  // From here on: > 0 source, < 0 target; 2 means everything; 100 split brain.
  let direction: number = comparison.result;
  let decidedBy: DecisionStep = 'uuid-compare';

  // 2. A disk that is inconsistent cannot be right, whatever the UUIDs say.
  const mine = ownDisk(self);
  const theirs = effectivePeerDisk(peer.disk, peer.flags);
  const oneIsBad =
    (mine === Disk.Inconsistent && theirs > Disk.Inconsistent) || (theirs === Disk.Inconsistent && mine > Disk.Inconsistent);
  if (oneIsBad) {
    const full = direction === -100 || Math.abs(direction) === 2;
    direction = (mine > Disk.Inconsistent ? 1 : -1) * (full ? 2 : 1);
    decidedBy = 'disk-states';
    say('info', `Becoming sync ${direction > 0 ? 'source' : 'target'} due to disk states.`);
  }

  // 3.-5. Split brain: policies first, then the operator's word.
  const ambiguous = direction === -100;
  if (Math.abs(direction) === 100) {
    handlers.push('initial-split-brain');
    // Of two parted histories one is in use and the other is just being attached: no policy may give up the one in use (bug B098).
    const isLateAttach = (self.disk === Disk.Negotiating) !== (peer.disk === Disk.Negotiating);
    const primaries = Number(self.role === Role.Primary) + Number(peer.role === Role.Primary);
    const peerDiscards = (peer.flags & UuidsFlag.DISCARD_MY_DATA) !== 0;
    const oneDiscards = self.discardMyData !== peerDiscards;
    // Where a policy waits for a demotion, only the node that is demoted knows how that went; the operator's word is known to both.
    const waitsForDemotion = policyFor(options, primaries) === 'call-pri-lost-after-sb';
    if (isLateAttach || (oneDiscards && waitsForDemotion)) direction = -100;
    else if (direction === 100 || options.alwaysAsbp) {
      const { verdict, step } = policyVerdict(snapshot, primaries);
      if (verdict === 'demote-first' && snapshot.demotion === 'not-tried') return { ...plan(step), handlers: [], outcome: 'demote-first' };
      if (verdict === 'demote-first' && snapshot.demotion === 'refused') handlers.push('pri-lost-after-sb');
      direction = verdict === 'demote-first' ? (snapshot.demotion === 'done' ? -1 : -100) : verdict;
      if (direction !== -100) {
        decidedBy = step;
        say('warning', `Split-Brain detected, ${primaries} primaries, automatically solved. Sync from ${direction < 0 ? 'peer' : 'this'} node`);
      }
    }
    if (direction === -100 && oneDiscards) {
      direction = self.discardMyData ? -1 : 1;
      decidedBy = 'discard-my-data';
      say('warning', `Split-Brain detected, manually solved. Sync from ${direction < 0 ? 'peer' : 'this'} node`);
    }
    // 6.
    if (direction === -100) {
      handlers.push('split-brain');
      say('error', 'Split-Brain detected but unresolved, dropping connection!');
      return refuse('split-brain');
    }
    if (ambiguous) {
      direction *= 2;
      say('warning', 'Doing a full sync, since the UUIDs were ambiguous.');
    }
  }

  // 7.
  if (direction > 0 && mine <= Disk.Inconsistent) {
    say('error', 'I shall become SyncSource, but I am inconsistent!');
    return refuse('source-inconsistent');
  }
  // 8. Data that an application works on would change under it.
  const stillPrimary = self.role === Role.Primary && snapshot.demotion !== 'done';
  if (direction < 0 && stillPrimary && self.disk >= Disk.Consistent) {
    switch (options.rrConflict) {
      case 'disconnect':
        say('error', 'I shall become SyncTarget, but I am primary!');
        return refuse('rr-conflict');
      case 'call-pri-lost':
        handlers.push('pri-lost');
        say('error', 'I shall become SyncTarget, but I am primary!');
        return refuse('rr-conflict');
      case 'violently':
        say('warning', 'Becoming SyncTarget, violating the stable-data assumption!');
        break;
      default:
        return unknownPolicy(options.rrConflict);
    }
  }
  const full = Math.abs(direction) >= 2;
  // 9.
  if (self.tentative || peer.dryRun) {
    const would = direction === 0 ? 'become Connected immediately' : `become ${direction > 0 ? 'SyncSource' : 'SyncTarget'}, ${full ? 'full' : 'bit-map based'} resync`;
    say('info', `dry-run connect: would ${would}`);
    return refuse('tentative');
  }
  // 10., 11.
  if (direction === 0) {
    if (self.bitsSent > 0n) say('info', `No resync, but ${self.bitsSent} bits in bitmap!`);
    return { ...plan(decidedBy), ...corrections, outcome: 'connected' };
  }
  return { ...plan(decidedBy), ...corrections, outcome: direction > 0 ? 'source' : 'target', full };
};

const refusalOf = (snapshot: HandshakeSnapshot): Refusal => {
  if (snapshot.self.disk === Disk.Negotiating) return 'disk-failed';
  if (snapshot.peer.disk === Disk.Negotiating) return 'peer-diskless';
  return snapshot.peer.dryRun ? 'retry' : 'disconnect';
};

const unknownPolicy = (policy: never): never => {
  throw new Error(`no such policy: ${String(policy)}`);
};
