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

/** Must a range of this kind wait for an earlier overlapping one? */
const waitsFor = (kind: IntervalKind, earlier: Interval): boolean => {
  switch (kind) {
    case 'own-read':
      return earlier.kind === 'own-write' || earlier.kind === 'resync-write' || earlier.kind === 'peer-write';
    case 'own-write':
      return earlier.kind !== 'peer-read' && earlier.kind !== 'peer-reply';
    case 'peer-write':
    case 'resync-write':
      if (earlier.kind === 'own-write') return !isOnDisk(earlier);
      return earlier.kind === 'peer-write' || earlier.kind === 'resync-read' || earlier.kind === 'verify-read' || earlier.kind === 'resync-write';
    case 'verify-request':
      // What the peer reads now would be older than this write, or newer than what we read later.
      return earlier.kind === 'own-write';
    case 'resync-read':
    case 'verify-read':
      if (earlier.kind === 'own-write') return !isOnDisk(earlier);
      return earlier.kind === 'peer-write' || earlier.kind === 'resync-write';
    case 'peer-read':
      return earlier.kind === 'peer-write' || earlier.kind === 'resync-write';
    case 'peer-reply':
      return earlier.kind === 'own-write' && earlier.use !== 'waiting';
    case 'resync-request':
      return false;
  }
};

/** What the peer sends may go over it, although nobody else may see it yet. One that has begun to go its way again is on its way. */
const isOnDisk = ({ use, started }: Interval): boolean => use === 'passable' || (use === 'again' && !started);

const overlaps = (one: Interval, sector: number, sectors: number): boolean =>
  one.sector < sector + sectors && sector < one.sector + one.sectors;

/** Looked for several times for each request: a loop, without a function for each place. */
const placeOf = ({ intervals }: Volume, id: number): number => {
  for (let at = 0; at < intervals.length; at++) if (intervals[at]!.id === id) return at;
  return -1;
};

const mayStart = (volume: Volume, interval: Interval): boolean => {
  if (interval.use === 'again') return !volume.intervals.some((other) => other.peer !== '' && overlaps(other, interval.sector, interval.sectors) && waitsFor('own-write', other));
  for (const earlier of volume.intervals) {
    if (earlier.id === interval.id) return true;
    if (overlaps(earlier, interval.sector, interval.sectors) && waitsFor(interval.kind, earlier)) return false;
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
  const use = kind === 'own-write' ? 'waiting' : 'in-use';
  const interval: Interval = { id: ++volume.lastInterval, kind, sector, sectors, started: false, use, owner, peer };
  // Nobody over there can be made to wait for a write that has not left us: it could be waiting for the peer itself.
  const overtaken = kind === 'peer-write' || kind === 'resync-read' ? ownWritesWaiting(volume, sector, sectors) : [];
  interval.started = true;
  for (const earlier of volume.intervals) {
    if (overlaps(earlier, sector, sectors) && !overtaken.includes(earlier) && waitsFor(kind, earlier)) interval.started = false;
  }
  volume.intervals.push(interval);
  for (const own of overtaken) moveBehind(core, volume, own);
  return interval;
};

const ownWritesWaiting = (volume: Volume, sector: number, sectors: number): Interval[] =>
  volume.intervals.filter((interval) => interval.kind === 'own-write' && interval.use === 'waiting' && overlaps(interval, sector, sectors));

/** Puts an own write behind everything that is registered now. */
const moveBehind = (core: Core, volume: Volume, interval: Interval): void => {
  const index = volume.intervals.indexOf(interval);
  volume.intervals.splice(index, 1);
  interval.started = false;
  volume.intervals.push(interval);
  wake(core, volume, index, interval);
};

/** Ranges from this place on that waited for `freed`, and may start now, are told. */
const wake = (core: Core, volume: Volume, from: number, freed: Interval): void => {
  for (let at = 0; at < volume.intervals.length; at++) {
    const waiting = volume.intervals[at]!;
    if (waiting.started || (at < from && waiting.use !== 'again') || !overlaps(freed, waiting.sector, waiting.sectors) || !mayStart(volume, waiting)) continue;
    waiting.started = true;
    signal(core, { signal: 'interval-started', resource: volume.resource, volume: volume.number, interval: waiting.id });
  }
};

/** Gives a range back; ranges that waited for it and may start now are told. */
export const releaseInterval = (core: Core, volume: Volume, id: number): void => {
  const index = placeOf(volume, id);
  assert(index >= 0, () => `interval ${id} was released twice`);
  const [released] = volume.intervals.splice(index, 1);
  wake(core, volume, index, released!);
  // A resize waits for what runs behind the new end, reads for the peer included.
  if (volume.holds.length > 0) signal(core, { signal: 'procedures', resource: volume.resource });
};

const ownWrite = (volume: Volume, index: number): Interval => {
  const interval = volume.intervals[index];
  assert(interval?.kind === 'own-write', () => `no own write at place ${index}`);
  return interval;
};

/** An own write goes its way (`in-use`), or has to be decided upon again (`waiting`). */
export const useInterval = (volume: Volume, id: number, use: 'in-use' | 'waiting'): void => {
  ownWrite(volume, placeOf(volume, id)).use = use;
};

/** An own write is on the disk, and its place among the peer's writes is known: they may go on, although it is not answered. */
export const letPass = (core: Core, volume: Volume, id: number): void => {
  const index = placeOf(volume, id);
  const interval = ownWrite(volume, index);
  if (interval.use === 'passable' || interval.use === 'again') return;
  interval.use = 'passable';
  wake(core, volume, index, interval);
};

/** An own write that is on our disk has to go its way again. It is told like one that waited from the beginning, and is still in the way of who waited for it. */
export const useAgain = (core: Core, volume: Volume, id: number): void => {
  const index = placeOf(volume, id);
  const interval = ownWrite(volume, index);
  interval.use = 'again';
  interval.started = false;
  wake(core, volume, index, interval);
};

/** Is a write of the peer registered that overlaps these sectors? */
export const overlapsPeerWrite = (volume: Volume, sector: number, sectors: number): boolean =>
  volume.intervals.some((interval) => interval.kind === 'peer-write' && overlaps(interval, sector, sectors));

export const findInterval = (volume: Volume, id: number): Interval | undefined => volume.intervals[placeOf(volume, id)];

/** An own write to any of these sectors is on its way: a resync request for them could bring back older data. */
export const overlapsOwnWrite = (volume: Volume, sector: number, sectors: number): boolean =>
  volume.intervals.some((interval) => interval.kind === 'own-write' && overlaps(interval, sector, sectors));

/**
 * The answer to a request has arrived: its range is now written, or read to be compared. Own writes that waited for the answer
 * still come after it, whatever else was registered meanwhile comes before it, as it arrived before it. Sets `started`.
 */
export const requestIsAnswered = (volume: Volume, id: number): Interval => {
  const index = placeOf(volume, id);
  assert(index >= 0, () => `interval ${id} is not registered`);
  const interval = volume.intervals.splice(index, 1)[0]!;
  const isResync = interval.kind === 'resync-request';
  assert(isResync || interval.kind === 'verify-request', () => `interval ${id} is no request`);
  interval.kind = isResync ? 'resync-write' : 'verify-read';
  const next = volume.intervals.findIndex(
    (other, at) => at >= index && other.kind === 'own-write' && !other.started && overlaps(other, interval.sector, interval.sectors),
  );
  volume.intervals.splice(next < 0 ? volume.intervals.length : next, 0, interval);
  interval.started = mayStart(volume, interval);
  return interval;
};
