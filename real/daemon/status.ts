/** What `lockadm status` tells (configuration.md §5.1, §5.6): the core's views, with what only the drivers count. Sizes in KiB. */

import type { ResourceView, VolumeView } from '../../src/contract/index.js';
import { Conn, Disk, Role, connName, diskName, roleName, type State } from '../../src/state/states.js';
import type { LocalResource } from '../conf/local.js';
import type { Driver } from './driver.js';

export interface ResourceStatus {
  name: string;
  role: string;
  suspended: boolean;
  'suspended-user': boolean;
  'suspended-no-data': boolean;
  'suspended-fencing': boolean;
  'write-ordering': string;
  /** Why application I/O waits now; absent in drbd-utils. */
  'frozen-reason'?: string;
  devices: DeviceStatus[];
  connections: ConnectionStatus[];
}

export interface DeviceStatus {
  volume: number;
  minor: number;
  'disk-state': string;
  size: number;
  read: number;
  written: number;
  'al-writes': number;
  'upper-pending': number;
  blocked: string;
}

export interface ConnectionStatus {
  name: string;
  'connection-state': string;
  congested: boolean;
  'peer-role': string;
  peer_devices: PeerDeviceStatus[];
}

export interface PeerDeviceStatus {
  volume: number;
  'replication-state': string;
  'peer-disk-state': string;
  'resync-suspended': string;
  received: number;
  sent: number;
  'out-of-sync': number;
  'percent-in-sync': number;
}

/** DRBD 9's names, which the tools use for 8.4 too. */
export const connectionName = (conn: number): string => (conn === Conn.WFConnection ? 'Connecting' : conn >= Conn.WFReportParams ? 'Connected' : connName(conn));
export const replicationName = (conn: number): string => (conn <= Conn.WFReportParams ? 'Off' : conn === Conn.Connected ? 'Established' : connName(conn));

export const resyncSuspendedText = (state: Pick<State, 'userIsp' | 'peerIsp' | 'aftrIsp'>): string =>
  [state.userIsp && 'user', state.peerIsp && 'peer', state.aftrIsp && 'dependency'].filter(Boolean).join(',') || 'no';

export function statusOf(driver: Driver, view: ResourceView, local: LocalResource | undefined): ResourceStatus {
  const states = view.volumes.flatMap((volume) => volume.peers.map(({ state }) => state));
  const any = states[0];
  const status: ResourceStatus = {
    name: view.resource,
    role: roleName(any?.role ?? Role.Secondary),
    suspended: view.suspended,
    'suspended-user': any?.susp ?? false,
    'suspended-no-data': any?.suspNod ?? false,
    'suspended-fencing': any?.suspFen ?? false,
    'write-ordering': writeOrdering(local),
    devices: view.volumes.map((volume) => deviceStatus(driver, view, volume, local)),
    connections: connectionsOf(driver, view),
  };
  if (view.frozenReason !== undefined) status['frozen-reason'] = view.frozenReason;
  return status;
}

function writeOrdering(local: LocalResource | undefined): string {
  const disks = local?.config.volumes.map(({ disk }) => disk) ?? [];
  if (disks.every(({ diskFlushes }) => diskFlushes)) return 'flush';
  return disks.every(({ diskDrain }) => diskDrain) ? 'drain' : 'none';
}

function deviceStatus(driver: Driver, view: ResourceView, volume: VolumeView, local: LocalResource | undefined): DeviceStatus {
  const counts = driver.disk(view.resource, volume.volume)?.statistics;
  return {
    volume: volume.volume,
    minor: local?.config.volumes.find((one) => one.volume === volume.volume)?.minor ?? volume.volume,
    'disk-state': diskName(volume.peers[0]?.state.disk ?? Disk.Diskless),
    size: Math.floor(volume.sizeSectors / 2),
    read: Math.floor((counts?.readSectors ?? 0) / 2),
    written: Math.floor((counts?.writtenSectors ?? 0) / 2),
    'al-writes': volume.activityLogTransactions,
    'upper-pending': volume.inFlight.length + volume.waiting,
    blocked: volume.waiting > 0 ? 'upper' : 'no',
  };
}

function connectionsOf(driver: Driver, view: ResourceView): ConnectionStatus[] {
  const peers = view.volumes[0]?.peers.map(({ peer }) => peer) ?? [];
  return peers.map((peer) => {
    const devices = view.volumes.map((volume) => ({ volume, device: volume.peers.find((one) => one.peer === peer)! }));
    const { conn, peer: role } = devices[0]!.device.state;
    const counts = driver.streamStatistics(view.resource, peer);
    return {
      name: peer,
      'connection-state': connectionName(conn),
      congested: false,
      'peer-role': roleName(role),
      peer_devices: devices.map(({ volume, device }) => {
        const { state, bitmap } = device;
        const outOfSync = bitmap ? bitmap.weight * 4 : 0;
        const kib = volume.sizeSectors / 2;
        return {
          volume: volume.volume,
          'replication-state': replicationName(state.conn),
          'peer-disk-state': diskName(state.pdsk),
          'resync-suspended': resyncSuspendedText(state),
          received: Math.floor(counts.receivedBytes / 1024),
          sent: Math.floor(counts.sentBytes / 1024),
          'out-of-sync': outOfSync,
          'percent-in-sync': kib === 0 ? 100 : Math.floor(10000 * (1 - Math.min(1, outOfSync / kib))) / 100,
        };
      }),
    };
  });
}

export const peerDevice = (found: ResourceStatus, volume: number): PeerDeviceStatus | undefined => found.connections[0]?.peer_devices.find((device) => device.volume === volume);

/** 8.4's name of the connection and replication state together. */
export function cstateOf(found: ResourceStatus, volume: number): string {
  const replication = peerDevice(found, volume)?.['replication-state'] ?? 'Off';
  if (replication !== 'Off') return replication === 'Established' ? 'Connected' : replication;
  const connection = found.connections[0]?.['connection-state'] ?? 'StandAlone';
  return { Connecting: 'WFConnection', Connected: 'WFReportParams' }[connection] ?? connection;
}

// ---- Text -------------------------------------------------------------------------------------------------------------

export interface TextOptions {
  verbose: boolean;
  statistics: boolean;
}

/** The paragraph of one resource, without wrapping. */
export function statusText(status: ResourceStatus, { verbose, statistics }: TextOptions): string {
  const lines: string[] = [];
  const suspended = [status['suspended-user'] && 'user', status['suspended-no-data'] && 'no-data', status['suspended-fencing'] && 'fencing'].filter(Boolean).join(',');
  lines.push([`${status.name} role:${status.role}`, ...(suspended || verbose ? [`suspended:${suspended || 'no'}`] : [])].join(' '));
  if (statistics) lines.push(`    write-ordering:${status['write-ordering']}`);
  const isOne = status.devices.length === 1 && status.devices[0]!.volume === 0;
  const volumeText = (volume: number): string => (isOne && !verbose ? '' : `volume:${volume} `);
  for (const device of status.devices) {
    lines.push(`  ${volumeText(device.volume)}${verbose ? `minor:${device.minor} ` : ''}disk:${device['disk-state']}`);
    if (statistics) {
      const { size, read, written } = device;
      lines.push(`      size:${size} read:${read} written:${written} al-writes:${device['al-writes']} upper-pending:${device['upper-pending']} blocked:${device.blocked}`);
    } else if (verbose || device.blocked !== 'no') lines.push(`      blocked:${device.blocked}`);
  }
  for (const connection of status.connections) {
    const cstate = connection['connection-state'];
    const isConnected = cstate === 'Connected';
    const words = [connection.name];
    if (verbose || !isConnected) words.push(`connection:${cstate}`);
    if (verbose || isConnected) words.push(`role:${connection['peer-role']}`);
    if (verbose) words.push(`congested:${connection.congested ? 'yes' : 'no'}`);
    lines.push(`  ${words.join(' ')}`);
    for (const device of connection.peer_devices) {
      if (!isConnected && !verbose) continue;
      const replication = device['replication-state'];
      const parts: string[] = [];
      if (!isOne || verbose) parts.push(`volume:${device.volume}`);
      if (verbose || (replication !== 'Off' && replication !== 'Established')) parts.push(`replication:${replication}`);
      if (verbose || !(replication === 'Off' && device['peer-disk-state'] === 'DUnknown')) parts.push(`peer-disk:${device['peer-disk-state']}`);
      if (/^(SyncSource|SyncTarget|PausedSyncS|PausedSyncT)$/.test(replication)) parts.push(`done:${device['percent-in-sync'].toFixed(2)}`);
      if (verbose || device['resync-suspended'] !== 'no') parts.push(`resync-suspended:${device['resync-suspended']}`);
      if (parts.length > 0) lines.push(`    ${parts.join(' ')}`);
      if (statistics) {
        const outOfSync = device['out-of-sync'] > 0 || verbose ? ` out-of-sync:${device['out-of-sync']}` : '';
        lines.push(`        received:${device.received} sent:${device.sent}${outOfSync}`);
      }
    }
  }
  return `${lines.join('\n')}\n`;
}
