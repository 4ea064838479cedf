/**
 * Two Primaries write the same sectors at the same time (wire-protocol.md §5.9). One node, the one with the resolve-conflicts flag,
 * says which write comes first; the other one does as it is told. So both disks end equal:
 *
 * The node that decides finds a write of the peer that overlaps writes of its own which the peer had not acknowledged when it made
 * it. (One that is acknowledged came before, and one that has not left us comes after: no conflict.) A write that lies inside
 * one of ours is ordered just before ours, and answered P_SUPERSEDED. What sticks out is to be made again after ours:
 * P_RETRY_WRITE; peers before protocol 100 do not know that answer, so there it is ordered before ours as well, and what sticks
 * out is written. The same where parts of it may already be known to somebody: sent again after a freeze, or read by a resync.
 *
 * The other node holds a write of the deciding one back until its own is on its disk and decided, and then writes it over
 * it. A write that has to be made again waits for the one that it lost against, and then goes its whole way once more.
 *
 * The deciding node never waits for the other one, so no two writes wait for each other. A superseded write is answered when
 * what supersedes it is on our disk for good: its Primary counts it as replicated, and no barrier will ask for it.
 */

import { loseConnection } from '../connection/loss.js';
import { signal, type Core } from '../model/core.js';
import type { Connection, PeerDevice, Request, Resource, Volume, WriteContent } from '../model/types.js';
import { deviceOf, volumeOf } from '../model/view.js';
import { Conn } from '../state/states.js';
import { overlapsPeerWrite, useAgain } from '../volume/intervals.js';
import type { AckPacket } from '../wire/packets.js';
import { answerFlushes, findRequest } from './acks.js';
import { markOutOfSync } from './bits.js';
import { completeIfDone, letPeerPass } from './completion.js';
import { forgetSentWrite } from './epochs.js';
import { hasDisk } from './plan.js';

export type Verdict = 'no-conflict' | 'superseded' | 'retry';

/** What becomes of a write of the peer (sectors), and the writes of ours that it is in conflict with. */
export const judgeConflict = (
  resource: Resource,
  volume: Volume,
  connection: Connection,
  device: PeerDevice,
  content: WriteContent,
  sector: number,
  sectors: number,
): { verdict: Verdict; rivals: Request[] } => {
  const rivals = connection.resolveConflicts ? rivalsOf(resource, volume, connection, sector, sectors) : [];
  if (rivals.length === 0) return { verdict: 'no-conflict', rivals };
  const isInside = rivals.some((rival) => rival.sector <= sector && sector + sectors <= rival.sector + rival.sectors);
  const isKnown = device.repl !== Conn.Connected || rivals.some(({ net }) => net.some(({ resent, connectCount }) => resent || connectCount !== connection.connectCount));
  if (connection.protocolVersion < 100) return { verdict: 'superseded', rivals };
  // Zeros may be very long, and without bytes that ours could be put into.
  if (content !== 'data') return { verdict: 'retry', rivals };
  return { verdict: isInside || isKnown ? 'superseded' : 'retry', rivals };
};

/** Writes of ours that overlap this range and that the peer has not acknowledged; also those that are about to be sent again after a freeze. */
const rivalsOf = (resource: Resource, volume: Volume, connection: Connection, sector: number, sectors: number): Request[] => {
  const rivals: Request[] = [];
  for (const request of resource.log.requests.values()) {
    if (request.kind !== 'write' || request.volume !== volume.number || request.sector >= sector + sectors || sector >= request.sector + request.sectors) continue;
    const isOpen = request.net.some(({ peer, waitsFor }) => peer === connection.peer && waitsFor === 'write-ack');
    if (isOpen) rivals.push(request);
  }
  return rivals;
};

/** The peer's data as it is after ours was written over it. `data` is changed. */
export const overwriteBy = (rivals: readonly Request[], sector: number, data: Uint8Array): void => {
  for (const rival of rivals) {
    const from = Math.max(sector, rival.sector);
    const to = Math.min(sector + data.length / 512, rival.sector + rival.sectors);
    if (rival.data) data.set(rival.data.subarray((from - rival.sector) * 512, (to - rival.sector) * 512), (from - sector) * 512);
    else data.fill(0, (from - sector) * 512, (to - sector) * 512);
  }
};

/** P_SUPERSEDED, P_RETRY_WRITE: what the node that decides has decided about a write of ours. */
export const conflictDecided = (core: Core, resource: Resource, connection: Connection, packet: AckPacket): void => {
  const found = findRequest(resource, connection, packet.blockId, packet.sector);
  if (connection.resolveConflicts || !found || found.request.kind !== 'write' || found.part.waitsFor !== 'write-ack') {
    return loseConnection(core, connection, 'ProtocolError', `${packet.packet} at sector ${packet.sector} for no write that it could be about`);
  }
  const { request, part } = found;
  const volume = volumeOf(resource, request.volume);
  part.waitsFor = 'nothing';
  part.done = true;
  // Its barrier will not count it (and the kernel's own never comes, if it was counted there).
  forgetSentWrite(connection, request.epoch, request.id);
  if (packet.packet === 'P_SUPERSEDED') {
    part.ok = true;
    letPeerPass(core, resource, volume, request);
    completeIfDone(core, resource, volume, request);
  } else {
    // Without a disk nobody registers what the peer writes: it may have come, and been refused.
    request.retry = overlapsPeerWrite(volume, request.sector, request.sectors) || !hasDisk(volume) ? 'due' : 'told';
    letPeerPass(core, resource, volume, request);
    retryIfDue(core, volume, request);
  }
  answerFlushes(core, resource, connection);
};

/** A write of the peer was received: ours that have to be made again after it follow it. */
export const rivalArrived = (core: Core, resource: Resource, volume: Volume, sector: number, sectors: number): void => {
  for (const request of resource.log.requests.values()) {
    const overlaps = request.sector < sector + sectors && sector < request.sector + request.sectors;
    if (request.retry !== 'told' || request.volume !== volume.number || !overlaps) continue;
    request.retry = 'due';
    retryIfDue(core, volume, request);
  }
};

/** The connection is lost: nothing has to be waited for, and what our disk took of them the peer lacks. */
export const retryAfterLoss = (core: Core, resource: Resource, connection: Connection): void => {
  for (const request of resource.log.requests.values()) {
    if (request.retry === 'no') continue;
    const volume = volumeOf(resource, request.volume);
    markOutOfSync(deviceOf(volume, connection.peer), request.sector, request.sectors);
    if (request.retry === 'told') request.retry = 'due';
    retryIfDue(core, volume, request);
  }
};

/** Everything from the beginning, but for its extents, which stay active: until it is on both, our disk alone may have parts of it. */
export const retryIfDue = (core: Core, volume: Volume, request: Request): void => {
  if (request.retry !== 'due' || request.local === 'pending') return;
  request.retry = 'again';
  request.net = [];
  request.local = 'none';
  request.submitted = false;
  if (--volume.writesInFlight === 0 && volume.holds.length > 0) signal(core, { signal: 'writes-drained', resource: volume.resource, volume: volume.number });
  request.parked = true;
  useAgain(core, volume, request.interval);
};
