// The features exchange: what is agreed, what is refused, and that nothing else comes through before it (B181, B183).

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import fc from '../fast-check.js';
import { negotiate, OWN_FEATURES } from '../../src/connection/handshake.js';
import type { Agreement } from '../../src/connection/handshake.js';
import { startConnecting, stopConnecting } from '../../src/connection/establish.js';
import { freshContext } from '../../src/wire/context.js';
import { FeatureFlag, type FeaturesPacket, type Packet } from '../../src/wire/packets.js';
import { CONTEXT_101, DATA, encoded, featuresOf, holdPair, input, META, newStation, ofType } from './station.js';
import { pairStation, pass, receive, runTimers, sentOn, takeSignals } from './station.js';
import type { Station, StationOptions } from './station.js';

const agree = (own: [number, number], peer: [number, number], flags = 0xf): Agreement =>
  negotiate({ protocolMin: own[0], protocolMax: own[1] }, featuresOf(peer[0], peer[1], flags) as FeaturesPacket);

const REFUSED = 'refused';
const versions: [own: [number, number], peer: [number, number], version: number | typeof REFUSED, why: string][] = [
  [[86, 101], [86, 101], 101, 'two kernels of 8.4'],
  [[86, 101], [86, 124], 101, 'DRBD 9.3'],
  [[86, 101], [86, 100], 100, 'the smaller maximum'],
  [[86, 101], [101, 110], 101, 'ranges that touch'],
  [[86, 86], [86, 101], 86, 'the oldest'],
  [[86, 101], [90, 0], 90, 'protocol_max 0 stands for protocol_min'],
  [[86, 101], [86, 86], 86, 'an old peer'],
  [[86, 97], [86, 101], 97, '95..99 with 8.4'],
  [[86, 101], [118, 124], REFUSED, 'the peer is too new'],
  [[100, 101], [86, 99], REFUSED, 'the peer is too old'],
  [[86, 101], [80, 85], REFUSED, 'the peer is too old'],
  [[86, 101], [102, 0], REFUSED, 'protocol_max 0, too new'],
  [[86, 101], [95, 90], REFUSED, 'no range at all'],
  [[86, 101], [0, 0], REFUSED, 'nothing'],
  [[86, 97], [86, 124], REFUSED, '95..99 with DRBD 9'],
  [[86, 94], [86, 124], 94, 'below 95 with DRBD 9'],
];

test('the version agreed on is the smaller maximum, within both ranges', () => {
  for (const [own, peer, version, why] of versions) {
    const agreed = agree(own, peer);
    assert.is('refusal' in agreed ? REFUSED : agreed.version, version, why);
  }
});

test('both sides come to the same version, or both refuse, when both are 8.4', () => {
  const version = fc.integer({ min: 86, max: 101 });
  const range = fc.tuple(version, version).map(([a, b]): [number, number] => [Math.min(a, b), Math.max(a, b)]);
  fc.assert(
    fc.property(range, range, (a, b) => {
      const ab = agree(a, b);
      const ba = agree(b, a);
      assert.is('refusal' in ab, 'refusal' in ba);
      if (!('refusal' in ab) && !('refusal' in ba)) assert.is(ab.version, ba.version);
      assert.is('refusal' in ab, a[1] < b[0] || b[1] < a[0]);
    }),
  );
});

test('features are those of both, unknown bits are not agreed, and what a node is told not to offer is not there', () => {
  for (const [flags, features] of [[0, 0], [0xf, OWN_FEATURES], [0x3ff, OWN_FEATURES], [0xfffffff0, 0], [4, 4]] as const) {
    assert.equal(agree([86, 101], [86, 101], flags), { version: 101, features });
  }
  const own = { protocolMin: 86, protocolMax: 101, features: FeatureFlag.FF_TRIM };
  assert.equal(negotiate(own, featuresOf(86, 101) as FeaturesPacket), { version: 101, features: FeatureFlag.FF_TRIM });
});

/** What comes of it when the peer begins data with these bytes. */
function begin(bytes: Uint8Array, options: StationOptions = {}): { signals: string[]; detail: string; station: Station } {
  const station = newStation(options);
  pairStation(station);
  receive(station, 600_000, DATA, bytes);
  const signals = takeSignals(station);
  const details = signals.map((signal) => ('detail' in signal ? String(signal.detail) : ''));
  const told = signals.map((signal) => signal.signal + ('reason' in signal ? ` ${signal.reason}` : ''));
  return { signals: told, detail: details.join(), station };
}

const fresh = freshContext();
const state: Packet = { packet: 'P_STATE', volume: 0, state: 0x8000 };

test('our features go out first, as one packet of 80 bytes like the kernel\'s, and the door is closed', () => {
  const station = newStation();
  const outputs = pairStation(station);
  assert.is(
    Buffer.from(sentOn(outputs, DATA)).toString('hex'),
    '83740267fff20000' + '83740267fffe0048' + `00000056${OWN_FEATURES.toString(16).padStart(8, '0')}00000065` + '00'.repeat(60),
  );
  assert.is(sentOn(outputs, META).length, 0);
  const order = outputs.filter((output) => output.type === 'listen' || output.type === 'stop-listening' || output.type === 'connect');
  assert.equal(order.map((output) => output.type), ['listen', 'connect', 'stop-listening']);
});

test('after the features both streams use the new header, and what came with them is read by it', () => {
  const bytes = Buffer.concat([encoded([featuresOf(86, 101)], fresh), encoded([state], CONTEXT_101)]);
  const { signals, station } = begin(new Uint8Array(bytes));
  assert.equal(signals, ['streams-ready', 'packets-waiting']);
  assert.equal(station.packets, [state]);
  assert.equal([station.connection.protocolVersion, station.connection.features], [101, OWN_FEATURES]);
  const barrierAck: Packet = { packet: 'P_BARRIER_ACK', volume: 0, barrier: 7, setSize: 1 };
  receive(station, 700_000, META, encoded([barrierAck], CONTEXT_101));
  assert.equal(station.packets, [state, barrierAck]);
});

test('a meta packet with the new header that arrives before the features waits for them', () => {
  const station = newStation();
  pairStation(station);
  const early: Packet[] = [{ packet: 'P_PING_ACK', volume: 0 }, { packet: 'P_BARRIER_ACK', volume: 0, barrier: 7, setSize: 1 }];
  receive(station, 600_000, META, encoded(early, CONTEXT_101));
  assert.equal(takeSignals(station), []);
  receive(station, 600_000, DATA, encoded([featuresOf(86, 101)], fresh));
  assert.equal(takeSignals(station).map((signal) => signal.signal), ['streams-ready', 'packets-waiting']);
  assert.equal(station.packets.map((packet) => packet.packet), ['P_BARRIER_ACK']);
});

test('features that came while the pair was still being watched count', () => {
  const station = newStation();
  holdPair(station);
  assert.is(station.connection.session.phase, 'checking');
  receive(station, 100_000, DATA, encoded([featuresOf(86, 101)], fresh));
  assert.equal(takeSignals(station), []);
  runTimers(station, 500_000);
  assert.equal(takeSignals(station).map((signal) => signal.signal), ['streams-ready']);
});

test('before the features nothing else is accepted (B181)', () => {
  assert.equal(begin(encoded([state], fresh)).signals, ['connection-refused']);
  assert.equal(begin(encoded([{ packet: 'P_UNPLUG_REMOTE', volume: 0 }], fresh)).signals, ['connection-refused']);
  const unknown = Uint8Array.of(0x83, 0x74, 0x02, 0x67, 0x00, 0x77, 0, 0);
  assert.equal(begin(unknown).signals, ['connection-refused']);
  const short = Uint8Array.of(0x83, 0x74, 0x02, 0x67, 0xff, 0xfe, 0, 20);
  assert.equal(begin(short).signals, ['connection-refused']);
  const { signals, station } = begin(encoded([state], CONTEXT_101));
  assert.equal(signals, ['connection-lost ProtocolError'], 'a header that is not known yet');
  assert.equal(station.packets, []);
});

test('a second features packet, and authentication that we do not have, drop the connection', () => {
  for (const packet of [featuresOf(86, 101), { packet: 'P_AUTH_CHALLENGE', volume: 0, challenge: new Uint8Array(64) }] as Packet[]) {
    const { signals } = begin(new Uint8Array(Buffer.concat([encoded([featuresOf(86, 101)], fresh), encoded([packet], CONTEXT_101)])));
    assert.equal(signals, ['streams-ready', 'packets-waiting', 'connection-lost ProtocolError']);
  }
});

test('what a resource needs and the version has not is refused', () => {
  const old = encoded([featuresOf(86, 99)], fresh);
  const { signals, detail } = begin(old.slice(), { volumes: [0, 1] });
  assert.equal(signals, ['connection-refused']);
  assert.match(detail, 'volume 1');
  assert.equal(begin(old.slice(), { volumes: [0] }).signals, ['streams-ready']);
  assert.equal(begin(encoded([featuresOf(86, 101)], fresh), { volumes: [0, 1] }).signals, ['streams-ready']);
  const station = newStation();
  station.connection.tentative = true;
  pairStation(station);
  receive(station, 600_000, DATA, encoded([featuresOf(86, 91)], fresh));
  assert.equal(takeSignals(station).map((signal) => signal.signal), ['connection-refused']);
});

test('silence after the pair was made: Timeout after four ping-timeouts; not later', () => {
  const station = newStation();
  pairStation(station);
  runTimers(station, 500_000 + 2_000_000 - 1);
  assert.equal(takeSignals(station), []);
  runTimers(station, 500_000 + 2_000_000);
  assert.equal(takeSignals(station).map((signal) => ('reason' in signal ? signal.reason : '')), ['Timeout']);
});

test('either stream ending during the features exchange is a loss, told once', () => {
  for (const [stream, reason] of [[DATA, 'BrokenPipe'], [META, 'NetworkFailure']] as const) {
    const station = newStation();
    pairStation(station);
    input(station, 600_000, { type: 'stream-closed', stream, how: 'closed' });
    input(station, 600_000, { type: 'stream-closed', stream: stream === DATA ? META : DATA, how: 'reset' });
    receive(station, 600_000, DATA, encoded([featuresOf(86, 101)], fresh));
    runTimers(station, 60_000_000);
    assert.equal(takeSignals(station).map((signal) => ('reason' in signal ? signal.reason : '')), [reason]);
    const outputs = pass(station, 60_000_000, () => stopConnecting(station.core, station.connection));
    assert.equal(ofType(outputs, 'close').map((output) => output.stream), [DATA, META]);
    assert.equal([station.core.state.streams.size, station.core.state.timers.size], [0, 0]);
  }
});

test('our address cannot be bound: given up', () => {
  const station = newStation();
  holdPair(station);
  input(station, 0, { type: 'listen-failed', resource: 'r0', peer: 'peer', reason: 'EADDRINUSE' });
  assert.equal(takeSignals(station).map((signal) => signal.signal), ['connection-refused']);
  assert.equal(runTimers(station, 100_000_000), [], 'nothing is done any more');
  const other = newStation();
  pass(other, 0, () => startConnecting(other.core, other.connection));
  input(other, 0, { type: 'listen-failed', resource: 'r0', peer: 'peer', reason: 'EADDRINUSE' });
  assert.equal(input(other, 0, { type: 'stream-connected', stream: DATA }), []);
  assert.equal(pass(other, 0, () => stopConnecting(other.core, other.connection)).map((output) => output.type), ['stop-listening', 'close']);
});

test.run();
