// The world around two stations: a clock, disks that take their time and may fail, and two streams in each direction that keep their order
// but not each other's. A run is a function of its seed. The disk asserts that no two overlapping writes are ever on their way together.

import type { Output } from '../../src/contract/output.js';
import { setBits } from '../../src/metadata/bitmap.js';
import { sendPacket } from '../../src/connection/send.js';
import { pauseResync, resumeResync, startResync } from '../../src/resync/lifecycle.js';
import { sendBitmap } from '../../src/resync/bitmap-exchange.js';
import { Conn, Disk, Role } from '../../src/state/states.js';
import {
  appWrite,
  connect,
  deadline,
  deviceOf,
  disconnect,
  kindOf,
  newStation,
  operationDone,
  pass,
  receive,
  runTimer,
  sent,
  volumeOf,
  type Station,
  type StationOptions,
} from './station.js';

export interface PairOptions extends StationOptions {
  seed?: number;
  /** Latencies are drawn from 0 up to these. */
  networkUs?: number;
  diskUs?: number;
  /** Is the target the node with the application? */
  primaryIsTarget?: boolean;
}

interface Event {
  atUs: number;
  order: number;
  run: () => void;
}

interface DiskWrite {
  sector: number;
  sectors: number;
}

export interface Pair {
  nowUs: number;
  options: PairOptions;
  random: (below: number) => number;
  events: Event[];
  order: number;
  /** Incarnation of the connection: what was sent on an earlier one is lost. */
  incarnation: number;
  lastArrivalUs: Map<string, number>;
  source: Station;
  target: Station;
  primary: Station;
  /** Content of each station's disks by volume. */
  disks: Map<Station, Uint8Array[]>;
  writing: Map<Station, DiskWrite[][]>;
  /** Blocks (4 KiB) whose reads on the source, or writes on the target, fail. */
  readErrors: Set<number>;
  writeErrors: Set<number>;
  flushErrors: number;
  /** Kinds of operations of which the target's disk refuses some. */
  refused: Output['type'][];
  /** How long the target's next flushes take. */
  slowFlushesUs: number[];
  /** Metadata writes of a station: with nothing else under way, bitmap pages. */
  pagesWritten: Map<Station, number>;
  /** What the application has written, over what the source had. */
  expected: Uint8Array[];
  /** Bytes sent by stream, `source data` and so on. */
  sentBytes: Map<string, number>;
  stamp: number;
}

/** Small, fast, and the same everywhere (mulberry32). */
function randomOf(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** Two connected nodes with equal disks and clean bitmaps. */
export function newPair(options: PairOptions = {}): Pair {
  const sectors = options.sectors ?? 4096;
  const volumes = options.volumes ?? 1;
  const source = newStation('source', options.primaryIsTarget ? Role.Secondary : Role.Primary, options);
  const target = newStation('target', options.primaryIsTarget ? Role.Primary : Role.Secondary, options);
  const images = () => Array.from({ length: volumes }, () => new Uint8Array(sectors * 512));
  const pair: Pair = {
    nowUs: 0,
    options,
    random: randomOf(options.seed ?? 1),
    events: [],
    order: 0,
    incarnation: 0,
    lastArrivalUs: new Map(),
    source,
    target,
    primary: options.primaryIsTarget ? target : source,
    disks: new Map([[source, images()], [target, images()]]),
    writing: new Map([source, target].map((station) => [station, Array.from({ length: volumes }, () => [])])),
    readErrors: new Set(),
    writeErrors: new Set(),
    flushErrors: 0,
    refused: [],
    slowFlushesUs: [],
    pagesWritten: new Map([[source, 0], [target, 0]]),
    expected: images(),
    sentBytes: new Map(),
    stamp: 0,
  };
  for (const station of [source, target]) {
    connect(station);
    for (const volume of station.resource.volumes.values()) {
      deviceOf(volume).role = station === pair.primary ? Role.Secondary : Role.Primary;
    }
  }
  return pair;
}

/** The source has new data in these blocks, or zeros where the target has something, and both nodes know it. */
export function makeDirty(pair: Pair, bit: number, bits: number, volume = 0, zeros = false): void {
  const source = pair.disks.get(pair.source)![volume]!;
  const from = bit * 4096;
  const to = Math.min((bit + bits) * 4096, source.length);
  for (let at = from; at < to; at += 512) source.fill(zeros ? 0 : 1 + (++pair.stamp % 255), at, at + 512);
  if (zeros) pair.disks.get(pair.target)![volume]!.fill(0xdd, from, to);
  pair.expected[volume]!.set(source.subarray(from, to), from);
  for (const station of [pair.source, pair.target]) setBits(deviceOf(volumeOf(station, volume)).bitmap!, bit, Math.ceil((to - from) / 4096));
}

export const peerOf = (pair: Pair, station: Station): Station => (station === pair.source ? pair.target : pair.source);

/** SyncSource and SyncTarget, or their paused forms, on all volumes. */
export function startSync(pair: Pair, paused = false): void {
  for (const [station, side] of [[pair.source, 'source'], [pair.target, 'target']] as const) {
    act(pair, station, () => {
      for (const volume of station.resource.volumes.values()) {
        const device = deviceOf(volume);
        device.repl = side === 'source' ? (paused ? Conn.PausedSyncS : Conn.SyncSource) : paused ? Conn.PausedSyncT : Conn.SyncTarget;
        volume.disk = side === 'source' ? Disk.UpToDate : Disk.Inconsistent;
        device.pdsk = side === 'source' ? Disk.Inconsistent : Disk.UpToDate;
        startResync(station.core, station.resource, volume, device, station.connection, side);
      }
    });
  }
  pair.target.onComplete = (volume, failedBits) => {
    // What the resource room does: states, then a P_STATE that shows them.
    deviceOf(volume).repl = Conn.Connected;
    if (failedBits > 0) return;
    volume.disk = Disk.UpToDate;
    sendPacket(pair.target.core, pair.target.connection, { packet: 'P_STATE', volume: volume.number, state: 0 });
  };
  pair.source.onComplete = (volume) => {
    deviceOf(volume).repl = Conn.Connected;
    deviceOf(volume).pdsk = Disk.UpToDate;
  };
}

export function setPaused(pair: Pair, paused: boolean): void {
  for (const [station, active, resting] of [[pair.source, Conn.SyncSource, Conn.PausedSyncS], [pair.target, Conn.SyncTarget, Conn.PausedSyncT]] as const) {
    act(pair, station, () => {
      for (const volume of station.resource.volumes.values()) {
        const device = deviceOf(volume);
        if (device.repl !== (paused ? active : resting)) continue;
        device.repl = paused ? resting : active;
        (paused ? pauseResync : resumeResync)(station.core, station.resource, volume, device, station.connection);
      }
    });
  }
}

/** The application writes `sectors` new sectors. */
export function write(pair: Pair, sector: number, sectors: number, volume = 0): void {
  const data = new Uint8Array(sectors * 512);
  for (let at = 0; at < data.length; at += 512) data.fill(1 + (++pair.stamp % 255), at, at + 512);
  pair.expected[volume]!.set(data, sector * 512);
  act(pair, pair.primary, () => appWrite(pair.primary, volume, sector, data));
}

/** The link breaks: everything on its way is lost, and both nodes clean up. */
export function cut(pair: Pair): void {
  pair.incarnation++;
  pair.lastArrivalUs.clear();
  pair.sentBytes.clear();
  for (const station of [pair.source, pair.target]) act(pair, station, () => disconnect(station));
}

/** A new connection: bitmaps are exchanged, then the resync starts. */
export function reconnect(pair: Pair): void {
  for (const station of [pair.source, pair.target]) act(pair, station, () => connect(station));
  for (const [from, to] of [[pair.source, pair.target], [pair.target, pair.source]] as const) {
    for (const station of [pair.source, pair.target]) for (const volume of station.resource.volumes.values()) deviceOf(volume).repl = Conn.WFBitMapS;
    act(pair, from, () => {
      for (const volume of from.resource.volumes.values()) sendBitmap(from.core, from.resource, volume, deviceOf(volume), from.connection);
    });
    const volumes = from.resource.volumes.size;
    runUntil(pair, () => to.told.filter(({ signal }) => signal === 'bitmap-received').length >= volumes, 60_000_000);
    to.told = to.told.filter(({ signal }) => signal !== 'bitmap-received');
  }
  startSync(pair);
}

// ---- The clock -------------------------------------------------------------------------------------------------------

const at = (pair: Pair, atUs: number, run: () => void): void => {
  pair.events.push({ atUs, order: ++pair.order, run });
};

export const later = (pair: Pair, afterUs: number, run: () => void): void => at(pair, pair.nowUs + afterUs, run);

export function act(pair: Pair, station: Station, step: () => void): void {
  for (const output of pass(station, pair.nowUs, step)) handle(pair, station, output);
}

/** Lets time pass until `done` (true) or `untilUs` (false). */
export function runUntil(pair: Pair, done: () => boolean, forUs: number): boolean {
  const untilUs = pair.nowUs + forUs;
  while (!done()) {
    let next: Event | undefined;
    for (const event of pair.events) if (!next || event.atUs < next.atUs || (event.atUs === next.atUs && event.order < next.order)) next = event;
    let alarm: Station | undefined;
    let alarmUs = Infinity;
    for (const station of [pair.source, pair.target]) {
      const dueUs = deadline(station);
      if (dueUs !== undefined && dueUs < alarmUs) {
        alarm = station;
        alarmUs = dueUs;
      }
    }
    const nextUs = Math.min(next?.atUs ?? Infinity, alarmUs);
    if (nextUs > untilUs) {
      pair.nowUs = untilUs;
      return false;
    }
    pair.nowUs = Math.max(pair.nowUs, nextUs);
    if (next && next.atUs <= alarmUs) {
      pair.events.splice(pair.events.indexOf(next), 1);
      next.run();
    } else {
      const station = alarm!;
      act(pair, station, () => runTimer(station));
    }
  }
  return true;
}

// ---- Disks and streams -------------------------------------------------------------------------------------------------

function handle(pair: Pair, station: Station, output: Output): void {
  switch (output.type) {
    case 'disk-read':
    case 'disk-write':
    case 'disk-write-zeroes':
    case 'disk-discard':
    case 'disk-flush':
      return disk(pair, station, output);
    case 'send':
      return send(pair, station, output.stream, output.pieces);
    default:
  }
}

const hits = (errors: Set<number>, sector: number, sectors: number): boolean => {
  for (let block = Math.floor(sector / 8); block * 8 < sector + sectors; block++) if (errors.has(block)) return true;
  return false;
};

function disk(pair: Pair, station: Station, output: Extract<Output, { type: 'disk-read' | 'disk-write' | 'disk-write-zeroes' | 'disk-discard' | 'disk-flush' }>): void {
  const { op } = output;
  const slow = output.type === 'disk-flush' && station === pair.target ? pair.slowFlushesUs.shift() : undefined;
  const durationUs = slow ?? 1 + pair.random(pair.options.diskUs ?? 3000);
  const end = (result: Parameters<typeof operationDone>[2]): void => act(pair, station, () => operationDone(station, op, result));
  if (output.type === 'disk-flush') {
    const fails = pair.flushErrors > 0 && station === pair.target && --pair.flushErrors >= 0;
    return later(pair, durationUs, () => end(fails ? { ok: false, failure: 'failed' } : { ok: true, data: undefined }));
  }
  if (output.area === 'meta' && output.type === 'disk-write') pair.pagesWritten.set(station, pair.pagesWritten.get(station)! + 1);
  if (output.area === 'meta') return later(pair, durationUs, () => end({ ok: true, data: undefined }));
  const image = pair.disks.get(station)![output.volume]!;
  const from = output.sector * 512;
  if (output.type === 'disk-read') {
    const fails = station === pair.source && hits(pair.readErrors, output.sector, output.sectors);
    // The platter is read somewhere in between.
    let data = new Uint8Array(0);
    later(pair, pair.random(durationUs), () => (data = image.slice(from, from + output.sectors * 512)));
    return later(pair, durationUs, () => end(fails ? { ok: false, failure: 'failed' } : { ok: true, data: data.some((byte) => byte !== 0) ? data : undefined }));
  }
  const bytes = output.type === 'disk-write' ? output.data : new Uint8Array(output.sectors * 512);
  const range = { sector: output.sector, sectors: bytes.length / 512 };
  const writing = pair.writing.get(station)![output.volume]!;
  for (const other of writing) {
    if (other.sector < range.sector + range.sectors && range.sector < other.sector + other.sectors) {
      throw new Error(`${station.name}: writes ${range.sector}+${range.sectors} and ${other.sector}+${other.sectors} overlap`);
    }
  }
  writing.push(range);
  const fails = station === pair.target && (hits(pair.writeErrors, range.sector, range.sectors) || (pair.refused.includes(output.type) && pair.random(2) === 0));
  later(pair, durationUs, () => {
    writing.splice(writing.indexOf(range), 1);
    if (!fails) image.set(bytes, from);
    end(fails ? { ok: false, failure: 'failed' } : { ok: true, data: undefined });
  });
}

function send(pair: Pair, station: Station, stream: number, pieces: Uint8Array[]): void {
  const kind = kindOf(stream);
  const key = `${station.name} ${kind}`;
  const { incarnation } = pair;
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const arrivalUs = Math.max(pair.lastArrivalUs.get(key) ?? 0, pair.nowUs + pair.random(pair.options.networkUs ?? 2000));
  pair.lastArrivalUs.set(key, arrivalUs);
  const total = (pair.sentBytes.get(key) ?? 0) + length;
  pair.sentBytes.set(key, total);
  const peer = peerOf(pair, station);
  let bytes = new Uint8Array(0);
  // The transport copies when it takes the bytes: what was only lent to the sender has been overwritten by then.
  later(pair, 0, () => {
    bytes = Uint8Array.from(Buffer.concat(pieces));
    if (incarnation === pair.incarnation) act(pair, station, () => sent(station, kind, total));
  });
  at(pair, arrivalUs, () => {
    if (incarnation !== pair.incarnation) return;
    act(pair, peer, () => receive(peer, kind, bytes));
    bytes.fill(0xee);
  });
}
