/** The end of a sweep on the terminal: a table, what was violated, what was never reached, the failures with the lines that repeat them. */

import Table from 'cli-table3';
import type { CoverageClass } from './growth.js';
import { classTitles, coverageClasses } from './growth.js';
import type { Reach, Summary } from './summary.js';

/** Failures listed; all of them are in summary.json. */
const listed = 20;

export function summaryTable(summary: Summary): string {
  const columns = ['scenario', 'runs', 'passed', 'failed', 'unchecked', 'excused', 'failovers', 'writes', 'resync MiB', 'simulated s'];
  const table = new Table({ head: columns, colAligns: columns.map((_, i) => (i === 0 ? 'left' : 'right')), style: { head: [], border: [], compact: true } });
  for (const row of summary.byScenario) {
    table.push([
      row.scenario,
      row.runs,
      row.passed,
      row.failed,
      row.unchecked,
      row.excused,
      row.failovers,
      row.acknowledgedWrites,
      Math.round(row.resyncBytes / 2 ** 20),
      Math.round(row.simulatedMs / 1000),
    ]);
  }
  return table.toString();
}

export function summaryLines(summary: Summary): string[] {
  const violated = Object.entries(summary.properties).filter(([, violations]) => violations > 0);
  const properties = violated.length === 0 ? `all ${Object.keys(summary.properties).length} held` : violated.map(([name, n]) => `${name} violated ${n} times`).join(', ');
  const notReached = summary.sometimesNotReached.map(({ scenario, name }) => `${name} (${scenario})`);
  return [
    `properties  ${properties}${summary.crashes === 0 ? '' : `; the core broke an assertion of its own in ${summary.crashes} runs`}`,
    `sometimes   ${notReached.length === 0 ? 'all situations reached' : `not reached: ${notReached.join(', ')}`}`,
    ...reachLines('rules', 'comparison rules', summary.reach.rules),
    ...reachLines('states', 'states', summary.reach.states),
    ...reachLines('packets', 'packet types', summary.reach.packets),
    requiredLine(summary),
    `covered     ${classWords((name) => summary.growth[name].at(-1)?.known ?? 0, ['transitions', 'crashPositions', 'faults', 'faultPairs'])}`,
    `saturation  ${saturationWords(summary)}`,
    ...steeringLines(summary),
    `repeated    ${summary.repeated} runs made twice, ${summary.nondeterminism.length} with another trace hash`,
    ...Object.entries(summary.reasons).map(([reason, runs]) => `not passed  ${runs} × ${reason}`),
    `${summary.runs} runs: ${summary.passed} passed, ${summary.failed} failed, ${summary.unchecked} unchecked, ${summary.excused} excused in ${summary.wallSeconds} s (${summary.runsPerSecond} runs/s)${
      summary.endedEarly === undefined ? '' : `; ended early: ${summary.endedEarly}`
    }`,
  ];
}

/** Whether the sweep has reached all that it must, in one line. */
function requiredLine({ required: { isJudged, withList, missing, runsNeeded, runsOfEach } }: Summary): string {
  const all = withList ? 'every situation, reachable comparison rule, state and packet type was reached' : 'every situation of these scenarios was reached';
  if (missing.length === 0) return `required    ${all}`;
  const words = `not reached: ${missing.join(', ')}`;
  if (isJudged) return `REQUIRED    ${words}`;
  const why = withList ? `too few runs to say (${runsOfEach} of each scenario, ${runsNeeded} are needed)` : 'too narrow a sweep to say';
  return `required    ${why}, ${words}`;
}

function saturationWords({ runs, lastTenth: { fromRun, fresh } }: Summary): string {
  const all = coverageClasses.reduce((sum, name) => sum + fresh[name], 0);
  const what = all === 0 ? '' : `: ${classWords((name) => fresh[name], coverageClasses)}`;
  return `the last tenth (runs ${fromRun} to ${runs}) reached ${all === 0 ? 'nothing' : all} new${what}`;
}

function steeringLines({ steering, runs }: Summary): string[] {
  if (steering === undefined) return [];
  const { steeredRuns, found } = steering;
  return [`steering    ${steeredRuns} of ${runs} runs were spliced from others; they were the first to reach ${found.steered} things, fresh seeds ${found.fresh}`];
}

function classWords(numberOf: (name: CoverageClass) => number, names: readonly CoverageClass[]): string {
  return names.filter((name) => numberOf(name) > 0).map((name) => `${numberOf(name)} ${classTitles[name]}`).join(', ') || 'nothing';
}

function reachLines(label: string, what: string, reach: Reach): string[] {
  const missing = reach.notReached.map(({ name }) => name).join(', ');
  return [
    `${label.padEnd(12)}${reach.reachable - reach.notReached.length} of ${reach.reachable} reachable ${what} reached${missing === '' ? '' : `; not reached: ${missing}`}`,
    ...reach.unexpected.map((name) => `${label.padEnd(12)}${name} was reached although it is listed as unreachable`),
  ];
}

/** Each failure ends with the line that repeats it. `folder` is where the failure files are. */
export function failureLines(summary: Summary, folder: string): string[] {
  const lines = summary.nondeterminism.flatMap((one) => [
    `NOT DETERMINISTIC ${one.scenario} seed ${one.seed}: trace hash ${one.firstHash}, then ${one.secondHash}`,
    `  repeat: ${one.command}`,
    ...one.difference.map((line) => `  ${line}`),
  ]);
  for (const failure of summary.failures.slice(0, listed)) {
    lines.push(`FAILED ${failure.scenario} seed ${failure.seed}: ${failure.detail}`, `  file: ${folder}/${failure.file}`, `  repeat: ${failure.command}`);
    const { shrunk } = failure;
    if (shrunk === undefined) continue;
    const { eventsBefore, events, isComplete, file, story } = shrunk;
    lines.push(`  shrunk: ${eventsBefore} events to ${events}${isComplete ? '' : ' (perhaps more can go)'}: lockstep replay ${folder}/${file}`, ...story.map((line) => `    ${line}`));
  }
  const rest = summary.failures.length - listed;
  return rest > 0 ? [`${rest} more failures than the ${listed} below are in ${folder}/summary.json`, ...lines] : lines;
}
