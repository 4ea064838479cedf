/**
 * `data-integrity-alg`: a digest in front of the data of each packet that carries any (wire-protocol.md §3.4, §5.2). Each
 * direction has an algorithm of its own, which begins to count at one point of the data stream: behind P_PROTOCOL, and behind each
 * P_PROTOCOL_UPDATE. Rooms above know nothing of it: digests are put in when a packet is sent and are right when one is taken.
 */

import { assert } from '../model/core.js';
import type { Core } from '../model/core.js';
import type { Connection } from '../model/types.js';
import type { DataPacket, Packet } from '../wire/packets.js';

/** What we send from now on carries digests of this algorithm; '': none. The peer has been told just before. */
export function protectSent(core: Core, connection: Connection, algorithm: string): void {
  const { session } = connection;
  const bytes = digestBytes(core, algorithm);
  assert(bytes !== undefined, `the driver does not know ${algorithm} any more`);
  session.sentIntegrityAlg = algorithm;
  session.sending.digestBytes = bytes;
}

/** What the peer sends from now on carries digests of this algorithm; '': none. False when we cannot compute it: nothing has changed. */
export function expectReceived(core: Core, connection: Connection, algorithm: string): boolean {
  const { session } = connection;
  const bytes = digestBytes(core, algorithm);
  if (bytes === undefined) return false;
  session.receivedIntegrityAlg = algorithm;
  session.receiving.digestBytes = bytes;
  return true;
}

const digestBytes = (core: Core, algorithm: string): number | undefined =>
  algorithm === '' ? 0 : core.environment.digest(algorithm, [])?.length;

/** The packet as it is to be sent. */
export function withDigest(core: Core, connection: Connection, packet: Packet): Packet {
  const algorithm = connection.session.sentIntegrityAlg;
  return algorithm === '' || !isData(packet) ? packet : { ...packet, digest: digestOf(core, algorithm, packet) };
}

/** Did the peer's data change on its way? */
export function isDamaged(core: Core, connection: Connection, packet: Packet): boolean {
  const algorithm = connection.session.receivedIntegrityAlg;
  if (algorithm === '' || !isData(packet)) return false;
  const expected = digestOf(core, algorithm, packet);
  const { digest } = packet;
  assert(digest?.length === expected.length, 'the decoder leaves room for the digest that was agreed on');
  return digest.some((byte, index) => byte !== expected[index]);
}

const isData = (packet: Packet): packet is DataPacket =>
  packet.packet === 'P_DATA' || packet.packet === 'P_DATA_REPLY' || packet.packet === 'P_RS_DATA_REPLY';

function digestOf(core: Core, algorithm: string, packet: DataPacket): Uint8Array {
  const digest = core.environment.digest(algorithm, [packet.data]);
  assert(digest !== undefined, `the driver does not know ${algorithm} any more`);
  return digest;
}
