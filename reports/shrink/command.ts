/**
 * `lockstep shrink FILE`: takes everything out of a failing run that it does not need to fail, writes the rest as a failure file that
 * `lockstep replay` repeats, and tells it as a story. Exits as `replay` does: 1 or 3 it fails, 0 the failure is gone, 4 not deterministic.
 */

import { extname } from 'node:path';
import type { Scenario } from '../../sim/types.js';
import { UsageError } from '../../sim/types.js';
import type { CommandContext } from '../context.js';
import type { ExitCode } from '../exit-codes.js';
import { exitCodeOfFailure, exitCodes } from '../exit-codes.js';
import { buildHash, failureFileOf, readFailureFile, requestOfFile, writeFailureFile } from '../failure-file.js';
import { checkWritable } from '../files.js';
import { parseDuration, quoteWord } from '../parameters.js';
import { isRecordingFile } from '../replay-recording.js';
import { nameOf } from './case.js';
import { startShrinkProgress } from './progress.js';
import { Replayer } from './replayer.js';
import type { Shrunk } from './shrink.js';
import { shrink } from './shrink.js';
import { taleOf } from './tale.js';

export interface ShrinkCommandOptions {
  out?: string;
  time?: string;
  replays: string;
}

/** Real checks of big databases take minutes. */
const runTimeoutMs = 10 * 60_000;

export async function shrinkCommand(path: string, options: ShrinkCommandOptions, context: CommandContext): Promise<ExitCode> {
  if (isRecordingFile(path)) throw new UsageError(`shrink: '${path}' is a recording of a production node, whose inputs cannot be left out; 'lockstep replay' repeats it`);
  const file = readFailureFile(path, 'shrink');
  const { scenario, request } = requestOfFile(file, context.engine.scenarios);
  const replays = parseReplays(options.replays);
  const timeMs = options.time === undefined ? undefined : parseDuration(options.time);
  const out = options.out ?? shrunkPath(path);
  checkWritable(out, '--out');

  const stop = new AbortController();
  const timer = timeMs === undefined ? undefined : setTimeout(() => stop.abort(), timeMs);
  const interrupt = interruptible(stop);
  const progress = startShrinkProgress(process.stderr);
  const replayer = new Replayer(context.engineModule, new URL('../sweep/worker.js', import.meta.url), runTimeoutMs);
  let shrunk: Shrunk;
  try {
    shrunk = await shrink({ scenario, request, replayer, replays, stop: stop.signal, onStep: (done, events) => progress.update(done, events) });
  } finally {
    progress.end();
    clearTimeout(timer);
    interrupt.end();
    replayer.end();
  }
  switch (shrunk.kind) {
    case 'broke':
      context.err(`shrink: the run of '${path}' cannot be repeated: ${shrunk.message}`);
      return exitCodes.broke;
    case 'holds': {
      const { verdict, traceHash } = shrunk.result;
      if (traceHash !== file.traceHash && file.build === buildHash()) {
        context.out('NOT DETERMINISTIC: the same build made another run of the same request, and it does not fail');
        return exitCodes.nondeterminism;
      }
      context.out(`the run of '${path}' does not fail any more (${verdict}): there is nothing to shrink`);
      return verdict === 'unchecked' ? exitCodes.violation : exitCodes.held;
    }
    case 'shrunk':
      break;
    default:
      return shrunk satisfies never;
  }
  writeFailureFile(out, failureFileOf(shrunk.request, shrunk.result, `lockstep replay ${quoteWord(out)}`, buildHash()));
  for (const line of [...shrunkLines(shrunk, scenario), `failure file: ${out}`, `repeat: lockstep replay ${quoteWord(out)}`]) context.out(line);
  return exitCodeOfFailure(shrunk.result);
}

/** What it fails, how much is left, the parameters that are not as usual, and the story. */
export function shrunkLines({ request, result, failing, events, eventsBefore, replays, isComplete }: Extract<Shrunk, { kind: 'shrunk' }>, scenario: Scenario): string[] {
  const parameters = scenario.parameters.filter((spec) => result.parameters[spec.name] !== spec.default);
  return [
    `${scenario.name} seed ${request.seed} violates ${nameOf(failing)}: ${eventsBefore} events shrunk to ${events} in ${replays} replays${isComplete ? '' : ' (ended early: perhaps more can go)'}`,
    `with ${parameters.map(({ name }) => `${name}=${result.parameters[name]}`).join(' ')}`,
    '',
    ...taleOf(result),
    '',
  ];
}

export function shrunkPath(path: string): string {
  const extension = extname(path);
  return `${path.slice(0, path.length - extension.length)}.shrunk${extension}`;
}

export function parseReplays(text: string): number {
  const replays = Number(text);
  if (!Number.isInteger(replays) || replays < 1) throw new UsageError(`--replays ${text} is impossible; give a number from 1`);
  return replays;
}

/** Ctrl-C ends it with the smallest failure so far, a second one without. */
function interruptible(stop: AbortController): { end(): void } {
  const onSignal = (): void => {
    if (stop.signal.aborted) process.exit(130);
    stop.abort();
  };
  process.on('SIGINT', onSignal);
  return { end: () => void process.off('SIGINT', onSignal) };
}
