/**
 * What a sweep runs, as an order of jobs that depends on nothing but the words of the command: seed by seed, within a seed each scenario
 * with each variation. A sweep that ends early has therefore tried all scenarios alike, and job number n is the same run whatever --jobs is.
 */

import type { Parameters, RunRequest, Scenario } from '../../sim/types.js';
import { UsageError } from '../../sim/types.js';
import { fillParameters, parseAssignment } from '../parameters.js';

export interface Case {
  scenario: Scenario;
  parameters: Parameters;
  /** The varied part, `protocol=A`; empty without --vary. Part of names of failure files. */
  label: string;
}

export interface Plan {
  cases: Case[];
  seedFrom: number;
  /** Absent: seeds go on until the time is over. */
  seedTo?: number;
}

export interface Job {
  index: number;
  request: RunRequest;
  /** Run it twice and compare the trace hashes. */
  repeat: boolean;
}

/** One in this many rows of runs (a seed, all scenarios) is made twice, beginning with the first. */
const repeatEvery = 50;

export const isRepeated = (row: number): boolean => row % repeatEvery === 0;

export function planOf(
  scenarios: readonly Scenario[],
  seeds: { from: number; to?: number },
  sets: readonly string[],
  varies: readonly string[],
): Plan {
  const fixed = sets.map((text) => parseAssignment('--set', text));
  const axes = varies.map((text) => {
    const { name, value } = parseAssignment('--vary', text);
    if (fixed.some((assignment) => assignment.name === name)) throw new UsageError(`'${name}' is both set and varied; use --set or --vary`);
    return value.split(',').map((one) => ({ name, value: one }));
  });
  let variations: { name: string; value: string }[][] = [[]];
  for (const axis of axes) variations = variations.flatMap((variation) => axis.map((one) => [...variation, one]));
  const cases = scenarios.flatMap((scenario) =>
    variations.map((variation) => ({
      scenario,
      parameters: fillParameters(scenario, [...fixed, ...variation]),
      label: variation.map(({ name, value }) => `${name}=${value}`).join(','),
    })),
  );
  return { cases, seedFrom: seeds.from, ...(seeds.to === undefined ? {} : { seedTo: seeds.to }) };
}

/** How many jobs there are; Infinity until the time is over. */
export function jobCount(plan: Plan): number {
  return plan.seedTo === undefined ? Infinity : (plan.seedTo - plan.seedFrom + 1) * plan.cases.length;
}

export function caseOf(plan: Plan, index: number): Case {
  return plan.cases[index % plan.cases.length]!;
}

export function jobAt(plan: Plan, index: number): Job {
  const { scenario, parameters } = caseOf(plan, index);
  const row = Math.floor(index / plan.cases.length);
  return { index, request: { scenario: scenario.name, parameters, seed: plan.seedFrom + row }, repeat: isRepeated(row) };
}
