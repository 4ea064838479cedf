// The recorded streams of two kernel peers (../shared/captures), for the tests: where they are, and what they had agreed on.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodePacket } from '../../src/wire/decode.js';
import { freshContext } from '../../src/wire/context.js';
import type { WireContext } from '../../src/wire/context.js';
import { isWireError } from '../../src/wire/errors.js';
import { formBytes, headerForm, readHeader } from '../../src/wire/headers.js';
import type { FeaturesPacket } from '../../src/wire/packets.js';

export interface CapturedStream {
  folder: string;
  file: string;
  path: string;
  kind: 'data' | 'meta';
  /** As in packets.txt: `conn1-data`, `alice-to-bob`. */
  connection: string;
  direction: string;
  bytes: Uint8Array;
}

const shared = process.env['LOCKSTEP_SHARED'] ?? '../shared';
const root = join(shared, 'captures');

/** Every recorded stream; empty in a clone without the recordings, which is then said. */
export function capturedStreams(): CapturedStream[] {
  if (!existsSync(root)) {
    console.log(`skipped: no captures at ${root} (set LOCKSTEP_SHARED)`);
    return [];
  }
  const folders = [root, join(root, 'with-drbd9')].flatMap((parent) =>
    readdirSync(parent, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(parent, entry.name)),
  );
  return folders.sort((a, b) => (a < b ? -1 : 1)).flatMap((folder) =>
    readdirSync(folder)
      .sort((a, b) => (a < b ? -1 : 1))
      .flatMap((file) => {
        const match = /^(conn\d+-(data|meta))\.(\w+-to-\w+)\.bin$/.exec(file);
        if (match === null) return [];
        const path = join(folder, file);
        return [
          { folder, file, path, kind: match[2] as 'data' | 'meta', connection: match[1]!, direction: match[3]!, bytes: new Uint8Array(readFileSync(path)) },
        ];
      }),
  );
}

/** The features packet at the beginning of a stream, behind its P_INITIAL_DATA if it has one; whatever form its header has. */
function featuresOf(bytes: Uint8Array): FeaturesPacket | undefined {
  for (const at of [0, 8]) {
    if (bytes.length < at + 16) continue;
    const form = headerForm(bytes, at);
    if (form === undefined) continue;
    const header = readHeader(form, bytes, at);
    if (header?.command !== 0xfffe) continue;
    const payloadAt = at + formBytes(form);
    const packet = decodePacket('P_CONNECTION_FEATURES', 0, bytes.subarray(payloadAt, payloadAt + header.length), freshContext());
    if (!isWireError(packet) && packet.packet === 'P_CONNECTION_FEATURES') return packet;
  }
  return undefined;
}

/** What both ends of a data stream agreed on by their features packets (wire-protocol.md §3.2), or `undefined`. */
export function agreedBy(stream: CapturedStream, streams: CapturedStream[]): WireContext | undefined {
  const other = streams.find((s) => s.folder === stream.folder && s.connection === stream.connection && s.direction !== stream.direction);
  const own = featuresOf(stream.bytes);
  const peer = other && featuresOf(other.bytes);
  if (own === undefined || peer === undefined) return undefined;
  return { apv: Math.min(own.protocolMax, peer.protocolMax), features: own.flags & peer.flags, digestBytes: 0 };
}

export interface ListedPacket {
  offset: number;
  header: string;
  volume: number;
  name: string;
  payloadBytes: number;
}

/** The lines of a folder's packets.txt by stream, keyed `connection direction`. */
export function listedPackets(folder: string): Map<string, ListedPacket[]> {
  const lists = new Map<string, ListedPacket[]>();
  for (const line of readFileSync(join(folder, 'packets.txt'), 'utf8').split('\n')) {
    const match = /^\s*[\d.]+\s+(\S+)\s+(\S+)\s+@(\d+)\s+(h\d+)\s+vol (\S+)\s+(\S+)\s+payload (\d+)/.exec(line);
    if (match === null) {
      if (line.trim() !== '') throw new Error(`${folder}/packets.txt: ${line}`);
      continue;
    }
    const [, connection, direction, offset, header, volume, name, payloadBytes] = match as unknown as string[];
    const key = `${connection} ${direction}`;
    const list = lists.get(key) ?? [];
    list.push({
      offset: Number(offset),
      header: header!,
      volume: volume === '-' ? 0xffff : Number(volume),
      name: `P_${name}`,
      payloadBytes: Number(payloadBytes),
    });
    lists.set(key, list);
  }
  return lists;
}
