/** The kill matrix, mutant × what caught it, as a table. */

import Table from 'cli-table3';
import { quantile } from '../sweep/tally.js';
import type { Fate } from './fate.js';

/** A cell holds the seed; `runs` is the median and the worst where there were several ranges of seeds. */
export function matrix(fates: readonly Fate[]): string {
  const catchers = [...new Set(fates.flatMap((fate) => fate.caughtBy))].sort((a, b) => a.localeCompare(b));
  const table = new Table({
    head: ['mutant', 'scenario', 'runs', 'events', 'regression', ...catchers],
    colAligns: ['left', 'left', 'right', 'right', 'left', ...catchers.map(() => 'right' as const)],
    style: { head: [], border: [], compact: true },
  });
  for (const fate of fates) {
    const cells = catchers.map((catcher) => (fate.caughtBy.includes(catcher) ? String(fate.seed) : ''));
    table.push([fate.mutant.id, whereOf(fate), runsOf(fate), fate.shrunk?.events ?? '', regressionOf(fate), ...cells]);
  }
  return table.toString();
}

export const whereOf = (fate: Fate): string => fate.scenario ?? (fate.isMisfit === true ? 'misfit' : fate.runs.length === 0 ? '' : 'survived');

export function runsOf({ runs, escapes }: Fate): string {
  const [worst, more] = [Math.max(...runs), escapes > 0 ? '+' : ''];
  return runs.length === 0 ? '' : runs.length === 1 ? `${worst}${more}` : `${quantile(runs, 0.5)} to ${worst}${more}`;
}

export const regressionOf = ({ regression }: Fate): string => (typeof regression === 'object' ? regression.caughtBy : regression === 'holds' ? 'HOLDS' : '');

/** How many were caught, by the sweep and by their regressions, which are not the same thing. */
export function summaryLine(fates: readonly Fate[], onlyRegressions: boolean): string {
  const kept = fates.filter(({ regression }) => regression !== 'none');
  const played = kept.length === 0 ? '' : `${kept.filter(({ regression }) => regression !== 'holds').length} of ${kept.length} regressions fail with the mutant`;
  if (onlyRegressions) return `${fates.length} mutants: ${played || 'no regressions'}`;
  const caught = fates.filter((fate) => fate.caughtBy.length > 0);
  const events = fates.flatMap(({ shrunk }) => (shrunk === undefined ? [] : [shrunk.events]));
  const shrunk = events.length === 0 ? '' : `; ${events.length} shrunk, to a median of ${quantile(events, 0.5)} events (${Math.min(...events)} to ${Math.max(...events)})`;
  const runs = caught.flatMap((fate) => fate.runs);
  const spent = runs.length === 0 ? '' : `; a median of ${quantile(runs, 0.5)} runs, ${Math.max(...runs)} at most`;
  return `${fates.length} mutants: ${caught.length} caught by the sweep, ${fates.length - caught.length} not${spent}${shrunk}${played && `; ${played}`}`;
}
