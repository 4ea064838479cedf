/**
 * What happens when a disk operation ends: a value of a closed union, kept under the operation's id (design: "State is
 * data"), never a closure. Each room reads its own members.
 */

import type { DiskArea } from '../contract/input.js';
import type { BlockId } from '../wire/packets.js';

export type Then =
  /** The running step of the volume's metadata job (volume/metadata-io). */
  | { to: 'metadata' }
  /** The running step of an attach (volume/attach). */
  | { to: 'attach'; index: number }
  /** The local part of an application request (replication/completion). */
  | { to: 'request'; request: number }
  /** A replicated write of the peer (replication/receiver). */
  | { to: 'peer-write'; peer: string; write: number }
  /** A read for the peer: P_DATA_REQUEST (replication/receiver). */
  | { to: 'peer-read'; peer: string; interval: number; connectCount: number }
  /** The flush that ends an epoch on the receiving side (replication/epochs). */
  | { to: 'epoch-flush'; peer: string; connectCount: number }
  /** The flush of what a lost connection left unflushed (replication/receiver). */
  | { to: 'loss-flush'; peer: string }
  /** A read on the resync source (resync/source); `interval` is its entry in the volume's intervals. */
  | { to: 'resync-read'; peer: string; interval: number; blockId: BlockId; connectCount: number }
  /** A read of the target's own blocks, for their digest (resync/target). */
  | { to: 'resync-digest'; peer: string; interval: number }
  /** A write on the resync target (resync/target). */
  | { to: 'resync-write'; peer: string; interval: number; connectCount: number }
  /** A read on the verify source, to be compared with the peer's digest (resync/verify). */
  | { to: 'verify-read'; peer: string; interval: number }
  /** The flush of the data disk before a resync is reported finished (resync/finish; D8). */
  | { to: 'resync-flush'; peer: string; connectCount: number }
  /** Its owner was told that it failed when the disk was detached by force: it only has to end. */
  | { to: 'nobody' };

export interface DiskOperation {
  op: number;
  resource: string;
  volume: number;
  /** Which attachment of the disk it belongs to: what ends after a detach is stale and only counted. */
  attachment: number;
  area: DiskArea;
  kind: 'read' | 'write' | 'zeroes' | 'discard' | 'flush';
  sector: number;
  sectors: number;
  startedAtUs: number;
  then: Then;
}

/** `data`: what a read brought, lent for the pass; undefined where all of it is zeros. */
export type OperationResult = { ok: true; data: Uint8Array | undefined } | { ok: false; failure: 'failed' | 'aborted' | 'unknown' };
