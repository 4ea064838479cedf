/**
 * A row per run: what runs.csv holds, `run --json` prints and the plots draw. Units last; times of the simulation are virtual.
 */

import { stringify } from 'csv-stringify/sync';
import type { Parameters, ParameterValue, RunResult, Scenario, Verdict } from '../sim/types.js';
import { spliceWord } from './splice.js';

/** One bit of the out-of-sync bitmap. */
const bytesPerBit = 4096;

export interface Row {
  scenario: string;
  seed: number;
  verdict: Verdict;
  /** Of a steered run: what it drew in another way than its seed says. */
  splices: string;
  /** Why unchecked, excused or failed. */
  reason: string;
  acknowledgedWrites: number;
  issuedWrites: number;
  failovers: number;
  resyncBytes: number;
  /** Longest time without service after a primary's death; 0 without failover. */
  failoverMs: number;
  /** Longest resync. */
  resyncMs: number;
  activeExtentsAtCrash: number;
  disconnects: number;
  simulatedMs: number;
  inputs: number;
  outputs: number;
  traceHash: string;
}

export function rowOf(result: RunResult): Row {
  const m = result.metrics;
  return {
    scenario: result.scenario,
    seed: result.seed,
    verdict: result.verdict,
    splices: (result.splices ?? []).map(spliceWord).join(' '),
    reason: result.reason ?? result.crash?.split('\n')[0] ?? '',
    acknowledgedWrites: m.acknowledgedWrites,
    issuedWrites: m.issuedWrites,
    failovers: m.failovers,
    resyncBytes: m.resyncBits * bytesPerBit,
    failoverMs: m.failoverUs / 1000,
    resyncMs: m.resyncUs / 1000,
    activeExtentsAtCrash: m.activeExtentsAtCrash,
    disconnects: m.disconnects,
    simulatedMs: m.simulatedUs / 1000,
    inputs: m.inputs,
    outputs: m.outputs,
    traceHash: result.traceHash,
  };
}

export const rowColumns = [
  'scenario',
  'seed',
  'verdict',
  'splices',
  'reason',
  'acknowledgedWrites',
  'issuedWrites',
  'failovers',
  'resyncBytes',
  'failoverMs',
  'resyncMs',
  'activeExtentsAtCrash',
  'disconnects',
  'simulatedMs',
  'inputs',
  'outputs',
  'traceHash',
] as const satisfies readonly (keyof Row)[];

/** The parameters of several scenarios, each name once: the columns between `verdict` and the rest. */
export function parameterColumns(scenarios: readonly Scenario[]): string[] {
  return [...new Set(scenarios.flatMap((scenario) => scenario.parameters.map((spec) => spec.name)))];
}

export function csvHeader(parameters: readonly string[]): string {
  return stringify([[...rowColumns.slice(0, 3), ...parameters, ...rowColumns.slice(3)]]);
}

export function csvLine(row: Row, resolved: Parameters, parameters: readonly string[]): string {
  const values = (columns: readonly (keyof Row)[]): (string | number)[] => columns.map((column) => row[column]);
  const middle = parameters.map((name) => printed(resolved[name]));
  return stringify([[...values(rowColumns.slice(0, 3)), ...middle, ...values(rowColumns.slice(3))]]);
}

function printed(value: ParameterValue | undefined): string {
  return value === undefined ? '' : String(value);
}
