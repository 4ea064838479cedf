/** `run` and `replay` with the fake engine. */

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { FailureFile } from '../../reports/failure-file.js';
import { rowColumns } from '../../reports/rows.js';
import { countsIn } from '../run-tests.js';
import { inTemporaryFolder, lockstep } from './command-line.js';

let leave: () => void;
test.before.each(() => {
  leave = inTemporaryFolder();
});
test.after.each(() => leave());

test('run prints its whole configuration, then the verdict, then the command that repeats it', async () => {
  const said = await lockstep('run', 'failover', '--seed', '7', '--set', 'protocol=B');
  assert.is(said.code, 0);
  const lines = said.out.split('\n');
  const at = (start: RegExp): number => lines.findIndex((line) => start.test(line));
  assert.ok(at(/^ {2}seed +7$/) > 0);
  assert.ok(at(/^ {2}protocol +B$/) > 0);
  assert.ok(at(/^ {2}schedule +1 faults, drawn from the seed$/) > 0);
  assert.ok(at(/^ {2}writes +2000 {2}\(default\)$/) > 0);
  assert.ok(at(/^verdict +passed$/) > at(/^ {2}writes/));
  assert.is(at(/^repeat: lockstep run failover --seed 7 --set protocol=B$/), lines.length - 1);
  assert.not.ok(existsSync('reports'));
});

test('--timeline tells the story', async () => {
  const said = await lockstep('run', 'failover', '--seed', '7', '--timeline');
  assert.match(said.out, /^ +1\.000000 s {2}alice {2}crash <crash-1>$/m);
});

test('--json is one object with the metrics of a row', async () => {
  const said = await lockstep('run', 'failover', '--seed', '7', '--json');
  const object = JSON.parse(said.out) as Record<string, unknown>;
  for (const column of rowColumns) assert.ok(column in object, column);
  assert.is(object['verdict'], 'passed');
  assert.equal(Object.keys(object['parameters'] as object), ['protocol', 'writes', 'failFrom', 'how', 'input']);
});

test('a failed run leaves a failure file that replays to the same run', async () => {
  const said = await lockstep('run', 'failover', '--seed', '9', '--set', 'failFrom=1');
  assert.is(said.code, 1);
  assert.match(said.out.split('\n').at(-1)!, /^repeat: lockstep run failover --seed 9 --set failFrom=1$/);
  const again = await lockstep('replay', 'reports/out/failures/failover-9.json');
  assert.is(again.code, 1);
  assert.match(again.out, /trace hash: the same as recorded/);
  assert.match(again.out, /violations: the same as recorded/);
});

test('replay tells nondeterminism from changed code, and says when a failure is gone', async () => {
  await lockstep('run', 'failover', '--seed', '9', '--set', 'failFrom=1');
  const file = JSON.parse(readFileSync('reports/out/failures/failover-9.json', 'utf8')) as FailureFile;
  const replay = async (change: Partial<FailureFile>): Promise<{ code: number; out: string }> => {
    writeFileSync('changed.json', JSON.stringify({ ...file, ...change }));
    return lockstep('replay', 'changed.json');
  };
  assert.is((await replay({ traceHash: '0123456789abcdef' })).code, 4);
  const changed = await replay({ traceHash: '0123456789abcdef', build: 'older' });
  assert.is(changed.code, 1);
  assert.match(changed.out, /still there/);
  const mended = await replay({ traceHash: '0123456789abcdef', build: 'older', parameters: { ...file.parameters, failFrom: 0 } });
  assert.is(mended.code, 0);
  assert.match(mended.out, /the failure is gone/);
  assert.is((await replay({ parameters: { ...file.parameters, how: 'unchecked' }, build: 'older' })).code, 1);
});

test('an unreadable failure file is one line and exit 2', async () => {
  await lockstep('run', 'failover', '--seed', '9', '--set', 'failFrom=1');
  const whole = readFileSync('reports/out/failures/failover-9.json', 'utf8');
  const file = JSON.parse(whole) as Record<string, unknown>;
  const broken: [RegExp, string][] = [
    [/is no JSON .*; is it cut off/, whole.slice(0, whole.length / 2)],
    [/is no failure file/, '[]'],
    [/is no failure file/, JSON.stringify({ ...file, format: 'something else' })],
    [/has the format 'lockstep failure 2', .* replay it with the release that wrote it/, JSON.stringify({ ...file, format: 'lockstep failure 2' })],
    [/has no seed/, JSON.stringify({ ...file, seed: 'x' })],
    [/has no list of violations/, JSON.stringify({ ...file, violations: [{ property: 'beauty' }] })],
    [/does 'explode'/, JSON.stringify({ ...file, schedule: [{ id: 'a', trigger: { atUs: 1 }, action: { do: 'explode' } }] })],
    [/unknown scenario 'gone'/, JSON.stringify({ ...file, scenario: 'gone' })],
  ];
  for (const [expected, text] of broken) {
    writeFileSync('broken.json', text);
    const said = await lockstep('replay', 'broken.json');
    assert.is(said.code, 2);
    assert.match(said.err, expected);
    assert.is(said.err.split('\n').length, 1);
  }
});

test('a schedule from a file takes the place of the one drawn', async () => {
  writeFileSync('schedule.json', JSON.stringify([]));
  const said = await lockstep('run', 'failover', '--seed', '7', '--schedule', 'schedule.json');
  assert.is(said.code, 0);
  assert.match(said.out, /schedule +0 faults of schedule\.json/);
  assert.match(said.out, /repeat: lockstep run failover --seed 7 --schedule schedule\.json$/);
  writeFileSync('schedule.json', JSON.stringify({ schedule: [{ id: 'a', trigger: { atUs: 1 }, action: { do: 'pause', host: 'bob' } }] }));
  const wrong = await lockstep('run', 'failover', '--seed', '7', '--schedule', 'schedule.json');
  assert.is(wrong.code, 2);
  assert.match(wrong.err, /"forUs" must be a whole number/);
});

test('a harness that breaks: exit 5 and the line that repeats it', async () => {
  const said = await lockstep('run', 'failover', '--seed', '9', '--set', 'failFrom=1', '--set', 'how=throw');
  assert.is(said.code, 5);
  assert.match(said.err, /repeat: lockstep run failover --seed 9/);
});

test('scenarios are a line each, and explain themselves by name', async () => {
  const all = await lockstep('scenarios');
  assert.is(all.out.split('\n').length, 2);
  assert.match(all.out, /^failover .*\[protocol=any writes=2000/m);
  assert.match((await lockstep('scenarios', 'failover')).out, /protocol +replication protocol \(any\|A\|B\|C; default any\)/);
});

test('the counts of a test file are those that uvu printed', () => {
  assert.equal(countsIn('  Total:     5\n  Passed:    5\n', '0'), { passed: 5, failed: 0 });
  assert.equal(countsIn('  Total:     5\n  Passed:    3\n', '1'), { passed: 3, failed: 2 });
  assert.equal(countsIn('  Total:     5\n  Passed:    5\n', '1'), { passed: 5, failed: 1 });
  assert.equal(countsIn('Error: cannot find module', '1'), { passed: 0, failed: 1 });
});

test.run();
