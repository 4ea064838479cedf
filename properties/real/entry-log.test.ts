// The columns of the flight recorder: whatever went in comes out, in order, also when what was lent is overwritten and pages are used again.

import { isDeepStrictEqual } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import fc from '../fast-check.js';
import type { Input, Output } from '../../src/contract/index.js';
import type { RecordedEntry } from '../../src/contract/recording.js';
import { Arena } from '../../real/arena.js';
import { EntryLog, LogPages } from '../../real/daemon/entry-log.js';

const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> => fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>;
const number = fc.nat({ max: 2 ** 40 });
const bytes = fc.oneof(
  { weight: 2, arbitrary: fc.uint8Array({ maxLength: 40 }) },
  { weight: 1, arbitrary: fc.tuple(fc.integer({ min: 500, max: 9000 }), fc.nat(255)).map(([length, byte]) => new Uint8Array(length).fill(byte)) },
);
const place = fc.constantFrom({ resource: 'r0', volume: 0 }, { resource: 'r0', volume: 1 }, { resource: 'r1', volume: 0 });
const area = fc.constantFrom('data' as const, 'meta' as const);

const input: fc.Arbitrary<Input> = fc.oneof(
  fc.constantFrom<Input>({ type: 'pass-ended' }, { type: 'woken' }, { type: 'handler-failed', handler: 3, reason: 'none' }),
  record({ type: fc.constant('stream-sent' as const), stream: fc.integer(), bytesTotal: number }),
  record({ type: fc.constant('stream-received' as const), stream: fc.integer(), bytes }),
  record({ type: fc.constant('membership-received' as const), from: fc.string(), bytes }),
  record({ type: fc.constant('disk-done' as const), op: number }),
  record({ type: fc.constant('disk-done' as const), op: number, data: bytes }),
  fc.tuple(place, number, number).map(([where, id, sector]) => ({ type: 'app-read' as const, ...where, id, sector, sectors: 8 })),
  fc.tuple(place, number, number, bytes, fc.boolean()).map(([where, id, sector, data, fua]) => ({ type: 'app-write' as const, ...where, id, sector, data, fua })),
);

const output: fc.Arbitrary<Output> = fc.oneof(
  fc.constantFrom<Output>({ type: 'close', stream: 4 }, { type: 'disk-flush', op: 4, resource: 'r0', volume: 0, area: 'meta' }),
  record({ type: fc.constant('send' as const), stream: fc.integer(), pieces: fc.array(bytes, { maxLength: 5 }) }),
  fc.tuple(place, number, area, number).map(([where, op, of, sector]) => ({ type: 'disk-read' as const, op, ...where, area: of, sector, sectors: 16 })),
  fc.tuple(place, number, area, number, bytes, fc.boolean(), fc.boolean()).map(([where, op, of, sector, data, preflush, fua]) => ({ type: 'disk-write' as const, op, ...where, area: of, sector, data, preflush, fua })),
  fc.tuple(place, number).map(([where, id]) => ({ type: 'app-done' as const, ...where, id })),
  fc.tuple(place, number, bytes).map(([where, id, data]) => ({ type: 'app-done' as const, ...where, id, data })),
);

const entry: fc.Arbitrary<RecordedEntry> = fc.oneof(
  { weight: 4, arbitrary: record({ is: fc.constant('input' as const), nowUs: number, input }) },
  record({ is: fc.constant('drawn' as const), value: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) }),
  record({ is: fc.constant('outputs' as const), outputs: fc.array(output, { maxLength: 8 }) }),
);

const lentOf = (of: Input): Uint8Array | undefined => ('bytes' in of ? of.bytes : 'data' in of ? of.data : undefined);

function put(log: EntryLog, one: RecordedEntry): void {
  if (one.is === 'drawn') return log.drawn(one.value);
  if (one.is === 'outputs') return log.outputs(one.outputs);
  // Lent: overwritten as soon as it was looked at.
  const lent = structuredClone(one.input);
  log.input(lent, one.nowUs);
  lentOf(lent)?.fill(0xee);
}

test('what is put into a log comes out of it', () => {
  const pages = new LogPages(new Arena());
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 60 }), (entries) => {
      const log = new EntryLog(pages);
      for (const one of entries) put(log, one);
      // uvu's own comparison writes out what differs, which takes minutes here.
      assert.ok(isDeepStrictEqual(log.entries(), entries));
      assert.is(log.inputs, entries.filter(({ is }) => is === 'input').length);
      log.giveBack();
    }),
    { numRuns: 200 },
  );
});

test('what a read brought is kept once, and not beyond its pass', () => {
  const log = new EntryLog(new LogPages(new Arena()));
  const memory = new Uint8Array(100_000);
  const where = { resource: 'r0', volume: 0 };
  for (const byte of [1, 2]) {
    const before = log.bytes;
    log.input({ type: 'disk-done', op: byte, data: memory.fill(byte) }, byte);
    log.outputs([{ type: 'app-done', ...where, id: byte, data: memory }, { type: 'send', stream: 3, pieces: [memory, memory] }]);
    assert.ok(log.bytes - before < 110_000);
    log.passEnded();
  }
  memory.fill(0xee);
  const firstBytes = log.entries().flatMap((entry) => {
    if (entry.is === 'outputs') return entry.outputs.flatMap((of) => (of.type === 'app-done' ? [of.data![0]] : of.type === 'send' ? of.pieces.map((piece) => piece[99_999]) : []));
    return entry.is === 'input' && entry.input.type === 'disk-done' ? [entry.input.data![50_000]] : [];
  });
  assert.equal(firstBytes, [1, 1, 1, 1, 2, 2, 2, 2]);
});

test('what lies in an arena is recorded where it lies, and stays there', () => {
  const place = { resource: 'r0', volume: 0 };
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: 1, max: 400_000 }), fc.nat(255), fc.boolean()), { minLength: 20, maxLength: 40 }), (pieces) => {
      const arena = new Arena();
      const log = new EntryLog(new LogPages(arena));
      arena.ask((held) => log.holds(held));
      for (const [id, [length, byte, isWrite]] of pieces.entries()) {
        const { bytes } = arena.take(length)!;
        bytes.fill(byte);
        if (isWrite) log.input({ type: 'app-write', ...place, id, sector: 0, data: bytes, fua: false }, id);
        else log.input({ type: 'disk-done', op: id, data: bytes }, id);
        const half = bytes.subarray(length >> 1);
        log.outputs(isWrite ? [{ type: 'send', stream: 1, pieces: [new Uint8Array([byte]), half] }] : [{ type: 'app-done', ...place, id, data: half }]);
        log.passEnded();
        arena.reclaim();
        // Somebody else's, and nobody's afterwards.
        arena.take(200_000)!.bytes.fill(0xee);
      }
      const seen = log.entries();
      for (const [id, [length, byte, isWrite]] of pieces.entries()) {
        const [of, then] = [seen[2 * id]!, seen[2 * id + 1]!];
        const data = of.is === 'input' && 'data' in of.input ? of.input.data! : new Uint8Array(0);
        assert.ok(data.length === length && data.every((one) => one === byte), `piece ${id}`);
        const [output] = then.is === 'outputs' ? then.outputs : [];
        const given = output?.type === 'send' ? output.pieces : output?.type === 'app-done' ? [new Uint8Array([byte]), output.data!] : [];
        assert.is(given[0]![0], byte);
        assert.ok(given[1]!.length === length - (length >> 1) && given[1]!.every((one) => one === byte), `half of piece ${id}${isWrite ? '' : ', read'}`);
      }
    }),
    { numRuns: 10 },
  );
});

test('it goes on from page to page', () => {
  const log = new EntryLog(new LogPages(new Arena()));
  const entries: RecordedEntry[] = [];
  for (let op = 0; op < 40_000; op++) {
    entries.push({ is: 'input', nowUs: op, input: op % 3 === 0 ? { type: 'disk-done', op, data: new Uint8Array([op & 255]) } : { type: 'disk-done', op } });
    put(log, entries.at(-1)!);
  }
  for (const bytes of [1 << 20, (1 << 20) + 1, 700_000, 700_000]) {
    entries.push({ is: 'input', nowUs: bytes, input: { type: 'stream-received', stream: 1, bytes: new Uint8Array(bytes).fill(bytes & 255) } });
    put(log, entries.at(-1)!);
  }
  assert.ok(isDeepStrictEqual(log.entries(), entries));
});

test.run();
