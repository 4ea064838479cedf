/**
 * What lower rooms tell the resource room (core.ts): a closed union of values, handled in order after the current step.
 */

import type { HandlerName } from '../contract/output.js';

/** Failure reasons of a connection, DRBD's names (node-states.md §8.5). The first one wins. */
export type LossReason = 'Timeout' | 'BrokenPipe' | 'NetworkFailure' | 'ProtocolError' | 'TearDown';

export type Signal =
  // From connection/.
  /** Both streams are up, versions and features agreed: P_PROTOCOL and the volumes' parameters may go out. */
  | { signal: 'streams-ready'; resource: string; peer: string }
  /** RETRY: the connection is to be cleaned up and made again. `pause`: wait a second first (before WFReportParams). */
  | { signal: 'connection-lost'; resource: string; peer: string; reason: LossReason; detail: string }
  /** STOP: give the connection up (Disconnecting → StandAlone). */
  | { signal: 'connection-refused'; resource: string; peer: string; detail: string }
  /** Packets wait in the receive buffers of this connection. */
  | { signal: 'packets-waiting'; resource: string; peer: string }
  /** The transport took more of our bytes (protocol A completes on it). */
  | { signal: 'bytes-sent'; resource: string; peer: string }
  /** The P_PING that was requested with this purpose came back. */
  | { signal: 'ping-acknowledged'; resource: string; peer: string; purpose: PingPurpose }
  // From volume/.
  /** `ok` false: the disk is failing, what waited must not count on it. */
  | { signal: 'metadata-written'; resource: string; volume: number; purpose: MetadataPurpose; ok: boolean }
  /** A range that waited for earlier ones may be used now; its kind and owner say by whom. */
  | { signal: 'interval-started'; resource: string; volume: number; interval: number }
  /** I/O on a disk failed; what becomes of the disk is decided above (node-states.md §9). */
  | { signal: 'disk-error'; resource: string; volume: number; kind: 'read' | 'write' | 'metadata'; sector: number; sectors: number; detail: string }
  /** A write failed for good: whoever asked for it is told when what became of the disk is on disk. Follows its disk-error. */
  | { signal: 'write-failed'; resource: string; volume: number; purpose: MetadataPurpose & { for: 'failed-write' | 'failed-peer-write' } }
  /** Attaching got this far; the state change is made above. */
  | { signal: 'attach-prepared'; resource: string; volume: number }
  | { signal: 'attach-failed'; resource: string; volume: number; code: number; detail: string }
  /** Detached by force: nobody waits any more for what this disk is still doing. */
  | { signal: 'disk-abandoned'; resource: string; volume: number }
  /** The last operation on a disk that is being given up has ended. */
  | { signal: 'disk-quiet'; resource: string; volume: number }
  /** The activity-log transaction that was running is on disk. */
  | { signal: 'extents-active'; resource: string; volume: number }
  /** Extents became idle, intervals were released, or holds ended: waiting requests may go on. */
  | { signal: 'admission'; resource: string; volume: number }
  // From replication/.
  /** No application write is in flight on the volume any more (before a bitmap is sent, before a drained suspend). */
  | { signal: 'writes-drained'; resource: string; volume: number }
  /** The first write of a Primary without a disk: a new generation is due before it. */
  | { signal: 'generation-begins'; resource: string; volume: number; peer: string }
  /** A write of the peer's open epochs ended: the oldest epoch may be complete. */
  | { signal: 'epoch-progress'; resource: string; peer: string }
  /** Something of the peer's ended on our disk after its connection was lost: the cleanup may go on. */
  | { signal: 'receiver-quiet'; resource: string; peer: string }
  /** Out-of-sync bits were cleared, or a write settled without, while a resync runs towards this peer: its end may be reached. */
  | { signal: 'bits-cleared'; resource: string; volume: number; peer: string }
  // From resync/.
  /** The whole bitmap of the peer is merged into ours. */
  | { signal: 'bitmap-received'; resource: string; volume: number; peer: string }
  /** Every block was asked for and answered, and the peer has processed our acknowledgements (the ping fence). */
  | { signal: 'resync-complete'; resource: string; volume: number; peer: string; failedBits: number }
  /** Every block was compared, and both sides know the results. */
  | { signal: 'verify-complete'; resource: string; volume: number; peer: string }
  // From handlers.
  | { signal: 'handler-exited'; resource: string; volume: number | undefined; handler: number; name: HandlerName; exitCode: number }
  /** Nothing of it is in use any more: the node takes it out of its map. */
  | { signal: 'resource-idle'; resource: string }
  /** Re-examine the after-change queue or a procedure that waits for something. */
  | { signal: 'worker'; resource: string }
  /** A procedure may go on: what it waited for has come. */
  | { signal: 'procedure'; resource: string; procedure: number }
  /** States changed: procedures that wait for any state change may try again. */
  | { signal: 'procedures'; resource: string };

/** Why a ping was asked for, so that its answer finds who waits. */
export type PingPurpose = 'promote' | 'resync-finish-target' | 'resync-finish-source' | 'verify-finish-target' | 'verify-finish-source' | 'stalled-send';

/** Why a metadata job was queued, so that its end finds who waits. */
export type MetadataPurpose =
  /** The after-change worker waits at its present step. */
  | { for: 'worker' }
  /** A command or other procedure waits. */
  | { for: 'procedure'; procedure: number }
  /** D9: the sync UUID is on disk, the resync target may start. */
  | { for: 'sync-target-start'; peer: string }
  /** D8: final UUIDs and flags are on disk, the target may say Connected/UpToDate. */
  | { for: 'resync-target-end'; peer: string }
  | { for: 'resync-source-end'; peer: string }
  /** Full sync: bits set and written (D11). */
  | { for: 'full-sync'; peer: string; next: 'starting-source' | 'starting-target' }
  /** D12: outdated on disk, the peer's request may be answered. */
  | { for: 'reply-to-peer'; peer: string }
  | { for: 'attach' }
  | { for: 'detach' }
  | { for: 'connection-loss'; peer: string }
  /** D18: what happened is on disk, the handler may run. */
  | { for: 'handler'; handler: number }
  /** That this disk is bad is on disk: our write may be answered, or the peer's refused. */
  | { for: 'failed-write'; request: number }
  | { for: 'failed-peer-write'; peer: string; write: number }
  /** Nobody waits. */
  | { for: 'nobody' };
