/**
 * Disks as they are before the first boot: fresh metadata, as `create-md` writes it, or that of a pair that was in sync and
 * shut down in good order.
 */

import { createMdSteps, newSuperblock } from '../../src/metadata/create-md.js';
import { type Layout, layoutOf, newSize } from '../../src/metadata/layout.js';
import { type Superblock, SuperblockFlag } from '../../src/metadata/superblock.js';
import { type RandomStream, type Setup, UsageError } from '../types.js';
import type { Host } from './host.js';
import { volumesOf } from '../spec.js';

export function formatDisks(setup: Setup, hosts: readonly Host[], random: RandomStream): void {
  for (const volume of hosts[0]!.volumes.keys()) {
    const layouts = hosts.map((host) => layoutFor(host, volume));
    // Even: nobody is Primary.
    const generation = random.random64() & ~1n;
    hosts.forEach((host, n) => {
      const layout = layouts[n]!;
      const disks = host.volumeDisks(volume);
      disks.usableSectors = layout.usableDataSectors;
      const superblock = firstSuperblock(setup, n, volume, layouts, generation, random.random64());
      // The bitmap is zeros on a new device.
      for (const step of createMdSteps(layout, superblock, 0)) if (step.step === 'write') disks.meta.device.write(step.sector, step.data, true);
    });
  }
}

/** What the disk of a volume on the host at `place` says before anything happened. */
export function firstSuperblock(setup: Setup, place: number, volume: number, layouts: readonly Layout[], generation: bigint, deviceUuid: bigint): Superblock {
  const superblock = newSuperblock(layouts[place]!);
  superblock.deviceUuid = deviceUuid;
  if (setup.initial !== 'synced') return superblock;
  superblock.uuids = [generation, 0n, 0n, 0n];
  superblock.flags |= SuperblockFlag.Consistent | SuperblockFlag.WasUpToDate;
  const userSectors = volumesOf(setup.hosts[place]!).find((one) => one.volume === volume)!.sizeSectors;
  superblock.lastAgreedSectors = layouts.reduce(
    (peerSectors, { usableDataSectors }) => newSize({ peerSectors, maxSectors: usableDataSectors, lastAgreedSectors: 0, userSectors, assumePeerHasSpace: false }),
    0,
  );
  return superblock;
}

function layoutFor(host: Host, volume: number): Layout {
  const config = volumesOf(host.spec).find((one) => one.volume === volume);
  if (!config) throw new UsageError(`${host.name} has a disk for volume ${volume}, which its configuration does not have`);
  const { data, meta, shared } = host.volumeDisks(volume);
  const layout = layoutOf(config.metaDisk, { dataSectors: data.device.sectors, metaSectors: meta.device.sectors, shared });
  if (!layout.ok) throw new UsageError(`volume ${volume} of ${host.name}: no place for metadata (${layout.refusal.detail}); take a larger disk`);
  return layout.value;
}
