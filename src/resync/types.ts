/**
 * State of a bitmap exchange, of a running resync and of a running verify, one per volume and peer, as plain data. Each exists
 * only while the thing runs: what outlives it is the bitmap.
 *
 * Positions are bits (4 KiB blocks) or 512-byte sectors, as the name says.
 */

import type { Bitmap } from '../metadata/bitmap.js';
import type { BlockId } from '../wire/packets.js';

/** The peer's bitmap as far as it has arrived: everything before this bit is merged into ours. */
export interface BitmapReceiver {
  positionBits: number;
}

/** What serves ranges to the peer: the source of a resync, the target of a verify. */
export interface RangeServer {
  marks: SpeedMarks;
  /** `volume.applicationSectors` when the throttle last found the application at work. */
  lastApplicationSectors: number;
  /** Requests that wait because the application goes first, in order of arrival. */
  delayed: ServedRange[];
  /** Requests that are being read or wait for their range, by interval id. */
  reads: Map<number, ServedRange>;
}

export interface ResyncState extends RangeServer {
  side: 'source' | 'target';
  /**
   * `running`: blocks are asked for and answered. `fencing`: all are, a ping makes sure that the peer has seen every
   * acknowledgement. `flushing`: the target's disk is made durable (D8). The end removes the whole state.
   */
  phase: 'running' | 'fencing' | 'flushing';
  /** While `fencing`: how many answers to pings of this purpose come until ours is there (volumes share the connection). */
  fenceAcks: number;
  /** Bits that were set at the start (rs_total). */
  totalBits: number;
  /** Bits that could not be read or written: they stay set and are not asked for again. Made at the first failure. */
  failed: Bitmap | undefined;
  /** When cleared bits were last queued to be written out. */
  lastLazyWriteAtUs: number;

  // ---- Target only.
  /** Digest that is sent with each request, so that equal blocks need not travel; '' = none. */
  digestAlg: string;
  /** Where the search for the next block to ask for goes on. It goes round: what it left behind comes up again (bug B119). */
  cursorBit: number;
  /** Asked for and not yet written, in ascending order; they never overlap. */
  requests: ResyncRequest[];
  /** Sectors answered, with data or not, since the last tick. */
  answeredSectors: number;
  /**
   * What may still be asked for in this step, once there is room for it. Negative: asked for beyond what the controller allowed, in whole
   * granules of a thin resync; the next steps ask for so much less.
   */
  budgetBlocks: number;
  controller: RateController;

  // ---- Source only.
  /** The target said that it is done; what is still open here waits for a barrier's acknowledgement. */
  targetIsDone: boolean;
  /** Nothing more is served: the connection is congested (resource/congestion). */
  isHeld: boolean;
  /** Sent and not yet acknowledged: nothing else can be, so no stray acknowledgement clears a bit. */
  unacknowledged: ServedRange[];
}

/** A range that the target asked for. `interval` is its entry in the volume's intervals: resync-request, then resync-write. */
export interface ResyncRequest {
  sector: number;
  sectors: number;
  interval: number;
  /** `reading`: our own blocks, for their digest. `answered`: the data waits for earlier writes to the range. */
  stage: 'reading' | 'asked' | 'answered' | 'writing';
  /** What it was asked for with, and so what may answer it: `digest`: P_RS_IS_IN_SYNC; `thin`: P_RS_DEALLOCATED. */
  askedAs: 'data' | 'digest' | 'thin';
  /** The answer's data until it is written; undefined behind P_RS_DEALLOCATED. */
  data: Uint8Array | undefined;
  /** While `writing`: disk operations that have not ended, and whether one of them failed for good. */
  operations: number;
  failed: boolean;
}

/** A range that the source serves. The block id is the target's and is echoed (DRBD 9 insists on it). */
export interface ServedRange {
  sector: number;
  sectors: number;
  blockId: BlockId;
  /** What the answer holds: the data; the word that all is zeros where it is (`thin`), else the data; or the digest of it for a verify. */
  answer: 'data' | 'thin' | 'digest';
  /** The digest of the target's blocks, from a resync with checksums: data that has the same is not sent. */
  targetDigest?: Uint8Array;
}

/** The blocks of a verify are bits of the bitmap, one request each (wire-protocol.md §8). */
export interface VerifyState extends RangeServer {
  /** `source` (VerifyS) asks and compares, `target` (VerifyT) reads and answers. */
  side: 'source' | 'target';
  /** `fencing`: all is compared, a ping makes sure that the peer's results, or ours, have been processed. */
  phase: 'running' | 'fencing';
  /** As in a resync. */
  fenceAcks: number;
  /** The first block of this run; the target learns it from the first request. */
  startSector: number;
  /** Blocks whose result is still to come. */
  leftBits: number;
  /** Blocks that were found to differ. */
  foundBits: number;

  // ---- Source only.
  /** The next block to ask for, and where to stop. */
  positionSector: number;
  endSector: number;
  /** Asked for or about to be, in ascending order. */
  requests: VerifyRequest[];
  /** Sectors answered since the last tick. */
  answeredSectors: number;
  controller: RateController;

  // ---- Target only.
  /** The first request has come. */
  isAsked: boolean;
}

/** One block on its way. `interval` is its entry in the volume's intervals: verify-request, then verify-read. */
export interface VerifyRequest {
  sector: number;
  sectors: number;
  interval: number;
  /** `waiting` for own writes to the block to end; `free` of them, to be asked for; `answered`: our own block is read or will be. */
  stage: 'waiting' | 'free' | 'asked' | 'answered';
  digest: Uint8Array;
}

/** What the throttle measures from: (time, bits left), at least 3 s apart. */
export interface SpeedMarks {
  older: SpeedMark;
  latest: SpeedMark;
}

export interface SpeedMark {
  atUs: number;
  leftBits: number;
}

/** Memory of the rate controller (rate.ts). */
export interface RateController {
  /** Adaptive: corrections still to be applied, the next step's first, in sectors. */
  plan: number[];
  /** Fixed: what the last step left over of a block, in fortieths. */
  remainder: number;
}
