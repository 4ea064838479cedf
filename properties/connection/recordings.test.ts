// One side of each recorded conversation played back to us: the handshake of the kernel and of DRBD 9 gets us to
// streams-ready, and all that follows is taken packet by packet, however it is cut.

import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { expectReceived } from '../../src/connection/integrity.js';
import { startConnecting } from '../../src/connection/establish.js';
import { OWN_FEATURES } from '../../src/connection/handshake.js';
import { agreedBy, capturedStreams, listedPackets } from '../wire/captured-streams.js';
import type { CapturedStream } from '../wire/captured-streams.js';
import { input, newStation, pass, receive, runTimers, takeSignals } from './station.js';
import type { Station } from './station.js';

interface RecordedConnection {
  conn: number;
  kind: string;
  connected_by: string;
  t: number;
}

/** What one node heard on one connection: the bytes, and whether the speaker opened the stream. */
interface Heard {
  data: CapturedStream;
  isDataAccepted: boolean;
  meta: CapturedStream | undefined;
  isMetaAccepted: boolean;
}

const streams = capturedStreams();

/** Each direction of each data connection that got as far as features in both, with the meta connection made at the same time. */
function conversations(): Heard[] {
  return streams.flatMap((data) => {
    if (data.kind !== 'data' || agreedBy(data, streams) === undefined) return [];
    const connections = JSON.parse(readFileSync(join(data.folder, 'connections.json'), 'utf8')) as RecordedConnection[];
    const speaker = data.direction.split('-to-')[0]!;
    const own = connections.find(({ conn }) => `conn${conn}-data` === data.connection)!;
    const [near] = connections.filter(({ kind }) => kind === 'meta').sort((a, b) => Math.abs(a.t - own.t) - Math.abs(b.t - own.t));
    const meta = streams.find((s) => s.folder === data.folder && s.connection === `conn${near?.conn}-meta` && s.direction === data.direction);
    return [{ data, isDataAccepted: own.connected_by === speaker, meta, isMetaAccepted: near?.connected_by === speaker }];
  });
}

/** A pair of streams, opened from the sides that the recording says. Returns their ids. */
function open(station: Station, heard: Heard): { data: number; meta: number } {
  const { core, connection } = station;
  const accept = (stream: number): void => {
    input(station, core.nowUs, { type: 'stream-accepted', resource: 'r0', peer: 'peer', stream });
  };
  const connect = (): number => {
    const { attempt } = connection.session;
    if (attempt === undefined) runTimers(station, core.nowUs + 12_000_000);
    const stream = connection.session.attempt!;
    input(station, core.nowUs, { type: 'stream-connected', stream });
    return stream;
  };
  pass(station, 0, () => startConnecting(core, connection));
  let data = -1;
  if (heard.isDataAccepted) {
    accept(-1);
    receive(station, 0, -1, heard.data.bytes.slice(0, 8));
  } else data = connect();
  let meta = -2;
  if (heard.isMetaAccepted) {
    accept(-2);
    receive(station, core.nowUs, -2, Uint8Array.of(0x83, 0x74, 0x02, 0x67, 0xff, 0xf1, 0, 0));
  } else meta = connect();
  runTimers(station, core.nowUs + 500_000);
  assert.is(connection.session.phase, 'handshake');
  assert.is(connection.resolveConflicts, heard.isMetaAccepted);
  return { data, meta };
}

function feedCut(station: Station, stream: number, bytes: Uint8Array, cut: number): void {
  for (let start = 0; start < bytes.length; start += cut) receive(station, station.core.nowUs, stream, bytes.slice(start, start + cut));
}

/** What the connection room keeps to itself (0x59 is P_ENABLE_REPLICATION). */
const OWN_PACKETS = /^P_(INITIAL_|CONNECTION_FEATURES|PING|UNPLUG_REMOTE|DELAY_PROBE|ENABLE_REPLICATION|.*0x0*59)/;

const listOf = new Map<string, ReturnType<typeof listedPackets>>();
function listed(stream: CapturedStream): string[] {
  const lists = listOf.get(stream.folder) ?? listedPackets(stream.folder);
  listOf.set(stream.folder, lists);
  return (lists.get(`${stream.connection} ${stream.direction}`) ?? [])
    .filter((packet) => packet.offset + (packet.header === 'h100' ? 16 : 8) + packet.payloadBytes <= stream.bytes.length)
    .map((packet) => packet.name)
    .filter((name) => !OWN_PACKETS.test(name));
}

function play(heard: Heard, cut: number, limitBytes: number): number {
  const station = newStation();
  // As the receiver of P_PROTOCOL will: the peer's data carries digests from here on.
  station.onPacket = (packet) => {
    if (packet.packet === 'P_PROTOCOL') assert.ok(expectReceived(station.core, station.connection, packet.integrityAlg!));
  };
  const ids = open(station, heard);
  takeSignals(station);
  feedCut(station, ids.data, heard.data.bytes.slice(heard.isDataAccepted ? 8 : 0, limitBytes), cut);
  if (heard.meta !== undefined) feedCut(station, ids.meta, heard.meta.bytes.slice(heard.isMetaAccepted ? 8 : 0, limitBytes), cut);
  const signals = takeSignals(station);
  const where = `${basename(heard.data.folder)} ${heard.data.connection} ${heard.data.direction} cut ${cut}`;
  const ends = signals.flatMap((signal) => (signal.signal === 'connection-lost' ? [`${signal.reason}: ${signal.detail}`] : []));
  if (heard.data.folder.includes('version-min') && heard.data.direction.startsWith('bob')) {
    // A DRBD 9 that talks 118 and newer: it begins with a header that only those have.
    assert.match(ends.join(), 'ProtocolError: a header that begins 8620ec20', where);
    return 0;
  }
  assert.is(signals[0]?.signal, 'streams-ready', where);
  assert.equal([station.connection.protocolVersion, station.connection.features], [101, OWN_FEATURES], where);
  const names = station.packets.map((packet) => packet.packet as string);
  if (heard.data.folder.includes('auth-')) {
    assert.equal(ends, ['ProtocolError: unexpected P_AUTH_CHALLENGE'], where);
    return names.length;
  }
  assert.equal(ends, [], where);
  if (limitBytes === Infinity) assert.equal(names, [...listed(heard.data), ...(heard.meta === undefined ? [] : listed(heard.meta))], where);
  return names.length;
}

test('the recorded peers reach streams-ready with us, and every packet is taken', () => {
  const heard = conversations();
  let packets = 0;
  for (const one of heard) {
    packets += play(one, 65_536, Infinity);
    play(one, 1460, 200_000);
    play(one, 1, 1500);
  }
  console.log(`${heard.length} conversations, ${packets} packets taken`);
  if (streams.length > 0) assert.ok(heard.length > 200);
});

test.run();
