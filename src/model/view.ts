/** One volume towards one peer on one snapshot: the `State` that the rules judge, composed of where its parts are kept. */

import { Conn, type Disk, type Role, type State } from '../state/states.js';
import { mustGet } from './core.js';
import type { Connection, PeerDevice, Resource, Volume } from './types.js';

/** The combined connection state: replication's while there is any, else the connection's. */
export const connOf = (connection: Connection, device: PeerDevice): Conn => (device.repl >= Conn.Connected ? device.repl : connection.cstate);

export const stateOf = (resource: Resource, volume: Volume, connection: Connection, device: PeerDevice): State => ({
  role: resource.role,
  peer: device.role,
  conn: connOf(connection, device),
  disk: volume.disk,
  pdsk: device.pdsk,
  aftrIsp: device.aftrIsp,
  peerIsp: device.peerIsp,
  userIsp: device.userIsp,
  susp: resource.susp,
  suspNod: resource.suspNod,
  suspFen: resource.suspFen,
});

export const connectionTo = (resource: Resource, peer: string): Connection => mustGet(resource.connections, peer, 'connection');
export const volumeOf = (resource: Resource, volume: number): Volume => mustGet(resource.volumes, volume, 'volume');
export const deviceOf = (volume: Volume, peer: string): PeerDevice => mustGet(volume.peers, peer, 'peer device');

export const isFrozen = (resource: Resource): boolean => resource.susp || resource.suspNod || resource.suspFen;

/** The best role and disk that any rule may need of a volume with several peers. */
export const bestPeerDisk = (volume: Volume): Disk => {
  let best: Disk = 0;
  for (const device of volume.peers.values()) if (device.pdsk > best) best = device.pdsk;
  return best;
};

export const anyPeerIs = (volume: Volume, role: Role): boolean => {
  for (const device of volume.peers.values()) if (device.role === role) return true;
  return false;
};
