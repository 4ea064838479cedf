/**
 * The cluster manager outside the nodes: when the Primary's machine or process has been dead for a while, it promotes the
 * survivor, as often as it takes. It promotes who has the best data of those who were there when the Primary died, or that
 * Primary itself once it is back, and nobody else: a node that comes up later may be stale. With fencing the core decides
 * what promotion takes.
 */

import { Disk, Role } from '../../src/state/states.js';
import { type Host, worstDisk } from './host.js';
import type { World } from './world.js';
import { configsOf } from '../spec.js';

const RETRY_US = 1_000_000;
/** A promotion can hang on frozen I/O or a handler. */
const ANSWER_US = 15_000_000;

export class Manager {
  private lastPrimary: Host | undefined = undefined;
  /** The operator demoted it: no service is wanted now. */
  private demoted = false;
  private diedAtUs = Infinity;
  private wanted = false;
  private tries = 0;
  private askedAtUs = -Infinity;

  constructor(private readonly world: World) {}

  roleChanged(host: Host, role: Role): void {
    if (role === Role.Primary) {
      this.lastPrimary = host;
      this.demoted = false;
      this.wanted = false;
    } else if (host === this.lastPrimary) {
      this.demoted = true;
    }
  }

  /** This host is gone. */
  stopped(host: Host): void {
    const { failover } = this.world.setup;
    if (failover.by !== 'manager' || host !== this.lastPrimary || this.demoted || this.wanted) return;
    this.diedAtUs = this.world.nowUs;
    this.want(failover.detectUs);
  }

  /** The storm is over: there shall be a Primary, if there was one. */
  settle(): void {
    if (this.world.setup.failover.by !== 'manager' || !this.lastPrimary || this.wanted || this.primary()) return;
    if (!this.demoted) this.diedAtUs = Math.min(this.diedAtUs, this.world.nowUs);
    this.want(0);
  }

  /** Looks, and acts if it must. */
  tick(): void {
    const { failover } = this.world.setup;
    if (!this.wanted || failover.by !== 'manager') return;
    if (this.primary()) {
      this.wanted = false;
      return;
    }
    if (this.world.nowUs < this.askedAtUs + ANSWER_US) {
      this.again();
      return;
    }
    const candidates = this.candidates(failover.force);
    const host = candidates[this.tries++ % Math.max(1, candidates.length)];
    if (host) {
      this.askedAtUs = this.world.nowUs;
      this.world.observer.story(host.name, 'the cluster manager promotes it');
      for (const { resource } of configsOf(host.spec)) host.command({ verb: 'primary', resource, force: failover.force }, { by: 'manager' });
    }
    this.again();
  }

  /** The promotion was answered; whether it worked shows in the role. */
  replied(): void {
    this.askedAtUs = -Infinity;
  }

  private want(delayUs: number): void {
    this.wanted = true;
    this.tries = 0;
    this.askedAtUs = -Infinity;
    this.world.schedule(this.world.nowUs + delayUs, { kind: 'manager' });
  }

  private again(): void {
    this.world.schedule(this.world.nowUs + RETRY_US, { kind: 'manager' });
  }

  /** Whom to promote: the best data first, as the resource agent's scores have it; without force nothing but good data. */
  private candidates(force: boolean): Host[] {
    const known = this.world.hosts.filter((host) => host.state === 'running' && (host === this.lastPrimary || host.bootedAtUs < this.diedAtUs));
    const disks = new Map(known.map((host) => [host, worstDisk(host)]));
    const best = Math.max(...disks.values());
    if (!force && best < Disk.Consistent) return [];
    return known.filter((host) => disks.get(host) === best);
  }

  private primary(): Host | undefined {
    return this.world.hosts.find((host) => host.state !== 'down' && host.role === Role.Primary);
  }
}
