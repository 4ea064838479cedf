import type { Core } from '../model/core.js';
import type { Connection, PeerDevice, Resource, Volume } from '../model/types.js';
import type { BitmapPacket, CompressedBitmapPacket } from '../wire/packets.js';

export const sendBitmap = (_core: Core, _resource: Resource, _volume: Volume, _peerDevice: PeerDevice, _connection: Connection): void => {
  throw new Error('not yet');
};
export const receiveBitmap = (
  _core: Core,
  _resource: Resource,
  _volume: Volume,
  _peerDevice: PeerDevice,
  _connection: Connection,
  _packet: BitmapPacket | CompressedBitmapPacket,
): void => {
  throw new Error('not yet');
};
export const bitmapExpected = (peerDevice: PeerDevice): boolean => peerDevice.bitmapReceiver !== undefined;
