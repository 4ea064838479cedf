/**
 * What a disk must say of itself before something happens to it (I16): that it is Inconsistent, before the first block of a resync is written to it
 * (D9), or losing power then makes a mixture of two moments look good; that an extent is active, before a Primary's write goes to it (D1); and that it
 * was left behind, when it was given up while the other went on.
 */

import { Conn, Disk, Role } from '../../src/state/states.js';
import type { Output } from '../../src/contract/index.js';
import { SuperblockFlag, hasFlag } from '../../src/metadata/superblock.js';
import { recordOf } from '../ghost.js';
import type { Checker, Setup, WorldView } from '../types.js';
import type { Lineage } from './lineage.js';
import { findSuperblock, readStoredMetadata } from './marks.js';
import { volumesOf } from '../spec.js';

const EXTENT_SECTORS = 8192;
/** So long after a disk was given up what it was to say is on it. */
const WRITTEN_US = 2_000_000;
/** A write is given up by its writer, and by the network, before that. */
const ON_ITS_WAY_US = 20_000_000;

type DataWrite = Extract<Output, { type: 'disk-write' | 'disk-write-zeroes' | 'disk-discard' }>;
const sectorsOf = (write: DataWrite): number => (write.type === 'disk-write' ? write.data.length / 512 : write.sectors);

export function knownOnDisk(setup: Setup, lineage: Lineage): Checker {
  /** Volumes that have just become a target, and to which nothing has been written since, by host. */
  const begins = setup.hosts.map(() => new Set<number>());
  /** Volumes whose disk was given up beside a good one that a Primary writes to, and when, by host. */
  const leftBehindUs = setup.hosts.map(() => new Map<number, number>());
  /** Metadata writes that have not ended, by host: while there is none, what the log in memory says is on disk as well. */
  const logging = setup.hosts.map(() => new Set<number>());
  const keepsLog = setup.hosts.map((host) => new Map(volumesOf(host).map(({ volume, disk }) => [volume, disk.alUpdates])));
  /** A write of this host's own application, as a whole or a part; of two Primaries' nobody could tell. */
  const isOwn = (host: number, volume: number, sector: number, sectors: number, world: WorldView): boolean =>
    [...recordOf(world.ghost).pending.values()].some(
      ({ host: at, write }) => at === host && write?.volume === volume && write.sector <= sector && sector + sectors <= write.sector + write.sectors,
    );
  /** A disk that takes no writes cannot be told anything, nor one that is taken away by force. */
  const takesWrites = !setup.schedule.some(({ action }) => action.do === 'hang-disk' || (action.do === 'disk-error' && action.area === 'meta'));
  const isTakenAway = (reason: string): boolean => reason === 'forced detach' || reason === 'disk-timeout';
  /** It may be an application's write, none of a resync. It may be unanswered for long, frozen, or answered long ago: by its own disk, on its way to one that stood still. */
  const isApplications = (volume: number, sector: number, sectors: number, world: WorldView): boolean =>
    recordOf(world.ghost).writes.some(
      (write) => write?.volume === volume && write.sector < sector + sectors && sector < write.sector + write.sectors && (write.outcome === 'pending' || world.nowUs - write.endedUs < ON_ITS_WAY_US),
    );
  const report = (detail: string, world: WorldView): void => world.report({ property: 'metadata-sanity', atUs: world.nowUs, detail });

  return {
    property: 'metadata-sanity',
    onInput(name, input) {
      if (input.type === 'disk-done' || input.type === 'disk-failed') logging[lineage.hostPlace(name)]!.delete(input.op);
    },
    onOutput(name, output, world) {
      const host = lineage.hostPlace(name);
      if (output.type === 'disk-write' && output.area === 'meta') logging[host]!.add(output.op);
      if ((output.type === 'disk-write' || output.type === 'disk-write-zeroes' || output.type === 'disk-discard') && output.area === 'data') {
        const { role, disk } = lineage.status(host, output.volume);
        const isLogged = role === Role.Primary && lineage.status(lineage.peerOf(host), output.volume).role !== Role.Primary && disk === Disk.UpToDate && setup.onBoot !== 'nothing' && keepsLog[host]!.get(output.volume) === true;
        if (isLogged && logging[host]!.size > 0 && isOwn(host, output.volume, output.sector, sectorsOf(output), world)) {
          const stored = readStoredMetadata(world.hosts[host]!, output.volume);
          const extent = Math.floor(output.sector / EXTENT_SECTORS);
          if (typeof stored !== 'string' && !hasFlag(stored.superblock, SuperblockFlag.FullSync) && !stored.extents.has(extent)) {
            report(`${name} writes to extent ${extent} of volume ${output.volume}, which its activity log does not name yet`, world);
          }
        }
        if (!begins[host]!.has(output.volume) || isApplications(output.volume, output.sector, sectorsOf(output), world)) return;
        begins[host]!.delete(output.volume);
        const stored = findSuperblock(world.hosts[host]!, output.volume);
        if (typeof stored === 'string' || !hasFlag(stored.superblock, SuperblockFlag.Consistent)) return;
        report(`${name} writes to volume ${output.volume}, a target, while its superblock calls it consistent`, world);
        return;
      }
      if (output.type !== 'observe' || output.event.event !== 'state') return;
      const { from, to, volume, reason } = output.event;
      const isTarget = (conn: number): boolean => conn === Conn.SyncTarget || conn === Conn.PausedSyncT;
      if (isTarget(to.conn) && !isTarget(from.conn)) begins[host]!.add(volume);
      if (!isTarget(to.conn)) begins[host]!.delete(volume);

      const goesOn = to.conn >= Conn.Connected && to.pdsk === Disk.UpToDate && (to.role === Role.Primary || to.peer === Role.Primary);
      if (takesWrites && from.disk === Disk.UpToDate && to.disk === Disk.Failed && goesOn && !isTakenAway(reason)) leftBehindUs[host]!.set(volume, world.nowUs);
      if (from.disk === Disk.Attaching && to.disk > Disk.Outdated && leftBehindUs[host]!.has(volume)) {
        report(`${name} attaches volume ${volume} as good although it gave it up while ${setup.hosts[lineage.peerOf(host)]!.name} went on`, world);
      }
      if (to.disk === Disk.UpToDate) leftBehindUs[host]!.delete(volume);
    },
    onHost(name, what, world) {
      const host = lineage.hostPlace(name);
      begins[host]!.clear();
      logging[host]!.clear();
      if (what === 'boot') return;
      for (const [volume, sinceUs] of leftBehindUs[host]!) if (world.nowUs - sinceUs < WRITTEN_US) leftBehindUs[host]!.delete(volume);
    },
  };
}
