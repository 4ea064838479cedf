/**
 * A recorded stream as packets. Unlike a connection, which must refuse what does not fit its state, this reads whatever is there:
 * each header by its magic, on either stream, and stops only where the bytes cannot be packets any more.
 */

import { lengthFits, packetName } from '../../src/wire/commands.js';
import type { WireContext } from '../../src/wire/context.js';
import { decodePacket } from '../../src/wire/decode.js';
import { isWireError } from '../../src/wire/errors.js';
import { formBytes, headerForm, MAGIC_BYTES, readHeader } from '../../src/wire/headers.js';
import type { Header } from '../../src/wire/headers.js';
import type { Packet, PacketName } from '../../src/wire/packets.js';

/** What stands at `offset` of a stream; `length` counts the bytes that are there, header included. */
export type Piece = { offset: number; length: number } & (
  | { kind: 'packet'; header: Header; packet: Packet }
  /** A command that is not in the protocol. */
  | { kind: 'unknown'; header: Header; payload: Uint8Array }
  /** A packet with a value that this implementation cannot represent. */
  | { kind: 'unreadable'; header: Header; name: PacketName; problem: string }
  /** The stream ends inside this packet; the header is there if it was recorded whole. */
  | { kind: 'cut-off'; header?: Header }
);

/** The bytes from `offset` on are no packet. */
export class NoPacketError extends Error {
  constructor(
    readonly offset: number,
    problem: string,
  ) {
    super(`at byte ${offset}: ${problem}`);
  }
}

/**
 * Digest sizes of Linux's hash algorithms that serve as data-integrity-alg; '' is none. An algorithm that is not here makes the
 * digest a part of the data.
 */
const DIGEST_BYTES: Readonly<Record<string, number>> = {
  '': 0,
  crc32c: 4,
  crc32: 4,
  xxhash64: 8,
  md4: 16,
  md5: 16,
  sha1: 20,
  sha224: 28,
  sha256: 32,
  'sha3-256': 32,
  sha384: 48,
  sha512: 64,
};

export const digestBytesOf = (algorithm: string): number | undefined => DIGEST_BYTES[algorithm];

/**
 * The pieces of a stream, which together are all of its bytes. `agreed` is what both ends had agreed on; the digest follows the
 * integrity algorithm that the stream itself announces. Throws a NoPacketError.
 */
export function* piecesOf(bytes: Uint8Array, agreed: WireContext): Generator<Piece> {
  const context: WireContext = { ...agreed };
  for (let offset = 0; offset < bytes.length; ) {
    const piece = pieceAt(bytes, offset, context);
    yield piece;
    offset += piece.length;
    if (piece.kind !== 'packet') continue;
    const { packet } = piece;
    if (packet.packet === 'P_PROTOCOL' || packet.packet === 'P_PROTOCOL_UPDATE') context.digestBytes = digestBytesOf(packet.integrityAlg ?? '') ?? 0;
  }
}

function pieceAt(bytes: Uint8Array, offset: number, context: WireContext): Piece {
  const available = bytes.length - offset;
  if (available < MAGIC_BYTES) return { kind: 'cut-off', offset, length: available };
  const form = headerForm(bytes, offset);
  if (form === undefined) throw new NoPacketError(offset, `no packet begins with ${hexOf(bytes.subarray(offset, offset + MAGIC_BYTES))}`);
  const headerBytes = formBytes(form);
  if (available < headerBytes) return { kind: 'cut-off', offset, length: available };
  const header = readHeader(form, bytes, offset);
  if (header === undefined) throw new NoPacketError(offset, 'the pad of a header is not 0');
  const name = packetName(header.command);
  if (name !== undefined && !lengthFits(name, header.length, context)) {
    throw new NoPacketError(offset, `${name} cannot have ${header.length} bytes at protocol ${context.apv}`);
  }
  const length = headerBytes + header.length;
  if (length > available) return { kind: 'cut-off', offset, length: available, header };
  const payload = bytes.subarray(offset + headerBytes, offset + length);
  if (name === undefined) return { kind: 'unknown', offset, length, header, payload };
  const packet = decodePacket(name, header.volume, payload, context);
  if (isWireError(packet)) return { kind: 'unreadable', offset, length, header, name, problem: packet.detail };
  return { kind: 'packet', offset, length, header, packet };
}

export const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
