/**
 * CRC-32C (Castagnoli) as the activity log stores it: initial value 0 and no final inversion (metadata.md §3.2). It is on the
 * write path, one block of 4 KiB for each transaction, hence eight table look-ups for eight bytes instead of eight for one.
 * The digest named `crc32c` in packets is the usual variant with both inversions: not this one.
 */

const REFLECTED_POLYNOMIAL = 0x82f63b78;

const tables: readonly Uint32Array[] = buildTables();

function buildTables(): Uint32Array[] {
  const first = new Uint32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? REFLECTED_POLYNOMIAL : 0);
    first[byte] = crc >>> 0;
  }
  const all = [first];
  for (let n = 1; n < 8; n++) {
    const before = all[n - 1]!;
    all.push(before.map((crc) => (crc >>> 8) ^ first[crc & 255]!));
  }
  return all;
}

const [t0, t1, t2, t3, t4, t5, t6, t7] = tables as [
  Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array,
];

/** Continues `crc` (0 to begin with) over `bytes[start, end)`. The result is unsigned. */
export function crc32c(crc: number, bytes: Uint8Array, start = 0, end = bytes.length): number {
  let at = start;
  for (; at + 8 <= end; at += 8) {
    crc ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    crc =
      t7[crc & 255]! ^ t6[(crc >>> 8) & 255]! ^ t5[(crc >>> 16) & 255]! ^ t4[crc >>> 24]! ^
      t3[bytes[at + 4]!]! ^ t2[bytes[at + 5]!]! ^ t1[bytes[at + 6]!]! ^ t0[bytes[at + 7]!]!;
  }
  for (; at < end; at++) crc = t0[(crc ^ bytes[at]!) & 255]! ^ (crc >>> 8);
  return crc >>> 0;
}
