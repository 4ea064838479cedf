/**
 * Is the peer still there? Pings on the meta stream when both streams are silent (wire-protocol.md §1.5), pings that others
 * ask for, streams that do not take our bytes, and streams that end.
 *
 * Timers are re-armed when they expire, from the times that were noted meanwhile: nothing is set or cleared for a packet.
 */

import { assert, signal } from '../model/core.js';
import type { Core } from '../model/core.js';
import type { PingPurpose } from '../model/signals.js';
import { clearTimer, isTimerSet, setTimer } from '../model/timers.js';
import type { Connection } from '../model/types.js';
import { loseConnection } from './loss.js';
import { pingAnswerUs, pingIntervalUs, sendUs } from './periods.js';
import { sendPacket } from './send.js';
import type { ConnectionTimerKind } from './types.js';

/** WFReportParams was entered: from here on the peer's silence is noticed. */
export function startKeepalive(core: Core, connection: Connection): void {
  const { session } = connection;
  if (session.phase !== 'up' || session.isOver) return;
  session.isKeptAlive = true;
  if (!session.isAnswerTimed) waitForAnything(core, connection);
}

/**
 * Sends a P_PING; `ping-acknowledged` is signalled with this purpose when the answer to this very packet is there (a fence:
 * the peer has processed all that we sent on meta before). Without a connection nothing happens.
 */
export function requestPing(core: Core, connection: Connection, purpose: PingPurpose): void {
  ping(core, connection, purpose);
}

function ping(core: Core, connection: Connection, purpose: PingPurpose | 'idle'): void {
  const { session } = connection;
  if (session.phase !== 'up' || session.isOver) return;
  assert(session.meta !== undefined, 'a session that is up has both streams');
  sendPacket(core, connection, { packet: 'P_PING', volume: 0 });
  session.pings.push({ purpose, endBytes: session.meta.queuedBytes });
}

/** P_PING_ACK: answers come in the order of the pings. One that nobody asked for means nothing. */
export function pingAcknowledged(core: Core, connection: Connection): void {
  const { session } = connection;
  const answered = session.pings.shift();
  if (answered === undefined) return;
  if (answered.purpose !== 'idle' && answered.purpose !== 'stalled-send') {
    signal(core, { signal: 'ping-acknowledged', resource: connection.resource, peer: connection.peer, purpose: answered.purpose });
  }
  session.isAnswerTimed = false;
  if (!timeAnswer(core, connection)) waitForAnything(core, connection);
}

/**
 * The wait for an answer begins when the transport has taken the oldest ping, not when we queued it (B184). True if it runs.
 * To be called when bytes were sent on meta.
 */
export function timeAnswer(core: Core, connection: Connection): boolean {
  const { session } = connection;
  const oldest = session.pings[0];
  if (oldest === undefined || session.meta === undefined || session.meta.sentBytes < oldest.endBytes) return false;
  if (session.isAnswerTimed) return true;
  session.isAnswerTimed = true;
  clearTimer(core, 'meta-idle', connection.resource, connection.peer, -1);
  wait(core, connection, 'ping-answer', pingAnswerUs(connection));
  return true;
}

function waitForAnything(core: Core, connection: Connection): void {
  clearTimer(core, 'ping-answer', connection.resource, connection.peer, -1);
  if (connection.session.isKeptAlive) wait(core, connection, 'meta-idle', pingIntervalUs(connection));
}

function wait(core: Core, connection: Connection, kind: ConnectionTimerKind, afterUs: number): void {
  connection.session.waitSinceUs = core.nowUs;
  setTimer(core, kind, connection.resource, connection.peer, -1, afterUs);
}

/** The timer meta-idle. */
export function idleTooLong(core: Core, connection: Connection): void {
  const { session } = connection;
  const periodUs = pingIntervalUs(connection);
  if (waitsOn(core, connection, 'meta-idle', periodUs)) return;
  wait(core, connection, 'meta-idle', periodUs);
  // With a ping that the transport has not taken, the timer meta-send decides.
  if (session.pings.length === 0) ping(core, connection, 'idle');
}

/** The timer ping-answer. */
export function answerOverdue(core: Core, connection: Connection): void {
  const periodUs = pingAnswerUs(connection);
  if (waitsOn(core, connection, 'ping-answer', periodUs)) return;
  loseConnection(core, connection, 'NetworkFailure', 'P_PING_ACK did not arrive in time');
}

/**
 * Is the wait not over yet? Any byte on meta has re-armed it when it came; bytes on data re-arm it when it expires, for the
 * same duration (wire-protocol.md §1.5).
 */
function waitsOn(core: Core, connection: Connection, kind: ConnectionTimerKind, periodUs: number): boolean {
  const { session } = connection;
  const { data, meta } = session;
  assert(data !== undefined && meta !== undefined, 'keep-alive has both streams');
  if (meta.lastReceivedUs > session.waitSinceUs) session.waitSinceUs = meta.lastReceivedUs;
  const dueUs = session.waitSinceUs + periodUs;
  if (dueUs > core.nowUs) {
    setTimer(core, kind, connection.resource, connection.peer, -1, dueUs - core.nowUs);
    return true;
  }
  if (data.lastReceivedUs <= session.waitSinceUs) return false;
  wait(core, connection, kind, periodUs);
  return true;
}

/**
 * The timers data-send and meta-send: has the transport taken anything for `timeout`? Meta must; on data a ping looks whether
 * the peer lives, and ko-count such periods without progress are the end (0: never). Before WFReportParams the first is.
 */
export function sendOverdue(core: Core, connection: Connection, kind: 'data' | 'meta'): void {
  const { session } = connection;
  const stream = session[kind];
  assert(stream !== undefined, 'a session that is up has both streams');
  const periodUs = sendUs(connection);
  stream.isStallTimed = stream.sentBytes < stream.queuedBytes;
  if (!stream.isStallTimed) return;
  if (stream.blockedSinceUs + periodUs <= core.nowUs) {
    stream.blockedSinceUs = core.nowUs;
    stream.koLeft--;
    if (kind === 'meta' || !session.isKeptAlive || stream.koLeft === 0) {
      loseConnection(core, connection, 'Timeout', `sending on ${kind} is blocked`);
      return;
    }
    ping(core, connection, 'stalled-send');
  }
  const timer = kind === 'data' ? 'data-send' : 'meta-send';
  setTimer(core, timer, connection.resource, connection.peer, -1, stream.blockedSinceUs + periodUs - core.nowUs);
}

/** Our disconnect request went out (or, false, was answered with no): the peer may now close before we see its answer. */
export function expectClose(core: Core, connection: Connection, isExpected = true): void {
  const { session } = connection;
  session.isCloseExpected = isExpected;
  if (!isExpected && session.endedFirst !== undefined) closeOverdue(core, connection);
}

/** We agreed to the peer's disconnect request: what it still sends is dropped (M16). What we send still leaves. */
export function ignoreInput(connection: Connection): void {
  connection.session.isIgnoring = true;
}

/** A stream has ended and everything on it was read. */
export function streamOver(core: Core, connection: Connection, kind: 'data' | 'meta'): void {
  const { session } = connection;
  if (session.isCloseExpected) {
    session.endedFirst ??= kind;
    if (!isTimerSet(core, 'graceful-end', connection.resource, connection.peer, -1)) {
      setTimer(core, 'graceful-end', connection.resource, connection.peer, -1, pingAnswerUs(connection));
    }
    return;
  }
  loseByEnd(core, connection, kind);
}

/** The timer graceful-end: the streams ended, and nothing came of it. */
export function closeOverdue(core: Core, connection: Connection): void {
  const { endedFirst } = connection.session;
  assert(endedFirst !== undefined, 'no stream has ended');
  loseByEnd(core, connection, endedFirst);
}

function loseByEnd(core: Core, connection: Connection, kind: 'data' | 'meta'): void {
  const how = connection.session[kind]?.ended ?? 'closed';
  loseConnection(core, connection, kind === 'data' ? 'BrokenPipe' : 'NetworkFailure', `the peer ${how} the ${kind} stream`);
}
