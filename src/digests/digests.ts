/**
 * The digests and HMACs of `Environment` (src/contract), under the names of the kernel's crypto: what the simulator and the
 * drivers give a core that they make. Pure JavaScript, so that a run's bytes do not depend on how a machine's OpenSSL was built.
 */

import { hmac } from '@noble/hashes/hmac.js';
import { md5, sha1 } from '@noble/hashes/legacy.js';
import { sha224, sha256, sha384, sha512 } from '@noble/hashes/sha2.js';
import { sha3_224, sha3_256, sha3_384, sha3_512 } from '@noble/hashes/sha3.js';
import type { Environment } from '../contract/environment.js';
import { crc32c } from '../metadata/crc32c.js';

const hashes = new Map([
  ['md5', md5],
  ['sha1', sha1],
  ['sha224', sha224],
  ['sha256', sha256],
  ['sha384', sha384],
  ['sha512', sha512],
  ['sha3-224', sha3_224],
  ['sha3-256', sha3_256],
  ['sha3-384', sha3_384],
  ['sha3-512', sha3_512],
]);

export const digests: Pick<Environment, 'digest' | 'hmac'> = {
  digest(algorithm, pieces) {
    if (algorithm === 'crc32c') return crc32cDigest(pieces);
    const hash = hashes.get(algorithm)?.create();
    for (const piece of pieces) hash?.update(piece);
    return hash?.digest();
  },
  hmac(algorithm, key, pieces) {
    const hash = hashes.get(algorithm);
    if (hash === undefined) return undefined;
    const mac = hmac.create(hash, key);
    for (const piece of pieces) mac.update(piece);
    return mac.digest();
  },
};

/** Both inversions, unlike the activity log's; the least significant byte first, as the kernel puts it (captures integrity-crc32c). */
function crc32cDigest(pieces: readonly Uint8Array[]): Uint8Array {
  let crc = 0xffffffff;
  for (const piece of pieces) crc = crc32c(crc, piece);
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, ~crc >>> 0, true);
  return bytes;
}
