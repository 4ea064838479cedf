// What two kernels said during recorded resyncs, as packets in the order of each stream.

import { freshContext } from '../../src/wire/context.js';
import { isWireError } from '../../src/wire/errors.js';
import type { Packet } from '../../src/wire/packets.js';
import { newStreamDecoder, pullPacket } from '../../src/wire/reassembly.js';
import { agreedBy, capturedStreams, type CapturedStream } from '../wire/captured-streams.js';

export interface RecordedConnection {
  name: string;
  protocolVersion: number;
  /** By direction: `alice-to-bob`, `bob-to-alice`. */
  packets: Map<string, Packet[]>;
}

const OPENERS = ['83740267fff10000', '83740267fff20000'];

/** The data streams of both directions of every recorded connection; without the recordings none, which is then said. */
export function recordedConnections(): RecordedConnection[] {
  const streams = capturedStreams().filter(({ kind }) => kind === 'data');
  const connections = new Map<string, RecordedConnection>();
  for (const stream of streams) {
    const agreed = agreedBy(stream, streams);
    if (!agreed) continue;
    const name = `${stream.folder.split('/').at(-1)} ${stream.connection}`;
    const connection = connections.get(name) ?? { name, protocolVersion: agreed.apv, packets: new Map() };
    connections.set(name, connection);
    connection.packets.set(stream.direction, packetsOf(stream, agreed));
  }
  return [...connections.values()];
}

function packetsOf(stream: CapturedStream, agreed: ReturnType<typeof freshContext>): Packet[] {
  const isOpener = OPENERS.includes(Buffer.from(stream.bytes.subarray(0, 8)).toString('hex'));
  const decoder = newStreamDecoder(isOpener ? 'first' : 'data');
  const context = freshContext();
  const chunk = { bytes: stream.bytes, at: 0 };
  const packets: Packet[] = [];
  for (;;) {
    const packet = pullPacket(decoder, context, chunk);
    if (packet === undefined || isWireError(packet)) return packets;
    packets.push(packet);
    if (packet.packet === 'P_CONNECTION_FEATURES') Object.assign(context, agreed);
    if (packet.packet === 'P_PROTOCOL' && packet.integrityAlg === 'crc32c') context.digestBytes = 4;
  }
}
