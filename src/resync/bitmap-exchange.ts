/**
 * Before a resync both nodes must know the same blocks: the source sends its bitmap, the target merges it and sends the
 * result back (wire-protocol.md §6). What goes out is one uninterrupted run of packets (M5); what comes in is merged chunk by
 * chunk, and nothing else may come in between.
 */

import { loseConnection } from '../connection/loss.js';
import { sendPacket } from '../connection/send.js';
import { bytesOf, orBytes } from '../metadata/bitmap-io.js';
import { nextRun, setBits, type Bitmap } from '../metadata/bitmap.js';
import { assert, signal, type Core } from '../model/core.js';
import type { Connection, PeerDevice, Resource, Volume } from '../model/types.js';
import { nextBitmapChunk, receiveBitmapChunk } from '../wire/bitmap-chunks.js';
import type { BitmapPacket, CompressedBitmapPacket } from '../wire/packets.js';

/** Sends the whole bitmap. To be called when no application write is in flight on the volume. */
export const sendBitmap = (core: Core, _resource: Resource, volume: Volume, peerDevice: PeerDevice, connection: Connection): void => {
  const bitmap = peerDevice.bitmap;
  assert(bitmap !== undefined, 'a bitmap is sent by a node with a disk');
  const reader = {
    bits: bitmap.bits,
    nextRun: (bit: number) => nextRun(bitmap, bit),
    bytesOf: (offset: number, length: number) => bytesOf(bitmap, offset, length),
  };
  const { protocolVersion, config } = connection;
  let position = 0;
  for (let isLast = false; !isLast; ) {
    const chunk = nextBitmapChunk(reader, volume.number, position, protocolVersion, config.net.useRle);
    sendPacket(core, connection, chunk.packet);
    ({ position, isLast } = chunk);
  }
};

/** Is a bitmap of the peer arriving? Any other data packet, of any volume, is then a protocol error. */
export const bitmapExpected = (peerDevice: PeerDevice): boolean => peerDevice.bitmapReceiver !== undefined;

/**
 * P_BITMAP, P_COMPRESSED_BITMAP: merges the chunk; with the last one signals `bitmap-received`. A chunk that does not fit is
 * a protocol error; it may have set some bits, which costs a little resync and no data. Without a disk there is nothing to merge into.
 */
export const receiveBitmap = (
  core: Core,
  resource: Resource,
  volume: Volume,
  peerDevice: PeerDevice,
  connection: Connection,
  packet: BitmapPacket | CompressedBitmapPacket,
): void => {
  const bitmap = peerDevice.bitmap;
  if (!bitmap) {
    peerDevice.bitmapReceiver = undefined;
    return;
  }
  const position = peerDevice.bitmapReceiver?.positionBits ?? 0;
  const received = receiveBitmapChunk(writerOf(bitmap), packet, position, connection.protocolVersion);
  if ('error' in received) {
    peerDevice.bitmapReceiver = undefined;
    return loseConnection(core, connection, 'ProtocolError', received.detail);
  }
  if (!received.isLast) {
    peerDevice.bitmapReceiver = { positionBits: received.position };
    return;
  }
  peerDevice.bitmapReceiver = undefined;
  signal(core, { signal: 'bitmap-received', resource: resource.name, volume: volume.number, peer: peerDevice.peer });
};

/** Bits that are set already are not counted again (B034), and what is set must reach the disk (B032): both are the bitmap's own doing. */
const writerOf = (bitmap: Bitmap) => ({
  bits: bitmap.bits,
  setBits: (bit: number, bits: number): void => void setBits(bitmap, bit, bits),
  orBytes: (offset: number, bytes: Uint8Array): void => void orBytes(bitmap, offset, bytes),
});
