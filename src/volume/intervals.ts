/**
 * Who may touch which range of the data area when. Every write to the disk, and every resync read and request, registers its
 * range here first and runs when no earlier registered range that it must not pass overlaps it.
 *
 * This one rule does three jobs: the disk never sees two overlapping writes at once; a resync never carries data older than
 * what it overwrites (wire-protocol.md §7.6, bug B006); and a read never shows a write that is not complete yet, so that
 * what an application has seen is still there after a failover. The kernel locks whole 16 MiB extents against its activity
 * log instead; ranges give the peer the same order of packets without those locks (ARCHITECTURE.md).
 */

import { assert, signal, type Core } from '../model/core.js';
import type { Interval, IntervalKind, Volume } from '../model/types.js';

/** Must a new range of this kind wait for an earlier overlapping one of that kind? */
const waitsFor = (kind: IntervalKind, earlier: IntervalKind): boolean => {
  switch (kind) {
    case 'own-read':
      return earlier === 'own-write' || earlier === 'resync-write' || earlier === 'peer-write';
    case 'own-write':
      return true;
    case 'peer-write':
    case 'resync-write':
      return earlier !== 'resync-request' && earlier !== 'own-read';
    case 'resync-read':
      return earlier === 'own-write' || earlier === 'peer-write' || earlier === 'resync-write';
    case 'resync-request':
      return false;
  }
};

const overlaps = (one: Interval, sector: number, sectors: number): boolean =>
  one.sector < sector + sectors && sector < one.sector + one.sectors;

const mayStart = (volume: Volume, interval: Interval): boolean => {
  for (const earlier of volume.intervals) {
    if (earlier.id === interval.id) return true;
    if (overlaps(earlier, interval.sector, interval.sectors) && waitsFor(interval.kind, earlier.kind)) return false;
  }
  return true;
};

/**
 * Registers a range (sectors). With `started` true the owner goes on at once; otherwise the signal `interval-started` tells
 * it later. `owner` is a request id, a peer write's id, or whatever the registering room needs to find its own.
 */
export const registerInterval = (
  core: Core,
  volume: Volume,
  kind: IntervalKind,
  sector: number,
  sectors: number,
  owner: number,
  peer: string,
): Interval => {
  assert(sectors > 0 && core.nowUs >= 0, 'a range has a length');
  const interval: Interval = { id: ++volume.lastInterval, kind, sector, sectors, started: false, owner, peer };
  interval.started = mayStart(volume, interval);
  volume.intervals.push(interval);
  return interval;
};

/** Gives a range back; ranges that waited for it and may start now are told. */
export const releaseInterval = (core: Core, volume: Volume, id: number): void => {
  const index = volume.intervals.findIndex((interval) => interval.id === id);
  assert(index >= 0, () => `interval ${id} was released twice`);
  const [released] = volume.intervals.splice(index, 1);
  for (let at = index; at < volume.intervals.length; at++) {
    const waiting = volume.intervals[at]!;
    if (waiting.started || !overlaps(released!, waiting.sector, waiting.sectors) || !mayStart(volume, waiting)) continue;
    waiting.started = true;
    signal(core, { signal: 'interval-started', resource: volume.resource, volume: volume.number, interval: waiting.id });
  }
};

export const findInterval = (volume: Volume, id: number): Interval | undefined => volume.intervals.find((interval) => interval.id === id);

/** An own write to any of these sectors is on its way: a resync request for them could bring back older data. */
export const overlapsOwnWrite = (volume: Volume, sector: number, sectors: number): boolean =>
  volume.intervals.some((interval) => interval.kind === 'own-write' && overlaps(interval, sector, sectors));

/**
 * The answer to a resync request has arrived: its range is now written. Own writes that waited for the answer still come
 * after it, whatever else was registered meanwhile comes before it, as it arrived before it. Sets `started`.
 */
export const requestBecomesWrite = (volume: Volume, id: number): Interval => {
  const index = volume.intervals.findIndex((interval) => interval.id === id);
  assert(index >= 0 && volume.intervals[index]!.kind === 'resync-request', () => `interval ${id} is no resync request`);
  const interval = volume.intervals.splice(index, 1)[0]!;
  interval.kind = 'resync-write';
  const next = volume.intervals.findIndex(
    (other, at) => at >= index && other.kind === 'own-write' && !other.started && overlaps(other, interval.sector, interval.sectors),
  );
  volume.intervals.splice(next < 0 ? volume.intervals.length : next, 0, interval);
  interval.started = mayStart(volume, interval);
  return interval;
};
