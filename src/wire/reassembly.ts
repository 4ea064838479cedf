/**
 * From the chunks that a transport happens to deliver to whole packets, taken one by one.
 *
 * A `StreamDecoder` is plain data. It keeps bytes only when it must: the beginning of an unfinished packet, or what a
 * receiver that stopped between two packets left of a chunk. Everything else is parsed where it lies, in the lent chunk.
 * A header is judged as soon as it is there, so that a peer cannot make us buffer more than one packet's limit.
 */

import type { Environment } from '../contract/environment.js';
import { checkHeader, decodePacket } from './decode.js';
import type { StreamKind } from './commands.js';
import type { WireContext } from './context.js';
import { isWireError } from './errors.js';
import type { WireError } from './errors.js';
import { acceptsForm, formBytes, headerForm, MAGIC_BYTES, readHeader } from './headers.js';
import type { Packet, PacketName } from './packets.js';

export interface StreamDecoder {
  /** Becomes `data` or `meta` with the first packet, if it was `first`. */
  stream: StreamKind;
  /** Kept bytes are held[heldStart..heldEnd), ours or such as last. The array is never written below `heldEnd` again: views of it stay valid. */
  held: Uint8Array;
  heldStart: number;
  heldEnd: number;
  /** The stream ended with this error; nothing is read any more. */
  error: WireError | undefined;
}

/** `stream` is what we declared ourselves with our first packet, or `first` on a stream that the peer opened. */
export const newStreamDecoder = (stream: StreamKind): StreamDecoder => ({
  stream,
  held: NO_BYTES,
  heldStart: 0,
  heldEnd: 0,
  error: undefined,
});

/** A chunk as it was received, lent until the pass ends, and how far it was read. */
export interface Chunk {
  bytes: Uint8Array;
  at: number;
}

/**
 * The next whole packet, of what is kept and then of `chunk`, whose `at` moves on; `undefined` when none is complete (the whole
 * chunk is then read or kept); or the error that ended the stream, again for every later call.
 *
 * `context` is that of this packet: what it says may change the context of the next. Who stops between two packets calls
 * `keepRest` before the pass ends, and pulls again later, with an empty chunk or the next one. Byte arrays of the packet are
 * lent like the chunk if they are views of its buffer; otherwise they stay as they are.
 */
export function pullPacket(decoder: StreamDecoder, context: WireContext, chunk: Chunk, memory: Memory = {}): Packet | WireError | undefined {
  if (decoder.error !== undefined) return decoder.error;
  for (;;) {
    const isLent = decoder.heldStart === decoder.heldEnd;
    const bytes = isLent ? chunk.bytes : decoder.held;
    const start = isLent ? chunk.at : decoder.heldStart;
    const available = (isLent ? chunk.bytes.length : decoder.heldEnd) - start;
    const frame = frameAt(bytes, start, available, decoder.stream, context);
    if (typeof frame === 'number') {
      // Only what completes the packet (or its header) moves into the buffer; what follows is parsed in place.
      const missing = frame - (isLent ? 0 : available);
      const part = chunk.bytes.subarray(chunk.at, chunk.at + missing);
      if (part.length === 0) return undefined;
      keep(decoder, part, frame, memory);
      chunk.at += part.length;
      continue;
    }
    if (isWireError(frame)) return fail(decoder, frame);
    if (isLent) chunk.at += frame.bytes;
    else decoder.heldStart += frame.bytes;
    const packet = decodePacket(frame.name, frame.volume, bytes.subarray(frame.payloadAt, start + frame.bytes), context);
    if (isWireError(packet)) return fail(decoder, packet);
    if (decoder.heldStart === decoder.heldEnd) release(decoder);
    if (decoder.stream === 'first') decoder.stream = packet.packet === 'P_INITIAL_META' ? 'meta' : 'data';
    return packet;
  }
}

/** Keeps what was not read of a chunk and lets go of it, before the pass ends. */
export function keepRest(decoder: StreamDecoder, chunk: Chunk, memory: Memory = {}): void {
  if (decoder.error === undefined) keep(decoder, chunk.bytes.subarray(chunk.at), 0, memory);
  chunk.bytes = NO_BYTES;
  chunk.at = 0;
}

/** What is known of the memory of chunks. */
type Memory = Pick<Environment, 'lasts'>;

/** A whole packet: its bytes end at start + `bytes`, its payload begins at `payloadAt`. */
interface Frame {
  name: PacketName;
  volume: number;
  payloadAt: number;
  bytes: number;
}

/** The packet that begins at `start`; or how many bytes must be there to know more; or why it cannot be a packet. */
function frameAt(bytes: Uint8Array, start: number, available: number, stream: StreamKind, context: WireContext): Frame | WireError | number {
  if (available < MAGIC_BYTES) return MAGIC_BYTES;
  const form = headerForm(bytes, start);
  if (form === undefined || !acceptsForm(form, stream, context.apv)) return badHeader(bytes, start, MAGIC_BYTES, stream);
  const headerBytes = formBytes(form);
  if (available < headerBytes) return headerBytes;
  const header = readHeader(form, bytes, start);
  if (header === undefined) return badHeader(bytes, start, headerBytes, stream);
  const name = checkHeader(header, stream, context);
  if (typeof name !== 'string') return name;
  const packetBytes = headerBytes + header.length;
  if (available < packetBytes) return packetBytes;
  return { name, volume: header.volume, payloadAt: start + headerBytes, bytes: packetBytes };
}

function badHeader(bytes: Uint8Array, start: number, length: number, stream: StreamKind): WireError {
  const hex = Array.from(bytes.subarray(start, start + length), (byte) => byte.toString(16).padStart(2, '0')).join('');
  return { error: 'bad-magic', reaction: stream === 'meta' ? 'NetworkFailure' : 'ProtocolError', detail: `a header that begins ${hex}` };
}

const NO_BYTES = new Uint8Array(0);

/**
 * The one place where received bytes are copied: unless they last, and lie right behind what is kept. Makes room for a packet of
 * `packetBytes` at once, so that each byte of it is copied once; with 0 (not known what comes) the room doubles.
 */
function keep(decoder: StreamDecoder, part: Uint8Array, packetBytes: number, memory: Memory): void {
  if (part.length === 0 || keepInPlace(decoder, part, memory)) return;
  const keptBytes = decoder.heldEnd - decoder.heldStart;
  const neededBytes = keptBytes + part.length;
  // What was kept in place has no room behind it, so that nothing is ever written there.
  if (decoder.held.length - decoder.heldStart < neededBytes) {
    const held = new Uint8Array(Math.max(neededBytes, packetBytes > 0 ? packetBytes : 2 * keptBytes));
    held.set(decoder.held.subarray(decoder.heldStart, decoder.heldEnd));
    decoder.held = held;
    decoder.heldStart = 0;
    decoder.heldEnd = keptBytes;
  }
  decoder.held.set(part, decoder.heldEnd);
  decoder.heldEnd += part.length;
}

/** What lasts is not copied while it is in one piece. */
function keepInPlace(decoder: StreamDecoder, part: Uint8Array, { lasts }: Memory): boolean {
  const { held, heldStart, heldEnd } = decoder;
  const isFirst = heldStart === heldEnd;
  const follows = held.buffer === part.buffer && held.byteOffset + heldEnd === part.byteOffset;
  if (lasts?.(part) !== true || !(isFirst || follows)) return false;
  decoder.held = isFirst ? part : new Uint8Array(part.buffer, held.byteOffset + heldStart, heldEnd - heldStart + part.length);
  decoder.heldStart = 0;
  decoder.heldEnd = decoder.held.length;
  return true;
}

function fail(decoder: StreamDecoder, error: WireError): WireError {
  decoder.error = error;
  release(decoder);
  return error;
}

function release(decoder: StreamDecoder): void {
  decoder.held = NO_BYTES;
  decoder.heldStart = 0;
  decoder.heldEnd = 0;
}
