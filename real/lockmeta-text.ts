/**
 * What lockmeta prints: drbdmeta's text for a superblock and a bitmap (metadata.md §9; checked against drbd-utils 9.22 and the
 * recordings). Unlike that drbdmeta, `dump-md` prints the flags that are there; 9.22 always prints 0.
 */

import { AL_BLOCK_BYTES } from '../src/metadata/activity-log.js';
import { popcount } from '../src/metadata/bitmap.js';
import type { Layout } from '../src/metadata/layout.js';
import { type Superblock, SuperblockFlag, hasFlag, isClean } from '../src/metadata/superblock.js';

const hex = (value: bigint | number, digits: number): string => value.toString(16).toUpperCase().padStart(digits, '0');

/** Bytes of bitmap that belong to a size: whole blocks of 4 KiB. */
export const bitmapBytes = (sectors: number): number => Math.ceil(Math.ceil(sectors / 8) / (AL_BLOCK_BYTES * 8)) * AL_BLOCK_BYTES;

/** An amount in KiB as drbd-utils print it: at most four digits, rounded. */
export function niceSize(kib: number): string {
  const units = ['KB', 'MB', 'GB', 'TB', 'PB', 'EB'];
  let size = kib;
  let unit = 0;
  while (size >= 10000 && unit < units.length - 1) {
    size = Math.floor((size + 512) / 1024);
    unit++;
  }
  return `${size} ${units[unit]}`;
}

/** `CUR:BM:H1:H2:c:u:p:n:f:o:k` (metadata.md §2.2). */
export function generationLine(superblock: Superblock): string {
  const flags = [
    SuperblockFlag.Consistent,
    SuperblockFlag.WasUpToDate,
    SuperblockFlag.PrimaryInd,
    SuperblockFlag.ConnectedInd,
    SuperblockFlag.FullSync,
    SuperblockFlag.PeerOutDated,
    SuperblockFlag.CrashedPrimary,
  ];
  return [...superblock.uuids.map((uuid) => hex(uuid, 16)), ...flags.map((flag) => (hasFlag(superblock, flag) ? 1 : 0))].join(':');
}

export function showGi(superblock: Superblock): string {
  const has = (flag: number): boolean => hasFlag(superblock, flag);
  const disk = !has(SuperblockFlag.Consistent) ? 'Inconsistent' : has(SuperblockFlag.WasUpToDate) ? 'UpToDate' : 'Outdated';
  const words = [
    (has(SuperblockFlag.CrashedPrimary) ? 'crashed ' : '') + (has(SuperblockFlag.PrimaryInd) ? 'Primary' : 'Secondary'),
    has(SuperblockFlag.ConnectedInd) ? 'Connected' : 'StandAlone',
    disk,
    ...(has(SuperblockFlag.FullSync) ? ['need full sync'] : []),
    ...(has(SuperblockFlag.PeerOutDated) ? ['peer Outdated'] : []),
  ];
  const size =
    superblock.lastAgreedSectors === 0
      ? 'zero size device -- never seen peer yet?\n'
      : `last agreed size: ${niceSize(Math.floor(superblock.lastAgreedSectors / 2))} (${superblock.lastAgreedSectors} sectors)\n` +
        `last agreed max bio size: ${superblock.peerMaxBioBytes} Byte\n`;
  return `
       +--<  Current data generation UUID  >-
       |               +--<  Bitmap's base data generation UUID  >-
       |               |                 +--<  younger history UUID  >-
       |               |                 |         +-<  older history  >-
       V               V                 V         V
${generationLine(superblock)}
                                                                    ^ ^ ^ ^ ^ ^ ^
                                      -<  Data consistency flag  >--+ | | | | | |
                             -<  Data was/is currently up-to-date  >--+ | | | | |
                                  -<  Node was/is currently primary  >--+ | | | |
                                  -<  Node was/is currently connected  >--+ | | |
         -<  Node was in the progress of setting all bits in the bitmap  >--+ | |
                        -<  The peer's disk was out-dated or inconsistent  >--+ |
      -<  This node was a crashed primary, and has not seen its peer since   >--+

flags: ${words.join(', ')}
meta-data: ${isClean(superblock) ? 'clean' : 'need apply-al'}
${size}`;
}

export function diskState(superblock: Superblock): string {
  if (!hasFlag(superblock, SuperblockFlag.Consistent)) return 'Inconsistent';
  if (!hasFlag(superblock, SuperblockFlag.WasUpToDate)) return 'Outdated';
  return hasFlag(superblock, SuperblockFlag.PeerOutDated) ? 'UpToDate' : 'Consistent';
}

/** When and by which command line a dump was made. */
export interface DumpOrigin {
  time: Date;
  host: string;
  command: string;
}

/** The dump up to the bitmap. */
export function dumpHead(superblock: Superblock, layout: Layout, origin: DumpOrigin): string {
  const byte = (offsetSectors: number): number => (layout.superblockSector + offsetSectors) * 512;
  const warning = isClean(superblock)
    ? ''
    : 'This_is_an_unclean_meta_data_dump._Don\'t_trust_the_bitmap.\n# You should "apply-al" first, if you plan to restore this.\n\n';
  return `# DRBD meta data dump
# ${localTime(origin.time)} [${Math.floor(origin.time.getTime() / 1000)}]
# ${origin.host}> ${origin.command}
#

version "v08";

${warning}# md_size_sect ${superblock.mdSizeSectors}
# md_offset ${byte(0)}
# al_offset ${byte(superblock.alOffsetSectors)}
# bm_offset ${byte(superblock.bmOffsetSectors)}

uuid {
    ${superblock.uuids.map((uuid) => `0x${hex(uuid, 16)};`).join(' ')}
    flags 0x${hex(superblock.flags, 8)};
}
# al-extents ${superblock.alExtents};
la-size-sect ${superblock.lastAgreedSectors};
bm-byte-per-bit 4096;
device-uuid 0x${hex(superblock.deviceUuid, 16)};
la-peer-max-bio-size ${superblock.peerMaxBioBytes};
al-stripes ${superblock.alStripes};
al-stripe-size-4k ${superblock.alStripeSize4k};
# bm-bytes ${bitmapBytes(superblock.lastAgreedSectors)};
`;
}

const WORDS_PER_ROW = 4;
/** A position is printed at each row that begins on a multiple of 8 MiB of device. */
const WORDS_PER_MARK = 32;
const KIB_PER_WORD = 256;

/** The bitmap, 64 bits a word, equal rows as a run; `parts` are its bytes in order, each of whole rows. */
export function* dumpBitmap(parts: Iterable<Uint8Array>): Generator<string> {
  yield 'bm {\n';
  let first = 0;
  let bitsSet = 0;
  for (const bytes of parts) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const words = bytes.length / 8;
    const low = (n: number): number => view.getUint32(n * 8, true);
    const high = (n: number): number => view.getUint32(n * 8 + 4, true);
    const text = (n: number): string => `0x${hex(high(n), 8)}${hex(low(n), 8)};`;
    for (let n = 0; n < words; ) {
      if ((first + n) % WORDS_PER_MARK === 0) yield `   # at ${(first + n) * KIB_PER_WORD}kB\n`;
      let end = n + 1;
      while (end < words && low(end) === low(n) && high(end) === high(n)) end++;
      const run = end - n - ((end - n) % WORDS_PER_ROW);
      if (run > WORDS_PER_ROW) {
        yield `    ${run} times ${text(n)}\n`;
        bitsSet += run * (popcount(low(n)) + popcount(high(n)));
        n += run;
        continue;
      }
      const row = [n, n + 1, n + 2, n + 3];
      yield `    ${row.map(text).join(' ')}\n`;
      for (const word of row) bitsSet += popcount(low(word)) + popcount(high(word));
      n += WORDS_PER_ROW;
    }
    first += words;
  }
  yield `}\n# bits-set ${bitsSet};\n`;
}

/** `2026-11-22 13:25:57 +0000` in the local time zone. */
function localTime(time: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  const offset = -time.getTimezoneOffset();
  const zone = `${offset < 0 ? '-' : '+'}${two(Math.floor(Math.abs(offset) / 60))}${two(Math.abs(offset) % 60)}`;
  const date = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  return `${date} ${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())} ${zone}`;
}
