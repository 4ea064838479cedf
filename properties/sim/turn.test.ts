/** A run that turns: the same past to the byte, another future; and looking at the past changes nothing. */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { engine } from '../../reports/engine.js';
import { fillParameters } from '../../reports/parameters.js';
import type { RunRequest } from '../../sim/types.js';

const scenario = engine.scenarios.find(({ name }) => name === 'flapping-link')!;
const request = (seed: number): RunRequest => ({ scenario: scenario.name, parameters: fillParameters(scenario, [{ name: 'duration', value: '20' }]), seed });
const seeds = [3];
/** In the middle of the storm, and before it. */
const moments = [10_000_000, 300_000];

test('a run that only hashes its past is the run that it was', () => {
  for (const seed of seeds) {
    const original = engine.run(request(seed));
    for (const atUs of moments) {
      const looked = engine.run({ ...request(seed), turn: { atUs, future: 0 } });
      assert.is(looked.traceHash, original.traceHash);
      assert.ok(looked.pastHash);
    }
    // It was over before.
    assert.equal(engine.run({ ...request(seed), turn: { atUs: 10 ** 12, future: 1 } }).pastHash, undefined);
  }
});

test('every future has the same past, and they are different ones', () => {
  for (const seed of seeds) {
    for (const atUs of moments) {
      const [itself, ...others] = [0, 1, 2].map((future) => engine.run({ ...request(seed), turn: { atUs, future } }));
      for (const other of others) assert.is(other.pastHash, itself!.pastHash);
      assert.is(new Set([itself, ...others].map((run) => run!.traceHash)).size, 3);
    }
  }
});

test('the same future is the same run', () => {
  const turned = { ...request(3), turn: { atUs: moments[0]!, future: 7 } };
  assert.is(engine.run(turned).traceHash, engine.run(turned).traceHash);
});

test('the past is equal to the byte, faults that had come and those of the future included', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lockstep-turn-'));
  try {
    const [atUs] = moments;
    const lines = [undefined, { atUs: atUs!, future: 1 }].map((turn, at) => {
      const trace = join(folder, String(at));
      const { story } = engine.run({ ...request(3), trace, ...(turn && { turn }) });
      const all = readFileSync(trace, 'utf8').trimEnd().split('\n');
      const past = all.filter((line) => (JSON.parse(line) as { atUs: number }).atUs < atUs!);
      const faults = story.filter(({ text }) => text.startsWith('fault '));
      return { all, past, faults: faults.filter((fault) => fault.atUs < atUs!).map(({ text }) => text), later: faults.filter((fault) => fault.atUs >= atUs!).map((fault) => `${fault.atUs} ${fault.text}`) };
    });
    assert.ok(lines[0]!.past.length > 100);
    assert.equal(lines[1]!.past, lines[0]!.past);
    assert.equal(lines[1]!.faults, lines[0]!.faults);
    assert.ok(lines[0]!.faults.length > 0 && lines[0]!.later.length > 0 && lines[1]!.later.length > 0);
    assert.equal(lines[1]!.later.filter((fault) => lines[0]!.later.includes(fault)), [], 'faults of the old future that come all the same');
    assert.not.equal(lines[1]!.all, lines[0]!.all);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test.run();
