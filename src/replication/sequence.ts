/**
 * Sequence numbers (wire-protocol.md §5.7): per volume and direction, counted over both streams in the order in which a node made its
 * writes and acknowledgements. With two Primaries the node that resolves conflicts takes up a write only after every
 * acknowledgement that was made before it: so it knows which of its own writes the peer had when it made that one.
 */

import { ownBytes, pauseData, resumeData } from '../connection/receive.js';
import type { Core } from '../model/core.js';
import { clearTimer, setTimer } from '../model/timers.js';
import type { Connection, PeerDevice, Resource } from '../model/types.js';
import { deviceOf } from '../model/view.js';
import type { DataPacket, Packet, TrimPacket } from '../wire/packets.js';

/** The number of the next P_DATA or p_block_ack packet of a volume, in the order made (M12). */
export const nextSequence = (device: PeerDevice): number => {
  device.sequence = (device.sequence + 1) >>> 0;
  return device.sequence;
};

/** The number of a packet of the peer has arrived. Compared modulo 2^32. */
export const seeSequence = (core: Core, connection: Connection, device: PeerDevice, sequence: number): void => {
  if (((sequence - device.peerSequence) | 0) <= 0) return;
  device.peerSequence = sequence;
  if (connection.receiver.early) startWaiting(core, connection);
};

/** Does this packet of the data stream come before something that the peer had sent earlier on the meta stream? Then it waits, and the stream with it. */
export const holdIfEarly = (core: Core, resource: Resource, connection: Connection, packet: Packet): boolean => {
  if (!isWrite(packet) || !connection.config.net.allowTwoPrimaries || !connection.resolveConflicts) return false;
  const volume = resource.volumes.get(packet.volume);
  if (!volume || isInTurn(deviceOf(volume, connection.peer), packet.sequence)) return false;
  // Lent: what is kept beyond this pass is copied here.
  connection.receiver.early = 'data' in packet ? { ...packet, data: ownBytes(core, connection, packet.data) } : packet;
  pauseData(core, connection);
  startWaiting(core, connection);
  return true;
};

export const isWrite = (packet: Packet): packet is DataPacket | TrimPacket => packet.packet === 'P_DATA' || packet.packet === 'P_TRIM' || packet.packet === 'P_ZEROES';

const isInTurn = (device: PeerDevice, sequence: number): boolean => ((sequence - 1 - device.peerSequence) | 0) <= 0;

/** The packet that waited, if its turn has come; reading goes on behind it. */
export const takeEarly = (core: Core, resource: Resource, connection: Connection): Packet | undefined => {
  const { early } = connection.receiver;
  if (!early || !isInTurn(deviceOf(resource.volumes.get(early.volume)!, connection.peer), early.sequence)) return undefined;
  forgetEarly(core, connection);
  resumeData(core, connection);
  return early;
};

export const forgetEarly = (core: Core, connection: Connection): void => {
  connection.receiver.early = undefined;
  clearTimer(core, 'early-write', connection.resource, connection.peer, -1);
};

/** Each number that arrives is progress (timers-and-order.md §1.2, missing acks). */
const startWaiting = (core: Core, connection: Connection): void =>
  setTimer(core, 'early-write', connection.resource, connection.peer, -1, connection.config.net.pingTimeout * 100_000);
