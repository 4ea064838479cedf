/**
 * Memory for what comes in: filled once, from the beginning of a page to its end, and then left as it is for as long as anybody refers to
 * it. So what a socket or a disk has brought needs no copy, whoever keeps it: the core (`Environment.lasts`), the flight recorder, a
 * socket that is slow. Copies into memory that was allocated anew, and given back by the garbage collector, were half of the Primary's own
 * time under writes of 128 KiB.
 *
 * When pages are wanted, all who may refer to some are asked (`reclaim`); a page that nobody names is used again.
 */

import type { OnReadOpts, Socket } from 'node:net';
import { addressOf } from './system.js';

export const PAGE_BYTES = 1 << 20;
/** A socket goes on to another page when there is less room than this. */
const READ_BYTES_MIN = 32 << 10;
/** With so many free pages nobody is asked, nor before so many more are used up, and a part of those that are. */
const FREE_PAGES_LOW = 2;
const PAGES_PER_LOOK = 4;
const LOOKS_PER_FULL = 4;
/** A segment of the recorder gives back many at once. What is let go stays with the process until the next full collection: with 16, 45 MB more. */
const FREE_PAGES_MAX = 64;

/** The memory itself, so that whoever sees bytes sees at once where they lie. */
export class Page extends ArrayBuffer {
  readonly memory: Uint8Array<Page>;
  readonly address: bigint;
  /** Filled up to here. */
  used = 0;
  /** By whom what lies here is recorded, and under which number of his. */
  recordedBy: object | undefined = undefined;
  recordedAs = -1;

  constructor(readonly arena: Arena) {
    super(PAGE_BYTES);
    this.memory = new Uint8Array(this);
    this.address = addressOf(this.memory);
  }
}

/** Room in a page. */
export interface Place {
  bytes: Uint8Array<Page>;
  address: bigint;
}

/** Adds the memory that it refers to. */
export type Holder = (held: Set<ArrayBufferLike>) => void;

export class Arena {
  private readonly free: Page[] = [];
  /** Used up, and perhaps referred to. */
  private full: Page[] = [];
  private fullSinceLook = 0;
  private readonly holders: Holder[] = [];
  private readonly pins = new Map<ArrayBufferLike, number>();
  private current: Page | undefined = undefined;

  /** Does it stay as it is while somebody refers to it? */
  readonly lasts = ({ buffer }: Uint8Array): boolean => buffer instanceof Page && buffer.arena === this;

  /** Somebody who is to be asked before memory is used again. */
  ask(holder: Holder): void {
    this.holders.push(holder);
  }

  /** These stay as they are until they are unpinned as often: for who has no list of what it holds. */
  pin(pieces: readonly Uint8Array[]): void {
    for (const { buffer } of pieces) if (buffer instanceof Page) this.pins.set(buffer, (this.pins.get(buffer) ?? 0) + 1);
  }

  unpin(pieces: readonly Uint8Array[]): void {
    for (const { buffer } of pieces) {
      const left = (this.pins.get(buffer) ?? 0) - 1;
      if (left > 0) this.pins.set(buffer, left);
      else this.pins.delete(buffer);
    }
  }

  /** A page to fill, whose owner says when it has done with it (`retire`). */
  takePage(): Page {
    const page = this.free.pop();
    if (!page) return new Page(this);
    page.used = 0;
    page.recordedBy = undefined;
    return page;
  }

  /** Nothing more will be written there. */
  retire(page: Page): void {
    this.full.push(page);
    this.fullSinceLook++;
  }

  /** Room for a piece, or undefined where it is larger than a page. */
  take(bytes: number): Place | undefined {
    if (bytes > PAGE_BYTES) return undefined;
    let page = (this.current ??= this.takePage());
    if (page.used + bytes > PAGE_BYTES) {
      this.retire(page);
      page = this.current = this.takePage();
    }
    const at = page.used;
    page.used += bytes;
    return { bytes: page.memory.subarray(at, at + bytes), address: page.address + BigInt(at) };
  }

  /** Nobody was shown what lies there, and nothing was taken since: its room is given to the next. */
  giveBack({ bytes }: Place): void {
    const page = bytes.buffer;
    if (page === this.current && page.used === bytes.byteOffset + bytes.length) page.used = bytes.byteOffset;
  }

  /** Between two passes, when nothing is on its way from hand to hand: pages that nobody refers to may be used again. */
  reclaim(): void {
    if (this.free.length >= FREE_PAGES_LOW || this.fullSinceLook < Math.max(PAGES_PER_LOOK, this.full.length / LOOKS_PER_FULL)) return;
    this.fullSinceLook = 0;
    const held = new Set<ArrayBufferLike>(this.pins.keys());
    for (const holder of this.holders) holder(held);
    const still: Page[] = [];
    for (const page of this.full) {
      if (held.has(page)) still.push(page);
      else if (this.free.length < FREE_PAGES_MAX) this.free.push(page);
    }
    this.full = still;
  }

  /** Socket options: reads go to pages of the socket's own, and `received` gets each. `watch` takes the pages back when the socket is closed. */
  reader(received: (bytes: Uint8Array) => void): { onread: OnReadOpts; watch: (socket: Socket) => void } {
    let page = this.takePage();
    const onread: OnReadOpts = {
      buffer: () => page.memory.subarray(page.used),
      callback: (count) => {
        const bytes = page.memory.subarray(page.used, page.used + count);
        page.used += count;
        if (PAGE_BYTES - page.used < READ_BYTES_MIN) {
          this.retire(page);
          page = this.takePage();
        }
        received(bytes);
        return true;
      },
    };
    return { onread, watch: (socket) => socket.once('close', () => this.retire(page)) };
  }
}
