// What two kernels said during recorded resyncs, as packets in the order of each stream.

import type { Packet } from '../../src/wire/packets.js';
import { packetsOf } from '../recordings/recording.js';
import { agreedBy, capturedStreams } from '../wire/captured-streams.js';

export interface RecordedConnection {
  name: string;
  protocolVersion: number;
  /** By direction: `alice-to-bob`, `bob-to-alice`. */
  packets: Map<string, Packet[]>;
}

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
    connection.packets.set(stream.direction, packetsOf(stream, streams));
  }
  return [...connections.values()];
}
