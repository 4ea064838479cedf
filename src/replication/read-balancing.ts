/**
 * Which disk a read goes to when both are good (disk option read-balancing; sync-and-activity-log.md §5.1). A read at the peer must
 * not show less than one here: where the peer may still lack something that we wrote there, or a block is marked, it is read here
 * whatever the policy says (ARCHITECTURE.md).
 */

import type { Connection, Request, Resource, Volume } from '../model/types.js';

/** Which bit of the byte offset decides, by policy. */
const stripeBits: Record<string, number> = { '32K-striping': 15, '64K-striping': 16, '128K-striping': 17, '256K-striping': 18, '512K-striping': 19, '1M-striping': 20 };

/** Shall this read go to the peer, whose disk is as good as ours? Round-robin remembers the answer. */
export const prefersPeer = (resource: Resource, volume: Volume, connection: Connection, request: Request): boolean => {
  const policy = volume.config.disk.readBalancing;
  if (policy === 'prefer-local' || !isSettledThere(resource, connection, request)) return false;
  switch (policy) {
    case 'prefer-remote':
      return true;
    case 'round-robin':
      volume.readThere = !volume.readThere;
      return volume.readThere;
    case 'least-pending':
      return isBusierHere(resource, volume, connection);
    // Nothing tells of congestion; the kernel never sends a read away for it either.
    case 'when-congested-remote':
      return false;
    default:
      return Math.floor((request.sector * 512) / 2 ** stripeBits[policy]!) % 2 === 1;
  }
};

/** What we wrote to this range is on the peer's disk path for good (its barrier is acknowledged): a kernel answers reads without looking. */
const isSettledThere = (resource: Resource, { peer }: Connection, { volume, sector, sectors }: Request): boolean => {
  for (const write of resource.log.requests.values()) {
    if (write.kind !== 'write' || write.volume !== volume || write.sector >= sector + sectors || sector >= write.sector + write.sectors) continue;
    if (write.net.some((part) => part.peer === peer && !part.done)) return false;
  }
  return true;
};

/** More of the application's requests wait for our disk than for the peer, resync requests counted with the latter. */
const isBusierHere = (resource: Resource, volume: Volume, connection: Connection): boolean => {
  let here = 0;
  let there = volume.peers.get(connection.peer)!.resync?.requests.length ?? 0;
  for (const { volume: of, local, net } of resource.log.requests.values()) {
    if (of !== volume.number) continue;
    if (local === 'pending') here++;
    if (net.some(({ peer, waitsFor }) => peer === connection.peer && waitsFor !== 'nothing')) there++;
  }
  return here > there;
};
