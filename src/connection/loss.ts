/**
 * The end of a connection, as the connection room tells it upwards: once for each incarnation, so that the first reason
 * wins. The streams stay until the resource room calls `stopConnecting`, but nothing is read or sent any more.
 */

import { signal } from '../model/core.js';
import type { Core } from '../model/core.js';
import type { LossReason } from '../model/signals.js';
import type { Connection } from '../model/types.js';
import type { WireError } from '../wire/errors.js';

/** RETRY(reason): signals `connection-lost`, unless this incarnation has ended already. For the rooms above, too. */
export function loseConnection(core: Core, connection: Connection, reason: LossReason, detail: string): void {
  if (!end(connection)) return;
  signal(core, { signal: 'connection-lost', resource: connection.resource, peer: connection.peer, reason, detail });
}

/** STOP: signals `connection-refused`, unless this incarnation has ended already. For the rooms above, too. */
export function refuseConnection(core: Core, connection: Connection, detail: string): void {
  if (!end(connection)) return;
  signal(core, { signal: 'connection-refused', resource: connection.resource, peer: connection.peer, detail });
}

/** Bytes of the peer that cannot be a packet end the connection as the broken rule says (wire-protocol.md §2; B191). */
export function endByWireError(core: Core, connection: Connection, error: WireError): void {
  switch (error.reaction) {
    case 'ProtocolError':
    case 'NetworkFailure':
      return loseConnection(core, connection, error.reaction, error.detail);
    case 'Disconnecting':
      return refuseConnection(core, connection, error.detail);
    default:
      return error.reaction satisfies never;
  }
}

function end(connection: Connection): boolean {
  const { session } = connection;
  if (session.isOver || session.phase === 'closed' || session.phase === 'pausing') return false;
  session.isOver = true;
  return true;
}
