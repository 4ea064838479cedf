/**
 * What Prometheus sees: drbd-reactor's metrics under their names where the core knows them, and what only this implementation has.
 * Everything is looked up when it is asked for; only latencies are noted under way, of one request in sixteen.
 */

import { createServer, type Server } from 'node:http';
import { Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import { Conn, Disk, Role, diskName, roleName } from '../../src/state/states.js';
import type { Daemon } from './daemon.js';
import { connectionName, replicationName, type ResourceStatus } from './status.js';

/** Bytes of one extent of the activity log. */
const EXTENT_BYTES = 4 << 20;
const SAMPLE = 16;

const roles = [Role.Unknown, Role.Primary, Role.Secondary].map(roleName);
const disks = Object.values(Disk).map(diskName);
const connections = [...new Set(Object.values(Conn).filter((conn) => conn <= Conn.WFReportParams).map(connectionName))];
const replications = [...new Set(Object.values(Conn).map(replicationName))];

/** Times of requests, from the core's taking them to its answer. */
export class Latencies {
  private readonly started = new Map<number, { atMs: number; operation: string }>();

  constructor(private readonly histogram: Histogram) {}

  begin(id: number, operation: string): void {
    if (id % SAMPLE === 0) this.started.set(id, { atMs: performance.now(), operation });
  }

  end(id: number): void {
    if (id % SAMPLE !== 0) return;
    const one = this.started.get(id);
    if (!one) return;
    this.started.delete(id);
    this.histogram.observe({ operation: one.operation }, (performance.now() - one.atMs) / 1000);
  }
}

export class Metrics {
  readonly latencies: Latencies;
  private readonly registry = new Registry();
  private readonly frozenSince = new Map<string, number>();
  private server: Server | undefined = undefined;

  constructor(private readonly daemon: Daemon) {
    const { registry } = this;
    collectDefaultMetrics({ register: registry });
    this.latencies = new Latencies(
      new Histogram({
        name: 'lockstep_application_seconds',
        help: 'Time of an application request in the core, one in sixteen',
        labelNames: ['operation'],
        buckets: [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30],
        registers: [registry],
      }),
    );
    const labels = { resource: ['name'], device: ['name', 'volume', 'minor'], connection: ['name', 'conn_name', 'peer_node_id'], peerDevice: ['name', 'conn_name', 'peer_node_id', 'volume', 'minor'] };
    const gauge = (name: string, help: string, labelNames: string[], collect: (gauge: Gauge, status: ResourceStatus) => void): void => {
      const made: Gauge = new Gauge({
        name,
        help,
        labelNames,
        registers: [registry],
        collect: () => {
          made.reset();
          for (const status of this.daemon.statuses(undefined)) collect(made, status);
        },
      });
    };
    /** One series for each possible state: 1 for the present one. */
    const states = (made: Gauge, of: Record<string, string | number>, label: string, all: readonly string[], present: string): void => {
      for (const state of all) made.set({ ...of, [label]: state }, state === present ? 1 : 0);
    };
    const deviceLabels = (status: ResourceStatus, { volume, minor }: { volume: number; minor: number }) => ({ name: status.name, volume, minor });
    const connectionLabels = (status: ResourceStatus, name: string) => ({ name: status.name, conn_name: name, peer_node_id: 0 });
    const minorOf = (status: ResourceStatus, volume: number): number => status.devices.find((one) => one.volume === volume)?.minor ?? volume;

    gauge('drbd_resource_role', 'DRBD role of the resource', [...labels.resource, 'drbd_resource_role'], (made, status) => states(made, { name: status.name }, 'drbd_resource_role', roles, status.role));
    gauge('drbd_resource_suspended', 'Boolean whether the resource is suspended', labels.resource, (made, status) => made.set({ name: status.name }, Number(status.suspended)));
    gauge('drbd_device_state', 'DRBD device state', [...labels.device, 'drbd_device_state'], (made, status) => {
      for (const device of status.devices) states(made, deviceLabels(status, device), 'drbd_device_state', disks, device['disk-state']);
    });
    const deviceNumbers = {
      drbd_device_size_bytes: ['Device size in bytes', (device) => device.size * 1024],
      drbd_device_read_bytes_total: ['Net data read from local disk', (device) => device.read * 1024],
      drbd_device_written_bytes_total: ['Net data written on local disk', (device) => device.written * 1024],
      drbd_device_alwrites_total: ['Number of updates of the activity log area of the meta data', (device) => device['al-writes']],
      drbd_device_upperpending: ['Number of block I/O requests forwarded to the core, but not yet answered', (device) => device['upper-pending']],
    } satisfies Record<string, [string, (device: ResourceStatus['devices'][number]) => number]>;
    for (const [name, [help, value]] of Object.entries(deviceNumbers)) {
      gauge(name, help, labels.device, (made, status) => {
        for (const device of status.devices) made.set(deviceLabels(status, device), value(device));
      });
    }
    gauge('drbd_connection_state', 'DRBD connection state', [...labels.connection, 'drbd_connection_state'], (made, status) => {
      for (const one of status.connections) states(made, connectionLabels(status, one.name), 'drbd_connection_state', connections, one['connection-state']);
    });
    const peerNumbers = {
      drbd_peerdevice_outofsync_bytes: ['Number of bytes currently out of sync with this peer', (device) => device['out-of-sync'] * 1024],
      drbd_peerdevice_received_bytes_total: ['Net data received from the peer', (device) => device.received * 1024],
      drbd_peerdevice_sent_bytes_total: ['Net data sent to the peer', (device) => device.sent * 1024],
    } satisfies Record<string, [string, (device: ResourceStatus['connections'][number]['peer_devices'][number]) => number]>;
    for (const [name, [help, value]] of Object.entries(peerNumbers)) {
      gauge(name, help, labels.peerDevice, (made, status) => {
        for (const one of status.connections) {
          for (const device of one.peer_devices) made.set({ ...connectionLabels(status, one.name), volume: device.volume, minor: minorOf(status, device.volume) }, value(device));
        }
      });
    }
    gauge('lockstep_replication_state', 'Replication state of a volume', [...labels.peerDevice, 'state'], (made, status) => {
      for (const one of status.connections) {
        for (const device of one.peer_devices) {
          states(made, { ...connectionLabels(status, one.name), volume: device.volume, minor: minorOf(status, device.volume) }, 'state', replications, device['replication-state']);
        }
      }
    });
    gauge('lockstep_active_extents', 'Extents of 4 MiB that are active in the activity log', labels.device, (made, status) => this.eachVolume(made, status, ({ active }) => active));
    gauge('lockstep_active_extents_max', 'Extents that the activity log may hold (al-extents)', labels.device, (made, status) => this.eachVolume(made, status, ({ activeMax }) => activeMax));
    gauge('lockstep_crash_resync_bytes', 'What a resync would move at most if this node crashed now', labels.device, (made, status) => this.eachVolume(made, status, ({ crashBytes }) => crashBytes));
    gauge('lockstep_crash_resync_seconds', 'How long that would take at c-max-rate', labels.device, (made, status) => this.eachVolume(made, status, ({ crashBytes, maxRate }) => crashBytes / maxRate));
    gauge('lockstep_frozen_since_seconds', 'Unix time since when application I/O waits; 0: it does not', [...labels.resource, 'reason'], (made, status) => {
      const reason = status['frozen-reason'];
      if (reason === undefined) this.frozenSince.delete(status.name);
      else if (!this.frozenSince.has(status.name)) this.frozenSince.set(status.name, Date.now() / 1000);
      made.set({ name: status.name, reason: reason ?? '' }, this.frozenSince.get(status.name) ?? 0);
    });
  }

  private eachVolume(made: Gauge, status: ResourceStatus, value: (numbers: { active: number; activeMax: number; crashBytes: number; maxRate: number }) => number): void {
    const view = this.daemon.view(status.name);
    const config = this.daemon.running(status.name)?.config;
    for (const device of status.devices) {
      const active = view?.volumes.find(({ volume }) => volume === device.volume)?.activeExtents.length ?? 0;
      const disk = config?.volumes.find(({ volume }) => volume === device.volume)?.disk;
      const outOfSync = Math.max(0, ...status.connections.map((one) => one.peer_devices.find(({ volume }) => volume === device.volume)?.['out-of-sync'] ?? 0)) * 1024;
      const crashBytes = Math.min(device.size * 1024, active * EXTENT_BYTES + outOfSync);
      made.set({ name: status.name, volume: device.volume, minor: device.minor }, value({ active, activeMax: disk?.alExtents ?? 0, crashBytes, maxRate: (disk?.cMaxRate ?? 1) * 1024 }));
    }
  }

  /** `/metrics`, `/healthz`, `/promotable`. */
  async listen(host: string, port: number): Promise<number> {
    const server = createServer((request, response) => {
      const answer = async (): Promise<[number, string, string]> => {
        switch (new URL(request.url ?? '/', 'http://localhost').pathname) {
          case '/metrics':
            return [200, this.registry.contentType, await this.registry.metrics()];
          case '/healthz':
            return [200, 'text/plain', 'ok\n'];
          case '/promotable': {
            const reasons = this.daemon.statuses(undefined).map((status) => ({ resource: status.name, reason: whyNotPromotable(status) }));
            const isPromotable = reasons.every(({ reason }) => reason === undefined);
            return [isPromotable ? 200 : 503, 'application/json', `${JSON.stringify(reasons.map(({ resource, reason }) => ({ resource, promotable: reason === undefined, ...(reason === undefined ? {} : { reason }) })))}\n`];
          }
          default:
            return [404, 'text/plain', 'there are /metrics, /healthz and /promotable\n'];
        }
      };
      answer().then(
        ([code, type, body]) => response.writeHead(code, { 'content-type': type }).end(body),
        (error: Error) => response.writeHead(500, { 'content-type': 'text/plain' }).end(`${error.message}\n`),
      );
    });
    this.server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, resolve);
    });
    const bound = server.address();
    return typeof bound === 'object' && bound ? bound.port : port;
  }

  close(): void {
    this.server?.close();
  }
}

/** What speaks against a promotion, as far as it can be seen without asking the peer; the core has the last word. */
function whyNotPromotable(status: ResourceStatus): string | undefined {
  const disk = status.devices.find((device) => device['disk-state'] !== 'UpToDate');
  if (disk) return `volume ${disk.volume} is ${disk['disk-state']}`;
  const primary = status.connections.find((one) => one['peer-role'] === 'Primary');
  return primary && status.role !== 'Primary' ? `${primary.name} is Primary` : undefined;
}
