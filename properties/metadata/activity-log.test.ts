import { test } from 'uvu';
import * as assert from 'uvu/assert';
import fc from '../fast-check.js';
import {
  AL_BLOCK_BYTES,
  AL_CONTEXT_SLOTS,
  AL_FREE,
  type AlUpdate,
  advance,
  alBlocks,
  blockIndex,
  clampAlExtents,
  decodeBlock,
  emptyBlock,
  encodeTransaction,
  newCursor,
  replayLog,
} from '../../src/metadata/activity-log.js';
import { crc32c } from '../../src/metadata/crc32c.js';
import { type AlGeometry, defaultAlGeometry, layoutOf } from '../../src/metadata/layout.js';
import { SuperblockFlag, decodeSuperblock, hasFlag } from '../../src/metadata/superblock.js';
import { metadataRecordings } from './recordings.js';

/** A ring and an active set that write each other. */
class Log {
  readonly blocks: Uint8Array[];
  readonly slots: Uint32Array;
  readonly cursor = newCursor();
  /** The block that the newest transaction replaced, and the set before that transaction. */
  before = { index: 0, block: emptyBlock(), extents: [] as number[] };

  constructor(
    readonly geometry: AlGeometry,
    alExtents: number,
    firstNumber = 0,
  ) {
    this.blocks = Array.from({ length: alBlocks(geometry) }, emptyBlock);
    this.slots = new Uint32Array(clampAlExtents(alExtents, geometry)).fill(AL_FREE);
    this.cursor.number = firstNumber;
  }

  write(updates: AlUpdate[]): void {
    const index = blockIndex(this.geometry, this.cursor.number);
    this.before = { index, block: this.blocks[index]!, extents: this.extents() };
    this.blocks[index] = encodeTransaction(this.cursor, this.slots, updates);
    for (const { slot, extent } of updates) this.slots[slot] = extent;
    advance(this.cursor, this.slots.length, this.geometry);
  }

  extents(): number[] {
    return Array.from(new Set(this.slots))
      .filter((extent) => extent !== AL_FREE)
      .sort((a, b) => a - b);
  }

  /** The extents that a replay finds, or its outcome when it finds none. */
  replayed(): number[] | string {
    const replay = replayLog(this.geometry, (index) => this.blocks[index]!);
    return replay.outcome === 'extents' ? replay.extents : replay.outcome;
  }
}

/** Lengths that are and are not powers of two, one stripe and several. */
const geometries = fc.constantFrom<AlGeometry>(
  defaultAlGeometry,
  { alStripes: 3, alStripeSize4k: 3 },
  { alStripes: 2, alStripeSize4k: 5 },
  { alStripes: 4, alStripeSize4k: 8 },
  { alStripes: 1, alStripeSize4k: 73 },
);
const firstNumbers = fc.oneof(fc.constant(0), fc.nat(200), fc.integer({ min: 0xffffffff - 30, max: 0xffffffff }));
const sizes = fc.constantFrom(1, 67, 257, 919, 1237, 2000, 6433);
const transactions = fc.array(
  fc.array(fc.record({ slot: fc.nat(65535), extent: fc.oneof(fc.nat(5000), fc.nat(0xfffffffe), fc.constant(AL_FREE)) }), { maxLength: 64 }),
  { maxLength: 40 },
);
const fitting = (log: Log, updates: AlUpdate[]): AlUpdate[] => {
  const bySlot = new Map(updates.map(({ slot, extent }) => [slot % log.slots.length, extent]));
  return Array.from(bySlot, ([slot, extent]) => ({ slot, extent }));
};

test('a replay gives the active set after each transaction, over any wrap of ring, context and number', () => {
  fc.assert(
    fc.property(geometries, sizes, firstNumbers, transactions, (geometry, size, first, all) => {
      const log = new Log(geometry, size, first);
      assert.is(log.replayed(), 'empty');
      for (const updates of all) {
        log.write(fitting(log, updates));
        assert.equal(log.replayed(), log.extents());
      }
    }),
    { numRuns: 150 },
  );
});

test('the newest block torn at any sector: the set before it, in a ring that began at 0', () => {
  fc.assert(
    fc.property(geometries, sizes, transactions, fc.integer({ min: 1, max: 255 }), (geometry, size, all, survived) => {
      const log = new Log(geometry, size);
      for (const updates of all) {
        log.write(fitting(log, updates));
        const { index, block: old, extents } = log.before;
        const written = log.blocks[index]!;
        const torn = old.slice();
        for (let sector = 0; sector < 8; sector++) {
          if (survived & (1 << sector)) torn.set(written.subarray(sector * 512, sector * 512 + 512), sector * 512);
        }
        const whole = torn.every((byte, n) => byte === written[n]);
        log.blocks[index] = torn;
        const replayed = log.replayed();
        log.blocks[index] = written;
        if (whole) assert.equal(replayed, log.extents());
        else assert.equal(replayed, replayed === 'empty' ? 'empty' : extents);
        if (replayed === 'empty') assert.equal(extents, []);
      }
    }),
    { numRuns: 100 },
  );
});

test('the newest block torn at any byte: the set before it or the one after it', () => {
  fc.assert(
    fc.property(geometries, sizes, transactions, fc.array(fc.nat(4095), { minLength: 1, maxLength: 8 }), (geometry, size, all, cuts) => {
      const log = new Log(geometry, size);
      for (const updates of all) {
        log.write(fitting(log, updates));
        const { index, block: old, extents } = log.before;
        const written = log.blocks[index]!;
        for (const cut of cuts) {
          const torn = old.slice();
          torn.set(written.subarray(0, cut));
          const whole = torn.every((byte, n) => byte === written[n]);
          log.blocks[index] = torn;
          const replayed = log.replayed();
          if (replayed === 'empty') assert.equal(whole ? log.extents() : extents, []);
          else assert.equal(replayed, whole ? log.extents() : extents);
        }
        log.blocks[index] = written;
      }
    }),
    { numRuns: 40 },
  );
});

test('B052: with a ring and a set other than the default ones the newest transaction counts', () => {
  const log = new Log({ alStripes: 4, alStripeSize4k: 16 }, 6433);
  for (let n = 0; n < 50; n++) {
    log.write([{ slot: n * 100, extent: 1000 + n }]);
    assert.equal(log.replayed(), Array.from({ length: n + 1 }, (_, at) => 1000 + at));
  }
  log.write([{ slot: 6432, extent: 7 }]);
  assert.equal((log.replayed() as number[]).slice(0, 2), [7, 1000]);
});

test('B054: a damaged block anywhere does not end the replay, and is not believed', () => {
  for (let damaged = 0; damaged < 8; damaged++) {
    const log = new Log(defaultAlGeometry, 67);
    for (let n = 0; n < 20; n++) log.write([{ slot: n, extent: 100 + n }]);
    // Slot 60 gets extent 9999 by a block whose checksum is wrong.
    const bytes = log.blocks[damaged]!.slice();
    const view = new DataView(bytes.buffer);
    view.setUint16(14, 2);
    view.setUint16(36 + 2, 60);
    view.setUint32(164 + 4, 9999);
    log.blocks[damaged] = bytes;
    assert.is(decodeBlock(bytes).kind, 'invalid');
    // Number 19 is the newest: it alone knows of extent 119. All others stand in the context of later blocks.
    const expected = log.extents().filter((extent) => !(damaged === 19 % 8 && extent === 119));
    assert.equal(log.replayed(), expected, `block ${damaged}`);
  }
});

test('B055: the newest transaction need not lie at the end of the ring', () => {
  const log = new Log(defaultAlGeometry, 67);
  for (let n = 0; n < 8 * 3; n++) {
    // One slot, another extent each time: whoever takes positions for time finds an older one.
    log.write([{ slot: 5, extent: n }]);
    assert.equal(log.replayed(), [n]);
  }
});

test('the number wraps at 2^32 and stays in step with the ring', () => {
  for (const alStripeSize4k of [8, 9, 73]) {
    const geometry = { alStripes: 1, alStripeSize4k };
    const log = new Log(geometry, 67, 0xfffffff0);
    let position = 0xfffffff0 % alStripeSize4k;
    for (let n = 0; n < 40; n++) {
      assert.is(blockIndex(geometry, log.cursor.number), position);
      log.write([{ slot: 1, extent: n }]);
      position = (position + 1) % alStripeSize4k;
      assert.equal(log.replayed(), [n]);
    }
    assert.ok(log.cursor.number < 1000);
  }
});

test('consecutive transactions go round the stripes (metadata.md §3.1)', () => {
  const geometry = { alStripes: 2, alStripeSize4k: 16 };
  assert.equal([0, 1, 2, 3, 31, 32].map((number) => blockIndex(geometry, number)), [0, 16, 1, 17, 31, 0]);
});

test('a block says what was encoded, whatever it was', () => {
  fc.assert(
    fc.property(sizes, firstNumbers, transactions, (size, number, [updates = []]) => {
      const log = new Log({ alStripes: 1, alStripeSize4k: 8 }, size);
      const cursor = { number, contextStart: log.slots.length > AL_CONTEXT_SLOTS ? AL_CONTEXT_SLOTS : 0 };
      log.slots.forEach((_, n) => (log.slots[n] = n * 7));
      const fit = fitting(log, updates);
      const committed = log.slots.slice();
      const block = decodeBlock(encodeTransaction(cursor, log.slots, fit));
      assert.ok(block.kind === 'update');
      assert.is(block.number, number);
      assert.equal(block.updates, fit);
      assert.is(block.contextSize, log.slots.length);
      assert.is(block.contextStart, cursor.contextStart);
      block.context.forEach((extent, n) => assert.is(extent, committed[cursor.contextStart + n] ?? AL_FREE));
    }),
  );
});

test('an empty block is the one that drbdmeta writes', () => {
  assert.is(new DataView(emptyBlock().buffer).getUint32(8), 0x709cc651);
  assert.is(decodeBlock(emptyBlock()).kind, 'empty');
});

test('any bytes, with a right checksum too: a set or a refusal, never an exception', () => {
  const block = fc.record({
    seed: fc.uint8Array({ minLength: 64, maxLength: 64 }),
    at: fc.nat(AL_BLOCK_BYTES - 64),
    kind: fc.constantFrom('empty', 'update', 'zero'),
    sealed: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(block, { minLength: 9, maxLength: 9 }), (blocks) => {
      const ring = blocks.map(({ seed, at, kind, sealed }) => {
        const bytes =
          kind === 'zero' ? new Uint8Array(4096) : kind === 'empty' ? emptyBlock() : encodeTransaction(newCursor(), new Uint32Array(67).fill(3), []);
        bytes.set(seed, at);
        const view = new DataView(bytes.buffer);
        if (sealed) {
          view.setUint32(0, 0x69cb65a2);
          view.setUint32(8, 0);
          view.setUint32(8, crc32c(0, bytes));
        }
        return bytes;
      });
      const replay = replayLog({ alStripes: 3, alStripeSize4k: 3 }, (index) => ring[index]!);
      if (replay.outcome !== 'extents') return;
      assert.ok(replay.extents.every((extent, n) => n === 0 || extent > replay.extents[n - 1]!));
    }),
    { numRuns: 300 },
  );
  assert.is(decodeBlock(new Uint8Array(100)).kind, 'invalid');
});

test('a log without transactions is empty, torn at position 0, or not to be trusted', () => {
  const ring = (bad: number[], rest = emptyBlock()): string => {
    const replay = replayLog(defaultAlGeometry, (index) => (bad.includes(index) ? new Uint8Array(4096) : rest));
    return replay.outcome === 'failed' ? replay.reason : replay.outcome === 'empty' ? `empty ${replay.torn}` : replay.outcome;
  };
  assert.is(ring([]), 'empty false');
  assert.is(ring([0]), 'empty true');
  assert.is(ring([1]), 'no valid transaction');
  assert.is(ring([0, 1]), 'no valid transaction');
  assert.is(ring([0, 1, 2, 3, 4, 5, 6, 7]), 'no valid block');
});

test('the active set fits the ring with one block to spare', () => {
  assert.is(clampAlExtents(1237, defaultAlGeometry), 1237);
  assert.is(clampAlExtents(1, defaultAlGeometry), 67);
  assert.is(clampAlExtents(65534, defaultAlGeometry), 6433);
  assert.is(clampAlExtents(65534, { alStripes: 1, alStripeSize4k: 72 }), 71 * 919);
  assert.is(clampAlExtents(99999, { alStripes: 1, alStripeSize4k: 73 }), 65534);
});

test('what does not fit a block is a bug of the caller', () => {
  const slots = new Uint32Array(67);
  const many = Array.from({ length: 65 }, (_, slot) => ({ slot, extent: 1 }));
  assert.throws(() => encodeTransaction(newCursor(), slots, many), /65 changes/);
  assert.throws(() => encodeTransaction(newCursor(), slots, [{ slot: 67, extent: 1 }]), /slot 67/);
  assert.throws(() => encodeTransaction({ number: 0, contextStart: 919 }, slots, []), /context at 919/);
});

test('recorded logs: the extents that drbdmeta marked', () => {
  for (const { name, metaDisk, sectors, image, imageSector, applied } of metadataRecordings('activity log')) {
    const internal = metaDisk.kind === 'internal';
    const superblockAt = internal ? sectors - 8 - imageSector : 0;
    const superblock = decodeSuperblock(image.subarray(superblockAt * 512));
    assert.ok(superblock.ok, name);
    const layout = layoutOf(metaDisk, { dataSectors: sectors, metaSectors: sectors, shared: internal }, superblock.value);
    assert.ok(layout.ok, name);
    const base = (layout.value.alSector - imageSector) * 512;
    const replay = replayLog(layout.value, (index) => image.subarray(base + index * 4096, base + (index + 1) * 4096));
    if (!applied) continue;
    assert.ok(hasFlag(superblock.value, SuperblockFlag.PrimaryInd), name);
    assert.ok(replay.outcome === 'extents', name);
    // 4 KiB blocks 3, 64..96, 1500..1506 and the two at size/4k - 64 of external-crashed-alice (12 MiB), internal-crashed-alice (16 MiB).
    assert.equal(replay.extents, internal ? [0, 1, 3] : [0, 1, 2], name);
  }
});

test.run();
