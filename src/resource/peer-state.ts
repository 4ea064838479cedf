/**
 * The peer's P_STATE, and the handshake decision that is taken on it (wire-protocol.md §3.7 steps 1-9). Everything is judged on
 * one snapshot: the state word, the UUIDs that came before it, and our own state as it is now.
 */

import { isDrbd9 } from '../connection/handshake.js';
import { expectClose } from '../connection/keepalive.js';
import { loseConnection, refuseConnection } from '../connection/loss.js';
import { decideHandshake, effectivePeerDisk, type HandshakePlan, type HandshakeSnapshot } from '../generations/decide.js';
import { formatSlots, type UuidSlots } from '../generations/uuid-set.js';
import { setAll } from '../metadata/bitmap.js';
import { assert, emit, log, type Core } from '../model/core.js';
import type { Connection, PeerDevice, Resource, Volume } from '../model/types.js';
import { connOf, stateOf } from '../model/view.js';
import { failNetworkParts } from '../replication/acks.js';
import { answerHeld } from '../replication/completion.js';
import { finishAsSource } from '../resync/lifecycle.js';
import { finishAsVerifyTarget } from '../resync/verify.js';
import { isSuccess, returnText } from '../state/refusals.js';
import { decodeStateWord } from '../state/state-word.js';
import { Conn, Disk, Role, type State } from '../state/states.js';
import { FeatureFlag, type PacketOf } from '../wire/packets.js';
import { queueFullSync } from '../volume/metadata-io.js';
import { allVolumes, announceInTurn, beginGeneration, changeState, isUndecided, storeUuids, uuidsOf } from './change.js';
import { runEventHandler } from './handlers.js';
import { followsExposed } from './peer-parameters.js';

const isHandshake = (conn: Conn): boolean => conn >= Conn.StartingSyncS && conn <= Conn.WFSyncUUID;

/** P_STATE. */
export const receiveState = (core: Core, resource: Resource, volume: Volume, connection: Connection, device: PeerDevice, packet: PacketOf<'P_STATE'>): void => {
  const peer = decodeStateWord(packet.state);
  if (!peer) return loseConnection(core, connection, 'ProtocolError', `state word 0x${packet.state.toString(16)} means nothing`);
  const me = stateOf(resource, volume, connection, device);
  // 1
  if (me.conn <= Conn.TearDown) return;
  // What was on a disk that is gone says nothing of the next one; and a disk of which no P_UUIDS came failed before they could be sent, as the
  // next word will say: it is no better than none (traps 309).
  if (peer.disk < Disk.Negotiating) device.peerUuids = undefined;
  let peerDisk: Disk = peer.disk === Disk.Negotiating && !device.peerUuids ? Disk.Diskless : effectivePeerDisk(peer.disk, device.peerUuids?.flags ?? 0);
  // 2: the target says that it is done; our own count decides whether we are.
  const wasBehind = me.pdsk === Disk.Inconsistent || me.pdsk === Disk.Consistent;
  // Ahead, its word is from before it heard of that.
  if (wasBehind && peerDisk === Disk.UpToDate && me.conn > Conn.Connected && me.conn < Conn.Ahead && me.disk === Disk.UpToDate) {
    if (isHandshake(peer.conn)) peerDisk = Disk.Inconsistent;
    else {
      if (me.conn >= Conn.SyncSource && peer.conn === Conn.Connected) finishAsSource(core, resource, volume, device, connection);
      return;
    }
  }
  // A target that ended with failed blocks, paused or not; a kernel stays SyncSource, we may go on (sync-and-activity-log.md §7.4).
  if ((me.conn === Conn.SyncSource || me.conn === Conn.PausedSyncS) && peer.conn === Conn.Connected && peerDisk === Disk.Inconsistent) {
    changeState(core, resource, [volume], connection, { conn: Conn.Connected, pdsk: Disk.Inconsistent, peer: peer.role }, 'hard', 'the target ended with failed blocks');
    return;
  }
  // 3: its results are on their way. Unlike the kernel we take what else the word says: it may be from before the verify.
  if (me.conn === Conn.VerifyT && peer.conn === Conn.Connected) finishAsVerifyTarget(core, resource, volume, device, connection);
  // 4
  if (me.pdsk === Disk.UpToDate && peerDisk === Disk.Inconsistent && me.conn === Conn.Connected && peer.conn > Conn.SyncSource) peerDisk = Disk.UpToDate;
  // Its second P_STATE of a handshake may still be on its way when it is told to skip the initial sync (kernel-findings 4): it knows us as Inconsistent.
  if (device.toldToSkip && me.conn === Conn.Connected && me.disk === Disk.UpToDate && peerDisk === Disk.Inconsistent && peer.pdsk === Disk.Inconsistent) peerDisk = Disk.UpToDate;
  // 5
  let conn: Conn = me.conn === Conn.WFReportParams ? Conn.Connected : me.conn;
  if (peer.conn === Conn.Ahead) conn = Conn.Behind;
  const fresh = me.conn < Conn.Connected;
  // 6
  let outcome: HandshakePlan | undefined;
  let abortsAttach = false;
  if (mustDecide(me, peer, device)) {
    outcome = decide(core, resource, volume, connection, device, me, peer);
    device.considerResync = false;
    if (outcome.outcome === 'refuse') {
      if (outcome.refusal === 'disk-failed') {
        changeState(core, resource, [volume], connection, { disk: Disk.Failed }, 'hard', 'attach aborted by the handshake');
      } else if (outcome.refusal === 'peer-diskless') {
        peerDisk = Disk.Diskless;
        // Whoever negotiates waits for our half, to come to the same end by itself.
        abortsAttach = true;
      } else if (outcome.refusal === 'retry') {
        return loseConnection(core, connection, 'ProtocolError', 'dry run: nothing is done');
      } else {
        return refuseConnection(core, connection, `handshake refused: ${outcome.decidedBy}`);
      }
    } else if (outcome.outcome === 'source') conn = Conn.WFBitMapS;
    else if (outcome.outcome === 'target') conn = Conn.WFBitMapT;
    // Equal generations, but the part that both have just gained is not equal.
    else if (fresh && device.grownWhileConnecting && me.disk === Disk.UpToDate && peerDisk === Disk.UpToDate) conn = isSource(me, peer, connection) ? Conn.WFBitMapS : Conn.WFBitMapT;
    else conn = fresh ? Conn.Connected : me.conn;
    device.grownWhileConnecting = false;
  }
  // 8: it rebooted while we were frozen: what it had acknowledged may be lost. Our data becomes a generation of its own, for it to be synced
  // to. Frozen for fencing we stay until it is back for that: it is fenced no more than before, and could be promoted without us.
  const rebooted = volume.newCurrentUuidDue && peerDisk === Disk.Consistent && conn === Conn.Connected;
  if (fresh && isUndecided(resource) && (rebooted || mayHaveLost(resource, connection, peer, conn, outcome))) {
    const reason = 'the peer was restarted while I/O was frozen';
    failNetworkParts(core, resource, connection);
    for (const other of resource.volumes.values()) {
      if (!other.newCurrentUuidDue) continue;
      other.newCurrentUuidDue = false;
      other.generationPending = true;
      beginGeneration(core, resource, other, connection, reason);
    }
    changeState(core, resource, allVolumes(resource), connection, { suspNod: false }, 'hard', reason);
    answerHeld(core, resource);
    return loseConnection(core, connection, 'ProtocolError', reason);
  }
  commit(core, resource, volume, connection, device, me, peer, conn, peerDisk, fresh);
  // One-shot, but for every volume of this connection (bug B089).
  if ([...resource.volumes.values()].every((other) => other.peers.get(connection.peer)!.repl >= Conn.Connected)) connection.discardMyData = false;
  // 9: tell the peer that we want a resync.
  const wantsResync = outcome && conn !== me.conn && conn > Conn.Connected && peer.conn <= Conn.Connected && peer.disk !== Disk.Negotiating;
  if (!fresh && (wantsResync || abortsAttach)) announceInTurn(core, resource, volume, connection, 'uuids');
};

/**
 * What was acknowledged and not yet stable over there when the link broke cannot be sent again to one who may have written over it
 * as a Primary, and only one who is Primary still is known not to have rebooted: it is marked instead, and synced. His generation is
 * ours then, but for a disk that is to be synced from ours.
 */
const mayHaveLost = (resource: Resource, connection: Connection, peer: State, conn: Conn, outcome: HandshakePlan | undefined): boolean => {
  const sameGeneration = conn === Conn.Connected || (conn === Conn.WFBitMapS && outcome?.decidedBy === 'disk-states');
  if (!connection.config.net.allowTwoPrimaries || (peer.role === Role.Primary && sameGeneration)) return false;
  return [...resource.log.requests.values()].some(({ kind, net }) => kind === 'write' && net.some((part) => part.peer === connection.peer && part.ok && !part.done));
};

/** Whose new part counts (wire-protocol.md §7.9): the Primary's, or with equal roles that of the node that resolves conflicts. */
const isSource = (me: State, peer: State, connection: Connection): boolean => (me.role === peer.role ? connection.resolveConflicts : me.role === Role.Primary);

/** 6: is the resync decision to be taken now? */
const mustDecide = (me: State, peer: State, device: PeerDevice): boolean => {
  if (!device.peerUuids || peer.disk < Disk.Negotiating || me.disk < Disk.Negotiating) return false;
  if (me.conn < Conn.Connected) return true;
  if (me.conn !== Conn.Connected) return false;
  if (me.disk === Disk.Negotiating || peer.disk === Disk.Negotiating) return true;
  const forcedNow = me.disk === Disk.Inconsistent && me.pdsk === Disk.Inconsistent && me.peer !== Role.Primary && peer.role === Role.Primary;
  return device.considerResync || forcedNow || (peer.conn >= Conn.StartingSyncS && peer.conn <= Conn.WFBitMapT);
};

const decide = (core: Core, resource: Resource, volume: Volume, connection: Connection, device: PeerDevice, me: State, peer: State): HandshakePlan => {
  const uuids = device.peerUuids;
  assert(uuids !== undefined, "the decision needs the peer's UUIDs");
  const snapshot: HandshakeSnapshot = {
    self: {
      uuids: uuidsOf(volume),
      bitsSent: BigInt(device.bitsSent),
      role: me.role,
      disk: me.disk,
      negotiatedDisk: device.negotiation?.disk,
      crashedPrimary: volume.crashedPrimary,
      discardMyData: connection.discardMyData,
      tentative: connection.tentative,
    },
    peer: { uuids, bits: BigInt(uuids.bits), flags: uuids.flags, role: peer.role, disk: peer.disk, dryRun: connection.peerDryRun },
    resolveConflicts: connection.resolveConflicts,
    protocol: connection.protocolVersion,
    featureWsame: (connection.features & FeatureFlag.FF_WSAME) !== 0,
    peerIsDrbd9: isDrbd9(connection.session.peerProtocolMax),
    options: connection.config.net,
    demotion: 'not-tried',
  };
  let plan = decideHandshake(snapshot);
  if (plan.outcome === 'demote-first') {
    const code = changeState(core, resource, [...resource.volumes.values()], connection, { role: Role.Secondary }, 'soft', 'split brain: data is to be discarded');
    plan = decideHandshake({ ...snapshot, demotion: isSuccess(code) ? 'done' : 'refused' });
  }
  for (const { level, text } of plan.log) log(core, resource.name, level, `volume ${volume.number}: ${text}`);
  emit(core, {
    type: 'observe',
    event: {
      event: 'decision',
      resource: resource.name,
      volume: volume.number,
      peer: connection.peer,
      decision: `handshake: ${plan.outcome}${'full' in plan && plan.full ? ' (full)' : ''}`,
      rule: plan.rule,
      detail: `${plan.decidedBy}; self ${formatSlots(snapshot.self.uuids)}, peer ${formatSlots(uuids)}`,
    },
  });
  if (plan.correctSelf) storeUuids(core, volume, { ...uuidsOf(volume), ...plan.correctSelf }, `rule ${plan.rule}`);
  if (plan.correctPeer) Object.assign(uuids, slotsOnly(plan.correctPeer));
  for (const name of plan.handlers) runEventHandler(core, resource, name, volume, connection);
  if ((plan.outcome === 'source' || plan.outcome === 'target') && plan.full && device.bitmap) {
    // Its writes are queued before those of the sync UUID, so nobody can know of the new generation before the bits are on disk.
    setAll(device.bitmap);
    queueFullSync(core, volume, { for: 'nobody' });
  }
  return plan;
};

const slotsOnly = ({ current, bitmap, history1, history2 }: UuidSlots): UuidSlots => ({ current, bitmap, history1, history2 });

/** 7 */
const commit = (
  core: Core,
  resource: Resource,
  volume: Volume,
  connection: Connection,
  device: PeerDevice,
  me: State,
  peer: State,
  conn: Conn,
  peerDisk: Disk,
  fresh: boolean,
): void => {
  const change: Partial<State> = { peer: peer.role, pdsk: peerDisk, peerIsp: peer.aftrIsp || peer.userIsp, conn };
  // Its answer to our attach begins with its UUIDs: what it said before that is no answer.
  const answered = device.peerUuids !== undefined || peerDisk < Disk.Negotiating;
  if (volume.disk === Disk.Negotiating && answered && device.negotiation && (conn === Conn.Connected || conn === Conn.WFBitMapS)) change.disk = device.negotiation.disk;
  const code = changeState(core, resource, [volume], connection, change, fresh ? 'soft' : 'hard', fresh ? 'handshake' : 'the peer said so');
  if (isSuccess(code)) {
    if (volume.disk !== Disk.Negotiating) device.negotiation = undefined;
    if (fresh) expectClose(core, connection, false);
    // Without a disk, the peer's data is what is known here: a disk that comes later and is older says so.
    if (fresh && volume.disk === Disk.Diskless && device.peerUuids && followsExposed(volume, device.peerUuids)) volume.exposedUuid = device.peerUuids.current;
    return;
  }
  assert(fresh, `what the peer says of itself was refused (${code})`);
  refuseConnection(core, connection, `State change failed: (${code}) ${returnText(code)}; was conn ${connOf(connection, device)}, ${me.disk}/${peerDisk}`);
};
