/** The application side of the simulator: the ghost's memory, the synthetic clients, and recorded logs. */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import fc from '../fast-check.js';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { GARBAGE, contentKey } from '../../sim/ghost.js';
import { UsageError, type Workload, type WorkloadRequest, type WorkloadSpec } from '../../sim/types.js';
import { type LogEntry, applyEntries, parseDmLog, readDmLog } from '../../sim/workloads/dmlog.js';
import { recordedWorkload } from '../../sim/workloads/recorded.js';
import { syntheticWorkload } from '../../sim/workloads/synthetic.js';
import { randomRoot } from '../../sim/world/random.js';
import { ALICE, FakeWorld } from './checkers-fake.js';

// ---- Ghost ------------------------------------------------------------------------------------------------------

test('ghost: a stamped sector says which write it came from, and only at its place', () => {
  const world = new FakeWorld();
  const { bytes } = world.issue(ALICE, 5, 3);
  assert.is(world.ghost.keyOf(bytes, 512, 6), 1);
  assert.is(world.ghost.keyOf(bytes, 512, 7), GARBAGE);
  assert.is(world.ghost.keyOf(new Uint8Array(512), 0, 6), 0);
  const spoilt = bytes.slice();
  spoilt[512 + 333] = spoilt[512 + 333]! ^ 1;
  assert.is(world.ghost.keyOf(spoilt, 512, 6), GARBAGE);
});

test('ghost: allowed is the last acknowledged write and everything that it did not replace', () => {
  const world = new FakeWorld();
  const { ghost } = world;
  assert.equal(ghost.allowed(0, 0), [0]);
  world.write(ALICE, 0);
  assert.equal(ghost.allowed(0, 0), [1]);
  const second = world.issue(ALICE, 0);
  assert.equal(ghost.allowed(0, 0), [2, 1]);
  const third = world.issue(ALICE, 0);
  world.complete(ALICE, third.id, 'write');
  assert.equal(ghost.allowed(0, 0), [3, 2], 'the second was in flight together with the third');
  world.complete(ALICE, second.id, 'write', false);
  world.write(ALICE, 0);
  assert.equal(ghost.allowed(0, 0), [4]);
  assert.is(ghost.acknowledged(0, 0), 4);
  assert.is(ghost.acknowledgedWrites, 3);
  assert.equal([...ghost.sectors(0)], [0, 1, 2, 3, 4, 5, 6, 7]);
  assert.equal(ghost.blocks(0), [0]);
});

test('ghost: what ends twice, or was never begun, is a mistake of the engine', () => {
  const world = new FakeWorld();
  const { id } = world.issue(ALICE, 0);
  world.complete(ALICE, id, 'write');
  assert.throws(() => world.ghost.completed(id, true, 0), /not pending/);
  assert.throws(() => world.ghost.abandoned([77], 0), /not pending/);
});

test('content keys: zeros are 0, every changed bit changes the key', () => {
  assert.is(contentKey(new Uint8Array(1024), 512), 0);
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 512, maxLength: 512 }), fc.nat(511), fc.integer({ min: 1, max: 255 }), (bytes, at, flip) => {
      const other = bytes.slice();
      other[at] = other[at]! ^ flip;
      return contentKey(bytes, 0) !== contentKey(other, 0);
    }),
    { numRuns: 300 },
  );
});

// ---- A perfect disk that completes requests in any order --------------------------------------------------------------

interface Finished {
  order: WorkloadRequest[];
  /** Every pair that was in flight together. */
  together: [WorkloadRequest, WorkloadRequest][];
}

/** Runs a workload to its end; `pick` chooses which request ends next. */
function drive(workload: Workload, pick: (count: number) => number, stopAfter = Infinity): Finished {
  const inFlight: WorkloadRequest[] = [];
  const finished: Finished = { order: [], together: [] };
  let nowUs = 0;
  for (let step = 0; step < 1_000_000; step++) {
    const next = workload.poll(nowUs);
    if (next.do === 'finished') return finished;
    if (next.do === 'issue') {
      for (const other of inFlight) finished.together.push([other, next.request]);
      inFlight.push(next.request);
      continue;
    }
    if (inFlight.length === 0) {
      if (next.do === 'blocked') throw new Error('blocked with nothing in flight');
      nowUs = next.untilUs;
      continue;
    }
    if (finished.order.length >= stopAfter) {
      workload.interrupted(nowUs);
      return finished;
    }
    const [request] = inFlight.splice(pick(inFlight.length), 1);
    nowUs += 100;
    finished.order.push(request!);
    workload.completed(request!, true, nowUs);
  }
  throw new Error('the workload does not end');
}

const overlap = (a: WorkloadRequest, b: WorkloadRequest): boolean => a.sector < b.sector + b.sectors && b.sector < a.sector + a.sectors;

// ---- Synthetic ------------------------------------------------------------------------------------------------------

const synthetic = (change: Partial<Extract<WorkloadSpec, { kind: 'synthetic' }>> = {}): Extract<WorkloadSpec, { kind: 'synthetic' }> => ({
  kind: 'synthetic', clients: 3, queueDepth: 2, writes: 200, readShare: { numerator: 1, denominator: 4 }, flushEvery: 5, fuaEvery: 7, zerosOneIn: 0,
  pattern: 'random', firstSector: 100, sectors: 5000, maxRequestSectors: 64, thinkUs: 500, ...change,
});

test('synthetic: as many writes as asked for, inside the range, with flushes and FUA, the same for the same seed', () => {
  for (const pattern of ['random', 'sequential', 'hot-spot'] as const) {
    const run = (): Finished => drive(syntheticWorkload(synthetic({ pattern }), [0, 1], randomRoot(7)), () => 0);
    const { order, together } = run();
    const writes = order.filter(({ operation }) => operation === 'write');
    assert.is(writes.length, 200);
    for (const { operation, sector, sectors } of order) {
      if (operation !== 'flush') assert.ok(sector >= 100 && sectors > 0 && sectors <= 64 && sector + sectors <= 5100, `${sector}+${sectors}`);
    }
    assert.ok(order.some(({ operation }) => operation === 'flush') && order.some(({ operation }) => operation === 'read') && writes.some(({ fua }) => fua));
    assert.ok(writes.some(({ volume }) => volume === 1) && writes.some(({ volume }) => volume === 0));
    assert.ok(together.length > 0);
    assert.equal(run().order, order);
  }
});

test('synthetic: goes on after an interruption and an error', () => {
  const workload = syntheticWorkload(synthetic({ writes: 50 }), [0], randomRoot(1));
  drive(workload, () => 0, 10);
  assert.ok(drive(workload, () => 0).order.length > 20);
});

// ---- Recorded -------------------------------------------------------------------------------------------------------

const MAGIC = 0x6a736677736872n;

function encodeLog(entries: { sector: number; sectors: number; flags: number }[], fill: (index: number) => number = (index) => index + 1): Uint8Array {
  const parts: Uint8Array[] = [];
  const header = new Uint8Array(512);
  const view = new DataView(header.buffer);
  view.setBigUint64(0, MAGIC, true);
  view.setBigUint64(8, 1n, true);
  view.setBigUint64(16, BigInt(entries.length), true);
  view.setUint32(24, 512, true);
  parts.push(header);
  entries.forEach(({ sector, sectors, flags }, index) => {
    const head = new Uint8Array(512);
    const at = new DataView(head.buffer);
    at.setBigUint64(0, BigInt(sector), true);
    at.setBigUint64(8, BigInt(sectors), true);
    at.setBigUint64(16, BigInt(flags), true);
    parts.push(head);
    if ((flags & 4) === 0) parts.push(new Uint8Array(sectors * 512).fill(fill(index)));
  });
  return Buffer.concat(parts);
}

const entryArbitrary = fc.record({ sector: fc.nat(60), sectors: fc.nat(20), flags: fc.constantFrom(0, 0, 0, 1, 2, 3, 4) }, { noNullPrototype: true });

test('dm-log: entries come out as they went in', () => {
  fc.assert(
    fc.property(fc.array(entryArbitrary, { maxLength: 12 }), (entries) => {
      const parsed = parseDmLog(encodeLog(entries), 'x');
      assert.equal(
        parsed.map(({ sector, sectors, flush, fua, discard }) => ({ sector, sectors, flags: (flush ? 1 : 0) | (fua ? 2 : 0) | (discard ? 4 : 0) })),
        entries,
      );
      parsed.forEach((entry, index) => assert.is(entry.data?.length ?? 0, entry.discard ? 0 : entries[index]!.sectors * 512));
    }),
    { numRuns: 200 },
  );
});

test('dm-log: whatever is cut off is named, with the place and the mend', () => {
  const whole = encodeLog([{ sector: 0, sectors: 2, flags: 0 }, { sector: 0, sectors: 0, flags: 1 }, { sector: 9, sectors: 3, flags: 2 }]);
  for (let length = 0; length < whole.length; length++) {
    try {
      parseDmLog(whole.subarray(0, length), 'cut.dmlog');
      assert.unreachable();
    } catch (error) {
      assert.instance(error, UsageError);
      assert.match((error as Error).message, /^the trace cut\.dmlog (is truncated at entry \d of 3, byte \d+; copy it again|is not a dm-log-writes log)/);
    }
  }
});

test('dm-log: a file that is missing, or a damaged gzip, is one line', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lockstep-test-'));
  try {
    assert.throws(() => readDmLog(join(folder, 'none')), /cannot be read \(ENOENT\); give a readable file/);
    const path = join(folder, 'x.dmlog.gz');
    const packed = gzipSync(encodeLog([{ sector: 0, sectors: 200, flags: 0 }]));
    writeFileSync(path, packed.subarray(0, packed.length - 20));
    assert.throws(() => readDmLog(path), /its gzip does not unpack/);
    writeFileSync(path, packed);
    assert.is(readDmLog(path).entries.length, 1);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** Writes the log to a file, so that the workload reads it as it would. */
function withLog<T>(entries: { sector: number; sectors: number; flags: number }[], use: (file: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'lockstep-test-'));
  try {
    const file = join(folder, 'x.dmlog');
    writeFileSync(file, encodeLog(entries));
    return use(file);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('recorded: whatever the order in which requests end, flushes order them and overlapping ones are never together', () => {
  fc.assert(
    fc.property(fc.array(entryArbitrary, { minLength: 1, maxLength: 25 }), fc.integer({ min: 1, max: 6 }), fc.array(fc.nat(5), { minLength: 1 }), (entries, queueDepth, picks) => {
      withLog(entries, (file) => {
        const workload = recordedWorkload({ kind: 'recorded', file, queueDepth, thinkUs: 10, entries: entries.length });
        let turn = 0;
        const { order, together } = drive(workload, (count) => picks[turn++ % picks.length]! % count);
        for (const [a, b] of together) {
          assert.ok(a.operation === 'write' && b.operation === 'write', 'a flush stands alone');
          assert.ok(a.tag === b.tag || !overlap(a, b));
        }
        // Nothing of an entry behind a flush ends before everything in front of it.
        order.forEach((request, at) => {
          const flushTag = request.operation === 'flush' ? request.tag : -1;
          if (flushTag >= 0) for (const later of order.slice(at + 1)) assert.ok(later.tag >= flushTag);
        });
        // The disk ends as the log says.
        const wanted = new Uint8Array(128 * 512);
        applyEntries(readDmLog(file), entries.length, (sector, bytes) => wanted.set(bytes, sector * 512));
        const disk = new Uint8Array(128 * 512);
        for (const { operation, sector, data, sectors, tag, fua, zeros } of order) {
          if (operation !== 'write') continue;
          assert.is(zeros, (entries[tag]!.flags & 4) !== 0 ? 'discard' : undefined);
          assert.is(data?.length, zeros === undefined ? sectors * 512 : undefined);
          assert.is(fua, (entries[tag]!.flags & 2) !== 0);
          disk.set(data ?? new Uint8Array(sectors * 512), sector * 512);
        }
        assert.ok(Buffer.compare(wanted, disk) === 0);
        assert.is(workload.completedEntries!(), entries.length);
      });
    }),
    { numRuns: 150 },
  );
});

test('recorded: what is complete is a prefix, also when the primary dies', () => {
  const entries = [0, 10, 20, 30, 40].map((sector) => ({ sector, sectors: 4, flags: 0 }));
  withLog(entries, (file) => {
    const workload = recordedWorkload({ kind: 'recorded', file, queueDepth: 5, thinkUs: 0, entries: 5 });
    // Entries 4 and 3 end first, then the machine dies.
    drive(workload, (count) => count - 1, 2);
    assert.is(workload.completedEntries!(), 0);
    assert.equal(workload.poll(0), { do: 'finished' });
  });
});

test('recorded: requests above 1 MiB are split, and an entry is complete when all of it is', () => {
  withLog([{ sector: 8, sectors: 5000, flags: 2 }], (file) => {
    const workload = recordedWorkload({ kind: 'recorded', file, queueDepth: 8, thinkUs: 0, entries: 1 });
    const { order } = drive(workload, (count) => count - 1);
    assert.equal(order.map(({ sector, sectors }) => [sector, sectors]).sort((a, b) => a[0]! - b[0]!), [[8, 2048], [2056, 2048], [4104, 904]]);
    assert.ok(order.every(({ fua }) => fua));
  });
});

test('recorded: stops at the entry that it was told', () => {
  const entries: Pick<LogEntry, 'sector' | 'sectors'>[] = [0, 10, 20].map((sector) => ({ sector, sectors: 2 }));
  withLog(entries.map((entry) => ({ ...entry, flags: 0 })), (file) => {
    const workload = recordedWorkload({ kind: 'recorded', file, queueDepth: 1, thinkUs: 0, entries: 2 });
    assert.is(drive(workload, () => 0).order.length, 2);
    assert.is(workload.completedEntries!(), 2);
  });
});

test.run();
