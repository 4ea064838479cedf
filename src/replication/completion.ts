/**
 * The end of a request: when the application is answered, and when the request may be forgotten. These are two moments. The
 * application is answered when the local disk and the peer did what the protocol asks (sync-and-activity-log.md §5.4); the
 * request stays in the transfer log, and its extents stay active, until the peer acknowledged the barrier, since until then
 * a power failure there may still lose it (bugs B011, B012).
 */

import { emit, signal, type Core } from '../model/core.js';
import type { DiskOperation, OperationResult } from '../model/operations.js';
import { without } from '../model/tables.js';
import type { Request, Resource, Volume } from '../model/types.js';
import { connectionTo, isFrozen } from '../model/view.js';
import { Disk } from '../state/states.js';
import { releaseExtents } from '../volume/admission.js';
import { letPass, releaseInterval, useInterval } from '../volume/intervals.js';
import { tryOtherwise } from '../volume/zeroing.js';
import { keepBytes } from '../wire/memory.js';
import { markOutOfSync, settleBits } from './bits.js';
import { closeEpoch } from './epochs.js';
import { hasDisk } from './plan.js';

/** An operation of a request's local part ended (`Then` request). */
export const localPartDone = (core: Core, resource: Resource, volume: Volume, request: Request, operation: DiskOperation, result: OperationResult): void => {
  const more = request.kind === 'write' ? tryOtherwise(core, volume, operation, result) : 0;
  if (request.kind === 'write') request.localOperations += more - 1;
  if (more === 0) request.localFailed ||= !result.ok;
  if (!result.ok && more === 0 && !volume.backing?.failed) {
    signal(core, {
      signal: 'disk-error',
      resource: resource.name,
      volume: volume.number,
      kind: request.kind === 'read' ? 'read' : 'write',
      sector: request.sector,
      sectors: request.sectors,
      detail: `application ${operation.kind} ${result.failure}`,
    });
  }
  if (request.localOperations > 0) return;
  if (request.kind === 'write' && request.localFailed && !volume.backing?.failed) {
    // Answered by the peer's copy alone, it must not be offered as good after a crash.
    return signal(core, { signal: 'write-failed', resource: resource.name, volume: volume.number, purpose: { for: 'failed-write', request: request.id } });
  }
  request.local = request.localFailed ? 'failed' : 'ok';
  if (request.kind !== 'read') {
    letPeerPass(core, resource, volume, request);
    return completeIfDone(core, resource, volume, request);
  }
  if (result.ok) {
    request.data = result.data ?? new Uint8Array(request.sectors * 512);
    completeIfDone(core, resource, volume, request);
    if (!request.completed && result.data) request.data = keepBytes(core.environment, result.data);
    return;
  }
  // What cannot be read here is not equal to the peer's (bug B031), and is read there (bug B158).
  for (const device of volume.peers.values()) markOutOfSync(device, request.sector, request.sectors);
  routeAgain(core, volume, request);
};

/** What became of the disk that failed this write is on disk. */
export const localFailureWritten = (core: Core, resource: Resource, volume: Volume, id: number): void => {
  const request = resource.log.requests.get(id);
  if (request?.local !== 'pending' || !request.localFailed || request.localOperations > 0) return;
  request.local = 'failed';
  letPeerPass(core, resource, volume, request);
  completeIfDone(core, resource, volume, request);
};

/** Our write is on the disk, and its place among the peer's writes is known: the peer's may be written over it (replication/conflicts). */
export const letPeerPass = (core: Core, resource: Resource, volume: Volume, request: Request): void => {
  if (request.kind !== 'write' || request.interval < 0 || request.local === 'pending') return;
  const isUndecided = request.net.some(({ peer, waitsFor }) => waitsFor === 'write-ack' && !connectionTo(resource, peer).resolveConflicts);
  if (!isUndecided) letPass(core, volume, request.interval);
};

/** Routes a read again, with what is known now; peers that refused it are not asked twice. It goes first: it has waited the longest. */
export const routeAgain = (core: Core, volume: Volume, request: Request): void => {
  request.parked = true;
  volume.waiting.unshift(request);
  signal(core, { signal: 'admission', resource: volume.resource, volume: volume.number });
  // Whoever holds the volume waited for this one to end, and now it waits for them.
  if (volume.holds.length > 0) signal(core, { signal: 'procedures', resource: volume.resource });
};

/** Is this a write that went to the peer only, or to a disk before, while there is a disk here now that lacks it? */
export const missesDisk = (volume: Volume, request: Request): boolean =>
  request.kind === 'write' &&
  request.submitted &&
  !request.completed &&
  hasDisk(volume) &&
  (request.local === 'none' || (request.local === 'failed' && request.attachment !== volume.backing!.attachment));

/** Was this write submitted when there was another disk here, or none? What it needs of the present one, extents first, it does not have. */
export const isOfAnotherDisk = (volume: Volume, request: Request): boolean =>
  request.submitted && hasDisk(volume) && request.attachment !== volume.backing!.attachment;

/** Such writes, oldest first: they go their whole way again, to the disk too. Those that are answered already are not answered again. */
export const startAgain = (core: Core, volume: Volume, requests: readonly Request[]): void => {
  for (const request of requests.toReversed()) {
    releaseExtents(core, volume, request, request.sectors);
    request.net = [];
    request.local = 'none';
    request.submitted = false;
    if (request.interval >= 0) useInterval(volume, request.interval, 'waiting');
    if (!request.completed && --volume.writesInFlight === 0 && volume.holds.length > 0) {
      signal(core, { signal: 'writes-drained', resource: volume.resource, volume: volume.number });
    }
    routeAgain(core, volume, request);
  }
};

/** The same with every path open. */
export const retryElsewhere = (core: Core, volume: Volume, request: Request): void => {
  request.net = [];
  routeAgain(core, volume, request);
};

const isWaiting = (request: Request): boolean => {
  if (request.local === 'pending') return true;
  for (const part of request.net) if (part.waitsFor !== 'nothing') return true;
  return false;
};

const succeeded = (volume: Volume, request: Request): boolean => {
  // A write on a disk that is being synced, or given up, is on no good disk either: the next resync may take it away.
  if (request.local === 'ok' && (request.kind === 'read' || volume.disk === Disk.UpToDate)) return true;
  // A write that our disk refused and a target of our resync took is on no good disk.
  for (const part of request.net) if (part.ok && part.onGoodDisk) return true;
  return false;
};

/** Answers the application if nothing is missing and nothing holds the answer back; forgets the request if nothing is expected any more. */
export const completeIfDone = (core: Core, resource: Resource, volume: Volume, request: Request): void => {
  if (!request.completed) {
    if (request.parked || request.retry !== 'no' || isWaiting(request)) return;
    // Frozen: whether the peer's part counts is not decided yet. A new generation is on its way: it must be durable before
    // the application may rely on a write that the peer lacks (D5).
    if (isFrozen(resource) || volume.generationPending) return;
    request.completed = true;
    // What is submitted after this answer may depend on it: another epoch (M7).
    if (request.kind === 'write' && request.epoch === resource.log.epoch) closeEpoch(resource);
    if (isForgettable(request)) forget(core, resource, volume, request);
    answer(core, volume, request);
    releaseRange(core, volume, request);
    if (request.kind === 'write' && request.submitted && --volume.writesInFlight === 0 && volume.holds.length > 0) {
      signal(core, { signal: 'writes-drained', resource: resource.name, volume: volume.number });
    }
    if (volume.waiting.length > 0) signal(core, { signal: 'admission', resource: resource.name, volume: volume.number });
    // Whoever held the rest back waits for this one.
    if (volume.holds.length > 0) signal(core, { signal: 'procedures', resource: resource.name });
    return;
  }
  if (isForgettable(request)) forget(core, resource, volume, request);
  else if (request.interval >= 0 && request.submitted && !request.parked && !isWaiting(request)) {
    // Answered before it had to go its way again: what comes after it waits for its barrier no more than after an answer.
    if (request.epoch === resource.log.epoch) closeEpoch(resource);
    releaseRange(core, volume, request);
  }
};

/** Whoever waited for this range goes on. A request that was answered, or is forgotten, has none. */
const releaseRange = (core: Core, volume: Volume, request: Request): void => {
  if (request.interval < 0) return;
  releaseInterval(core, volume, request.interval);
  request.interval = -1;
};

const isForgettable = (request: Request): boolean => {
  if (request.local === 'pending') return false;
  for (const part of request.net) if (!part.done) return false;
  return true;
};

const forget = (core: Core, resource: Resource, volume: Volume, request: Request): void => {
  if (!resource.log.requests.has(request.id)) return;
  resource.log.requests = without(resource.log.requests, request.id);
  // Bits before extents: in between the block would be covered by nothing (D3).
  if (request.kind === 'write') settleBits(core, volume, request);
  releaseExtents(core, volume, request, request.sectors);
  releaseRange(core, volume, request);
  // A demotion waits for this, and whoever holds the volume.
  if (resource.log.requests.size === 0 || volume.holds.length > 0) signal(core, { signal: 'procedures', resource: resource.name });
};

const answer = (core: Core, volume: Volume, request: Request): void => {
  const { application } = request;
  if (!succeeded(volume, request)) application.failed = true;
  else if (request.kind === 'write') volume.answeredWithoutDisk ||= !hasDisk(volume);
  else if (request.kind === 'read' && application.data) {
    if (request.data) application.data.set(request.data, (request.sector - application.sector) * 512);
  }
  if (--application.pending > 0) return;
  const { resource, number } = volume;
  const { id } = application;
  const data = request.kind === 'read' ? (application.data ?? request.data) : undefined;
  if (application.failed) emit(core, { type: 'app-failed', resource, volume: number, id, error: 'EIO' });
  else if (data) emit(core, { type: 'app-done', resource, volume: number, id, data });
  else emit(core, { type: 'app-done', resource, volume: number, id });
};

/** A request that cannot go anywhere: EIO. */
export const failRequest = (core: Core, resource: Resource, volume: Volume, request: Request): void => {
  if (request.local === 'pending') request.local = 'failed';
  completeIfDone(core, resource, volume, request);
};

/** The disk did not take what answers wait for: their local parts failed after all. */
export const disownLocalWrites = (resource: Resource, volume: Volume): void => {
  for (const request of resource.log.requests.values()) {
    if (request.volume === volume.number && request.kind !== 'read' && !request.completed && request.local === 'ok') request.local = 'failed';
  }
};

/** What held answers back is over (thaw, new generation durable): everything that is complete is answered. */
export const answerHeld = (core: Core, resource: Resource): void => {
  for (const request of [...resource.log.requests.values()]) {
    if (!request.completed) completeIfDone(core, resource, resource.volumes.get(request.volume)!, request);
  }
};
