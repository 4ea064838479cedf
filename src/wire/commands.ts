/**
 * The commands of the protocol: code, stream and permitted payload lengths of each (wire-protocol.md §4 and §2). The only
 * place that knows these; whatever is not here is an unknown command.
 */

import { BITMAP_PACKET_BYTES_MAX, DIGEST_BYTES_MAX, hasQueueLimits, headerBytes, maxRequestBytes, STRING_BYTES_MAX } from './context.js';
import type { WireContext } from './context.js';
import type { PacketName } from './packets.js';

/** `first`: the stream has said nothing yet; its first packet declares it to be one of the others (§1.1). */
export type StreamKind = 'first' | 'data' | 'meta';

interface Command {
  code: number;
  stream: StreamKind | 'both';
}

const COMMANDS: Record<PacketName, Command> = {
  P_DATA: { code: 0x00, stream: 'data' },
  P_DATA_REPLY: { code: 0x01, stream: 'data' },
  P_RS_DATA_REPLY: { code: 0x02, stream: 'data' },
  P_BARRIER: { code: 0x03, stream: 'data' },
  P_BITMAP: { code: 0x04, stream: 'data' },
  P_UNPLUG_REMOTE: { code: 0x07, stream: 'data' },
  P_DATA_REQUEST: { code: 0x08, stream: 'data' },
  P_RS_DATA_REQUEST: { code: 0x09, stream: 'data' },
  P_SYNC_PARAM: { code: 0x0a, stream: 'data' },
  P_PROTOCOL: { code: 0x0b, stream: 'data' },
  P_UUIDS: { code: 0x0c, stream: 'data' },
  P_SIZES: { code: 0x0d, stream: 'data' },
  P_STATE: { code: 0x0e, stream: 'data' },
  P_SYNC_UUID: { code: 0x0f, stream: 'data' },
  P_AUTH_CHALLENGE: { code: 0x10, stream: 'data' },
  P_AUTH_RESPONSE: { code: 0x11, stream: 'data' },
  P_STATE_CHG_REQ: { code: 0x12, stream: 'data' },
  P_PING: { code: 0x13, stream: 'meta' },
  P_PING_ACK: { code: 0x14, stream: 'meta' },
  P_RECV_ACK: { code: 0x15, stream: 'meta' },
  P_WRITE_ACK: { code: 0x16, stream: 'meta' },
  P_RS_WRITE_ACK: { code: 0x17, stream: 'meta' },
  P_SUPERSEDED: { code: 0x18, stream: 'meta' },
  P_NEG_ACK: { code: 0x19, stream: 'meta' },
  P_NEG_DREPLY: { code: 0x1a, stream: 'meta' },
  P_NEG_RS_DREPLY: { code: 0x1b, stream: 'meta' },
  P_BARRIER_ACK: { code: 0x1c, stream: 'meta' },
  P_STATE_CHG_REPLY: { code: 0x1d, stream: 'meta' },
  P_OV_REQUEST: { code: 0x1e, stream: 'data' },
  P_OV_REPLY: { code: 0x1f, stream: 'data' },
  P_OV_RESULT: { code: 0x20, stream: 'meta' },
  P_CSUM_RS_REQUEST: { code: 0x21, stream: 'data' },
  P_RS_IS_IN_SYNC: { code: 0x22, stream: 'meta' },
  P_SYNC_PARAM89: { code: 0x23, stream: 'data' },
  P_COMPRESSED_BITMAP: { code: 0x24, stream: 'data' },
  P_DELAY_PROBE: { code: 0x27, stream: 'both' },
  P_OUT_OF_SYNC: { code: 0x28, stream: 'data' },
  P_RS_CANCEL: { code: 0x29, stream: 'meta' },
  P_CONN_ST_CHG_REQ: { code: 0x2a, stream: 'data' },
  P_CONN_ST_CHG_REPLY: { code: 0x2b, stream: 'meta' },
  P_RETRY_WRITE: { code: 0x2c, stream: 'meta' },
  P_PROTOCOL_UPDATE: { code: 0x2d, stream: 'data' },
  P_TRIM: { code: 0x31, stream: 'data' },
  P_RS_THIN_REQ: { code: 0x32, stream: 'data' },
  P_RS_DEALLOCATED: { code: 0x33, stream: 'data' },
  P_WSAME: { code: 0x34, stream: 'data' },
  P_ZEROES: { code: 0x36, stream: 'data' },
  P_ENABLE_REPLICATION: { code: 0x59, stream: 'data' },
  P_INITIAL_META: { code: 0xfff1, stream: 'first' },
  P_INITIAL_DATA: { code: 0xfff2, stream: 'first' },
  P_CONNECTION_FEATURES: { code: 0xfffe, stream: 'data' },
};

/** Every packet's name, in the order of the codes. */
export const PACKET_NAMES: readonly PacketName[] = Object.keys(COMMANDS) as PacketName[];

const NAME_BY_CODE = new Map<number, PacketName>(PACKET_NAMES.map((name) => [COMMANDS[name].code, name]));

export const commandCode = (name: PacketName): number => COMMANDS[name].code;

/** The name of a command, if it is one at all. */
export const packetName = (code: number): PacketName | undefined => NAME_BY_CODE.get(code);

/** May this packet come on such a stream? Elsewhere it is an unknown command. */
export function belongsOn(name: PacketName, stream: StreamKind): boolean {
  const own = COMMANDS[name].stream;
  return own === stream || (own === 'both' && stream !== 'first');
}

/** Does the meta stream carry it? (Its errors have another reaction, §2.) */
export const isMetaPacket = (name: PacketName): boolean => COMMANDS[name].stream === 'meta';

const isBetween = (length: number, min: number, max: number): boolean => length >= min && length <= max;

/** Fixed part, digest, then whole sectors. */
function carriesSectors(length: number, fixedBytes: number, context: WireContext): boolean {
  const dataBytes = length - fixedBytes - context.digestBytes;
  return isBetween(dataBytes, 0, maxRequestBytes(context.apv)) && dataBytes % 512 === 0;
}

/** Is `length` a payload length that this packet may have under what was agreed? Also bounds what is ever buffered. */
export function lengthFits(name: PacketName, length: number, context: WireContext): boolean {
  switch (name) {
    case 'P_INITIAL_META':
    case 'P_INITIAL_DATA':
    case 'P_UNPLUG_REMOTE':
    case 'P_PING':
    case 'P_PING_ACK':
      return length === 0;
    case 'P_STATE':
    case 'P_STATE_CHG_REPLY':
    case 'P_CONN_ST_CHG_REPLY':
    case 'P_ENABLE_REPLICATION':
      return length === 4;
    case 'P_BARRIER':
    case 'P_BARRIER_ACK':
    case 'P_SYNC_UUID':
    case 'P_STATE_CHG_REQ':
    case 'P_CONN_ST_CHG_REQ':
    case 'P_DELAY_PROBE':
      return length === 8;
    case 'P_OUT_OF_SYNC':
    case 'P_RS_DEALLOCATED':
      return length === 16;
    case 'P_DATA_REQUEST':
    case 'P_RS_DATA_REQUEST':
    case 'P_OV_REQUEST':
    case 'P_RS_THIN_REQ':
    case 'P_RECV_ACK':
    case 'P_WRITE_ACK':
    case 'P_RS_WRITE_ACK':
    case 'P_SUPERSEDED':
    case 'P_RETRY_WRITE':
    case 'P_NEG_ACK':
    case 'P_NEG_DREPLY':
    case 'P_NEG_RS_DREPLY':
    case 'P_OV_RESULT':
    case 'P_RS_IS_IN_SYNC':
    case 'P_RS_CANCEL':
      return length === 24;
    case 'P_TRIM':
    case 'P_ZEROES':
      return length === 28;
    case 'P_UUIDS':
      return length === 48;
    case 'P_CONNECTION_FEATURES':
      return length === 72;
    case 'P_SIZES':
      return length === (hasQueueLimits(context) ? 56 : 32);
    case 'P_SYNC_PARAM':
      return context.apv < 88 ? length === 4 : isBetween(length, 4, 4 + STRING_BYTES_MAX);
    case 'P_SYNC_PARAM89':
      return length === (context.apv < 95 ? 132 : 148);
    case 'P_PROTOCOL':
    case 'P_PROTOCOL_UPDATE':
      return context.apv < 87 ? length === 24 : isBetween(length, 24, 24 + STRING_BYTES_MAX);
    case 'P_AUTH_CHALLENGE':
      return isBetween(length, 64, 128);
    case 'P_AUTH_RESPONSE':
      return length <= DIGEST_BYTES_MAX;
    case 'P_CSUM_RS_REQUEST':
    case 'P_OV_REPLY':
      return isBetween(length, 24, 24 + DIGEST_BYTES_MAX);
    case 'P_DATA':
    case 'P_DATA_REPLY':
    case 'P_RS_DATA_REPLY':
      return carriesSectors(length, 24, context);
    case 'P_WSAME':
      return carriesSectors(length, 28, context);
    case 'P_BITMAP':
      return length <= BITMAP_PACKET_BYTES_MAX - headerBytes(context.apv) && length % 8 === 0;
    case 'P_COMPRESSED_BITMAP':
      return isBetween(length, 2, BITMAP_PACKET_BYTES_MAX - headerBytes(context.apv));
    default:
      return name satisfies never;
  }
}
