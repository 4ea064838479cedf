import type { Core } from '../model/core.js';
import type { DiskOperation, OperationResult, Then } from '../model/operations.js';
import type { Connection, Interval, PeerDevice, Resource, Volume } from '../model/types.js';
import type { AckPacket, BlockRequestPacket } from '../wire/packets.js';

export const resyncRequest = (_core: Core, _resource: Resource, _volume: Volume, _peerDevice: PeerDevice, _connection: Connection, _packet: BlockRequestPacket): void => {
  throw new Error('not yet');
};
export const resyncAcknowledged = (_core: Core, _resource: Resource, _volume: Volume, _peerDevice: PeerDevice, _connection: Connection, _packet: AckPacket): void => {
  throw new Error('not yet');
};
export const resyncNegAcknowledged = (_core: Core, _resource: Resource, _volume: Volume, _peerDevice: PeerDevice, _connection: Connection, _packet: AckPacket): void => {
  throw new Error('not yet');
};
/** For intervals of kind 'resync-read'; those of kind 'resync-write': target.ts writeIntervalStarted. lifecycle.intervalStarted serves both. */
export const readIntervalStarted = (_core: Core, _resource: Resource, _volume: Volume, _peerDevice: PeerDevice, _connection: Connection, _interval: Interval): void => {
  throw new Error('not yet');
};
export const resyncReadDone = (_core: Core, _resource: Resource, _volume: Volume, _peerDevice: PeerDevice, _connection: Connection, _then: Then & { to: 'resync-read' }, _operation: DiskOperation, _result: OperationResult): void => {
  throw new Error('not yet');
};
/** Timer 'serve-delay'. */
export const serveDelayed = (_core: Core, _resource: Resource, _volume: Volume, _peerDevice: PeerDevice, _connection: Connection): void => {
  throw new Error('not yet');
};
