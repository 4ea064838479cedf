/**
 * The hub of a resource: where inputs, ends of disk operations, timers and signals of the rooms below find what handles them.
 * One write's way through the house starts here: `applicationWrite` → volume/admission → replication/submit.
 */

import type { Input } from '../contract/input.js';
import { startKeepalive } from '../connection/keepalive.js';
import { loseConnection } from '../connection/loss.js';
import { connectionTimer, isConnectionTimer } from '../connection/timers.js';
import { assert, emit, signal, type Core } from '../model/core.js';
import type { DiskOperation, OperationResult } from '../model/operations.js';
import type { MetadataPurpose, Signal } from '../model/signals.js';
import type { Timer } from '../model/timers.js';
import type { ApplicationRequest, Connection, Procedure, Request, Resource, Volume } from '../model/types.js';
import { connectionTo, deviceOf, volumeOf } from '../model/view.js';
import { transportTook } from '../replication/acks.js';
import { localFailureWritten, localPartDone } from '../replication/completion.js';
import { retryIfDue } from '../replication/conflicts.js';
import { sendDueBarrier } from '../replication/epochs.js';
import { epochFlushDone, finishEpochs, peerReadDone, peerFailureWritten, peerReadMayGoOn, peerWriteDone, peerWriteMayStart, startPeerWrite } from '../replication/receiver.js';
import { maxWriteBytes, ZEROS_SECTORS_MAX } from '../replication/on-wire.js';
import { endBatch, submit } from '../replication/submit.js';
import { sendBitmap } from '../resync/bitmap-exchange.js';
import { bitsCleared, checkFinished, fencePassed, resyncFlushDone } from '../resync/lifecycle.js';
import { readIntervalStarted, resyncReadDone, serveDelayed } from '../resync/source.js';
import { ownBlocksRead, resyncTick, resyncWriteDone, writeIntervalStarted } from '../resync/target.js';
import { verifyFencePassed, verifyIntervalStarted, verifyReadDone, verifyTick } from '../resync/verify.js';
import { Conn, Disk, Role } from '../state/states.js';
import { commitOrWrite, holdReason, takeAdmitted, takeCommitted } from '../volume/admission.js';
import { attachOperationDone, diskOpened, diskOpenFailed } from '../volume/attach.js';
import { findInterval } from '../volume/intervals.js';
import { abandonJobs, isSuperblockDirty, metadataOperationDone, queueSuperblock } from '../volume/metadata-io.js';
import { devicesResized } from '../volume/size.js';
import { keepBytes } from '../wire/memory.js';
import { attach, attachEnded, detach, fullSyncWritten, invalidate, newCurrentUuid, outdate, pauseSync, resumeIo, suspendIo } from './administration.js';
import { runWorker, sendBitmapIfQuiet, workerGoesOn } from './after-change.js';
import { sendParameters } from './announce.js';
import { allVolumes, beginGeneration, changeState } from './change.js';
import { congestionTimer, relieve } from './congestion.js';
import { replyMayGo } from './consent.js';
import { connect, disconnect } from './disconnect.js';
import { checkDiskAge, watchDisk } from './disk-age.js';
import { attachFailed, attachPrepared, closeIfQuiet, detachWritten, diskError } from './disk.js';
import { takeDown } from './down.js';
import { fencingEnded } from './fencing.js';
import { handlerMayRun } from './handlers.js';
import { connectionLost, connectionRefused, continueLoss, lossMetadataWritten } from './loss.js';
import { changeOptions } from './options.js';
import { handlePackets } from './packets.js';
import { demote, promote } from './promote.js';
import { checkRequestAge, startRequestTimer } from './request-age.js';
import { resize } from './resize.js';
import { beforeResyncEnded, beginAsSource } from './resync-begin.js';
import { resyncComplete } from './resync-end.js';
import { verify, verifyComplete } from './verify.js';

// ---- The application ----------------------------------------------------------------------------------------------------

type ApplicationInput = Extract<Input, { type: 'app-read' | 'app-write' | 'app-write-zeroes' | 'app-discard' | 'app-flush' }>;

const newRequest = (core: Core, input: ApplicationInput): Request => {
  const sector = input.type === 'app-flush' ? 0 : input.sector;
  return requestFor(core, { id: input.id, sector, pending: 1, failed: false, data: undefined }, {
    kind: input.type === 'app-read' ? 'read' : input.type === 'app-flush' ? 'flush' : 'write',
    content: input.type === 'app-discard' ? 'discard' : input.type === 'app-write-zeroes' ? (input.mayUnmap ? 'zeroes-unmap' : 'zeroes') : 'data',
    volume: input.volume,
    sector,
    sectors: input.type === 'app-flush' ? 0 : input.type === 'app-write' ? input.data.length / 512 : input.sectors,
    data: input.type === 'app-write' ? keepBytes(core.environment, input.data) : undefined,
    fua: input.type === 'app-write' && input.fua,
  });
};

const requestFor = (core: Core, application: ApplicationRequest, what: Pick<Request, 'kind' | 'content' | 'volume' | 'sector' | 'sectors' | 'data' | 'fua'>): Request => ({
  id: ++core.state.lastRequest,
  application,
  // One by one: a spread behind other fields goes V8's slow way.
  kind: what.kind,
  content: what.content,
  volume: what.volume,
  sector: what.sector,
  sectors: what.sectors,
  data: what.data,
  fua: what.fua,
  epoch: -1,
  local: 'none',
  localOperations: 0,
  localFailed: false,
  net: [],
  completed: false,
  interval: -1,
  inActivityLog: false,
  attachment: -1,
  submitted: false,
  parked: false,
  retry: 'no',
});

/** 1 MiB: larger requests are the driver's to split (sync-and-activity-log.md §2); zeros and discards may be 128 MiB. */
const REQUEST_SECTORS_MAX = 2048;

/** A request of the application. A Secondary serves nobody; what cannot be a request is refused at once. */
export const applicationRequest = (core: Core, resource: Resource, volume: Volume, input: ApplicationInput): void => {
  const refuse = (error: 'EROFS' | 'EINVAL'): void => emit(core, { type: 'app-failed', resource: resource.name, volume: volume.number, id: input.id, error });
  if (resource.role !== Role.Primary) return refuse('EROFS');
  const request = newRequest(core, input);
  const fits = request.sectors > 0 && Number.isInteger(request.sectors) && request.sectors <= maxSectorsOf(request) && request.sector >= 0 && request.sector + request.sectors <= volume.sizeSectors;
  if (request.kind !== 'flush' && !fits) return refuse('EINVAL');
  volume.waiting.push(request);
  admit(core, resource, volume);
};

const maxSectorsOf = ({ content }: Request): number => (content === 'data' ? REQUEST_SECTORS_MAX : ZEROS_SECTORS_MAX);

/** Peers may take less at a time (old versions, no P_TRIM): requests that did not begin yet are cut into parts (bug B024: one answer for all). */
const splitForPeer = (core: Core, resource: Resource, volume: Volume): void => {
  const maxSectors = (request: Request): number => {
    let max = maxSectorsOf(request);
    for (const connection of resource.connections.values()) if (connection.protocolVersion > 0) max = Math.min(max, maxWriteBytes(connection, request.content) / 512);
    return max;
  };
  const isTooLarge = (request: Request): boolean => !request.inActivityLog && request.interval < 0 && request.sectors > maxSectors(request);
  if (!volume.waiting.some(isTooLarge)) return;
  volume.waiting = volume.waiting.flatMap((request) => (isTooLarge(request) ? partsOf(core, request, maxSectors(request)) : [request]));
};

const partsOf = (core: Core, request: Request, maxSectors: number): Request[] => {
  const { application, kind, content, volume, fua } = request;
  const parts: Request[] = [];
  for (let at = 0; at < request.sectors; ) {
    const sector = request.sector + at;
    // Discards are cut where granules of the disk begin.
    const sectors = Math.min(content === 'data' ? maxSectors : maxSectors - (sector % maxSectors), request.sectors - at);
    const data = request.data?.subarray(at * 512, (at + sectors) * 512);
    parts.push(requestFor(core, application, { kind, content, volume, sector, sectors, data, fua }));
    at += sectors;
  }
  application.pending += parts.length - 1;
  if (kind === 'read') application.data ??= new Uint8Array(request.sectors * 512);
  return parts;
};

/** Lets waiting requests go, as far as they may now. */
const admit = (core: Core, resource: Resource, volume: Volume): void => {
  splitForPeer(core, resource, volume);
  const { requests, peerWrites } = takeAdmitted(resource, volume);
  for (const { peer, write } of peerWrites) startPeerWrite(core, volume, connectionTo(resource, peer), write);
  submitAll(core, resource, volume, requests);
  limitWaiting(core, volume);
};

/** In order; a write that finds the connection congested may change where it and those behind it go: they wait until that is worked off. */
const submitAll = (core: Core, resource: Resource, volume: Volume, requests: readonly Request[]): void => {
  for (const [at, request] of requests.entries()) {
    if (request.kind === 'write' && relieve(core, resource, volume)) {
      volume.waiting = [...requests.slice(at), ...volume.waiting];
      return;
    }
    submit(core, resource, volume, request);
  }
};

/** So many requests wait for a volume at most, their payload with them; then the driver holds further ones back until half of them have gone. */
const WAITING_MAX = 64;

const limitWaiting = (core: Core, volume: Volume): void => {
  const admits = volume.admits ? volume.waiting.length < WAITING_MAX : volume.waiting.length <= WAITING_MAX / 2;
  if (admits === volume.admits) return;
  volume.admits = admits;
  emit(core, { type: 'admit', resource: volume.resource, volume: volume.number, on: admits });
};

export const opened = (resource: Resource, volume: Volume, who: string): void => {
  assert(resource.volumes.has(volume.number), 'the volume is of this resource');
  volume.openers.push(who);
};

export const closed = (core: Core, resource: Resource, volume: Volume, who: string): void => {
  const at = volume.openers.indexOf(who);
  if (at >= 0) volume.openers.splice(at, 1);
  signal(core, { signal: 'procedures', resource: resource.name });
};

// ---- Disks --------------------------------------------------------------------------------------------------------------

export const diskInput = (core: Core, volume: Volume, input: Extract<Input, { type: 'disk-opened' | 'disk-resized' | 'disk-open-failed' }>): void => {
  if (input.type === 'disk-opened') diskOpened(core, volume, input);
  else if (input.type === 'disk-resized') devicesResized(volume, input);
  else diskOpenFailed(core, volume, input.reason);
  watchDisk(core, volume);
  // A forced detach waits for the driver's answer.
  signal(core, { signal: 'procedures', resource: volume.resource });
};

/** A disk operation ended: to whom it belongs its `then` says. */
export const operationDone = (core: Core, resource: Resource, operation: DiskOperation, result: OperationResult): void => {
  const volume = volumeOf(resource, operation.volume);
  if (volume.backing?.attachment === operation.attachment) volume.backing.operationsInFlight--;
  tellOwner(core, resource, volume, operation, result);
  const backing = volume.backing;
  if (backing?.failed && backing.operationsInFlight === 0) signal(core, { signal: 'disk-quiet', resource: resource.name, volume: volume.number });
};

const tellOwner = (core: Core, resource: Resource, volume: Volume, operation: DiskOperation, result: OperationResult): void => {
  const { then } = operation;
  switch (then.to) {
    case 'metadata':
      metadataOperationDone(core, volume, operation, result);
      break;
    case 'attach':
      attachOperationDone(core, volume, operation, then, result);
      break;
    case 'request': {
      const request = resource.log.requests.get(then.request);
      if (!request) break;
      localPartDone(core, resource, volume, request, operation, result);
      retryIfDue(core, volume, request);
      break;
    }
    case 'peer-write':
      peerWriteDone(core, resource, volume, connectionTo(resource, then.peer), operation, then.write, result);
      break;
    case 'peer-read':
      peerReadDone(core, volume, connectionTo(resource, then.peer), then, result);
      break;
    case 'epoch-flush':
      epochFlushDone(core, resource, volume, connectionTo(resource, then.peer), then, result);
      break;
    case 'resync-read':
      resyncReadDone(core, resource, volume, deviceOf(volume, then.peer), connectionTo(resource, then.peer), then, operation, result);
      break;
    case 'resync-digest':
      ownBlocksRead(core, resource, volume, deviceOf(volume, then.peer), connectionTo(resource, then.peer), then, result);
      break;
    case 'resync-write':
      resyncWriteDone(core, resource, volume, deviceOf(volume, then.peer), connectionTo(resource, then.peer), then, operation, result);
      break;
    case 'verify-read':
      verifyReadDone(core, resource, volume, deviceOf(volume, then.peer), connectionTo(resource, then.peer), then, operation, result);
      break;
    case 'resync-flush':
      resyncFlushDone(core, resource, volume, deviceOf(volume, then.peer), connectionTo(resource, then.peer), then, operation, result);
      break;
    case 'loss-flush':
      if (!result.ok) diskError(core, resource, volume, 'write', `flush ${result.failure}`);
      lossMetadataWritten(core, resource, connectionTo(resource, then.peer));
      break;
    case 'nobody':
      break;
  }
};

/** Detached by force: whoever waits for the disk is told that it failed; it may hang for ever (bug B167). What ends later is only counted. */
const abandonDisk = (core: Core, resource: Resource, volume: Volume): void => {
  const { backing } = volume;
  if (!backing || volume.disk > Disk.Failed) return;
  if (!backing.failed) abandonJobs(core, volume);
  for (const operation of [...core.state.operations.values()]) {
    if (operation.resource !== resource.name || operation.volume !== volume.number || operation.attachment !== backing.attachment) continue;
    // Before its owner is told: who looks whether the disk is still at something of his must not find it.
    const ended = { ...operation };
    operation.then = { to: 'nobody' };
    tellOwner(core, resource, volume, ended, { ok: false, failure: 'aborted' });
  }
  closeIfQuiet(core, resource, volume);
};

// ---- Passes and timers ------------------------------------------------------------------------------------------------------

/** Everything that had arrived was handed over: batches go out (one transaction for all cold extents, hints, barriers on idle). */
export const passEnded = (core: Core, resource: Resource): void => {
  for (const volume of resource.volumes.values()) commitOrWrite(core, volume);
  for (const connection of resource.connections.values()) {
    for (const volume of resource.volumes.values()) endBatch(core, connection, deviceOf(volume, connection.peer), volume.number);
    if (!connection.loss && connection.sender.epochs.length > 0) sendDueBarrier(core, connection, resource.log.epoch);
  }
};

export const timerDue = (core: Core, resource: Resource, timer: Timer): void => {
  if (isConnectionTimer(timer.kind)) return connectionTimer(core, timer);
  if (timer.kind === 'promote-retry') return runProcedure(core, resource, resource.procedures.get(timer.volume));
  if (timer.kind === 'early-write') return loseConnection(core, connectionTo(resource, timer.peer), 'ProtocolError', 'acknowledgements that a write of the peer comes after are missing');
  if (timer.kind === 'request-age') return checkRequestAge(core, resource, connectionTo(resource, timer.peer));
  const volume = volumeOf(resource, timer.volume);
  if (timer.kind === 'disk-age') return checkDiskAge(core, resource, volume);
  const connection = connectionTo(resource, timer.peer);
  const device = deviceOf(volume, timer.peer);
  switch (timer.kind) {
    case 'resync-tick':
      if (device.verify) return verifyTick(core, resource, volume, device, connection);
      return resyncTick(core, resource, volume, device, connection);
    case 'serve-delay':
      return serveDelayed(core, resource, volume, device, connection);
    case 'finish-retry':
      return checkFinished(core, resource, volume, device, connection);
    case 'leave-ahead':
      return congestionTimer(core, resource, volume, connection, device);
    default:
      assert(false, `timer ${timer.kind} has no owner`);
  }
};

// ---- Signals --------------------------------------------------------------------------------------------------------------------

export const handleSignal = (core: Core, resource: Resource, value: Signal): void => {
  switch (value.signal) {
    case 'streams-ready':
      return streamsReady(core, resource, connectionTo(resource, value.peer));
    case 'connection-lost':
      // One that was given before we closed the streams ourselves is of the connection before.
      if (!connectionTo(resource, value.peer).session.isOver) return;
      return connectionLost(core, resource, connectionTo(resource, value.peer), value.reason, value.detail);
    case 'connection-refused':
      return connectionRefused(core, resource, connectionTo(resource, value.peer), value.detail);
    case 'packets-waiting':
      return handlePackets(core, resource, connectionTo(resource, value.peer));
    case 'bytes-sent':
      return transportTook(core, resource, connectionTo(resource, value.peer));
    case 'ping-acknowledged': {
      const [what, , side] = value.purpose.split('-') as [string, string, 'source' | 'target'];
      const connection = connectionTo(resource, value.peer);
      for (const volume of resource.volumes.values()) {
        const device = deviceOf(volume, value.peer);
        if (what === 'resync') fencePassed(core, resource, volume, device, connection, side);
        if (what === 'verify') verifyFencePassed(core, resource, volume, device, side);
      }
      return;
    }
    case 'metadata-written':
      return metadataWritten(core, resource, volumeOf(resource, value.volume), value.purpose, value.ok);
    case 'interval-started':
      return rangeIsFree(core, resource, volumeOf(resource, value.volume), value.interval);
    case 'disk-error':
      return diskError(core, resource, volumeOf(resource, value.volume), value.kind, value.detail);
    case 'write-failed':
      return writeFailed(core, resource, volumeOf(resource, value.volume), value.purpose);
    case 'attach-prepared':
      return attachPrepared(core, resource, volumeOf(resource, value.volume));
    case 'attach-failed':
      attachFailed(core, resource, volumeOf(resource, value.volume), value.code, value.detail);
      return attachEnded(core, resource, volumeOf(resource, value.volume), value.code);
    case 'disk-abandoned':
      return abandonDisk(core, resource, volumeOf(resource, value.volume));
    case 'disk-quiet':
      return closeIfQuiet(core, resource, volumeOf(resource, value.volume));
    case 'extents-active': {
      const volume = volumeOf(resource, value.volume);
      const { requests, peerWrites } = takeCommitted(volume);
      for (const { peer, write } of peerWrites) startPeerWrite(core, volume, connectionTo(resource, peer), write);
      // What was held back meanwhile waits with its extents.
      if (holdReason(resource, volume) !== undefined) volume.waiting = [...requests, ...volume.waiting];
      else submitAll(core, resource, volume, requests);
      // A resize that moves the log waits for it to be idle, and this may have been the last thing under way.
      if (volume.holds.length > 0) signal(core, { signal: 'procedures', resource: resource.name });
      return admit(core, resource, volume);
    }
    case 'admission':
      return admit(core, resource, volumeOf(resource, value.volume));
    case 'generation-begins':
      return beginGeneration(core, resource, volumeOf(resource, value.volume), connectionTo(resource, value.peer), 'first write of a diskless Primary');
    case 'epoch-progress':
      return finishEpochs(core, resource, connectionTo(resource, value.peer));
    case 'receiver-quiet':
      return continueLoss(core, resource, connectionTo(resource, value.peer));
    case 'bits-cleared': {
      const volume = volumeOf(resource, value.volume);
      return bitsCleared(core, resource, volume, deviceOf(volume, value.peer), connectionTo(resource, value.peer));
    }
    case 'writes-drained':
      sendBitmapIfQuiet(core, resource, volumeOf(resource, value.volume));
      return runWaiting(core, resource);
    case 'bitmap-received':
      return bitmapReceived(core, resource, volumeOf(resource, value.volume), connectionTo(resource, value.peer));
    case 'resync-complete': {
      const volume = volumeOf(resource, value.volume);
      return resyncComplete(core, resource, volume, connectionTo(resource, value.peer), deviceOf(volume, value.peer), value.failedBits);
    }
    case 'verify-complete': {
      const volume = volumeOf(resource, value.volume);
      return verifyComplete(core, resource, volume, connectionTo(resource, value.peer), deviceOf(volume, value.peer));
    }
    case 'handler-exited':
      // These are waited for; the others tell somebody something.
      if (value.name === 'fence-peer' && resource.fencing?.handler === value.handler) fencingEnded(core, resource, value.exitCode);
      if (value.name === 'before-resync-target' || value.name === 'before-resync-source') beforeResyncEnded(core, resource, value.handler, value.exitCode);
      return;
    case 'resource-idle':
      return assert(false, 'the node takes resources away');
    case 'worker':
      runWorker(core, resource);
      for (const connection of resource.connections.values()) continueLoss(core, resource, connection);
      return;
    case 'procedure':
      return runProcedure(core, resource, resource.procedures.get(value.procedure));
    case 'procedures':
      return runWaiting(core, resource);
  }
};

/**
 * Both streams are up and the features are agreed: our parameters go out (wire-protocol.md §3.1). A new generation that is on its way to
 * the disk goes first: both sides decide on what they say, and it must neither be unheard of there nor come in the middle (D6, failover 1148).
 */
const streamsReady = (core: Core, resource: Resource, connection: Connection): void => {
  if (connection.loss || connection.cstate !== Conn.WFConnection) return;
  if (resource.worker.length > 0) {
    connection.parametersDue = true;
    return;
  }
  if (connection.parametersDue) signal(core, { signal: 'packets-waiting', resource: resource.name, peer: connection.peer });
  connection.parametersDue = false;
  connection.connectCount++;
  for (const volume of resource.volumes.values()) {
    const device = deviceOf(volume, connection.peer);
    device.sequence = 0;
    device.peerSequence = 0;
    device.generationDueOnWrite = false;
    device.toldToSkip = false;
    device.peerUuids = undefined;
    device.peerDiskSectors = 0;
  }
  sendParameters(core, resource, connection);
  connection.stateSent = true;
  changeState(core, resource, allVolumes(resource), connection, { conn: Conn.WFReportParams }, 'hard', 'handshake');
  startKeepalive(core, connection);
  startRequestTimer(core, connection);
};

const metadataWritten = (core: Core, resource: Resource, volume: Volume, purpose: MetadataPurpose, ok: boolean): void => {
  switch (purpose.for) {
    case 'worker':
      workerGoesOn(core, resource);
      for (const connection of resource.connections.values()) continueLoss(core, resource, connection);
      return;
    case 'procedure': {
      const procedure = resource.procedures.get(purpose.procedure);
      if (!procedure || --procedure.pending > 0) return;
      return runProcedure(core, resource, procedure);
    }
    case 'full-sync':
      return fullSyncWritten(core, resource, volume, connectionTo(resource, purpose.peer), purpose.next, ok);
    case 'reply-to-peer':
      return replyMayGo(core, connectionTo(resource, purpose.peer));
    case 'attach':
      return attachEnded(core, resource, volume, ok ? ATTACHED : META_IO_ERROR);
    case 'detach':
      return detachWritten(core, resource, volume);
    case 'connection-loss':
      return lossMetadataWritten(core, resource, connectionTo(resource, purpose.peer));
    case 'handler':
      return handlerMayRun(core, resource, purpose.handler);
    case 'failed-write':
      return localFailureWritten(core, resource, volume, purpose.request);
    case 'failed-peer-write':
      return peerFailureWritten(core, volume, connectionTo(resource, purpose.peer), purpose.write);
    case 'nobody':
      return;
  }
};

/** A disk that is kept (on-io-error pass_on) says that it is bad by its superblock; one that is given up says so on its own way. */
const writeFailed = (core: Core, resource: Resource, volume: Volume, purpose: MetadataPurpose): void => {
  if (volume.backing && isSuperblockDirty(volume.backing)) queueSuperblock(core, volume, purpose);
  else metadataWritten(core, resource, volume, purpose, true);
};

/** DRBD's results of an attach. */
const ATTACHED = 101;
const META_IO_ERROR = 118;

/** A range that waited for earlier ones is free: whose it was goes on. */
const rangeIsFree = (core: Core, resource: Resource, volume: Volume, id: number): void => {
  const interval = findInterval(volume, id);
  if (!interval) return;
  switch (interval.kind) {
    case 'own-read':
    case 'own-write': {
      const request = resource.log.requests.get(interval.owner);
      assert(request !== undefined, 'a waiting range belongs to a request');
      // It may be in a queue already, told to go before a write of the peer went first.
      if (volume.waiting.includes(request) || volume.backing?.activityLog.waitingForCommit.includes(request)) return;
      // Its turn is looked at anew: the volume may be held now, or have another disk, whose log does not know of it.
      volume.waiting.unshift(request);
      return admit(core, resource, volume);
    }
    case 'peer-write':
      return peerWriteMayStart(core, resource, volume, connectionTo(resource, interval.peer), interval.owner);
    case 'peer-read':
    case 'peer-reply':
      return peerReadMayGoOn(core, volume, connectionTo(resource, interval.peer), interval);
    case 'resync-read':
      return readIntervalStarted(core, resource, volume, deviceOf(volume, interval.peer), connectionTo(resource, interval.peer), interval);
    case 'resync-write':
      return writeIntervalStarted(core, resource, volume, deviceOf(volume, interval.peer), connectionTo(resource, interval.peer), interval);
    case 'verify-request':
    case 'verify-read':
      return verifyIntervalStarted(core, volume, deviceOf(volume, interval.peer), connectionTo(resource, interval.peer), interval);
    case 'resync-request':
      assert(false, 'a resync request never waits for a range');
  }
};

/** The peer's bitmap is merged: a target answers with the union and waits for the sync UUID, a source starts (wire-protocol.md §6.1). */
const bitmapReceived = (core: Core, resource: Resource, volume: Volume, connection: Connection): void => {
  const device = deviceOf(volume, connection.peer);
  if (device.repl === Conn.WFBitMapT) {
    sendBitmap(core, resource, volume, device, connection);
    changeState(core, resource, [volume], connection, { conn: Conn.WFSyncUUID }, 'hard', 'bitmaps merged');
  } else if (device.repl === Conn.WFBitMapS) {
    beginAsSource(core, resource, volume, connection, device, 'bitmaps merged');
  }
};

// ---- Procedures -------------------------------------------------------------------------------------------------------------------

const runProcedure = (core: Core, resource: Resource, procedure: Procedure | undefined): void => {
  if (!procedure) return;
  procedure.waits = 'nothing';
  const { what } = procedure;
  switch (what.verb) {
    case 'primary':
      return promote(core, resource, procedure, what);
    case 'secondary':
      return demote(core, resource, procedure);
    case 'connect':
      return connect(core, resource, procedure, what);
    case 'disconnect':
      return disconnect(core, resource, procedure, what);
    case 'attach':
      return attach(core, resource, procedure, what);
    case 'detach':
      return detach(core, resource, procedure, what);
    case 'outdate':
      return outdate(core, resource, procedure, what);
    case 'invalidate':
      return invalidate(core, resource, procedure, what.volume, 'target');
    case 'invalidate-remote':
      return invalidate(core, resource, procedure, what.volume, 'source');
    case 'pause-sync':
      return pauseSync(core, resource, procedure, what.volume, true);
    case 'resume-sync':
      return pauseSync(core, resource, procedure, what.volume, false);
    case 'verify':
      return verify(core, resource, procedure, what);
    case 'suspend-io':
      return suspendIo(core, resource, procedure);
    case 'resume-io':
      return resumeIo(core, resource, procedure);
    case 'new-current-uuid':
      return newCurrentUuid(core, resource, procedure, what);
    case 'options':
      return changeOptions(core, resource, procedure, what);
    case 'resize':
      return resize(core, resource, procedure, what);
    case 'down':
      return takeDown(core, resource, procedure);
    case 'new-resource':
    case 'del-resource':
      return assert(false, `${what.verb} is the node's`);
  }
};

/** Starts a procedure that was put into the table. */
export const startProcedure = runProcedure;

/** States changed: whoever waits for that tries again. */
const runWaiting = (core: Core, resource: Resource): void => {
  for (const volume of resource.volumes.values()) attachPrepared(core, resource, volume);
  for (const procedure of [...resource.procedures.values()]) {
    if (procedure.waits === 'state' && resource.procedures.has(procedure.id)) runProcedure(core, resource, procedure);
  }
};
