// One side of a recording is played by the core, the other by the recorded bytes. The core is given the recorded random values, what
// its operator and its applications did, the contents of its disk and what the peer said, each in its turn; of what the peer said only
// block ids and barrier numbers are translated, as they name what the core itself sent. Keep-alive is not played but answered:
// the core asks when its own clock says so.

import { createHash } from 'node:crypto';
import type { ResourceConfig } from '../../src/config/types.js';
import type { Command } from '../../src/contract/command.js';
import type { DiskArea, Input } from '../../src/contract/input.js';
import type { Node } from '../../src/contract/node.js';
import type { Output } from '../../src/contract/output.js';
import { digests } from '../../src/digests/digests.js';
import { createNode } from '../../src/node/index.js';
import { connName, diskName, roleName } from '../../src/state/states.js';
import { freshContext, type WireContext } from '../../src/wire/context.js';
import { encodePacket } from '../../src/wire/encode.js';
import { isWireError } from '../../src/wire/errors.js';
import { DataFlag, type BlockId, type Packet, type PacketOf } from '../../src/wire/packets.js';
import { newStreamDecoder, pullPacket, type StreamDecoder } from '../../src/wire/reassembly.js';
import { flush, newDisk, persist, read, write, type Disk } from '../core/disk.js';
import { configIn, hashesOf, kibOf, stateAt, type Deed, type Kind, type RecordedConfig, type RecordedPacket, type RecordedState, type Recording, type Side } from './recording.js';

const RESOURCE = 'r0';
const SECOND = 1_000_000;
/** How long the core may take for a packet that the kernel had sent: a tick of a resync, a retry. */
const PATIENCE_US = 2 * SECOND;
/** The core's clock when the recording begins. */
const BASE_US = SECOND;

export interface Played {
  /** Packets of the peer that were handed over, and own ones that the core sent as recorded. */
  delivered: number;
  agreed: number;
  /** `P_STATE ...`: recorded and not sent, sent and not recorded. */
  missing: string[];
  extra: string[];
  /** What is not as recorded at a dump or at the end. */
  differences: string[];
  dumps: number;
}

interface Stream {
  id: number;
  kind: Kind;
  decoder: StreamDecoder;
  sentBytes: number;
  isOff: boolean;
  waiting: Uint8Array[];
}

interface Sent {
  packet: Packet;
  key: string;
}

interface Session {
  data: string;
  meta: string;
  startedAt: number;
}

interface Player {
  recording: Recording;
  side: Side;
  config: RecordedConfig;
  node: Node | undefined;
  nowUs: number;
  disks: Map<number, Disk>;
  inbox: Input[];
  /** Writes of applications to the disk that are under way: the kernel's took their time, and the peer's epochs show it. */
  held: Input[];
  holdsWrites: boolean;
  attempts: number[];
  listens: boolean;
  streams: Stream[];
  context: WireContext;
  peerContext: WireContext;
  sent: Sent[];
  /** Resync as target: what the core asked for and has no answer to, the recorded answers by sector, and what was asked and written. */
  asked: PacketOf<'P_RS_DATA_REQUEST'>[];
  pieces: Map<string, Uint8Array>;
  resynced: Record<'own' | 'recorded', Map<string, number>>;
  blockIds: Map<string, BlockId>;
  barriers: Map<number, number>;
  randoms: bigint[];
  challenge: bigint[];
  peerIsAlive: boolean;
  /** The last that the peer said. */
  lastReceived: string;
  /** How far the recording is played: the index of a packet. */
  at: number;
  session: Session | undefined;
  /** Requests of applications that failed, and refusals of the peer to read for us. */
  failures: number;
  refusals: number;
  lastId: number;
  commands: Map<number, Deed>;
  result: Played;
}

const otherOf = (side: Side): Side => (side === 'alice' ? 'bob' : 'alice');

// ---- The core and its world ---------------------------------------------------------------------------------------------------

function newPlayer(recording: Recording, side: Side): Player {
  const config = configIn(recording, side);
  const sizes = new Map<number, number>();
  for (const { from, packet } of recording.packets) if (from === side && packet.packet === 'P_SIZES' && !sizes.get(packet.volume)) sizes.set(packet.volume, packet.diskSectors);
  for (const { volume, sectors } of hashesOf(recording, side)) if (!sizes.get(volume)) sizes.set(volume, sectors);
  return {
    recording,
    side,
    config,
    node: undefined,
    nowUs: BASE_US,
    disks: new Map(config.volumes.map((volume) => [volume, newDisk({ kind: 'flexible' }, sizes.get(volume)!)])),
    inbox: [],
    held: [],
    holdsWrites: false,
    attempts: [],
    listens: false,
    streams: [],
    context: freshContext(),
    peerContext: freshContext(),
    sent: [],
    asked: [],
    pieces: new Map(),
    resynced: { own: new Map(), recorded: new Map() },
    blockIds: new Map(),
    barriers: new Map(),
    randoms: generationsOf(recording, side),
    challenge: [],
    peerIsAlive: true,
    lastReceived: 'nothing',
    at: 0,
    session: undefined,
    failures: 0,
    refusals: 0,
    lastId: 0,
    commands: new Map(),
    result: { delivered: 0, agreed: 0, missing: [], extra: [], differences: [], dumps: 0 },
  };
}

/** Generations that this side made: those that it names before the peer does. */
function generationsOf(recording: Recording, side: Side): bigint[] {
  const known = new Set<bigint>([0n, 4n]);
  const own: bigint[] = [];
  const learn = (from: Side, uuid: bigint): void => {
    const value = uuid & ~1n;
    if (known.has(value)) return;
    known.add(value);
    if (from === side) own.push(value);
  };
  const dumps = recording.deeds.flatMap(({ text, t }) => {
    const tag = /^\(state dump (\S+)\)/.exec(text)?.[1];
    return tag ? [{ t: t + 0.2, states: stateAt(recording, tag, side) ?? [] }] : [];
  });
  for (const { t, from, packet } of recording.packets) {
    while (dumps[0] && dumps[0].t <= t) for (const { uuids } of dumps.shift()!.states) if (uuids) learn(side, BigInt(`0x${uuids.split(':')[0]}`));
    if (packet.packet === 'P_UUIDS') {
      for (const uuid of [packet.history1, packet.history0, packet.bitmap, packet.current]) learn(from, uuid);
    } else if (packet.packet === 'P_SYNC_UUID') learn(from, packet.uuid);
  }
  for (const { states } of dumps) for (const { uuids } of states) if (uuids) learn(side, BigInt(`0x${uuids.split(':')[0]}`));
  return own;
}

const environmentOf = (player: Player) => ({ ...digests, random64: (): bigint => player.challenge.shift() ?? player.randoms[0] ?? 0x1111111111111110n });

function settle(player: Player): void {
  for (let steps = 0; ; steps++) {
    const input = player.inbox.shift();
    if (!input || !player.node) return;
    if (steps > 200_000) throw new Error('the core does not come to rest');
    player.node.handle(input, player.nowUs);
    player.node.handle({ type: 'pass-ended' }, player.nowUs);
    for (const output of player.node.outputs()) carryOut(player, output);
  }
}

function hand(player: Player, input: Input): void {
  player.inbox.push(input);
  settle(player);
}

function carryOut(player: Player, output: Output): void {
  const { inbox } = player;
  switch (output.type) {
    case 'disk-open': {
      const { dataSectors, metaSectors, shared } = player.disks.get(output.volume)!;
      inbox.push({ type: 'disk-opened', resource: RESOURCE, volume: output.volume, dataSectors, metaSectors, shared, logicalBlockBytes: 512, discardGranularityBytes: 0, rememberedSectors: 0 });
      return;
    }
    case 'disk-read':
      if (fails(player, output, output.sectors, /^P_(RS_DATA_REPLY|DATA_REPLY|NEG_DREPLY|NEG_RS_DREPLY)$/)) inbox.push({ type: 'disk-failed', op: output.op, failure: 'failed' });
      else inbox.push({ type: 'disk-done', op: output.op, data: read(player.disks.get(output.volume)!, output.area, output.sector, output.sectors) });
      return;
    case 'disk-write': {
      if (fails(player, output, output.data.length / 512, /^P_(WRITE_ACK|NEG_ACK)$/)) {
        inbox.push({ type: 'disk-failed', op: output.op, failure: 'failed' });
        return;
      }
      const disk = player.disks.get(output.volume)!;
      write(disk, output.area, output.sector, output.data.slice());
      if (output.fua) persist(disk, output.area, output.sector, output.data.length / 512);
      (player.holdsWrites && output.area === 'data' ? player.held : inbox).push({ type: 'disk-done', op: output.op });
      return;
    }
    case 'disk-write-zeroes':
    case 'disk-discard':
      write(player.disks.get(output.volume)!, output.area, output.sector, new Uint8Array(output.sectors * 512));
      (player.holdsWrites ? player.held : inbox).push({ type: 'disk-done', op: output.op });
      return;
    case 'disk-flush':
      flush(player.disks.get(output.volume)!, output.area);
      inbox.push({ type: 'disk-done', op: output.op });
      return;
    case 'connect':
      player.attempts.push(output.stream);
      return;
    case 'listen':
    case 'stop-listening':
      player.listens = output.type === 'listen';
      return;
    case 'close':
      player.attempts = player.attempts.filter((stream) => stream !== output.stream);
      player.streams = player.streams.filter(({ id }) => id !== output.stream);
      return;
    case 'send':
      return takeSent(player, output.stream, output.pieces);
    case 'read-stream': {
      const stream = player.streams.find(({ id }) => id === output.stream);
      if (!stream) return;
      stream.isOff = !output.on;
      while (!stream.isOff && stream.waiting.length > 0) inbox.push({ type: 'stream-received', stream: stream.id, bytes: stream.waiting.shift()! });
      return;
    }
    case 'run-handler':
      inbox.push({ type: 'handler-exited', handler: output.handler, exitCode: 0 });
      return;
    case 'app-failed':
      player.failures++;
      return;
    case 'reply':
      return judgeReply(player, output.command, output.reply);
    case 'observe':
      return observe(player, output.event);
    case 'app-done':
    case 'disk-close':
    case 'disk-placed':
    case 'membership-send':
    case 'admit':
      return;
    default:
      return output satisfies never;
  }
}

/** Did the recorded disk fail here? What its node said next to the peer about this sector says so. */
function fails(player: Player, output: { area: DiskArea; volume: number; sector: number }, sectors: number, answers: RegExp): boolean {
  if (output.area !== 'data') return false;
  const { packets } = player.recording;
  for (let at = player.at; at < packets.length; at++) {
    const { from, packet } = packets[at]!;
    if (from !== player.side || !answers.test(packet.packet) || !('sector' in packet) || packet.volume !== output.volume) continue;
    if (packet.sector >= output.sector && packet.sector < output.sector + sectors) return packet.packet.includes('NEG');
  }
  return false;
}

/** A random value is used up when a generation shows it. */
function observe(player: Player, event: Extract<Output, { type: 'observe' }>['event']): void {
  if (event.event === 'generation') {
    const shown = event.uuids.map((uuid) => BigInt(`0x${uuid.replace(/^0x/, '')}`) & ~1n);
    if (player.randoms[0] !== undefined && shown.includes(player.randoms[0])) player.randoms.shift();
  } else if (event.event === 'connection-lost' && event.reason === 'ProtocolError') {
    player.result.differences.push(`protocol error: ${event.detail}`);
  }
}

function takeSent(player: Player, id: number, pieces: Uint8Array[]): void {
  const stream = player.streams.find((one) => one.id === id);
  if (!stream) return;
  for (const piece of pieces) stream.sentBytes += piece.length;
  const chunk = { bytes: new Uint8Array(Buffer.concat(pieces)), at: 0 };
  for (;;) {
    const packet = pullPacket(stream.decoder, player.context, chunk);
    if (packet === undefined) break;
    if (isWireError(packet)) throw new Error(`the core sends what nobody understands: ${packet.error}`);
    if (packet.packet === 'P_PROTOCOL' || packet.packet === 'P_PROTOCOL_UPDATE') player.context.digestBytes = packet.integrityAlg ? digests.digest(packet.integrityAlg, [])!.length : 0;
    if (packet.packet === 'P_PING' && player.peerIsAlive) deliver(player, stream, { packet: 'P_PING_ACK', volume: 0 });
    if (isResyncAsTarget(packet)) countSectors(player.resynced.own, packet);
    else if (!isUnheeded(packet)) player.sent.push({ packet, key: keyOf(packet) });
    if (packet.packet === 'P_RS_DATA_REQUEST') {
      player.asked.push(packet as PacketOf<'P_RS_DATA_REQUEST'>);
      answerResync(player);
    }
    // What the other end said of the version counts from here on for both directions.
    if (packet.packet === 'P_CONNECTION_FEATURES') Object.assign(player.context, player.peerContext, { digestBytes: 0 });
  }
  player.inbox.push({ type: 'stream-sent', stream: id, bytesTotal: stream.sentBytes });
}

/** Keep-alive, and what says nothing. */
const isUnheeded = ({ packet }: Packet): boolean => ['P_PING', 'P_PING_ACK', 'P_UNPLUG_REMOTE', 'P_INITIAL_DATA', 'P_INITIAL_META', 'P_DELAY_PROBE'].includes(packet);

function deliver(player: Player, stream: Stream, packet: Packet): void {
  const bytes = new Uint8Array(Buffer.concat(encodePacket(packet, player.peerContext)));
  if (stream.isOff) stream.waiting.push(bytes);
  else player.inbox.push({ type: 'stream-received', stream: stream.id, bytes });
}

/** The clock goes on; alarms ring in their order. */
function advanceTo(player: Player, untilUs: number, isEnough: () => boolean = () => false): void {
  for (let wakes = 0; !isEnough(); wakes++) {
    const deadline = player.node?.deadline();
    if (deadline === undefined || deadline > untilUs) {
      player.nowUs = Math.max(player.nowUs, untilUs);
      return;
    }
    if (wakes > 10_000) throw new Error('the core wakes without end');
    player.nowUs = Math.max(player.nowUs, deadline);
    hand(player, { type: 'woken' });
  }
}

// ---- Operators and applications -----------------------------------------------------------------------------------------------

function give(player: Player, command: Command, deed: Deed): void {
  const id = ++player.lastId;
  player.commands.set(id, deed);
  hand(player, { type: 'command', id, command });
}

/** The recording says of a refused command: State change failed. */
function judgeReply(player: Player, id: number, reply: { ok: boolean; code: number; text: string }): void {
  const deed = player.commands.get(id)!;
  const { deeds } = player.recording;
  const { text } = deed;
  const refused = /State change failed: \((-\d+)\)/.exec(deeds[deeds.indexOf(deed) + 1]?.text ?? '')?.[1];
  if (refused === undefined ? !reply.ok && reply.code !== 2 : reply.code !== Number(refused)) player.result.differences.push(`"${text}" answered ${reply.code} ${reply.text}`);
}

function boot(player: Player, deed: Deed): void {
  player.node = createNode(player.side, environmentOf(player));
  give(player, { verb: 'new-resource', config: resourceConfig(player) }, deed);
}

const resourceConfig = ({ side, config: { volumes, net, disk, handlers, sizeSectors } }: Player): ResourceConfig => ({
  resource: RESOURCE,
  volumes: volumes.map((volume) => ({ volume, minor: volume, metaDisk: { kind: 'flexible' }, disk, sizeSectors })),
  peers: [{ name: otherOf(side), net }],
  onNoDataAccessible: 'io-error',
  handlers: handlers as [],
  protocolMin: 86,
  protocolMax: 101,
});

function connect(player: Player, deed: Deed): void {
  give(player, { verb: 'connect', resource: RESOURCE, peer: otherOf(player.side), discardMyData: deed.text.includes('discard-my-data'), tentative: false }, deed);
}

/** Carries out what the operator of this side did. What cannot be, throws: the folder is then not one to be played. */
function act(player: Player, deed: Deed): void {
  if (deed.text.startsWith('CRASH')) {
    player.node = undefined;
    player.inbox = [];
    player.held = [];
    player.streams = [];
    player.attempts = [];
    return;
  }
  const direct = /yes (\S+) \| dd of=\/dev\/(drbd|ubd)(\w) bs=(\d+)(k?) (?:count=(\d+) )?seek=(\d+)(?: count=(\d+))?/.exec(deed.text);
  if (direct) return writeDirect(player, deed, direct);
  const discard = /blkdiscard (-z )?-o (\d+) -l (\d+) \/dev\/drbd(\d)/.exec(deed.text);
  if (discard) return discardDirect(player, deed, discard);
  for (const statement of deed.text.split(';')) {
    const match = /^\s*(?:drbdadm|drbdsetup-84) (?:-v )?(\S+)(.*)$/.exec(statement);
    if (!match) continue;
    const [, verb, rest] = match as unknown as [string, string, string];
    const volumes = /r0\/(\d+)/.exec(rest) ? [Number(/r0\/(\d+)/.exec(rest)![1])] : player.config.volumes;
    switch (verb) {
      case 'up':
        boot(player, deed);
        for (const volume of volumes) give(player, { verb: 'attach', resource: RESOURCE, volume }, deed);
        connect(player, deed);
        break;
      case 'new-resource':
        boot(player, deed);
        break;
      case 'attach':
        for (const volume of volumes) give(player, { verb, resource: RESOURCE, volume }, deed);
        break;
      case 'detach':
        for (const volume of volumes) give(player, { verb, resource: RESOURCE, volume, force: rest.includes('force') }, deed);
        break;
      case 'connect':
        connect(player, deed);
        break;
      case 'disconnect':
        give(player, { verb, resource: RESOURCE, peer: otherOf(player.side), force: rest.includes('force') }, deed);
        break;
      case 'primary':
        give(player, { verb, resource: RESOURCE, force: rest.includes('force') }, deed);
        break;
      case 'secondary':
      case 'down':
        give(player, { verb, resource: RESOURCE }, deed);
        break;
      case 'outdate':
      case 'invalidate':
      case 'invalidate-remote':
      case 'verify':
      case 'pause-sync':
      case 'resume-sync':
        for (const volume of volumes) give(player, { verb, resource: RESOURCE, volume }, deed);
        break;
      case 'new-current-uuid':
        for (const volume of volumes) give(player, { verb, resource: RESOURCE, volume, clearBitmap: rest.includes('clear-bitmap') }, deed);
        break;
      case 'resize':
        give(player, { verb, resource: RESOURCE, volume: 0, sizeSectors: Number(/--size=(\d+)s/.exec(rest)?.[1] ?? 0), assumeClean: false, assumePeerHasSpace: false }, deed);
        break;
      case 'net-options':
        player.config.net = { ...player.config.net, protocol: /--protocol=(\w)/.exec(rest)![1] as 'A' };
        give(player, { verb: 'options', resource: RESOURCE, config: resourceConfig(player) }, deed);
        break;
      case 'disk-options':
        player.config.disk = { ...player.config.disk, resyncRate: kibOf(/--resync-rate=(\w+)/.exec(rest)![1]!) };
        give(player, { verb: 'options', resource: RESOURCE, config: resourceConfig(player) }, deed);
        break;
      case 'new-minor':
        break;
      default:
        throw new Error(`no such command is played: ${verb}`);
    }
  }
}

/** Did what was done to this sector just then go to the peer? */
const isOnWire = (player: Player, deed: Deed, volume: number, sector: number): boolean =>
  player.recording.packets.some(
    ({ t, from, packet }) =>
      from === player.side && t > deed.t && t < deed.t + 2 && /^P_(DATA|TRIM|ZEROES)$/.test(packet.packet) && packet.volume === volume && 'sector' in packet && packet.sector <= sector && sector < packet.sector + sizeOf(packet) / 512,
  );

/** `blkdiscard [-z] -o OFFSET -l LENGTH`, in bytes. */
function discardDirect(player: Player, deed: Deed, match: RegExpExecArray): void {
  const [, zeroes, offset, length, minor] = match;
  const range = { resource: RESOURCE, volume: Number(minor), id: ++player.lastId, sector: Number(offset) / 512, sectors: Number(length) / 512 };
  if (isOnWire(player, deed, range.volume, range.sector)) return;
  hand(player, zeroes ? { type: 'app-write-zeroes', ...range, mayUnmap: false } : { type: 'app-discard', ...range });
}

/** `yes TEXT | dd`: what went to the peer is known of its packets; of what did not, this says it. */
function writeDirect(player: Player, deed: Deed, match: RegExpExecArray): void {
  const [, text, device, which, number, kilo, countBefore, seek, countBehind] = match;
  const bytes = Number(number) * (kilo ? 1024 : 1);
  const count = Number(countBefore ?? countBehind ?? 1);
  const stream = new TextEncoder().encode(`${text}\n`.repeat(Math.ceil((bytes * count) / (text!.length + 1))));
  const volume = device === 'drbd' ? Number(which) : which!.charCodeAt(0) - 'a'.charCodeAt(0);
  for (let at = 0; at < count; at++) {
    const sector = ((Number(seek) + at) * bytes) / 512;
    const data = stream.slice(at * bytes, (at + 1) * bytes);
    if (device === 'ubd') write(player.disks.get(volume)!, 'data', sector, data);
    else if (!isOnWire(player, deed, volume, sector)) hand(player, { type: 'app-write', resource: RESOURCE, volume, id: ++player.lastId, sector, data, fua: false });
  }
}

// ---- Packets ------------------------------------------------------------------------------------------------------------------

const sizeOf = (packet: Packet): number => ('data' in packet ? packet.data.length : 'sizeBytes' in packet ? packet.sizeBytes : 0);

/** Bit 0 is the role of whoever made a current UUID; of the others it says nothing (the kernel keeps what its random number had). */
const generationText = (uuids: readonly bigint[]): string => uuids.map((uuid, at) => (at === 0 ? uuid : uuid & ~1n).toString(16).toUpperCase().padStart(16, '0')).join(':');

/** What must be equal of a packet for it to be the recorded one. */
function keyOf(packet: Packet): string {
  const isOfConnection = /CONN_ST|AUTH|PROTOCOL/.test(packet.packet);
  const parts: (string | number | bigint)[] = [packet.packet, isOfConnection ? 0 : packet.volume];
  if ('sector' in packet) parts.push(packet.sector, packet.packet.endsWith('ACK') && packet.packet !== 'P_RS_WRITE_ACK' ? 0 : sizeOf(packet));
  if ('data' in packet) parts.push(createHash('md5').update(packet.data).digest('hex').slice(0, 8));
  if (packet.packet === 'P_STATE') parts.push(packet.state.toString(16));
  if (packet.packet === 'P_UUIDS') parts.push(generationText([packet.current, packet.bitmap, packet.history0, packet.history1]), `${packet.dirtyBits} bits`, packet.flags);
  if (packet.packet === 'P_SYNC_UUID') parts.push(generationText([packet.uuid & ~1n]));
  if ('retcode' in packet) parts.push(packet.retcode);
  if ('mask' in packet) parts.push(packet.mask.toString(16), packet.val.toString(16));
  if ('setSize' in packet) parts.push(packet.setSize);
  return parts.join(' ');
}

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
  } else if (copy.packet === 'P_RS_DATA_REPLY') {
    for (let at = 0; at < copy.data.length; at += 512) player.pieces.set(`${copy.volume} ${copy.sector + at / 512}`, copy.data.slice(at, at + 512));
    answerResync(player);
  } else deliver(player, stream, copy);
  if (packet.packet === 'P_PROTOCOL' || packet.packet === 'P_PROTOCOL_UPDATE') player.peerContext.digestBytes = packet.integrityAlg ? digests.digest(packet.integrityAlg, [])!.length : 0;
  if (packet.packet === 'P_NEG_DREPLY') player.refusals++;
  settle(player);
  player.result.delivered++;
  // The kernel fell out over it, whatever else was on its way then.
  if (player.lastReceived !== 'P_ENABLE_REPLICATION') player.lastReceived = packet.packet;
}

// How many blocks a resync request covers is the target's affair (the recorded kernels' were bounded by the queues of their disks): the core
// asks as it does, and is answered with the recorded data, cut as it asked. In the end the same sectors were asked for and written.

const isResyncAsTarget = (packet: Packet): packet is PacketOf<'P_RS_DATA_REQUEST' | 'P_RS_WRITE_ACK'> => packet.packet === 'P_RS_DATA_REQUEST' || packet.packet === 'P_RS_WRITE_ACK';

function countSectors(counts: Map<string, number>, packet: PacketOf<'P_RS_DATA_REQUEST' | 'P_RS_WRITE_ACK'>): void {
  for (let sector = packet.sector; sector < packet.sector + packet.sizeBytes / 512; sector++) {
    const key = `${packet.packet} ${packet.volume} ${sector}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
}

function answerResync(player: Player): void {
  const stream = player.streams.find(({ kind }) => kind === 'data');
  for (const request of [...player.asked]) {
    const keys = Array.from({ length: request.sizeBytes / 512 }, (_, at) => `${request.volume} ${request.sector + at}`);
    if (!stream || !keys.every((key) => player.pieces.has(key))) continue;
    const data = new Uint8Array(Buffer.concat(keys.map((key) => player.pieces.get(key)!)));
    for (const key of keys) player.pieces.delete(key);
    player.asked.splice(player.asked.indexOf(request), 1);
    deliver(player, stream, { packet: 'P_RS_DATA_REPLY', volume: request.volume, sector: request.sector, blockId: request.blockId, sequence: 0, flags: 0, data });
  }
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
