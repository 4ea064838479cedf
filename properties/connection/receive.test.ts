// Packets that are taken one by one: order, lent bytes, pausing, the end of a stream, arbitrary bytes.

import fc from '../fast-check.js';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { startConnecting, stopConnecting } from '../../src/connection/establish.js';
import { expectClose, ignoreInput } from '../../src/connection/keepalive.js';
import { loseConnection, refuseConnection } from '../../src/connection/loss.js';
import { nextPacket, pauseData, resumeData, streamInput } from '../../src/connection/receive.js';
import type { StreamInput } from '../../src/connection/receive.js';
import { dataStreamEnd, dataStreamSent, flushSends, sendPacket, unsentBytes } from '../../src/connection/send.js';
import { freshContext } from '../../src/wire/context.js';
import type { Packet, PacketName } from '../../src/wire/packets.js';
import { CONTEXT_101, connectStation, DATA, encoded, featuresOf, holdPair, input, META, newStation, ofType } from './station.js';
import { pairStation, pass, receive, runTimers, seededRandom, sentOn, takePackets, takeSignals } from './station.js';
import type { Station } from './station.js';

const write = (sequence: number, bytes: number): Packet => ({
  packet: 'P_DATA',
  volume: 0,
  sector: sequence * 8,
  blockId: { high: 1, low: sequence },
  sequence,
  flags: 0,
  data: new Uint8Array(bytes).fill(sequence),
});
const reply: Packet = { packet: 'P_STATE_CHG_REPLY', volume: 0, retcode: 1 };
const barrier: Packet = { packet: 'P_BARRIER', volume: 0, barrier: 1 };
const names = (packets: Packet[]): PacketName[] => packets.map((packet) => packet.packet);
const losses = (station: Station): string[] =>
  takeSignals(station).flatMap((signal) =>
    signal.signal === 'connection-lost' ? [signal.reason] : signal.signal === 'connection-refused' ? ['refused'] : [],
  );

test('packets arrive whole and in order, however they are cut', () => {
  const blocks = fc.array(fc.integer({ min: 1, max: 16 }), { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(blocks, fc.integer({ min: 1, max: 9000 }), (sizes, cut) => {
      const station = connectStation();
      const packets = sizes.map((size, index) => write(index + 1, size * 512));
      const bytes = encoded(packets, CONTEXT_101);
      for (let start = 0; start < bytes.length; start += cut) receive(station, 1_000_000, DATA, bytes.slice(start, start + cut));
      assert.equal(station.packets, packets);
    }),
  );
});

test('what means something only to the connection is not handed on', () => {
  const station = connectStation();
  const bytes = encoded(
    [
      { packet: 'P_UNPLUG_REMOTE', volume: 0xffff },
      { packet: 'P_ENABLE_REPLICATION', volume: 0, enable: 1 },
      { packet: 'P_DELAY_PROBE', volume: 0, sequence: 1, offset: 2 },
      barrier,
    ],
    CONTEXT_101,
  );
  receive(station, 1_000_000, DATA, bytes);
  const outputs = receive(station, 1_000_000, META, encoded([{ packet: 'P_PING', volume: 0xffff }, reply], CONTEXT_101));
  assert.equal(names(station.packets), ['P_BARRIER', 'P_STATE_CHG_REPLY']);
  assert.equal(sentOn(outputs, META), encoded([{ packet: 'P_PING_ACK', volume: 0 }], CONTEXT_101));
});

test('while data is paused, bytes are kept, up to a limit; then reading goes on where it stopped', () => {
  const station = connectStation();
  const packets = Array.from({ length: 100 }, (_, index) => write(index + 1, 4096));
  station.onPacket = (packet) => {
    if (packet.packet === 'P_DATA' && packet.sequence === 3) pauseData(station.core, station.connection);
  };
  const bytes = encoded(packets, CONTEXT_101);
  const outputs = [];
  for (let start = 0; start < bytes.length; start += 30_000) {
    outputs.push(...receive(station, 1_000_000, DATA, bytes.slice(start, start + 30_000)));
  }
  assert.is(station.packets.length, 3);
  assert.equal(ofType(outputs, 'read-stream').map((output) => output.on), [false]);
  receive(station, 1_000_000, META, encoded([reply], CONTEXT_101));
  assert.is(station.packets.length, 4, 'meta is not held up');
  const resumed = pass(station, 1_100_000, () => resumeData(station.core, station.connection));
  assert.equal(ofType(resumed, 'read-stream').map((output) => output.on), [true]);
  assert.equal(station.packets.filter((packet) => packet.packet === 'P_DATA'), packets);
  assert.equal(losses(station), []);
});

test('a packet larger than what is kept, begun before a pause, is completed after it', () => {
  const station = connectStation();
  const bytes = encoded([barrier, write(1, 1 << 20)], CONTEXT_101);
  receive(station, 1_000_000, DATA, bytes.slice(0, 600_000));
  const paused = pass(station, 1_000_000, () => pauseData(station.core, station.connection));
  assert.equal(ofType(paused, 'read-stream').map((output) => output.on), [false]);
  const resumed = pass(station, 1_000_000, () => resumeData(station.core, station.connection));
  assert.equal(ofType(resumed, 'read-stream').map((output) => output.on), [true]);
  receive(station, 1_000_000, DATA, bytes.slice(600_000));
  assert.equal(station.packets, [barrier, write(1, 1 << 20)]);
});

test('what arrived before the end of a stream is processed first; the loss is told once, with the first reason', () => {
  for (const how of ['closed', 'reset'] as const) {
    const station = connectStation();
    const { core } = station;
    pass(station, 1_000_000, () => {
      streamInput(core, { type: 'stream-received', stream: META, bytes: encoded([reply], CONTEXT_101) });
      streamInput(core, { type: 'stream-closed', stream: META, how });
    });
    const order = station.signals.map((signal) => signal.signal);
    assert.is(order.at(-1), 'connection-lost');
    assert.equal(names(station.packets), ['P_STATE_CHG_REPLY']);
    input(station, 1_000_000, { type: 'stream-closed', stream: DATA, how });
    runTimers(station, 100_000_000);
    assert.equal(losses(station), ['NetworkFailure']);
  }
});

test('the end of a stream that is not read now is told at once', () => {
  const station = connectStation();
  pass(station, 1_000_000, () => pauseData(station.core, station.connection));
  receive(station, 1_000_000, DATA, encoded([barrier], CONTEXT_101));
  input(station, 1_000_000, { type: 'stream-closed', stream: DATA, how: 'closed' });
  assert.equal(losses(station), ['BrokenPipe']);
  assert.equal(station.packets, []);
  pass(station, 1_000_000, () => resumeData(station.core, station.connection));
  assert.equal(station.packets, [], 'nothing is read after the loss');
});

test('a stream that ends and is paused in the same pass does not hang', () => {
  const station = connectStation();
  station.onPacket = () => pauseData(station.core, station.connection);
  pass(station, 1_000_000, () => {
    streamInput(station.core, { type: 'stream-received', stream: DATA, bytes: encoded([barrier, barrier], CONTEXT_101) });
    streamInput(station.core, { type: 'stream-closed', stream: DATA, how: 'closed' });
  });
  assert.is(station.packets.length, 1);
  assert.equal(losses(station), ['BrokenPipe']);
});

test('half a packet before the end of the stream is dropped with it', () => {
  const station = connectStation();
  receive(station, 1_000_000, DATA, encoded([write(1, 512)], CONTEXT_101).slice(0, 300));
  input(station, 1_000_000, { type: 'stream-closed', stream: DATA, how: 'closed' });
  assert.equal(losses(station), ['BrokenPipe']);
});

test('after our disconnect request the end of a stream is expected for a ping-timeout', () => {
  const station = connectStation();
  expectClose(station.core, station.connection);
  input(station, 1_000_000, { type: 'stream-closed', stream: DATA, how: 'closed' });
  assert.equal(losses(station), []);
  receive(station, 1_200_000, META, encoded([reply], CONTEXT_101));
  assert.equal(names(station.packets), ['P_STATE_CHG_REPLY']);
  input(station, 1_300_000, { type: 'stream-closed', stream: META, how: 'closed' });
  runTimers(station, 1_499_999);
  assert.equal(losses(station), []);
  runTimers(station, 1_500_000);
  assert.equal(losses(station), ['BrokenPipe']);
});

test('a refused disconnect request makes the end of a stream a failure again', () => {
  const station = connectStation();
  expectClose(station.core, station.connection);
  expectClose(station.core, station.connection, false);
  input(station, 1_000_000, { type: 'stream-closed', stream: META, how: 'closed' });
  assert.equal(losses(station), ['NetworkFailure']);
  const other = connectStation();
  expectClose(other.core, other.connection);
  input(other, 1_000_000, { type: 'stream-closed', stream: META, how: 'closed' });
  pass(other, 1_000_000, () => expectClose(other.core, other.connection, false));
  assert.equal(losses(other), ['NetworkFailure']);
});

test('after agreeing to a disconnect nothing is read, and the reply still leaves before the close (M16)', () => {
  const station = connectStation();
  const { core, connection } = station;
  const outputs = pass(station, 1_000_000, () => {
    ignoreInput(connection);
    sendPacket(core, connection, reply);
    streamInput(core, { type: 'stream-received', stream: DATA, bytes: encoded([barrier], CONTEXT_101) });
    stopConnecting(core, connection);
  });
  assert.equal(outputs.map((output) => output.type), ['send', 'close', 'close']);
  assert.equal(sentOn(outputs, META), encoded([reply], CONTEXT_101));
  assert.equal(station.packets, []);
});

test('stopConnecting is safe at every moment, and what comes later for the old streams is ignored (B187)', () => {
  const moments: ((station: Station) => void)[] = [
    () => undefined,
    (station) => pass(station, 0, () => startConnecting(station.core, station.connection)),
    (station) => holdPair(station),
    (station) => pairStation(station),
    (station) => {
      pairStation(station);
      receive(station, 600_000, DATA, encoded([featuresOf(86, 101)], freshContext()));
    },
    (station) => {
      pairStation(station);
      input(station, 600_000, { type: 'stream-closed', stream: DATA, how: 'reset' });
    },
  ];
  for (const moment of moments) {
    const station = newStation();
    moment(station);
    pass(station, 1_000_000, () => stopConnecting(station.core, station.connection));
    pass(station, 1_000_000, () => stopConnecting(station.core, station.connection));
    takeSignals(station);
    assert.equal([station.core.state.streams.size, station.core.state.timers.size], [0, 0]);
    receive(station, 1_000_000, DATA, encoded([barrier], CONTEXT_101));
    const late: StreamInput[] = [
      { type: 'stream-sent', stream: DATA, bytesTotal: 1 },
      { type: 'stream-closed', stream: META, how: 'reset' },
      { type: 'stream-connected', stream: DATA },
      { type: 'connect-failed', stream: DATA, reason: 'late' },
      { type: 'listen-failed', resource: 'r0', peer: 'peer', reason: 'late' },
    ];
    for (const value of late) assert.equal(input(station, 1_000_000, value), []);
    const refused = input(station, 1_000_000, { type: 'stream-accepted', resource: 'r0', peer: 'peer', stream: -9 });
    assert.equal(refused, [{ type: 'close', stream: -9 }]);
    assert.equal(takeSignals(station), []);
    pass(station, 2_000_000, () => startConnecting(station.core, station.connection));
    assert.is(station.connection.session.phase, 'connecting');
  }
});

test('the first reason wins, also when another room saw it', () => {
  const station = connectStation();
  pass(station, 1_000_000, () => {
    loseConnection(station.core, station.connection, 'ProtocolError', 'a bad sector');
    refuseConnection(station.core, station.connection, 'unrelated data');
    loseConnection(station.core, station.connection, 'Timeout', 'too late');
  });
  assert.equal(losses(station), ['ProtocolError']);
  assert.equal(pass(station, 1_000_000, () => sendPacket(station.core, station.connection, barrier)), [], 'nothing is sent any more');
});

test('wrong bytes end the connection as the rule says', () => {
  const magic = Uint8Array.of(1, 2, 3, 4);
  const header = (command: number, length: number): Uint8Array =>
    Uint8Array.of(0x86, 0x20, 0xec, 0x20, 0, 0, command >> 8, command & 0xff, 0, 0, length >> 8, length & 0xff, 0, 0, 0, 0);
  const cases: [stream: number, bytes: Uint8Array, outcome: string][] = [
    [DATA, magic, 'ProtocolError'],
    [META, magic, 'NetworkFailure'],
    [DATA, header(0x77, 0), 'ProtocolError'],
    [META, header(0x77, 0), 'refused'],
    [DATA, header(0x16, 24), 'ProtocolError'],
    [META, header(0x00, 24), 'refused'],
    [DATA, header(0x0e, 5), 'ProtocolError'],
    [META, header(0x16, 23), 'NetworkFailure'],
  ];
  for (const [stream, bytes, outcome] of cases) {
    const station = connectStation();
    receive(station, 1_000_000, stream, bytes);
    assert.equal(losses(station), [outcome]);
    assert.equal(station.packets, []);
  }
});

test('arbitrary bytes on any stream in any phase end in packets or in one dropped connection, never in a throw', () => {
  const chunk = fc.oneof(
    fc.uint8Array({ maxLength: 100 }),
    fc.constantFrom(
      encoded([featuresOf(86, 101)], freshContext()),
      encoded([{ packet: 'P_INITIAL_DATA', volume: 0 }], freshContext()),
      encoded([{ packet: 'P_INITIAL_META', volume: 0 }], freshContext()),
      encoded([write(1, 512), barrier], CONTEXT_101),
      encoded([{ packet: 'P_PING', volume: 0 }, { packet: 'P_PING_ACK', volume: 0 }, reply], CONTEXT_101),
    ),
  );
  const none = fc.constant(new Uint8Array(0));
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.tuple(fc.constant('bytes' as const), fc.constantFrom(DATA, META, -2, -3), chunk) },
    { weight: 1, arbitrary: fc.tuple(fc.constant('accept' as const), fc.constantFrom(-2, -3), none) },
    { weight: 1, arbitrary: fc.tuple(fc.constant('close' as const), fc.constantFrom(DATA, META, -2, -3), none) },
    { weight: 2, arbitrary: fc.tuple(fc.constant('time' as const), fc.constantFrom(1, 2), none) },
  );
  const phases = new Map<string, number>();
  fc.assert(
    fc.property(fc.constantFrom('new', 'held', 'paired', 'up'), fc.array(step, { maxLength: 30 }), fc.nat(), (from, steps, seed) => {
      const station = from === 'up' ? connectStation() : newStation({ random64: seededRandom(seed) });
      if (from === 'new') pass(station, 0, () => startConnecting(station.core, station.connection));
      if (from === 'held') holdPair(station);
      if (from === 'paired') pairStation(station);
      takeSignals(station);
      const accepted = new Set<number>();
      const gone = new Set<number>();
      let nowUs = 1_000_000;
      for (const [what, which, bytes] of steps) {
        const { session } = station.connection;
        const isKnown = [session.data, session.meta, ...session.unnamed].some((stream) => stream?.id === which);
        if (what === 'bytes' && isKnown && !gone.has(which)) receive(station, nowUs, which, bytes.slice());
        if (what === 'close' && isKnown && !gone.has(which)) {
          gone.add(which);
          input(station, nowUs, { type: 'stream-closed', stream: which, how: 'reset' });
        }
        if (what === 'accept' && !accepted.has(which)) {
          accepted.add(which);
          input(station, nowUs, { type: 'stream-accepted', resource: 'r0', peer: 'peer', stream: which });
        }
        if (what === 'time') runTimers(station, (nowUs += which * 400_000));
      }
      const { phase } = station.connection.session;
      phases.set(phase, (phases.get(phase) ?? 0) + 1);
      const ends = losses(station);
      assert.ok(ends.length <= 1, ends.join());
      assert.is(ends.length === 1, station.connection.session.isOver);
    }),
    { numRuns: 3000 },
  );
  console.log(`phases reached: ${[...phases].map(([phase, count]) => `${phase} ${count}`).join(', ')}`);
});

test('a second open door: a crossing stream replaces the older one of its kind, and too many silent ones are not kept', () => {
  const station = newStation({ random64: () => 1n });
  holdPair(station);
  input(station, 100_000, { type: 'stream-accepted', resource: 'r0', peer: 'peer', stream: -2 });
  const outputs = receive(station, 100_000, -2, encoded([{ packet: 'P_INITIAL_DATA', volume: 0 }], freshContext()));
  assert.equal(ofType(outputs, 'close').map((output) => output.stream), [DATA]);
  assert.is(station.connection.session.data?.id, -2);
  runTimers(station, 599_999);
  assert.is(station.connection.session.phase, 'checking', 'the new pair is watched from its beginning');
  for (let id = -3; id > -8; id--) input(station, 200_000, { type: 'stream-accepted', resource: 'r0', peer: 'peer', stream: id });
  const sixth = input(station, 200_000, { type: 'stream-accepted', resource: 'r0', peer: 'peer', stream: -8 });
  assert.equal(sixth, [{ type: 'close', stream: -8 }]);
});

test('accepted streams that say nothing are dropped after four ping-timeouts', () => {
  const station = newStation({ random64: () => 1n });
  pass(station, 0, () => startConnecting(station.core, station.connection));
  input(station, 0, { type: 'connect-refused', stream: DATA });
  input(station, 0, { type: 'stream-accepted', resource: 'r0', peer: 'peer', stream: -2 });
  input(station, 1_000_000, { type: 'stream-accepted', resource: 'r0', peer: 'peer', stream: -3 });
  assert.equal(ofType(runTimers(station, 2_000_000), 'close').map((output) => output.stream), [-2]);
  assert.equal(ofType(runTimers(station, 3_000_000), 'close').map((output) => output.stream), [-3]);
});

test('positions on the data stream: queued in order, taken by the transport', () => {
  const station = connectStation();
  const { core, connection } = station;
  const before = dataStreamEnd(connection);
  assert.is(before, 88, 'P_INITIAL_DATA and the features packet');
  let first = 0;
  const outputs = pass(station, 1_000_000, () => {
    sendPacket(core, connection, write(1, 4096));
    first = dataStreamEnd(connection);
    sendPacket(core, connection, reply);
    sendPacket(core, connection, barrier);
  });
  assert.is(first, before + 16 + 24 + 4096);
  assert.is(unsentBytes(connection), 16 + 24 + 4096 + 24);
  assert.equal(ofType(outputs, 'send').map((output) => [output.stream, output.pieces.length]), [[DATA, 3], [META, 1]]);
  assert.equal(sentOn(outputs, DATA), encoded([write(1, 4096), barrier], CONTEXT_101));
  takeSignals(station);
  input(station, 1_000_000, { type: 'stream-sent', stream: DATA, bytesTotal: first });
  assert.equal(takeSignals(station).map((signal) => signal.signal), ['bytes-sent']);
  assert.is(dataStreamSent(connection), first);
  assert.is(unsentBytes(connection), 24);
  assert.throws(() => input(station, 1_000_000, { type: 'stream-sent', stream: DATA, bytesTotal: first + 25 }), 'the driver sent');
});

test('two chunks of a stream in one pass', () => {
  const station = connectStation();
  const bytes = encoded([write(1, 4096), barrier, write(2, 512)], CONTEXT_101);
  pass(station, 1_000_000, () => {
    for (const chunk of [bytes.slice(0, 30), bytes.slice(30, 4200), bytes.slice(4200)]) {
      streamInput(station.core, { type: 'stream-received', stream: DATA, bytes: chunk });
    }
  });
  assert.equal(station.packets, [write(1, 4096), barrier, write(2, 512)]);
});

test('a pass that ends with packets unread keeps them', () => {
  const station = connectStation();
  const { core, connection } = station;
  const bytes = encoded([write(1, 512), barrier], CONTEXT_101);
  streamInput(core, { type: 'stream-received', stream: DATA, bytes });
  assert.is(nextPacket(core, connection, 'data')?.packet, 'P_DATA');
  flushSends(core, connection);
  bytes.fill(0xee);
  takePackets(station);
  assert.equal(station.packets, [barrier]);
});

test('knocking: every 8.6 or 11.4 seconds, by a coin', () => {
  const waits = new Set<number>();
  const station = newStation({ random64: seededRandom(5) });
  pass(station, 0, () => startConnecting(station.core, station.connection));
  let lastUs = 0;
  for (let round = 1; round <= 20; round++) {
    input(station, lastUs, { type: 'connect-refused', stream: round });
    const [timer] = [...station.core.state.timers.values()];
    const deadlineUs = timer!.deadlineUs;
    const outputs = runTimers(station, deadlineUs);
    waits.add(Math.round((deadlineUs - lastUs) / 1e5) / 10);
    lastUs = deadlineUs;
    assert.equal(outputs, [{ type: 'connect', stream: round + 1, resource: 'r0', peer: 'peer' }]);
  }
  assert.equal([...waits].sort((a, b) => a - b), [8.6, 11.4]);
});

test('a connect attempt that nobody answers ends after connect-int', () => {
  const station = newStation();
  pass(station, 0, () => startConnecting(station.core, station.connection));
  assert.equal(runTimers(station, 9_999_999), []);
  assert.equal(runTimers(station, 10_000_000), [{ type: 'close', stream: DATA }]);
});

test.run();
