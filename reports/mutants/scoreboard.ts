/** The scoreboard: published bugs and what became of them here, as a table in markdown that each run of the mutants brings up to date. */

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { impossible } from './impossible.js';
import type { Fate } from './fate.js';
import { mutants } from './list.js';
import { regressionOf, runsOf, whereOf } from './matrix.js';

const head = `# Scoreboard

Bugs that DRBD and its like once had (the number is that of the bug list), each stated as a wrong rule in one place of this core, and what
caught it. *Sweep*: random runs of the scenarios named in \`reports/mutants/list\` until a property was violated that holds without the mutant; *runs*
is how many that took. *Regression*: what the run in \`scenarios/regressions\` violates with the wrong rule; with ours it holds, which a test sees to.
*Events*: faults and requests of the run after shrinking.

Written by \`lockstep mutants --all --scoreboard reports/scoreboard.md\`.

| bug | wrong rule | where | caught by the sweep | scenario | runs | events | regression |
|---|---|---|---|---|---|---|---|
`;

const tail = `
## None here

| bug | why its wrong rule cannot be stated in this core, or does no harm |
|---|---|
`;

/** Rows of mutants that did not run this time stay as they are; those of mutants that are gone go. */
export function updateScoreboard(path: string, fates: readonly Fate[]): void {
  const rows = new Map<string, string>();
  if (existsSync(path)) {
    for (const line of readFileSync(path, 'utf8').split('\n')) {
      const id = /^\| ([\w-]+) \|/.exec(line)?.[1];
      if (id !== undefined && mutants.some((mutant) => mutant.id === id)) rows.set(id, line);
    }
  }
  for (const fate of fates) rows.set(fate.mutant.id, rowOf(fate));
  const table = mutants.flatMap(({ id }) => rows.get(id) ?? []).join('\n');
  writeFileSync(path, `${head}${table}\n${tail}${impossible.map(({ id, argument }) => rowFrom([id, argument])).join('\n')}\n`);
}

function rowOf(fate: Fate): string {
  const { mutant, caughtBy, seed, shrunk } = fate;
  const caught = caughtBy.length > 0 ? caughtBy.join(', ') : `NOT CAUGHT${mutant.survives === undefined ? '' : `: ${mutant.survives}`}`;
  const where = seed === undefined ? '' : `${whereOf(fate)}, seed ${seed}${mutant.set ? ` with ${mutant.set.join(' ')}` : ''}`;
  return rowFrom([mutant.id, mutant.summary, mutant.file, caught, where, runsOf(fate), String(shrunk?.events ?? ''), regressionOf(fate)]);
}

const rowFrom = (cells: readonly string[]): string => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
