// `lockstep dissect` on all recordings: every byte is accounted for, and what it lists is what packets.txt lists.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { dissectCommand, dissectFiles } from '../../reports/dissect/index.js';
import type { Description } from '../../reports/dissect/describe.js';
import { encodePacket } from '../../src/wire/encode.js';
import type { Packet } from '../../src/wire/packets.js';
import { capturedStreams, listedPackets } from './captured-streams.js';

const streams = capturedStreams();

const dissected = (...files: string[]): Description[] => {
  const lines: string[] = [];
  assert.is(dissectCommand(files, (line) => lines.push(line)), 0);
  return lines.map((line) => JSON.parse(line) as Description);
};

test('all recordings: names, places and sizes as in packets.txt, not one byte left out', () => {
  const byFile = new Map<string, Description[]>();
  dissectFiles(streams.map((stream) => stream.path), (description) => {
    const file = description['file'] as string;
    if (!byFile.has(file)) byFile.set(file, []);
    byFile.get(file)!.push(description);
  });
  let listed = 0;
  for (const stream of streams) {
    const found = byFile.get(stream.path) ?? [];
    assert.is(found.reduce((sum, d) => sum + (d['length'] as number), 0), stream.bytes.length, stream.path);
    const expected = listedPackets(stream.folder).get(`${stream.connection} ${stream.direction}`) ?? [];
    assert.equal(
      found.map((d) => [d['packet'], d['offset'], d['volume'], `h${d['header']}`, (d['length'] as number) - (d['header'] === 100 ? 16 : 8)]),
      expected.map((p) => [p.name, p.offset, p.volume, p.header, p.payloadBytes]),
      stream.path,
    );
    assert.not(found.some((d) => 'error' in d || 'note' in d || 'cutOff' in d || d['packet'] === 'unknown'), stream.path);
    listed += expected.length;
  }
  if (streams.length > 0) console.log(`${byFile.size} streams, ${listed} packets`);
});

const inFolder = (check: (folder: string) => void): void => {
  const folder = mkdtempSync(join(tmpdir(), 'dissect-'));
  try {
    check(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
};

const before = { apv: 0, features: 0, digestBytes: 0 };
const after = { apv: 101, features: 15, digestBytes: 0 };
const features = (senderNodeId: number): Packet => ({
  packet: 'P_CONNECTION_FEATURES', volume: 0, protocolMin: 86, protocolMax: 101, flags: 15, senderNodeId, receiverNodeId: 0,
});
const protocol: Packet = {
  packet: 'P_PROTOCOL', volume: 0, protocol: 3, afterSb0Pri: 0, afterSb1Pri: 0, afterSb2Pri: 0, connFlags: 1, twoPrimaries: 0, integrityAlg: 'crc32c',
};
const write: Packet = {
  packet: 'P_DATA', volume: 2, sector: 8, blockId: { high: 0xc0216f8e, low: 5 }, sequence: 1, flags: 258, digest: new Uint8Array(4).fill(9), data: new Uint8Array(512).fill(1),
};
const opening = [...encodePacket({ packet: 'P_INITIAL_DATA', volume: 0 }, before), ...encodePacket(features(0), before)];
const session = Buffer.concat([...opening, ...encodePacket(protocol, after), ...encodePacket(write, { ...after, digestBytes: 4 })]);

test('fields as a person reads them', () =>
  inFolder((folder) => {
    const file = join(folder, 'conn1-data.a-to-b.bin');
    const words: Packet[] = [
      { packet: 'P_UUIDS', volume: 0, current: 0xd567cfe3fc0b0091n, bitmap: 4n, history0: 0n, history1: 0n, dirtyBits: 7, flags: 8 },
      { packet: 'P_STATE', volume: 0, state: 0x0080c89a },
      { packet: 'P_CONN_ST_CHG_REQ', volume: 0, mask: 0x1e03, val: 0x1001 },
      { packet: 'P_CONN_ST_CHG_REQ', volume: 0, mask: 0x1e03, val: 0x1201 },
    ];
    writeFileSync(file, Buffer.concat([session, ...words.flatMap((packet) => encodePacket(packet, after))]));
    writeFileSync(join(folder, 'conn1-data.b-to-a.bin'), Buffer.concat(encodePacket(features(1), before)));
    const found = dissected(file);
    assert.equal(found.map((d) => d['packet']), ['P_INITIAL_DATA', 'P_CONNECTION_FEATURES', 'P_PROTOCOL', 'P_DATA', 'P_UUIDS', 'P_STATE', 'P_CONN_ST_CHG_REQ', 'P_CONN_ST_CHG_REQ']);
    assert.is(found[3]!['digest'], '09090909');
    assert.equal([found[3]!['volume'], found[3]!['offset'], found[3]!['length'], found[3]!['sector']], [2, 135, 16 + 24 + 4 + 512, 8]);
    assert.equal([found[3]!['blockId'], found[3]!['flags'], found[3]!['flagNames']], ['0xc0216f8e00000005', 258, ['RW_SYNC', 'SEND_WRITE_ACK']]);
    assert.is((found[3]!['data'] as Description)['bytes'], 512);
    assert.equal([found[4]!['current'], found[4]!['bitmap'], found[4]!['flagNames']], ['D567CFE3FC0B0091', '0000000000000004', ['SKIP_INITIAL_SYNC']]);
    const { role, peer, conn, disk, pdsk, set, state } = found[5]!;
    assert.equal([state, role, peer, conn, disk, pdsk, set], ['0x0080c89a', 'Secondary', 'Secondary', 'WFReportParams', 'Inconsistent', 'DUnknown', ['quorum']]);
    assert.equal([found[6]!['val'], found[6]!['role'], found[6]!['disk']], ['0x00001001', 'Primary', 'UpToDate']);
    assert.is(found[7]!['unnamed'], true, "DRBD 9's own disk numbers have no name here");
    assert.not(found.some((d) => 'note' in d));
  }));

test('the recorded verify found one bad range', () => {
  const verdicts = dissected(...streams.filter((s) => s.folder.endsWith('/verify-one-bad-block')).map((s) => s.path)).flatMap((d) => d['verdict'] ?? []);
  if (streams.length > 0) assert.equal([verdicts.length, verdicts.filter((v) => v === 'out of sync').length], [4076, 1]);
});

test('a stream that is cut off anywhere ends with an object that says so', () =>
  inFolder((folder) => {
    const file = join(folder, 'conn1-data.a-to-b.bin');
    writeFileSync(join(folder, 'conn1-data.b-to-a.bin'), Buffer.concat(encodePacket(features(1), before)));
    for (const cut of [136, 144, 150, 151, 152, session.length - 1]) {
      writeFileSync(file, session.subarray(0, cut));
      const found = dissected(file);
      const last = found.at(-1)!;
      assert.equal([last['cutOff'], last['offset'], last['length']], [true, 135, cut - 135]);
      assert.equal([last['packet'], last['wholeLength']], cut < 151 ? ['unknown', undefined] : ['P_DATA', 556]);
      assert.not(found.slice(0, -1).some((d) => 'cutOff' in d));
    }
  }));

test('an unknown command is shown and passed over; what was not agreed is assumed, and said', () =>
  inFolder((folder) => {
    const file = join(folder, 'strange.bin');
    writeFileSync(file, Buffer.concat([Buffer.from('8620ec20000300770000000300000000aabbcc', 'hex'), ...encodePacket({ packet: 'P_UNPLUG_REMOTE', volume: 1 }, after)]));
    const [unknown, unplug] = dissected(file);
    assert.equal([unknown!['packet'], unknown!['command'], unknown!['volume'], unknown!['length']], ['unknown', '0x0077', 3, 19]);
    assert.match(unknown!['note'] as string, /protocol 101 and features 0xf assumed/);
    assert.equal([unplug!['packet'], unplug!['volume'], unplug!['note']], ['P_UNPLUG_REMOTE', 1, undefined]);
  }));

test('a folder stands for its streams, conn2 before conn10', () =>
  inFolder((folder) => {
    for (const conn of [10, 2]) writeFileSync(join(folder, `conn${conn}-meta.a-to-b.bin`), Buffer.concat(encodePacket({ packet: 'P_PING', volume: 0 }, after)));
    assert.equal(dissected(folder).map((d) => d['file']), ['conn2-meta.a-to-b.bin', 'conn10-meta.a-to-b.bin'].map((name) => join(folder, name)));
  }));

test('bad files: one line that names the problem', () =>
  inFolder((folder) => {
    const file = join(folder, 'no-stream.bin');
    const problemOf = (path: string): string => {
      try {
        dissected(path);
      } catch (error) {
        return (error as Error).message;
      }
      return 'none';
    };
    assert.match(problemOf(file), /cannot read/);
    assert.match(problemOf(folder), /no \*\.bin file/);
    writeFileSync(file, 'hello, world');
    assert.match(problemOf(file), /no recorded DRBD stream: at byte 0: no packet begins with 68656c6c/);
    writeFileSync(file, Buffer.from('8620ec200000000e0000000500000000', 'hex'));
    assert.match(problemOf(file), /P_STATE cannot have 5 bytes/);
    writeFileSync(file, Buffer.from('8620ec200000000e0000000400000001', 'hex'));
    assert.match(problemOf(file), /pad/);
  }));

test('the command: exit 2 and one line on stderr for a bad file', () => {
  const command = fileURLToPath(new URL('../../reports/lockstep.js', import.meta.url));
  if (!existsSync(command)) return console.log('skipped: the lockstep command is not built');
  try {
    execFileSync(process.execPath, [command, 'dissect', '/nowhere.bin'], { encoding: 'utf8', stdio: 'pipe' });
    assert.unreachable();
  } catch (error) {
    const { status, stderr, stdout } = error as { status: number; stderr: string; stdout: string };
    assert.equal([status, stdout], [2, '']);
    assert.match(stderr, /^lockstep: .*\/nowhere\.bin.*\n$/);
  }
});

test.run();
