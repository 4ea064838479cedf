/** Sweeps with the fake engine: exit codes, what is written and what is not, and that nothing depends on the number of workers. */

import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { firstDifference } from '../../reports/sweep/difference.js';
import type { Summary } from '../../reports/sweep/summary.js';
import { inTemporaryFolder, lockstep, lockstepWith } from './command-line.js';

let leave: () => void;
test.before.each(() => {
  leave = inTemporaryFolder();
});
test.after.each(() => leave());

const summaryIn = (folder: string): Summary => JSON.parse(readFileSync(`${folder}/summary.json`, 'utf8')) as Summary;
const failing = (how: string): string[] => ['sweep', 'failover', '--seeds', '1..60', '--set', 'failFrom=56', '--set', `how=${how}`, '--out', 'report'];

test('a sweep that holds: exit 0 and a complete folder', async () => {
  const said = await lockstep('sweep', 'failover', 'partition', '--seeds', '1..30', '--vary', 'protocol=A,B');
  assert.is(said.code, 0);
  const folder = 'reports/out/failover+partition-1-30';
  assert.equal(readdirSync('reports/out'), ['failover+partition-1-30']);
  assert.equal(readdirSync(folder).sort(), ['index.html', 'junit.xml', 'runs.csv', 'summary.json']);
  const summary = summaryIn(folder);
  assert.is(summary.runs, 120);
  assert.is(summary.passed, 120);
  assert.equal(summary.failures, []);
  assert.is(summary.rules['71'], 0);
  assert.equal(summary.reach.rules, { reachable: 3, notReached: [{ name: '71', how: 'lose the last ack' }], unreachable: { 100: 'needs three nodes' }, unexpected: [] });
  assert.equal(summary.reach.states.unexpected, ['conn:Connected']);
  assert.equal(summary.reach.packets, { reachable: 2, notReached: [{ name: 'P_TRIM' }], unreachable: {}, unexpected: [] });
  assert.is(summary.sometimes['the sky fell'], 0);
  assert.is(summary.sometimesNotReached.length, 2);
  assert.is(summary.repeated, 4);
  assert.is(readFileSync(`${folder}/runs.csv`, 'utf8').trim().split('\n').length, 121);
  assert.match(readFileSync(`${folder}/junit.xml`, 'utf8'), /<testsuites tests="120" failures="0"/);
  assert.match(said.out.split('\n').at(-1)!, /^report: reports\/out\/failover\+partition-1-30\/index\.html$/);
});

for (const steer of ['off', 'on']) {
  test(`the results do not depend on --jobs, --steer ${steer}`, async () => {
    const kept: string[] = [];
    for (const jobs of ['1', '2', '5']) {
      const said = await lockstep('sweep', 'failover', 'partition', '--seeds', '1..120', '--set', 'failFrom=40', '--steer', steer, '--jobs', jobs, '--out', jobs);
      assert.is(said.code, 1);
      const { runsPerSecond: _, wallSeconds: __, ...summary } = summaryIn(jobs);
      assert.is(summary.runs, 240);
      const failures = readdirSync(`${jobs}/failures`).sort().map((name) => readFileSync(`${jobs}/failures/${name}`, 'utf8'));
      kept.push(JSON.stringify([summary, readFileSync(`${jobs}/runs.csv`, 'utf8'), readFileSync(`${jobs}/junit.xml`, 'utf8'), failures]));
    }
    assert.is(kept[1], kept[0]);
    assert.is(kept[2], kept[0]);
  });
}

test('what reached something new is spliced, and the command of such a run repeats it', async () => {
  const said = await lockstep('sweep', 'failover', '--seeds', '1..200', '--set', 'failFrom=150', '--steer', 'on', '--no-shrink', '--out', 'report');
  assert.match(said.out, /^steering {4}(\d+) of 200 runs were spliced from others; they were the first to reach [1-9]\d* things/m);
  const { steering, seeds, failures } = summaryIn('report');
  assert.ok(steering!.steeredRuns > 10);
  assert.is(seeds.to, 200 - steering!.steeredRuns);
  assert.equal(failures.map(({ seed }) => seed), Array.from({ length: seeds.to - 149 }, (_, n) => 150 + n));

  const steered = await lockstep('sweep', 'failover', '--seeds', '1..200', '--set', 'failFrom=17', '--steer', 'on', '--no-shrink', '--out', 'report');
  assert.is(steered.code, 1);
  const failure = summaryIn('report').failures.find(({ command }) => command.includes('--splice'))!;
  const repeated = await lockstep(...failure.command.split(' ').slice(1).map((word) => word.replaceAll("'", '')), '--json');
  assert.is(repeated.code, 1);
  assert.is((JSON.parse(repeated.out) as { traceHash: string }).traceHash, failure.traceHash);
  assert.is((await lockstep('replay', `report/${failure.file}`)).code, 1);
  const shrunk = await lockstep('shrink', `report/${failure.file}`, '--out', 'shrunk.json');
  assert.is(shrunk.code, 1);
  assert.match(readFileSync('shrunk.json', 'utf8'), /"splices"/);
});

test('a sweep of all scenarios fails when it was long enough and something was not reached', async () => {
  const short = await lockstep('sweep', '--all', '--seeds', '1..99', '--out', 'report');
  assert.is(short.code, 0);
  assert.match(short.out, /^required {4}too few runs to say \(99 of each scenario, 100 are needed\), not reached: the sky fell \(failover\), the sky fell \(partition\), rule 71, P_TRIM$/m);
  const long = await lockstep('sweep', '--all', '--seeds', '1..100', '--out', 'report');
  assert.is(long.code, 6);
  assert.match(long.out, /^REQUIRED {4}not reached: the sky fell \(failover\), the sky fell \(partition\), rule 71, P_TRIM$/m);
  assert.match(readFileSync('report/index.html', 'utf8'), /Not reached: the sky fell/);
  const narrow = await lockstep('sweep', 'failover', '--seeds', '1..100', '--out', 'report');
  assert.is(narrow.code, 0);
  assert.match(narrow.out, /^required {4}too narrow a sweep to say, not reached: the sky fell \(failover\)$/m);
  const asked = await lockstep('sweep', 'failover', '--seeds', '1..10', '--require-reached', '--out', 'report');
  assert.is(asked.code, 6);
  assert.match(asked.out, /^REQUIRED {4}not reached: the sky fell \(failover\)$/m);
  const failing = await lockstep('sweep', 'failover', '--seeds', '1..60', '--set', 'failFrom=56', '--no-shrink', '--require-reached', '--out', 'report');
  assert.is(failing.code, 1, 'a violation is worse');
});

test('a sweep that reached everything says so', async () => {
  const complete = (...words: string[]) => lockstepWith(new URL('./complete-engine.js', import.meta.url).href, ['sweep', ...words, '--out', 'report']);
  const all = await complete('--all', '--seeds', '1..100');
  assert.is(all.code, 0);
  assert.match(all.out, /^required {4}every situation, reachable comparison rule, state and packet type was reached$/m);
  const one = await complete('partition', '--seeds', '1..20', '--require-reached');
  assert.is(one.code, 0);
  assert.match(one.out, /^required {4}every situation of these scenarios was reached$/m);
  assert.is((await complete('--all', '--seeds', '1..10', '--require-reached')).code, 6, 'rule 34 comes with seed 11');
});

test('coverage: kinds, pairs, positions, and what the last tenth has brought', async () => {
  const said = await lockstep('sweep', 'failover', '--seeds', '1..20', '--out', 'report');
  assert.match(said.out, /^covered {5}2 state transitions, 2 crash positions, 2 kinds of faults, 1 pairs of kinds of faults$/m);
  assert.match(said.out, /^saturation {2}the last tenth \(runs 19 to 20\) reached nothing new$/m);
  const { crashPositions, faultPairs, growth } = summaryIn('report');
  assert.equal(crashPositions, { 'write data | flush meta': 2, 'write log | write data': 20 });
  assert.equal(faultPairs, { 'crash + cut': 4 });
  assert.equal(growth.crashPositions, [{ runs: 1, known: 1 }, { runs: 7, known: 2 }]);
  const shorter = await lockstep('sweep', 'failover', '--seeds', '1..17', '--out', 'report');
  assert.match(shorter.out, /^saturation {2}the last tenth \(runs 16 to 17\) reached 1 new: 1 state transitions$/m);
  assert.match(readFileSync('report/index.html', 'utf8'), /1 crash positions|2 crash positions/);
});

for (const [how, code] of [['durability', 1], ['liveness', 3], ['crash', 1]] as const) {
  test(`runs that fail by ${how}: exit ${code}, a failure file each, and the lines that repeat them`, async () => {
    const said = await lockstep(...failing(how));
    assert.is(said.code, code);
    const summary = summaryIn('report');
    assert.is(summary.failed, 5);
    assert.is(summary.failures.length, 5);
    assert.is(readdirSync('report/failures').length, 6);
    assert.match(said.out.split('\n').at(-1)!, /^ {2}repeat: lockstep run failover --seed 60 --set failFrom=56/);
    assert.match(readFileSync('report/junit.xml', 'utf8'), /failures="5"/);
    const first = summary.failures[0]!;
    assert.is((await lockstep(...first.command.split(' ').slice(1))).code, code);
    assert.is((await lockstep('replay', `report/${first.file}`)).code, code);
    const { shrunk } = first;
    assert.is(shrunk!.file, 'failures/failover-56.shrunk.json');
    assert.equal([shrunk!.eventsBefore, shrunk!.events, shrunk!.isComplete], [1, 0, true]);
    assert.is((await lockstep('replay', `report/${shrunk!.file}`)).code, code);
    assert.match(said.out, /^ {2}shrunk: 1 events to 0: lockstep replay report\/failures\/failover-56\.shrunk\.json$/m);
    assert.match(readFileSync('report/index.html', 'utf8'), /Shrunk from 1 events to 0; <code>lockstep replay failures\/failover-56\.shrunk\.json/);
  });
}

test('liveness and correctness together are a correctness violation', async () => {
  const said = await lockstep('sweep', 'failover', '--seeds', '56..57', '--set', 'failFrom=1', '--vary', 'how=liveness,durability', '--no-shrink', '--out', 'report');
  assert.is(said.code, 1);
  assert.equal(readdirSync('report/failures').sort(), ['failover-56-how=durability.json', 'failover-56-how=liveness.json', 'failover-57-how=durability.json', 'failover-57-how=liveness.json']);
});

test('unchecked runs are in plain sight, and failures with --require-checks', async () => {
  const said = await lockstep(...failing('unchecked'));
  assert.is(said.code, 0);
  assert.match(said.out, /5 × failover: image written to …, not checked: e2fsck is missing/);
  assert.match(said.out, /60 runs: 55 passed, 0 failed, 5 unchecked/);
  assert.match(readFileSync('report/junit.xml', 'utf8'), /skipped="5"/);
  const strict = await lockstep(...failing('unchecked'), '--require-checks');
  assert.is(strict.code, 1);
  assert.is(summaryIn('report').failures.length, 5);
  assert.match(readFileSync('report/junit.xml', 'utf8'), /failures="5"/);
});

test('another trace hash for the same request: exit 4 and the seed is named', async () => {
  const said = await lockstep('sweep', 'failover', '--seeds', '51..52', '--set', 'failFrom=1', '--set', 'how=random', '--out', 'report');
  assert.is(said.code, 4);
  assert.match(said.out, /NOT DETERMINISTIC failover seed 51/);
  assert.match(said.out, /^ {2}the runs part at event 4, behind\n {12}write\n {12}read\n {4}first {3}salt \d+\n {4}second {2}salt \d+$/m);
  assert.is(summaryIn('report').nondeterminism.length, 1);
});

test('where two runs part: at their beginning, in the middle, at the end of one', () => {
  const parts = (first: string, second: string): string[] => firstDifference(Buffer.from(first), Buffer.from(second));
  assert.equal(parts('a\nb\n', 'a\nb\n'), ['two more runs of it were the same: it happens now and then']);
  assert.equal(parts('a\nb\n', 'x\nb\n'), ['the runs part at event 1', '  first   a', '  second  x']);
  assert.equal(parts('a\nb\n', 'a\nc\n'), ['the runs part at event 2, behind', '          a', '  first   b', '  second  c']);
  assert.equal(parts('a\nb\nc\n', 'a\nb\nc\nd\n'), ['the runs part at event 4, behind', '          b', '          c', '  first   (the run is over)', '  second  d']);
  assert.equal(parts('a\nbb\n', 'a\nb\n'), ['the runs part at event 2, behind', '          a', '  first   bb', '  second  b']);
});

test('a core that throws dice: the first event that differs, with the two before it', async () => {
  const words = ['sweep', 'failover', '--seeds', '1', '--set', 'writes=50', '--set', 'duration=10', '--set', 'volumes=1', '--set', 'size=small', '--no-shrink', '--out', 'report'];
  const said = await lockstepWith(new URL('./dice-engine.js', import.meta.url).href, words);
  assert.is(said.code, 4);
  const [difference] = summaryIn('report').nondeterminism.map((one) => one.difference);
  assert.is(difference!.length, 5);
  assert.match(difference![0]!, /^the runs part at event \d+, behind$/);
  const events = difference!.slice(1).map((line) => line.slice(10));
  for (const event of events) assert.match(event, /^\{"atUs":\d+,"host":"\w+","direction":"(input|output)"/);
  assert.is.not(events[2], events[3]);
  assert.match(events[2]!, /"direction":"output"/, 'a core is the same until it says something else');
});

for (const how of ['throw', 'exit']) {
  test(`a harness that breaks (${how}): exit 5, what was done is reported`, async () => {
    const said = await lockstep(...failing(how), '--jobs', '1');
    assert.is(said.code, 5);
    assert.match(said.err, /the harness broke in failover seed 56/);
    assert.match(said.err, /repeat: lockstep run failover --seed 56 --set failFrom=56/);
    const summary = summaryIn('report');
    assert.is(summary.runs, 55);
    assert.is(summary.endedEarly, 'the harness broke');
  });
}

test('a request that cannot be met in the middle: exit 2, one line, nothing written', async () => {
  const said = await lockstep(...failing('usage').slice(0, -1), 'new/folder/report');
  assert.is(said.code, 2);
  assert.is(said.err, 'lockstep: trace x.dmlog.gz is cut off at byte 7; record it again');
  assert.equal(readdirSync('.'), []);
});

test('bad usage: exit 2, one line, nothing written', async () => {
  writeFileSync('file', 'x');
  mkdirSync('other');
  writeFileSync('other/mine', 'x');
  const wrongs: [RegExp, ...string[]][] = [
    [/unknown scenario 'failovr'; did you mean failover\?/, 'sweep', 'failovr'],
    [/no parameter 'colour'/, 'sweep', 'failover', '--set', 'colour=red'],
    [/both set and varied/, 'sweep', 'failover', '--set', 'writes=1', '--vary', 'writes=1,2'],
    [/is no range of seeds/, 'sweep', 'failover', '--seeds', '1..'],
    [/is no duration/, 'sweep', 'failover', '--time', 'long'],
    [/do not go together/, 'sweep', 'failover', '--time', '1s', '--seeds', '1..2'],
    [/do not go together/, 'sweep', 'failover', '--all'],
    [/--jobs 0 is impossible/, 'sweep', 'failover', '--jobs', '0'],
    [/--steer maybe is neither on nor off/, 'sweep', 'failover', '--steer', 'maybe'],
    [/'--splice swarm' splices nothing/, 'run', 'failover', '--seed', '1', '--splice', 'swarm'],
    [/draws nothing from 'storm'; it has parameter protocol, swarm/, 'run', 'failover', '--seed', '1', '--splice', 'storm@1=2'],
    [/the stream 'swarm' is spliced twice/, 'run', 'failover', '--seed', '1', '--splice', 'swarm@1=2', '--splice', 'swarm@3=2'],
    [/--out file\/report: the folder cannot be written: a part of the path is no folder/, 'sweep', 'failover', '--out', 'file/report'],
    [/--out file: exists and is no report folder/, 'sweep', 'failover', '--out', 'file'],
    [/--out other: exists and is no report folder/, 'sweep', 'failover', '--out', 'other'],
    [/--out \/proc\/x\/report: the folder cannot be written/, 'sweep', 'failover', '--out', '/proc/x/report'],
    [/--junit none\/out\.xml: cannot be written/, 'sweep', 'failover', '--junit', 'none/out.xml'],
    [/--image none\/i: cannot be written/, 'run', 'failover', '--seed', '1', '--image', 'none/i'],
    [/--schedule: cannot read 'none'/, 'run', 'failover', '--seed', '1', '--schedule', 'none'],
    [/'file' is no JSON/, 'run', 'failover', '--seed', '1', '--schedule', 'file'],
    [/'x' is no seed/, 'run', 'failover', '--seed', 'x'],
    [/replay: cannot read 'none'/, 'replay', 'none'],
    [/replay: 'file' is no JSON/, 'replay', 'file'],
    [/writes and how do not go together/, 'sweep', 'failover', 'partition', '--set', 'how=refuse'],
    [/writes and how do not go together/, 'run', 'failover', '--seed', '1', '--set', 'how=refuse'],
    [/unknown mutant 'B999'/, 'mutants', 'B999'],
  ];
  for (const [expected, ...words] of wrongs) {
    const said = await lockstep(...words);
    assert.is(said.code, 2, words.join(' '));
    assert.match(said.err, expected);
    assert.is(said.err.split('\n').length, 1, said.err);
    assert.is(said.out, '');
  }
  assert.equal(readdirSync('.').sort(), ['file', 'other']);
  for (const words of [['frobnicate'], ['run', 'failover'], ['sweep', 'failover', '--nonsense']]) assert.is((await lockstep(...words)).code, 2);
});

test('an older report is replaced as a whole', async () => {
  assert.is((await lockstep(...failing('durability'))).code, 1);
  assert.is((await lockstep('sweep', 'failover', '--seeds', '1..3', '--out', 'report')).code, 0);
  assert.is(summaryIn('report').runs, 3);
  assert.not.ok(existsSync('report/failures'));
  assert.equal(readdirSync('.'), ['report']);
});

test('--json prints summary.json and nothing else on stdout', async () => {
  const said = await lockstep(...failing('durability'), '--json', '--junit', 'ci.xml');
  assert.equal(JSON.parse(said.out), summaryIn('report'));
  assert.match(said.err, /repeat: lockstep run failover/);
  assert.is(readFileSync('ci.xml', 'utf8'), readFileSync('report/junit.xml', 'utf8'));
});

test('--time goes on until the time is over, from the seed that was given', async () => {
  const said = await lockstep('sweep', 'failover', '--time', '1s', '--seeds', '500', '--out', 'report', '--set', 'failFrom=1', '--set', 'how=slow');
  assert.is(said.code, 0);
  const summary = summaryIn('report');
  assert.is(summary.seeds.from, 500);
  assert.is(summary.seeds.to, 500 + summary.runs - 1);
  assert.ok(summary.runs >= 2 && summary.runs < 100, `${summary.runs} runs`);
});

test('Ctrl-C ends a sweep with a report of what was done', async () => {
  const program = fileURLToPath(new URL('./fake-lockstep.js', import.meta.url));
  const words = [program, 'sweep', 'failover', '--seeds', '1..100000', '--set', 'failFrom=1', '--set', 'how=slow', '--out', 'report'];
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  child.stdout.once('data', () => setTimeout(() => child.kill('SIGINT'), 800));
  const code = await new Promise((resolve) => child.on('close', resolve));
  assert.is(code, 0);
  const summary = summaryIn('report');
  assert.is(summary.endedEarly, 'interrupted');
  assert.ok(summary.runs > 0 && summary.runs < 1000, `${summary.runs} runs`);
});

test('the page is self-contained and shows what the runs said as text', async () => {
  await lockstep(...failing('durability'));
  const page = readFileSync('report/index.html', 'utf8');
  assert.not.match(page, /(src|href)="(?!runs\.csv|summary\.json|junit\.xml)/);
  assert.not.match(page, /@import|url\((?!#)|<script/);
  assert.match(page, /block 56 &lt;is&gt; gone &amp; &quot;lost&quot;/);
  assert.match(page, /crash &lt;crash-1&gt;/);
  assert.match(page, /5 of 60 runs failed/);
  assert.ok(page.split('<svg').length - 1 >= 4);
});

test.run();
