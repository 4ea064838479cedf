/**
 * Makes the faults of a schedule happen: at their time or event, for as long as they last, and not beyond the storm. Also
 * remembers them, since what a fault explains is no failure of the core.
 */

import type { Fault, FaultAction, StreamKind } from '../types.js';
import { plantedSectors } from '../ghost.js';
import type { Disk } from './disk.js';
import { type Host, diskOperationKind } from './host.js';
import type { LinkBlock } from './link.js';
import { packetIndexOfName } from './packets.js';
import { randomRoot } from './random.js';
import type { World } from './world.js';

/** A fault that goes on for a while. */
export interface ActiveFault {
  action: FaultAction;
  over: boolean;
  /** What lies on links because of it. */
  blocks: { from: Host; to: Host; block: LinkBlock }[];
}

/** Something that can explain a lost connection: of one host, or between two. */
interface Disturbance {
  hosts: string[];
  endUs: number;
  action: FaultAction | undefined;
}

export class Faults {
  private active: ActiveFault[] = [];
  private disturbances: Disturbance[] = [];
  /** Corruptions so far. */
  private planted = 0;
  private beganUs = -1;
  /** Faults that wait for their time, and will not come. */
  private readonly calledOff = new Set<Fault>();

  constructor(
    private readonly world: World,
    private schedule: readonly Fault[],
  ) {}

  /** The storm begins: every fault waits for its time or its event. */
  begin(): void {
    const { world } = this;
    this.beganUs = world.nowUs;
    for (const link of world.links()) link.restartCounts();
    this.waitForAll(world.nowUs);
  }

  /** Another future: what has not come of the old schedule never will, and of the new one comes what comes from then on. Occurrences are counted from the storm's begin all the same. */
  replace(schedule: readonly Fault[], fromUs: number): void {
    const old = this.schedule;
    this.schedule = schedule;
    if (this.beganUs < 0 || this.world.phase !== 'storm') return;
    for (const fault of old) if ('atUs' in fault.trigger) this.calledOff.add(fault);
    this.stopWatching();
    this.waitForAll(fromUs);
  }

  private waitForAll(fromUs: number): void {
    const { world } = this;
    for (const fault of this.schedule) {
      const { trigger } = fault;
      const fire = (delayUs: number) => (): void => world.schedule(world.nowUs + delayUs, { kind: 'fault', fault });
      if ('atUs' in trigger) {
        const atUs = this.beganUs + trigger.atUs;
        if (atUs >= fromUs) world.schedule(atUs, { kind: 'fault', fault });
      } else if ('onDiskOperation' in trigger) {
        const kind = diskOperationKind(trigger.area, trigger.onDiskOperation, trigger.when);
        world.host(trigger.host).diskWatches.push({ kind, nth: trigger.nth, fire: fire(trigger.delayUs ?? 0) });
      } else {
        const index = packetIndexOfName(trigger.onPacket);
        if (index === undefined) throw new Error(`fault ${fault.id} waits for ${trigger.onPacket}, which is no packet`);
        const link = world.link(world.host(trigger.from), world.host(trigger.to));
        const watches = trigger.when === 'sent' ? link.sentWatches : link.deliveredWatches;
        watches.push({ index, nth: trigger.nth, fire: fire(trigger.delayUs ?? 0) });
      }
    }
  }

  fire(fault: Fault): void {
    if (this.world.phase !== 'storm' || this.calledOff.has(fault)) return;
    const { action, id } = fault;
    this.world.observer.story('', `fault ${id}: ${describe(action)}`);
    const found = this.happens(action);
    this.world.recorder?.fired(id, found, this.world.nowUs);
    if (!found) {
      this.world.observer.story('', `fault ${id} finds nothing to break`);
      return;
    }
    this.world.observer.coverage.fault(action.do);
    this.disturb(action);
    this.world.checkpointDue = true;
  }

  /** The storm is over: so is every fault, fired or not. */
  end(): void {
    for (const active of [...this.active]) this.stop(active);
    this.stopWatching();
    for (const host of this.world.hosts) {
      for (const disk of host.disks()) {
        disk.errors.length = 0;
        disk.badSectors.clear();
      }
    }
    for (const link of this.world.links()) link.damages.length = 0;
  }

  private stopWatching(): void {
    for (const host of this.world.hosts) host.diskWatches = [];
    for (const link of this.world.links()) link.sentWatches = link.deliveredWatches = [];
  }

  /** A fault's time is over. */
  stop(active: ActiveFault): void {
    if (active.over) return;
    active.over = true;
    this.active = this.active.filter((one) => one !== active);
    const { world } = this;
    const { action } = active;
    switch (action.do) {
      case 'pause':
        world.host(action.host).resume();
        break;
      case 'slow-clock': {
        const host = world.host(action.host);
        host.lateUs.splice(host.lateUs.indexOf(action.lateUs), 1);
        host.clockMended();
        break;
      }
      case 'cut':
      case 'stall':
        for (const { from, to, block } of active.blocks) {
          const { blocks } = world.link(from, to);
          blocks.splice(blocks.indexOf(block), 1);
          world.transport.refreshBlocks(from, to);
        }
        break;
      case 'slow-link': {
        const { slow } = world.link(world.host(action.from), world.host(action.to));
        slow.splice(slow.findIndex((one) => one.latencyUs === action.latencyUs && one.bytesPerSecond === action.bytesPerSecond), 1);
        break;
      }
      case 'slow-disk':
        for (const { slowFactors } of world.host(action.host).disks()) slowFactors.splice(slowFactors.indexOf(action.factor), 1);
        break;
      case 'hang-disk':
        for (const disk of world.host(action.host).disks(action.volume)) disk.resume();
        break;
      default:
        throw new Error(`a ${action.do} has no end of its own`);
    }
    world.observer.story('', `${action.do} is over`);
    for (const disturbance of this.disturbances) if (disturbance.action === action) disturbance.endUs = world.nowUs;
  }

  /** The host is up again: what took it down is over. */
  booted(host: Host): void {
    for (const disturbance of this.disturbances) {
      if (disturbance.hosts.length === 1 && disturbance.hosts[0] === host.name && disturbance.action === undefined) {
        disturbance.endUs = Math.min(disturbance.endUs, this.world.nowUs);
      }
    }
  }

  /** The host goes down, by a fault or shot by its peer. */
  wentDown(host: Host): void {
    this.disturbances.push({ hosts: [host.name], endUs: Infinity, action: undefined });
  }

  disturbed(hostA: string, hostB: string, sinceUs: number): boolean {
    return this.disturbances.some(
      ({ hosts, endUs }) => endUs >= sinceUs && (hosts.length === 1 ? hosts[0] === hostA || hosts[0] === hostB : hosts.includes(hostA) && hosts.includes(hostB)),
    );
  }

  /** Does it; false when it finds nothing to do it to. */
  private happens(action: FaultAction): boolean {
    const { world } = this;
    switch (action.do) {
      case 'crash': {
        const host = world.host(action.host);
        if (host.state === 'down') return false;
        world.crash(host, action.restartAfterUs);
        return true;
      }
      case 'power-loss': {
        const hosts = action.hosts.map((name) => world.host(name)).filter((host) => host.powered);
        if (hosts.length === 0) return false;
        world.losePower(hosts, randomRoot(action.tear), action.restartAfterUs);
        return true;
      }
      case 'pause': {
        const host = world.host(action.host);
        if (host.state === 'down') return false;
        world.pausing(host);
        host.pause();
        this.goesOn(action, action.forUs);
        return true;
      }
      case 'slow-clock':
        world.host(action.host).lateUs.push(action.lateUs);
        this.goesOn(action, action.forUs);
        return true;
      case 'cut':
        this.block(action, 'cut', action.stream, action.oneWay);
        return true;
      case 'stall':
        this.block(action, 'stall', action.stream, true);
        return true;
      case 'reset':
        return this.reset(world.host(action.from), world.host(action.to), action.stream);
      case 'garble': {
        const { damages } = world.link(world.host(action.from), world.host(action.to));
        const happened = (): void => void this.disturbances.push({ hosts: [action.from, action.to], endUs: world.nowUs, action });
        for (let n = 0; n < action.times; n++) damages.push(happened);
        return true;
      }
      case 'slow-link': {
        const { latencyUs, bytesPerSecond } = action;
        world.link(world.host(action.from), world.host(action.to)).slow.push({ latencyUs, bytesPerSecond });
        this.goesOn(action, action.forUs);
        return true;
      }
      case 'disk-error': {
        const { area, operation: verb, firstSector, sectors, times } = action;
        this.diskOf(action.host, action.volume, area).errors.push({ area, verb, firstSector, sectors, times });
        return true;
      }
      case 'latent-error': {
        const { badSectors } = this.diskOf(action.host, action.volume, 'data');
        for (let n = 0; n < action.sectors; n++) badSectors.add(action.firstSector + n);
        return true;
      }
      case 'corrupt':
        this.diskOf(action.host, undefined, 'data').device.write(action.firstSector, plantedSectors(++this.planted, action.firstSector, action.sectors), true);
        return true;
      case 'resize-disk': {
        const host = world.host(action.host);
        host.diskResized(action.volume ?? host.spec.disks[0]!.volume, action.more - action.fewer, action.noise);
        return true;
      }
      case 'slow-disk':
        for (const { slowFactors } of world.host(action.host).disks()) slowFactors.push(action.factor);
        this.goesOn(action, action.forUs);
        return true;
      case 'hang-disk':
        for (const disk of world.host(action.host).disks(action.volume)) disk.hang();
        this.goesOn(action, action.forUs);
        return true;
      case 'command':
        world.operators.act(world.host(action.host), action.command);
        return true;
      default:
        return action satisfies never;
    }
  }

  private block(action: Extract<FaultAction, { do: 'cut' | 'stall' }>, how: LinkBlock['how'], stream: StreamKind | undefined, oneWay: boolean): void {
    const from = this.world.host(action.from);
    const to = this.world.host(action.to);
    const active = this.goesOn(action, action.forUs);
    for (const [a, b] of oneWay ? [[from, to] as const] : [[from, to] as const, [to, from] as const]) {
      const block = { how, stream };
      active.blocks.push({ from: a, to: b, block });
      this.world.link(a, b).blocks.push(block);
      this.world.transport.refreshBlocks(a, b);
    }
  }

  private reset(a: Host, b: Host, stream: StreamKind | undefined): boolean {
    let found = false;
    for (const connection of this.world.transport.connections) {
      const [one, other] = connection.ends;
      const between = (one.host === a && other.host === b) || (one.host === b && other.host === a);
      if (!between || (stream !== undefined && connection.kind !== stream)) continue;
      found = true;
      this.world.transport.breakConnection(connection);
    }
    return found;
  }

  private goesOn(action: FaultAction, forUs: number): ActiveFault {
    const active: ActiveFault = { action, over: false, blocks: [] };
    this.active.push(active);
    this.world.schedule(this.world.nowUs + forUs, { kind: 'fault-end', active });
    return active;
  }

  private diskOf(name: string, volume: number | undefined, area: 'data' | 'meta'): Disk {
    const host = this.world.host(name);
    const disks = host.volumeDisks(volume ?? host.spec.disks[0]!.volume);
    return area === 'data' ? disks.data : disks.meta;
  }

  /** Who may lose a connection by it. Crashes are noted when a host goes down. */
  private disturb(action: FaultAction): void {
    const hosts = disturbedHosts(action);
    if (hosts.length === 0) return;
    const goesOn = this.active.some((active) => active.action === action);
    this.disturbances.push({ hosts, endUs: goesOn ? Infinity : this.world.nowUs, action });
  }
}

function disturbedHosts(action: FaultAction): string[] {
  switch (action.do) {
    case 'pause':
    case 'slow-clock':
    case 'slow-disk':
    case 'hang-disk':
      return [action.host];
    case 'cut':
    case 'reset':
    case 'stall':
    case 'slow-link':
      return [action.from, action.to];
    case 'command':
      return action.command.verb === 'disconnect' || action.command.verb === 'down' || action.command.verb === 'del-resource' ? [action.host] : [];
    case 'crash':
    case 'power-loss':
    case 'disk-error':
    case 'latent-error':
    case 'corrupt':
    case 'resize-disk':
    // That is noted when it happens.
    case 'garble':
      return [];
    default:
      return action satisfies never;
  }
}

/** For the story: the fault's fields, shortly. */
function describe(action: FaultAction): string {
  if (action.do === 'command') return `${action.host}: ${action.command.verb}`;
  const { do: what, ...fields } = action;
  return `${what} ${Object.entries(fields).map(([key, value]) => `${key}=${Array.isArray(value) ? value.join('+') : String(value)}`).join(' ')}`;
}
