// A disk for the rig of this room: sectors in memory behind a volatile write cache, so that a test can ask at any moment what
// would survive a loss of power.

import { AL_BLOCK_BYTES, replayLog } from '../../src/metadata/activity-log.js';
import { createMdSteps, newSuperblock } from '../../src/metadata/create-md.js';
import { layoutOf, superblockSector, type Layout } from '../../src/metadata/layout.js';
import { decodeSuperblock, type Superblock } from '../../src/metadata/superblock.js';
import type { DiskArea } from '../../src/contract/input.js';
import type { MetaDisk } from '../../src/config/types.js';

const SECTOR = 512;

interface Device {
  durable: Map<number, Uint8Array>;
  /** Completed and not flushed, by sector. */
  cache: Map<number, Uint8Array>;
}

export interface Disk {
  dataSectors: number;
  metaSectors: number;
  shared: boolean;
  /** 0: it cannot discard. */
  discardGranularitySectors: number;
  /** What `disk-placed` said last. */
  rememberedSectors: number;
  layout: Layout;
  devices: Record<DiskArea, Device>;
  /** Counts changes of the metadata area: for caches of what it says. */
  metaVersion: number;
}

/** A disk with fresh metadata (`create-md`). */
export function newDisk(metaDisk: MetaDisk, dataSectors: number, discardGranularitySectors = 0): Disk {
  const shared = metaDisk.kind === 'internal';
  const metaSectors = shared ? dataSectors : 4096;
  const layout = layoutOf(metaDisk, { dataSectors, metaSectors, shared });
  if (!layout.ok) throw new Error(layout.refusal.detail);
  const data: Device = { durable: new Map(), cache: new Map() };
  const devices = { data, meta: shared ? data : { durable: new Map(), cache: new Map() } };
  const disk: Disk = { dataSectors, metaSectors, shared, discardGranularitySectors, rememberedSectors: metaSectors, layout: layout.value, devices, metaVersion: 0 };
  for (const step of createMdSteps(layout.value, newSuperblock(layout.value), layout.value.bitmapSectors)) {
    if (step.step === 'write') write(disk, 'meta', step.sector, step.data);
    else flush(disk, 'meta');
  }
  return disk;
}

/** Internal metadata lies at the end of the device now, as its superblock says. */
export function placed(disk: Disk): void {
  const decoded = decodeSuperblock(read(disk, 'meta', superblockSector({ kind: 'internal' }, disk.metaSectors), 8));
  if (!decoded.ok) throw new Error(`no superblock at the new end: ${decoded.refusal.detail}`);
  const layout = layoutOf({ kind: 'internal' }, disk, decoded.value);
  if (!layout.ok) throw new Error(layout.refusal.detail);
  disk.layout = layout.value;
  disk.metaVersion++;
}

/** The device grows, or is cut. */
export function resizeDevice(disk: Disk, moreSectors: number): void {
  disk.dataSectors += moreSectors;
  if (disk.shared) disk.metaSectors = disk.dataSectors;
  for (const device of Object.values(disk.devices)) {
    for (const map of [device.durable, device.cache]) for (const sector of map.keys()) if (device === disk.devices.data && sector >= disk.dataSectors) map.delete(sector);
  }
}

export function write(disk: Disk, area: DiskArea, sector: number, bytes: Uint8Array): void {
  const { cache } = disk.devices[area];
  for (let at = 0; at < bytes.length; at += SECTOR) cache.set(sector + at / SECTOR, bytes.slice(at, at + SECTOR));
  if (area === 'meta' || disk.shared) disk.metaVersion++;
}

/** Everything that was completed becomes durable. */
export function flush(disk: Disk, area: DiskArea): void {
  const { durable, cache } = disk.devices[area];
  for (const [sector, bytes] of cache) durable.set(sector, bytes);
  cache.clear();
  if (area === 'meta' || disk.shared) disk.metaVersion++;
}

/** What was just written becomes durable, and nothing else. */
export function persist(disk: Disk, area: DiskArea, sector: number, sectors: number): void {
  const { durable, cache } = disk.devices[area];
  for (let at = sector; at < sector + sectors; at++) {
    const bytes = cache.get(at);
    if (bytes) durable.set(at, bytes);
    cache.delete(at);
  }
  if (area === 'meta' || disk.shared) disk.metaVersion++;
}

/** Nothing that was not flushed survives. */
export const losePower = (disk: Disk): void => {
  for (const device of Object.values(disk.devices)) device.cache.clear();
};

/** `seen`: what a read gives; `durable`: what a loss of power leaves. */
export type Which = 'seen' | 'durable';

export function read(disk: Disk, area: DiskArea, sector: number, sectors: number, which: Which = 'seen'): Uint8Array {
  const { durable, cache } = disk.devices[area];
  const bytes = new Uint8Array(sectors * SECTOR);
  for (let at = 0; at < sectors; at++) {
    const found = (which === 'seen' ? cache.get(sector + at) : undefined) ?? durable.get(sector + at);
    if (found) bytes.set(found, at * SECTOR);
  }
  return bytes;
}


// ---- What would be there after a loss of power ----------------------------------------------------------------------------

export function durableSuperblock(disk: Disk, which: Which = 'durable'): Superblock {
  const decoded = decodeSuperblock(read(disk, 'meta', disk.layout.superblockSector, 8, which));
  if (!decoded.ok) throw new Error(`the superblock on disk: ${decoded.refusal.detail}`);
  return decoded.value;
}

/** Extents that the activity log on disk says are active. */
export function durableExtents(disk: Disk, which: Which = 'durable'): Set<number> {
  const { layout } = disk;
  const replay = replayLog(layout, (index) => read(disk, 'meta', layout.alSector + index * (AL_BLOCK_BYTES / SECTOR), AL_BLOCK_BYTES / SECTOR, which));
  if (replay.outcome === 'failed') throw new Error(`the activity log on disk: ${replay.reason}`);
  return new Set(replay.outcome === 'extents' ? replay.extents : []);
}

/** Is this bit (4 KiB of data) set in the bitmap on disk? */
export function isMarkedOnDisk(disk: Disk, bit: number, which: Which = 'durable'): boolean {
  const sector = disk.layout.bitmapSector + Math.floor(bit / (SECTOR * 8));
  const bytes = read(disk, 'meta', sector, 1, which);
  return (bytes[(bit >> 3) % SECTOR]! & (1 << (bit & 7))) !== 0;
}
