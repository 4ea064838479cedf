/**
 * The one place where states change (node-states.md §3, §5, §6). A change is judged on one snapshot by the rules in src/state,
 * applied whole or not at all, and its consequences are queued: one entry per volume and peer, worked off in order by
 * resource/after-change. What must not be seen half done is decided here, at the moment of the change: whether a new data
 * generation is due, and that answers to the application wait for it (D5).
 */

import { expose, formatUuid, uuidSet, uuidTuple, type UuidSet } from '../generations/uuid-set.js';
import { hasFlag, SuperblockFlag } from '../metadata/superblock.js';
import { assert, emit, log, signal, type Core } from '../model/core.js';
import type { Connection, PeerDevice, Resource, Volume } from '../model/types.js';
import { anyPeerIs, deviceOf, stateOf } from '../model/view.js';
import { closeEpoch } from '../replication/epochs.js';
import { hasUsableDisk, planWrite } from '../replication/plan.js';
import { endVerify, startVerify } from '../resync/verify.js';
import { evaluateAll, sameState, stateFields, type ChangeKind } from '../state/evaluate.js';
import { isSuccess, type ReturnCode } from '../state/refusals.js';
import { Conn, Disk, Role, type State } from '../state/states.js';
import { flagsFromState } from '../state/superblock-flags.js';
import { isVerify, type RuleContext } from '../state/validity.js';
import type { Fencing } from '../config/types.js';
import { returnUncommitted } from '../volume/admission.js';
import { queueSuperblock, touchSuperblock } from '../volume/metadata-io.js';

const fencingOrder: readonly Fencing[] = ['dont-care', 'resource-only', 'resource-and-stonith'];

/** The policy in force: the strictest of all volumes with a disk at least `least` (node-states.md §3.2, §8.9). */
export const fencingPolicy = (resource: Resource, least: Disk): Fencing | undefined => {
  let strictest = -1;
  for (const volume of resource.volumes.values()) {
    if (volume.disk >= least && volume.disk !== Disk.DUnknown) strictest = Math.max(strictest, fencingOrder.indexOf(volume.config.disk.fencing));
  }
  return strictest < 0 ? undefined : fencingOrder[strictest];
};

/** Everything that the rules look at beside the state itself. */
export const contextOf = (resource: Resource, volume: Volume, connection: Connection, device: PeerDevice): RuleContext => {
  const otherPeerPrimary = [...resource.volumes.values()].some(
    (other) => other.number !== volume.number && deviceOf(other, connection.peer).role === Role.Primary,
  );
  const uuids = volume.backing?.superblock.uuids;
  return {
    twoPrimaries: connection.config.net.allowTwoPrimaries,
    hasNetConfig: connection.cstate !== Conn.StandAlone,
    fencing: fencingPolicy(resource, Disk.Inconsistent) ?? 'dont-care',
    onNoDataAccessible: resource.config.onNoDataAccessible,
    deviceOpen: volume.openers.length > 0 || hasRequests(resource, volume),
    otherVolumePeerPrimary: otherPeerPrimary,
    handshakeUnfinished: connection.stateSent,
    hasVerifyAlg: connection.config.net.verifyAlg !== '',
    protocolVersion: connection.protocolVersion,
    exposedEqualsCurrent: uuids !== undefined && uuids[0] === volume.exposedUuid,
    negotiation: device.negotiation,
    isMadeAnew: device.isMadeAnew,
  };
};

/** Whoever waits for an answer has the device open, whatever the driver said. */
const hasRequests = (resource: Resource, volume: Volume): boolean =>
  volume.waiting.length > 0 ||
  (volume.backing?.activityLog.waitingForCommit.length ?? 0) > 0 ||
  [...resource.log.requests.values()].some(({ volume: of, completed }) => of === volume.number && !completed);

interface Target {
  volume: Volume;
  connection: Connection;
  device: PeerDevice;
  from: State;
}

/**
 * Judges the change for these volumes towards this peer (undefined: towards every peer), all or none. Nothing is changed.
 */
export const judge = (
  resource: Resource,
  volumes: readonly Volume[],
  peer: Connection | undefined,
  change: Partial<State>,
  kind: ChangeKind,
  skipImpossibleOutdate = false,
): { code: ReturnCode; targets: Target[]; next: State[]; warnings: string[][] } => {
  const targets: Target[] = [];
  for (const volume of volumes) {
    for (const connection of peer ? [peer] : resource.connections.values()) {
      const device = deviceOf(volume, connection.peer);
      targets.push({ volume, connection, device, from: stateOf(resource, volume, connection, device) });
    }
  }
  const snapshots = targets.map(({ volume, connection, device, from }) => ({ state: from, context: contextOf(resource, volume, connection, device) }));
  return { targets, ...evaluateAll(snapshots, change, kind, skipImpossibleOutdate) };
};

/** Makes a change, or says why not (DRBD's return code). `reason` is for the trace. */
export const changeState = (
  core: Core,
  resource: Resource,
  volumes: readonly Volume[],
  peer: Connection | undefined,
  change: Partial<State>,
  kind: ChangeKind,
  reason: string,
  skipImpossibleOutdate = false,
): ReturnCode => {
  const judged = judge(resource, volumes, peer, change, kind, skipImpossibleOutdate);
  if (!isSuccess(judged.code)) return judged.code;
  judged.targets.forEach((target, index) => {
    for (const warning of judged.warnings[index]!) log(core, resource.name, 'warning', `volume ${target.volume.number}: ${warning}`);
    apply(core, resource, target, judged.next[index]!, reason);
  });
  return judged.code;
};

export const allVolumes = (resource: Resource): Volume[] => [...resource.volumes.values()];

const apply = (core: Core, resource: Resource, target: Target, to: State, reason: string): void => {
  const { volume, connection, device, from } = target;
  if (sameState(from, to)) return;
  resource.role = to.role;
  resource.susp = to.susp;
  resource.suspNod = to.suspNod;
  resource.suspFen = to.suspFen;
  volume.disk = to.disk;
  device.role = to.peer;
  device.pdsk = to.pdsk;
  device.aftrIsp = to.aftrIsp;
  device.peerIsp = to.peerIsp;
  device.userIsp = to.userIsp;
  if (to.conn >= Conn.Connected) {
    device.repl = to.conn;
  } else {
    device.repl = Conn.StandAlone;
    connection.cstate = to.conn;
  }
  emit(core, {
    type: 'observe',
    event: { event: 'state', resource: resource.name, volume: volume.number, peer: connection.peer, from: observed(from), to: observed(to), reason },
  });
  synchronousEffects(core, resource, target, to);
  if (isGenerationDue(volume, from, to, owesWrites(resource, volume, connection))) {
    if (from.conn < Conn.Connected && to.role !== Role.Primary && to.peer === Role.Primary && to.pdsk < Disk.Inconsistent) device.generationDueOnWrite = true;
    else volume.newCurrentUuidDue = true;
  }
  // Frozen, the outage may stay invisible to the peer's data: it is decided when I/O is thawed (generation-uuids.md §3).
  const newGeneration = volume.newCurrentUuidDue && !isUndecided(to);
  if (newGeneration) {
    volume.newCurrentUuidDue = false;
    volume.generationPending = true;
  }
  resource.worker.push({ volume: volume.number, peer: connection.peer, from, to, step: 0, newGeneration, announces: 'nothing', reason });
  signal(core, { signal: 'worker', resource: resource.name });
  signal(core, { signal: 'procedures', resource: resource.name });
};

/** Our data becomes a generation of its own although no state changes; the caller has set `generationPending`, so that nothing is answered before. */
export const beginGeneration = (core: Core, resource: Resource, volume: Volume, connection: Connection, reason: string): void => {
  const state = stateOf(resource, volume, connection, deviceOf(volume, connection.peer));
  resource.worker.push({ volume: volume.number, peer: connection.peer, from: state, to: state, step: 0, newGeneration: true, announces: 'nothing', reason });
  signal(core, { signal: 'worker', resource: resource.name });
};

/**
 * The peer is told the state as it is now, and our UUIDs before it if that is asked: by the change that led there if its consequences are
 * still to be drawn, else behind what is queued. Not at once: a generation may be on its way to the disk (D6), and UUIDs before this state (M1).
 */
export const announceInTurn = (core: Core, resource: Resource, volume: Volume, connection: Connection, announces: 'state' | 'uuids'): void => {
  const state = stateOf(resource, volume, connection, deviceOf(volume, connection.peer));
  const last = resource.worker.at(-1);
  if (last?.step === 0 && last.volume === volume.number && last.peer === connection.peer && sameState(last.to, state)) {
    if (last.announces !== 'uuids') last.announces = announces;
  } else {
    resource.worker.push({ volume: volume.number, peer: connection.peer, from: state, to: state, step: 0, newGeneration: false, announces, reason: 'the peer waits for it' });
  }
  signal(core, { signal: 'worker', resource: resource.name });
};

const observed = (state: State): { role: number; peer: number; conn: number; disk: number; pdsk: number; flags: string[] } => ({
  role: state.role,
  peer: state.peer,
  conn: state.conn,
  disk: state.disk,
  pdsk: state.pdsk,
  flags: stateFields.filter((field) => state[field] === true),
});

/** node-states.md §6. */
const synchronousEffects = (core: Core, resource: Resource, target: Target, to: State): void => {
  const { volume, connection, device, from } = target;
  const wasMirrored = planWrite(from, connection.protocolVersion).mirror;
  if (wasMirrored !== planWrite(to, connection.protocolVersion).mirror) closeEpoch(resource);
  if (to.disk === Disk.Failed && from.disk !== Disk.Failed) returnUncommitted(volume);
  noteLeftBehind(core, resource, volume, to);
  if (hasUsableDisk(to.disk) && volume.backing && !volume.backing.failed) updateFlags(resource, volume, to);
  if (to.disk >= Disk.Consistent && from.disk < Disk.Consistent && volume.backing) {
    volume.exposedUuid = expose(uuidsOf(volume)).exposed;
    volume.answeredWithoutDisk = false;
  }
  // What a target has shown is the source's generation, whatever the disk that it loses would have held in the end.
  if (to.disk === Disk.Failed && (from.conn === Conn.SyncTarget || from.conn === Conn.PausedSyncT) && to.conn >= Conn.Connected && to.pdsk === Disk.UpToDate && device.peerUuids) {
    volume.exposedUuid = device.peerUuids.current;
  }
  if (to.conn === Conn.StartingSyncT) device.isMadeAnew = true;
  else if (to.conn !== Conn.WFSyncUUID) device.isMadeAnew = false;
  if (isVerify(from.conn) && from.conn !== to.conn) endVerify(core, resource, volume, device);
  if (isVerify(to.conn) && from.conn !== to.conn) startVerify(core, resource, volume, device, connection, to.conn === Conn.VerifyS ? 'source' : 'target');
  const becamePrimary = from.peer === Role.Secondary && to.peer === Role.Primary;
  if (from.disk === Disk.Inconsistent && from.pdsk === Disk.Inconsistent && becamePrimary) device.considerResync = true;
  if (from.conn === Conn.WFReportParams && to.conn !== Conn.WFReportParams) {
    const stillThere = allVolumes(resource).some((other) => deviceOf(other, connection.peer).repl < Conn.Connected);
    if (!stillThere || to.conn < Conn.WFReportParams) connection.stateSent = false;
  }
  if (volume.waiting.length > 0 || volume.waitingPeerWrites.length > 0) signal(core, { signal: 'admission', resource: resource.name, volume: volume.number });
};

/**
 * The volumes of a resource are one set. One whose disk is lost while the peer's goes on is of an older moment than the others here, and
 * cannot even be told so if its disk takes no more writes: the others say it, on their disks (WAS_UP_TO_DATE is withheld), until it is good
 * again, also over a restart in which it is still missing.
 */
const noteLeftBehind = (core: Core, resource: Resource, volume: Volume, to: State): void => {
  const goesOn = to.conn >= Conn.Connected && to.pdsk === Disk.UpToDate;
  const leftBehind = to.disk < Disk.Inconsistent ? volume.leftBehind || (goesOn && to.disk <= Disk.Failed) : volume.leftBehind && to.disk !== Disk.UpToDate;
  if (leftBehind === volume.leftBehind) return;
  volume.leftBehind = leftBehind;
  for (const other of resource.volumes.values()) {
    if (other === volume || !hasUsableDisk(other.disk) || !other.backing || other.backing.failed) continue;
    for (const connection of resource.connections.values()) updateFlags(resource, other, stateOf(resource, other, connection, deviceOf(other, connection.peer)));
    queueSuperblock(core, other);
  }
};

const stateFlagBits =
  SuperblockFlag.Consistent | SuperblockFlag.PrimaryInd | SuperblockFlag.ConnectedInd | SuperblockFlag.WasUpToDate | SuperblockFlag.PeerOutDated | SuperblockFlag.CrashedPrimary;

/** §6.4: what a crashed node will know of itself. Marks the superblock dirty if that changed. */
export const updateFlags = (resource: Resource, volume: Volume, state: State): void => {
  const superblock = volume.backing!.superblock;
  const flags = flagsFromState(state, volume.crashedPrimary);
  let bits = superblock.flags & ~stateFlagBits;
  if (flags.consistent) bits |= SuperblockFlag.Consistent;
  if (flags.primaryInd) bits |= SuperblockFlag.PrimaryInd;
  if (flags.connectedInd) bits |= SuperblockFlag.ConnectedInd;
  const ofOneMoment = allVolumes(resource).every((other) => other === volume || !other.leftBehind);
  if (flags.wasUpToDate && ofOneMoment) bits |= SuperblockFlag.WasUpToDate;
  if (flags.peerOutDated) bits |= SuperblockFlag.PeerOutDated;
  if (flags.crashedPrimary) bits |= SuperblockFlag.CrashedPrimary;
  if (bits === superblock.flags && !hasFlag(superblock, SuperblockFlag.AlClean)) return;
  superblock.flags = bits;
  touchSuperblock(volume.backing!);
};

/**
 * Frozen until it is known whether the peer's data misses anything. An administrator's suspension is none of that: what the peer loses
 * meanwhile is lost, and marked, at once.
 */
export const isUndecided = ({ suspFen, suspNod }: Pick<State, 'suspFen' | 'suspNod'>): boolean => suspFen || suspNod;

const isGoodOrPartial = (disk: Disk): boolean => disk === Disk.Inconsistent || disk === Disk.Consistent || disk === Disk.UpToDate;
/** Its handshake is still to come. */
const isAttaching = (disk: Disk): boolean => disk === Disk.Attaching || disk === Disk.Negotiating;
const isOutOfReach = (disk: Disk): boolean => disk < Disk.Inconsistent || disk === Disk.DUnknown || disk === Disk.Outdated;

/** Is a new data generation due (generation-uuids.md §3, first two lines)? */
const isGenerationDue = (volume: Volume, from: State, to: State, owesWrites: boolean): boolean => {
  if (!volume.backing || volume.backing.failed || volume.generationPending || volume.newCurrentUuidDue) return false;
  if (to.disk !== Disk.UpToDate || volume.backing.superblock.uuids[1] !== 0n) return false;
  const hopedFor = isAttaching(from.pdsk) || from.pdsk === Disk.DUnknown;
  const lost =
    (isGoodOrPartial(from.pdsk) && isOutOfReach(to.pdsk)) || (hopedFor && (to.pdsk === Disk.Diskless || to.pdsk === Disk.Failed || to.pdsk === Disk.Outdated));
  // What was written while Ahead is on this disk alone.
  if (lost && from.conn === Conn.Ahead) return true;
  // A Primary of protocol A that was demoted a moment ago may have acknowledged what never left it.
  if (lost && (to.role === Role.Primary || to.peer === Role.Primary || owesWrites)) return true;
  // A disk that comes back to a Primary while the peer's is out of reach: what is written from now on is on this one only.
  const isWritten = (from.role === Role.Primary && to.role === Role.Primary) || (from.peer === Role.Primary && to.peer === Role.Primary);
  if (from.disk < Disk.UpToDate && isOutOfReach(to.pdsk) && !isAttaching(to.pdsk) && isWritten) return true;
  return to.pdsk < Disk.Inconsistent && from.peer !== Role.Primary && to.peer === Role.Primary;
};

/** Were writes answered that this peer may not even have received (protocol A, not barrier-acked)? */
const owesWrites = (resource: Resource, volume: Volume, connection: Connection): boolean => {
  for (const { kind, volume: of, completed, net } of resource.log.requests.values()) {
    if (kind === 'write' && of === volume.number && completed && net.some(({ peer, done, isAsync }) => peer === connection.peer && isAsync && !done)) return true;
  }
  return false;
};

// ---- Generation UUIDs ---------------------------------------------------------------------------------------------

export const uuidsOf = (volume: Volume): UuidSet => {
  assert(volume.backing !== undefined, 'UUIDs of a diskless volume');
  return uuidSet(volume.backing.superblock.uuids, volume.exposedUuid);
};

/** Stores a changed set; the caller sees to it that it becomes durable before anything relies on it. */
export const storeUuids = (core: Core, volume: Volume, set: UuidSet, why: string): void => {
  const backing = volume.backing;
  assert(backing !== undefined, 'UUIDs of a diskless volume');
  backing.superblock.uuids = uuidTuple(set);
  volume.exposedUuid = set.exposed;
  touchSuperblock(backing);
  const [current, bitmap, history1, history2] = backing.superblock.uuids;
  emit(core, {
    type: 'observe',
    event: {
      event: 'generation',
      resource: volume.resource,
      volume: volume.number,
      uuids: [formatUuid(current), formatUuid(bitmap), formatUuid(history1), formatUuid(history2)],
      why,
    },
  });
};

/** Does anybody hold this data as Primary: us or a peer. */
export const isSomeonePrimary = (resource: Resource, volume: Volume): boolean => resource.role === Role.Primary || anyPeerIs(volume, Role.Primary);
