/**
 * A small world as a value, and everything that may happen to it next: two hosts with one volume each, their disks, two streams in either direction,
 * what waits to be handed over, what the application knows, and how much trouble is still to come. Nothing here is random and nothing is timed: whatever
 * can happen next may happen next.
 *
 * A world holds numbers only (contents.ts, nodes.ts), so making one is cheap, and two are the same where their numbers are.
 *
 * Time passes when nothing is on its way to anybody, and then to the next moment for which a node has set its alarm: a timer overtakes a packet or a disk only as often as
 * a configuration says (`hurries`).
 */

import type { Command, Input } from '../../src/contract/index.js';
import { Conn, Disk } from '../../src/state/states.js';
import type { Setup } from '../types.js';
import { Contents, Numbered } from './contents.js';
import type { Configuration } from './configurations.js';
import { setupOf } from './configurations.js';
import { afterCrash, endOperation, readDisk, type DiskState, type Operation, type Outcome } from './disk.js';
import { blockOfWrite, contentOfWrite, type GhostEvent } from './ghost.js';
import { firstDisks } from './first-disks.js';
import { isPrimary, Nodes, stateOf, type Effect, type Fact, type Watcher } from './nodes.js';

export type Place = 0 | 1;
export const places: readonly Place[] = [0, 1];
export const other = (place: Place): Place => (place === 0 ? 1 : 0);

/** How far a host's init script is: attach, and when that is answered connect. */
const Script = { Down: 0, Attaching: 1, Done: 2 } as const;

export interface HostState {
  /** Of `Nodes`; 0: down. */
  node: number;
  /** Of `disks`. */
  disk: number;
  /** Of `operations`: asked for and not ended, in the order in which they were asked for. */
  operations: readonly number[];
  /** Of `facts`: what waits to be handed over. Each may be next. */
  inbox: readonly number[];
  /** Streams that it wants to be connected. */
  attempts: readonly number[];
  isListening: boolean;
  script: (typeof Script)[keyof typeof Script];
  /** Values that its processes have drawn, while it is down. */
  draws: number;
  /** Streams that it has accepted. */
  accepted: number;
}

/** One direction of a stream. */
export interface Way {
  /** Of `contents`: on their way, in order. */
  chunks: readonly number[];
  /** The sender's end is gone: behind the chunks (`closed`), or perhaps before them (`reset`). */
  end: '' | 'closed' | 'reset';
  /** The receiver does not read. */
  isOff: boolean;
}

export interface Pipe {
  /** Stream id of each end; 0: that end is closed. */
  ids: readonly [number, number];
  /** By sender. */
  ways: readonly [Way, Way];
}

export type Left = Record<'crashes' | 'cuts' | 'promotions' | 'demotions' | 'hurries', number>;

export interface World {
  hosts: readonly [HostState, HostState];
  pipes: readonly Pipe[];
  /** Of `ghosts`. */
  ghost: number;
  /** What may still happen. */
  left: Left;
  /** How often time has passed. */
  ticks: number;
}

/** What happens next, in a few letters: the kind, who, which. `describe` says it in words. */
export type Action = string;

/** Command ids; a process is given each at most once. */
export const CommandId = { NewResource: 1, Attach: 2, Connect: 3, Primary: 4, Secondary: 5 } as const;

/** `disk` of `Worlds.disks`. */
type KnownOutcome = Omit<Outcome, 'disk'> & { disk: number };

/** Made on the way to the next world. */
type Draft = { -readonly [K in keyof World]: World[K] } & { hosts: [HostState, HostState]; pipes: Pipe[] };

/** Sees everything that an action does. */
export interface Spectator {
  watcher(place: Place): Watcher;
  issued(place: Place, write: number, input: Input): void;
  answered(place: Place, write: number, ok: boolean): void;
  /** The disks are what they are after the crash; the node is still there. */
  stopping(place: Place, world: World, how: 'crash' | 'power-loss'): void;
  booted(place: Place): void;
  /** The world as it is now, in the middle of the action. */
  now(world: World): void;
  timePassed(byUs: number): void;
}

/** The core broke an assertion of its own. */
export class CoreError extends Error {}

export class Worlds {
  readonly contents = new Contents();
  readonly nodes: Nodes;
  readonly disks = new Numbered<DiskState>();
  readonly operations = new Numbered<Operation>();
  readonly facts = new Numbered<Fact>();
  readonly ghosts = new Numbered<readonly GhostEvent[]>();
  readonly setup: Setup;
  readonly names: readonly [string, string];
  private readonly knownOutcomes = new Map<string, KnownOutcome[]>();
  private readonly knownEnds = new Map<string, { disk: number; others: readonly number[] }>();
  private spectator: Spectator | undefined;

  constructor(
    readonly configuration: Configuration,
    forgets = true,
  ) {
    this.nodes = new Nodes(this.contents, forgets);
    this.setup = setupOf(configuration);
    this.names = [this.setup.hosts[0]!.name, this.setup.hosts[1]!.name];
    this.contents.numberOf(new Uint8Array(4096));
  }

  // ---- Where it begins ----------------------------------------------------------------------------------------------------

  /** Both hosts are down, their disks in sync. */
  blank(): World {
    const { crashes, cuts, promotions, demotions, hurries } = this.configuration;
    const [one, another] = firstDisks(this.setup, this.contents);
    const host = (disk: DiskState): HostState => ({
      node: 0, disk: this.disks.numberOf(disk), operations: [], inbox: [], attempts: [], isListening: false, script: Script.Down, draws: 0, accepted: 0,
    });
    return { hosts: [host(one!), host(another!)], pipes: [], ghost: this.ghosts.numberOf([]), left: { crashes, cuts, promotions, demotions, hurries }, ticks: 0 };
  }

  // ---- What may happen --------------------------------------------------------------------------------------------------------

  /**
   * Every action that is possible; none: the world is at rest, or stuck. A host that attaches its disk goes first: until it listens and connects nobody can reach
   * it and it reaches nobody, so in whatever order its steps and the others' are taken, the same worlds come of it.
   */
  actions(world: World): Action[] {
    const due = this.dueActions(world);
    for (const place of places) {
      const own = world.hosts[place].script === Script.Attaching ? due.filter((action) => action.startsWith(`disk ${place}`)) : [];
      if (own.length > 0) return [...own, ...this.crashes(world, place)];
    }
    const hurries = due.length > 0 && world.left.hurries > 0 && this.nextAlarmUs(world) > 0 && this.timeActions(world).length > 0;
    return [...(due.length > 0 ? due : this.timeActions(world)), ...(hurries ? ['hurry'] : []), ...this.freeActions(world)];
  }

  /** What is on its way to somebody, or to be done at once: time waits for it. */
  dueActions(world: World): Action[] {
    const actions: Action[] = [];
    for (const place of places) {
      const host = world.hosts[place];
      if (host.node === 0) {
        actions.push(`boot ${place}`);
        continue;
      }
      host.inbox.forEach((_, at) => actions.push(`fact ${place} ${at}`));
      host.operations.forEach((_, at) => actions.push(`disk ${place} ${at}`));
      host.attempts.forEach((_, at) => actions.push(`knock ${place} ${at}`));
      if (this.nodes.wantsInUs(host.node) === 0) actions.push(`wake ${place}`);
    }
    world.pipes.forEach((pipe, at) => {
      for (const from of places) {
        const to = other(from);
        const way = pipe.ways[from];
        if (pipe.ids[to] === 0 || way.isOff || this.isUntold(world.hosts[to], pipe.ids[to])) continue;
        if (way.chunks.length > 0) actions.push(`chunk ${from} ${at}`);
        if (way.end === 'reset' || (way.end === 'closed' && way.chunks.length === 0)) actions.push(`end ${from} ${at}`);
      }
    });
    return actions;
  }

  /** Nothing has been told of this stream yet. */
  private isUntold(host: HostState, stream: number): boolean {
    return host.inbox.some((fact) => {
      const { input } = this.facts.at(fact);
      return 'stream' in input && input.stream === stream;
    });
  }

  private timeActions(world: World): Action[] {
    return this.isAtRest(world) || world.ticks >= this.configuration.ticksMax || this.nextAlarmUs(world) === Infinity ? [] : ['time'];
  }

  /** What application, operators and fate may do at any moment, or leave. */
  private freeActions(world: World): Action[] {
    const actions: Action[] = [];
    const { left, hosts } = world;
    const written = this.ghosts.at(world.ghost).filter(({ is }) => is === 'issued').length;
    for (const place of places) {
      const host = hosts[place];
      if (host.node === 0) continue;
      const primary = isPrimary(this.nodes.resources(host.node));
      if (primary && written < this.configuration.writes) actions.push(`write ${place}`);
      const isReady = host.script === Script.Done;
      if (left.promotions > 0 && isReady && !primary && this.mayTakeOver(world, place)) actions.push(`promote ${place}`);
      if (left.demotions > 0 && isReady && primary) actions.push(`demote ${place}`);
      actions.push(...this.crashes(world, place));
    }
    if (left.cuts > 0 && world.pipes.some(({ ids }) => ids[0] !== 0 && ids[1] !== 0)) actions.push('cut');
    return actions;
  }

  private crashes({ left, hosts }: World, place: Place): Action[] {
    if (left.crashes === 0) return [];
    return this.outcomes(hosts[place]).map((_, at) => `crash ${place} ${at}`);
  }

  /** How its disks may come out of a crash now; `disk` of `disks`. */
  outcomes({ disk, operations }: HostState): KnownOutcome[] {
    const key = `${disk} ${operations.join(' ')}`;
    const known = this.knownOutcomes.get(key);
    if (known) return known;
    const found = afterCrash(this.disks.at(disk), operations.map((number) => this.operations.at(number))).map((outcome) => ({ ...outcome, disk: this.disks.numberOf(outcome.disk) }));
    this.knownOutcomes.set(key, found);
    return found;
  }

  /** A cluster manager promotes whom it knows to be alone: the Primary has crashed, or was demoted. */
  private mayTakeOver(world: World, place: Place): boolean {
    const peer = world.hosts[other(place)];
    return this.configuration.promotes === 'anybody' || peer.node === 0 || !isPrimary(this.nodes.resources(peer.node));
  }

  private operationsOf(host: HostState): Operation[] {
    return host.operations.map((number) => this.operations.at(number));
  }

  private nextAlarmUs(world: World): number {
    return Math.min(...world.hosts.map(({ node }) => (node === 0 ? Infinity : this.nodes.wantsInUs(node))));
  }

  /** Nothing is under way, and everybody is content. */
  isAtRest(world: World): boolean {
    return this.dueActions(world).length === 0 && world.hosts.every(({ node }) => this.isContent(node)) && this.isAnswered(world);
  }

  /** Nothing can happen any more but what somebody does unasked, and it is not at rest. */
  isStuck(world: World): boolean {
    return !this.isAtRest(world) && this.dueActions(world).length === 0 && this.timeActions(world).length === 0;
  }

  private isContent(node: number): boolean {
    const resources = this.nodes.resources(node);
    const state = stateOf(resources);
    const volume = resources[0]?.volumes[0];
    return state !== undefined && state.conn === Conn.Connected && state.disk === Disk.UpToDate && state.pdsk === Disk.UpToDate && volume!.waiting === 0 && volume!.inFlight.length === 0;
  }

  /** The application waits for nothing. */
  isAnswered(world: World): boolean {
    const events = this.ghosts.at(world.ghost);
    return events.filter(({ is }) => is === 'issued').length === events.filter(({ is }) => is !== 'issued').length;
  }

  // ---- What happens then ------------------------------------------------------------------------------------------------------

  /** The world after this action. Throws a `CoreError` when a core does. */
  after(world: World, action: Action, spectator?: Spectator): World {
    this.spectator = spectator;
    const draft: Draft = { ...world, hosts: [...world.hosts], pipes: [...world.pipes] };
    const [verb, who, which] = action.split(' ') as [string, string, string];
    const place = (who === '1' ? 1 : 0) as Place;
    const at = Number(which);
    switch (verb) {
      case 'boot':
        this.boot(draft, place);
        break;
      case 'fact': {
        const { inbox } = draft.hosts[place];
        set(draft, place, { inbox: inbox.toSpliced(at, 1) });
        this.give(draft, place, this.facts.at(inbox[at]!));
        break;
      }
      case 'disk':
        this.endDisk(draft, place, at);
        break;
      case 'knock':
        this.knock(draft, place, at);
        break;
      case 'wake':
        this.give(draft, place, { input: { type: 'woken' } });
        break;
      case 'chunk': {
        const pipe = draft.pipes[at]!;
        const [content, ...chunks] = pipe.ways[place].chunks;
        setWay(draft, at, place, { chunks });
        this.give(draft, other(place), { input: { type: 'stream-received', stream: pipe.ids[other(place)], bytes: NO_BYTES }, content: content! });
        break;
      }
      case 'end': {
        const pipe = draft.pipes[at]!;
        const to = other(place);
        const how = pipe.ways[place].end as 'closed' | 'reset';
        setWay(draft, at, place, { chunks: [] });
        setId(draft, at, to, 0);
        this.give(draft, to, { input: { type: 'stream-closed', stream: pipe.ids[to], how } });
        break;
      }
      case 'write':
        this.write(draft, place);
        break;
      case 'promote':
        draft.left = { ...draft.left, promotions: draft.left.promotions - 1 };
        this.command(draft, place, CommandId.Primary, { verb: 'primary', resource: RESOURCE, force: false });
        break;
      case 'demote':
        draft.left = { ...draft.left, demotions: draft.left.demotions - 1 };
        this.command(draft, place, CommandId.Secondary, { verb: 'secondary', resource: RESOURCE });
        break;
      case 'crash':
        this.crash(draft, place, at);
        break;
      case 'cut':
        draft.left = { ...draft.left, cuts: draft.left.cuts - 1 };
        draft.pipes = draft.pipes.map((pipe) => ({ ...pipe, ways: [{ ...pipe.ways[0], end: 'reset' }, { ...pipe.ways[1], end: 'reset' }] }));
        break;
      case 'hurry':
        draft.left = { ...draft.left, hurries: draft.left.hurries - 1 };
        this.passTime(draft);
        break;
      case 'time':
        this.passTime(draft);
        break;
      default:
        throw new Error(`nothing is called "${action}"`);
    }
    draft.pipes = draft.pipes.filter(({ ids }) => ids[0] !== 0 || ids[1] !== 0);
    // No stream of its has such a number any more.
    for (const at of places) if (!draft.pipes.some(({ ids }) => ids[at] < 0) && draft.hosts[at].inbox.length === 0) set(draft, at, { accepted: 0 });
    return draft;
  }

  private boot(draft: Draft, place: Place): void {
    const name = this.names[place];
    set(draft, place, { node: this.nodes.boot(name, draft.hosts[place].draws), script: Script.Attaching });
    this.spectator?.booted(place);
    this.command(draft, place, CommandId.NewResource, { verb: 'new-resource', config: this.setup.hosts[place]!.config });
    this.command(draft, place, CommandId.Attach, { verb: 'attach', resource: RESOURCE, volume: 0 });
  }

  private command(draft: Draft, place: Place, id: number, command: Command): void {
    this.give(draft, place, { input: { type: 'command', id, command } });
  }

  private write(draft: Draft, place: Place): void {
    const events = this.ghosts.at(draft.ghost);
    const write = events.filter(({ is }) => is === 'issued').length + 1;
    draft.ghost = this.ghosts.numberOf([...events, { is: 'issued', write, host: place, must: 0 }]);
    const sector = blockOfWrite(this.configuration, write) * 8;
    const input: Input = { type: 'app-write', resource: RESOURCE, volume: 0, id: write, sector, data: NO_BYTES, fua: false };
    this.spectator?.issued(place, write, input);
    this.give(draft, place, { input, content: this.contents.numberOf(contentOfWrite(this.configuration, this.setup, write)) });
  }

  private crash(draft: Draft, place: Place, way: number): void {
    const host = draft.hosts[place];
    const { disk, isWhole } = this.outcomes(host)[way]!;
    draft.left = { ...draft.left, crashes: draft.left.crashes - 1 };
    set(draft, place, { disk });
    this.spectator?.stopping(place, draft, isWhole ? 'crash' : 'power-loss');
    set(draft, place, { node: 0, operations: [], inbox: [], attempts: [], isListening: false, script: Script.Down, draws: this.nodes.draws(host.node), accepted: 0 });
    draft.pipes = draft.pipes.map(({ ids, ways }) => {
      const isHeard = this.configuration.crashesAre === 'heard' && ids[place] !== 0;
      const own = { ...ways[place], end: isHeard ? ('reset' as const) : ways[place].end };
      const theirs = { ...ways[other(place)], chunks: [] };
      return place === 0 ? { ids: [0, ids[1]], ways: [own, theirs] } : { ids: [ids[0], 0], ways: [theirs, own] };
    });
    const events = this.ghosts.at(draft.ghost);
    const open = events.filter(({ is, write, host: asked }) => is === 'issued' && asked === place && !events.some((one) => one.is !== 'issued' && one.write === write));
    if (!isWhole) this.promisesNothing(draft, place);
    draft.ghost = this.ghosts.numberOf([...this.ghosts.at(draft.ghost), ...open.map(({ write, host: asked }) => ({ is: 'abandoned' as const, write, host: asked, must: 0 }))]);
  }

  /** Its cache is gone, or its disk is Inconsistent: what it must show it need not any more, until a resync makes it what its source is (the lineage's rule). */
  private promisesNothing(draft: Draft, place: Place): void {
    draft.ghost = this.ghosts.numberOf(this.ghosts.at(draft.ghost).map((event) => ({ ...event, must: event.must & ~(1 << place) })));
  }

  private passTime(draft: Draft): void {
    const byUs = this.nextAlarmUs(draft);
    draft.ticks++;
    for (const place of places) if (draft.hosts[place].node !== 0) set(draft, place, { node: this.nodes.later(draft.hosts[place].node, byUs) });
    this.spectator?.timePassed(byUs);
  }

  private endDisk(draft: Draft, place: Place, at: number): void {
    const host = draft.hosts[place];
    const operation = this.operations.at(host.operations[at]!);
    const disk = this.disks.at(host.disk);
    const ended = this.ended(host, at);
    set(draft, place, { disk: ended.disk, operations: ended.others });
    // Whoever is told that it has ended finds it on the disk.
    this.spectator?.now(draft);
    const { op, verb, area, sector, sectors } = operation;
    if (verb !== 'read') return this.give(draft, place, { input: { type: 'disk-done', op } });
    const bytes = readDisk(disk, this.contents, area, sector, sectors);
    const content = bytes.some((byte) => byte !== 0) ? { content: this.contents.numberOf(bytes) } : {};
    this.give(draft, place, { input: { type: 'disk-done', op }, ...content });
  }

  /** Disk and operations when this one has ended. */
  private ended({ disk, operations }: HostState, at: number): { disk: number; others: readonly number[] } {
    const key = `${disk} ${at} ${operations.join(' ')}`;
    const known = this.knownEnds.get(key);
    if (known) return known;
    const rest = operations.toSpliced(at, 1).map((number) => this.operations.at(number));
    const ended = endOperation(this.disks.at(disk), this.operations.at(operations[at]!), rest);
    const found = { disk: this.disks.numberOf(ended.disk), others: ended.others.map((one) => this.operations.numberOf(one)) };
    this.knownEnds.set(key, found);
    return found;
  }

  private knock(draft: Draft, place: Place, at: number): void {
    const { attempts } = draft.hosts[place];
    const stream = attempts[at]!;
    set(draft, place, { attempts: attempts.toSpliced(at, 1) });
    const to = other(place);
    const peer = draft.hosts[to];
    if (peer.node === 0 || !peer.isListening) return this.give(draft, place, { input: { type: 'connect-refused', stream } });
    const accepted = -(peer.accepted + 1);
    set(draft, to, { accepted: peer.accepted + 1, inbox: [...peer.inbox, this.facts.numberOf({ input: { type: 'stream-accepted', resource: RESOURCE, peer: this.names[place], stream: accepted } })] });
    draft.pipes.push({ ids: place === 0 ? [stream, accepted] : [accepted, stream], ways: [emptyWay, emptyWay] });
    this.give(draft, place, { input: { type: 'stream-connected', stream } });
  }

  /** One pass of a node, and what it wants done. */
  private give(draft: Draft, place: Place, fact: Fact): void {
    const step = this.nodes.step(draft.hosts[place].node, fact, this.spectator?.watcher(place));
    if (step.error !== undefined) throw new CoreError(step.error);
    if (this.diskOf(step.node) === Disk.Inconsistent && this.diskOf(draft.hosts[place].node) !== Disk.Inconsistent) this.promisesNothing(draft, place);
    set(draft, place, { node: step.node });
    for (const effect of step.effects) this.carryOut(draft, place, effect);
    this.spectator?.now(draft);
  }

  private diskOf(node: number): Disk {
    return stateOf(this.nodes.resources(node))?.disk ?? Disk.Diskless;
  }

  private carryOut(draft: Draft, place: Place, effect: Effect): void {
    const host = draft.hosts[place];
    switch (effect.do) {
      case 'open-disk': {
        const { dataSectors, metaSectors } = this.setup.hosts[place]!.disks[0]!;
        const sizes = { dataSectors, metaSectors: metaSectors!, shared: false, logicalBlockBytes: 512, discardGranularityBytes: 0, rememberedSectors: 0 };
        // At once: an attach is nobody's affair but its own until it has read the metadata.
        return this.give(draft, place, { input: { type: 'disk-opened', resource: RESOURCE, volume: 0, ...sizes } });
      }
      case 'operation': {
        const { op, verb, area, sector, sectors, contents, preflush, fua } = effect;
        this.assertApart(host, effect);
        const covers = verb === 'flush' || preflush ? this.disks.at(host.disk).cached[area].length : -1;
        set(draft, place, { operations: [...host.operations, this.operations.numberOf({ op, verb, area, sector, sectors, contents, fua, covers })] });
        // Metadata is read by an attach only, one piece after the other, and it is nobody else's: no order to choose.
        if (verb === 'read' && area === 1) this.endDisk(draft, place, draft.hosts[place].operations.length - 1);
        return;
      }
      case 'send': {
        const at = draft.pipes.findIndex(({ ids }) => ids[place] === effect.stream);
        const way = draft.pipes[at]?.ways[place];
        if (!way) throw new Error(`${this.names[place]} sends on stream ${effect.stream}, which is closed`);
        // The peer is gone, and we do not know yet.
        if (way.end === '' && draft.pipes[at]!.ids[other(place)] !== 0) setWay(draft, at, place, { chunks: [...way.chunks, effect.content] });
        return;
      }
      case 'connect':
        // A firewall: who knocks there hears no at once.
        if (this.configuration.connects === 'alice' && place === 1) return this.give(draft, place, { input: { type: 'connect-refused', stream: effect.stream } });
        return set(draft, place, { attempts: [...host.attempts, effect.stream] });
      case 'close':
        return this.close(draft, place, effect.stream);
      case 'listen':
        return set(draft, place, { isListening: effect.on });
      case 'read-stream': {
        const at = draft.pipes.findIndex(({ ids }) => ids[place] === effect.stream);
        if (at >= 0) setWay(draft, at, other(place), { isOff: !effect.on });
        return;
      }
      case 'answer': {
        const events = this.ghosts.at(draft.ghost);
        const must = effect.ok ? this.mustHave(draft, place) : 0;
        draft.ghost = this.ghosts.numberOf([...events, { is: effect.ok ? 'acknowledged' : 'failed', write: effect.id, host: place, must }]);
        this.spectator?.answered(place, effect.id, effect.ok);
        return;
      }
      case 'reply':
        if (effect.command === CommandId.Attach && effect.ok) {
          set(draft, place, { script: Script.Done });
          this.command(draft, place, CommandId.Connect, { verb: 'connect', resource: RESOURCE, peer: this.names[other(place)], discardMyData: false, tentative: false });
        }
        return;
      case 'handler':
        // None is configured; a driver says so.
        return set(draft, place, { inbox: [...host.inbox, this.facts.numberOf({ input: { type: 'handler-failed', handler: effect.handler, reason: 'there is none' } })] });
      default:
        return effect satisfies never;
    }
  }

  /** Who is promised to have a write that is acknowledged here now (the lineage's rule, protocol C). */
  private mustHave(draft: Draft, place: Place): number {
    const state = stateOf(this.nodes.resources(draft.hosts[place].node))!;
    const peer = other(place);
    const own = state.disk === Disk.UpToDate ? 1 << place : 0;
    const mirrors = state.conn >= Conn.Connected && state.pdsk === Disk.UpToDate;
    // It has not crashed since the two met.
    const isThere = draft.hosts[peer].node !== 0 && !draft.pipes.some(({ ids, ways }) => ids[place] !== 0 && (ids[peer] === 0 || ways[peer].end === 'reset'));
    return own | (mirrors && isThere ? 1 << peer : 0);
  }

  private close(draft: Draft, place: Place, stream: number): void {
    const host = draft.hosts[place];
    const isOf = (number: number): boolean => {
      const { input } = this.facts.at(number);
      return 'stream' in input && input.stream === stream && input.type !== 'stream-accepted';
    };
    set(draft, place, { attempts: host.attempts.filter((one) => one !== stream), inbox: host.inbox.filter((fact) => !isOf(fact)) });
    draft.pipes.forEach((pipe, at) => {
      if (pipe.ids[place] !== stream) return;
      setId(draft, at, place, 0);
      const own = pipe.ways[place];
      setWay(draft, at, place, { end: own.end === '' ? 'closed' : own.end });
      setWay(draft, at, other(place), { chunks: [] });
    });
  }

  /** The core keeps what must not overlap apart (contract/output.ts). */
  private assertApart(host: HostState, effect: Extract<Effect, { do: 'operation' }>): void {
    if (effect.verb !== 'write') return;
    const overlaps = this.operationsOf(host).some(
      ({ verb, area, sector, sectors }) => verb === 'write' && area === effect.area && sector < effect.sector + effect.sectors && effect.sector < sector + sectors,
    );
    if (overlaps) throw new CoreError(`two overlapping writes outstanding on one disk, at sector ${effect.sector}`);
  }

  // ---- Sameness ---------------------------------------------------------------------------------------------------------------

  /** The whole world in numbers: equal exactly where the worlds are. */
  key(world: World): string {
    const numbers: (number | string)[] = [world.ghost, world.ticks, world.left.crashes, world.left.cuts, world.left.promotions, world.left.demotions, world.left.hurries];
    for (const { node, disk, operations, inbox, attempts, isListening, script, draws, accepted } of world.hosts) {
      numbers.push('h', node, disk, isListening ? 1 : 0, script, draws, accepted, 'o', ...operations, 'i', ...[...inbox].sort((a, b) => a - b), 'a', ...attempts);
    }
    for (const { ids, ways } of world.pipes) {
      numbers.push('p', ...ids);
      for (const { chunks, end, isOff } of ways) numbers.push(end, isOff ? 'x' : 'w', ...chunks);
    }
    return numbers.join(' ');
  }
}

export const RESOURCE = 'r0';
const NO_BYTES = new Uint8Array(0);
const emptyWay: Way = { chunks: [], end: '', isOff: false };

function set(draft: Draft, place: Place, change: Partial<HostState>): void {
  draft.hosts[place] = { ...draft.hosts[place], ...change };
}

function setWay(draft: Draft, at: number, from: Place, change: Partial<Way>): void {
  const pipe = draft.pipes[at]!;
  const way = { ...pipe.ways[from], ...change };
  draft.pipes[at] = { ...pipe, ways: from === 0 ? [way, pipe.ways[1]] : [pipe.ways[0], way] };
}

function setId(draft: Draft, at: number, place: Place, id: number): void {
  const pipe = draft.pipes[at]!;
  draft.pipes[at] = { ...pipe, ids: place === 0 ? [id, pipe.ids[1]] : [pipe.ids[0], id] };
}
