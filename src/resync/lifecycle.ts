/**
 * A resync from start to end. States and generation UUIDs are the resource room's: it calls here when the state says that a
 * resync runs, rests or is over, and is told `resync-complete` when every block is accounted for, the peer has seen every
 * acknowledgement (a ping as fence, M10), and the target's disk has made it durable (D8).
 */

import { countOutOfSync, type Bitmap } from '../metadata/bitmap.js';
import { assert, flushDisk, signal, type Core } from '../model/core.js';
import type { DiskOperation, OperationResult, Then } from '../model/operations.js';
import { setTimer } from '../model/timers.js';
import type { Connection, PeerDevice, Resource, Volume } from '../model/types.js';
import { Conn } from '../state/states.js';
import { findInterval, releaseInterval } from '../volume/intervals.js';
import { bitmapOf, failedBits, fenceIsPassed, hasDisk, hasOpenBits, noteProgress, observeResync, removeResync, requestFence, signalDiskError } from './progress.js';
import { newController, newMarks } from './rate.js';
import type { ResyncState } from './types.js';

/** From this protocol version on the source waits for the target's P_STATE; below, each side ends when its own count is zero. */
const TARGET_ENDS_RESYNC = 96;
/** Below this one the source of an empty resync waits, in the hope that the target has noticed a lost connection by then. */
const EMPTY_RESYNC_ENDS_AT_ONCE = 95;

/** From this one on requests may carry digests. */
const CHECKSUMS = 89;

/** conn has just become SyncSource, SyncTarget or Paused*: counting begins, and the target asks for its first blocks at once. */
export const startResync = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, connection: Connection, side: 'source' | 'target'): void => {
  assert(peerDevice.resync === undefined, 'a resync ends before the next one starts');
  const { weight } = bitmapOf(peerDevice);
  const resync: ResyncState = {
    side,
    phase: 'running',
    fenceAcks: 0,
    totalBits: weight,
    failed: undefined,
    marks: newMarks(core.nowUs, weight),
    lastApplicationSectors: volume.applicationSectors,
    lastLazyWriteAtUs: core.nowUs,
    digestAlg: side === 'target' ? digestAlgFor(volume, connection) : '',
    cursorBit: 0,
    requests: [],
    answeredSectors: 0,
    budgetBlocks: 0,
    controller: newController(),
    targetIsDone: false,
    isHeld: false,
    delayed: [],
    reads: new Map(),
    unacknowledged: [],
  };
  peerDevice.resync = resync;
  // What a device has grown by is marked, and synced with the rest.
  peerDevice.hasNewPart = false;
  observeResync(core, volume, peerDevice, resync, 'started');
  if (side === 'target') setTimer(core, 'resync-tick', resource.name, peerDevice.peer, volume.number, 0);
  else if (weight === 0 && connection.protocolVersion < EMPTY_RESYNC_ENDS_AT_ONCE) {
    const { pingInt, pingTimeout } = connection.config.net;
    setTimer(core, 'finish-retry', resource.name, peerDevice.peer, volume.number, pingInt * 1_000_000 + Math.trunc((pingTimeout * 1_000_000) / 9));
  }
};

/** Which digest a target sends with its requests (wire-protocol.md §7.4): its own disk may be the one that crashed as Primary. */
const digestAlgFor = (volume: Volume, connection: Connection): string => {
  const { csumsAlg, csumsAfterCrashOnly } = connection.config.net;
  return connection.protocolVersion >= CHECKSUMS && (volume.crashedPrimary || !csumsAfterCrashOnly) ? csumsAlg : '';
};

/** The state has become Paused*: what is on its way is still answered and written, nothing new is asked for. */
export const pauseResync = (core: Core, _resource: Resource, volume: Volume, peerDevice: PeerDevice, _connection: Connection): void => {
  if (peerDevice.resync) observeResync(core, volume, peerDevice, peerDevice.resync, 'paused');
};

/** The state is SyncSource or SyncTarget again. The target goes on at once, whatever is outstanding (bugs B114, B117). */
export const resumeResync = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, _connection: Connection): void => {
  const { resync } = peerDevice;
  if (!resync || !hasDisk(volume)) return;
  resync.marks = newMarks(core.nowUs, bitmapOf(peerDevice).weight);
  observeResync(core, volume, peerDevice, resync, 'resumed');
  if (resync.side === 'target') setTimer(core, 'resync-tick', resource.name, peerDevice.peer, volume.number, 0);
};

/**
 * The connection or a disk is lost: requests are forgotten, ranges given back (bugs B115, B133, B215), bits stay. A range that
 * the disk is writing keeps its place until the write ends, unless that disk is given up. Nothing to do when no resync runs.
 * `isAnswered`: each request is still answered once (`staleRequests`), as it is Behind.
 */
export const abortResync = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, isAnswered: boolean): void => {
  const { resync } = peerDevice;
  if (!resync) return;
  observeResync(core, volume, peerDevice, resync, 'aborted');
  if (!isAnswered && resync.requests.some(({ askedAs, stage }) => askedAs === 'digest' && stage === 'asked')) peerDevice.hasStaleDigests = true;
  removeResync(core, resource, volume, peerDevice);
  for (const { interval, stage } of resync.requests) {
    if ((stage !== 'writing' || !hasDisk(volume)) && findInterval(volume, interval)) releaseInterval(core, volume, interval);
  }
  for (const interval of resync.reads.keys()) if (findInterval(volume, interval)) releaseInterval(core, volume, interval);
};

/** Bits were cleared, by the resync or by an application write (signal `bits-cleared`). */
export const bitsCleared = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, connection: Connection): void => {
  if (!peerDevice.resync) return;
  noteProgress(core, volume, peerDevice, peerDevice.resync);
  checkFinished(core, resource, volume, peerDevice, connection);
};

// ---- The end ---------------------------------------------------------------------------------------------------------

/** Nothing is open and nothing is on its way; failed blocks do not count. Never true without a disk. */
const isComplete = (resource: Resource, resync: ResyncState, volume: Volume, peerDevice: PeerDevice): boolean => {
  if (resync.requests.length > 0 || !hasDisk(volume)) return false;
  // A write of the application may have cleared what the target has asked for: it still waits for its answers.
  const owesAnswers = resync.side === 'source' && resync.delayed.length + resync.reads.size + resync.unacknowledged.length > 0;
  if (owesAnswers && !resync.targetIsDone) return false;
  return !hasOpenBits(resync, bitmapOf(peerDevice)) || (resync.targetIsDone && volume.backing!.isBad && !owesWrites(resource, volume, bitmapOf(peerDevice)));
};

/**
 * Are there marked blocks with a write that is not settled yet? The target being done, nothing else than these can still be cleared: what
 * stays marked then on a bad disk, that disk failed to write or read.
 */
const owesWrites = (resource: Resource, volume: Volume, bitmap: Bitmap): boolean => {
  for (const request of resource.log.requests.values()) {
    if (request.kind === 'write' && request.volume === volume.number && countOutOfSync(bitmap, request.sector, request.sectors) > 0) return true;
  }
  return false;
};

/**
 * To be called when something may have completed the resync; also the handler of timer `finish-retry`. A target that is complete
 * asks for its fence, paused or not. A source does so by itself only below protocol 96, or when the target is done already.
 */
export const checkFinished = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, connection: Connection): void => {
  const { resync } = peerDevice;
  if (resync?.phase !== 'running' || !isComplete(resource, resync, volume, peerDevice)) return;
  if (resync.side === 'source' && connection.protocolVersion >= TARGET_ENDS_RESYNC && !resync.targetIsDone) return;
  askForFence(core, resource, volume, peerDevice, connection, resync);
};

/**
 * The peer's P_STATE says Connected/UpToDate: the source ends too, by asking for its fence, as soon as its own count agrees. Blocks that the
 * application wrote during the resync are open here until their barrier is acknowledged. Returns whether it is asked for now.
 */
export const finishAsSource = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, connection: Connection): boolean => {
  const { resync } = peerDevice;
  if (resync?.side !== 'source' || resync.phase !== 'running') return false;
  resync.targetIsDone = true;
  if (!isComplete(resource, resync, volume, peerDevice)) return false;
  askForFence(core, resource, volume, peerDevice, connection, resync);
  return true;
};

const askForFence = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, connection: Connection, resync: ResyncState): void =>
  requestFence(core, resource, volume, peerDevice, connection, resync.side === 'target' ? 'resync-finish-target' : 'resync-finish-source', (device) => device.resync);

/**
 * A P_PING_ACK with purpose resync-finish-target or -source came: to be called once for EVERY volume of the connection, those that wait
 * for it are counted down. The target's disk is then flushed (D8). A source is done: it decided on the peer's word and its own
 * count, and what is marked since then belongs to the time after the resync.
 */
export const fencePassed = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, connection: Connection, side: 'source' | 'target'): void => {
  const { resync } = peerDevice;
  if (!resync || !fenceIsPassed(resync, side) || !hasDisk(volume)) return;
  if (side === 'source') return complete(core, resource, volume, peerDevice, resync);
  if (!volume.config.disk.diskFlushes) return completeOrGoOn(core, resource, volume, peerDevice, resync);
  resync.phase = 'flushing';
  flushDisk(core, volume, 'data', { to: 'resync-flush', peer: peerDevice.peer, connectCount: connection.connectCount });
};

/**
 * The flush of the target's data disk has ended. A disk that cannot flush cannot be UpToDate: it is tried again, unless the error costs us
 * the disk. A flush that an earlier connection's resync asked for says nothing about this one's writes.
 */
export const resyncFlushDone = (
  core: Core,
  resource: Resource,
  volume: Volume,
  peerDevice: PeerDevice,
  connection: Connection,
  then: Then & { to: 'resync-flush' },
  _operation: DiskOperation,
  result: OperationResult,
): void => {
  const { resync } = peerDevice;
  if (resync?.phase !== 'flushing' || connection.connectCount !== then.connectCount) return;
  if (result.ok) return completeOrGoOn(core, resource, volume, peerDevice, resync);
  signalDiskError(core, resource, volume, 'write', { sector: 0, sectors: 0 }, `flush at the end of a resync ${result.failure}`);
  goOn(core, resource, volume, peerDevice, resync, FLUSH_RETRY_US);
};

const FLUSH_RETRY_US = 1_000_000;

const goOn = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, resync: ResyncState, afterUs: number): void => {
  resync.phase = 'running';
  if (peerDevice.repl === Conn.SyncTarget) setTimer(core, 'resync-tick', resource.name, peerDevice.peer, volume.number, afterUs);
};

/** A target whose bits were set since it asked for the fence is not done. */
const completeOrGoOn = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, resync: ResyncState): void => {
  if (isComplete(resource, resync, volume, peerDevice)) complete(core, resource, volume, peerDevice, resync);
  else goOn(core, resource, volume, peerDevice, resync, 0);
};

const complete = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, resync: ResyncState): void => {
  observeResync(core, volume, peerDevice, resync, 'finished');
  const failed = resync.targetIsDone ? 0 : failedBits(resync, bitmapOf(peerDevice));
  removeResync(core, resource, volume, peerDevice);
  signal(core, { signal: 'resync-complete', resource: resource.name, volume: volume.number, peer: peerDevice.peer, failedBits: failed });
};

// ---- For a status ------------------------------------------------------------------------------------------------------

export interface ResyncView {
  side: 'source' | 'target';
  totalBits: number;
  leftBits: number;
  failedBits: number;
}

/** Undefined while no resync runs. `leftBits` includes the failed ones. */
export const resyncView = (peerDevice: PeerDevice): ResyncView | undefined => {
  const { resync, bitmap } = peerDevice;
  if (!resync || !bitmap) return undefined;
  return { side: resync.side, totalBits: resync.totalBits, leftBits: bitmap.weight, failedBits: failedBits(resync, bitmap) };
};
