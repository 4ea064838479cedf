/**
 * The first failures of a sweep, shrunk: after all runs, so that nothing of the sweep depends on it. One of each kind (scenario and what it
 * violates), for a bounded time each; `lockstep shrink` takes all the time that it needs.
 */

import type { RunRequest, Scenario } from '../../sim/types.js';
import { failureFileOf } from '../failure-file.js';
import { quoteWord } from '../parameters.js';
import { startShrinkProgress } from '../shrink/progress.js';
import { Replayer } from '../shrink/replayer.js';
import { shrink } from '../shrink/shrink.js';
import { taleOf } from '../shrink/tale.js';
import type { ReportFolder } from './folder.js';
import { failurePath } from './folder.js';
import type { Failure } from './tally.js';

/** Failures that a sweep shrinks, and what it spends on each. */
const kindsShrunk = 3;
const replaysEach = 1000;
const timeEachMs = 60_000;

/** A failed run that may be shrunk, and its place in the tally. */
export interface Candidate {
  failure: Failure;
  scenario: Scenario;
  request: RunRequest;
}

/** Keeps the run if it is the first of its kind and there are few so far. */
export function keepFirst(candidates: Candidate[], candidate: Candidate): void {
  const kindOf = ({ failure }: Candidate): string => `${failure.scenario} ${failure.properties[0] ?? 'assertion'}`;
  const isNew = candidates.every((earlier) => kindOf(earlier) !== kindOf(candidate));
  if (isNew && candidates.length < kindsShrunk && candidate.failure.verdict === 'failed') candidates.push(candidate);
}

export interface ShrinkingContext {
  engineModule: string;
  build: string;
  /** Ctrl-C. */
  stop: AbortSignal;
  folder: ReportFolder;
}

/** Shrinks each, and writes into its failure what came of it. */
export async function shrinkFirst(candidates: readonly Candidate[], context: ShrinkingContext): Promise<void> {
  if (candidates.length === 0) return;
  const replayer = new Replayer(context.engineModule, new URL('./worker.js', import.meta.url), timeEachMs);
  const progress = startShrinkProgress(process.stderr);
  try {
    for (const { failure, scenario, request } of candidates) {
      const stop = AbortSignal.any([context.stop, AbortSignal.timeout(timeEachMs)]);
      const shrunk = await shrink({ scenario, request, replayer, replays: replaysEach, stop, onStep: (done, events) => progress.update(done, events) });
      // What hangs or does not fail again is told by the failure itself, and by the repeated runs.
      if (shrunk.kind !== 'shrunk') continue;
      const { eventsBefore, events, isComplete, result } = shrunk;
      const name = `${failure.name}.shrunk`;
      const command = `lockstep replay ${quoteWord(failurePath(name))}`;
      const file = context.folder.addFailure(name, failureFileOf(shrunk.request, result, command, context.build));
      failure.shrunk = { file, eventsBefore, events, isComplete, story: taleOf(result) };
    }
  } finally {
    progress.end();
    replayer.end();
  }
}
