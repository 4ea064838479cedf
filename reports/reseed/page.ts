/** The curve of a run's futures as one HTML file without anything from outside. */

import type { RunResult } from '../../sim/types.js';
import { seconds } from '../context.js';
import { html, nothing, raw, table } from '../html/html.js';
import { curvePlot } from '../html/plots.js';
import { style } from '../html/style.js';
import { violationLines } from '../story.js';
import type { Point, Step } from './curve.js';
import { shareOf } from './curve.js';

export interface Page {
  title: string;
  command: string;
  original: RunResult;
  points: readonly Point[];
  step: Step | undefined;
  /** What happened there. */
  story: readonly string[];
}

export function pageOf({ title, command, original, points, step, story }: Page): string {
  const plot = curvePlot(
    points.map((point) => [point.atUs / 1_000_000, 100 * shareOf(point)]),
    { x: 'other futures from here on, s', y: 'fail like it, %' },
    step && [step.before.atUs / 1_000_000, step.after.atUs / 1_000_000],
  );
  const rows = points.map((point) => [seconds(point.atUs), `${Math.round(100 * shareOf(point))} %`, point.failed, point.otherwise, point.futures]);
  const columns = [{ title: 'from' }, { title: 'fail like it', number: true }, { title: 'runs', number: true }, { title: 'fail otherwise', number: true }, { title: 'of', number: true }];
  const where = step
    ? html`<p>From ${Math.round(100 * step.shareBefore)} % to ${Math.round(100 * step.shareAfter)} %, between ${seconds(step.before.atUs)} and ${seconds(step.after.atUs)}: there it was lost.</p><pre>${story.join('\n')}</pre>`
    : nothing;
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>When was it lost? ${title}</title><style>${raw(style)}</style></head><body>
<h1>When was it lost? ${title}</h1>
<p class="dim">The run up to a moment, and other futures from there on: other faults, other delays, other requests. Each has the same past, to the byte.</p>
<pre>${command}</pre>
<div class="verdict bad">${violationLines(original)[0] ?? ''}</div>
${raw(plot)}
${where}
${table(columns, rows)}
</body></html>
`.html;
}
