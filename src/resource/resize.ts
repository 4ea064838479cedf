/**
 * A device in use gets another size (node-states.md §8.8, wire-protocol.md §3.6, §7.9; bugs B172-B176). The operator's command drains
 * the volume, moves the metadata to where it belongs on the devices as they are now, takes the new size, and only when all that is on
 * disk tells the peer, who does the same before it answers. So nobody writes behind an end that a crash could bring back, and no
 * write is on its way behind one that is taken away. Then the part that is new to both is synced, unless the operator vouches for it.
 */

import { pauseData, resumeData } from '../connection/receive.js';
import { newSize, type AlGeometry, type Layout } from '../metadata/layout.js';
import { samePlace } from '../metadata/move.js';
import { AL_BLOCKS_MAX, AL_BLOCKS_MIN } from '../metadata/superblock.js';
import { log, signal, type Core } from '../model/core.js';
import type { Connection, PeerDevice, Procedure, Resource, Volume } from '../model/types.js';
import { hasDisk, hasUsableDisk } from '../replication/plan.js';
import { ConfigCode } from '../state/refusals.js';
import { Conn, Disk, Role } from '../state/states.js';
import { DdsFlag, type PacketOf } from '../wire/packets.js';
import { isIdle } from '../volume/activity-log.js';
import { releaseExtents } from '../volume/admission.js';
import { queueResize } from '../volume/metadata-io.js';
import { layoutNow } from '../volume/size.js';
import { sendSizes, sendUuids } from './announce.js';
import { changeState } from './change.js';
import { endHold, finish, hold, newProcedure, wait, type CommandOf } from './procedures.js';

const HOLD = 'the size is changing';
const Step = { Begin: 0, Drain: 1, Written: 2 } as const;
type Step = (typeof Step)[keyof typeof Step];

type Resize = CommandOf<'resize'>;

interface Goal {
  layout: Layout;
  sectors: number;
}

const deviceTo = (volume: Volume, connection: Connection): PeerDevice => volume.peers.get(connection.peer)!;

export const resize = (core: Core, resource: Resource, procedure: Procedure, what: Resize): void => {
  const volume = resource.volumes.get(what.volume);
  if (!volume) return finish(core, resource, procedure, ConfigCode.UnknownMinor);
  const connection = resource.connections.values().next().value!;
  const device = deviceTo(volume, connection);
  const end = (code: number): void => {
    if (procedure.step !== Step.Begin) endHold(core, volume, HOLD);
    if (isAsked(procedure)) {
      // Also where we could not follow: the peer waits for an answer.
      if (device.sizesAsked !== undefined && device.repl >= Conn.Connected) sendSizes(core, connection, volume, false, device.sizesAsked);
      device.sizesAsked = undefined;
      goOnReading(core, connection);
    }
    finish(core, resource, procedure, code);
    // Another one may wait for its turn.
    signal(core, { signal: 'procedures', resource: resource.name });
  };
  switch (procedure.step as Step) {
    case Step.Begin: {
      // One after the other: what the last one has brought is synced, or begun to be, before the next one is judged.
      if (isBusy(resource, procedure, volume) || (!isAsked(procedure) && device.hasNewPart && canSyncNewPart(volume, device))) return wait(procedure, 'state', Step.Begin);
      const refusal = mayResize(resource, volume, connection, device, procedure, what);
      if (refusal !== undefined) return end(refusal);
      hold(volume, HOLD);
      return drain(core, resource, procedure, volume, connection, device, what, end);
    }
    case Step.Drain:
      return drain(core, resource, procedure, volume, connection, device, what, end);
    case Step.Written:
      return written(core, procedure, volume, connection, device, what, end, resource);
  }
};

/** Another resize of this volume is under way (bug B173). */
const isBusy = (resource: Resource, procedure: Procedure, volume: Volume): boolean =>
  [...resource.procedures.values()].some(({ id, what, step }) => id !== procedure.id && what.verb === 'resize' && what.volume === volume.number && step !== Step.Begin);

const isAsked = (procedure: Procedure): boolean => procedure.command === undefined;

/** DRBD's reasons why not, or undefined. What the peer asks for is judged by what becomes of it. */
const mayResize = (resource: Resource, volume: Volume, connection: Connection, device: PeerDevice, procedure: Procedure, what: Resize): number | undefined => {
  if (!hasDisk(volume)) return ConfigCode.NoDisk;
  if (device.repl > Conn.Connected) return ConfigCode.ResizeDuringResync;
  if (!isAsked(procedure)) {
    const isConnected = device.repl >= Conn.Connected;
    if (resource.role === Role.Secondary && device.role === Role.Secondary) return ConfigCode.ResizeNeedsPrimary;
    if (what.assumeClean && isConnected && connection.protocolVersion < 93) return ConfigCode.NeedsProtocol93;
    const relays = what.alStripes !== undefined || what.alStripeSizeKb !== undefined;
    if (relays && !isConnected && !what.assumePeerHasSpace) return ConfigCode.LayoutNeedsConnection;
  }
  const goal = goalOf(volume, device, procedure, what);
  return typeof goal === 'number' ? goal : undefined;
};

const ringOf = (now: AlGeometry, what: Resize): AlGeometry => ({
  alStripes: what.alStripes ?? now.alStripes,
  alStripeSize4k: what.alStripeSizeKb === undefined ? now.alStripeSize4k : what.alStripeSizeKb / 4,
});

/** What it shall be, on the devices as they are now, or why it cannot. */
const goalOf = (volume: Volume, device: PeerDevice, procedure: Procedure, what: Resize): Goal | number => {
  const backing = volume.backing!;
  const al = ringOf(backing.layout, what);
  const blocks = al.alStripes * al.alStripeSize4k;
  if (blocks > AL_BLOCKS_MAX) return ConfigCode.LayoutTooBig;
  if (!(blocks >= AL_BLOCKS_MIN && Number.isInteger(al.alStripes) && Number.isInteger(al.alStripeSize4k))) return ConfigCode.LayoutTooSmall;
  const layout = layoutNow(volume, backing, al);
  const isOtherRing = al.alStripes !== backing.layout.alStripes || al.alStripeSize4k !== backing.layout.alStripeSize4k;
  if (!layout.ok) return isOtherRing ? ConfigCode.LayoutDoesNotFit : ConfigCode.DiskTooSmall;
  // Internal metadata at the end of a device that was cut is gone: there is nothing to move it from.
  const isCut = layout.value.superblockSector < backing.layout.superblockSector;
  const userSectors = what.sizeSectors || 0;
  const sectors = newSize({
    // What it had before it went away it may not have any more (bug B180).
    peerSectors: hasUsableDisk(device.pdsk) ? device.peerDiskSectors : 0,
    maxSectors: layout.value.usableDataSectors,
    lastAgreedSectors: volume.sizeSectors,
    userSectors,
    assumePeerHasSpace: what.assumePeerHasSpace && device.repl < Conn.Connected,
  });
  const shrinks = sectors < volume.sizeSectors;
  if (isCut || layout.value.usableDataSectors < Math.min(sectors, volume.sizeSectors)) return ConfigCode.DiskTooSmall;
  if (!isAsked(procedure) && userSectors > layout.value.usableDataSectors) return ConfigCode.DiskTooSmall;
  // Nobody relies on a disk that is inconsistent.
  if (shrinks && sectors !== userSectors && !(isAsked(procedure) && volume.disk < Disk.Outdated)) return isOtherRing ? ConfigCode.LayoutDoesNotFit : ConfigCode.ImplicitShrink;
  // The Primary takes the end away first, so that nothing that it writes comes behind ours.
  const isLed = shrinks && !isAsked(procedure) && device.repl >= Conn.Connected && device.role === Role.Primary;
  return { layout: layout.value, sectors: isLed ? volume.sizeSectors : sectors };
};

/** Nothing that the new size or place could disturb is on its way. */
const isDrained = (resource: Resource, volume: Volume, goal: Goal): boolean => {
  const backing = volume.backing!;
  if (volume.writesInFlight > 0) return false;
  // What waits for its range fails afterwards: its end is gone. So does what has its range and waits for us.
  const held = new Set(volume.waiting.map(({ interval }) => interval));
  const runs = volume.intervals.filter(({ id, started }) => started && !held.has(id));
  if (goal.sectors < volume.sizeSectors && runs.some(({ sector, sectors }) => sector + sectors > goal.sectors)) return false;
  return samePlace(goal.layout, backing.layout) || (isIdle(backing.activityLog) && ![...resource.log.requests.values()].some((request) => request.volume === volume.number && request.inActivityLog));
};

const drain = (core: Core, resource: Resource, procedure: Procedure, volume: Volume, connection: Connection, device: PeerDevice, what: Resize, end: (code: number) => void): void => {
  procedure.step = Step.Drain;
  // What waits has not begun: it takes its extents again afterwards.
  for (const request of volume.waiting) releaseExtents(core, volume, request, request.sectors);
  const refusal = mayResize(resource, volume, connection, device, procedure, what);
  if (refusal !== undefined) return end(refusal);
  const goal = goalOf(volume, device, procedure, what);
  if (typeof goal === 'number') return end(goal);
  if (!isDrained(resource, volume, goal)) return wait(procedure, 'state', Step.Drain);
  volume.config.sizeSectors = what.sizeSectors;
  procedure.sizes = { beforeSectors: volume.sizeSectors, afterSectors: goal.sectors };
  if (goal.sectors === volume.sizeSectors && samePlace(goal.layout, volume.backing!.layout)) {
    // With external metadata there may be more room for data, and nothing to move.
    volume.backing!.layout = goal.layout;
    return written(core, procedure, volume, connection, device, what, end, resource);
  }
  volume.resizing = true;
  // An end that is taken away counts at once, one that is given when it is on disk.
  volume.sizeSectors = Math.min(volume.sizeSectors, goal.sectors);
  wait(procedure, 'metadata', Step.Written);
  procedure.pending = 1;
  queueResize(core, volume, { ...goal, assumeClean: what.assumeClean }, { for: 'procedure', procedure: procedure.id });
};

const written = (
  core: Core,
  procedure: Procedure,
  volume: Volume,
  connection: Connection,
  device: PeerDevice,
  what: Resize,
  end: (code: number) => void,
  resource: Resource,
): void => {
  const { beforeSectors: before, afterSectors: sectors } = procedure.sizes!;
  volume.resizing = false;
  if (!hasDisk(volume)) return end(ConfigCode.MetaIoError);
  volume.sizeSectors = sectors;
  if (before !== sectors) log(core, resource.name, 'info', `volume ${volume.number}: size changed from ${before} to ${sectors} sectors`);
  const isConnected = device.repl >= Conn.Connected;
  if (isConnected && sectors > before && !what.assumeClean) device.hasNewPart = true;
  const flags = what.assumeClean ? DdsFlag.NO_RESYNC : 0;
  if (!isAsked(procedure)) {
    if (isConnected) {
      sendUuids(core, connection, volume, device);
      // A peer without a disk does not answer: it takes what it is told.
      sendSizes(core, connection, volume, hasUsableDisk(device.pdsk), flags | (what.assumePeerHasSpace ? DdsFlag.FORCED : 0));
    }
    return end(ConfigCode.Ok);
  }
  const asked = device.sizesAsked;
  device.sizesAsked = undefined;
  if (isConnected && asked !== undefined) sendSizes(core, connection, volume, false, asked);
  syncNewPart(core, resource, volume, connection, device);
  end(ConfigCode.Ok);
};

/**
 * Both sides have the new size: what is new is synced, from the Primary, or with equal roles from the node that resolves conflicts (§7.9).
 * Both come to this by themselves.
 */
const syncNewPart = (core: Core, resource: Resource, volume: Volume, connection: Connection, device: PeerDevice): void => {
  if (!device.hasNewPart || !canSyncNewPart(volume, device)) return;
  device.hasNewPart = false;
  const change = isSourceOfNewPart(resource, connection, device) ? { conn: Conn.SyncSource, pdsk: Disk.Inconsistent } : { conn: Conn.WFSyncUUID };
  changeState(core, resource, [volume], connection, change, 'hard', 'the device has grown');
};

const canSyncNewPart = (volume: Volume, device: PeerDevice): boolean =>
  device.repl === Conn.Connected && volume.disk === Disk.UpToDate && device.pdsk === Disk.UpToDate;

const isSourceOfNewPart = (resource: Resource, connection: Connection, device: PeerDevice): boolean =>
  resource.role === device.role ? connection.resolveConflicts : resource.role === Role.Primary;

/**
 * P_SIZES on an established connection (§3.6): the peer has resized, or answers. A size of 0 asks us to follow; another size than ours
 * says that it has followed further than we could. Reading waits until we have the size that what comes next relies on.
 */
export const followPeer = (core: Core, resource: Resource, volume: Volume, connection: Connection, device: PeerDevice, packet: PacketOf<'P_SIZES'>): void => {
  const asks = packet.currentSectors === 0;
  if (!asks && packet.currentSectors === volume.sizeSectors) return syncNewPart(core, resource, volume, connection, device);
  device.sizesAsked = asks ? packet.ddsFlags : undefined;
  pauseData(core, connection);
  connection.receiver.resizing = true;
  const what: Resize = {
    verb: 'resize',
    resource: resource.name,
    volume: volume.number,
    sizeSectors: packet.userSectors,
    assumeClean: (packet.ddsFlags & DdsFlag.NO_RESYNC) !== 0,
    assumePeerHasSpace: false,
  };
  signal(core, { signal: 'procedure', resource: resource.name, procedure: newProcedure(resource, what, undefined, undefined).id });
};

const goOnReading = (core: Core, connection: Connection): void => {
  if (!connection.receiver.resizing) return;
  connection.receiver.resizing = false;
  if (!connection.receiver.draining) resumeData(core, connection);
};

/** The connection is gone: who asked is not there any more. */
export const forgetSizes = (device: PeerDevice): void => {
  device.sizesAsked = undefined;
  device.hasNewPart = false;
  device.grownWhileConnecting = false;
};
