/**
 * How a state change is judged (node-states.md §3, §5): sanitize, then check, on one snapshot; the answer is the whole plan.
 * Nothing here changes a state: whoever asked applies `next`, or answers with `code`.
 *
 * For the caller (src/resource): the kernel's quirk that a hard change which leaves conn alone returns NOTHING_TO_DO although
 * it is applied is not copied: NothingToDo here always means that `next` equals the current state.
 */

import { ReturnCode } from './refusals.js';
import { sanitize } from './sanitize.js';
import { Conn, Disk, Role, type State } from './states.js';
import { hardLimit, isVerify, softLimit, stateValidity, type RuleContext } from './validity.js';

/** A request in terms of fields: DRBD's (mask, val). Absent fields stay. */
export type StateChange = Partial<State>;

/**
 * hard: a fact imposed by the environment, only the hard limits apply. soft: a request that may be refused, but not for a
 * fault that the old state has too. cluster-wide: the same without that leniency, before the peer is asked (§3).
 */
export type ChangeKind = 'hard' | 'soft' | 'cluster-wide';

export interface Evaluation {
  /** Success, NothingToDo, or the refusal. */
  code: ReturnCode;
  /** The sanitized new state; on refusal the current one, whole: no half of a refused change may be applied (bug B074). */
  next: State;
  /** What the sanitizer has to tell the log. */
  warnings: string[];
}

/** Every field of a State, in the order of the state word. */
export const stateFields = [
  'role',
  'peer',
  'conn',
  'disk',
  'pdsk',
  'susp',
  'aftrIsp',
  'peerIsp',
  'userIsp',
  'suspNod',
  'suspFen',
] as const satisfies readonly (keyof State)[];

export const sameState = (one: State, other: State): boolean => stateFields.every((field) => one[field] === other[field]);

const softVerdict = (current: State, next: State, kind: 'soft' | 'cluster-wide', context: RuleContext): ReturnCode => {
  const validity = stateValidity(next, context);
  const faultIsOld = kind === 'soft' && stateValidity(current, context) === validity;
  if (validity < ReturnCode.Success && !faultIsOld) return validity;
  return softLimit(current, next, context);
};

/** Judges one change of one volume. `current` is left alone. */
export const evaluateChange = (current: State, change: StateChange, kind: ChangeKind, context: RuleContext): Evaluation => {
  // On what was asked for, not on what the sanitizer makes of it: while connected Outdated becomes UpToDate, and a disk that was
  // never good would with it (node-states.md §8.8).
  if (kind !== 'hard' && change.disk === Disk.Outdated && current.disk < Disk.Outdated && current.disk !== Disk.Attaching) {
    return { code: ReturnCode.LowerThanOutdated, next: current, warnings: [] };
  }
  // The same: a verify without two good disks becomes Connected, which would be nothing to do, or the end of a resync.
  if (kind !== 'hard' && change.conn !== undefined && isVerify(change.conn) && current.conn >= Conn.Connected) {
    const code = softVerdict(current, { ...current, ...change }, kind, context);
    if (code < ReturnCode.Success) return { code, next: current, warnings: [] };
  }
  const { state: next, warnings } = sanitize(current, { ...current, ...change }, context);
  if (sameState(current, next)) return { code: ReturnCode.NothingToDo, next, warnings };
  const limit = hardLimit(current, next);
  const code = limit < ReturnCode.Success || kind === 'hard' ? limit : softVerdict(current, next, kind, context);
  if (code < ReturnCode.Success) return { code, next: current, warnings: [] };
  return { code: ReturnCode.Success, next, warnings };
};

export interface VolumeSnapshot {
  state: State;
  context: RuleContext;
}

export interface JointEvaluation {
  code: ReturnCode;
  /** One per volume, in the order given. */
  next: State[];
  /** Per volume. */
  warnings: string[][];
  /** Index of the volume that refused; absent on success. */
  refusedBy?: number;
}

/**
 * Judges the same change for all volumes of a resource or connection (§5): all or none, the first refusal wins. At least one
 * volume is required. With `skipImpossibleOutdate` (a connection-wide request of the peer, §3.4) a disk below Outdated that
 * should become Outdated keeps its state, which is no error.
 */
export const evaluateAll = (
  volumes: readonly VolumeSnapshot[],
  change: StateChange,
  kind: ChangeKind,
  skipImpossibleOutdate = false,
): JointEvaluation => {
  if (volumes.length === 0) throw new Error('a state change needs at least one volume');
  let next: State[] = [];
  const warnings: string[][] = [];
  let code: ReturnCode = ReturnCode.NothingToDo;
  for (const [index, volume] of volumes.entries()) {
    const evaluation = evaluateChange(volume.state, changeFor(volume.state, change, skipImpossibleOutdate), kind, volume.context);
    if (evaluation.code < ReturnCode.Success) {
      return { code: evaluation.code, next: volumes.map(({ state }) => state), warnings: volumes.map(() => []), refusedBy: index };
    }
    if (evaluation.code === ReturnCode.Success) code = ReturnCode.Success;
    next.push(evaluation.next);
    warnings.push(evaluation.warnings);
  }
  // Suspension is the resource's: what one volume implies holds for all.
  for (const flag of ['suspNod', 'suspFen'] as const) {
    if (next.some((state) => state[flag])) next = next.map((state) => ({ ...state, [flag]: true }));
  }
  return { code, next, warnings };
};

const changeFor = (state: State, change: StateChange, skipImpossibleOutdate: boolean): StateChange => {
  if (!skipImpossibleOutdate || change.disk !== Disk.Outdated || state.disk >= Disk.Outdated) return change;
  const rest = { ...change };
  delete rest.disk;
  return rest;
};

/** Validity rule 1 looks at the siblings: is the peer Primary on any volume but the one at `index`? */
export const otherVolumePeerPrimary = (states: readonly State[], index: number): boolean =>
  states.some((state, other) => other !== index && state.peer === Role.Primary);

/** Must the peer agree to this change of a volume (§3.4)? Both states are sanitized ones. */
export const needsConsent = (from: State, to: State): boolean => {
  if (from.conn >= Conn.Connected && to.conn >= Conn.Connected) {
    if (from.role !== Role.Primary && to.role === Role.Primary) return true;
    if (from.conn !== Conn.StartingSyncT && to.conn === Conn.StartingSyncT) return true;
    if (from.conn !== Conn.StartingSyncS && to.conn === Conn.StartingSyncS) return true;
    if (from.disk !== Disk.Failed && to.disk === Disk.Failed) return true;
  }
  if (from.conn >= Conn.Connected && to.conn === Conn.Disconnecting) return true;
  if (from.conn === Conn.Connected && (to.conn === Conn.VerifyS || to.conn === Conn.WFReportParams)) return true;
  return false;
};

/**
 * The same for a connection-wide change (§3.4, last line): leaving a connection that was established or is in its handshake.
 * `cstate` is the state of the connection, never above WFReportParams. Not asked for hard changes and "local only" ones.
 */
export const connectionNeedsConsent = (cstate: Conn, change: StateChange): boolean =>
  cstate >= Conn.WFReportParams && change.conn === Conn.Disconnecting;
