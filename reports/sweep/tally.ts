/**
 * Adds up a sweep, run by run in the order of the jobs: what `summary.json` says and what the plots draw. Memory stays bounded by what
 * differs, not by the number of runs, but for one short key per run (junit) and one number per failover (quantiles).
 */

import type { ParameterValue, PropertyName, RunResult, Verdict } from '../../sim/types.js';
import { propertyNames } from '../../sim/types.js';
import type { Engine } from '../engine-types.js';
import { rowOf } from '../rows.js';
import type { CoverageClass, Counts, Growth } from './growth.js';
import { addAll, countsOf, grow, noGrowth } from './growth.js';
import type { Case, Plan } from './plan.js';
import type { Learned } from './steer.js';

export type VerdictCounts = Record<Verdict, number>;

export interface Failure {
  scenario: string;
  seed: number;
  /** The varied part, empty without --vary. */
  label: string;
  verdict: Verdict;
  properties: PropertyName[];
  /** The first violation, crash or reason, in one line. */
  detail: string;
  liveness: boolean;
  traceHash: string;
  /** The line that repeats it. */
  command: string;
  /** Failure file, relative to the report folder, and its name without folder and ending. */
  file: string;
  name: string;
  /** The last lines of its story; only the first few failures of a sweep keep them. */
  storyTail: string[];
  /** The smallest run that fails alike; only the first failures of a sweep have one. */
  shrunk?: Shrunken;
}

export interface Shrunken {
  /** Failure file, relative to the report folder. */
  file: string;
  /** Faults, operators' acts and requests of the application. */
  eventsBefore: number;
  events: number;
  /** Nothing more can go. */
  isComplete: boolean;
  /** At most 25 lines. */
  story: string[];
}

export interface Nondeterminism {
  scenario: string;
  seed: number;
  firstHash: string;
  secondHash: string;
  command: string;
  /** The first event that differs, with the two before it. */
  difference: string[];
}

export interface ScenarioTally extends VerdictCounts {
  scenario: string;
  runs: number;
  acknowledgedWrites: number;
  failovers: number;
  resyncBytes: number;
  disconnects: number;
  simulatedMs: number;
  /** Situations that it should sometimes reach. */
  promised: readonly string[];
  sometimes: Counts;
}

/** One dot of a plot, and how many runs fell on it. */
export interface Dot {
  x: number;
  y: number;
  runs: number;
}

export interface Tally {
  runs: number;
  verdicts: VerdictCounts;
  scenarios: ScenarioTally[];
  /** Property → violations; all properties are there. */
  properties: Record<PropertyName, number>;
  crashes: number;
  /** All classes but the situations, which are the scenarios'. What can be reached and was not is 0. */
  reached: Record<Exclude<CoverageClass, 'sometimes'>, Counts>;
  growth: Growth;
  /** `scenario: reason` → runs that were not checked, or excused. */
  reasons: Counts;
  failures: Failure[];
  repeated: number;
  nondeterminism: Nondeterminism[];
  /** Scenario → parameter → value → verdicts; values as the runs resolved them. */
  byParameter: Map<string, Map<string, Map<ParameterValue, VerdictCounts>>>;
  /** Scenario → resync time (s) against the active set at the crash (extents). */
  resyncDots: Map<string, Map<string, Dot>>;
  /** Scenario → times without service, one per run with a failover, in ms. */
  failoverMs: Map<string, number[]>;
  /** Scenario → longest resync of each run that had one, in ms. */
  resyncMs: Map<string, number[]>;
  /** Dots that had no room. */
  dotsLeftOut: number;
  /** Every run's name and verdict, for junit. */
  cases: { scenario: string; name: string; verdict: Verdict; reason: string }[];
}

/** More dots than this cannot be told apart in a plot of a few hundred pixels. */
const maxDotsPerScenario = 1500;

export function newTally(plan: Plan, reachable: Engine['reachable']): Tally {
  const tally: Tally = {
    runs: 0,
    verdicts: noVerdicts(),
    scenarios: [],
    properties: Object.fromEntries(propertyNames.map((name) => [name, 0])) as Record<PropertyName, number>,
    crashes: 0,
    reached: { rules: {}, states: {}, transitions: {}, packets: {}, crashPositions: {}, faults: {}, faultPairs: {} },
    growth: noGrowth(),
    reasons: {},
    failures: [],
    repeated: 0,
    nondeterminism: [],
    byParameter: new Map(),
    resyncDots: new Map(),
    failoverMs: new Map(),
    resyncMs: new Map(),
    dotsLeftOut: 0,
    cases: [],
  };
  for (const name of ['rules', 'states', 'packets'] as const) {
    for (const item of reachable[name]) if (item.reachable === true) tally.reached[name][item.name] = 0;
  }
  for (const { scenario } of plan.cases) {
    if (tally.scenarios.some((known) => known.scenario === scenario.name)) continue;
    const sometimes = Object.fromEntries(scenario.sometimes.map((name) => [name, 0]));
    tally.scenarios.push({
      scenario: scenario.name,
      runs: 0,
      ...noVerdicts(),
      acknowledgedWrites: 0,
      failovers: 0,
      resyncBytes: 0,
      disconnects: 0,
      simulatedMs: 0,
      promised: scenario.sometimes,
      sometimes,
    });
  }
  return tally;
}

export function noVerdicts(): VerdictCounts {
  return { passed: 0, failed: 0, unchecked: 0, excused: 0 };
}

/**
 * Counts one run. `failure` is set when the run counts as failed (with --require-checks an unchecked one does). Returns what it reached,
 * for steering.
 */
export function count(tally: Tally, theCase: Case, result: RunResult, failure: Failure | undefined): Learned {
  const row = rowOf(result);
  const perScenario = tally.scenarios.find((known) => known.scenario === result.scenario)!;
  tally.runs += 1;
  tally.verdicts[result.verdict] += 1;
  perScenario.runs += 1;
  perScenario[result.verdict] += 1;
  perScenario.acknowledgedWrites += row.acknowledgedWrites;
  perScenario.failovers += row.failovers;
  perScenario.resyncBytes += row.resyncBytes;
  perScenario.disconnects += row.disconnects;
  perScenario.simulatedMs += row.simulatedMs;
  for (const violation of result.violations) tally.properties[violation.property] += 1;
  if (result.crash !== undefined) tally.crashes += 1;
  const learned = countCoverage(tally, perScenario, result);
  if (result.verdict === 'unchecked' || result.verdict === 'excused') addAll(tally.reasons, { [`${result.scenario}: ${withoutPaths(row.reason)}`]: 1 });
  if (failure !== undefined) tally.failures.push(failure);
  countParameters(tally, result);
  countTimes(tally, row);
  const name = [`seed ${result.seed}`, theCase.label, row.splices].filter((words) => words !== '').join(' ');
  tally.cases.push({ scenario: result.scenario, name, verdict: failure === undefined ? result.verdict : 'failed', reason: failure === undefined ? row.reason : `${failure.detail}\n${failure.command}` });
  return learned;
}

function countCoverage(tally: Tally, perScenario: ScenarioTally, result: RunResult): Learned {
  const things: string[] = [];
  const allFresh: string[] = [];
  const add = (name: CoverageClass, sum: Counts, more: Counts): void => {
    const fresh = addAll(sum, more);
    grow(tally.growth, name, tally.runs, fresh.length);
    const named = (thing: string): string => `${name} ${name === 'sometimes' ? `${result.scenario} ` : ''}${thing}`;
    things.push(...Object.keys(more).map(named));
    allFresh.push(...fresh.map(named));
  };
  const counts = countsOf(result);
  for (const name of Object.keys(counts) as (keyof typeof counts)[]) add(name, tally.reached[name], counts[name]);
  add('sometimes', perScenario.sometimes, result.coverage.sometimes);
  return { things, fresh: allFresh };
}

/** Reasons name files; runs with the same reason count together. */
function withoutPaths(reason: string): string {
  return reason.replaceAll(/[^\s,;:]*\/[^\s,;:]*/g, '…');
}

function countParameters(tally: Tally, result: RunResult): void {
  const parameters = entry(tally.byParameter, result.scenario, () => new Map<string, Map<ParameterValue, VerdictCounts>>());
  for (const [name, value] of Object.entries(result.parameters)) {
    const values = entry(parameters, name, () => new Map<ParameterValue, VerdictCounts>());
    entry(values, value, noVerdicts)[result.verdict] += 1;
  }
}

function countTimes(tally: Tally, row: ReturnType<typeof rowOf>): void {
  if (row.failoverMs > 0) entry(tally.failoverMs, row.scenario, () => []).push(row.failoverMs);
  if (row.resyncMs === 0) return;
  entry(tally.resyncMs, row.scenario, () => []).push(row.resyncMs);
  if (row.activeExtentsAtCrash === 0) return;
  const dots = entry(tally.resyncDots, row.scenario, () => new Map<string, Dot>());
  const dot = { x: row.activeExtentsAtCrash, y: Number((row.resyncMs / 1000).toPrecision(3)), runs: 0 };
  const key = `${dot.x} ${dot.y}`;
  if (dots.has(key) || dots.size < maxDotsPerScenario) entry(dots, key, () => dot).runs += 1;
  else tally.dotsLeftOut += 1;
}

function entry<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}

/** The value below which `share` (0..1) of the values lie; 0 of none. */
export function quantile(values: readonly number[], share: number): number {
  if (values.length === 0) return 0;
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!;
}
