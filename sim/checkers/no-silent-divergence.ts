/**
 * No silent divergence: any block that differs between the two disks is marked in a bitmap, covered by the activity log on
 * disk of a Primary that is down, or in flight (I2, I8). Bitmaps of both sides are merged before a resync, so either will do.
 *
 * Only blocks that may have changed are looked at: those written since the last look, and all of them after a crash. A block
 * that differs and is marked is looked at again now and then, since marks can be lost.
 */

import type { Checker, Setup, WorldView } from '../types.js';
import { recordOf } from '../ghost.js';
import { writtenRange } from './image.js';
import type { Lineage } from './lineage.js';
import { differenceAt, isSettled, Side } from './marks.js';
import type { Planted } from './online-verify.js';
import { volumesOf } from '../spec.js';

const BLOCK_SECTORS = 8;
/** Marked blocks looked at again at each checkpoint. */
const AGAIN = 32;
const REPORTS_MAX = 3;

interface Suspects {
  /** Written since they were last found equal. */
  fresh: Set<number>;
  /** Different and marked when last looked at. */
  marked: Set<number>;
}

export function noSilentDivergence(setup: Setup, lineage: Lineage, planted: Planted): Checker {
  const volumes = volumesOf(setup.hosts[0]!).map((volume) => volume.volume);
  const suspects = new Map<number, Suspects>(volumes.map((volume) => [volume, { fresh: new Set(), marked: new Set() }]));
  let reports = 0;

  const everything = (world: WorldView): void => {
    for (const volume of volumes) {
      const { fresh, marked } = suspects.get(volume)!;
      marked.clear();
      for (const block of recordOf(world.ghost).blocks(volume)) fresh.add(block);
    }
  };

  const look = (volume: number, world: WorldView, all: boolean): void => {
    if (reports >= REPORTS_MAX || !isSettled((host) => lineage.status(host, volume))) return;
    const { fresh, marked } = suspects.get(volume)!;
    if (fresh.size === 0 && marked.size === 0) return;
    const sides = world.hosts.map((host, place) => new Side(host, volume, lineage.hosts[place]!.up));
    const visit = (block: number): void => {
      const difference = differenceAt(world, volume, block, sides);
      if (difference !== 'silent') {
        if (difference === 'none' || difference === 'none now') marked.delete(block);
        if (difference === 'none' || difference === 'marked') fresh.delete(block);
        if (difference === 'marked') marked.add(block);
        return;
      }
      fresh.delete(block);
      if (planted.excuses(volume, block, world)) return;
      if (reports++ >= REPORTS_MAX) return;
      const who = world.hosts.map((host, place) => `${host.name} ${sides[place]!.describe(lineage.status(place, volume).conn)}`).join(', ');
      const detail = `block ${block} (sector ${block * BLOCK_SECTORS}) of volume ${volume} differs and is marked nowhere: ${who}`;
      world.report({ property: 'no-silent-divergence', atUs: world.nowUs, detail });
    };
    for (const block of [...fresh]) visit(block);
    let again = all ? Infinity : AGAIN;
    for (const block of [...marked]) {
      if (again-- <= 0) break;
      // To the end of the line, so that all have their turn.
      marked.delete(block);
      marked.add(block);
      visit(block);
    }
  };

  return {
    property: 'no-silent-divergence',
    onInput(_host, input) {
      const range = writtenRange(input);
      if (!range) return;
      const { fresh } = suspects.get(range.volume)!;
      const last = Math.floor((range.sector + range.sectors - 1) / BLOCK_SECTORS);
      for (let block = Math.floor(range.sector / BLOCK_SECTORS); block <= last; block++) fresh.add(block);
    },
    onOutput(_host, output) {
      if (output.type !== 'observe' || output.event.event !== 'out-of-sync') return;
      suspects.get(output.event.volume)!.fresh.add(Math.floor(output.event.sector / BLOCK_SECTORS));
    },
    onHost(_host, what, world) {
      if (what === 'boot') return;
      everything(world);
      for (const volume of volumes) look(volume, world, true);
    },
    onCheckpoint(world) {
      for (const volume of volumes) look(volume, world, false);
    },
    onEnd(world) {
      for (const volume of volumes) look(volume, world, true);
    },
  };
}
