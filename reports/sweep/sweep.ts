/**
 * `lockstep sweep`: many runs on worker threads, a summary table, a report folder. The stream of outcomes comes in the order of the jobs, so
 * everything counted from it is the same for any --jobs.
 */

import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative } from 'node:path';
import { lastValueFrom, tap } from 'rxjs';
import type { RunResult } from '../../sim/types.js';
import { UsageError } from '../../sim/types.js';
import type { CommandContext } from '../context.js';
import type { ExitCode } from '../exit-codes.js';
import { exitCodeOfFailure, exitCodes, worstOf } from '../exit-codes.js';
import { buildHash, failureFileOf } from '../failure-file.js';
import { checkWritable } from '../files.js';
import { pageOf } from '../html/page.js';
import { parseDuration, parseJobs, parseSeed, parseSeeds, quoteWord, repeatCommand, scenarioNamed } from '../parameters.js';
import { csvHeader, csvLine, parameterColumns, rowOf } from '../rows.js';
import { spliceWord } from '../splice.js';
import { reasonLine, storyLines } from '../story.js';
import type { ReportFolder } from './folder.js';
import { openReportFolder } from './folder.js';
import { junitOf } from './junit.js';
import type { Outcome } from './outcome.js';
import type { Case, Job, Plan } from './plan.js';
import { caseOf, jobAt, jobCount, planOf } from './plan.js';
import { runPool } from './pool.js';
import { startProgress } from './progress.js';
import type { Candidate } from './smallest.js';
import { keepFirst, shrinkFirst } from './smallest.js';
import { failsFor } from './required.js';
import type { Learned } from './steer.js';
import { Steering } from './steer.js';
import type { Summary } from './summary.js';
import { summaryOf } from './summary.js';
import type { Failure, Tally } from './tally.js';
import { count, newTally } from './tally.js';
import { failureLines, summaryLines, summaryTable } from './terminal.js';

export interface SweepOptions {
  all?: boolean;
  seeds?: string;
  time?: string;
  requireChecks?: boolean;
  jobs?: string;
  set: string[];
  vary: string[];
  out?: string;
  json?: boolean;
  junit?: string;
  /** False: the first failures are not shrunk. */
  shrink?: boolean;
  /** What was not reached fails the sweep, however narrow or short it is. */
  requireReached?: boolean;
  /** `on` or `off`. */
  steer?: string;
}

const defaultSeeds = '1..100';
/** Real checks of big databases take minutes; a run without an answer for this long hangs. */
const runTimeoutMs = 30 * 60_000;
/** Failures whose story the page shows. */
const storiesKept = 10;
/** Failures named as they happen. */
const failuresTold = 10;
const storyTailLines = 25;

export async function sweepCommand(names: readonly string[], options: SweepOptions, context: CommandContext): Promise<ExitCode> {
  const timeMs = options.time === undefined ? undefined : parseDuration(options.time);
  const plan = planFor(names, options, context);
  const steers = isSteered(options);
  const defaultJobs = plan.cases.every(({ scenario }) => scenario.isLarge) ? 1 : availableParallelism();
  const jobs = options.jobs === undefined ? defaultJobs : parseJobs(options.jobs);
  const command = commandLine(names, options);
  if (options.junit !== undefined) checkWritable(options.junit, '--junit');
  for (let index = 0; index < plan.cases.length; index++) context.engine.prepare(jobAt(plan, index).request);
  const build = buildHash();
  const columns = parameterColumns(plan.cases.map(({ scenario }) => scenario));
  const folder = openReportFolder(options.out ?? defaultFolder(names, plan, options), csvHeader(columns));
  const say = options.json === true ? context.err : context.out;

  if (options.json !== true) context.out(command);
  const tally = newTally(plan, context.engine.reachable);
  const steering = steers ? new Steering(plan, context.engine) : undefined;
  const jobOf = (index: number): Job | undefined => (steering === undefined ? jobAt(plan, index) : steering.jobAt(index));
  const broken: Extract<Outcome, { kind: 'broke' }>[] = [];
  const started = Date.now();
  const candidates: Candidate[] = [];
  let told = 0;
  const stop = new AbortController();
  const interrupt = interruptible(stop, folder);
  const timer = timeMs === undefined ? undefined : setTimeout(() => stop.abort(), timeMs);
  const progress = startProgress(process.stderr, jobCount(plan), timeMs);
  const outcomes = runPool({
    engineModule: context.engineModule,
    workerModule: new URL('./worker.js', import.meta.url),
    jobs,
    jobAt: jobOf,
    count: jobCount(plan),
    stop: stop.signal,
    runTimeoutMs,
  });
  try {
    const each = tap<Outcome>((outcome) => {
      if (outcome.kind === 'usage') throw new UsageError(outcome.message);
      if (outcome.kind === 'broke') broken.push(outcome);
      else {
        const job = jobOf(outcome.index)!;
        const learned = countRun(tally, caseOf(plan, outcome.index), job, outcome, { folder, columns, build, requireChecks: options.requireChecks === true, candidates });
        steering?.learn(job, learned);
      }
      const failure = tally.failures[told];
      if (failure !== undefined && told++ < failuresTold) progress.tell(`FAILED ${failure.scenario} seed ${failure.seed}: ${failure.detail}\n  repeat: ${failure.command}`);
      progress.update(tally.runs, tally.failures.length);
    });
    await lastValueFrom(outcomes.pipe(each), { defaultValue: undefined });
  } catch (error) {
    interrupt.end();
    folder.discard();
    throw error;
  } finally {
    progress.end();
    clearTimeout(timer);
  }
  const wallMs = Date.now() - started;
  try {
    if (options.shrink !== false && broken.length === 0) await shrinkFirst(candidates, { engineModule: context.engineModule, build, stop: interrupt.signal, folder });
  } catch (error) {
    folder.discard();
    throw error;
  } finally {
    interrupt.end();
  }

  const endedEarly = interrupt.happened() ? 'interrupted' : broken.length > 0 ? 'the harness broke' : undefined;
  const lastSeed = steering?.lastSeed ?? plan.seedFrom + Math.max(0, Math.ceil(tally.runs / plan.cases.length) - 1);
  const summary = summaryOf(tally, {
    command,
    seeds: { from: plan.seedFrom, to: steering === undefined ? (plan.seedTo ?? lastSeed) : lastSeed },
    requireChecks: options.requireChecks === true,
    ...(endedEarly === undefined ? {} : { endedEarly }),
    wallMs,
    reachable: context.engine.reachable,
    isWhole: names.length === 0 && options.set.length === 0 && options.vary.length === 0,
    isAsked: options.requireReached === true,
    ...(steering && { steering: { steeredRuns: steering.steeredRuns, found: steering.found } }),
  });
  const scenarios = plan.cases.map(({ scenario }) => scenario);
  const junit = junitOf(tally);
  folder.finish({ 'summary.json': `${JSON.stringify(summary, undefined, 1)}\n`, 'junit.xml': junit, 'index.html': pageOf(summary, tally, scenarios) });
  if (options.junit !== undefined) writeFileSync(options.junit, junit);

  if (options.json === true) context.out(JSON.stringify(summary));
  else for (const line of [summaryTable(summary), ...summaryLines(summary)]) context.out(line);
  const shownFolder = relative('', folder.path) || '.';
  say(`report: ${join(shownFolder, 'index.html')}`);
  for (const line of failureLines(summary, shownFolder)) say(line);
  for (const one of broken) {
    const { scenario } = caseOf(plan, one.index);
    context.err(`the harness broke in ${scenario.name} seed ${one.request.seed}: ${one.message}\n  repeat: ${repeatCommand(scenario, one.request)}`);
  }
  return exitCodeOf(tally, summary, broken.length > 0);
}

function exitCodeOf(tally: Tally, { required }: Summary, broken: boolean): ExitCode {
  const codes: ExitCode[] = tally.failures.map((failure) => (failure.liveness ? exitCodes.liveness : exitCodes.violation));
  if (broken) codes.push(exitCodes.broke);
  if (tally.nondeterminism.length > 0) codes.push(exitCodes.nondeterminism);
  if (failsFor(required)) codes.push(exitCodes.notReached);
  return worstOf(codes);
}

interface CountingContext {
  folder: ReportFolder;
  columns: readonly string[];
  build: string;
  /** Collects what may be shrunk. */
  candidates: Candidate[];
  requireChecks: boolean;
}

function countRun(tally: Tally, theCase: Case, { request }: Job, outcome: Extract<Outcome, { kind: 'ran' }>, context: CountingContext): Learned {
  const { result, repeatedHash, difference = [] } = outcome;
  const command = repeatCommand(theCase.scenario, request);
  context.folder.addRow(csvLine(rowOf(result), result.parameters, context.columns));
  if (repeatedHash !== undefined) {
    tally.repeated += 1;
    if (repeatedHash !== result.traceHash) {
      tally.nondeterminism.push({ scenario: result.scenario, seed: result.seed, firstHash: result.traceHash, secondHash: repeatedHash, command, difference });
    }
  }
  const failed = result.verdict === 'failed' || (context.requireChecks && result.verdict === 'unchecked');
  if (!failed) return count(tally, theCase, result, undefined);
  const name = fileName(theCase, result);
  const file = context.folder.addFailure(name, failureFileOf(request, result, command, context.build));
  const storyTail = tally.failures.length < storiesKept ? storyLines(result.story).slice(-storyTailLines) : [];
  const failure = failureOf(theCase, result, { command, file, name, storyTail });
  keepFirst(context.candidates, { failure, scenario: theCase.scenario, request });
  return count(tally, theCase, result, failure);
}

function failureOf(theCase: Case, result: RunResult, rest: Pick<Failure, 'command' | 'file' | 'name' | 'storyTail'>): Failure {
  return {
    scenario: result.scenario,
    seed: result.seed,
    label: theCase.label,
    verdict: result.verdict,
    properties: [...new Set(result.violations.map(({ property }) => property))],
    detail: reasonLine(result),
    liveness: exitCodeOfFailure(result) === exitCodes.liveness,
    traceHash: result.traceHash,
    ...rest,
  };
}

function fileName(theCase: Case, result: RunResult): string {
  return [result.scenario, result.seed, ...(theCase.label === '' ? [] : [theCase.label]), ...(result.splices ?? []).map(spliceWord)].join('-');
}

/** Named scenarios, or all of them; with a time, seeds go on from the first one. */
function planFor(names: readonly string[], options: SweepOptions, context: CommandContext): Plan {
  const { scenarios } = context.engine;
  if (options.all === true && names.length > 0) throw new UsageError('--all and names of scenarios do not go together; use one of them');
  const chosen = names.length === 0 ? [...scenarios] : [...new Set(names)].map((name) => scenarioNamed(scenarios, name));
  if (options.time === undefined) return planOf(chosen, parseSeeds(options.seeds ?? defaultSeeds), options.set, options.vary);
  if (options.seeds?.includes('..') === true) throw new UsageError('--time and a range of seeds do not go together; give --seeds only the first seed, or leave it out');
  return planOf(chosen, { from: parseSeed(options.seeds ?? '1') }, options.set, options.vary);
}

/** Not unless somebody asks: where it was measured, fresh seeds reached more (TESTING.md). */
function isSteered({ steer = 'off' }: SweepOptions): boolean {
  if (steer !== 'on' && steer !== 'off') throw new UsageError(`--steer ${steer} is neither on nor off`);
  return steer === 'on';
}

function commandLine(names: readonly string[], options: SweepOptions): string {
  const words = ['lockstep', 'sweep', ...(names.length === 0 ? ['--all'] : names)];
  if (options.time === undefined) words.push('--seeds', options.seeds ?? defaultSeeds);
  else words.push('--time', options.time, ...(options.seeds === undefined ? [] : ['--seeds', options.seeds]));
  for (const set of options.set) words.push('--set', set);
  for (const vary of options.vary) words.push('--vary', vary);
  if (options.requireChecks === true) words.push('--require-checks');
  if (options.requireReached === true) words.push('--require-reached');
  if (options.steer !== undefined) words.push('--steer', options.steer);
  if (options.shrink === false) words.push('--no-shrink');
  return words.map(quoteWord).join(' ');
}

function defaultFolder(names: readonly string[], plan: Plan, options: SweepOptions): string {
  const range = options.time === undefined ? `${plan.seedFrom}-${plan.seedTo}` : `${plan.seedFrom}-${options.time}`;
  return join('reports', 'out', `${names.length === 0 ? 'all' : [...new Set(names)].join('+')}-${range}`);
}

/** The first Ctrl-C ends the sweep with a report of what was done, the second one ends it without. */
function interruptible(stop: AbortController, folder: ReportFolder): { happened(): boolean; signal: AbortSignal; end(): void } {
  const interrupted = new AbortController();
  const onSignal = (): void => {
    if (interrupted.signal.aborted) {
      folder.discard();
      process.exit(130);
    }
    interrupted.abort();
    stop.abort();
  };
  process.on('SIGINT', onSignal);
  return { happened: () => interrupted.signal.aborted, signal: interrupted.signal, end: () => void process.off('SIGINT', onSignal) };
}
