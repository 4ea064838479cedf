/**
 * The digests and HMACs of `Environment` (src/contract), under the names of the kernel's crypto: one home for the simulator and
 * the drivers, whose bytes must agree with each other and with a kernel peer. The core itself may not import Node.
 */

import { createHash, createHmac, getHashes } from 'node:crypto';
import type { Environment } from '../src/contract/environment.js';
import { crc32c } from '../src/metadata/crc32c.js';

/** Kernel name to OpenSSL's, where this OpenSSL has it (a FIPS build lacks md5). */
const hashes: ReadonlyMap<string, string> = new Map(
  [
    ...['md5', 'sha1', 'sha224', 'sha256', 'sha384', 'sha512', 'sha3-224', 'sha3-256', 'sha3-384', 'sha3-512'].map((name) => [name, name]),
    ['blake2b-512', 'blake2b512'],
    ['blake2s-256', 'blake2s256'],
  ].filter((pair): pair is [string, string] => getHashes().includes(pair[1]!)),
);

export const digests: Pick<Environment, 'digest' | 'hmac'> = {
  digest(algorithm, pieces) {
    if (algorithm === 'crc32c') return crc32cDigest(pieces);
    const name = hashes.get(algorithm);
    if (name === undefined) return undefined;
    const hash = createHash(name);
    for (const piece of pieces) hash.update(piece);
    return plain(hash.digest());
  },
  hmac(algorithm, key, pieces) {
    const name = hashes.get(algorithm);
    if (name === undefined) return undefined;
    const hmac = createHmac(name, key);
    for (const piece of pieces) hmac.update(piece);
    return plain(hmac.digest());
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

/** A Buffer's `slice` copies nothing, and its memory may be a pool's: the core gets an array of its own. */
const plain = (bytes: Buffer): Uint8Array => Uint8Array.from(bytes);
