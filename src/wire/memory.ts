/**
 * Small pieces of memory, cut from larger ones: heads of packets, and copies of what was lent. Each of them as a piece of memory of its own
 * keeps the allocator and the garbage collector busy. Nothing is used twice: a page is the garbage collector's when nobody
 * has a piece of it any more.
 */

import type { Environment } from '../contract/environment.js';

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

/** Bytes that were lent for the pass, to be kept beyond it: their one copy, where they do not last (bug B201). Never to be changed: others may refer to them. */
export const keepBytes = (environment: Pick<Environment, 'lasts'>, lent: Uint8Array): Uint8Array => (environment.lasts?.(lent) === true ? lent : ownCopy(lent));

const ownCopy = (lent: Uint8Array): Uint8Array => {
  if (lent.length > PIECE_BYTES_MAX) return lent.slice();
  const copy = newBytes(lent.length);
  copy.set(lent);
  return copy;
};
