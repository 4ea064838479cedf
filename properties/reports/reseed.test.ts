/** `run --reseed-from` with the fake engine, which loses something at 6 s and sees it at 12.345678 s. */

import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { stepOf, type Point } from '../../reports/reseed/curve.js';
import { inTemporaryFolder, lockstep } from './command-line.js';

let leave: () => void;
test.before.each(() => {
  leave = inTemporaryFolder();
});
test.after.each(() => leave());

const failing = ['run', 'failover', '--seed', '9', '--set', 'failFrom=1'];

test('auto finds the moment: the share steps up there, and closer moments are looked at', async () => {
  const { code, out } = await lockstep(...failing, '--reseed-from', 'auto', '--futures', '10', '--jobs', '1', '--json');
  assert.is(code, 1);
  const { points, step, failedAtUs, command } = JSON.parse(out) as { points: Point[]; step: { fromUs: number; toUs: number }; failedAtUs: number; command: string };
  assert.is(failedAtUs, 12_345_678);
  assert.is(command, 'lockstep run failover --seed 9 --set failFrom=1 --reseed-from auto --futures 10');
  for (const { atUs, failed, futures, otherwise } of points) assert.equal({ failed, futures, otherwise }, { failed: atUs < 6_000_000 ? 2 : 10, futures: 10, otherwise: 0 });
  assert.ok(step.fromUs < 6_000_000 && step.toUs >= 6_000_000 && step.toUs - step.fromUs < 50_000, JSON.stringify(step));
  assert.is(points[0]!.atUs, 0);
  assert.is(points.at(-1)!.atUs, 12_345_679);
});

test('the plot is on the terminal and on a page', async () => {
  const { out } = await lockstep(...failing, '--reseed-from', 'auto', '--futures', '5', '--jobs', '1');
  assert.match(out, /^ +0\.000000 s {2}█{8}·{32} {3}20 % {2}1 of 5$/m);
  assert.match(out, /^ +12\.345678 s {2}█{40} {2}100 % {2}5 of 5$/m);
  assert.match(out, /the step, from 20 % before to 100 % after, is between 5\.9\d+ s and 6\.0\d+ s/);
  const page = readFileSync('reports/out/reseed/failover-9/index.html', 'utf8');
  assert.match(page, /<svg/);
  assert.match(page, /block 9 &lt;is&gt; gone/);
});

test('one moment is measured when one is given', async () => {
  const { code, out } = await lockstep(...failing, '--reseed-from', '7.5s', '--futures', '4', '--jobs', '1', '--out', 'there');
  assert.is(code, 1);
  assert.match(out, /^ +7\.500000 s {2}█{40} {2}100 % {2}4 of 4$/m);
  assert.match(readFileSync('there/index.html', 'utf8'), /7\.500000 s/);
});

test('a run that holds has no such moment', async () => {
  const { code, out } = await lockstep('run', 'failover', '--seed', '9', '--reseed-from', 'auto');
  assert.is(code, 0);
  assert.match(out, /it does not fail, so there is no moment to look for/);
});

test('a future with another past is a broken harness, not a result', async () => {
  const { code, err } = await lockstep(...failing, '--set', 'writes=666', '--reseed-from', '3', '--futures', '4', '--jobs', '1');
  assert.is(code, 5);
  assert.match(err, /future 3 from 3000000 µs has another past/);
});

test('what cannot be is said in one line', async () => {
  for (const [words, problem] of [
    [['--reseed-from', 'soon'], /'soon' is no moment/],
    [['--reseed-from', '13'], /it fails at 12\.345678 s; give --reseed-from a moment before that/],
    [['--reseed-from', '3', '--futures', '0'], /--futures 0 is impossible/],
    [['--reseed-from', '3', '--timeline'], /--timeline is of one run/],
    [['--futures', '3'], /belong to --reseed-from/],
  ] as const) {
    const { code, err } = await lockstep(...failing, ...words);
    assert.is(code, 2, words.join(' '));
    assert.match(err, problem);
  }
});

test('one outlier is no step, and a step is where the counts change, not where they jump most', () => {
  const points = (...failed: number[]): Point[] => failed.map((one, at) => ({ atUs: at, futures: 8, failed: one, otherwise: 0 }));
  assert.is(stepOf(points(4, 4, 3)), undefined);
  assert.is(stepOf(points(1, 0, 1, 1, 2, 0, 1)), undefined);
  assert.is(stepOf(points(8, 8, 8)), undefined);
  assert.is(stepOf(points(1, 4, 0, 1, 1, 3, 5, 6, 6, 7))!.after.atUs, 6);
  assert.equal(stepOf(points(0, 0, 8, 8)), { before: points(0, 0)[1]!, after: { ...points(0, 0, 8)[2]! }, shareBefore: 0, shareAfter: 1 });
});

test.run();
