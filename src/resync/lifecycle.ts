import type { Core } from '../model/core.js';
import type { DiskOperation, OperationResult, Then } from '../model/operations.js';
import type { Connection, Interval, PeerDevice, Resource, Volume } from '../model/types.js';

export const startResync = (_core: Core, _resource: Resource, _volume: Volume, _peerDevice: PeerDevice, _connection: Connection, _side: 'source' | 'target'): void => {
  throw new Error('not yet');
};
export const resumeResync = (_core: Core, _resource: Resource, _volume: Volume, _peerDevice: PeerDevice, _connection: Connection): void => {
  throw new Error('not yet');
};
export const pauseResync = (_core: Core, _resource: Resource, _volume: Volume, _peerDevice: PeerDevice, _connection: Connection): void => {
  throw new Error('not yet');
};
export const abortResync = (_core: Core, _resource: Resource, _volume: Volume, _peerDevice: PeerDevice, _connection: Connection): void => {
  throw new Error('not yet');
};
/** Also the handler of timer 'finish-retry' (protocol < 95 only). */
export const checkFinished = (_core: Core, _resource: Resource, _volume: Volume, _peerDevice: PeerDevice, _connection: Connection): void => {
  throw new Error('not yet');
};
/** For each P_PING_ACK with purpose resync-finish-{side}: call it once for EVERY volume of the connection; those that wait for it count. */
export const fencePassed = (_core: Core, _resource: Resource, _volume: Volume, _peerDevice: PeerDevice, _connection: Connection, _side: 'source' | 'target'): void => {
  throw new Error('not yet');
};
/**
 * The peer's P_STATE says Connected/UpToDate: if every block is accounted for, asks for the ping fence (in place of
 * sourceMayFinish + requestPing by the caller: the volume remembers that it waits) and returns true. False: not yet, or on its way already.
 */
export const finishAsSource = (_core: Core, _resource: Resource, _volume: Volume, _peerDevice: PeerDevice, _connection: Connection): boolean => {
  throw new Error('not yet');
};
/** Then {to:'resync-flush'}. */
export const resyncFlushDone = (_core: Core, _resource: Resource, _volume: Volume, _peerDevice: PeerDevice, _connection: Connection, _then: Then & { to: 'resync-flush' }, _operation: DiskOperation, _result: OperationResult): void => {
  throw new Error('not yet');
};
/** Signal 'interval-started' for kinds 'resync-read' and 'resync-write'. */
export const intervalStarted = (_core: Core, _resource: Resource, _volume: Volume, _peerDevice: PeerDevice, _connection: Connection, _interval: Interval): void => {
  throw new Error('not yet');
};
/** The replication room cleared bits for a write of the application (target). */
export const bitsCleared = (_core: Core, _resource: Resource, _volume: Volume, _peerDevice: PeerDevice, _connection: Connection): void => {
  throw new Error('not yet');
};
/** Bits were set at this sector while a resync may be running. */
export const bitsSet = (_core: Core, _resource: Resource, _volume: Volume, _peerDevice: PeerDevice, _connection: Connection, _sector: number): void => {
  throw new Error('not yet');
};
export interface ResyncView {
  side: 'source' | 'target';
  totalBits: number;
  leftBits: number;
  failedBits: number;
}
/** What a status shows; undefined when no resync runs. */
export const resyncView = (_peerDevice: PeerDevice): ResyncView | undefined => {
  throw new Error('not yet');
};
