/**
 * May a request be submitted here and now? Requests wait in order while I/O is held (suspended, a bitmap is on its way, a
 * disk is attaching) and while the activity log has no room for them (node-states.md §10, sync-and-activity-log.md §2).
 */

import { signal, type Core } from '../model/core.js';
import type { PeerWrite, Request, Resource, Volume } from '../model/types.js';
import { Conn, Disk } from '../state/states.js';
import { commitChanges, getExtents, putExtents } from './activity-log.js';
import { queueTransaction } from './metadata-io.js';

/** Why new application I/O on this volume waits, in words for `status`, or undefined. */
export const holdReason = (resource: Resource, volume: Volume): string | undefined => {
  if (resource.susp) return 'suspended by the administrator';
  if (resource.suspNod) return 'suspended: no data accessible';
  if (resource.suspFen) return 'suspended: fencing';
  if (volume.holds.length > 0) return `held: ${volume.holds[0]}`;
  if (volume.disk === Disk.Attaching || volume.disk === Disk.Negotiating) return 'the disk is attaching';
  // The peer must hear of a change before it gets what was planned on it: that our disk is gone and its own is the only one.
  if (resource.worker.some((change) => change.volume === volume.number)) return 'a state change is being worked off';
  for (const device of volume.peers.values()) {
    if (device.repl === Conn.WFBitMapT || device.repl === Conn.WFSyncUUID) return 'waiting for the bitmap exchange';
    if (device.repl === Conn.WFBitMapS && resource.connections.get(device.peer)!.protocolVersion < 96) return 'waiting for the bitmap exchange';
  }
  return undefined;
};

/** Does a write here need an active extent before it may go anywhere (D1)? */
const needsActivityLog = (volume: Volume): boolean => volume.disk >= Disk.Inconsistent && volume.backing !== undefined && !volume.backing.failed;

const inFlightMax = (resource: Resource): number => {
  let max = Infinity;
  for (const connection of resource.connections.values()) max = Math.min(max, connection.config.net.maxBuffers);
  return max;
};

/** Takes what may be submitted now out of the queues, in order. Cold requests become ready with the next transaction. */
export const takeAdmitted = (resource: Resource, volume: Volume): { requests: Request[]; peerWrites: { peer: string; write: number }[] } => {
  const peerWrites = takePeerWrites(resource, volume);
  const requests: Request[] = [];
  if (volume.waiting.length === 0 || holdReason(resource, volume) !== undefined) return { requests, peerWrites };
  const room = inFlightMax(resource);
  const stay: Request[] = [];
  let stopped = false;
  for (const request of volume.waiting) {
    if (stopped || volume.writesInFlight + requests.length >= room) {
      stay.push(request);
      continue;
    }
    const isCovered = request.inActivityLog && request.attachment === volume.backing?.attachment;
    if (request.kind !== 'write' || isCovered || !needsActivityLog(volume)) {
      requests.push(request);
      continue;
    }
    const log = volume.backing!.activityLog;
    const grant = getExtents(log, request.sector, request.sectors);
    if (grant === 'full') {
      stay.push(request);
      stopped = log.starving;
      continue;
    }
    request.inActivityLog = true;
    request.attachment = volume.backing!.attachment;
    if (grant === 'active') requests.push(request);
    else log.waitingForCommit.push(request);
  }
  volume.waiting = stay;
  return { requests, peerWrites };
};

const takePeerWrites = (resource: Resource, volume: Volume): { peer: string; write: number }[] => {
  const ready: { peer: string; write: number }[] = [];
  // The generation of what a Primary without a disk writes here is durable first: it has no other copy to tell of it.
  while (volume.waitingPeerWrites.length > 0 && !volume.generationPending && !volume.resizing) {
    const next = volume.waitingPeerWrites[0]!;
    const write = resource.connections.get(next.peer)!.receiver.writes.get(next.write)!;
    // One that was meant for a disk that is gone fails on this one, and may keep nothing of its log.
    const needsLog = needsActivityLog(volume) && write.attachment === volume.backing?.attachment;
    const grant = needsLog ? getExtents(volume.backing!.activityLog, write.sector, write.sectors) : 'active';
    if (grant === 'full') break;
    volume.waitingPeerWrites.shift();
    write.inActivityLog = needsLog;
    if (grant === 'active') ready.push(next);
    else volume.backing!.activityLog.peerWritesForCommit.push(next);
  }
  return ready;
};

/** At the end of a pass: all cold extents that were asked for in it go into one transaction. With `al-updates no` none is written. */
export const commitOrWrite = (core: Core, volume: Volume): void => {
  const backing = volume.backing;
  if (!backing || backing.failed) return;
  const log = backing.activityLog;
  if (log.pendingChanges.length === 0 || log.transactionRunning) return;
  if (volume.config.disk.alUpdates) {
    log.transactionRunning = true;
    queueTransaction(core, volume);
  } else {
    signal(core, { signal: 'extents-active', resource: volume.resource, volume: volume.number });
  }
};

/** The transaction is on disk (or needs none): its requests may go. */
export const takeCommitted = (volume: Volume): { requests: Request[]; peerWrites: { peer: string; write: number }[] } => {
  const log = volume.backing?.activityLog;
  if (!log) return { requests: [], peerWrites: [] };
  commitChanges(log);
  log.transactionRunning = false;
  const requests = log.waitingForCommit;
  const peerWrites = log.peerWritesForCommit;
  log.waitingForCommit = [];
  log.peerWritesForCommit = [];
  return { requests, peerWrites };
};

/** The disk is given up: requests that waited for a transaction go back to the head of the queue, without extents (B029). */
export const returnUncommitted = (volume: Volume): void => {
  const log = volume.backing?.activityLog;
  if (!log) return;
  for (const request of log.waitingForCommit) request.inActivityLog = false;
  volume.waiting = [...log.waitingForCommit, ...volume.waiting];
  volume.waitingPeerWrites = [...log.peerWritesForCommit, ...volume.waitingPeerWrites];
  log.waitingForCommit = [];
  log.peerWritesForCommit = [];
};

/** A request or peer write needs its extents no longer. References belong to the attachment that gave them. */
export const releaseExtents = (core: Core, volume: Volume, holder: Request | PeerWrite, sectors: number): void => {
  if (!holder.inActivityLog) return;
  holder.inActivityLog = false;
  if (volume.backing?.attachment !== holder.attachment) return;
  if (putExtents(volume.backing.activityLog, holder.sector, sectors) && (volume.waiting.length > 0 || volume.waitingPeerWrites.length > 0)) {
    signal(core, { signal: 'admission', resource: volume.resource, volume: volume.number });
  }
};
