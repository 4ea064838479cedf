/**
 * Everything that is written to the metadata area while a disk is attached: one queue of jobs per volume, one job at a time,
 * so that the order on disk is the order of the queue and no two writes of the same block are ever on their way together.
 *
 * What a job writes is taken from memory when it runs, not when it is queued: a job that is queued behind one of its kind is the
 * same job. The order inside a job is that of timers-and-order.md §2.1 (D2, D11). A failed write fails the disk, whatever the
 * on-io-error policy (metadata.md §6); who waits is told with `ok` false.
 */

import { advance, blockIndex, clampAlExtents, encodeTransaction, AL_BLOCK_BYTES } from '../metadata/activity-log.js';
import { beginWrite, dirtyPages, endWrite, isWriting, mustWrite, pageOfAlExtent } from '../metadata/bitmap-io.js';
import { resizedBitmap } from '../metadata/bitmap-resize.js';
import { placedSectors, type Layout } from '../metadata/layout.js';
import { freshAreas, placed, samePlace } from '../metadata/move.js';
import { encodeSuperblock, hasFlag, Magic, SuperblockFlag } from '../metadata/superblock.js';
import { assert, emit, flushDisk, signal, writeDisk, type Core } from '../model/core.js';
import type { DiskOperation, OperationResult } from '../model/operations.js';
import type { MetadataPurpose } from '../model/signals.js';
import type { Backing, MetadataJob, PageRun, Volume } from '../model/types.js';
import { evictedExtents, isIdle, newActivityLog } from './activity-log.js';

const SECTORS_PER_BLOCK = 8;
/** Neighbouring bitmap pages go out together, up to 1 MiB. */
const PAGES_PER_WRITE = 256;
/** What a bitmap job copies and writes before it goes on to the next pages: 8 MiB, of the 128 MiB that a device of 4 TiB has. */
const PAGES_PER_ROUND = 2048;

/** The superblock in memory changed: it is to be written at the next `queueSuperblock`, or with whatever writes it first. */
export const touchSuperblock = (backing: Backing): void => {
  backing.superblockVersion++;
  // While attached it is never clean: only apply-al makes it so (metadata.md §2.1).
  backing.superblock.magic = Magic.Unclean;
  backing.superblock.flags &= ~SuperblockFlag.AlClean;
};

export const isSuperblockDirty = (backing: Backing): boolean => backing.superblockVersion !== backing.superblockWritten;

/** Nothing can be written: the disk has been given up, or what its metadata says is not known yet. */
const isGone = (volume: Volume): boolean => volume.backing === undefined || volume.backing.failed || volume.backing.attaching !== undefined;

/** Writes the superblock as it then is; `purpose` is told when that is durable. A disk that is gone answers at once. */
export const queueSuperblock = (core: Core, volume: Volume, purpose: MetadataPurpose = { for: 'nobody' }): void => {
  if (isGone(volume)) return tell(core, volume, [purpose], false);
  const backing = volume.backing!;
  const last = backing.metadataJobs.at(-1);
  if (last?.job === 'superblock' && last.step === 0) last.purposes.push(purpose);
  else queue(core, volume, { job: 'superblock', purposes: [purpose], step: 0, pending: 0, version: 0 });
};

/** Writes what bitmap pages owe: newly set bits and, lazily, cleared ones. */
export const queueBitmapWrite = (core: Core, volume: Volume, purpose: MetadataPurpose = { for: 'nobody' }): void => {
  if (isGone(volume)) return tell(core, volume, [purpose], false);
  const last = volume.backing!.metadataJobs.at(-1);
  if (last?.job === 'bitmap' && last.step === 0) last.purposes.push(purpose);
  else queue(core, volume, { job: 'bitmap', purposes: [purpose], step: 0, pending: 0, pages: [], restFrom: 0 });
};

/** All bits are set in memory: FULL_SYNC, the whole bitmap, FULL_SYNC off (D11). */
export const queueFullSync = (core: Core, volume: Volume, purpose: MetadataPurpose): void => {
  if (isGone(volume)) return tell(core, volume, [purpose], false);
  queue(core, volume, { job: 'full-sync', purposes: [purpose], step: 0, pending: 0 });
};

/**
 * Another size of the device, and perhaps another place of its metadata (metadata.md §5, metadata/move). Nothing uses the activity log:
 * the volume is drained and held.
 */
export const queueResize = (core: Core, volume: Volume, to: { layout: Layout; sectors: number; assumeClean: boolean }, purpose: MetadataPurpose): void => {
  if (isGone(volume)) return tell(core, volume, [purpose], false);
  queue(core, volume, { job: 'resize', purposes: [purpose], step: 0, pending: 0, ...to, old: to.layout });
};

/** One transaction with all pending changes of the activity log. Its end is the signal `admission`. */
export const queueTransaction = (core: Core, volume: Volume): void => {
  queue(core, volume, { job: 'transaction', purposes: [], step: 0, pending: 0, pages: [] });
};

const queue = (core: Core, volume: Volume, job: MetadataJob): void => {
  const backing = volume.backing!;
  backing.metadataJobs.push(job);
  if (backing.metadataJobs.length === 1) runJob(core, volume, backing);
};

const tell = (core: Core, volume: Volume, purposes: readonly MetadataPurpose[], ok: boolean): void => {
  for (const purpose of purposes) {
    if (purpose.for !== 'nobody') signal(core, { signal: 'metadata-written', resource: volume.resource, volume: volume.number, purpose, ok });
  }
};

/** Runs the first job until it waits for the disk, then the next ones. */
const runJob = (core: Core, volume: Volume, backing: Backing): void => {
  for (;;) {
    const job = backing.metadataJobs[0];
    if (!job || job.pending > 0) return;
    if (runStep(core, volume, backing, job)) {
      backing.metadataJobs.shift();
      tell(core, volume, job.purposes, true);
    }
  }
};

/** Issues the writes of the next step. Returns true when the job is finished (nothing was left to issue). */
const runStep = (core: Core, volume: Volume, backing: Backing, job: MetadataJob): boolean => {
  for (;;) {
    if (writesSuperblock(job) && backing.primaryOnDisk && !hasFlag(backing.superblock, SuperblockFlag.PrimaryInd)) {
      // Without it a crash marks nothing by the activity log: the data that was written under it must not need that any more.
      backing.primaryOnDisk = false;
      flushData(core, volume, job);
      if (job.pending > 0) return false;
    }
    const step = job.step++;
    switch (job.job) {
      case 'superblock':
        if (step === 1) {
          backing.superblockWritten = Math.max(backing.superblockWritten, job.version);
          return true;
        }
        job.version = backing.superblockVersion;
        writeSuperblock(core, volume, backing, job);
        break;
      case 'bitmap':
        if (step === 0) {
          const { pages, restFrom } = collectDirty(volume, job.restFrom);
          job.pages = takePages(volume, pages);
          job.restFrom = restFrom;
          if (job.pages.length === 0) return true;
          flushData(core, volume, job);
        } else if (step === 1) {
          writePages(core, volume, backing, job);
        } else if (step === 2) {
          flushMeta(core, volume, job);
        } else if (step === 3) {
          endPages(volume, job);
          if (job.restFrom === 0) return true;
          job.step = 0;
        } else if (step === MARKS_LOST) {
          backing.superblock.flags |= SuperblockFlag.FullSync;
          touchSuperblock(backing);
          writeSuperblock(core, volume, backing, job);
        } else {
          abandonJobs(core, volume);
          return false;
        }
        break;
      case 'full-sync':
        if (step === 0) {
          backing.superblock.flags |= SuperblockFlag.FullSync;
          touchSuperblock(backing);
          writeSuperblock(core, volume, backing, job);
        } else if (step === 1) {
          writeAllPages(core, volume, backing, job);
        } else if (step === 2) {
          backing.superblock.flags &= ~SuperblockFlag.FullSync;
          touchSuperblock(backing);
          writeSuperblock(core, volume, backing, job);
        } else {
          return true;
        }
        break;
      case 'resize':
        if (step === 0) {
          beginResize(volume, backing, job);
          writeSuperblock(core, volume, backing, job);
        } else if (step === 1) {
          if (!samePlace(job.old, job.layout)) for (const { sector, data } of freshAreas(job.old, job.layout)) metaWrite(core, volume, job, sector, data, false);
        } else if (step === 2) {
          writeAllPages(core, volume, backing, job);
        } else if (step === 3) {
          endAllPages(volume);
          flushData(core, volume, job);
        } else if (step === 4) {
          backing.superblock.flags &= ~SuperblockFlag.FullSync;
          if (volume.config.disk.alUpdates) backing.superblock.flags &= ~SuperblockFlag.AlDisabled;
          touchSuperblock(backing);
          writeSuperblock(core, volume, backing, job);
        } else {
          if (job.layout.alOffsetSectors < 0 && !samePlace(job.old, job.layout)) {
            emit(core, { type: 'disk-placed', resource: volume.resource, volume: volume.number, sectors: placedSectors(job.layout) });
          }
          return true;
        }
        break;
      case 'transaction':
        if (step === 0) {
          backing.activityLog.transactionRunning = true;
          prepareEviction(core, volume, backing, job);
        } else if (step === 1) {
          writePages(core, volume, backing, job);
        } else if (step === 2) {
          endPages(volume, job);
          writeTransaction(core, volume, backing, job);
        } else {
          advance(backing.activityLog.cursor, backing.activityLog.committed.length, backing.layout);
          backing.activityLog.transactions++;
          signal(core, { signal: 'extents-active', resource: volume.resource, volume: volume.number });
          return true;
        }
        break;
    }
    if (job.pending > 0) return false;
  }
};

/**
 * The step of a bitmap job whose pages could not be written on a disk that has failed reads: what cannot be read is marked nowhere else, so
 * the superblock says that all of it is to be synced (D20). The last thing that is written to this disk.
 */
const MARKS_LOST = 4;

/** Is this the job's next step? */
const writesSuperblock = ({ job, step }: MetadataJob): boolean =>
  (job === 'superblock' && step === 0) ||
  (job === 'full-sync' && (step === 0 || step === 2)) ||
  (job === 'bitmap' && step === MARKS_LOST) ||
  (job === 'resize' && (step === 0 || step === 4));

const metaWrite = (core: Core, volume: Volume, job: MetadataJob, sector: number, data: Uint8Array, durable: boolean): void => {
  job.pending++;
  const flush = durable && volume.config.disk.mdFlushes;
  writeDisk(core, volume, 'meta', sector, data, { preflush: flush, fua: flush }, { to: 'metadata' });
};

const flushData = (core: Core, volume: Volume, job: MetadataJob): void => {
  if (!volume.config.disk.diskFlushes) return;
  job.pending++;
  flushDisk(core, volume, 'data', { to: 'metadata' });
};

/** What the pages say counts from here on: whoever waits for them may rely on it. */
const flushMeta = (core: Core, volume: Volume, job: MetadataJob): void => {
  if (!volume.config.disk.mdFlushes) return;
  job.pending++;
  flushDisk(core, volume, 'meta', { to: 'metadata' });
};

const writeSuperblock = (core: Core, volume: Volume, backing: Backing, job: MetadataJob): void => {
  if (hasFlag(backing.superblock, SuperblockFlag.PrimaryInd)) backing.primaryOnDisk = true;
  metaWrite(core, volume, job, backing.layout.superblockSector, encodeSuperblock(backing.superblock), true);
};

const writeTransaction = (core: Core, volume: Volume, backing: Backing, job: MetadataJob): void => {
  const log = backing.activityLog;
  const updates = log.pendingChanges.map((slot) => ({ slot, extent: log.extents[slot]! }));
  const block = encodeTransaction(log.cursor, log.committed, updates);
  const sector = backing.layout.alSector + blockIndex(backing.layout, log.cursor.number) * (AL_BLOCK_BYTES / 512);
  metaWrite(core, volume, job, sector, block, true);
};

/**
 * D2: bits of evicted extents, and the data that was written to them, before the transaction that gives them up. Its own preflush
 * covers the data where that is on the same device; pages on their own may show cleared bits before (D10).
 */
const prepareEviction = (core: Core, volume: Volume, backing: Backing, job: MetadataJob & { job: 'transaction' }): void => {
  if (evictedExtents(backing.activityLog).length === 0) return;
  job.pages = takePages(volume, evictedPages(volume, backing));
  if (!backing.shared || job.pages.length > 0) flushData(core, volume, job);
};

/** Pages of evicted extents that have newly set bits. */
const evictedPages = (volume: Volume, backing: Backing): { peer: string; page: number }[] => {
  const pages: { peer: string; page: number }[] = [];
  const evicted = [...new Set(evictedExtents(backing.activityLog).map(pageOfAlExtent))].sort((one, other) => one - other);
  for (const { peer, bitmap } of volume.peers.values()) {
    for (const page of evicted) if (bitmap && page < bitmap.pages && mustWrite(bitmap, page)) pages.push({ peer, page });
  }
  return pages;
};

/** Pages from `firstPage` on that owe something, as many as one round takes, and the page that the next round begins with (0: all are in this one). */
const collectDirty = (volume: Volume, firstPage: number): { pages: { peer: string; page: number }[]; restFrom: number } => {
  const pages: { peer: string; page: number }[] = [];
  for (const device of volume.peers.values()) {
    if (device.bitmap) for (const page of dirtyPages(device.bitmap, 'any')) if (page >= firstPage) pages.push({ peer: device.peer, page });
  }
  if (pages.length <= PAGES_PER_ROUND) return { pages, restFrom: 0 };
  const last = pages.map(({ page }) => page).sort((one, other) => one - other)[PAGES_PER_ROUND - 1]!;
  return { pages: pages.filter(({ page }) => page <= last), restFrom: last + 1 };
};

/**
 * The pages as they are now, to be written after the data is flushed: a bit that is cleared during the flush is not in them, since
 * the data that it stands for is not in the flush (D10). What changes from now on, the pages owe again.
 */
const takePages = (volume: Volume, pages: readonly { peer: string; page: number }[]): PageRun[] => {
  const runs: PageRun[] = [];
  for (let at = 0; at < pages.length; ) {
    const { peer, page } = pages[at]!;
    let count = 1;
    while (count < PAGES_PER_WRITE && pages[at + count]?.peer === peer && pages[at + count]?.page === page + count) count++;
    runs.push({ peer, firstPage: page, pages: count, bytes: beginWrite(volume.peers.get(peer)!.bitmap!, page, count) });
    at += count;
  }
  return runs;
};

const writePages = (core: Core, volume: Volume, backing: Backing, job: MetadataJob & { pages: PageRun[] }): void => {
  for (const { firstPage, bytes } of job.pages) writeRun(core, volume, backing, job, firstPage, bytes);
};

const endPages = (volume: Volume, job: MetadataJob & { pages: PageRun[] }): void => {
  for (const { peer, firstPage, pages } of job.pages) for (let page = firstPage; page < firstPage + pages; page++) endPageWrite(volume, peer, page);
};

const writeAllPages = (core: Core, volume: Volume, backing: Backing, job: MetadataJob): void => {
  for (const device of volume.peers.values()) {
    const bitmap = device.bitmap;
    for (let page = 0; bitmap && page < bitmap.pages; page += PAGES_PER_WRITE) {
      writeRun(core, volume, backing, job, page, beginWrite(bitmap, page, Math.min(PAGES_PER_WRITE, bitmap.pages - page)));
    }
  }
};

/** The format has one bitmap, so there is one peer whose bits are on disk (metadata.md §4). */
const writeRun = (core: Core, volume: Volume, backing: Backing, job: MetadataJob, firstPage: number, bytes: Uint8Array): void =>
  metaWrite(core, volume, job, backing.layout.bitmapSector + firstPage * SECTORS_PER_BLOCK, bytes, false);

const endPageWrite = (volume: Volume, peer: string, page: number): void => {
  const bitmap = volume.peers.get(peer)?.bitmap;
  if (bitmap && page < bitmap.pages && isWriting(bitmap, page)) endWrite(bitmap, page, 1, true);
};

const endAllPages = (volume: Volume): void => {
  for (const device of volume.peers.values()) {
    for (let page = 0; device.bitmap && page < device.bitmap.pages; page++) endPageWrite(volume, device.peer, page);
  }
};

/** From here on the new size and place count; on disk they do when the superblock of this step is written. */
const beginResize = (volume: Volume, backing: Backing, job: MetadataJob & { job: 'resize' }): void => {
  job.old = backing.layout;
  backing.layout = job.layout;
  for (const device of volume.peers.values()) {
    if (device.bitmap && device.bitmap.sectors !== job.sectors) device.bitmap = resizedBitmap(device.bitmap, job.sectors, job.assumeClean);
  }
  backing.superblock = placed(backing.superblock, job.layout);
  backing.superblock.lastAgreedSectors = job.sectors;
  backing.superblock.flags |= SuperblockFlag.FullSync | SuperblockFlag.AlDisabled;
  if (!samePlace(job.old, job.layout)) {
    assert(isIdle(backing.activityLog), 'the activity log is moved while it is in use');
    backing.activityLog = newActivityLog(clampAlExtents(volume.config.disk.alExtents, job.layout));
    backing.superblock.alExtents = backing.activityLog.committed.length;
  }
  touchSuperblock(backing);
};

/** A disk operation of the running job ended (`Then` metadata). */
export const metadataOperationDone = (core: Core, volume: Volume, operation: DiskOperation, result: OperationResult): void => {
  const backing = volume.backing;
  if (!backing || backing.attachment !== operation.attachment) return;
  const job = backing.metadataJobs[0];
  if (!job) {
    assert(backing.failed, 'a metadata operation belongs to a job');
    return;
  }
  job.pending--;
  if (!result.ok && !backing.failed) {
    signal(core, {
      signal: 'disk-error',
      resource: volume.resource,
      volume: volume.number,
      kind: 'metadata',
      sector: operation.sector,
      sectors: operation.sectors,
      detail: `${operation.kind} of ${job.job} ${result.failure}`,
    });
    if (job.job !== 'bitmap' || !backing.wasReadError || job.step > MARKS_LOST) return abandonJobs(core, volume);
    job.step = MARKS_LOST;
  }
  if (job.job === 'full-sync' && job.step === 2 && job.pending === 0) endAllPages(volume);
  runJob(core, volume, backing);
};

/** The disk is given up: no job goes on, everybody who waits is told. */
export const abandonJobs = (core: Core, volume: Volume): void => {
  const backing = volume.backing!;
  backing.failed = true;
  const jobs = backing.metadataJobs;
  backing.metadataJobs = [];
  for (const job of jobs) tell(core, volume, job.purposes, false);
};
