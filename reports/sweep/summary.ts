/**
 * `summary.json`, also what `sweep --json` prints: the design's fields, and beside each count what was not reached, so that a check that
 * passed for want of trying is seen.
 */

import type { ParameterValue, PropertyName } from '../../sim/types.js';
import type { Reachable } from '../engine-types.js';
import type { Counts, CoverageClass, Growth } from './growth.js';
import { lastTenth } from './growth.js';
import type { Required, RequiredContext } from './required.js';
import { requiredOf } from './required.js';
import type { Failure, Nondeterminism, Tally, VerdictCounts } from './tally.js';
import { noVerdicts, quantile } from './tally.js';

export interface Summary {
  command: string;
  scenarios: string[];
  seeds: { from: number; to: number };
  runs: number;
  passed: number;
  failed: number;
  unchecked: number;
  excused: number;
  /** Unchecked runs count as failures. */
  requireChecks: boolean;
  /** Why fewer runs than asked for: a signal, a broken harness. Absent when all were done. */
  endedEarly?: string;
  runsPerSecond: number;
  wallSeconds: number;
  simulatedSeconds: number;
  /** Property → violations. */
  properties: Record<PropertyName, number>;
  /** Runs in which the core broke one of its own assertions. */
  crashes: number;
  /** Name → how often it was seen, over all scenarios; what a scenario promises and never saw is 0. */
  sometimes: Counts;
  sometimesByScenario: Record<string, Counts>;
  sometimesNotReached: { scenario: string; name: string }[];
  /** Rule that made a decision → how often; reachable comparison rules that were not reached are 0. */
  rules: Counts;
  /** DRBD name → how many were sent and arrived; reachable ones that did not are 0. */
  packets: Counts;
  /** `field:State` → how often it was entered; reachable ones that were not are 0. */
  states: Counts;
  /** Rules, states and packets held against the committed list of what two nodes can reach. */
  reach: { rules: Reach; states: Reach; packets: Reach };
  /** What the sweep must have reached, and whether it was long and wide enough to be held against it. */
  required: Required;
  /** `field:State→State` → how often. */
  transitions: Counts;
  /** `write log | flush meta`: how often a host died behind the one and before the end of the other. */
  crashPositions: Counts;
  faults: Counts;
  /** `crash + cut` → runs with both. */
  faultPairs: Counts;
  /** How many things were known after how many runs. */
  growth: Growth;
  lastTenth: { fromRun: number; fresh: Record<CoverageClass, number> };
  /** Absent with --steer off: runs that were spliced from others, and how many things they were the first to reach. */
  steering?: SteeringSummary;
  /** Why runs were unchecked or excused. */
  reasons: Counts;
  failoverMs: Quantiles;
  resyncMs: Quantiles;
  byScenario: ({ scenario: string; runs: number; acknowledgedWrites: number; failovers: number; resyncBytes: number; disconnects: number; simulatedMs: number } & VerdictCounts)[];
  byParameter: ({ scenario: string; parameter: string; value: ParameterValue } & VerdictCounts)[];
  /** Runs that were made twice to compare their trace hashes. */
  repeated: number;
  nondeterminism: Nondeterminism[];
  failures: Omit<Failure, 'liveness' | 'label' | 'name' | 'storyTail'>[];
}

export interface Reach {
  /** How many can be reached. */
  reachable: number;
  notReached: { name: string; how?: string }[];
  /** Name → why two nodes cannot reach it. */
  unreachable: Record<string, string>;
  /** Reached although the list says that it cannot be: the list or the core is wrong. */
  unexpected: string[];
}

export interface SteeringSummary {
  steeredRuns: number;
  found: { steered: number; fresh: number };
}

export interface Quantiles {
  count: number;
  median: number;
  p90: number;
  p99: number;
  max: number;
}

export interface SummaryContext extends RequiredContext {
  command: string;
  seeds: { from: number; to: number };
  requireChecks: boolean;
  endedEarly?: string;
  wallMs: number;
  steering?: SteeringSummary;
}

/** A parameter with more values than this is shown in ranges (numbers) or not at all (texts). */
const maxValues = 12;

export function summaryOf(tally: Tally, context: SummaryContext): Summary {
  const sometimes: Counts = {};
  for (const scenario of tally.scenarios) {
    for (const [name, runs] of Object.entries(scenario.sometimes)) sometimes[name] = (sometimes[name] ?? 0) + runs;
  }
  const wallSeconds = Math.max(context.wallMs, 1) / 1000;
  return {
    command: context.command,
    scenarios: tally.scenarios.map((scenario) => scenario.scenario),
    seeds: context.seeds,
    runs: tally.runs,
    ...tally.verdicts,
    requireChecks: context.requireChecks,
    ...(context.endedEarly === undefined ? {} : { endedEarly: context.endedEarly }),
    runsPerSecond: Number((tally.runs / wallSeconds).toFixed(1)),
    wallSeconds: Number(wallSeconds.toFixed(1)),
    simulatedSeconds: Math.round(tally.scenarios.reduce((sum, scenario) => sum + scenario.simulatedMs, 0) / 1000),
    properties: tally.properties,
    crashes: tally.crashes,
    sometimes: sorted(sometimes),
    sometimesByScenario: Object.fromEntries(tally.scenarios.map((scenario) => [scenario.scenario, sorted(scenario.sometimes)])),
    sometimesNotReached: tally.scenarios.flatMap(({ scenario, sometimes: names }) =>
      Object.keys(names).filter((name) => names[name] === 0).map((name) => ({ scenario, name })),
    ),
    rules: sorted(tally.reached.rules),
    packets: sorted(tally.reached.packets),
    states: sorted(tally.reached.states),
    reach: {
      rules: reachOf(tally.reached.rules, context.reachable.rules),
      states: reachOf(tally.reached.states, context.reachable.states),
      packets: reachOf(tally.reached.packets, context.reachable.packets),
    },
    required: requiredOf(tally, context),
    transitions: sorted(tally.reached.transitions),
    crashPositions: sorted(tally.reached.crashPositions),
    faults: sorted(tally.reached.faults),
    faultPairs: sorted(tally.reached.faultPairs),
    growth: tally.growth,
    lastTenth: lastTenth(tally.growth, tally.runs),
    ...(context.steering === undefined ? {} : { steering: context.steering }),
    reasons: sorted(tally.reasons),
    failoverMs: quantilesOf([...tally.failoverMs.values()].flat()),
    resyncMs: quantilesOf([...tally.resyncMs.values()].flat()),
    byScenario: tally.scenarios.map(({ sometimes: _, promised: __, ...rest }) => rest),
    byParameter: parametersOf(tally),
    repeated: tally.repeated,
    nondeterminism: tally.nondeterminism,
    failures: tally.failures.map(({ liveness: _, label: __, name: ___, storyTail: ____, ...failure }) => failure),
  };
}

function reachOf(counts: Counts, list: readonly Reachable[]): Reach {
  const can = list.filter(({ reachable }) => reachable === true);
  const cannot = list.filter(({ reachable }) => reachable !== true);
  return {
    reachable: can.length,
    notReached: can.filter(({ name }) => counts[name] === 0).map(({ name, how }) => (how === undefined ? { name } : { name, how })),
    unreachable: Object.fromEntries(cannot.map(({ name, reachable }) => [name, String(reachable)])),
    unexpected: cannot.map(({ name }) => name).filter((name) => (counts[name] ?? 0) > 0),
  };
}

export function quantilesOf(values: readonly number[]): Quantiles {
  return {
    count: values.length,
    median: quantile(values, 0.5),
    p90: quantile(values, 0.9),
    p99: quantile(values, 0.99),
    max: values.reduce((max, value) => Math.max(max, value), 0),
  };
}

/** Rows for each parameter that took more than one value: a parameter that never changed explains nothing. */
function parametersOf(tally: Tally): Summary['byParameter'] {
  const rows: Summary['byParameter'] = [];
  for (const [scenario, parameters] of tally.byParameter) {
    for (const [parameter, values] of parameters) {
      if (values.size < 2) continue;
      const shown = values.size <= maxValues ? values : inRanges(values);
      for (const value of [...shown.keys()].sort(byValue)) rows.push({ scenario, parameter, value, ...shown.get(value)! });
    }
  }
  return rows;
}

/** Many numbers become a few ranges of equal width; many texts are left out. */
function inRanges(values: ReadonlyMap<ParameterValue, VerdictCounts>): Map<ParameterValue, VerdictCounts> {
  const ranges = new Map<ParameterValue, VerdictCounts>();
  const numbers = [...values.keys()].filter((value) => typeof value === 'number');
  if (numbers.length < values.size) return ranges;
  const low = numbers.reduce((a, b) => Math.min(a, b));
  const high = numbers.reduce((a, b) => Math.max(a, b));
  const width = (high - low) / 6;
  for (const value of numbers.sort((a, b) => a - b)) {
    const slot = Math.min(5, Math.floor((value - low) / width));
    const name = `${Math.round(low + slot * width)}..${Math.round(low + (slot + 1) * width)}`;
    const sum = ranges.get(name) ?? noVerdicts();
    const more = values.get(value)!;
    for (const verdict of ['passed', 'failed', 'unchecked', 'excused'] as const) sum[verdict] += more[verdict];
    ranges.set(name, sum);
  }
  return ranges;
}

function byValue(a: ParameterValue, b: ParameterValue): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  return String(a).localeCompare(String(b), 'en', { numeric: true });
}

function sorted(counts: Counts): Counts {
  const names = Object.keys(counts).sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  return Object.fromEntries(names.map((name) => [name, counts[name]!]));
}
