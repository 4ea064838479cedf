// Two real nodes, wired back to back in memory: disks behind write caches, streams in order, a manual clock, scripted handlers.
// Everything that can happen next is an action; `drive` takes them one by one until none is left, in a fixed order or in the
// order that a caller chooses. Streams, disks and answers can be held and cut. Whatever passes is told to those who watch.

import { digests } from '../../src/digests/digests.js';
import { createNode, restoreNode } from '../../src/node/index.js';
import { defaultDiskOptions, defaultNetOptions } from '../../src/config/defaults.js';
import type { DiskOptions, MembershipConfig, MetaDisk, NetOptions, ResourceConfig } from '../../src/config/types.js';
import type { Command, Reply } from '../../src/contract/command.js';
import type { DiskArea, Input } from '../../src/contract/input.js';
import type { Node } from '../../src/contract/node.js';
import type { Output } from '../../src/contract/output.js';
import { fingerprintOf } from '../../src/node/snapshot.js';
import { freshContext, type WireContext } from '../../src/wire/context.js';
import { isWireError } from '../../src/wire/errors.js';
import { OWN_FEATURES } from '../../src/connection/handshake.js';
import type { Packet } from '../../src/wire/packets.js';
import { newStreamDecoder, pullPacket, type StreamDecoder } from '../../src/wire/reassembly.js';
import { flush, losePower, newDisk, persist, placed, read, write, type Disk } from './disk.js';

export type Name = 'alice' | 'bob';
export const names: readonly Name[] = ['alice', 'bob'];
export const otherOf = (name: Name): Name => (name === 'alice' ? 'bob' : 'alice');
export const RESOURCE = 'r0';

export interface PairOptions {
  volumes?: number;
  sectors?: number;
  metaDisk?: MetaDisk;
  disk?: Partial<DiskOptions>;
  /** Minor that each volume waits for, by volume. */
  resyncAfter?: Record<number, number>;
  net?: Partial<NetOptions>;
  /** Options of one node only. */
  bobNet?: Partial<NetOptions>;
  /** Of alice's disks and of bob's; absent: they cannot discard. */
  discardGranularitySectors?: [number, number];
  /** Feature flags that bob offers. */
  bobFeatures?: number;
  onNoDataAccessible?: ResourceConfig['onNoDataAccessible'];
  handlers?: string[];
  membership?: MembershipConfig;
  /** The largest version that alice offers, and bob. */
  protocolMax?: [number, number];
  /** After every pass the node is thrown away and an equal one made of its snapshot. */
  restores?: boolean;
}

export type DiskOutput = Extract<Output, { type: 'disk-read' | 'disk-write' | 'disk-write-zeroes' | 'disk-discard' | 'disk-flush' }>;
export type DiskVerb = 'read' | 'write' | 'zeroes' | 'discard' | 'flush';

export interface PendingOperation {
  output: DiskOutput;
  area: DiskArea;
  /** What was to be written, as it was when it was asked for: the core must not change it any more. */
  copy: Uint8Array | undefined;
}

export interface Machine {
  name: Name;
  node: Node | undefined;
  disks: Map<number, Disk>;
  operations: PendingOperation[];
  /** Operations fail while this is set: kind, area; `once` takes it away with the first. */
  faults: { kind: DiskVerb | 'any'; area: DiskArea; once: boolean }[];
  /** Answers of the world that wait to be handed over. */
  inbox: Input[];
  listening: boolean;
  handlers: Map<string, number | 'hangs'>;
  hanging: Map<string, number>;
  replies: Map<number, Reply>;
  /** Application requests that are not answered. */
  asked: Map<number, Input>;
  randoms: number;
  /** What operators have changed since; a restart finds it in the configuration. */
  changed: { net: Partial<NetOptions>; disk: Partial<DiskOptions> };
  lastAccepted: number;
  /** Hash of every output so far, for the comparison of two runs. */
  outputsHash: string;
  passes: number;
}

/** One direction of a stream. */
export interface Way {
  chunks: Uint8Array[];
  queuedBytes: number;
  deliveredBytes: number;
  toldSentBytes: number;
  closed: 'closed' | 'reset' | undefined;
  isOff: boolean;
  decoder: StreamDecoder;
  context: WireContext;
  /** Packets that are on their way, and where each ends. */
  packets: { packet: Packet; endBytes: number }[];
}

export interface Pipe {
  kind: 'data' | 'meta' | undefined;
  /** Stream id of each end; undefined when that end was closed. */
  ids: Record<Name, number | undefined>;
  /** From this machine. */
  ways: Record<Name, Way>;
}

export type Event =
  | { event: 'output'; machine: Machine; output: Output }
  | { event: 'input'; machine: Machine; input: Input }
  | { event: 'operation-ended'; machine: Machine; operation: PendingOperation; ok: boolean }
  | { event: 'sent' | 'received'; machine: Machine; kind: 'data' | 'meta'; packet: Packet }
  | { event: 'passed'; machine: Machine };

export interface Pair {
  options: PairOptions;
  nowUs: number;
  machines: Record<Name, Machine>;
  pipes: Pipe[];
  /** Nothing gets through, and nobody is told. */
  isDark: boolean;
  /** What stands still: `alice>bob data`, `alice data disk`, `alice sent`; `connect`: every attempt is refused. */
  holds: Set<string>;
  lastId: number;
  watchers: ((event: Event) => void)[];
  /** Which of n actions comes next. */
  choose: (count: number) => number;
}

export const configOf = (options: PairOptions, name: Name): ResourceConfig => ({
  resource: RESOURCE,
  volumes: Array.from({ length: options.volumes ?? 1 }, (_, volume) => ({
    volume,
    minor: volume,
    metaDisk: options.metaDisk ?? { kind: 'flexible' },
    disk: { ...defaultDiskOptions, resyncRate: 4000, alExtents: 67, ...options.disk, resyncAfter: options.resyncAfter?.[volume] ?? -1 },
    sizeSectors: 0,
  })),
  peers: [{ name: otherOf(name), net: { ...defaultNetOptions, ...options.net, ...(name === 'bob' && options.bobNet) } }],
  onNoDataAccessible: options.onNoDataAccessible ?? 'io-error',
  handlers: options.handlers ?? [],
  ...(options.membership && { membership: options.membership }),
  protocolMin: 86,
  protocolMax: (options.protocolMax ?? [101, 101])[name === 'alice' ? 0 : 1],
  ...(name === 'bob' && options.bobFeatures !== undefined && { features: options.bobFeatures }),
});

/** With what operators have changed on this machine. */
export const configNow = (pair: Pair, name: Name): ResourceConfig => {
  const { options, machines } = pair;
  const { net, disk } = machines[name].changed;
  return configOf({ ...options, net: { ...options.net, ...(name === 'bob' && options.bobNet), ...net }, bobNet: {}, disk: { ...options.disk, ...disk } }, name);
};

const UUID_BASE: Record<Name, bigint> = { alice: 0xa11ce00000000000n, bob: 0xb0b0000000000000n };

/** Recognizable values; the low bits, which decide coin tosses, differ between the nodes from draw to draw. */
const environmentOf = (machine: Machine) => ({
  ...digests,
  random64: (): bigint => {
    const drawn = ++machine.randoms;
    const coins = (Math.imul(drawn + (machine.name === 'alice' ? 7 : 31), 0x9e3779b1) >>> 13) & 15;
    return UUID_BASE[machine.name] + BigInt(drawn) * 16n + BigInt(coins);
  },
});

function newMachine(options: PairOptions, name: Name): Machine {
  const disks = new Map<number, Disk>();
  for (let volume = 0; volume < (options.volumes ?? 1); volume++) disks.set(volume, newDisk(options.metaDisk ?? { kind: 'flexible' }, options.sectors ?? 2048, options.discardGranularitySectors?.[name === 'alice' ? 0 : 1]));
  return {
    name,
    node: undefined,
    disks,
    operations: [],
    faults: [],
    inbox: [],
    listening: false,
    handlers: new Map(),
    hanging: new Map(),
    replies: new Map(),
    asked: new Map(),
    randoms: 0,
    changed: { net: {}, disk: {} },
    lastAccepted: 0,
    outputsHash: '',
    passes: 0,
  };
}

/** Both machines run and know the resource; nothing is attached or connected. */
export function newPair(options: PairOptions = {}, watchers: Pair['watchers'] = []): Pair {
  const machines = { alice: newMachine(options, 'alice'), bob: newMachine(options, 'bob') };
  const pair: Pair = { options, nowUs: 1_000_000, machines, pipes: [], isDark: false, holds: new Set(), lastId: 0, watchers, choose: () => 0 };
  for (const name of names) start(pair, name);
  return pair;
}

/** The machine boots if it was down: the resource is known again, its disks are as they were left. */
export function start(pair: Pair, name: Name): void {
  const machine = pair.machines[name];
  machine.node ??= createNode(name, environmentOf(machine));
  command(pair, name, { verb: 'new-resource', config: configNow(pair, name) });
}

/** The node is gone in the middle of whatever it did. Its streams are reset, or with a loss of power just silent. */
export function crash(pair: Pair, name: Name, how: 'process' | 'power'): void {
  const machine = pair.machines[name];
  machine.node = undefined;
  machine.operations = [];
  machine.inbox = [];
  machine.listening = false;
  machine.hanging.clear();
  machine.asked.clear();
  if (how === 'power') for (const disk of machine.disks.values()) losePower(disk);
  for (const pipe of pair.pipes) {
    pipe.ids[name] = undefined;
    if (how === 'process') pipe.ways[name].closed = 'reset';
  }
}

// ---- One pass of a node -----------------------------------------------------------------------------------------------------

const tell = (pair: Pair, event: Event): void => {
  for (const watch of pair.watchers) watch(event);
};

/** Hands inputs over in one pass, and takes what the node wants. Bytes that were lent are overwritten afterwards. */
export function hand(pair: Pair, machine: Machine, ...inputs: Input[]): void {
  const { node } = machine;
  if (!node) return;
  for (const input of inputs) {
    tell(pair, { event: 'input', machine, input });
    node.handle(input, pair.nowUs);
  }
  node.handle({ type: 'pass-ended' }, pair.nowUs);
  const outputs = node.outputs();
  machine.passes++;
  if (pair.options.restores) {
    const snapshot = node.snapshot();
    machine.node = restoreNode(snapshot, environmentOf(machine));
    if (machine.node.fingerprint() !== node.fingerprint()) throw new Error(`${machine.name}: the restored node differs after pass ${machine.passes}`);
  }
  for (const output of outputs) carryOut(pair, machine, output);
  for (const input of inputs) {
    if ('bytes' in input) input.bytes.fill(0xee);
    if ('data' in input) input.data?.fill(0xee);
  }
  tell(pair, { event: 'passed', machine });
}

/** Tells watchers first: what they see on disks and streams is what was there when the node decided. */
function carryOut(pair: Pair, machine: Machine, output: Output): void {
  tell(pair, { event: 'output', machine, output });
  machine.outputsHash = fingerprintOf(bytesOfOutput(machine.outputsHash, output));
  switch (output.type) {
    case 'disk-open': {
      const { dataSectors, metaSectors, shared, discardGranularitySectors, rememberedSectors } = machine.disks.get(output.volume)!;
      const { resource, volume } = output;
      const fails = takeFault(machine, 'any', 'data');
      if (fails) machine.inbox.push({ type: 'disk-open-failed', resource, volume, reason: 'no such device' });
      else machine.inbox.push({ type: 'disk-opened', resource, volume, dataSectors, metaSectors, shared, logicalBlockBytes: 512, discardGranularityBytes: discardGranularitySectors * 512, rememberedSectors });
      return;
    }
    case 'disk-read':
    case 'disk-write':
    case 'disk-write-zeroes':
    case 'disk-discard':
    case 'disk-flush':
      machine.operations.push({ output, area: output.area, copy: output.type === 'disk-write' ? output.data.slice() : undefined });
      return;
    case 'listen':
      machine.listening = true;
      return;
    case 'stop-listening':
      machine.listening = false;
      return;
    case 'connect':
      return connect(pair, machine, output.stream);
    case 'close':
      return close(pair, machine, output.stream);
    case 'send':
      return send(pair, machine, output.stream, output.pieces);
    case 'read-stream': {
      const pipe = pair.pipes.find(({ ids }) => ids[machine.name] === output.stream);
      if (pipe) pipe.ways[otherOf(machine.name)].isOff = !output.on;
      return;
    }
    case 'membership-send':
      if (!pair.isDark) pair.machines[output.to as Name].inbox.push({ type: 'membership-received', from: machine.name, bytes: output.bytes.slice() });
      return;
    case 'run-handler': {
      const exitCode = machine.handlers.get(output.name) ?? 0;
      if (exitCode === 'hangs') machine.hanging.set(output.name, output.handler);
      else machine.inbox.push({ type: 'handler-exited', handler: output.handler, exitCode });
      return;
    }
    case 'app-done':
    case 'app-failed':
      if (!machine.asked.delete(output.id)) throw new Error(`${machine.name} answers request ${output.id}, which nobody waits for`);
      return;
    case 'reply':
      if (machine.replies.has(output.command)) throw new Error(`${machine.name} answers command ${output.command} twice`);
      machine.replies.set(output.command, output.reply);
      return;
    case 'disk-placed': {
      const disk = machine.disks.get(output.volume)!;
      disk.rememberedSectors = output.sectors;
      placed(disk);
      return;
    }
    case 'disk-close':
    case 'admit':
    case 'observe':
      return;
    default:
      return output satisfies never;
  }
}

const bytesOfOutput = (before: string, output: Output): Uint8Array => {
  const text = JSON.stringify(output, (_, value: unknown) => (value instanceof Uint8Array ? fingerprintOf(value) : typeof value === 'bigint' ? String(value) : value));
  return new TextEncoder().encode(before + text);
};

// ---- Streams ----------------------------------------------------------------------------------------------------------------

const newWay = (): Way => ({
  chunks: [],
  queuedBytes: 0,
  deliveredBytes: 0,
  toldSentBytes: 0,
  closed: undefined,
  isOff: false,
  decoder: newStreamDecoder('first'),
  context: freshContext(),
  packets: [],
});

function connect(pair: Pair, machine: Machine, stream: number): void {
  const peer = pair.machines[otherOf(machine.name)];
  if (pair.isDark) return;
  if (!peer.node || !peer.listening || pair.holds.has('connect')) {
    machine.inbox.push({ type: 'connect-refused', stream });
    return;
  }
  const accepted = -++peer.lastAccepted;
  const ids = { [machine.name]: stream, [peer.name]: accepted } as Record<Name, number>;
  const pipe: Pipe = { kind: undefined, ids, ways: { alice: newWay(), bob: newWay() } };
  // Only the side that connects says what the stream is: the other one's packets are of that kind from the start.
  pair.pipes.push(pipe);
  machine.inbox.push({ type: 'stream-connected', stream });
  peer.inbox.push({ type: 'stream-accepted', resource: RESOURCE, peer: machine.name, stream: accepted });
}

function close(pair: Pair, machine: Machine, stream: number): void {
  for (const pipe of pair.pipes) {
    if (pipe.ids[machine.name] !== stream) continue;
    pipe.ids[machine.name] = undefined;
    pipe.ways[machine.name].closed ??= 'closed';
    pipe.ways[otherOf(machine.name)].chunks = [];
  }
  machine.inbox = machine.inbox.filter((input) => !('stream' in input) || input.stream !== stream || input.type === 'stream-accepted');
}

function send(pair: Pair, machine: Machine, stream: number, pieces: Uint8Array[]): void {
  const pipe = pair.pipes.find(({ ids }) => ids[machine.name] === stream);
  if (!pipe) throw new Error(`${machine.name} sends on stream ${stream}, which is closed`);
  const way = pipe.ways[machine.name];
  // It was cut, and this end does not know yet.
  if (way.closed) return;
  const chunk = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    chunk.set(piece, at);
    at += piece.length;
  }
  way.chunks.push(chunk);
  way.queuedBytes += chunk.length;
  decode(pair, machine, pipe, way, chunk);
}

/** What the two nodes will have agreed on. */
const agreed = (pair: Pair): WireContext => {
  const [alice, bob] = pair.options.protocolMax ?? [101, 101];
  return { apv: Math.min(alice, bob), features: OWN_FEATURES & (pair.options.bobFeatures ?? OWN_FEATURES), digestBytes: 0 };
};

const digestBytesOf = (algorithm: string): number => (algorithm === '' ? 0 : digests.digest(algorithm, [])!.length);

function decode(pair: Pair, machine: Machine, pipe: Pipe, way: Way, bytes: Uint8Array): void {
  if (pipe.kind !== undefined && way.decoder.stream === 'first') way.decoder = newStreamDecoder(pipe.kind);
  if (pipe.kind === 'meta') way.context = agreed(pair);
  const chunk = { bytes: bytes.slice(), at: 0 };
  for (let packet = pullPacket(way.decoder, way.context, chunk); packet; packet = pullPacket(way.decoder, way.context, chunk)) {
    if (isWireError(packet)) throw new Error(`${machine.name} sends what is no packet: ${packet.detail}`);
    if (packet.packet === 'P_INITIAL_DATA') pipe.kind = 'data';
    if (packet.packet === 'P_INITIAL_META') pipe.kind = 'meta';
    if (packet.packet === 'P_CONNECTION_FEATURES' || pipe.kind === 'meta') way.context = agreed(pair);
    if (packet.packet === 'P_PROTOCOL' || packet.packet === 'P_PROTOCOL_UPDATE') way.context = { ...way.context, digestBytes: digestBytesOf(packet.integrityAlg ?? '') };
    way.packets.push({ packet, endBytes: way.queuedBytes - (chunk.bytes.length - chunk.at) });
    tell(pair, { event: 'sent', machine, kind: pipe.kind ?? 'data', packet });
  }
}

function deliver(pair: Pair, pipe: Pipe, from: Name): void {
  const machine = pair.machines[otherOf(from)];
  const way = pipe.ways[from];
  const stream = pipe.ids[machine.name]!;
  const chunk = way.chunks.shift();
  if (chunk) {
    way.deliveredBytes += chunk.length;
    while (way.packets.length > 0 && way.packets[0]!.endBytes <= way.deliveredBytes) {
      tell(pair, { event: 'received', machine, kind: pipe.kind ?? 'data', packet: way.packets.shift()!.packet });
    }
    return hand(pair, machine, { type: 'stream-received', stream, bytes: chunk.slice() });
  }
  pipe.ids[machine.name] = undefined;
  const how = way.closed!;
  // The other end is not told that this one goes: it has gone itself.
  hand(pair, machine, { type: 'stream-closed', stream, how });
}

/** Both streams are reset, now. What was on its way is lost. */
export function cut(pair: Pair): void {
  for (const { ways } of pair.pipes) {
    for (const way of Object.values(ways)) {
      way.chunks = [];
      way.closed = 'reset';
    }
  }
}

/** A bit of the last byte of the first such packet on its way from this machine is turned over. */
export function corrupt(pair: Pair, from: Name, name: string): void {
  for (const { ways } of pair.pipes) {
    const way = ways[from];
    const found = way.packets.find(({ packet }) => packet.packet === name);
    if (found === undefined) continue;
    let at = way.deliveredBytes;
    const chunk = way.chunks.find((one) => (at += one.length) >= found.endBytes)!;
    chunk[chunk.length - 1 - (at - found.endBytes)]! ^= 1;
    return;
  }
  throw new Error(`no ${name} of ${from} is on its way`);
}

/** Hands bytes to a machine as if the peer had sent them. */
export function inject(pair: Pair, to: Name, kind: 'data' | 'meta', bytes: Uint8Array): boolean {
  const pipe = pair.pipes.find((candidate) => candidate.kind === kind && candidate.ids[to] !== undefined);
  if (!pipe) return false;
  hand(pair, pair.machines[to], { type: 'stream-received', stream: pipe.ids[to]!, bytes: bytes.slice() });
  return true;
}

// ---- Disks --------------------------------------------------------------------------------------------------------------------

const takeFault = (machine: Machine, kind: DiskVerb | 'any', area: DiskArea): boolean => {
  const at = machine.faults.findIndex((fault) => fault.area === area && (fault.kind === 'any' || fault.kind === kind));
  if (at < 0) return false;
  if (machine.faults[at]!.once) machine.faults.splice(at, 1);
  return true;
};

const kindOf = { 'disk-read': 'read', 'disk-write': 'write', 'disk-write-zeroes': 'zeroes', 'disk-discard': 'discard', 'disk-flush': 'flush' } as const;

/** The operation ends, well or (by a scripted fault) not. */
export function complete(pair: Pair, machine: Machine, operation: PendingOperation): void {
  machine.operations.splice(machine.operations.indexOf(operation), 1);
  const { output, area, copy } = operation;
  const disk = machine.disks.get(output.volume)!;
  const ok = !takeFault(machine, kindOf[output.type], area);
  let data: Uint8Array | undefined;
  if (ok) {
    switch (output.type) {
      case 'disk-read':
        data = read(disk, area, output.sector, output.sectors);
        if (data.every((byte) => byte === 0)) data = undefined;
        break;
      case 'disk-write':
        if (copy!.some((byte, at) => byte !== output.data[at])) throw new Error(`${machine.name} changed bytes of operation ${output.op} before it ended`);
        if (output.preflush) flush(disk, area);
        write(disk, area, output.sector, copy!);
        if (output.fua) persist(disk, area, output.sector, copy!.length / 512);
        break;
      case 'disk-write-zeroes':
        write(disk, area, output.sector, new Uint8Array(output.sectors * 512));
        break;
      case 'disk-discard': {
        const granularity = disk.discardGranularitySectors;
        if (granularity === 0 || output.sector % granularity > 0 || output.sectors % granularity > 0) throw new Error(`${machine.name} discards ${output.sector}+${output.sectors}, which are no granules`);
        write(disk, area, output.sector, new Uint8Array(output.sectors * 512));
        break;
      }
      case 'disk-flush':
        flush(disk, area);
        break;
    }
  }
  tell(pair, { event: 'operation-ended', machine, operation, ok });
  if (!ok) hand(pair, machine, { type: 'disk-failed', op: output.op, failure: 'failed' });
  else if (data) hand(pair, machine, { type: 'disk-done', op: output.op, data });
  else hand(pair, machine, { type: 'disk-done', op: output.op });
}

// ---- What can happen ------------------------------------------------------------------------------------------------------------

type Action = () => void;

function actions(pair: Pair): Action[] {
  const found: Action[] = [];
  for (const name of names) {
    const machine = pair.machines[name];
    if (!machine.node) continue;
    const next = machine.inbox[0];
    if (next) found.push(() => hand(pair, machine, machine.inbox.shift()!));
    for (const operation of machine.operations) {
      if (!pair.holds.has(`${name} ${operation.area} disk`)) found.push(() => complete(pair, machine, operation));
    }
  }
  // A stream's end is known to a machine only when it was told of the stream.
  for (const pipe of pair.pipes) {
    for (const from of names) {
      const way = pipe.ways[from];
      const to = pair.machines[otherOf(from)];
      const hasReceiver = pipe.ids[to.name] !== undefined && to.node && !to.inbox.some((input) => 'stream' in input && input.stream === pipe.ids[to.name]);
      const isHeld = pair.isDark || pair.holds.has(`${from}>${to.name} ${pipe.kind ?? 'data'}`);
      if (hasReceiver && !isHeld && (way.chunks.length > 0 || way.closed !== undefined)) found.push(() => deliver(pair, pipe, from));
      const own = pipe.ids[from];
      if (own !== undefined && way.toldSentBytes < way.queuedBytes && !way.closed && !pair.isDark && !pair.holds.has(`${from} sent`)) {
        found.push(() => {
          way.toldSentBytes = way.queuedBytes;
          hand(pair, pair.machines[from], { type: 'stream-sent', stream: own, bytesTotal: way.queuedBytes });
        });
      }
    }
  }
  return found;
}

const STEPS_MAX = 20_000;
const WAKES_MAX = 10_000;

/** Lets one thing happen. Returns false when nothing can. */
export function step(pair: Pair): boolean {
  const possible = actions(pair);
  if (possible.length === 0) return false;
  possible[pair.choose(possible.length) % possible.length]!();
  return true;
}

/** Until nothing can happen at this moment. */
export function drive(pair: Pair): void {
  for (let steps = 0; step(pair); steps++) if (steps > STEPS_MAX) throw new Error('the pair does not come to rest');
  pair.pipes = pair.pipes.filter(({ ids }) => ids.alice !== undefined || ids.bob !== undefined);
}

/** The clock goes on to the next alarm, if that is not later than `untilUs`, and whoever set it is woken. */
function wake(pair: Pair, untilUs: number): boolean {
  const nextUs = Math.min(...names.map((name) => pair.machines[name].node?.deadline() ?? Infinity));
  if (nextUs > untilUs) return false;
  pair.nowUs = Math.max(pair.nowUs, nextUs);
  for (const name of names) {
    const machine = pair.machines[name];
    const deadlineUs = machine.node?.deadline();
    if (deadlineUs !== undefined && deadlineUs <= pair.nowUs) hand(pair, machine, { type: 'woken' });
  }
  return true;
}

/** Time passes, and everything that follows happens at once. */
export function advance(pair: Pair, byUs: number): void {
  const untilUs = pair.nowUs + byUs;
  drive(pair);
  for (let wakes = 0; wake(pair, untilUs); wakes++) {
    if (wakes > WAKES_MAX) throw new Error('the pair wakes without end');
    drive(pair);
  }
  pair.nowUs = untilUs;
}

/** One thing after the other until this is so: what would follow has not happened yet. */
export function stepUntil(pair: Pair, isSo: () => boolean): void {
  for (let steps = 0; !isSo(); steps++) {
    if (steps > STEPS_MAX) throw new Error('it never comes to that');
    if (!step(pair)) wake(pair, Infinity);
  }
}

// ---- Those who use it --------------------------------------------------------------------------------------------------------------

/** Gives a command, in a pass of its own; the reply comes into `machine.replies`. Nothing else happens yet. */
export function command(pair: Pair, name: Name, what: Command): number {
  const id = ++pair.lastId;
  hand(pair, pair.machines[name], { type: 'command', id, command: what });
  return id;
}

/** Application requests of one pass; each gets an id. */
export type Asked =
  | { ask: 'write'; volume: number; sector: number; data: Uint8Array; fua: boolean }
  | { ask: 'read' | 'discard' | 'zeroes' | 'zeroes-unmap'; volume: number; sector: number; sectors: number }
  | { ask: 'flush'; volume: number };

export function application(pair: Pair, name: Name, asked: readonly Asked[]): number[] {
  const machine = pair.machines[name];
  const inputs = asked.map((what): Input & { id: number } => {
    const common = { resource: RESOURCE, volume: what.volume, id: ++pair.lastId };
    switch (what.ask) {
      case 'write':
        return { type: 'app-write', ...common, sector: what.sector, data: what.data.slice(), fua: what.fua };
      case 'read':
        return { type: 'app-read', ...common, sector: what.sector, sectors: what.sectors };
      case 'discard':
        return { type: 'app-discard', ...common, sector: what.sector, sectors: what.sectors };
      case 'zeroes':
      case 'zeroes-unmap':
        return { type: 'app-write-zeroes', ...common, sector: what.sector, sectors: what.sectors, mayUnmap: what.ask === 'zeroes-unmap' };
      case 'flush':
        return { type: 'app-flush', ...common };
    }
  });
  if (!machine.node) return [];
  for (const input of inputs) machine.asked.set(input.id, input.type === 'app-write' ? { ...input, data: input.data.slice() } : input);
  hand(pair, machine, ...inputs);
  return inputs.map(({ id }) => id);
}

export const exitHandler = (pair: Pair, name: Name, handlerName: string, exitCode: number): void => {
  const machine = pair.machines[name];
  const handler = machine.hanging.get(handlerName);
  if (handler === undefined) throw new Error(`${handlerName} does not run on ${name}`);
  machine.hanging.delete(handlerName);
  hand(pair, machine, { type: 'handler-exited', handler, exitCode });
};
