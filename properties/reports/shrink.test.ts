/** `shrink`: what it says with the fake engine, and what it makes of a run of a mutated core. */

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { engine } from '../../reports/engine.js';
import type { FailureFile } from '../../reports/failure-file.js';
import { readFailureFile, requestOfFile } from '../../reports/failure-file.js';
import { fillParameters } from '../../reports/parameters.js';
import { eventsOf, failingOf, failsLike, requestsOf } from '../../reports/shrink/case.js';
import { simplerFaults, simplerRequests, simplerSpans } from '../../reports/shrink/simpler.js';
import { taleLines, taleOf } from '../../reports/shrink/tale.js';
import type { Fault, ListedRequest, PropertyName, RunRequest, Violation } from '../../sim/types.js';
import { inTemporaryFolder, lockstep, lockstepWith } from './command-line.js';
import { mutantEngine } from './mutant-engine.js';

let leave: () => void;
test.before.each(() => {
  leave = inTemporaryFolder();
});
test.after.each(() => leave());

const file = 'reports/out/failures/failover-9.json';

test('what fails whatever happens shrinks to nothing, and the result is a failure file', async () => {
  await lockstep('run', 'failover', '--seed', '9', '--set', 'failFrom=1');
  const said = await lockstep('shrink', file);
  assert.is(said.code, 1);
  assert.match(said.out, /violates durability: 1 events shrunk to 0 in \d+ replays\n/);
  assert.match(said.out, /repeat: lockstep replay reports\/out\/failures\/failover-9\.shrunk\.json$/);
  const shrunk = JSON.parse(readFileSync('reports/out/failures/failover-9.shrunk.json', 'utf8')) as FailureFile;
  assert.equal(shrunk.schedule, []);
  const again = await lockstep('replay', 'reports/out/failures/failover-9.shrunk.json', '--timeline');
  assert.is(again.code, 1);
  assert.match(again.out, /the failure is repeated/);
  assert.match(again.out, /pinned +a storm of .* 0 requests of the application, network and disks without jitter/);
});

test('a liveness failure exits 3, and the replays end where they shall', async () => {
  await lockstep('run', 'failover', '--seed', '9', '--set', 'failFrom=1', '--set', 'how=liveness');
  const said = await lockstep('shrink', file, '--replays', '1', '--out', 'small.json');
  assert.is(said.code, 3);
  assert.match(said.out, /in 1 replays \(ended early: perhaps more can go\)/);
  assert.ok(existsSync('small.json'));
});

test('a file that does not fail is one line, exit 0, and nothing is written', async () => {
  await lockstep('run', 'failover', '--seed', '9', '--set', 'failFrom=1');
  const failure = JSON.parse(readFileSync(file, 'utf8')) as FailureFile;
  const shrink = async (change: Partial<FailureFile>): Promise<{ code: number; out: string }> => {
    writeFileSync('gone.json', JSON.stringify({ ...failure, parameters: { ...failure.parameters, failFrom: 0 }, ...change }));
    return lockstep('shrink', 'gone.json');
  };
  const gone = await shrink({ build: 'older' });
  assert.is(gone.code, 0);
  assert.is(gone.out, "the run of 'gone.json' does not fail any more (passed): there is nothing to shrink");
  assert.not.ok(existsSync('gone.shrunk.json'));
  assert.is((await shrink({ traceHash: '0123456789abcdef' })).code, 4);
});

test('bad files and options are one line and exit 2', async () => {
  await lockstep('run', 'failover', '--seed', '9', '--set', 'failFrom=1');
  const failure = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  const request = { atUs: 5, host: 'alice', operation: 'write', volume: 0, sector: 0, sectors: 8, fua: false };
  const pinned = (value: unknown): string => JSON.stringify({ ...failure, pinned: value });
  const broken: [RegExp, string, ...string[]][] = [
    [/shrink: 'bad\.json' is no failure file/, '[]'],
    [/"pinned" is no object/, pinned(7)],
    [/"pinned" has an unknown field "stady"/, pinned({ stady: true })],
    [/"durationUs" that is no whole number/, pinned({ durationUs: 1.5 })],
    [/request number 1 that has an unknown field "size"/, pinned({ requests: [{ ...request, size: 1 }] })],
    [/request number 1 that has an "operation" that is none of read, write, flush/, pinned({ requests: [{ ...request, operation: 'erase' }] })],
    [/request number 2 that comes before the one ahead of it/, pinned({ requests: [request, { ...request, atUs: 4 }] })],
    [/--replays 0 is impossible/, JSON.stringify(failure), '--replays', '0'],
    [/'soon' is no duration/, JSON.stringify(failure), '--time', 'soon'],
    [/--out nowhere\/x\.json: cannot be written/, JSON.stringify(failure), '--out', 'nowhere/x.json'],
  ];
  for (const [expected, text, ...options] of broken) {
    writeFileSync('bad.json', text);
    const said = await lockstep('shrink', 'bad.json', ...options);
    assert.is(said.code, 2, String(expected));
    assert.match(said.err, expected);
    assert.is(said.err.split('\n').length, 1);
  }
});

test('the requests of a run, given back by time, make the same run', () => {
  for (const [name, seed] of [['failover', 3], ['dual-primary', 2]] as const) {
    const scenario = engine.scenarios.find((one) => one.name === name)!;
    const request: RunRequest = { scenario: name, parameters: fillParameters(scenario, [{ name: 'writes', value: '300' }]), seed };
    const { record, traceHash } = engine.run({ ...request, record: true });
    assert.ok(record!.requests.length > 300);
    assert.is(engine.traceHash({ ...request, pinned: { requests: requestsOf(record!) } }), traceHash);
  }
});

test('of two Primaries a listed request goes to the one that it names, whatever went before it', () => {
  const scenario = engine.scenarios.find(({ name }) => name === 'dual-primary')!;
  const request: RunRequest = { scenario: scenario.name, parameters: fillParameters(scenario, [{ name: 'writes', value: '300' }]), seed: 2, schedule: [] };
  const all = requestsOf(engine.run({ ...request, record: true }).record!);
  assert.is(new Set(all.map(({ host }) => host)).size, 2);
  const some = all.filter((_, index) => index % 3 !== 0);
  const { requests } = engine.run({ ...request, pinned: { requests: some }, record: true }).record!;
  assert.equal(requests.map(({ host }) => host), some.map(({ host }) => host));
});

test('only the same property, or the same assertion with other numbers, is the same failure', () => {
  const violated = (...properties: PropertyName[]): { violations: Violation[] } => ({ violations: properties.map((property) => ({ property, atUs: 1, detail: '' })) });
  const threw = (crash: string): { violations: Violation[]; crash: string } => ({ violations: [], crash });
  const lost = failingOf(violated('durability', 'liveness'))!;
  assert.ok(failsLike(lost, violated('liveness', 'durability')));
  assert.not.ok(failsLike(lost, violated('liveness')));
  assert.not.ok(failsLike(lost, { ...violated('durability'), crash: 'Error: x' }));
  const broken = failingOf(threw('Error: epoch 7 counts -1\n    at a'))!;
  assert.ok(failsLike(broken, threw('Error: epoch 12 counts -3\n    at b')));
  assert.not.ok(failsLike(broken, threw('Error: bit 7 is set')));
  assert.not.ok(failsLike(broken, violated('durability')));
  assert.is(failingOf(violated()), undefined);
});

test('following simpler forms always ends', () => {
  const steps = <T>(first: T, simpler: (item: T) => readonly T[]): number => {
    let count = 0;
    for (let next = simpler(first).at(-1); next !== undefined; next = simpler(next).at(-1)) if (++count > 500) break;
    return count;
  };
  for (const us of [1, 999, 1000, 1_234_567, 60_000_000]) assert.ok(steps(us, simplerSpans) < 500, `${us}`);
  const fault: Fault = {
    id: 'a', trigger: { onPacket: 'P_DATA', from: 'alice', to: 'bob', nth: 77, when: 'sent', delayUs: 1234 },
    action: { do: 'power-loss', hosts: ['alice', 'bob'], restartAfterUs: 7_654_321, tear: 99 },
  };
  assert.ok(steps(fault, simplerFaults) < 500);
  const request: ListedRequest = { atUs: 1, host: 'alice', operation: 'write', volume: 0, sector: 77, sectors: 100, fua: true, zeros: 'discard' };
  assert.ok(steps(request, simplerRequests) < 500);
});

test('a run of a mutated core shrinks to a few events, fails again, holds without the mutant, and the same way each time', async () => {
  const mutant = mutantEngine('B013');
  try {
    const run = await lockstepWith(mutant.module, ['run', 'flapping-link', '--seed', '4', '--set', 'writes=100', '--set', 'duration=5', '--set', 'protocol=C']);
    assert.is(run.code, 1);
    const failed = 'reports/out/failures/flapping-link-4.json';
    const said = await lockstepWith(mutant.module, ['shrink', failed, '--out', 'small.json']);
    assert.is(said.code, 1, said.err);
    assert.match(said.out, /violates unexpected-disconnect/);
    await lockstepWith(mutant.module, ['shrink', failed, '--out', 'again.json']);
    assert.is(readFileSync('again.json', 'utf8').replaceAll('again', 'small'), readFileSync('small.json', 'utf8'));

    const small = readFailureFile('small.json', 'shrink');
    const { request } = requestOfFile(small, engine.scenarios);
    assert.ok(eventsOf({ schedule: small.schedule, pinned: small.pinned! }) <= 6, said.out);
    assert.is(engine.run(request).verdict, 'passed');
    const again = await lockstepWith(mutant.module, ['replay', 'small.json']);
    assert.is(again.code, 1);
    assert.match(again.out, /trace hash: the same as recorded/);
    const story = taleOf({ ...engine.run({ ...request, record: true }), violations: small.violations });
    assert.ok(story.length <= taleLines && story.some((line) => line.includes('VIOLATED unexpected-disconnect')), story.join('\n'));
  } finally {
    mutant.remove();
  }
});

test.run();
