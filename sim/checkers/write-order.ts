/**
 * Write order: what a promoted node shows never contains a write without every write that had completed before it was
 * issued (I9). The receiver's epochs give that with the methods flush and drain. A disk that lost its cache while it was Primary
 * is ordered by the application's own flushes only, and so is one that is attached again after that.
 *
 * The volumes of a resource are one device for that: of a write on another volume it does not count whether this host was ever given it,
 * since a volume that missed writes must not be offered together with one that did not. What a power loss took here is another matter.
 */

import type { ResourceConfig } from '../../src/contract/index.js';
import { Disk } from '../../src/state/states.js';
import type { Checker, Setup, WorldView } from '../types.js';
import { recordOf, type GhostRecord, type WriteRecord } from '../ghost.js';
import type { ImageReader } from './image.js';
import { describe, judgeSector } from './image.js';
import { type Lineage, isOwed } from './lineage.js';
import { configOf, volumesOf } from '../spec.js';

const REPORTS_MAX = 3;
/** Instead of a host's place. */
const OF_ALL = -1;

export function writeOrder(setup: Setup, lineage: Lineage, images: (world: WorldView) => ImageReader): Checker {
  const ordered = setup.hosts.every((host) => volumesOf(host).every(({ disk }) => disk.diskFlushes || disk.diskDrain));

  const check = (host: number, resource: ResourceConfig, world: WorldView): void => {
    const ghost = recordOf(world.ghost);
    const view = world.hosts[host]!;
    const consistent = (volume: number): boolean => lineage.status(host, volume).disk >= Disk.Outdated;
    const volumes = resource.volumes.map((volume) => volume.volume).filter(consistent);
    const shownNewest = new Map<number, WriteRecord>();
    for (const volume of volumes) {
      images(world).forEachSector(view, volume, (sector, key) => {
        const shown = oldestShown(ghost, volume, sector, key);
        if (shown === undefined) return;
        // Of all, and of each host that was asked: what one host wrote later proves that what it wrote before was there to be given.
        for (const of of [OF_ALL, shown.host]) if (shown.issuedAt > (shownNewest.get(of)?.issuedAt ?? -1)) shownNewest.set(of, shown);
      });
    }
    const newest = shownNewest.get(OF_ALL);
    if (newest === undefined) return;
    const { lostCacheAsPrimary } = lineage.hosts[host]!;
    const flushed = new Map<string, number>();
    const flushedAt = (volume: number, at: number): number => {
      const key = `${volume}/${at}`;
      const known = flushed.get(key) ?? flushedBefore(ghost, volume, at);
      flushed.set(key, known);
      return known;
    };
    const isBefore = (write: WriteRecord, { issuedAt }: WriteRecord): boolean =>
      write.endedAt <= (lostCacheAsPrimary.has(write.volume) ? flushedAt(write.volume, issuedAt) : issuedAt);
    const bit = 1 << host;
    // What it was never given does not count, nor what was given up.
    const wasGiven = (write: WriteRecord): boolean => (write.mirrored || (write.must & bit) !== 0) && (write.never & bit) === 0;
    const ofOneSet = (write: WriteRecord): boolean => {
      const later = shownNewest.get(write.host);
      if (later === undefined || later.volume === write.volume || (write.lostPower & bit) !== 0) return false;
      return lineage.status(host, write.volume).disk === Disk.UpToDate && isBefore(write, later);
    };
    const mustShow = (write: WriteRecord): boolean => isOwed(write) && ((wasGiven(write) && isBefore(write, newest)) || ofOneSet(write));
    let reports = 0;
    for (const volume of volumes) {
      images(world).forEachSector(view, volume, (sector, key) => {
        if (reports >= REPORTS_MAX) return;
        const problem = judgeSector(ghost, volume, sector, key, mustShow, () => true);
        if (problem === undefined || problem.garbage) return;
        reports++;
        const detail = `${describe(problem, volume, sector, view.name, world)}, yet write ${newest.stamp} is there, which was issued later`;
        world.report({ property: 'write-order', atUs: world.nowUs, detail });
      });
    }
  };

  if (ordered) {
    let last = { host: -1, atUs: -1, resource: '' };
    lineage.onPromotion.push(({ host, volume, forced }, world) => {
      const resource = configOf(setup.hosts[host]!, volume);
      // The volumes of a resource are promoted together, and are one device for the order of writes.
      if (forced || (last.host === host && last.atUs === world.nowUs && last.resource === resource.resource)) return;
      last = { host, atUs: world.nowUs, resource: resource.resource };
      check(host, resource, world);
    });
  }
  return { property: 'write-order' };
}

/** The write that a sector certainly comes from: the oldest one with that content. */
function oldestShown(ghost: GhostRecord, volume: number, sector: number, key: number): WriteRecord | undefined {
  let shown: WriteRecord | undefined;
  if (key === 0) return undefined;
  for (let node = ghost.newest(volume, sector); node !== 0; node = ghost.older(node)) {
    if (ghost.keyAt(node) === key) shown = ghost.writeAt(node);
  }
  return shown;
}

/** When the last flush of the volume was issued that had completed before `at`: what had completed by then is ordered before it. */
function flushedBefore(ghost: GhostRecord, volume: number, at: number): number {
  let flushed = 0;
  for (const request of ghost.requests.values()) {
    const done = request.operation === 'flush' && request.volume === volume && request.outcome === 'acknowledged' && request.endedAt <= at;
    if (done) flushed = Math.max(flushed, request.issuedAt);
  }
  return flushed;
}
