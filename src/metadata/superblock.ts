/**
 * The superblock of format v08: one block of 4 KiB with the generation UUIDs, the flags and the geometry (metadata.md §2).
 *
 * The core keeps a `Superblock` in memory, changes it in place and encodes it at the moment of writing. There is one copy on
 * disk and no checksum; all fields lie in the first 512 bytes, so a write torn at a sector leaves the old or the new one.
 */

import { type Result, refused } from './refusal.js';

export const SUPERBLOCK_BYTES = 4096;

/** The formats whose superblock we read. `Clean` is what tools write, `Unclean` what the kernel and the core write while attached. */
export const Magic = { Clean: 0x8374026b, Unclean: 0x8374026c } as const;
export type Magic = (typeof Magic)[keyof typeof Magic];

/** Magics of all formats with the magic at this place. */
const formats = new Map([
  [0x83740269, 'v06'],
  [0x8374026a, 'v07'],
  [Magic.Clean, 'v08'],
  [Magic.Unclean, 'v08'],
  [0x8374026d, 'v09'],
]);

/** Bits of `Superblock.flags` (metadata.md §2.2). */
export const SuperblockFlag = {
  Consistent: 0x001,
  PrimaryInd: 0x002,
  ConnectedInd: 0x004,
  FullSync: 0x008,
  WasUpToDate: 0x010,
  PeerOutDated: 0x020,
  CrashedPrimary: 0x040,
  AlClean: 0x080,
  AlDisabled: 0x100,
} as const;

/** What `create-md` writes as the current UUID: "just created". */
export const UUID_JUST_CREATED = 4n;

/** `al_nr_extents` of a new superblock, until a node writes its configured value. */
export const DEFAULT_AL_EXTENTS = 257;

/** The default ring: one stripe of 8 blocks, 32 KiB. */
export const DEFAULT_AL_STRIPES = 1;
export const DEFAULT_AL_STRIPE_SIZE_4K = 8;

/** Bounds of the ring, in blocks of 4 KiB (32 KiB .. 16 GiB). */
export const AL_BLOCKS_MIN = 8;
export const AL_BLOCKS_MAX = 4194304;

/** Larger sizes and positions in sectors are refused wherever they come from (design: "Numbers"). */
const SECTORS_MAX = 2 ** 51;

export interface Superblock {
  magic: Magic;
  /** Last agreed device size; 0 = never agreed. */
  lastAgreedSectors: number;
  /** Current, bitmap, younger history, older history. */
  uuids: [bigint, bigint, bigint, bigint];
  deviceUuid: bigint;
  /** `SuperblockFlag` bits; unknown bits are kept. */
  flags: number;
  mdSizeSectors: number;
  /** Relative to the superblock, signed. */
  alOffsetSectors: number;
  /** Slots of the active set. */
  alExtents: number;
  /** Relative to the superblock, signed. */
  bmOffsetSectors: number;
  /** Last known largest request of the peer; 0 = unknown. */
  peerMaxBioBytes: number;
  alStripes: number;
  alStripeSize4k: number;
}

export const hasFlag = (superblock: Superblock, flag: number): boolean => (superblock.flags & flag) !== 0;

/** Would the kernel attach this without apply-al? (metadata.md §2.1) */
export const isClean = (superblock: Superblock): boolean =>
  superblock.magic === Magic.Clean && hasFlag(superblock, SuperblockFlag.AlClean);

/** The format that a superblock's magic names, or undefined. */
export const formatOf = (bytes: Uint8Array): string | undefined =>
  bytes.length < SUPERBLOCK_BYTES ? undefined : formats.get(new DataView(bytes.buffer, bytes.byteOffset, SUPERBLOCK_BYTES).getUint32(60));

/** 4096 new bytes, zero behind the fields. Throws when a field does not fit its place: that is a bug of the caller. */
export function encodeSuperblock(superblock: Superblock): Uint8Array {
  const bytes = new Uint8Array(SUPERBLOCK_BYTES);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(checked(superblock.lastAgreedSectors, 0, SECTORS_MAX)));
  superblock.uuids.forEach((uuid, n) => view.setBigUint64(8 + 8 * n, checkedUuid(uuid)));
  view.setBigUint64(40, checkedUuid(superblock.deviceUuid));
  view.setUint32(56, checked(superblock.flags, 0, 0xffffffff));
  view.setUint32(60, superblock.magic);
  view.setUint32(64, checked(superblock.mdSizeSectors, 0, 0xffffffff));
  view.setInt32(68, checked(superblock.alOffsetSectors, -0x80000000, 0x7fffffff));
  view.setUint32(72, checked(superblock.alExtents, 0, 0xffffffff));
  view.setInt32(76, checked(superblock.bmOffsetSectors, -0x80000000, 0x7fffffff));
  view.setUint32(80, 4096);
  view.setUint32(84, checked(superblock.peerMaxBioBytes, 0, 0xffffffff));
  view.setUint32(88, checked(superblock.alStripes, 0, 0xffffffff));
  view.setUint32(92, checked(superblock.alStripeSize4k, 0, 0xffffffff));
  return bytes;
}

/**
 * Reads a superblock; never throws, whatever the bytes. Refused with 119: no v08 magic, a bitmap granularity other than
 * 4096, a ring outside 32 KiB .. 16 GiB, a size above 2^51 sectors. Whether the offsets fit the device: `checkGeometry`.
 */
export function decodeSuperblock(bytes: Uint8Array): Result<Superblock> {
  if (bytes.length < SUPERBLOCK_BYTES) return refused(119, `superblock of ${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, SUPERBLOCK_BYTES);
  const magic = view.getUint32(60);
  if (magic !== Magic.Clean && magic !== Magic.Unclean) {
    const format = formatOf(bytes);
    return refused(119, format === undefined ? 'no v08 magic' : `metadata is of format ${format}, not v08`);
  }
  const bytesPerBit = view.getUint32(80);
  if (bytesPerBit !== 4096) return refused(119, `bm_bytes_per_bit is ${bytesPerBit}, only 4096 is supported`);
  const lastAgreedSectors = view.getBigUint64(0);
  if (lastAgreedSectors > BigInt(SECTORS_MAX)) return refused(119, `la_size_sect ${lastAgreedSectors} is beyond any device`);
  let alStripes = view.getUint32(88);
  let alStripeSize4k = view.getUint32(92);
  // Superblocks written before there was striping.
  if (alStripes === 0 && alStripeSize4k === 0) [alStripes, alStripeSize4k] = [DEFAULT_AL_STRIPES, DEFAULT_AL_STRIPE_SIZE_4K];
  const alBlocks = alStripes * alStripeSize4k;
  if (alBlocks < AL_BLOCKS_MIN || alBlocks > AL_BLOCKS_MAX) {
    return refused(119, `invalid activity log: ${alStripes} stripes of ${alStripeSize4k} blocks`);
  }
  return {
    ok: true,
    value: {
      magic,
      lastAgreedSectors: Number(lastAgreedSectors),
      uuids: [view.getBigUint64(8), view.getBigUint64(16), view.getBigUint64(24), view.getBigUint64(32)],
      deviceUuid: view.getBigUint64(40),
      flags: view.getUint32(56),
      mdSizeSectors: view.getUint32(64),
      alOffsetSectors: view.getInt32(68),
      alExtents: view.getUint32(72),
      bmOffsetSectors: view.getInt32(76),
      peerMaxBioBytes: view.getUint32(84),
      alStripes,
      alStripeSize4k,
    },
  };
}

function checked(value: number, min: number, max: number): number {
  if (!Number.isInteger(value) || value < min || value > max) throw new RangeError(`superblock field out of range: ${value}`);
  return value;
}

function checkedUuid(uuid: bigint): bigint {
  if (BigInt.asUintN(64, uuid) !== uuid) throw new RangeError(`not a 64-bit UUID: ${uuid}`);
  return uuid;
}
