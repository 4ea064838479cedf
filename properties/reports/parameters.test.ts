/** Words of the command line: what is understood, and that each mistake is one line that names the problem and the mend. */

import fc from '../fast-check.js';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { fillParameters, parseAssignment, parseDuration, parseSeed, parseSeeds, quoteWord, repeatCommand, scenarioNamed } from '../../reports/parameters.js';
import { checkSchedule } from '../../reports/schedule-file.js';
import { UsageError } from '../../sim/types.js';
import { engine } from './fake-engine.js';

const failover = engine.scenarios[0]!;

function refusal(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    assert.instance(error, UsageError);
    assert.not.match((error as Error).message, /\n/);
    return (error as Error).message;
  }
  return assert.unreachable('nothing was refused') as never;
}

test('a seed is a number or a commit hash', () => {
  assert.is(parseSeed('0'), 0);
  assert.is(parseSeed('4711'), 4711);
  assert.is(parseSeed('deadbeef1'), 0xdeadbeef1);
  assert.is(parseSeed('89e99abbd1f2c3a4b5c6d7e8f90123456789abcd'), 0x89e99abbd1f2);
  assert.ok(Number.isSafeInteger(parseSeed('f'.repeat(40))));
  for (const wrong of ['', '-1', '1.5', 'abc', 'seed', '9007199254740993x']) assert.match(refusal(() => parseSeed(wrong)), /is no seed; give/);
});

test('seeds are a range with both ends, or one seed', () => {
  assert.equal(parseSeeds('3..9'), { from: 3, to: 9 });
  assert.equal(parseSeeds('5'), { from: 5, to: 5 });
  assert.match(refusal(() => parseSeeds('9..3')), /run backwards; write --seeds 3\.\.9/);
  for (const wrong of ['..', '1..', '..2', '1..2..3']) assert.match(refusal(() => parseSeeds(wrong)), /is no range of seeds/);
});

test('durations carry their unit', () => {
  assert.equal(['90s', '10m', '2h'].map(parseDuration), [90_000, 600_000, 7_200_000]);
  for (const wrong of ['', '10', '0s', '5d', 'm', '1.5m']) assert.match(refusal(() => parseDuration(wrong)), /is no duration; write/);
});

test('parameters are checked against their scenario', () => {
  assert.is(fillParameters(failover, [])['protocol'], 'any');
  assert.is(fillParameters(failover, [{ name: 'writes', value: '12' }])['writes'], 12);
  const refused = (text: string): string => refusal(() => fillParameters(failover, [parseAssignment('--set', text)]));
  assert.match(refused('protocol=D'), /protocol=D is impossible; choose one of any, A, B, C/);
  assert.match(refused('writes=0'), /writes=0 is out of range; choose 1\.\.100000/);
  assert.match(refused('writes=1.5'), /no whole number/);
  assert.match(refused('writes='), /is no number/);
  assert.match(refused('wites=1'), /has no parameter 'wites'; did you mean writes\?/);
  assert.match(refused('input=/nowhere/x'), /cannot read '\/nowhere\/x': there is no such file/);
  assert.match(refused('input=/'), /it is no file/);
  assert.match(refusal(() => parseAssignment('--set', 'protocol')), /write --set name=value/);
});

test('an unknown scenario suggests the near ones', () => {
  assert.match(refusal(() => scenarioNamed(engine.scenarios, 'failovr')), /did you mean failover\?/);
  assert.not.match(refusal(() => scenarioNamed(engine.scenarios, 'zzz')), /did you mean/);
});

test('the repeating command says what differs from the defaults, and parses back to the same request', () => {
  fc.assert(
    fc.property(fc.nat(), fc.constantFrom('any', 'A', 'B', 'C'), fc.integer({ min: 1, max: 100000 }), (seed, protocol, writes) => {
      const request = { scenario: 'failover', seed, parameters: { ...fillParameters(failover, []), protocol, writes } };
      const words = repeatCommand(failover, request).split(' ');
      assert.equal(words.slice(0, 5), ['lockstep', 'run', 'failover', '--seed', String(seed)]);
      const sets = words.filter((_, i) => words[i - 1] === '--set').map((text) => parseAssignment('--set', text));
      assert.equal(fillParameters(failover, sets), request.parameters);
      assert.is(sets.length, (protocol === 'any' ? 0 : 1) + (writes === 2000 ? 0 : 1));
    }),
  );
  assert.is(quoteWord("a b'c"), `'a b'\\''c'`);
});

test('a schedule is checked field by field', () => {
  const good = { id: 'c1', trigger: { atUs: 5 }, action: { do: 'crash', host: 'alice' } };
  assert.is(checkSchedule([good], 'x', ['alice']).length, 1);
  const refused = (change: object): string => refusal(() => checkSchedule([{ ...good, ...change }], 'x', ['alice', 'bob']));
  assert.match(refused({ id: 7 }), /fault number 1 has no "id"/);
  assert.match(refused({ trigger: { at: 5 } }), /trigger without atUs, onDiskOperation, onPacket/);
  assert.match(refused({ trigger: { atUs: -1 } }), /whole number, not negative/);
  assert.match(refused({ action: { do: 'explode' } }), /does 'explode', which is none of crash/);
  assert.match(refused({ action: { do: 'crash' } }), /"host" must be text/);
  assert.match(refused({ action: { do: 'crash', host: 'alice', restartAfterMs: 4 } }), /"restartAfterMs" is unknown/);
  assert.match(refused({ action: { do: 'crash', host: 'carol' } }), /names host 'carol'; the scenario has alice, bob/);
  assert.match(refusal(() => checkSchedule([good, good], 'x')), /has the "id" of an earlier one/);
});

test.run();
