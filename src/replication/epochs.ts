/**
 * The sending side of write epochs (wire-protocol.md §5.4): which epoch is open, when it closes, when its P_BARRIER goes out,
 * and what its acknowledgement means. One epoch counter per resource; each connection remembers the epochs that it sent
 * writes of, so an epoch without writes there never gets a barrier (bugs B013, B014, B017).
 */

import { loseConnection } from '../connection/loss.js';
import { sendPacket } from '../connection/send.js';
import { assert, type Core } from '../model/core.js';
import type { Connection, Resource, SenderState, SentEpoch } from '../model/types.js';
import type { PacketOf } from '../wire/packets.js';

export const newSender = (): SenderState => ({ epochs: [], awaitingTransport: [] });

/** Whatever is submitted from now on may depend on what is complete (M7). No-op while the open epoch has no writes. */
export const closeEpoch = (resource: Resource): void => {
  if (resource.log.epochWrites === 0) return;
  resource.log.epoch = (resource.log.epoch + 1) >>> 0;
  resource.log.epochWrites = 0;
};

/** The last epoch sent here lacks its barrier and a newer one has begun. */
const owesBarrier = (connection: Connection, epoch: number): SentEpoch | undefined => {
  const last = connection.sender.epochs.at(-1);
  return last && last.barrierSentAtUs === undefined && last.epoch !== epoch ? last : undefined;
};

/** Before any packet of `epoch` (a write, a notice, a read), and whenever the sender is idle (M6). */
export const sendDueBarrier = (core: Core, connection: Connection, epoch: number): void => {
  const due = owesBarrier(connection, epoch);
  if (!due) return;
  due.barrierSentAtUs = core.nowUs;
  sendPacket(core, connection, { packet: 'P_BARRIER', volume: 0, barrier: due.epoch });
  // All that was in it lost to conflicts: the peer has nothing to acknowledge. A kernel that counted it wants the barrier all the same.
  if (due.requests.length === 0) connection.sender.epochs.pop();
};

/** A write of this epoch is about to be sent. */
export const countSentWrite = (connection: Connection, epoch: number, request: number): void => {
  const last = connection.sender.epochs.at(-1);
  assert(!last || last.epoch !== epoch || last.barrierSentAtUs === undefined, () => `a write of epoch ${epoch}, whose barrier is out`);
  if (last?.epoch === epoch) last.requests.push(request);
  else connection.sender.epochs.push({ epoch, requests: [request], barrierSentAtUs: undefined });
};

/** The peer did not take this write, and will not count it in its acknowledgement of the epoch (wire-protocol.md §5.9). */
export const forgetSentWrite = (connection: Connection, epoch: number, request: number): void => {
  const { epochs } = connection.sender;
  const sent = epochs.findIndex((one) => one.epoch === epoch && one.requests.includes(request));
  assert(sent >= 0, `write ${request} is of no epoch that was sent`);
  const { requests, barrierSentAtUs } = epochs[sent]!;
  requests.splice(requests.indexOf(request), 1);
  if (requests.length === 0 && barrierSentAtUs !== undefined) epochs.splice(sent, 1);
};

/**
 * P_BARRIER_ACK: must name the oldest unacknowledged epoch and its number of writes; otherwise the two nodes disagree about
 * what is stable, and the connection goes. Returns the requests that need nothing more from the peer.
 */
export const barrierAcknowledged = (core: Core, connection: Connection, packet: PacketOf<'P_BARRIER_ACK'>): number[] => {
  const oldest = connection.sender.epochs[0];
  if (!oldest || oldest.barrierSentAtUs === undefined || oldest.epoch !== packet.barrier || oldest.requests.length !== packet.setSize) {
    const expected = oldest ? `#${oldest.epoch} with ${oldest.requests.length} writes` : 'none';
    loseConnection(core, connection, 'ProtocolError', `barrier ack #${packet.barrier} with ${packet.setSize} writes, expected ${expected}`);
    return [];
  }
  connection.sender.epochs.shift();
  return oldest.requests;
};

/** Is every write of `epoch` and before acknowledged by a barrier on this connection? Epochs are compared in 32-bit order. */
export const isEpochAcknowledged = (connection: Connection, epoch: number): boolean => {
  const oldest = connection.sender.epochs[0];
  return !oldest || ((oldest.epoch - epoch) | 0) > 0;
};
