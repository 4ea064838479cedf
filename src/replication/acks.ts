/**
 * What the peer says about our requests: acknowledgements, negative ones, read replies, barrier acknowledgements; and what
 * becomes of requests when it says nothing any more (wire-protocol.md §5.3, §5.6; sync-and-activity-log.md §5.3, §6).
 */

import { loseConnection } from '../connection/loss.js';
import { ownBytes } from '../connection/receive.js';
import { dataStreamSent } from '../connection/send.js';
import { log, type Core } from '../model/core.js';
import type { Connection, NetPart, Request, Resource, Volume } from '../model/types.js';
import { deviceOf, volumeOf } from '../model/view.js';
import type { AckPacket, BlockId, DataPacket, PacketOf } from '../wire/packets.js';
import { markOutOfSync } from './bits.js';
import { completeIfDone, letPeerPass, missesDisk, retryElsewhere, routeAgain, startAgain } from './completion.js';
import { barrierAcknowledged, isEpochAcknowledged } from './epochs.js';
import { requestIdOf } from './submit.js';

/** The request that an answer names: id, sector and part must all fit (bug B023: matched by sector alone). */
export const findRequest = (resource: Resource, connection: Connection, blockId: BlockId, sector: number): { request: Request; part: NetPart } | undefined => {
  const request = resource.log.requests.get(requestIdOf(blockId));
  if (!request || request.sector !== sector) return undefined;
  const part = request.net.find(({ peer, connectCount }) => peer === connection.peer && connectCount === connection.connectCount);
  return part && !part.done ? { request, part } : undefined;
};

/** P_RECV_ACK, P_WRITE_ACK, P_RS_WRITE_ACK with an id of ours. */
export const writeAcknowledged = (core: Core, resource: Resource, connection: Connection, packet: AckPacket): void => {
  const found = findRequest(resource, connection, packet.blockId, packet.sector);
  if (!found || found.request.kind !== 'write') {
    return loseConnection(core, connection, 'NetworkFailure', `${packet.packet} for an unknown request at sector ${packet.sector}`);
  }
  const { request, part } = found;
  part.ok = true;
  if (packet.packet === 'P_RS_WRITE_ACK') part.setInSync = true;
  // With protocol B a write ack may follow the receive ack during a resync: the wait has ended already.
  if (part.waitsFor === 'receive-ack' || part.waitsFor === 'write-ack') part.waitsFor = 'nothing';
  const volume = volumeOf(resource, request.volume);
  letPeerPass(core, resource, volume, request);
  completeIfDone(core, resource, volume, request);
};

/** P_NEG_ACK with an id of ours, perhaps of a request that is complete and forgotten (A, B): the peer lacks it. */
export const writeRefused = (core: Core, resource: Resource, connection: Connection, packet: AckPacket): void => {
  const volume = volumeOf(resource, packet.volume);
  const found = findRequest(resource, connection, packet.blockId, packet.sector);
  if (found && found.request.kind === 'write') {
    found.part.ok = false;
    found.part.waitsFor = 'nothing';
    markOutOfSync(deviceOf(volume, connection.peer), found.request.sector, found.request.sectors);
    letPeerPass(core, resource, volume, found.request);
    return completeIfDone(core, resource, volume, found.request);
  }
  const sectors = packet.sizeBytes / 512;
  if (packet.sector + sectors > volume.sizeSectors || !Number.isInteger(sectors)) {
    return loseConnection(core, connection, 'NetworkFailure', `P_NEG_ACK beyond the device, sector ${packet.sector}`);
  }
  markOutOfSync(deviceOf(volume, connection.peer), packet.sector, sectors);
};

/** P_DATA_REPLY. The payload is lent, and kept here. */
export const readAnswered = (core: Core, resource: Resource, connection: Connection, packet: DataPacket): void => {
  const found = findRequest(resource, connection, packet.blockId, packet.sector);
  if (!found || found.part.waitsFor !== 'data' || packet.data.length !== found.request.sectors * 512) {
    return loseConnection(core, connection, 'ProtocolError', `P_DATA_REPLY for an unknown read at sector ${packet.sector}`);
  }
  const { request, part } = found;
  request.data = ownBytes(core, connection, packet.data);
  part.ok = true;
  part.waitsFor = 'nothing';
  part.done = true;
  completeIfDone(core, resource, volumeOf(resource, request.volume), request);
};

/** P_NEG_DREPLY: the peer could not read it either; another path is tried, or none is left. */
export const readRefused = (core: Core, resource: Resource, connection: Connection, packet: AckPacket): void => {
  const found = findRequest(resource, connection, packet.blockId, packet.sector);
  if (!found || found.part.waitsFor !== 'data') {
    return loseConnection(core, connection, 'ProtocolError', `P_NEG_DREPLY for an unknown read at sector ${packet.sector}`);
  }
  found.part.waitsFor = 'nothing';
  found.part.done = true;
  routeAgain(core, volumeOf(resource, found.request.volume), found.request);
};

/** The transport took more of our bytes: writes of protocol A that it has taken whole are done for the application. */
export const transportTook = (core: Core, resource: Resource, connection: Connection): void => {
  const waiting = connection.sender.awaitingTransport;
  const taken = dataStreamSent(connection);
  while (waiting.length > 0 && waiting[0]!.endBytes <= taken) {
    const request = resource.log.requests.get(waiting.shift()!.request);
    const part = request?.net.find(({ peer }) => peer === connection.peer);
    if (!request || part?.waitsFor !== 'transport') continue;
    part.ok = true;
    part.waitsFor = 'nothing';
    completeIfDone(core, resource, volumeOf(resource, request.volume), request);
  }
};

/** P_BARRIER_ACK: every write of the epoch is on the peer's disk path for good; they leave the log, flushes may end. */
export const epochAcknowledged = (core: Core, resource: Resource, connection: Connection, packet: PacketOf<'P_BARRIER_ACK'>): void => {
  for (const id of barrierAcknowledged(core, connection, packet)) {
    const request = resource.log.requests.get(id);
    const part = request?.net.find(({ peer }) => peer === connection.peer);
    if (!request || !part) continue;
    if (part.waitsFor === 'receive-ack' || part.waitsFor === 'write-ack' || part.waitsFor === 'transport') {
      if (part.waitsFor !== 'transport') log(core, resource.name, 'warning', `barrier ack before the ack of the write at sector ${request.sector}`);
      part.waitsFor = 'nothing';
      part.ok = true;
    }
    part.done = true;
    completeIfDone(core, resource, volumeOf(resource, request.volume), request);
  }
  answerFlushes(core, resource, connection);
};

/** Flushes that waited for epochs which are acknowledged now, or which no longer have anything to acknowledge. */
export const answerFlushes = (core: Core, resource: Resource, connection: Connection): void => {
  const flushes: Request[] = [];
  for (const request of resource.log.requests.values()) if (request.kind === 'flush') flushes.push(request);
  for (const request of flushes) {
    const part = request.net.find(({ peer, waitsFor }) => peer === connection.peer && waitsFor === 'barrier-ack');
    if (!part || !isEpochAcknowledged(connection, request.epoch)) continue;
    part.ok = true;
    part.waitsFor = 'nothing';
    part.done = true;
    completeIfDone(core, resource, volumeOf(resource, request.volume), request);
  }
};

/** Forgets what was under way on the wire; the requests themselves wait for `failNetworkParts` or `resend`. */
export const resetSender = (connection: Connection): void => {
  connection.sender.epochs = [];
  connection.sender.awaitingTransport = [];
};

/**
 * The peer's part of every request in the log is lost, acked or not, unless the barrier was acknowledged (§5.6): writes
 * complete with their local result and are marked out of sync, reads look for another path.
 */
export const failNetworkParts = (core: Core, resource: Resource, connection: Connection): void => {
  const again: Request[] = [];
  for (const request of [...resource.log.requests.values()]) {
    const part = request.net.find(({ peer, done }) => peer === connection.peer && !done);
    if (!part) continue;
    const volume: Volume = volumeOf(resource, request.volume);
    part.ok = false;
    part.done = true;
    const waited = part.waitsFor;
    part.waitsFor = 'nothing';
    if (missesDisk(volume, request)) again.push(request);
    else if (request.kind === 'read' && waited === 'data') retryElsewhere(core, volume, request);
    else completeIfDone(core, resource, volume, request);
  }
  for (const volume of resource.volumes.values()) startAgain(core, volume, again.filter(({ volume: of }) => of === volume.number));
};
