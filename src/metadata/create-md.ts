/**
 * Fresh metadata (`drbdmeta create-md`, metadata.md §9): an empty bitmap, an empty activity log and a superblock that says
 * "just created". The simulator prepares its disks with it, lockmeta real ones.
 */

import { type MetadataStep, writeEmpty } from './apply-al.js';
import type { Layout } from './layout.js';
import { DEFAULT_AL_EXTENTS, Magic, type Superblock, SuperblockFlag, UUID_JUST_CREATED, encodeSuperblock } from './superblock.js';

const SECTORS_PER_WRITE = 2048;

export function newSuperblock(layout: Layout): Superblock {
  return {
    magic: Magic.Clean,
    lastAgreedSectors: 0,
    uuids: [UUID_JUST_CREATED, 0n, 0n, 0n],
    deviceUuid: 0n,
    flags: SuperblockFlag.AlClean,
    mdSizeSectors: layout.mdSizeSectors,
    alOffsetSectors: layout.alOffsetSectors,
    alExtents: DEFAULT_AL_EXTENTS,
    bmOffsetSectors: layout.bmOffsetSectors,
    peerMaxBioBytes: 0,
    alStripes: layout.alStripes,
    alStripeSize4k: layout.alStripeSize4k,
  };
}

/**
 * All writes of create-md, to be done in order. The place of the superblock is wiped first and written last, so that a crash
 * leaves no metadata rather than an old superblock beside new areas. `bitmapSectors`: how much of the bitmap area is zeroed.
 */
export function createMdSteps(layout: Layout, superblock: Superblock, bitmapSectors: number): MetadataStep[] {
  const steps: MetadataStep[] = [
    { step: 'write', sector: layout.superblockSector, data: new Uint8Array(4096) },
    { step: 'flush' },
  ];
  const zeros = new Uint8Array(Math.min(bitmapSectors, SECTORS_PER_WRITE) * 512);
  for (let at = 0; at < bitmapSectors; at += SECTORS_PER_WRITE) {
    const sectors = Math.min(SECTORS_PER_WRITE, bitmapSectors - at);
    steps.push({ step: 'write', sector: layout.bitmapSector + at, data: zeros.subarray(0, sectors * 512) });
  }
  writeEmpty(steps, layout, 0, layout.alBlocks);
  steps.push({ step: 'flush' });
  steps.push({ step: 'write', sector: layout.superblockSector, data: encodeSuperblock(superblock) }, { step: 'flush' });
  return steps;
}
