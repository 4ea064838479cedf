/**
 * The size of a replicated device while it is being agreed on (metadata.md §5): both nodes take the smaller disk's. Growing a
 * device that is in use is a feature of its own and not here.
 */

import { createBitmap, nextRun, setBits, type Bitmap } from '../metadata/bitmap.js';
import type { Core } from '../model/core.js';
import type { Volume } from '../model/types.js';
import { queueFullSync, touchSuperblock } from './metadata-io.js';

/** The same marks on a device of another size; blocks that are new are out of sync. */
const resized = (old: Bitmap, sectors: number): Bitmap => {
  const bitmap = createBitmap(sectors);
  const common = Math.min(old.bits, bitmap.bits);
  for (let bit = 0; bit < common; ) {
    const run = nextRun(old, bit);
    const bits = Math.min(run.bits, common - bit);
    if (run.set) setBits(bitmap, bit, bits);
    bit += bits;
  }
  if (bitmap.bits > common) setBits(bitmap, common, bitmap.bits - common);
  return bitmap;
};

/** Takes the new size. The whole bitmap is written anew, under FULL_SYNC: a crash in between means a full sync, never a gap. */
export const setSize = (core: Core, volume: Volume, sectors: number): void => {
  volume.sizeSectors = sectors;
  const backing = volume.backing;
  if (!backing || backing.failed) return;
  for (const device of volume.peers.values()) {
    if (device.bitmap && device.bitmap.sectors !== sectors) device.bitmap = resized(device.bitmap, sectors);
  }
  backing.superblock.lastAgreedSectors = sectors;
  touchSuperblock(backing);
  queueFullSync(core, volume, { for: 'nobody' });
};
