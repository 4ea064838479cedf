/**
 * What a node wants done: the closed vocabulary that a driver takes from `Node.outputs` (design: "The core").
 *
 * Order binds per stream only: disk operations may run and finish in any order, so what must be durable first is emitted
 * first and awaited. The core never has two overlapping writes outstanding on one device. Byte arrays in outputs belong to
 * the driver until the operation is answered; those of `app-done`, which may be lent like what a read brought, until the outputs of the
 * pass are carried out.
 */

import type { Reply } from './command.js';
import type { DiskArea, StreamId } from './input.js';

export type Output =
  // Disks: answered by disk-opened / disk-open-failed, and by disk-done / disk-failed exactly once per operation.
  | { type: 'disk-open'; resource: string; volume: number }
  /**
   * Internal metadata lies at the end of a device of `sectors`: the driver keeps the number durably, beside the device, so that the metadata
   * is found again after the device has grown (`disk-opened`). No answer.
   */
  | { type: 'disk-placed'; resource: string; volume: number; sectors: number }
  | { type: 'disk-close'; resource: string; volume: number }
  | { type: 'disk-read'; op: number; resource: string; volume: number; area: DiskArea; sector: number; sectors: number }
  | {
      type: 'disk-write';
      op: number;
      resource: string;
      volume: number;
      area: DiskArea;
      sector: number;
      data: Uint8Array;
      /** Flush the device's cache before this write. */
      preflush: boolean;
      /** Durable when done. */
      fua: boolean;
    }
  /** The range reads as zeros afterwards; with `mayUnmap` the device may give its space up. */
  | { type: 'disk-write-zeroes'; op: number; resource: string; volume: number; area: DiskArea; sector: number; sectors: number; mayUnmap: boolean }
  /** Aligned to the device's discard granularity. What is read there afterwards is the device's affair (disk option discard-zeroes-if-aligned). */
  | { type: 'disk-discard'; op: number; resource: string; volume: number; area: DiskArea; sector: number; sectors: number }
  | { type: 'disk-flush'; op: number; resource: string; volume: number; area: DiskArea }
  // Streams. `connect` and `listen` use the addresses of the configuration; `close` needs no answer.
  | { type: 'listen'; resource: string; peer: string }
  | { type: 'stop-listening'; resource: string; peer: string }
  | { type: 'connect'; stream: StreamId; resource: string; peer: string }
  | { type: 'close'; stream: StreamId }
  /** One gathered write. */
  | { type: 'send'; stream: StreamId; pieces: Uint8Array[] }
  /** Flow control: a driver may have one more chunk, or what one pass holds of requests, in flight after `off`. */
  | { type: 'read-stream'; stream: StreamId; on: boolean }
  | { type: 'admit'; resource: string; volume: number; on: boolean }
  // Machines talking to machines (heartbeat). Datagrams: they may be lost.
  | { type: 'membership-send'; to: string; bytes: Uint8Array }
  /**
   * Answered by handler-exited or handler-failed. `minor` is absent for handlers of the whole resource. The environment has what a core
   * knows: DRBD_RESOURCE, DRBD_PEERS, DRBD_MINOR, DRBD_VOLUME (lists for handlers of the resource), DRBD_PEER where the event is of one
   * peer. Addresses, devices and paths are the driver's to add (configuration.md §3.5).
   */
  | { type: 'run-handler'; handler: number; name: HandlerName; resource: string; minor?: number; environment: [string, string][] }
  // Answers.
  | { type: 'app-done'; resource: string; volume: number; id: number; data?: Uint8Array }
  | { type: 'app-failed'; resource: string; volume: number; id: number; error: 'EIO' | 'EROFS' | 'ENXIO' | 'EINVAL' }
  | { type: 'reply'; command: number; reply: Reply }
  | { type: 'observe'; event: Observation };

/** configuration.md §3.5. */
export type HandlerName =
  | 'before-resync-target'
  | 'after-resync-target'
  | 'before-resync-source'
  | 'pri-on-incon-degr'
  | 'pri-lost-after-sb'
  | 'pri-lost'
  | 'fence-peer'
  | 'unfence-peer'
  | 'local-io-error'
  | 'initial-split-brain'
  | 'split-brain'
  | 'out-of-sync';

/** What an operator, a log, a trace or a checker may see of the core's inside. Numbers are those of node-states.md §1. */
export type Observation =
  /** A state change was applied. Fields that did not change are equal in `from` and `to`. `peer` names whose view of conn and pdsk it is. */
  | { event: 'state'; resource: string; volume: number; peer: string; from: ObservedState; to: ObservedState; reason: string }
  /** A decision and the rule that made it: a number of generation-uuids.md §5, or a name. */
  | { event: 'decision'; resource: string; volume: number; peer: string; decision: string; rule: string; detail: string }
  /** A generation UUID set changed: [current, bitmap, history1, history2], 16 hexadecimal digits each. */
  | { event: 'generation'; resource: string; volume: number; uuids: [string, string, string, string]; why: string }
  /** Out-of-sync bits were changed in bulk, or a resync went on: bits are 4 KiB blocks. */
  | { event: 'resync'; resource: string; volume: number; peer: string; what: 'started' | 'finished' | 'aborted' | 'paused' | 'resumed'; side: 'source' | 'target'; totalBits: number; leftBits: number; failedBits: number }
  /** A verify begins, is over (`finished`: to where it should go), or found that these sectors differ. Sectors compared lie before `reachedSector`. */
  | { event: 'verify'; resource: string; volume: number; peer: string; what: 'started' | 'finished' | 'aborted'; side: 'source' | 'target'; startSector: number; reachedSector: number; foundBits: number }
  | { event: 'out-of-sync'; resource: string; volume: number; peer: string; sector: number; sectors: number }
  /** The connection went down for this reason (Timeout, BrokenPipe, NetworkFailure, ProtocolError, TearDown, Disconnecting). */
  | { event: 'connection-lost'; resource: string; peer: string; reason: string; detail: string }
  | { event: 'membership'; machine: string; what: string }
  | { event: 'log'; resource: string; level: 'info' | 'warning' | 'error'; text: string };

export interface ObservedState {
  role: number;
  peer: number;
  conn: number;
  disk: number;
  pdsk: number;
  /** Pause and suspension flags that are set, in the order of the state word: susp, aftr_isp, peer_isp, user_isp, susp_nod, susp_fen. */
  flags: string[];
}
