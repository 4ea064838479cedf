/**
 * A bitmap as a sequence of packets (wire-protocol.md §6): the sender decides chunk by chunk between plain words and
 * run lengths, the receiver merges both. A position (the next bit) is all the state that either side keeps.
 *
 * Both work on abstract bitmaps, so that a sparse one need not be spread out; the reader is asked for maximal runs only.
 */

import { BITMAP_PACKET_BYTES_MAX, headerBytes } from './context.js';
import type { WireError } from './errors.js';
import type { BitmapPacket, CompressedBitmapPacket } from './packets.js';
import { appendRun, readRuns } from './run-lengths.js';
import type { CodeWriter } from './run-lengths.js';

/** Compressed bitmaps exist from this protocol version. */
const RLE_PROTOCOL = 90;

const BITS_PER_WORD = 64;
const BYTES_PER_WORD = 8;

export interface Run {
  set: boolean;
  bits: number;
}

export interface BitmapReader {
  /** Up to 2^48. */
  readonly bits: number;
  /** The longest run of equal bits that begins at `bit` (< bits); it ends at the end of the bitmap at the latest. */
  nextRun(bit: number): Run;
  /** `length` bytes from byte `offset` on (multiples of 8): bit n is bit n & 7 of byte n >> 3, zero behind the last bit. */
  bytesOf(offset: number, length: number): Uint8Array;
}

export interface BitmapWriter {
  readonly bits: number;
  setBits(bit: number, bits: number): void;
  /** Bits behind the last one are to be dropped. `bytes` are lent. */
  orBytes(offset: number, bytes: Uint8Array): void;
}

export interface BitmapChunk {
  packet: BitmapPacket | CompressedBitmapPacket;
  /** Where the next chunk begins, unless `isLast`. */
  position: number;
  isLast: boolean;
}

/** The chunk that a sender sends at `position`; the first is at 0. `useRle` is the option of that name. */
export function nextBitmapChunk(bitmap: BitmapReader, volume: number, position: number, apv: number, useRle: boolean): BitmapChunk {
  if (position < 0 || position > bitmap.bits) throw new RangeError(`bitmap position ${position} of ${bitmap.bits}`);
  if (useRle && apv >= RLE_PROTOCOL && position < bitmap.bits) {
    const chunk = compressedChunk(bitmap, volume, position, apv);
    if (chunk !== undefined) return chunk;
  }
  const { offset, length } = plainRange(bitmap.bits, position, apv);
  return {
    packet: { packet: 'P_BITMAP', volume, words: bitmap.bytesOf(offset, length) },
    position: Math.min((offset + length) * 8, bitmap.bits),
    isLast: length === 0,
  };
}

/** As many runs as fit, or `undefined` when plain words would cover more than the code does. */
function compressedChunk(bitmap: BitmapReader, volume: number, position: number, apv: number): BitmapChunk | undefined {
  const code: CodeWriter = { bytes: new Uint8Array(BITMAP_PACKET_BYTES_MAX - headerBytes(apv) - 1), usedBits: 0 };
  const first = bitmap.nextRun(position);
  let run = first;
  let end = position;
  let isFull = false;
  while (!isFull && end < bitmap.bits) {
    if (appendRun(code, run.bits)) {
      end += run.bits;
      if (end > bitmap.bits) throw new Error(`a run ends at ${end}, behind the last of ${bitmap.bits} bits`);
      if (end < bitmap.bits) run = alternating(run, bitmap.nextRun(end));
    } else {
      isFull = true;
    }
  }
  const codeBytes = Math.ceil(code.usedBits / 8);
  if (end - position < codeBytes * 8) return undefined;
  const packet: CompressedBitmapPacket = {
    packet: 'P_COMPRESSED_BITMAP',
    volume,
    firstRunSet: first.set,
    padBits: codeBytes * 8 - code.usedBits,
    code: code.bytes.slice(0, codeBytes),
  };
  return { packet, position: end, isLast: end === bitmap.bits };
}

function alternating(before: Run, run: Run): Run {
  if (run.set === before.set) throw new Error('a reader must yield maximal runs: two in a row have the same value');
  return run;
}

/** The whole words of a plain chunk at `position`: as many as fit into a packet, none at the end (§6.2). In bytes. */
function plainRange(bits: number, position: number, apv: number): { offset: number; length: number } {
  if (position === bits) return { offset: Math.ceil(bits / BITS_PER_WORD) * BYTES_PER_WORD, length: 0 };
  const firstWord = Math.floor(position / BITS_PER_WORD);
  const wordsMax = Math.floor((BITMAP_PACKET_BYTES_MAX - headerBytes(apv)) / BYTES_PER_WORD);
  const words = Math.min(wordsMax, Math.ceil(bits / BITS_PER_WORD) - firstWord);
  return { offset: firstWord * BYTES_PER_WORD, length: words * BYTES_PER_WORD };
}

/**
 * Merges the chunk that arrived at `position`. Returns where the next one begins and whether the bitmap is complete, or what is
 * wrong with the chunk (the bitmap may then hold a part of it, which is harmless: bits were only added).
 */
export function receiveBitmapChunk(
  bitmap: BitmapWriter,
  packet: BitmapPacket | CompressedBitmapPacket,
  position: number,
  apv: number,
): { position: number; isLast: boolean } | WireError {
  if (packet.packet === 'P_BITMAP') {
    const { offset, length } = plainRange(bitmap.bits, position, apv);
    if (packet.words.length !== length) return badChunk('bad-length', `${packet.words.length} bytes at bit ${position}, not ${length}`);
    bitmap.orBytes(offset, packet.words);
    return { position: Math.min((offset + length) * 8, bitmap.bits), isLast: length === 0 };
  }
  const runs = runsOf(packet);
  if (runs === undefined) return badChunk('bad-value', 'a code that ends inside a run');
  let end = position;
  for (const run of runs) {
    if (run.bits > bitmap.bits - end) return badChunk('bad-value', `a run of ${run.bits} bits at bit ${end} of ${bitmap.bits}`);
    if (run.set) bitmap.setBits(end, run.bits);
    end += run.bits;
  }
  return { position: end, isLast: end === bitmap.bits };
}

/** The runs of a compressed chunk, in order, or `undefined` if its code ends inside one. */
export function runsOf(packet: CompressedBitmapPacket): Run[] | undefined {
  const lengths = readRuns(packet.code, packet.code.length * 8 - packet.padBits);
  return lengths?.map((bits, index) => ({ set: packet.firstRunSet === (index % 2 === 0), bits }));
}

const badChunk = (error: 'bad-length' | 'bad-value', detail: string): WireError => ({ error, reaction: 'ProtocolError', detail: `bitmap: ${detail}` });
