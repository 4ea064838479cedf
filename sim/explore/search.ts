/**
 * Goes through all worlds that can be reached from a beginning, breadth first: the first world that breaks a rule is one that the fewest steps lead to. Of a
 * world that was seen only a hash of 53 bits is kept, and the step that led to it first, so memory goes with the frontier; the chance that any two of a
 * million worlds share a hash is less than one in ten thousand.
 */

import { finish, mix } from '../world/hash.js';
import { Rules, type Broken } from './rules.js';
import { CoreError, type Action, type World, type Worlds } from './world.js';

export interface Bounds {
  /** Steps from the beginning. */
  depth: number;
  states: number;
}

export interface Counts {
  /** Different worlds, the first one included. */
  states: number;
  transitions: number;
  /** Steps to the furthest of them. */
  depth: number;
  /** Worlds in which everything has come to rest, or to nothing more (the path to each is judged). */
  ends: number;
  /** Different states of a node, of either host, and steps that were made to find them. */
  nodes: number;
}

export interface Exploration {
  counts: Counts;
  /** Nothing was left out. */
  isComplete: boolean;
  /** The first rule that broke, and how. */
  broken: (Broken & { path: Action[] }) | undefined;
  /** Numbers of the worlds that are ends, the nearest first. */
  ends: number[];
}

const STEPS_TO_REST_MAX = 5000;

/** Both hosts are up and connected, the first one is Primary, everything is quiet: here it begins. `after`: who takes the steps that lead there. */
export function beginning(worlds: Worlds, after: (world: World, action: Action) => World = (world, action) => worlds.after(world, action)): World {
  const settled = (from: World): World => {
    let world = from;
    for (let steps = 0; !worlds.isAtRest(world); steps++) {
      if (steps > STEPS_TO_REST_MAX) throw new Error('the pair does not come up');
      world = after(world, worlds.dueActions(world)[0] ?? 'time');
    }
    return world;
  };
  const blank = worlds.blank();
  const up = settled(blank);
  const promoted = settled(after({ ...up, left: { ...up.left, promotions: 1 } }, 'promote 0'));
  return { ...promoted, left: blank.left, ticks: 0 };
}

export class Search {
  readonly rules: Rules;
  private readonly seen = new Set<number>();
  /** By number of a world, in the order in which they were found: the one before it, and the step that led from there. */
  private parents = new Int32Array(1024);
  private steps = new Int32Array(1024);
  private readonly actions: Action[] = [];
  private readonly actionNumbers = new Map<Action, number>();
  private count = 0;
  private transitions = 0;
  private depth = 0;
  private broken: Exploration['broken'];
  private readonly ends: number[] = [];
  private frontier: { world: World; number: number }[] = [];
  private next: { world: World; number: number }[] = [];
  private at = 0;

  constructor(private readonly worlds: Worlds, private readonly bounds: Bounds) {
    this.rules = new Rules(worlds);
    this.found(beginning(worlds), -1, '');
    this.turn();
  }

  /** Goes on for about so many worlds. False: it is over. */
  go(many: number): boolean {
    for (let left = many; left > 0; left--) {
      if (this.broken || this.count >= this.bounds.states) return false;
      if (this.at === this.frontier.length && !this.turn()) return false;
      const { world, number } = this.frontier[this.at++]!;
      this.expand(world, number);
    }
    return true;
  }

  get counts(): Counts {
    return { states: this.count, transitions: this.transitions, depth: this.depth, ends: this.ends.length, nodes: this.worlds.nodes.count };
  }

  get result(): Exploration {
    return { counts: this.counts, isComplete: this.broken === undefined && this.at === this.frontier.length && this.next.length === 0, broken: this.broken, ends: this.ends };
  }

  /** The steps from the beginning to a world. */
  path(number: number): Action[] {
    const path: Action[] = [];
    for (let at = number; this.parents[at]! >= 0; at = this.parents[at]!) path.push(this.actions[this.steps[at]!]!);
    return path.reverse();
  }

  /** The next level; false where there is none, or none that we are to see. */
  private turn(): boolean {
    if (this.next.length === 0 || this.depth + (this.frontier.length > 0 ? 1 : 0) > this.bounds.depth) return false;
    if (this.frontier.length > 0) this.depth++;
    this.frontier = this.next;
    this.next = [];
    this.at = 0;
    return true;
  }

  private expand(world: World, number: number): void {
    const { worlds } = this;
    const actions = worlds.actions(world);
    if (worlds.isAtRest(world) || worlds.isStuck(world)) this.ends.push(number);
    for (const action of actions) {
      this.transitions++;
      let after: World;
      try {
        after = worlds.after(world, action);
      } catch (error) {
        if (!(error instanceof CoreError)) throw error;
        const detail = error.message.split('\n')[0]!;
        return this.breaks({ property: 'assertion', detail }, number, action);
      }
      const found = this.found(after, number, action);
      if (found === undefined) continue;
      const broken = this.rules.check(after);
      if (broken) return this.breaks(broken, found);
    }
  }

  /** The number of a world that is new, or undefined. */
  private found(world: World, from: number, action: Action): number | undefined {
    const before = this.seen.size;
    this.seen.add(hashOf(this.worlds.key(world)));
    if (this.seen.size === before) return undefined;
    const number = this.count++;
    if (number === this.parents.length) {
      this.parents = grown(this.parents);
      this.steps = grown(this.steps);
    }
    this.parents[number] = from;
    this.steps[number] = this.numberOf(action);
    this.next.push({ world, number });
    return number;
  }

  private numberOf(action: Action): number {
    const known = this.actionNumbers.get(action);
    if (known !== undefined) return known;
    this.actionNumbers.set(action, this.actions.length);
    return this.actions.push(action) - 1;
  }

  private breaks(broken: Broken, number: number, action?: Action): void {
    this.broken = { ...broken, path: [...this.path(number), ...(action === undefined ? [] : [action])] };
  }
}

function grown(array: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(array.length * 2);
  larger.set(array);
  return larger;
}

/** 53 bits of a text. */
function hashOf(text: string): number {
  let low = 0x12345678;
  let high = 0x0fedcba9;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    low = mix(low, code);
    high = Math.imul(high ^ code, 0x01000193);
  }
  return (finish(high) >>> 11) * 0x1_0000_0000 + (finish(low) >>> 0);
}
