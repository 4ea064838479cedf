/**
 * Metadata that gets another place, since the device or the activity log gets another size (metadata.md §5). The order makes every
 * crash harmless: the superblock at the new place, with FULL_SYNC and without an activity log, is the moment from which on the new
 * place counts, and says "trust nothing but the generations" until log and bitmap are there. Up to that moment nothing of
 * the old metadata has been touched, as the new superblock never lies in it unless it lies exactly on the old one.
 *
 * What the old metadata leaves behind is zeroed: it becomes part of the device, and a superblock in there must never be found again.
 */

import { writeEmpty, type MetadataStep } from './apply-al.js';
import type { Layout } from './layout.js';
import { encodeSuperblock, Magic, SuperblockFlag, type Superblock } from './superblock.js';

/** Zeros in one write: 1 MiB. */
const SECTORS_PER_WRITE = 2048;
const SECTORS_PER_BLOCK = 8;

/** The superblock as it describes this layout; not written yet. */
export const placed = (superblock: Superblock, layout: Layout): Superblock => ({
  ...superblock,
  mdSizeSectors: layout.mdSizeSectors,
  alOffsetSectors: layout.alOffsetSectors,
  bmOffsetSectors: layout.bmOffsetSectors,
  alStripes: layout.alStripes,
  alStripeSize4k: layout.alStripeSize4k,
});

export const samePlace = (a: Layout, b: Layout): boolean =>
  a.superblockSector === b.superblockSector && a.alSector === b.alSector && a.bitmapSector === b.bitmapSector && a.bitmapSectors === b.bitmapSectors && a.alStripes === b.alStripes && a.alStripeSize4k === b.alStripeSize4k;

const endOf = (layout: Layout): number => layout.superblockSector + SECTORS_PER_BLOCK;

/** Sectors of the old metadata that are none in the new: of internal metadata, which grows downwards from the superblock. */
export const leftBehind = (old: Layout, layout: Layout): { sector: number; sectors: number }[] => {
  if (old.alOffsetSectors > 0) return [];
  const parts = [
    { from: old.bitmapSector, to: Math.min(endOf(old), layout.bitmapSector) },
    { from: Math.max(old.bitmapSector, endOf(layout)), to: endOf(old) },
  ];
  return parts.filter(({ from, to }) => to > from).map(({ from, to }) => ({ sector: from, sectors: to - from }));
};

/** An empty log, and zeros where metadata was. */
export const freshAreas = (old: Layout, layout: Layout): Extract<MetadataStep, { step: 'write' }>[] => {
  const steps: MetadataStep[] = [];
  writeEmpty(steps, layout, 0, layout.alBlocks);
  for (const { sector, sectors } of leftBehind(old, layout)) {
    for (let at = 0; at < sectors; at += SECTORS_PER_WRITE) {
      steps.push({ step: 'write', sector: sector + at, data: new Uint8Array(Math.min(SECTORS_PER_WRITE, sectors - at) * 512) });
    }
  }
  return steps.filter((step) => step.step === 'write');
};

/**
 * The whole move of metadata that is at rest and clean, by an attach that found it where the device ended before. `pages` are the
 * bytes of the bitmap. Strictly one after the other.
 */
export const planMove = (superblock: Superblock, old: Layout, layout: Layout, pages: Uint8Array): { steps: MetadataStep[]; superblock: Superblock } => {
  const moved = placed(superblock, layout);
  const unsure: Superblock = { ...moved, magic: Magic.Unclean, flags: (moved.flags & ~SuperblockFlag.AlClean) | SuperblockFlag.FullSync | SuperblockFlag.AlDisabled };
  const steps: MetadataStep[] = [
    { step: 'write', sector: layout.superblockSector, data: encodeSuperblock(unsure) },
    { step: 'flush' },
    ...freshAreas(old, layout),
  ];
  for (let at = 0; at * 512 < pages.length; at += SECTORS_PER_WRITE) {
    steps.push({ step: 'write', sector: layout.bitmapSector + at, data: pages.subarray(at * 512, (at + SECTORS_PER_WRITE) * 512) });
  }
  steps.push({ step: 'flush' }, { step: 'write', sector: layout.superblockSector, data: encodeSuperblock(moved) }, { step: 'flush' });
  return { steps, superblock: moved };
};
