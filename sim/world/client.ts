/**
 * The application: asks its workload what to do next, opens the device where it can be written, and goes on with the successor
 * when its host dies. While there are two Primaries there are two applications: a request goes to either.
 */

import type { Command } from '../../src/contract/index.js';
import { Role } from '../../src/state/states.js';
import type { Completion, RandomStream, Workload, WorkloadRequest } from '../types.js';
import type { Host } from './host.js';
import type { World } from './world.js';
import { configOf } from '../spec.js';

const WHO = 'application';
/** How long an application may take to stop before a demotion is tried anyway. */
const RELEASE_US = 5_000_000;

interface Outstanding {
  request: WorkloadRequest;
  host: Host;
  issuedAtUs: number;
}

export class Client {
  /** Something happened that may let the workload go on; asked at the end of the instant. */
  pollDue = false;
  private readonly outstanding = new Map<number, Outstanding>();
  private readonly opened = new Set<Host>();
  /** The Primaries; undefined when that may have changed. */
  private writable: readonly Host[] | undefined = undefined;
  /** Hosts that are to be demoted, with the command that does it; undefined once it was given and not yet answered. */
  private readonly releasing = new Map<Host, Command | undefined>();
  private wakeUs = Infinity;
  private lastId = 0;
  private stopped = false;
  private finished = false;

  constructor(
    private readonly world: World,
    private readonly workload: Workload,
    private readonly random: RandomStream,
  ) {}

  /** Nothing is on its way, and nothing more will come. */
  get idle(): boolean {
    return this.outstanding.size === 0 && (this.stopped || this.finished);
  }

  /** The storm begins. */
  begin(): void {
    this.workload.began?.(this.world.nowUs);
    this.pollDue = true;
  }

  /** No new requests from now on. */
  stop(): void {
    this.stopped = true;
  }

  /** The clock woke the client. */
  woken(): void {
    if (this.world.nowUs >= this.wakeUs) this.wakeUs = Infinity;
    this.pollDue = true;
  }

  poll(): void {
    this.pollDue = false;
    const { world } = this;
    if (world.phase === 'preparing' || world.phase === 'ended') return;
    if (this.releasing.size > 0) for (const [host, command] of this.releasing) this.tryRelease(host, command);
    const hosts = this.primaries();
    if (this.stopped || this.finished || hosts.length === 0) return;
    for (;;) {
      if (hosts.every((host) => host.refusing.size > 0)) return;
      const answer = this.workload.poll(world.nowUs);
      switch (answer.do) {
        case 'issue':
          this.issue(this.whichOf(hosts, answer.request.host), answer.request);
          break;
        case 'wait':
          if (answer.untilUs < this.wakeUs) {
            this.wakeUs = answer.untilUs;
            world.schedule(answer.untilUs, { kind: 'client' });
          }
          return;
        case 'blocked':
          return;
        case 'finished':
          this.finished = true;
          return;
        default:
          answer satisfies never;
      }
    }
  }

  /** The core answered a request. */
  answered(host: Host, id: number, ok: boolean, data: Uint8Array | undefined): void {
    const one = this.outstanding.get(id);
    if (!one || one.host !== host) throw new Error(`${host.name} answers request ${id}, which is not outstanding there`);
    this.outstanding.delete(id);
    const { world } = this;
    world.changes++;
    const { request, issuedAtUs } = one;
    world.ghost.completed(id, ok, world.nowUs);
    world.recorder?.answered(id, ok, world.nowUs);
    this.workload.completed(request, ok, world.nowUs);
    if (request.operation === 'write' && ok) {
      world.observer.metrics.acknowledgedWrites++;
      world.observer.served(host);
    }
    const completion: Completion = {
      host: host.name,
      volume: request.volume,
      operation: request.operation,
      id,
      sector: request.sector,
      sectors: request.sectors,
      ok,
      issuedAtUs,
    };
    if (request.operation === 'read' && ok) {
      if (data?.length !== request.sectors * 512) throw new Error(`a read of ${request.sectors} sectors brought ${data?.length} bytes`);
      completion.data = data;
    }
    for (const checker of world.completionCheckers) checker.onCompletion!(completion, world.view);
    this.pollDue = true;
  }

  /** Somebody became Primary, or is no more. */
  rolesChanged(): void {
    this.writable = undefined;
    this.pollDue = true;
  }

  /** The host is gone: what becomes of its requests nobody knows. */
  hostStopped(host: Host): void {
    this.rolesChanged();
    this.releasing.delete(host);
    if (!this.opened.delete(host)) return;
    const lost: number[] = [];
    for (const [id, one] of this.outstanding) if (one.host === host) lost.push(id);
    const { nowUs } = this.world;
    const requests = lost.map((id) => this.outstanding.get(id)!.request);
    for (const id of lost) this.outstanding.delete(id);
    this.world.ghost.abandoned(lost, nowUs);
    // Another Primary's requests go on, so only these are over.
    if (this.outstanding.size > 0) for (const request of requests) this.workload.completed(request, false, nowUs);
    else this.workload.interrupted(nowUs);
  }

  /** The core gave up being Primary by itself: the application has nothing to write to. */
  demoted(host: Host): void {
    if (this.opened.delete(host)) this.tell(host, 'app-closed');
  }

  /** Stops the application on this host, closes the device, then runs the command (a demotion). */
  release(host: Host, command: Command): void {
    this.releasing.set(host, command);
    this.world.schedule(this.world.nowUs + RELEASE_US, { kind: 'released', host, boot: host.boot });
    this.rolesChanged();
  }

  /** Time is up: the command is tried under the open device. */
  releaseNow(host: Host, boot: number): void {
    if (host.boot === boot && this.releasing.get(host)) this.demote(host);
  }

  /** The demotion was answered. Where it was refused the application goes on. */
  releaseAnswered(host: Host): void {
    this.releasing.delete(host);
    this.rolesChanged();
  }

  private tryRelease(host: Host, command: Command | undefined): void {
    if (!command) return;
    for (const one of this.outstanding.values()) if (one.host === host) return;
    if (this.opened.delete(host)) this.tell(host, 'app-closed');
    this.demote(host);
  }

  private demote(host: Host): void {
    const command = this.releasing.get(host)!;
    this.releasing.set(host, undefined);
    this.world.operators.run(host, command);
  }

  private open(host: Host): void {
    this.opened.add(host);
    this.tell(host, 'app-opened');
  }

  private tell(host: Host, type: 'app-opened' | 'app-closed'): void {
    for (const { volume } of host.spec.disks) host.give({ type, resource: configOf(host.spec, volume).resource, volume, who: WHO });
  }

  /** Where the application may write now, opened. A paused host cannot be told apart from a slow one. */
  private primaries(): readonly Host[] {
    if (!this.writable) {
      this.writable = this.world.hosts.filter((host) => host.state !== 'down' && host.role === Role.Primary && !this.releasing.has(host));
      for (const host of this.writable) if (!this.opened.has(host)) this.open(host);
    }
    return this.writable;
  }

  private whichOf(hosts: readonly Host[], meant: string | undefined): Host {
    if (hosts.length === 1) return hosts[0]!;
    return hosts.find(({ name }) => name === meant) ?? this.random.pick(hosts);
  }

  private issue(host: Host, request: WorkloadRequest): void {
    const { world } = this;
    const id = ++this.lastId;
    const { resource } = configOf(host.spec, request.volume);
    const { operation, volume, sector, sectors, fua } = request;
    // Nobody can write or read behind the end of a device.
    if (sector + sectors > sizeOf(host, volume)) {
      this.workload.completed(request, false, world.nowUs);
      this.pollDue = true;
      return;
    }
    const bytes = world.ghost.issued(id, host.name, request, world.nowUs) ?? request.data;
    world.recorder?.issued(id, host.name, request, world.nowUs);
    this.outstanding.set(id, { request, host, issuedAtUs: world.nowUs });
    switch (operation) {
      case 'read':
        host.give({ type: 'app-read', resource, volume, id, sector, sectors });
        return;
      case 'write': {
        if (request.zeros !== undefined) {
          world.observer.metrics.issuedWrites++;
          if (request.zeros === 'discard') host.give({ type: 'app-discard', resource, volume, id, sector, sectors });
          else host.give({ type: 'app-write-zeroes', resource, volume, id, sector, sectors, mayUnmap: request.zeros === 'zeroes-unmap' });
          return;
        }
        if (bytes?.length !== sectors * 512) throw new Error(`a write of ${sectors} sectors has ${bytes?.length} bytes`);
        const data = world.buffers.lend(bytes.length);
        data.set(bytes);
        world.observer.metrics.issuedWrites++;
        host.give({ type: 'app-write', resource, volume, id, sector, data, fua }, data);
        return;
      }
      case 'flush':
        host.give({ type: 'app-flush', resource, volume, id });
        return;
      default:
        operation satisfies never;
    }
  }
}

const sizeOf = (host: Host, volume: number): number =>
  host.node?.resources()[0]?.volumes.find((view) => view.volume === volume)?.sizeSectors ?? Infinity;
