/**
 * What a sweep must have reached to mean something: a check that passed for want of trying proves nothing. A sweep of all scenarios, as they are, is
 * held against it as soon as it has had enough runs of each: every situation that a scenario promises, and every comparison rule, state
 * and packet type on the committed list of what two nodes can reach. `--require-reached` asks it of any sweep: of its scenarios' situations,
 * and of the list where it has all scenarios.
 */

import type { Engine } from '../engine-types.js';
import type { Tally } from './tally.js';

/** Runs of each scenario before "not reached" means more than "too few runs". */
export const RUNS_NEEDED = 100;

export interface RequiredContext {
  /** All scenarios, and no parameter was set. */
  isWhole: boolean;
  /** --require-reached. */
  isAsked: boolean;
  reachable: Engine['reachable'];
}

export interface Required {
  /** False: the sweep is too narrow or too short to say that something is never reached. */
  isJudged: boolean;
  /** Whether the list of what can be reached counts too, besides the scenarios' situations. */
  withList: boolean;
  /** Runs that each scenario needs where nobody asked for it, and what the one with the fewest has had. */
  runsNeeded: number;
  runsOfEach: number;
  /** In words, whether judged or not. */
  missing: string[];
}

export function requiredOf(tally: Tally, { isWhole, isAsked, reachable }: RequiredContext): Required {
  const runsOfEach = Math.min(...tally.scenarios.map(({ runs }) => runs));
  const missing = tally.scenarios.flatMap(({ scenario, promised, sometimes }) => promised.filter((name) => !(sometimes[name]! > 0)).map((name) => `${name} (${scenario})`));
  if (isWhole) {
    for (const [list, what] of [['rules', 'rule '], ['states', ''], ['packets', '']] as const) {
      for (const { name, reachable: can } of reachable[list]) if (can === true && !(tally.reached[list][name]! > 0)) missing.push(`${what}${name}`);
    }
  }
  return { isJudged: tally.runs > 0 && (isAsked || (isWhole && runsOfEach >= RUNS_NEEDED)), withList: isWhole, runsNeeded: RUNS_NEEDED, runsOfEach, missing };
}

export const failsFor = ({ isJudged, missing }: Required): boolean => isJudged && missing.length > 0;
