/**
 * What becomes of a backing disk: attached, failed, given up (node-states.md §8.1, §9). The volume room reads and writes; the
 * decisions and the state changes are here.
 */

import { sameGeneration, setRoleBit } from '../generations/uuid-set.js';
import { setAll } from '../metadata/bitmap.js';
import { checkAttachSize, newSize } from '../metadata/layout.js';
import { hasFlag, SuperblockFlag } from '../metadata/superblock.js';
import { emit, log, signal, type Core } from '../model/core.js';
import type { Resource, Volume } from '../model/types.js';
import { bestPeerDisk } from '../model/view.js';
import { isSuccess, ReturnCode, returnText } from '../state/refusals.js';
import { Conn, Disk, Role, type State } from '../state/states.js';
import { abandonJobs, queueBitmapWrite, queueFullSync, queueSuperblock, touchSuperblock } from '../volume/metadata-io.js';
import { setSize } from '../volume/size.js';
import { changeState, isSomeonePrimary, storeUuids, uuidsOf } from './change.js';
import { runEventHandler } from './handlers.js';
import { checkResyncAfter } from './resync-after.js';

/** DRBD's "This is not the data we lost" (node-states.md §2). */
const NOT_THE_DATA_WE_LOST = 150;
/** DRBD's "I/O error while accessing the metadata": also for an attach that hangs. */
const META_IO_ERROR = 118;

const attachFails = (core: Core, volume: Volume, code: number, detail: string): void =>
  signal(core, { signal: 'attach-failed', resource: volume.resource, volume: volume.number, code, detail });

/** The metadata is in memory and clean: what is this disk, and may it be used (§8.1)? */
export const attachPrepared = (core: Core, resource: Resource, volume: Volume): void => {
  const backing = volume.backing;
  if (!backing || backing.failed || backing.attaching || volume.disk !== Disk.Attaching) return;
  // In the middle of a handshake it is not known yet whether there is a peer to negotiate with (bug B078): again when states change.
  if ([...resource.connections.values()].some(({ stateSent }) => stateSent)) return;
  const { superblock, layout } = backing;
  const otherData = volume.exposedUuid !== 0n && !sameGeneration(volume.exposedUuid, superblock.uuids[0]);
  if (otherData && bestPeerDisk(volume) !== Disk.UpToDate && isSomeonePrimary(resource, volume)) {
    return attachFails(core, volume, NOT_THE_DATA_WE_LOST, 'the disk holds another data generation than the one in use');
  }
  const connection = [...resource.connections.values()].find(({ peer }) => volume.peers.get(peer)!.repl >= Conn.Connected);
  let sizeSectors = newSize({
    peerSectors: connection ? volume.peers.get(connection.peer)!.peerDiskSectors : 0,
    maxSectors: layout.usableDataSectors,
    lastAgreedSectors: superblock.lastAgreedSectors,
    userSectors: volume.config.sizeSectors,
    assumePeerHasSpace: false,
  });
  // A device in use does not grow by the way: for that there is resize.
  if (connection && volume.sizeSectors > 0) sizeSectors = Math.min(sizeSectors, volume.sizeSectors);
  const wrong = checkAttachSize(superblock, layout, { sizeSectors, userSectors: volume.config.sizeSectors, exportedSectors: volume.sizeSectors });
  if (wrong) return attachFails(core, volume, wrong.code, wrong.detail);

  const cyclic = checkResyncAfter(core.state, volume, volume.config.disk.resyncAfter);
  if (cyclic !== undefined) return attachFails(core, volume, cyclic, 'resync-after');

  const primaryInd = hasFlag(superblock, SuperblockFlag.PrimaryInd);
  volume.crashedPrimary = hasFlag(superblock, SuperblockFlag.CrashedPrimary) || (primaryInd && !(resource.role === Role.Primary && resource.suspNod));
  markAtAttach(core, volume, sizeSectors);

  const wanted = diskOf(volume);
  // While it was away the peer's disk went on: that this one is good was true then.
  if (otherData && !connection && wanted.disk > Disk.Outdated) wanted.disk = Disk.Outdated;
  // It was taken away under writes that the peer's copy answered, and comes back before the peer could say that its data is newer now. (With
  // protocol A they were answered by the transport: the peer may lack more than this disk does.)
  const peerHasAll = [...resource.connections.values()].every(({ config }) => config.net.protocol !== 'A');
  if (volume.answeredWithoutDisk && !otherData && peerHasAll) wanted.disk = Disk.Inconsistent;
  const change: Partial<State> = connection ? { disk: Disk.Negotiating } : wanted;
  for (const device of volume.peers.values()) {
    device.negotiation = connection ? { disk: wanted.disk, pdsk: wanted.pdsk ?? Disk.DUnknown } : undefined;
    if (connection) device.peerUuids = undefined;
  }
  storeUuids(core, volume, setRoleBit(uuidsOf(volume), resource.role === Role.Primary), 'attach');
  superblock.alExtents = backing.activityLog.committed.length;
  if (volume.config.disk.alUpdates) superblock.flags &= ~SuperblockFlag.AlDisabled;
  else superblock.flags |= SuperblockFlag.AlDisabled;
  touchSuperblock(backing);
  const code = changeState(core, resource, [volume], undefined, change, 'soft', 'attach');
  if (!isSuccess(code)) return attachFails(core, volume, code, returnText(code));
  queueSuperblock(core, volume, { for: 'attach' });
};

/** Bits that the metadata does not hold: a new device, an unfinished full sync, a crash without an activity log, another size. */
const markAtAttach = (core: Core, volume: Volume, sizeSectors: number): void => {
  const { superblock } = volume.backing!;
  const isNew = superblock.lastAgreedSectors === 0;
  const isUntrusted = hasFlag(superblock, SuperblockFlag.FullSync) || (volume.crashedPrimary && hasFlag(superblock, SuperblockFlag.AlDisabled));
  if (!isNew && sizeSectors !== superblock.lastAgreedSectors) setSize(core, volume, sizeSectors);
  superblock.lastAgreedSectors = sizeSectors;
  volume.sizeSectors = sizeSectors;
  if (!isNew && !isUntrusted) return;
  for (const device of volume.peers.values()) if (device.bitmap) setAll(device.bitmap);
  queueFullSync(core, volume, { for: 'nobody' });
};

/** §8.1 step 7: what the flags say that this disk is. */
const diskOf = (volume: Volume): { disk: Disk; pdsk?: Disk } => {
  const { superblock } = volume.backing!;
  if (!hasFlag(superblock, SuperblockFlag.Consistent)) return { disk: Disk.Inconsistent };
  const peerOutDated = hasFlag(superblock, SuperblockFlag.PeerOutDated);
  const peer: { pdsk?: Disk } = peerOutDated ? { pdsk: Disk.Outdated } : {};
  if (!hasFlag(superblock, SuperblockFlag.WasUpToDate)) return { disk: Disk.Outdated, ...peer };
  const trusted = peerOutDated || volume.config.disk.fencing === 'dont-care';
  return { disk: trusted ? Disk.UpToDate : Disk.Consistent, ...peer };
};

/** The attach ends here; the disk is let go. */
export const attachFailed = (core: Core, resource: Resource, volume: Volume, code: number, detail: string): void => {
  log(core, resource.name, 'error', `volume ${volume.number}: attach failed: (${code}) ${detail}`);
  if (volume.backing) abandonJobs(core, volume);
  if (volume.disk === Disk.Attaching) changeState(core, resource, [volume], undefined, { disk: Disk.Diskless }, 'hard', 'attach failed');
  else if (volume.disk > Disk.Failed) changeState(core, resource, [volume], undefined, { disk: Disk.Failed }, 'hard', 'attach failed');
  closeIfQuiet(core, resource, volume);
};

/** An operation on the disk failed (§9): what the disk is worth from now on. */
export const diskError = (core: Core, resource: Resource, volume: Volume, kind: 'read' | 'write' | 'metadata', detail: string): void => {
  if (volume.disk <= Disk.Failed && volume.disk !== Disk.Attaching) return;
  log(core, resource.name, 'error', `volume ${volume.number}: disk error: ${detail}`);
  const policy = volume.config.disk.onIoError;
  if (volume.backing && kind === 'read') volume.backing.wasReadError = true;
  if (volume.backing && kind !== 'metadata') volume.backing.hadError = true;
  if (kind !== 'metadata' && policy === 'pass_on') {
    if (volume.disk > Disk.Inconsistent) changeState(core, resource, [volume], undefined, { disk: Disk.Inconsistent }, 'hard', `I/O error: ${detail}`);
    if (volume.backing) volume.backing.isBad = volume.disk > Disk.Inconsistent;
    return;
  }
  callLocalIoError(core, resource, volume);
  changeState(core, resource, [volume], undefined, { disk: Disk.Failed }, 'hard', `I/O error: ${detail}`);
};

const callLocalIoError = (core: Core, resource: Resource, volume: Volume): void => {
  if (volume.config.disk.onIoError === 'call-local-io-error') runEventHandler(core, resource, 'local-io-error', volume, undefined);
};

/**
 * Failed at once, and nobody waits any more for what the disk is still doing (§8.2 `--force`, bug B167): its operations count as failed, the
 * peer's copy goes on, the disk is closed when the last of them has ended. An attach that is under way ends with `attachCode`.
 */
export const forceDetach = (core: Core, resource: Resource, volume: Volume, attachCode: number, reason: string): void => {
  if (volume.disk === Disk.Attaching) return attachFails(core, volume, attachCode, reason);
  if (volume.backing) volume.backing.forceDetach = true;
  changeState(core, resource, [volume], undefined, { disk: Disk.Failed }, 'hard', reason);
  signal(core, { signal: 'disk-abandoned', resource: resource.name, volume: volume.number });
};

/** An operation is older than disk-timeout (§9): an error of the disk, whatever the policy, and it may hang for ever. */
export const diskHangs = (core: Core, resource: Resource, volume: Volume, detail: string): void => {
  log(core, resource.name, 'error', `volume ${volume.number}: disk-timeout: ${detail}`);
  if (volume.disk > Disk.Failed) callLocalIoError(core, resource, volume);
  forceDetach(core, resource, volume, META_IO_ERROR, 'disk-timeout');
};

/** Entered Failed, with this state: superblock and dirty bitmap pages still go out as far as the disk takes them (D20), then it is let go. */
export const diskFailed = (core: Core, resource: Resource, volume: Volume, to: State): void => {
  const backing = volume.backing;
  if (!backing) return;
  if (backing.failed || backing.forceDetach) {
    if (!backing.failed) abandonJobs(core, volume);
    return closeIfQuiet(core, resource, volume);
  }
  // The peer's disk goes on without this one: should it come back after a crash, it must not be taken for the newest.
  // As things were when it failed: what failed it may have cost the connection too (read-balancing 47).
  const isLeftBehind = (to.role === Role.Primary || to.peer === Role.Primary) && to.conn >= Conn.Connected && to.pdsk === Disk.UpToDate;
  if (isLeftBehind) {
    backing.superblock.flags &= ~SuperblockFlag.WasUpToDate;
    touchSuperblock(backing);
  }
  queueSuperblock(core, volume);
  queueBitmapWrite(core, volume, { for: 'detach' });
};

/** The last metadata writes of a failed disk are over. */
export const detachWritten = (core: Core, resource: Resource, volume: Volume): void => {
  if (!volume.backing || volume.disk !== Disk.Failed) return;
  if (!volume.backing.failed) abandonJobs(core, volume);
  closeIfQuiet(core, resource, volume);
};

/** Diskless without having failed: the connection was lost before the handshake could say what the disk is (node-states.md §4, rule 4). */
export const disklessNow = (core: Core, resource: Resource, volume: Volume): void => {
  if (volume.disk !== Disk.Diskless || !volume.backing || volume.backing.failed) return;
  abandonJobs(core, volume);
  closeIfQuiet(core, resource, volume);
};

/** When the last operation of a disk that was given up has ended: Diskless, and the driver may close it. */
export const closeIfQuiet = (core: Core, resource: Resource, volume: Volume): void => {
  const backing = volume.backing;
  if (backing && (!backing.failed || backing.operationsInFlight > 0)) return;
  if (volume.disk !== Disk.Failed && volume.disk !== Disk.Diskless) return;
  if (backing) {
    volume.backing = undefined;
    emit(core, { type: 'disk-close', resource: resource.name, volume: volume.number });
    for (const device of volume.peers.values()) {
      device.bitmap = undefined;
      device.negotiation = undefined;
      device.earlySyncUuid = undefined;
    }
  }
  if (volume.disk === Disk.Failed) {
    const code = changeState(core, resource, [volume], undefined, { disk: Disk.Diskless }, 'hard', 'disk given up');
    if (code === ReturnCode.NothingToDo) return;
  }
  signal(core, { signal: 'procedures', resource: resource.name });
};
