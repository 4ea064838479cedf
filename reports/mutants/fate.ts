/** What becomes of one mutant: swept until a property catches it, more than once if that is asked, and the run that caught it shrunk. */

import { filter, finalize, firstValueFrom, tap } from 'rxjs';
import type { RunRequest } from '../../sim/types.js';
import { UsageError } from '../../sim/types.js';
import type { Engine } from '../engine-types.js';
import { scenarioNamed } from '../parameters.js';
import { failingOf } from '../shrink/case.js';
import { Replayer } from '../shrink/replayer.js';
import type { Shrunk } from '../shrink/shrink.js';
import { shrink } from '../shrink/shrink.js';
import { reasonLine } from '../story.js';
import type { Outcome } from '../sweep/outcome.js';
import type { Plan } from '../sweep/plan.js';
import { caseOf, jobAt, jobCount, planOf } from '../sweep/plan.js';
import { runPool } from '../sweep/pool.js';
import { startProgress } from '../sweep/progress.js';
import type { Mutant } from './mutant.js';
import { playRegression } from './regression.js';
import type { Workshop } from './workshop.js';
import { runTimeoutMs } from './workshop.js';

/** A run with more of them is kept as its seed draws it: nobody reads it, and it would hold every single request. */
const keptEventsMax = 60;

/** What is spent on the smallest run of each. */
const shrinkReplays = 1000;

/** Runs of one that is known to survive: somebody may have closed the hole. */
const survivorSeeds = 40;

/** So many times as long as without the mutant, and the run is taken to hang; a busy machine slows both down. */
const hangFactor = 40;
const hangLeastMs = 20_000;

/** How long a run with the mutant may take: measured on the first seed of each scenario without it. */
function patienceMs(engine: Engine, plan: Plan): number {
  let slowestMs = 0;
  for (let index = 0; index < plan.cases.length; index++) {
    const started = performance.now();
    engine.run(jobAt(plan, index).request);
    slowestMs = Math.max(slowestMs, performance.now() - started);
  }
  return Math.min(runTimeoutMs, Math.max(hangLeastMs, hangFactor * slowestMs));
}

export interface Fate {
  mutant: Mutant;
  /** What caught it: properties, `assertion` (the core threw), `hang` (no answer); none when it lived. */
  caughtBy: string[];
  scenario?: string;
  seed?: number;
  /** The run that caught it, unless it hung. */
  request?: RunRequest;
  /** Runs that it took, for each range of seeds; one that found nothing has used all of its seeds. */
  runs: number[];
  /** Ranges of seeds in which nothing caught it. */
  escapes: number;
  /** Runs that failed without the mutant as well. */
  failing: RunRequest[];
  detail: string;
  /** It could not be put in. */
  isMisfit?: boolean;
  /** What its regression says of it: the property, that it holds, or that there is none. */
  regression: { caughtBy: string } | 'holds' | 'none';
  /** The smallest run that catches it and holds without it. */
  shrunk?: Extract<Shrunk, { kind: 'shrunk' }>;
  /** What to keep as its regression: the smallest run, or, where none became small, the run as it came. */
  kept?: Kept;
}

export type Kept = Pick<Extract<Shrunk, { kind: 'shrunk' }>, 'request' | 'result' | 'failing'>;

export interface Trial {
  workshop: Workshop;
  /** The code as it is. */
  engine: Engine;
  jobs: number;
  /** Seeds of one range, of each scenario. */
  seeds: number;
  /** Disjoint ranges of seeds. */
  repeats: number;
  /** Parameters of this sweep, before those that the mutant is swept with. */
  sets: readonly string[];
  isShrunk: boolean;
  isKept: boolean;
  /** What shrinking may take for each. */
  shrinkMs: number;
  /** Its regression alone. */
  onlyRegression: boolean;
  /** They were asked for by name. */
  isNamed: boolean;
}

export async function fateOf(mutant: Mutant, trial: Trial): Promise<Fate> {
  const fate: Fate = { mutant, caughtBy: [], runs: [], escapes: 0, failing: [], detail: '', regression: 'none' };
  const misfit = trial.workshop.install(mutant);
  if (misfit !== undefined) return { ...fate, detail: misfit, isMisfit: true };
  fate.regression = await playRegression(mutant, trial);
  if (trial.onlyRegression) return fate;
  const seeds = mutant.survives === undefined || trial.isNamed ? trial.seeds : Math.min(trial.seeds, survivorSeeds);
  for (let repeat = 0; repeat < trial.repeats; repeat++) await sweep(fate, { ...trial, seeds }, 1 + repeat * seeds);
  if (fate.caughtBy.length === 0) fate.detail = `survived ${fate.runs.reduce((sum, runs) => sum + runs, 0)} runs`;
  if (fate.request !== undefined && (trial.isShrunk || trial.isKept)) await repeat(fate, fate.request, trial);
  return fate;
}

/** The first run that fails with the mutant and holds without it. Of several ranges the first that finds something tells how. */
async function sweep(fate: Fate, { workshop, engine, jobs, seeds, sets }: Trial, from: number): Promise<void> {
  const { mutant } = fate;
  const scenarios = mutant.scenarios.map((name) => scenarioNamed(engine.scenarios, name));
  const plan = planOf(scenarios, { from, to: from + seeds - 1 }, setsOf(mutant, sets), []);
  const progress = startProgress(process.stderr, jobCount(plan));
  let runs = 0;
  const failsAnyway = (request: RunRequest): boolean => {
    const fails = engine.run(request).verdict === 'failed';
    if (fails) fate.failing.push(request);
    return fails;
  };
  const outcomes = runPool({
    engineModule: workshop.engineModule.href,
    workerModule: workshop.workerModule,
    jobs,
    jobAt: (index) => ({ ...jobAt(plan, index), repeat: false }),
    count: jobCount(plan),
    stop: new AbortController().signal,
    runTimeoutMs: patienceMs(engine, plan),
  }).pipe(
    tap(() => {
      runs += 1;
      progress.update(runs, fate.failing.length);
    }),
    filter((outcome) => outcome.kind !== 'ran' || (outcome.result.verdict === 'failed' && !failsAnyway(jobAt(plan, outcome.index).request))),
    finalize(() => progress.end()),
  );
  const first = await firstValueFrom(outcomes, { defaultValue: undefined });
  fate.runs.push(runs);
  if (first === undefined) fate.escapes += 1;
  else if (fate.caughtBy.length === 0) Object.assign(fate, caughtIn(first, mutant, plan));
}

/** What the command line sets goes before what the mutant says. */
export function setsOf(mutant: Mutant, sets: readonly string[]): string[] {
  const nameOf = (set: string): string => set.slice(0, set.indexOf('='));
  return [...(mutant.set ?? []).filter((own) => !sets.some((set) => nameOf(set) === nameOf(own))), ...sets];
}

function caughtIn(outcome: Outcome, mutant: Mutant, plan: Plan): Pick<Fate, 'caughtBy' | 'scenario' | 'seed' | 'request' | 'detail'> {
  const { request } = jobAt(plan, outcome.index);
  const at = { scenario: caseOf(plan, outcome.index).scenario.name, seed: request.seed };
  switch (outcome.kind) {
    case 'ran': {
      const { violations, crash } = outcome.result;
      const caughtBy = [...new Set([...violations.map(({ property }) => property as string), ...(crash === undefined ? [] : ['assertion'])])];
      return { ...at, request, caughtBy, detail: reasonLine(outcome.result) };
    }
    case 'broke':
      return { ...at, caughtBy: ['hang'], detail: outcome.message.split('\n')[0]! };
    case 'usage':
      throw new UsageError(`mutant ${mutant.id}: ${outcome.message}`);
  }
}

/** Looks for the smallest run, or makes the one that was found once more, to tell it. One that only hangs has neither. */
async function repeat(fate: Fate, request: RunRequest, { workshop, engine, isShrunk, isKept, shrinkMs }: Trial): Promise<void> {
  const replayer = new Replayer(workshop.engineModule.href, workshop.workerModule, runTimeoutMs);
  try {
    if (isShrunk) {
      const shrunk = await shrink({
        scenario: scenarioNamed(engine.scenarios, request.scenario),
        request,
        replayer,
        reference: (smaller) => engine.run(smaller),
        replays: shrinkReplays,
        stop: AbortSignal.timeout(shrinkMs),
      });
      if (shrunk.kind === 'shrunk') fate.shrunk = shrunk;
      if (shrunk.kind === 'shrunk' && shrunk.events <= keptEventsMax) fate.kept = shrunk;
    }
    if (isKept && fate.kept === undefined) {
      const outcome = await replayer.run({ ...request, record: true });
      const failing = outcome.kind === 'ran' ? failingOf(outcome.result) : undefined;
      if (outcome.kind !== 'ran' || failing === undefined) return;
      const { result } = outcome;
      fate.kept = { request: { ...request, parameters: result.parameters, schedule: result.schedule }, result, failing };
    }
  } finally {
    replayer.end();
  }
}
