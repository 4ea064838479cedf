// The core that is played and its world: disks in memory, streams whose other end is the recording, a clock that is turned by hand. What the
// core sends is kept until the recording has it too.

import { createHash } from 'node:crypto';
import type { Command } from '../../src/contract/command.js';
import type { DiskArea, Input } from '../../src/contract/input.js';
import type { Node } from '../../src/contract/node.js';
import type { Output } from '../../src/contract/output.js';
import { digests } from '../../src/digests/digests.js';
import { freshContext, type WireContext } from '../../src/wire/context.js';
import { encodePacket } from '../../src/wire/encode.js';
import { isWireError } from '../../src/wire/errors.js';
import type { BlockId, Packet, PacketOf } from '../../src/wire/packets.js';
import { pullPacket, type StreamDecoder } from '../../src/wire/reassembly.js';
import { flush, newDisk, persist, read, write, type Disk } from '../core/disk.js';
import { configIn, hashesOf, stateAt, type Deed, type Kind, type RecordedConfig, type Recording, type Side } from './recording.js';

export const RESOURCE = 'r0';
export const SECOND = 1_000_000;
/** How long the core may take for a packet that the kernel had sent: a tick of a resync, a retry. */
export const PATIENCE_US = 2 * SECOND;
/** The core's clock when the recording begins. */
export const BASE_US = SECOND;

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

export interface Stream {
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

export interface Session {
  data: string;
  meta: string;
  startedAt: number;
}

export interface Player {
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
  asked: PacketOf<'P_RS_DATA_REQUEST' | 'P_RS_THIN_REQ'>[];
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

export const otherOf = (side: Side): Side => (side === 'alice' ? 'bob' : 'alice');

// ---- The core and its world ---------------------------------------------------------------------------------------------------

export function newPlayer(recording: Recording, side: Side): Player {
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

export const environmentOf = (player: Player) => ({ ...digests, random64: (): bigint => player.challenge.shift() ?? player.randoms[0] ?? 0x1111111111111110n });

export function settle(player: Player): void {
  for (let steps = 0; ; steps++) {
    const input = player.inbox.shift();
    if (!input || !player.node) return;
    if (steps > 200_000) throw new Error('the core does not come to rest');
    player.node.handle(input, player.nowUs);
    player.node.handle({ type: 'pass-ended' }, player.nowUs);
    for (const output of player.node.outputs()) carryOut(player, output);
  }
}

export function hand(player: Player, input: Input): void {
  player.inbox.push(input);
  settle(player);
}

function carryOut(player: Player, output: Output): void {
  const { inbox } = player;
  switch (output.type) {
    case 'disk-open': {
      const { dataSectors, metaSectors, shared } = player.disks.get(output.volume)!;
      inbox.push({ type: 'disk-opened', resource: RESOURCE, volume: output.volume, dataSectors, metaSectors, shared, logicalBlockBytes: 512, discardGranularityBytes: player.config.disk.rsDiscardGranularity > 0 ? 4096 : 0, rememberedSectors: 0 });
      return;
    }
    case 'disk-read':
      if (fails(player, output, output.sectors, /^P_(RS_DATA_REPLY|DATA_REPLY|NEG_DREPLY|NEG_RS_DREPLY)$/)) inbox.push({ type: 'disk-failed', op: output.op, failure: 'failed' });
      else {
        const data = read(player.disks.get(output.volume)!, output.area, output.sector, output.sectors);
        inbox.push({ type: 'disk-done', op: output.op, ...(data.some((byte) => byte !== 0) && { data }) });
      }
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
    if (packet.packet === 'P_RS_DATA_REQUEST' || packet.packet === 'P_RS_THIN_REQ') {
      player.asked.push(packet as PacketOf<'P_RS_DATA_REQUEST' | 'P_RS_THIN_REQ'>);
      answerResync(player);
    }
    // What the other end said of the version counts from here on for both directions.
    if (packet.packet === 'P_CONNECTION_FEATURES') Object.assign(player.context, player.peerContext, { digestBytes: 0 });
  }
  player.inbox.push({ type: 'stream-sent', stream: id, bytesTotal: stream.sentBytes });
}

/** Keep-alive, and what says nothing. */
export const isUnheeded = ({ packet }: Packet): boolean => ['P_PING', 'P_PING_ACK', 'P_UNPLUG_REMOTE', 'P_INITIAL_DATA', 'P_INITIAL_META', 'P_DELAY_PROBE'].includes(packet);

export function deliver(player: Player, stream: Stream, packet: Packet): void {
  const bytes = new Uint8Array(Buffer.concat(encodePacket(packet, player.peerContext)));
  if (stream.isOff) stream.waiting.push(bytes);
  else player.inbox.push({ type: 'stream-received', stream: stream.id, bytes });
}

/** The clock goes on; alarms ring in their order. */
export function advanceTo(player: Player, untilUs: number, isEnough: () => boolean = () => false): void {
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


export function give(player: Player, command: Command, deed: Deed): void {
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


export const sizeOf = (packet: Packet): number => ('data' in packet ? packet.data.length : 'sizeBytes' in packet ? packet.sizeBytes : 0);

/** Bit 0 is the role of whoever made a current UUID; of the others it says nothing (the kernel keeps what its random number had). */
export const generationText = (uuids: readonly bigint[]): string => uuids.map((uuid, at) => (at === 0 ? uuid : uuid & ~1n).toString(16).toUpperCase().padStart(16, '0')).join(':');

/** What must be equal of a packet for it to be the recorded one. */
export function keyOf(packet: Packet): string {
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
  if ('response' in packet) parts.push(Buffer.from(packet.response).toString('hex'));
  return parts.join(' ');
}

// How many blocks a resync request covers is the target's affair (the recorded kernels' were bounded by the queues of their disks): the core
// asks as it does, and is answered with the recorded data, cut as it asked. In the end the same sectors were asked for and written.

export const isResyncAsTarget = (packet: Packet): packet is PacketOf<'P_RS_DATA_REQUEST' | 'P_RS_THIN_REQ' | 'P_RS_WRITE_ACK'> => /^P_RS_(DATA_REQUEST|THIN_REQ|WRITE_ACK)$/.test(packet.packet);

export function countSectors(counts: Map<string, number>, packet: PacketOf<'P_RS_DATA_REQUEST' | 'P_RS_THIN_REQ' | 'P_RS_WRITE_ACK'>): void {
  for (let sector = packet.sector; sector < packet.sector + packet.sizeBytes / 512; sector++) {
    const key = `${packet.packet} ${packet.volume} ${sector}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
}

export function answerResync(player: Player): void {
  const stream = player.streams.find(({ kind }) => kind === 'data');
  for (const request of [...player.asked]) {
    const keys = Array.from({ length: request.sizeBytes / 512 }, (_, at) => `${request.volume} ${request.sector + at}`);
    if (!stream || !keys.every((key) => player.pieces.has(key))) continue;
    const data = new Uint8Array(Buffer.concat(keys.map((key) => player.pieces.get(key)!)));
    for (const key of keys) player.pieces.delete(key);
    player.asked.splice(player.asked.indexOf(request), 1);
    if (request.packet === 'P_RS_THIN_REQ' && data.every((byte) => byte === 0)) {
      deliver(player, stream, { packet: 'P_RS_DEALLOCATED', volume: request.volume, sector: request.sector, sizeBytes: request.sizeBytes });
      continue;
    }
    deliver(player, stream, { packet: 'P_RS_DATA_REPLY', volume: request.volume, sector: request.sector, blockId: request.blockId, sequence: 0, flags: 0, data });
  }
}
