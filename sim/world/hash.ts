/**
 * A fast hash of bytes in 32-bit words: what the trace and the store of disk blocks compare by. Not cryptographic; it has
 * to be equal on every machine and cost less than copying the bytes twice (zlib's crc32 costs twice as much).
 *
 * Words are read as the machine has them; every machine that runs Node is little-endian.
 */

const M = 0x85ebca6b | 0;

/** Four lanes, so that multiplications overlap; each is rotated, so that no bit of a word can only reach the top of the hash. */
export function hashWords(words: Int32Array, from: number, to: number, seed: number): number {
  let a = seed | 0;
  let b = 0x1b873593;
  let c = 0x2545f491;
  let d = 0x27d4eb2f;
  let at = from;
  for (const last = to - 3; at < last; at += 4) {
    a = Math.imul(((a << 13) | (a >>> 19)) ^ words[at]!, M);
    b = Math.imul(((b << 13) | (b >>> 19)) ^ words[at + 1]!, M);
    c = Math.imul(((c << 13) | (c >>> 19)) ^ words[at + 2]!, M);
    d = Math.imul(((d << 13) | (d >>> 19)) ^ words[at + 3]!, M);
  }
  for (; at < to; at++) a = Math.imul(((a << 13) | (a >>> 19)) ^ words[at]!, M);
  return finish(mix(mix(mix(a, b), c), d));
}

/** One more word. */
export function mix(hash: number, word: number): number {
  const h = Math.imul(((hash << 13) | (hash >>> 19)) ^ word, M);
  return h ^ (h >>> 15);
}

/** Every bit of the result depends on every bit of the hash. */
export function finish(hash: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, 0x7feb352d);
  h ^= h >>> 15;
  h = Math.imul(h, 0x846ca68b | 0);
  return h ^ (h >>> 16);
}

/** A copy for bytes that do not lie on a word; grows to the largest such input. */
let aligned = new Uint8Array(4096);

/** The words of `bytes` (without up to 3 bytes at the end); a copy, good until the next call, when they do not lie on words. */
export function wordsOf(bytes: Uint8Array): Int32Array {
  if ((bytes.byteOffset & 3) === 0) return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
  if (aligned.length < bytes.length) aligned = new Uint8Array(bytes.length * 2);
  aligned.set(bytes);
  return new Int32Array(aligned.buffer, 0, bytes.length >>> 2);
}

/** Hash of any bytes. */
export function hashBytes(bytes: Uint8Array, seed: number): number {
  const length = bytes.length;
  let hash: number;
  if (length < 64) {
    hash = seed;
    let at = 0;
    for (const last = length - 3; at < last; at += 4) {
      hash = mix(hash, bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24));
    }
  } else {
    hash = hashWords(wordsOf(bytes), 0, length >>> 2, seed);
  }
  for (let at = length & ~3; at < length; at++) hash = mix(hash, bytes[at]!);
  return mix(hash, length);
}

const strings = new Map<string, number>();
let lastText: string | undefined = undefined;
let lastTextHash = 0;

/** Hash of a string; remembered, since a run has few different ones. */
export function hashString(text: string): number {
  if (text === lastText) return lastTextHash;
  let hash = strings.get(text);
  if (hash === undefined) {
    hash = 0;
    for (let at = 0; at < text.length; at++) hash = mix(hash, text.charCodeAt(at));
    hash = finish(mix(hash, text.length));
    // Log lines with numbers in them would fill it.
    if (strings.size < 10000) strings.set(text, hash);
  }
  lastText = text;
  lastTextHash = hash;
  return hash;
}
