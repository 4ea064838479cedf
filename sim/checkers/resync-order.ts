/**
 * Resync order: no volume is being synced while one that it waits for (`resync-after`), or the next in that chain, is being synced or is
 * paused on the same host (node-states.md §8.11). What ends the chain: a volume that is not attached, or not there.
 */

import { Conn, Disk } from '../../src/state/states.js';
import { volumesOf, volumeViewOf } from '../spec.js';
import type { Checker, HostView, Setup, WorldView } from '../types.js';

export function resyncOrder(setup: Setup): Checker {
  const check = (world: WorldView): void => {
    for (const host of world.hosts) {
      for (const { volume } of configuredOf(host)) {
        if (!isSyncing(host, volume)) continue;
        const busy = busyBefore(host, volume);
        if (busy === undefined) continue;
        world.report({ property: 'resync-order', atUs: world.nowUs, detail: `volume ${volume} on ${host.name} is being synced, though it waits for volume ${busy}` });
      }
    }
  };
  if (!setup.hosts.some((spec) => volumesOf(spec).some(({ disk }) => disk.resyncAfter >= 0))) return { property: 'resync-order' };
  return { property: 'resync-order', onCheckpoint: check, onEnd: check };
}

/** As operators have changed it meanwhile. */
const configuredOf = (host: HostView) => volumesOf({ ...host.spec, config: host.config });

const statesOf = (host: HostView, volume: number) => (volumeViewOf(host.node, volume)?.peers ?? []).map(({ state }) => state);

const isSyncing = (host: HostView, volume: number): boolean => statesOf(host, volume).some(({ conn }) => conn === Conn.SyncSource || conn === Conn.SyncTarget);

/** The first volume of the chain that is busy. */
function busyBefore(host: HostView, volume: number): number | undefined {
  const configs = configuredOf(host);
  for (let at = configs.find((one) => one.volume === volume); at; ) {
    const next = configs.find(({ minor }) => minor === at!.disk.resyncAfter);
    const states = next ? statesOf(host, next.volume) : [];
    if (!next || states.length === 0 || states.every(({ disk }) => disk < Disk.Negotiating)) return undefined;
    if (states.some(({ conn, aftrIsp, peerIsp, userIsp }) => (conn >= Conn.SyncSource && conn <= Conn.PausedSyncT) || aftrIsp || peerIsp || userIsp)) return next.volume;
    at = next;
  }
  return undefined;
}
