/**
 * Received packets, to whom they belong (wire-protocol.md §4). What this feature set does not handle yet is refused as an
 * unknown packet would be.
 */

import { loseConnection } from '../connection/loss.js';
import { nextPacket } from '../connection/receive.js';
import type { Core } from '../model/core.js';
import type { Connection, Resource } from '../model/types.js';
import { epochAcknowledged, readAnswered, readRefused, writeAcknowledged, writeRefused } from '../replication/acks.js';
import { markOutOfSync } from '../replication/bits.js';
import { conflictDecided } from '../replication/conflicts.js';
import { rangeError, receiveBarrier, receiveWrite, serveRead } from '../replication/receiver.js';
import { holdIfEarly, isWrite, seeSequence, takeEarly } from '../replication/sequence.js';
import { bitmapExpected, receiveBitmap } from '../resync/bitmap-exchange.js';
import { rangeRequest, resyncAcknowledged, resyncNegAcknowledged } from '../resync/source.js';
import { negResyncReply, resyncCancelled, resyncInSync, resyncReply } from '../resync/target.js';
import { verifyRefused, verifyReply, verifyResult } from '../resync/verify.js';
import { ID_SYNCER, sameBlockId, type Packet } from '../wire/packets.js';
import { checkDrained } from './congestion.js';
import { answerRequest, requestAnswered } from './consent.js';
import { receiveProtocolUpdate } from './options.js';
import { receiveProtocol, receiveSizes, receiveSyncParam, receiveSyncUuid, receiveUuids } from './peer-parameters.js';
import { receiveState } from './peer-state.js';
import { verifyRequested } from './verify.js';

/** 128 MiB: the longest range that one notice may name. */
const NOTICE_BYTES_MAX = 128 * 1024 * 1024;

/** Takes every packet that is complete, meta first: acknowledgements free what data packets wait for. */
export const handlePackets = (core: Core, resource: Resource, connection: Connection): void => {
  for (const stream of ['meta', 'data'] as const) {
    for (;;) {
      if (connection.loss || connection.parametersDue) return;
      const packet = takeEarly(core, resource, connection) ?? nextPacket(core, connection, stream);
      if (!packet || holdIfEarly(core, resource, connection, packet)) break;
      handlePacket(core, resource, connection, packet);
    }
  }
};

const handlePacket = (core: Core, resource: Resource, connection: Connection, packet: Packet): void => {
  switch (packet.packet) {
    case 'P_PROTOCOL':
      return receiveProtocol(core, connection, packet);
    case 'P_PROTOCOL_UPDATE':
      return receiveProtocolUpdate(core, connection, packet);
    case 'P_BARRIER':
      return receiveBarrier(core, resource, connection, packet);
    case 'P_BARRIER_ACK':
      epochAcknowledged(core, resource, connection, packet);
      for (const volume of resource.volumes.values()) checkDrained(core, resource, volume, connection, volume.peers.get(connection.peer)!);
      return;
    case 'P_CONN_ST_CHG_REQ':
      return answerRequest(core, resource, connection, packet);
    case 'P_CONN_ST_CHG_REPLY':
    case 'P_STATE_CHG_REPLY':
      return requestAnswered(core, resource, connection, packet.retcode);
    default:
      return handleVolumePacket(core, resource, connection, packet);
  }
};

const handleVolumePacket = (core: Core, resource: Resource, connection: Connection, packet: Packet): void => {
  const volume = resource.volumes.get(packet.volume);
  if (!volume) {
    // A volume that is being added over there first.
    if (packet.packet === 'P_SYNC_PARAM' || packet.packet === 'P_SYNC_PARAM89' || packet.packet === 'P_SIZES' || packet.packet === 'P_UUIDS' || packet.packet === 'P_STATE') return;
    return loseConnection(core, connection, 'ProtocolError', `${packet.packet} for volume ${packet.volume}, which does not exist here`);
  }
  const device = volume.peers.get(connection.peer)!;
  const isBitmap = packet.packet === 'P_BITMAP' || packet.packet === 'P_COMPRESSED_BITMAP';
  if (!isBitmap && isDataStreamPacket(packet) && isBitmapExpected(resource, connection)) {
    return loseConnection(core, connection, 'ProtocolError', `${packet.packet} in the middle of a bitmap`);
  }
  if ('sequence' in packet && (isWrite(packet) || !isDataStreamPacket(packet))) seeSequence(core, connection, device, packet.sequence);
  switch (packet.packet) {
    case 'P_SYNC_PARAM':
    case 'P_SYNC_PARAM89':
      return receiveSyncParam(core, volume, connection, packet);
    case 'P_SIZES':
      return receiveSizes(core, resource, volume, connection, device, packet);
    case 'P_UUIDS':
      return receiveUuids(core, resource, volume, connection, device, packet);
    case 'P_STATE':
      return receiveState(core, resource, volume, connection, device, packet);
    case 'P_STATE_CHG_REQ':
      return answerRequest(core, resource, connection, packet);
    case 'P_SYNC_UUID':
      return receiveSyncUuid(core, resource, volume, connection, device, packet);
    case 'P_BITMAP':
    case 'P_COMPRESSED_BITMAP':
      return receiveBitmap(core, resource, volume, device, connection, packet);
    case 'P_DATA':
    case 'P_TRIM':
    case 'P_ZEROES':
      return receiveWrite(core, resource, volume, connection, packet);
    case 'P_DATA_REQUEST':
      return serveRead(core, volume, connection, packet);
    case 'P_DATA_REPLY':
      return readAnswered(core, resource, connection, packet);
    case 'P_NEG_DREPLY':
      return readRefused(core, resource, connection, packet);
    case 'P_RS_DATA_REQUEST':
    case 'P_RS_THIN_REQ':
    case 'P_CSUM_RS_REQUEST':
      return rangeRequest(core, resource, volume, device, connection, packet);
    case 'P_RS_DATA_REPLY':
    case 'P_RS_DEALLOCATED':
      return resyncReply(core, volume, device, connection, packet);
    case 'P_OV_REQUEST':
      verifyRequested(core, resource, volume, connection, device);
      return rangeRequest(core, resource, volume, device, connection, packet);
    case 'P_OV_REPLY':
      return verifyReply(core, volume, device, connection, packet);
    case 'P_OV_RESULT':
      return verifyResult(core, resource, volume, device, connection, packet);
    case 'P_NEG_RS_DREPLY':
      if (device.verify?.side === 'source') return verifyRefused(core, resource, volume, device, connection, packet);
      return negResyncReply(core, resource, volume, device, connection, packet);
    case 'P_RS_CANCEL':
      if (device.verify?.side === 'source') return verifyRefused(core, resource, volume, device, connection, packet);
      return resyncCancelled(core, resource, volume, device, connection, packet);
    case 'P_RECV_ACK':
    case 'P_WRITE_ACK':
      return writeAcknowledged(core, resource, connection, packet);
    case 'P_RS_WRITE_ACK':
      if (sameBlockId(packet.blockId, ID_SYNCER)) return resyncAcknowledged(core, resource, volume, device, connection, packet);
      return writeAcknowledged(core, resource, connection, packet);
    case 'P_NEG_ACK':
      if (sameBlockId(packet.blockId, ID_SYNCER)) return resyncNegAcknowledged(core, resource, volume, device, connection, packet);
      return writeRefused(core, resource, connection, packet);
    case 'P_OUT_OF_SYNC': {
      const wrong = rangeError(volume, packet.sector, packet.sizeBytes, NOTICE_BYTES_MAX);
      if (wrong) return loseConnection(core, connection, 'ProtocolError', `P_OUT_OF_SYNC: ${wrong}`);
      markOutOfSync(device, packet.sector, packet.sizeBytes / 512);
      return;
    }
    case 'P_SUPERSEDED':
    case 'P_RETRY_WRITE':
      return conflictDecided(core, resource, connection, packet);
    case 'P_RS_IS_IN_SYNC':
      return resyncInSync(core, resource, volume, device, connection, packet);
    default:
      return loseConnection(core, connection, 'ProtocolError', `unexpected data packet ${packet.packet}`);
  }
};

const isBitmapExpected = (resource: Resource, connection: Connection): boolean => {
  for (const volume of resource.volumes.values()) if (bitmapExpected(volume.peers.get(connection.peer)!)) return true;
  return false;
};

const isDataStreamPacket = (packet: Packet): boolean => {
  switch (packet.packet) {
    case 'P_RECV_ACK':
    case 'P_WRITE_ACK':
    case 'P_RS_WRITE_ACK':
    case 'P_NEG_ACK':
    case 'P_NEG_DREPLY':
    case 'P_NEG_RS_DREPLY':
    case 'P_RS_CANCEL':
    case 'P_SUPERSEDED':
    case 'P_RETRY_WRITE':
    case 'P_OV_RESULT':
    case 'P_RS_IS_IN_SYNC':
      return false;
    default:
      return true;
  }
};
