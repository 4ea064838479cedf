/** `lockstep run`: one run; its configuration first, then the verdict, then the command that repeats it. */

import { join } from 'node:path';
import type { Pinned, RunRequest, RunResult, Scenario } from '../sim/types.js';
import type { CommandContext } from './context.js';
import type { Prepared } from './engine-types.js';
import { seconds } from './context.js';
import type { ExitCode } from './exit-codes.js';
import { exitCodeOfFailure, exitCodes } from './exit-codes.js';
import { buildHash, failureFileOf, writeFailureFile } from './failure-file.js';
import { checkWritable, makeFolder, systemProblem } from './files.js';
import { fillParameters, parseAssignment, parseSeed, repeatCommand, scenarioNamed } from './parameters.js';
import { rowOf } from './rows.js';
import { readSchedule } from './schedule-file.js';
import { parseSplices, spliceWord } from './splice.js';
import { storyLines, violationLines } from './story.js';

export interface RunOptions {
  seed: string;
  schedule?: string;
  splice: string[];
  set: string[];
  image?: string;
  trace?: string;
  timeline?: boolean;
  json?: boolean;
}

/** Failure files of single runs go here, below the current folder. */
const failureFolder = join('reports', 'out', 'failures');

/** What the words of the command ask for, checked. */
export function requestedRun(name: string, options: RunOptions, context: CommandContext): { scenario: Scenario; request: RunRequest; prepared: Prepared; command: string } {
  const scenario = scenarioNamed(context.engine.scenarios, name);
  const seed = parseSeed(options.seed);
  const parameters = fillParameters(scenario, options.set.map((text) => parseAssignment('--set', text)));
  const request: RunRequest = { scenario: scenario.name, parameters, seed };
  if (options.splice.length > 0) request.splices = parseSplices(options.splice, context.engine.prepare(request).streams);
  const prepared = context.engine.prepare(request);
  if (options.schedule !== undefined) request.schedule = readSchedule(options.schedule, prepared.hosts);
  for (const option of ['image', 'trace'] as const) {
    const path = options[option];
    if (path === undefined) continue;
    checkWritable(path, `--${option}`);
    request[option] = path;
  }
  return { scenario, request, prepared, command: repeatCommand(scenario, request, options.schedule) };
}

export function runCommand(name: string, options: RunOptions, context: CommandContext): ExitCode {
  const { scenario, request, prepared, command } = requestedRun(name, options, context);
  if (options.json !== true) for (const line of configurationLines(scenario, request, prepared, options.schedule)) context.out(line);
  const result = context.engine.run(request);
  if (options.json === true) context.out(JSON.stringify(jsonOf(result, command, options.timeline === true)));
  else {
    if (options.timeline === true) for (const line of ['', ...storyLines(result.story)]) context.out(line);
    for (const line of ['', ...resultLines(result)]) context.out(line);
  }

  const failed = result.verdict === 'failed';
  if (failed) saveFailure(request, result, command, options.json === true ? context.err : context.out, context.err);
  (options.json === true ? context.err : context.out)(`repeat: ${command}`);
  return failed ? exitCodeOfFailure(result) : exitCodes.held;
}

export function configurationLines(scenario: Scenario, request: RunRequest, prepared: Prepared, schedulePath?: string): string[] {
  const width = Math.max(8, ...scenario.parameters.map((spec) => spec.name.length));
  const line = (label: string, value: string, note = ''): string => `  ${label.padEnd(width)}  ${value}${note === '' ? '' : `  (${note})`}`;
  return [
    `${scenario.name}: ${scenario.summary}`,
    line('seed', String(request.seed)),
    ...(request.splices ?? []).map((splice) => line('splice', spliceWord(splice))),
    ...scenario.parameters.map((spec) => {
      const asked = request.parameters[spec.name]!;
      const value = prepared.resolved[spec.name] ?? asked;
      const note = value !== asked ? 'drawn from the seed' : value === spec.default ? 'default' : '';
      return line(spec.name, `${value}${spec.unit === undefined ? '' : ` ${spec.unit}`}`, note);
    }),
    line('schedule', request.schedule === undefined ? `${prepared.faults} faults, drawn from the seed` : `${request.schedule.length} faults${schedulePath === undefined ? '' : ` of ${schedulePath}`}`),
    ...(request.pinned === undefined ? [] : [line('pinned', pinnedWords(request.pinned))]),
    ...(request.image === undefined ? [] : [line('image', request.image)]),
    ...(request.trace === undefined ? [] : [line('trace', request.trace)]),
  ];
}

function pinnedWords({ durationUs, requests, entries, steady }: Pinned): string {
  const words = [
    ...(durationUs === undefined ? [] : [`a storm of ${seconds(durationUs)}`]),
    ...(requests === undefined ? [] : [`${requests.length} requests of the application`]),
    ...(entries === undefined ? [] : [`${entries} entries of the log`]),
    ...(steady === true ? ['network and disks without jitter'] : []),
  ];
  return words.join(', ');
}

export function resultLines(result: RunResult): string[] {
  const m = result.metrics;
  const tail = result.verdict === 'passed' || result.reason === undefined ? '' : `: ${result.reason}`;
  return [
    `writes     ${m.issuedWrites} issued, ${m.acknowledgedWrites} acknowledged`,
    `failovers  ${m.failovers}${m.failovers === 0 ? '' : `, longest time without service ${seconds(m.failoverUs)}`}`,
    `resync     ${m.resyncBits} blocks of 4 KiB, longest ${seconds(m.resyncUs)}`,
    `simulated  ${seconds(m.simulatedUs)}, ${m.inputs} inputs, ${m.outputs} outputs, ${m.disconnects} disconnects`,
    `trace hash ${result.traceHash}`,
    ...violationLines(result).map((line) => `VIOLATED   ${line}`),
    `verdict    ${result.verdict}${tail}`,
  ];
}

function jsonOf(result: RunResult, command: string, withStory: boolean): object {
  const { parameters, violations, crash, schedule, coverage, story } = result;
  return { ...rowOf(result), parameters, violations, ...(crash === undefined ? {} : { crash }), command, coverage, schedule, ...(withStory ? { story } : {}) };
}

/** A failure file that cannot be written is said, and changes nothing else: the verdict is worth more than the file. */
function saveFailure(request: RunRequest, result: RunResult, command: string, out: (line: string) => void, err: (line: string) => void): void {
  const path = join(failureFolder, `${result.scenario}-${result.seed}.json`);
  try {
    makeFolder(failureFolder, 'failure file');
    writeFailureFile(path, failureFileOf(request, result, command, buildHash()));
    out(`failure file: ${path}`);
  } catch (error) {
    err(`the failure file ${path} could not be written: ${systemProblem(error)}`);
  }
}
