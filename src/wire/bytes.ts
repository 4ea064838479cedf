/**
 * Big-endian integers in byte arrays. Plain index arithmetic, because this runs for every packet and a DataView would have
 * to be made each time. Readers trust the caller to have checked the length; writers throw on a value that does not fit,
 * which is a bug of ours and never a peer's.
 */

/** The largest sector or bit number that we take from a peer: 2^51 sectors are 2^60 bytes (design: "Numbers"). */
export const SECTOR_MAX = 2 ** 51;

const TWO_32 = 2 ** 32;

export const readU16 = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!;

export const readU32 = (bytes: Uint8Array, at: number): number =>
  ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;

export const readI32 = (bytes: Uint8Array, at: number): number =>
  (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;

/** Exact up to 2^53; larger values come out rounded, and still larger than any limit. */
export const readU64 = (bytes: Uint8Array, at: number): number => readU32(bytes, at) * TWO_32 + readU32(bytes, at + 4);

export const readBigU64 = (bytes: Uint8Array, at: number): bigint =>
  (BigInt(readU32(bytes, at)) << 32n) | BigInt(readU32(bytes, at + 4));

export function writeU16(bytes: Uint8Array, at: number, value: number): void {
  if ((value & 0xffff) !== value) throw new RangeError(`${value} does not fit into 16 bits`);
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  if (value >>> 0 !== value) throw new RangeError(`${value} does not fit into 32 bits`);
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

export function writeI32(bytes: Uint8Array, at: number, value: number): void {
  if ((value | 0) !== value) throw new RangeError(`${value} does not fit into 32 signed bits`);
  writeU32(bytes, at, value >>> 0);
}

/** For numbers, at most 2^53 - 1. */
export function writeU64(bytes: Uint8Array, at: number, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} is no unsigned integer of 53 bits`);
  const low = value % TWO_32;
  writeU32(bytes, at, (value - low) / TWO_32);
  writeU32(bytes, at + 4, low);
}

export function writeBigU64(bytes: Uint8Array, at: number, value: bigint): void {
  if (BigInt.asUintN(64, value) !== value) throw new RangeError(`${value} does not fit into 64 bits`);
  writeU32(bytes, at, Number(value >> 32n));
  writeU32(bytes, at + 4, Number(value & 0xffffffffn));
}

/** The characters before the first NUL in [start, end), one byte each. */
export function readString(bytes: Uint8Array, start: number, end: number): string {
  let text = '';
  for (let at = start; at < end && bytes[at] !== 0; at++) text += String.fromCharCode(bytes[at]!);
  return text;
}

/** The caller has made room for the text and its NUL in a zeroed array. */
export function writeString(bytes: Uint8Array, at: number, text: string): void {
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === 0 || code > 0xff) throw new RangeError(`'${text}' cannot be sent: one byte per character, no NUL`);
    bytes[at + index] = code;
  }
}
