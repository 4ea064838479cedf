/**
 * What the driver reports about streams, and the packets that the rooms above take from them. They are taken one by one,
 * because what is done with one may change how the next is read, or that it shall wait.
 */

import type { Input } from '../contract/input.js';
import { assert } from '../model/core.js';
import type { Core } from '../model/core.js';
import type { Connection } from '../model/types.js';
import { isWireError } from '../wire/errors.js';
import { keepBytes } from '../wire/memory.js';
import type { Packet } from '../wire/packets.js';
import { pullPacket } from '../wire/reassembly.js';
import { attemptFailed, candidateEnded, listenFailed, nameStream, streamAccepted, streamConnected } from './establish.js';
import { continueHandshake } from './handshake.js';
import { isDamaged } from './integrity.js';
import { pingAcknowledged, streamOver, timeAnswer } from './keepalive.js';
import { endByWireError, loseConnection } from './loss.js';
import { bytesSent, sendPacket } from './send.js';
import { closeStream, connectionOf, connectionOfStream, keepUnread, readOn, signalPackets, unreadBytes } from './streams.js';
import type { Session, Stream } from './types.js';

export type StreamInput = Extract<Input, { type: `stream-${string}` | `connect-${string}` | 'listen-failed' }>;

/** Every input about streams. Those of streams that were closed are ignored. */
export function streamInput(core: Core, input: StreamInput): void {
  switch (input.type) {
    case 'listen-failed':
      // Both may have been on their way when the resource was taken away.
      if (!core.state.resources.has(input.resource)) return;
      return listenFailed(core, connectionOf(core, input.resource, input.peer), input.reason);
    case 'stream-accepted':
      if (!core.state.resources.has(input.resource)) return closeStream(core, input.stream);
      return streamAccepted(core, connectionOf(core, input.resource, input.peer), input.stream);
    case 'stream-connected': {
      const connection = connectionOfStream(core, input.stream);
      if (connection !== undefined && !connection.session.isOver) streamConnected(core, connection, input.stream);
      return;
    }
    case 'connect-refused':
    case 'connect-failed': {
      const connection = connectionOfStream(core, input.stream);
      if (connection === undefined || connection.session.isOver) return;
      core.state.streams.delete(input.stream);
      return attemptFailed(core, connection);
    }
    case 'stream-received': {
      const connection = connectionOfStream(core, input.stream);
      if (connection !== undefined) received(core, connection, streamOf(connection.session, input.stream), input.bytes);
      return;
    }
    case 'stream-sent': {
      const connection = connectionOfStream(core, input.stream);
      if (connection === undefined) return;
      const stream = streamOf(connection.session, input.stream);
      bytesSent(core, connection, stream, input.bytesTotal);
      if (stream === connection.session.meta) timeAnswer(core, connection);
      return;
    }
    case 'stream-closed': {
      const connection = connectionOfStream(core, input.stream);
      if (connection !== undefined) ended(core, connection, streamOf(connection.session, input.stream), input.how);
      return;
    }
    default:
      return input satisfies never;
  }
}

function streamOf(session: Session, id: number): Stream {
  if (session.data?.id === id) return session.data;
  if (session.meta?.id === id) return session.meta;
  const unnamed = session.unnamed.find((stream) => stream.id === id);
  assert(unnamed !== undefined, `stream ${id} is not of this session`);
  return unnamed;
}

function received(core: Core, connection: Connection, stream: Stream, bytes: Uint8Array): void {
  const { session } = connection;
  if (session.isOver || session.isIgnoring || bytes.length === 0) return;
  stream.lastReceivedUs = core.nowUs;
  if (stream.chunk.bytes.length > 0) keepUnread(core, stream);
  stream.chunk.bytes = bytes;
  stream.chunk.at = 0;
  switch (session.phase) {
    case 'connecting':
    case 'checking':
      if (session.unnamed.includes(stream)) nameStream(core, connection, stream);
      break;
    case 'handshake':
    case 'authentication':
      if (stream === session.data) continueHandshake(core, connection);
      break;
    case 'up':
      if (!stream.isPaused) signalPackets(core, connection);
      break;
    case 'closed':
    case 'pausing':
      assert(false, `a stream while ${session.phase}`);
  }
  if (session.phase !== 'up' || stream.isPaused) keepUnread(core, stream);
}

function ended(core: Core, connection: Connection, stream: Stream, how: 'closed' | 'reset'): void {
  const { session } = connection;
  stream.ended = how;
  if (session.isOver) return;
  if (session.phase === 'connecting' || session.phase === 'checking') return candidateEnded(core, connection, stream);
  // What arrived before the end counts, unless nobody will read it.
  const isRead = session.phase === 'up' && !stream.isPaused && !session.isIgnoring;
  if (isRead && unreadBytes(stream) > 0) signalPackets(core, connection);
  else streamOver(core, connection, stream === session.data ? 'data' : 'meta');
}

/**
 * The next packet on a stream, or undefined when none is complete or none shall be read now. Its byte arrays are lent: they
 * live until the end of the pass. To be called, after `packets-waiting`, until it gives undefined. Bytes that are no packet
 * end the connection by themselves; so does the end of the stream, once it was read to its end.
 */
export function nextPacket(core: Core, connection: Connection, kind: 'data' | 'meta'): Packet | undefined {
  const { session } = connection;
  const stream = session[kind];
  while (stream !== undefined && session.phase === 'up' && !session.isOver && !session.isIgnoring && !stream.isPaused) {
    const packet = pullPacket(stream.decoder, session.receiving, stream.chunk, core.environment);
    readOn(core, stream, packet === undefined);
    if (packet === undefined) {
      if (stream.ended !== undefined) streamOver(core, connection, kind);
      return undefined;
    }
    if (isWireError(packet)) {
      endByWireError(core, connection, packet);
      return undefined;
    }
    if (isDamaged(core, connection, packet)) {
      loseConnection(core, connection, 'ProtocolError', `Digest integrity check FAILED: ${packet.packet}`);
      return undefined;
    }
    if (!isForThisRoom(core, connection, packet)) return packet;
  }
  return undefined;
}

/** Bytes of a packet on the data stream that are needed beyond this pass: kept if they lie in the lent chunk, else they are ours already. */
export const ownBytes = (core: Core, { session }: Connection, bytes: Uint8Array): Uint8Array => (bytes.buffer === session.data?.chunk.bytes.buffer ? keepBytes(core.environment, bytes) : bytes);

/** Handles the packets that mean something, or nothing, only to the connection. */
function isForThisRoom(core: Core, connection: Connection, packet: Packet): boolean {
  switch (packet.packet) {
    case 'P_PING':
      sendPacket(core, connection, { packet: 'P_PING_ACK', volume: 0 });
      return true;
    case 'P_PING_ACK':
      pingAcknowledged(core, connection);
      return true;
    case 'P_DELAY_PROBE':
    case 'P_UNPLUG_REMOTE':
    case 'P_ENABLE_REPLICATION':
      return true;
    case 'P_CONNECTION_FEATURES':
    case 'P_AUTH_CHALLENGE':
    case 'P_AUTH_RESPONSE':
      // A second features packet, or a peer that wants authentication and will find that we do not (wire-protocol.md §3.3).
      loseConnection(core, connection, 'ProtocolError', `unexpected ${packet.packet}`);
      return true;
    default:
      return false;
  }
}

/** The receiver drains an epoch: what arrives on data is only kept, up to a limit. An end of the stream is told at once now. */
export function pauseData(core: Core, connection: Connection): void {
  const { session } = connection;
  const { data } = session;
  if (data === undefined || session.isOver) return;
  data.isPaused = true;
  keepUnread(core, data);
  if (data.ended !== undefined) streamOver(core, connection, 'data');
}

/** Reading goes on with what was kept. */
export function resumeData(core: Core, connection: Connection): void {
  const { session } = connection;
  const { data } = session;
  if (data === undefined || session.isOver || !data.isPaused) return;
  data.isPaused = false;
  signalPackets(core, connection);
}
