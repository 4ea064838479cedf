/**
 * The sanitizer: what every new state implies (node-states.md §4, wire-protocol.md §3.7 "Clamping"). Both nodes of a pair
 * must normalise alike, or they disagree about who syncs whom; so this is one function, applied to every new state, and its
 * nine steps keep the order of the specification.
 */

import type { Fencing, OnNoDataAccessible } from '../config/types.js';
import { Conn, Disk, Role, type State } from './states.js';

/** What the sanitizer must know beside the two states. */
export interface SanitizeOptions {
  /** The policy in force: dont-care while no disk >= Inconsistent is attached (node-states.md §3.2). */
  fencing: Fencing;
  onNoDataAccessible: OnNoDataAccessible;
  /** The exposed data UUID equals this disk's current UUID, bit 0 included (generation-uuids.md §1). */
  exposedEqualsCurrent: boolean;
  /** What the disks would have been without the negotiation of a late attach (node-states.md §8.1 step 9). */
  negotiation: { disk: Disk; pdsk: Disk } | undefined;
  /** All of this disk is to be synced, by an operator's order, and that has not begun yet (StartingSyncT, WFSyncUUID). */
  isMadeAnew: boolean;
}

export interface Sanitized {
  state: State;
  /** For the log, in the order of the steps. */
  warnings: string[];
}

interface Range {
  min: Disk;
  max: Disk;
}

const only = (disk: Disk): Range => ({ min: disk, max: disk });
const upToDate = only(Disk.UpToDate);
const anyDisk: Range = { min: Disk.Diskless, max: Disk.UpToDate };
const syncTargetToBe: Range = { min: Disk.Inconsistent, max: Disk.Outdated };

/** The disk states that a connection state admits: step 6's table. */
export const diskRange = (conn: Conn): { disk: Range; pdsk: Range } => {
  switch (conn) {
    case Conn.WFBitMapT:
    case Conn.PausedSyncT:
    case Conn.StartingSyncT:
    case Conn.WFSyncUUID:
    case Conn.Behind:
      return { disk: syncTargetToBe, pdsk: upToDate };
    case Conn.VerifyS:
    case Conn.VerifyT:
      return { disk: upToDate, pdsk: upToDate };
    case Conn.Connected:
      return { disk: anyDisk, pdsk: anyDisk };
    case Conn.WFBitMapS:
    case Conn.PausedSyncS:
    case Conn.StartingSyncS:
    case Conn.Ahead:
      return { disk: upToDate, pdsk: { min: Disk.Inconsistent, max: Disk.Consistent } };
    case Conn.SyncTarget:
      return { disk: only(Disk.Inconsistent), pdsk: upToDate };
    case Conn.SyncSource:
      return { disk: upToDate, pdsk: only(Disk.Inconsistent) };
    case Conn.StandAlone:
    case Conn.Disconnecting:
    case Conn.Unconnected:
    case Conn.Timeout:
    case Conn.BrokenPipe:
    case Conn.NetworkFailure:
    case Conn.ProtocolError:
    case Conn.TearDown:
    case Conn.WFConnection:
    case Conn.WFReportParams:
      return { disk: anyDisk, pdsk: { min: Disk.Inconsistent, max: Disk.DUnknown } };
    default:
      return unreachableConn(conn);
  }
};

const unreachableConn = (conn: never): never => {
  throw new Error(`no such connection state: ${String(conn)}`);
};

/** A Primary alone whose peer might hold newer data: with resource-and-stonith it freezes until the peer is fenced (step 7). */
const mustFence = (state: State): boolean =>
  state.role === Role.Primary && state.conn < Conn.Connected && state.pdsk > Disk.Outdated;

/** A Primary that reaches no good data: with suspend-io it freezes instead of failing I/O (step 8; node-states.md §7 action 3). */
export const hasNoGoodData = (state: State): boolean =>
  state.role === Role.Primary && state.disk < Disk.UpToDate && state.pdsk < Disk.UpToDate;

const clamp = (state: State, warnings: string[]): void => {
  const range = diskRange(state.conn);
  if (state.disk > range.disk.max) state.disk = range.disk.max;
  if (state.disk < range.disk.min) {
    warnings.push('Implicitly upgraded disk');
    state.disk = range.disk.min;
  }
  if (state.pdsk > range.pdsk.max) state.pdsk = range.pdsk.max;
  if (state.pdsk < range.pdsk.min) {
    warnings.push('Implicitly upgraded pdsk');
    state.pdsk = range.pdsk.min;
  }
};

/**
 * What is known to be old is good again only when it was compared: with the other's disk, or, when they meet, with what the applications
 * of a diskless Primary have seen. Stricter than the kernel, to whom any peer will do: the good data may be on the disk that is away.
 */
const isSettledBy = (disk: Disk, role: Role, meets: boolean): boolean => disk > Disk.Negotiating || (meets && role === Role.Primary);

const pauseState = (state: State): Conn => {
  const paused = state.aftrIsp || state.peerIsp || state.userIsp;
  if (paused && state.conn === Conn.SyncSource) return Conn.PausedSyncS;
  if (paused && state.conn === Conn.SyncTarget) return Conn.PausedSyncT;
  if (!paused && state.conn === Conn.PausedSyncS) return Conn.SyncSource;
  if (!paused && state.conn === Conn.PausedSyncT) return Conn.SyncTarget;
  return state.conn;
};

/**
 * The state that asking for `wanted` while in `from` leads to. Neither argument is changed.
 * sanitize(from, sanitize(from, x).state) = sanitize(from, x): a tested property. For that step 2 comes after step 4, which may
 * make a disk Diskless, and the clamp of step 6 is repeated when step 9 resumed a sync; the kernel leaves both corners to the
 * next state change.
 */
export const sanitize = (from: State, wanted: State, options: SanitizeOptions): Sanitized => {
  const state: State = { ...wanted };
  const warnings: string[] = [];

  // 1. Without a connection nothing is known of the peer, but that its disk was bad.
  if (state.conn < Conn.Connected) {
    state.peerIsp = false;
    state.peer = Role.Unknown;
    if (state.pdsk > Disk.DUnknown || state.pdsk < Disk.Inconsistent) state.pdsk = Disk.DUnknown;
  }
  // 3. A resync or verify without one of its disks is over. A verify also when one of them is kept in spite of an error: the kernel
  // would call that one UpToDate again.
  const verifies = state.conn === Conn.VerifyS || state.conn === Conn.VerifyT;
  const worst = verifies ? Disk.Inconsistent : Disk.Failed;
  if (state.conn > Conn.Connected && (state.disk <= worst || state.pdsk <= worst)) {
    warnings.push(verifies ? 'Online verify aborted: a disk is gone or bad' : 'Resync aborted: a disk is gone');
    // What was not mirrored is missing on the side that was Behind. Merely outdated it would be UpToDate by step 5, and read.
    if (state.conn === Conn.Ahead && state.pdsk > Disk.Inconsistent && state.pdsk !== Disk.DUnknown) state.pdsk = Disk.Inconsistent;
    if (state.conn === Conn.Behind && state.disk > Disk.Inconsistent) state.disk = Disk.Inconsistent;
    // A target that has received nothing yet knows itself as outdated, and is no better for having lost its source.
    if (state.pdsk === Disk.Consistent) state.pdsk = Disk.Outdated;
    state.conn = Conn.Connected;
  }
  // 3b. What is made anew lacks what its source has written since, or holds writes that nobody else got. Given up half way and merely outdated
  // it would be UpToDate by step 5, without a resync, since the generations are equal until the sync UUID has come.
  const isBegun = state.conn === Conn.StartingSyncT || state.conn === Conn.WFSyncUUID;
  if (options.isMadeAnew && !isBegun && state.disk > Disk.Inconsistent) state.disk = Disk.Inconsistent;
  // 4. A late attach lost the peer that it negotiated with.
  if (state.conn < Conn.Connected && state.disk === Disk.Negotiating) {
    if (options.exposedEqualsCurrent && options.negotiation !== undefined) {
      state.disk = options.negotiation.disk;
      state.pdsk = options.negotiation.pdsk;
    } else {
      warnings.push('Connection lost while negotiating, no data!');
      state.disk = Disk.Diskless;
      state.pdsk = Disk.DUnknown;
    }
  }
  // 2. Nothing is left that could wait for another volume.
  if (state.conn === Conn.StandAlone && state.disk === Disk.Diskless && state.role === Role.Secondary) state.aftrIsp = false;
  // 5. Meeting the peer without a resync settles what was only probably good or probably old.
  if (state.conn >= Conn.Connected && state.conn < Conn.Ahead) {
    const meets = from.conn < Conn.Connected;
    const isSettled = (disk: Disk, role: Role): boolean => state.conn > Conn.Connected || isSettledBy(disk, role, meets);
    if (state.disk === Disk.Consistent || (state.disk === Disk.Outdated && isSettled(state.pdsk, state.peer))) state.disk = Disk.UpToDate;
    if (state.pdsk === Disk.Consistent || (state.pdsk === Disk.Outdated && isSettled(state.disk, state.role))) state.pdsk = Disk.UpToDate;
  }
  // 6.
  clamp(state, warnings);
  // 7.
  if (options.fencing === 'resource-and-stonith' && mustFence(state) && !mustFence(from)) state.suspFen = true;
  // 8.
  if (options.onNoDataAccessible === 'suspend-io' && hasNoGoodData(state) && !hasNoGoodData(from)) state.suspNod = true;
  // 9.
  const conn = pauseState(state);
  if (conn !== state.conn) {
    state.conn = conn;
    clamp(state, warnings);
  }
  return { state, warnings };
};
