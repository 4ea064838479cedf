/** The survivor's device as a file, for the real checks of recorded workloads. */

import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { Role } from '../../src/state/states.js';
import type { SurvivorImage } from '../types.js';
import { BLOCK_BYTES } from './content.js';
import type { Host } from './host.js';
import type { World } from './world.js';
import { volumeViewOf } from '../spec.js';

/** The Primary's device at the end of a run, or that of the first host that runs. */
export function survivorOf(world: World): Host {
  const { hosts } = world;
  return hosts.find((host) => host.role === Role.Primary) ?? hosts.find((host) => host.state === 'running') ?? hosts[0]!;
}

/** The first volume's device, as its users see it. */
export function survivorImage(world: World, acknowledgedEntries: number, seed: number): SurvivorImage {
  const host = survivorOf(world);
  const sizeBytes = imageSectors(host) * 512;
  return {
    host: host.name,
    sizeBytes,
    writeTo: (path) => writeImage(host, path),
    acknowledgedEntries,
    seed,
  };
}

/** Writes a sparse file. */
export function writeImage(host: Host, path: string): void {
  const { volume } = host.spec.disks[0]!;
  const disk = host.disk(volume);
  const sectors = imageSectors(host);
  const file = openSync(path, 'w');
  try {
    ftruncateSync(file, sectors * 512);
    for (const block of disk.writtenBlocks()) {
      const bytes = Math.min(BLOCK_BYTES, (sectors - block * 8) * 512);
      if (bytes > 0) writeSync(file, disk.blockBytes(block), 0, bytes, block * BLOCK_BYTES);
    }
  } finally {
    closeSync(file);
  }
}

function imageSectors(host: Host): number {
  const { volume } = host.spec.disks[0]!;
  const agreed = volumeViewOf(host.node, volume)?.sizeSectors;
  return agreed || host.volumeDisks(volume).usableSectors;
}
