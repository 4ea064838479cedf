/**
 * The activity log in memory: which 4 MiB extents may have writes on their way, so that after a crash of the primary only
 * those need a resync (sync-and-activity-log.md §1, §2). Slots are handed out least recently used first; a slot whose extent
 * changes takes part in the next transaction, at most 64 at a time (the block's format), and counts only once that is on disk.
 *
 * A request takes all its extents at once or none (bug B059: taking them one by one deadlocks a small log).
 */

import { AL_FREE, AL_UPDATES_MAX, newCursor } from '../metadata/activity-log.js';
import { assert } from '../model/core.js';
import type { ActivityLog } from '../model/types.js';

const SECTORS_PER_EXTENT = 8192;

export const newActivityLog = (slots: number): ActivityLog => ({
  committed: new Uint32Array(slots).fill(AL_FREE),
  extents: new Uint32Array(slots).fill(AL_FREE),
  references: new Uint32Array(slots),
  byExtent: new Map(),
  unusedSlots: slots,
  lru: new Map(),
  pendingChanges: [],
  starving: false,
  waitingForCommit: [],
  peerWritesForCommit: [],
  transactionRunning: false,
  cursor: newCursor(),
  transactions: 0,
});

/** First and last extent of a range of sectors. A request of at most 1 MiB touches one or two. */
export const firstExtentOf = (sector: number): number => Math.floor(sector / SECTORS_PER_EXTENT);
export const lastExtentOf = (sector: number, sectors: number): number => Math.floor((sector + sectors - 1) / SECTORS_PER_EXTENT);

/** `active`: go on; `pending`: references are held, wait for the transaction; `full`: no slot can be had now, nothing is held. */
export type Grant = 'active' | 'pending' | 'full';

/**
 * Takes a reference on every extent of the range. After a request found no slot the log starves: nobody, hits included, gets
 * a reference until one drops to zero, so cold requests come to their turn.
 */
export const getExtents = (log: ActivityLog, sector: number, sectors: number): Grant => {
  if (log.starving) return 'full';
  const first = firstExtentOf(sector);
  const last = lastExtentOf(sector, sectors);
  let missing = 0;
  let idleHits = 0;
  for (let extent = first; extent <= last; extent++) {
    const index = log.byExtent.get(extent);
    if (index === undefined) missing++;
    else if (log.lru.has(index)) idleHits++;
  }
  if (missing > 0) {
    if (log.transactionRunning || log.pendingChanges.length + missing > AL_UPDATES_MAX) return 'full';
    if (missing > log.unusedSlots + log.lru.size - idleHits) {
      log.starving = true;
      return 'full';
    }
  }
  // Hits first: a slot that this very request is about to use must not be the one that is evicted.
  let grant: Grant = 'active';
  for (let extent = first; extent <= last; extent++) {
    const index = log.byExtent.get(extent);
    if (index === undefined) continue;
    if (log.references[index]!++ === 0) log.lru.delete(index);
    if (log.extents[index] !== log.committed[index]) grant = 'pending';
  }
  for (let extent = first; extent <= last && missing > 0; extent++) {
    if (log.byExtent.has(extent)) continue;
    assignSlot(log, extent);
    missing--;
    grant = 'pending';
  }
  return grant;
};

const assignSlot = (log: ActivityLog, extent: number): void => {
  let index: number | undefined;
  if (log.unusedSlots > 0) index = --log.unusedSlots;
  else {
    index = log.lru.keys().next().value;
    assert(index !== undefined, 'the activity log has a slot to give');
    log.lru.delete(index);
    log.byExtent.delete(log.extents[index]!);
  }
  assert(log.references[index] === 0 && log.extents[index] === log.committed[index], 'an evicted slot is idle and committed');
  log.extents[index] = extent;
  log.references[index] = 1;
  log.byExtent.set(extent, index);
  log.pendingChanges.push(index);
};

/** Gives the references of a range back. Returns true when an extent became idle: a starving request may try again. */
export const putExtents = (log: ActivityLog, sector: number, sectors: number): boolean => {
  let idle = false;
  for (let extent = firstExtentOf(sector); extent <= lastExtentOf(sector, sectors); extent++) {
    const index = log.byExtent.get(extent);
    assert(index !== undefined, () => `extent ${extent} is released and not in the activity log`);
    assert(log.references[index]! > 0, () => `extent ${extent} was released too often`);
    if (--log.references[index]! > 0) continue;
    // A slot that is still in a transaction becomes idle when that commits.
    if (log.extents[index] === log.committed[index]) log.lru.set(index, true);
    log.starving = false;
    idle = true;
  }
  return idle;
};

/** The transaction with all pending changes is on disk: they count. */
export const commitChanges = (log: ActivityLog): void => {
  for (const index of log.pendingChanges) {
    log.committed[index] = log.extents[index]!;
    if (log.references[index] === 0) log.lru.set(index, true);
  }
  log.pendingChanges = [];
};

/** Extents that stop being active with the pending changes: their out-of-sync bits must be on disk first (D2). */
export const evictedExtents = (log: ActivityLog): number[] =>
  log.pendingChanges.map((index) => log.committed[index]!).filter((extent) => extent !== AL_FREE);

/** Extents that somebody uses now. */
export const usedExtents = (log: ActivityLog): number => log.committed.length - log.unusedSlots - log.lru.size;

/** Extents that are active on disk, in slot order. */
export const activeExtents = (log: ActivityLog): number[] => Array.from(log.committed).filter((extent) => extent !== AL_FREE);

/** Nobody holds or waits for an extent. */
export const isIdle = (log: ActivityLog): boolean =>
  log.pendingChanges.length === 0 && !log.transactionRunning && log.waitingForCommit.length === 0 && log.peerWritesForCommit.length === 0 && log.references.every((count) => count === 0);
