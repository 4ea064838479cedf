/**
 * From the chunks that a transport happens to deliver to whole packets.
 *
 * A `StreamDecoder` is plain data. It keeps bytes only when it must: the beginning of an unfinished packet, or what was
 * behind a packet after which the receiver asked to stop. Everything else is parsed where it lies, in the lent chunk.
 * A header is judged as soon as it is there, so that a peer cannot make us buffer more than one packet's limit.
 */

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
  /** Kept bytes are held[heldStart..heldEnd). The array is never written below `heldEnd` again: views of it stay valid. */
  held: Uint8Array;
  heldStart: number;
  heldEnd: number;
  /** Stopped between two packets: bytes are only kept until `resume`. */
  stopped: boolean;
  /** The stream ended with this error; nothing is read any more. */
  error: WireError | undefined;
}

/**
 * What to do with a packet. `lent`: its byte arrays are views of the chunk and end with the pass; else they may be kept as
 * they are. Returning 'stop' ends the parsing behind this packet until `resume`.
 */
export type OnPacket = (packet: Packet, lent: boolean) => 'continue' | 'stop';

/** `stream` is what we declared ourselves with our first packet, or `first` on a stream that the peer opened. */
export const newStreamDecoder = (stream: StreamKind): StreamDecoder => ({
  stream,
  held: NO_BYTES,
  heldStart: 0,
  heldEnd: 0,
  stopped: false,
  error: undefined,
});

/**
 * Takes a chunk (lent: nothing of it is referenced after the call, but by the packets handed over) and hands over each
 * packet that is now complete, in order. `context` is read anew for each packet: change it in place when a packet changes what
 * was agreed. Returns the error that ended the stream, if one did, again for every later call.
 */
export function feed(decoder: StreamDecoder, context: WireContext, bytes: Uint8Array, onPacket: OnPacket): WireError | undefined {
  const chunk: Chunk = { bytes, at: 0 };
  while (!decoder.stopped) {
    const isLent = decoder.heldStart === decoder.heldEnd;
    const packet = pullPacket(decoder, context, chunk);
    if (packet === undefined) return undefined;
    if (isWireError(packet)) return packet;
    decoder.stopped = onPacket(packet, isLent) === 'stop';
  }
  keepRest(decoder, chunk);
  return decoder.error;
}

/** A received chunk and how far it was read. */
export interface Chunk {
  bytes: Uint8Array;
  at: number;
}

/**
 * The next whole packet of what is kept and of `chunk` (lent), whose `at` moves on; or undefined when none is complete: then
 * the rest of the chunk is kept. Byte arrays of the packet live until the end of the pass. For a receiver that takes its packets one
 * by one: what it does with one may change `context` for the next.
 */
export function pullPacket(decoder: StreamDecoder, context: WireContext, chunk: Chunk): Packet | WireError | undefined {
  while (decoder.error === undefined) {
    const isLent = decoder.heldStart === decoder.heldEnd;
    const bytes = isLent ? chunk.bytes : decoder.held;
    const start = isLent ? chunk.at : decoder.heldStart;
    const available = (isLent ? chunk.bytes.length : decoder.heldEnd) - start;
    const frame = frameAt(bytes, start, available, decoder.stream, context);
    if (typeof frame === 'number') {
      // Only what completes the packet (or its header) moves into the buffer; what follows is parsed in place.
      const missing = frame - (isLent ? 0 : available);
      const part = chunk.bytes.subarray(chunk.at, chunk.at + Math.min(missing, chunk.bytes.length - chunk.at));
      if (part.length === 0) return undefined;
      keep(decoder, part, frame);
      chunk.at += part.length;
      continue;
    }
    if (isWireError(frame)) {
      decoder.error = frame;
      break;
    }
    if (isLent) chunk.at += frame.bytes;
    else decoder.heldStart += frame.bytes;
    const packet = decodePacket(frame.name, frame.volume, bytes.subarray(frame.payloadAt, start + frame.bytes), context);
    if (isWireError(packet)) {
      decoder.error = packet;
      break;
    }
    if (decoder.stream === 'first') decoder.stream = packet.packet === 'P_INITIAL_META' ? 'meta' : 'data';
    if (decoder.heldStart === decoder.heldEnd) release(decoder);
    return packet;
  }
  release(decoder);
  return decoder.error;
}

/** Keeps what was not read of a chunk and lets go of it, before the pass ends. */
export function keepRest(decoder: StreamDecoder, chunk: Chunk): void {
  if (decoder.error === undefined) keep(decoder, chunk.bytes.subarray(chunk.at), 0);
  chunk.bytes = NO_BYTES;
  chunk.at = 0;
}

/** Goes on after a stop, with the bytes that were kept meanwhile. */
export function resume(decoder: StreamDecoder, context: WireContext, onPacket: OnPacket): WireError | undefined {
  decoder.stopped = false;
  return feed(decoder, context, NO_BYTES, onPacket);
}

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
 * The one place where received bytes are copied. Makes room for a packet of `packetBytes` at once, so that each byte of it is
 * copied once; with 0 (stopped: not known what comes) the room doubles.
 */
function keep(decoder: StreamDecoder, part: Uint8Array, packetBytes: number): void {
  if (part.length === 0) return;
  const keptBytes = decoder.heldEnd - decoder.heldStart;
  const neededBytes = keptBytes + part.length;
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

function release(decoder: StreamDecoder): void {
  decoder.held = NO_BYTES;
  decoder.heldStart = 0;
  decoder.heldEnd = 0;
}
