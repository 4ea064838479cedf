/**
 * From nothing to a pair of streams (wire-protocol.md §1.2): both nodes listen and connect at once, so attempts cross. The
 * side that connects says what a stream is; a newer stream of a kind replaces the older one; a coin decides who goes on
 * and who waits, so that two equal nodes do not repeat each other for ever (B137). A pair is used when it has stayed for a moment.
 *
 * The kernel does this in a loop that blocks. Here accepted streams are looked at whenever they come, also while an attempt
 * of our own is under way, and a stream that ends is given up at once instead of at the next probe.
 */

import type { StreamId } from '../contract/input.js';
import { assert, emit, newStreamId } from '../model/core.js';
import type { Core } from '../model/core.js';
import { clearTimer, setTimer } from '../model/timers.js';
import type { Connection } from '../model/types.js';
import { isWireError } from '../wire/errors.js';
import { pullPacket } from '../wire/reassembly.js';
import { startHandshake } from './handshake.js';
import { refuseConnection } from './loss.js';
import { connectUs, handshakeUs, RETRY_PAUSE_US, socketCheckUs } from './periods.js';
import { flushSends, queuePacket } from './send.js';
import { closeStream, registerStream } from './streams.js';
import { CONNECTION_TIMERS, newSession, newStream } from './types.js';
import type { ConnectionTimerKind, Stream } from './types.js';

export { newSession };

/** The kernel's backlog: more streams than this may not wait for their first packet. */
const UNNAMED_MAX = 5;

/**
 * WFConnection was entered: listens, and knocks for the first time. Ends with `streams-ready`, `connection-lost` or
 * `connection-refused`.
 */
export function startConnecting(core: Core, connection: Connection): void {
  const { session } = connection;
  assert(session.phase === 'closed' || session.phase === 'pausing', `connecting again while ${session.phase}`);
  stop(core, connection, 'retry-pause');
  session.phase = 'connecting';
  connection.resolveConflicts = false;
  emit(core, { type: 'listen', resource: connection.resource, peer: connection.peer });
  connectToPeer(core, connection);
}

/** The same a second later: after a handshake that failed before WFReportParams (timers-and-order.md §1.1). */
export function startConnectingAfterPause(core: Core, connection: Connection): void {
  const { session } = connection;
  assert(session.phase === 'closed', `a pause before connecting while ${session.phase}`);
  session.phase = 'pausing';
  start(core, connection, 'retry-pause', RETRY_PAUSE_US);
}

/**
 * Gives up everything that this room has for the connection, in whatever state it is (B187): what was sent leaves, both
 * streams are closed, nobody listens, no timer runs, and what still arrives for the old streams is ignored.
 */
export function stopConnecting(core: Core, connection: Connection): void {
  const { session } = connection;
  flushSends(core, connection);
  if (session.phase === 'connecting' || session.phase === 'checking') {
    emit(core, { type: 'stop-listening', resource: connection.resource, peer: connection.peer });
  }
  if (session.attempt !== undefined) closeStream(core, session.attempt);
  for (const stream of [session.data, session.meta, ...session.unnamed]) {
    if (stream !== undefined) closeStream(core, stream.id);
  }
  for (const kind of CONNECTION_TIMERS) stop(core, connection, kind);
  connection.session = newSession();
}

// ---- What happens to our attempts and the peer's ---------------------------------------------------------------------

/** Our attempt succeeded: the stream becomes what is missing. */
export function streamConnected(core: Core, connection: Connection, id: StreamId): void {
  const { session } = connection;
  assert(session.attempt === id, `stream ${id} connected without having been asked for`);
  stop(core, connection, 'connect-attempt');
  session.attempt = undefined;
  if (session.data === undefined) {
    session.data = newStream(id, 'data', core.nowUs);
    queuePacket(core, connection, session.data, { packet: 'P_INITIAL_DATA', volume: 0 });
  } else {
    assert(session.meta === undefined, 'an attempt while there is a pair of streams');
    session.meta = newStream(id, 'meta', core.nowUs);
    connection.resolveConflicts = false;
    queuePacket(core, connection, session.meta, { packet: 'P_INITIAL_META', volume: 0 });
  }
  if (!checkPair(core, connection)) waitForPeer(core, connection);
}

/** Our attempt was refused, failed, or took too long (timer connect-attempt): it is the peer's turn. */
export function attemptFailed(core: Core, connection: Connection): void {
  assert(connection.session.attempt !== undefined, 'no attempt is under way');
  connection.session.attempt = undefined;
  stop(core, connection, 'connect-attempt');
  waitForPeer(core, connection);
}

/** The timer connect-attempt. */
export function attemptTimedOut(core: Core, connection: Connection): void {
  const { attempt } = connection.session;
  assert(attempt !== undefined, 'no attempt is under way');
  closeStream(core, attempt);
  attemptFailed(core, connection);
}

/** The peer, or somebody, connected to us. */
export function streamAccepted(core: Core, connection: Connection, id: StreamId): void {
  const { session } = connection;
  const isWanted = session.phase === 'connecting' || session.phase === 'checking';
  if (!isWanted || session.isOver || session.unnamed.length >= UNNAMED_MAX) {
    closeStream(core, id);
    return;
  }
  registerStream(core, connection, id);
  session.unnamed.push(newStream(id, 'first', core.nowUs));
  if (session.unnamed.length === 1) start(core, connection, 'first-packet', handshakeUs(connection));
}

/** An accepted stream said something: with its first packet it becomes the data or the meta stream. */
export function nameStream(core: Core, connection: Connection, stream: Stream): void {
  const { session } = connection;
  const packet = pullPacket(stream.decoder, session.receiving, stream.chunk);
  if (packet === undefined) return;
  session.unnamed.splice(session.unnamed.indexOf(stream), 1);
  if (isWireError(packet)) {
    closeStream(core, stream.id);
    waitOrGoOn(core, connection);
    return;
  }
  const kind = packet.packet === 'P_INITIAL_META' ? 'meta' : 'data';
  const crossed = session[kind];
  if (crossed !== undefined) closeStream(core, crossed.id);
  session[kind] = stream;
  if (kind === 'meta') connection.resolveConflicts = true;
  if (checkPair(core, connection)) return;
  if (crossed !== undefined) waitOrGoOn(core, connection);
  else if (session.attempt === undefined) connectToPeer(core, connection);
}

/** The timer first-packet: streams that have said nothing for too long are dropped. */
export function dropSilentStreams(core: Core, connection: Connection): void {
  const { session } = connection;
  const limitUs = handshakeUs(connection);
  const silent = session.unnamed.filter((stream) => stream.acceptedAtUs + limitUs <= core.nowUs);
  session.unnamed = session.unnamed.filter((stream) => !silent.includes(stream));
  for (const stream of silent) closeStream(core, stream.id);
  const oldest = session.unnamed[0];
  if (oldest !== undefined) start(core, connection, 'first-packet', oldest.acceptedAtUs + limitUs - core.nowUs);
  if (silent.length > 0) waitOrGoOn(core, connection);
}

/** A stream ended while we were still looking for a pair. */
export function candidateEnded(core: Core, connection: Connection, stream: Stream): void {
  const { session } = connection;
  closeStream(core, stream.id);
  if (stream === session.data) session.data = undefined;
  else if (stream === session.meta) session.meta = undefined;
  else {
    session.unnamed.splice(session.unnamed.indexOf(stream), 1);
    waitOrGoOn(core, connection);
    return;
  }
  if (session.phase === 'checking') {
    session.phase = 'connecting';
    stop(core, connection, 'socket-check');
    waitOrGoOn(core, connection);
  }
}

/** Our own address cannot be bound: only an administrator can mend that. */
export function listenFailed(core: Core, connection: Connection, reason: string): void {
  const { phase } = connection.session;
  if (phase === 'connecting' || phase === 'checking') refuseConnection(core, connection, `cannot listen: ${reason}`);
}

/** The timer socket-check: the pair has stayed. */
export function pairStayed(core: Core, connection: Connection): void {
  startHandshake(core, connection);
}

/** The timer accept-wait: the next round begins with an attempt of our own. */
export function connectToPeer(core: Core, connection: Connection): void {
  const { session } = connection;
  assert(session.phase === 'connecting' && session.attempt === undefined, 'one attempt at a time, and only while connecting');
  stop(core, connection, 'accept-wait');
  const id = newStreamId(core);
  session.attempt = id;
  registerStream(core, connection, id);
  emit(core, { type: 'connect', stream: id, resource: connection.resource, peer: connection.peer });
  start(core, connection, 'connect-attempt', connectUs(connection));
}

// ---- The next move ---------------------------------------------------------------------------------------------------

/** With both streams, begins to watch whether they stay; an attempt that is still under way is not needed. */
function checkPair(core: Core, connection: Connection): boolean {
  const { session } = connection;
  if (session.data === undefined || session.meta === undefined) return false;
  if (session.attempt !== undefined) closeStream(core, session.attempt);
  session.attempt = undefined;
  session.phase = 'checking';
  stop(core, connection, 'connect-attempt');
  stop(core, connection, 'accept-wait');
  start(core, connection, 'socket-check', socketCheckUs(connection));
  return true;
}

/** After something was dropped, if the move is ours: half of the time we let the peer go first. */
function waitOrGoOn(core: Core, connection: Connection): void {
  const { session } = connection;
  if (session.phase !== 'connecting' || session.attempt !== undefined) return;
  if (coin(core)) waitForPeer(core, connection);
  else connectToPeer(core, connection);
}

function waitForPeer(core: Core, connection: Connection): void {
  const waitUs = connectUs(connection);
  const seventhUs = Math.floor(waitUs / 7);
  start(core, connection, 'accept-wait', coin(core) ? waitUs + seventhUs : waitUs - seventhUs);
}

const coin = (core: Core): boolean => (core.environment.random64() & 1n) === 1n;

const start = (core: Core, connection: Connection, kind: ConnectionTimerKind, afterUs: number): void =>
  setTimer(core, kind, connection.resource, connection.peer, -1, afterUs);

const stop = (core: Core, connection: Connection, kind: ConnectionTimerKind): void =>
  clearTimer(core, kind, connection.resource, connection.peer, -1);
