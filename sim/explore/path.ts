/**
 * One path, gone again step by step: told as a story, and judged by every checker of the simulator, which remember what has happened. The search judges each
 * world by itself (rules.ts); a path to each of its ends is judged here.
 */

import type { Input, Node, Output } from '../../src/contract/index.js';
import { formBytes, headerForm, readHeader } from '../../src/wire/headers.js';
import { packetName } from '../../src/wire/commands.js';
import { makeCheckers } from '../checkers/index.js';
import { createGhost, type GhostRecord } from '../ghost.js';
import type { Checker, HostView, RunResult, Setup, Violation, WorldView } from '../types.js';
import { wordsOf } from '../world/words.js';
import { BLOCK_SECTORS } from './disk.js';
import { requestOf } from './ghost.js';
import type { Watcher } from './nodes.js';
import { beginning } from './search.js';
import { hostView, stillNode } from './sight.js';
import { CoreError, other, places, type Action, type Place, type Spectator, type World, type Worlds } from './world.js';

/** Between two steps, so that a later one has a later time. */
const STEP_US = 10;
/** After the last one, so that what is to be at rest for a while has been. */
const REST_US = 2_000_000;

export interface Told {
  story: RunResult['story'];
  violations: Violation[];
  /** What a core threw. */
  crash: string | undefined;
  /** Where it led. */
  world: World;
}

/** `ends`: it is a whole one, and what must be so in the end must be so. */
export function tell(worlds: Worlds, path: readonly Action[], ends: boolean): Told {
  const witness = new Witness(worlds);
  let crash: string | undefined;
  try {
    for (const action of path) witness.see(action);
    if (ends) witness.end();
  } catch (error) {
    if (!(error instanceof CoreError)) throw error;
    crash = error.message;
  }
  return { story: witness.story, violations: witness.violations, crash, world: witness.world };
}

class Witness implements WorldView, Spectator {
  nowUs = 0;
  phase: WorldView['phase'] = 'storm';
  readonly setup: Setup;
  readonly ghost: GhostRecord;
  readonly violations: Violation[] = [];
  readonly story: RunResult['story'] = [];
  world: World;
  private readonly checkers: Checker[];
  /** The node that is being given something just now. */
  private acting: { place: Place; node: Node } | undefined;
  private troubleAtUs = -Infinity;

  constructor(private readonly worlds: Worlds) {
    this.setup = worlds.setup;
    this.ghost = createGhost(this.setup);
    this.checkers = makeCheckers(this.setup);
    // How the pair comes up is seen too: what checkers know they know from what nodes say.
    this.world = worlds.blank();
    this.world = beginning(worlds, (world, action) => this.follow(world, action));
    this.story.length = 0;
    this.nowUs = 0;
  }

  see(action: Action): void {
    this.nowUs += STEP_US;
    this.say('', describe(this.worlds, this.world, action));
    this.world = this.follow(this.world, action);
    this.acting = undefined;
  }

  end(): void {
    for (let looks = 0; looks < 2; looks++) {
      this.checkpoint();
      this.nowUs += REST_US;
    }
    this.phase = 'ended';
    for (const checker of this.checkers) checker.onEnd?.(this);
  }

  private follow(world: World, action: Action): World {
    if (/^(crash|cut|boot|hurry)/.test(action)) this.troubleAtUs = this.nowUs;
    const after = this.worlds.after(world, action, this);
    this.world = after;
    return after;
  }

  private checkpoint(): void {
    for (const checker of this.checkers) checker.onCheckpoint?.(this);
  }

  private say(host: string, text: string): void {
    this.story.push({ atUs: this.nowUs, host, text });
  }

  // ---- What checkers ask --------------------------------------------------------------------------------------------------

  get hosts(): HostView[] {
    return places.map((place) => {
      const host = this.world.hosts[place];
      return hostView(this.worlds, place, host, this.acting?.place === place ? this.acting.node : stillNode(this.worlds, place, host.node));
    });
  }

  host(name: string): HostView {
    return this.hosts.find((host) => host.name === name)!;
  }

  disturbed(_hostA: string, _hostB: string, graceUs: number): boolean {
    return this.troubleAtUs >= this.nowUs - graceUs;
  }

  report(violation: Violation): void {
    this.violations.push(violation);
    this.say('', `VIOLATION of ${violation.property}: ${violation.detail}`);
  }

  reached(): void {
    // What happens sometimes is counted in sweeps.
  }

  // ---- What happens ---------------------------------------------------------------------------------------------------------

  watcher(place: Place): Watcher {
    const name = this.worlds.names[place];
    return {
      onInput: (node: Node, input: Input) => {
        this.acting = { place, node };
        if (input.type !== 'pass-ended' && input.type !== 'stream-sent' && input.type !== 'woken') for (const checker of this.checkers) checker.onInput?.(name, input, this);
      },
      onOutput: (node: Node, output: Output) => {
        this.acting = { place, node };
        if (output.type === 'observe') {
          const words = wordsOf(output.event);
          if (words !== undefined) this.say(name, words);
        }
        if (output.type === 'reply' && !output.reply.ok) this.say(name, `the command is refused: ${output.reply.text}`);
        for (const checker of this.checkers) checker.onOutput?.(name, output, this);
      },
    };
  }

  issued(place: Place, write: number): void {
    this.ghost.issued(write, this.worlds.names[place], requestOf(this.worlds.configuration, write), this.nowUs);
  }

  answered(place: Place, write: number, ok: boolean): void {
    this.ghost.completed(write, ok, this.nowUs);
    const { volume, sector, sectors, operation } = requestOf(this.worlds.configuration, write);
    this.say(this.worlds.names[place], `write ${write} is answered: ${ok ? 'done' : 'an error'}`);
    const issuedAtUs = this.ghost.requests.get(write)!.issuedUs;
    for (const checker of this.checkers) checker.onCompletion?.({ host: this.worlds.names[place], volume, operation, id: write, sector, sectors, ok, issuedAtUs }, this);
  }

  stopping(place: Place, world: World, how: 'crash' | 'power-loss'): void {
    this.world = { ...world, hosts: [...world.hosts] };
    this.acting = undefined;
    const asked = [...this.ghost.pending.values()].filter(({ host }) => host === place).map(({ id }) => id);
    this.ghost.abandoned(asked, this.nowUs);
    for (const checker of this.checkers) checker.onHost?.(this.worlds.names[place], how, this);
  }

  booted(place: Place): void {
    this.acting = undefined;
    for (const checker of this.checkers) checker.onHost?.(this.worlds.names[place], 'boot', this);
  }

  now(world: World): void {
    this.world = { ...world, hosts: [...world.hosts] };
    this.acting = undefined;
  }

  timePassed(byUs: number): void {
    this.checkpoint();
    this.nowUs += byUs;
  }
}

// ---- Words ------------------------------------------------------------------------------------------------------------------

export function describe(worlds: Worlds, world: World, action: Action): string {
  const [verb, who, which] = action.split(' ') as [string, string, string];
  const place = (who === '1' ? 1 : 0) as Place;
  const [name, peer] = [worlds.names[place], worlds.names[other(place)]];
  const host = world.hosts[place];
  switch (verb) {
    case 'boot':
      return `${name} boots, attaches its disk and connects`;
    case 'fact': {
      const { input } = worlds.facts.at(host.inbox[Number(which)]!);
      return input.type === 'stream-accepted' ? `${name} accepts ${peer}'s connection` : `${name} hears: ${input.type}`;
    }
    case 'disk': {
      const { verb: what, area, sector, sectors } = worlds.operations.at(host.operations[Number(which)]!);
      const where = area === 0 ? 'data' : 'metadata';
      return what === 'flush' ? `${name}'s ${where} disk has flushed` : `${name}'s disk ends a ${what} of ${where}, block ${sector / BLOCK_SECTORS}${sectors > BLOCK_SECTORS ? ` and ${sectors / BLOCK_SECTORS - 1} more` : ''}`;
    }
    case 'knock':
      return `${name} knocks at ${peer}`;
    case 'wake':
      return `${name}'s alarm rings`;
    case 'chunk': {
      const bytes = worlds.contents.bytes(world.pipes[Number(which)]!.ways[place].chunks[0]!);
      return `${peer} receives ${packetsIn(bytes).join(', ')}`;
    }
    case 'end': {
      const { end, chunks } = world.pipes[Number(which)]!.ways[place];
      return `${peer} hears that ${name}'s end of a stream is ${end === 'reset' ? 'gone' : 'closed'}${chunks.length > 0 ? `; ${chunks.flatMap((chunk) => packetsIn(worlds.contents.bytes(chunk))).join(', ')} on it is lost` : ''}`;
    }
    case 'write': {
      const write = worlds.ghosts.at(world.ghost).filter(({ is }) => is === 'issued').length + 1;
      return `the application writes block ${requestOf(worlds.configuration, write).sector / BLOCK_SECTORS} on ${name}: write ${write}`;
    }
    case 'promote':
      return `${name} is told to be Primary`;
    case 'demote':
      return `${name} is told to be Secondary`;
    case 'crash':
      return `${name} crashes; of what no flush covers its disks keep ${worlds.outcomes(host)[Number(which)]!.keeps}`;
    case 'cut':
      return 'the connection breaks';
    case 'time':
      return 'nothing is on its way, and time passes';
    case 'hurry':
      return 'time passes, and what is on its way is late';
    default:
      return action;
  }
}

function packetsIn(bytes: Uint8Array): string[] {
  const names: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const form = headerForm(bytes, at);
    const header = form === undefined ? undefined : readHeader(form, bytes, at);
    if (!header) return [...names, `${bytes.length - at} bytes`];
    names.push(packetName(header.command) ?? `packet ${header.command}`);
    at += formBytes(form!) + header.length;
  }
  return names;
}
