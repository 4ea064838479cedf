/** Is there anything left that a settling pair could still do? */

import { Conn, Disk, Role } from '../../src/state/states.js';
import type { World } from './world.js';

/** Everyone runs, everything is answered, connected, up to date, and somebody is Primary if somebody sees to that. */
export function isQuiet(world: World): boolean {
  if (!world.client.idle || world.operators.isWaiting) return false;
  if (world.setup.failover.by === 'manager' && !world.hosts.some((host) => host.role === Role.Primary)) return false;
  return world.hosts.every((host) => {
    if (host.state !== 'running' || host.commands.size > 0) return false;
    for (const disk of host.disks()) if (disk.outstanding.length > 0) return false;
    const resources = host.node!.resources();
    return (
      resources.length > 0 &&
      resources.every((resource) =>
        resource.volumes.every(
          (volume) =>
            volume.waiting === 0 &&
            volume.inFlight.length === 0 &&
            volume.peers.every(
              ({ state }) => state.conn === Conn.Connected && state.disk === Disk.UpToDate && state.pdsk === Disk.UpToDate,
            ),
        ),
      )
    );
  });
}
