/** The timers of the connection room: each means one thing in the module that set it. */

import { assert } from '../model/core.js';
import type { Core } from '../model/core.js';
import type { Timer, TimerKind } from '../model/timers.js';
import { attemptTimedOut, connectToPeer, dropSilentStreams, pairStayed, startConnecting } from './establish.js';
import { answerOverdue, closeOverdue, idleTooLong, sendOverdue } from './keepalive.js';
import { loseConnection } from './loss.js';
import { connectionOf } from './streams.js';
import { CONNECTION_TIMERS } from './types.js';
import type { ConnectionTimerKind } from './types.js';

export const isConnectionTimer = (kind: TimerKind): kind is ConnectionTimerKind =>
  (CONNECTION_TIMERS as readonly TimerKind[]).includes(kind);

/** A timer of this room ran out. */
export function connectionTimer(core: Core, timer: Timer): void {
  const { kind } = timer;
  assert(isConnectionTimer(kind), `${kind} is no timer of a connection`);
  const connection = connectionOf(core, timer.resource, timer.peer);
  if (connection.session.isOver) return;
  switch (kind) {
    case 'retry-pause':
      return startConnecting(core, connection);
    case 'connect-attempt':
      return attemptTimedOut(core, connection);
    case 'accept-wait':
      return connectToPeer(core, connection);
    case 'first-packet':
      return dropSilentStreams(core, connection);
    case 'socket-check':
      return pairStayed(core, connection);
    case 'handshake':
      return loseConnection(core, connection, 'Timeout', 'the peer did not go on with the handshake in time');
    case 'meta-idle':
      return idleTooLong(core, connection);
    case 'ping-answer':
      return answerOverdue(core, connection);
    case 'data-send':
      return sendOverdue(core, connection, 'data');
    case 'meta-send':
      return sendOverdue(core, connection, 'meta');
    case 'graceful-end':
      return closeOverdue(core, connection);
    default:
      return kind satisfies never;
  }
}
