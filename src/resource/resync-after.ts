/**
 * Resync dependencies (node-states.md §8.11): a volume with `resync-after` rests (aftr_isp) while the volume that it names, or one that
 * this waits for in its turn, is being synced or paused. They cross resources, so they are judged on the whole node; the node asks after
 * every input, in the order of the configuration.
 */

import { assert, type Core } from '../model/core.js';
import type { NodeState, Resource, Volume } from '../model/types.js';
import { ConfigCode } from '../state/refusals.js';
import { Conn, Disk } from '../state/states.js';
import { changeState } from './change.js';

const volumesOf = (state: NodeState): { resource: Resource; volume: Volume }[] =>
  [...state.resources.values()].flatMap((resource) => [...resource.volumes.values()].map((volume) => ({ resource, volume })));

const findMinor = (state: NodeState, minor: number): Volume | undefined => volumesOf(state).find(({ volume }) => volume.config.minor === minor)?.volume;

/** What the chain goes through: a volume that is not attached ends it. (One that is being attached is judged itself before it counts.) */
const isLink = (volume: Volume | undefined): volume is Volume => volume?.backing !== undefined && volume.disk >= Disk.Negotiating;

/**
 * Why this volume may not wait for that minor, as DRBD's code, or undefined. It may wait for one that does not exist, or has no disk, yet;
 * whoever would close the circle is refused.
 */
export const checkResyncAfter = (state: NodeState, volume: Volume, minor: number): ConfigCode | undefined => {
  for (let next = minor; next >= 0; ) {
    const other = findMinor(state, next);
    if (other === volume) return ConfigCode.ResyncAfterCyclic;
    if (!isLink(other)) return undefined;
    next = other.config.disk.resyncAfter;
  }
  return undefined;
};

/** Is the volume, or its peer's half of it, busy with a resync or verify, or paused? */
const isBusy = (volume: Volume): boolean =>
  [...volume.peers.values()].some(
    ({ repl, aftrIsp, peerIsp, userIsp }) => (repl >= Conn.SyncSource && repl <= Conn.PausedSyncT) || aftrIsp || peerIsp || userIsp,
  );

const maySync = (state: NodeState, volume: Volume): boolean => {
  let steps = 0;
  for (let at: Volume | undefined = volume; isLink(at); ) {
    const next: Volume | undefined = at.config.disk.resyncAfter < 0 ? undefined : findMinor(state, at.config.disk.resyncAfter);
    if (next && isBusy(next)) return false;
    assert(++steps <= 1_000_000, 'resync-after goes in a circle');
    at = next;
  }
  return true;
};

/** Asked after every input. */
const isSettled = (volume: Volume, aftrIsp: boolean): boolean => {
  for (const device of volume.peers.values()) if (device.aftrIsp !== aftrIsp) return false;
  return true;
};

/**
 * Sets and clears the pauses that follow from the present states; true when something changed, and the node may have to ask again. Each
 * change tells the peer (§7, step 12).
 */
export const settleDependencies = (core: Core): boolean => {
  let changed = false;
  for (const resource of core.state.resources.values()) {
    for (const volume of resource.volumes.values()) {
      const aftrIsp = volume.config.disk.resyncAfter >= 0 && !maySync(core.state, volume);
      if (isSettled(volume, aftrIsp)) continue;
      changeState(core, resource, [volume], undefined, { aftrIsp }, 'hard', aftrIsp ? 'resync-after: waits' : 'resync-after: goes on');
      changed ||= isSettled(volume, aftrIsp);
    }
  }
  return changed;
};
