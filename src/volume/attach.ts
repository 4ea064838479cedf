/**
 * Attaching a backing disk, from "open it" to "its metadata is in memory and clean" (node-states.md §8.1, metadata.md §3).
 * The kernel leaves the replay of the activity log to a tool that must run before; here it is a step of the attach, the same
 * plan that lockmeta runs. What the disk may then be is decided above (resource/attach): signal `attach-prepared`.
 */

import { AL_BLOCK_BYTES, clampAlExtents, replayLog } from '../metadata/activity-log.js';
import { extentsToMark, planApplyAl } from '../metadata/apply-al.js';
import { bytesOf, loadPages } from '../metadata/bitmap-io.js';
import { BITS_PER_AL_EXTENT, createBitmap, PAGE_BYTES, setBits, type Bitmap } from '../metadata/bitmap.js';
import { newSuperblock } from '../metadata/create-md.js';
import { checkDevices, checkGeometry, layoutOf, newSize, placedSectors, superblockSector, type Devices, type Layout } from '../metadata/layout.js';
import { planMove } from '../metadata/move.js';
import type { Refusal, Result } from '../metadata/refusal.js';
import { decodeSuperblock, hasFlag, isClean, SuperblockFlag, SUPERBLOCK_BYTES, type Superblock } from '../metadata/superblock.js';
import { assert, emit, flushDisk, readDisk, signal, writeDisk, type Core } from '../model/core.js';
import type { DiskOperation, OperationResult, Then } from '../model/operations.js';
import type { Backing, Volume } from '../model/types.js';
import { newActivityLog } from './activity-log.js';

/** Metadata is read in pieces of up to 1 MiB. */
const READ_SECTORS = 2048;

/** DRBD's result for I/O errors on metadata, and for a device that cannot be opened (node-states.md §2). */
const META_IO_ERROR = 118;
const CANNOT_OPEN = 104;

const fail = (core: Core, volume: Volume, code: number, detail: string): void =>
  signal(core, { signal: 'attach-failed', resource: volume.resource, volume: volume.number, code, detail });

const refuse = (core: Core, volume: Volume, refusal: Refusal): void => fail(core, volume, refusal.code, refusal.detail);

/** Asks the driver for the disk; the volume is Attaching. */
export const beginAttach = (core: Core, volume: Volume): void => {
  assert(volume.backing === undefined, 'a disk is attached to a diskless volume');
  emit(core, { type: 'disk-open', resource: volume.resource, volume: volume.number });
};

export const diskOpenFailed = (core: Core, volume: Volume, reason: string): void => fail(core, volume, CANNOT_OPEN, reason);

/** The driver has the disk open: capacities in sectors. */
export const diskOpened = (core: Core, volume: Volume, devices: Devices & { discardGranularityBytes: number; rememberedSectors: number }): void => {
  const refusal = checkDevices(volume.config.metaDisk, devices);
  const refused = (why: Refusal): void => {
    emit(core, { type: 'disk-close', resource: volume.resource, volume: volume.number });
    refuse(core, volume, why);
  };
  if (refusal) return refused(refusal);
  const layout = layoutOf(volume.config.metaDisk, devices);
  if (!layout.ok) return refused(layout.refusal);
  volume.backing = newBacking(volume, devices, layout.value);
  readPieces(core, volume, superblockSector(volume.config.metaDisk, devices.metaSectors), SUPERBLOCK_BYTES / 512);
};

const newBacking = (volume: Volume, devices: Devices & { discardGranularityBytes: number; rememberedSectors: number }, layout: Layout): Backing => ({
  attachment: ++volume.attachments,
  dataSectors: devices.dataSectors,
  metaSectors: devices.metaSectors,
  shared: devices.shared,
  discardGranularitySectors: devices.discardGranularityBytes / 512,
  layout,
  // Both are replaced by what is read.
  superblock: newSuperblock(layout),
  activityLog: newActivityLog(0),
  superblockVersion: 0,
  superblockWritten: 0,
  primaryOnDisk: false,
  metadataJobs: [],
  operationsInFlight: 0,
  forceDetach: false,
  wasReadError: false,
  isBad: false,
  hadError: false,
  failed: false,
  attaching: {
    step: 'superblock',
    rememberedSectors: devices.rememberedSectors,
    endSectors: devices.metaSectors,
    moveTo: undefined,
    pending: 0,
    ring: new Uint8Array(0),
    plan: [],
    planAt: 0,
  },
});

/** Reads a range of the metadata area in pieces; `index` of each is its first byte's offset in the range. */
const readPieces = (core: Core, volume: Volume, sector: number, sectors: number): void => {
  const attaching = volume.backing!.attaching!;
  for (let at = 0; at < sectors; at += READ_SECTORS) {
    attaching.pending++;
    readDisk(core, volume, 'meta', sector + at, Math.min(READ_SECTORS, sectors - at), { to: 'attach', index: at * 512 });
  }
};

/** An operation of the attach ended. */
export const attachOperationDone = (
  core: Core,
  volume: Volume,
  operation: DiskOperation,
  then: Then & { to: 'attach' },
  result: OperationResult,
): void => {
  const backing = volume.backing;
  if (!backing?.attaching || backing.failed || backing.attachment !== operation.attachment) return;
  const attaching = backing.attaching;
  attaching.pending--;
  if (!result.ok) {
    backing.failed = true;
    return fail(core, volume, META_IO_ERROR, `${operation.kind} of the metadata ${result.failure}`);
  }
  switch (attaching.step) {
    case 'superblock':
      return superblockRead(core, volume, backing, result.data ?? new Uint8Array(SUPERBLOCK_BYTES));
    case 'activity-log':
      if (result.data) attaching.ring.set(result.data, then.index);
      if (attaching.pending === 0) readBitmap(core, volume, backing);
      return;
    case 'bitmap':
      // The format has one bitmap: that of the first peer. All zero is what a new bitmap is.
      if (result.data) loadPages(firstBitmap(volume)!, then.index / PAGE_BYTES, result.data);
      if (attaching.pending === 0) applyActivityLog(core, volume, backing);
      return;
    case 'apply-al':
    case 'move':
      return nextPlanStep(core, volume, backing);
  }
};

const firstBitmap = (volume: Volume): Bitmap | undefined => {
  for (const device of volume.peers.values()) if (device.bitmap) return device.bitmap;
  return undefined;
};

const superblockRead = (core: Core, volume: Volume, backing: Backing, bytes: Uint8Array): void => {
  const attaching = backing.attaching!;
  const { endSectors, rememberedSectors } = attaching;
  const isElsewhere = endSectors !== backing.metaSectors;
  const found = described(volume, isElsewhere ? { dataSectors: endSectors, metaSectors: endSectors, shared: backing.shared } : backing, bytes);
  if (!found.ok) {
    // The device may have grown while nobody was looking: its metadata lies where it ended.
    const mayBeElsewhere = volume.config.metaDisk.kind === 'internal' && rememberedSectors > 0 && rememberedSectors < backing.metaSectors;
    if (isElsewhere || !mayBeElsewhere) return refuse(core, volume, found.refusal);
    attaching.endSectors = rememberedSectors;
    return readPieces(core, volume, superblockSector(volume.config.metaDisk, rememberedSectors), SUPERBLOCK_BYTES / 512);
  }
  const { superblock, layout } = found.value;
  if (isElsewhere) {
    const here = layoutOf(volume.config.metaDisk, backing, superblock);
    if (!here.ok) return refuse(core, volume, here.refusal);
    attaching.moveTo = here.value;
  }
  backing.superblock = superblock;
  backing.primaryOnDisk = hasFlag(superblock, SuperblockFlag.PrimaryInd);
  backing.layout = layout;
  if (isClean(superblock)) return readBitmap(core, volume, backing);
  attaching.step = 'activity-log';
  attaching.ring = new Uint8Array(layout.alBlocks * AL_BLOCK_BYTES);
  readPieces(core, volume, layout.alSector, layout.alBlocks * (AL_BLOCK_BYTES / 512));
};

/** A superblock that describes the metadata of this device. */
const described = (volume: Volume, devices: Devices, bytes: Uint8Array): Result<{ superblock: Superblock; layout: Layout }> => {
  const decoded = decodeSuperblock(bytes);
  if (!decoded.ok) return decoded;
  const superblock = decoded.value;
  const layout = layoutOf(volume.config.metaDisk, devices, superblock);
  if (!layout.ok) return layout;
  const wrong = checkGeometry(superblock, layout.value);
  return wrong ? { ok: false, refusal: wrong } : { ok: true, value: { superblock, layout: layout.value } };
};

/** What the bitmap on disk describes: the last agreed size, or for a new device the size that it will get. */
const bitmapSectors = (volume: Volume, backing: Backing): number =>
  backing.superblock.lastAgreedSectors ||
  newSize({
    peerSectors: 0,
    maxSectors: backing.layout.usableDataSectors,
    lastAgreedSectors: 0,
    userSectors: volume.config.sizeSectors,
    assumePeerHasSpace: false,
  });

const readBitmap = (core: Core, volume: Volume, backing: Backing): void => {
  backing.attaching!.step = 'bitmap';
  const sectors = bitmapSectors(volume, backing);
  for (const device of volume.peers.values()) device.bitmap = createBitmap(sectors);
  const bitmap = firstBitmap(volume);
  if (!bitmap || bitmap.pages === 0) return applyActivityLog(core, volume, backing);
  readPieces(core, volume, backing.layout.bitmapSector, bitmap.pages * (PAGE_BYTES / 512));
};

const applyActivityLog = (core: Core, volume: Volume, backing: Backing): void => {
  const attaching = backing.attaching!;
  attaching.step = 'apply-al';
  const { superblock, layout } = backing;
  if (!isClean(superblock)) {
    const blockAt = (index: number): Uint8Array => attaching.ring.subarray(index * AL_BLOCK_BYTES, (index + 1) * AL_BLOCK_BYTES);
    const replay = replayLog(layout, blockAt);
    const bitmap = firstBitmap(volume);
    const pageAt = (page: number): Uint8Array => (bitmap ? bytesOf(bitmap, page * PAGE_BYTES, PAGE_BYTES) : new Uint8Array(PAGE_BYTES));
    const plan = planApplyAl(superblock, layout, replay, blockAt, pageAt);
    if (!plan.ok) return refuse(core, volume, plan.refusal);
    for (const extent of extentsToMark(superblock, layout, replay)) {
      const first = extent * BITS_PER_AL_EXTENT;
      for (const device of volume.peers.values()) {
        const bits = device.bitmap ? Math.min(BITS_PER_AL_EXTENT, device.bitmap.bits - first) : 0;
        if (bits > 0) setBits(device.bitmap!, first, bits);
      }
    }
    attaching.plan = plan.value.steps;
    backing.superblock = plan.value.superblock;
  }
  nextPlanStep(core, volume, backing);
};

/** The device has grown: its metadata goes to the new end, where it belongs. */
const moveHere = (core: Core, volume: Volume, backing: Backing, layout: Layout): void => {
  const attaching = backing.attaching!;
  const bitmap = firstBitmap(volume);
  const move = planMove(backing.superblock, backing.layout, layout, bitmap ? bytesOf(bitmap, 0, bitmap.pages * PAGE_BYTES) : new Uint8Array(0));
  attaching.step = 'move';
  attaching.plan = move.steps;
  attaching.planAt = 0;
  backing.superblock = move.superblock;
  backing.layout = layout;
  nextPlanStep(core, volume, backing);
};

/** Strictly one after the other: the order on disk is what makes a crash in between harmless (metadata/apply-al). */
const nextPlanStep = (core: Core, volume: Volume, backing: Backing): void => {
  const attaching = backing.attaching!;
  const step = attaching.plan[attaching.planAt++];
  const then: Then = { to: 'attach', index: 0 };
  if (step === undefined && attaching.moveTo && attaching.step !== 'move') return moveHere(core, volume, backing, attaching.moveTo);
  if (step === undefined) {
    backing.attaching = undefined;
    const { metaDisk } = volume.config;
    if (metaDisk.kind === 'internal' && superblockSector(metaDisk, attaching.rememberedSectors) !== backing.layout.superblockSector) {
      emit(core, { type: 'disk-placed', resource: volume.resource, volume: volume.number, sectors: placedSectors(backing.layout) });
    }
    backing.activityLog = newActivityLog(clampAlExtents(volume.config.disk.alExtents, backing.layout));
    signal(core, { signal: 'attach-prepared', resource: volume.resource, volume: volume.number });
  } else if (step.step === 'write') {
    attaching.pending++;
    writeDisk(core, volume, 'meta', step.sector, step.data, { preflush: false, fua: false }, then);
  } else {
    attaching.pending++;
    flushDisk(core, volume, 'meta', then);
  }
};
