/**
 * Complementary states: when all is quiet, what each node says of itself is what the other says of it, and their replication
 * states are each other's counterpart (I12).
 */

import { Conn, connName, diskName, roleName, type Disk, type Role } from '../../src/state/states.js';
import type { Checker, Setup, WorldView } from '../types.js';
import type { Lineage, VolumeStatus } from './lineage.js';
import { volumeView } from './marks.js';
import { volumesOf } from '../spec.js';

const counterpart = new Map<number, number>([
  [Conn.Connected, Conn.Connected],
  [Conn.StartingSyncS, Conn.WFSyncUUID],
  [Conn.WFBitMapS, Conn.WFBitMapT],
  [Conn.SyncSource, Conn.SyncTarget],
  [Conn.PausedSyncS, Conn.PausedSyncT],
  [Conn.VerifyS, Conn.VerifyT],
  [Conn.Ahead, Conn.Behind],
]);

export function complementaryStates(setup: Setup, lineage: Lineage): Checker {
  return {
    property: 'complementary-states',
    onEnd(world) {
      for (const { volume } of volumesOf(setup.hosts[0]!)) {
        if (world.hosts.some((host) => host.state !== 'running')) continue;
        const [a, b] = [lineage.status(0, volume), lineage.status(1, volume)];
        // Neither is connected: nothing to compare. A source whose target gave blocks up stays SyncSource (sync-and-activity-log.md §7.4).
        if (a.conn < Conn.Connected && b.conn < Conn.Connected) continue;
        if (world.hosts.some((host) => (volumeView(host, volume)?.peers[0]?.failedBits ?? 0) > 0)) continue;
        const problem = mismatch(a, b);
        if (problem !== undefined) report(volume, problem, a, b, world);
      }
    },
  };
}

function mismatch(a: VolumeStatus, b: VolumeStatus): string | undefined {
  if (counterpart.get(a.conn) !== b.conn && counterpart.get(b.conn) !== a.conn) return 'their connection states do not belong together';
  if (a.role !== b.peer || b.role !== a.peer) return 'they disagree on a role';
  if (a.disk !== b.pdsk || b.disk !== a.pdsk) return 'they disagree on a disk';
  return undefined;
}

function report(volume: number, problem: string, a: VolumeStatus, b: VolumeStatus, world: WorldView): void {
  const says = (status: VolumeStatus, place: number): string => {
    const roles = `${roleName(status.role as Role)}/${roleName(status.peer as Role)}`;
    const disks = `${diskName(status.disk as Disk)}/${diskName(status.pdsk as Disk)}`;
    return `${world.hosts[place]!.name} cs:${connName(status.conn as Conn)} ro:${roles} ds:${disks}`;
  };
  world.report({ property: 'complementary-states', atUs: world.nowUs, detail: `volume ${volume}: ${problem}: ${says(a, 0)}, ${says(b, 1)}` });
}
