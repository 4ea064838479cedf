/**
 * One machine: boots a core, hands it facts in passes, carries out its wishes, keeps its alarm, and dies. The rules of the
 * contract between core and driver are lived here (design: "The core").
 */

import { digests } from '../../src/digests/digests.js';
import type { Command, DiskArea, Input, Node, Output, Reply, ResourceConfig } from '../../src/contract/index.js';
import { layoutOf } from '../../src/metadata/layout.js';
import { Disk as DiskState, Role } from '../../src/state/states.js';
import { type DiskVerb, type DiskView, type HostSpec, type HostView, type RandomStream, diskVerbs } from '../types.js';
import { type ConnectAttempt, abandonConnect, beginConnect } from './connect.js';
import { Device } from './device.js';
import { Disk } from './disk.js';
import { startHandler } from './handlers.js';
import type { Purpose } from './operators.js';
import type { End } from './transport.js';
import type { World } from './world.js';
import { configOf, volumesOf } from '../spec.js';

const DISK_OPEN_US = 200;
const SENT_REPORT_US = 500;
/** Wakes at one instant: more means that the core goes round in circles. */
const WAKES_MAX = 1000;

/** The devices of one volume; with internal metadata both are one. */
export interface VolumeDisks {
  data: Disk;
  meta: Disk;
  shared: boolean;
  view: DiskView;
  open: boolean;
  /** Sectors of the data device that hold data. */
  usableSectors: number;
  /** What `disk-placed` said last. */
  rememberedSectors: number;
}

/** A fault that waits for a disk operation; `kind` is a `diskOperationKind`. */
export interface DiskWatch {
  kind: number;
  nth: number;
  fire(): void;
}

export const diskOperationKind = (area: DiskArea, verb: DiskVerb, when: 'issued' | 'done'): number =>
  (diskVerbs.indexOf(verb) << 2) | (area === 'meta' ? 2 : 0) | (when === 'done' ? 1 : 0);

/** The state of the worst disk of a running host, as an operator sees it; Diskless while it is coming up. */
export function worstDisk(host: Host): DiskState {
  let worst: DiskState | undefined;
  for (const resource of host.node!.resources()) {
    for (const volume of resource.volumes) {
      const disk = volume.peers[0]?.state.disk ?? DiskState.Diskless;
      if (worst === undefined || disk < worst) worst = disk;
    }
  }
  return worst ?? DiskState.Diskless;
}

interface Waiting {
  input: Input;
  lent: Uint8Array | undefined;
}

export class Host implements HostView {
  node: Node | undefined = undefined;
  state: HostView['state'] = 'down';
  powered = true;
  /** Counts processes; what belongs to an earlier one is nobody's. */
  boot = 0;
  bootedAtUs = 0;
  /** The disk operation that ended last, as coverage.ts names it. */
  lastDiskStep = 'boot';
  role: Role = Role.Unknown;
  /** By resource. */
  readonly roles = new Map<string, Role>();
  promotedAtUs = 0;
  readonly volumes = new Map<number, VolumeDisks>();
  readonly streams = new Map<number, End>();
  readonly ends = new Set<End>();
  readonly attempts = new Map<number, ConnectAttempt>();
  readonly commands = new Map<number, Purpose>();
  /** Volumes whose core wants no more application requests now. */
  readonly refusing = new Set<number>();
  /** Served late by this much, one for each fault that says so. */
  readonly lateUs: number[] = [];
  pauses = 0;
  diskWatches: DiskWatch[] = [];
  readonly diskCounts = new Int32Array(4 * diskVerbs.length);
  private readonly listening = new Set<string>();
  private lastAccepted = 0;
  private backlog: Waiting[] = [];
  private lent: Uint8Array[] = [];
  private sent: End[] = [];
  private sentTimer = false;
  private dirty = false;
  private alarmUs = Infinity;
  private wakesAt = 0;
  private wokenUs = -1;

  config: ResourceConfig;

  constructor(
    readonly world: World,
    readonly index: number,
    readonly spec: HostSpec,
    private readonly random: RandomStream,
  ) {
    this.config = spec.config;
    for (const { volume, dataSectors, metaSectors, discard } of spec.disks) {
      const make = (sectors: number, area: string): Disk =>
        new Disk(this, new Device(sectors, world.content), world.setup.disk, random.fork(`disk/${volume}/${area}`), area === 'data' ? discard : undefined);
      const data = make(dataSectors, 'data');
      const meta = metaSectors === undefined ? data : make(metaSectors, 'meta');
      const disks = { data, meta, shared: meta === data, open: false, usableSectors: dataSectors, rememberedSectors: meta.device.sectors };
      this.volumes.set(volume, { ...disks, view: this.viewOf(volume, data, meta) });
    }
  }

  get name(): string {
    return this.spec.name;
  }

  /** Every disk once, or those of one volume. */
  *disks(volume?: number): Iterable<Disk> {
    for (const { data, meta } of volume === undefined ? this.volumes.values() : [this.volumeDisks(volume)]) {
      yield data;
      if (meta !== data) yield meta;
    }
  }

  // ---- Life -----------------------------------------------------------------------------------------------------------

  /** The machine has power and the process starts. */
  start(): void {
    this.powered = true;
    this.boot++;
    this.bootedAtUs = this.world.nowUs;
    this.lastDiskStep = 'boot';
    this.state = this.pauses > 0 ? 'paused' : 'running';
    this.role = Role.Secondary;
    this.roles.clear();
    const random = this.random.fork(`boot/${this.boot}`);
    this.node = this.world.createNode(this.name, { ...digests, random64: () => random.random64() });
    this.world.transport.powerReturned(this);
    // A first pass, for what a new core may want by itself.
    this.touch();
    this.world.booted(this);
  }

  /** The process dies; `power`: the machine with it. What becomes of the disks is the caller's. */
  stop(what: 'crash' | 'power-loss'): void {
    this.node = undefined;
    this.state = 'down';
    this.role = Role.Unknown;
    this.powered = what === 'crash';
    this.boot++;
    if (what === 'crash') this.world.transport.processDied(this);
    else this.world.transport.powerLost(this);
    for (const bytes of this.lent) this.world.buffers.takeBack(bytes);
    for (const { lent } of this.backlog) if (lent) this.world.buffers.takeBack(lent);
    this.lent = [];
    this.backlog = [];
    this.sent = [];
    this.streams.clear();
    this.attempts.clear();
    this.listening.clear();
    this.commands.clear();
    this.refusing.clear();
    this.alarmUs = Infinity;
    this.lastAccepted = 0;
    for (const volume of this.volumes.values()) volume.open = false;
  }

  pause(): void {
    if (this.pauses++ === 0 && this.state === 'running') this.state = 'paused';
  }

  /** The process runs again: everything that came meanwhile, in one pass. An event loop may look at its clock before it reads. */
  resume(): void {
    if (--this.pauses > 0 || this.state !== 'paused') return;
    this.state = 'running';
    if (this.wantedAlarmUs() <= this.world.nowUs && this.random.fork(`resume at ${this.world.nowUs}`).chance(1, 2)) {
      this.hand({ type: 'woken' });
      this.finishPass();
    }
    const { backlog } = this;
    this.backlog = [];
    for (const { input, lent } of backlog) this.give(input, lent);
    for (const end of [...this.ends]) this.world.transport.drainInbox(end);
    this.touch();
  }

  // ---- Inputs -----------------------------------------------------------------------------------------------------------

  /** A fact for the core. `lent` bytes are overwritten after the pass. */
  give(input: Input, lent?: Uint8Array): void {
    if (this.state !== 'running') {
      if (this.state === 'paused') this.backlog.push({ input, lent });
      else if (lent) this.world.buffers.takeBack(lent);
      return;
    }
    if (lent) this.lent.push(lent);
    this.touch();
    this.hand(input);
  }

  /** Runs a command; the reply goes to `purpose`. */
  command(command: Command, purpose: Purpose): void {
    const id = ++this.world.lastCommand;
    this.commands.set(id, purpose);
    this.give({ type: 'command', id, command });
  }

  /**
   * The transport took bytes of ours. The core hears of it in its next pass, which something else mostly brings: a pass of its
   * own for each send would be a third of all.
   */
  bytesSent(end: End): void {
    if (!end.sentReported) return;
    end.sentReported = false;
    this.sent.push(end);
    if (this.sentTimer) return;
    this.sentTimer = true;
    this.world.schedule(this.world.nowUs + SENT_REPORT_US, { kind: 'sent', host: this });
  }

  /** Nothing else has brought a pass. */
  sentDue(): void {
    this.sentTimer = false;
    if (this.sent.length > 0) this.touch();
  }

  /** The kernel has a new connection for us; false when nobody listens any more. */
  accept(end: End): boolean {
    const peer = end.peer.host.name;
    if (end.boot !== this.boot || !this.isListening(end.connection.resource, peer)) return false;
    end.stream = --this.lastAccepted;
    end.state = 'open';
    this.streams.set(end.stream, end);
    this.give({ type: 'stream-accepted', resource: end.connection.resource, peer, stream: end.stream });
    return true;
  }

  isListening(resource: string, peer: string): boolean {
    return this.listening.has(`${resource} ${peer}`);
  }

  /** The clock brought an alarm. */
  alarm(boot: number): void {
    // A later alarm of the same process may have been overtaken by an earlier one.
    if (boot !== this.boot || this.world.nowUs !== this.alarmUs) return;
    this.alarmUs = Infinity;
    if (this.state !== 'running') return;
    const wantedUs = this.wantedAlarmUs();
    if (wantedUs > this.world.nowUs) {
      this.setAlarm(wantedUs);
      return;
    }
    if (this.wokenUs !== this.world.nowUs) this.wakesAt = 0;
    this.wokenUs = this.world.nowUs;
    if (++this.wakesAt > WAKES_MAX) throw new Error(`${this.name} wants to be woken at ${this.world.nowUs} µs for ever`);
    this.give({ type: 'woken' });
  }

  /** The machine's clock is right again: alarms that were to ring late ring in time. */
  clockMended(): void {
    if (this.state === 'running') this.setAlarm(this.wantedAlarmUs());
  }

  private touch(): void {
    if (this.dirty || this.state !== 'running') return;
    this.dirty = true;
    this.world.touched.push(this);
  }

  private hand(input: Input): void {
    const { world } = this;
    world.inputs++;
    world.trace.input(world.nowUs, this.index, input);
    if (world.traceFile) world.traceFile.write(world.nowUs, this.name, 'input', input);
    // Most inputs only say that time or bytes went on.
    if (input.type !== 'pass-ended' && input.type !== 'stream-sent' && input.type !== 'woken') {
      for (const checker of world.inputCheckers) checker.onInput!(this.name, input, world.view);
    }
    this.node!.handle(input, world.nowUs);
  }

  // ---- Passes -----------------------------------------------------------------------------------------------------------

  /** Everything due at this instant has been handed over: the pass ends, its outputs are carried out, lent bytes are gone. */
  finishPass(): void {
    this.dirty = false;
    if (this.state !== 'running') return;
    if (this.sent.length > 0) this.reportSent();
    this.hand(passEnded);
    this.carryOut();
    this.poison();
    this.setAlarm(this.wantedAlarmUs());
  }

  private carryOut(): void {
    const { world } = this;
    for (const output of this.node!.outputs()) {
      world.outputs++;
      world.trace.output(this.index, output);
      if (world.traceFile) world.traceFile.write(world.nowUs, this.name, 'output', output);
      for (const checker of world.outputCheckers) checker.onOutput!(this.name, output, world.view);
      this.perform(output);
    }
  }

  private reportSent(): void {
    const { sent } = this;
    this.sent = [];
    for (const end of sent) {
      end.sentReported = true;
      if (end.state === 'open') this.hand({ type: 'stream-sent', stream: end.stream, bytesTotal: end.sentBytes });
    }
  }

  private poison(): void {
    const { lent } = this;
    if (lent.length === 0) return;
    this.lent = [];
    for (const bytes of lent) this.world.buffers.takeBack(bytes);
  }

  private wantedAlarmUs(): number {
    const deadlineUs = this.node!.deadline();
    if (deadlineUs === undefined) return Infinity;
    const lateUs = this.lateUs.length === 0 ? 0 : Math.max(...this.lateUs);
    return Math.max(this.world.nowUs, deadlineUs + lateUs);
  }

  /** An alarm that is too early costs an event; deadlines mostly move away, so it is left to ring and asked again. */
  private setAlarm(atUs: number): void {
    if (atUs >= this.alarmUs) return;
    this.alarmUs = atUs;
    this.world.schedule(atUs, { kind: 'alarm', host: this, boot: this.boot });
  }

  // ---- Outputs ------------------------------------------------------------------------------------------------------------

  private perform(output: Output): void {
    const { world } = this;
    switch (output.type) {
      case 'send': {
        const end = this.streams.get(output.stream);
        if (end) world.transport.send(end, output.pieces);
        return;
      }
      case 'disk-read':
        this.openDisk(output.volume, output.area).submit(output.op, 'read', output.area, output.sector, output.sectors, undefined, false, false);
        return;
      case 'disk-write':
        this.openDisk(output.volume, output.area).submit(
          output.op, 'write', output.area, output.sector, output.data.length / 512, output.data, output.preflush, output.fua,
        );
        return;
      case 'disk-flush':
        this.openDisk(output.volume, output.area).submit(output.op, 'flush', output.area, 0, 0, undefined, false, false);
        return;
      case 'disk-write-zeroes':
        this.openDisk(output.volume, output.area).submit(output.op, 'zeroes', output.area, output.sector, output.sectors, undefined, false, false);
        return;
      case 'disk-discard':
        this.openDisk(output.volume, output.area).submit(output.op, 'discard', output.area, output.sector, output.sectors, undefined, false, false);
        return;
      case 'app-done':
        world.client.answered(this, output.id, true, output.data);
        return;
      case 'app-failed':
        world.client.answered(this, output.id, false, undefined);
        return;
      case 'observe':
        world.observer.observe(this, output.event);
        return;
      case 'disk-open':
        world.schedule(world.nowUs + DISK_OPEN_US, { kind: 'disk-opened', host: this, boot: this.boot, volume: output.volume });
        return;
      case 'disk-close':
        this.volumeDisks(output.volume).open = false;
        return;
      case 'disk-placed':
        this.volumeDisks(output.volume).rememberedSectors = output.sectors;
        return;
      case 'listen':
        this.listening.add(`${output.resource} ${output.peer}`);
        return;
      case 'stop-listening':
        this.listening.delete(`${output.resource} ${output.peer}`);
        return;
      case 'connect':
        beginConnect(world, this, output.stream, output.resource, world.host(output.peer));
        return;
      case 'close': {
        const end = this.streams.get(output.stream);
        if (end) world.transport.close(end);
        else abandonConnect(this, output.stream);
        return;
      }
      case 'read-stream': {
        const end = this.streams.get(output.stream);
        if (!end) return;
        end.reading = output.on;
        if (output.on && end.inbox.length > 0) world.schedule(world.nowUs, { kind: 'inbox', end });
        return;
      }
      case 'admit':
        if (output.on) this.refusing.delete(output.volume);
        else this.refusing.add(output.volume);
        world.client.pollDue = true;
        return;
      case 'membership-send': {
        const to = world.host(output.to);
        const link = world.link(this, to);
        const bytes = world.buffers.lend(output.bytes.length);
        bytes.set(output.bytes);
        world.schedule(link.arrivalUs(world.nowUs, bytes.length), { kind: 'datagram', from: this, to, bytes });
        return;
      }
      case 'run-handler':
        startHandler(world, this, output.handler, output.name);
        return;
      case 'reply':
        this.replied(output.command, output.reply);
        return;
      default:
        output satisfies never;
    }
  }

  private replied(command: number, reply: Reply): void {
    const purpose = this.commands.get(command);
    if (!purpose) throw new Error(`${this.name} answers command ${command}, which nobody asked`);
    this.commands.delete(command);
    this.world.operators.replied(this, purpose, reply);
  }

  // ---- Disks --------------------------------------------------------------------------------------------------------------

  /** An opened device is announced to the core. */
  diskOpened(boot: number, volume: number): void {
    if (boot !== this.boot) return;
    const disks = this.volumeDisks(volume);
    disks.open = true;
    this.give({
      type: 'disk-opened',
      resource: configOf(this.spec, volume).resource,
      volume,
      dataSectors: disks.data.device.sectors,
      metaSectors: disks.meta.device.sectors,
      shared: disks.shared,
      logicalBlockBytes: 512,
      rememberedSectors: disks.rememberedSectors,
      discardGranularityBytes: (disks.data.discards?.granularitySectors ?? 0) * 512,
    });
  }

  /** The device under a volume got another size; who has it open sees that. */
  diskResized(volume: number, moreSectors: number, noise: number): void {
    const disks = this.volumeDisks(volume);
    const { metaDisk } = volumesOf(this.spec).find((one) => one.volume === volume)!;
    const { device } = disks.data;
    device.resize(device.sectors + moreSectors, noise);
    const sizes = { dataSectors: device.sectors, metaSectors: disks.meta.device.sectors };
    const layout = layoutOf(metaDisk, { ...sizes, shared: disks.shared });
    if (layout.ok) disks.usableSectors = Math.max(disks.usableSectors, layout.value.usableDataSectors);
    if (disks.open) this.give({ type: 'disk-resized', resource: configOf(this.spec, volume).resource, volume, ...sizes });
  }

  /** Counts for the faults that wait for it. */
  diskOperation(area: DiskArea, verb: DiskVerb, when: 'issued' | 'done'): void {
    if (this.diskWatches.length === 0) return;
    const kind = diskOperationKind(area, verb, when);
    const count = ++this.diskCounts[kind]!;
    const due = this.diskWatches.filter((watch) => watch.kind === kind && watch.nth === count);
    if (due.length === 0) return;
    this.diskWatches = this.diskWatches.filter((watch) => !due.includes(watch));
    for (const watch of due) watch.fire();
  }

  volumeDisks(volume: number): VolumeDisks {
    const disks = this.volumes.get(volume);
    if (!disks) throw new Error(`${this.name} has no disk for volume ${volume}`);
    return disks;
  }

  disk(volume: number): DiskView {
    return this.volumeDisks(volume).view;
  }

  private viewOf(volume: number, data: Disk, meta: Disk): DiskView {
    const { content } = this.world;
    const { volumes } = this;
    const read = (area: DiskArea, sectors: number, how: (device: Device, target: Uint8Array) => void): Uint8Array => {
      const target = new Uint8Array(sectors * 512);
      how((area === 'data' ? data : meta).device, target);
      return target;
    };
    return {
      get dataSectors() {
        return data.device.sectors;
      },
      get metaSectors() {
        return meta.device.sectors;
      },
      get rememberedSectors() {
        return volumes.get(volume)!.rememberedSectors;
      },
      read: (area, sector, sectors) => read(area, sectors, (device, target) => device.read(sector, target)),
      isZero: (area, sector, sectors) => (area === 'data' ? data : meta).device.isZero(sector, sectors),
      readDurable: (area, sector, sectors) => read(area, sectors, (device, target) => device.readDurable(sector, target)),
      blockId: (block) => content.serial(data.device.contentOf(block)),
      blockBytes: (block) => content.bytesOf(data.device.contentOf(block)),
      *writtenBlocks() {
        const { usableSectors } = volumes.get(volume)!;
        for (const block of data.device.nonZeroBlocks()) if (block * 8 < usableSectors) yield block;
      },
    };
  }

  private openDisk(volume: number, area: 'data' | 'meta'): Disk {
    const disks = this.volumeDisks(volume);
    if (!disks.open) throw new Error(`${this.name} uses the disk of volume ${volume}, which is not open`);
    return area === 'data' ? disks.data : disks.meta;
  }
}

const passEnded: Input = { type: 'pass-ended' };
