import type { Connection, Resource, Volume } from '../model/types.js';
import type { PacketOf, SyncParam89Packet, SyncParamPacket } from '../wire/packets.js';

/** wire-protocol.md §3.4: why the peer's P_PROTOCOL cannot be worked with (STOP), or undefined. */
export function checkProtocol(_connection: Connection, _packet: PacketOf<'P_PROTOCOL'>): string | undefined {
  throw new Error('not yet');
}
export function protocolPacket(_connection: Connection, _resource: Resource): PacketOf<'P_PROTOCOL'> {
  throw new Error('not yet');
}
export function syncParamPacket(_connection: Connection, _volume: Volume): SyncParamPacket | SyncParam89Packet {
  throw new Error('not yet');
}
