// Bitmaps on the wire: the worked examples of the specification, the code at its boundaries and far beyond 2^32, and
// arbitrary bitmaps through both kinds of chunks and both header sizes.

import fc from '../fast-check.js';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { nextBitmapChunk, receiveBitmapChunk, runsOf } from '../../src/wire/bitmap-chunks.js';
import type { BitmapChunk, BitmapReader, BitmapWriter, Run } from '../../src/wire/bitmap-chunks.js';
import { encodePacket } from '../../src/wire/encode.js';
import { isWireError } from '../../src/wire/errors.js';
import type { CompressedBitmapPacket } from '../../src/wire/packets.js';
import { appendRun, readRuns } from '../../src/wire/run-lengths.js';

const APVS = [86, 89, 90, 95, 99, 100, 101];

/** A bitmap of bytes, as small devices have it. */
function denseBitmap(bits: number, setRuns: [bit: number, bits: number][] = []): BitmapReader & BitmapWriter & { bytes: Uint8Array } {
  const bytes = new Uint8Array(Math.ceil(bits / 64) * 8);
  const at = (bit: number): boolean => ((bytes[bit >>> 3]! >>> (bit & 7)) & 1) === 1;
  const bitmap = {
    bits,
    bytes,
    nextRun(bit: number): Run {
      const set = at(bit);
      let end = bit + 1;
      while (end < bits && at(end) === set) end++;
      return { set, bits: end - bit };
    },
    bytesOf: (offset: number, length: number): Uint8Array => {
      assert.ok(offset + length <= bytes.length, 'never asks for words behind the last');
      return bytes.slice(offset, offset + length);
    },
    setBits(bit: number, count: number): void {
      assert.ok(bit + count <= bits);
      for (let n = bit; n < bit + count; n++) bytes[n >>> 3]! |= 1 << (n & 7);
    },
    orBytes(offset: number, more: Uint8Array): void {
      assert.ok(offset + more.length <= bytes.length);
      more.forEach((byte, index) => (bytes[offset + index]! |= byte));
    },
  };
  for (const [bit, count] of setRuns) bitmap.setBits(bit, count);
  return bitmap;
}

/** A bitmap that is only a list of runs: what a sparse one of a huge device looks like from here. */
function sparseBitmap(runs: Run[]): BitmapReader {
  const starts: number[] = [];
  let bits = 0;
  for (const run of runs) {
    starts.push(bits);
    bits += run.bits;
  }
  return {
    bits,
    nextRun: (bit) => {
      const index = starts.findLastIndex((start) => start <= bit);
      return { set: runs[index]!.set, bits: starts[index]! + runs[index]!.bits - bit };
    },
    bytesOf: () => {
      throw new Error('compressed chunks are expected');
    },
  };
}

function allChunks(bitmap: BitmapReader, apv: number, useRle: boolean): BitmapChunk[] {
  const chunks: BitmapChunk[] = [];
  for (let position = 0; ; ) {
    const chunk = nextBitmapChunk(bitmap, 0, position, apv, useRle);
    chunks.push(chunk);
    if (chunk.isLast) return chunks;
    position = chunk.position;
  }
}

/** Merges the chunks as a receiver does and checks that both ends keep the same position. */
function receiveAll(bitmap: BitmapWriter, chunks: BitmapChunk[], apv: number): void {
  let position = 0;
  for (const [index, chunk] of chunks.entries()) {
    const result = receiveBitmapChunk(bitmap, chunk.packet, position, apv);
    if (isWireError(result)) throw new Error(result.detail);
    assert.is(result.isLast, index === chunks.length - 1);
    if (!result.isLast) assert.is(result.position, chunk.position);
    position = result.position;
  }
}

const hexOf = (chunk: BitmapChunk): string => Buffer.concat(encodePacket(chunk.packet, { apv: 101, features: 15, digestBytes: 0 })).subarray(16).toString('hex');

test('the worked example of §6.3: three bits of 16384', () => {
  const chunks = allChunks(denseBitmap(16384, [[10, 3]]), 101, true);
  assert.is(chunks.length, 1);
  assert.is(hexOf(chunks[0]!), '1297fc097b00');
  assert.equal(runsOf(chunks[0]!.packet as CompressedBitmapPacket), [{ set: false, bits: 10 }, { set: true, bits: 3 }, { set: false, bits: 16371 }]);
});

test('the worked example of §6.3: every bit of 16384', () => {
  assert.equal(allChunks(denseBitmap(16384, [[0, 16384]]), 101, true).map(hexOf), ['b27fcf1e00']);
});

test('the plain equivalent of §6.3: 2048 bytes and an empty terminator', () => {
  const chunks = allChunks(denseBitmap(16384, [[10, 3]]), 101, false);
  assert.equal(chunks.map((chunk) => encodePacket(chunk.packet, { apv: 101, features: 0, digestBytes: 0 }).slice(1).map((piece) => piece.length)), [[2048], []]);
  assert.is((chunks[0]!.packet as { words: Uint8Array }).words[1], 0x1c);
});

test('the bitmaps of §14.1, both ways', () => {
  const examples: [string, boolean, number[]][] = [
    ['a2df33', true, [256]],
    ['b23fc502', true, [1014]],
    ['523f11e01b04', false, [322, 180]],
    ['f2dfc39b0ffec888f183ad00', true, [64, 36, 33, 867, 5, 3081]],
    ['32df3e3f9805', false, [300, 1, 1737]],
  ];
  for (const [payload, firstRunSet, lengths] of examples) {
    const runs = lengths.map((bits, index) => ({ set: firstRunSet === (index % 2 === 0), bits }));
    const chunks = allChunks(sparseBitmap(runs), 101, true);
    assert.equal(chunks.map(hexOf), [payload]);
    assert.equal(runsOf(chunks[0]!.packet as CompressedBitmapPacket), runs);
  }
});

test('run lengths at every boundary of the code, and beyond 32 bits (B037)', () => {
  const firsts = [1, 3, 5, 9, 17, 49, 305, 8497, 2105649, 17181974833];
  const codeBits = [2, 3, 5, 7, 10, 14, 21, 29, 42, 64];
  const lengths = firsts.flatMap((first) => [first, first + 1, Math.max(1, first - 1)]);
  lengths.push(2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 40 + 12345, 2 ** 48, 2 ** 53 - 1);
  for (const length of lengths) {
    const code = { bytes: new Uint8Array(9), usedBits: 3 };
    assert.ok(appendRun(code, length));
    assert.is(code.usedBits - 3, codeBits[firsts.findLastIndex((first) => first <= length)], `${length}`);
    // Read back from bit 3 on: one run of 1 (code 00) and one bit before it would shift the stream, so shift the bytes.
    const whole = BigInt(`0x${Buffer.from(code.bytes).reverse().toString('hex')}`) >> 3n;
    const bytes = new Uint8Array(Buffer.from(whole.toString(16).padStart(18, '0'), 'hex').reverse());
    assert.equal(readRuns(bytes, code.usedBits - 3), [length]);
  }
  // The longest code: 2^56 - 1 above the first run of its level, rounded, and longer than any bitmap.
  assert.equal(readRuns(new Uint8Array(8).fill(0xff), 64), [17181974833 + (2 ** 56 - 1)]);
  assert.throws(() => appendRun({ bytes: new Uint8Array(9), usedBits: 0 }, 0), /run of 0/);
  assert.throws(() => appendRun({ bytes: new Uint8Array(9), usedBits: 0 }, 2 ** 53), /run of/);
});

test('any sequence of runs survives the code, and a code cut anywhere is known to be cut', () => {
  const length = fc.oneof(fc.integer({ min: 1, max: 400 }), fc.integer({ min: 1, max: 2 ** 32 }), fc.integer({ min: 1, max: 2 ** 48 }));
  fc.assert(
    fc.property(fc.array(length, { minLength: 1, maxLength: 40 }), (lengths) => {
      const code = { bytes: new Uint8Array(40 * 8), usedBits: 0 };
      const ends = new Set([0]);
      for (const run of lengths) {
        assert.ok(appendRun(code, run));
        ends.add(code.usedBits);
      }
      assert.equal(readRuns(code.bytes, code.usedBits), lengths);
      for (let bits = 0; bits < code.usedBits; bits++) assert.is(readRuns(code.bytes, bits) !== undefined, ends.has(bits));
    }),
    { numRuns: 200 },
  );
});

test('arbitrary bitmaps of arbitrary sizes arrive, in every version, compressed and plain', () => {
  const shape = fc.integer({ min: 0, max: 150_000 }).chain((bits) =>
    fc.tuple(
      fc.constant(bits),
      // Stretches of device, each solid, clean, alternating or noisy: they make the sender change between the two kinds.
      fc.array(fc.tuple(fc.integer({ min: 0, max: Math.max(0, bits - 1) }), fc.integer({ min: 1, max: 60_000 }), fc.constantFrom(1, 1, 2, 3, 7, 64, 900)), { maxLength: 6 }),
    ),
  );
  let compressed = 0;
  let plain = 0;
  fc.assert(
    fc.property(shape, fc.constantFrom(...APVS), fc.boolean(), ([bits, stretches], apv, useRle) => {
      const source = denseBitmap(bits);
      for (const [from, length, step] of stretches) for (let bit = from; bit < Math.min(bits, from + length); bit += step) source.setBits(bit, 1);
      const chunks = allChunks(source, apv, useRle);
      const target = denseBitmap(bits);
      receiveAll(target, chunks, apv);
      assert.is(Buffer.compare(target.bytes, source.bytes), 0);
      const context = { apv, features: 0, digestBytes: 0 };
      for (const chunk of chunks) {
        const packetBytes = encodePacket(chunk.packet, context).reduce((sum, piece) => sum + piece.length, 0);
        assert.ok(packetBytes <= 4096, `${packetBytes}`);
        if (chunk.packet.packet === 'P_BITMAP') plain++;
        else compressed++;
        if (!useRle || apv < 90) assert.is(chunk.packet.packet, 'P_BITMAP');
      }
    }),
    { numRuns: 400 },
  );
  assert.ok(compressed > 50 && plain > 50, `${compressed} compressed, ${plain} plain chunks`);
});

test('compressed is chosen when its code covers at least as many bits as it has, §6.1', () => {
  // Runs of two bits cost two bits each: 800 bits in 100 bytes of code. One bit less, and the words are shorter.
  const pairs = Array.from({ length: 200 }, (_, n): [number, number] => [4 * n, 2]);
  assert.equal(allChunks(denseBitmap(800, pairs), 101, true).map((chunk) => chunk.packet.packet), ['P_COMPRESSED_BITMAP']);
  assert.equal(allChunks(denseBitmap(799, pairs), 101, true).map((chunk) => chunk.packet.packet), ['P_BITMAP', 'P_BITMAP']);
});

test('a plain chunk behind a compressed one sends its first word again from the start', () => {
  // Runs until the code is full, inside a word; then alternating bits, for which plain is shorter.
  const bits = 400_000;
  const source = denseBitmap(bits);
  for (let bit = 0; bit < 300_000; bit += 100) source.setBits(bit, 40);
  for (let bit = 300_000; bit < bits; bit += 2) source.setBits(bit, 1);
  const chunks = allChunks(source, 101, true);
  const kinds = chunks.map((chunk) => chunk.packet.packet);
  const change = kinds.indexOf('P_BITMAP');
  assert.ok(change > 0 && chunks[change - 1]!.position % 64 !== 0, 'the scenario makes the change inside a word');
  assert.is(chunks[change]!.position, Math.floor(chunks[change - 1]!.position / 64) * 64 + 4080 * 8);
  const target = denseBitmap(bits);
  receiveAll(target, chunks, 101);
  assert.is(Buffer.compare(target.bytes, source.bytes), 0);
});

test('a merge adds to what the receiver had', () => {
  const target = denseBitmap(1000, [[1, 5]]);
  receiveAll(target, allChunks(denseBitmap(1000, [[3, 7], [900, 100]]), 101, true), 101);
  assert.is(Buffer.compare(target.bytes, denseBitmap(1000, [[1, 9], [900, 100]]).bytes), 0);
});

test('a sparse bitmap of 2^48 bits takes one small packet', () => {
  const runs = [{ set: false, bits: 2 ** 45 + 3 }, { set: true, bits: 5 }, { set: false, bits: 2 ** 48 - 2 ** 45 - 8 }];
  const chunks = allChunks(sparseBitmap(runs), 101, true);
  assert.is(chunks.length, 1);
  const seen: [number, number][] = [];
  const result = receiveBitmapChunk({ bits: 2 ** 48, setBits: (bit, bits) => seen.push([bit, bits]), orBytes: () => assert.unreachable() }, chunks[0]!.packet, 0, 101);
  assert.equal(result, { position: 2 ** 48, isLast: true });
  assert.equal(seen, [[2 ** 45 + 3, 5]]);
});

test('a device without bits is an empty plain chunk', () => {
  assert.equal(allChunks(denseBitmap(0), 101, true), [{ packet: { packet: 'P_BITMAP', volume: 0, words: new Uint8Array(0) }, position: 0, isLast: true }]);
});

test('wrong chunks are protocol errors', () => {
  const bitmap = denseBitmap(16384);
  const chunkOf = (lengths: number[], firstRunSet: boolean): CompressedBitmapPacket => {
    const code = { bytes: new Uint8Array(64), usedBits: 0 };
    for (const length of lengths) appendRun(code, length);
    const codeBytes = Math.ceil(code.usedBits / 8);
    return { packet: 'P_COMPRESSED_BITMAP', volume: 0, firstRunSet, padBits: codeBytes * 8 - code.usedBits, code: code.bytes.slice(0, codeBytes) };
  };
  const errorOf = (packet: BitmapChunk['packet'], position: number): string => {
    const result = receiveBitmapChunk(bitmap, packet, position, 101);
    return isWireError(result) ? `${result.error} ${result.reaction}` : `position ${result.position}`;
  };
  assert.is(errorOf({ packet: 'P_BITMAP', volume: 0, words: new Uint8Array(2040) }, 0), 'bad-length ProtocolError');
  assert.is(errorOf({ packet: 'P_BITMAP', volume: 0, words: new Uint8Array(0) }, 0), 'bad-length ProtocolError', 'the terminator comes too early');
  assert.is(errorOf({ packet: 'P_BITMAP', volume: 0, words: new Uint8Array(8) }, 16384), 'bad-length ProtocolError');
  assert.is(errorOf(chunkOf([16385], true), 0), 'bad-value ProtocolError', 'a set run behind the last bit');
  assert.is(errorOf(chunkOf([16384], false), 1), 'bad-value ProtocolError', 'a clear run behind the last bit');
  assert.is(errorOf(chunkOf([1], true), 16384), 'bad-value ProtocolError', 'behind a complete bitmap');
  assert.is(errorOf({ ...chunkOf([10, 3, 200], false), padBits: 7 }, 0), 'bad-value ProtocolError', 'a code that ends inside a run');
  assert.is(errorOf(chunkOf([100], true), 0), 'position 100');
});

test('arbitrary codes never read behind their end and never set a bit behind the last', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 60 }), fc.integer({ min: 0, max: 7 }), fc.boolean(), fc.integer({ min: 0, max: 5000 }), (code, padBits, firstRunSet, bits) => {
      // denseBitmap asserts the range of every bit that is set.
      receiveBitmapChunk(denseBitmap(bits), { packet: 'P_COMPRESSED_BITMAP', volume: 0, firstRunSet, padBits, code }, 0, 101);
      // Bits behind the code must not matter.
      const room = new Uint8Array(code.length + 16).fill(0xff);
      room.set(code);
      assert.equal(readRuns(room, code.length * 8 - padBits), readRuns(code, code.length * 8 - padBits));
    }),
    { numRuns: 500 },
  );
});

test.run();
