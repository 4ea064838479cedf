/**
 * In sync means that nothing is marked (I3): between two disks that both sides call UpToDate and Connected no bitmap has a bit, since nobody
 * consults one before the next handshake, and who finds equal generations there consults it never. Most of what loses a resync that was due leaves
 * its marks behind, whether or not the blocks differ this time.
 */

import { Conn, Disk, Role } from '../../src/state/states.js';
import type { Checker, Setup, WorldView } from '../types.js';
import { type Lineage, saysInSync } from './lineage.js';
import { readStoredMetadata, volumeView } from './marks.js';
import { volumesOf } from '../spec.js';

export function unmarkedInSync(setup: Setup, lineage: Lineage): Checker {
  const volumes = volumesOf(setup.hosts[0]!).map(({ volume }) => volume);
  /** Volumes on which marks may stand between good disks until the next resync, as the kernel has it as well. */
  const mayBeMarked = new Set<number>();
  /** Volumes with marks at the last look: a growing device, or the end of a resync, is not seen by both at once. */
  const seen = new Set<number>();
  const marks = (volume: number, world: WorldView): { name: string; bits: number } | undefined =>
    world.hosts.map((host) => ({ name: host.name, bits: volumeView(host, volume)?.peers[0]?.bitmap?.weight ?? 0 })).find(({ bits }) => bits > 0);

  return {
    property: 'convergence',
    onInput(_name, input) {
      // What a disk does not read is marked, and read from the peer.
      if (input.type === 'disk-failed') for (const volume of volumes) mayBeMarked.add(volume);
    },
    onOutput(_name, output) {
      if (output.type !== 'observe' || output.event.event !== 'state') return;
      const { volume, from, to } = output.event;
      // A verify marks what differs. Both of two Primaries mark what the loss of the link left open, and send it again. A Primary that is frozen for want of data
      // and gets its disk back marks its active set, and nothing happened since.
      const isVerify = to.conn === Conn.VerifyS || to.conn === Conn.VerifyT;
      if (isVerify || (to.role === Role.Primary && to.peer === Role.Primary) || to.flags.includes('suspNod')) mayBeMarked.add(volume);
      const isSync = from.conn === Conn.SyncSource || from.conn === Conn.SyncTarget;
      if (isSync && to.conn === Conn.Connected && to.disk === Disk.UpToDate && to.pdsk === Disk.UpToDate) mayBeMarked.delete(volume);
    },
    onHost(name, what, world) {
      if (what === 'boot') return;
      // Bits that were cleared, and whose clearing is not on disk yet, are there again after a crash: too many of them do no harm.
      const host = world.host(name);
      for (const volume of volumes) {
        if (volumeView(host, volume)?.peers[0]?.bitmap?.weight !== 0) continue;
        const stored = readStoredMetadata(host, volume);
        if (typeof stored !== 'string' && stored.countBits() > 0) mayBeMarked.add(volume);
      }
    },
    onCheckpoint(world) {
      for (const volume of volumes) {
        const isInSync = [0, 1].every((host) => saysInSync(lineage.status(host, volume)));
        const found = isInSync && !mayBeMarked.has(volume) ? marks(volume, world) : undefined;
        if (found === undefined) {
          seen.delete(volume);
        } else if (!seen.has(volume)) {
          seen.add(volume);
        } else {
          mayBeMarked.add(volume);
          const detail = `${found.bits} blocks of volume ${volume} are marked on ${found.name}, both sides say Connected and UpToDate`;
          world.report({ property: 'convergence', atUs: world.nowUs, detail });
        }
      }
    },
  };
}
