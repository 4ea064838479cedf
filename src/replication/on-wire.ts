/**
 * In what form a write travels to a peer and back into a write there (wire-protocol.md §3.2, §5.2): P_DATA; P_TRIM for a discard,
 * P_ZEROES for zeros; and what stands for them with a peer that did not agree to these. Pure.
 */

import type { Connection, Request, WriteContent } from '../model/types.js';
import { maxRequestBytes } from '../wire/context.js';
import { DataFlag, FeatureFlag, type BlockId, type DataPacket, type TrimPacket } from '../wire/packets.js';

/** The largest range of zeros in one packet; FF_WSAME marks the peers that take so much. */
const ZEROS_BYTES_MAX = 128 << 20;
const ZEROS_BYTES_MAX_OLD = 4 << 20;

/** The largest range that the application may zero or discard at once. */
export const ZEROS_SECTORS_MAX = ZEROS_BYTES_MAX / 512;

type Form = 'P_DATA' | 'P_TRIM' | 'P_ZEROES';

const formOf = ({ features, session }: Connection, content: WriteContent): Form => {
  const trims = (features & FeatureFlag.FF_TRIM) !== 0;
  // A kernel reads a digest after P_ZEROES that nobody sends, once there is an integrity algorithm (§5.2).
  const zeroes = (features & FeatureFlag.FF_WZEROES) !== 0 && session.sending.digestBytes === 0;
  if (content === 'data') return 'P_DATA';
  if (content === 'discard' && trims) return 'P_TRIM';
  if (zeroes) return 'P_ZEROES';
  // Without FF_WZEROES a trim must read back as zeros.
  return trims && (features & FeatureFlag.FF_WZEROES) === 0 ? 'P_TRIM' : 'P_DATA';
};

/** The largest write of this content that fits into one packet, in bytes. */
export const maxWriteBytes = (connection: Connection, content: WriteContent): number => {
  if (formOf(connection, content) === 'P_DATA') return maxRequestBytes(connection.protocolVersion);
  return (connection.features & FeatureFlag.FF_WSAME) !== 0 ? ZEROS_BYTES_MAX : ZEROS_BYTES_MAX_OLD;
};

/** The packet of a write; `flags` are those that every form has. */
export const writePacket = (connection: Connection, request: Request, blockId: BlockId, sequence: number, flags: number): DataPacket | TrimPacket => {
  const { content, sector, volume } = request;
  const form = formOf(connection, content);
  const sizeBytes = request.sectors * 512;
  if (form === 'P_DATA') return { packet: form, volume, sector, blockId, sequence, flags, data: request.data ?? new Uint8Array(sizeBytes) };
  let how = 0;
  if (form === 'P_ZEROES') how |= DataFlag.ZEROES;
  if (content !== 'zeroes' && connection.protocolVersion >= 95) how |= DataFlag.DISCARD;
  return { packet: form, volume, sector, blockId, sequence, flags: flags | how, sizeBytes };
};

/** What a peer's packet writes, or why it may not have been sent. */
export const contentOf = (connection: Connection, packet: DataPacket | TrimPacket): WriteContent | { refusal: string } => {
  if (packet.packet === 'P_TRIM') return (connection.features & FeatureFlag.FF_TRIM) !== 0 ? 'discard' : { refusal: 'FF_TRIM is not agreed' };
  if (packet.packet !== 'P_ZEROES') return 'data';
  if ((connection.features & FeatureFlag.FF_WZEROES) === 0) return { refusal: 'FF_WZEROES is not agreed' };
  return (packet.flags & DataFlag.DISCARD) !== 0 ? 'zeroes-unmap' : 'zeroes';
};

export const sizeBytesOf = (packet: DataPacket | TrimPacket): number => ('data' in packet ? packet.data.length : packet.sizeBytes);

/** The largest write that a peer may send in this packet, in bytes. */
export const maxReceivedBytes = (connection: Connection, packet: DataPacket | TrimPacket): number =>
  'data' in packet ? maxRequestBytes(connection.protocolVersion) : ZEROS_BYTES_MAX;
