/**
 * `index.html` of a sweep: one file without anything from outside. From the verdict downwards: what failed, what was never tried, how long
 * recovery took, which parameters mattered, what was covered.
 */

import type { Scenario } from '../../sim/types.js';
import { classTitles, coverageClasses } from '../sweep/growth.js';
import { failsFor } from '../sweep/required.js';
import type { Reach, Summary } from '../sweep/summary.js';
import type { Failure, Shrunken, Tally } from '../sweep/tally.js';
import type { Html } from './html.js';
import { countTable, figure, html, nothing, raw, table } from './html.js';
import type { Series } from './plots.js';
import { scatterPlot, sharePlot, sharePoints, stackedBars } from './plots.js';
import { style } from './style.js';

/** Failures shown in full; all of them are in summary.json. */
const shownFailures = 200;
/** Categories of one plot of verdicts. */
const maxCategories = 40;

export function pageOf(summary: Summary, tally: Tally, scenarios: readonly Scenario[]): string {
  const title = `Lockstep sweep: ${summary.scenarios.join(', ')}`;
  const body = html`
<h1>${title}</h1>
<p class="dim">Crash sweep of a replicated block device in simulation. Times are simulated unless they say wall.</p>
<pre>${summary.command}</pre>
${verdict(summary)}
${figures(summary)}
${failures(summary, tally.failures)}
${unchecked(summary)}
${byScenario(summary, scenarios)}
${properties(summary)}
${recovery(summary, tally)}
${parameters(summary)}
${coverage(summary)}
<p class="dim">Every run: <a href="runs.csv">runs.csv</a>. The same as data: <a href="summary.json">summary.json</a>. For CI: <a href="junit.xml">junit.xml</a>.</p>
`;
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title><style>${raw(style)}</style></head><body>${body}</body></html>
`.html;
}

function verdict(summary: Summary): Html {
  const sentences: string[] = [];
  const failed = summary.failures.length > 0 || summary.nondeterminism.length > 0 || summary.runs === 0 || failsFor(summary.required);
  if (summary.failures.length > 0) sentences.push(`${figure(summary.failures.length)} of ${figure(summary.runs)} runs failed.`);
  else sentences.push(`${figure(summary.runs)} runs, none failed.`);
  if (summary.nondeterminism.length > 0) sentences.push(`${figure(summary.nondeterminism.length)} runs were not deterministic.`);
  if (failsFor(summary.required)) sentences.push(`Not reached: ${summary.required.missing.join(', ')}.`);
  if (summary.unchecked > 0) sentences.push(`${figure(summary.unchecked)} were not checked.`);
  if (summary.excused > 0) sentences.push(`${figure(summary.excused)} were excused.`);
  if (summary.endedEarly !== undefined) sentences.push(`Ended early: ${summary.endedEarly}.`);
  const warn = summary.unchecked > 0 || summary.endedEarly !== undefined;
  return html`<div class="verdict ${failed ? 'bad' : warn ? 'warn' : ''}">${sentences.join(' ')}</div>`;
}

function figures(summary: Summary): Html {
  const { rules } = summary.reach;
  const cells: [string, string][] = [
    [figure(summary.runs), `runs, seeds ${summary.seeds.from} to ${summary.seeds.to}`],
    [figure(summary.byScenario.reduce((sum, row) => sum + row.acknowledgedWrites, 0)), 'acknowledged writes'],
    [figure(summary.byScenario.reduce((sum, row) => sum + row.failovers, 0)), 'failovers'],
    [figure(summary.byScenario.reduce((sum, row) => sum + row.disconnects, 0)), 'disconnects'],
    [hours(summary.simulatedSeconds), 'simulated'],
    [`${figure(summary.wallSeconds)} s`, `wall, ${figure(summary.runsPerSecond)} runs/s`],
    [`${rules.reachable - rules.notReached.length} of ${rules.reachable}`, 'comparison rules reached'],
    [figure(summary.repeated), 'runs repeated, hashes compared'],
  ];
  return html`<div class="figures">${cells.map(([value, label]) => html`<div><b>${value}</b><span class="dim">${label}</span></div>`)}</div>`;
}

function hours(seconds: number): string {
  if (seconds < 120) return `${figure(seconds)} s`;
  return seconds < 7200 ? `${figure(Math.round(seconds / 6) / 10)} min` : `${figure(Math.round(seconds / 360) / 10)} h`;
}

function failures(summary: Summary, list: readonly Failure[]): Html {
  const nondeterminism = summary.nondeterminism.map(
    (one) => html`<p class="bad">${one.scenario} seed ${one.seed} is not deterministic: trace hash ${one.firstHash}, then ${one.secondHash}</p><pre>${[one.command, ...one.difference].join('\n')}</pre>`,
  );
  if (list.length === 0) return html`${nondeterminism}`;
  const shown = list.slice(0, shownFailures).map(
    (failure, i) => html`<details ${raw(i === 0 ? 'open' : '')}><summary><span class="bad">${failure.scenario} seed ${failure.seed}</span>
${failure.properties.join(', ')}</summary><p>${failure.detail}</p>
<pre>${failure.command}\nlockstep replay ${failure.file}</pre>
${failure.shrunk === undefined ? nothing : shrunkStory(failure.shrunk)}
${failure.storyTail.length === 0 ? nothing : html`<pre>${failure.storyTail.join('\n')}</pre>`}</details>\n`,
  );
  const rest = list.length > shownFailures ? html`<p class="dim">${figure(list.length - shownFailures)} more are in summary.json.</p>` : nothing;
  return html`<section><h2>Failures</h2>${nondeterminism}<p class="dim">Each with the commands that repeat it (the second from this folder) the smallest run that fails alike where it was looked for, and the end of its story.</p>${shown}${rest}</section>`;
}

function shrunkStory({ eventsBefore, events, isComplete, file, story }: Shrunken): Html {
  return html`<p>Shrunk from ${figure(eventsBefore)} events to ${figure(events)}${isComplete ? '' : ' (perhaps more can go)'}; <code>lockstep replay ${file}</code> repeats it:</p><pre>${story.join('\n')}</pre>`;
}

function unchecked(summary: Summary): Html {
  const rows = Object.entries(summary.reasons);
  if (rows.length === 0) return nothing;
  return html`<section><h2>Not checked or excused</h2><p class="dim">These runs are not counted as passed.</p>${table(
    [{ title: 'runs', number: true }, { title: 'why' }],
    rows.map(([reason, runs]) => [runs, reason]),
  )}</section>`;
}

function byScenario(summary: Summary, scenarios: readonly Scenario[]): Html {
  const titles = ['runs', 'passed', 'failed', 'unchecked', 'excused', 'writes', 'failovers', 'resync MiB', 'disconnects'];
  const rows = summary.byScenario.map((row) => [
    html`<div class="named">${row.scenario}</div><span class="dim">${scenarios.find((s) => s.name === row.scenario)?.summary ?? ''}</span>`,
    row.runs,
    row.passed,
    row.failed === 0 ? 0 : html`<span class="bad">${figure(row.failed)}</span>`,
    row.unchecked,
    row.excused,
    row.acknowledgedWrites,
    row.failovers,
    Math.round(row.resyncBytes / 2 ** 20),
    row.disconnects,
  ]);
  return html`<section><h2>Scenarios</h2>${table([{ title: 'scenario' }, ...titles.map((title) => ({ title, number: true }))], rows)}</section>`;
}

function properties(summary: Summary): Html {
  const rows = Object.entries(summary.properties).map(([name, violations]) => [
    name,
    violations,
    violations === 0 ? html`<span class="good">held</span>` : html`<span class="bad">violated</span>`,
  ]);
  rows.push(['assertions of the core', summary.crashes, summary.crashes === 0 ? html`<span class="good">held</span>` : html`<span class="bad">broken</span>`]);
  return html`<section><h2>Properties</h2><div class="narrow">${table([{ title: 'property' }, { title: 'violations', number: true }, { title: '' }], rows)}</div></section>`;
}

function recovery(summary: Summary, tally: Tally): Html {
  const dots: Series[] = [...tally.resyncDots].map(([name, map]) => ({ name, points: [...map.values()].map(({ x, y }) => [x, y]) }));
  const failover = timesOf(tally.failoverMs);
  const resync = timesOf(tally.resyncMs);
  const quantiles = ([
    ['time without service after the primary died', summary.failoverMs],
    ['longest resync of a run', summary.resyncMs],
  ] as const).map(([name, q]) => [name, q.count, ...[q.median, q.p90, q.p99, q.max].map((ms) => ms / 1000)]);
  const columns = ['runs', 'median s', '90 % s', '99 % s', 'longest s'].map((title) => ({ title, number: true }));
  return html`<section><h2>Recovery</h2>${table([{ title: '' }, ...columns], quantiles)}
${failover.length === 0 ? nothing : html`<h3>Time without service</h3><p class="dim">Share of the runs with a failover in which the application was served again within this time.</p>
${raw(sharePlot(failover, { x: 'seconds', y: '% of runs' }))}`}
${resync.length === 0 ? nothing : html`<h3>Length of the longest resync</h3><p class="dim">Share of the runs with a resync in which it had ended within this time.</p>
${raw(sharePlot(resync, { x: 'seconds', y: '% of runs' }))}`}
${dots.length === 0 ? nothing : html`<h3>Resync time against the active set</h3><p class="dim">Each dot is a run: extents (4 MiB) that were active when a primary crashed, and how long its longest resync took.${
    tally.dotsLeftOut === 0 ? '' : ` ${figure(tally.dotsLeftOut)} more runs lie among these dots and are not drawn.`
  }</p>${raw(scatterPlot(dots, { x: 'active extents at the crash', y: 'resync, s' }))}`}</section>`;
}

function timesOf(times: ReadonlyMap<string, readonly number[]>): Series[] {
  return [...times].map(([name, ms]) => ({ name, points: sharePoints(ms.map((value) => value / 1000)) }));
}

function parameters(summary: Summary): Html {
  if (summary.byParameter.length === 0) return nothing;
  const plots = summary.scenarios.map((scenario) => {
    const rows = summary.byParameter.filter((row) => row.scenario === scenario);
    if (rows.length === 0) return nothing;
    const drawn = rows.slice(0, maxCategories);
    const stack = (name: 'passed' | 'failed' | 'unchecked' | 'excused', colour: string) => ({ name, colour, values: drawn.map((row) => row[name]) });
    const bars = [stack('passed', 'var(--s1)'), stack('failed', 'var(--bad)'), stack('unchecked', 'var(--warn)'), stack('excused', 'var(--calm)')];
    const svg = stackedBars(drawn.map((row) => `${row.parameter} = ${row.value}`), bars.filter(({ values }) => values.some((value) => value > 0)));
    const rest = rows.length > drawn.length ? html`<p class="dim">${rows.length - drawn.length} more values are in summary.json.</p>` : nothing;
    return html`<h3>${scenario}</h3>${raw(svg)}${rest}`;
  });
  return html`<section><h2>Verdicts by parameter</h2><p class="dim">Parameters that took more than one value, as the runs resolved them.</p>${plots}</section>`;
}

function coverage(summary: Summary): Html {
  const sometimes = Object.entries(summary.sometimesByScenario).flatMap(([scenario, names]) =>
    Object.entries(names).map(([name, times]) => [scenario, name, times === 0 ? html`<span class="warn">not reached</span>` : figure(times)]),
  );
  return html`<section><h2>What was reached</h2>
<p class="dim">A check that passed because nothing happened proves nothing. What stands here as not reached was not tested by this sweep.</p>
<h3>Situations that should sometimes happen</h3>${table([{ title: 'scenario' }, { title: 'situation' }, { title: 'times', number: true }], sometimes)}
<h3>Rules</h3><p class="dim">Numbers are the comparison rules of the generation UUIDs; names are other decisions.</p>${countTable('rule', summary.rules)}
${reachNotes(summary.reach.rules)}
<div class="columns"><div><h3>Packets that arrived</h3>${countTable('packet', summary.packets)}${reachNotes(summary.reach.packets)}</div>
<div><h3>Faults</h3>${countTable('fault', summary.faults)}</div></div>
<h3>States entered</h3>${countTable('state', summary.states)}${reachNotes(summary.reach.states)}
${folded('state transitions', 'transition', summary.transitions)}
<h3>Where hosts died</h3><p class="dim">Between which operations of their disks: behind the end of the first, before that of the second.</p>
${folded('crash positions', 'position', summary.crashPositions)}
<h3>Kinds of faults in one run</h3>${folded('pairs', 'pair', summary.faultPairs)}
${saturation(summary)}</section>`;
}

function folded(what: string, title: string, counts: Readonly<Record<string, number>>): Html {
  return html`<details><summary>${figure(Object.keys(counts).length)} ${what}</summary>${countTable(title, counts)}</details>`;
}

/** How what is known grew with the runs. */
function saturation({ growth, lastTenth: { fromRun, fresh }, runs }: Summary): Html {
  const series = coverageClasses.flatMap((name): Series[] => {
    const all = growth[name].at(-1)?.known ?? 0;
    if (all === 0) return [];
    const points = growth[name].map((point): [number, number] => [point.runs, (100 * point.known) / all]);
    return [{ name: `${all} ${classTitles[name]}`, points: [...points, [runs, 100]] }];
  });
  if (series.length === 0) return nothing;
  const last = coverageClasses.filter((name) => fresh[name] > 0).map((name) => `${fresh[name]} ${classTitles[name]}`);
  return html`<h3>How fast it was reached</h3><p class="dim">Share of all that the sweep has reached that was known after so many runs. The last tenth (runs ${fromRun} to ${runs}) reached ${last.join(', ') || 'nothing'} new.</p>
${raw(sharePlot(series, { x: 'runs', y: '% known', xLog: true }))}`;
}

function reachNotes(reach: Reach): Html {
  const hints = reach.notReached.flatMap(({ name, how }) => (how === undefined ? [] : [[name, how]]));
  const unreachable = Object.entries(reach.unreachable);
  return html`${reach.unexpected.map((name) => html`<p class="bad">${name} was reached although it is listed as unreachable.</p>`)}
${hints.length === 0 ? nothing : html`<details><summary>How to reach what was not</summary>${table([{ title: 'not reached' }, { title: 'the shortest way there' }], hints)}</details>`}
${unreachable.length === 0 ? nothing : html`<details><summary>${unreachable.length} that two nodes cannot reach, and why</summary>${table([{ title: 'unreachable' }, { title: 'why' }], unreachable)}</details>`}`;
}
