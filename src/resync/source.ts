/**
 * The resync source is passive: it serves what the target asks for (wire-protocol.md §7.3) and clears bits when the target says
 * that it has written. The target of a verify serves digests in the same way (§8). A range is registered while it is read, until
 * the reply is queued, so that an application write to it stands entirely before or behind the reply on the data stream (§7.6,
 * bug B006).
 */

import { loseConnection } from '../connection/loss.js';
import { sendPacket } from '../connection/send.js';
import { assert, readDisk, type Core } from '../model/core.js';
import type { DiskOperation, OperationResult, Then } from '../model/operations.js';
import { isTimerSet, setTimer } from '../model/timers.js';
import type { Connection, Interval, PeerDevice, Resource, Volume } from '../model/types.js';
import { markOutOfSync, markUnreadable, markWrittenOnBoth } from '../replication/bits.js';
import { rangeError, sendAck } from '../replication/receiver.js';
import { Conn, Disk, Role } from '../state/states.js';
import { registerInterval, releaseInterval } from '../volume/intervals.js';
import { zeros } from '../volume/zeros.js';
import { keepBytes } from '../wire/memory.js';
import { FeatureFlag, type AckPacket, type BlockRequestPacket, type DigestPacket } from '../wire/packets.js';
import { checkFinished } from './lifecycle.js';
import { blockDigest, hasDisk, markFailed, mayCompare, mustGiveWay, sameBytes, signalDiskError } from './progress.js';
import type { RangeServer, ResyncState, ServedRange } from './types.js';
import { noteVerifyRequest } from './verify.js';

/** The largest request that any peer may make, whatever the protocol version (wire-protocol.md §4). */
const REQUEST_BYTES_MAX = 1 << 20;
/** timers-and-order.md §1.3, "serve delay". */
const SERVE_DELAY_US = 100_000;

/** Who serves ranges now. A resync and a verify are never there together. */
const serverOf = ({ resync, verify }: PeerDevice): RangeServer | undefined =>
  resync?.side === 'source' ? resync : verify?.side === 'target' ? verify : undefined;

/**
 * P_RS_DATA_REQUEST, P_RS_THIN_REQ, P_CSUM_RS_REQUEST, P_OV_REQUEST. A range that cannot be is a protocol error. What we cannot serve, for want of an UpToDate disk or because
 * no resync or verify runs here, is refused (P_NEG_RS_DREPLY).
 */
export const rangeRequest = (
  core: Core,
  resource: Resource,
  volume: Volume,
  peerDevice: PeerDevice,
  connection: Connection,
  packet: BlockRequestPacket | DigestPacket,
): void => {
  const wrong = rangeError(volume, packet.sector, packet.sizeBytes, REQUEST_BYTES_MAX);
  if (wrong) return loseConnection(core, connection, 'ProtocolError', `${packet.packet}: ${wrong}`);
  const { csumsAlg } = connection.config.net;
  if ('digest' in packet && (csumsAlg === '' || packet.digest.length !== blockDigest(core, csumsAlg, NO_BYTES).length)) {
    return loseConnection(core, connection, 'ProtocolError', `P_CSUM_RS_REQUEST: a digest of ${packet.digest.length} bytes`);
  }
  const isThin = packet.packet === 'P_RS_THIN_REQ';
  if (isThin && (connection.features & FeatureFlag.FF_THIN_RESYNC) === 0) {
    return loseConnection(core, connection, 'ProtocolError', 'P_RS_THIN_REQ: FF_THIN_RESYNC is not agreed');
  }
  if (peerDevice.repl === Conn.Ahead) return cancel(core, volume, peerDevice, connection, packet);
  const verifies = packet.packet === 'P_OV_REQUEST';
  const answer = verifies ? 'digest' : isThin ? 'thin' : 'data';
  const range: ServedRange = { sector: packet.sector, sectors: packet.sizeBytes / 512, blockId: packet.blockId, answer };
  // Lent; copied once, here.
  if ('digest' in packet) range.targetDigest = packet.digest.slice();
  const server = verifies === (peerDevice.verify !== undefined) ? serverOf(peerDevice) : undefined;
  if (!server || volume.disk !== Disk.UpToDate || !hasDisk(volume)) {
    return sendAck(core, connection, peerDevice, volume, 'P_NEG_RS_DREPLY', range.sector, range.sectors * 512, range.blockId);
  }
  if (peerDevice.verify) noteVerifyRequest(core, volume, peerDevice, connection, peerDevice.verify, range.sector);
  server.delayed.push(range);
  if (!isTimerSet(core, 'serve-delay', resource.name, peerDevice.peer, volume.number)) {
    serve(core, resource, volume, peerDevice, connection, server);
  }
};

const cancel = (core: Core, volume: Volume, peerDevice: PeerDevice, connection: Connection, request: Pick<BlockRequestPacket, 'sector' | 'sizeBytes' | 'blockId'>): void =>
  sendAck(core, connection, peerDevice, volume, 'P_RS_CANCEL', request.sector, request.sizeBytes, request.blockId);

/** We are Ahead, the resync is given up: what waits to be served is not, for now (wire-protocol.md §9). */
export const cancelServed = (core: Core, volume: Volume, peerDevice: PeerDevice, connection: Connection, resync: ResyncState): void => {
  for (const { sector, sectors, blockId } of [...resync.delayed, ...resync.reads.values()]) cancel(core, volume, peerDevice, connection, { sector, sizeBytes: sectors * 512, blockId });
};

/** The connection is congested: nothing more is read for the target. True when nothing is on its way to it or back any more. */
export const holdServing = (resync: ResyncState): boolean => {
  resync.isHeld = true;
  return resync.reads.size === 0 && resync.unacknowledged.length === 0;
};

export const isServed = (resync: ResyncState): boolean => !resync.isHeld;

/** Congestion has passed before the resync was left for it. */
export const serveAgain = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, connection: Connection, resync: ResyncState): void => {
  resync.isHeld = false;
  if (hasDisk(volume) && !isTimerSet(core, 'serve-delay', resource.name, peerDevice.peer, volume.number)) serve(core, resource, volume, peerDevice, connection, resync);
};

/** Timer `serve-delay`: the oldest request has waited long enough; the next may have to wait in its turn. */
export const serveDelayed = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, connection: Connection): void => {
  const server = serverOf(peerDevice);
  if (!server || server.delayed.length === 0 || peerDevice.resync?.isHeld || !hasDisk(volume)) return;
  read(core, resource, volume, peerDevice, connection, server, server.delayed.shift()!);
  serve(core, resource, volume, peerDevice, connection, server);
};

/** Serves waiting requests in order until one has to give way to the application. A Primary target wants its data soon. */
const serve = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, connection: Connection, server: RangeServer): void => {
  while (server.delayed.length > 0 && !peerDevice.resync?.isHeld) {
    if (peerDevice.role !== Role.Primary && mustGiveWay(core, volume, peerDevice, server)) {
      return setTimer(core, 'serve-delay', resource.name, peerDevice.peer, volume.number, SERVE_DELAY_US);
    }
    read(core, resource, volume, peerDevice, connection, server, server.delayed.shift()!);
  }
};

const read = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, connection: Connection, server: RangeServer, range: ServedRange): void => {
  const interval = registerInterval(core, volume, 'resync-read', range.sector, range.sectors, 0, peerDevice.peer);
  server.reads.set(interval.id, range);
  if (interval.started) readIntervalStarted(core, resource, volume, peerDevice, connection, interval);
};

/** No write to the range is on its way any more: it is read (also for signal `interval-started`, kind resync-read). */
export const readIntervalStarted = (
  core: Core,
  _resource: Resource,
  volume: Volume,
  peerDevice: PeerDevice,
  connection: Connection,
  interval: Interval,
): void => {
  const range = serverOf(peerDevice)?.reads.get(interval.id);
  assert(range !== undefined, 'a read for the peer waits for its range');
  readDisk(core, volume, 'data', range.sector, range.sectors, {
    to: 'resync-read',
    peer: peerDevice.peer,
    interval: interval.id,
    blockId: range.blockId,
    connectCount: connection.connectCount,
  });
};

/** A read for the target has ended: the reply is queued first, then the range is given free for writes. */
export const resyncReadDone = (
  core: Core,
  resource: Resource,
  volume: Volume,
  peerDevice: PeerDevice,
  connection: Connection,
  then: Then & { to: 'resync-read' },
  operation: DiskOperation,
  result: OperationResult,
): void => {
  const server = serverOf(peerDevice);
  const range = server?.reads.get(then.interval);
  if (!server || !range) return markUnreadable(peerDevice, operation, result);
  server.reads.delete(then.interval);
  if (range.answer === 'digest') replyDigest(core, resource, volume, peerDevice, connection, range, result);
  else replyData(core, resource, volume, peerDevice, connection, range, result);
  releaseInterval(core, volume, then.interval);
};

const replyData = (
  core: Core,
  resource: Resource,
  volume: Volume,
  peerDevice: PeerDevice,
  connection: Connection,
  range: ServedRange,
  result: OperationResult,
): void => {
  const { resync } = peerDevice;
  assert(resync !== undefined, 'data is served by the source of a resync');
  // A target that lost its disk has forgotten its requests.
  if (peerDevice.pdsk < Disk.Inconsistent) return;
  if (!result.ok) {
    markFailed(resync, peerDevice, range.sector, range.sectors);
    sendAck(core, connection, peerDevice, volume, 'P_NEG_RS_DREPLY', range.sector, range.sectors * 512, range.blockId);
    signalDiskError(core, resource, volume, 'read', range, `resync read ${result.failure}`);
    return;
  }
  const data = result.data ?? zeros(range.sectors * 512);
  if (range.targetDigest && mayCompare(volume) && sameBytes(blockDigest(core, connection.config.net.csumsAlg, data), range.targetDigest)) {
    sendAck(core, connection, peerDevice, volume, 'P_RS_IS_IN_SYNC', range.sector, range.sectors * 512, range.blockId);
    return markWrittenOnBoth(core, volume, peerDevice, range.sector, range.sectors);
  }
  resync.unacknowledged.push(range);
  if (range.answer === 'thin' && result.data === undefined) {
    return sendPacket(core, connection, { packet: 'P_RS_DEALLOCATED', volume: volume.number, sector: range.sector, sizeBytes: range.sectors * 512 });
  }
  sendPacket(core, connection, {
    packet: 'P_RS_DATA_REPLY',
    volume: volume.number,
    sector: range.sector,
    blockId: range.blockId,
    sequence: 0,
    flags: 0,
    data: result.data ? keepBytes(core.environment, data) : data,
  });
};

/** A block that cannot be read is equal to nothing: a digest of zeros says so (wire-protocol.md §8). */
const replyDigest = (
  core: Core,
  resource: Resource,
  volume: Volume,
  peerDevice: PeerDevice,
  connection: Connection,
  range: ServedRange,
  result: OperationResult,
): void => {
  const { sector, sectors, blockId } = range;
  const digest = blockDigest(core, connection.config.net.verifyAlg, result.ok ? (result.data ?? zeros(sectors * 512)) : NO_BYTES);
  if (!result.ok) {
    digest.fill(0);
    markOutOfSync(peerDevice, sector, sectors);
  }
  sendPacket(core, connection, { packet: 'P_OV_REPLY', volume: volume.number, sector, blockId, sizeBytes: sectors * 512, digest });
  if (!result.ok) signalDiskError(core, resource, volume, 'read', range, `verify read ${result.failure}`);
};

const NO_BYTES = new Uint8Array(0);

/** P_RS_WRITE_ACK with ID_SYNCER: the target has written the blocks. For a range that we did not send it is a protocol error. */
export const resyncAcknowledged = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, connection: Connection, packet: AckPacket): void => {
  const { resync } = peerDevice;
  // Given up meanwhile: the bits stay, and are compared again when the nodes next agree on a resync.
  if (resync?.side !== 'source') return;
  const range = takeUnacknowledged(resync, packet);
  if (!range) return loseConnection(core, connection, 'ProtocolError', `${packet.packet} for sector ${packet.sector}, ${packet.sizeBytes} bytes: not sent`);
  markWrittenOnBoth(core, volume, peerDevice, range.sector, range.sectors);
  checkFinished(core, resource, volume, peerDevice, connection);
};

/** P_NEG_ACK with ID_SYNCER: the target could not write the blocks; they are out of sync, whatever was compared before its disk failed. */
export const resyncNegAcknowledged = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, connection: Connection, packet: AckPacket): void => {
  const { resync } = peerDevice;
  if (resync?.side !== 'source') return;
  const range = takeUnacknowledged(resync, packet);
  if (!range) return;
  markOutOfSync(peerDevice, range.sector, range.sectors);
  markFailed(resync, peerDevice, range.sector, range.sectors);
  checkFinished(core, resource, volume, peerDevice, connection);
};

const takeUnacknowledged = (resync: ResyncState, packet: AckPacket): ServedRange | undefined => {
  const index = resync.unacknowledged.findIndex(({ sector, sectors }) => sector === packet.sector && sectors * 512 === packet.sizeBytes);
  return index < 0 ? undefined : resync.unacknowledged.splice(index, 1)[0];
};
