// The shared digests against published values, and against what two kernel peers put on the wire.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { digests } from '../../src/digests/digests.js';
import { piecesOf } from '../../reports/dissect/stream.js';
import { capturedStreams } from '../wire/captured-streams.js';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const hex = (value: Uint8Array | undefined): string | undefined => value && Buffer.from(value).toString('hex');

test('published values, in one piece or several', () => {
  const known: [string, string][] = [
    // CRC-32C of the textbooks is e3069283: the wire has it backwards.
    ['crc32c', '839206e3'],
    ['md5', '25f9e794323b453885f5181f1b624d0b'],
    ['sha1', 'f7c3bc1d808e04732adf679965ccc34ca7ae3441'],
    ['sha256', '15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225'],
  ];
  for (const [algorithm, value] of known) {
    assert.is(hex(digests.digest(algorithm, [bytes('123456789')])), value, algorithm);
    assert.is(hex(digests.digest(algorithm, [bytes('12'), bytes(''), bytes('3456789')])), value, algorithm);
  }
  // RFC 2202, test case 2.
  assert.is(hex(digests.hmac('sha1', bytes('Jefe'), [bytes('what do ya want '), bytes('for nothing?')])), 'effcdf6ae5eb2fa2d27416d5f184df9c259a7c79');
  assert.is(hex(digests.hmac('md5', bytes('Jefe'), [bytes('what do ya want for nothing?')])), '750c783e6ab0b503eaa86e310a5db738');
});

test('a name that nobody knows, and an HMAC of what is no hash', () => {
  for (const name of ['', 'SHA1', 'crc32', '__proto__', 'RSA-SHA1']) {
    assert.is(digests.digest(name, []), undefined, name);
    assert.is(digests.hmac(name, bytes('key'), []), undefined, name);
  }
  assert.is(digests.hmac('crc32c', bytes('key'), []), undefined);
});

test('an answer is an array of its own, not a Buffer', () => {
  for (const answer of [digests.digest('sha1', []), digests.digest('crc32c', []), digests.hmac('sha1', bytes('key'), [])]) {
    assert.is(Object.getPrototypeOf(answer), Uint8Array.prototype);
    assert.is(answer!.buffer.byteLength, answer!.length);
  }
});

test('every digest that two kernel peers sent', () => {
  const streams = capturedStreams().filter((stream) => stream.folder.endsWith('integrity-crc32c') && stream.kind === 'data');
  let checked = 0;
  for (const stream of streams) {
    for (const piece of piecesOf(stream.bytes, { apv: 101, features: 15, digestBytes: 0 })) {
      if (piece.kind !== 'packet' || piece.packet.packet !== 'P_DATA') continue;
      checked++;
      assert.is(hex(digests.digest('crc32c', [piece.packet.data])), hex(piece.packet.digest));
    }
  }
  assert.is(checked, streams.length === 0 ? 0 : 15);
});

test.run();
