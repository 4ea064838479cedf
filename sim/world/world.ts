/**
 * Everything of one run in one place: hosts, network, disks, application, operators, faults, checkers, and the loop that takes
 * the next event from the clock. Nothing here happens but by an event, and every event is a value of one closed union.
 */

import type { NodeFactory } from './run.js';
import { Role } from '../../src/state/states.js';
import type {
  Checker,
  Fault,
  Ghost,
  RandomStream,
  Setup,
  Violation,
  Workload,
  WorldView,
} from '../types.js';
import { LentBuffers } from './buffers.js';
import { Client } from './client.js';
import { Clock } from './clock.js';
import { connectEvent } from './connect.js';
import { ContentStore } from './content.js';
import type { WorldEvent } from './events.js';
import { Faults } from './faults.js';
import { formatDisks } from './format.js';
import { handlerWakes } from './handlers.js';
import { Host } from './host.js';
import { Link } from './link.js';
import { Manager } from './manager.js';
import { Observer } from './observer.js';
import { Operators } from './operators.js';
import { isQuiet } from './quiet.js';
import type { Recorder } from './recorder.js';
import type { Turn } from './random.js';
import { type TraceFile, TraceHash } from './trace.js';
import { Transport } from './transport.js';
import { configsOf } from '../spec.js';

const CHECK_INTERVAL_US = 1_000_000;
/** While the pair settles it is looked at more often: a run ends when it has been quiet twice in a row. */
const SETTLE_CHECK_INTERVAL_US = 500_000;
/** So many events at one instant mean that something goes round in circles. */
const EVENTS_AT_ONCE_MAX = 1_000_000;
/** A metadata write that ended so shortly before a crash is part of the same step as one that is on its way. */
const SAME_STEP_US = 10_000;

export interface WorldParts {
  setup: Setup;
  schedule: readonly Fault[];
  random: RandomStream;
  createNode: NodeFactory;
  checkers: readonly Checker[];
  ghost: Ghost;
  workload: Workload;
  traceFile: TraceFile | undefined;
  recorder: Recorder | undefined;
  turn: WorldTurn | undefined;
}

/** From `atUs` on the run is another one. */
export interface WorldTurn {
  atUs: number;
  /** Undefined: it stays as it is, and only its past is hashed. */
  take: { random: Turn; future: string; schedule: readonly Fault[] | undefined } | undefined;
}

export class World implements WorldView {
  phase: WorldView['phase'] = 'preparing';
  readonly setup: Setup;
  readonly hosts: Host[];
  readonly ghost: Ghost;
  readonly createNode: NodeFactory;
  readonly buffers = new LentBuffers();
  readonly content = new ContentStore();
  readonly trace = new TraceHash();
  readonly traceFile: TraceFile | undefined;
  readonly recorder: Recorder | undefined;
  readonly transport = new Transport(this);
  readonly observer = new Observer(this);
  readonly operators = new Operators(this);
  readonly manager = new Manager(this);
  readonly client: Client;
  readonly violations: Violation[] = [];
  readonly inputCheckers: readonly Checker[];
  readonly outputCheckers: readonly Checker[];
  readonly completionCheckers: readonly Checker[];
  /** Hosts that were given something at this instant. */
  readonly touched: Host[] = [];
  /** A core's state changed, or a script went on: the preparation may. */
  stateChanged = false;
  checkpointDue = false;
  /** Counts what a checker could see: disks, states, answers, hosts. */
  changes = 0;
  inputs = 0;
  outputs = 0;
  lastCommand = 0;
  private readonly clock = new Clock<WorldEvent>();
  private readonly checkers: readonly Checker[];
  private readonly faults: Faults;
  private readonly linkTable: Link[][];
  private readonly allLinks: Link[];
  private readonly random: RandomStream;
  private settleByUs = Infinity;
  private turn: WorldTurn | undefined;
  /** The trace until the turn. */
  pastHash: string | undefined;
  private quietBefore = false;
  private changesSeen = -1;

  constructor(parts: WorldParts) {
    const { setup, random, checkers } = parts;
    this.setup = setup;
    this.ghost = parts.ghost;
    this.createNode = parts.createNode;
    this.traceFile = parts.traceFile;
    this.recorder = parts.recorder;
    this.turn = parts.turn;
    this.random = random.fork('world');
    this.checkers = checkers;
    this.inputCheckers = checkers.filter((checker) => checker.onInput);
    this.outputCheckers = checkers.filter((checker) => checker.onOutput);
    this.completionCheckers = checkers.filter((checker) => checker.onCompletion);
    this.hosts = setup.hosts.map((spec, index) => new Host(this, index, spec, random.fork(`host/${spec.name}`)));
    this.linkTable = this.hosts.map((from) =>
      this.hosts.map((to) => new Link(from, to, setup.network, random.fork(`link/${from.name}>${to.name}`))),
    );
    this.allLinks = this.linkTable.flat();
    this.client = new Client(this, parts.workload, random.fork('client'));
    this.faults = new Faults(this, parts.schedule);
    formatDisks(setup, this.hosts, random.fork('format'));
  }

  // ---- What checkers see --------------------------------------------------------------------------------------------------

  get nowUs(): number {
    return this.clock.nowUs;
  }

  get view(): WorldView {
    return this;
  }

  get events(): number {
    return this.clock.popped;
  }

  host(name: string): Host {
    const host = this.hosts.find((one) => one.name === name);
    if (!host) throw new Error(`no host ${name}`);
    return host;
  }

  disturbed(hostA: string, hostB: string, graceUs: number): boolean {
    return this.faults.disturbed(hostA, hostB, this.nowUs - graceUs);
  }

  report(violation: Violation): void {
    if (this.setup.expectations.skip.some(({ property }) => property === violation.property)) return;
    this.violations.push(violation);
    this.observer.story('', `VIOLATION of ${violation.property}: ${violation.detail}`);
  }

  reached(sometimes: string): void {
    this.observer.coverage.reached(sometimes);
  }

  // ---- The loop -----------------------------------------------------------------------------------------------------------

  schedule(atUs: number, event: WorldEvent): void {
    this.clock.schedule(atUs, event);
  }

  run(): void {
    this.operators.begin();
    for (const host of this.hosts) host.start();
    this.finishInstant();
    const { clock } = this;
    while (this.phase !== 'ended' && clock.nextUs <= this.settleByUs) {
      const instantUs = clock.nextUs;
      if (this.turn && instantUs >= this.turn.atUs) this.takeTurn(this.turn);
      let events = 0;
      do {
        if (++events > EVENTS_AT_ONCE_MAX) throw new Error(`no end of events at ${instantUs} µs`);
        this.dispatch(clock.next());
        if (clock.nextUs !== instantUs) this.finishInstant();
      } while (clock.nextUs === instantUs);
    }
    this.phase = 'ended';
    for (const checker of this.checkers) checker.onEnd?.(this);
  }

  private takeTurn({ atUs, take }: WorldTurn): void {
    this.turn = undefined;
    this.pastHash = this.trace.digest();
    if (!take) return;
    take.random.future = take.future;
    if (take.schedule) this.faults.replace(take.schedule, atUs);
  }

  /** Passes end, the application goes on, checkers look; whatever that brings at the same instant is the next round. */
  private finishInstant(): void {
    const { touched, client } = this;
    while (touched.length > 0 || client.pollDue) {
      for (let n = 0; n < touched.length; n++) touched[n]!.finishPass();
      touched.length = 0;
      if (client.pollDue) client.poll();
    }
    if (this.stateChanged) {
      this.stateChanged = false;
      if (this.phase === 'preparing') {
        this.operators.prepare(false);
        this.finishInstant();
      }
    }
    if (this.checkpointDue) {
      this.checkpointDue = false;
      this.checkpoint();
    }
  }

  private dispatch(event: WorldEvent): void {
    switch (event.kind) {
      case 'disk-operation':
        event.disk.end(event);
        return;
      case 'segment':
        this.transport.arrive(event);
        return;
      case 'alarm':
        event.host.alarm(event.boot);
        return;
      case 'sent':
        event.host.sentDue();
        return;
      case 'client':
        this.client.woken();
        return;
      case 'room':
        this.transport.room(event.end);
        return;
      case 'resend':
        this.transport.resend(event.end);
        return;
      case 'broken':
        this.transport.broken(event.end);
        return;
      case 'inbox':
        this.transport.drainInbox(event.end);
        return;
      case 'connect':
        connectEvent(this, event);
        return;
      case 'datagram': {
        const { from, to, bytes } = event;
        if (this.link(from, to).isBlocked(undefined)) this.buffers.takeBack(bytes);
        else to.give({ type: 'membership-received', from: from.name, bytes }, bytes);
        return;
      }
      case 'disk-opened':
        event.host.diskOpened(event.boot, event.volume);
        return;
      case 'handler':
        handlerWakes(this, event);
        return;
      case 'restart':
        if (event.host.boot === event.boot && event.host.state === 'down') event.host.start();
        return;
      case 'fault':
        this.faults.fire(event.fault);
        return;
      case 'fault-end':
        this.faults.stop(event.active);
        return;
      case 'released':
        this.client.releaseNow(event.host, event.boot);
        return;
      case 'manager':
        this.manager.tick();
        return;
      case 'next-repair':
        this.operators.nextRepair(event.host, event.steps);
        return;
      case 'repair':
        this.operators.repair();
        return;
      case 'prepare':
        if (this.phase === 'preparing') this.operators.prepare(true);
        return;
      case 'checkpoint':
        this.checkpointDue = true;
        this.schedule(this.nowUs + (this.phase === 'storm' ? CHECK_INTERVAL_US : SETTLE_CHECK_INTERVAL_US), event);
        return;
      case 'storm-ends':
        this.settle();
        return;
      default:
        event satisfies never;
    }
  }

  private checkpoint(): void {
    if (this.changes !== this.changesSeen) {
      this.changesSeen = this.changes;
      for (const checker of this.checkers) checker.onCheckpoint?.(this);
    }
    if (this.phase !== 'settling') return;
    const quiet = isQuiet(this);
    if (quiet && this.quietBefore) this.phase = 'ended';
    this.quietBefore = quiet;
  }

  // ---- Phases -------------------------------------------------------------------------------------------------------------

  beginStorm(): void {
    this.phase = 'storm';
    this.observer.story('', 'the storm begins');
    this.recorder?.began(this.nowUs);
    this.faults.begin();
    this.client.begin();
    this.schedule(this.nowUs + CHECK_INTERVAL_US, { kind: 'checkpoint' });
    this.schedule(this.nowUs + this.setup.durationUs, { kind: 'storm-ends' });
  }

  private settle(): void {
    this.phase = 'settling';
    this.observer.story('', 'the storm is over');
    this.settleByUs = this.nowUs + this.setup.settleUs;
    this.client.stop();
    this.faults.end();
    for (const host of this.hosts) if (host.state === 'down') host.start();
    this.operators.settle();
    this.checkpointDue = true;
  }

  // ---- Hosts --------------------------------------------------------------------------------------------------------------

  otherHost(host: Host): Host {
    const other = this.hosts.find((one) => one !== host);
    if (!other) throw new Error(`${host.name} is alone`);
    return other;
  }

  link(from: Host, to: Host): Link {
    return this.linkTable[from.index]![to.index]!;
  }

  links(): readonly Link[] {
    return this.allLinks;
  }

  booted(host: Host): void {
    this.changes++;
    this.observer.story(host.name, 'boots');
    this.faults.booted(host);
    for (const checker of this.checkers) checker.onHost?.(host.name, 'boot', this);
    this.operators.booted(host);
    this.stateChanged = true;
  }

  /** A host counts as Primary when it is that with all its resources: it is what applications and cluster managers ask for. */
  roleChanged(host: Host, resource: string, changed: Role): void {
    host.roles.set(resource, changed);
    const configs = configsOf(host.spec);
    const role = configs.every((config) => host.roles.get(config.resource) === Role.Primary) ? Role.Primary : Role.Secondary;
    if (configs.length > 1 && role === host.role) return;
    host.role = role;
    if (role === Role.Primary) this.observer.promoted(host);
    else this.client.demoted(host);
    this.manager.roleChanged(host, role);
    this.client.rolesChanged();
  }

  pausing(host: Host): void {
    if (host.role === Role.Primary) this.reached('primary paused');
  }

  crash(host: Host, restartAfterUs: number | undefined): void {
    this.lookBeforeItStops(host);
    for (const disk of host.disks()) disk.abandon();
    this.stopped(host, 'crash', restartAfterUs);
  }

  /** Several hosts at the same instant; `tear` says what their disks keep. */
  losePower(hosts: readonly Host[], tear: RandomStream, restartAfterUs: number | undefined): void {
    if (hosts.length > 1) this.reached('both lost power');
    for (const host of hosts) {
      if (host.state !== 'down') this.lookBeforeItStops(host);
      let n = 0;
      for (const disk of host.disks()) if (disk.losePower(tear.fork(`${host.name}/${n++}`))) this.reached('power loss tore a sector');
      this.stopped(host, 'power-loss', restartAfterUs);
    }
  }

  /** Another host's fence handler cuts the power; the machine boots again. */
  shoot(host: Host, restartAfterUs: number): void {
    this.observer.story(host.name, 'is shot');
    this.losePower([host], this.random.fork(`shot at ${this.nowUs}`), restartAfterUs);
  }

  private lookBeforeItStops(host: Host): void {
    for (const disk of host.disks()) {
      const metaWrite = disk.outstanding.some((operation) => operation.area === 'meta' && operation.verb === 'write');
      if (metaWrite && this.nowUs - disk.metaWriteEndedUs < SAME_STEP_US) this.reached('crash between two metadata writes');
    }
    this.observer.coverage.crash(host);
    if (host.role === Role.Primary) this.observer.primaryDied(host);
  }

  private stopped(host: Host, what: 'crash' | 'power-loss', restartAfterUs: number | undefined): void {
    this.changes++;
    this.observer.story(host.name, what === 'crash' ? 'crashes' : 'loses power');
    this.faults.wentDown(host);
    this.client.hostStopped(host);
    this.operators.stopped(host);
    this.manager.stopped(host);
    for (const checker of this.checkers) checker.onHost?.(host.name, what, this);
    host.stop(what);
    if (restartAfterUs !== undefined) this.schedule(this.nowUs + restartAfterUs, { kind: 'restart', host, boot: host.boot });
  }
}
