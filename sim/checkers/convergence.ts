/**
 * Convergence: when both sides say UpToDate and Connected, blocks without a write in flight are equal, byte for byte (I3).
 * Bits that are still set excuse nothing then: nobody will consult them.
 */

import type { Checker, Setup, WorldView } from '../types.js';
import { recordOf } from '../ghost.js';
import { BLOCK_SECTORS, forEachBlock, writtenRange } from './image.js';
import { type Lineage, saysInSync } from './lineage.js';
import { isEqual, isInFlight, volumeView } from './marks.js';
import type { Planted } from './online-verify.js';
import { volumesOf } from '../spec.js';

const REPORTS_MAX = 3;

export function convergence(setup: Setup, lineage: Lineage, planted: Planted): Checker {
  const volumes = volumesOf(setup.hosts[0]!).map((volume) => volume.volume);
  /** Blocks to be compared when the time comes. */
  const due = new Map<number, Set<number>>(volumes.map((volume) => [volume, new Set<number>()]));
  let reports = 0;

  const compare = (volume: number, blocks: Iterable<number>, world: WorldView, atEnd: boolean): void => {
    const views = world.hosts.map((host) => volumeView(host, volume));
    const size = views[0]?.sizeSectors ?? 0;
    for (const block of blocks) {
      if (views.some((view) => isInFlight(view, block)) || block * BLOCK_SECTORS >= size) continue;
      due.get(volume)!.delete(block);
      if (isEqual(world, volume, block)) continue;
      // What a fault planted and a verify found waits for the next resync, marked; in the end it has had one.
      if (atEnd ? planted.excuses(volume, block, world) : planted.isPlanted(volume, block, world)) continue;
      if (reports++ >= REPORTS_MAX) continue;
      const detail = `block ${block} (sector ${block * BLOCK_SECTORS}) of volume ${volume} differs, both sides say Connected and UpToDate`;
      world.report({ property: 'convergence', atUs: world.nowUs, detail });
    }
  };
  const equal = (volume: number): boolean => [0, 1].every((host) => saysInSync(lineage.status(host, volume)));

  return {
    property: 'convergence',
    onInput(_host, input) {
      const range = writtenRange(input);
      if (!range) return;
      forEachBlock(range, (block) => due.get(range.volume)!.add(block));
    },
    onHost(_host, _what, world) {
      for (const volume of volumes) for (const block of recordOf(world.ghost).blocks(volume)) due.get(volume)!.add(block);
    },
    onCheckpoint(world) {
      for (const volume of volumes) if (due.get(volume)!.size > 0 && equal(volume)) compare(volume, [...due.get(volume)!], world, false);
    },
    onEnd(world) {
      for (const volume of volumes) {
        if (!equal(volume)) continue;
        compare(volume, new Set(world.hosts.flatMap((host) => [...host.disk(volume).writtenBlocks()])), world, true);
      }
    },
  };
}
