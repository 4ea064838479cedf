/**
 * `lockstep replay FILE`: runs a failure file again with its own schedule and says whether it is the same run. A different trace hash means
 * nondeterminism only when the code is the same; otherwise the question is whether the failure is still there.
 *
 *   same hash                        the failure, repeated          exit 1 (or 3)
 *   other hash, same build           not deterministic              exit 4
 *   other hash, other build, fails   the failure is still there     exit 1 (or 3)
 *   other hash, other build, holds   the failure is gone            exit 0
 *
 * A recording of a production node (`lockadm record`) is told apart by its first bytes: replay-recording.ts.
 */

import type { RunResult } from '../sim/types.js';
import type { CommandContext } from './context.js';
import type { ExitCode } from './exit-codes.js';
import { exitCodeOfFailure, exitCodes } from './exit-codes.js';
import type { FailureFile } from './failure-file.js';
import { buildHash, readFailureFile, requestOfFile } from './failure-file.js';
import { quoteWord } from './parameters.js';
import { isRecordingFile, replayRecording } from './replay-recording.js';
import { configurationLines, resultLines } from './run.js';
import { storyLines } from './story.js';

export function replayCommand(path: string, options: { timeline?: boolean }, context: CommandContext): ExitCode {
  if (isRecordingFile(path)) return replayRecording(path, context);
  const file = readFailureFile(path, 'replay');
  const { scenario, request } = requestOfFile(file, context.engine.scenarios);
  for (const line of configurationLines(scenario, request, context.engine.prepare(request), path)) context.out(line);
  const result = context.engine.run(request);
  if (options.timeline === true) for (const line of ['', ...storyLines(result.story)]) context.out(line);
  for (const line of ['', ...resultLines(result), '']) context.out(line);

  const sameBuild = file.build === buildHash();
  const sameHash = result.traceHash === file.traceHash;
  context.out(`trace hash: ${sameHash ? `the same as recorded, ${file.traceHash}` : `differs, recorded was ${file.traceHash}`}`);
  context.out(`violations: ${sameViolations(file, result) ? 'the same as recorded' : `differ, recorded were ${violatedBy(file)}`}`);
  context.out(`code:       ${sameBuild ? 'the same build as recorded' : 'has changed since the recording'}`);
  const [code, statement] = judge(result, sameHash, sameBuild);
  context.out(statement);
  context.out(`repeat: lockstep replay ${quoteWord(path)}`);
  return code;
}

function judge(result: RunResult, sameHash: boolean, sameBuild: boolean): [ExitCode, string] {
  if (!sameHash && sameBuild) return [exitCodes.nondeterminism, 'NOT DETERMINISTIC: the same build made another run of the same request'];
  if (result.verdict === 'failed') return [exitCodeOfFailure(result), sameHash ? 'the failure is repeated' : 'the failure is still there, in a run that is no longer the same'];
  if (result.verdict === 'unchecked') return [exitCodes.violation, 'it cannot be said whether the failure is gone: the run was not checked'];
  return [exitCodes.held, 'the failure is gone'];
}

function sameViolations(file: FailureFile, result: RunResult): boolean {
  return JSON.stringify(file.violations) === JSON.stringify(result.violations) && firstLine(file.crash) === firstLine(result.crash);
}

function violatedBy(file: FailureFile): string {
  const names = [...new Set(file.violations.map(({ property }) => property as string))];
  if (file.crash !== undefined) names.push('an assertion of the core');
  return names.join(', ') || file.verdict;
}

/** The rest of what the core threw is a stack, which names the folder of the checkout. */
function firstLine(text: string | undefined): string | undefined {
  return text?.split('\n')[0];
}
