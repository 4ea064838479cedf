/**
 * The 32-bit state word of P_STATE and the (mask, val) pairs of state change requests (wire-protocol.md §3.7, §3.8;
 * node-states.md §1, §3.4). Words come from a peer: what cannot be a state gives `undefined`, a protocol error to the caller.
 */

import type { StateChange } from './evaluate.js';
import { Conn, Disk, Role, type State } from './states.js';

/** Where each field sits, and the mask of its value. Bit 23 (DRBD 9's quorum) and the bits above carry nothing for us. */
const layout = {
  role: { shift: 0, mask: 3 },
  peer: { shift: 2, mask: 3 },
  conn: { shift: 4, mask: 31 },
  disk: { shift: 9, mask: 15 },
  pdsk: { shift: 13, mask: 15 },
  susp: { shift: 17, mask: 1 },
  aftrIsp: { shift: 18, mask: 1 },
  peerIsp: { shift: 19, mask: 1 },
  userIsp: { shift: 20, mask: 1 },
  suspNod: { shift: 21, mask: 1 },
  suspFen: { shift: 22, mask: 1 },
} as const satisfies Record<keyof State, { shift: number; mask: number }>;

const fields = Object.keys(layout) as (keyof State)[];
const largest: Record<keyof State, number> = {
  role: Role.Secondary,
  peer: Role.Secondary,
  conn: Conn.Behind,
  disk: Disk.UpToDate,
  pdsk: Disk.UpToDate,
  susp: 1,
  aftrIsp: 1,
  peerIsp: 1,
  userIsp: 1,
  suspNod: 1,
  suspFen: 1,
};

const isFlag = (field: keyof State): boolean => layout[field].mask === 1;

export const encodeStateWord = (state: State): number => {
  let word = 0;
  for (const field of fields) word |= Number(state[field]) << layout[field].shift;
  return word >>> 0;
};

/** The state in a word; undefined when a field holds a number that has no name. */
export const decodeStateWord = (word: number): State | undefined => {
  const change = decodeChange(0x7fffff, word);
  return change as State | undefined;
};

export interface MaskVal {
  mask: number;
  val: number;
}

export const encodeChange = (change: StateChange): MaskVal => {
  let mask = 0;
  let val = 0;
  for (const field of fields) {
    const value = change[field];
    if (value === undefined) continue;
    mask |= layout[field].mask << layout[field].shift;
    val |= Number(value) << layout[field].shift;
  }
  return { mask: mask >>> 0, val: val >>> 0 };
};

/**
 * The fields that a (mask, val) pair names. Undefined when a mask covers a part of a field only or a value has no name. Bits
 * of `val` outside of the mask are ignored.
 */
export const decodeChange = (mask: number, val: number): StateChange | undefined => {
  const change: Record<string, number | boolean> = {};
  for (const field of fields) {
    const { shift, mask: whole } = layout[field];
    const part = (mask >>> shift) & whole;
    if (part === 0) continue;
    const value = (val >>> shift) & whole;
    if (part !== whole || value > largest[field]) return undefined;
    change[field] = isFlag(field) ? value === 1 : value;
  }
  return change as StateChange;
};

/** §3.4: what the other node's connection state means on this one; undefined for states that nobody may ask a peer for. */
const mirroredConn = (conn: Conn): Conn | undefined => {
  switch (conn) {
    case Conn.WFReportParams:
    case Conn.Connected:
      return conn;
    case Conn.StartingSyncS:
      return Conn.StartingSyncT;
    case Conn.StartingSyncT:
      return Conn.StartingSyncS;
    case Conn.Disconnecting:
      return Conn.TearDown;
    case Conn.VerifyS:
      return Conn.VerifyT;
    default:
      return undefined;
  }
};

/**
 * In requests, DRBD 9 numbers disk states as it does itself (captures/with-drbd9, 14). Its Outdated and UpToDate have numbers that no 8.4 node
 * asks for, so they are known by them; what a kernel makes of the first is a disk of its own that it calls DUnknown.
 */
const diskOfNine = new Map<number, Disk>([
  [6, Disk.Outdated],
  [9, Disk.UpToDate],
]);

const withOwnDiskNumbers = (mask: number, val: number): number => {
  let own = val;
  for (const field of ['disk', 'pdsk'] as const) {
    const { shift, mask: whole } = layout[field];
    const disk = ((mask >>> shift) & whole) === whole ? diskOfNine.get((val >>> shift) & whole) : undefined;
    if (disk !== undefined) own = (own & ~(whole << shift)) | (disk << shift);
  }
  return own >>> 0;
};

/**
 * A peer's request, (mask, val), as a change of this node's own state: role↔peer, disk↔pdsk, pauses of the peer become peerIsp.
 *
 * Undefined, a protocol error, for what no node asks of another (wire-protocol.md §3.8 lists every request): a role or
 * suspension of ours, a disk state of ours other than Outdated, a connection state that has no mirror image. The kernel would
 * read the last as StandAlone and apply the others.
 */
export const mirrorRequest = (mask: number, val: number): StateChange | undefined => {
  const asked = decodeChange(mask, withOwnDiskNumbers(mask, val));
  if (asked === undefined) return undefined;
  const { role, peer, conn, disk, pdsk, aftrIsp, userIsp, susp, suspNod, suspFen } = asked;
  if (peer !== undefined || susp !== undefined || suspNod !== undefined || suspFen !== undefined) return undefined;
  if (pdsk !== undefined && pdsk !== Disk.Outdated) return undefined;
  const change: StateChange = {};
  if (role !== undefined) change.peer = role;
  if (disk !== undefined) change.pdsk = disk;
  if (pdsk !== undefined) change.disk = pdsk;
  if (aftrIsp !== undefined || userIsp !== undefined) change.peerIsp = (aftrIsp ?? false) || (userIsp ?? false);
  if (conn !== undefined) {
    const mirrored = mirroredConn(conn);
    if (mirrored === undefined) return undefined;
    change.conn = mirrored;
  }
  return change;
};
