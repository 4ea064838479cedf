import type { Core } from '../model/core.js';
import type { Connection } from '../model/types.js';
import type { Packet } from '../wire/packets.js';

export function sendPacket(_core: Core, _connection: Connection, _packet: Packet): void {
  throw new Error('not yet');
}
/** To be called for each connection at the end of a pass. */
export function flushSends(_core: Core, _connection: Connection): void {
  throw new Error('not yet');
}
export const dataStreamEnd = (connection: Connection): number => connection.session.data?.queuedBytes ?? 0;
export const dataStreamSent = (connection: Connection): number => connection.session.data?.sentBytes ?? 0;
export const unsentBytes = (connection: Connection): number => dataStreamEnd(connection) - dataStreamSent(connection);
