/**
 * The states that a node has been seen in, numbered, and what each does with each thing that can happen to it. A node's step is a function of its
 * state, of what it is told, and of nothing else: the clock stands at `NOW_US` always, and random values are counted draws. So every step
 * is made once, however many worlds take it; that is where an explorer's time goes.
 *
 * Time is relative: when it passes, everything that a node remembers as a moment moves back instead. Two nodes that only differ in when they came
 * to be as they are, are one state.
 */

import { digests } from '../../src/digests/digests.js';
import type { Environment, Input, Node, Output, ResourceView, VolumeView } from '../../src/contract/index.js';
import type { Bitmap } from '../../src/metadata/bitmap.js';
import type { NodeState } from '../../src/model/types.js';
import { createNode, nodeOf } from '../../src/node/index.js';
import { decodeState, encodeState } from '../../src/node/snapshot.js';
import { Role } from '../../src/state/states.js';
import { forget, moveBack } from './canonical.js';
import { Contents } from './contents.js';
import { areaNumber, contentsOf } from './disk.js';

/** Ten minutes: no period that a core measures is longer, so what is older than that is as good as that. */
export const NOW_US = 600_000_000;

/** What a node is told; `content` stands for the bytes that the input brings. */
export interface Fact {
  input: Input;
  content?: number;
}

/** What a node wants done, and what it said that somebody outside it must know. */
export type Effect =
  | { do: 'open-disk' }
  | { do: 'operation'; op: number; verb: 'read' | 'write' | 'flush'; area: 0 | 1; sector: number; sectors: number; contents: readonly number[]; preflush: boolean; fua: boolean }
  | { do: 'send'; stream: number; content: number }
  | { do: 'connect' | 'close'; stream: number }
  | { do: 'listen'; on: boolean }
  | { do: 'read-stream'; stream: number; on: boolean }
  | { do: 'answer'; id: number; ok: boolean }
  | { do: 'reply'; command: number; ok: boolean }
  | { do: 'handler'; handler: number };

export interface Step {
  /** The state afterwards. */
  node: number;
  effects: readonly Effect[];
  /** What the core threw. */
  error?: string;
}

/** Who wants to see inputs and outputs themselves, and the node at these moments. */
export interface Watcher {
  onInput(node: Node, input: Input): void;
  onOutput(node: Node, output: Output): void;
}

interface Seen {
  snapshot: Uint8Array;
  driver: Driver;
  /** From now on; Infinity: it waits for nothing. */
  wantsInUs: number;
  resources: ResourceView[];
  steps: Map<string, Step>;
  later: Map<number, number>;
}

/** What a driver remembers of a node. */
interface Driver {
  /** Values drawn so far, by all processes of this host. */
  draws: number;
  /** By stream: bytes that the transport has taken. It takes everything at once. */
  sent: readonly (readonly [stream: number, bytes: number])[];
}

const NOBODY = undefined as unknown as Seen;

export class Nodes {
  /** Steps that were really made. */
  made = 0;
  /** By number; 0: the host is down. */
  private readonly seen: Seen[] = [NOBODY];
  private readonly numbers = new Map<string, number>();

  /** `forgets` false: counters go on, as in a node that really runs (canonical.ts); for the proof that it makes no difference. */
  constructor(
    private readonly contents: Contents,
    private readonly forgets: boolean,
  ) {}

  get count(): number {
    return this.seen.length - 1;
  }

  /** A process that has just started. */
  boot(name: string, draws: number): number {
    const node = createNode(name, environmentOf(name, { draws }));
    return this.numberOf(decodeState(node.snapshot()) as NodeState, node, { draws, sent: [] });
  }

  draws(node: number): number {
    return this.seen[node]!.driver.draws;
  }

  /** Microseconds from now until it wants to be woken. */
  wantsInUs(node: number): number {
    return this.seen[node]!.wantsInUs;
  }

  /** As `Node.resources` says; not to be changed. */
  resources(node: number): ResourceView[] {
    return this.seen[node]!.resources;
  }

  /** As `Node.snapshot` says; not to be changed. */
  snapshot(node: number): Uint8Array {
    return this.seen[node]!.snapshot;
  }

  /** One pass with this fact. A watcher sees the step being made, again. */
  step(number: number, fact: Fact, watcher?: Watcher): Step {
    const seen = this.seen[number]!;
    const key = JSON.stringify(fact);
    const known = seen.steps.get(key);
    if (known && !watcher) return known;
    const made = this.make(seen, fact, watcher);
    if (known && known.node !== made.node) throw new Error(`the same step, made again, came to another state: ${key}`);
    seen.steps.set(key, made);
    return made;
  }

  /** The same state so much later. */
  later(number: number, byUs: number): number {
    const { later, snapshot, driver } = this.seen[number]!;
    const known = later.get(byUs);
    if (known !== undefined) return known;
    const state = decodeState(snapshot) as NodeState;
    moveBack(state, byUs);
    const moved = this.numberOf(state, nodeOf(state, environmentOf(state.name, { draws: 0 })), driver);
    later.set(byUs, moved);
    return moved;
  }

  private make(seen: Seen, fact: Fact, watcher: Watcher | undefined): Step {
    this.made++;
    const driver = { draws: seen.driver.draws, sent: new Map(seen.driver.sent) };
    const state = decodeState(seen.snapshot) as NodeState;
    const node = nodeOf(state, environmentOf(state.name, driver));
    const outputs: Output[] = [];
    const hand = (input: Input): void => {
      watcher?.onInput(node, input);
      node.handle(input, NOW_US);
    };
    const pass = (): Output[] => {
      hand({ type: 'pass-ended' });
      const wanted = node.outputs();
      outputs.push(...wanted);
      for (const output of wanted) watcher?.onOutput(node, output);
      return wanted;
    };
    try {
      hand(inputOf(fact, this.contents));
      for (let wanted = pass(); ; wanted = pass()) {
        for (const output of wanted) if (output.type === 'close') driver.sent.delete(output.stream);
        const streams = sentOn(wanted, driver.sent);
        if (streams.size === 0) break;
        for (const stream of streams) hand({ type: 'stream-sent', stream, bytesTotal: driver.sent.get(stream)! });
      }
    } catch (error) {
      return { node: 0, effects: [], error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
    }
    const effects = outputs.flatMap((output) => effectOf(output, this.contents));
    // A value that is kept nowhere was a coin, and tossing it leaves no trace.
    const draws = keepsSince(state, seen.driver.draws, driver.draws) ? driver.draws : seen.driver.draws;
    return { node: this.numberOf(state, node, { draws, sent: [...driver.sent] }), effects };
  }

  private numberOf(state: NodeState, node: Node, driver: Driver): number {
    if (this.forgets) forget(state);
    const content = this.contents.numberOf(encodeState(state));
    const key = `${content} ${driver.draws} ${driver.sent.join(' ')}`;
    const known = this.numbers.get(key);
    if (known !== undefined) return known;
    const deadlineUs = node.deadline();
    const wantsInUs = deadlineUs === undefined ? Infinity : Math.max(0, deadlineUs - NOW_US);
    const number = this.seen.push({ snapshot: this.contents.bytes(content), driver, wantsInUs, resources: copyOf(node), steps: new Map(), later: new Map() }) - 1;
    this.numbers.set(key, number);
    return number;
  }

}

/**
 * Values that say who drew them and which it was: a UUID is the same wherever it is drawn at the same place of a history. Their lowest bit is what a
 * coin shows: alice's always falls on one side, bob's on the other.
 */
function environmentOf(name: string, driver: { draws: number }): Environment {
  return { ...digests, random64: () => BASES[name]! + BigInt(++driver.draws) * 16n };
}

const BASES: Record<string, bigint> = { alice: 0xa11c_0000_0000_0000n, bob: 0xb0b0_0000_0000_0001n };
/** Where a value says which one it is; the bits above and below are the core's to change. */
const ORDINAL_MASK = 0xffff_fff0n;

/** Is one of these draws in the state? */
function keepsSince(state: NodeState, before: number, after: number): boolean {
  if (after === before) return false;
  const wanted = new Set<bigint>();
  for (let draw = before + 1; draw <= after; draw++) wanted.add(BigInt(draw) * 16n);
  const base = BASES[state.name]! >> 56n;
  const visited = new Set<object>();
  const holds = (value: unknown): boolean => {
    if (typeof value === 'bigint') return value >> 56n === base && wanted.has(value & ORDINAL_MASK);
    if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || visited.has(value)) return false;
    visited.add(value);
    const entries: Iterable<unknown> = value instanceof Map || value instanceof Set || Array.isArray(value) ? value.values() : Object.values(value);
    for (const entry of entries) if (holds(entry)) return true;
    return false;
  };
  return holds(state);
}

/** Adds what was sent to what each stream has taken; which streams took something. */
function sentOn(outputs: readonly Output[], sent: Map<number, number>): Set<number> {
  const streams = new Set<number>();
  for (const output of outputs) {
    if (output.type === 'connect') sent.set(output.stream, 0);
    if (output.type !== 'send') continue;
    const bytes = output.pieces.reduce((sum, piece) => sum + piece.length, 0);
    sent.set(output.stream, (sent.get(output.stream) ?? 0) + bytes);
    streams.add(output.stream);
  }
  for (const output of outputs) if (output.type === 'close') streams.delete(output.stream);
  return streams;
}

function inputOf({ input, content }: Fact, contents: Contents): Input {
  if (content === undefined) return input;
  const bytes = contents.bytes(content).slice();
  switch (input.type) {
    case 'app-write':
    case 'disk-done':
      return { ...input, data: bytes };
    case 'stream-received':
      return { ...input, bytes };
    default:
      throw new Error(`${input.type} brings no bytes`);
  }
}

function effectOf(output: Output, contents: Contents): Effect[] {
  switch (output.type) {
    case 'disk-open':
      return [{ do: 'open-disk' }];
    case 'disk-read':
      return [{ do: 'operation', op: output.op, verb: 'read', area: areaNumber(output.area), sector: output.sector, sectors: output.sectors, contents: [], preflush: false, fua: false }];
    case 'disk-flush':
      return [{ do: 'operation', op: output.op, verb: 'flush', area: areaNumber(output.area), sector: 0, sectors: 0, contents: [], preflush: false, fua: false }];
    case 'disk-write': {
      const { op, area, sector, data, preflush, fua } = output;
      return [{ do: 'operation', op, verb: 'write', area: areaNumber(area), sector, sectors: data.length / 512, contents: contentsOf(contents, sector, data), preflush, fua }];
    }
    case 'send': {
      const bytes = new Uint8Array(output.pieces.reduce((sum, piece) => sum + piece.length, 0));
      let at = 0;
      for (const piece of output.pieces) {
        bytes.set(piece, at);
        at += piece.length;
      }
      return [{ do: 'send', stream: output.stream, content: contents.numberOf(bytes) }];
    }
    case 'connect':
    case 'close':
      return [{ do: output.type, stream: output.stream }];
    case 'listen':
    case 'stop-listening':
      return [{ do: 'listen', on: output.type === 'listen' }];
    case 'read-stream':
      return [{ do: 'read-stream', stream: output.stream, on: output.on }];
    case 'app-done':
    case 'app-failed':
      return [{ do: 'answer', id: output.id, ok: output.type === 'app-done' }];
    case 'reply':
      return [{ do: 'reply', command: output.command, ok: output.reply.ok }];
    case 'run-handler':
      return [{ do: 'handler', handler: output.handler }];
    case 'admit':
    case 'observe':
    case 'disk-close':
      return [];
    case 'disk-placed':
    case 'disk-write-zeroes':
    case 'disk-discard':
    case 'membership-send':
      throw new Error(`no configuration has a use for ${output.type}`);
    default:
      return output satisfies never;
  }
}

/** What a node shows, as data: the views of a core are live. */
const copyOf = (node: Node): ResourceView[] =>
  node.resources().map(({ resource, volumes, suspended, frozenReason }) => ({ resource, suspended, frozenReason, volumes: volumes.map(copyOfVolume) }));

const copyOfVolume = (view: VolumeView): VolumeView => ({
  volume: view.volume,
  peers: view.peers.map(({ peer, state, bitmap, failedBits }) => ({ peer, state: { ...state }, bitmap: bitmap && copyOfBitmap(bitmap), failedBits })),
  uuids: view.uuids && [...view.uuids],
  sizeSectors: view.sizeSectors,
  activeExtents: [...view.activeExtents],
  superblock: view.superblock && { ...view.superblock, uuids: [...view.superblock.uuids] },
  activityLogTransactions: view.activityLogTransactions,
  inFlight: view.inFlight.map((range) => ({ ...range })),
  waiting: view.waiting,
});

const copyOfBitmap = (bitmap: Bitmap): Bitmap => ({
  ...bitmap,
  counts: bitmap.counts.slice(),
  states: bitmap.states.slice(),
  words: new Map([...bitmap.words].map(([page, words]) => [page, words.slice()])),
});

/** Of the only volume towards the only peer, once the resource is there. */
export const stateOf = (resources: readonly ResourceView[]) => resources[0]?.volumes[0]?.peers[0]?.state;

export const isPrimary = (resources: readonly ResourceView[]): boolean => stateOf(resources)?.role === Role.Primary;
