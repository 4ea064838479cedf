/**
 * One disk as a liar keeps its contract: writes end in a volatile cache, a flush or FUA makes them durable, losing power
 * keeps of the rest whatever it likes, torn at sector boundaries (design: "Disk model"). This file is about bytes; when
 * operations end and how they fail is in disk.ts.
 *
 * A device is sparse: content ids by block. `before` holds what is durable of those blocks that have newer writes in the cache;
 * `log` is those writes in the order in which they ended.
 */

import type { RandomStream } from '../types.js';
import type { ContentStore } from './content.js';
import { wordsOf } from './hash.js';

const PAGE_SHIFT = 8;
const PAGE_BLOCKS = 1 << PAGE_SHIFT;
const ALL_SECTORS = 0xff;
/** Beside a sector mask: this write was durable when it ended. */
const DURABLE = 0x100;

/** A write that was on its way when the process or the power went. */
export interface WriteInFlight {
  sector: number;
  sectors: number;
  /** Absent: zeros. */
  data: Uint8Array | undefined;
}

const ZERO_BLOCK = new Uint8Array(4096);

export class Device {
  /** Content ids of 1 MiB each; a block that is not there is zero. */
  private readonly pages = new Map<number, Int32Array>();
  private readonly before = new Map<number, number>();
  private logStart = 0;
  private logLength = 0;
  private logBlocks = new Float64Array(64);
  private logContents = new Int32Array(64);
  private logMasks = new Int32Array(64);

  constructor(
    private size: number,
    private readonly store: ContentStore,
  ) {}

  get sectors(): number {
    return this.size;
  }

  /** Another size; what lay behind a new end is gone, and what is new holds zeros, or in every word the same `noise`. */
  resize(sectors: number, noise: number): void {
    const old = this.size;
    if (sectors < old) this.zero(sectors, old - sectors);
    this.size = sectors;
    if (sectors > old && noise !== 0) this.write(old, new Uint8Array(new Int32Array((sectors - old) * 128).fill(noise).buffer), true);
  }

  /** Where a flush that is issued now ends: it covers what ended before. */
  get flushMark(): number {
    return this.logStart + this.logLength;
  }

  /** Writes that are only in the cache. */
  get unflushed(): number {
    return this.logLength;
  }

  /** Content id of a block as a reader sees it. */
  contentOf(block: number): number {
    return this.pages.get(block >= 2 ** 31 ? Math.floor(block / PAGE_BLOCKS) : block >> PAGE_SHIFT)?.[block % PAGE_BLOCKS] ?? 0;
  }

  /** Blocks that hold anything but zeros, ascending. */
  *nonZeroBlocks(): Iterable<number> {
    for (const page of [...this.pages.keys()].sort((a, b) => a - b)) {
      const ids = this.pages.get(page)!;
      for (let n = 0; n < PAGE_BLOCKS; n++) if (ids[n] !== 0) yield page * PAGE_BLOCKS + n;
    }
  }

  read(sector: number, target: Uint8Array): void {
    this.readWith((block) => this.contentOf(block), sector, target);
  }

  /** Would `read` bring nothing but zeros? */
  isZero(sector: number, sectors: number): boolean {
    const last = Math.floor((sector + sectors - 1) / 8);
    for (let block = Math.floor(sector / 8); block <= last; block++) if (this.contentOf(block) !== 0) return false;
    return true;
  }

  /** Without what is only in the cache. */
  readDurable(sector: number, target: Uint8Array): void {
    const durable = new Map<number, number>();
    for (let n = 0; n < this.logLength; n++) {
      if (!(this.logMasks[n]! & DURABLE)) continue;
      const block = this.logBlocks[n]!;
      const older = durable.get(block);
      const content = this.overlay(older ?? this.before.get(block)!, this.logMasks[n]!, this.logContents[n]!);
      this.store.retain(content);
      durable.set(block, content);
      if (older !== undefined) this.store.release(older);
    }
    this.readWith((block) => durable.get(block) ?? this.before.get(block) ?? this.contentOf(block), sector, target);
    for (const content of durable.values()) this.store.release(content);
  }

  /** A write ended: it is in the cache, or (`durable`, FUA) on the medium. */
  write(sector: number, data: Uint8Array, durable: boolean): void {
    const words = wordsOf(data);
    const end = sector + data.length / 512;
    const durableBit = durable ? DURABLE : 0;
    for (let at = sector; at < end; ) {
      const block = Math.floor(at / 8);
      const first = at - block * 8;
      const count = Math.min(8 - first, end - at);
      const byteAt = (at - sector) * 512;
      if (count === 8) this.put(block, this.store.intern(data, words, byteAt), ALL_SECTORS | durableBit);
      else this.putSectors(block, ((1 << count) - 1) << first, data, byteAt - first * 512, durableBit);
      at += count;
    }
  }

  /** Zeros, or a discard, that ended: in the cache as a write is. What is zero already costs nothing. */
  zero(sector: number, sectors: number): void {
    const end = sector + sectors;
    for (let at = sector; at < end; ) {
      const block = Math.floor(at / 8);
      const first = at - block * 8;
      const count = Math.min(8 - first, end - at);
      if (this.contentOf(block) !== 0 || this.before.has(block)) {
        if (count === 8) this.put(block, 0, ALL_SECTORS);
        else this.putSectors(block, ((1 << count) - 1) << first, ZERO_BLOCK, 0, 0);
      }
      at += count;
    }
  }

  /** Some sectors of a write that was interrupted: those for which `keeps` draws true. */
  writeSome(write: WriteInFlight, keeps: () => boolean): void {
    const end = write.sector + write.sectors;
    for (let at = write.sector; at < end; ) {
      const block = Math.floor(at / 8);
      const first = at - block * 8;
      const count = Math.min(8 - first, end - at);
      let mask = 0;
      for (let n = first; n < first + count; n++) if (keeps()) mask |= 1 << n;
      if (mask !== 0) this.putSectors(block, mask, write.data ?? ZERO_BLOCK, write.data ? (at - write.sector - first) * 512 : 0, 0);
      at += count;
    }
  }

  /** Everything that ended before `mark` (of `flushMark`) is durable. */
  flush(mark: number): void {
    const flushed = mark - this.logStart;
    if (flushed <= 0) return;
    if (flushed >= this.logLength) {
      for (const content of this.before.values()) this.store.release(content);
      this.before.clear();
      this.dropLog(this.logLength);
      return;
    }
    const cached = new Set<number>();
    for (let n = flushed; n < this.logLength; n++) cached.add(this.logBlocks[n]!);
    for (let n = 0; n < flushed; n++) {
      const block = this.logBlocks[n]!;
      const old = this.before.get(block);
      if (old === undefined) continue;
      if (cached.has(block)) this.hold(block, this.overlay(old, this.logMasks[n]!, this.logContents[n]!));
      else this.before.delete(block);
      this.store.release(old);
    }
    this.dropLog(flushed);
  }

  /**
   * The power goes: of everything that is not durable any subset survives, sector by sector, any version of each. True when a
   * write was torn: some of its sectors are there and others are not.
   */
  losePower(inFlight: readonly WriteInFlight[], random: RandomStream): boolean {
    // Tearing everything everywhere would never show a disk that lost, say, exactly one write.
    const mode = random.pick(['nothing', 'everything', 'writes', 'sectors'] as const);
    if (mode !== 'nothing') for (const write of inFlight) this.writeSome(write, () => true);
    const entries = new Map<number, number[]>();
    for (let n = 0; n < this.logLength; n++) {
      const block = this.logBlocks[n]!;
      const list = entries.get(block);
      if (list) list.push(n);
      else entries.set(block, [n]);
    }
    let torn = false;
    for (const [block, list] of entries) {
      let content = this.before.get(block)!;
      this.store.retain(content);
      const become = (next: number): void => {
        this.store.retain(next);
        this.store.release(content);
        content = next;
      };
      for (const n of list) {
        const mask = this.logMasks[n]!;
        const written = mask & ALL_SECTORS;
        let kept = written;
        if (!(mask & DURABLE)) {
          if (mode === 'nothing' || (mode === 'writes' && random.chance(1, 2))) kept = 0;
          else if (mode === 'sectors') kept &= random.integer(0, ALL_SECTORS);
        }
        if (kept !== 0) become(this.overlay(content, kept, this.logContents[n]!));
        torn ||= kept !== 0 && kept !== written;
      }
      this.set(block, content);
      this.store.release(content);
    }
    this.flush(this.flushMark);
    return torn;
  }

  private readWith(contentOf: (block: number) => number, sector: number, target: Uint8Array): void {
    const end = sector + target.length / 512;
    for (let at = sector; at < end; ) {
      const block = Math.floor(at / 8);
      const first = at - block * 8;
      const count = Math.min(8 - first, end - at);
      const content = contentOf(block);
      const targetAt = (at - sector) * 512;
      if (content === 0) target.fill(0, targetAt, targetAt + count * 512);
      else this.store.copyTo(content, first * 512, (first + count) * 512, target, targetAt);
      at += count;
    }
  }

  private overlay(base: number, mask: number, content: number): number {
    const sectors = mask & ALL_SECTORS;
    return sectors === ALL_SECTORS ? content : this.store.composeBlocks(base, sectors, content);
  }

  private putSectors(block: number, sectors: number, data: Uint8Array, byteAt: number, durableBit: number): void {
    this.put(block, this.store.compose(this.contentOf(block), sectors, data, byteAt), sectors | durableBit);
  }

  private put(block: number, content: number, mask: number): void {
    this.store.retain(content);
    const cached = this.before.has(block);
    if (mask & DURABLE && !cached) {
      this.set(block, content);
      this.store.release(content);
      return;
    }
    if (!cached) this.hold(block, this.contentOf(block));
    this.set(block, content);
    // The log takes over the reference.
    if (this.logLength === this.logBlocks.length) this.growLog();
    this.logBlocks[this.logLength] = block;
    this.logContents[this.logLength] = content;
    this.logMasks[this.logLength++] = mask;
  }

  private hold(block: number, content: number): void {
    this.store.retain(content);
    this.before.set(block, content);
  }

  private set(block: number, content: number): void {
    const key = Math.floor(block / PAGE_BLOCKS);
    let page = this.pages.get(key);
    if (!page) this.pages.set(key, (page = new Int32Array(PAGE_BLOCKS)));
    const slot = block % PAGE_BLOCKS;
    const old = page[slot]!;
    if (old === content) return;
    page[slot] = content;
    if (content !== 0) this.store.retain(content);
    if (old !== 0) this.store.release(old);
  }

  private dropLog(count: number): void {
    for (let n = 0; n < count; n++) this.store.release(this.logContents[n]!);
    this.logStart += count;
    this.logBlocks.copyWithin(0, count, this.logLength);
    this.logContents.copyWithin(0, count, this.logLength);
    this.logMasks.copyWithin(0, count, this.logLength);
    this.logLength -= count;
  }

  private growLog(): void {
    const { logBlocks, logContents, logMasks } = this;
    this.logBlocks = new Float64Array(2 * logBlocks.length);
    this.logBlocks.set(logBlocks);
    this.logContents = new Int32Array(2 * logContents.length);
    this.logContents.set(logContents);
    this.logMasks = new Int32Array(2 * logMasks.length);
    this.logMasks.set(logMasks);
  }
}
