/** `lockstep run … --reseed-from`: one run and its futures, as a plot on the terminal and a page. */

import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { lastValueFrom, tap, toArray } from 'rxjs';
import type { RunResult } from '../../sim/types.js';
import { UsageError } from '../../sim/types.js';
import type { CommandContext } from '../context.js';
import { seconds } from '../context.js';
import type { ExitCode } from '../exit-codes.js';
import { exitCodeOfFailure, exitCodes } from '../exit-codes.js';
import { makeFolder } from '../files.js';
import { parseJobs } from '../parameters.js';
import { configurationLines, requestedRun, resultLines, type RunOptions } from '../run.js';
import { storyLines } from '../story.js';
import { runPool } from '../sweep/pool.js';
import { startProgress } from '../sweep/progress.js';
import { curveOf, failureOf, shareOf, stepOf, type Point, type Runner, type Step } from './curve.js';
import { pageOf } from './page.js';

export interface ReseedOptions extends RunOptions {
  reseedFrom: string;
  futures?: string;
  jobs?: string;
  out?: string;
}

const FUTURES = 30;
const FUTURES_MAX = 10_000;
/** Of what happened at the step. */
const STORY_LINES_MAX = 25;
const BAR_CELLS = 40;
const RUN_TIMEOUT_MS = 120_000;

export async function reseedCommand(name: string, options: ReseedOptions, context: CommandContext): Promise<ExitCode> {
  for (const option of ['trace', 'image', 'timeline'] as const) if (options[option] !== undefined) throw new UsageError(`--${option} is of one run, --reseed-from of many; give one of them`);
  const { scenario, request, prepared, command } = requestedRun(name, options, context);
  const futures = options.futures === undefined ? FUTURES : wholeNumber(options.futures);
  const moment = options.reseedFrom === 'auto' ? undefined : parseMoment(options.reseedFrom);
  const jobs = options.jobs === undefined ? (scenario.isLarge ? 1 : availableParallelism()) : parseJobs(options.jobs);
  const say = options.json === true ? context.err : context.out;
  const words = [command, '--reseed-from', options.reseedFrom, ...(options.futures === undefined ? [] : ['--futures', options.futures])].join(' ');

  for (const line of configurationLines(scenario, request, prepared, options.schedule)) say(line);
  const original = context.engine.run(request);
  for (const line of ['', ...resultLines(original)]) say(line);
  if (original.verdict !== 'failed') {
    say('it does not fail, so there is no moment to look for');
    say(`repeat: ${words}`);
    return exitCodes.held;
  }
  if (moment !== undefined && moment > failureOf(original)) throw new UsageError(`it fails at ${seconds(failureOf(original))}; give --reseed-from a moment before that, or auto`);

  const points = await curveOf(request, original, moment === undefined ? undefined : [moment], futures, pool(context, jobs, say));
  const step = stepOf(points);
  const story = step ? storyBetween(original, step.before.atUs, step.after.atUs) : [];
  if (options.json === true) context.out(JSON.stringify({ scenario: scenario.name, seed: request.seed, failedAtUs: failureOf(original), points, ...(step && { step: { fromUs: step.before.atUs, toUs: step.after.atUs, shareBefore: step.shareBefore, shareAfter: step.shareAfter } }), command: words }));
  else for (const line of ['', ...plotLines(points), '', ...stepLines(points, step, story)]) context.out(line);
  const folder = options.out ?? join('reports', 'out', 'reseed', `${scenario.name}-${request.seed}`);
  makeFolder(folder, 'page');
  writeFileSync(join(folder, 'index.html'), pageOf({ title: `${scenario.name}, seed ${request.seed}`, command: words, original, points, step, story }));
  say(`page: ${join(folder, 'index.html')}`);
  say(`repeat: ${words}`);
  return exitCodeOfFailure(original);
}

/** Runs on worker threads; the progress counts all futures of one look. */
const pool =
  ({ engineModule }: CommandContext, jobs: number, say: (line: string) => void): Runner =>
  async (requests) => {
    const progress = startProgress(process.stderr, requests.length);
    let done = 0;
    let failures = 0;
    const outcomes = runPool({
      engineModule,
      workerModule: new URL('../sweep/worker.js', import.meta.url),
      jobs,
      jobAt: (index) => requests[index],
      count: requests.length,
      stop: new AbortController().signal,
      runTimeoutMs: RUN_TIMEOUT_MS,
    }).pipe(
      tap((outcome) => {
        if (outcome.kind === 'ran' && outcome.result.verdict === 'failed') failures++;
        progress.update(++done, failures);
      }),
      toArray(),
    );
    try {
      return await lastValueFrom(outcomes, { defaultValue: [] });
    } finally {
      progress.end();
      if (requests.length === 0) say('nothing is left to look at');
    }
  };

/** `12.5s` or `12.5`: seconds of simulated time, as in a timeline. */
function parseMoment(text: string): number {
  const match = /^(\d+(?:\.\d{1,6})?)s?$/.exec(text);
  if (!match) throw new UsageError(`'${text}' is no moment; write --reseed-from 12.5s (seconds of the timeline), or --reseed-from auto`);
  return Math.round(Number(match[1]) * 1_000_000);
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > FUTURES_MAX) throw new UsageError(`--futures ${text} is impossible; give a number from 1 to ${FUTURES_MAX}`);
  return value;
}

function storyBetween({ story }: RunResult, fromUs: number, toUs: number): string[] {
  const between = story.filter(({ atUs }) => atUs >= fromUs && atUs < toUs);
  const left = between.length - STORY_LINES_MAX;
  return [...storyLines(between.slice(0, STORY_LINES_MAX)), ...(left > 0 ? [`… and ${left} more lines with --timeline`] : [])];
}

function plotLines(points: readonly Point[]): string[] {
  const others = points.some(({ otherwise }) => otherwise > 0);
  return [
    `${'from'.padStart(15)}  share of the futures that fail like it${others ? ' (and those that fail otherwise)' : ''}`,
    ...points.map((point) => {
      const cells = Math.round(shareOf(point) * BAR_CELLS);
      const percent = `${Math.round(100 * shareOf(point))} %`;
      return `${seconds(point.atUs).padStart(15)}  ${'█'.repeat(cells).padEnd(BAR_CELLS, '·')}  ${percent.padStart(5)}  ${point.failed} of ${point.futures}${point.otherwise > 0 ? ` (${point.otherwise})` : ''}`;
    }),
  ];
}

function stepLines(points: readonly Point[], step: Step | undefined, story: readonly string[]): string[] {
  if (points.length === 1) return [];
  if (!step) return ['there is no clear step: what is wrong was there from the beginning, or --futures are too few'];
  const { before, after, shareBefore, shareAfter } = step;
  const words = `the step, from ${Math.round(100 * shareBefore)} % before to ${Math.round(100 * shareAfter)} % after, is between ${seconds(before.atUs)} and ${seconds(after.atUs)}`;
  return story.length === 0 ? [`${words}; the nodes say nothing then`] : [`${words}; then:`, ...story];
}
