/**
 * The stream of `events2` (configuration.md §5.2): what the core tells of its state changes, as the objects that DRBD's tools know,
 * each change once. The observation of one volume towards one peer holds all of them, so what did not change is left out here.
 */

import { Subject, type Observable } from 'rxjs';
import type { Observation, ObservedState } from '../../src/contract/index.js';
import { diskName, roleName } from '../../src/state/states.js';
import { connectionName, replicationName, resyncSuspendedText, type ResourceStatus } from './status.js';

export interface StateEvent {
  action: 'exists' | 'create' | 'change' | 'destroy' | 'call' | 'response';
  object: 'resource' | 'connection' | 'device' | 'peer-device' | 'helper';
  /** In the order in which they are printed. */
  keys: [string, string][];
  fields: [string, string][];
}

type Fields = [string, string][];

const peerKeys = (peer: string): [string, string][] => [
  ['peer-node-id', '0'],
  ['conn-name', peer],
];

const suspendedText = (flags: readonly string[]): string =>
  [flags.includes('susp') && 'user', flags.includes('susp_nod') && 'no-data', flags.includes('susp_fen') && 'fencing'].filter(Boolean).join(',') || 'no';

export class StateEvents {
  private readonly subject = new Subject<StateEvent>();
  readonly events: Observable<StateEvent> = this.subject;
  /** Last told fields of each object. */
  private readonly told = new Map<string, Map<string, string>>();

  constructor(private readonly minorOf: (resource: string, volume: number) => number | undefined) {}

  observed(event: Observation): void {
    if (event.event !== 'state') return;
    const { resource, volume, peer, to } = event;
    this.tell('change', 'resource', [['name', resource]], resourceFields(to));
    this.tell('change', 'connection', [['name', resource], ...peerKeys(peer)], connectionFields(to));
    this.tell('change', 'device', this.deviceKeys(resource, volume), [['disk', diskName(to.disk)]]);
    this.tell('change', 'peer-device', [['name', resource], ...peerKeys(peer), ['volume', String(volume)]], peerDeviceFields(to));
  }

  /** A resource came into being, or went. */
  created(status: ResourceStatus): void {
    for (const event of this.dump([status], 'create')) {
      this.remember(event);
      this.subject.next(event);
    }
  }

  destroyed(status: ResourceStatus): void {
    for (const event of this.dump([status], 'destroy').reverse()) {
      this.told.delete(identityOf(event));
      this.subject.next({ ...event, fields: [] });
    }
  }

  helper(phase: 'call' | 'response', resource: string, peer: string | undefined, name: string, status: number | undefined): void {
    const fields: Fields = [['helper', name], ...(status === undefined ? [] : ([['status', String(status << 8)]] as Fields))];
    this.subject.next({ action: phase, object: 'helper', keys: [['name', resource], ...(peer === undefined ? [] : peerKeys(peer))], fields });
  }

  /** Everything as it is: resources, connections, devices, peer devices. */
  dump(statuses: readonly ResourceStatus[], action: StateEvent['action'] = 'exists'): StateEvent[] {
    const list: StateEvent[] = [];
    const add = (object: StateEvent['object'], keys: [string, string][], fields: Fields): void => void list.push({ action, object, keys, fields });
    for (const status of statuses) {
      const suspended = [status['suspended-user'] && 'user', status['suspended-no-data'] && 'no-data', status['suspended-fencing'] && 'fencing'].filter(Boolean).join(',') || 'no';
      add('resource', [['name', status.name]], [['role', status.role], ['suspended', suspended]]);
    }
    for (const status of statuses) {
      for (const connection of status.connections) {
        add('connection', [['name', status.name], ...peerKeys(connection.name)], [['connection', connection['connection-state']], ['role', connection['peer-role']]]);
      }
    }
    for (const status of statuses) for (const device of status.devices) add('device', this.deviceKeys(status.name, device.volume), [['disk', device['disk-state']]]);
    for (const status of statuses) {
      for (const connection of status.connections) {
        for (const device of connection.peer_devices) {
          add('peer-device', [['name', status.name], ...peerKeys(connection.name), ['volume', String(device.volume)]], [
            ['replication', device['replication-state']],
            ['peer-disk', device['peer-disk-state']],
            ['resync-suspended', device['resync-suspended']],
          ]);
        }
      }
    }
    return list;
  }

  private deviceKeys(resource: string, volume: number): [string, string][] {
    const minor = this.minorOf(resource, volume);
    return [['name', resource], ['volume', String(volume)], ...(minor === undefined ? [] : ([['minor', String(minor)]] as [string, string][]))];
  }

  private tell(action: 'change', object: StateEvent['object'], keys: [string, string][], fields: Fields): void {
    const event: StateEvent = { action, object, keys, fields };
    const known = this.told.get(identityOf(event));
    const changed = fields.filter(([name, value]) => known?.get(name) !== value);
    if (changed.length === 0) return;
    this.remember(event);
    this.subject.next({ ...event, fields: changed });
  }

  private remember(event: StateEvent): void {
    const known = this.told.get(identityOf(event)) ?? new Map<string, string>();
    for (const [name, value] of event.fields) known.set(name, value);
    this.told.set(identityOf(event), known);
  }
}

const identityOf = ({ object, keys }: StateEvent): string => `${object} ${keys.map(([, value]) => value).join(' ')}`;
const resourceFields = (to: ObservedState): Fields => [['role', roleName(to.role)], ['suspended', suspendedText(to.flags)]];
const connectionFields = (to: ObservedState): Fields => [['connection', connectionName(to.conn)], ['role', roleName(to.peer)]];
const peerDeviceFields = (to: ObservedState): Fields => [
  ['replication', replicationName(to.conn)],
  ['peer-disk', diskName(to.pdsk)],
  ['resync-suspended', resyncSuspendedText({ userIsp: to.flags.includes('user_isp'), peerIsp: to.flags.includes('peer_isp'), aftrIsp: to.flags.includes('aftr_isp') })],
];

/** One line of `events2`. */
export const eventLine = ({ action, object, keys, fields }: StateEvent): string =>
  [action, object, ...[...keys, ...fields].map(([name, value]) => `${name}:${value}`)].join(' ');
