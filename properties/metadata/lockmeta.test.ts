import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AL_FREE, advance, blockIndex, clampAlExtents, encodeTransaction, newCursor } from '../../src/metadata/activity-log.js';
import { createMdSteps, newSuperblock } from '../../src/metadata/create-md.js';
import { layoutOf } from '../../src/metadata/layout.js';
import { Magic, SuperblockFlag } from '../../src/metadata/superblock.js';
import { metadataRecordings } from './recordings.js';

const tool = fileURLToPath(new URL('../../real/lockmeta.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'lockmeta-'));
test.after(() => rmSync(folder, { recursive: true }));

interface Ran {
  code: number | null;
  out: string;
  err: string;
}

const run = (program: string, args: string[]): Ran => {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', input: '', maxBuffer: 1 << 28 });
  return { code: status, out: stdout, err: stderr };
};
const lockmeta = (...args: string[]): Ran => run(process.execPath, [tool, ...args]);
const drbdmeta = (...args: string[]): Ran => run('drbdmeta', args);

/** A zero file of that size with these bytes in it. */
function fileOf(bytes: number, pieces: { sector: number; data: Uint8Array }[] = []): string {
  const path = join(folder, 'device');
  const fd = openSync(path, 'w');
  ftruncateSync(fd, bytes);
  for (const { sector, data } of pieces) writeSync(fd, data, 0, data.length, sector * 512);
  closeSync(fd);
  return path;
}

/** Everything but when and by whom it was dumped, and the flags: the recordings' drbdmeta prints them as 0. */
const fields = (dump: string): string =>
  dump
    .split('\n')
    .filter((line) => !/^# \d{4}-|^# .*> |^ {4}flags /.test(line))
    .join('\n');

test('recordings: dump-md and get-gi give what drbdmeta gave, before and after apply-al', () => {
  for (const recording of metadataRecordings('lockmeta')) {
    const { name, layout, sectors, image, imageSector, dump, generation, applied } = recording;
    const path = fileOf(sectors * 512, [{ sector: imageSector, data: image }]);
    const lockmetaOn = (command: string, ...options: string[]): Ran => lockmeta(...options, '0', 'v08', path, layout, command);

    const forced = lockmetaOn('dump-md', '--force');
    assert.is(forced.code, 0, name);
    assert.is(fields(forced.err + forced.out), fields(dump), name);
    const got = lockmetaOn('get-gi');
    assert.is(got.out, generation, name);
    // The flags are those of get-gi: c u p n f o k.
    const [c, u, p, n, f, o, k] = generation.trim().split(':').slice(4).map(Number) as [number, number, number, number, number, number, number];
    const flags = Number.parseInt(/flags (0x[0-9A-F]{8});/.exec(forced.out)![1]!, 16);
    assert.is(flags & 0x7f, c * 1 + u * 16 + p * 2 + n * 4 + f * 8 + o * 32 + k * 64, name);

    const unforced = lockmetaOn('dump-md');
    const unclean = dump.includes('unclean');
    assert.is(unforced.code, unclean ? 1 : 0, name);
    if (unclean) assert.equal([unforced.out, unforced.err], ['', 'Found meta data is "unclean", please apply-al first\n'], name);

    if (!applied) continue;
    const applying = lockmetaOn('apply-al');
    assert.equal(applying, { code: 0, out: '', err: applied.output }, name);
    const device = readFileSync(path);
    assert.equal(new Uint8Array(device.subarray(imageSector * 512, imageSector * 512 + image.length)), applied.image, name);
    assert.is(fields(lockmetaOn('dump-md').out), fields(applied.dump), name);
    assert.is(lockmetaOn('get-gi').out, applied.generation, name);
    assert.is(lockmetaOn('apply-al').err, '', `${name}: nothing to do any more`);
  }
});

test('create-md writes what drbdmeta wrote', () => {
  const argsOf: Record<string, string[]> = { 'new-internal': [], 'new-internal-striped-al': ['--al-stripes', '2', '--al-stripe-size-kB', '64'] };
  for (const { name, sectors, image, imageSector } of metadataRecordings('lockmeta create-md')) {
    const args = argsOf[name];
    if (!args) continue;
    const path = fileOf(sectors * 512);
    const created = lockmeta('0', 'v08', path, 'internal', 'create-md', ...args);
    assert.equal([created.code, created.err], [0, 'initializing bitmap (4 KB) to all zero\n']);
    assert.match(created.out, 'New drbd meta data block successfully created.\n');
    assert.equal(new Uint8Array(readFileSync(path).subarray(imageSector * 512)), image, name);
    assert.is(statSync(path).size, sectors * 512);
  }
});

test('metadata that is in place is overwritten and wiped only with --force', () => {
  const path = fileOf(1 << 24);
  const on = (...args: string[]): Ran => lockmeta('0', 'v08', path, 'internal', ...args);
  assert.is(on('create-md').code, 0);
  const before = readFileSync(path);
  for (const command of ['create-md', 'wipe-md']) {
    const refused = on(command);
    assert.is(refused.code, 1);
    assert.match(refused.err, 'Operation cancelled.\n');
    assert.ok(readFileSync(path).equals(before));
  }
  const created = on('--force', 'create-md', '--al-stripes', '2');
  assert.is(created.code, 0);
  assert.match(created.err, `already in place on ${path} at byte offset 16773120\n`);
  assert.match(on('dump-md').out, 'al-stripes 2;');
  assert.is(on('--force', 'wipe-md').out, 'Wiping meta data...\nDRBD meta data block successfully wiped out.\n');
  assert.equal([on('dump-md').code, on('get-gi').code, on('wipe-md').code], [1, 1, 0]);
});

test('outdate, invalidate, dstate, device UUID', () => {
  const layout = layoutOf({ kind: 'flexible' }, { dataSectors: 1e9, metaSectors: 4096, shared: false });
  assert.ok(layout.ok);
  const flags = SuperblockFlag.Consistent | SuperblockFlag.WasUpToDate | SuperblockFlag.AlClean;
  const steps = createMdSteps(layout.value, { ...newSuperblock(layout.value), flags, lastAgreedSectors: 20000 }, 8);
  const path = fileOf(4096 * 512, steps.flatMap((step) => (step.step === 'write' ? [step] : [])));
  const on = (...args: string[]): Ran => lockmeta('0', 'v08', path, 'flex-external', ...args);
  assert.is(on('dstate').out, 'Consistent\n');
  assert.match(on('show-gi').out, 'flags: Secondary, StandAlone, UpToDate\nmeta-data: clean\nlast agreed size: 10 MB (20000 sectors)\n');
  assert.is(on('outdate').code, 0);
  assert.is(on('dstate').out, 'Outdated\n');
  assert.is(on('invalidate').code, 0);
  assert.is(on('dstate').out, 'Inconsistent\n');
  assert.equal(on('outdate'), { code: 5, out: '', err: 'Device is inconsistent.\n' });
  assert.match(on('get-gi').out, /:0:0:0:0:1:0:0\n$/);
  assert.is(on('write-dev-uuid', '12ab').code, 0);
  assert.is(on('read-dev-uuid').out, '00000000000012AB\n');
});

test('bad input: one clear line, the exit code of drbdmeta, nothing written', () => {
  const path = fileOf(1 << 24);
  const refused = (code: number, line: string, ...args: string[]): void => {
    const ran = lockmeta(...args);
    assert.equal([ran.code, ran.err.split('\n')[0], ran.out], [code, line, ''], args.join(' '));
  };
  refused(20, `open(${path}x) failed: No such file or directory`, '0', 'v08', `${path}x`, 'internal', 'dump-md');
  refused(20, `'${folder}' is neither a block device nor a regular file!`, '0', 'v08', folder, 'internal', 'dump-md');
  refused(20, "'inter' is not a valid index number.", '0', 'v08', path, 'inter', 'dump-md');
  refused(20, "Unknown command 'toString'.", '0', 'v08', path, 'internal', 'toString');
  refused(20, "Unknown format 'v09'.", '0', 'v09', path, 'internal', 'get-gi');
  refused(20, 'Too few arguments for format', '0', 'v08', path);
  refused(20, 'command missing', '0', 'v08', path, 'internal');
  refused(20, "lockmeta: unrecognized option '--bogus'", '0', 'v08', path, 'internal', 'create-md', '--bogus');
  refused(10, "--al-stripes: 'many' is not a number", '0', 'v08', path, 'internal', 'create-md', '--al-stripes', 'many');
  refused(10, 'invalid (too small) al-stripe* settings', '0', 'v08', path, 'internal', 'create-md', '--al-stripe-size-kB', '4');
  refused(10, `${path}: metadata leaves no room for data`, '0', 'v08', path, 'internal', 'create-md', '--al-stripes', '512');
  refused(10, `Device too small: index 3 ends at byte 536870912, but ${path} is only 16777216 bytes.`, '0', 'v08', path, '3', 'create-md');
  refused(1, 'No valid meta data found (no v08 magic)', '0', 'v08', path, 'internal', 'outdate');
  assert.ok(readFileSync(path).every((byte) => byte === 0));
  const tiny = fileOf(60000);
  refused(10, `${tiny} is only 59904 bytes. That's not enough.`, '0', 'v08', tiny, 'internal', 'create-md');
});

test('a filesystem is not overwritten, other data only with --force', () => {
  const superblock = new Uint8Array(1024);
  const view = new DataView(superblock.buffer);
  view.setUint32(4, 4096, true);
  view.setUint32(24, 2, true);
  view.setUint16(56, 0xef53, true);
  const path = fileOf(1 << 24, [{ sector: 2, data: superblock }]);
  const refused = lockmeta('--force', '0', 'v08', path, 'internal', 'create-md');
  assert.is(refused.code, 40);
  assert.match(refused.out, 'Found ext2 filesystem\n       16384 kB data area apparently used\n       16344 kB left usable by current configuration\n');
  view.setUint32(4, 4000, true);
  fileOf(1 << 24, [{ sector: 2, data: superblock }]);
  assert.is(lockmeta('0', 'v08', path, 'internal', 'create-md').code, 1);
  assert.is(lockmeta('--force', '0', 'v08', path, 'flex-external', 'create-md').code, 40);
  assert.is(lockmeta('--force', '0', 'v08', path, 'internal', 'create-md').code, 0);
  fileOf(1 << 24, [{ sector: 9, data: new Uint8Array(512).fill(1) }]);
  assert.is(lockmeta('0', 'v08', path, 'internal', 'create-md').code, 1);
  assert.is(lockmeta('--force', '0', 'v08', path, 'internal', 'create-md').code, 0);
});

test('the real drbdmeta reads what we wrote, and applies the same log to the same bytes', () => {
  if (!existsSync('/usr/sbin/drbdmeta')) {
    console.log('skipped: lockmeta beside drbdmeta: drbd-utils are not installed');
    return;
  }
  const sectors = 65536 * 8 + 13;
  let seed = 7;
  const random = (n: number): number => Math.floor(((seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) / 2 ** 32) * n);
  for (const al of [{ alStripes: 1, alStripeSize4k: 8 }, { alStripes: 2, alStripeSize4k: 5 }]) {
    const placed = layoutOf({ kind: 'internal' }, { dataSectors: sectors, metaSectors: sectors, shared: true }, al);
    assert.ok(placed.ok);
    const layout = placed.value;
    const flags = SuperblockFlag.Consistent | SuperblockFlag.PrimaryInd;
    const slots = new Uint32Array(clampAlExtents(1237, al)).fill(AL_FREE);
    const superblock = { ...newSuperblock(layout), magic: Magic.Unclean, flags, lastAgreedSectors: layout.usableDataSectors, alExtents: slots.length };
    const pieces = createMdSteps(layout, superblock, layout.bitmapSectors).flatMap((step) => (step.step === 'write' ? [step] : []));
    const cursor = newCursor();
    const bitmap = Uint8Array.from({ length: 4096 }, () => (random(3) === 0 ? random(256) : 0));
    const writes: { sector: number; data: Uint8Array }[] = [{ sector: layout.bitmapSector, data: bitmap }];
    for (let n = 0; n < 30; n++) {
      const updates = [{ slot: random(slots.length), extent: random(60) }];
      writes.push({ sector: layout.alSector + blockIndex(al, cursor.number) * 8, data: encodeTransaction(cursor, slots, updates) });
      slots[updates[0]!.slot] = updates[0]!.extent;
      advance(cursor, slots.length, al);
    }
    const path = fileOf(sectors * 512, [...pieces, ...writes]);
    const theirDump = drbdmeta('--force', '0', 'v08', path, 'internal', 'dump-md');
    assert.is(fields(lockmeta('--force', '0', 'v08', path, 'internal', 'dump-md').out), fields(theirDump.out));
    const ours = lockmeta('0', 'v08', path, 'internal', 'apply-al');
    const afterOurs = readFileSync(path);
    fileOf(sectors * 512, [...pieces, ...writes]);
    const theirs = drbdmeta('--force', '0', 'v08', path, 'internal', 'apply-al');
    assert.equal([theirs.code, ours.code], [0, 0]);
    assert.ok(theirs.err.endsWith(ours.err) && ours.err.startsWith('Marked additional '));
    assert.ok(readFileSync(path).equals(afterOurs));
    assert.is(lockmeta('0', 'v08', path, 'internal', 'show-gi').out, drbdmeta('--force', '0', 'v08', path, 'internal', 'show-gi').out);
  }
});

test.run();
