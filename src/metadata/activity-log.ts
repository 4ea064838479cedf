/**
 * The activity log: which 4 MiB extents a primary may be writing to. It is a ring of 4 KiB blocks, one for each transaction;
 * a transaction says which slots of the active set change, and repeats a part of the set, so that a few blocks in a row
 * describe all of it (metadata.md §3). After a crash the replay of the ring gives the extents that may differ from the peer's.
 *
 * A writer keeps an `AlCursor`, writes what `encodeTransaction` returns to block `blockIndex` with preflush and FUA, and
 * calls `advance` when that has succeeded. Attach begins with an empty ring, an empty set and a new cursor.
 */

import { crc32c } from './crc32c.js';
import type { AlGeometry } from './layout.js';

export const AL_BLOCK_BYTES = 4096;
/** Changes in one transaction. */
export const AL_UPDATES_MAX = 64;
/** Slots that one block repeats. */
export const AL_CONTEXT_SLOTS = 919;
/** Slots of the largest active set. */
export const AL_SLOTS_MAX = 65534;
/** Fewer are raised to this (metadata.md §3.1). */
const AL_SLOTS_MIN = 67;
/** The content of a slot that holds no extent. */
export const AL_FREE = 0xffffffff;

/** The first four bytes of a block. */
export const AL_MAGIC = 0x69cb65a2;
const TYPE_UPDATE = 0;
const TYPE_EMPTY = 0xffff;
const SLOT_UNUSED = 0xffff;
const CRC_AT = 8;
const SLOTS_AT = 36;
const EXTENTS_AT = 164;
const CONTEXT_AT = 420;

/** A slot gets an extent (4 MiB units), or `AL_FREE`. */
export interface AlUpdate {
  slot: number;
  extent: number;
}

/** Where the writer is; both wrap. */
export interface AlCursor {
  /** Number of the next transaction, 32 bits. */
  number: number;
  /** First slot that the next block repeats. */
  contextStart: number;
}

export type AlBlock =
  | {
      kind: 'update';
      number: number;
      updates: AlUpdate[];
      contextSize: number;
      contextStart: number;
      /** 919 entries, slots `contextStart`…, as they were before the transaction. */
      context: Uint32Array;
    }
  | { kind: 'empty' }
  /** No activity-log block, torn, or damaged. */
  | { kind: 'invalid' };

export const newCursor = (): AlCursor => ({ number: 0, contextStart: 0 });

export const alBlocks = (geometry: AlGeometry): number => geometry.alStripes * geometry.alStripeSize4k;

/** The active set that a configured `al-extents` really gets in this ring: silently clamped, as DRBD does. */
export function clampAlExtents(configured: number, geometry: AlGeometry): number {
  const blocks = alBlocks(geometry);
  // One block more than the set needs, so that a torn one does not matter.
  const max = blocks > Math.ceil(AL_SLOTS_MAX / AL_CONTEXT_SLOTS) ? AL_SLOTS_MAX : (blocks - 1) * AL_CONTEXT_SLOTS;
  return Math.min(Math.max(configured, AL_SLOTS_MIN), max);
}

/** Which block of the area a ring position is: consecutive positions go round the stripes. */
export const blockIndexOfPosition = (geometry: AlGeometry, position: number): number =>
  (position % geometry.alStripes) * geometry.alStripeSize4k + Math.floor(position / geometry.alStripes);

/** Which block of the area transaction `number` goes to. */
export const blockIndex = (geometry: AlGeometry, number: number): number => blockIndexOfPosition(geometry, number % alBlocks(geometry));

/**
 * The block of the next transaction. `slots` is the whole active set as it is committed, without `updates`. Throws when
 * something does not fit: that is a bug of the caller.
 */
export function encodeTransaction(cursor: AlCursor, slots: ArrayLike<number>, updates: readonly AlUpdate[]): Uint8Array {
  if (updates.length > AL_UPDATES_MAX) throw new RangeError(`${updates.length} changes in one transaction`);
  if (slots.length > AL_SLOTS_MAX || cursor.contextStart >= Math.max(slots.length, 1)) {
    throw new RangeError(`${slots.length} slots, context at ${cursor.contextStart}`);
  }
  const bytes = new Uint8Array(AL_BLOCK_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, AL_MAGIC);
  view.setUint32(4, cursor.number);
  view.setUint16(12, TYPE_UPDATE);
  view.setUint16(14, updates.length);
  view.setUint16(16, slots.length);
  view.setUint16(18, cursor.contextStart);
  bytes.fill(0xff, SLOTS_AT);
  updates.forEach(({ slot, extent }, n) => {
    if (slot < 0 || slot >= slots.length || extent < 0 || extent > AL_FREE) throw new RangeError(`slot ${slot}, extent ${extent}`);
    view.setUint16(SLOTS_AT + 2 * n, slot);
    view.setUint32(EXTENTS_AT + 4 * n, extent);
  });
  const repeated = Math.min(AL_CONTEXT_SLOTS, slots.length - cursor.contextStart);
  for (let n = 0; n < repeated; n++) view.setUint32(CONTEXT_AT + 4 * n, slots[cursor.contextStart + n]!);
  view.setUint32(CRC_AT, crc32c(0, bytes));
  return bytes;
}

/** The transaction was written: on to the next. `slotCount` is the size of the active set. */
export function advance(cursor: AlCursor, slotCount: number, geometry: AlGeometry): void {
  // Where 2^32 is no multiple of the ring's length, number 0 would not follow in the ring; the next number that does is taken.
  cursor.number = cursor.number === 0xffffffff ? 2 ** 32 % alBlocks(geometry) : cursor.number + 1;
  cursor.contextStart += AL_CONTEXT_SLOTS;
  if (cursor.contextStart >= slotCount) cursor.contextStart = 0;
}

/** The block that create-md and apply-al fill the ring with. */
export function emptyBlock(): Uint8Array {
  const bytes = new Uint8Array(AL_BLOCK_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, AL_MAGIC);
  view.setUint16(12, TYPE_EMPTY);
  view.setUint32(CRC_AT, crc32c(0, bytes));
  return bytes;
}

/** Reads one block; never throws, whatever the bytes. */
export function decodeBlock(bytes: Uint8Array): AlBlock {
  if (bytes.length !== AL_BLOCK_BYTES) return { kind: 'invalid' };
  const view = new DataView(bytes.buffer, bytes.byteOffset, AL_BLOCK_BYTES);
  if (view.getUint32(0) !== AL_MAGIC || view.getUint32(CRC_AT) !== crcOf(bytes)) return { kind: 'invalid' };
  if (view.getUint16(12) === TYPE_EMPTY) return { kind: 'empty' };
  const announced = view.getUint16(14);
  const updates: AlUpdate[] = [];
  for (let n = 0; n < AL_UPDATES_MAX; n++) {
    const slot = view.getUint16(SLOTS_AT + 2 * n);
    if (n < announced || slot !== SLOT_UNUSED) updates.push({ slot, extent: view.getUint32(EXTENTS_AT + 4 * n) });
  }
  const context = new Uint32Array(AL_CONTEXT_SLOTS);
  for (let n = 0; n < AL_CONTEXT_SLOTS; n++) context[n] = view.getUint32(CONTEXT_AT + 4 * n);
  return {
    kind: 'update',
    number: view.getUint32(4),
    updates,
    contextSize: view.getUint16(16),
    contextStart: view.getUint16(18),
    context,
  };
}

/** CRC of a block with its crc field taken as zero. */
function crcOf(bytes: Uint8Array): number {
  return crc32c(crc32c(crc32c(0, bytes, 0, CRC_AT), noCrc), bytes, CRC_AT + 4);
}

const noCrc = new Uint8Array(4);

/** What a ring says. */
export type AlReplay =
  | {
      outcome: 'extents';
      /** Ascending, 4 MiB units. */
      extents: number[];
      /** Blocks that are torn or damaged. */
      damagedBlocks: number;
      /** Entries for slots that no active set can have. */
      ignoredSlots: number;
      /** Where the newest transaction lies. */
      newestPosition: number;
      positionZero: AlBlock['kind'];
    }
  /** Nothing was ever logged. `torn`: position 0 holds a torn block, all others are empty. */
  | { outcome: 'empty'; torn: boolean }
  /** The log cannot be trusted (metadata.md §3.3 step 3). */
  | { outcome: 'failed'; reason: 'no valid block' | 'no valid transaction'; damagedBlocks: number };

/**
 * Replays the ring: the extents in the active set after the newest transaction that is whole, ascending (metadata.md §3.3).
 * `blockAt(index)` gives 4096 bytes of the area's block `index`; it is asked twice for some. Never throws by itself.
 *
 * The transactions are taken in the order of their numbers, wherever they lie (B055), and a damaged block is left out
 * without ending the scan (B054): each of the others says what it knows.
 */
export function replayLog(geometry: AlGeometry, blockAt: (index: number) => Uint8Array): AlReplay {
  const count = alBlocks(geometry);
  const found: { number: number; position: number }[] = [];
  let positionZero: AlBlock['kind'] = 'invalid';
  let invalid = 0;
  for (let position = 0; position < count; position++) {
    const block = decodeBlock(blockAt(blockIndexOfPosition(geometry, position)));
    if (position === 0) positionZero = block.kind;
    if (block.kind === 'update') found.push({ number: block.number, position });
    else if (block.kind === 'invalid') invalid++;
  }
  if (invalid === count) return { outcome: 'failed', reason: 'no valid block', damagedBlocks: invalid };
  if (found.length === 0) {
    if (invalid === 0) return { outcome: 'empty', torn: false };
    if (invalid === 1 && positionZero === 'invalid') return { outcome: 'empty', torn: true };
    return { outcome: 'failed', reason: 'no valid transaction', damagedBlocks: invalid };
  }

  let newest = found[0]!;
  for (const block of found) if (distance(newest.number, block.number) > 0) newest = block;
  const last = newest.number;
  found.sort((a, b) => distance(last, a.number) - distance(last, b.number));

  const slots = new Uint32Array(AL_SLOTS_MAX).fill(AL_FREE);
  let ignoredSlots = 0;
  for (const { position } of found) {
    const block = decodeBlock(blockAt(blockIndexOfPosition(geometry, position)));
    if (block.kind !== 'update') continue;
    for (let n = 0; n < AL_CONTEXT_SLOTS; n++) {
      const slot = block.contextStart + n;
      const extent = block.context[n]!;
      if (extent === AL_FREE && slot >= block.contextSize) continue;
      if (slot < AL_SLOTS_MAX) slots[slot] = extent;
      else ignoredSlots++;
    }
    for (const { slot, extent } of block.updates) {
      if (slot < AL_SLOTS_MAX) slots[slot] = extent;
      else ignoredSlots++;
    }
  }
  const active = new Set<number>();
  for (const extent of slots) if (extent !== AL_FREE) active.add(extent);
  const extents = Array.from(active).sort((a, b) => a - b);
  return { outcome: 'extents', extents, damagedBlocks: invalid, ignoredSlots, newestPosition: newest.position, positionZero };
}

/** How far transaction `b` is behind `a` in time; the numbers wrap at 2^32. */
const distance = (a: number, b: number): number => (b - a) | 0;
