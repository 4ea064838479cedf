/**
 * The resync target drives the resync (wire-protocol.md §7.3): every 100 ms it asks for as many out-of-sync blocks as the rate
 * controller allows, writes what comes, clears the bits and acknowledges. The search for blocks goes round and round over the
 * bitmap until nothing is left, so a bit that is set behind it, a cancelled request, or a block that it passed by because an
 * own write was on its way is found again (bugs B119, B125), and the tick is armed as long as the resync runs (B117).
 *
 * With checksums (§7.4) it reads its own blocks first and sends their digest: the source answers that they are equal, or with data.
 * Writes of the source that come before its answer are in what it compares; they need not be on our disk when we read, as each sector
 * is then either equal already or is written by them. Own writes wait. Only a write that fails in between could make equal blocks
 * differ again, so that an equality counts for nothing after an error (`mayCompare`).
 *
 * A thin resync (rs-discard-granularity) asks so that zeros need not travel nor take space: what the source says is all zeros is
 * discarded here, or zeroed where a discard would not read as zeros.
 */

import { loseConnection } from '../connection/loss.js';
import { ownBytes } from '../connection/receive.js';
import { sendPacket, unsentBytes } from '../connection/send.js';
import { countBits, nextRun, nextSetBit, type Bitmap } from '../metadata/bitmap.js';
import { assert, readDisk, type Core } from '../model/core.js';
import type { DiskOperation, OperationResult, Then } from '../model/operations.js';
import { setTimer } from '../model/timers.js';
import type { Connection, Interval, PeerDevice, Resource, Volume } from '../model/types.js';
import { markWrittenOnBoth } from '../replication/bits.js';
import { rangeError, sendAck } from '../replication/receiver.js';
import { Conn } from '../state/states.js';
import { findInterval, overlapsOwnWrite, registerInterval, releaseInterval, requestIsAnswered } from '../volume/intervals.js';
import { tryOtherwise, writeRange } from '../volume/zeroing.js';
import { zeros } from '../volume/zeros.js';
import { maxRequestBytes } from '../wire/context.js';
import { FeatureFlag, ID_SYNCER, type AckPacket, type BlockRangePacket, type DataPacket } from '../wire/packets.js';
import { checkFinished } from './lifecycle.js';
import { bitmapOf, blockDigest, hasDisk, markFailed, mayCompare, mustGiveWay, sendBufferBytes, signalDiskError } from './progress.js';
import { ratePlan, roomBlocks, TICK_US } from './rate.js';
import type { ResyncRequest, ResyncState } from './types.js';

const SECTORS_PER_BIT = 8;
const BIT_BYTES = 4096;

/** Timer `resync-tick`: asks for the next blocks. Does nothing while paused: resuming sets the timer again. */
export const resyncTick = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, connection: Connection): void => {
  const { resync } = peerDevice;
  if (resync?.side !== 'target' || peerDevice.repl !== Conn.SyncTarget || !hasDisk(volume)) return;
  setTimer(core, 'resync-tick', resource.name, peerDevice.peer, volume.number, TICK_US);
  checkFinished(core, resource, volume, peerDevice, connection);
  if (resync.phase !== 'running') return;
  takeBudget(resync, volume);
  if (mustGiveWay(core, volume, peerDevice, resync)) endBudget(resync);
  else askForBlocks(core, volume, peerDevice, connection, resync);
};

/** One step of the rate controller. It is made in every tick, also in one that then gives way, so that nothing piles up. */
const takeBudget = (resync: ResyncState, volume: Volume): void => {
  let inFlightSectors = 0;
  for (const { stage, sectors } of resync.requests) if (stage === 'asked' || stage === 'reading') inFlightSectors += sectors;
  const step = { answeredSectors: resync.answeredSectors, inFlightSectors, unwrittenSectors: unwrittenSectors(resync) };
  const plan = ratePlan(resync.controller, volume.config.disk, step);
  resync.answeredSectors = 0;
  resync.controller = plan.controller;
  endBudget(resync);
  resync.budgetBlocks += plan.blocks;
};

/** What a step did not ask for is not made up for. */
const endBudget = (resync: ResyncState): void => {
  resync.budgetBlocks = Math.min(0, resync.budgetBlocks);
};

const unwrittenSectors = ({ requests }: ResyncState): number => requests.reduce((sum, { sectors }) => sum + sectors, 0);

/**
 * A request is done: what this step may still ask for, and had no room, may have it now. A quarter of all room is waited for, or little requests
 * would ask for ever littler ones.
 */
const askForMore = (core: Core, volume: Volume, peerDevice: PeerDevice, connection: Connection, resync: ResyncState): void => {
  if (resync.budgetBlocks <= 0 || resync.phase !== 'running' || peerDevice.repl !== Conn.SyncTarget || !hasDisk(volume)) return;
  const { maxBuffers } = connection.config.net;
  if (roomBlocks(maxBuffers, unwrittenSectors(resync)) < roomBlocks(maxBuffers, 0) / 4) return;
  askForBlocks(core, volume, peerDevice, connection, resync);
};

const askForBlocks = (core: Core, volume: Volume, peerDevice: PeerDevice, connection: Connection, resync: ResyncState): void => {
  const bitmap = bitmapOf(peerDevice);
  const granuleBits = Math.floor(thinRequestBytes(volume, connection) / BIT_BYTES);
  const mostBits = maxRequestBytes(connection.protocolVersion) / BIT_BYTES;
  let room = roomBlocks(connection.config.net.maxBuffers, unwrittenSectors(resync));
  while (room > 0 && resync.budgetBlocks > 0 && unsentBytes(connection) <= sendBufferBytes(connection) / 2) {
    const range = nextRange(resync, bitmap, resync.cursorBit, granuleBits || Math.min(room, resync.budgetBlocks, mostBits));
    if (!range) {
      // Once round; what is still to be asked for, or again, is found by the next tick.
      resync.cursorBit = 0;
      return endBudget(resync);
    }
    resync.cursorBit = range.bit + range.bits;
    room -= range.bits;
    resync.budgetBlocks -= range.bits;
    const sector = range.bit * SECTORS_PER_BIT;
    const sectors = Math.min(range.bits * SECTORS_PER_BIT, bitmap.sectors - sector);
    // What the source reads now could be older than this write: the block is left for the next round.
    if (overlapsOwnWrite(volume, sector, sectors)) continue;
    const interval = registerInterval(core, volume, 'resync-request', sector, sectors, 0, peerDevice.peer);
    const request: ResyncRequest = { sector, sectors, interval: interval.id, stage: 'reading', askedAs: 'data', data: undefined, operations: 0, failed: false };
    resync.requests.splice(firstBehind(resync.requests, sector), 0, request);
    if (resync.digestAlg === '' || peerDevice.hasStaleDigests || !mayCompare(volume)) askForData(core, volume, connection, request);
    else readDisk(core, volume, 'data', sector, sectors, { to: 'resync-digest', peer: peerDevice.peer, interval: interval.id });
  }
};

/** Only requests of exactly the granularity ask whether all is zeros (wire-protocol.md §7.3). */
const askForData = (core: Core, volume: Volume, connection: Connection, request: ResyncRequest): void => {
  const { sector, sectors } = request;
  request.stage = 'asked';
  request.askedAs = sectors * 512 === thinRequestBytes(volume, connection) ? 'thin' : 'data';
  const packet = request.askedAs === 'thin' ? 'P_RS_THIN_REQ' : 'P_RS_DATA_REQUEST';
  sendPacket(core, connection, { packet, volume: volume.number, sector, blockId: ID_SYNCER, sizeBytes: sectors * 512 });
};

/**
 * rs-discard-granularity as it counts here, in bytes: at least what the disk discards at a time; 0 on a disk that cannot discard, with a peer
 * that did not agree, or where it is more than a request may ask for (configuration.md §3.1).
 */
const thinRequestBytes = (volume: Volume, connection: Connection): number => {
  const { rsDiscardGranularity } = volume.config.disk;
  const discardGranularitySectors = volume.backing?.discardGranularitySectors ?? 0;
  if (rsDiscardGranularity === 0 || discardGranularitySectors === 0 || (connection.features & FeatureFlag.FF_THIN_RESYNC) === 0) return 0;
  const bytes = Math.max(rsDiscardGranularity, discardGranularitySectors * 512);
  return bytes < BIT_BYTES || bytes > maxRequestBytes(connection.protocolVersion) ? 0 : bytes;
};

/**
 * Our own blocks were read for their digest. What cannot be read, or not be trusted since an error, is asked for without. Of a resync that
 * was given up nobody waits for it.
 */
export const ownBlocksRead = (
  core: Core,
  resource: Resource,
  volume: Volume,
  peerDevice: PeerDevice,
  connection: Connection,
  then: Then & { to: 'resync-digest' },
  result: OperationResult,
): void => {
  const { resync } = peerDevice;
  const request = resync?.requests.find((one) => one.interval === then.interval);
  if (!resync || !request) return;
  const { sector, sectors } = request;
  if (!result.ok || !mayCompare(volume)) {
    askForData(core, volume, connection, request);
    if (!result.ok) signalDiskError(core, resource, volume, 'read', request, `read for a digest ${result.failure}`);
    return;
  }
  request.stage = 'asked';
  request.askedAs = 'digest';
  const digest = blockDigest(core, resync.digestAlg, result.data ?? zeros(sectors * 512));
  sendPacket(core, connection, { packet: 'P_CSUM_RS_REQUEST', volume: volume.number, sector, blockId: ID_SYNCER, sizeBytes: sectors * 512, digest });
};

/**
 * The next blocks to ask for from `from` on as one request of at most `mostBits` (up to 4096): the first set bit that neither is asked
 * for nor has failed, and those that follow it as far as the rule of §7.3 merges them. undefined when there is none up to the end.
 */
export const nextRange = (
  resync: Pick<ResyncState, 'requests' | 'failed'>,
  bitmap: Bitmap,
  from: number,
  mostBits: number,
): { bit: number; bits: number } | undefined => {
  const { requests, failed } = resync;
  for (let bit = nextSetBit(bitmap, from); bit !== -1; bit = nextSetBit(bitmap, bit)) {
    const next = requests[firstBehind(requests, bit * SECTORS_PER_BIT)];
    const nextBit = next ? next.sector / SECTORS_PER_BIT : Infinity;
    if (next && nextBit <= bit) bit = Math.ceil((next.sector + next.sectors) / SECTORS_PER_BIT);
    else if (failed && countBits(failed, bit, 1) > 0) bit += nextRun(failed, bit).bits;
    else {
      const most = Math.min(mergeLimit(bit, mostBits), bitmap.bits - bit, nextBit - bit);
      let bits = 1;
      while (bits < most && countBits(bitmap, bit + bits, 1) === 1 && !(failed && countBits(failed, bit + bits, 1) === 1)) bits++;
      return { bit, bits };
    }
  }
  return undefined;
};

/**
 * How far a request that starts at `bit` may grow: it must start at a multiple of the power of two that holds it. (So it never
 * crosses the border of a 16 MiB resync extent either.)
 */
const mergeLimit = (bit: number, mostBits: number): number => {
  let limit = 1;
  while (limit < mostBits && bit % (limit * 2) === 0) limit *= 2;
  return Math.min(limit, mostBits);
};

/** Index of the first request that ends behind the sector. */
const firstBehind = (requests: readonly ResyncRequest[], sector: number): number => {
  let low = 0;
  let high = requests.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const request = requests[middle]!;
    if (request.sector + request.sectors > sector) high = middle;
    else low = middle + 1;
  }
  return low;
};

// ---- Answers -------------------------------------------------------------------------------------------------------

/** The request that an answer names: one answer for each, and for exactly its range. */
const findAsked = (resync: ResyncState, sector: number, sizeBytes: number): ResyncRequest | undefined => {
  const request = resync.requests[firstBehind(resync.requests, sector)];
  return request?.stage === 'asked' && request.sector === sector && request.sectors * 512 === sizeBytes ? request : undefined;
};

const forget = (core: Core, volume: Volume, resync: ResyncState, request: ResyncRequest): void => {
  resync.requests.splice(resync.requests.indexOf(request), 1);
  releaseInterval(core, volume, request.interval);
};

/**
 * P_RS_DATA_REPLY, P_RS_DEALLOCATED. The payload is lent, and kept here. Without a disk, or when the resync was given up
 * meanwhile, the block is refused (P_NEG_ACK) and stays marked on both nodes.
 */
export const resyncReply = (core: Core, volume: Volume, peerDevice: PeerDevice, connection: Connection, packet: DataPacket | BlockRangePacket): void => {
  const { resync } = peerDevice;
  const { sector } = packet;
  const sizeBytes = 'data' in packet ? packet.data.length : packet.sizeBytes;
  const wrong = rangeError(volume, sector, sizeBytes, maxRequestBytes(connection.protocolVersion));
  if (wrong) return loseConnection(core, connection, 'ProtocolError', `${packet.packet}: ${wrong}`);
  // What it says may be older than a write that came since; the block is asked for again.
  if (takeStale(peerDevice, sector, sizeBytes)) return;
  if (resync?.side !== 'target' || !hasDisk(volume)) {
    return sendAck(core, connection, peerDevice, volume, 'P_NEG_ACK', sector, sizeBytes, ID_SYNCER);
  }
  const request = findAsked(resync, sector, sizeBytes);
  if (!request || (!('data' in packet) && request.askedAs !== 'thin')) return loseConnection(core, connection, 'ProtocolError', notAsked(packet.packet, sector, sizeBytes));
  resync.answeredSectors += request.sectors;
  if ('data' in packet) request.data = ownBytes(core, connection, packet.data);
  request.stage = 'answered';
  if (requestIsAnswered(volume, request.interval).started) write(core, volume, peerDevice, connection, request);
};

/**
 * The source went Ahead in the middle of a resync: what it has not answered is not waited for. It answers each once, with P_RS_CANCEL or, if
 * it had left Ahead before our request came, with data (signalled to nobody: the range is asked for anew).
 */
export const forgetRequests = (peerDevice: PeerDevice, resync: ResyncState): void => {
  for (const { sector, sectors, stage } of resync.requests) if (stage === 'asked') peerDevice.staleRequests.push({ sector, sectors });
};

/** An answer to a request of an earlier resync on this connection: older requests are answered first, so it is theirs. */
const takeStale = (peerDevice: PeerDevice, sector: number, sizeBytes: number): boolean => {
  const index = peerDevice.staleRequests.findIndex((request) => request.sector === sector && request.sectors * 512 === sizeBytes);
  if (index >= 0) peerDevice.staleRequests.splice(index, 1);
  return index >= 0;
};

const notAsked = (name: string, sector: number, sizeBytes: number): string => `${name}: nobody asked for ${sizeBytes} bytes at sector ${sector}`;

/** A write that waited for earlier ones to its range may run (signal `interval-started`, kind resync-write). */
export const writeIntervalStarted = (
  core: Core,
  _resource: Resource,
  volume: Volume,
  peerDevice: PeerDevice,
  connection: Connection,
  interval: Interval,
): void => {
  const request = peerDevice.resync?.requests.find((one) => one.interval === interval.id);
  assert(request?.stage === 'answered', 'a resync write waits for its range');
  write(core, volume, peerDevice, connection, request);
};

const write = (core: Core, volume: Volume, peerDevice: PeerDevice, connection: Connection, request: ResyncRequest): void => {
  const { sector, sectors, data } = request;
  const then = { to: 'resync-write', peer: peerDevice.peer, interval: request.interval, connectCount: connection.connectCount } as const;
  request.operations = writeRange(core, volume, { content: data ? 'data' : 'discard', sector, sectors, data, fua: false }, false, then);
  request.stage = 'writing';
  request.data = undefined;
};

/**
 * An operation of a resync write has ended; the last one's end is that of the write. One that was given up with its connection clears nothing:
 * on the next one the blocks may already mean something else. To be called for operations of an earlier attachment too.
 */
export const resyncWriteDone = (
  core: Core,
  resource: Resource,
  volume: Volume,
  peerDevice: PeerDevice,
  connection: Connection,
  then: Then & { to: 'resync-write' },
  operation: DiskOperation,
  result: OperationResult,
): void => {
  const { resync } = peerDevice;
  const request = resync?.requests.find((one) => one.interval === then.interval);
  if (!resync || !request) {
    // The range was kept for as long as the disk was busy with it.
    if (findInterval(volume, then.interval) && !isBusyWith(core, volume, then.interval)) releaseInterval(core, volume, then.interval);
    return;
  }
  const more = tryOtherwise(core, volume, operation, result);
  request.operations += more - 1;
  if (more === 0) request.failed ||= !result.ok;
  if (!result.ok && more === 0) signalDiskError(core, resource, volume, 'write', request, `resync ${operation.kind} ${result.failure}`);
  if (request.operations > 0) return;
  forget(core, volume, resync, request);
  if (!request.failed) {
    markWrittenOnBoth(core, volume, peerDevice, request.sector, request.sectors);
    sendAck(core, connection, peerDevice, volume, 'P_RS_WRITE_ACK', request.sector, request.sectors * 512, ID_SYNCER);
  } else {
    markFailed(resync, peerDevice, request.sector, request.sectors);
    sendAck(core, connection, peerDevice, volume, 'P_NEG_ACK', request.sector, request.sectors * 512, ID_SYNCER);
  }
  askForMore(core, volume, peerDevice, connection, resync);
  checkFinished(core, resource, volume, peerDevice, connection);
};

/** Is the disk still at an operation of the resync write in this range? */
const isBusyWith = (core: Core, volume: Volume, interval: number): boolean =>
  [...core.state.operations.values()].some(({ resource, volume: number, then }) => resource === volume.resource && number === volume.number && then.to === 'resync-write' && then.interval === interval);

/** P_NEG_RS_DREPLY: the source cannot read the blocks; they stay out of sync. */
export const negResyncReply = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, connection: Connection, packet: AckPacket): void => {
  const request = takeUnanswered(core, volume, peerDevice, connection, packet);
  if (!request) return;
  markFailed(peerDevice.resync!, peerDevice, request.sector, request.sectors);
  checkFinished(core, resource, volume, peerDevice, connection);
};

/**
 * P_RS_IS_IN_SYNC: the source holds the same as we did when we read. After an error on our disk since then the blocks stay marked, and are
 * asked for without a digest. The block id is garbage from a kernel.
 */
export const resyncInSync = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, connection: Connection, packet: AckPacket): void => {
  if (peerDevice.hasStaleDigests) return;
  const request = takeUnanswered(core, volume, peerDevice, connection, packet);
  if (!request) return;
  if (request.askedAs !== 'digest') return loseConnection(core, connection, 'ProtocolError', `${packet.packet}: sector ${packet.sector} was asked for without a digest`);
  if (mayCompare(volume)) markWrittenOnBoth(core, volume, peerDevice, request.sector, request.sectors);
  askForMore(core, volume, peerDevice, connection, peerDevice.resync!);
  checkFinished(core, resource, volume, peerDevice, connection);
};

/** P_RS_CANCEL: the source cannot answer now; the blocks are asked for again later. */
export const resyncCancelled = (core: Core, _resource: Resource, volume: Volume, peerDevice: PeerDevice, connection: Connection, packet: AckPacket): void => {
  takeUnanswered(core, volume, peerDevice, connection, packet);
};

const takeUnanswered = (core: Core, volume: Volume, peerDevice: PeerDevice, connection: Connection, packet: AckPacket): ResyncRequest | undefined => {
  const { resync } = peerDevice;
  if (takeStale(peerDevice, packet.sector, packet.sizeBytes) || resync?.side !== 'target') return undefined;
  const request = findAsked(resync, packet.sector, packet.sizeBytes);
  if (!request) {
    loseConnection(core, connection, 'ProtocolError', notAsked(packet.packet, packet.sector, packet.sizeBytes));
    return undefined;
  }
  resync.answeredSectors += request.sectors;
  forget(core, volume, resync, request);
  return request;
};
