/**
 * What is shrunk: a failing run as the data that it was made of. Everything in it can be left out or made smaller and still be a run of
 * the scenario, with the scenario's own expectations; what those rest on (hosts, protocol, repairs after the storm) is not in it.
 */

import type { Fault, ListedRequest, Parameters, Pinned, PropertyName, RunRecord, RunRequest, RunResult, Splice } from '../../sim/types.js';

export interface Case {
  readonly scenario: string;
  readonly seed: number;
  readonly parameters: Parameters;
  /** Of a steered run; they stay as they are. */
  readonly splices?: readonly Splice[];
  readonly schedule: readonly Fault[];
  readonly pinned: Pinned;
}

/** What the last failing run of a case has shown. */
export interface Seen {
  record: RunRecord;
  /** When it was violated, from the beginning of the storm. */
  violatedUs: number;
}

export function requestOf({ schedule, pinned, ...rest }: Case): RunRequest {
  return { ...rest, schedule: [...schedule], pinned, record: true };
}

/** Faults, operators' acts, and requests of the application: what a reader has to follow. Entries of a recorded log do not count. */
export function eventsOf({ schedule, pinned }: Pick<Case, 'schedule' | 'pinned'>): number {
  return schedule.length + (pinned.requests?.length ?? 0);
}

/** The requests of a run, for a run of their own. */
export function requestsOf(record: RunRecord): ListedRequest[] {
  return record.requests.map(({ outcome: _, endedUs: __, ...request }) => request);
}

/** Why a run fails: a smaller one must fail for the same reason, or another bug would take the place of the one that was found. */
export type Failing = { property: PropertyName } | { assertion: string };

/** What a failed run violated first; undefined for a run that did not fail. */
export function failingOf({ violations, crash }: Pick<RunResult, 'violations' | 'crash'>): Failing | undefined {
  if (crash !== undefined) return { assertion: messageOf(crash) };
  return violations[0] && { property: violations[0].property };
}

export function failsLike(failing: Failing, { violations, crash }: Pick<RunResult, 'violations' | 'crash'>): boolean {
  if ('assertion' in failing) return crash !== undefined && messageOf(crash) === failing.assertion;
  return crash === undefined && violations.some(({ property }) => property === failing.property);
}

export function nameOf(failing: Failing): string {
  return 'property' in failing ? failing.property : `an assertion of the core (${failing.assertion})`;
}

/** Numbers differ from run to run. */
function messageOf(crash: string): string {
  return crash.split('\n')[0]!.replaceAll(/\d+/g, 'N');
}

export function seenIn(failing: Failing, result: RunResult): Seen {
  const record = result.record!;
  const violation = 'property' in failing ? result.violations.find(({ property }) => property === failing.property) : undefined;
  return { record, violatedUs: (violation?.atUs ?? result.metrics.simulatedUs) - record.beganUs };
}
