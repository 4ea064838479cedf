/**
 * `lockstep mutants`: puts each deliberate bug into a copy of the source, compiles it, sweeps until a property catches it, and prints which
 * property did, with the seed. A run that fails without the bug as well proves nothing and does not count. Exits 0 when all were caught, 1 when one survived, 5 when one could not be put in.
 */

import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import Table from 'cli-table3';
import { filter, firstValueFrom, tap } from 'rxjs';
import type { RunRequest } from '../../sim/types.js';
import { UsageError } from '../../sim/types.js';
import type { Engine } from '../engine-types.js';
import { loadEngine } from '../engine-types.js';
import type { ExitCode } from '../exit-codes.js';
import { exitCodes, worstOf } from '../exit-codes.js';
import { parseJobs, repeatCommand, scenarioNamed, suggestion } from '../parameters.js';
import { Replayer } from '../shrink/replayer.js';
import type { Shrunk } from '../shrink/shrink.js';
import { shrink } from '../shrink/shrink.js';
import { taleOf } from '../shrink/tale.js';
import { reasonLine } from '../story.js';
import type { Outcome } from '../sweep/outcome.js';
import type { Plan } from '../sweep/plan.js';
import { caseOf, jobAt, jobCount, planOf } from '../sweep/plan.js';
import { runPool } from '../sweep/pool.js';
import { quantile } from '../sweep/tally.js';
import type { Mutant } from './list.js';
import { mutants } from './list.js';
import type { Workshop } from './workshop.js';
import { openWorkshop } from './workshop.js';

/** Seeds given to each scenario before a mutant counts as alive. */
const maxSeeds = 2000;
/** A mutated core may loop for ever. */
const runTimeoutMs = 60_000;
/** What is spent on the smallest run of each. */
const shrinkReplays = 1000;
const shrinkMs = 180_000;

interface Fate {
  mutant: Mutant;
  /** What caught it: properties, `assertion` (the core threw), `hang` (no answer); none when it lived. */
  caughtBy: string[];
  scenario?: string;
  seed?: number;
  /** The run that caught it, unless it hung. */
  request?: RunRequest;
  runs: number;
  /** Runs that failed without the mutant as well. */
  failing: number;
  detail: string;
  /** It could not be put in. */
  misfit?: boolean;
  /** The smallest run that catches it and holds without it. */
  shrunk?: Extract<Shrunk, { kind: 'shrunk' }>;
}

export interface MutantsOptions {
  jobs?: string;
  /** False: nothing is shrunk. */
  shrink?: boolean;
}

export async function mutantsCommand(
  ids: readonly string[],
  options: MutantsOptions,
  output: { out(line: string): void; err(line: string): void },
): Promise<ExitCode> {
  const chosen = ids.length === 0 ? mutants : ids.map(mutantNamed);
  const jobs = options.jobs === undefined ? availableParallelism() : parseJobs(options.jobs);
  if (chosen.length === 0) {
    output.out('there are no mutants');
    return exitCodes.held;
  }
  const workshop = openWorkshop(fileURLToPath(new URL('../../..', import.meta.url)));
  const onSignal = (): void => {
    workshop.remove();
    process.exit(130);
  };
  process.once('SIGINT', onSignal);
  try {
    /** Loaded before any mutant is in: the code as it is. */
    const engine = await loadEngine(workshop.engineModule.href);
    const fates: Fate[] = [];
    for (const mutant of chosen) {
      const fate = await fateOf(mutant, workshop, engine, jobs);
      if (options.shrink !== false) await shrinkFate(fate, workshop, engine);
      fates.push(fate);
      output.out(fateLine(fate, engine));
      // Who asks for one wants to see how it fails; of all, the matrix is enough.
      if (ids.length > 0 && fate.shrunk !== undefined) for (const line of taleOf(fate.shrunk.result)) output.out(`    ${line}`);
    }
    output.out(matrix(fates));
    const caught = fates.filter((fate) => fate.caughtBy.length > 0).length;
    output.out(`${fates.length} mutants: ${caught} caught, ${fates.length - caught} not${medianWords(fates)}`);
    return worstOf(fates.map((fate) => (fate.misfit === true ? exitCodes.broke : fate.caughtBy.length === 0 ? exitCodes.violation : exitCodes.held)));
  } finally {
    process.off('SIGINT', onSignal);
    workshop.remove();
  }
}

function mutantNamed(id: string): Mutant {
  const found = mutants.find((mutant) => mutant.id === id);
  if (found !== undefined) return found;
  const known = mutants.map((mutant) => mutant.id);
  throw new UsageError(`unknown mutant '${id}'${suggestion(id, known)}; there are: ${known.join(', ') || 'none'}`);
}

async function fateOf(mutant: Mutant, workshop: Workshop, engine: Engine, jobs: number): Promise<Fate> {
  const misfit = workshop.install(mutant);
  if (misfit !== undefined) return { mutant, caughtBy: [], runs: 0, failing: 0, detail: misfit, misfit: true };
  const scenarios = mutant.scenarios.map((name) => scenarioNamed(engine.scenarios, name));
  const plan = planOf(scenarios, { from: 1, to: maxSeeds }, mutant.set ?? [], []);
  let runs = 0;
  let failing = 0;
  const failsAnyway = (request: RunRequest): boolean => {
    const fails = engine.run(request).verdict === 'failed';
    if (fails) failing += 1;
    return fails;
  };
  const outcomes = runPool({
    engineModule: workshop.engineModule.href,
    workerModule: workshop.workerModule,
    jobs,
    jobAt: (index) => ({ ...jobAt(plan, index), repeat: false }),
    count: jobCount(plan),
    stop: new AbortController().signal,
    runTimeoutMs,
  }).pipe(
    tap(() => {
      runs += 1;
    }),
    filter((outcome) => outcome.kind !== 'ran' || (outcome.result.verdict === 'failed' && !failsAnyway(jobAt(plan, outcome.index).request))),
  );
  const first = await firstValueFrom(outcomes, { defaultValue: undefined });
  if (first === undefined) return { mutant, caughtBy: [], runs, failing, detail: `survived ${runs} runs` };
  return { ...fateFrom(first, mutant, plan, runs), failing };
}

function fateFrom(outcome: Outcome, mutant: Mutant, plan: Plan, runs: number): Omit<Fate, 'failing'> {
  const { request } = jobAt(plan, outcome.index);
  const at = { mutant, runs, scenario: caseOf(plan, outcome.index).scenario.name, seed: request.seed };
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

/** Looks for the smallest run; one that only hangs has none. */
async function shrinkFate(fate: Fate, workshop: Workshop, engine: Engine): Promise<void> {
  const { request } = fate;
  if (request === undefined) return;
  const replayer = new Replayer(workshop.engineModule.href, workshop.workerModule, runTimeoutMs);
  try {
    const shrunk = await shrink({
      scenario: scenarioNamed(engine.scenarios, request.scenario),
      request,
      replayer,
      reference: (smaller) => engine.run(smaller),
      replays: shrinkReplays,
      stop: AbortSignal.timeout(shrinkMs),
    });
    if (shrunk.kind === 'shrunk') fate.shrunk = shrunk;
  } finally {
    replayer.end();
  }
}

function medianWords(fates: readonly Fate[]): string {
  const events = fates.flatMap(({ shrunk }) => (shrunk === undefined ? [] : [shrunk.events]));
  return events.length === 0 ? '' : `; ${events.length} shrunk, to a median of ${quantile(events, 0.5)} events (${Math.min(...events)} to ${Math.max(...events)})`;
}

function fateLine(fate: Fate, engine: Engine): string {
  const { mutant } = fate;
  if (fate.misfit === true) return `${mutant.id}: cannot be put in: ${fate.detail}`;
  if (fate.scenario === undefined) return `${mutant.id}: SURVIVED ${fate.runs} runs (${fate.failing} of them fail without it as well) of ${mutant.scenarios.join(', ')}: ${mutant.summary}`;
  const scenario = scenarioNamed(engine.scenarios, fate.scenario);
  const besides = fate.failing === 0 ? '' : `; ${fate.failing} runs fail without it as well`;
  const [theCase] = planOf([scenario], { from: fate.seed!, to: fate.seed! }, mutant.set ?? [], []).cases;
  const expected = mutant.expected.some((name) => fate.caughtBy.includes(name)) ? '' : ` (expected ${mutant.expected.join(' or ')})`;
  const command = repeatCommand(scenario, { scenario: scenario.name, parameters: theCase!.parameters, seed: fate.seed! });
  const events = fate.shrunk === undefined ? '' : `; ${fate.shrunk.eventsBefore} events shrunk to ${fate.shrunk.events}${fate.shrunk.isComplete ? '' : ' in the time there was'}`;
  return `${mutant.id}: caught by ${fate.caughtBy.join(', ')}${expected} after ${fate.runs} runs${besides}${events}: ${fate.detail}\n  in the mutated copy: ${command}`;
}

/** Mutant × what caught it; a cell holds the seed. */
function matrix(fates: readonly Fate[]): string {
  const catchers = [...new Set(fates.flatMap((fate) => fate.caughtBy))].sort((a, b) => a.localeCompare(b));
  const table = new Table({
    head: ['mutant', 'scenario', 'runs', 'events', ...catchers],
    colAligns: ['left', 'left', ...Array.from({ length: catchers.length + 2 }, () => 'right' as const)],
    style: { head: [], border: [], compact: true },
  });
  for (const fate of fates) {
    const cells = catchers.map((catcher) => (fate.caughtBy.includes(catcher) ? String(fate.seed) : ''));
    table.push([fate.mutant.id, fate.scenario ?? (fate.misfit === true ? 'misfit' : 'survived'), fate.runs, fate.shrunk?.events ?? '', ...cells]);
  }
  return table.toString();
}
