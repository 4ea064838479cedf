/**
 * `on-congestion` with protocol A: when too much is on its way to the peer, the Primary stops mirroring (Ahead), marks what it
 * writes and tells the peer the ranges (P_OUT_OF_SYNC), and brings the peer (Behind) up to date by a resync when the queue has
 * drained (wire-protocol.md §9, sync-and-activity-log.md §5.6). No bitmaps are exchanged then: all that we have marked the
 * peer must have marked too, when P_SYNC_UUID goes out.
 */

import { refuseConnection } from '../connection/loss.js';
import { sendPacket } from '../connection/send.js';
import { nextRun, nextSetBit } from '../metadata/bitmap.js';
import { log, type Core } from '../model/core.js';
import { isTimerSet, setTimer } from '../model/timers.js';
import type { Connection, PeerDevice, Resource, Volume } from '../model/types.js';
import { connOf, deviceOf, stateOf } from '../model/view.js';
import { planWrite } from '../replication/plan.js';
import { holdServing, isServed, serveAgain } from '../resync/source.js';
import { isSuccess } from '../state/refusals.js';
import { Conn, Disk } from '../state/states.js';
import { usedExtents } from '../volume/activity-log.js';
import { changeState } from './change.js';

/** P_OUT_OF_SYNC, P_RS_CANCEL and the peer's Behind came with it. */
const AHEAD_PROTOCOL = 96;
/** timers-and-order.md §1.3, "leave Ahead". */
const QUIET_US = 1_000_000;
const RETRY_US = 100_000;
const SECTORS_PER_BIT = 8;
/** The longest range of one notice: 128 MiB. */
const NOTICE_BITS_MAX = 32768;

/**
 * A write is about to go out. True: a state changes because of it, so that where it goes must be decided anew, after the peer
 * was told.
 */
export const relieve = (core: Core, resource: Resource, volume: Volume): boolean => {
  let hasChanged = false;
  for (const connection of resource.connections.values()) {
    const device = deviceOf(volume, connection.peer);
    const { onCongestion } = connection.config.net;
    if (onCongestion === 'block' || !isCongested(resource, volume, connection, device)) continue;
    if (onCongestion === 'disconnect') {
      refuseConnection(core, connection, 'the connection is congested');
      hasChanged = true;
    } else if (pullAhead(core, resource, volume, connection, device)) hasChanged = true;
  }
  return hasChanged;
};

/** Only where writes are mirrored from a good disk: without one there is nothing to go on with alone. */
const isCongested = (resource: Resource, volume: Volume, connection: Connection, device: PeerDevice): boolean => {
  const { protocol, congestionFill, congestionExtents } = connection.config.net;
  if (protocol !== 'A' || connection.protocolVersion < AHEAD_PROTOCOL || volume.disk !== Disk.UpToDate || !volume.backing) return false;
  if (!planWrite(stateOf(resource, volume, connection, device), connection.protocolVersion).mirror) return false;
  return (congestionFill > 0 && unacknowledgedSectors(resource, volume, connection) >= congestionFill) || usedExtents(volume.backing.activityLog) >= congestionExtents;
};

/** Written to the peer and not barrier-acknowledged, in whatever buffer it is: our own queue counts, which the kernel does not have. */
const unacknowledgedSectors = (resource: Resource, volume: Volume, connection: Connection): number => {
  let sectors = 0;
  for (const { requests } of connection.sender.epochs) {
    for (const id of requests) {
      const request = resource.log.requests.get(id);
      if (request?.volume === volume.number) sectors += request.sectors;
    }
  }
  return sectors;
};

/**
 * Ahead, from Connected or from a resync. In a resync the target's acknowledgements are waited for first: one that came after the next
 * resync has begun would clear the mark of a block that was written since.
 */
const pullAhead = (core: Core, resource: Resource, volume: Volume, connection: Connection, device: PeerDevice): boolean => {
  const conn = connOf(connection, device);
  if (conn !== Conn.Connected && conn !== Conn.SyncSource && conn !== Conn.PausedSyncS) return false;
  // It is about to end.
  if (device.resync && (device.resync.phase !== 'running' || device.resync.targetIsDone)) return false;
  if (device.resync && !holdServing(device.resync)) {
    armTimer(core, volume, connection, RETRY_US);
    return false;
  }
  device.hasUnannouncedMarks = (device.bitmap?.weight ?? 0) > 0;
  return isSuccess(changeState(core, resource, [volume], connection, { conn: Conn.Ahead }, 'soft', 'congestion'));
};

const armTimer = (core: Core, volume: Volume, connection: Connection, afterUs: number): void => {
  if (!isTimerSet(core, 'leave-ahead', volume.resource, connection.peer, volume.number)) {
    setTimer(core, 'leave-ahead', volume.resource, connection.peer, volume.number, afterUs);
  }
};

/** The peer acknowledged an epoch, or we are Ahead since now: when nothing is on its way any more, the way back begins. */
export const checkDrained = (core: Core, resource: Resource, volume: Volume, connection: Connection, device: PeerDevice): void => {
  if (device.repl === Conn.Ahead && unacknowledgedSectors(resource, volume, connection) === 0) armTimer(core, volume, connection, QUIET_US);
};

/** Timer leave-ahead. Also looks after a resync that was held and then not left after all. */
export const congestionTimer = (core: Core, resource: Resource, volume: Volume, connection: Connection, device: PeerDevice): void => {
  if (device.resync && !isServed(device.resync)) {
    if (isCongested(resource, volume, connection, device)) armTimer(core, volume, connection, RETRY_US);
    else serveAgain(core, resource, volume, device, connection, device.resync);
  } else if (device.repl === Conn.Ahead && !leaveAhead(core, resource, volume, connection, device)) armTimer(core, volume, connection, RETRY_US);
};

const leaveAhead = (core: Core, resource: Resource, volume: Volume, connection: Connection, device: PeerDevice): boolean => {
  if (unacknowledgedSectors(resource, volume, connection) > 0) return false;
  if (device.hasUnannouncedMarks) announceMarks(core, volume, connection, device);
  device.hasUnannouncedMarks = false;
  return isSuccess(changeState(core, resource, [volume], connection, { conn: Conn.SyncSource }, 'soft', 'congestion is over'));
};

/** Marks that are older than Ahead, or came by another way than a write: the peer may lack some, and would never ask for their blocks. */
const announceMarks = (core: Core, volume: Volume, connection: Connection, device: PeerDevice): void => {
  const { bitmap } = device;
  if (!bitmap) return;
  log(core, volume.resource, 'info', `volume ${volume.number}: all ${bitmap.weight} marked blocks are announced`);
  for (let bit = nextSetBit(bitmap, 0); bit !== -1; ) {
    const bits = Math.min(nextRun(bitmap, bit).bits, NOTICE_BITS_MAX);
    const sector = bit * SECTORS_PER_BIT;
    const sectors = Math.min(bits * SECTORS_PER_BIT, volume.sizeSectors - sector);
    sendPacket(core, connection, { packet: 'P_OUT_OF_SYNC', volume: volume.number, sector, sizeBytes: sectors * 512 });
    bit = nextSetBit(bitmap, bit + bits);
  }
};
