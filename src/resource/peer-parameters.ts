/** What the peer says of itself in the handshake and when it changes: protocol, resync numbers, sizes, UUIDs (wire-protocol.md §3.4-§3.9, §7.2). */

import { isDrbd9 } from '../connection/handshake.js';
import { expectReceived } from '../connection/integrity.js';
import { refuseConnection } from '../connection/loss.js';
import { checkProtocol } from '../connection/parameters.js';
import { JUST_CREATED, acceptSkippedSync, followAnnounced, sameGeneration } from '../generations/uuid-set.js';
import { clearAll } from '../metadata/bitmap.js';
import { newSize } from '../metadata/layout.js';
import { assert, log, type Core } from '../model/core.js';
import type { Connection, PeerDevice, PeerUuids, Resource, Volume } from '../model/types.js';
import { connOf } from '../model/view.js';
import { Conn, Disk, Role } from '../state/states.js';
import { ProtocolFlag, UuidsFlag, type PacketOf, type ProtocolPacket, type SyncParam89Packet, type SyncParamPacket } from '../wire/packets.js';
import { queueBitmapWrite } from '../volume/metadata-io.js';
import { setSize } from '../volume/size.js';
import { sendSizes } from './announce.js';
import { changeState, storeUuids, uuidsOf } from './change.js';
import { followPeer } from './resize.js';
import { beginAsTarget } from './resync-begin.js';

export const receiveProtocol = (core: Core, connection: Connection, packet: ProtocolPacket): void => {
  const wrong = checkProtocol(connection, packet);
  if (wrong) return refuseConnection(core, connection, wrong);
  const isKnown = expectReceived(core, connection, packet.integrityAlg ?? '');
  assert(isKnown, 'an algorithm of our own configuration');
  connection.peerDiscardsData = (packet.connFlags & ProtocolFlag.DISCARD_MY_DATA) !== 0;
  connection.peerDryRun = (packet.connFlags & ProtocolFlag.DRY_RUN) !== 0;
};

/**
 * The numbers of whoever spoke last win (§3.5). Digests must be the same on both sides in the handshake; later, the peer's administrator has
 * changed them, and we follow.
 */
export const receiveSyncParam = (core: Core, volume: Volume, connection: Connection, packet: SyncParamPacket | SyncParam89Packet): void => {
  const { net } = connection.config;
  const isHandshake = volume.peers.get(connection.peer)!.repl < Conn.Connected;
  const asked = { 'verify-alg': packet.verifyAlg ?? net.verifyAlg, 'csums-alg': packet.packet === 'P_SYNC_PARAM89' ? packet.csumsAlg : net.csumsAlg };
  const own = { 'verify-alg': net.verifyAlg, 'csums-alg': net.csumsAlg };
  for (const option of ['verify-alg', 'csums-alg'] as const) {
    const algorithm = asked[option];
    if (algorithm === own[option]) continue;
    if (isHandshake) return refuseConnection(core, connection, `${option} differs: ours is "${own[option]}", the peer's "${algorithm}"`);
    const isKnown = algorithm === '' || core.environment.digest(algorithm, []) !== undefined;
    if (!isKnown) return refuseConnection(core, connection, `${option} "${algorithm}", which the peer wants now, is not known here`);
  }
  net.verifyAlg = asked['verify-alg'];
  net.csumsAlg = asked['csums-alg'];
  if (!volume.backing) return;
  const disk = volume.config.disk;
  disk.resyncRate = packet.resyncRate;
  if (packet.packet !== 'P_SYNC_PARAM89' || !packet.controller) return;
  const { cPlanAhead, cDelayTarget, cFillTarget, cMaxRate } = packet.controller;
  Object.assign(disk, { cPlanAhead: Math.min(cPlanAhead, 300), cDelayTarget, cFillTarget, cMaxRate });
};

/** §3.6. */
export const receiveSizes = (core: Core, resource: Resource, volume: Volume, connection: Connection, device: PeerDevice, packet: PacketOf<'P_SIZES'>): void => {
  const wasDiskless = device.peerDiskSectors === 0;
  device.peerDiskSectors = packet.diskSectors;
  const handshake = device.repl < Conn.Connected;
  const before = volume.sizeSectors;
  if (volume.backing && !volume.backing.failed && volume.disk > Disk.Attaching) {
    const limits = [packet.userSectors, volume.config.sizeSectors].filter((sectors) => sectors > 0);
    const userSectors = handshake ? Math.min(...limits, Infinity) % Infinity || 0 : packet.userSectors;
    const sectors = newSize({
      peerSectors: packet.diskSectors,
      maxSectors: volume.backing.layout.usableDataSectors,
      lastAgreedSectors: volume.backing.superblock.lastAgreedSectors,
      userSectors,
      assumePeerHasSpace: false,
    });
    if (sectors < volume.sizeSectors && volume.disk >= Disk.Outdated && (handshake || wasDiskless)) {
      return refuseConnection(core, connection, "The peer's disk size is too small!");
    }
    if (!handshake && volume.disk !== Disk.Negotiating) return followPeer(core, resource, volume, connection, device, packet);
    // Both nodes come to the same answer: each knows what the other had.
    const old = [before, packet.currentSectors];
    device.grownWhileConnecting = handshake && Math.min(...old) > 0 && sectors > Math.min(...old);
    if (sectors !== volume.sizeSectors) setSize(core, volume, sectors);
    if (handshake && packet.userSectors > 0) volume.config.sizeSectors = userSectors;
  } else {
    // A size of 0 asks those who have a disk; what the sender's disk has room for is nobody's size yet.
    const offered = packet.currentSectors || volume.sizeSectors || packet.userSectors || packet.diskSectors;
    if (offered === 0 || offered === volume.sizeSectors || (volume.sizeSectors !== 0 && packet.diskSectors === 0)) return;
    if (offered < volume.sizeSectors && resource.role === Role.Primary) return refuseConnection(core, connection, "The peer's disk size is too small!");
    volume.sizeSectors = offered;
  }
  if (!handshake && (packet.currentSectors !== volume.sizeSectors || before !== volume.sizeSectors)) sendSizes(core, connection, volume);
};

/** §3.9: stored until the P_STATE that is judged with them. */
export const receiveUuids = (core: Core, resource: Resource, volume: Volume, connection: Connection, device: PeerDevice, packet: PacketOf<'P_UUIDS'>): void => {
  device.peerUuids = {
    current: packet.current,
    bitmap: packet.bitmap,
    history1: packet.history0,
    history2: packet.history1,
    bits: packet.dirtyBits,
    flags: packet.flags,
  };
  const conn = connOf(connection, device);
  const diskless = volume.disk < Disk.Inconsistent;
  const foreign = volume.exposedUuid !== 0n && !sameGeneration(volume.exposedUuid, packet.current);
  const follows = followsExposed(volume, device.peerUuids);
  const isLost = volume.disk === Disk.Diskless || volume.disk === Disk.Failed;
  if (resource.role === Role.Primary && (conn < Conn.Connected ? diskless && foreign : isLost && !follows)) {
    return refuseConnection(core, connection, 'the peer has another data generation than the one that was in use here');
  }
  const skips = (packet.flags & UuidsFlag.SKIP_INITIAL_SYNC) !== 0 && connection.protocolVersion >= 90;
  if (skips && conn === Conn.Connected && volume.backing && uuidsOf(volume).current === JUST_CREATED) {
    log(core, resource.name, 'info', 'Accepted new current UUID, preparing to skip initial sync');
    if (device.bitmap) clearAll(device.bitmap);
    storeUuids(core, volume, acceptSkippedSync(uuidsOf(volume), packet.current, resource.role === Role.Primary), 'skip initial sync');
    queueBitmapWrite(core, volume);
    changeState(core, resource, [volume], connection, { disk: Disk.UpToDate, pdsk: Disk.UpToDate }, 'hard', 'skip initial sync');
  } else if (conn === Conn.Connected && isDrbd9(connection.session.peerProtocolMax) && isNewWhileInSync(volume, device, device.peerUuids)) {
    storeUuids(core, volume, followAnnounced(uuidsOf(volume), packet.current, resource.role === Role.Primary), 'the peer has begun a generation');
  }
  // Also while we ask for consent to detach: the peer goes on in a new generation, and says so before its answer is here.
  const detaches = connection.request?.change.disk === Disk.Failed && connection.request.volumes.includes(volume.number);
  if ((diskless || detaches) && follows && conn >= Conn.Connected) volume.exposedUuid = packet.current;
};

/**
 * DRBD 9 begins a generation with a Primary's first write after our "skip initial sync", while connected (captures/with-drbd9, 21): nothing has
 * parted. Who keeps the old one is a full resync away at the next outage, and "unrelated" after a split brain.
 */
const isNewWhileInSync = (volume: Volume, device: PeerDevice, peer: PeerUuids): boolean =>
  device.role === Role.Primary &&
  volume.disk === Disk.UpToDate &&
  device.pdsk === Disk.UpToDate &&
  (device.bitmap?.weight ?? 1) === 0 &&
  uuidsOf(volume).bitmap === 0n &&
  peer.bitmap === 0n &&
  !sameGeneration(peer.current, uuidsOf(volume).current) &&
  (peer.history1 === 0n || sameGeneration(peer.history1, uuidsOf(volume).current));

/** A new generation of a peer that we used all the while follows on ours; a disk that comes late may be older than what was read. */
export const followsExposed = (volume: Volume, { current, bitmap, history1, history2 }: PeerUuids): boolean =>
  volume.exposedUuid === 0n || [current, bitmap, history1, history2].some((uuid) => sameGeneration(volume.exposedUuid, uuid));

/** §7.2: the data that we are about to get is of this generation. Durable before the first block (D9: resource/after-change). */
export const receiveSyncUuid = (core: Core, resource: Resource, volume: Volume, connection: Connection, device: PeerDevice, packet: PacketOf<'P_SYNC_UUID'>): void => {
  // The source has written its marks before we have, or its consent is still on the other stream: kept until our marks are on disk.
  const asked = connection.request?.change.conn === Conn.StartingSyncT && connection.request.volumes.includes(volume.number);
  if (asked || device.repl === Conn.StartingSyncT) device.earlySyncUuid = packet.uuid;
  else beginAsTarget(core, resource, volume, connection, device, packet.uuid);
};
