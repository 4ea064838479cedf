/**
 * Which states may be and which steps between them may be asked for (node-states.md §3.1-§3.3). Three tables of refusals,
 * each a pure function on one snapshot. The order of the lines is the specification's and decides which refusal is given.
 */

import { ReturnCode } from './refusals.js';
import type { SanitizeOptions } from './sanitize.js';
import { Conn, Disk, Role, type State } from './states.js';

/** Everything that the rules look at beside the state of the one volume. */
export interface RuleContext extends SanitizeOptions {
  /** The option allow-two-primaries. */
  twoPrimaries: boolean;
  /** The connection has a net configuration (it is not StandAlone, or about to leave it). */
  hasNetConfig: boolean;
  /** Somebody holds the block device open. */
  deviceOpen: boolean;
  /** On another volume of this resource the peer is Primary. */
  otherVolumePeerPrimary: boolean;
  /** STATE_SENT: our parameters went out on this connection, and the handshake is not finished. */
  handshakeUnfinished: boolean;
  /** The option verify-alg is set. */
  hasVerifyAlg: boolean;
  /** Agreed with the peer; 0 before. */
  protocolVersion: number;
}

/** Online verify came with this version (wire-protocol.md §12). */
const VERIFY_SINCE = 88;

export const isVerify = (conn: Conn): boolean => conn === Conn.VerifyS || conn === Conn.VerifyT;
const isStartingSync = (conn: Conn): boolean => conn === Conn.StartingSyncS || conn === Conn.StartingSyncT;
const isFailure = (conn: Conn): boolean => conn >= Conn.Timeout && conn <= Conn.TearDown;

/** §3.1, the part that looks at the connection alone. NothingToDo when it stays what it is. */
export const connectionLimit = (from: Conn, to: Conn): ReturnCode => {
  if (from === to) return ReturnCode.NothingToDo;
  if (from === Conn.StandAlone && to === Conn.Disconnecting) return ReturnCode.AlreadyStandAlone;
  if (from === Conn.StandAlone && to !== Conn.Unconnected) return ReturnCode.NeedConnection;
  if (from < Conn.WFReportParams && to >= Conn.Connected) return ReturnCode.NeedConnection;
  if (isFailure(from) && to !== Conn.Unconnected && to !== Conn.Disconnecting) return ReturnCode.InTransientState;
  if (from === Conn.Disconnecting && to !== Conn.StandAlone) return ReturnCode.InTransientState;
  return ReturnCode.Success;
};

/** §3.1 hard limits: even a fact imposed by the environment cannot do this. */
export const hardLimit = (from: State, to: State): ReturnCode => {
  const code = connectionLimit(from.conn, to.conn);
  if (code < ReturnCode.Success) return code;
  if (from.disk === Disk.Diskless && to.disk === Disk.Failed) return ReturnCode.IsDiskless;
  return code;
};

/** §3.2: is this state valid in itself? The first rule that matches decides. */
export const stateValidity = (state: State, context: RuleContext): ReturnCode => {
  const primary = state.role === Role.Primary;
  // 1
  if (context.hasNetConfig && !context.twoPrimaries && primary) {
    if (state.peer === Role.Primary) return ReturnCode.TwoPrimaries;
    if (context.otherVolumePeerPrimary) return ReturnCode.OtherVolumePeerPrimary;
  }
  // 2
  if (state.role === Role.Secondary && context.deviceOpen) return ReturnCode.DeviceInUse;
  // 3
  if (primary && state.conn < Conn.Connected && state.disk < Disk.UpToDate) return ReturnCode.NoUpToDateDisk;
  // 4
  if (context.fencing !== 'dont-care' && primary && state.conn < Conn.Connected && state.pdsk >= Disk.DUnknown) return ReturnCode.PrimaryNop;
  // 5
  if (primary && state.disk <= Disk.Inconsistent && state.pdsk <= Disk.Inconsistent) return ReturnCode.NoUpToDateDisk;
  // 6
  if (state.conn > Conn.Connected && state.disk < Disk.Inconsistent) return ReturnCode.NoLocalDisk;
  // 7
  if (state.conn > Conn.Connected && state.pdsk < Disk.Inconsistent) return ReturnCode.NoRemoteDisk;
  // 8
  if (state.conn > Conn.Connected && state.disk < Disk.UpToDate && state.pdsk < Disk.UpToDate) return ReturnCode.NoUpToDateDisk;
  // 9
  const outdatable = state.conn === Conn.Connected || state.conn === Conn.WFBitMapS || state.conn === Conn.SyncSource || state.conn === Conn.PausedSyncS;
  // But beside a disk that is away (sanitizer, step 5).
  if (outdatable && state.disk === Disk.Outdated && (state.pdsk > Disk.Negotiating || state.peer === Role.Primary)) return ReturnCode.ConnectedOutdates;
  // 10
  if (isVerify(state.conn)) {
    if (!context.hasVerifyAlg) return ReturnCode.NoVerifyAlg;
    if (context.protocolVersion < VERIFY_SINCE) return ReturnCode.NotSupported;
  }
  // 11
  if (primary && state.disk < Disk.UpToDate && state.pdsk < Disk.UpToDate) return ReturnCode.NoUpToDateDisk;
  // 12
  if (isStartingSync(state.conn) && state.pdsk === Disk.DUnknown) return ReturnCode.NeedConnection;
  // 13
  if (state.conn >= Conn.Connected && state.pdsk === Disk.DUnknown) return ReturnCode.ConnectedOutdates;
  return ReturnCode.Success;
};

/** §3.3: may this step be asked for? The last rule that matches decides. `to` is sanitized. */
export const softLimit = (from: State, to: State, context: RuleContext): ReturnCode => {
  const promoting = from.role !== Role.Primary && to.role === Role.Primary;
  const finishesHandshake =
    (from.conn === Conn.WFConnection && to.conn === Conn.WFReportParams) || (from.conn === Conn.WFReportParams && to.conn >= Conn.Connected);
  let code: ReturnCode = ReturnCode.Success;
  // Not in the kernel, where the sanitizer would call the bad source UpToDate (bug B134): a full sync starts from good data only.
  if (to.conn === Conn.StartingSyncS && from.disk !== Disk.UpToDate) code = ReturnCode.NoUpToDateDisk;
  if (to.conn === Conn.StartingSyncT && from.pdsk !== Disk.UpToDate) code = ReturnCode.NoUpToDateDisk;
  if (isStartingSync(to.conn) && from.conn > Conn.Connected) code = ReturnCode.ResyncRunning;
  if (to.conn === Conn.Disconnecting && from.conn === Conn.StandAlone) code = ReturnCode.AlreadyStandAlone;
  if (to.disk > Disk.Attaching && from.disk === Disk.Diskless) code = ReturnCode.IsDiskless;
  if (to.conn === Conn.WFConnection && from.conn < Conn.Unconnected) code = ReturnCode.NoNetConfig;
  if (to.disk === Disk.Outdated && from.disk < Disk.Outdated && from.disk !== Disk.Attaching) code = ReturnCode.LowerThanOutdated;
  if (to.conn === Conn.Disconnecting && from.conn === Conn.Unconnected) code = ReturnCode.InTransientState;
  // Bugs B077, B078: a change in the middle of the handshake lets the two nodes decide on different facts.
  if (context.handshakeUnfinished && !finishesHandshake) code = ReturnCode.InTransientState;
  if (
    promoting &&
    to.pdsk === Disk.UpToDate &&
    to.disk !== Disk.UpToDate &&
    to.disk !== Disk.Diskless &&
    (to.conn <= Conn.WFSyncUUID || to.conn !== from.conn)
  ) {
    code = ReturnCode.InTransientState;
  }
  // Nor this: it would call the bad disk UpToDate, and blocks that nobody has synced would be compared and called equal or not.
  if (isVerify(to.conn) && (from.disk !== Disk.UpToDate || from.pdsk !== Disk.UpToDate)) code = ReturnCode.NoUpToDateDisk;
  if (isVerify(to.conn) && from.conn < Conn.Connected) code = ReturnCode.NeedConnection;
  if (isVerify(to.conn) && to.conn !== from.conn && from.conn > Conn.Connected) code = ReturnCode.ResyncRunning;
  if (isStartingSync(to.conn) && from.conn < Conn.Connected) code = ReturnCode.NeedConnection;
  if ((to.conn === Conn.SyncTarget || to.conn === Conn.SyncSource) && from.conn < Conn.WFReportParams) code = ReturnCode.NeedConnection;
  if (to.conn === Conn.Disconnecting && to.pdsk === Disk.Outdated && from.conn < Conn.Connected && from.pdsk > Disk.Outdated) {
    code = ReturnCode.OutdateWithoutConnection;
  }
  return code;
};
