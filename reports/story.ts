/** A run told to people: its timeline, its violations. */

import type { RunResult } from '../sim/types.js';
import { seconds } from './context.js';

export function storyLines(story: RunResult['story']): string[] {
  const hostWidth = story.reduce((width, line) => Math.max(width, line.host.length), 0);
  return story.map(({ atUs, host, text }) => `${seconds(atUs).padStart(15)}  ${host.padEnd(hostWidth)}  ${text}`);
}

/** A line per violation, and the first lines of what the core threw. */
export function violationLines(result: Pick<RunResult, 'violations' | 'crash'>): string[] {
  const lines = result.violations.map(({ property, atUs, detail }) => `${property} at ${seconds(atUs)}: ${detail}`);
  return result.crash === undefined ? lines : [...lines, ...`the core threw: ${result.crash}`.split('\n')];
}

/** Why a run did not pass, in one line. */
export function reasonLine(result: Pick<RunResult, 'violations' | 'crash' | 'reason' | 'verdict'>): string {
  return violationLines(result)[0] ?? result.reason ?? result.verdict;
}
