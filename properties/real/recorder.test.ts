// The flight recorder: what it keeps repeats itself to the last byte, a byte that differs is found, and the ring stays in its bounds.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { defaultDiskOptions, defaultNetOptions } from '../../src/config/defaults.js';
import type { Input, Node, ResourceConfig } from '../../src/contract/index.js';
import { decodeRecording, encodeHeader, encodeSegment, isRecording, type RecordedEntry } from '../../src/contract/recording.js';
import { digests } from '../../src/digests/digests.js';
import { createNode } from '../../src/node/index.js';
import { replaySegment } from '../../src/node/replay.js';
import { Arena } from '../../real/arena.js';
import { FlightRecorder } from '../../real/daemon/recorder.js';
import { replayRecording } from '../../reports/replay-recording.js';
import { UsageError } from '../../sim/types.js';

const folder = mkdtempSync(join(tmpdir(), 'lockstep-recorder-'));
test.after(() => rmSync(folder, { recursive: true }));

const config = (resource: string): ResourceConfig => ({
  resource,
  volumes: [{ volume: 0, minor: 0, metaDisk: { kind: 'internal' }, disk: { ...defaultDiskOptions }, sizeSectors: 0 }],
  peers: [{ name: 'beta', net: { ...defaultNetOptions } }],
  onNoDataAccessible: 'io-error',
  handlers: [],
  membership: { intervalMs: 100, deadTimeMs: 1000 },
  protocolMin: 86,
  protocolMax: 101,
});

/** A core with some life in it, recorded; the same bytes are lent again and again, as a driver does. */
function recorded(passes: number, ringBytes: number): FlightRecorder {
  let drawn = 0n;
  let recorder: FlightRecorder | undefined = undefined as FlightRecorder | undefined;
  const random64 = (): bigint => {
    drawn += 0x1234567890n;
    recorder?.drawn(drawn);
    return drawn;
  };
  const node = createNode('alpha', { ...digests, random64 });
  recorder = new FlightRecorder(node, ringBytes, new Arena());
  const lent = new Uint8Array(4096);
  let nowUs = 0;
  const hand = (input: Input): void => {
    recorder.input(input, nowUs);
    node.handle(input, nowUs);
  };
  for (let pass = 0; pass < passes; pass++) {
    nowUs += 50_000;
    if (pass % 10 === 0) hand({ type: 'command', id: pass + 1, command: { verb: 'new-resource', config: config(`r${pass % 50}`) } });
    if (pass % 10 === 5) hand({ type: 'command', id: pass + 1, command: { verb: 'connect', resource: `r${pass % 50 - 5}`, peer: 'beta', discardMyData: false, tentative: false } });
    hand({ type: 'membership-received', from: 'beta', bytes: lent.fill(pass, 0, 40).subarray(0, 40) });
    hand({ type: 'app-write', resource: 'r0', volume: 0, id: pass, sector: 0, data: lent.fill(pass), fua: false });
    hand({ type: 'woken' });
    hand({ type: 'pass-ended' });
    recorder.outputs(node.outputs());
    lent.fill(0xee);
  }
  return recorder;
}

async function written(recorder: FlightRecorder, name: string): Promise<Uint8Array> {
  const path = join(folder, name);
  const { bytes } = await recorder.write(path);
  const content = new Uint8Array(readFileSync(path));
  assert.is(content.length, bytes);
  recorder.writeNow(`${path}.now`);
  assert.is(Buffer.compare(readFileSync(`${path}.now`), content), 0);
  return content;
}

test('what was recorded repeats itself to the last byte', async () => {
  const { header, segments } = decodeRecording(await written(recorded(300, 1 << 30), 'whole'));
  assert.is(header.node, 'alpha');
  assert.is(segments.length, 1);
  const { inputs, outputs, difference, broken } = replaySegment(segments[0]!, digests);
  assert.is(difference, undefined);
  assert.is(broken, undefined);
  assert.ok(inputs > 900 && outputs > 600, `${inputs} inputs, ${outputs} outputs`);
});

test('a byte, an output, or an input that differs is found', async () => {
  const bytes = await written(recorded(60, 1 << 30), 'changed');
  const fresh = () => decodeRecording(bytes).segments[0]!;
  const outputsOf = (segment: ReturnType<typeof fresh>) => segment.entries.flatMap((entry) => (entry.is === 'outputs' ? [entry] : []));

  const changed = fresh();
  const heartbeat = outputsOf(changed).flatMap(({ outputs }) => outputs.flatMap((output) => (output.type === 'membership-send' ? [output] : [])))[5]!;
  heartbeat.bytes[3]! ^= 1;
  assert.is(replaySegment(changed, digests).difference?.recorded?.type, 'membership-send');

  const missing = fresh();
  const entry = outputsOf(missing).at(-1)!;
  entry.outputs = entry.outputs.slice(0, -1);
  assert.is(replaySegment(missing, digests).difference?.recorded, undefined);

  const without = fresh();
  without.entries.splice(without.entries.findIndex((one) => one.is === 'input' && one.input.type === 'command'), 1);
  assert.ok(replaySegment(without, digests).difference);
});

/** `lockstep replay` of these bytes: its exit code and words. */
function replayed(name: string, bytes: Uint8Array): { code: number; out: string } {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  const lines: string[] = [];
  return { code: replayRecording(path, { out: (line) => lines.push(line) }), out: lines.join('\n') };
}

test('lockstep replay: identical, another output, a broken core, a damaged file', async () => {
  const bytes = await written(recorded(60, 1 << 30), 'original');
  const whole = replayed('same', bytes);
  assert.is(whole.code, 0);
  assert.match(whole.out, /[1-9]\d* inputs repeated: [1-9]\d* outputs are identical to the last byte/);

  /** The same recording with other entries. */
  const changed = (change: (entries: RecordedEntry[]) => RecordedEntry[]): Uint8Array => {
    const { header, segments } = decodeRecording(bytes);
    return Buffer.concat([encodeHeader(header), ...segments.map(({ snapshot, entries }) => encodeSegment({ snapshot, entries: change(entries) }))]);
  };
  const later = replayed('later', changed((entries) => entries.filter((entry) => entry.is !== 'input' || entry.input.type !== 'woken' || entry.nowUs > 1_000_000)));
  assert.is(later.code, 4, later.out);
  assert.match(later.out, /^DIFFERS in segment 0, after \d+ inputs \(at \d+ µs\), output \d+:$/m);

  // An operation that nobody began: the core says that its driver is broken.
  const impossible: RecordedEntry = { is: 'input', nowUs: 10 ** 9, input: { type: 'disk-done', op: 12345 } };
  const broken = replayed('broken', changed((entries) => [...entries, impossible]));
  assert.is(broken.code, 1, broken.out);
  assert.match(broken.out, /^BREAKS in segment 0, with input \d+ \(disk-done, at 1000000000 µs\); there the recording ends:$/m);
  const early = replayed('early', changed((entries) => [...entries.slice(0, 50), { ...impossible, nowUs: 10 ** 6 }, ...entries.slice(50)]));
  assert.is(early.code, 4, early.out);
  assert.match(early.out, /with input \d+ \(disk-done, .*; the recorded one went on:$/m);

  // Every byte that is damaged is found, wherever it is, and the core is not blamed.
  for (let at = 8; at < bytes.length; at += 1 + Math.floor(bytes.length / 200)) {
    const damaged = bytes.slice();
    damaged[at]! ^= 0x10;
    assert.throws(() => replayed('damaged', damaged), (error: Error) => error instanceof UsageError && /damaged' cannot be read: (a byte was changed|it ends in a part|its format|it ends in a length)/.test(error.message), `byte ${at}`);
  }
  const old = bytes.slice();
  old[7] = 1;
  assert.throws(() => replayed('old', old), /its format is version 1, and this is 2/);
});

test('the ring drops whole segments, and every segment that is left repeats itself', async () => {
  const { segments } = decodeRecording(await written(recorded(2000, 1 << 20), 'ring'));
  assert.ok(segments.length >= 1 && segments.length <= 4, `${segments.length} segments`);
  const kept = segments.flatMap(({ entries }) => entries).filter((entry) => entry.is === 'input').length;
  assert.ok(kept < 2000 * 4, 'something was dropped');
  for (const { difference, broken } of segments.map((segment) => replaySegment(segment, digests))) assert.ok(!difference && !broken);
});

test('the memory of segments that have gone is used again, but not under a recording that is being written', async () => {
  const node = { name: 'alpha', snapshot: () => new Uint8Array(1000) } as unknown as Node;
  const arena = new Arena();
  const recorder = new FlightRecorder(node, 8 << 20, arena);
  const lent = new Uint8Array(64 << 10);
  let id = 0;
  const write = (requests: number): void => {
    for (let request = 0; request < requests; request++) {
      id++;
      recorder.input({ type: 'app-write', resource: 'r0', volume: 0, id, sector: 0, data: lent.fill(id % 251), fua: false }, id);
      recorder.outputs([]);
      arena.reclaim();
      lent.fill(0xee);
    }
  };
  write(1000);
  const path = join(folder, 'meanwhile');
  const writing = recorder.write(path);
  for (let turn = 0; turn < 20; turn++) {
    write(100);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await writing;
  const { segments } = decodeRecording(new Uint8Array(readFileSync(path)));
  let seen = 0;
  for (const { entries } of segments) {
    for (const entry of entries) {
      if (entry.is !== 'input' || entry.input.type !== 'app-write') continue;
      seen++;
      const { id: of, data } = entry.input;
      assert.ok(data.every((byte) => byte === of % 251), `request ${of}`);
    }
  }
  assert.ok(seen > 20 && seen < id, `${seen} of ${id}`);
});

test('what is no recording is refused', () => {
  const good = Buffer.concat([encodeHeader({ node: 'alpha' }), encodeSegment({ snapshot: new Uint8Array([1, 2]), entries: [] })]);
  assert.ok(isRecording(good));
  decodeRecording(good);
  for (let length = 0; length < good.length; length++) {
    try {
      // A cut between two parts is a shorter recording.
      decodeRecording(good.subarray(0, length));
    } catch (error) {
      assert.instance(error, RangeError);
    }
  }
  writeFileSync(join(folder, 'text'), '{"format":1}');
  assert.not.ok(isRecording(readFileSync(join(folder, 'text'))));
});

test.run();
