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
const ROW_BYTES = WORDS_PER_ROW * 8;
/** A position is printed at each row that begins on a multiple of 8 MiB of device. */
const WORDS_PER_MARK = 32;
const KIB_PER_WORD = 256;

/** The bitmap, 64 bits a word; consecutive rows of zeros, or of ones, are a run. `parts` are its bytes in order, each of whole rows. */
export function* dumpBitmap(parts: Iterable<Uint8Array>): Generator<string> {
  yield 'bm {\n';
  let first = 0;
  let bitsSet = 0;
  let run: Run | undefined;
  for (const bytes of parts) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let at = 0; at < bytes.length; at += ROW_BYTES, first += WORDS_PER_ROW) {
      const filler = fillerOf(view, at);
      if (filler === 'F') bitsSet += ROW_BYTES * 8;
      if (run && run.filler === filler) {
        run.words += WORDS_PER_ROW;
        continue;
      }
      if (run) yield runText(run);
      run = undefined;
      if (filler !== undefined) {
        run = { filler, first, words: WORDS_PER_ROW };
        continue;
      }
      yield markText(first) + rowText(view, at);
      for (let n = at; n < at + ROW_BYTES; n += 4) bitsSet += popcount(view.getUint32(n));
    }
  }
  if (run) yield runText(run);
  yield `}\n# bits-set ${bitsSet};\n`;
}

/** Rows of nothing but one hexadecimal digit, 0 or F. */
interface Run {
  filler: string;
  first: number;
  words: number;
}

function fillerOf(view: DataView, at: number): string | undefined {
  const half = view.getUint32(at);
  if (half !== 0 && half !== 0xffffffff) return undefined;
  for (let n = at + 4; n < at + ROW_BYTES; n += 4) if (view.getUint32(n) !== half) return undefined;
  return half === 0 ? '0' : 'F';
}

function runText(run: Run): string {
  const word = `0x${run.filler.repeat(16)};`;
  const text = run.words === WORDS_PER_ROW ? Array(WORDS_PER_ROW).fill(word).join(' ') : `${run.words} times ${word}`;
  return `${markText(run.first)}    ${text}\n`;
}

function rowText(view: DataView, at: number): string {
  const words = [0, 1, 2, 3].map((n) => `0x${hex(view.getBigUint64(at + 8 * n, true), 16)};`);
  return `    ${words.join(' ')}\n`;
}

const markText = (word: number): string => (word % WORDS_PER_MARK === 0 ? `   # at ${word * KIB_PER_WORD}kB\n` : '');

/** `2026-11-22 13:25:57 +0000` in the local time zone. */
function localTime(time: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  const offset = -time.getTimezoneOffset();
  const zone = `${offset < 0 ? '-' : '+'}${two(Math.floor(Math.abs(offset) / 60))}${two(Math.abs(offset) % 60)}`;
  const date = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  return `${date} ${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())} ${zone}`;
}
