/**
 * What the two ends of a recorded stream had agreed on. A stream holds one side's words only, so the other side's features packet
 * is looked up in the file beside it: `connN-data.alice-to-bob.bin` and `connN-data.bob-to-alice.bin`.
 */

import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { WireContext } from '../../src/wire/context.js';
import type { FeaturesPacket } from '../../src/wire/packets.js';
import { NoPacketError, piecesOf } from './stream.js';

/** The kernel's 8.4.11 with another one. */
const ASSUMED: WireContext = { apv: 101, features: 0xf, digestBytes: 0 };

export interface Agreed {
  context: WireContext;
  /** Why the context is assumed, when it is. */
  note?: string;
}

/** For the stream `bytes` of the file `path`. */
export function agreedOn(path: string, bytes: Uint8Array): Agreed {
  const match = /^(conn\d+)-(data|meta)\.([^.]+)-to-([^.]+)\.bin$/.exec(basename(path));
  if (match === null) return assumed('the name is not connN-KIND.FROM-to-TO.bin');
  const [, connection, kind, from, to] = match as unknown as [string, string, string, string, string];
  // No packet of the meta stream depends on what was agreed: its headers tell their form, its layouts never changed.
  if (kind === 'meta') return { context: ASSUMED };
  const own = featuresIn(bytes);
  const otherFile = `${connection}-data.${to}-to-${from}.bin`;
  const otherPath = join(dirname(path), otherFile);
  const other = existsSync(otherPath) ? featuresIn(readFileSync(otherPath)) : undefined;
  if (own === undefined || other === undefined) {
    // Before the features packets there is nothing that depends on them.
    return endsBeforeFeatures(bytes) ? { context: ASSUMED } : assumed(`no P_CONNECTION_FEATURES in ${own === undefined ? basename(path) : otherFile}`);
  }
  return { context: { apv: Math.min(own.protocolMax, other.protocolMax), features: own.flags & other.flags, digestBytes: 0 } };
}

const assumed = (why: string): Agreed => ({ context: ASSUMED, note: `${why}: protocol ${ASSUMED.apv} and features 0x${ASSUMED.features.toString(16)} assumed` });

/** The features packet is the first, or the second behind P_INITIAL_DATA. */
function featuresIn(bytes: Uint8Array): FeaturesPacket | undefined {
  for (const packet of firstPackets(bytes)) if (packet.packet === 'P_CONNECTION_FEATURES') return packet;
  return undefined;
}

const endsBeforeFeatures = (bytes: Uint8Array): boolean => bytes.length <= 8 && firstPackets(bytes).every((packet) => packet.packet === 'P_INITIAL_DATA');

function firstPackets(bytes: Uint8Array) {
  const packets = [];
  try {
    for (const piece of piecesOf(bytes.subarray(0, 96), ASSUMED)) if (piece.kind === 'packet') packets.push(piece.packet);
  } catch (error) {
    if (!(error instanceof NoPacketError)) throw error;
  }
  return packets;
}
