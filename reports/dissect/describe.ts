/**
 * A piece of a stream as the JSON object that `lockstep dissect` prints: DRBD's name, where it stands, and every field in a form that
 * a person reads: UUIDs and handles as hexadecimal digits, state words and flags by name, payloads as length, hash and beginning.
 */

import { createHash } from 'node:crypto';
import { returnText } from '../../src/state/refusals.js';
import { decodeChange } from '../../src/state/state-word.js';
import { connName, diskName, roleName } from '../../src/state/states.js';
import { runsOf } from '../../src/wire/bitmap-chunks.js';
import { packetName } from '../../src/wire/commands.js';
import { formBytes } from '../../src/wire/headers.js';
import { DataFlag, FeatureFlag, ID_OUT_OF_SYNC, ProtocolFlag, sameBlockId, SizesFlag, UuidsFlag } from '../../src/wire/packets.js';
import type { BlockId, Packet } from '../../src/wire/packets.js';
import { digestBytesOf, hexOf } from './stream.js';
import type { Piece } from './stream.js';

/** How much of a payload is shown. */
const SHOWN_BYTES = 16;

/** Short fields of bytes that are shown whole, in hexadecimal. */
const SHOWN_WHOLE: readonly string[] = ['digest', 'challenge', 'response'];

export type Description = Record<string, unknown>;

/** `packet` and `volume` are those of the header where the packet itself cannot be read; the volume is null where there is no header. */
export function describe(piece: Piece): Description {
  const { offset, length } = piece;
  switch (piece.kind) {
    case 'packet': {
      const { packet, volume, ...fields } = piece.packet;
      return { packet, volume, offset, length, header: piece.header.form, ...describeFields(piece.packet, fields) };
    }
    case 'unknown': {
      const { volume, command, form } = piece.header;
      return { packet: 'unknown', volume, offset, length, header: form, command: hex(command, 4), payload: describeBytes(piece.payload) };
    }
    case 'unreadable':
      return { packet: piece.name, volume: piece.header.volume, offset, length, header: piece.header.form, error: piece.problem };
    case 'cut-off': {
      if (piece.header === undefined) return { packet: 'unknown', volume: null, offset, length, cutOff: true };
      const { command, volume, form, length: payloadBytes } = piece.header;
      const wholeLength = formBytes(form) + payloadBytes;
      return { packet: packetName(command) ?? 'unknown', volume, offset, length, header: form, wholeLength, cutOff: true };
    }
    default:
      return piece satisfies never;
  }
}

function describeFields(packet: Packet, fields: Record<string, unknown>): Description {
  const description: Description = {};
  for (const [name, value] of Object.entries(fields)) {
    description[name] = value instanceof Uint8Array && SHOWN_WHOLE.includes(name) ? hexOf(value) : describeValue(value);
  }
  return { ...description, ...inWords(packet) };
}

function describeValue(value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString(16).toUpperCase().padStart(16, '0');
  if (value instanceof Uint8Array) return describeBytes(value);
  if (isBlockId(value)) return hex(value.high, 8) + hex(value.low, 8).slice(2);
  return value;
}

/** What numbers mean, beside them; words of the state become hexadecimal. */
function inWords(packet: Packet): Description {
  switch (packet.packet) {
    case 'P_STATE':
      return { state: hex(packet.state, 8), ...stateInWords(WHOLE_STATE, packet.state) };
    case 'P_STATE_CHG_REQ':
    case 'P_CONN_ST_CHG_REQ':
      return { mask: hex(packet.mask, 8), val: hex(packet.val, 8), ...stateInWords(packet.mask, packet.val) };
    case 'P_STATE_CHG_REPLY':
    case 'P_CONN_ST_CHG_REPLY':
      return { text: returnText(packet.retcode) };
    case 'P_DATA':
    case 'P_DATA_REPLY':
    case 'P_RS_DATA_REPLY':
    case 'P_WSAME':
    case 'P_TRIM':
    case 'P_ZEROES':
      return { flagNames: flagsInWords(packet.flags, DataFlag) };
    case 'P_CONNECTION_FEATURES':
      return { flagNames: flagsInWords(packet.flags, FeatureFlag) };
    case 'P_UUIDS':
      return { flagNames: flagsInWords(packet.flags, UuidsFlag) };
    case 'P_SIZES':
      return { ddsFlagNames: flagsInWords(packet.ddsFlags, SizesFlag) };
    case 'P_PROTOCOL':
    case 'P_PROTOCOL_UPDATE': {
      const algorithm = packet.integrityAlg ?? '';
      const unknown = digestBytesOf(algorithm) === undefined ? { note: `the digest of ${algorithm} is of unknown size: shown as data` } : {};
      return { connFlagNames: flagsInWords(packet.connFlags, ProtocolFlag), ...unknown };
    }
    case 'P_OV_RESULT':
      return { verdict: sameBlockId(packet.blockId, ID_OUT_OF_SYNC) ? 'out of sync' : 'in sync' };
    case 'P_COMPRESSED_BITMAP': {
      const runs = runsOf(packet);
      if (runs === undefined) return { error: 'the code ends inside a run' };
      return { runs: runs.length, bits: sum(runs.map((run) => run.bits)), setBits: sum(runs.map((run) => (run.set ? run.bits : 0))) };
    }
    case 'P_BITMAP':
      return { setBits: sum(Array.from(packet.words, (byte) => byte.toString(2).replaceAll('0', '').length)) };
    default:
      return {};
  }
}

/** All fields of the state word, and DRBD 9's quorum bit above them. */
const WHOLE_STATE = 0x7fffff;
const QUORUM = 1 << 23;

/** The named fields of a state word under a mask; nothing when a value has no name here (DRBD 9's own disk numbers in requests). */
function stateInWords(mask: number, word: number): Description {
  const state = decodeChange(mask, word);
  if (state === undefined) return { unnamed: true };
  const { role, peer, conn, disk, pdsk, ...flags } = state;
  const set = Object.entries(flags).flatMap(([name, value]) => (value ? [name] : []));
  if ((word & QUORUM) !== 0) set.push('quorum');
  return {
    ...(role === undefined ? {} : { role: roleName(role) }),
    ...(peer === undefined ? {} : { peer: roleName(peer) }),
    ...(conn === undefined ? {} : { conn: connName(conn) }),
    ...(disk === undefined ? {} : { disk: diskName(disk) }),
    ...(pdsk === undefined ? {} : { pdsk: diskName(pdsk) }),
    ...(set.length === 0 ? {} : { set }),
  };
}

/** The names of the flags, and what is left as a number. */
function flagsInWords(flags: number, names: Readonly<Record<string, number>>): string[] {
  const words: string[] = [];
  let rest = flags;
  for (const [name, bit] of Object.entries(names)) {
    if ((flags & bit) === 0) continue;
    words.push(name);
    rest &= ~bit;
  }
  if (rest !== 0) words.push(hex(rest >>> 0, 1));
  return words;
}

function describeBytes(bytes: Uint8Array): Description {
  return {
    bytes: bytes.length,
    sha256: createHash('sha256').update(bytes).digest('hex').slice(0, 16),
    begins: hexOf(bytes.subarray(0, SHOWN_BYTES)),
  };
}

const isBlockId = (value: unknown): value is BlockId => typeof value === 'object' && value !== null && 'high' in value && 'low' in value;
const hex = (value: number, digits: number): string => `0x${value.toString(16).padStart(digits, '0')}`;
const sum = (numbers: number[]): number => numbers.reduce((total, number) => total + number, 0);
