/**
 * A request that was admitted goes out: to the local disk, to the peer, or both, by one plan made on one snapshot. From here
 * on it is in the transfer log (wire-protocol.md §5.1-§5.6).
 */

import { loseConnection } from '../connection/loss.js';
import { dataStreamEnd, sendPacket } from '../connection/send.js';
import { countOutOfSync } from '../metadata/bitmap.js';
import { assert, flushDisk, readDisk, type Core } from '../model/core.js';
import type { Connection, NetPart, PeerDevice, Request, Resource, Volume } from '../model/types.js';
import { deviceOf, stateOf, volumeOf } from '../model/view.js';
import { Conn, Disk } from '../state/states.js';
import { DataFlag, type BlockId } from '../wire/packets.js';
import { findInterval, registerInterval, useInterval } from '../volume/intervals.js';
import { writeRange } from '../volume/zeroing.js';
import { markForNotice, markOutOfSync } from './bits.js';
import { completeIfDone, failRequest, isOfAnotherDisk, letPeerPass, retryElsewhere, startAgain } from './completion.js';
import { closeEpoch, countSentWrite, isEpochAcknowledged, sendDueBarrier } from './epochs.js';
import { maxWriteBytes, writePacket } from './on-wire.js';
import { hasDisk, mayWrite, planRead, planWrite } from './plan.js';
import { prefersPeer } from './read-balancing.js';
import { nextSequence } from './sequence.js';

const TWO_32 = 2 ** 32;

/** Our ids are a counter; the wire has two halves of 32 bits. */
export const blockIdOf = (id: number): BlockId => ({ high: Math.floor(id / TWO_32), low: id % TWO_32 });
export const requestIdOf = (blockId: BlockId): number => blockId.high * TWO_32 + blockId.low;

/** Submits a request that was admitted; it waits first while an earlier one overlaps it (volume/intervals). */
export const submit = (core: Core, resource: Resource, volume: Volume, request: Request): void => {
  if (request.kind === 'flush') return submitFlush(core, resource, volume, request);
  // It waited while the end of the device was taken away.
  if (request.sector + request.sectors > volume.sizeSectors) {
    resource.log.requests.set(request.id, request);
    request.parked = false;
    request.retry = 'no';
    return failRequest(core, resource, volume, request);
  }
  if (request.interval < 0) {
    const kind = request.kind === 'read' ? 'own-read' : 'own-write';
    const interval = registerInterval(core, volume, kind, request.sector, request.sectors, request.id, '');
    request.interval = interval.id;
    resource.log.requests.set(request.id, request);
  }
  request.parked = !findInterval(volume, request.interval)!.started;
  if (request.parked) return;
  if (request.kind === 'read') submitRead(core, resource, volume, request);
  else submitWrite(core, resource, volume, request);
};

const submitWrite = (core: Core, resource: Resource, volume: Volume, request: Request): void => {
  const local = hasDisk(volume);
  let possible = false;
  const plans: { connection: Connection; device: PeerDevice; plan: ReturnType<typeof planWrite> }[] = [];
  for (const connection of resource.connections.values()) {
    const device = deviceOf(volume, connection.peer);
    const state = stateOf(resource, volume, connection, device);
    possible ||= mayWrite(state);
    plans.push({ connection, device, plan: planWrite(state, connection.protocolVersion) });
  }
  // What our disk took of it before it lost a conflict is not known to the peer.
  if (request.retry !== 'no' && !possible) for (const { device } of plans) markOutOfSync(device, request.sector, request.sectors);
  request.retry = 'no';
  if (!possible && !(local && volume.disk === Disk.UpToDate)) return failRequest(core, resource, volume, request);
  if (!local && !plans.some(({ plan }) => plan.mirror)) return failRequest(core, resource, volume, request);

  request.submitted = true;
  useInterval(volume, request.interval, 'in-use');
  // The log is in the order of submission, also for those that waited for their range: so epochs ascend in it.
  resource.log.requests.delete(request.id);
  resource.log.requests.set(request.id, request);
  request.epoch = resource.log.epoch;
  resource.log.epochWrites++;
  if (!request.completed) volume.writesInFlight++;
  volume.applicationSectors += request.sectors;
  for (const { connection, device, plan } of plans) {
    // Its version fell while the request waited: the next connection finds the request cut to size, this one cannot take it.
    if (plan.mirror && request.sectors * 512 > maxWriteBytes(connection, request.content)) loseConnection(core, connection, 'NetworkFailure', 'a write that is too large for this protocol version');
    else if (plan.mirror) sendWrite(core, connection, device, request, plan.maySetInSync);
    // The bit first, then the notice (M14, bug B005), and only if the peer cannot know it yet.
    else if (plan.announce && markForNotice(device, request.sector, request.sectors) > 0) {
      sendDueBarrier(core, connection, request.epoch);
      sendPacket(core, connection, { packet: 'P_OUT_OF_SYNC', volume: volume.number, sector: request.sector, sizeBytes: request.sectors * 512 });
    }
  }
  if (resource.log.epochWrites >= maxEpochSize(resource)) closeEpoch(resource);
  if (local) {
    request.local = 'pending';
    request.localFailed = false;
    request.localOperations = writeRange(core, volume, request, false, { to: 'request', request: request.id });
  } else {
    letPeerPass(core, resource, volume, request);
  }
};

const maxEpochSize = (resource: Resource): number => {
  let max = Infinity;
  for (const connection of resource.connections.values()) max = Math.min(max, connection.config.net.maxEpochSize);
  return max;
};

/** Sends a write and notes what will end the application's wait (§5.3). Also used to send again after a freeze, with the old epoch. */
export const sendWrite = (core: Core, connection: Connection, device: PeerDevice, request: Request, maySetInSync: boolean, resent = false): void => {
  const protocol = connection.config.net.protocol;
  let flags = 0;
  if (maySetInSync) flags |= DataFlag.MAY_SET_IN_SYNC;
  if (request.fua && connection.protocolVersion >= 95) flags |= DataFlag.FUA;
  if (connection.protocolVersion >= 100) {
    if (protocol === 'B') flags |= DataFlag.SEND_RECEIVE_ACK;
    if (protocol === 'C' || maySetInSync) flags |= DataFlag.SEND_WRITE_ACK;
  }
  sendDueBarrier(core, connection, request.epoch);
  countSentWrite(connection, request.epoch, request.id);
  device.batchedWrites++;
  sendPacket(core, connection, writePacket(connection, request, blockIdOf(request.id), nextSequence(device), flags));
  const part: NetPart = {
    peer: connection.peer,
    connectCount: connection.connectCount,
    waitsFor: protocol === 'A' ? 'transport' : protocol === 'B' ? 'receive-ack' : 'write-ack',
    ok: false,
    onGoodDisk: device.pdsk === Disk.UpToDate,
    isAsync: protocol === 'A',
    setInSync: false,
    done: false,
    sentAtUs: core.nowUs,
    resent,
  };
  if (protocol === 'A') connection.sender.awaitingTransport.push({ request: request.id, endBytes: dataStreamEnd(connection) });
  const known = request.net.findIndex(({ peer }) => peer === connection.peer);
  if (known < 0) request.net.push(part);
  else request.net[known] = part;
};

/**
 * The pass is over: a peer that got several writes in it is told that it need not wait for more before it submits them (§5.8). A mere hint:
 * one write goes without.
 */
export const endBatch = (core: Core, connection: Connection, device: PeerDevice, volume: number): void => {
  if (device.batchedWrites > 1) sendPacket(core, connection, { packet: 'P_UNPLUG_REMOTE', volume });
  device.batchedWrites = 0;
};

const submitRead = (core: Core, resource: Resource, volume: Volume, request: Request): void => {
  // What another disk could not read, or one that was taken away under the read, this one may.
  const localFailed = request.local === 'failed' && request.attachment === volume.backing?.attachment;
  for (const connection of resource.connections.values()) {
    const device = deviceOf(volume, connection.peer);
    const bits = device.bitmap ? countOutOfSync(device.bitmap, request.sector, request.sectors) : 0;
    const state = stateOf(resource, volume, connection, device);
    const route = planRead(state, bits > 0, localFailed || !hasDisk(volume));
    // A peer that could not read it is not asked again on this connection.
    const wasRefused = request.net.some(({ peer, connectCount }) => peer === connection.peer && connectCount === connection.connectCount);
    const isSentAway = route === 'either' && !wasRefused && prefersPeer(resource, volume, connection, request);
    if (route === 'local' || (route === 'either' && !isSentAway)) return readLocally(core, volume, request);
    if (route !== 'nowhere' && !wasRefused) return readRemotely(core, resource, connection, request);
  }
  if (resource.connections.size === 0 && hasDisk(volume) && !localFailed && volume.disk === Disk.UpToDate) return readLocally(core, volume, request);
  failRequest(core, resource, volume, request);
};

const readLocally = (core: Core, volume: Volume, request: Request): void => {
  request.local = 'pending';
  request.localFailed = false;
  request.attachment = volume.backing!.attachment;
  readDisk(core, volume, 'data', request.sector, request.sectors, { to: 'request', request: request.id });
};

/** P_DATA_REQUEST (§5.10). */
export const readRemotely = (core: Core, resource: Resource, connection: Connection, request: Request): void => {
  request.net = [
    { peer: connection.peer, connectCount: connection.connectCount, waitsFor: 'data', ok: false, onGoodDisk: true, isAsync: false, setInSync: false, done: false, sentAtUs: core.nowUs, resent: false },
  ];
  sendDueBarrier(core, connection, resource.log.epoch);
  sendPacket(core, connection, {
    packet: 'P_DATA_REQUEST',
    volume: request.volume,
    sector: request.sector,
    blockId: blockIdOf(request.id),
    sizeBytes: request.sectors * 512,
  });
};

/**
 * A flush covers every write that was complete when it came: the local disk is flushed, and with protocol C the peer
 * acknowledges the barrier of the last epoch, which our receiver does when its own disks are flushed (design: guarantees).
 */
const submitFlush = (core: Core, resource: Resource, volume: Volume, request: Request): void => {
  resource.log.requests.set(request.id, request);
  request.submitted = true;
  closeEpoch(resource);
  request.epoch = (resource.log.epoch - 1) >>> 0;
  for (const connection of resource.connections.values()) {
    const device = deviceOf(volume, connection.peer);
    if (connection.cstate < Conn.WFReportParams || !planWrite(stateOf(resource, volume, connection, device), connection.protocolVersion).mirror) continue;
    sendDueBarrier(core, connection, resource.log.epoch);
    const waits = connection.config.net.protocol === 'C' && !isEpochAcknowledged(connection, request.epoch);
    request.net.push({
      peer: connection.peer,
      connectCount: connection.connectCount,
      waitsFor: waits ? 'barrier-ack' : 'nothing',
      ok: !waits,
      onGoodDisk: device.pdsk === Disk.UpToDate,
      isAsync: false,
      setInSync: false,
      done: !waits,
      sentAtUs: core.nowUs,
      resent: false,
    });
  }
  if (hasDisk(volume)) {
    if (volume.config.disk.diskFlushes) {
      request.local = 'pending';
      flushDisk(core, volume, 'data', { to: 'request', request: request.id });
    } else {
      request.local = 'ok';
    }
  }
  completeIfDone(core, resource, volume, request);
};

/**
 * Requests of a freeze that no barrier acknowledgement covers are sent again, in their old order and with their old epochs (§5.6, RESEND): writes first,
 * since a read would close the epoch that it falls into. What cannot go to this peer any more has lost its part there.
 */
export const resend = (core: Core, resource: Resource, connection: Connection): void => {
  const stale = [...resource.log.requests.values()].filter(({ net }) =>
    net.some(({ peer, done, connectCount }) => peer === connection.peer && !done && connectCount !== connection.connectCount),
  );
  // A disk that came meanwhile lacks what was written before it; and what was written after that to the same blocks stays behind it.
  const again: Request[] = [];
  for (const request of stale) {
    if (request.kind !== 'write') continue;
    const follows = again.some(({ volume, sector, sectors }) => volume === request.volume && sector < request.sector + request.sectors && request.sector < sector + sectors);
    if (follows || isOfAnotherDisk(volumeOf(resource, request.volume), request)) again.push(request);
  }
  for (const volume of resource.volumes.values()) startAgain(core, volume, again.filter(({ volume: of }) => of === volume.number));
  for (const request of stale) if (request.kind === 'write' && !again.includes(request)) resendWrite(core, resource, connection, request);
  for (const request of stale) {
    const volume = volumeOf(resource, request.volume);
    if (request.kind === 'read') retryElsewhere(core, volume, request);
    else if (request.kind === 'flush') resendFlush(core, resource, volume, connection, request);
  }
};

const partTo = (request: Request, connection: Connection): NetPart => {
  const part = request.net.find(({ peer }) => peer === connection.peer);
  assert(part !== undefined, 'what is sent again was sent before');
  return part;
};

const resendWrite = (core: Core, resource: Resource, connection: Connection, request: Request): void => {
  const volume = volumeOf(resource, request.volume);
  const device = deviceOf(volume, connection.peer);
  const plan = planWrite(stateOf(resource, volume, connection, device), connection.protocolVersion);
  const part = partTo(request, connection);
  // What another Primary acknowledged it may have overwritten since; it did not reboot (resource/peer-state), and flushed when the connection was lost.
  const isKept = part.ok && connection.config.net.allowTwoPrimaries;
  // Also what a Secondary acknowledged: in the same generation it may have rebooted all the same, and lost what no barrier covers.
  if (plan.mirror && !isKept) {
    if (request.interval >= 0) useInterval(volume, request.interval, 'in-use');
    sendWrite(core, connection, device, request, plan.maySetInSync, true);
    return letPeerPass(core, resource, volume, request);
  }
  part.ok &&= plan.mirror;
  part.waitsFor = 'nothing';
  part.done = true;
  completeIfDone(core, resource, volume, request);
};

const resendFlush = (core: Core, resource: Resource, volume: Volume, connection: Connection, request: Request): void => {
  const part = partTo(request, connection);
  const waits = part.waitsFor === 'barrier-ack' && !isEpochAcknowledged(connection, request.epoch);
  part.connectCount = connection.connectCount;
  if (waits) return;
  part.waitsFor = 'nothing';
  part.ok = true;
  part.done = true;
  completeIfDone(core, resource, volume, request);
};
