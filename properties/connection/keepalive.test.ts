// The keep-alive's times (timers-and-order.md §1.2; B184), the ping as a fence, streams that do not take our bytes.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { requestPing } from '../../src/connection/keepalive.js';
import { sendPacket } from '../../src/connection/send.js';
import type { Output } from '../../src/contract/output.js';
import type { PingPurpose } from '../../src/model/signals.js';
import type { Packet } from '../../src/wire/packets.js';
import { CONTEXT_101, connectStation, DATA, encoded, input, META, pass } from './station.js';
import { receive, runTimers, sentOn, takeSignals, transportTakesAll } from './station.js';
import type { Station, StationOptions } from './station.js';

/** connectStation ends at this time. */
const READY_US = 500_000;
const SECOND_US = 1_000_000;
const pingBytes = encoded([{ packet: 'P_PING', volume: 0 }], CONTEXT_101);
const ackBytes = encoded([{ packet: 'P_PING_ACK', volume: 0 }], CONTEXT_101);
const barrier: Packet = { packet: 'P_BARRIER', volume: 0, barrier: 1 };
const barrierAck: Packet = { packet: 'P_BARRIER_ACK', volume: 0, barrier: 1, setSize: 1 };

const pings = (outputs: Output[]): number => sentOn(outputs, META).length / pingBytes.length;
const said = (station: Station): string[] =>
  takeSignals(station).flatMap((signal) =>
    signal.signal === 'connection-lost' ? [signal.reason] : signal.signal === 'ping-acknowledged' ? [signal.purpose] : [],
  );
const pingAt = (station: Station, nowUs: number): Output[] => {
  const outputs = runTimers(station, nowUs);
  transportTakesAll(station);
  return outputs;
};

test('silence: a ping after ping-int, an answer within ping-timeout, and again', () => {
  const station = connectStation();
  assert.is(pings(runTimers(station, READY_US + 10 * SECOND_US - 1)), 0);
  assert.is(pings(pingAt(station, READY_US + 10 * SECOND_US)), 1);
  receive(station, READY_US + 10 * SECOND_US + 400_000, META, ackBytes.slice());
  assert.is(pings(runTimers(station, READY_US + 20 * SECOND_US + 399_999)), 0);
  assert.is(pings(pingAt(station, READY_US + 20 * SECOND_US + 400_000)), 1);
  assert.equal(said(station), []);
});

test('no answer: NetworkFailure after ping-timeout', () => {
  const station = connectStation();
  pingAt(station, READY_US + 10 * SECOND_US);
  runTimers(station, READY_US + 10_499_999);
  assert.equal(said(station), []);
  runTimers(station, READY_US + 10_500_000);
  assert.equal(said(station), ['NetworkFailure']);
});

test('traffic on data is life: no ping while it flows, and the wait for an answer is begun anew', () => {
  const station = connectStation();
  let nowUs = READY_US;
  for (let index = 0; index < 8; index++) {
    nowUs += 9 * SECOND_US;
    assert.is(pings(runTimers(station, nowUs)), 0);
    receive(station, nowUs, DATA, encoded([barrier], CONTEXT_101));
  }
  // Bytes on data re-arm the wait when it expires, for its whole duration.
  const outputs = pingAt(station, nowUs + 20 * SECOND_US);
  assert.is(pings(outputs), 1);
  const again = connectStation();
  pingAt(again, READY_US + 10 * SECOND_US);
  receive(again, READY_US + 10_300_000, DATA, encoded([barrier], CONTEXT_101).slice(0, 3));
  runTimers(again, READY_US + 10_999_999);
  assert.equal(said(again), []);
  runTimers(again, READY_US + 11_000_000);
  assert.equal(said(again), ['NetworkFailure']);
});

test('another packet on meta begins the waits anew when it comes, but only the answer ends the wait for it', () => {
  const station = connectStation();
  receive(station, READY_US + 9 * SECOND_US, META, encoded([barrierAck], CONTEXT_101));
  assert.is(pings(runTimers(station, READY_US + 19 * SECOND_US - 1)), 0);
  assert.is(pings(pingAt(station, READY_US + 19 * SECOND_US)), 1);
  receive(station, READY_US + 19_400_000, META, encoded([barrierAck], CONTEXT_101));
  runTimers(station, READY_US + 19_899_999);
  assert.equal(said(station), []);
  runTimers(station, READY_US + 19_900_000);
  assert.equal(said(station), ['NetworkFailure']);
});

test('the peer\'s ping is answered at once', () => {
  const station = connectStation();
  assert.equal(sentOn(receive(station, SECOND_US, META, pingBytes.slice()), META), ackBytes);
});

test('each requested ping is a fence of its own: an earlier answer does not count for it', () => {
  const station = connectStation();
  const { core, connection } = station;
  const request = (purpose: PingPurpose): Output[] => pass(station, SECOND_US, () => requestPing(core, connection, purpose));
  assert.is(pings(request('promote')), 1);
  assert.is(pings(request('resync-finish-target')), 1);
  transportTakesAll(station);
  receive(station, SECOND_US + 1, META, ackBytes.slice());
  assert.equal(said(station), ['promote']);
  receive(station, SECOND_US + 2, META, ackBytes.slice());
  assert.equal(said(station), ['resync-finish-target']);
  receive(station, SECOND_US + 3, META, ackBytes.slice());
  assert.equal(said(station), [], 'an answer that nobody waits for');
});

test('an idle ping that is out does not serve a request either', () => {
  const station = connectStation();
  pingAt(station, READY_US + 10 * SECOND_US);
  pass(station, READY_US + 10_100_000, () => requestPing(station.core, station.connection, 'promote'));
  transportTakesAll(station);
  receive(station, READY_US + 10_200_000, META, ackBytes.slice());
  assert.equal(said(station), []);
  receive(station, READY_US + 10_600_000, META, ackBytes.slice());
  assert.equal(said(station), ['promote']);
  runTimers(station, READY_US + 15 * SECOND_US);
  assert.equal(said(station), []);
});

test('the wait for an answer begins when the transport takes the ping, not before (B184)', () => {
  const station = connectStation();
  runTimers(station, READY_US + 10 * SECOND_US);
  const { queuedBytes } = station.connection.session.meta!;
  input(station, READY_US + 10 * SECOND_US, { type: 'stream-sent', stream: META, bytesTotal: queuedBytes - 1 });
  runTimers(station, READY_US + 13 * SECOND_US);
  assert.equal(said(station), []);
  transportTakesAll(station);
  runTimers(station, READY_US + 13_499_999);
  assert.equal(said(station), []);
  runTimers(station, READY_US + 13_500_000);
  assert.equal(said(station), ['NetworkFailure']);
});

test('a ping that the transport has not taken is not repeated', () => {
  const station = connectStation({ net: { timeout: 600 } });
  assert.is(pings(runTimers(station, READY_US + 45 * SECOND_US)), 1);
  assert.equal(said(station), []);
});

test('ping-int equal to ping-timeout works (B184)', () => {
  const station = connectStation({ net: { pingInt: 1, pingTimeout: 10 } });
  let nowUs = station.core.nowUs;
  for (let index = 0; index < 5; index++) {
    nowUs += SECOND_US;
    assert.is(pings(pingAt(station, nowUs)), 1);
    nowUs += 999_999;
    runTimers(station, nowUs);
    receive(station, nowUs, META, ackBytes.slice());
  }
  assert.equal(said(station), []);
});

interface Stall {
  /** Seconds. */
  lostAfter: number | undefined;
  pings: number;
  reason: string[];
}

/** Sends a packet and lets the transport take nothing more of its stream; pings are answered. */
function stalledFor(options: StationOptions, sendOn: Packet, limitSeconds: number): Stall {
  const station = connectStation(options);
  pass(station, READY_US, () => sendPacket(station.core, station.connection, sendOn));
  let count = 0;
  for (let nowUs = READY_US; nowUs <= READY_US + limitSeconds * SECOND_US; nowUs += 100_000) {
    const outputs = runTimers(station, nowUs);
    const sent = pings(outputs);
    count += sent;
    if (sendOn.packet === 'P_BARRIER') {
      const meta = station.connection.session.meta!;
      input(station, nowUs, { type: 'stream-sent', stream: META, bytesTotal: meta.queuedBytes });
      for (let index = 0; index < sent; index++) receive(station, nowUs, META, ackBytes.slice());
    }
    const reason = said(station);
    if (reason.length > 0) return { lostAfter: (nowUs - READY_US) / SECOND_US, pings: count, reason };
  }
  return { lostAfter: undefined, pings: count, reason: [] };
}

test('data that is not taken: ko-count times timeout, with a ping each time; meta: one timeout', () => {
  assert.equal(stalledFor({}, barrier, 100), { lostAfter: 42, pings: 6, reason: ['Timeout'] });
  assert.is(stalledFor({ net: { koCount: 1 } }, barrier, 100).lostAfter, 6);
  assert.is(stalledFor({ net: { koCount: 0 } }, barrier, 200).lostAfter, undefined);
  assert.is(stalledFor({ net: { timeout: 20 } }, barrier, 100).lostAfter, 14);
  assert.is(stalledFor({}, barrierAck, 100).lostAfter, 6);
});

test('progress on data begins the count anew, and an old timer does not shorten a new wait', () => {
  const station = connectStation({ net: { koCount: 2 } });
  const { core, connection } = station;
  const answerAll = (nowUs: number): void => {
    const { meta } = connection.session;
    if (meta === undefined) return;
    input(station, nowUs, { type: 'stream-sent', stream: META, bytesTotal: meta.queuedBytes });
    while (connection.session.pings.length > 0) receive(station, nowUs, META, ackBytes.slice());
  };
  const run = (untilUs: number): void => {
    for (let nowUs = core.nowUs; nowUs <= untilUs; nowUs += 100_000) {
      runTimers(station, nowUs);
      answerAll(nowUs);
    }
  };
  pass(station, SECOND_US, () => sendPacket(core, connection, barrier));
  pass(station, SECOND_US, () => sendPacket(core, connection, barrier));
  run(11 * SECOND_US);
  assert.equal(said(station), []);
  input(station, 11 * SECOND_US, { type: 'stream-sent', stream: DATA, bytesTotal: connection.session.data!.sentBytes + 1 });
  run(22 * SECOND_US);
  assert.equal(said(station), []);
  run(23 * SECOND_US);
  assert.equal(said(station), ['Timeout'], 'twelve seconds after the last progress');

  const other = connectStation({ net: { koCount: 1 } });
  pass(other, SECOND_US, () => sendPacket(other.core, other.connection, barrier));
  transportTakesAll(other);
  pass(other, 6 * SECOND_US, () => sendPacket(other.core, other.connection, barrier));
  runTimers(other, 11_999_999);
  assert.equal(said(other), []);
  runTimers(other, 12 * SECOND_US);
  assert.equal(said(other), ['Timeout']);
});

test('no timer is set or cleared for a packet', () => {
  const station = connectStation();
  const { core, connection } = station;
  pass(station, SECOND_US, () => sendPacket(core, connection, barrier));
  const timers = core.state.timers;
  let touched = 0;
  const watched = new Proxy(timers, {
    get(target, property) {
      if (property === 'set' || property === 'delete') touched++;
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  core.state.timers = watched;
  for (let index = 0; index < 100; index++) {
    pass(station, SECOND_US + index, () => sendPacket(core, connection, barrier));
    receive(station, SECOND_US + index, META, encoded([barrierAck], CONTEXT_101));
    transportTakesAll(station);
  }
  assert.is(touched, 0);
});

test.run();
