/**
 * Where the metadata lies: from the sizes of the devices to the places of superblock, activity log and bitmap, the largest
 * usable size, and the checks of an attach that depend on nothing else (metadata.md §1, §5). All positions are sectors of
 * 512 bytes on the metadata device; with internal metadata that is the data device.
 */

import type { MetaDisk } from '../config/types.js';
import { type Refusal, type Result, refusal, refused } from './refusal.js';
import {
  AL_BLOCKS_MAX,
  AL_BLOCKS_MIN,
  DEFAULT_AL_STRIPES,
  DEFAULT_AL_STRIPE_SIZE_4K,
  type Superblock,
  SuperblockFlag,
  hasFlag,
} from './superblock.js';

/** Capacities in sectors; `shared`: data and metadata are on one device (then both are equal). */
export interface Devices {
  dataSectors: number;
  metaSectors: number;
  shared: boolean;
}

/** The ring as the superblock describes it. */
export interface AlGeometry {
  alStripes: number;
  alStripeSize4k: number;
}

export interface Layout extends AlGeometry {
  superblockSector: number;
  alSector: number;
  bitmapSector: number;
  /** Length of the bitmap area: whole pages of 8 sectors. */
  bitmapSectors: number;
  mdSizeSectors: number;
  /** As the superblock stores them: relative to it, signed. */
  alOffsetSectors: number;
  bmOffsetSectors: number;
  /** Blocks of 4 KiB in the ring. */
  alBlocks: number;
  /** The largest size that this device can have. */
  usableDataSectors: number;
}

/** 128 MiB: the length of a numbered slot on a shared metadata device. */
export const INDEXED_SECTORS = 262144;

/** A sector of bitmap describes 32768 sectors, a page of it 262144. */
const SECTORS_PER_BITMAP_SECTOR = 32768;
const SECTORS_PER_BITMAP_PAGE = 262144;
const SECTORS_PER_BLOCK = 8;
/** 1 MiB: smaller metadata devices are refused. */
const META_SECTORS_MIN = 2048;
/** 1 PiB: where DRBD's tools end (metadata.md §1.1). */
export const DEVICE_SECTORS_MAX = 2 ** 41;

export const defaultAlGeometry: AlGeometry = { alStripes: DEFAULT_AL_STRIPES, alStripeSize4k: DEFAULT_AL_STRIPE_SIZE_4K };

/** The first check of an attach, before anything is read: is there a place for the superblock? 116 or 112. */
export function checkDevices(metaDisk: MetaDisk, devices: Devices): Refusal | undefined {
  if (metaDisk.kind === 'internal' && !devices.shared) return refusal(116, 'internal metadata lies on the data device');
  if (metaDisk.kind !== 'internal' && devices.shared) return refusal(116, 'external metadata needs a device of its own');
  if (metaDisk.kind === 'indexed' && !(Number.isInteger(metaDisk.index) && metaDisk.index >= 0)) {
    return refusal(116, `index ${metaDisk.index}`);
  }
  const needed = metaDisk.kind === 'indexed' ? INDEXED_SECTORS * (metaDisk.index + 1) : META_SECTORS_MIN;
  if (devices.metaSectors < needed) return refusal(112, `${devices.metaSectors} sectors, at least ${needed} needed`);
  return undefined;
}

/**
 * A device length with which internal metadata is found again. It is derived from where the metadata is, never from what the device measures now: that may have
 * grown while the metadata was on its way.
 */
export const placedSectors = (layout: Layout): number => layout.superblockSector + SECTORS_PER_BLOCK;

export function superblockSector(metaDisk: MetaDisk, metaSectors: number): number {
  switch (metaDisk.kind) {
    case 'internal':
      return metaSectors - (metaSectors % SECTORS_PER_BLOCK) - SECTORS_PER_BLOCK;
    case 'flexible':
      return 0;
    case 'indexed':
      return metaDisk.index * INDEXED_SECTORS;
    default:
      return metaDisk satisfies never;
  }
}

/**
 * Places everything. Refused: what `checkDevices` refuses; 119 for a ring outside 32 KiB .. 16 GiB, or other than the
 * default in an indexed slot; 112 when log and bitmap leave no room for data.
 */
export function layoutOf(metaDisk: MetaDisk, devices: Devices, al: AlGeometry = defaultAlGeometry): Result<Layout> {
  const bad = checkDevices(metaDisk, devices);
  if (bad) return { ok: false, refusal: bad };
  const alBlocks = al.alStripes * al.alStripeSize4k;
  if (alBlocks < AL_BLOCKS_MIN || alBlocks > AL_BLOCKS_MAX) return refused(119, `activity log of ${alBlocks} blocks`);
  const alSectors = alBlocks * SECTORS_PER_BLOCK;
  const superblock = superblockSector(metaDisk, devices.metaSectors);
  const place = (alOffsetSectors: number, bmOffsetSectors: number, mdSizeSectors: number, bitmapSectors: number, usable: number): Result<Layout> =>
    usable <= 0
      ? refused(112, 'metadata leaves no room for data')
      : {
          ok: true,
          value: {
            superblockSector: superblock,
            alSector: superblock + alOffsetSectors,
            bitmapSector: superblock + bmOffsetSectors,
            bitmapSectors,
            mdSizeSectors,
            alOffsetSectors,
            bmOffsetSectors,
            alStripes: al.alStripes,
            alStripeSize4k: al.alStripeSize4k,
            alBlocks,
            usableDataSectors: Math.min(usable, DEVICE_SECTORS_MAX),
          },
        };

  if (metaDisk.kind === 'internal') {
    const bitmapSectors = Math.ceil(devices.metaSectors / SECTORS_PER_BITMAP_PAGE) * SECTORS_PER_BLOCK;
    const bmOffset = -(bitmapSectors + alSectors);
    return place(-alSectors, bmOffset, bitmapSectors + alSectors + SECTORS_PER_BLOCK, bitmapSectors, superblock + bmOffset);
  }
  if (metaDisk.kind === 'indexed' && (al.alStripes !== DEFAULT_AL_STRIPES || al.alStripeSize4k !== DEFAULT_AL_STRIPE_SIZE_4K)) {
    return refused(119, 'an indexed slot has the default activity log');
  }
  const mdSizeSectors = metaDisk.kind === 'indexed' ? INDEXED_SECTORS : devices.metaSectors;
  const bmOffset = SECTORS_PER_BLOCK + alSectors;
  // Whole pages only: the kernel uses a last partial one as well, but bitmap I/O is in pages and must not leave the area.
  const room = mdSizeSectors - bmOffset;
  const bitmapSectors = room - (room % SECTORS_PER_BLOCK);
  const usable = Math.min(devices.dataSectors, bitmapSectors * SECTORS_PER_BITMAP_SECTOR);
  return place(SECTORS_PER_BLOCK, bmOffset, mdSizeSectors, bitmapSectors, usable);
}

/** Does the superblock describe this place? Otherwise it is not ours (119): moved, or of a device that was resized (metadata.md §9). */
export function checkGeometry(superblock: Superblock, layout: Layout): Refusal | undefined {
  if (superblock.alStripes !== layout.alStripes || superblock.alStripeSize4k !== layout.alStripeSize4k) {
    return refusal(119, 'activity log geometry differs');
  }
  if (superblock.alOffsetSectors !== layout.alOffsetSectors) {
    return refusal(119, `al_offset is ${superblock.alOffsetSectors}, expected ${layout.alOffsetSectors}`);
  }
  if (superblock.bmOffsetSectors !== layout.bmOffsetSectors) {
    return refusal(119, `bm_offset is ${superblock.bmOffsetSectors}, expected ${layout.bmOffsetSectors}`);
  }
  // Internal metadata lies before the superblock, so its size matters; an external device may have grown since.
  const grown = layout.alOffsetSectors > 0 && superblock.mdSizeSectors < layout.mdSizeSectors;
  if (superblock.mdSizeSectors !== layout.mdSizeSectors && !grown) {
    return refusal(119, `md_size_sect is ${superblock.mdSizeSectors}, expected ${layout.mdSizeSectors}`);
  }
  // Nobody may read or write a bitmap that reaches into what lies behind it.
  if (superblock.lastAgreedSectors > layout.bitmapSectors * SECTORS_PER_BITMAP_SECTOR) {
    return refusal(119, `la_size_sect is ${superblock.lastAgreedSectors}, beyond the bitmap`);
  }
  return undefined;
}

/** Sizes in sectors; 0 = not known, or (user) not limited. */
export interface SizeQuestion {
  peerSectors: number;
  /** `Layout.usableDataSectors`. */
  maxSectors: number;
  lastAgreedSectors: number;
  userSectors: number;
  /** Not connected, and told that the peer is big enough (resize --assume-peer-has-space). */
  assumePeerHasSpace: boolean;
}

/** The size that a device shall have (metadata.md §5). A user size that does not fit is ignored. */
export function newSize(question: SizeQuestion): number {
  const { maxSectors: max, lastAgreedSectors: agreed, userSectors: user } = question;
  const peer = question.assumePeerHasSpace ? max : question.peerSectors;
  let size: number;
  if (peer && max) {
    size = Math.min(peer, max);
  } else if (agreed) {
    size = agreed;
    if (max) size = Math.min(size, max);
    if (peer) size = Math.min(size, peer);
  } else {
    size = peer || max;
  }
  return user && user <= size ? user : size;
}

/**
 * May a disk with this superblock be attached at `sizeSectors` (what `newSize` said)? 111: the user's size, or the size that
 * is exported now, does not fit. 170: consistent data would shrink without an explicit size (metadata.md §5).
 */
export function checkAttachSize(
  superblock: Superblock,
  layout: Layout,
  sizes: { sizeSectors: number; userSectors: number; exportedSectors: number },
): Refusal | undefined {
  if (sizes.userSectors > layout.usableDataSectors) {
    return refusal(111, `size ${sizes.userSectors} sectors, the device has room for ${layout.usableDataSectors}`);
  }
  if (sizes.exportedSectors > layout.usableDataSectors) {
    return refusal(111, `${sizes.exportedSectors} sectors are in use, the device has room for ${layout.usableDataSectors}`);
  }
  const shrinks = sizes.sizeSectors < superblock.lastAgreedSectors;
  if (hasFlag(superblock, SuperblockFlag.Consistent) && shrinks && sizes.sizeSectors !== sizes.userSectors) {
    return refusal(170, `from ${superblock.lastAgreedSectors} to ${sizes.sizeSectors} sectors`);
  }
  return undefined;
}
