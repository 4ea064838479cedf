import type { Core } from '../model/core.js';
import type { DiskOperation, OperationResult, Then } from '../model/operations.js';
import type { Connection, Interval, PeerDevice, Resource, Volume } from '../model/types.js';
import type { AckPacket, DataPacket } from '../wire/packets.js';

export const resyncTick = (_core: Core, _resource: Resource, _volume: Volume, _peerDevice: PeerDevice, _connection: Connection): void => {
  throw new Error('not yet');
};
export const resyncDataReply = (_core: Core, _resource: Resource, _volume: Volume, _peerDevice: PeerDevice, _connection: Connection, _packet: DataPacket): void => {
  throw new Error('not yet');
};
export const resyncWriteDone = (_core: Core, _resource: Resource, _volume: Volume, _peerDevice: PeerDevice, _connection: Connection, _then: Then & { to: 'resync-write' }, _operation: DiskOperation, _result: OperationResult): void => {
  throw new Error('not yet');
};
export const negResyncReply = (_core: Core, _resource: Resource, _volume: Volume, _peerDevice: PeerDevice, _connection: Connection, _packet: AckPacket): void => {
  throw new Error('not yet');
};
export const resyncCancelled = (_core: Core, _resource: Resource, _volume: Volume, _peerDevice: PeerDevice, _connection: Connection, _packet: AckPacket): void => {
  throw new Error('not yet');
};
export const writeIntervalStarted = (_core: Core, _resource: Resource, _volume: Volume, _peerDevice: PeerDevice, _connection: Connection, _interval: Interval): void => {
  throw new Error('not yet');
};
