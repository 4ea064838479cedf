// One side of a recording is played by the core, the other by the recorded bytes. The core is given the recorded random values, what
// its operator and its applications did, the contents of its disk and what the peer said, each in its turn; of what the peer said only
// block ids and barrier numbers are translated, as they name what the core itself sent. Keep-alive is not played but answered: the core
// asks when its own clock says so. Its disk fails where the recorded node said that it did; what it asks for as the target of a resync it gets
// cut as it asked.

import { createHash } from 'node:crypto';
import { digests } from '../../src/digests/digests.js';
import { connName, diskName, roleName } from '../../src/state/states.js';
import { freshContext } from '../../src/wire/context.js';
import { DataFlag, type BlockId, type Packet } from '../../src/wire/packets.js';
import { newStreamDecoder } from '../../src/wire/reassembly.js';
import { read } from '../core/disk.js';
import { hashesOf, stateAt, type Deed, type RecordedPacket, type RecordedState, type Recording, type Side } from './recording.js';
import { act } from './operator.js';
import {
  advanceTo,
  answerResync,
  BASE_US,
  countSectors,
  deliver,
  generationText,
  hand,
  isResyncAsTarget,
  isUnheeded,
  keyOf,
  newPlayer,
  otherOf,
  PATIENCE_US,
  type Played,
  type Player,
  RESOURCE,
  SECOND,
  type Session,
  settle,
  type Stream,
} from './world.js';

function release(player: Player): void {
  player.inbox.push(...player.held.splice(0));
  settle(player);
}

/** The core is to send what the kernel sent. */
function expectSent(player: Player, { packet }: RecordedPacket): void {
  if (isUnheeded(packet)) return;
  if (isResyncAsTarget(packet)) return countSectors(player.resynced.recorded, packet);
  const key = keyOf(packet);
  const find = (): number => player.sent.findIndex((sent) => sent.key === key);
  if (!/^P_(DATA|TRIM|ZEROES)$/.test(packet.packet)) release(player);
  if (find() < 0) {
    const common = { resource: RESOURCE, volume: packet.volume, id: ++player.lastId };
    player.holdsWrites = true;
    if (packet.packet === 'P_DATA') hand(player, { type: 'app-write', ...common, sector: packet.sector, data: packet.data.slice(), fua: false });
    else if (packet.packet === 'P_TRIM') hand(player, { type: 'app-discard', ...common, sector: packet.sector, sectors: packet.sizeBytes / 512 });
    else if (packet.packet === 'P_ZEROES') hand(player, { type: 'app-write-zeroes', ...common, sector: packet.sector, sectors: packet.sizeBytes / 512, mayUnmap: (packet.flags & DataFlag.DISCARD) !== 0 });
    else if (packet.packet === 'P_DATA_REQUEST') hand(player, { type: 'app-read', ...common, sector: packet.sector, sectors: packet.sizeBytes / 512 });
    else if (packet.packet === 'P_BARRIER') hand(player, { type: 'app-flush', ...common });
    player.holdsWrites = false;
    if (find() < 0) release(player);
    if (find() < 0) advanceTo(player, player.nowUs + PATIENCE_US, () => find() >= 0);
  }
  const at = find();
  if (at < 0) {
    player.result.missing.push(key);
    return;
  }
  const [sent] = player.sent.splice(at, 1);
  player.result.agreed++;
  if ('blockId' in packet && 'blockId' in sent!.packet) player.blockIds.set(nameOf(packet.blockId), sent!.packet.blockId);
  if (packet.packet === 'P_BARRIER' && sent!.packet.packet === 'P_BARRIER') player.barriers.set(packet.barrier, sent!.packet.barrier);
}

const nameOf = (id: BlockId): string => JSON.stringify(id, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value));

const ANSWERS = /^P_(RECV_ACK|WRITE_ACK|SUPERSEDED|RETRY_WRITE|NEG_ACK|NEG_DREPLY|DATA_REPLY)$/;

function receive(player: Player, recorded: RecordedPacket): void {
  const stream = player.streams.find(({ kind }) => kind === recorded.kind);
  const { packet } = recorded;
  if (packet.packet === 'P_PING_ACK' || packet.packet === 'P_INITIAL_DATA' || packet.packet === 'P_INITIAL_META') return;
  if (!stream) {
    // What was on its way when the recorded node let go of the connection nobody read there either.
    const end = player.recording.ends.find(({ connection }) => connection === player.session?.data);
    if (packet.packet !== 'P_PING' && !(end && end.t - recorded.t < 0.05)) player.result.differences.push(`the connection is gone when the peer says ${packet.packet}`);
    return;
  }
  const copy = structuredClone(packet) as Packet;
  if (ANSWERS.test(copy.packet) && 'blockId' in copy) {
    copy.blockId = player.blockIds.get(nameOf(copy.blockId)) ?? copy.blockId;
  }
  if (copy.packet === 'P_BARRIER_ACK') copy.barrier = player.barriers.get(copy.barrier) ?? copy.barrier;
  if (packet.packet === 'P_CONNECTION_FEATURES') {
    player.challenge = challengeIn(player);
    deliver(player, stream, copy);
    Object.assign(player.peerContext, { apv: Math.min(101, packet.protocolMax), features: packet.flags & 15 });
    Object.assign(player.context, player.peerContext, { digestBytes: 0 });
  } else if (copy.packet === 'P_RS_DATA_REPLY' || copy.packet === 'P_RS_DEALLOCATED') {
    const data = 'data' in copy ? copy.data : new Uint8Array(copy.sizeBytes);
    for (let at = 0; at < data.length; at += 512) player.pieces.set(`${copy.volume} ${copy.sector + at / 512}`, data.slice(at, at + 512));
    answerResync(player);
  } else deliver(player, stream, copy);
  if (packet.packet === 'P_PROTOCOL' || packet.packet === 'P_PROTOCOL_UPDATE') player.peerContext.digestBytes = packet.integrityAlg ? digests.digest(packet.integrityAlg, [])!.length : 0;
  if (packet.packet === 'P_NEG_DREPLY') player.refusals++;
  settle(player);
  player.result.delivered++;
  // The kernel fell out over it, whatever else was on its way then.
  if (player.lastReceived !== 'P_ENABLE_REPLICATION') player.lastReceived = packet.packet;
}

/** The random bytes of the challenge that this side sent in this session. */
function challengeIn(player: Player): bigint[] {
  const found = player.recording.packets.find(({ connection, from, packet }) => connection === player.session!.data && from === player.side && packet.packet === 'P_AUTH_CHALLENGE');
  if (found?.packet.packet !== 'P_AUTH_CHALLENGE') return [];
  const { challenge } = found.packet;
  const view = new DataView(challenge.buffer, challenge.byteOffset);
  return Array.from({ length: challenge.length / 8 }, (_, index) => view.getBigUint64(index * 8));
}

// ---- Sessions -------------------------------------------------------------------------------------------------------------------

function sessionsOf(recording: Recording): Session[] {
  const firstAt = (connection: string): number => recording.packets.find((one) => one.connection === connection)!.t;
  const names = [...new Set(recording.packets.map(({ connection }) => connection))];
  const spoke = (connection: string, from: Side): boolean => recording.packets.some((one) => one.connection === connection && one.from === from && one.packet.packet === 'P_CONNECTION_FEATURES');
  return names
    .filter((name) => name.endsWith('data') && spoke(name, 'alice') && spoke(name, 'bob'))
    .map((data) => {
      const metas = names.filter((name) => name.endsWith('meta')).sort((a, b) => Math.abs(firstAt(a) - firstAt(data)) - Math.abs(firstAt(b) - firstAt(data)));
      return { data, meta: metas[0]!, startedAt: Math.min(firstAt(data), firstAt(metas[0]!)) };
    });
}

function openSession(player: Player, session: Session): void {
  if (player.streams.length > 0) {
    player.result.differences.push(`still connected, after ${player.lastReceived}, when ${session.data} begins`);
    closeByPeer(player);
  }
  // After a loss the core waits a little longer than the kernel did.
  advanceTo(player, player.nowUs + 30 * SECOND, () => player.listens);
  player.session = session;
  player.lastReceived = 'nothing';
  player.asked = [];
  player.pieces.clear();
  player.peerIsAlive = true;
  player.context = freshContext();
  player.peerContext = freshContext();
  for (const kind of ['data', 'meta'] as const) {
    const isOurs = player.recording.openers.get(session[kind]) === player.side;
    const stream: Stream = { id: 0, kind, decoder: newStreamDecoder(isOurs ? 'first' : kind), sentBytes: 0, isOff: false, waiting: [] };
    if (isOurs) {
      advanceTo(player, player.nowUs + 30 * SECOND, () => player.attempts.length > 0);
      const id = player.attempts.shift();
      if (id === undefined) {
        player.result.differences.push(`no attempt to connect for ${session[kind]}`);
        return;
      }
      stream.id = id;
      player.streams.push(stream);
      hand(player, { type: 'stream-connected', stream: id });
    } else {
      stream.id = -1 - ++player.lastId;
      player.streams.push(stream);
      player.inbox.push({ type: 'stream-accepted', resource: RESOURCE, peer: otherOf(player.side), stream: stream.id });
      deliver(player, stream, { packet: kind === 'data' ? 'P_INITIAL_DATA' : 'P_INITIAL_META', volume: 0 });
      settle(player);
    }
  }
  advanceTo(player, player.nowUs + SECOND, () => player.sent.some(({ packet }) => packet.packet === 'P_CONNECTION_FEATURES'));
}

function closeByPeer(player: Player): void {
  for (const { id } of player.streams) player.inbox.push({ type: 'stream-closed', stream: id, how: 'closed' });
  player.streams = [];
  settle(player);
}

// ---- The end and the dumps -------------------------------------------------------------------------------------------------------

const describe = ({ conn, roles, disks, outOfSyncBits, uuids }: RecordedState): string => `${conn} ${roles} ${disks} ${outOfSyncBits} bits${uuids ? ` ${uuids}` : ''}`;

function compareState(player: Player, tag: string): void {
  const recorded = stateAt(player.recording, tag, player.side);
  if (!recorded) return;
  player.result.dumps++;
  const views = player.node?.resources()[0]?.volumes ?? [];
  recorded.forEach((state, index) => {
    const view = views[index];
    const peer = view?.peers[0];
    const own: RecordedState = peer
      ? {
          conn: connName(peer.state.conn),
          roles: `${roleName(peer.state.role)}/${roleName(peer.state.peer)}`,
          disks: `${diskName(peer.state.disk)}/${diskName(peer.state.pdsk)}`,
          outOfSyncBits: peer.bitmap?.weight ?? 0,
          uuids: view.uuids && state.uuids ? generationText(view.uuids) : undefined,
        }
      : { conn: 'Unconfigured', roles: '', disks: '', outOfSyncBits: 0, uuids: undefined };
    const shown = { ...state, uuids: own.uuids ? state.uuids : undefined };
    if (describe(own) !== describe(shown)) player.result.differences.push(`at ${tag}: ${describe(own)}; recorded ${describe(shown)}`);
  });
}

function compareDisks(player: Player): void {
  for (const { volume, sectors, sha256 } of hashesOf(player.recording, player.side)) {
    const disk = player.disks.get(volume);
    if (!disk) continue;
    const own = createHash('sha256').update(read(disk, 'data', 0, Math.min(sectors, disk.dataSectors))).digest('hex');
    if (own !== sha256) player.result.differences.push(`volume ${volume} has other contents than recorded`);
  }
}

// ---- The play ---------------------------------------------------------------------------------------------------------------------

type Scene = { t: number } & ({ deed: Deed } | { recorded: RecordedPacket } | { begins: Session } | { ends: string; from: Side } | { dump: string });

function scenesOf(recording: Recording): Scene[] {
  const sessions = sessionsOf(recording);
  const played = new Set(sessions.flatMap(({ data, meta }) => [data, meta]));
  const scenes: Scene[] = [];
  recording.deeds.forEach((deed, index) => {
    const dump = /^\(state dump (\S+)\)/.exec(deed.text)?.[1];
    // It was taken some time after it was asked for, and before the next thing that was done.
    const next = recording.deeds.slice(index + 1).find(({ t }) => t > deed.t)?.t;
    if (dump) scenes.push({ t: (next ?? Infinity) - 0.001, dump });
    else scenes.push({ t: deed.t, deed });
  });
  for (const session of sessions) scenes.push({ t: session.startedAt - 0.000001, begins: session });
  for (const recorded of recording.packets) if (played.has(recorded.connection)) scenes.push({ t: recorded.t, recorded });
  for (const { t, connection, from } of recording.ends) if (sessions.some(({ data }) => data === connection)) scenes.push({ t, ends: connection, from });
  return scenes.sort((a, b) => a.t - b.t);
}

/** Plays this side of the recording to its end. */
export function play(recording: Recording, side: Side): Played {
  const player = newPlayer(recording, side);
  for (const scene of scenesOf(recording)) {
    if (scene.t !== Infinity) advanceTo(player, Math.max(player.nowUs, BASE_US + Math.round(scene.t * SECOND)));
    if (!('recorded' in scene)) release(player);
    if ('deed' in scene) {
      if (scene.deed.node === side) act(player, scene.deed);
      else if (scene.deed.text.startsWith('CRASH')) player.peerIsAlive = false;
    } else if ('begins' in scene) {
      if (player.node) openSession(player, scene.begins);
    } else if ('recorded' in scene) {
      player.at = recording.packets.indexOf(scene.recorded, player.at);
      if (!player.node) continue;
      if (scene.recorded.from === side) expectSent(player, scene.recorded);
      else receive(player, scene.recorded);
    } else if ('ends' in scene) {
      if (scene.from !== side && player.session?.data === scene.ends && player.streams.length > 0) closeByPeer(player);
    } else compareState(player, scene.dump);
  }
  compareDisks(player);
  const { own, recorded } = player.resynced;
  const unequal = [...new Set([...own.keys(), ...recorded.keys()])].filter((key) => own.get(key) !== recorded.get(key));
  if (unequal.length > 0) player.result.differences.push(`resync of other sectors than recorded: ${unequal.length} differ, the first is ${unequal[0]}`);
  if (player.failures !== player.refusals) player.result.differences.push(`${player.failures} requests of applications failed, ${player.refusals} reads were refused`);
  player.result.extra = player.sent.map(({ key }) => key);
  return player.result;
}
