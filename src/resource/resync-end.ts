/** The end of a resync on both sides: generation UUIDs and states in one step (generation-uuids.md §3, sync-and-activity-log.md §7.4). */

import { finishAsSource, finishAsTarget, uuidTuple } from '../generations/uuid-set.js';
import { assert, type Core } from '../model/core.js';
import type { Connection, PeerDevice, Resource, Volume } from '../model/types.js';
import { Conn, Disk, Role, type State } from '../state/states.js';
import { unfenceIfEqual } from './after-change.js';
import { changeState, storeUuids, uuidsOf } from './change.js';
import { runEventHandler } from './handlers.js';

/** Every block is accounted for and the fence has passed (signal `resync-complete`). */
export const resyncComplete = (core: Core, resource: Resource, volume: Volume, connection: Connection, device: PeerDevice, failedBits: number): void => {
  const asTarget = device.repl === Conn.SyncTarget || device.repl === Conn.PausedSyncT;
  const asSource = device.repl === Conn.SyncSource || device.repl === Conn.PausedSyncS;
  if (!volume.backing || volume.backing.failed || (!asTarget && !asSource)) return;
  if (failedBits > 0) {
    // The disk that lacks blocks stays Inconsistent, nothing is known to be equal: no UUID changes.
    const change = asTarget ? { disk: Disk.Inconsistent } : { pdsk: Disk.Inconsistent };
    changeState(core, resource, [volume], connection, { conn: Conn.Connected, ...change }, 'hard', `resync finished with ${failedBits} failed blocks`);
    return;
  }
  const peer = device.peerUuids;
  assert(peer !== undefined, "a resync ends on a connection whose peer's UUIDs are known");
  const set = asTarget ? finishAsTarget(uuidsOf(volume), peer, resource.role === Role.Primary) : finishAsSource(uuidsOf(volume));
  storeUuids(core, volume, set, `end of resync as ${asTarget ? 'target' : 'source'}`);
  const [current, bitmap, history1, history2] = uuidTuple(set);
  Object.assign(peer, { current, bitmap, history1, history2 });
  // A source that had errors of its own meanwhile: the target has what it lacks.
  const isBad = asSource && volume.backing.isBad && device.bitmap!.weight > 0;
  volume.backing.isBad = false;
  const change: Partial<State> = asTarget ? { disk: Disk.UpToDate } : { pdsk: Disk.UpToDate, ...(isBad && { disk: Disk.Inconsistent }) };
  changeState(core, resource, [volume], connection, { conn: Conn.Connected, ...change }, 'hard', 'resync finished');
  if (asSource) return unfenceIfEqual(core, resource, connection);
  runEventHandler(core, resource, 'after-resync-target', volume, connection);
};
