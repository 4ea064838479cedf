// Disks: what the core asks for is done on files, a device belongs to one process, and an error is told and never mended.

import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Arena } from '../../real/arena.js';
import { BackingDisk, type DiskOperation } from '../../real/disk/backing-disk.js';
import { readCached } from '../../real/system.js';
import { DeviceError, DeviceTable, Flusher, lookAgain, type Device } from '../../real/disk/devices.js';

const folder = mkdtempSync(join(tmpdir(), 'lockstep-disk-'));
test.after(() => rmSync(folder, { recursive: true }));

let files = 0;
function newFile(sectors: number): string {
  const path = join(folder, `disk${++files}`);
  writeFileSync(path, '');
  truncateSync(path, sectors * 512);
  return path;
}

/** A disk whose operations are promises. */
function opened(data: Device, meta: Device = data): { run: (operation: DiskOperation) => Promise<Uint8Array | undefined>; disk: BackingDisk } {
  const waiting = new Map<number, { bytes: number; resolve: (data: Uint8Array | undefined) => void; reject: (error: Error) => void }>();
  const disk = new BackingDisk(data, meta, new Arena(), (op, bytes, error) => {
    const one = waiting.get(op);
    if (!one) throw new Error(`operation ${op} ended twice`);
    waiting.delete(op);
    if (error) one.reject(error);
    // Zeros come without bytes.
    else one.resolve(bytes?.slice() ?? new Uint8Array(one.bytes));
  });
  return {
    disk,
    run: (operation) =>
      new Promise((resolve, reject) => {
        waiting.set(operation.op, { bytes: operation.type === 'disk-read' ? operation.sectors * 512 : 0, resolve, reject });
        disk.submit(operation);
      }),
  };
}

let ops = 0;
const write = (sector: number, data: Uint8Array, how: { preflush?: boolean; fua?: boolean } = {}, area: 'data' | 'meta' = 'data'): DiskOperation => ({
  type: 'disk-write', op: ++ops, resource: 'r0', volume: 0, area, sector, data, preflush: how.preflush ?? false, fua: how.fua ?? false,
});
const read = (sector: number, sectors: number, area: 'data' | 'meta' = 'data'): DiskOperation => ({ type: 'disk-read', op: ++ops, resource: 'r0', volume: 0, area, sector, sectors });
const flush = (): DiskOperation => ({ type: 'disk-flush', op: ++ops, resource: 'r0', volume: 0, area: 'data' });
const filled = (value: number, sectors: number): Uint8Array => new Uint8Array(sectors * 512).fill(value);

async function failureOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => assert.unreachable('this should have failed'),
    (error: Error) => error.message,
  ) as Promise<string>;
}

test('what was written is read, plain, durable and after a flush', async () => {
  const table = new DeviceTable();
  const path = newFile(64);
  const device = table.acquire(path, false, true);
  assert.is(device.sectors, 64);
  const { run } = opened(device);
  for (const [sector, how] of [[0, {}], [8, { fua: true }], [16, { preflush: true }], [24, { preflush: true, fua: true }]] as const) {
    await run(write(sector, filled(sector + 1, 8), how));
    assert.equal(await run(read(sector, 8)), filled(sector + 1, 8));
  }
  await run(flush());
  table.release(device);
  assert.is(readFileSync(path)[8 * 512], 9);
});

test('data and metadata of their own go to their own devices', async () => {
  const table = new DeviceTable();
  const [dataPath, metaPath] = [newFile(64), newFile(64)];
  const [data, meta] = [table.acquire(dataPath, false, true), table.acquire(metaPath, false, false)];
  const { run } = opened(data, meta);
  await run(write(0, filled(1, 1)));
  await run(write(0, filled(2, 1), { fua: true }, 'meta'));
  assert.is((await run(read(0, 1, 'meta')))![0], 2);
  assert.equal([readFileSync(dataPath)[0], readFileSync(metaPath)[0]], [1, 2]);
});

test('zeros are there afterwards, with and without giving up space', async () => {
  const table = new DeviceTable();
  const path = newFile(64);
  const device = table.acquire(path, false, true);
  const { run } = opened(device);
  const zeroing = (type: 'disk-write-zeroes' | 'disk-discard', mayUnmap: boolean): DiskOperation =>
    type === 'disk-discard'
      ? { type, op: ++ops, resource: 'r0', volume: 0, area: 'data', sector: 8, sectors: 16 }
      : { type, op: ++ops, resource: 'r0', volume: 0, area: 'data', sector: 8, sectors: 16, mayUnmap };
  const expected = new Uint8Array(64 * 512).fill(7).fill(0, 8 * 512, 24 * 512);
  for (const cannot of [{}, { canPunch: false }, { canPunch: false, canZero: false }]) {
    const { run: runLess } = opened({ ...device, ...cannot });
    for (const operation of [zeroing('disk-write-zeroes', false), zeroing('disk-write-zeroes', true), zeroing('disk-discard', true)]) {
      await run(write(0, filled(7, 64)));
      await runLess(operation);
      assert.is(Buffer.compare((await run(read(0, 64)))!, expected), 0, JSON.stringify([cannot, operation]));
    }
  }
});

test('zeros that were read come without bytes; many reads of what is not cached all end', async () => {
  const table = new DeviceTable();
  const device = table.acquire(newFile(20_000), false, true);
  const ends: (number | undefined)[] = [];
  const disk = new BackingDisk({ ...device, isMemory: false }, device, new Arena(), (_op, bytes) => ends.push(bytes?.length));
  disk.submit(write(8, filled(1, 1)));
  for (let sector = 0; sector < 16_000; sector += 1000) disk.submit(read(sector, 1000));
  while (ends.length < 17) await new Promise((resolve) => setImmediate(resolve));
  assert.is(ends.filter((bytes) => bytes === 512_000).length, 1);
  assert.is(ends.filter((bytes) => bytes === undefined).length, 16, 'the write, and fifteen reads of zeros');
  const arena = new Arena();
  const before = arena.take(512)!.address;
  new BackingDisk(device, device, arena, () => undefined).submit(read(16_000, 1000));
  assert.is(arena.take(512)!.address, before + 512n, 'zeros leave no room unused');
});

test('a read beyond the end and a write that the system refuses are errors', async () => {
  const table = new DeviceTable();
  const path = newFile(8);
  const device = table.acquire(path, false, true);
  assert.is(await failureOf(opened(device).run(read(4, 8))), `${path}: read of 8 sectors at sector 4 failed: the device has only 8 sectors`);
  const fd = openSync(path, 'r');
  const readOnly: Device = { ...device, fd, durableFd: fd };
  for (const how of [{}, { fua: true }, { preflush: true }]) assert.is(await failureOf(opened(readOnly).run(write(0, filled(1, 1), how))), `${path}: write of 1 sectors at sector 0 failed: Bad file descriptor`);
  closeSync(fd);
});

test('a file that was cut does not grow again by what is written to it, and one that has grown is used', async () => {
  const table = new DeviceTable();
  const path = newFile(64);
  const device = table.acquire(path, false, true);
  const { run } = opened(device);
  truncateSync(path, 32 * 512);
  assert.match(await failureOf(run(read(32, 8))), /unexpected end at byte 16384/);
  lookAgain(device);
  for (const how of [{}, { fua: true }]) assert.match(await failureOf(run(write(60, filled(1, 4), how))), /the device has only 32 sectors/);
  assert.is(statSync(path).size, 32 * 512);
  truncateSync(path, 128 * 512);
  lookAgain(device);
  await run(write(120, filled(1, 8)));
  assert.is((await run(read(120, 8)))![0], 1);
  assert.is(device.isDeleted, false);
  rmSync(path);
  lookAgain(device);
  assert.is(device.isDeleted, true);
});

test('flushes asked for while one runs are served by the next one', async () => {
  const ends: ((error: Error | null) => void)[] = [];
  const flusher = new Flusher(0, (_fd, ended) => ends.push(ended));
  const done: string[] = [];
  flusher.request(() => done.push('first'));
  flusher.request(() => done.push('second'));
  flusher.request(() => done.push('third'));
  assert.is(ends.length, 1);
  ends[0]!(null);
  assert.equal(done, ['first']);
  assert.is(ends.length, 2);
  ends[1]!(null);
  assert.equal(done, ['first', 'second', 'third']);
});

test('after a flush that failed no flush succeeds any more', async () => {
  const results: (Error | null)[] = [new Error('EIO'), null, null];
  const flusher = new Flusher(0, (_fd, ended) => setImmediate(() => ended(results.shift()!)));
  const flushOnce = (): Promise<Error | undefined> => new Promise((resolve) => flusher.request(resolve));
  assert.is((await flushOnce())?.message, 'EIO');
  assert.is((await flushOnce())?.message, 'EIO');
  assert.is(results.length, 2, 'the system was asked again');
});

test('a device belongs to one volume, and to one process', () => {
  const table = new DeviceTable();
  const path = newFile(64);
  const device = table.acquire(path, false, true);
  assert.throws(() => table.acquire(path, false, true), (error: Error) => error instanceof DeviceError && /another volume of this daemon/.test(error.message));
  // A second table is to the kernel what another process is.
  assert.throws(() => new DeviceTable().acquire(path, false, true), (error: Error) => error instanceof DeviceError && /in use by another process/.test(error.message));
  const lockmeta = fileURLToPath(new URL('../../real/lockmeta.js', import.meta.url));
  const tool = spawnSync(process.execPath, [lockmeta, '--force', '0', 'v08', path, 'internal', 'create-md'], { encoding: 'utf8' });
  assert.is(tool.status, 20);
  assert.match(tool.stderr, /in use by another process/);
  table.release(device);
  new DeviceTable().acquire(path, false, true);
});

test('numbered metadata slots share their device, and keep it until the last one goes', () => {
  const table = new DeviceTable();
  const path = newFile(64);
  const [one, other] = [table.acquire(path, true, false), table.acquire(path, true, false)];
  assert.is(one, other);
  table.release(one);
  assert.throws(() => new DeviceTable().acquire(path, false, true), /another process/);
  table.release(other);
  new DeviceTable().acquire(path, false, true);
});

test('what is no disk is refused with one line', () => {
  const table = new DeviceTable();
  assert.throws(() => table.acquire(join(folder, 'missing'), false, true), /missing\) failed: No such file or directory/);
  assert.throws(() => table.acquire(folder, false, true), /Is a directory/);
  assert.throws(() => table.acquire('/dev/null', false, true), /neither a block device nor a regular file/);
});

test('reads of one pass do not overwrite each other', async () => {
  const table = new DeviceTable();
  const device = table.acquire(newFile(64), false, true);
  const seen: Uint8Array[] = [];
  const disk = new BackingDisk(device, device, new Arena(), (_op, bytes) => bytes && seen.push(bytes));
  for (let sector = 0; sector < 4; sector++) disk.submit(write(sector, filled(sector + 1, 1)));
  for (let sector = 0; sector < 4; sector++) disk.submit(read(sector, 1));
  while (seen.length < 4) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(seen.map(([first]) => first), [1, 2, 3, 4]);
});

test('past the page cache: data of any memory is written and read, and is not in the cache; metadata and ordinary disks are', async () => {
  for (const isDirect of [true, false]) {
    const device = new DeviceTable(isDirect).acquire(newFile(4096), false, true);
    const { run } = opened(device);
    const data = new Uint8Array(24 * 512 + 3).map((_, index) => index * 3).subarray(3);
    await run(write(9, data));
    await run(write(1024, data.slice(0, 512), { preflush: true, fua: true }));
    assert.is(Buffer.compare((await run(read(9, 24)))!, data), 0);
    assert.is(Buffer.compare((await run(read(1024, 1)))!, data.subarray(0, 512)), 0);
    await run(write(2048, data, {}, 'meta'));
    const { address } = new Arena().take(512)!;
    // Far from each other: who asks for one has what is behind it read ahead.
    const isCached = (sector: number): boolean => readCached(device.fd, address, 512, sector * 512) === 512;
    if (isCached(2048)) assert.equal([isCached(9), isCached(1024)], [!isDirect, !isDirect]);
    else console.log('skipped: this filesystem does not say what is cached');
    assert.is(Buffer.compare((await run(read(2048, 24, 'meta')))!, data), 0);
    await run(flush());
  }
});

test('past the page cache: a filesystem that has no such way is refused with one line', () => {
  // procfs gives its files a size of 0 and knows no O_DIRECT.
  assert.throws(() => new DeviceTable(true).acquire('/proc/self/comm', false, true), (error: Error) => error instanceof DeviceError && /comm cannot be used past the page cache \(--direct-io\): its filesystem has no such way$/.test(error.message));
});

test.run();
