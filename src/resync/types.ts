/**
 * State of a bitmap exchange and of a running resync, one per volume and peer, as plain data. Both exist only while the
 * thing runs: what outlives a resync is the bitmap.
 *
 * Positions are bits (4 KiB blocks) or 512-byte sectors, as the name says.
 */

import type { Bitmap } from '../metadata/bitmap.js';
import type { BlockId } from '../wire/packets.js';

/** The peer's bitmap as far as it has arrived: everything before this bit is merged into ours. */
export interface BitmapReceiver {
  positionBits: number;
}

export interface ResyncState {
  side: 'source' | 'target';
  /**
   * `running`: blocks are asked for and answered. `fencing`: all are, a ping makes sure that the peer has seen every
   * acknowledgement. `flushing`: the target's disk is made durable (D8). The end removes the whole state.
   */
  phase: 'running' | 'fencing' | 'flushing';
  /** Answers to pings of this purpose that still come before ours and with ours, while `fencing`. */
  fenceAcks: number;
  /** Bits that were set at the start (rs_total). */
  totalBits: number;
  startedAtUs: number;
  /** Bits that could not be read or written: they stay set and are not asked for again (rs_failed is their number). Created at the first failure. */
  failed: Bitmap | undefined;
  /** What the throttle measures: the last ones, oldest first (timers-and-order.md §1.3, "speed mark"). */
  marks: SpeedMark[];
  /** When bitmap pages of cleared bits were last queued for writing. */
  lastLazyWriteAtUs: number;
  /** `volume.applicationSectors` when the throttle last found the application active. */
  lastApplicationSectors: number;

  // ---- Target only.
  /** Where the search for the next block to ask for goes on. */
  cursorBit: number;
  /** Lowest bit that the cursor left behind because an own write was on its way to it, or -1. */
  skippedBit: number;
  /** Asked for and not yet written, in ascending order of their sectors; they never overlap. */
  requests: ResyncRequest[];
  /** Sum of their sectors. */
  inFlightSectors: number;
  /** Sectors answered, with data or not, since the last tick. */
  answeredSectors: number;
  controller: RateController;

  // ---- Source only.
  /** Requests of the peer that are being read or wait for their range, by interval id. */
  reads: Map<number, ServedRequest>;
  /** Requests that wait because the application goes first, in order of arrival. */
  delayed: ServedRequest[];
}

/** A block range that the target asked for. `interval` is its entry in the volume's intervals: resync-request, then resync-write. */
export interface ResyncRequest {
  sector: number;
  sectors: number;
  interval: number;
  blockId: BlockId;
  stage: 'asked' | 'waiting' | 'writing';
  /** The answer while it waits for earlier writes to its range. */
  data: Uint8Array | undefined;
}

/** A request that the source serves; the block id is the target's, echoed. */
export interface ServedRequest {
  sector: number;
  sectors: number;
  blockId: BlockId;
}

export interface SpeedMark {
  atUs: number;
  leftBits: number;
}

/** Memory of the rate controller (sync-and-activity-log.md §7.3). */
export interface RateController {
  /** Corrections that are spread over the coming steps, the next one first, in sectors; their sum is `planned`. Unused with a fixed rate. */
  plan: number[];
  /** What the fixed rate left over of a block, in fortieths of one. */
  remainder: number;
}
