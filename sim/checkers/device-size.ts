/**
 * Device size: what an application may use, or consistent data fills, never gets smaller unless an operator says to what (I17, bug B172); and two
 * nodes that are connected in the end have one size.
 */

import { Conn, Disk, Role } from '../../src/state/states.js';
import type { Checker, Setup, WorldView } from '../types.js';
import { volumesOf } from '../spec.js';
import type { Lineage } from './lineage.js';
import { readStoredMetadata, volumeView } from './marks.js';

export function deviceSize(setup: Setup, lineage: Lineage): Checker {
  /** The size that each host last had, by volume. */
  const sizes = setup.hosts.map(() => new Map<number, number>());
  /** The smallest that an operator asked for anywhere, by volume. */
  const asked = new Map<number, number>();
  const report = (detail: string, world: WorldView): void => world.report({ property: 'device-size', atUs: world.nowUs, detail });

  const look = (world: WorldView): void => {
    for (const [host, { name, node }] of world.hosts.entries()) {
      if (node === undefined) continue;
      for (const { volume } of volumesOf(setup.hosts[host]!)) {
        const { role, disk } = lineage.status(host, volume);
        const size = volumeView(world.hosts[host]!, volume)?.sizeSectors ?? 0;
        if (size === 0 || (role !== Role.Primary && (disk < Disk.Outdated || disk === Disk.DUnknown))) continue;
        const before = sizes[host]!.get(volume) ?? 0;
        sizes[host]!.set(volume, size);
        if (size < before && size < (asked.get(volume) ?? Infinity)) report(`volume ${volume} on ${name} had ${before} sectors and has ${size}, which nobody asked for`, world);
      }
    }
  };

  return {
    property: 'device-size',
    onHost(name, what, world) {
      if (what === 'boot') return;
      const host = lineage.hostPlace(name);
      // What had not reached the disk yet nobody has written behind: a crash may take it back (resize 436).
      for (const [volume, size] of sizes[host]!) {
        const stored = readStoredMetadata(world.hosts[host]!, volume);
        sizes[host]!.set(volume, typeof stored === 'string' ? 0 : Math.min(size, stored.superblock.lastAgreedSectors));
      }
    },
    onInput(_name, input) {
      if (input.type !== 'command' || input.command.verb !== 'resize' || input.command.sizeSectors === 0) return;
      const { volume, sizeSectors } = input.command;
      asked.set(volume, Math.min(asked.get(volume) ?? Infinity, sizeSectors));
    },
    onOutput(_name, output, world) {
      if (output.type === 'observe' && output.event.event === 'state') look(world);
    },
    onCheckpoint: look,
    onEnd(world) {
      look(world);
      for (const { volume } of volumesOf(setup.hosts[0]!)) {
        const statuses = [0, 1].map((host) => lineage.status(host, volume));
        if (statuses.some(({ conn, disk }) => conn < Conn.Connected || disk < Disk.Inconsistent)) continue;
        const [one, other] = world.hosts.map((host) => volumeView(host, volume)?.sizeSectors);
        if (one !== other) report(`volume ${volume} has ${one} sectors on ${world.hosts[0]!.name} and ${other} on ${world.hosts[1]!.name}, and they are connected`, world);
      }
    },
  };
}
