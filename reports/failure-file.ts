/**
 * The failure file: one failed run with all that repeats it, as JSON. `lockstep replay` takes it, `lockstep run --schedule` takes its
 * schedule, and people read its story. The schedule is in it, so that the run stays the same run when a scenario later draws its faults
 * differently.
 */

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Fault, Parameters, ParameterValue, Pinned, RunRequest, RunResult, Scenario, Splice, Verdict, Violation } from '../sim/types.js';
import { propertyNames, UsageError } from '../sim/types.js';
import { isRecord, readJson } from './files.js';
import { fillParameters, scenarioNamed } from './parameters.js';
import { checkPinned } from './pinned.js';
import { checkSchedule } from './schedule-file.js';
import { checkSplices } from './splice.js';

const kind = 'lockstep failure';
const format = `${kind} 1` as const;

export interface FailureFile {
  format: typeof format;
  /** The line that repeats the run. */
  command: string;
  scenario: string;
  seed: number;
  /** As the run was asked for; what the scenario drew from the seed is under `resolved`. */
  parameters: Parameters;
  resolved: Parameters;
  /** What a steered run drew in another way than its seed says. */
  splices?: readonly Splice[];
  verdict: Verdict;
  reason?: string;
  violations: Violation[];
  crash?: string;
  traceHash: string;
  /** Hash of the compiled code that failed: tells a nondeterministic run from code that has changed since. */
  build: string;
  story: RunResult['story'];
  schedule: Fault[];
  /** What else a shrunk run has in the place of what its scenario draws. */
  pinned?: Pinned;
}

export function failureFileOf(request: RunRequest, result: RunResult, command: string, build: string): FailureFile {
  return {
    format,
    command,
    scenario: result.scenario,
    seed: result.seed,
    parameters: request.parameters,
    resolved: result.parameters,
    ...(request.splices === undefined ? {} : { splices: request.splices }),
    verdict: result.verdict,
    ...(result.reason === undefined ? {} : { reason: result.reason }),
    violations: result.violations,
    ...(result.crash === undefined ? {} : { crash: result.crash }),
    traceHash: result.traceHash,
    build,
    story: result.story,
    schedule: result.schedule,
    ...(request.pinned === undefined ? {} : { pinned: request.pinned }),
  };
}

export function writeFailureFile(path: string, failure: FailureFile): void {
  writeFileSync(path, `${JSON.stringify(failure, undefined, 1)}\n`);
}

/** The run of a failure file. */
export function requestOfFile(file: FailureFile, scenarios: readonly Scenario[]): { scenario: Scenario; request: RunRequest } {
  const scenario = scenarioNamed(scenarios, file.scenario);
  const parameters = fillParameters(scenario, Object.entries(file.parameters).map(([name, value]) => ({ name, value: String(value) })));
  const { seed, splices, schedule, pinned } = file;
  return { scenario, request: { scenario: scenario.name, parameters, seed, ...(splices && { splices }), schedule, ...(pinned && { pinned }) } };
}

/** Reads and checks a failure file for the verb `by`; what is not one is a `UsageError`. */
export function readFailureFile(path: string, by: 'replay' | 'shrink'): FailureFile {
  const value = readJson(path, by);
  const wrong = (what: string): UsageError => new UsageError(`${by}: '${path}' ${what}; give a file that 'lockstep run' or 'lockstep sweep' wrote for a failure`);
  if (!isRecord(value)) throw wrong('is no failure file');
  const written = value['format'];
  if (typeof written === 'string' && written.startsWith(kind) && written !== format) {
    throw new UsageError(`${by}: '${path}' has the format '${written}', and this release reads '${format}'; ${by} it with the release that wrote it`);
  }
  if (written !== format) throw wrong('is no failure file');
  const { scenario, seed, parameters, violations, traceHash, build, story, schedule, verdict } = value;
  if (typeof scenario !== 'string' || typeof traceHash !== 'string' || typeof build !== 'string' || typeof verdict !== 'string') {
    throw wrong('lacks its scenario, verdict, traceHash or build');
  }
  if (!Number.isSafeInteger(seed)) throw wrong('has no seed');
  if (!isRecord(parameters) || !Object.values(parameters).every(isParameterValue)) throw wrong('has no parameters');
  if (!Array.isArray(violations) || !violations.every((v) => isRecord(v) && (propertyNames as readonly unknown[]).includes(v['property']))) {
    throw wrong('has no list of violations');
  }
  if (!Array.isArray(story) || !Array.isArray(schedule)) throw wrong('has no story or schedule');
  checkSchedule(schedule, `${by} ${path}`);
  if (value['splices'] !== undefined) checkSplices(value['splices'], `${by} ${path}`);
  if (value['pinned'] !== undefined) checkPinned(value['pinned'], `${by} ${path}`);
  return value as unknown as FailureFile;
}

function isParameterValue(value: unknown): value is ParameterValue {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
}

/** Hash of the compiled core, simulator and scenarios beside this file: 16 hexadecimal digits. */
export function buildHash(): string {
  const compiled = join(dirname(fileURLToPath(import.meta.url)), '..');
  const hash = createHash('sha256');
  for (const room of ['src', 'sim', 'scenarios']) {
    const files = readdirSync(join(compiled, room), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.js'));
    for (const name of files.sort()) hash.update(name).update('\0').update(readFileSync(join(compiled, room, name)));
  }
  return hash.digest('hex').slice(0, 16);
}
