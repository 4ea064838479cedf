/**
 * The last moment before a resync: the handlers before-resync-target and -source are asked, and a resync begins only when they have said
 * yes (node-states.md §8.10). A target reads nothing further meanwhile: what comes behind the sync UUID is for the data that the resync
 * makes. What was meant to begin is looked at anew when the handler has ended (bug B168).
 */

import { pauseData, resumeData } from '../connection/receive.js';
import { loseConnection, refuseConnection } from '../connection/loss.js';
import { startAsTarget } from '../generations/uuid-set.js';
import { log, type Core } from '../model/core.js';
import type { Connection, PeerDevice, Resource, Volume } from '../model/types.js';
import { hasDisk } from '../replication/plan.js';
import { Conn, Disk, Role } from '../state/states.js';
import { changeState, storeUuids, uuidsOf } from './change.js';
import { runEventHandler } from './handlers.js';

/** Of before-resync-source: said by tools that do not know the event. */
const OLD_TOOLS = 3;

/** P_SYNC_UUID is there, or ours to be used now: the data that we are about to get is of that generation (wire-protocol.md §7.2). */
export const beginAsTarget = (core: Core, resource: Resource, volume: Volume, connection: Connection, device: PeerDevice, uuid: bigint): void => {
  if (!hasDisk(volume)) return;
  if (!waitsForSyncUuid(device)) {
    // We do not see that we have anything to sync: the next handshake finds out.
    if (device.repl === Conn.Connected) return loseConnection(core, connection, 'NetworkFailure', 'a sync UUID that nobody waits for');
    return log(core, resource.name, 'warning', 'a sync UUID that nobody waits for');
  }
  const handler = runEventHandler(core, resource, 'before-resync-target', volume, connection);
  if (handler === undefined) return becomeTarget(core, resource, volume, connection, device, uuid);
  device.beforeResync = { handler, syncUuid: uuid, conn: device.repl };
  pauseData(core, connection);
};

const waitsForSyncUuid = ({ repl }: PeerDevice): boolean => repl === Conn.WFSyncUUID || repl === Conn.Behind;

/** Durable before the first block (D9: resource/after-change). */
const becomeTarget = (core: Core, resource: Resource, volume: Volume, connection: Connection, device: PeerDevice, uuid: bigint): void => {
  storeUuids(core, volume, startAsTarget(uuidsOf(volume), uuid, resource.role === Role.Primary), 'start of resync as target');
  const side = device.aftrIsp || device.peerIsp || device.userIsp ? Conn.PausedSyncT : Conn.SyncTarget;
  changeState(core, resource, [volume], connection, { conn: side, disk: Disk.Inconsistent }, 'hard', 'sync UUID received');
};

/** Marks are agreed on, or all set: we are the source as soon as the handler agrees. */
export const beginAsSource = (core: Core, resource: Resource, volume: Volume, connection: Connection, device: PeerDevice, reason: string): void => {
  const handler = runEventHandler(core, resource, 'before-resync-source', volume, connection);
  if (handler === undefined) return becomeSource(core, resource, volume, connection, reason);
  device.beforeResync = { handler, syncUuid: undefined, conn: device.repl };
};

const becomeSource = (core: Core, resource: Resource, volume: Volume, connection: Connection, reason: string): void =>
  void changeState(core, resource, [volume], connection, { conn: Conn.SyncSource }, 'hard', reason);

/** A before-resync handler exited. One that nobody waits for any more, since its connection is gone, means nothing. */
export const beforeResyncEnded = (core: Core, resource: Resource, handler: number, exitCode: number): void => {
  for (const volume of resource.volumes.values()) {
    for (const device of volume.peers.values()) {
      const asked = device.beforeResync;
      if (asked?.handler !== handler) continue;
      device.beforeResync = undefined;
      const connection = resource.connections.get(device.peer)!;
      const isTarget = asked.syncUuid !== undefined;
      if (exitCode !== 0 && (isTarget || exitCode !== OLD_TOOLS)) {
        return refuseConnection(core, connection, `before-resync-${isTarget ? 'target' : 'source'} handler returned ${exitCode}, dropping connection.`);
      }
      if (device.repl === asked.conn && hasDisk(volume)) {
        if (isTarget) becomeTarget(core, resource, volume, connection, device, asked.syncUuid!);
        else becomeSource(core, resource, volume, connection, 'before-resync-source agreed');
      }
      if (isTarget) resumeData(core, connection);
    }
  }
};
