/**
 * One machine as its driver sees it (design: "The core"). A driver hands over facts, takes wishes, keeps one alarm, and knows
 * nothing of the protocol. `createNode` in src/node makes one.
 *
 * Order: `handle` is not re-entrant. A driver may hand over several inputs before it takes the outputs and ends each pass
 * with `pass-ended`. Output order binds per stream only.
 */

import type { Input } from './input.js';
import type { Output } from './output.js';
import type { State } from '../state/states.js';
import type { Bitmap } from '../metadata/bitmap.js';
import type { Superblock } from '../metadata/superblock.js';

export interface Node {
  readonly name: string;
  /** Something happened; `nowUs` is integer microseconds, virtual or monotonic, never decreasing. Throws only on a broken invariant. */
  handle(input: Input, nowUs: number): void;
  /** What to do about it, since the last call. */
  outputs(): Output[];
  /** When to wake the node at the latest (`woken`), or undefined. Early wakes are harmless. */
  deadline(): number | undefined;
  /** The whole state as bytes; `restoreNode` makes an equal node of it. */
  snapshot(): Uint8Array;
  /** The memory that the state refers to: what lasts (`Environment.lasts`) and is not in here may be used again. */
  holds(): Set<ArrayBufferLike>;
  /** Hash of exactly what `snapshot` holds, 16 hexadecimal digits. */
  fingerprint(): string;
  /** What a checker or a status command may look at. Views are live and read-only; do not keep them over the next input. */
  resources(): ResourceView[];
}

export interface ResourceView {
  readonly resource: string;
  readonly volumes: VolumeView[];
  readonly suspended: boolean;
  /** Why application I/O waits now, in DRBD's words, or undefined. */
  readonly frozenReason: string | undefined;
}

export interface VolumeView {
  readonly volume: number;
  readonly peers: PeerView[];
  /** [current, bitmap, history1, history2] of the attached superblock, or undefined while diskless. */
  readonly uuids: readonly [bigint, bigint, bigint, bigint] | undefined;
  readonly sizeSectors: number;
  /** Extents (4 MiB) of the activity log that are active in memory, in slot order. */
  readonly activeExtents: number[];
  /** What the metadata of the attached disk says: generations and flags. */
  readonly superblock: Readonly<Superblock> | undefined;
  /** Activity-log transactions of this attachment. */
  readonly activityLogTransactions: number;
  /**
   * Writes that are on their way: accepted from the application or the peer and not yet finished everywhere. `request`: the application's
   * id; undefined for one of the peer's.
   */
  readonly inFlight: { sector: number; sectors: number; request: number | undefined }[];
  /** Requests that wait to be admitted (suspended, starving, resync lock). */
  readonly waiting: number;
}

export interface PeerView {
  readonly peer: string;
  /** The whole state of this volume towards this peer, on one snapshot. */
  readonly state: State;
  /** Out-of-sync bits towards this peer; undefined while diskless. */
  readonly bitmap: Bitmap | undefined;
  /** Bits that failed in the running resync. */
  readonly failedBits: number;
}
