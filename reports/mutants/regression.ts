/**
 * `scenarios/regressions/`: for each bug a run that fails with the old rule and holds with ours, as small as shrinking made it, told as text. Below
 * the text, behind a line of its own, stands the run itself as JSON: what people read and what is played is one file.
 */

import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Parameters, Pinned, RunRequest, RunResult } from '../../sim/types.js';
import { UsageError } from '../../sim/types.js';
import type { Engine } from '../engine-types.js';
import { isRecord } from '../files.js';
import { fillParameters, scenarioNamed } from '../parameters.js';
import { checkPinned } from '../pinned.js';
import { checkSchedule } from '../schedule-file.js';
import { nameOf } from '../shrink/case.js';
import { Replayer } from '../shrink/replayer.js';
import { taleOf } from '../shrink/tale.js';
import type { Fate, Kept, Trial } from './fate.js';
import type { Mutant } from './mutant.js';
import { runTimeoutMs } from './workshop.js';

const folder = fileURLToPath(new URL('../../../scenarios/regressions/', import.meta.url));
const seam = '--- the run';

const pathOf = (id: string): string => join(folder, `${id}.txt`);

/** The ids that have a regression. */
export const regressionIds = (): string[] => (existsSync(folder) ? readdirSync(folder) : []).filter((name) => name.endsWith('.txt')).map((name) => name.slice(0, -'.txt'.length)).sort();

/** The run of a regression. Throws `UsageError` when the file is none. */
export function readRegression(id: string, engine: Engine): RunRequest {
  const path = pathOf(id);
  const text = readFileSync(path, 'utf8');
  const wrong = (what: string): UsageError => new UsageError(`${path} ${what}; 'lockstep mutants ${id} --keep' writes it anew`);
  const at = text.indexOf(`\n${seam}\n`);
  if (at < 0) throw wrong(`has no line '${seam}'`);
  const run: unknown = JSON.parse(text.slice(at + seam.length + 2));
  if (!isRecord(run) || typeof run['scenario'] !== 'string' || !Number.isSafeInteger(run['seed']) || !isRecord(run['parameters']) || !Array.isArray(run['schedule'])) {
    throw wrong('lacks its scenario, seed, parameters or schedule');
  }
  const scenario = scenarioNamed(engine.scenarios, run['scenario']);
  const parameters = fillParameters(scenario, Object.entries(run['parameters'] as Parameters).map(([name, value]) => ({ name, value: String(value) })));
  const schedule = checkSchedule(run['schedule'], path);
  if (run['pinned'] !== undefined) checkPinned(run['pinned'], path);
  return { scenario: scenario.name, parameters, seed: run['seed'] as number, schedule, ...(run['pinned'] !== undefined && { pinned: run['pinned'] as Pinned }) };
}

/** Plays the mutant's regression on the mutated core, which must be in the workshop. */
export async function playRegression(mutant: Mutant, { workshop, engine }: Trial): Promise<Fate['regression']> {
  if (!existsSync(pathOf(mutant.id))) return 'none';
  const replayer = new Replayer(workshop.engineModule.href, workshop.workerModule, runTimeoutMs);
  try {
    const outcome = await replayer.run(readRegression(mutant.id, engine));
    if (outcome.kind !== 'ran') return { caughtBy: 'hang' };
    const { verdict, violations, crash } = outcome.result;
    if (verdict !== 'failed') return 'holds';
    return { caughtBy: crash === undefined ? violations[0]!.property : 'assertion' };
  } finally {
    replayer.end();
  }
}

/** Of a run that was not made small, what the application asked would leave no room for what befell it. */
function toldOf(result: RunResult): RunResult {
  const { record } = result;
  return record === undefined || record.requests.length <= REQUESTS_TOLD ? result : { ...result, record: { ...record, requests: [] } };
}

const REQUESTS_TOLD = 12;

/** Writes a run that caught the mutant as its regression; returns the path. */
export function keepRegression(mutant: Mutant, { request, result, failing }: Kept, { engine }: Trial): string {
  mkdirSync(folder, { recursive: true });
  const path = pathOf(mutant.id);
  const { scenario, seed, schedule, pinned } = request;
  // A run also tells what the scenario has set by itself, and nobody else can.
  const knobs = scenarioNamed(engine.scenarios, scenario).parameters.map(({ name }) => name);
  const parameters = Object.fromEntries(Object.entries(request.parameters).filter(([name]) => knobs.includes(name)));
  const rule = (sign: string, text: string): string[] => text.replace(/\n$/, '').split('\n').map((line) => `${sign} ${line}`);
  const lines = [
    `${mutant.id}: ${mutant.summary}`,
    '',
    `The wrong rule, in ${mutant.file}:`,
    '',
    ...rule('-', mutant.oldText),
    ...rule('+', mutant.newText),
    '',
    `With it, this run of ${scenario} violates ${nameOf(failing)}; without it, it holds:`,
    '',
    ...taleOf(toldOf(result)),
    '',
    seam,
    JSON.stringify({ scenario, seed, parameters, schedule, ...(pinned && { pinned }) }),
  ];
  writeFileSync(path, `${lines.map((line) => line.trimEnd()).join('\n')}\n`);
  return path;
}
