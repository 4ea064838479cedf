/**
 * Steering: half of a sweep's runs are spliced from runs that were the first to reach something, as long as few have reached it. A splice keeps what
 * a seed begins with and has the faults of another seed follow (or its parameters, its sizes), and the scenario itself draws it, so that a
 * steered run is as possible as any other.
 *
 * Work goes in generations. What a generation found is spliced in the one after the next: no worker waits for the last run of a
 * generation, and which runs are made depends on the outcomes in their order and on nothing else, --jobs included.
 */

import type { RunRequest, Splice } from '../../sim/types.js';
import { randomRoot } from '../../sim/world/random.js';
import type { Engine } from '../engine-types.js';
import type { Job, Plan } from './plan.js';
import { isRepeated } from './plan.js';

/** Runs of a generation, at least. */
const generationRuns = 32;
/** Beyond this little is left of the run that it began with. */
const maxSplices = 4;
/** Seeds spliced in, where it is not one that reached something new itself. */
const seedsMax = 999_999;

/** A run that was the first to reach these things. */
interface Find {
  request: RunRequest;
  things: readonly string[];
}

/** What one run has brought. */
export interface Learned {
  /** Names of all that it reached, each class with its own. */
  things: readonly string[];
  /** Those that no run before it had reached. */
  fresh: readonly string[];
}

/** What is known of a scenario with one set of parameters. */
interface Nursery {
  /** In the order in which they came. */
  finds: Find[];
  /** Seeds that were drawn afresh. */
  seeds: number;
}

export class Steering {
  readonly found = { steered: 0, fresh: 0 };
  steeredRuns = 0;
  /** The last seed that was drawn afresh. */
  lastSeed: number;
  private readonly nurseries: Nursery[];
  private readonly size: number;
  /** Jobs of the generations that are under way, by number. */
  private readonly generations = new Map<number, Job[]>();
  /** What a generation brought, in the order of its jobs, until it may be used. */
  private readonly lessons = new Map<number, { job: Job; learned: Learned }[]>();
  /** How many runs reached a thing, and how many more are meant to. */
  private readonly reached = new Map<string, number>();
  private outcomes = 0;

  constructor(
    private readonly plan: Plan,
    private readonly engine: Pick<Engine, 'prepare'>,
  ) {
    this.lastSeed = plan.seedFrom;
    this.nurseries = plan.cases.map(() => ({ finds: [], seeds: 0 }));
    this.size = plan.cases.length * Math.ceil(generationRuns / plan.cases.length);
  }

  /** Undefined: it depends on runs whose outcomes are not known yet. */
  jobAt(index: number): Job | undefined {
    const number = Math.floor(index / this.size);
    const known = this.generations.get(number);
    if (known !== undefined) return known[index - number * this.size];
    if (this.outcomes < (number - 1) * this.size) return undefined;
    const jobs = this.nextGeneration(number);
    this.generations.set(number, jobs);
    return jobs[index - number * this.size];
  }

  /** In the order of the jobs. */
  learn(job: Job, learned: Learned): void {
    const { index, request } = job;
    this.outcomes += 1;
    const isSteered = request.splices !== undefined;
    if (isSteered) this.steeredRuns += 1;
    else this.lastSeed = Math.max(this.lastSeed, request.seed);
    this.found[isSteered ? 'steered' : 'fresh'] += learned.fresh.length;
    const number = Math.floor(index / this.size);
    const lessons = this.lessons.get(number) ?? [];
    lessons.push({ job, learned });
    this.lessons.set(number, lessons);
    if (this.outcomes % this.size === 0) this.generations.delete(number);
  }

  private nextGeneration(number: number): Job[] {
    const { cases } = this.plan;
    for (const { job, learned } of this.lessons.get(number - 2) ?? []) {
      for (const thing of learned.things) this.reached.set(thing, (this.reached.get(thing) ?? 0) + 1);
      if (learned.fresh.length > 0) this.nurseries[job.index % cases.length]!.finds.push({ request: job.request, things: learned.fresh });
    }
    this.lessons.delete(number - 2);
    return Array.from({ length: this.size }, (_, offset) => {
      const index = number * this.size + offset;
      const row = Math.floor(index / cases.length);
      const nursery = this.nurseries[index % cases.length]!;
      const request = (row % 2 === 1 ? this.child(nursery, index) : undefined) ?? this.freshRun(nursery, index);
      return { index, request, repeat: isRepeated(row) };
    });
  }

  private freshRun(nursery: Nursery, index: number): RunRequest {
    const { scenario, parameters } = this.plan.cases[index % this.plan.cases.length]!;
    const seed = this.plan.seedFrom + nursery.seeds;
    nursery.seeds += 1;
    return { scenario: scenario.name, parameters, seed };
  }

  /** Of the find that reached what the fewest runs have reached. */
  private child(nursery: Nursery, index: number): RunRequest | undefined {
    let rarest: { request: RunRequest; thing: string; runs: number } | undefined;
    for (const { request, things } of nursery.finds) {
      for (const thing of things) {
        const runs = this.reached.get(thing)!;
        if (rarest === undefined || runs <= rarest.runs) rarest = { request, thing, runs };
      }
    }
    if (rarest === undefined) return undefined;
    this.reached.set(rarest.thing, rarest.runs + 1);
    const { request } = rarest;
    const random = randomRoot(this.plan.seedFrom).fork(`steering/${index}`);
    const splices = request.splices ?? [];
    const streams = [...this.engine.prepare(request).streams].filter(([name]) => splices.every(({ stream }) => stream !== name));
    if (streams.length === 0) return undefined;
    // Most numbers are drawn for faults, most streams for parameters.
    const byNumber = random.chance(2, 3);
    const ticket = random.integer(0, byNumber ? streams.reduce((sum, [, draws]) => sum + draws, 0) - 1 : streams.length - 1);
    const [stream, draws] = byNumber ? streamOfDraw(streams, ticket) : streams[ticket]!;
    const others = nursery.finds.filter((find) => find.request.seed !== request.seed);
    const seed = others.length > 0 && random.chance(1, 2) ? random.pick(others).request.seed : random.integer(0, seedsMax);
    const splice: Splice = { stream, after: random.integer(0, draws - 1), seed };
    return { ...request, splices: [...splices, splice].slice(-maxSplices) };
  }
}

/** The stream from which the number of that place was drawn, when one stream follows the other. */
function streamOfDraw(streams: readonly [string, number][], place: number): [string, number] {
  let left = place;
  return streams.find(([, draws]) => (left -= draws) < 0)!;
}
