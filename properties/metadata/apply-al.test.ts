import { test } from 'uvu';
import * as assert from 'uvu/assert';
import fc from '../fast-check.js';
import { AL_FREE, advance, blockIndex, clampAlExtents, emptyBlock, encodeTransaction, newCursor, replayLog } from '../../src/metadata/activity-log.js';
import { type ApplyAlPlan, type MetadataStep, extentsToMark, pagesToRead, planApplyAl } from '../../src/metadata/apply-al.js';
import { createMdSteps, newSuperblock } from '../../src/metadata/create-md.js';
import { type AlGeometry, type Layout, layoutOf } from '../../src/metadata/layout.js';
import type { Result } from '../../src/metadata/refusal.js';
import { Magic, type Superblock, SuperblockFlag, decodeSuperblock, encodeSuperblock, isClean } from '../../src/metadata/superblock.js';
import { metadataRecordings } from './recordings.js';

/** A metadata device in memory with a volatile cache: what is not flushed may survive a crash sector by sector, or not. */
class Disk {
  durable: Map<number, Uint8Array> = new Map();
  cache: Map<number, Uint8Array> = new Map();

  step(step: MetadataStep): void {
    if (step.step === 'flush') {
      for (const [sector, bytes] of this.cache) this.durable.set(sector, bytes);
      this.cache.clear();
      return;
    }
    for (let at = 0; at < step.data.length; at += 512) this.cache.set(step.sector + at / 512, step.data.slice(at, at + 512));
  }

  powerLoss(survives: () => boolean): void {
    for (const [sector, bytes] of this.cache) if (survives()) this.durable.set(sector, bytes);
    this.cache.clear();
  }

  read(sector: number, sectors: number): Uint8Array {
    const bytes = new Uint8Array(sectors * 512);
    for (let n = 0; n < sectors; n++) bytes.set(this.cache.get(sector + n) ?? this.durable.get(sector + n) ?? [], n * 512);
    return bytes;
  }
}

const plan = (disk: Disk, layout: Layout): { found: Superblock; marks: number[]; planned: Result<ApplyAlPlan> } => {
  const decoded = decodeSuperblock(disk.read(layout.superblockSector, 8));
  if (!decoded.ok) throw new Error(decoded.refusal.detail);
  const found = decoded.value;
  const blockAt = (index: number): Uint8Array => disk.read(layout.alSector + index * 8, 8);
  const replay = replayLog(layout, blockAt);
  const wanted = pagesToRead(found, layout, replay);
  const pageAt = (page: number): Uint8Array => {
    assert.ok(wanted.includes(page), `page ${page} was not announced`);
    return disk.read(layout.bitmapSector + page * 8, 8);
  };
  return { found, marks: extentsToMark(found, layout, replay), planned: planApplyAl(found, layout, replay, blockAt, pageAt) };
};

const isMarked = (disk: Disk, layout: Layout, extent: number): boolean => {
  const page = disk.read(layout.bitmapSector + Math.floor(extent / 32) * 8, 8);
  return page.subarray((extent % 32) * 128, (extent % 32) * 128 + 128).every((byte) => byte === 255);
};

const layoutFor = (sectors: number, al: AlGeometry): Layout => {
  const layout = layoutOf({ kind: 'internal' }, { dataSectors: sectors, metaSectors: sectors, shared: true }, al);
  if (!layout.ok) throw new Error(layout.refusal.detail);
  return layout.value;
};

/** A crashed node's disk; the active set's extents are below 500 (2 GB, pages 0 to 15). */
function crashed(al: AlGeometry, firstNumber: number, transactions: number[][], flags: number): { disk: Disk; layout: Layout; active: number[] } {
  const layout = layoutFor(2 ** 22 + 100, al);
  const disk = new Disk();
  const superblock = { ...newSuperblock(layout), lastAgreedSectors: 2 ** 22 - 30000, magic: Magic.Unclean, flags };
  for (const step of createMdSteps(layout, superblock, layout.bitmapSectors)) disk.step(step);
  const slots = new Uint32Array(clampAlExtents(1237, al)).fill(AL_FREE);
  const cursor = { ...newCursor(), number: firstNumber };
  for (const extents of transactions) {
    const updates = Array.from(new Map(extents.map((extent) => [extent % 400, extent])), ([slot, extent]) => ({ slot, extent }));
    disk.step({ step: 'write', sector: layout.alSector + blockIndex(al, cursor.number) * 8, data: encodeTransaction(cursor, slots, updates) });
    for (const { slot, extent } of updates) slots[slot] = extent;
    advance(cursor, slots.length, al);
  }
  disk.step({ step: 'flush' });
  return { disk, layout, active: Array.from(slots).filter((extent) => extent !== AL_FREE) };
}

const geometries = fc.constantFrom<AlGeometry>({ alStripes: 1, alStripeSize4k: 8 }, { alStripes: 3, alStripeSize4k: 3 });
const logs = fc.array(fc.array(fc.nat(499), { minLength: 1, maxLength: 8 }), { maxLength: 20 });
const primary = SuperblockFlag.Consistent | SuperblockFlag.PrimaryInd | SuperblockFlag.WasUpToDate;

test('power may fail at any point of the plan, any number of times: in the end all that was active is marked', () => {
  const crashes = fc.array(fc.tuple(fc.nat(12), fc.infiniteStream(fc.boolean())), { maxLength: 4 });
  const torn = fc.option(fc.integer({ min: 1, max: 254 }));
  fc.assert(
    fc.property(geometries, fc.nat(30), logs, torn, crashes, (al, firstNumber, transactions, tear, powerLosses) => {
      // A ring of an 8.4 kernel may begin anywhere; a torn first transaction is tolerated at position 0 only (metadata.md §3.3).
      const first = tear !== null && transactions.length === 1 ? 0 : firstNumber;
      const { disk, layout, active } = crashed(al, first, transactions, primary);
      let expected = active;
      if (tear !== null && transactions.length > 0) {
        const before = crashed(al, first, transactions.slice(0, -1), primary);
        const newest = layout.alSector + blockIndex(al, first + transactions.length - 1) * 8;
        const written = disk.read(newest, 8);
        for (let n = 0; n < 8; n++) if (!(tear & (1 << n))) disk.step({ step: 'write', sector: newest + n, data: before.disk.read(newest + n, 1) });
        disk.step({ step: 'flush' });
        // Where the lost sectors are as they were before, nothing was lost.
        if (!disk.read(newest, 8).every((byte, n) => byte === written[n])) expected = before.active;
      }
      for (const [steps, survivors] of powerLosses) {
        const { planned } = plan(disk, layout);
        assert.ok(planned.ok, planned.ok ? '' : planned.refusal.detail);
        for (const step of planned.value.steps.slice(0, steps)) disk.step(step);
        disk.powerLoss(() => survivors.next().value as boolean);
      }
      const { planned } = plan(disk, layout);
      assert.ok(planned.ok, planned.ok ? '' : planned.refusal.detail);
      for (const step of planned.value.steps) disk.step(step);
      disk.powerLoss(() => false);
      const { found } = plan(disk, layout);
      assert.ok(isClean(found));
      assert.is(found.flags, primary | SuperblockFlag.AlClean, 'PRIMARY_IND stays');
      for (const extent of expected) assert.ok(isMarked(disk, layout, extent), `extent ${extent}`);
      for (let index = 0; index < layout.alBlocks; index++) assert.equal(disk.read(layout.alSector + index * 8, 8), emptyBlock());
    }),
    { numRuns: 300 },
  );
});

test('the first transaction torn, then power failures while the log is emptied: attachable every time', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 254 }), fc.array(fc.tuple(fc.integer({ min: 1, max: 6 }), fc.infiniteStream(fc.boolean())), { maxLength: 3 }), (tear, powerLosses) => {
      const { disk, layout } = crashed({ alStripes: 1, alStripeSize4k: 8 }, 0, [[7]], primary);
      for (let n = 0; n < 8; n++) if (!(tear & (1 << n))) disk.step({ step: 'write', sector: layout.alSector + n, data: emptyBlock().subarray(n * 512, n * 512 + 512) });
      disk.step({ step: 'flush' });
      for (const [steps, survivors] of powerLosses) {
        const { planned } = plan(disk, layout);
        assert.ok(planned.ok, planned.ok ? '' : planned.refusal.detail);
        for (const step of planned.value.steps.slice(0, steps)) disk.step(step);
        disk.powerLoss(() => survivors.next().value as boolean);
      }
      assert.ok(plan(disk, layout).planned.ok);
    }),
    { numRuns: 300 },
  );
});

test('D19: bitmap, flush, log, flush, superblock', () => {
  const { disk, layout } = crashed({ alStripes: 1, alStripeSize4k: 8 }, 0, [[3, 77], [300]], primary);
  const { planned } = plan(disk, layout);
  assert.ok(planned.ok);
  const bitmapEnd = layout.bitmapSector + layout.bitmapSectors;
  const area = (step: MetadataStep): string =>
    step.step === 'flush' ? 'flush' : step.sector === layout.superblockSector ? 'superblock' : step.sector < bitmapEnd ? 'bitmap' : 'log';
  const order = planned.value.steps.map(area).filter((name, n, all) => name !== all[n - 1]);
  assert.equal(order, ['bitmap', 'flush', 'log', 'flush', 'log', 'flush', 'superblock', 'flush']);
  assert.is(planned.value.markedBits, 3 * 1024);
  assert.equal(planned.value.steps.filter((step) => area(step) === 'bitmap').length, 3);
});

test('a node that was not primary marks nothing and its log is emptied, whatever is in it', () => {
  for (const damage of [false, true]) {
    const { disk, layout } = crashed({ alStripes: 1, alStripeSize4k: 8 }, 0, [[1], [2]], SuperblockFlag.Consistent);
    if (damage) for (let n = 0; n < 8; n++) disk.step({ step: 'write', sector: layout.alSector + n * 8, data: new Uint8Array(512).fill(n) });
    const { planned } = plan(disk, layout);
    assert.ok(planned.ok);
    assert.is(planned.value.markedBits, 0);
    for (const step of planned.value.steps) disk.step(step);
    assert.not(isMarked(disk, layout, 1));
    assert.ok(isClean(plan(disk, layout).found));
    assert.equal(disk.read(layout.alSector + 8, 8), emptyBlock());
  }
});

test('a crashed primary with a log that cannot be trusted is refused (165)', () => {
  const { disk, layout } = crashed({ alStripes: 1, alStripeSize4k: 8 }, 0, [[1], [2]], primary);
  disk.step({ step: 'write', sector: layout.alSector, data: new Uint8Array(8 * 4096) });
  const { planned } = plan(disk, layout);
  assert.ok(!planned.ok);
  assert.is(planned.refusal.code, 165);
});

test('clean metadata is left alone', () => {
  const { disk, layout } = crashed({ alStripes: 1, alStripeSize4k: 8 }, 0, [[1]], primary | SuperblockFlag.AlClean);
  const superblock = { ...plan(disk, layout).found, magic: Magic.Clean };
  disk.step({ step: 'write', sector: layout.superblockSector, data: encodeSuperblock(superblock) });
  const { planned } = plan(disk, layout);
  assert.ok(planned.ok);
  assert.equal(planned.value, { steps: [], superblock, markedBits: 0 });
});

test('extents beyond the bitmap are ignored, never written', () => {
  const layout = layoutFor(2 ** 22 + 100, { alStripes: 1, alStripeSize4k: 8 });
  const superblock = { ...newSuperblock(layout), lastAgreedSectors: 8192 * 40, flags: primary, magic: Magic.Unclean };
  const replay = { outcome: 'extents', extents: [0, 63, 64, 500, 0xfffffffe], damagedBlocks: 0, ignoredSlots: 0, newestPosition: 0, positionZero: 'update' } as const;
  const asReplay = { ...replay, extents: [...replay.extents] };
  // 40 extents lie on two pages, which hold 64.
  assert.equal(extentsToMark(superblock, layout, asReplay), [0, 63]);
  assert.equal(pagesToRead(superblock, layout, asReplay), [0, 1]);
  assert.equal(extentsToMark({ ...superblock, lastAgreedSectors: 0 }, layout, asReplay), []);
});

test('recordings: the bytes that drbdmeta left', () => {
  for (const { name, metaDisk, sectors, image, imageSector, applied } of metadataRecordings('apply-al')) {
    if (!applied) continue;
    const internal = metaDisk.kind === 'internal';
    const disk = new Disk();
    disk.step({ step: 'write', sector: imageSector, data: image });
    disk.step({ step: 'flush' });
    const superblock = decodeSuperblock(disk.read(internal ? sectors - 8 : 0, 8));
    assert.ok(superblock.ok);
    const layout = layoutOf(metaDisk, { dataSectors: sectors, metaSectors: sectors, shared: internal }, superblock.value);
    assert.ok(layout.ok);
    const { planned } = plan(disk, layout.value);
    assert.ok(planned.ok);
    assert.is(planned.value.markedBits * 4, 12 * 1024, name);
    for (const step of planned.value.steps) disk.step(step);
    assert.equal(disk.read(imageSector, image.length / 512), applied.image, name);
  }
});

test.run();
