/**
 * What brings unclean metadata into the state that an attach wants (metadata.md §3.3, `drbdmeta apply-al`): the extents of the
 * activity log are marked out of sync if the node was primary, the log is emptied, the superblock says clean. It is a plan, a
 * list of writes and flushes to be done strictly in order; the core's attach does them as disk outputs, lockmeta on a file.
 *
 * A crash at any point of the plan, with any part of the unflushed sectors lost, leaves metadata for which the plan can be
 * made again and marks at least the same: the bitmap is durable before the log is touched (D19), and while the log is being
 * emptied position 0 holds a whole transaction until all other blocks are empty. (Emptied in any other order, a torn block
 * would leave a log that cannot be trusted, and a crashed primary that cannot be attached.)
 */

import { AL_BLOCK_BYTES, type AlReplay, blockIndexOfPosition, emptyBlock } from './activity-log.js';
import { pageOfAlExtent } from './bitmap-io.js';
import { BITS_PER_AL_EXTENT, BITS_PER_PAGE, PAGE_BYTES, popcount } from './bitmap.js';
import type { Layout } from './layout.js';
import { type Result, refused } from './refusal.js';
import { Magic, type Superblock, SuperblockFlag, encodeSuperblock, hasFlag, isClean } from './superblock.js';

/** In order; a write need not be durable before the next flush. */
export type MetadataStep = { step: 'write'; sector: number; data: Uint8Array } | { step: 'flush' };

export interface ApplyAlPlan {
  /** Empty if the metadata was clean already. */
  steps: MetadataStep[];
  /** The superblock as the plan leaves it. */
  superblock: Superblock;
  /** Bits of 4 KiB that the log adds to the bitmap. */
  markedBits: number;
}

const SECTORS_PER_BLOCK = 8;
const BYTES_PER_EXTENT = BITS_PER_AL_EXTENT / 8;
/** Blocks in one write when a ring is emptied: 1 MiB. */
const BLOCKS_PER_WRITE = 256;

/** Bits that the bitmap on disk holds: whole pages, the last one with some behind the end of the device. */
const bitsOnDisk = (superblock: Superblock): number => Math.ceil(Math.ceil(superblock.lastAgreedSectors / 8) / BITS_PER_PAGE) * BITS_PER_PAGE;

/** The extents that must be marked: none unless the node was primary; those beyond the bitmap's last page are of no device. */
export function extentsToMark(superblock: Superblock, layout: Layout, replay: AlReplay): number[] {
  if (replay.outcome !== 'extents' || !hasFlag(superblock, SuperblockFlag.PrimaryInd)) return [];
  const bits = Math.min(bitsOnDisk(superblock), (layout.bitmapSectors / SECTORS_PER_BLOCK) * BITS_PER_PAGE);
  return replay.extents.filter((extent) => extent * BITS_PER_AL_EXTENT < bits);
}

/** The bitmap pages that the plan will want to see, ascending. */
export const pagesToRead = (superblock: Superblock, layout: Layout, replay: AlReplay): number[] =>
  Array.from(new Set(extentsToMark(superblock, layout, replay).map(pageOfAlExtent)));

/**
 * The plan. `blockAt(index)` gives the activity-log block `index`, `pageAt(page)` the 4096 bytes of a bitmap page of
 * `pagesToRead`. Refused with 165 when the log cannot be trusted and the node was primary: what it wrote is unknown. (If it
 * was not, nothing can be in the log that matters.)
 */
export function planApplyAl(
  superblock: Superblock,
  layout: Layout,
  replay: AlReplay,
  blockAt: (index: number) => Uint8Array,
  pageAt: (page: number) => Uint8Array,
): Result<ApplyAlPlan> {
  if (isClean(superblock)) return { ok: true, value: { steps: [], superblock, markedBits: 0 } };
  // With FULL_SYNC everything is marked, whatever the log would say: it may be one that was being moved (move.ts).
  const matters = hasFlag(superblock, SuperblockFlag.PrimaryInd) && !hasFlag(superblock, SuperblockFlag.FullSync);
  if (replay.outcome === 'failed' && matters) return refused(165, `activity log: ${replay.reason}`);

  const steps: MetadataStep[] = [];
  const markedBits = markExtents(steps, extentsToMark(superblock, layout, replay), layout, pageAt);
  steps.push({ step: 'flush' });
  emptyRing(steps, layout, replay, blockAt);
  const clean: Superblock = { ...superblock, magic: Magic.Clean, flags: superblock.flags | SuperblockFlag.AlClean };
  steps.push({ step: 'write', sector: layout.superblockSector, data: encodeSuperblock(clean) }, { step: 'flush' });
  return { ok: true, value: { steps, superblock: clean, markedBits } };
}

/**
 * Sets all 1024 bits of each extent, also those behind the end of the device as drbdmeta does: whoever loads the bitmap masks
 * them. A page that has them all is not written again, but flushed: it may have come from a volatile cache.
 */
function markExtents(steps: MetadataStep[], extents: number[], layout: Layout, pageAt: (page: number) => Uint8Array): number {
  const patched = new Map<number, Uint8Array>();
  let marked = 0;
  for (const extent of extents) {
    const page = pageOfAlExtent(extent);
    const bytes = patched.get(page) ?? pageAt(page).slice();
    const at = (extent * BYTES_PER_EXTENT) % PAGE_BYTES;
    let newly = 0;
    for (let n = at; n < at + BYTES_PER_EXTENT; n++) newly += 8 - popcount(bytes[n]!);
    if (newly === 0) continue;
    bytes.fill(0xff, at, at + BYTES_PER_EXTENT);
    patched.set(page, bytes);
    marked += newly;
  }
  for (const [page, data] of patched) steps.push({ step: 'write', sector: layout.bitmapSector + page * SECTORS_PER_BLOCK, data });
  return marked;
}

function emptyRing(steps: MetadataStep[], layout: Layout, replay: AlReplay, blockAt: (index: number) => Uint8Array): void {
  if (replay.outcome === 'empty') {
    if (!replay.torn) return;
    writeEmpty(steps, layout, 0, 1);
  } else if (replay.outcome === 'extents') {
    if (replay.positionZero !== 'update') {
      const newest = blockAt(blockIndexOfPosition(layout, replay.newestPosition)).slice();
      steps.push({ step: 'write', sector: layout.alSector, data: newest }, { step: 'flush' });
    }
    writeEmpty(steps, layout, 1, layout.alBlocks);
    steps.push({ step: 'flush' });
    writeEmpty(steps, layout, 0, 1);
  } else {
    writeEmpty(steps, layout, 0, layout.alBlocks);
  }
  steps.push({ step: 'flush' });
}

/** Empty blocks for the area's blocks `[from, to)`. Ring position 0 is block 0, whatever the stripes. */
export function writeEmpty(steps: MetadataStep[], layout: Layout, from: number, to: number): void {
  const length = Math.min(to - from, BLOCKS_PER_WRITE);
  const blocks = new Uint8Array(length * AL_BLOCK_BYTES);
  for (let n = 0; n < length; n++) blocks.set(emptyBlock(), n * AL_BLOCK_BYTES);
  for (let block = from; block < to; block += length) {
    const data = blocks.subarray(0, Math.min(length, to - block) * AL_BLOCK_BYTES);
    steps.push({ step: 'write', sector: layout.alSector + block * SECTORS_PER_BLOCK, data });
  }
}
