/**
 * How a bitmap reaches the disk and the peer: pages are loaded at attach, written out when they owe something, and the plain
 * bitmap packets are read from it and merged into it (metadata.md §4). Bytes are little-endian: bit n is bit n & 7 of byte n >> 3.
 */

import { BITS_PER_AL_EXTENT, BITS_PER_PAGE, type Bitmap, PAGE_BYTES, PageState, pageBits, popcount, recount, wordsToChange } from './bitmap.js';

const OWES = PageState.Set | PageState.Cleared;
/** An owing bit shifted by this is what a running write will have paid of it. */
const WRITING_SHIFT = 2;

/** The page that holds the bits of a 4 MiB activity-log extent. */
export const pageOfAlExtent = (extent: number): number => Math.floor((extent * BITS_PER_AL_EXTENT) / BITS_PER_PAGE);

/**
 * Takes whole pages as they are on disk, `bytes` a multiple of 4 KiB; they are clean afterwards. Bits behind the end of the
 * device are rubbish on disk and are dropped. (The kernel also drops the last 64 bits of some sizes: its defect, not copied.)
 */
export function loadPages(bitmap: Bitmap, firstPage: number, bytes: Uint8Array): void {
  const pages = bytes.length / PAGE_BYTES;
  if (!Number.isInteger(pages) || firstPage < 0 || firstPage + pages > bitmap.pages) {
    throw new RangeError(`${bytes.length} bytes at page ${firstPage} of ${bitmap.pages}`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let n = 0; n < pages; n++) {
    const page = firstPage + n;
    if (isWriting(bitmap, page)) throw new Error(`bitmap page ${page} is being written`);
    bitmap.words.delete(page);
    recount(bitmap, page, 0);
    orWords(bitmap, page, 0, view, n * PAGE_BYTES, PAGE_BYTES / 4);
    bitmap.states[page] = PageState.Clean;
  }
}

/** Pages that owe something to the disk, in order; `must`: only those with newly set bits. A page that is being written counts if it changed since. */
export function dirtyPages(bitmap: Bitmap, which: 'must' | 'any'): number[] {
  const mask = which === 'must' ? PageState.Set : OWES;
  const pages: number[] = [];
  for (let page = 0; page < bitmap.pages; page++) if (bitmap.states[page]! & mask) pages.push(page);
  return pages;
}

/** Does the page have newly set bits that no write carries yet? */
export const mustWrite = (bitmap: Bitmap, page: number): boolean => (bitmap.states[page]! & PageState.Set) !== 0;

export const isWriting = (bitmap: Bitmap, page: number): boolean => (bitmap.states[page]! & PageState.Writing) !== 0;

/**
 * Begins to write `pages` pages: returns their bytes, a copy. Until `endWrite` they owe only what changes from now on (B063).
 * Throws when one of them is being written already: two writes of a page could end in the wrong order.
 */
export function beginWrite(bitmap: Bitmap, firstPage: number, pages: number): Uint8Array {
  for (let page = firstPage; page < firstPage + pages; page++) {
    if (isWriting(bitmap, page)) throw new Error(`bitmap page ${page} is being written already`);
    bitmap.states[page] = PageState.Writing | (bitmap.states[page]! << WRITING_SHIFT);
  }
  return bytesOf(bitmap, firstPage * PAGE_BYTES, pages * PAGE_BYTES);
}

/** The write that `beginWrite` began has ended; if it failed, the pages owe again what it carried. Throws when none was running. */
export function endWrite(bitmap: Bitmap, firstPage: number, pages: number, written: boolean): void {
  for (let page = firstPage; page < firstPage + pages; page++) {
    if (!isWriting(bitmap, page)) throw new Error(`bitmap page ${page} is not being written`);
    const state = bitmap.states[page]!;
    bitmap.states[page] = (written ? state : state | (state >>> WRITING_SHIFT)) & OWES;
  }
}

/** `length` bytes of the bitmap from byte `offset` on (both multiples of 4), zero behind the end of the device. */
export function bytesOf(bitmap: Bitmap, offset: number, length: number): Uint8Array {
  checkWords(offset, length);
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < length; ) {
    const page = Math.floor((offset + at) / PAGE_BYTES);
    const first = (offset + at) % PAGE_BYTES;
    const end = Math.min(PAGE_BYTES, first + length - at);
    if (page < bitmap.pages && bitmap.counts[page]! > 0) {
      const words = bitmap.words.get(page);
      if (words) {
        for (let byte = first; byte < end; byte += 4) view.setUint32(at + byte - first, words[byte >>> 2]!, true);
      } else {
        fillOnes(bytes, at - first, pageBits(bitmap, page), first, end);
      }
    }
    at += end - first;
  }
  return bytes;
}

/** Merges the peer's bytes from byte `offset` on (offset and length multiples of 4); bits behind the end of the device are dropped. Returns how many bits were newly set. */
export function orBytes(bitmap: Bitmap, offset: number, bytes: Uint8Array): number {
  checkWords(offset, bytes.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let newly = 0;
  for (let at = 0; at < bytes.length; ) {
    const page = Math.floor((offset + at) / PAGE_BYTES);
    if (page >= bitmap.pages) break;
    const first = (offset + at) % PAGE_BYTES;
    const words = Math.min(PAGE_BYTES - first, bytes.length - at) / 4;
    newly += orWords(bitmap, page, first / 4, view, at, words);
    at += words * 4;
  }
  return newly;
}

/** Ors `count` little-endian words into one page. */
function orWords(bitmap: Bitmap, page: number, firstWord: number, view: DataView, at: number, count: number): number {
  const size = pageBits(bitmap, page);
  const before = bitmap.counts[page]!;
  if (before === size) return 0;
  let words = bitmap.words.get(page);
  let newly = 0;
  for (let n = 0; n < count; n++) {
    let word = view.getUint32(at + 4 * n, true);
    if (word === 0) continue;
    const index = firstWord + n;
    const inDevice = size - index * 32;
    if (inDevice < 32) {
      if (inDevice <= 0) break;
      word &= -1 >>> (32 - inDevice);
    }
    const fresh = popcount(word & ~(words?.[index] ?? 0));
    if (fresh === 0) continue;
    words ??= wordsToChange(bitmap, page);
    words[index]! |= word;
    newly += fresh;
  }
  if (newly > 0) {
    recount(bitmap, page, before + newly);
    bitmap.states[page]! |= PageState.Set;
  }
  return newly;
}

/** Writes bytes `[first, end)` of a page whose first `bits` bits are 1; the page's byte 0 is at `base`. */
function fillOnes(bytes: Uint8Array, base: number, bits: number, first: number, end: number): void {
  const full = bits >>> 3;
  if (full > first) bytes.fill(0xff, base + first, base + Math.min(full, end));
  if (full >= first && full < end && (bits & 7) !== 0) bytes[base + full] = (1 << (bits & 7)) - 1;
}

function checkWords(offset: number, length: number): void {
  if (offset % 4 !== 0 || length % 4 !== 0 || offset < 0) throw new RangeError(`bitmap bytes ${offset}+${length} are not whole words`);
}
