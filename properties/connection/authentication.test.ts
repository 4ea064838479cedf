// The peer shows that it knows the secret, or nothing comes of the connection (B181, B182, B183): each step, each wrong answer,
// and the recorded kernels as witnesses of both sides.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { digests } from '../../src/digests/digests.js';
import { freshContext } from '../../src/wire/context.js';
import type { Packet } from '../../src/wire/packets.js';
import { piecesOf } from '../../reports/dissect/stream.js';
import { capturedStreams, type CapturedStream } from '../wire/captured-streams.js';
import { CONTEXT_101, DATA, META, encoded, featuresOf, newStation, pairStation, receive, runTimers, seededRandom, sentOn, takeSignals, type Station } from './station.js';

const secret = new TextEncoder().encode('swordfish');
const net = { cramHmacAlg: 'sha1', sharedSecret: 'swordfish' };
const fresh = freshContext();
const theirChallenge = new Uint8Array(64).fill(7);
const challenge = (bytes: Uint8Array): Packet => ({ packet: 'P_AUTH_CHALLENGE', volume: 0, challenge: bytes });
const response = (bytes: Uint8Array): Packet => ({ packet: 'P_AUTH_RESPONSE', volume: 0, response: bytes });
const state: Packet = { packet: 'P_STATE', volume: 0, state: 0x8000 };

interface Begun {
  station: Station;
  /** What we sent on data, from our features on. */
  sent: Uint8Array[];
}

/** Up to where our challenge is out. */
function begin(peerMax = 101): Begun {
  const station = newStation({ net, random64: seededRandom(3) });
  const before = sentOn(pairStation(station), DATA).slice(8);
  const after = sentOn(receive(station, 600_000, DATA, encoded([featuresOf(86, peerMax)], fresh)), DATA);
  return { station, sent: [before, after] };
}

const ourChallenge = ({ sent }: Begun): Uint8Array => sent[1]!.slice(-64);
const rightResponse = (begun: Begun): Packet => response(digests.hmac('sha1', secret, [ourChallenge(begun)])!);
const give = ({ station }: Begun, atUs: number, ...packets: Packet[]): Uint8Array => sentOn(receive(station, atUs, DATA, encoded(packets, CONTEXT_101)), DATA);

const told = (station: Station): string[] =>
  takeSignals(station).map((signal) => signal.signal + ('reason' in signal ? ` ${signal.reason}` : '') + ('detail' in signal ? `: ${signal.detail}` : ''));

test('challenge, response, and then the session is up; what follows the response is read after it', () => {
  const begun = begin();
  assert.is(begun.sent[1]!.length, 16 + 64);
  assert.equal(told(begun.station), []);
  const answer = give(begun, 700_000, challenge(theirChallenge));
  assert.equal(answer.slice(16), digests.hmac('sha1', secret, [theirChallenge]));
  assert.equal(told(begun.station), []);
  give(begun, 800_000, rightResponse(begun), state);
  assert.equal(told(begun.station), ['streams-ready', 'packets-waiting']);
  assert.equal(begun.station.packets, [state]);
});

test('a challenge of up to 128 bytes is answered whole', () => {
  const begun = begin();
  const long = new Uint8Array(128).map((_, at) => at);
  assert.equal(give(begun, 700_000, challenge(long)).slice(16), digests.hmac('sha1', secret, [long]));
});

test('every way of the peer to be somebody else, and what comes of it', () => {
  const cases: [why: string, say: (begun: Begun) => Packet[], expected: RegExp][] = [
    ['our own challenge (B182)', (begun) => [challenge(ourChallenge(begun))], /^connection-refused: our own challenge came back$/],
    ['our own challenge and more', (begun) => [challenge(Uint8Array.of(...ourChallenge(begun), 1, 2, 3))], /^connection-refused: our own challenge came back$/],
    ['state before anything else (B181)', () => [state], /^connection-refused: the peer does not authenticate itself: P_STATE$/],
    ['a response before a challenge', (begun) => [rightResponse(begun)], /^connection-refused: .*P_AUTH_RESPONSE$/],
    ['features again', () => [featuresOf(86, 101)], /^connection-refused: .*P_CONNECTION_FEATURES$/],
    ['the wrong secret', () => [challenge(theirChallenge), response(new Uint8Array(20))], /^connection-refused: Authentication of peer failed$/],
    ['our own response', () => [challenge(theirChallenge), response(digests.hmac('sha1', secret, [theirChallenge])!)], /^connection-refused: Authentication of peer failed$/],
    ['no response', () => [challenge(theirChallenge), response(new Uint8Array(0))], /^connection-lost ProtocolError: .*P_AUTH_RESPONSE$/],
    ['another digest', () => [challenge(theirChallenge), response(new Uint8Array(32))], /^connection-lost ProtocolError: .*P_AUTH_RESPONSE$/],
    ['state instead of a response', () => [challenge(theirChallenge), state], /^connection-lost ProtocolError: .*P_STATE$/],
    ['a second challenge', () => [challenge(theirChallenge), challenge(theirChallenge)], /^connection-lost ProtocolError: .*P_AUTH_CHALLENGE$/],
  ];
  for (const [why, say, expected] of cases) {
    const begun = begin();
    give(begun, 700_000, ...say(begun), state);
    const signals = told(begun.station);
    assert.is(signals.length, 1, why);
    assert.match(signals[0]!, expected, why);
    assert.equal(begun.station.packets, [], `${why}: nothing got through`);
  }
});

test('a challenge that is too short or too long is refused', () => {
  for (const length of [0, 63, 129]) {
    const begun = begin();
    const bytes = encoded([challenge(new Uint8Array(64))], CONTEXT_101);
    new DataView(bytes.buffer).setUint32(8, length);
    receive(begun.station, 700_000, DATA, bytes);
    assert.equal(told(begun.station), [`connection-refused: P_AUTH_CHALLENGE with a payload of ${length} bytes`]);
  }
});

test('silence at each step: Timeout after four ping-timeouts, counted anew from each step', () => {
  for (const steps of [0, 1]) {
    const begun = begin();
    if (steps === 1) give(begun, 2_500_000, challenge(theirChallenge));
    const sinceUs = steps === 1 ? 2_500_000 : 600_000;
    runTimers(begun.station, sinceUs + 2_000_000 - 1);
    assert.equal(told(begun.station), []);
    runTimers(begun.station, sinceUs + 2_000_000);
    assert.match(told(begun.station)[0]!, /^connection-lost Timeout/);
  }
  const done = begin();
  give(done, 700_000, challenge(theirChallenge), rightResponse(done));
  runTimers(done.station, 60_000_000);
  assert.equal(told(done.station), ['streams-ready'], 'the wait is over when it is over');
});

test('meta packets that come early wait; an end of a stream is a loss', () => {
  const begun = begin();
  const early: Packet = { packet: 'P_BARRIER_ACK', volume: 0, barrier: 7, setSize: 1 };
  receive(begun.station, 650_000, META, encoded([early], CONTEXT_101));
  assert.equal([told(begun.station), begun.station.packets], [[], []]);
  give(begun, 700_000, challenge(theirChallenge), rightResponse(begun));
  assert.equal(begun.station.packets, [early]);
});

test('whatever way it is cut, and at every version', () => {
  for (const [peerMax, context] of [[86, { apv: 86, features: 4, digestBytes: 0 }], [97, { apv: 97, features: 4, digestBytes: 0 }], [101, CONTEXT_101]] as const) {
    const begun = begin(peerMax);
    const bytes = encoded([challenge(theirChallenge), rightResponse(begun), state], context);
    for (let at = 0; at < bytes.length; at++) receive(begun.station, 700_000 + at, DATA, bytes.slice(at, at + 1));
    assert.equal(begun.station.packets, [state], `protocol ${peerMax}`);
  }
});

// ---- Recorded kernels ------------------------------------------------------------------------------------------------------

const packetsOf = (stream: CapturedStream): Packet[] =>
  [...piecesOf(stream.bytes, { apv: 101, features: 15, digestBytes: 0 })].flatMap((piece) => (piece.kind === 'packet' ? [piece.packet] : []));

const challengeOf = (packets: Packet[]): Uint8Array => packets.flatMap((packet) => (packet.packet === 'P_AUTH_CHALLENGE' ? [packet.challenge] : []))[0]!;
const responseOf = (packets: Packet[]): Uint8Array => packets.flatMap((packet) => (packet.packet === 'P_AUTH_RESPONSE' ? [packet.response] : []))[0]!;

/** We take one side's place, with its challenge and this secret, and hear what its peer said. */
function standIn(own: Packet[], peer: Packet[], sharedSecret: string): { signals: string[]; response: Uint8Array } {
  const words = new DataView(challengeOf(own).slice().buffer);
  let drawn: number | undefined;
  const station = newStation({ net: { cramHmacAlg: 'sha1', sharedSecret }, random64: () => (drawn === undefined ? 0n : words.getBigUint64(8 * drawn++)) });
  pairStation(station);
  drawn = 0;
  receive(station, 600_000, DATA, encoded([featuresOf(86, 101)], fresh));
  const answer = sentOn(receive(station, 600_000, DATA, encoded([challenge(challengeOf(peer))], CONTEXT_101)), DATA);
  receive(station, 600_000, DATA, encoded([response(responseOf(peer))], CONTEXT_101));
  return { signals: told(station), response: answer.slice(16) };
}

test('in the place of either recorded kernel we answer as it did, and judge its peer as it did', () => {
  const streams = capturedStreams();
  const of = (folder: string): [Packet[], Packet[]] | undefined => {
    const both = streams.filter((stream) => stream.folder.endsWith(folder) && stream.kind === 'data' && stream.bytes.length > 80);
    return both.length === 2 ? [packetsOf(both[0]!), packetsOf(both[1]!)] : undefined;
  };
  const right = of('captures/auth-sha1');
  const wrong = of('captures/auth-wrong-secret');
  if (right === undefined || wrong === undefined) return assert.is(streams.length, 0, 'the recordings are not there');
  for (const [own, peer] of [right, [right[1], right[0]]] as const) {
    const { signals, response: ours } = standIn(own, peer, 'FooFunFactory');
    assert.equal(signals, ['streams-ready']);
    assert.equal(ours, responseOf(own));
  }
  for (const [own, peer, ours, theirs] of [[...wrong, 'right-secret', 'wrong-secret'], [wrong[1], wrong[0], 'wrong-secret', 'right-secret']] as const) {
    assert.equal(standIn(own, peer, ours).signals, ['connection-refused: Authentication of peer failed']);
    assert.equal(standIn(own, peer, theirs).signals, ['streams-ready'], 'with the secret of the peer it would have gone on');
  }
});

test.run();
