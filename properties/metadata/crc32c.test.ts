import { test } from 'uvu';
import * as assert from 'uvu/assert';
import fc from '../fast-check.js';
import { crc32c } from '../../src/metadata/crc32c.js';

/** Bit by bit, from the definition. */
function slowCrc(crc: number, bytes: Uint8Array): number {
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return crc >>> 0;
}

test('with both inversions it is the CRC-32C of the textbooks', () => {
  const digits = new TextEncoder().encode('123456789');
  assert.is((crc32c(0xffffffff, digits) ^ 0xffffffff) >>> 0, 0xe3069283);
});

test('any bytes, from any start: equal to the definition, in one piece or two', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(100), fc.nat({ max: 0xffffffff }), (bytes, cut, start) => {
      const at = Math.min(cut, bytes.length);
      assert.is(crc32c(start, bytes), slowCrc(start, bytes));
      assert.is(crc32c(crc32c(start, bytes, 0, at), bytes, at), slowCrc(start, bytes));
    }),
  );
});

test.run();
