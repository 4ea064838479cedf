import { test } from 'uvu';
import * as assert from 'uvu/assert';
import fc from '../fast-check.js';
import { beginWrite, bytesOf, dirtyPages, endWrite, isWriting, loadPages, mustWrite, orBytes, pageOfAlExtent } from '../../src/metadata/bitmap-io.js';
import {
  type Bitmap,
  PageState,
  clearAll,
  clearBits,
  countBits,
  countOutOfSync,
  countResyncExtent,
  createBitmap,
  nextRun,
  nextSetBit,
  pageBits,
  setAll,
  setBits,
  setInSync,
  setOutOfSync,
} from '../../src/metadata/bitmap.js';

/** What must always hold: counts and total are exact, storage only where needed, nothing behind the end. */
function checkInvariants(bitmap: Bitmap): void {
  let weight = 0;
  for (let page = 0; page < bitmap.pages; page++) {
    const words = bitmap.words.get(page);
    const size = pageBits(bitmap, page);
    weight += bitmap.counts[page]!;
    if (!words) {
      assert.ok(bitmap.counts[page] === 0 || bitmap.counts[page] === size);
      continue;
    }
    let count = 0;
    for (let bit = 0; bit < 32768; bit++) {
      if (!((words[bit >>> 5]! >>> (bit & 31)) & 1)) continue;
      assert.ok(bit < size, 'bit behind the end');
      count++;
    }
    assert.is(count, bitmap.counts[page]);
    assert.ok(count > 0 && count < size, 'storage that is not needed');
  }
  assert.is(weight, bitmap.weight);
}

type Step =
  | { op: 'out' | 'in' | 'count'; sector: number; sectors: number }
  | { op: 'set' | 'clear'; bit: number; bits: number }
  | { op: 'or'; offset: number; bytes: Uint8Array }
  | { op: 'all' | 'none' | 'reload' };

/** Positions cluster at edges: of the device, of pages, of words. */
function stepsFor(sectors: number, longest: number): fc.Arbitrary<Step[]> {
  const bits = Math.ceil(sectors / 8);
  const near = (edge: number, limit: number): fc.Arbitrary<number> =>
    fc.integer({ min: Math.max(0, edge - 70), max: Math.max(0, Math.min(limit, edge + 70)) });
  const edges = (unit: number, limit: number): fc.Arbitrary<number> =>
    fc.oneof(near(0, limit), near(limit, limit), near(Math.floor(limit / 2), limit), fc.nat(Math.max(0, Math.floor(limit / unit))).chain((n) => near(n * unit, limit)));
  const range = (unit: number, limit: number): fc.Arbitrary<[number, number]> =>
    fc.tuple(edges(unit, limit), fc.oneof(fc.nat(20), fc.nat(longest))).map(([start, length]) => [start, Math.min(length, limit - start)]);
  const inSectors = range(262144, sectors);
  const inBits = range(32768, bits);
  return fc.array(
    fc.oneof(
      { weight: 4, arbitrary: inSectors.map(([sector, length]): Step => ({ op: 'out', sector, sectors: length })) },
      { weight: 4, arbitrary: inSectors.map(([sector, length]): Step => ({ op: 'in', sector, sectors: length })) },
      { weight: 2, arbitrary: inSectors.map(([sector, length]): Step => ({ op: 'count', sector, sectors: length })) },
      { weight: 2, arbitrary: inBits.map(([bit, length]): Step => ({ op: 'set', bit, bits: length })) },
      { weight: 1, arbitrary: inBits.map(([bit, length]): Step => ({ op: 'clear', bit, bits: length })) },
      {
        weight: 2,
        arbitrary: fc
          .tuple(edges(32768, bits), fc.uint8Array({ maxLength: 40 }))
          .map(([bit, bytes]): Step => ({ op: 'or', offset: Math.floor(bit / 32) * 4, bytes: bytes.slice(0, bytes.length - (bytes.length % 4)) })),
      },
      { weight: 1, arbitrary: fc.constantFrom<Step>({ op: 'all' }, { op: 'none' }, { op: 'reload' }) },
    ),
    { maxLength: 25 },
  );
}

/** The same bitmap as a set of bits, done naively; large bitmaps leave out what fills them. */
function runAgainstModel(sectors: number, steps: Step[], small: boolean): void {
  const bitmap = createBitmap(sectors);
  const model = new Set<number>();
  const add = (from: number, to: number): number => {
    let newly = 0;
    for (let bit = from; bit < to; bit++) if (!model.has(bit)) newly += model.add(bit) ? 1 : 0;
    return newly;
  };
  const remove = (from: number, to: number): number => {
    let newly = 0;
    for (let bit = from; bit < to; bit++) newly += model.delete(bit) ? 1 : 0;
    return newly;
  };
  for (const step of steps) {
    switch (step.op) {
      case 'out': {
        const end = step.sectors === 0 ? 0 : Math.ceil((step.sector + step.sectors) / 8);
        assert.is(setOutOfSync(bitmap, step.sector, step.sectors), add(Math.floor(step.sector / 8), end));
        break;
      }
      case 'in': {
        const reaches = step.sector + step.sectors === sectors;
        const end = reaches ? Math.ceil(sectors / 8) : Math.floor((step.sector + step.sectors) / 8);
        assert.is(setInSync(bitmap, step.sector, step.sectors), remove(Math.ceil(step.sector / 8), end));
        break;
      }
      case 'count': {
        let count = 0;
        if (step.sectors > 0) for (let bit = Math.floor(step.sector / 8); bit < Math.ceil((step.sector + step.sectors) / 8); bit++) count += model.has(bit) ? 1 : 0;
        assert.is(countOutOfSync(bitmap, step.sector, step.sectors), count);
        break;
      }
      case 'set':
        assert.is(setBits(bitmap, step.bit, step.bits), add(step.bit, step.bit + step.bits));
        break;
      case 'clear':
        assert.is(clearBits(bitmap, step.bit, step.bits), remove(step.bit, step.bit + step.bits));
        break;
      case 'or': {
        let newly = 0;
        for (let n = 0; n < step.bytes.length * 8; n++) {
          const bit = step.offset * 8 + n;
          if ((step.bytes[n >>> 3]! >>> (n & 7)) & 1 && bit < bitmap.bits) newly += add(bit, bit + 1);
        }
        assert.is(orBytes(bitmap, step.offset, step.bytes), newly);
        break;
      }
      case 'all':
        if (!small) break;
        setAll(bitmap);
        add(0, bitmap.bits);
        break;
      case 'none':
        clearAll(bitmap);
        model.clear();
        break;
      case 'reload':
        if (!small) break;
        loadPages(bitmap, 0, bytesOf(bitmap, 0, bitmap.pages * 4096));
        break;
      default:
        step satisfies never;
    }
    assert.is(bitmap.weight, model.size);
  }
  checkInvariants(bitmap);
  const sorted = Array.from(model).sort((a, b) => a - b);
  let at = 0;
  for (const bit of sorted.slice(0, 500)) {
    assert.is(nextSetBit(bitmap, at), bit);
    at = bit + 1;
  }
  if (sorted.length <= 500) assert.is(nextSetBit(bitmap, at), -1);
  const runs: { set: boolean; bits: number }[] = [];
  let covered = 0;
  while (covered < bitmap.bits && runs.length < 500) {
    const run = nextRun(bitmap, covered);
    assert.ok(run.bits > 0);
    assert.is(run.set, model.has(covered));
    assert.is(run.set, covered + run.bits < bitmap.bits ? !model.has(covered + run.bits) : run.set);
    if (runs.length > 0) assert.is.not(run.set, runs.at(-1)!.set);
    runs.push(run);
    covered += run.bits;
  }
  if (covered === bitmap.bits) assert.is(runs.filter((run) => run.set).reduce((sum, run) => sum + run.bits, 0), model.size);
  for (const bit of sorted.slice(0, 20)) {
    const extent = Math.floor(bit / 4096);
    assert.is(countResyncExtent(bitmap, extent), sorted.filter((other) => Math.floor(other / 4096) === extent).length);
  }
}

test('small devices of any size, also of odd sectors: as a set of bits done naively', () => {
  const cases = fc
    .oneof(fc.integer({ min: 1, max: 3000 }), fc.integer({ min: 1, max: 262144 * 3 }), fc.constantFrom(8, 512, 262144, 262145, 524287, 524288))
    .chain((sectors) => fc.tuple(fc.constant(sectors), stepsFor(sectors, sectors)));
  fc.assert(
    fc.property(cases, ([sectors, steps]) => runAgainstModel(sectors, steps, true)),
    { numRuns: 150 },
  );
});

test('B037, B043: devices far beyond 2^32 sectors and 2^32 bits, as a set done naively', () => {
  const cases = fc.constantFrom(2 ** 33 + 5, 2 ** 34, 2 ** 36 + 12345).chain((sectors) => fc.tuple(fc.constant(sectors), stepsFor(sectors, 4000)));
  fc.assert(
    fc.property(cases, ([sectors, steps]) => runAgainstModel(sectors, steps, false)),
    { numRuns: 60 },
  );
});

test('B037, B043: runs and counts longer than 2^31 bits are exact', () => {
  const bitmap = createBitmap(2 ** 37 + 3);
  assert.is(bitmap.bits, 2 ** 34 + 1);
  const bit = 2 ** 33 + 5;
  assert.is(setBits(bitmap, bit, 1), 1);
  assert.equal(nextRun(bitmap, 0), { set: false, bits: bit });
  assert.equal(nextRun(bitmap, bit + 1), { set: false, bits: 2 ** 34 + 1 - bit - 1 });
  assert.is(setBits(bitmap, 10, 2 ** 33), 2 ** 33 - 1);
  assert.equal(nextRun(bitmap, 10), { set: true, bits: 2 ** 33 });
  assert.is(bitmap.weight, 2 ** 33);
  assert.is(countBits(bitmap, 0, bitmap.bits), 2 ** 33);
  assert.is(setOutOfSync(bitmap, 2 ** 37, 3), 1);
  assert.is(nextSetBit(bitmap, 2 ** 33 + 10), 2 ** 34);
  setAll(bitmap);
  assert.is(bitmap.weight, 2 ** 34 + 1);
  assert.is(setInSync(bitmap, 0, 2 ** 37 + 3), 2 ** 34 + 1);
  assert.is(bitmap.words.size, 0);
});

test('a 4 TiB device costs no page until it is dirty, nor when all of it is', () => {
  const bitmap = createBitmap(2 ** 33);
  assert.is(bitmap.words.size, 0);
  assert.ok(bitmap.counts.byteLength + bitmap.states.byteLength < 102400);
  setAll(bitmap);
  assert.is(bitmap.words.size, 0);
  assert.is(bitmap.weight, 2 ** 30);
  setInSync(bitmap, 2 ** 32, 8);
  assert.is(bitmap.words.size, 1);
  setOutOfSync(bitmap, 2 ** 32, 1);
  assert.is(bitmap.words.size, 0);
});

test('marks round outwards, clears inwards; the last partial block clears with the end of the device', () => {
  const bitmap = createBitmap(8 * 100 + 3);
  assert.is(setOutOfSync(bitmap, 7, 2), 2);
  assert.is(setInSync(bitmap, 1, 15), 1);
  assert.is(nextSetBit(bitmap, 0), 0);
  assert.is(setInSync(bitmap, 0, 8), 1);
  assert.is(setOutOfSync(bitmap, 802, 1), 1);
  assert.is(setInSync(bitmap, 801, 2), 0, 'block 100 begins at sector 800');
  assert.is(setInSync(bitmap, 800, 2), 0, 'sector 802 is missing');
  assert.is(setInSync(bitmap, 800, 3), 1);
});

test('a range that leaves the device is a bug of the caller', () => {
  const bitmap = createBitmap(800);
  assert.throws(() => setOutOfSync(bitmap, 799, 2), /leaves the device/);
  assert.throws(() => setInSync(bitmap, -1, 2), /leaves the device/);
  assert.throws(() => setBits(bitmap, 100, 1), /leaves the device/);
  assert.throws(() => countBits(bitmap, 0.5, 1), /leaves the device/);
  assert.throws(() => nextRun(bitmap, 100), /leaves the device/);
  assert.throws(() => createBitmap(-1), /not a device size/);
  assert.is(setOutOfSync(bitmap, 5, 0), 0);
});

test('B038: a range over an extent border counts in both extents', () => {
  const bitmap = createBitmap(32768 * 3);
  setAll(bitmap);
  assert.is(setInSync(bitmap, 32768 - 80, 160), 20);
  assert.equal([0, 1, 2].map((extent) => countResyncExtent(bitmap, extent)), [4086, 4086, 4096]);
  assert.is(countResyncExtent(createBitmap(32768 * 2 + 8), 2), 0);
});

test('B034: a bit that is set already is never counted again', () => {
  const bitmap = createBitmap(80000);
  setOutOfSync(bitmap, 80, 80);
  assert.is(setBits(bitmap, 5, 20), 10, 'a run over ten set bits');
  assert.is(setBits(bitmap, 5, 20), 0);
  assert.is(orBytes(bitmap, 0, new Uint8Array(8).fill(255)), 44);
  assert.is(orBytes(bitmap, 0, new Uint8Array(8).fill(255)), 0);
  assert.is(bitmap.weight, 64);
  setAll(bitmap);
  assert.is(setBits(bitmap, 0, bitmap.bits), 0);
  assert.is(bitmap.weight, bitmap.bits);
});

test('B032: merged bits must be written, whichever way they came', () => {
  const bitmap = createBitmap(262144 * 3);
  setBits(bitmap, 32768 + 7, 1);
  assert.equal(dirtyPages(bitmap, 'must'), [1]);
  orBytes(bitmap, 2 * 4096 + 8, new Uint8Array([1, 0, 0, 0]));
  assert.equal(dirtyPages(bitmap, 'must'), [1, 2]);
  setBits(bitmap, 0, 32768);
  assert.equal(dirtyPages(bitmap, 'must'), [0, 1, 2]);
});

test('cleared bits are written lazily, unless bits were set as well', () => {
  const bitmap = createBitmap(262144 * 2);
  setAll(bitmap);
  beginWrite(bitmap, 0, 2);
  endWrite(bitmap, 0, 2, true);
  assert.equal(dirtyPages(bitmap, 'any'), []);
  clearBits(bitmap, 5, 5);
  assert.equal(dirtyPages(bitmap, 'must'), []);
  assert.equal(dirtyPages(bitmap, 'any'), [0]);
  setBits(bitmap, 5, 1);
  assert.ok(mustWrite(bitmap, 0));
  clearAll(bitmap);
  assert.equal(dirtyPages(bitmap, 'any'), [0, 1]);
});

test('what does not change a bit owes nothing', () => {
  const bitmap = createBitmap(262144);
  setBits(bitmap, 5, 5);
  beginWrite(bitmap, 0, 1);
  endWrite(bitmap, 0, 1, true);
  setBits(bitmap, 6, 2);
  clearBits(bitmap, 100, 50);
  orBytes(bitmap, 0, new Uint8Array([32, 0, 0, 0]));
  assert.is(bitmap.states[0], PageState.Clean);
});

test('B063: what changes while a page is being written stays owed, whether that write succeeds or not', () => {
  for (const written of [true, false]) {
    const bitmap = createBitmap(262144);
    setBits(bitmap, 1, 1);
    const bytes = beginWrite(bitmap, 0, 1);
    assert.not(mustWrite(bitmap, 0));
    assert.ok(isWriting(bitmap, 0));
    setBits(bitmap, 9, 1);
    assert.is(bytes[1], 0, 'the bytes are a copy');
    endWrite(bitmap, 0, 1, written);
    assert.ok(mustWrite(bitmap, 0));
    assert.not(isWriting(bitmap, 0));
    assert.is(beginWrite(bitmap, 0, 1)[1], 2);
    clearBits(bitmap, 1, 1);
    endWrite(bitmap, 0, 1, true);
    assert.equal([dirtyPages(bitmap, 'must'), dirtyPages(bitmap, 'any')], [[], [0]]);
  }
});

test('a failed write owes again what it carried', () => {
  const bitmap = createBitmap(262144 * 2);
  setBits(bitmap, 1, 1);
  beginWrite(bitmap, 0, 2);
  assert.throws(() => beginWrite(bitmap, 1, 1), /being written/);
  assert.throws(() => loadPages(bitmap, 1, new Uint8Array(4096)), /being written/);
  endWrite(bitmap, 0, 2, false);
  assert.equal(dirtyPages(bitmap, 'any'), [0]);
  assert.throws(() => endWrite(bitmap, 0, 1, true), /not being written/);
});

test('pages come back from the disk as they were; rubbish behind the end is dropped, the last 64 bits are not', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 262144 * 3 }), fc.infiniteStream(fc.nat(255)), fc.nat(3), (sectors, stream, sparse) => {
      const bitmap = createBitmap(sectors);
      const bytes = new Uint8Array(bitmap.pages * 4096);
      for (let n = 0; n < 200; n++) {
        const at = Math.floor(((stream.next().value as number) / 256) * bytes.length);
        bytes.fill(sparse === 0 ? 255 : (stream.next().value as number), at, at + (stream.next().value as number));
      }
      if (sparse === 1) bytes.fill(255);
      loadPages(bitmap, 0, bytes);
      checkInvariants(bitmap);
      assert.equal(dirtyPages(bitmap, 'any'), []);
      const masked = bytes.slice();
      masked.fill(0, Math.ceil(bitmap.bits / 8));
      if (bitmap.bits % 8 !== 0) masked[bitmap.bits >>> 3]! &= (1 << (bitmap.bits & 7)) - 1;
      assert.equal(bytesOf(bitmap, 0, bytes.length), masked);
      // Any piece of it is the same bytes.
      const from = Math.floor(((stream.next().value as number) / 256) * (bytes.length / 4)) * 4;
      const length = Math.min(4 * (stream.next().value as number), bytes.length - from);
      assert.equal(bytesOf(bitmap, from, length), masked.subarray(from, from + length));
    }),
    { numRuns: 100 },
  );
});

test('a bitmap of a multiple of 64 bits keeps its last 64 bits (metadata.md §4, the kernel defect)', () => {
  const bitmap = createBitmap(256 * 8);
  loadPages(bitmap, 0, new Uint8Array(4096).fill(255));
  assert.is(bitmap.weight, 256);
});

test('bytes behind the end: zero when read, ignored when merged', () => {
  const bitmap = createBitmap(80);
  assert.is(orBytes(bitmap, 0, new Uint8Array(8192).fill(255)), 10);
  assert.equal(Array.from(bytesOf(bitmap, 0, 8)), [255, 3, 0, 0, 0, 0, 0, 0]);
  assert.equal(bytesOf(bitmap, 4096, 4096), new Uint8Array(4096));
  assert.throws(() => orBytes(bitmap, 2, new Uint8Array(4)), /whole words/);
  assert.throws(() => loadPages(bitmap, 1, new Uint8Array(4096)), /at page 1 of 1/);
});

test('an activity-log extent lies on one page (metadata.md §4)', () => {
  assert.equal([0, 31, 32, 65533, 0xfffffffe].map(pageOfAlExtent), [0, 0, 1, 2047, 134217727]);
});

test.run();
