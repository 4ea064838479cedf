/**
 * Online verify (wire-protocol.md §8): the node that was asked to (VerifyS, the source) asks the other (VerifyT, the target) for the
 * digest of each block, compares it with its own, and tells the result. What differs is marked on both sides; nothing is repaired
 * before the next resync. No state changes but the marks: disks stay UpToDate, UUIDs stay.
 *
 * Both digests must be of the same moment between the writes to a block. The source registers the block before it asks, waits for
 * own writes to it, and holds them back until it has read the block itself. The target's read stands entirely before or behind its
 * own writes, and those behind it come after its answer on the data stream (source.ts); so the source reads when everything that
 * came before the answer is written, and before what comes behind.
 *
 * Serving as the target is in source.ts; the states are the resource room's.
 */

import { loseConnection } from '../connection/loss.js';
import { sendPacket, unsentBytes } from '../connection/send.js';
import { assert, emit, readDisk, signal, type Core } from '../model/core.js';
import type { DiskOperation, OperationResult, Then } from '../model/operations.js';
import { clearTimer, setTimer } from '../model/timers.js';
import type { Connection, Interval, PeerDevice, Resource, Volume } from '../model/types.js';
import { markOutOfSync, markUnreadable } from '../replication/bits.js';
import { rangeError, sendAck } from '../replication/receiver.js';
import { findInterval, registerInterval, releaseInterval, requestIsAnswered } from '../volume/intervals.js';
import { zeros } from '../volume/zeros.js';
import { ID_IN_SYNC, ID_OUT_OF_SYNC, ID_SYNCER, sameBlockId, type AckPacket, type DigestPacket } from '../wire/packets.js';
import { bitmapOf, blockDigest, fenceIsPassed, mustGiveWay, requestFence, sameBytes, sendBufferBytes, signalDiskError } from './progress.js';
import { advanceMarks, newController, newMarks, ratePlan, roomBlocks, TICK_US } from './rate.js';
import type { VerifyRequest, VerifyState } from './types.js';

const SECTORS_PER_BIT = 8;
const BIT_BYTES = 4096;
/** Below this version the target takes it that a verify begins at sector 0. */
const START_SECTOR = 90;
const NO_DIGEST = new Uint8Array(0);

/** conn has just become VerifyS or VerifyT. The source starts at its next tick, where `aimVerify` says. */
export const startVerify = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, connection: Connection, side: 'source' | 'target'): void => {
  assert(peerDevice.verify === undefined, 'a verify ends before the next one starts');
  peerDevice.verify = {
    side,
    phase: 'running',
    fenceAcks: 0,
    startSector: 0,
    leftBits: bitmapOf(peerDevice).bits,
    foundBits: 0,
    marks: newMarks(core.nowUs, bitmapOf(peerDevice).bits),
    lastApplicationSectors: volume.applicationSectors,
    positionSector: 0,
    endSector: volume.sizeSectors,
    requests: [],
    answeredSectors: 0,
    controller: newController(),
    isAsked: false,
    delayed: [],
    reads: new Map(),
  };
  if (side === 'target') return;
  aimVerify(core, volume, peerDevice, connection, undefined, undefined);
  setTimer(core, 'resync-tick', resource.name, peerDevice.peer, volume.number, 0);
};

/** Where to begin (default: where the last verify ended), rounded down to a block, and where to stop. Before the first tick. */
export const aimVerify = (core: Core, volume: Volume, peerDevice: PeerDevice, connection: Connection, startSector: number | undefined, stopSector: number | undefined): void => {
  const verify = mustVerify(peerDevice);
  const { bits } = bitmapOf(peerDevice);
  const wanted = Math.floor((startSector ?? peerDevice.verifyFromSector) / SECTORS_PER_BIT);
  const bit = connection.protocolVersion < START_SECTOR ? 0 : Math.min(wanted, bits - 1);
  verify.startSector = verify.positionSector = bit * SECTORS_PER_BIT;
  verify.leftBits = bits - bit;
  verify.marks = newMarks(core.nowUs, verify.leftBits);
  verify.endSector = endOf(volume, verify, connection, stopSector);
};

/** The stop sector while a verify runs: it ends with what is on its way if it is further already. */
export const moveVerifyStop = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, connection: Connection, stopSector: number | undefined): void => {
  const verify = mustVerify(peerDevice);
  verify.endSector = endOf(volume, verify, connection, stopSector);
  if (verify.phase === 'running' && verify.positionSector < verify.endSector) setTimer(core, 'resync-tick', resource.name, peerDevice.peer, volume.number, 0);
  else checkVerified(core, resource, volume, peerDevice, connection);
};

/** A verify compares at least one block. A peer that does not look for our P_STATE counts blocks up to the end of the device. */
const endOf = (volume: Volume, verify: VerifyState, connection: Connection, stopSector: number | undefined): number =>
  stopSector === undefined || !verifyCanStop(connection.protocolVersion) ? volume.sizeSectors : Math.min(volume.sizeSectors, Math.max(stopSector, verify.startSector + 1));

/** Does the target end when the source's P_STATE says Connected (wire-protocol.md §8 step 5, §12)? */
export const verifyCanStop = (protocolVersion: number): boolean => protocolVersion >= 97 && protocolVersion !== 100;

const mustVerify = (peerDevice: PeerDevice): VerifyState => {
  assert(peerDevice.verify !== undefined, 'a verify runs');
  return peerDevice.verify;
};

/** conn is not VerifyS or VerifyT any more: done, aborted, or the connection is lost. What is on its way is forgotten. */
export const endVerify = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice): void => {
  const verify = mustVerify(peerDevice);
  const reached = reachedSector(volume, verify);
  // Without an announced beginning there is nothing to tell.
  const isFinished = verify.phase === 'fencing' && verify.fenceAcks === 0;
  if (verify.isAsked) observe(core, volume, peerDevice, verify, isFinished ? 'finished' : 'aborted', reached);
  if (verify.isAsked) peerDevice.verifyFromSector = reached >= volume.sizeSectors ? 0 : reached;
  peerDevice.verify = undefined;
  for (const kind of ['resync-tick', 'serve-delay'] as const) clearTimer(core, kind, resource.name, peerDevice.peer, volume.number);
  for (const interval of [...verify.requests.map((request) => request.interval), ...verify.reads.keys()]) {
    if (findInterval(volume, interval)) releaseInterval(core, volume, interval);
  }
};

/** Everything before it was compared in this run. A target knows how many blocks were, and that they come in order. */
const reachedSector = (volume: Volume, verify: VerifyState): number => {
  if (verify.side === 'source') return verify.requests[0]?.sector ?? verify.positionSector;
  return Math.min(volume.sizeSectors, (Math.ceil(volume.sizeSectors / SECTORS_PER_BIT) - verify.leftBits) * SECTORS_PER_BIT);
};

const observe = (core: Core, volume: Volume, peerDevice: PeerDevice, verify: VerifyState, what: 'started' | 'finished' | 'aborted', reachedSector: number): void => {
  const { side, startSector, foundBits } = verify;
  emit(core, { type: 'observe', event: { event: 'verify', resource: volume.resource, volume: volume.number, peer: peerDevice.peer, what, side, startSector, reachedSector, foundBits } });
};

const begin = (core: Core, volume: Volume, peerDevice: PeerDevice, verify: VerifyState): void => {
  if (verify.isAsked) return;
  verify.isAsked = true;
  observe(core, volume, peerDevice, verify, 'started', verify.startSector);
};

// ---- The source ---------------------------------------------------------------------------------------------------------

/** Timer `resync-tick`: asks for the next blocks. */
export const verifyTick = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, connection: Connection): void => {
  const { verify } = peerDevice;
  if (verify?.side !== 'source' || verify.phase !== 'running' || verify.positionSector >= verify.endSector) return;
  setTimer(core, 'resync-tick', resource.name, peerDevice.peer, volume.number, TICK_US);
  begin(core, volume, peerDevice, verify);
  const budget = takeBudget(verify, volume, connection);
  if (mustGiveWay(core, volume, peerDevice, verify) || unsentBytes(connection) > sendBufferBytes(connection) / 2) return;
  for (let left = budget; left > 0 && verify.positionSector < verify.endSector; left--) {
    const sector = verify.positionSector;
    const sectors = Math.min(SECTORS_PER_BIT, volume.sizeSectors - sector);
    verify.positionSector += sectors;
    const interval = registerInterval(core, volume, 'verify-request', sector, sectors, 0, peerDevice.peer);
    verify.requests.push({ sector, sectors, interval: interval.id, stage: interval.started ? 'free' : 'waiting', digest: NO_DIGEST });
  }
  askInOrder(core, volume, connection, verify);
};

const takeBudget = (verify: VerifyState, volume: Volume, connection: Connection): number => {
  const unansweredSectors = verify.requests.reduce((sum, { sectors }) => sum + sectors, 0);
  const step = { answeredSectors: verify.answeredSectors, inFlightSectors: unansweredSectors, unwrittenSectors: unansweredSectors };
  const plan = ratePlan(verify.controller, volume.config.disk, step);
  verify.answeredSectors = 0;
  verify.controller = plan.controller;
  return Math.min(plan.blocks, roomBlocks(connection.config.net.maxBuffers, unansweredSectors));
};

/** The target takes the first request that it sees for the beginning, and counts from there. */
const askInOrder = (core: Core, volume: Volume, connection: Connection, verify: VerifyState): void => {
  for (const request of verify.requests) {
    if (request.stage === 'waiting') return;
    if (request.stage !== 'free') continue;
    request.stage = 'asked';
    sendPacket(core, connection, { packet: 'P_OV_REQUEST', volume: volume.number, sector: request.sector, blockId: ID_SYNCER, sizeBytes: request.sectors * 512 });
  }
};

/** What the block waited for is over (signal `interval-started`, kinds verify-request and verify-read). */
export const verifyIntervalStarted = (core: Core, volume: Volume, peerDevice: PeerDevice, connection: Connection, interval: Interval): void => {
  const verify = mustVerify(peerDevice);
  const request = verify.requests.find((one) => one.interval === interval.id);
  assert(request !== undefined, 'a block that is verified waits for its range');
  if (interval.kind === 'verify-read') return read(core, volume, peerDevice, request);
  request.stage = 'free';
  askInOrder(core, volume, connection, verify);
};

const read = (core: Core, volume: Volume, peerDevice: PeerDevice, request: VerifyRequest): void =>
  readDisk(core, volume, 'data', request.sector, request.sectors, { to: 'verify-read', peer: peerDevice.peer, interval: request.interval });

/** P_OV_REPLY. Who gave its verify up meanwhile lets the target count on. A digest of another size cannot be of this algorithm. */
export const verifyReply = (core: Core, volume: Volume, peerDevice: PeerDevice, connection: Connection, packet: DigestPacket): void => {
  const { verify } = peerDevice;
  const wrong = rangeError(volume, packet.sector, packet.sizeBytes, BIT_BYTES);
  if (wrong) return loseConnection(core, connection, 'ProtocolError', `P_OV_REPLY: ${wrong}`);
  if (verify?.side !== 'source') return sendAck(core, connection, peerDevice, volume, 'P_OV_RESULT', packet.sector, packet.sizeBytes, ID_IN_SYNC);
  const request = findAsked(verify, packet.sector, packet.sizeBytes);
  if (!request) return loseConnection(core, connection, 'ProtocolError', `P_OV_REPLY: nobody asked for ${packet.sizeBytes} bytes at sector ${packet.sector}`);
  if (packet.digest.length !== blockDigest(core, connection.config.net.verifyAlg, NO_DIGEST).length) {
    return loseConnection(core, connection, 'ProtocolError', `P_OV_REPLY: a digest of ${packet.digest.length} bytes`);
  }
  verify.answeredSectors += request.sectors;
  request.stage = 'answered';
  // Lent; copied once, here.
  request.digest = packet.digest.slice();
  if (requestIsAnswered(volume, request.interval).started) read(core, volume, peerDevice, request);
};

const findAsked = (verify: VerifyState, sector: number, sizeBytes: number): VerifyRequest | undefined =>
  verify.requests.find((one) => one.stage === 'asked' && one.sector === sector && one.sectors * 512 === sizeBytes);

/** P_NEG_RS_DREPLY, P_RS_CANCEL: the target does not say. The block is skipped, and the verify ends all the same (bug B196). */
export const verifyRefused = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, connection: Connection, packet: AckPacket): void => {
  const verify = mustVerify(peerDevice);
  const request = findAsked(verify, packet.sector, packet.sizeBytes);
  if (!request) return loseConnection(core, connection, 'ProtocolError', `${packet.packet}: nobody asked for ${packet.sizeBytes} bytes at sector ${packet.sector}`);
  verify.answeredSectors += request.sectors;
  forget(core, volume, verify, request);
  judged(core, resource, volume, peerDevice, connection, verify);
};

const forget = (core: Core, volume: Volume, verify: VerifyState, request: VerifyRequest): void => {
  verify.requests.splice(verify.requests.indexOf(request), 1);
  releaseInterval(core, volume, request.interval);
};

/** Our own block was read: the two are compared. One that cannot be read is equal to nothing. Of a verify that was given up nobody waits for it. */
export const verifyReadDone = (
  core: Core,
  resource: Resource,
  volume: Volume,
  peerDevice: PeerDevice,
  connection: Connection,
  then: Then & { to: 'verify-read' },
  operation: DiskOperation,
  result: OperationResult,
): void => {
  const { verify } = peerDevice;
  const request = verify?.requests.find((one) => one.interval === then.interval);
  if (!verify || !request) return markUnreadable(peerDevice, operation, result);
  const { sector, sectors } = request;
  const data = result.ok ? (result.data ?? zeros(sectors * 512)) : undefined;
  const isEqual = data !== undefined && sameBytes(blockDigest(core, connection.config.net.verifyAlg, data), request.digest);
  if (!isEqual) markDifference(core, volume, peerDevice, sector, sectors);
  sendAck(core, connection, peerDevice, volume, 'P_OV_RESULT', sector, sectors * 512, isEqual ? ID_IN_SYNC : ID_OUT_OF_SYNC);
  forget(core, volume, verify, request);
  judged(core, resource, volume, peerDevice, connection, verify);
  if (!result.ok) signalDiskError(core, resource, volume, 'read', { sector, sectors }, `verify read ${result.failure}`);
};

const markDifference = (core: Core, volume: Volume, peerDevice: PeerDevice, sector: number, sectors: number): void => {
  markOutOfSync(peerDevice, sector, sectors);
  if (peerDevice.verify) peerDevice.verify.foundBits++;
  emit(core, { type: 'observe', event: { event: 'out-of-sync', resource: volume.resource, volume: volume.number, peer: peerDevice.peer, sector, sectors } });
};

// ---- The target ---------------------------------------------------------------------------------------------------------

/**
 * A block was asked for: the first one says where the verify begins. A request behind what looked like the end (a word of the source from
 * before it began) takes that back.
 */
export const noteVerifyRequest = (core: Core, volume: Volume, peerDevice: PeerDevice, connection: Connection, verify: VerifyState, sector: number): void => {
  verify.phase = 'running';
  if (!verify.isAsked && connection.protocolVersion >= START_SECTOR) {
    verify.startSector = sector;
    verify.leftBits -= Math.floor(sector / SECTORS_PER_BIT);
  }
  begin(core, volume, peerDevice, verify);
};

/** P_OV_RESULT. Marks in any state: the block differs, whoever ended the verify meanwhile. */
export const verifyResult = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, connection: Connection, packet: AckPacket): void => {
  const { verify } = peerDevice;
  const wrong = rangeError(volume, packet.sector, packet.sizeBytes, BIT_BYTES);
  if (wrong) return loseConnection(core, connection, 'ProtocolError', `P_OV_RESULT: ${wrong}`);
  if (sameBlockId(packet.blockId, ID_OUT_OF_SYNC)) markDifference(core, volume, peerDevice, packet.sector, packet.sizeBytes / 512);
  if (verify?.side === 'target') judged(core, resource, volume, peerDevice, connection, verify);
};

/** The source's P_STATE says Connected: it has all results, and those that are for us are on their way, before the answer to a ping. */
export const finishAsVerifyTarget = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, connection: Connection): void => {
  if (peerDevice.verify?.phase === 'running') fence(core, resource, volume, peerDevice, connection, peerDevice.verify);
};

// ---- The end --------------------------------------------------------------------------------------------------------------

const judged = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, connection: Connection, verify: VerifyState): void => {
  verify.leftBits = Math.max(0, verify.leftBits - 1);
  advanceMarks(verify.marks, core.nowUs, verify.leftBits);
  checkVerified(core, resource, volume, peerDevice, connection);
};

const checkVerified = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, connection: Connection): void => {
  const verify = mustVerify(peerDevice);
  const isDone = verify.side === 'source' ? verify.positionSector >= verify.endSector && verify.requests.length === 0 : verify.leftBits === 0;
  if (isDone && verify.phase === 'running') fence(core, resource, volume, peerDevice, connection, verify);
};

const fence = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, connection: Connection, verify: VerifyState): void =>
  requestFence(core, resource, volume, peerDevice, connection, verify.side === 'source' ? 'verify-finish-source' : 'verify-finish-target', (device) => device.verify);

/** A P_PING_ACK with such a purpose came: to be called once for EVERY volume of the connection (lifecycle.ts `fencePassed`). */
export const verifyFencePassed = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice, side: 'source' | 'target'): void => {
  if (fenceIsPassed(peerDevice.verify, side)) signal(core, { signal: 'verify-complete', resource: resource.name, volume: volume.number, peer: peerDevice.peer });
};
