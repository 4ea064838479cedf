/**
 * The judges, on images of a perfect disk made from the traces of the project and, where there are, the shared ones: what the
 * log holds at an acknowledged point passes, an image that lacks a step or is damaged does not.
 */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { closeSync, existsSync, openSync, readSync, readdirSync, rmSync, writeSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { applyEntries, readDmLog } from '../../sim/workloads/dmlog.js';
import type { JudgeVerdict, SurvivorImage } from '../../sim/types.js';
import { checkImage, checkPlain, judgeRecorded, writePlainImage } from '../../scenarios/judges/index.js';
import { leadingEntries } from '../../scenarios/judges/prefix.js';
import { fileSteps } from '../../scenarios/judges/files.js';
import { Unavailable, toolPath, withMounted, withTemporaryFolder } from '../../scenarios/judges/tools.js';
import { type TraceInfo, readTraceInfo } from '../../scenarios/traces.js';

const OWN = ['scenarios/traces/ext2-fsck.dmlog.gz', 'scenarios/traces/ext4-journal.dmlog.gz'];
const SHARED = join(resolve(process.env['LOCKSTEP_SHARED'] ?? '../shared'), 'traces');
const shared = existsSync(SHARED) ? readdirSync(SHARED).filter((name) => name.endsWith('.dmlog.gz')).map((name) => join(SHARED, name)) : [];
if (shared.length === 0) console.log(`skipped: no traces in ${SHARED}, the judges see the project's own only`);

/** The tools and the rights that a check needs; otherwise it is skipped, and says so. */
function available(): boolean {
  try {
    for (const tool of ['e2fsck', 'losetup', 'mount']) toolPath(tool);
    return withTemporaryFolder((folder) => {
      const path = join(folder, 'image');
      writePlainImage(OWN[0]!, readTraceInfo(OWN[0]!), 16, path);
      withMounted(path, folder, 'ext2', 'ro', () => {});
      return true;
    });
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    console.log(`skipped: no image can be checked here (${error.message})`);
    return false;
  }
}
const canCheck = available();

const survivor = (trace: string, info: TraceInfo, held: number, acknowledged: number, spoil?: (path: string) => void): SurvivorImage => ({
  host: 'bob',
  sizeBytes: info.deviceBytes,
  writeTo(path) {
    writePlainImage(trace, info, held, path);
    spoil?.(path);
  },
  acknowledgedEntries: acknowledged,
  seed: 1,
});

/** An acknowledged point in the middle of the log. */
const middle = (info: TraceInfo): number => info.acks[Math.floor(info.acks.length / 2)]!.entry;

const judge = (trace: string, image: SurvivorImage, protocol = 'C'): JudgeVerdict => judgeRecorded(image, { trace, protocol });

if (canCheck) {
  for (const trace of [...OWN, ...shared]) {
    const info = readTraceInfo(trace);
    test(`${trace}: what a perfect disk holds passes`, () => {
      const verdict = judge(trace, survivor(trace, info, middle(info), middle(info)));
      if (verdict.verdict === 'unchecked') return console.log(`skipped: ${verdict.detail}`);
      assert.is(verdict.verdict, 'passed', verdict.detail);
    });

    test(`${trace}: a step that was acknowledged and is not there fails`, () => {
      // The image is older than what was acknowledged by a good number of steps.
      const at = Math.floor(info.acks.length / 2);
      const held = info.acks[at]!.entry;
      const verdict = judge(trace, survivor(trace, info, held, info.acks[Math.min(at + 12, info.acks.length - 2)]!.entry));
      if (verdict.verdict === 'unchecked') return console.log(`skipped: ${verdict.detail}`);
      assert.is(verdict.verdict, 'failed', verdict.detail);
    });
  }

  test('protocol A: the older state that is there is judged, not the acknowledged one', () => {
    const trace = OWN[0]!;
    const info = readTraceInfo(trace);
    const verdict = judge(trace, survivor(trace, info, 300, 340), 'A');
    assert.is(verdict.verdict, 'passed');
    assert.match(verdict.detail, /up to entry (29\d|30\d) of 591/);
  });

  test('protocol A: bytes that nobody wrote fail', () => {
    const trace = OWN[0]!;
    const info = readTraceInfo(trace);
    const spoil = (path: string): void => overwrite(path, 264 * 512 + 100, 10);
    assert.match(judge(trace, survivor(trace, info, 300, 300, spoil), 'A').detail, /sector 264 holds what no entry/);
  });

  test('a damaged directory fails, with the name of what is missing', () => {
    const trace = OWN[1]!;
    const info = readTraceInfo(trace);
    withTemporaryFolder((folder) => {
      const path = join(folder, 'image');
      writePlainImage(trace, info, info.entries, path);
      // Every inode table and directory that the log wrote to in its last quarter.
      for (const entry of readDmLog(trace).entries.slice(Math.floor((info.entries * 3) / 4))) if (entry.sectors === 2) overwrite(path, entry.sector * 512, 1024);
      assert.type(checkImage(info, path, folder, info.entries), 'string');
    });
  });

  test('where a perfect disk fails as well the run is excused', () => {
    const trace = OWN[1]!;
    const info = readTraceInfo(trace);
    // Before mkfs is through there is no filesystem.
    const entries = 3;
    assert.type(checkPlain(trace, info, entries), 'string');
    const verdict = judge(trace, survivor(trace, info, entries, entries));
    assert.is(verdict.verdict, 'excused');
    assert.match(verdict.detail, /a perfect disk at entry 3 fails as well/);
  });
}

test('a tool that is missing makes the run unchecked, and the image is kept', () => {
  const trace = OWN[1]!;
  const info = readTraceInfo(trace);
  const { PATH } = process.env;
  // The search path of the tools is looked up once for each name; a tool of that name exists nowhere.
  assert.throws(() => toolPath('e2fsck-of-another-world'), /e2fsck-of-another-world is missing/);
  process.env['PATH'] = PATH;
  if (process.getuid?.() === 0) return;
  const verdict = judge(trace, survivor(trace, info, 500, 500));
  assert.is(verdict.verdict, 'unchecked');
  const path = /image written to (\S+), not checked: /.exec(verdict.detail)?.[1];
  assert.ok(path !== undefined && existsSync(path));
  rmSync(path);
});

test('steps: the last acknowledged state of each file counts, the file in progress does not', () => {
  const acks = [
    { entry: 1, ack: 'mkfs' as const },
    { entry: 5, ack: 'file' as const, name: 'a', size: 1, head: 'a' },
    { entry: 7, ack: 'file' as const, name: 'a', size: 2, head: 'b' },
    { entry: 9, ack: 'removed' as const, name: 'b' },
    { entry: 12, ack: 'file' as const, name: 'a', size: 3, head: 'c' },
  ];
  assert.equal(fileSteps(acks, 9).expected.get('a'), acks[2]);
  assert.is(fileSteps(acks, 9).inProgress, 'a');
  assert.is(fileSteps(acks, 12).inProgress, undefined);
  assert.is(fileSteps(acks, 6).expected.size, 1);
});

test('prefix: the leading entries that an image holds, whatever later ones it holds too', () => {
  const log = readDmLog(OWN[0]!);
  const disk = new Uint8Array(32 * 1024 * 1024);
  applyEntries(log, 200, (sector, bytes) => disk.set(bytes, sector * 512));
  const read = (sector: number, bytes: Uint8Array): void => bytes.set(disk.subarray(sector * 512, sector * 512 + bytes.length));
  const held = leadingEntries(log, read);
  // Entries that change nothing are held as well.
  assert.ok(held >= 200 && held < 210, String(held));
  const later = log.entries.find((entry) => entry.index > 230 && entry.sectors > 0)!;
  disk.set(later.data!, later.sector * 512);
  assert.ok(leadingEntries(log, read) <= held);
});

function overwrite(path: string, at: number, bytes: number): void {
  const file = openSync(path, 'r+');
  try {
    const old = Buffer.alloc(bytes);
    readSync(file, old, 0, bytes, at);
    writeSync(file, Buffer.from(old.map((byte) => byte ^ 0xa5)), 0, bytes, at);
  } finally {
    closeSync(file);
  }
}

test.run();
