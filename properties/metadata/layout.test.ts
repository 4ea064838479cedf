import { test } from 'uvu';
import * as assert from 'uvu/assert';
import fc from '../fast-check.js';
import type { MetaDisk } from '../../src/config/types.js';
import { newSuperblock } from '../../src/metadata/create-md.js';
import { type AlGeometry, type Layout, type SizeQuestion, checkAttachSize, checkDevices, checkGeometry, defaultAlGeometry, layoutOf, newSize, placedSectors, superblockSector } from '../../src/metadata/layout.js';
import { SuperblockFlag } from '../../src/metadata/superblock.js';

const place = (metaDisk: MetaDisk, metaSectors: number, al: AlGeometry = defaultAlGeometry, dataSectors = Infinity): Layout => {
  const shared = metaDisk.kind === 'internal';
  const layout = layoutOf(metaDisk, { dataSectors: shared ? metaSectors : dataSectors, metaSectors, shared }, al);
  if (!layout.ok) throw new Error(layout.refusal.detail);
  return layout.value;
};
const internal: MetaDisk = { kind: 'internal' };
const flexible: MetaDisk = { kind: 'flexible' };

test('worked example: 32 MiB internal (metadata.md §7)', () => {
  const layout = place(internal, 65536);
  assert.is(layout.mdSizeSectors, 80);
  assert.is(layout.superblockSector, 65528);
  assert.is(layout.alOffsetSectors, -64);
  assert.is(layout.alSector * 512, 33517568);
  assert.is(layout.bmOffsetSectors, -72);
  assert.is(layout.bitmapSector * 512, 33513472);
  assert.is(layout.bitmapSectors, 8);
  assert.is(layout.usableDataSectors, 65456);
});

test('worked example: 1 TiB internal', () => {
  const layout = place(internal, 2147483648);
  assert.is(layout.mdSizeSectors, 65608);
  assert.is(layout.superblockSector, 2147483640);
  assert.is(layout.alSector * 512, 1099511590912);
  assert.is(layout.bmOffsetSectors, -65600);
  assert.is(layout.bitmapSector * 512, 1099478036480);
  assert.is(layout.bitmapSectors, 65536);
  assert.is(layout.usableDataSectors, 2147418040);
});

test('worked examples: stripes, external, a numbered slot, a size just over a page', () => {
  const striped = place(internal, 131072, { alStripes: 4, alStripeSize4k: 16 });
  assert.equal([striped.mdSizeSectors, striped.alOffsetSectors, striped.bmOffsetSectors], [528, -512, -520]);
  assert.equal([striped.alSector * 512, striped.bitmapSector * 512], [66842624, 66838528]);
  const external = place(flexible, 32768);
  assert.equal([external.mdSizeSectors, external.alSector * 512, external.bitmapSector * 512], [32768, 4096, 36864]);
  const slot = place({ kind: 'indexed', index: 1 }, 600000);
  assert.equal([slot.superblockSector * 512, slot.alSector * 512, slot.bitmapSector * 512], [134217728, 134221824, 134254592]);
  assert.is(slot.mdSizeSectors, 262144);
  assert.is(slot.usableDataSectors, 8587575296);
  const odd = place(internal, 262152);
  assert.equal([odd.bitmapSectors, odd.mdSizeSectors], [16, 88]);
});

test("the tool's formula for the bitmap area gives the same, for every size", () => {
  fc.assert(
    fc.property(fc.integer({ min: 2048, max: 2 ** 41 }), (sectors) => {
      const words = Math.ceil(Math.ceil(sectors / 8) / 64);
      assert.is(place(internal, sectors).bitmapSectors, Math.ceil((words * 8) / 4096) * 8);
    }),
  );
});

test('areas lie behind one another, in the device, and the bitmap describes all that is usable', () => {
  const disks = fc.oneof(
    fc.constant(internal),
    fc.constant(flexible),
    fc.nat(3).map((index): MetaDisk => ({ kind: 'indexed', index })),
  );
  const als = fc.record({ alStripes: fc.integer({ min: 1, max: 20 }), alStripeSize4k: fc.integer({ min: 1, max: 200 }) });
  fc.assert(
    fc.property(disks, fc.integer({ min: 1, max: 2 ** 34 }), fc.integer({ min: 1, max: 2 ** 42 }), als, (metaDisk, metaSectors, dataSectors, al) => {
      const shared = metaDisk.kind === 'internal';
      const placed = layoutOf(metaDisk, { dataSectors: shared ? metaSectors : dataSectors, metaSectors, shared }, al);
      if (!placed.ok) return;
      const layout = placed.value;
      const alSectors = layout.alBlocks * 8;
      const order = shared
        ? [layout.usableDataSectors, layout.bitmapSector, layout.bitmapSector + layout.bitmapSectors, layout.alSector, layout.alSector + alSectors, layout.superblockSector, layout.superblockSector + 8, metaSectors]
        : [0, layout.superblockSector, layout.superblockSector + 8, layout.alSector, layout.alSector + alSectors, layout.bitmapSector, layout.bitmapSector + layout.bitmapSectors, metaSectors];
      for (let n = 1; n < order.length; n++) assert.ok(order[n - 1]! <= order[n]!, `${order}`);
      assert.ok(layout.usableDataSectors > 0 && layout.usableDataSectors <= 2 ** 41);
      assert.ok(layout.usableDataSectors <= layout.bitmapSectors * 32768);
      assert.is(layout.bitmapSectors % 8, 0);
      assert.is(checkGeometry({ ...newSuperblock(layout) }, layout), undefined);
    }),
    { numRuns: 1000 },
  );
});

const codeOf = (metaDisk: MetaDisk, metaSectors: number, shared: boolean, al?: AlGeometry): number | undefined => {
  const layout = layoutOf(metaDisk, { dataSectors: 1e6, metaSectors, shared }, al);
  return layout.ok ? undefined : layout.refusal.code;
};

test('what the kernel refuses is refused with its number', () => {
  assert.is(codeOf(internal, 1e6, false), 116);
  assert.is(codeOf(flexible, 1e6, true), 116);
  assert.is(codeOf({ kind: 'indexed', index: -4 }, 1e6, false), 116);
  assert.is(codeOf(flexible, 2047, false), 112);
  assert.is(codeOf(flexible, 2048, false), undefined);
  assert.is(codeOf(internal, 2047, true), 112);
  assert.is(codeOf({ kind: 'indexed', index: 2 }, 3 * 262144 - 1, false), 112);
  assert.is(codeOf({ kind: 'indexed', index: 2 }, 3 * 262144, false), undefined);
  assert.is(codeOf({ kind: 'indexed', index: 0 }, 262144, false, { alStripes: 2, alStripeSize4k: 8 }), 119);
  assert.is(codeOf(internal, 1e6, true, { alStripes: 1, alStripeSize4k: 7 }), 119);
  assert.is(codeOf(internal, 4096, true, { alStripes: 1, alStripeSize4k: 600 }), 112);
  assert.is(checkDevices(internal, { dataSectors: 1e6, metaSectors: 1e6, shared: true }), undefined);
});

test('a superblock of another place or size is not taken', () => {
  const layout = place(internal, 65536);
  const superblock = newSuperblock(layout);
  const code = (change: object): number | undefined => checkGeometry({ ...superblock, ...change }, layout)?.code;
  assert.is(code({}), undefined);
  assert.is(code({ alOffsetSectors: 8 }), 119);
  assert.is(code({ bmOffsetSectors: -80 }), 119);
  assert.is(code({ mdSizeSectors: 88 }), 119);
  assert.is(code({ alStripes: 2, alStripeSize4k: 4 }), 119);
  assert.is(code({ lastAgreedSectors: 2 ** 30 }), 119);
  const external = place(flexible, 32768);
  assert.is(checkGeometry({ ...newSuperblock(external), mdSizeSectors: 16384 }, external), undefined, 'an external device may grow');
});

test('new size (metadata.md §5)', () => {
  const size = (question: Partial<SizeQuestion>): number =>
    newSize({ peerSectors: 0, maxSectors: 0, lastAgreedSectors: 0, userSectors: 0, assumePeerHasSpace: false, ...question });
  assert.is(size({ peerSectors: 100, maxSectors: 200 }), 100);
  assert.is(size({ peerSectors: 300, maxSectors: 200, lastAgreedSectors: 50 }), 200);
  assert.is(size({ maxSectors: 200, lastAgreedSectors: 150 }), 150);
  assert.is(size({ maxSectors: 100, lastAgreedSectors: 150 }), 100);
  assert.is(size({ peerSectors: 120, lastAgreedSectors: 150 }), 120);
  assert.is(size({ maxSectors: 200 }), 200);
  assert.is(size({ peerSectors: 70 }), 70);
  assert.is(size({ maxSectors: 200, lastAgreedSectors: 150, assumePeerHasSpace: true }), 200);
  assert.is(size({ maxSectors: 200, userSectors: 80 }), 80);
  assert.is(size({ maxSectors: 200, userSectors: 201 }), 200);
});

test('an attach that would shrink consistent data is refused, unless the size was asked for', () => {
  const layout = place(internal, 65536);
  const superblock = { ...newSuperblock(layout), lastAgreedSectors: 60000, flags: SuperblockFlag.Consistent as number };
  const code = (sizeSectors: number, userSectors = 0, exportedSectors = 0): number | undefined =>
    checkAttachSize(superblock, layout, { sizeSectors, userSectors, exportedSectors })?.code;
  assert.is(code(60000), undefined);
  assert.is(code(59999), 170);
  assert.is(code(59999, 59999), undefined);
  assert.is(code(60000, 65457), 111);
  assert.is(code(60000, 0, 65457), 111);
  superblock.flags = 0;
  assert.is(code(59999), undefined);
});

test('internal metadata is found again by the length that its layout says, whatever the device measures by then', () => {
  for (const sectors of [16384, 16385, 16391, 65537, 2_000_003]) {
    const layout = layoutOf({ kind: 'internal' }, { dataSectors: sectors, metaSectors: sectors, shared: true });
    assert.ok(layout.ok);
    assert.is(superblockSector({ kind: 'internal' }, placedSectors(layout.value)), layout.value.superblockSector);
  }
});

test.run();
