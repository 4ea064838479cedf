/** Where two runs of one request part: the first input or output that differs, with the two before it, as their traces have them. */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RunRequest } from '../../sim/types.js';
import type { Engine } from '../engine-types.js';

const eventsBefore = 2;
const lineLength = 400;
const newline = 0x0a;

/** Makes the run twice more, writing both down. What happens seldom may not happen then: that is said too. */
export function differenceOf(engine: Pick<Engine, 'run'>, request: RunRequest): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'lockstep-traces-'));
  try {
    const [first, second] = ['first', 'second'].map((name) => {
      const trace = join(folder, name);
      engine.run({ ...request, trace });
      return readFileSync(trace);
    });
    return firstDifference(first!, second!);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Of two traces, a line each event. */
export function firstDifference(first: Buffer, second: Buffer): string[] {
  if (first.equals(second)) return ['two more runs of it were the same: it happens now and then'];
  let start = 0;
  let event = 1;
  for (;;) {
    const end = first.indexOf(newline, start);
    if (end === -1 || !first.subarray(start, end + 1).equals(second.subarray(start, end + 1))) break;
    start = end + 1;
    event += 1;
  }
  const before: string[] = [];
  for (let end = start; before.length < eventsBefore && end > 0; ) {
    const from = first.lastIndexOf(newline, end - 2) + 1;
    before.unshift(lineAt(first, from));
    end = from;
  }
  return [
    `the runs part at event ${event}${before.length === 0 ? '' : ', behind'}`,
    ...before.map((line) => `          ${line}`),
    `  first   ${lineAt(first, start)}`,
    `  second  ${lineAt(second, start)}`,
  ];
}

function lineAt(trace: Buffer, start: number): string {
  if (start >= trace.length) return '(the run is over)';
  const end = trace.indexOf(newline, start);
  const line = trace.toString('utf8', start, end === -1 ? trace.length : end);
  return line.length <= lineLength ? line : `${line.slice(0, lineLength)} … (${line.length} characters)`;
}
