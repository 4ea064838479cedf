/**
 * What source and target share: how much of a resync is left, which blocks failed, and what follows when bits were cleared.
 * Bits are cleared by replication/bits `markWrittenOnBoth` alone, for resync and application writes alike (bug B050).
 */

import { countBits, countOutOfSync, createBitmap, nextRun, nextSetBit, setOutOfSync, type Bitmap } from '../metadata/bitmap.js';
import { assert, emit, signal, type Core } from '../model/core.js';
import { clearTimer } from '../model/timers.js';
import type { PeerDevice, Resource, Volume } from '../model/types.js';
import { hasUsableDisk } from '../replication/plan.js';
import { queueBitmapWrite } from '../volume/metadata-io.js';
import { advanceMarks, throttle } from './rate.js';
import type { ResyncState } from './types.js';

/** timers-and-order.md §1.3, "lazy progress". */
const LAZY_WRITE_US = 2_000_000;

/** The disk takes part in a resync: attached, and not given up. */
export const hasDisk = (volume: Volume): boolean => hasUsableDisk(volume.disk) && volume.backing !== undefined && !volume.backing.failed;

export const bitmapOf = (peerDevice: PeerDevice): Bitmap => {
  assert(peerDevice.bitmap !== undefined, 'a resync needs the bitmap of an attached disk');
  return peerDevice.bitmap;
};

/** Marks blocks of the range that are out of sync as failed in this resync. */
export const markFailed = (resync: ResyncState, peerDevice: PeerDevice, sector: number, sectors: number): void => {
  const { bitmap } = peerDevice;
  if (!bitmap || countOutOfSync(bitmap, sector, sectors) === 0) return;
  resync.failed ??= createBitmap(bitmap.sectors);
  setOutOfSync(resync.failed, sector, sectors);
};

/** Failed bits that are still set: an application write may have repaired some (rs_failed, exactly). */
export const failedBits = (resync: ResyncState, bitmap: Bitmap): number => {
  const { failed } = resync;
  if (!failed) return 0;
  let count = 0;
  for (let bit = nextSetBit(failed, 0); bit !== -1; ) {
    const { bits } = nextRun(failed, bit);
    count += countBits(bitmap, bit, bits);
    bit = nextSetBit(failed, bit + bits);
  }
  return count;
};

/** Is there a bit that is still to be synchronised, failed ones not counted? */
export const hasOpenBits = (resync: ResyncState, bitmap: Bitmap): boolean =>
  bitmap.weight > (resync.failed?.weight ?? 0) || bitmap.weight > failedBits(resync, bitmap);

/** Remembers the speed and writes cleared bits out now and then, so that an interrupted resync goes on near where it was. */
export const noteProgress = (core: Core, volume: Volume, peerDevice: PeerDevice, resync: ResyncState): void => {
  if (!peerDevice.bitmap) return;
  advanceMarks(resync.marks, core.nowUs, peerDevice.bitmap.weight);
  if (core.nowUs - resync.lastLazyWriteAtUs < LAZY_WRITE_US) return;
  resync.lastLazyWriteAtUs = core.nowUs;
  queueBitmapWrite(core, volume);
};

/** Does the application go first now (c-min-rate)? */
export const mustGiveWay = (core: Core, volume: Volume, peerDevice: PeerDevice, resync: ResyncState): boolean => {
  const application = { requestsWaiting: volume.waiting.length > 0, sectors: volume.applicationSectors };
  const decision = throttle(resync, application, volume.config.disk.cMinRate, core.nowUs, bitmapOf(peerDevice).weight);
  resync.lastApplicationSectors = decision.lastApplicationSectors;
  return decision.slowDown;
};

/** Tells of a failed operation, unless the disk was given up already. */
export const signalDiskError = (
  core: Core,
  resource: Resource,
  volume: Volume,
  kind: 'read' | 'write',
  range: { sector: number; sectors: number },
  detail: string,
): void => {
  if (!hasDisk(volume)) return;
  signal(core, { signal: 'disk-error', resource: resource.name, volume: volume.number, kind, sector: range.sector, sectors: range.sectors, detail });
};

export const observeResync = (
  core: Core,
  volume: Volume,
  peerDevice: PeerDevice,
  resync: ResyncState,
  what: 'started' | 'finished' | 'aborted' | 'paused' | 'resumed',
): void => {
  const { bitmap } = peerDevice;
  emit(core, {
    type: 'observe',
    event: {
      event: 'resync',
      resource: volume.resource,
      volume: volume.number,
      peer: peerDevice.peer,
      what,
      side: resync.side,
      totalBits: resync.totalBits,
      // Without a disk the bitmap is gone with what was cleared in it.
      leftBits: bitmap ? bitmap.weight : resync.totalBits,
      failedBits: bitmap ? failedBits(resync, bitmap) : 0,
    },
  });
};

/** The resync is over, one way or the other: its state and its timers go. */
export const removeResync = (core: Core, resource: Resource, volume: Volume, peerDevice: PeerDevice): void => {
  peerDevice.resync = undefined;
  for (const kind of ['resync-tick', 'serve-delay', 'finish-retry'] as const) clearTimer(core, kind, resource.name, peerDevice.peer, volume.number);
};
