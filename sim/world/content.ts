/**
 * The blocks of all disks of a run, each different content stored once: 4 KiB blocks by content id. Equal ids mean equal
 * content, so images are compared without looking at bytes, and a device costs what is different in it. Id 0 is the block of
 * zeros.
 *
 * Blocks are counted: an id that nobody holds any more is given to another content, so ids are good only while held. To the
 * outside a content has a serial number, which is never given twice.
 */

import { finish, mix, wordsOf } from './hash.js';

export const BLOCK_BYTES = 4096;
const BLOCK_WORDS = BLOCK_BYTES / 4;
const BLOCKS_PER_SLAB_SHIFT = 8;
const BLOCKS_PER_SLAB = 1 << BLOCKS_PER_SLAB_SHIFT;
const SLAB_BYTES = BLOCKS_PER_SLAB * BLOCK_BYTES;

/** Slabs that earlier runs of this thread are done with: fresh memory costs more than all else that is done with it. */
const spareSlabs: Buffer[] = [];

export class ContentStore {
  private readonly slabs: Buffer[] = [];
  private hashes = new Int32Array(1024);
  private references = new Int32Array(1024);
  /** Next id in the same bucket, or -1. */
  private chained = new Int32Array(1024);
  private buckets = new Int32Array(2048).fill(-1);
  private serials = new Float64Array(1024);
  private readonly free: number[] = [];
  private used = 0;
  private lastSerial = -1;
  private readonly scratch = new Uint8Array(BLOCK_BYTES);
  private readonly scratchWords = wordsOf(this.scratch);

  constructor() {
    this.retain(this.intern(this.scratch, this.scratchWords, 0));
  }

  /** Different blocks that are held now. */
  get size(): number {
    return this.used - this.free.length;
  }

  /**
   * The id of the block that begins at byte `at` of `bytes`; `words` are those of `bytes` (`wordsOf`). The caller must `retain`
   * it before the next call.
   */
  intern(bytes: Uint8Array, words: Int32Array, at: number): number {
    const firstWord = at >>> 2;
    const hash = sampleHash(words, firstWord);
    for (let id = this.buckets[hash & (this.buckets.length - 1)]!; id >= 0; id = this.chained[id]!) {
      if (this.hashes[id] === hash && this.equals(id, bytes, at)) return id;
    }
    const id = this.free.pop() ?? this.newId();
    const slab = this.slabs[id >> BLOCKS_PER_SLAB_SHIFT]!;
    const offset = (id & (BLOCKS_PER_SLAB - 1)) * BLOCK_BYTES;
    if (at === 0 && bytes.length === BLOCK_BYTES) slab.set(bytes, offset);
    else slab.set(bytes.subarray(at, at + BLOCK_BYTES), offset);
    const bucket = hash & (this.buckets.length - 1);
    this.hashes[id] = hash;
    this.serials[id] = ++this.lastSerial;
    this.chained[id] = this.buckets[bucket]!;
    this.buckets[bucket] = id;
    return id;
  }

  /** The id of the block `base` with some of its sectors, by bit mask, replaced by those of the block at `at` of `bytes`. */
  compose(base: number, mask: number, bytes: Uint8Array, at: number): number {
    this.copyTo(base, 0, BLOCK_BYTES, this.scratch, 0);
    let left = mask;
    while (left !== 0) {
      // A run of sectors at a time: nearly always there is one.
      const first = 31 - Math.clz32(left & -left);
      const count = 31 - Math.clz32(~(left >> first) & -~(left >> first));
      this.scratch.set(bytes.subarray(at + first * 512, at + (first + count) * 512), first * 512);
      left &= ~(((1 << count) - 1) << first);
    }
    return this.intern(this.scratch, this.scratchWords, 0);
  }

  /** As `compose`, with the replacing sectors from another block. */
  composeBlocks(base: number, mask: number, from: number): number {
    return this.compose(base, mask, this.slabs[from >> BLOCKS_PER_SLAB_SHIFT]!, (from & (BLOCKS_PER_SLAB - 1)) * BLOCK_BYTES);
  }

  /** Equal for equal content, never reused; 0 for zeros. */
  serial(id: number): number {
    return this.serials[id]!;
  }

  /** The 4096 bytes of a block, not to be changed or kept. */
  bytesOf(id: number): Uint8Array {
    const offset = (id & (BLOCKS_PER_SLAB - 1)) * BLOCK_BYTES;
    return this.slabs[id >> BLOCKS_PER_SLAB_SHIFT]!.subarray(offset, offset + BLOCK_BYTES);
  }

  /** Copies bytes `from` up to `to` of a block. */
  copyTo(id: number, from: number, to: number, target: Uint8Array, targetAt: number): void {
    const offset = (id & (BLOCKS_PER_SLAB - 1)) * BLOCK_BYTES;
    this.slabs[id >> BLOCKS_PER_SLAB_SHIFT]!.copy(target, targetAt, offset + from, offset + to);
  }

  retain(id: number): void {
    this.references[id]!++;
  }

  release(id: number): void {
    const left = --this.references[id]!;
    if (left > 0) return;
    if (left < 0) throw new Error(`content ${id} was released more often than held`);
    this.unchain(id);
    this.free.push(id);
  }

  /** The run is over: its memory goes to the next one. Nothing may be read from it afterwards. */
  dispose(): void {
    spareSlabs.push(...this.slabs.splice(0));
  }

  private equals(id: number, bytes: Uint8Array, at: number): boolean {
    const offset = (id & (BLOCKS_PER_SLAB - 1)) * BLOCK_BYTES;
    return this.slabs[id >> BLOCKS_PER_SLAB_SHIFT]!.compare(bytes, at, at + BLOCK_BYTES, offset, offset + BLOCK_BYTES) === 0;
  }

  private unchain(id: number): void {
    const bucket = this.hashes[id]! & (this.buckets.length - 1);
    let at = this.buckets[bucket]!;
    if (at === id) {
      this.buckets[bucket] = this.chained[id]!;
      return;
    }
    while (this.chained[at] !== id) at = this.chained[at]!;
    this.chained[at] = this.chained[id]!;
  }

  private newId(): number {
    const id = this.used++;
    if (id >> BLOCKS_PER_SLAB_SHIFT === this.slabs.length) this.slabs.push(spareSlabs.pop() ?? Buffer.allocUnsafeSlow(SLAB_BYTES));
    if (id === this.hashes.length) this.grow();
    return id;
  }

  private grow(): void {
    const longer = (old: Int32Array): Int32Array<ArrayBuffer> => {
      const array = new Int32Array(old.length * 2);
      array.set(old);
      return array;
    };
    this.hashes = longer(this.hashes);
    this.references = longer(this.references);
    this.chained = longer(this.chained);
    const serials = new Float64Array(this.serials.length * 2);
    serials.set(this.serials);
    this.serials = serials;
    this.buckets = new Int32Array(this.buckets.length * 2).fill(-1);
    const isFree = new Set(this.free);
    // The id being made has no hash yet; it is the last one.
    for (let id = 0; id < this.used - 1; id++) {
      if (isFree.has(id)) continue;
      const bucket = this.hashes[id]! & (this.buckets.length - 1);
      this.chained[id] = this.buckets[bucket]!;
      this.buckets[bucket] = id;
    }
  }
}

/** A hash of a few words: only says where to look, equality is compared. One word of each 64 bytes, at changing places. */
function sampleHash(words: Int32Array, first: number): number {
  let hash = 0;
  for (let at = 0; at < 8; at++) hash = mix(hash, words[first + at]!);
  for (let at = 0; at < BLOCK_WORDS; at += 16) hash = mix(hash, words[first + at + ((at >> 4) & 15)]!);
  return finish(hash);
}
