/**
 * Shrinks a failing run: fast-check searches, and each step is a replay of the core. What counts as smaller is in passes.ts; what counts as
 * the same failure in case.ts. The order of the steps depends on nothing but the case, so the same failure shrinks to the same bytes.
 */

import { createHash } from 'node:crypto';
import fc from 'fast-check';
import type { RunRequest, RunResult, Scenario } from '../../sim/types.js';
import { UsageError } from '../../sim/types.js';
import type { Case, Failing, Seen } from './case.js';
import { eventsOf, failingOf, failsLike, requestOf, requestsOf, seenIn } from './case.js';
import type { Place } from './passes.js';
import { passes } from './passes.js';
import type { Replayer } from './replayer.js';

export interface ShrinkOptions {
  scenario: Scenario;
  /** The failing run. */
  request: RunRequest;
  replayer: Replayer;
  /** Where the smaller run must hold: the code without the bug, if there is such a thing. */
  reference?: (request: RunRequest) => RunResult;
  /** At most so many replays. */
  replays: number;
  /** Ends it early, with the smallest so far. */
  stop: AbortSignal;
  onStep?(replays: number, events: number): void;
}

export type Shrunk =
  | {
      kind: 'shrunk';
      request: RunRequest;
      result: RunResult;
      failing: Failing;
      /** The run as it was given. */
      original: RunResult;
      eventsBefore: number;
      events: number;
      replays: number;
      /** Nothing more can go; otherwise there was no time left, or no replays. */
      isComplete: boolean;
    }
  /** The run does not fail. */
  | { kind: 'holds'; result: RunResult }
  /** It hangs, or the harness broke. */
  | { kind: 'broke'; message: string };

/** Throws `UsageError` when the run cannot be made. */
export async function shrink(options: ShrinkOptions): Promise<Shrunk> {
  const { request, scenario } = options;
  const original = await new Trials(options).run({ ...request, record: true });
  if (original.kind === 'broke') return original;
  const { result } = original;
  const failing = failingOf(result);
  if (failing === undefined || result.verdict !== 'failed') return { kind: 'holds', result };
  const trials = new Trials(options, failing);
  const { seed, parameters, splices } = request;
  const whole: Case = { scenario: scenario.name, seed, parameters, ...(splices && { splices }), schedule: request.schedule ?? result.schedule, pinned: request.pinned ?? {} };
  trials.found(whole, result);
  // The requests as they came: from here on each may go by itself. A run that fails by a hair's breadth may not survive that.
  const listed: Case = { ...whole, pinned: { ...whole.pinned, requests: requestsOf(result.record!) } };
  const isListed = request.pinned?.requests === undefined && request.pinned?.entries === undefined && (await trials.fails(listed));
  const first = isListed ? listed : whole;
  const details = await fc.check(fc.asyncProperty(new Cases(first, trials, scenario), async (candidate) => !(await trials.fails(candidate))), { numRuns: 1, seed: 0 });
  const smallest = details.counterexample?.[0] ?? first;
  return {
    kind: 'shrunk',
    request: requestOf(smallest),
    result: trials.resultOf(smallest),
    failing,
    original: result,
    eventsBefore: whole.schedule.length + (result.record?.requests.length ?? 0),
    events: eventsOf(smallest),
    replays: trials.replays,
    isComplete: !trials.areOver,
  };
}

/** Replays of cases, each at most once. */
class Trials {
  replays = 0;
  private readonly results = new WeakMap<Case, RunResult>();
  private readonly held = new Set<string>();

  constructor(
    private readonly options: ShrinkOptions,
    private readonly failing?: Failing,
  ) {}

  get areOver(): boolean {
    return this.options.stop.aborted || this.replays >= this.options.replays;
  }

  async run(request: RunRequest): Promise<{ kind: 'ran'; result: RunResult } | { kind: 'broke'; message: string }> {
    const outcome = await this.options.replayer.run(request);
    if (outcome.kind === 'usage') throw new UsageError(outcome.message);
    return outcome;
  }

  found(candidate: Case, result: RunResult): void {
    this.results.set(candidate, result);
  }

  /** Does it still fail as the first one did? */
  async fails(candidate: Case): Promise<boolean> {
    if (this.results.has(candidate)) return true;
    if (this.areOver) return false;
    const request = requestOf(candidate);
    const key = createHash('sha256').update(JSON.stringify(request)).digest('base64');
    if (this.held.has(key)) return false;
    this.replays++;
    const outcome = await this.run(request);
    const fails = outcome.kind === 'ran' && failsLike(this.failing!, outcome.result) && this.options.reference?.(request).verdict !== 'failed';
    if (fails) this.found(candidate, outcome.result);
    else this.held.add(key);
    this.options.onStep?.(this.replays, eventsOf(candidate));
    return fails;
  }

  resultOf(candidate: Case): RunResult {
    return this.results.get(candidate)!;
  }

  seenOf(candidate: Case): Seen {
    return seenIn(this.failing!, this.resultOf(candidate));
  }
}

/** Where the search is: the pass, its place, and whether this round through the passes has made anything smaller. */
interface Progress {
  pass: number;
  place: Place;
  hasShrunk: boolean;
}

/** The failing case, as fast-check knows values: it is "generated" once and shrunk from there. */
class Cases extends fc.Arbitrary<Case> {
  constructor(
    private readonly first: Case,
    private readonly trials: Trials,
    private readonly scenario: Scenario,
  ) {
    super();
  }

  override generate(): fc.Value<Case> {
    return new fc.Value(this.first, undefined);
  }

  override canShrinkWithoutContext(value: unknown): value is Case {
    return value === this.first;
  }

  override shrink(value: Case, context: unknown): fc.Stream<fc.Value<Case>> {
    return fc.stream(this.smaller(value, (context as Progress | undefined) ?? { pass: 0, place: [], hasShrunk: false }));
  }

  /** Round after round, until one has brought nothing. */
  private *smaller(value: Case, progress: Progress): IterableIterator<fc.Value<Case>> {
    const seen = this.trials.seenOf(value);
    let { pass, place, hasShrunk } = progress;
    for (;;) {
      for (; pass < passes.length; pass++, place = []) {
        for (const { smaller, next } of passes[pass]!(value, seen, place, this.scenario)) {
          if (this.trials.areOver) return;
          yield new fc.Value(smaller, { pass, place: next, hasShrunk: true } satisfies Progress);
        }
      }
      if (!hasShrunk) return;
      hasShrunk = false;
      pass = 0;
    }
  }
}
