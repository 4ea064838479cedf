/** The disks of a configuration before anything happened: metadata of a pair that was in sync, as numbered blocks. */

import { createMdSteps } from '../../src/metadata/create-md.js';
import { layoutOf, type Layout } from '../../src/metadata/layout.js';
import type { Setup } from '../types.js';
import { firstSuperblock } from '../world/format.js';
import type { Contents } from './contents.js';
import { contentsOf, endOperation, type DiskState } from './disk.js';

const GENERATION = 0x5eed_0000_0000_0000n;

export function firstDisks(setup: Setup, contents: Contents): DiskState[] {
  const layouts = setup.hosts.map(({ config, disks }): Layout => {
    const { dataSectors, metaSectors } = disks[0]!;
    const layout = layoutOf(config.volumes[0]!.metaDisk, { dataSectors, metaSectors: metaSectors!, shared: false });
    if (!layout.ok) throw new Error(layout.refusal.detail);
    return layout.value;
  });
  return layouts.map((layout, place) => {
    const superblock = firstSuperblock(setup, place, 0, layouts, GENERATION, BigInt(place + 1));
    let disk: DiskState = { durable: [], cached: [[], []] };
    for (const step of createMdSteps(layout, superblock, 0)) {
      if (step.step !== 'write') continue;
      const write = { op: 0, verb: 'write' as const, area: 1 as const, sector: step.sector, sectors: step.data.length / 512, contents: contentsOf(contents, step.sector, step.data), fua: true, covers: -1 };
      disk = endOperation(disk, write, []).disk;
    }
    return disk;
  });
}
