/** Streams of a connection: found by their ids, read, closed. */

import type { StreamId } from '../contract/input.js';
import { emit, mustGet, signal } from '../model/core.js';
import type { Core } from '../model/core.js';
import type { Connection } from '../model/types.js';
import { keepRest } from '../wire/reassembly.js';
import type { Stream } from './types.js';

/**
 * More than this is not kept of a stream that nobody reads: the driver is told to stop. It covers much of what a peer sends
 * while an epoch drains, and bounds what it can make us keep before the handshake.
 */
const KEPT_BYTES_MAX = 256 << 10;

export function registerStream(core: Core, connection: Connection, id: StreamId): void {
  core.state.streams.set(id, { resource: connection.resource, peer: connection.peer });
}

/** The connection that a stream belongs to, or undefined when it was closed: an input that was on its way. */
export function connectionOfStream(core: Core, id: StreamId): Connection | undefined {
  const owner = core.state.streams.get(id);
  return owner && connectionOf(core, owner.resource, owner.peer);
}

export const connectionOf = (core: Core, resource: string, peer: string): Connection =>
  mustGet(mustGet(core.state.resources, resource, 'resource').connections, peer, 'connection');

/** Gives a stream up; what was queued and not flushed is dropped with it. Later inputs for it are ignored. */
export function closeStream(core: Core, id: StreamId): void {
  core.state.streams.delete(id);
  emit(core, { type: 'close', stream: id });
}

export const unreadBytes = (stream: Stream): number =>
  stream.decoder.heldEnd - stream.decoder.heldStart + stream.chunk.bytes.length - stream.chunk.at;

/** Keeps what a stream that is not read now has received. */
export function keepUnread(core: Core, stream: Stream): void {
  keepRest(stream.decoder, stream.chunk, core.environment);
  if (!stream.isReadOff && unreadBytes(stream) > KEPT_BYTES_MAX) setReading(core, stream, false);
}

/** Lets the driver read again when enough of what was kept is used up, or when only more bytes complete a packet. */
export function readOn(core: Core, stream: Stream, isDrained: boolean): void {
  if (stream.isReadOff && (isDrained || unreadBytes(stream) < KEPT_BYTES_MAX / 2)) setReading(core, stream, true);
}

function setReading(core: Core, stream: Stream, on: boolean): void {
  stream.isReadOff = !on;
  emit(core, { type: 'read-stream', stream: stream.id, on });
}

export const signalPackets = (core: Core, connection: Connection): void =>
  signal(core, { signal: 'packets-waiting', resource: connection.resource, peer: connection.peer });
