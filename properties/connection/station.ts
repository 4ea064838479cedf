// One end of a connection for the tests: a core with one resource and one peer, driven input by input, and the least that a
// resource room must do with the connection room's signals. Lent bytes are overwritten after each pass, so a view that was
// kept shows at once.

import { digests } from '../../src/digests/digests.js';
import { connectionTimer } from '../../src/connection/timers.js';
import { flushSends } from '../../src/connection/send.js';
import { nextPacket, streamInput } from '../../src/connection/receive.js';
import type { StreamInput } from '../../src/connection/receive.js';
import { newSession, startConnecting } from '../../src/connection/establish.js';
import { OWN_FEATURES } from '../../src/connection/handshake.js';
import { startKeepalive } from '../../src/connection/keepalive.js';
import { defaultNetOptions } from '../../src/config/defaults.js';
import type { NetOptions } from '../../src/config/types.js';
import type { Output } from '../../src/contract/output.js';
import type { Core } from '../../src/model/core.js';
import type { Signal } from '../../src/model/signals.js';
import { earliestDeadline, takeDueTimer } from '../../src/model/timers.js';
import type { Connection, NodeState, Resource } from '../../src/model/types.js';
import { freshContext } from '../../src/wire/context.js';
import type { WireContext } from '../../src/wire/context.js';
import { encodePacket } from '../../src/wire/encode.js';
import type { Packet } from '../../src/wire/packets.js';

export interface Station {
  core: Core;
  connection: Connection;
  /** Signals since they were last taken. */
  signals: Signal[];
  /** Packets taken, copied. */
  packets: Packet[];
  /** What the room above does with a signal, besides taking packets. */
  onSignal: (signal: Signal) => void;
  onPacket: (packet: Packet, stream: 'data' | 'meta') => void;
}

/** Random values that follow from the seed (splitmix64). */
export function seededRandom(seed: number): () => bigint {
  // Not a multiple of the step below: the values of two seeds would be the same, shifted.
  let state = BigInt.asUintN(64, BigInt(seed) * 0xd1342543de82ef95n + 1n);
  return () => {
    state = BigInt.asUintN(64, state + 0x9e3779b97f4a7c15n);
    let z = state;
    z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
    z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn);
    return z ^ (z >> 31n);
  };
}

export interface StationOptions {
  random64?: () => bigint;
  net?: Partial<NetOptions>;
  protocolMin?: number;
  protocolMax?: number;
  volumes?: number[];
}

export function newStation(options: StationOptions = {}): Station {
  const peerConfig = { name: 'peer', net: { ...defaultNetOptions, ...options.net } };
  // Only what the connection room looks at.
  const connection = {
    resource: 'r0',
    peer: 'peer',
    config: peerConfig,
    session: newSession(),
    protocolVersion: 0,
    features: 0,
    resolveConflicts: false,
    discardMyData: false,
    tentative: false,
  } as unknown as Connection;
  const resource = {
    name: 'r0',
    config: {
      resource: 'r0',
      peers: [peerConfig],
      volumes: (options.volumes ?? [0]).map((volume) => ({ volume })),
      protocolMin: options.protocolMin ?? 86,
      protocolMax: options.protocolMax ?? 101,
    },
    connections: new Map([['peer', connection]]),
  } as unknown as Resource;
  const state = {
    name: 'self',
    resources: new Map([['r0', resource]]),
    streams: new Map(),
    timers: new Map(),
    lastStream: 0,
  } as unknown as NodeState;
  const core: Core = { state, nowUs: 0, environment: { ...digests, random64: options.random64 ?? seededRandom(1) }, outputs: [], signals: [] };
  return { core, connection, signals: [], packets: [], onSignal: () => undefined, onPacket: () => undefined };
}

/** One pass: does `step`, then what a node does after an input. Returns the outputs. */
export function pass(station: Station, nowUs: number, step: () => void): Output[] {
  const { core, connection } = station;
  core.nowUs = nowUs;
  step();
  settle(station);
  flushSends(core, connection);
  return core.outputs.splice(0);
}

export const input = (station: Station, nowUs: number, value: StreamInput): Output[] => {
  const outputs = pass(station, nowUs, () => streamInput(station.core, value));
  if (value.type === 'stream-received') value.bytes.fill(0xee);
  return outputs;
};

/** Lets time pass until `untilUs`: each timer at its time. */
export function runTimers(station: Station, untilUs: number): Output[] {
  const outputs: Output[] = [];
  for (;;) {
    const deadlineUs = earliestDeadline(station.core);
    if (deadlineUs === undefined || deadlineUs > untilUs) break;
    outputs.push(
      ...pass(station, Math.max(deadlineUs, station.core.nowUs), () => {
        const timer = takeDueTimer(station.core);
        if (timer !== undefined) connectionTimer(station.core, timer);
      }),
    );
  }
  station.core.nowUs = untilUs;
  return outputs;
}

function settle(station: Station): void {
  const { core } = station;
  for (;;) {
    const signal = core.signals.shift();
    if (signal === undefined) return;
    station.signals.push(signal);
    if (signal.signal === 'packets-waiting') takePackets(station);
    station.onSignal(signal);
  }
}

export function takePackets(station: Station): void {
  for (const stream of ['data', 'meta'] as const) {
    for (;;) {
      const packet = nextPacket(station.core, station.connection, stream);
      if (packet === undefined) break;
      station.packets.push(structuredClone(packet));
      station.onPacket(packet, stream);
    }
  }
}

export const takeSignals = (station: Station): Signal[] => station.signals.splice(0);

/** The peer's side of the wire, encoded. */
export function encoded(packets: Packet[], context: WireContext): Uint8Array {
  return Uint8Array.from(packets.flatMap((packet) => encodePacket(packet, context).flatMap((piece) => [...piece])));
}

export const featuresOf = (protocolMin: number, protocolMax: number, flags = 0xf): Packet => ({
  packet: 'P_CONNECTION_FEATURES',
  volume: 0,
  protocolMin,
  protocolMax,
  flags,
  senderNodeId: 0,
  receiverNodeId: 0,
});

/** What the peer uses after agreeing on protocol 101 with us. */
export const CONTEXT_101: WireContext = { apv: 101, features: OWN_FEATURES, digestBytes: 0 };

/** Stream ids of `connectStation`: we connect data, the peer connects meta. */
export const DATA = 1;
export const META = -1;

/** From nothing to a pair of streams that is being watched. Returns the outputs. */
export function holdPair(station: Station): Output[] {
  const outputs = pass(station, 0, () => startConnecting(station.core, station.connection));
  outputs.push(...input(station, 0, { type: 'stream-connected', stream: DATA }));
  outputs.push(...input(station, 0, { type: 'stream-accepted', resource: 'r0', peer: 'peer', stream: META }));
  outputs.push(...receive(station, 0, META, encoded([{ packet: 'P_INITIAL_META', volume: 0 }], freshContext())));
  return outputs;
}

/** From nothing to the beginning of the features exchange, at 500 ms. Returns the outputs. */
export const pairStation = (station: Station): Output[] => [...holdPair(station), ...runTimers(station, 500_000)];

/** From nothing to a connection at protocol 101, with keep-alive, at 500 ms; all that was sent has left. */
export function connectStation(options: StationOptions = {}): Station {
  const station = newStation({ ...options, net: { socketCheckTimeout: 5, ...options.net } });
  station.onSignal = (signal) => {
    if (signal.signal === 'streams-ready') startKeepalive(station.core, station.connection);
  };
  pairStation(station);
  receive(station, 500_000, DATA, encoded([featuresOf(86, 101)], freshContext()));
  transportTakesAll(station);
  takeSignals(station);
  return station;
}

export const receive = (station: Station, nowUs: number, stream: number, bytes: Uint8Array): Output[] =>
  input(station, nowUs, { type: 'stream-received', stream, bytes });

/** The transport has taken everything on both streams. */
export function transportTakesAll(station: Station): Output[] {
  const { data, meta } = station.connection.session;
  return [data, meta].flatMap((stream) =>
    stream === undefined
      ? []
      : input(station, station.core.nowUs, { type: 'stream-sent', stream: stream.id, bytesTotal: stream.queuedBytes }),
  );
}

/** All bytes that the outputs send on a stream. */
export function sentOn(outputs: Output[], stream: number): Uint8Array {
  const pieces = outputs.flatMap((output) => (output.type === 'send' && output.stream === stream ? output.pieces : []));
  return Uint8Array.from(pieces.flatMap((piece) => [...piece]));
}

export const ofType = <T extends Output['type']>(outputs: Output[], type: T): Extract<Output, { type: T }>[] =>
  outputs.filter((output): output is Extract<Output, { type: T }> => output.type === type);
