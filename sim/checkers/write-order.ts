/**
 * Write order: what a promoted node shows never contains a write without every write that had completed before it was
 * issued (I9). The receiver's epochs give that with the methods flush and drain. A disk that lost its cache while it was Primary
 * is ordered by the application's own flushes only, and so is one that is attached again after that.
 *
 * The volumes of a resource are one device for that: of a write on another volume it does not count whether this host was ever given it,
 * since a volume that missed writes must not be offered together with one that did not. What a power loss took here is another matter.
 */

import { Disk } from '../../src/state/states.js';
import type { Checker, Setup, WorldView } from '../types.js';
import { recordOf, type GhostRecord, type WriteRecord } from '../ghost.js';
import type { ImageReader } from './image.js';
import { describe, judgeSector } from './image.js';
import { type Lineage, isOwed } from './lineage.js';

const REPORTS_MAX = 3;

export function writeOrder(setup: Setup, lineage: Lineage, images: (world: WorldView) => ImageReader): Checker {
  const ordered = setup.hosts.every((host) => host.config.volumes.every(({ disk }) => disk.diskFlushes || disk.diskDrain));

  const check = (host: number, world: WorldView): void => {
    const ghost = recordOf(world.ghost);
    const view = world.hosts[host]!;
    const consistent = (volume: number): boolean => lineage.status(host, volume).disk >= Disk.Outdated;
    const volumes = view.spec.config.volumes.map((volume) => volume.volume).filter(consistent);
    let newest: WriteRecord | undefined;
    for (const volume of volumes) {
      images(world).forEachSector(view, volume, (sector, key) => {
        const shown = oldestShown(ghost, volume, sector, key);
        if (shown !== undefined && (newest === undefined || shown.issuedAt > newest.issuedAt)) newest = shown;
      });
    }
    if (newest === undefined) return;
    const { issuedAt } = newest;
    const { lostCacheAsPrimary } = lineage.hosts[host]!;
    const before = new Map(volumes.map((volume) => [volume, lostCacheAsPrimary.has(volume) ? flushedBefore(ghost, volume, issuedAt) : issuedAt]));
    const bit = 1 << host;
    // What it was never given does not count, nor what was given up.
    const wasGiven = (write: WriteRecord): boolean => (write.mirrored || (write.must & bit) !== 0) && (write.never & bit) === 0;
    const ofOneSet = new Set(volumes.filter((volume) => volume !== newest!.volume && lineage.status(host, volume).disk === Disk.UpToDate));
    const mustShow = (write: WriteRecord): boolean => write.endedAt <= before.get(write.volume)! && isOwed(write) && (wasGiven(write) || (ofOneSet.has(write.volume) && (write.lostPower & bit) === 0));
    let reports = 0;
    for (const volume of volumes) {
      images(world).forEachSector(view, volume, (sector, key) => {
        if (reports >= REPORTS_MAX) return;
        const problem = judgeSector(ghost, volume, sector, key, mustShow, () => true);
        if (problem === undefined || problem.garbage) return;
        reports++;
        const detail = `${describe(problem, volume, sector, view.name, world)}, yet write ${newest!.stamp} is there, which was issued later`;
        world.report({ property: 'write-order', atUs: world.nowUs, detail });
      });
    }
  };

  if (ordered) {
    let last = { host: -1, atUs: -1 };
    lineage.onPromotion.push(({ host, forced }, world) => {
      // The volumes of a resource are promoted together, and are one device for the order of writes.
      if (forced || (last.host === host && last.atUs === world.nowUs)) return;
      last = { host, atUs: world.nowUs };
      check(host, world);
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
