/**
 * Metadata sanity: after every crash the metadata on disk parses; a Primary that had acknowledged writes is known as one; an attach
 * derives no better state than the metadata admits (node-states.md §8.1 step 7); and once nothing is on its way to the disk, the
 * superblock there says what the node says (I16, bug B063).
 */

import { Disk, Role, diskName } from '../../src/state/states.js';
import { formatUuid } from '../../src/generations/uuid-set.js';
import { SuperblockFlag, hasFlag, type Superblock } from '../../src/metadata/superblock.js';
import type { Checker, Setup } from '../types.js';
import { type WriteRecord, recordOf } from '../ghost.js';
import type { Lineage } from './lineage.js';
import { findSuperblock, readStoredMetadata, volumeView } from './marks.js';
import { volumesOf } from '../spec.js';

export function metadataSanity(setup: Setup, lineage: Lineage): Checker {
  /** Since when each host is Primary, by volume; kept here since the lineage forgets at a crash. */
  const primaryAt = setup.hosts.map(() => new Map<number, number>());
  /** The best disk state that the metadata on disk admitted at boot. */
  const admitted = setup.hosts.map(() => new Map<number, number>());
  /** Flushes and metadata writes that have not ended, by host. */
  const writing = setup.hosts.map(() => new Set<number>());
  /** The superblock in memory, since when it is so, and whether what is on disk was compared with it. */
  const atRest = setup.hosts.map(() => new Map<number, { known: string; sinceUs: number; isJudged: boolean }>());

  return {
    property: 'metadata-sanity',
    onOutput(name, output, world) {
      if (output.type === 'disk-flush' || (output.type === 'disk-write' && output.area === 'meta')) writing[lineage.hostPlace(name)]!.add(output.op);
      if (output.type !== 'observe' || output.event.event !== 'state') return;
      const { from, to, volume } = output.event;
      const host = lineage.hostPlace(name);
      if (to.role === Role.Primary && to.disk === Disk.UpToDate) {
        if (!primaryAt[host]!.has(volume)) primaryAt[host]!.set(volume, recordOf(world.ghost).sequence);
      } else primaryAt[host]!.delete(volume);
      const best = admitted[host]!.get(volume);
      if (best === undefined || to.disk <= Disk.Negotiating) return;
      admitted[host]!.delete(volume);
      // A peer said what it is.
      if (from.disk > Disk.Attaching) return;
      if (to.disk <= best) return;
      const [claimed, most] = [to.disk, best].map((disk) => diskName(disk as Disk));
      const detail = `${name} attaches volume ${volume} as ${claimed}, but its superblock admits ${most} at most`;
      world.report({ property: 'metadata-sanity', atUs: world.nowUs, detail });
    },
    onHost(name, what, world) {
      const host = lineage.hostPlace(name);
      writing[host]!.clear();
      atRest[host]!.clear();
      const ghost = recordOf(world.ghost);
      for (const { volume } of volumesOf(setup.hosts[host]!)) {
        const metadata = readStoredMetadata(world.hosts[host]!, volume);
        const report = (detail: string): void =>
          world.report({ property: 'metadata-sanity', atUs: world.nowUs, detail: `${name}, volume ${volume}, after ${what}: ${detail}` });
        if (typeof metadata === 'string') {
          report(metadata);
          continue;
        }
        if (what === 'boot') {
          admitted[host]!.set(volume, bestDisk(metadata.superblock));
          continue;
        }
        const since = primaryAt[host]!.get(volume);
        const isIts = (write: WriteRecord): boolean => write?.host === host && write.volume === volume && write.outcome === 'acknowledged';
        const wrote = since !== undefined && ghost.writes.some((write) => isIts(write) && write.issuedAt > since);
        const known = hasFlag(metadata.superblock, SuperblockFlag.PrimaryInd);
        if (wrote && !known) report('it was Primary and had acknowledged writes, but the superblock does not say so');
        primaryAt[host]!.delete(volume);
      }
    },
    onInput(name, input) {
      if (input.type === 'disk-done' || input.type === 'disk-failed') writing[lineage.hostPlace(name)]!.delete(input.op);
    },
    onCheckpoint(world) {
      for (const [place, host] of world.hosts.entries()) {
        if (writing[place]!.size > 0) continue;
        for (const { volume } of volumesOf(host.spec)) {
          const memory = volumeView(host, volume)?.superblock;
          const known = memory === undefined ? '' : textOf(memory);
          const before = atRest[place]!.get(volume);
          if (before?.known !== known) atRest[place]!.set(volume, { known, sinceUs: world.nowUs, isJudged: memory === undefined });
          else if (!before.isJudged && world.nowUs - before.sinceUs >= REST_US) {
            before.isJudged = true;
            const stored = findSuperblock(host, volume);
            const written = typeof stored === 'string' ? stored : textOf(stored.superblock);
            // Who starts nodes by hand may give them other options.
            const { alUpdates } = volumesOf(host.spec).find((one) => one.volume === volume)!.disk;
            if (setup.onBoot !== 'nothing' && hasFlag(memory!, SuperblockFlag.AlDisabled) === alUpdates) {
              world.report({ property: 'metadata-sanity', atUs: world.nowUs, detail: `${host.name}, volume ${volume}, at rest: al-updates is ${alUpdates ? 'yes' : 'no'}, and the superblock has flags ${memory!.flags.toString(16)}` });
            }
            if (written === known) continue;
            world.report({ property: 'metadata-sanity', atUs: world.nowUs, detail: `${host.name}, volume ${volume}, at rest: on disk is ${written}; the node has ${known}` });
          }
        }
      }
    },
  };
}

/** So long after its last change a superblock is on disk, if nothing is on its way there. */
const REST_US = 1_000_000;

const textOf = ({ uuids, flags }: Superblock): string => `generation ${uuids.map(formatUuid).join(':')}, flags ${flags.toString(16)}`;

function bestDisk(superblock: Superblock): number {
  if (!hasFlag(superblock, SuperblockFlag.Consistent)) return Disk.Inconsistent;
  return hasFlag(superblock, SuperblockFlag.WasUpToDate) ? Disk.UpToDate : Disk.Outdated;
}
