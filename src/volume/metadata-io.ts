/**
 * Everything that is written to the metadata area while a disk is attached: one queue of jobs per volume, one job at a time,
 * so that the order on disk is the order of the queue and no two writes of the same block are ever on their way together.
 *
 * What a job writes is taken from memory when its writes are made, not when it is queued: jobs of one kind that wait are one
 * job. The order inside a job is that of timers-and-order.md §2.1 (D2, D11). A failed write fails the disk, whatever the
 * on-io-error policy (metadata.md §6); who waits is told with `ok` false.
 */

import { advance, blockIndex, encodeTransaction, AL_BLOCK_BYTES } from '../metadata/activity-log.js';
import { beginWrite, dirtyPages, endWrite, isWriting, mustWrite, pageOfAlExtent } from '../metadata/bitmap-io.js';
import { encodeSuperblock, Magic, SuperblockFlag } from '../metadata/superblock.js';
import { assert, flushDisk, signal, writeDisk, type Core } from '../model/core.js';
import type { DiskOperation, OperationResult } from '../model/operations.js';
import type { MetadataPurpose } from '../model/signals.js';
import type { Backing, MetadataJob, Volume } from '../model/types.js';
import { evictedExtents } from './activity-log.js';

const SECTORS_PER_BLOCK = 8;
/** Neighbouring bitmap pages go out together, up to 1 MiB. */
const PAGES_PER_WRITE = 256;

const nobody: MetadataPurpose = { for: 'nobody' };

/** The superblock in memory changed: it is to be written at the next `queueSuperblock`, or with whatever writes it first. */
export const touchSuperblock = (backing: Backing): void => {
  backing.superblockVersion++;
  // While attached it is never clean: only apply-al makes it so (metadata.md §2.1).
  backing.superblock.magic = Magic.Unclean;
  backing.superblock.flags &= ~SuperblockFlag.AlClean;
};

export const isSuperblockDirty = (backing: Backing): boolean => backing.superblockVersion !== backing.superblockWritten;

/** Has the disk been given up, so that metadata cannot be written any more? */
const isGone = (volume: Volume): boolean => volume.backing === undefined || volume.backing.failed;

/** Writes the superblock as it then is; `purpose` is told when that is durable. A disk that is gone answers at once. */
export const queueSuperblock = (core: Core, volume: Volume, purpose: MetadataPurpose = nobody): void => {
  if (isGone(volume)) return tell(core, volume, [purpose], false);
  const backing = volume.backing!;
  const waiting = backing.metadataJobs.find((job) => job.job === 'superblock' && job.step === 0);
  if (waiting) waiting.purposes.push(purpose);
  else queue(core, volume, { job: 'superblock', purposes: [purpose], step: 0, pending: 0, version: 0 });
};

/** Writes what bitmap pages owe: newly set bits and, lazily, cleared ones. */
export const queueBitmapWrite = (core: Core, volume: Volume, purpose: MetadataPurpose = nobody): void => {
  if (isGone(volume)) return tell(core, volume, [purpose], false);
  const waiting = volume.backing!.metadataJobs.find((job) => job.job === 'bitmap' && job.step === 0);
  if (waiting) waiting.purposes.push(purpose);
  else queue(core, volume, { job: 'bitmap', purposes: [purpose], step: 0, pending: 0, pages: [] });
};

/** All bits are set in memory: FULL_SYNC, the whole bitmap, FULL_SYNC off (D11). */
export const queueFullSync = (core: Core, volume: Volume, purpose: MetadataPurpose): void => {
  if (isGone(volume)) return tell(core, volume, [purpose], false);
  queue(core, volume, { job: 'full-sync', purposes: [purpose], step: 0, pending: 0 });
};

/** One transaction with all pending changes of the activity log. Its end is the signal `admission`. */
export const queueTransaction = (core: Core, volume: Volume): void => {
  queue(core, volume, { job: 'transaction', purposes: [], step: 0, pending: 0 });
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
        if (step === 2) {
          for (const { peer, page } of job.pages) endPageWrite(volume, peer, page, true);
          return true;
        }
        // D10: the data that justified a cleared bit must be durable before the page that shows it cleared. A preflush of a
        // shared device would do, but the pages carry none; so the data disk is flushed first.
        if (step === 0) {
          if (collectDirty(volume, 'any').length === 0) return true;
          flushData(core, volume, job);
        } else writePages(core, volume, backing, job, collectDirty(volume, 'any'));
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
      case 'transaction':
        if (step === 0) {
          backing.activityLog.transactionRunning = true;
          prepareEviction(core, volume, backing, job);
        } else if (step === 1) {
          for (const { peer, page } of evictedPages(volume, backing)) endPageWrite(volume, peer, page, true);
          writeTransaction(core, volume, backing, job);
        } else {
          advance(backing.activityLog.cursor, backing.activityLog.slots.length, backing.layout);
          backing.activityLog.transactions++;
          signal(core, { signal: 'extents-active', resource: volume.resource, volume: volume.number });
          return true;
        }
        break;
    }
    if (job.pending > 0) return false;
  }
};

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

const writeSuperblock = (core: Core, volume: Volume, backing: Backing, job: MetadataJob): void => {
  metaWrite(core, volume, job, backing.layout.superblockSector, encodeSuperblock(backing.superblock), true);
};

const writeTransaction = (core: Core, volume: Volume, backing: Backing, job: MetadataJob): void => {
  const log = backing.activityLog;
  const updates = log.pendingChanges.map((slot) => ({ slot, extent: log.slots[slot]!.extent }));
  const block = encodeTransaction(log.cursor, log.committed, updates);
  const sector = backing.layout.alSector + blockIndex(backing.layout, log.cursor.number) * (AL_BLOCK_BYTES / 512);
  metaWrite(core, volume, job, sector, block, true);
};

/** D2: bits of evicted extents, and the data that was written to them, before the transaction that gives them up. */
const prepareEviction = (core: Core, volume: Volume, backing: Backing, job: MetadataJob): void => {
  if (evictedExtents(backing.activityLog).length === 0) return;
  if (!backing.shared) flushData(core, volume, job);
  for (const { peer, page } of evictedPages(volume, backing)) writePageRun(core, volume, backing, job, peer, page, 1);
};

/** Pages of evicted extents that have newly set bits or are being written for that reason now. */
const evictedPages = (volume: Volume, backing: Backing): { peer: string; page: number }[] => {
  const pages: { peer: string; page: number }[] = [];
  const seen = new Set<number>();
  for (const extent of evictedExtents(backing.activityLog)) {
    const page = pageOfAlExtent(extent);
    if (seen.has(page)) continue;
    seen.add(page);
    for (const device of volume.peers.values()) {
      const bitmap = device.bitmap;
      if (bitmap && page < bitmap.pages && (isWriting(bitmap, page) || mustWrite(bitmap, page))) pages.push({ peer: device.peer, page });
    }
  }
  return pages;
};

const collectDirty = (volume: Volume, which: 'must' | 'any'): { peer: string; page: number }[] => {
  const pages: { peer: string; page: number }[] = [];
  for (const device of volume.peers.values()) {
    if (device.bitmap) for (const page of dirtyPages(device.bitmap, which)) pages.push({ peer: device.peer, page });
  }
  return pages;
};

const writePages = (core: Core, volume: Volume, backing: Backing, job: MetadataJob & { job: 'bitmap' }, pages: { peer: string; page: number }[]): void => {
  job.pages = pages;
  for (let at = 0; at < pages.length; ) {
    const { peer, page } = pages[at]!;
    let count = 1;
    while (count < PAGES_PER_WRITE && pages[at + count]?.peer === peer && pages[at + count]?.page === page + count) count++;
    writePageRun(core, volume, backing, job, peer, page, count);
    at += count;
  }
};

const writeAllPages = (core: Core, volume: Volume, backing: Backing, job: MetadataJob): void => {
  for (const device of volume.peers.values()) {
    const bitmap = device.bitmap;
    for (let page = 0; bitmap && page < bitmap.pages; page += PAGES_PER_WRITE) {
      writePageRun(core, volume, backing, job, device.peer, page, Math.min(PAGES_PER_WRITE, bitmap.pages - page));
    }
  }
};

/** The format has one bitmap, so there is one peer whose bits are on disk (metadata.md §4). */
const writePageRun = (core: Core, volume: Volume, backing: Backing, job: MetadataJob, peer: string, page: number, pages: number): void => {
  const bitmap = volume.peers.get(peer)!.bitmap!;
  const bytes = beginWrite(bitmap, page, pages);
  metaWrite(core, volume, job, backing.layout.bitmapSector + page * SECTORS_PER_BLOCK, bytes, false);
};

const endPageWrite = (volume: Volume, peer: string, page: number, written: boolean): void => {
  const bitmap = volume.peers.get(peer)?.bitmap;
  if (bitmap && isWriting(bitmap, page)) endWrite(bitmap, page, 1, written);
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
    abandonJobs(core, volume);
    return;
  }
  if (job.job === 'full-sync' && job.step === 2 && job.pending === 0) {
    for (const device of volume.peers.values()) {
      for (let page = 0; device.bitmap && page < device.bitmap.pages; page++) endPageWrite(volume, device.peer, page, true);
    }
  }
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
