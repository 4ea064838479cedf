/**
 * Bytes to packets (layouts: wire-protocol.md §3, §4, §6). The other direction is encode.ts, in the same order.
 *
 * Two steps, so that a stream can refuse a bad header before it buffers anything: `checkHeader`, then `decodePacket`.
 */

import { readBigU64, readI32, readString, readU16, readU32, readU64, SECTOR_MAX } from './bytes.js';
import { belongsOn, isMetaPacket, lengthFits, packetName } from './commands.js';
import type { StreamKind } from './commands.js';
import { STRING_BYTES_MAX } from './context.js';
import type { WireContext } from './context.js';
import type { WireError } from './errors.js';
import type { Header } from './headers.js';
import { COMPRESSED_BITMAP_CODE } from './packets.js';
import type { BlockId, ControllerParameters, Packet, PacketName, QueueLimits } from './packets.js';

/**
 * The name of the packet that begins with this header on this kind of stream, or what is wrong with it: an unknown command
 * (on meta that ends StandAlone, §2), or a length that the packet cannot have.
 */
export function checkHeader(header: Header, stream: StreamKind, context: WireContext): PacketName | WireError {
  const name = packetName(header.command);
  if (name === undefined || !belongsOn(name, stream)) {
    return {
      error: 'unknown-command',
      reaction: stream === 'meta' ? 'Disconnecting' : 'ProtocolError',
      detail: `${name ?? 'command'} (0x${header.command.toString(16).padStart(2, '0')}) on ${STREAM_TEXT[stream]}`,
    };
  }
  if (lengthFits(name, header.length, context)) return name;
  // §3.2 and §3.3: here a wrong length is a refusal, not an accident.
  const isRefused = name === 'P_CONNECTION_FEATURES' || name === 'P_AUTH_CHALLENGE';
  return {
    error: 'bad-length',
    reaction: isRefused ? 'Disconnecting' : stream === 'meta' ? 'NetworkFailure' : 'ProtocolError',
    detail: `${name} with a payload of ${header.length} bytes`,
  };
}

const STREAM_TEXT: Record<StreamKind, string> = { first: 'a new stream', data: 'the data stream', meta: 'the meta stream' };

/**
 * The packet with this payload, whose name and length `checkHeader` has approved under the same context. Byte arrays in the
 * result are views of `payload`. A value outside of what this implementation can represent is an error.
 */
export function decodePacket(name: PacketName, volume: number, payload: Uint8Array, context: WireContext): Packet | WireError {
  switch (name) {
    case 'P_DATA':
    case 'P_DATA_REPLY':
    case 'P_RS_DATA_REPLY': {
      const sector = readU64(payload, 0);
      if (sector > SECTOR_MAX) return tooLarge(name, 'sector', sector);
      const blockId = readBlockId(payload, 8);
      const sequence = readU32(payload, 16);
      const flags = readU32(payload, 20);
      const dataAt = 24 + context.digestBytes;
      const data = payload.subarray(dataAt);
      return context.digestBytes === 0
        ? { packet: name, volume, sector, blockId, sequence, flags, data }
        : { packet: name, volume, sector, blockId, sequence, flags, digest: payload.subarray(24, dataAt), data };
    }
    case 'P_TRIM':
    case 'P_ZEROES': {
      const sector = readU64(payload, 0);
      if (sector > SECTOR_MAX) return tooLarge(name, 'sector', sector);
      return {
        packet: name,
        volume,
        sector,
        blockId: readBlockId(payload, 8),
        sequence: readU32(payload, 16),
        flags: readU32(payload, 20),
        sizeBytes: readU32(payload, 24),
      };
    }
    case 'P_WSAME': {
      const sector = readU64(payload, 0);
      if (sector > SECTOR_MAX) return tooLarge(name, 'sector', sector);
      const dataAt = 28 + context.digestBytes;
      return {
        packet: name,
        volume,
        sector,
        blockId: readBlockId(payload, 8),
        sequence: readU32(payload, 16),
        flags: readU32(payload, 20),
        sizeBytes: readU32(payload, 24),
        ...(context.digestBytes === 0 ? {} : { digest: payload.subarray(28, dataAt) }),
        data: payload.subarray(dataAt),
      };
    }
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
    case 'P_RS_CANCEL': {
      const sector = readU64(payload, 0);
      if (sector > SECTOR_MAX) return tooLarge(name, 'sector', sector);
      return {
        packet: name,
        volume,
        sector,
        blockId: readBlockId(payload, 8),
        sizeBytes: readU32(payload, 16),
        sequence: readU32(payload, 20),
      };
    }
    case 'P_DATA_REQUEST':
    case 'P_RS_DATA_REQUEST':
    case 'P_OV_REQUEST':
    case 'P_RS_THIN_REQ': {
      const sector = readU64(payload, 0);
      if (sector > SECTOR_MAX) return tooLarge(name, 'sector', sector);
      const blockId = readBlockId(payload, 8);
      return { packet: name, volume, sector, blockId, sizeBytes: readU32(payload, 16), ...padField(readU32(payload, 20)) };
    }
    case 'P_CSUM_RS_REQUEST':
    case 'P_OV_REPLY': {
      const sector = readU64(payload, 0);
      if (sector > SECTOR_MAX) return tooLarge(name, 'sector', sector);
      return {
        packet: name,
        volume,
        sector,
        blockId: readBlockId(payload, 8),
        sizeBytes: readU32(payload, 16),
        digest: payload.subarray(24),
        ...padField(readU32(payload, 20)),
      };
    }
    case 'P_OUT_OF_SYNC':
    case 'P_RS_DEALLOCATED': {
      const sector = readU64(payload, 0);
      if (sector > SECTOR_MAX) return tooLarge(name, 'sector', sector);
      return { packet: name, volume, sector, sizeBytes: readU32(payload, 8), ...padField(readU32(payload, 12)) };
    }
    case 'P_BARRIER':
      return { packet: name, volume, barrier: readU32(payload, 0), ...padField(readU32(payload, 4)) };
    case 'P_BARRIER_ACK':
      return { packet: name, volume, barrier: readU32(payload, 0), setSize: readU32(payload, 4) };
    case 'P_DELAY_PROBE':
      return { packet: name, volume, sequence: readU32(payload, 0), offset: readU32(payload, 4) };
    case 'P_BITMAP':
      return { packet: name, volume, words: payload };
    case 'P_COMPRESSED_BITMAP': {
      const encoding = payload[0]!;
      const codeType = encoding & 0x0f;
      if (codeType !== COMPRESSED_BITMAP_CODE) return badValue(name, `code type ${codeType}`);
      return { packet: name, volume, firstRunSet: (encoding & 0x80) !== 0, padBits: (encoding >>> 4) & 7, code: payload.subarray(1) };
    }
    case 'P_INITIAL_DATA':
    case 'P_INITIAL_META':
      return { packet: name, volume };
    case 'P_UNPLUG_REMOTE':
      return { packet: name, volume };
    case 'P_PING':
    case 'P_PING_ACK':
      return { packet: name, volume };
    case 'P_CONNECTION_FEATURES':
      return {
        packet: name,
        volume,
        protocolMin: readU32(payload, 0),
        flags: readU32(payload, 4),
        protocolMax: readU32(payload, 8),
        senderNodeId: readU32(payload, 12),
        receiverNodeId: readU32(payload, 16),
      };
    case 'P_AUTH_CHALLENGE':
      return { packet: name, volume, challenge: payload };
    case 'P_AUTH_RESPONSE':
      return { packet: name, volume, response: payload };
    case 'P_PROTOCOL':
    case 'P_PROTOCOL_UPDATE':
      return {
        packet: name,
        volume,
        protocol: readU32(payload, 0),
        afterSb0Pri: readU32(payload, 4),
        afterSb1Pri: readU32(payload, 8),
        afterSb2Pri: readU32(payload, 12),
        connFlags: readU32(payload, 16),
        twoPrimaries: readU32(payload, 20),
        ...(context.apv >= 87 ? { integrityAlg: readString(payload, 24, Math.min(payload.length, 24 + STRING_BYTES_MAX - 1)) } : {}),
      };
    case 'P_SYNC_PARAM':
      return {
        packet: name,
        volume,
        resyncRate: readU32(payload, 0),
        ...(context.apv >= 88 ? { verifyAlg: readString(payload, 4, Math.min(payload.length, 4 + STRING_BYTES_MAX - 1)) } : {}),
      };
    case 'P_SYNC_PARAM89':
      return {
        packet: name,
        volume,
        resyncRate: readU32(payload, 0),
        verifyAlg: readString(payload, 4, 67),
        csumsAlg: readString(payload, 68, 131),
        ...(context.apv >= 95 ? { controller: readController(payload) } : {}),
      };
    case 'P_SIZES': {
      const diskSectors = readU64(payload, 0);
      const userSectors = readU64(payload, 8);
      const currentSectors = readU64(payload, 16);
      const largest = Math.max(diskSectors, userSectors, currentSectors);
      if (largest > SECTOR_MAX) return tooLarge(name, 'size', largest);
      return {
        packet: name,
        volume,
        diskSectors,
        userSectors,
        currentSectors,
        maxRequestBytes: readU32(payload, 24),
        queueOrderType: readU16(payload, 28),
        ddsFlags: readU16(payload, 30),
        ...(payload.length > 32 ? { limits: readLimits(payload) } : {}),
      };
    }
    case 'P_UUIDS': {
      const dirtyBits = readU64(payload, 32);
      if (dirtyBits > SECTOR_MAX) return tooLarge(name, 'number of dirty bits', dirtyBits);
      return {
        packet: name,
        volume,
        current: readBigU64(payload, 0),
        bitmap: readBigU64(payload, 8),
        history0: readBigU64(payload, 16),
        history1: readBigU64(payload, 24),
        dirtyBits,
        // The upper half holds no flag that protocol 86..101 knows.
        flags: readU32(payload, 44),
      };
    }
    case 'P_STATE':
      return { packet: name, volume, state: readU32(payload, 0) };
    case 'P_STATE_CHG_REQ':
    case 'P_CONN_ST_CHG_REQ':
      return { packet: name, volume, mask: readU32(payload, 0), val: readU32(payload, 4) };
    case 'P_STATE_CHG_REPLY':
    case 'P_CONN_ST_CHG_REPLY':
      return { packet: name, volume, retcode: readI32(payload, 0) };
    case 'P_SYNC_UUID':
      return { packet: name, volume, uuid: readBigU64(payload, 0) };
    case 'P_ENABLE_REPLICATION':
      return { packet: name, volume, enable: payload[0]!, ...padField(readU32(payload, 0) & 0xffffff) };
    default:
      return name satisfies never;
  }
}

function badValue(name: PacketName, what: string): WireError {
  return { error: 'bad-value', reaction: isMetaPacket(name) ? 'NetworkFailure' : 'ProtocolError', detail: `${name} with ${what}` };
}

const tooLarge = (name: PacketName, field: string, value: number): WireError => badValue(name, `${field} ${value}, above 2^51`);

const readBlockId = (payload: Uint8Array, at: number): BlockId => ({ high: readU32(payload, at), low: readU32(payload, at + 4) });

const padField = (pad: number): { pad?: number } => (pad === 0 ? {} : { pad });

const readController = (payload: Uint8Array): ControllerParameters => ({
  cPlanAhead: readU32(payload, 132),
  cDelayTarget: readU32(payload, 136),
  cFillTarget: readU32(payload, 140),
  cMaxRate: readU32(payload, 144),
});

const readLimits = (payload: Uint8Array): QueueLimits => ({
  physicalBlockBytes: readU32(payload, 32),
  logicalBlockBytes: readU32(payload, 36),
  alignmentOffsetBytes: readU32(payload, 40),
  ioMinBytes: readU32(payload, 44),
  ioOptBytes: readU32(payload, 48),
  discardEnabled: payload[52]!,
  discardZeroesData: payload[53]!,
  writeSameCapable: payload[54]!,
  ...padField(payload[55]!),
});
