/**
 * Small pieces of memory, cut from larger ones: heads of packets, and copies of what was lent. Each of them as a piece of memory of its own
 * keeps the allocator and the garbage collector busy. Nothing is used twice: a page is the garbage collector's when nobody
 * has a piece of it any more.
 */

const PAGE_BYTES = 256 << 10;
/** More than this is a piece of memory of its own. */
const PIECE_BYTES_MAX = 32 << 10;

let page = new Uint8Array(0);
let used = 0;

/** `length` bytes, all zero. */
export const newBytes = (length: number): Uint8Array => {
  if (length > PIECE_BYTES_MAX) return new Uint8Array(length);
  if (used + length > page.length) {
    page = new Uint8Array(PAGE_BYTES);
    used = 0;
  }
  const at = used;
  used += length;
  return page.subarray(at, used);
};

/** The one copy of bytes that were lent for the pass, for whoever keeps them longer (bug B201). */
export const ownCopy = (lent: Uint8Array): Uint8Array => {
  if (lent.length > PIECE_BYTES_MAX) return lent.slice();
  const copy = newBytes(lent.length);
  copy.set(lent);
  return copy;
};
