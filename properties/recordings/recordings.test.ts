// The core in the place of one side of each recording, the other side being the recorded bytes: it says what the kernel said and comes
// to where the kernel came. Without the recordings beside the clone nothing of it is shown, which is then said.

import { sep } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { capturedStreams } from '../wire/captured-streams.js';
import { concerns, legitimate, notPlayed, type Difference } from './differences.js';
import { play } from './player.js';
import { isOurs, readRecording, type Recording, type Side } from './recording.js';
import type { Played } from './world.js';

const streams = capturedStreams();
const only = process.env['LOCKSTEP_RECORDING'] ?? '';

const folderName = (folder: string): string => folder.split(`${sep}captures${sep}`)[1]!.replaceAll(sep, '/');

const findingsOf = ({ differences, missing, extra }: Played): string[] => [...differences, ...missing.map((key) => `missing: ${key}`), ...extra.map((key) => `extra: ${key}`)];

const used = new Set<Difference>();

/** One line of the table, and what is not as it should be. */
function judge(recording: Recording, folder: string, side: Side): { line: string; failures: string[]; isPlayed: boolean } {
  const skipped = notPlayed.find((entry) => concerns(entry, folder, side));
  const head = `${folder.padEnd(62)} ${side.padEnd(5)}`;
  if (skipped) return { line: `${head} not played: ${skipped.reason}`, failures: [], isPlayed: false };
  const played = play(recording, side);
  if (played.delivered === 0) played.differences.push('nothing was heard');
  const reasons = new Set<string>();
  const failures: string[] = [];
  for (const finding of findingsOf(played)) {
    const entry = legitimate.find((one) => concerns(one, folder, side) && one.finding.test(finding));
    if (entry) reasons.add(entry.reason);
    else failures.push(`${folder} ${side}: ${finding}`);
    if (entry) used.add(entry);
  }
  const numbers = `${String(played.delivered).padStart(5)} heard ${String(played.agreed).padStart(5)} said ${played.dumps} states`;
  return { line: `${head} ${numbers}  ${failures.length > 0 ? `${failures.length} DIFFERENCES` : reasons.size > 0 ? [...reasons].join('; ') : 'as recorded'}`, failures, isPlayed: true };
}

test('the core does what the recorded kernels did', () => {
  const lines: string[] = [];
  const failures: string[] = [];
  let played = 0;
  for (const folder of [...new Set(streams.map((stream) => stream.folder))]) {
    const name = folderName(folder);
    if (!name.includes(only)) continue;
    const recording = readRecording(folder, streams);
    for (const side of ['alice', 'bob'] as const) {
      if (!isOurs(recording, side)) continue;
      const one = judge(recording, name, side);
      lines.push(one.line);
      failures.push(...one.failures);
      if (one.isPlayed) played++;
    }
  }
  console.log([...lines, `${lines.length} sides, ${played} played, ${lines.length - played} not played`].join('\n'));
  assert.is(failures.join('\n'), '');
  if (streams.length > 0 && only === '') assert.equal(legitimate.filter((entry) => !used.has(entry)).map(({ reason }) => reason), [], 'differences that nothing shows any more');
});

test.run();
