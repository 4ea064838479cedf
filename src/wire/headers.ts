/**
 * The three forms of a packet's header (wire-protocol.md §2) and the rules that choose and accept them.
 */

import { readU16, readU32, writeU16, writeU32 } from './bytes.js';
import { headerBytes } from './context.js';
import type { StreamKind } from './commands.js';

export type HeaderForm = 80 | 95 | 100;

const MAGIC_80 = 0x83740267;
const MAGIC_95 = 0x835a;
const MAGIC_100 = 0x8620ec20;

/** Above this many payload bytes, protocols 95..99 use header 95. */
const HEADER_80_LENGTH_MAX = 32768;

export interface Header {
  form: HeaderForm;
  volume: number;
  command: number;
  /** Of the payload. */
  length: number;
}

/** Enough bytes to know the form. */
export const MAGIC_BYTES = 4;

export const formBytes = (form: HeaderForm): 8 | 16 => (form === 100 ? 16 : 8);

/** The form of the header that begins at `at`, by its magic; at least MAGIC_BYTES must be there. */
export function headerForm(bytes: Uint8Array, at: number): HeaderForm | undefined {
  const magic = readU32(bytes, at);
  if (magic === MAGIC_100) return 100;
  if (magic === MAGIC_80) return 80;
  return magic >>> 16 === MAGIC_95 ? 95 : undefined;
}

/**
 * Does a receiver take this form now? Before the features exchange (`apv` 0) the meta stream takes all three: a fast
 * peer's first packet there may overtake its features packet (§2).
 */
export function acceptsForm(form: HeaderForm, stream: StreamKind, apv: number): boolean {
  if (stream === 'first') return form === 80;
  if (apv === 0 && stream === 'meta') return true;
  return (form === 100) === (apv >= 100);
}

/** `formBytes(form)` bytes must be there. Returns `undefined` if the pad of a header 100 is not 0. */
export function readHeader(form: HeaderForm, bytes: Uint8Array, at: number): Header | undefined {
  switch (form) {
    case 80:
      return { form, volume: 0, command: readU16(bytes, at + 4), length: readU16(bytes, at + 6) };
    case 95:
      return { form, volume: 0, command: readU16(bytes, at + 2), length: readU32(bytes, at + 4) };
    case 100:
      if (readU32(bytes, at + 12) !== 0) return undefined;
      return { form, volume: readU16(bytes, at + 4), command: readU16(bytes, at + 6), length: readU32(bytes, at + 8) };
    default:
      return form satisfies never;
  }
}

/**
 * Writes the header that a sender uses at this protocol version (0: before the features exchange) and returns its size.
 * Below protocol 95 there is only header 80, also for the 24 bytes by which a write of 32 KiB exceeds 32768.
 */
export function writeHeader(bytes: Uint8Array, apv: number, volume: number, command: number, length: number): number {
  if (apv >= 100) {
    writeU32(bytes, 0, MAGIC_100);
    writeU16(bytes, 4, volume);
    writeU16(bytes, 6, command);
    writeU32(bytes, 8, length);
  } else {
    if (volume !== 0) throw new RangeError(`volume ${volume} cannot be sent at protocol ${apv}`);
    if (apv >= 95 && length > HEADER_80_LENGTH_MAX) {
      writeU16(bytes, 0, MAGIC_95);
      writeU16(bytes, 2, command);
      writeU32(bytes, 4, length);
    } else {
      writeU32(bytes, 0, MAGIC_80);
      writeU16(bytes, 4, command);
      writeU16(bytes, 6, length);
    }
  }
  return headerBytes(apv);
}
