/**
 * Durability: what the configuration guarantees is on the disk of whoever becomes Primary, and on every disk that says
 * UpToDate in the end (design: the table of guarantees; I1, I6, I18). What each disk owes is the lineage's account.
 */

import { Disk } from '../../src/state/states.js';
import type { Checker, WorldView } from '../types.js';
import { type WriteRecord, PLANTED, recordOf } from '../ghost.js';
import type { ImageReader } from './image.js';
import { BLOCK_SECTORS, describe, judgeSector } from './image.js';
import { type Lineage, isOwed } from './lineage.js';
import type { Planted } from './online-verify.js';

const REPORTS_MAX = 3;

export function durability(lineage: Lineage, planted: Planted, images: (world: WorldView) => ImageReader): Checker {
  const checkImage = (host: number, volume: number, world: WorldView): void => {
    const ghost = recordOf(world.ghost);
    const bit = 1 << host;
    let reports = 0;
    images(world).forEachSector(world.hosts[host]!, volume, (sector, key) => {
      if (reports >= REPORTS_MAX || (key === PLANTED && planted.excuses(volume, Math.floor(sector / BLOCK_SECTORS), world))) return;
      const mustShow = (write: WriteRecord): boolean => (write.must & bit) !== 0 && isOwed(write);
      const problem = judgeSector(ghost, volume, sector, key, mustShow, (write) => (write.never & bit) === 0);
      if (problem === undefined) return;
      reports++;
      world.report({ property: 'durability', atUs: world.nowUs, detail: describe(problem, volume, sector, world.hosts[host]!.name, world) });
    });
  };

  lineage.onPromotion.push((promotion, world) => {
    const { host, volume, forced } = promotion;
    if (forced) return;
    const name = world.hosts[host]!.name;
    if (lineage.hosts[host]!.outdated && promotion.missed > 0) {
      const detail = `${name} was outdated by the fence-peer handler, misses ${promotion.missed} acknowledged writes, and was promoted without force`;
      world.report({ property: 'durability', atUs: world.nowUs, detail });
    }
    if (promotion.missed > 0) world.reached('stale node promoted');
    if (lineage.status(host, volume).disk === Disk.UpToDate) checkImage(host, volume, world);
  });

  return {
    property: 'durability',
    onEnd(world) {
      for (let host = 0; host < world.hosts.length; host++) {
        for (const [volume, status] of lineage.hosts[host]!.volumes) if (status.disk === Disk.UpToDate) checkImage(host, volume, world);
      }
    },
  };
}
