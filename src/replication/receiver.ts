/**
 * The peer's writes and reads on our disk: write ordering by epochs, acknowledgements, remote reads (wire-protocol.md §5.3,
 * §5.5, §5.10). A write counts into its epoch when it is received, not when it is submitted (bug B008). With method flush the
 * disks are flushed before the barrier is acknowledged (D15): stricter than the kernel, and what our guarantees rest on.
 */

import { ownBytes, pauseData, resumeData } from '../connection/receive.js';
import { loseConnection } from '../connection/loss.js';
import { sendPacket } from '../connection/send.js';
import { assert, flushDisk, mustGet, readDisk, signal, type Core } from '../model/core.js';
import type { DiskOperation, OperationResult, Then } from '../model/operations.js';
import { without } from '../model/tables.js';
import type { Connection, Interval, PeerDevice, PeerRead, PeerWrite, ReceiverState, ReceivedEpoch, Resource, Volume } from '../model/types.js';
import { deviceOf, stateOf, volumeOf } from '../model/view.js';
import { isSyncState, Disk, Role } from '../state/states.js';
import { maxRequestBytes } from '../wire/context.js';
import { keepBytes } from '../wire/memory.js';
import { DataFlag, type AckPacket, type BlockId, type BlockRequestPacket, type DataPacket, type PacketOf, type TrimPacket } from '../wire/packets.js';
import { releaseExtents } from '../volume/admission.js';
import { registerInterval, releaseInterval } from '../volume/intervals.js';
import { tryOtherwise, writeRange } from '../volume/zeroing.js';
import { markOutOfSync, markWrittenOnBoth } from './bits.js';
import { judgeConflict, overwriteBy, rivalArrived } from './conflicts.js';
import { contentOf, maxReceivedBytes, sizeBytesOf } from './on-wire.js';
import { hasDisk, isOnlyDisk } from './plan.js';
import { forgetEarly, nextSequence } from './sequence.js';

const newEpoch = (id: number): ReceivedEpoch => ({ id, barrier: undefined, size: 0, written: new Map(), active: 0, lostWrites: false, flush: 'none' });

export const newReceiver = (): ReceiverState => ({ writes: new Map(), lastWrite: 0, epochs: [newEpoch(0)], lastEpoch: 0, draining: false, resizing: false, flushesPending: 0, early: undefined });

/** The ordering method in force: the weakest that a volume's options allow (sync-and-activity-log.md §5.7). */
const writeOrdering = (resource: Resource): 'flush' | 'drain' | 'none' => {
  let method: 'flush' | 'drain' | 'none' = 'flush';
  for (const { config } of resource.volumes.values()) {
    if (!config.disk.diskFlushes && method === 'flush') method = 'drain';
    if (!config.disk.diskFlushes && !config.disk.diskDrain) method = 'none';
  }
  return method;
};

/** Why a range that the peer names cannot be, or undefined. */
export const rangeError = (volume: Volume, sector: number, sizeBytes: number, maxBytes: number): string | undefined => {
  if (sizeBytes <= 0 || sizeBytes % 512 !== 0) return `size ${sizeBytes} is no positive multiple of 512`;
  if (sizeBytes > maxBytes) return `size ${sizeBytes} is larger than ${maxBytes}`;
  if (sector + sizeBytes / 512 > volume.sizeSectors) return `sector ${sector} + ${sizeBytes} bytes is beyond the end of the device (${volume.sizeSectors} sectors)`;
  return undefined;
};

/** A p_block_ack packet on the meta stream. */
export const sendAck = (core: Core, connection: Connection, device: PeerDevice, volume: Volume, packet: AckPacket['packet'], sector: number, sizeBytes: number, blockId: BlockId): void =>
  sendPacket(core, connection, { packet, volume: volume.number, sector, blockId, sizeBytes, sequence: nextSequence(device) });

/** P_DATA, P_TRIM, P_ZEROES. The payload is lent, and kept here. */
export const receiveWrite = (core: Core, resource: Resource, volume: Volume, connection: Connection, packet: DataPacket | TrimPacket): void => {
  const sizeBytes = sizeBytesOf(packet);
  const content = contentOf(connection, packet);
  if (typeof content !== 'string') return loseConnection(core, connection, 'ProtocolError', `${packet.packet}: ${content.refusal}`);
  const wrong = rangeError(volume, packet.sector, sizeBytes, maxReceivedBytes(connection, packet));
  if (wrong) return loseConnection(core, connection, 'ProtocolError', `${packet.packet}: ${wrong}`);
  const sectors = sizeBytes / 512;
  const device = deviceOf(volume, connection.peer);
  const receiver = connection.receiver;
  const epoch = receiver.epochs.at(-1)!;
  epoch.size++;
  if (!hasDisk(volume)) {
    rivalArrived(core, resource, volume, packet.sector, sectors);
    return sendAck(core, connection, device, volume, 'P_NEG_ACK', packet.sector, sizeBytes, packet.blockId);
  }
  const { verdict, rivals } = judgeConflict(resource, volume, connection, device, content, packet.sector, sectors);
  if (verdict === 'retry') {
    epoch.size--;
    epoch.lostWrites = true;
    return sendAck(core, connection, device, volume, 'P_RETRY_WRITE', packet.sector, sizeBytes, packet.blockId);
  }
  epoch.active++;
  volume.applicationSectors += sectors;
  const protocol = connection.config.net.protocol;
  const perPacket = connection.protocolVersion >= 100;
  const write: PeerWrite = {
    id: ++receiver.lastWrite,
    volume: volume.number,
    content,
    sector: packet.sector,
    sectors,
    data: 'data' in packet ? ownBytes(core, connection, packet.data) : undefined,
    blockId: packet.blockId,
    epoch: epoch.id,
    interval: -1,
    attachment: volume.backing!.attachment,
    preflush: (packet.flags & DataFlag.FLUSH) !== 0,
    fua: (packet.flags & DataFlag.FUA) !== 0,
    sendReceiveAck: perPacket ? (packet.flags & DataFlag.SEND_RECEIVE_ACK) !== 0 : protocol === 'B',
    sendWriteAck: perPacket ? (packet.flags & DataFlag.SEND_WRITE_ACK) !== 0 : protocol === 'C',
    maySetInSync: (packet.flags & DataFlag.MAY_SET_IN_SYNC) !== 0,
    superseded: verdict === 'superseded',
    inActivityLog: false,
    connectCount: connection.connectCount,
    operations: 0,
    failed: false,
  };
  if (write.superseded) {
    write.content = 'data';
    // A copy of its own: others may refer to what was received.
    write.data = write.data?.slice() ?? new Uint8Array(sizeBytes);
    overwriteBy(rivals, write.sector, write.data);
    // No barrier will ask for it.
    write.fua ||= writeOrdering(resource) === 'flush';
  }
  receiver.writes.set(write.id, write);
  const interval = registerInterval(core, volume, 'peer-write', write.sector, sectors, write.id, connection.peer);
  write.interval = interval.id;
  rivalArrived(core, resource, volume, write.sector, sectors);
  if (interval.started) peerWriteMayStart(core, resource, volume, connection, write.id);
};

/** No earlier write overlaps any more. If ours is the only disk, the range is marked and active before it is written. */
export const peerWriteMayStart = (core: Core, resource: Resource, volume: Volume, connection: Connection, id: number): void => {
  const write = mustGet(connection.receiver.writes, id, 'peer write');
  const device = deviceOf(volume, connection.peer);
  if (!isOnlyDisk(stateOf(resource, volume, connection, device))) return startPeerWrite(core, volume, connection, id);
  if (device.generationDueOnWrite) {
    device.generationDueOnWrite = false;
    volume.generationPending = true;
    signal(core, { signal: 'generation-begins', resource: resource.name, volume: volume.number, peer: connection.peer });
  }
  markOutOfSync(device, write.sector, write.sectors);
  volume.waitingPeerWrites.push({ peer: connection.peer, write: id });
  signal(core, { signal: 'admission', resource: resource.name, volume: volume.number });
};

/**
 * To the disk. A disk that was given up meanwhile fails it without being asked. Protocol B says only now that it is received: what waits for its
 * turn is forgotten when the connection is lost, and its writer, who may have no disk, counts on it.
 */
export const startPeerWrite = (core: Core, volume: Volume, connection: Connection, id: number): void => {
  const write = mustGet(connection.receiver.writes, id, 'peer write');
  if (!hasDisk(volume) || volume.backing!.attachment !== write.attachment) {
    return endPeerWrite(core, volume, connection, write, false);
  }
  if (write.sendReceiveAck) sendAck(core, connection, deviceOf(volume, connection.peer), volume, 'P_RECV_ACK', write.sector, write.sectors * 512, write.blockId);
  write.operations = writeRange(core, volume, write, write.preflush, { to: 'peer-write', peer: connection.peer, write: id });
};

/** An operation of a write of the peer ended on our disk (`Then` peer-write). */
export const peerWriteDone = (core: Core, resource: Resource, volume: Volume, connection: Connection, operation: DiskOperation, id: number, result: OperationResult): void => {
  const write = mustGet(connection.receiver.writes, id, 'peer write');
  const more = tryOtherwise(core, volume, operation, result);
  write.operations += more - 1;
  if (more === 0) write.failed ||= !result.ok;
  if (!result.ok && more === 0 && !volume.backing?.failed) {
    const detail = `replicated ${operation.kind} ${result.failure}`;
    signal(core, { signal: 'disk-error', resource: resource.name, volume: volume.number, kind: 'write', sector: write.sector, sectors: write.sectors, detail });
  }
  if (write.operations > 0) return;
  if (!write.failed || volume.backing?.failed) return endPeerWrite(core, volume, connection, write, !write.failed);
  // It is refused, and its epoch acknowledged, when that this disk is bad is on disk: the writer does not expect to find it good after a
  // crash. The connection may be gone by then, and the write with it.
  markOutOfSync(deviceOf(volume, connection.peer), write.sector, write.sectors);
  signal(core, { signal: 'write-failed', resource: resource.name, volume: volume.number, purpose: { for: 'failed-peer-write', peer: connection.peer, write: id } });
};

/** What became of the disk that failed this write of the peer is on disk. */
export const peerFailureWritten = (core: Core, volume: Volume, connection: Connection, id: number): void => {
  const write = connection.receiver.writes.get(id);
  if (write) endPeerWrite(core, volume, connection, write, false);
};

const endPeerWrite = (core: Core, volume: Volume, connection: Connection, write: PeerWrite, ok: boolean): void => {
  const device = deviceOf(volume, connection.peer);
  const { sectors } = write;
  connection.receiver.writes = without(connection.receiver.writes, write.id);
  // The bit before the P_NEG_ACK, and before the extents are given up (D17, D3).
  if (!ok) markOutOfSync(device, write.sector, sectors);
  releaseExtents(core, volume, write, sectors);
  releaseInterval(core, volume, write.interval);
  if (volume.holds.length > 0) signal(core, { signal: 'procedures', resource: connection.resource });
  if (write.connectCount !== connection.connectCount || connection.loss) {
    signal(core, { signal: 'receiver-quiet', resource: connection.resource, peer: connection.peer });
    return;
  }
  const epoch = connection.receiver.epochs.find(({ id }) => id === write.epoch);
  assert(epoch !== undefined && epoch.active > 0, 'a peer write belongs to an epoch');
  if (!ok) {
    sendAck(core, connection, device, volume, 'P_NEG_ACK', write.sector, sectors * 512, write.blockId);
  } else if (write.superseded) {
    // The writer drops it from the epoch as well: it must neither be counted in it nor hold it up (the kernel's defect, wire-protocol.md §5.9).
    epoch.size--;
    epoch.lostWrites = true;
    sendAck(core, connection, device, volume, 'P_SUPERSEDED', write.sector, sectors * 512, write.blockId);
  } else if (write.maySetInSync && isSyncState(device.repl)) {
    markWrittenOnBoth(core, volume, device, write.sector, sectors);
    sendAck(core, connection, device, volume, 'P_RS_WRITE_ACK', write.sector, sectors * 512, write.blockId);
  } else if (write.sendWriteAck) {
    sendAck(core, connection, device, volume, 'P_WRITE_ACK', write.sector, sectors * 512, write.blockId);
  }
  epoch.active--;
  if (ok) epoch.written.set(volume.number, write.attachment);
  signal(core, { signal: 'epoch-progress', resource: connection.resource, peer: connection.peer });
};

/** P_BARRIER: the open epoch is complete as to its members. Methods drain and flush take nothing further until it is done (D16). */
export const receiveBarrier = (core: Core, resource: Resource, connection: Connection, packet: PacketOf<'P_BARRIER'>): void => {
  const receiver = connection.receiver;
  const open = receiver.epochs.at(-1)!;
  open.barrier = packet.barrier;
  receiver.epochs.push(newEpoch(++receiver.lastEpoch));
  if (writeOrdering(resource) !== 'none') {
    receiver.draining = true;
    pauseData(core, connection);
  }
  finishEpochs(core, resource, connection);
};

/** Acknowledges, oldest first, the closed epochs whose writes are all done (M8; bug B009), flushing before if that is the method. */
export const finishEpochs = (core: Core, resource: Resource, connection: Connection): void => {
  const receiver = connection.receiver;
  if (connection.loss) return;
  for (;;) {
    const oldest = receiver.epochs[0]!;
    if (oldest.barrier === undefined || oldest.active > 0 || oldest.flush === 'running') return;
    if (oldest.flush === 'none' && oldest.size > 0 && writeOrdering(resource) === 'flush') {
      oldest.flush = 'running';
      let flushes = 0;
      for (const [number, attachment] of oldest.written) {
        const volume = volumeOf(resource, number);
        // What it was said to have written may be in its cache only, and cannot be flushed any more: the writer has to mark it.
        if (!hasDisk(volume) || volume.backing!.attachment !== attachment) {
          return loseConnection(core, connection, 'NetworkFailure', 'a disk was lost before its writes were flushed');
        }
        flushes++;
        flushDisk(core, volume, 'data', { to: 'epoch-flush', peer: connection.peer, connectCount: connection.connectCount });
      }
      receiver.flushesPending = flushes;
      if (flushes > 0) return;
    }
    receiver.epochs.shift();
    // Writes of an epoch that no disk holds were refused one by one. One that is empty after conflicts is none for the writer.
    if (oldest.size > 0 || !oldest.lostWrites) sendPacket(core, connection, { packet: 'P_BARRIER_ACK', volume: 0, barrier: oldest.barrier, setSize: oldest.size });
    if (receiver.draining && receiver.epochs.length === 1) {
      receiver.draining = false;
      if (!receiver.resizing) resumeData(core, connection);
    }
  }
};

/**
 * A flush that ends an epoch is over (`Then` epoch-flush). One that failed is an error of the disk: what it should have made
 * durable may be gone, so going on with a weaker method, as the kernel does, would acknowledge what is not there.
 */
export const epochFlushDone = (core: Core, resource: Resource, volume: Volume, connection: Connection, then: Then & { to: 'epoch-flush' }, result: OperationResult): void => {
  if (!result.ok && !volume.backing?.failed) {
    signal(core, { signal: 'disk-error', resource: resource.name, volume: volume.number, kind: 'write', sector: 0, sectors: 0, detail: `flush ${result.failure}` });
  }
  // One that ends late belongs to a connection that is over: the epoch of the next one is not flushed by it (D15).
  const [oldest] = connection.receiver.epochs;
  if (then.connectCount !== connection.connectCount || connection.loss || oldest?.flush !== 'running') return;
  // The writes of the epochs that are not acknowledged are lost perhaps: the connection goes, so the writer marks them.
  if (!result.ok) return loseConnection(core, connection, 'NetworkFailure', 'a flush of our disk failed');
  if (--connection.receiver.flushesPending > 0) return;
  oldest.flush = 'done';
  finishEpochs(core, resource, connection);
};

/**
 * P_DATA_REQUEST: a read for the peer; refused while our disk is not UpToDate. It is read when the peer's own writes that came before
 * it are on the disk (protocols A and B answer them earlier), and answered when ours that it may show are answered too.
 */
export const serveRead = (core: Core, volume: Volume, connection: Connection, packet: BlockRequestPacket): void => {
  const wrong = rangeError(volume, packet.sector, packet.sizeBytes, maxRequestBytes(connection.protocolVersion));
  if (wrong) return loseConnection(core, connection, 'ProtocolError', `P_DATA_REQUEST: ${wrong}`);
  const read: PeerRead = { sector: packet.sector, sectors: packet.sizeBytes / 512, blockId: packet.blockId, reading: false, data: undefined };
  const interval = registerInterval(core, volume, 'peer-read', read.sector, read.sectors, 0, connection.peer);
  deviceOf(volume, connection.peer).reads.set(interval.id, read);
  if (interval.started) peerReadMayGoOn(core, volume, connection, interval);
};

/** The range of a read is free to be read (kind peer-read), or its answer may be given (peer-reply). */
export const peerReadMayGoOn = (core: Core, volume: Volume, connection: Connection, interval: Interval): void => {
  const read = mustGet(deviceOf(volume, connection.peer).reads, interval.id, 'read for the peer');
  if (interval.kind === 'peer-reply') {
    endPeerRead(core, volume, connection, interval.id);
    return sendPacket(core, connection, { packet: 'P_DATA_REPLY', volume: volume.number, sector: read.sector, blockId: read.blockId, sequence: 0, flags: 0, data: read.data! });
  }
  if (volume.disk !== Disk.UpToDate || !hasDisk(volume)) return refuseRead(core, volume, connection, interval.id, read);
  read.reading = true;
  readDisk(core, volume, 'data', read.sector, read.sectors, { to: 'peer-read', peer: connection.peer, interval: interval.id, connectCount: connection.connectCount });
};

const endPeerRead = (core: Core, volume: Volume, connection: Connection, interval: number): void => {
  deviceOf(volume, connection.peer).reads.delete(interval);
  releaseInterval(core, volume, interval);
};

const refuseRead = (core: Core, volume: Volume, connection: Connection, interval: number, read: PeerRead): void => {
  endPeerRead(core, volume, connection, interval);
  sendAck(core, connection, deviceOf(volume, connection.peer), volume, 'P_NEG_DREPLY', read.sector, read.sectors * 512, read.blockId);
};

export const peerReadDone = (core: Core, volume: Volume, connection: Connection, then: Then & { to: 'peer-read' }, result: OperationResult): void => {
  const read = mustGet(deviceOf(volume, connection.peer).reads, then.interval, 'read for the peer');
  const { sector, sectors } = read;
  if (!result.ok) {
    markOutOfSync(deviceOf(volume, connection.peer), sector, sectors);
    if (!volume.backing?.failed) {
      signal(core, { signal: 'disk-error', resource: volume.resource, volume: volume.number, kind: 'read', sector, sectors, detail: `read for the peer ${result.failure}` });
    }
  }
  if (then.connectCount !== connection.connectCount || connection.loss) {
    endPeerRead(core, volume, connection, then.interval);
    signal(core, { signal: 'receiver-quiet', resource: connection.resource, peer: connection.peer });
    return;
  }
  if (!result.ok) return refuseRead(core, volume, connection, then.interval, read);
  endPeerRead(core, volume, connection, then.interval);
  const reply = registerInterval(core, volume, 'peer-reply', sector, sectors, 0, connection.peer);
  deviceOf(volume, connection.peer).reads.set(reply.id, { ...read, reading: false, data: result.data ? keepBytes(core.environment, result.data) : new Uint8Array(sectors * 512) });
  if (reply.started) peerReadMayGoOn(core, volume, connection, reply);
};

/**
 * The connection is gone: epochs are forgotten, what is on its way to the disk ends without an answer. Writes that were still
 * waiting for something are dropped: the writer marks them, and nothing may wait for what never comes (bug B215).
 */
export const resetReceiver = (core: Core, resource: Resource, connection: Connection): void => {
  const receiver = connection.receiver;
  receiver.epochs = [newEpoch(++receiver.lastEpoch)];
  receiver.draining = false;
  receiver.resizing = false;
  receiver.flushesPending = 0;
  forgetEarly(core, connection);
  for (const volume of resource.volumes.values()) {
    for (const [interval, { reading }] of [...deviceOf(volume, connection.peer).reads]) if (!reading) endPeerRead(core, volume, connection, interval);
    const log = volume.backing?.activityLog;
    volume.waitingPeerWrites = volume.waitingPeerWrites.filter(({ peer }) => peer !== connection.peer);
    if (log) log.peerWritesForCommit = log.peerWritesForCommit.filter(({ peer }) => peer !== connection.peer);
    for (const write of [...receiver.writes.values()]) {
      if (write.volume !== volume.number || hasOperation(core, connection, write.id)) continue;
      receiver.writes.delete(write.id);
      releaseExtents(core, volume, write, write.sectors);
      releaseInterval(core, volume, write.interval);
    }
  }
};

const hasOperation = (core: Core, connection: Connection, write: number): boolean => {
  for (const { resource, then } of core.state.operations.values()) {
    if (then.to === 'peer-write' && then.write === write && then.peer === connection.peer && resource === connection.resource) return true;
  }
  return false;
};

/** Nothing of the peer's is on its way to our disks. */
export const isReceiverQuiet = (resource: Resource, connection: Connection): boolean =>
  connection.receiver.writes.size === 0 && [...resource.volumes.values()].every((volume) => deviceOf(volume, connection.peer).reads.size === 0);

/**
 * The connection is gone: what this disk took from the peer and was not asked to flush yet is made durable before the next one, since
 * the writer counts on it if it was frozen meanwhile (submit.ts `resend`). Returns how many ends of operations `loss-flush` follow.
 */
export const flushAfterLoss = (core: Core, resource: Resource, connection: Connection): number => {
  const isOnlyPrimary = resource.role === Role.Primary && !connection.config.net.allowTwoPrimaries;
  if (isOnlyPrimary || writeOrdering(resource) !== 'flush') return 0;
  const volumes = [...resource.volumes.values()].filter(hasDisk);
  for (const volume of volumes) flushDisk(core, volume, 'data', { to: 'loss-flush', peer: connection.peer });
  return volumes.length;
};
