import { test } from 'uvu';
import * as assert from 'uvu/assert';
import fc from '../fast-check.js';
import { layoutOf, checkGeometry, superblockSector } from '../../src/metadata/layout.js';
import { Magic, type Superblock, decodeSuperblock, encodeSuperblock, formatOf, isClean, SuperblockFlag } from '../../src/metadata/superblock.js';
import { metadataRecordings } from './recordings.js';

const u32 = fc.nat({ max: 0xffffffff });
const i32 = fc.integer({ min: -0x80000000, max: 0x7fffffff });
const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

const fields = {
  magic: fc.constantFrom(Magic.Clean, Magic.Unclean),
  lastAgreedSectors: fc.nat({ max: 2 ** 51 }),
  uuids: fc.tuple(u64, u64, u64, u64),
  deviceUuid: u64,
  flags: u32,
  mdSizeSectors: u32,
  alOffsetSectors: i32,
  alExtents: u32,
  bmOffsetSectors: i32,
  peerMaxBioBytes: u32,
  alStripes: fc.integer({ min: 8, max: 1024 }),
  alStripeSize4k: fc.integer({ min: 1, max: 4096 }),
};
const superblocks: fc.Arbitrary<Superblock> = fc.record(fields, { noNullPrototype: true });

test('every superblock comes back as it was', () => {
  fc.assert(
    fc.property(superblocks, (superblock) => {
      const decoded = decodeSuperblock(encodeSuperblock(superblock));
      assert.equal(decoded, { ok: true, value: superblock });
    }),
  );
});

test('all of it lies in the first sector, so that a torn write leaves the old or the new one', () => {
  fc.assert(fc.property(superblocks, (superblock) => assert.ok(encodeSuperblock(superblock).subarray(512).every((byte) => byte === 0))));
});

test('any bytes are a superblock or refused, never an exception', () => {
  fc.assert(
    fc.property(
      superblocks,
      fc.array(fc.tuple(fc.nat(99), fc.nat(255)), { maxLength: 6 }),
      fc.constantFrom(4096, 4095, 100, 0, 8192),
      (superblock, changes, length) => {
        const bytes = new Uint8Array(length);
        bytes.set(encodeSuperblock(superblock).subarray(0, length));
        for (const [at, byte] of changes) if (at < length) bytes[at] = byte;
        const decoded = decodeSuperblock(bytes);
        if (!decoded.ok) return assert.is(decoded.refusal.code, 119);
        // What was accepted can be written again.
        assert.equal(decodeSuperblock(encodeSuperblock(decoded.value)), decoded);
      },
    ),
    { numRuns: 1000 },
  );
});

test('a superblock torn at any byte is one or is refused; torn at a sector it is the old or the new one', () => {
  fc.assert(
    fc.property(superblocks, superblocks, (old, next) => {
      const [before, after] = [encodeSuperblock(old), encodeSuperblock(next)];
      for (let cut = 0; cut <= 128; cut++) {
        const torn = Uint8Array.from(before);
        torn.set(after.subarray(0, cut));
        const decoded = decodeSuperblock(torn);
        if (!decoded.ok) assert.is(decoded.refusal.code, 119);
      }
      for (let sectors = 0; sectors <= 8; sectors++) {
        const torn = Uint8Array.from(before);
        torn.set(after.subarray(0, sectors * 512));
        assert.equal(decodeSuperblock(torn), { ok: true, value: sectors === 0 ? old : next });
      }
    }),
    { numRuns: 30 },
  );
});

test('an unaligned view of a larger buffer is read in its own place', () => {
  const [superblock] = fc.sample(superblocks, { numRuns: 1, seed: 5 });
  const buffer = new Uint8Array(5000).fill(0xee);
  buffer.set(encodeSuperblock(superblock!), 333);
  assert.equal(decodeSuperblock(buffer.subarray(333, 333 + 4096)), { ok: true, value: superblock });
});

const sample = (): Uint8Array => encodeSuperblock(fc.sample(superblocks, { numRuns: 1, seed: 1 })[0]!);
const refusalOf = (change: (view: DataView) => void): string => {
  const bytes = sample();
  change(new DataView(bytes.buffer));
  const decoded = decodeSuperblock(bytes);
  return decoded.ok ? 'accepted' : decoded.refusal.detail;
};

test('other formats are named, other granularities, rings and sizes refused', () => {
  assert.match(refusalOf((view) => view.setUint32(60, 0x8374026a)), 'format v07');
  assert.match(refusalOf((view) => view.setUint32(60, 0x8374026d)), 'format v09');
  assert.match(refusalOf((view) => view.setUint32(60, 0)), 'no v08 magic');
  assert.match(refusalOf((view) => view.setUint32(80, 8192)), 'bm_bytes_per_bit is 8192');
  assert.match(refusalOf((view) => view.setUint32(88, 1)), 'accepted');
  assert.match(refusalOf((view) => (view.setUint32(88, 1), view.setUint32(92, 7))), 'invalid activity log');
  assert.match(refusalOf((view) => view.setUint32(88, 0)), 'invalid activity log');
  assert.match(refusalOf((view) => (view.setUint32(88, 0xffffffff), view.setUint32(92, 0xffffffff))), 'invalid activity log');
  assert.match(refusalOf((view) => view.setBigUint64(0, 2n ** 63n)), 'beyond any device');
});

test('stripes 0 and 0 are the ring from before there were stripes', () => {
  const bytes = sample();
  new DataView(bytes.buffer).setBigUint64(88, 0n);
  const decoded = decodeSuperblock(bytes);
  assert.ok(decoded.ok && decoded.value.alStripes === 1 && decoded.value.alStripeSize4k === 8);
});

test('only magic 026B together with AL_CLEAN is clean', () => {
  const [superblock] = fc.sample(superblocks, { numRuns: 1, seed: 2 });
  const cleanOf = (magic: Magic, flags: number): boolean => isClean({ ...superblock!, magic, flags });
  assert.ok(cleanOf(Magic.Clean, SuperblockFlag.AlClean));
  assert.not(cleanOf(Magic.Unclean, SuperblockFlag.AlClean));
  assert.not(cleanOf(Magic.Clean, 0));
});

test('a field that does not fit its place is a bug of the caller', () => {
  const [superblock] = fc.sample(superblocks, { numRuns: 1, seed: 3 });
  assert.throws(() => encodeSuperblock({ ...superblock!, deviceUuid: 2n ** 64n }), /UUID/);
  assert.throws(() => encodeSuperblock({ ...superblock!, alExtents: -1 }), /out of range/);
  assert.throws(() => encodeSuperblock({ ...superblock!, mdSizeSectors: 0.5 }), /out of range/);
});

test('recorded superblocks: in the place that the layout says, with its geometry, and the same bytes again', () => {
  for (const { name, metaDisk, sectors, image, imageSector, dump } of metadataRecordings('superblock')) {
    const shared = metaDisk.kind === 'internal';
    const at = (superblockSector(metaDisk, sectors) - imageSector) * 512;
    const bytes = image.subarray(at, at + 4096);
    const decoded = decodeSuperblock(bytes);
    assert.is(formatOf(bytes), 'v08', name);
    assert.ok(decoded.ok, name);
    assert.equal(encodeSuperblock(decoded.value), bytes, name);
    const layout = layoutOf(metaDisk, { dataSectors: sectors, metaSectors: sectors, shared }, decoded.value);
    assert.ok(layout.ok, name);
    assert.is(checkGeometry(decoded.value, layout.value), undefined, name);
    assert.is(isClean(decoded.value), !dump.includes('unclean'), name);
    assert.match(dump, `bm_offset ${layout.value.bitmapSector * 512}\n`, name);
    assert.match(dump, `al_offset ${layout.value.alSector * 512}\n`, name);
  }
});

test.run();
