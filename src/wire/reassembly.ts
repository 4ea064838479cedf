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
export function feed(decoder: StreamDecoder, context: WireContext, chunk: Uint8Array, onPacket: OnPacket): WireError | undefined {
  let at = 0;
  while (decoder.error === undefined && !decoder.stopped) {
    const isHeld = decoder.heldEnd > decoder.heldStart;
    const bytes = isHeld ? decoder.held : chunk;
    const start = isHeld ? decoder.heldStart : at;
    const available = (isHeld ? decoder.heldEnd : chunk.length) - start;
    const frame = readFrame(bytes, start, available, decoder.stream, context);
    if (isWireError(frame)) {
      decoder.error = frame;
    } else if (frame.bytes > available) {
      if (!isHeld) break;
      // Only what this step needs moves into the buffer; the rest of the chunk is parsed in place.
      const wanted = Math.min(frame.bytes - available, chunk.length - at);
      keep(decoder, chunk.subarray(at, at + wanted), frame.bytes);
      at += wanted;
      if (wanted < frame.bytes - available) return undefined;
    } else {
      const payload = bytes.subarray(start + frame.headerBytes, start + frame.bytes);
      if (isHeld) decoder.heldStart += frame.bytes;
      else at += frame.bytes;
      const packet = decodePacket(frame.name!, frame.volume, payload, context);
      if (isWireError(packet)) {
        decoder.error = packet;
      } else {
        if (decoder.stream === 'first') decoder.stream = packet.packet === 'P_INITIAL_META' ? 'meta' : 'data';
        decoder.stopped = onPacket(packet, !isHeld) === 'stop';
      }
    }
  }
  if (decoder.error === undefined) {
    const rest = chunk.subarray(at);
    keep(decoder, rest, expectedBytes(rest, decoder, context));
  } else {
    release(decoder);
  }
  return decoder.error;
}

/** Goes on after a stop with the bytes that were kept meanwhile. */
export function resume(decoder: StreamDecoder, context: WireContext, onPacket: OnPacket): WireError | undefined {
  decoder.stopped = false;
  return feed(decoder, context, NO_BYTES, onPacket);
}
