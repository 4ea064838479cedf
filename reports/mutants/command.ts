/**
 * `lockstep mutants`: puts each deliberate bug into a copy of the core, sweeps until a property catches it, and prints which property did, with
 * the seed. A run that fails without the bug as well proves nothing and does not count. Exits 0 when all were caught, 1 when one survived, 5 when
 * one could not be put in.
 */

import { availableParallelism } from 'node:os';
import { UsageError } from '../../sim/types.js';
import { loadEngine } from '../engine-types.js';
import type { ExitCode } from '../exit-codes.js';
import { exitCodes, worstOf } from '../exit-codes.js';
import { parseDuration, parseJobs, repeatCommand, scenarioNamed, suggestion } from '../parameters.js';
import { taleOf } from '../shrink/tale.js';
import { planOf } from '../sweep/plan.js';
import type { Fate, Trial } from './fate.js';
import { fateOf, setsOf } from './fate.js';
import { impossible } from './impossible.js';
import { mutants } from './list.js';
import { matrix, summaryLine } from './matrix.js';
import type { Mutant } from './mutant.js';
import { patchMutant } from './patch.js';
import { keepRegression } from './regression.js';
import { updateScoreboard } from './scoreboard.js';
import { openWorkshop } from './workshop.js';

export interface MutantsOptions {
  /** Every mutant; without it, and without names, those of section P of the bug list. */
  all?: boolean;
  jobs?: string;
  /** Diffs of the core, each swept as a mutant through all scenarios. */
  patch: string[];
  /** Seeds given to each scenario before a mutant counts as alive; not given: 2,000, or of a patch as many as make 5,000 runs. */
  seeds?: string;
  /** So many disjoint ranges of seeds. */
  repeats: string;
  /** `name=value`, for all of them. */
  set: string[];
  /** False: nothing is shrunk. */
  shrink?: boolean;
  /** How long it may take for each. */
  shrinkTime: string;
  /** Write the run that caught it, shrunk or not, as its regression. */
  keep?: boolean;
  /** Play the regressions, and sweep nothing. */
  regressions?: boolean;
  /** Markdown whose rows of the mutants that ran are written anew. */
  scoreboard?: string;
}

/** Seeds of each scenario that a mutant names. */
const seedsOfEach = 2000;

/** Runs of all scenarios together that a patch must be caught in. */
const patchRuns = 5000;

export async function mutantsCommand(
  ids: readonly string[],
  options: MutantsOptions,
  output: { out(line: string): void; err(line: string): void },
): Promise<ExitCode> {
  checkPatchAlone(ids, options);
  const isPatch = options.patch.length > 0;
  const workshop = openWorkshop();
  const onSignal = (): void => {
    workshop.remove();
    process.exit(130);
  };
  process.once('SIGINT', onSignal);
  try {
    /** Loaded from the copy before any mutant is in: the code as it is. */
    const engine = await loadEngine(workshop.engineModule.href);
    const scenarios = engine.scenarios.map(({ name }) => name);
    const chosen = isPatch
      ? options.patch.map((path) => patchMutant(path, scenarios))
      : ids.length > 0 ? ids.map(mutantNamed) : mutants.filter(({ first }) => options.all === true || first);
    const trial: Trial = {
      workshop,
      engine,
      jobs: options.jobs === undefined ? availableParallelism() : parseJobs(options.jobs),
      seeds: options.seeds !== undefined ? parseCount('--seeds', options.seeds) : isPatch ? Math.floor(patchRuns / scenarios.length) : seedsOfEach,
      repeats: parseCount('--repeats', options.repeats),
      sets: options.set,
      isShrunk: options.shrink !== false,
      isKept: options.keep === true,
      shrinkMs: parseDuration(options.shrinkTime),
      onlyRegression: options.regressions === true,
      isNamed: ids.length > 0 || isPatch,
    };
    const fates: Fate[] = [];
    for (const mutant of chosen) {
      const fate = await fateOf(mutant, trial);
      fates.push(fate);
      output.out(fateLine(fate, trial));
      // Who asks for one wants to see how it fails; of all, the matrix is enough.
      if (trial.isNamed && fate.shrunk !== undefined) for (const line of taleOf(fate.shrunk.result)) output.out(`    ${line}`);
      if (options.keep === true && fate.kept !== undefined) output.out(`  regression: ${keepRegression(mutant, fate.kept, trial)}`);
    }
    output.out(matrix(fates));
    const untold = impossible.filter(({ first }) => !trial.isNamed && (options.all === true || first));
    for (const { id, argument } of untold) output.out(`${id} is none: ${argument}`);
    output.out(summaryLine(fates, trial.onlyRegression));
    if (options.scoreboard !== undefined) updateScoreboard(options.scoreboard, fates);
    return worstOf(fates.map((fate) => codeOf(fate, trial)));
  } finally {
    process.off('SIGINT', onSignal);
    workshop.remove();
  }
}

/** A patch is of no list, and nothing of it is kept. */
function checkPatchAlone(ids: readonly string[], { patch, all, keep, regressions, scoreboard }: MutantsOptions): void {
  if (patch.length === 0) return;
  const others = { '--all': all, '--keep': keep, '--regressions': regressions, '--scoreboard': scoreboard, ids: ids[0] };
  const other = Object.entries(others).find(([, value]) => value !== undefined)?.[0];
  if (other !== undefined) throw new UsageError(`--patch does not go with ${other}`);
}

function codeOf(fate: Fate, { onlyRegression }: Trial): ExitCode {
  if (fate.isMisfit === true) return exitCodes.broke;
  const isAlive = onlyRegression ? fate.regression === 'holds' : fate.caughtBy.length === 0;
  return isAlive ? exitCodes.violation : exitCodes.held;
}

function mutantNamed(id: string): Mutant {
  const found = mutants.find((mutant) => mutant.id === id);
  if (found !== undefined) return found;
  const why = impossible.find((one) => one.id === id);
  if (why !== undefined) throw new UsageError(`${id} is no mutant here: ${why.argument}`);
  const known = mutants.map((mutant) => mutant.id);
  throw new UsageError(`unknown mutant '${id}'${suggestion(id, known)}; there are: ${known.join(', ')}`);
}

function parseCount(option: string, text: string): number {
  const count = Number(text);
  if (!Number.isSafeInteger(count) || count < 1) throw new UsageError(`${option} ${text} is impossible; give a number from 1`);
  return count;
}

function fateLine(fate: Fate, trial: Trial): string {
  const { onlyRegression } = trial;
  const { mutant } = fate;
  if (fate.isMisfit === true) return `${mutant.id}: cannot be put in: ${fate.detail}`;
  const regression = regressionWords(fate);
  if (onlyRegression) return `${mutant.id}: ${regression === '' ? 'no regression' : regression}`;
  const [failing] = fate.failing;
  const besides = failing === undefined ? '' : `; ${fate.failing.length} runs fail without it as well, the first: lockstep run ${failing.scenario} --seed ${failing.seed}`;
  if (fate.scenario === undefined) return `${mutant.id}: ${fate.detail.toUpperCase()} of ${mutant.scenarios.length === trial.engine.scenarios.length ? 'all scenarios' : mutant.scenarios.join(', ')}${besides}: ${mutant.summary}${mutant.survives === undefined ? '' : ` (${mutant.survives})`}${regression && `; ${regression}`}`;
  const expected = mutant.expected.length === 0 || fate.caughtBy.includes('hang') || mutant.expected.some((name) => fate.caughtBy.includes(name)) ? '' : ` (expected ${mutant.expected.join(' or ')})`;
  const escapes = fate.escapes === 0 ? '' : `, ${fate.escapes} times not`;
  const events = fate.shrunk === undefined ? '' : `; ${fate.shrunk.eventsBefore} events shrunk to ${fate.shrunk.events}${fate.shrunk.isComplete ? '' : ' in the time there was'}`;
  return `${mutant.id}: caught by ${fate.caughtBy.join(', ')}${expected} after ${fate.runs.join(', ')} runs${escapes}${besides}${events}${regression && `; ${regression}`}: ${fate.detail}\n  in the mutated copy: ${commandOf(fate, trial)}`;
}

const regressionWords = ({ regression }: Fate): string =>
  regression === 'none' ? '' : regression === 'holds' ? 'its regression HOLDS with it' : `its regression violates ${regression.caughtBy}`;

function commandOf({ mutant, scenario: name, seed }: Fate, { engine, sets }: Trial): string {
  const scenario = scenarioNamed(engine.scenarios, name!);
  const [theCase] = planOf([scenario], { from: seed!, to: seed! }, setsOf(mutant, sets), []).cases;
  return repeatCommand(scenario, { scenario: scenario.name, parameters: theCase!.parameters, seed: seed! });
}
