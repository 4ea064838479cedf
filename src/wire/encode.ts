/**
 * Packets to bytes (layouts: wire-protocol.md §3, §4, §6). The other direction is decode.ts, in the same order.
 *
 * A packet that the protocol cannot carry (a number too large, a digest that was not agreed, a volume below protocol 100)
 * is a bug of ours and throws.
 */

import { writeBigU64, writeI32, writeString, writeU16, writeU32, writeU64 } from './bytes.js';
import { commandCode, lengthFits } from './commands.js';
import { hasQueueLimits, headerBytes } from './context.js';
import type { WireContext } from './context.js';
import { writeHeader } from './headers.js';
import { newBytes } from './memory.js';
import { COMPRESSED_BITMAP_CODE } from './packets.js';
import type { BlockId, Packet, QueueLimits } from './packets.js';

/**
 * The packet as the pieces of one gathered write: header and fixed part in one new array, then the payload (`data`,
 * `words`, `code`), if any, as it was given, not copied. `context` is that of the sending direction.
 */
export function encodePacket(packet: Packet, context: WireContext): Uint8Array[] {
  const at = headerBytes(context.apv);
  switch (packet.packet) {
    case 'P_DATA':
    case 'P_DATA_REPLY':
    case 'P_RS_DATA_REPLY': {
      const head = newHead(packet, context, 24 + context.digestBytes, packet.data.length);
      writeBlock(head, at, packet.sector, packet.blockId);
      writeU32(head, at + 16, packet.sequence);
      writeU32(head, at + 20, packet.flags);
      writeDigest(head, at + 24, packet.digest, context);
      return pieces(head, packet.data);
    }
    case 'P_TRIM':
    case 'P_ZEROES': {
      const head = newHead(packet, context, 28, 0);
      writeBlock(head, at, packet.sector, packet.blockId);
      writeU32(head, at + 16, packet.sequence);
      writeU32(head, at + 20, packet.flags);
      writeU32(head, at + 24, packet.sizeBytes);
      return [head];
    }
    case 'P_WSAME': {
      const head = newHead(packet, context, 28 + context.digestBytes, packet.data.length);
      writeBlock(head, at, packet.sector, packet.blockId);
      writeU32(head, at + 16, packet.sequence);
      writeU32(head, at + 20, packet.flags);
      writeU32(head, at + 24, packet.sizeBytes);
      writeDigest(head, at + 28, packet.digest, context);
      return pieces(head, packet.data);
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
      const head = newHead(packet, context, 24, 0);
      writeBlock(head, at, packet.sector, packet.blockId);
      writeU32(head, at + 16, packet.sizeBytes);
      writeU32(head, at + 20, packet.sequence);
      return [head];
    }
    case 'P_DATA_REQUEST':
    case 'P_RS_DATA_REQUEST':
    case 'P_OV_REQUEST':
    case 'P_RS_THIN_REQ': {
      const head = newHead(packet, context, 24, 0);
      writeBlock(head, at, packet.sector, packet.blockId);
      writeU32(head, at + 16, packet.sizeBytes);
      writeU32(head, at + 20, packet.pad ?? 0);
      return [head];
    }
    case 'P_CSUM_RS_REQUEST':
    case 'P_OV_REPLY': {
      const head = newHead(packet, context, 24 + packet.digest.length, 0);
      writeBlock(head, at, packet.sector, packet.blockId);
      writeU32(head, at + 16, packet.sizeBytes);
      writeU32(head, at + 20, packet.pad ?? 0);
      head.set(packet.digest, at + 24);
      return [head];
    }
    case 'P_OUT_OF_SYNC':
    case 'P_RS_DEALLOCATED': {
      const head = newHead(packet, context, 16, 0);
      writeU64(head, at, packet.sector);
      writeU32(head, at + 8, packet.sizeBytes);
      writeU32(head, at + 12, packet.pad ?? 0);
      return [head];
    }
    case 'P_BARRIER': {
      const head = newHead(packet, context, 8, 0);
      writeU32(head, at, packet.barrier);
      writeU32(head, at + 4, packet.pad ?? 0);
      return [head];
    }
    case 'P_BARRIER_ACK': {
      const head = newHead(packet, context, 8, 0);
      writeU32(head, at, packet.barrier);
      writeU32(head, at + 4, packet.setSize);
      return [head];
    }
    case 'P_DELAY_PROBE': {
      const head = newHead(packet, context, 8, 0);
      writeU32(head, at, packet.sequence);
      writeU32(head, at + 4, packet.offset);
      return [head];
    }
    case 'P_BITMAP':
      return pieces(newHead(packet, context, 0, packet.words.length), packet.words);
    case 'P_COMPRESSED_BITMAP': {
      const head = newHead(packet, context, 1, packet.code.length);
      if ((packet.padBits & 7) !== packet.padBits) throw new RangeError(`${packet.padBits} pad bits in the last byte of a bitmap code`);
      head[at] = COMPRESSED_BITMAP_CODE | (packet.padBits << 4) | (packet.firstRunSet ? 0x80 : 0);
      return pieces(head, packet.code);
    }
    case 'P_INITIAL_DATA':
    case 'P_INITIAL_META':
    case 'P_UNPLUG_REMOTE':
    case 'P_PING':
    case 'P_PING_ACK':
      return [newHead(packet, context, 0, 0)];
    case 'P_CONNECTION_FEATURES': {
      const head = newHead(packet, context, 72, 0);
      writeU32(head, at, packet.protocolMin);
      writeU32(head, at + 4, packet.flags);
      writeU32(head, at + 8, packet.protocolMax);
      writeU32(head, at + 12, packet.senderNodeId);
      writeU32(head, at + 16, packet.receiverNodeId);
      return [head];
    }
    case 'P_AUTH_CHALLENGE': {
      const head = newHead(packet, context, packet.challenge.length, 0);
      head.set(packet.challenge, at);
      return [head];
    }
    case 'P_AUTH_RESPONSE': {
      const head = newHead(packet, context, packet.response.length, 0);
      head.set(packet.response, at);
      return [head];
    }
    case 'P_PROTOCOL':
    case 'P_PROTOCOL_UPDATE': {
      const name = packet.integrityAlg;
      agreed((name !== undefined) === context.apv >= 87, 'an integrity algorithm is sent from protocol 87');
      const head = newHead(packet, context, name === undefined ? 24 : 24 + name.length + 1, 0);
      writeU32(head, at, packet.protocol);
      writeU32(head, at + 4, packet.afterSb0Pri);
      writeU32(head, at + 8, packet.afterSb1Pri);
      writeU32(head, at + 12, packet.afterSb2Pri);
      writeU32(head, at + 16, packet.connFlags);
      writeU32(head, at + 20, packet.twoPrimaries);
      if (name !== undefined) writeString(head, at + 24, name);
      return [head];
    }
    case 'P_SYNC_PARAM': {
      const name = packet.verifyAlg;
      agreed((name !== undefined) === context.apv >= 88, 'a verify algorithm is sent from protocol 88');
      const head = newHead(packet, context, name === undefined ? 4 : 4 + name.length + 1, 0);
      writeU32(head, at, packet.resyncRate);
      if (name !== undefined) writeString(head, at + 4, name);
      return [head];
    }
    case 'P_SYNC_PARAM89': {
      const controller = packet.controller;
      const head = newHead(packet, context, controller === undefined ? 132 : 148, 0);
      agreed(packet.verifyAlg.length < 64 && packet.csumsAlg.length < 64, 'names of algorithms have at most 63 characters');
      writeU32(head, at, packet.resyncRate);
      writeString(head, at + 4, packet.verifyAlg);
      writeString(head, at + 68, packet.csumsAlg);
      if (controller !== undefined) {
        writeU32(head, at + 132, controller.cPlanAhead);
        writeU32(head, at + 136, controller.cDelayTarget);
        writeU32(head, at + 140, controller.cFillTarget);
        writeU32(head, at + 144, controller.cMaxRate);
      }
      return [head];
    }
    case 'P_SIZES': {
      agreed((packet.limits !== undefined) === hasQueueLimits(context), 'queue limits are sent if and only if FF_WSAME is agreed');
      const head = newHead(packet, context, packet.limits === undefined ? 32 : 56, 0);
      writeU64(head, at, packet.diskSectors);
      writeU64(head, at + 8, packet.userSectors);
      writeU64(head, at + 16, packet.currentSectors);
      writeU32(head, at + 24, packet.maxRequestBytes);
      writeU16(head, at + 28, packet.queueOrderType);
      writeU16(head, at + 30, packet.ddsFlags);
      if (packet.limits !== undefined) writeLimits(head, at + 32, packet.limits);
      return [head];
    }
    case 'P_UUIDS': {
      const head = newHead(packet, context, 48, 0);
      writeBigU64(head, at, packet.current);
      writeBigU64(head, at + 8, packet.bitmap);
      writeBigU64(head, at + 16, packet.history0);
      writeBigU64(head, at + 24, packet.history1);
      writeU64(head, at + 32, packet.dirtyBits);
      writeU32(head, at + 44, packet.flags);
      return [head];
    }
    case 'P_STATE': {
      const head = newHead(packet, context, 4, 0);
      writeU32(head, at, packet.state);
      return [head];
    }
    case 'P_STATE_CHG_REQ':
    case 'P_CONN_ST_CHG_REQ': {
      const head = newHead(packet, context, 8, 0);
      writeU32(head, at, packet.mask);
      writeU32(head, at + 4, packet.val);
      return [head];
    }
    case 'P_STATE_CHG_REPLY':
    case 'P_CONN_ST_CHG_REPLY': {
      const head = newHead(packet, context, 4, 0);
      writeI32(head, at, packet.retcode);
      return [head];
    }
    case 'P_SYNC_UUID': {
      const head = newHead(packet, context, 8, 0);
      writeBigU64(head, at, packet.uuid);
      return [head];
    }
    case 'P_ENABLE_REPLICATION': {
      const head = newHead(packet, context, 4, 0);
      const pad = packet.pad ?? 0;
      agreed(packet.enable <= 0xff && pad <= 0xffffff, 'enable has 8 bits, its pad 24');
      writeU32(head, at, packet.enable * 2 ** 24 + pad);
      return [head];
    }
    default:
      return packet satisfies never;
  }
}

/** A zeroed array for header and fixed part, with the header filled in. */
function newHead(packet: Packet, context: WireContext, fixedBytes: number, payloadBytes: number): Uint8Array {
  const length = fixedBytes + payloadBytes;
  agreed(lengthFits(packet.packet, length, context), `a length of ${length} bytes is out of the limits`, packet);
  const head = newBytes(headerBytes(context.apv) + fixedBytes);
  writeHeader(head, context.apv, packet.volume, commandCode(packet.packet), length);
  return head;
}

const pieces = (head: Uint8Array, payload: Uint8Array): Uint8Array[] => (payload.length === 0 ? [head] : [head, payload]);

function agreed(holds: boolean, rule: string, packet?: Packet): asserts holds {
  if (!holds) throw new RangeError(packet === undefined ? rule : `${packet.packet}: ${rule}`);
}

function writeBlock(head: Uint8Array, at: number, sector: number, blockId: BlockId): void {
  writeU64(head, at, sector);
  writeU32(head, at + 8, blockId.high);
  writeU32(head, at + 12, blockId.low);
}

function writeDigest(head: Uint8Array, at: number, digest: Uint8Array | undefined, context: WireContext): void {
  agreed((digest?.length ?? 0) === context.digestBytes, `the digest has not the agreed ${context.digestBytes} bytes`);
  if (digest !== undefined) head.set(digest, at);
}

function writeLimits(head: Uint8Array, at: number, limits: QueueLimits): void {
  writeU32(head, at, limits.physicalBlockBytes);
  writeU32(head, at + 4, limits.logicalBlockBytes);
  writeU32(head, at + 8, limits.alignmentOffsetBytes);
  writeU32(head, at + 12, limits.ioMinBytes);
  writeU32(head, at + 16, limits.ioOptBytes);
  head[at + 20] = limits.discardEnabled;
  head[at + 21] = limits.discardZeroesData;
  head[at + 22] = limits.writeSameCapable;
  head[at + 23] = limits.pad ?? 0;
}
