/**
 * Packets to the peer. They are gathered for each stream until the end of the pass and leave as one write; the order on a
 * stream is the order of the calls. Positions are counted in bytes since the stream was opened, as the transport does.
 */

import { assert, emit, signal } from '../model/core.js';
import type { Core } from '../model/core.js';
import { setTimer } from '../model/timers.js';
import type { Connection } from '../model/types.js';
import { isMetaPacket } from '../wire/commands.js';
import { encodePacket } from '../wire/encode.js';
import type { Packet } from '../wire/packets.js';
import { keepRest } from '../wire/reassembly.js';
import { withDigest } from './integrity.js';
import { sendUs } from './periods.js';
import type { Stream } from './types.js';

/**
 * Sends a packet on the stream where it belongs. Its payload is not copied: it must not be lent, and must not change before
 * the transport has taken it. Without usable streams nothing happens: who sends after a loss need not know of it.
 */
export function sendPacket(core: Core, connection: Connection, packet: Packet): void {
  const { session } = connection;
  if (session.phase !== 'up' || session.isOver) return;
  const isMeta = isMetaPacket(packet.packet);
  const stream = isMeta ? session.meta : session.data;
  assert(stream !== undefined, 'a session that is up has both streams');
  queuePacket(core, connection, stream, withDigest(core, connection, packet));
  if (!stream.isStallTimed) {
    stream.isStallTimed = true;
    setTimer(core, isMeta ? 'meta-send' : 'data-send', connection.resource, connection.peer, -1, sendUs(connection));
  }
}

/** For the connection room: a packet on a given stream, in whatever phase. */
export function queuePacket(core: Core, connection: Connection, stream: Stream, packet: Packet): void {
  if (stream.sentBytes === stream.queuedBytes) {
    stream.blockedSinceUs = core.nowUs;
    stream.koLeft = connection.config.net.koCount;
  }
  for (const piece of encodePacket(packet, connection.session.sending)) {
    stream.batch.push(piece);
    stream.queuedBytes += piece.length;
  }
}

/**
 * At the end of a pass, for each connection: hands what was sent to the driver, and keeps what was lent and not read. Also
 * whenever sent packets must leave before an output that follows.
 */
export function flushSends(core: Core, connection: Connection): void {
  const { data, meta } = connection.session;
  if (data !== undefined) endPass(core, data);
  if (meta !== undefined) endPass(core, meta);
}

function endPass(core: Core, stream: Stream): void {
  if (stream.batch.length > 0) {
    if (stream.ended === undefined) emit(core, { type: 'send', stream: stream.id, pieces: stream.batch });
    stream.batch = [];
  }
  if (stream.chunk.bytes.length > 0) keepRest(stream.decoder, stream.chunk, core.environment);
}

/** The end of what was queued on the data stream so far: protocol A compares it with `dataStreamSent`. */
export const dataStreamEnd = (connection: Connection): number => connection.session.data?.queuedBytes ?? 0;

/** How far the transport has taken the data stream. */
export const dataStreamSent = (connection: Connection): number => connection.session.data?.sentBytes ?? 0;

/** Bytes queued on the data stream that the transport has not taken. */
export const unsentBytes = (connection: Connection): number => dataStreamEnd(connection) - dataStreamSent(connection);

/** The input `stream-sent`: progress, which also ends a stall. */
export function bytesSent(core: Core, connection: Connection, stream: Stream, bytesTotal: number): void {
  assert(bytesTotal <= stream.queuedBytes, () => `the driver sent ${bytesTotal} bytes of ${stream.queuedBytes} on stream ${stream.id}`);
  if (bytesTotal <= stream.sentBytes) return;
  const { session } = connection;
  stream.sentBytes = bytesTotal;
  stream.blockedSinceUs = core.nowUs;
  stream.koLeft = connection.config.net.koCount;
  if (stream !== session.data) return;
  if (session.phase !== 'up' || session.isOver) return;
  signal(core, { signal: 'bytes-sent', resource: connection.resource, peer: connection.peer });
}
