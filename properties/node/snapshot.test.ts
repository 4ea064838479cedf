// A snapshot is the whole state and nothing else: what comes back is the same in every value, order, type and shared object
// (judged by `isomorphic` below, which knows nothing of the format), equal bytes mean equal states, and what is no plain data
// is refused by name.

import fc from '../fast-check.js';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { InvariantError } from '../../src/model/core.js';
import type { NodeState, Request } from '../../src/model/types.js';
import { decodeState, encodeState, fingerprintOf } from '../../src/node/snapshot.js';

// ---- The judge -------------------------------------------------------------------------------------------------------

/** Equal in every value, type and order, and shared in the same places; empty arrays of bytes and words have no identity. */
function isomorphic(left: unknown, right: unknown, partners = new Map<object, object>(), taken = new Set<object>()): boolean {
  if (typeof left !== 'object' || typeof right !== 'object' || left === null || right === null) return Object.is(left, right);
  if (Object.getPrototypeOf(left) !== Object.getPrototypeOf(right)) return false;
  if (ArrayBuffer.isView(left) && left.byteLength === 0) return ArrayBuffer.isView(right) && right.byteLength === 0;
  if (partners.has(left) || taken.has(right)) return partners.get(left) === right;
  partners.set(left, right);
  taken.add(right);
  const [ours, theirs] = [partsOf(left), partsOf(right)];
  return ours.length === theirs.length && ours.every((part, index) => isomorphic(part, theirs[index], partners, taken));
}

function partsOf(value: object): unknown[] {
  if (value instanceof Map) return [...value].flat(1);
  if (value instanceof Set || Array.isArray(value)) return [...value];
  if (ArrayBuffer.isView(value)) return [...(value as Uint8Array)];
  return Object.keys(value).flatMap((key) => [key, (value as Record<string, unknown>)[key]]);
}

const sameBytes = (left: Uint8Array, right: Uint8Array): boolean => left.length === right.length && left.every((byte, index) => byte === right[index]);


const refusal = (state: unknown): string => {
  try {
    encodeState(state);
  } catch (error) {
    assert.instance(error, InvariantError);
    return (error as Error).message;
  }
  return 'accepted';
};

// ---- Values ------------------------------------------------------------------------------------------------------------

const anyText = fc.string({ unit: 'binary', maxLength: 12 });
const leaf: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom(undefined, null, true, false, 0, -0, '', 0n, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 2 ** 53, -1, 127, 128, Number.MIN_VALUE),
  fc.integer(),
  fc.maxSafeInteger(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.bigInt(),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  anyText,
  fc.constant('\ud800 half of a pair'),
  fc.uint8Array({ maxLength: 20 }),
  fc.uint16Array({ maxLength: 10 }),
  fc.uint32Array({ maxLength: 10 }),
);

const field = fc.oneof({ weight: 9, arbitrary: anyText }, { weight: 1, arbitrary: fc.constantFrom('__proto__', 'length', 'byteLength', 'constructor', '7') });

/** Objects in a row and, for each, what it holds: leaves, and others of the row by number. So there is sharing, and there are cycles. */
interface Plan {
  kind: 'object' | 'array' | 'map' | 'set';
  parts: { key: string; part: { to: number } | { leaf: unknown } }[];
}

const graph: fc.Arbitrary<unknown> = fc
  .array(
    fc.record<Plan>({
      kind: fc.constantFrom('object', 'array', 'map', 'set'),
      parts: fc.array(
        fc.record({ key: field, part: fc.oneof(fc.record({ to: fc.nat({ max: 30 }) }), fc.record({ leaf })) }),
        { maxLength: 6 },
      ),
    }),
    { minLength: 1, maxLength: 12 },
  )
  .map((plans) => {
    const made = plans.map(({ kind }) => (kind === 'object' ? {} : kind === 'array' ? [] : kind === 'map' ? new Map<unknown, unknown>() : new Set<unknown>()));
    plans.forEach(({ parts }, index) => {
      const container = made[index]!;
      for (const { key, part } of parts) {
        const value = 'to' in part ? made[part.to % made.length] : part.leaf;
        if (Array.isArray(container)) container.push(value);
        else if (container instanceof Set) container.add(value);
        else if (container instanceof Map) container.set(key.length % 2 === 0 ? key : value, value);
        else Object.defineProperty(container, key, { value, enumerable: true, writable: true, configurable: true });
      }
    });
    return made[0];
  });

/** A tree without sharing, with the path of a place in it where something else can be put. */
const tree = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    leaf,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(anyText, tie('value'), { maxKeys: 4, noNullPrototype: true }),
    fc.array(fc.tuple(fc.oneof(anyText, fc.integer(), fc.bigInt()), tie('value')), { maxLength: 4 }).map((entries) => new Map(entries)),
    fc.array(tie('value'), { maxLength: 4 }).map((members) => new Set(members)),
  ),
})).value;

// ---- There and back ----------------------------------------------------------------------------------------------------

test('decode after encode gives the same state, sharing and cycles included, and encodes to the same bytes', () => {
  let shared = 0;
  fc.assert(
    fc.property(graph, (state) => {
      const bytes = encodeState(state);
      const back = decodeState(bytes);
      assert.ok(isomorphic(state, back));
      assert.ok(sameBytes(encodeState(back), bytes));
      if (bytes.includes(17)) shared++;
    }),
    { numRuns: 2000 },
  );
  assert.ok(shared > 500, 'the generator makes graphs');
});

test('decode after encode is deeply equal by uvu too, which sees trees only', () => {
  fc.assert(fc.property(tree, (state) => assert.equal(decodeState(encodeState(state)), state)), { numRuns: 1000 });
});

test('bytes are equal exactly when states are', () => {
  const small = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 2 },
      fc.constantFrom(undefined, null, false, 0, -0, 1, -1, 0.5, '', '0', '1', 0n, 1n, -1n),
      fc.constantFrom(0, 1).map((length) => new Uint8Array(length)),
      fc.constantFrom(0, 1).map((length) => new Uint16Array(length)),
      fc.constantFrom(0, 1).map((length) => new Uint32Array(length)),
      fc.array(tie('value'), { maxLength: 2 }),
      fc.array(fc.tuple(fc.constantFrom('a', 'b', ''), tie('value')), { maxLength: 2 }).map((entries) => Object.fromEntries(entries) as unknown),
      fc.array(fc.tuple(tie('value'), tie('value')), { maxLength: 2 }).map((entries) => new Map(entries)),
      fc.array(tie('value'), { maxLength: 2 }).map((members) => new Set(members)),
      tie('value').map((value) => [value, value]),
    ),
  })).value;
  const seen = { equal: 0, different: 0 };
  fc.assert(
    fc.property(small, small, (left, right) => {
      const equal = isomorphic(left, right);
      seen[equal ? 'equal' : 'different']++;
      assert.is(sameBytes(encodeState(left), encodeState(right)), equal);
      assert.is(fingerprintOf(encodeState(left)) === fingerprintOf(encodeState(right)), equal);
    }),
    { numRuns: 20000 },
  );
  assert.ok(seen.equal > 100 && seen.different > 1000, JSON.stringify(seen));
});

test('a field set to undefined is not a field that is absent; order of fields and entries counts', () => {
  const different = [{}, { a: undefined }, { a: null }, { a: 1, b: 2 }, { b: 2, a: 1 }, new Map([[1, 2]]), new Map([['1', 2]]), new Set([1, 2]), new Set([2, 1]), [1, 2], [[1], 2], [[1, 2]]];
  assert.is(new Set(different.map((state) => fingerprintOf(encodeState(state)))).size, different.length);
});

// ---- Sharing -----------------------------------------------------------------------------------------------------------

test('a request in the transfer log and in a queue is one request afterwards, and its payload is one array', () => {
  const request = { id: 7, kind: 'write', sector: 8, data: Uint8Array.of(1, 2, 3), net: [] } as unknown as Request;
  const state = {
    resources: new Map([['r0', { log: { requests: new Map([[7, request]]) }, volumes: new Map([[0, { waiting: [request] }]]) }]]),
    operations: new Map([[1, { data: request.data }]]),
  };
  const back = decodeState(encodeState(state as unknown as NodeState)) as typeof state;
  const resource = back.resources.get('r0')!;
  const logged = resource.log.requests.get(7)!;
  assert.is(logged, resource.volumes.get(0)!.waiting[0]);
  assert.is(logged.data, back.operations.get(1)!.data);
  assert.is.not(logged, request);
  logged.completed = true;
  assert.is(resource.volumes.get(0)!.waiting[0]!.completed, true);
});

test('a state that holds itself', () => {
  const state: { self?: unknown; map: Map<unknown, unknown> } = { map: new Map() };
  state.self = state;
  state.map.set(state.map, state);
  const back = decodeState(encodeState(state)) as typeof state;
  assert.is(back.self, back);
  assert.is(back.map.get(back.map), back);
});

test('two views of one buffer are two arrays, one view in two places is one, and neither brings its buffer along', () => {
  const buffer = new Uint8Array(100_000).fill(7);
  const view = buffer.subarray(10, 14);
  const words = new Uint32Array(buffer.buffer, 8, 2);
  const bytes = encodeState({ view, again: view, other: buffer.subarray(10, 14), words });
  assert.ok(bytes.length < 100);
  const back = decodeState(bytes) as Record<string, Uint8Array>;
  assert.is(back['again'], back['view']);
  assert.is.not(back['other'], back['view']);
  assert.equal(back['words'], Uint32Array.of(0x07070707, 0x07070707));
  for (const array of [back['view']!, back['other']!, back['words']!]) assert.is(array.buffer.byteLength, array.byteLength);
  bytes.fill(0);
  assert.equal(back['view'], Uint8Array.of(7, 7, 7, 7));
});

test('a name costs its letters once, however many objects have it', () => {
  assert.ok(encodeState(Array.from({ length: 1000 }, () => ({ startedAtMicroseconds: 1 }))).length < 7000);
});

test('an empty array of bytes has no identity: a restored node that runs on stays equal to the first one', () => {
  const nothing = new Uint8Array(0);
  const running = { streams: [{ held: nothing }, { held: nothing }] };
  const restored = decodeState(encodeState(running)) as typeof running;
  for (const state of [running, restored]) state.streams.push({ held: nothing });
  assert.ok(sameBytes(encodeState(running), encodeState(restored)));
});

// ---- Refusals ------------------------------------------------------------------------------------------------------------

class Counter {
  constructor(public count: number) {}
}

test('a class instance is refused with its path, wherever it is planted', () => {
  let deepest = 0;
  fc.assert(
    fc.property(tree, fc.array(fc.nat(), { maxLength: 5 }), (state, choices) => {
      const root = { root: state };
      const { path, plant } = placeIn(root, choices);
      plant(new Counter(1));
      deepest = Math.max(deepest, path.length);
      assert.is(refusal(root), `state.${path.join('.')}: an instance of Counter is not plain data`);
    }),
    { numRuns: 1000 },
  );
  assert.ok(deepest > 3);
});

/** Goes down as long as `choices` last and there are containers, then tells the place and a way to put something else there. */
function placeIn(root: Record<string, unknown>, choices: readonly number[]): { path: string[]; plant: (value: unknown) => void } {
  const path = ['root'];
  let plant = (value: unknown): void => void (root['root'] = value);
  let here: unknown = root['root'];
  for (const choice of choices) {
    const container = here;
    if (container instanceof Map && container.size > 0) {
      const key: unknown = [...container.keys()][choice % container.size];
      plant = (value) => void container.set(key, value);
      path.push(String(key));
      here = container.get(key);
    } else if (Array.isArray(container) && container.length > 0) {
      const index = choice % container.length;
      plant = (value) => void (container[index] = value);
      path.push(String(index));
      here = container[index];
    } else if (typeof container === 'object' && container !== null && Object.getPrototypeOf(container) === Object.prototype && Object.keys(container).length > 0) {
      const fields = container as Record<string, unknown>;
      const key = Object.keys(fields)[choice % Object.keys(fields).length]!;
      plant = (value) => void Object.defineProperty(fields, key, { value, enumerable: true, writable: true, configurable: true });
      path.push(key);
      here = fields[key];
    } else {
      break;
    }
  }
  return { path, plant };
}

test('an instance that was plain data when the snapshot before was taken is refused too', () => {
  const state = { volumes: new Map([[0, { rate: { plan: [1] } as object }]]) };
  assert.is(refusal(state), 'accepted');
  Object.setPrototypeOf(state.volumes.get(0)!.rate, Counter.prototype);
  assert.is(refusal(state), 'state.volumes.0.rate: an instance of Counter is not plain data');
});

test('whatever is no plain data is refused', () => {
  const odd: [unknown, string][] = [
    [() => 1, 'a function'],
    [class {}, 'a function'],
    [Symbol('s'), 'a symbol'],
    [NaN, 'NaN'],
    [Infinity, 'Infinity'],
    [-Infinity, '-Infinity'],
    [new Date(0), 'an instance of Date'],
    [Promise.resolve(), 'an instance of Promise'],
    [/x/, 'an instance of RegExp'],
    [new Error('x'), 'an instance of Error'],
    [new Number(1), 'an instance of Number'],
    [new WeakMap(), 'an instance of WeakMap'],
    [new ArrayBuffer(1), 'an instance of ArrayBuffer'],
    [new DataView(new ArrayBuffer(0)), 'an instance of DataView'],
    [Buffer.from('x'), 'an instance of Buffer'],
    [Buffer.alloc(0), 'an instance of Buffer'],
    [new Float64Array(1), 'an instance of Float64Array'],
    [new BigUint64Array(1), 'an instance of BigUint64Array'],
    [new (class Log extends Map {})(), 'an instance of Log'],
    [new (class List extends Array {})(), 'an instance of List'],
    [Object.create(null), 'an object with an unknown prototype'],
    [[1, , 2], 'an array with holes'],
    [Object.assign([1], { index: 0 }), 'an object with hidden fields'],
    [Object.assign(new Map(), { index: 0 }), 'an object with hidden fields'],
    [Object.assign(new Set(), { index: 0 }), 'an object with hidden fields'],
    [{ [Symbol('s')]: 1 }, 'an object with hidden fields'],
    [Object.defineProperty({}, 'hidden', { value: 1 }), 'an object with hidden fields'],
  ];
  for (const [value, what] of odd) {
    assert.is(refusal(value), `state: ${what} is not plain data`);
    assert.is(refusal({ log: new Map([[7, [0, value]]]) }), `state.log.7.1: ${what} is not plain data`);
    assert.is(refusal(new Set([value])), `state.(member): ${what} is not plain data`);
    assert.is(refusal(new Map([[value, 1]])), `state.(key): ${what} is not plain data`);
  }
});

// ---- Damaged bytes ---------------------------------------------------------------------------------------------------------

test('bytes that are no snapshot are refused with a RangeError, or are another state; never anything else', () => {
  let refused = 0;
  fc.assert(
    fc.property(graph, fc.nat(), fc.integer({ min: 1, max: 255 }), fc.boolean(), (state, place, change, cut) => {
      const bytes = encodeState(state);
      const at = place % bytes.length;
      const damaged = cut ? bytes.slice(0, at) : bytes.map((byte, index) => (index === at ? byte ^ change : byte));
      try {
        decodeState(damaged);
        assert.not(cut, 'a beginning is no snapshot');
      } catch (error) {
        refused++;
        assert.instance(error, RangeError);
        assert.match((error as Error).message, /^no snapshot: .* at byte \d+ of \d+$/);
      }
    }),
    { numRuns: 5000 },
  );
  assert.ok(refused > 1000);
  for (const bytes of [[], [0], [1], [2, 0], [1, 0, 0], [1, 17, 0], [1, 9, 1], [1, 10, 0xff, 0xff, 0xff, 0xff, 0x7f], [1, 16, 1, 0, 0, 0], [1, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]]) {
    assert.throws(() => decodeState(Uint8Array.from(bytes)), /^no snapshot: /);
  }
});

// ---- Fingerprints ------------------------------------------------------------------------------------------------------------

/** The same hash once more, in big integers and from its definition: nothing here can depend on a machine. */
function slowFingerprint(bytes: Uint8Array): string {
  const m = (value: bigint): bigint => value & 0xffffffffn;
  const rotate = (value: bigint, by: bigint): bigint => m((value << by) | (value >> (32n - by)));
  const words: bigint[] = [];
  for (let at = 0; at + 4 <= bytes.length; at += 4) words.push(BigInt(new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true)));
  const rest = [...bytes.subarray(bytes.length & ~3)];
  words.push(rest.reduceRight((sum, byte) => sum * 256n + BigInt(byte), 0n), BigInt(bytes.length));
  let [a, b] = [0x6c6f636bn, 0x73746570n];
  for (const word of words) {
    a = m(rotate(a ^ m(word * 0xcc9e2d51n), 15n) * 0x1b873593n);
    b = m(rotate(b ^ m(word * 0x9e3779b1n), 13n) * 0x85ebca77n);
  }
  const spread = (lane: bigint): bigint => {
    let h = m((lane ^ (lane >> 16n)) * 0x85ebca6bn);
    h = m((h ^ (h >> 13n)) * 0xc2b2ae35n);
    return h ^ (h >> 16n);
  };
  a = spread(m(a + b));
  b = spread(m(a + b));
  return ((a << 32n) | b).toString(16).padStart(16, '0');
}

test('a fingerprint is 16 digits, the same by another calculation, and the same today as when this was written', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 70 }), fc.nat({ max: 3 }), (bytes, offset) => {
      const moved = new Uint8Array(bytes.length + offset);
      moved.set(bytes, offset);
      const fingerprint = fingerprintOf(moved.subarray(offset));
      assert.match(fingerprint, /^[0-9a-f]{16}$/);
      assert.is(fingerprint, slowFingerprint(bytes));
    }),
    { numRuns: 2000 },
  );
  assert.is(fingerprintOf(new Uint8Array(0)), '10fd7c20ac6acf3d');
  assert.is(fingerprintOf(encodeState({ name: 'alice', uuid: 0x1122334455667788n, words: Uint16Array.of(1, 0xffff), at: -1.5 })), '3f499700da8af042');
});

test('no two of 600,000 neighbours have the same fingerprint', () => {
  const seen = new Set<string>();
  let made = 0;
  const add = (bytes: Uint8Array): void => {
    seen.add(fingerprintOf(bytes));
    made++;
  };
  // Every pair of bits flipped in 16 bytes, over several fillings: what a weak mixing would cancel.
  for (const filling of [0, 0xff, 0x5a, 1]) {
    for (let i = 0; i < 128; i++) {
      for (let j = i; j < 128; j++) {
        const bytes = new Uint8Array(16).fill(filling);
        bytes[i >> 3]! ^= 1 << (i & 7);
        if (j !== i) bytes[j >> 3]! ^= 1 << (j & 7);
        add(bytes);
      }
    }
  }
  // Zeroes of every length, and small numbers in every place of a longer array.
  for (let length = 0; length < 5000; length++) add(new Uint8Array(length));
  const bytes = new Uint32Array(80).fill(0xabcdef01);
  for (let place = 0; place < 80; place++) {
    for (let value = 0; value < 7000; value++) {
      bytes[place] = value;
      add(new Uint8Array(bytes.buffer));
    }
    bytes[place] = 0xabcdef01;
  }
  assert.ok(made > 590_000, String(made));
  assert.is(seen.size, made);
});

test.run();
