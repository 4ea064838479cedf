// The flight recorder: what it keeps repeats itself to the last byte, a byte that differs is found, and the ring stays in its bounds.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { defaultDiskOptions, defaultNetOptions } from '../../src/config/defaults.js';
import type { Input, ResourceConfig } from '../../src/contract/index.js';
import { decodeRecording, encodeHeader, encodeSegment, isRecording } from '../../src/contract/recording.js';
import { digests } from '../../src/digests/digests.js';
import { createNode } from '../../src/node/index.js';
import { replaySegment } from '../../src/node/replay.js';
import { FlightRecorder } from '../../real/daemon/recorder.js';

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
  recorder = new FlightRecorder(node, ringBytes);
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
  const { inputs, outputs, difference } = replaySegment(segments[0]!, digests);
  assert.is(difference, undefined);
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

test('the ring drops whole segments, and every segment that is left repeats itself', async () => {
  const { segments } = decodeRecording(await written(recorded(2000, 1 << 20), 'ring'));
  assert.ok(segments.length >= 1 && segments.length <= 4, `${segments.length} segments`);
  const kept = segments.flatMap(({ entries }) => entries).filter((entry) => entry.is === 'input').length;
  assert.ok(kept < 2000 * 4, 'something was dropped');
  for (const segment of segments) assert.is(replaySegment(segment, digests).difference, undefined);
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
