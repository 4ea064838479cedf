/**
 * The size of a replicated device (metadata.md §5). While a connection or an attach agrees on one, it is taken at once; a device that
 * is in use is resized by resource/resize, which drains it first.
 */

import { resizedBitmap } from '../metadata/bitmap-resize.js';
import { layoutOf, type AlGeometry, type Layout } from '../metadata/layout.js';
import type { Result } from '../metadata/refusal.js';
import type { Core } from '../model/core.js';
import type { Backing, Volume } from '../model/types.js';
import { queueFullSync, touchSuperblock } from './metadata-io.js';

/** Where the metadata belongs on the devices as they are now. */
export const layoutNow = (volume: Volume, backing: Backing, al: AlGeometry = backing.layout): Result<Layout> => layoutOf(volume.config.metaDisk, backing, al);

/** Takes the new size. The whole bitmap is written anew, under FULL_SYNC: a crash in between means a full sync, never a gap. */
export const setSize = (core: Core, volume: Volume, sectors: number): void => {
  volume.sizeSectors = sectors;
  const backing = volume.backing;
  if (!backing || backing.failed) return;
  for (const device of volume.peers.values()) {
    if (device.bitmap && device.bitmap.sectors !== sectors) device.bitmap = resizedBitmap(device.bitmap, sectors, false);
  }
  backing.superblock.lastAgreedSectors = sectors;
  touchSuperblock(backing);
  queueFullSync(core, volume, { for: 'nobody' });
};

/** The open devices have other sizes; nothing else changes until somebody resizes. */
export const devicesResized = (volume: Volume, sizes: { dataSectors: number; metaSectors: number }): void => {
  if (!volume.backing) return;
  volume.backing.dataSectors = sizes.dataSectors;
  volume.backing.metaSectors = sizes.metaSectors;
};
