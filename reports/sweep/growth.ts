/**
 * What runs have reached, class by class, and how that grew: when the last tenth of a sweep brings nothing new, more of the same runs would
 * bring little; when a class still grows, the sweep was too short to say what is never reached.
 */

import type { RunResult } from '../../sim/types.js';

export type Counts = Record<string, number>;

/** What a run reports, what follows from it (two kinds of faults in one run), and the situations that a scenario promises. */
export const coverageClasses = ['rules', 'states', 'transitions', 'packets', 'crashPositions', 'faults', 'faultPairs', 'sometimes'] as const;
export type CoverageClass = (typeof coverageClasses)[number];

export const classTitles: Record<CoverageClass, string> = {
  rules: 'rules',
  states: 'states',
  transitions: 'state transitions',
  packets: 'packet types',
  crashPositions: 'crash positions',
  faults: 'kinds of faults',
  faultPairs: 'pairs of kinds of faults',
  sometimes: 'situations',
};

/** So many things of the class were known after so many runs; a point for each run that brought something new. */
export type Growth = Record<CoverageClass, { runs: number; known: number }[]>;

export function noGrowth(): Growth {
  return Object.fromEntries(coverageClasses.map((name) => [name, []])) as unknown as Growth;
}

/** Every class but the situations, which count for their scenario. */
export function countsOf({ coverage }: Pick<RunResult, 'coverage'>): Record<Exclude<CoverageClass, 'sometimes'>, Counts> {
  const { sometimes: _, ...counts } = coverage;
  return { ...counts, faultPairs: pairsOf(Object.keys(coverage.faults)) };
}

function pairsOf(kinds: readonly string[]): Counts {
  const sorted = [...kinds].sort();
  return Object.fromEntries(sorted.flatMap((kind, index) => sorted.slice(index + 1).map((other) => [`${kind} + ${other}`, 1])));
}

/** Adds `more` to `sum`; returns the names that were not there, or 0, before. */
export function addAll(sum: Counts, more: Counts): string[] {
  const fresh: string[] = [];
  for (const [name, count] of Object.entries(more)) {
    const before = sum[name] ?? 0;
    if (before === 0 && count > 0) fresh.push(name);
    sum[name] = before + count;
  }
  return fresh;
}

/** The run number `runs` brought so many new things of the class. */
export function grow(growth: Growth, name: CoverageClass, runs: number, fresh: number): void {
  if (fresh === 0) return;
  const points = growth[name];
  points.push({ runs, known: (points.at(-1)?.known ?? 0) + fresh });
}

/** What the last tenth of so many runs brought, class by class. */
export function lastTenth(growth: Growth, runs: number): { fromRun: number; fresh: Record<CoverageClass, number> } {
  const fromRun = runs - Math.ceil(runs / 10) + 1;
  const knownAt = (name: CoverageClass, until: number): number => growth[name].findLast((point) => point.runs <= until)?.known ?? 0;
  const fresh = Object.fromEntries(coverageClasses.map((name) => [name, knownAt(name, runs) - knownAt(name, fromRun - 1)]));
  return { fromRun, fresh: fresh as Record<CoverageClass, number> };
}
