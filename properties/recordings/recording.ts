// What a folder of the recordings says: its packets in the order of their times, what each node's operator did, what the nodes
// said of themselves in between, and the configuration. Nothing is judged here.

import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { defaultDiskOptions, defaultNetOptions } from '../../src/config/defaults.js';
import type { DiskOptions, NetOptions } from '../../src/config/types.js';
import { digests } from '../../src/digests/digests.js';
import { freshContext } from '../../src/wire/context.js';
import { isWireError } from '../../src/wire/errors.js';
import type { Packet } from '../../src/wire/packets.js';
import { newStreamDecoder, pullPacket } from '../../src/wire/reassembly.js';
import { agreedBy, listedPackets, type CapturedStream } from '../wire/captured-streams.js';

export type Side = 'alice' | 'bob';
export type Kind = 'data' | 'meta';

export interface RecordedPacket {
  /** Seconds since the capture began. */
  t: number;
  connection: string;
  kind: Kind;
  from: Side;
  packet: Packet;
}

/** A line of scenario.txt: what an operator did, a state dump (`dump`), or a crash. */
export interface Deed {
  t: number;
  node: Side | undefined;
  text: string;
}

export interface RecordedState {
  conn: string;
  roles: string;
  disks: string;
  outOfSyncBits: number;
  /** Current, bitmap, history 1 and 2; absent without a disk. */
  uuids: string | undefined;
}

export interface Recording {
  folder: string;
  name: string;
  packets: RecordedPacket[];
  deeds: Deed[];
  /** Which side opened each connection. */
  openers: Map<string, Side>;
  /** When each side let go of each connection first. */
  ends: { t: number; connection: string; from: Side }[];
}

const OPENERS = ['83740267fff10000', '83740267fff20000'];

/** The whole packets of a stream, in its order; `streams` holds that of the other direction. */
export function packetsOf(stream: CapturedStream, streams: CapturedStream[]): Packet[] {
  const isOpener = OPENERS.includes(Buffer.from(stream.bytes.subarray(0, 8)).toString('hex'));
  const decoder = newStreamDecoder(isOpener ? 'first' : stream.kind);
  const agreed = agreedBy(stream, streams);
  const context = freshContext();
  const chunk = { bytes: stream.bytes.slice(), at: 0 };
  const packets: Packet[] = [];
  for (;;) {
    const packet = pullPacket(decoder, context, chunk);
    if (packet === undefined || isWireError(packet)) return packets;
    packets.push(packet);
    if (packet.packet === 'P_CONNECTION_FEATURES' && agreed) Object.assign(context, agreed);
    if ((packet.packet === 'P_PROTOCOL' || packet.packet === 'P_PROTOCOL_UPDATE') && packet.integrityAlg) context.digestBytes = digests.digest(packet.integrityAlg, [])!.length;
  }
}

export function readRecording(folder: string, streams: CapturedStream[]): Recording {
  const own = streams.filter((stream) => stream.folder === folder);
  const lists = listedPackets(folder);
  const times = timesOf(folder);
  const packets: RecordedPacket[] = [];
  for (const stream of own) {
    const key = `${stream.connection} ${stream.direction}`;
    const found = packetsOf(stream, own);
    if (found.length > (lists.get(key)?.length ?? 0)) throw new Error(`${folder}: ${key} has packets that packets.txt does not list`);
    found.forEach((packet, index) => packets.push({ t: times.get(key)![index]!.t, connection: stream.connection, kind: stream.kind, from: stream.direction.split('-')[0] as Side, packet }));
  }
  const order = new Map(packets.map((packet) => [packet, 0]));
  for (const [key, list] of times) {
    const [connection, direction] = key.split(' ') as [string, string];
    packets.filter((one) => one.connection === connection && direction.startsWith(one.from)).forEach((one, index) => order.set(one, list[index]!.line));
  }
  packets.sort((a, b) => order.get(a)! - order.get(b)!);
  const connections = JSON.parse(readFileSync(join(folder, 'connections.json'), 'utf8')) as { conn: number; kind: string; connected_by: Side }[];
  const openers = new Map(connections.map(({ conn, kind, connected_by }) => [`conn${conn}-${kind}`, connected_by]));
  return { folder, name: basename(folder), packets, deeds: deedsOf(folder), openers, ends: endsOf(folder) };
}

/** By stream, the time of each packet and its line in packets.txt, whose order is that of the wire. */
function timesOf(folder: string): Map<string, { t: number; line: number }[]> {
  const times = new Map<string, { t: number; line: number }[]>();
  readFileSync(join(folder, 'packets.txt'), 'utf8')
    .split('\n')
    .forEach((text, line) => {
      const match = /^\s*([\d.]+)\s+(\S+)\s+(\S+)\s+@/.exec(text);
      if (!match) return;
      const key = `${match[2]} ${match[3]}`;
      times.set(key, [...(times.get(key) ?? []), { t: Number(match[1]), line }]);
    });
  return times;
}

function deedsOf(folder: string): Deed[] {
  const deeds: Deed[] = [];
  let isRecorded = false;
  for (const line of readFileSync(join(folder, 'scenario.txt'), 'utf8').split('\n')) {
    if (line.startsWith('--- capture started')) isRecorded = true;
    if (line.startsWith('At the end')) break;
    if (!isRecorded) continue;
    const match = /^\s*([\d.]+) {2,}(?:(alice|bob)(?:#|:) )?(\S.*)$/.exec(line);
    if (match) deeds.push({ t: Number(match[1]), node: match[2] as Side | undefined, text: match[3]! });
  }
  return deeds;
}

function endsOf(folder: string): Recording['ends'] {
  const ends: Recording['ends'] = [];
  for (const line of readFileSync(join(folder, 'index.jsonl'), 'utf8').split('\n')) {
    if (!/"event": "(fin|rst)"/.test(line)) continue;
    const { t, conn, kind, dir } = JSON.parse(line) as { t: number; conn: number; kind: string; dir: string };
    const connection = `conn${conn}-${kind}`;
    if (!ends.some((end) => end.connection === connection)) ends.push({ t, connection, from: dir.split('-')[0] as Side });
  }
  return ends;
}

/** Does DRBD 8.4 run on this node? The core stands in for no other. */
export const isOurs = (recording: Recording, side: Side): boolean => readFileSync(join(recording.folder, `kernel-log.${side}.txt`), 'utf8').includes('Version: 8.4.11');

/** Only that of the current UUID says something. */
const withoutRoleBits = (gi: string): string =>
  gi
    .split(':')
    .slice(0, 4)
    .map((uuid, at) => (at === 0 ? uuid : (BigInt(`0x${uuid}`) & ~1n).toString(16).toUpperCase().padStart(16, '0')))
    .join(':');

/** What the node said of itself at this dump, by volume; undefined where there is none, or it is not an 8.4 node. */
export function stateAt(recording: Recording, tag: string, side: Side): RecordedState[] | undefined {
  const path = join(recording.folder, `state-${tag}.${side}.txt`);
  if (!existsSync(path)) return undefined;
  const text = readFileSync(path, 'utf8');
  if (!text.includes('version: 8.4.11')) return undefined;
  const gis = [...text.matchAll(/### drbdsetup-84 get-gi (\d+)\n([0-9A-F:]*)/g)].map((match) => match[2]!);
  return [...text.matchAll(/^ *\d+: cs:(\S+)(?: ro:(\S+) ds:(\S+).*\n.*oos:(\d+))?/gm)].map(([, conn, roles, disks, outOfSyncKiB], volume) => ({
    conn: conn!,
    roles: roles ?? '',
    disks: disks ?? '',
    outOfSyncBits: Number(outOfSyncKiB ?? 0) / 4,
    uuids: gis[volume] ? withoutRoleBits(gis[volume]) : undefined,
  }));
}

/** Volumes of a side: what its disk offers, as it told the peer. */
export const hashesOf = (recording: Recording, side: Side): { volume: number; sectors: number; sha256: string }[] =>
  [...readFileSync(join(recording.folder, 'scenario.txt'), 'utf8').matchAll(/^(alice|bob) volume (\d+): (\d+) sectors, sha256 of backing data (\w+)/gm)]
    .filter(([, node]) => node === side)
    .map(([, , volume, sectors, sha256]) => ({ volume: Number(volume), sectors: Number(sectors), sha256: sha256! }));

// ---- Configuration ------------------------------------------------------------------------------------------------------------

export interface RecordedConfig {
  net: NetOptions;
  disk: DiskOptions;
  volumes: number[];
  sizeSectors: number;
  handlers: string[];
  /** Options that the core does not have. */
  unknown: string[];
}

const UNIT: Record<string, number> = { K: 1, k: 1, M: 1024, G: 1024 * 1024 };

/** A number as it is; with a unit, in KiB. */
export function kibOf(value: string): number {
  const unit = /^(\d+)([KkMG])$/.exec(value);
  return unit ? Number(unit[1]) * UNIT[unit[2]!]! : Number(value);
}

export function configIn(recording: Recording, side: Side): RecordedConfig {
  const name = readdirSync(recording.folder).find((file) => file === 'r0.res' || file === `r0.${side}.res`)!;
  const text = readFileSync(join(recording.folder, name), 'utf8');
  const config: RecordedConfig = { net: { ...defaultNetOptions }, disk: { ...defaultDiskOptions }, volumes: [], sizeSectors: 0, handlers: [], unknown: [] };
  for (const [, section, body] of text.matchAll(/\b(net|disk|handlers)\s*\{([^}]*)\}/g)) {
    for (const statement of body!.split(';')) {
      const [option, ...words] = statement.trim().split(/\s+/) as [string, ...string[]];
      if (option === '') continue;
      const value = words.join(' ').replaceAll('"', '');
      if (section === 'handlers') {
        config.handlers.push(option);
        continue;
      }
      if (option === 'size') {
        config.sizeSectors = kibOf(value) * 2;
        continue;
      }
      const options = (section === 'net' ? config.net : config.disk) as unknown as Record<string, unknown>;
      const key = option.replaceAll(/-(\d?\w)/g, (_, letters: string) => letters.toUpperCase());
      if (typeof options[key] === 'number') options[key] = kibOf(value);
      else if (typeof options[key] === 'boolean') options[key] = value !== 'no';
      else if (typeof options[key] === 'string') options[key] = value;
      else config.unknown.push(option);
    }
  }
  // The kernel makes it fit its disk, and says so.
  const log = readFileSync(join(recording.folder, `kernel-log.${side}.txt`), 'utf8');
  const fitted = /rs_discard_granularity changed to (\d+)/.exec(log)?.[1];
  if (fitted !== undefined) config.disk.rsDiscardGranularity = Number(fitted);
  for (const [, volume] of text.matchAll(/\bvolume (\d+) \{/g)) if (!config.volumes.includes(Number(volume))) config.volumes.push(Number(volume));
  return config;
}
