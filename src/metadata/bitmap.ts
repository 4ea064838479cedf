/**
 * The out-of-sync bitmap towards one peer: a bit for each 4 KiB of the device, set when the block may differ from the peer's
 * (metadata.md §4, sync-and-activity-log.md §3). It is plain data, sparse by pages of 4 KiB (32768 bits, 128 MiB of device):
 * only a page that is neither all zero nor all one has storage, so a clean or a wholly dirty 4 TiB device costs 100 KiB.
 *
 * Positions go far beyond 2^32, so pages are found by division; shifts and masks are used within a page only (B037, B043).
 * Loading, writing out and the peer's packets: bitmap-io.ts.
 */

/** Bits of a page, of the 16 MiB resync extent, of the 4 MiB activity-log extent. */
export const BITS_PER_PAGE = 32768;
export const BITS_PER_RESYNC_EXTENT = 4096;
export const BITS_PER_AL_EXTENT = 1024;
export const PAGE_BYTES = 4096;
const WORDS_PER_PAGE = 1024;
const SECTORS_PER_BIT = 8;

export interface Bitmap {
  /** Size of the device. */
  sectors: number;
  /** One for each begun 4 KiB. */
  bits: number;
  pages: number;
  /** Bits that are set, always exact. */
  weight: number;
  /** Set bits of each page. */
  counts: Uint16Array;
  /** Pages that are neither empty nor full. Bits behind the end of the device are 0. */
  words: Map<number, Uint32Array>;
  /** `PageState` bits of each page. */
  states: Uint8Array;
}

/**
 * What a page owes to the disk. `Set`: bits were set, the page must be written before its extent leaves the activity log.
 * `Cleared`: bits were cleared, it may be written lazily. While it is being written, `WritingSet` and `WritingCleared` are what
 * that write will have paid: a change during the write sets the owing bits again, so its end cannot lose them (B063).
 */
export const PageState = { Clean: 0, Set: 1, Cleared: 2, WritingSet: 4, WritingCleared: 8, Writing: 16 } as const;

/** An empty bitmap, all pages clean. Throws when `sectors` is not a size. */
export function createBitmap(sectors: number): Bitmap {
  if (!Number.isSafeInteger(sectors) || sectors < 0) throw new RangeError(`not a device size: ${sectors} sectors`);
  const bits = Math.ceil(sectors / SECTORS_PER_BIT);
  const pages = Math.ceil(bits / BITS_PER_PAGE);
  return { sectors, bits, pages, weight: 0, counts: new Uint16Array(pages), words: new Map(), states: new Uint8Array(pages) };
}

/**
 * Marks every block that the range touches. Returns how many bits were newly set; 0 sectors are nothing. Throws when the
 * range leaves the device: positions from a peer or an application are checked before they come here.
 */
export function setOutOfSync(bitmap: Bitmap, sector: number, sectors: number): number {
  checkRange(sector, sectors, bitmap.sectors);
  if (sectors === 0) return 0;
  const first = Math.floor(sector / SECTORS_PER_BIT);
  return setBits(bitmap, first, Math.ceil((sector + sectors) / SECTORS_PER_BIT) - first);
}

/**
 * Unmarks the blocks that lie wholly in the range; the device's last partial block does when the range reaches the end of
 * the device. Returns how many bits were newly cleared. Throws when the range leaves the device.
 */
export function setInSync(bitmap: Bitmap, sector: number, sectors: number): number {
  checkRange(sector, sectors, bitmap.sectors);
  const first = Math.ceil(sector / SECTORS_PER_BIT);
  const end = sector + sectors === bitmap.sectors ? bitmap.bits : Math.floor((sector + sectors) / SECTORS_PER_BIT);
  return end > first ? clearBits(bitmap, first, end - first) : 0;
}

/** How many blocks that the range touches are marked. Throws when the range leaves the device. */
export function countOutOfSync(bitmap: Bitmap, sector: number, sectors: number): number {
  checkRange(sector, sectors, bitmap.sectors);
  if (sectors === 0) return 0;
  const first = Math.floor(sector / SECTORS_PER_BIT);
  return countBits(bitmap, first, Math.ceil((sector + sectors) / SECTORS_PER_BIT) - first);
}

/** Marked blocks of a 16 MiB resync extent. Counted where they are, not where a request began (B038). */
export function countResyncExtent(bitmap: Bitmap, extent: number): number {
  const first = extent * BITS_PER_RESYNC_EXTENT;
  return countBits(bitmap, first, Math.min(BITS_PER_RESYNC_EXTENT, bitmap.bits - first));
}

/** Sets a run of bits, as when merging the peer's. Only bits that were clear are counted (B034), and their pages must be written (B032). */
export function setBits(bitmap: Bitmap, bit: number, bits: number): number {
  checkRange(bit, bits, bitmap.bits);
  let newly = 0;
  for (let at = bit; at < bit + bits; ) {
    const page = Math.floor(at / BITS_PER_PAGE);
    const from = at % BITS_PER_PAGE;
    const to = Math.min(BITS_PER_PAGE, from + bit + bits - at);
    at += to - from;
    const size = pageBits(bitmap, page);
    const before = bitmap.counts[page]!;
    if (before === size) continue;
    const after = to - from === size ? size : before + setInWords(wordsToChange(bitmap, page), from, to);
    if (after === before) continue;
    recount(bitmap, page, after);
    bitmap.states[page]! |= PageState.Set;
    newly += after - before;
  }
  return newly;
}

/** Clears a run of bits; returns how many were set. */
export function clearBits(bitmap: Bitmap, bit: number, bits: number): number {
  checkRange(bit, bits, bitmap.bits);
  let newly = 0;
  for (let at = bit; at < bit + bits; ) {
    const page = Math.floor(at / BITS_PER_PAGE);
    const from = at % BITS_PER_PAGE;
    const to = Math.min(BITS_PER_PAGE, from + bit + bits - at);
    at += to - from;
    const before = bitmap.counts[page]!;
    if (before === 0) continue;
    const after = to - from === pageBits(bitmap, page) ? 0 : before - clearInWords(wordsToChange(bitmap, page), from, to);
    if (after === before) continue;
    recount(bitmap, page, after);
    bitmap.states[page]! |= PageState.Cleared;
    newly += before - after;
  }
  return newly;
}

/** Set bits of a run. */
export function countBits(bitmap: Bitmap, bit: number, bits: number): number {
  checkRange(bit, bits, bitmap.bits);
  let count = 0;
  for (let at = bit; at < bit + bits; ) {
    const page = Math.floor(at / BITS_PER_PAGE);
    const from = at % BITS_PER_PAGE;
    const to = Math.min(BITS_PER_PAGE, from + bit + bits - at);
    at += to - from;
    const words = bitmap.words.get(page);
    if (words) count += countInWords(words, from, to);
    else if (bitmap.counts[page]! > 0) count += to - from;
  }
  return count;
}

/** Everything is out of sync, and every page must be written: what is on disk is not known to be related. */
export function setAll(bitmap: Bitmap): void {
  for (let page = 0; page < bitmap.pages; page++) bitmap.counts[page] = pageBits(bitmap, page);
  bitmap.words.clear();
  bitmap.weight = bitmap.bits;
  for (let page = 0; page < bitmap.pages; page++) bitmap.states[page]! |= PageState.Set;
}

/** Nothing is out of sync; every page is to be written. */
export function clearAll(bitmap: Bitmap): void {
  bitmap.counts.fill(0);
  bitmap.words.clear();
  bitmap.weight = 0;
  for (let page = 0; page < bitmap.pages; page++) bitmap.states[page]! |= PageState.Cleared;
}

/** The first set bit at or behind `from`, or -1. */
export const nextSetBit = (bitmap: Bitmap, from: number): number => nextBit(bitmap, from, true);

/** The longest run of equal bits that begins at `bit`, which must be a bit of the device. */
export function nextRun(bitmap: Bitmap, bit: number): { set: boolean; bits: number } {
  checkRange(bit, 1, bitmap.bits);
  const set = countBits(bitmap, bit, 1) === 1;
  const end = nextBit(bitmap, bit, !set);
  return { set, bits: (end === -1 ? bitmap.bits : end) - bit };
}

/** How many bits of the device a page holds. */
export const pageBits = (bitmap: Bitmap, page: number): number => Math.min(BITS_PER_PAGE, bitmap.bits - page * BITS_PER_PAGE);

/** Sets a page's count and the total, and drops storage that an empty or full page does not need. */
export function recount(bitmap: Bitmap, page: number, count: number): void {
  bitmap.weight += count - bitmap.counts[page]!;
  bitmap.counts[page] = count;
  if (count === 0 || count === pageBits(bitmap, page)) bitmap.words.delete(page);
}

/** The page's words, given storage if it had none. The caller changes them and calls `recount`. */
export function wordsToChange(bitmap: Bitmap, page: number): Uint32Array {
  let words = bitmap.words.get(page);
  if (!words) {
    words = new Uint32Array(WORDS_PER_PAGE);
    if (bitmap.counts[page]! > 0) setInWords(words, 0, pageBits(bitmap, page));
    bitmap.words.set(page, words);
  }
  return words;
}

export function popcount(word: number): number {
  word -= (word >>> 1) & 0x55555555;
  word = (word & 0x33333333) + ((word >>> 2) & 0x33333333);
  return Math.imul((word + (word >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

function nextBit(bitmap: Bitmap, from: number, set: boolean): number {
  const flip = set ? 0 : -1;
  let within = from % BITS_PER_PAGE;
  for (let page = Math.floor(from / BITS_PER_PAGE); page < bitmap.pages; page++, within = 0) {
    let found = -1;
    if (bitmap.counts[page] === 0) {
      // Most pages of most devices: skipped without a look-up.
      if (set) continue;
      found = within;
    } else {
      const words = bitmap.words.get(page);
      if (words) found = firstInWords(words, within, flip);
      else if (set) found = within;
    }
    if (found === -1) continue;
    const bit = page * BITS_PER_PAGE + found;
    // The zeros behind the end of the device are no bits.
    return bit < bitmap.bits ? bit : -1;
  }
  return -1;
}

/** The first bit at or behind `from` that is set after the words were xored with `flip`, or -1. */
function firstInWords(words: Uint32Array, from: number, flip: number): number {
  let index = from >>> 5;
  let word = (words[index]! ^ flip) & (-1 << (from & 31));
  while (word === 0) {
    if (++index === WORDS_PER_PAGE) return -1;
    word = words[index]! ^ flip;
  }
  return index * 32 + 31 - Math.clz32(word & -word);
}

/** Bits of word `index` that belong to `[from, to)`. */
function maskOf(index: number, from: number, to: number): number {
  let mask = -1;
  if (index === from >>> 5) mask = -1 << (from & 31);
  if (index === (to - 1) >>> 5) mask &= -1 >>> (31 - ((to - 1) & 31));
  return mask;
}

function setInWords(words: Uint32Array, from: number, to: number): number {
  let newly = 0;
  for (let index = from >>> 5; index <= (to - 1) >>> 5; index++) {
    const mask = maskOf(index, from, to);
    newly += popcount(mask & ~words[index]!);
    words[index]! |= mask;
  }
  return newly;
}

function clearInWords(words: Uint32Array, from: number, to: number): number {
  let newly = 0;
  for (let index = from >>> 5; index <= (to - 1) >>> 5; index++) {
    const mask = maskOf(index, from, to);
    newly += popcount(mask & words[index]!);
    words[index]! &= ~mask;
  }
  return newly;
}

function countInWords(words: Uint32Array, from: number, to: number): number {
  let count = 0;
  for (let index = from >>> 5; index <= (to - 1) >>> 5; index++) count += popcount(words[index]! & maskOf(index, from, to));
  return count;
}

function checkRange(start: number, length: number, limit: number): void {
  if (!(Number.isInteger(start) && Number.isInteger(length) && start >= 0 && length >= 0 && start + length <= limit)) {
    throw new RangeError(`range ${start}+${length} leaves the device of ${limit}`);
  }
}
