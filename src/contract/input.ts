/**
 * What can happen to a node: the closed vocabulary of facts that a driver hands to `Node.handle` (design: "The core").
 *
 * Units: sectors are 512 bytes; times are integer microseconds; ids of requests, commands and handlers are unique per node
 * and never reused. Byte arrays in inputs are lent for the pass, until its outputs are carried out: the core copies what it keeps
 * longer, unless they last (`Environment.lasts`). They are plain `Uint8Array`s; a Buffer, whose `slice` copies nothing, would break that.
 */

import type { Command } from './command.js';

/** A stream id. Positive ids are chosen by the core (`connect`), negative ones by the driver (`stream-accepted`). */
export type StreamId = number;

/** `data` is the backing disk, `meta` the device that holds the metadata; with internal metadata both are one device. */
export type DiskArea = 'data' | 'meta';

/** `unknown`: failed, but perhaps durable. `aborted`: the driver gave it up. */
export type DiskFailure = 'failed' | 'aborted' | 'unknown';

export type Input =
  // The application above.
  | { type: 'app-read'; resource: string; volume: number; id: number; sector: number; sectors: number }
  | { type: 'app-write'; resource: string; volume: number; id: number; sector: number; data: Uint8Array; fua: boolean }
  /** Afterwards the range reads as zeros on every replica; with `mayUnmap`, and after a discard, the disks may have given its space up. */
  | { type: 'app-write-zeroes'; resource: string; volume: number; id: number; sector: number; sectors: number; mayUnmap: boolean }
  | { type: 'app-discard'; resource: string; volume: number; id: number; sector: number; sectors: number }
  | { type: 'app-flush'; resource: string; volume: number; id: number }
  | { type: 'app-opened'; resource: string; volume: number; who: string }
  | { type: 'app-closed'; resource: string; volume: number; who: string }
  // The disk below. `dataSectors`/`metaSectors` are capacities of the devices; with `shared` they are one device.
  // `rememberedSectors`: what `disk-placed` said last, kept by the driver over restarts; 0 where it never said anything.
  // `discardGranularityBytes` is of the data device: what a discard may skip at its unaligned ends; 0 where it cannot discard.
  | {
      type: 'disk-opened';
      resource: string;
      volume: number;
      dataSectors: number;
      metaSectors: number;
      shared: boolean;
      logicalBlockBytes: number;
      discardGranularityBytes: number;
      rememberedSectors: number;
    }
  /** The open devices have other sizes than they had: used by the next `resize`, of ours or of the peer. */
  | { type: 'disk-resized'; resource: string; volume: number; dataSectors: number; metaSectors: number }
  | { type: 'disk-open-failed'; resource: string; volume: number; reason: string }
  /** `data`: what a read brought, lent; absent where all of it is zeros. */
  | { type: 'disk-done'; op: number; data?: Uint8Array }
  | { type: 'disk-failed'; op: number; failure: DiskFailure }
  // Streams. A driver reports each connect attempt exactly once: connected, refused or failed.
  | { type: 'stream-connected'; stream: StreamId }
  | { type: 'connect-refused'; stream: StreamId }
  | { type: 'connect-failed'; stream: StreamId; reason: string }
  | { type: 'stream-accepted'; resource: string; peer: string; stream: StreamId }
  | { type: 'stream-received'; stream: StreamId; bytes: Uint8Array }
  /** Cumulative count of our bytes that the transport has taken from us ("handed to the network"). */
  | { type: 'stream-sent'; stream: StreamId; bytesTotal: number }
  /** The peer closed its side, orderly (`closed`) or not (`reset`). Nothing follows on this stream. */
  | { type: 'stream-closed'; stream: StreamId; how: 'closed' | 'reset' }
  | { type: 'listen-failed'; resource: string; peer: string; reason: string }
  // Machines talking to machines (heartbeat).
  | { type: 'membership-received'; from: string; bytes: Uint8Array }
  // Operators and helpers.
  | { type: 'command'; id: number; command: Command }
  | { type: 'handler-exited'; handler: number; exitCode: number }
  | { type: 'handler-failed'; handler: number; reason: string }
  // The driver itself: the alarm rang; everything that had arrived has been handed over.
  | { type: 'woken' }
  | { type: 'pass-ended' };
