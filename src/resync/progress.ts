/**
 * What source and target of a resync, and of a verify, share: how much of a resync is left, which blocks failed, and what follows when bits were cleared.
 * Bits are cleared by replication/bits `markWrittenOnBoth` alone, for resync and application writes alike (bug B050).
 */

import { countBits, countOutOfSync, createBitmap, nextRun, nextSetBit, setOutOfSync, type Bitmap } from '../metadata/bitmap.js';
import { requestPing } from '../connection/keepalive.js';
import { assert, emit, signal, type Core } from '../model/core.js';
import type { PingPurpose } from '../model/signals.js';
import { clearTimer } from '../model/timers.js';
import type { Connection, PeerDevice, Resource, Volume } from '../model/types.js';
import { hasUsableDisk } from '../replication/plan.js';
import { queueBitmapWrite } from '../volume/metadata-io.js';
import { advanceMarks, throttle } from './rate.js';
import type { RangeServer, ResyncState } from './types.js';

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
export const mustGiveWay = (core: Core, volume: Volume, peerDevice: PeerDevice, run: Pick<RangeServer, 'marks' | 'lastApplicationSectors'>): boolean => {
  const application = { requestsWaiting: volume.waiting.length > 0, sectors: volume.applicationSectors };
  const leftBits = peerDevice.verify?.leftBits ?? bitmapOf(peerDevice).weight;
  const decision = throttle(run, application, volume.config.disk.cMinRate, core.nowUs, leftBits);
  run.lastApplicationSectors = decision.lastApplicationSectors;
  return decision.slowDown;
};

/** What ends behind a ping: a resync or a verify. */
type Fenced = Pick<ResyncState, 'side' | 'phase' | 'fenceAcks'>;

/**
 * Everything is done: a ping makes sure that the peer has processed what was sent before it (M10). Answers to pings come in
 * order, but do not say for which volume: each volume counts how many come before its own. `runOf` finds the like of other volumes.
 */
export const requestFence = (
  core: Core,
  resource: Resource,
  volume: Volume,
  peerDevice: PeerDevice,
  connection: Connection,
  purpose: PingPurpose,
  runOf: (device: PeerDevice) => Fenced | undefined,
): void => {
  const run = runOf(peerDevice);
  assert(run !== undefined, 'a fence ends something');
  let before = 0;
  for (const other of resource.volumes.values()) {
    const waiting = other === volume ? undefined : runOf(other.peers.get(peerDevice.peer)!);
    if (waiting?.side === run.side && waiting.phase === 'fencing') before = Math.max(before, waiting.fenceAcks);
  }
  run.phase = 'fencing';
  run.fenceAcks = before + 1;
  requestPing(core, connection, purpose);
};

/** One answer to a ping of this side's came: is it the one that the run waits for? */
export const fenceIsPassed = (run: Fenced | undefined, side: 'source' | 'target'): boolean =>
  run?.side === side && run.phase === 'fencing' && --run.fenceAcks === 0;

/** What may be on its way before a request waits for the next tick. sndbuf-size 0 leaves the buffer to the system; then we count with 128 KiB. */
export const sendBufferBytes = (connection: Connection): number => connection.config.net.sndbufSize || 128 << 10;

/** The digest of a block, in bytes of its own. The algorithm was looked for when it was configured. */
export const blockDigest = (core: Core, algorithm: string, data: Uint8Array): Uint8Array => {
  const digest = core.environment.digest(algorithm, [data]);
  assert(digest !== undefined, `the digest ${algorithm} is there`);
  return digest;
};

/**
 * May blocks of this disk be taken for equal by their digests? After an error nobody knows what was written: a write that failed here is
 * marked, and an equality that was found before it must not clear that mark.
 */
export const mayCompare = (volume: Volume): boolean => hasDisk(volume) && !volume.backing!.hadError;

export const sameBytes = (one: Uint8Array, other: Uint8Array): boolean => one.length === other.length && one.every((byte, at) => byte === other[at]);

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
