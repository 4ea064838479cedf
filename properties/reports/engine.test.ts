/** The real scenarios behind the command line: what they draw can be written down, read back and run again as the same run. */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { engine } from '../../reports/engine.js';
import { fillParameters } from '../../reports/parameters.js';
import { rowColumns } from '../../reports/rows.js';
import { checkSchedule } from '../../reports/schedule-file.js';
import type { Fault, RunRequest } from '../../sim/types.js';
import { setupOf } from '../../sim/world/run.js';

const cheap = ['failover', 'partition', 'split-brain'];

test('no parameter has the name of a column', () => {
  for (const scenario of engine.scenarios) {
    for (const { name } of scenario.parameters) assert.not.ok((rowColumns as readonly string[]).includes(name), `${scenario.name}: ${name}`);
  }
});

test('every schedule that a scenario draws survives a file', () => {
  for (const scenario of engine.scenarios) {
    for (let seed = 1; seed <= 20; seed++) {
      const setup = setupOf(scenario, { scenario: scenario.name, parameters: fillParameters(scenario, []), seed });
      const read = checkSchedule(JSON.parse(JSON.stringify(setup.schedule)) as Fault[], scenario.name, setup.hosts.map(({ name }) => name));
      assert.equal(read, setup.schedule);
    }
  }
});

for (const name of cheap) {
  test(`${name}: the same run again, from its resolved parameters, and from its schedule`, () => {
    const scenario = engine.scenarios.find((candidate) => candidate.name === name)!;
    const request: RunRequest = { scenario: name, parameters: fillParameters(scenario, []), seed: 5 };
    const first = engine.run(request);
    assert.is(engine.traceHash(request), first.traceHash);
    assert.is(engine.traceHash({ ...request, parameters: first.parameters }), first.traceHash);
    assert.is(engine.traceHash({ ...request, schedule: JSON.parse(JSON.stringify(first.schedule)) as Fault[] }), first.traceHash);
    assert.is.not(engine.traceHash({ ...request, seed: 6 }), first.traceHash);
    assert.equal(engine.prepare(request).resolved, first.parameters);
  });
}

test('coverage names rules, states and packets as the list of what can be reached does', () => {
  const request: RunRequest = { scenario: 'failover', parameters: fillParameters(engine.scenarios[0]!, []), seed: 5 };
  const { rules, states, packets } = engine.run(request).coverage;
  const known = (list: readonly { name: string }[]): Set<string> => new Set(list.map(({ name }) => name));
  assert.ok(Object.keys(rules).some((rule) => known(engine.reachable.rules).has(rule)));
  for (const state of Object.keys(states)) assert.ok(known(engine.reachable.states).has(state), state);
  for (const packet of Object.keys(packets)) assert.ok(known(engine.reachable.packets).has(packet), packet);
  assert.ok(packets['P_DATA']! > 0);
});

test('coverage: a transition leads from one state to another, and a host dies between two operations of its disks', () => {
  const operation = /^(boot|nothing|(read|flush|zeroes|discard) (data|meta)|write (data|superblock|log|bitmap))$/;
  const seen = new Set<string>();
  for (const name of ['failover', 'both-lose-power']) {
    const scenario = engine.scenarios.find((candidate) => candidate.name === name)!;
    for (const seed of [1, 2, 3]) {
      const { states, transitions, crashPositions } = engine.run({ scenario: name, parameters: fillParameters(scenario, [['volumes', '1'], ['size', 'small']].flatMap(([known, value]) => (scenario.parameters.some((spec) => spec.name === known) ? [{ name: known!, value: value! }] : []))), seed }).coverage;
      const into: Record<string, number> = {};
      for (const [transition, times] of Object.entries(transitions)) {
        const [field, from, to] = transition.split(/[:→]/) as [string, string, string];
        assert.is.not(from, to);
        into[`${field}:${to}`] = (into[`${field}:${to}`] ?? 0) + times;
      }
      assert.equal(into, states);
      for (const position of Object.keys(crashPositions)) for (const half of position.split(' | ')) {
        assert.match(half, operation);
        seen.add(half);
      }
    }
  }
  assert.ok(seen.size >= 3, [...seen].join(', '));
});

test('a splice keeps the faults that a seed begins with, and has others follow', () => {
  const scenario = engine.scenarios[0]!;
  const request: RunRequest = { scenario: 'failover', parameters: fillParameters(scenario, []), seed: 5 };
  const own = setupOf(scenario, request).schedule;
  const { streams } = engine.prepare(request);
  const draws = streams.get('swarm/faults')!;
  const spliced = (after: number): Fault[] => setupOf(scenario, { ...request, splices: [{ stream: 'swarm/faults', after, seed: 12 }] }).schedule;
  assert.equal(spliced(draws), own);
  assert.not.equal(spliced(0).slice(1), own.slice(1));
  assert.equal(spliced(0)[0], own[0], 'the death has a stream of its own');
  const half = spliced(draws >> 1);
  assert.not.equal(half, own);
  const timed = (faults: readonly Fault[]): Fault[] => faults.filter(({ trigger }) => 'atUs' in trigger);
  let kept = 0;
  while (JSON.stringify(timed(half)[kept]) === JSON.stringify(timed(own)[kept])) kept++;
  assert.ok(kept >= 3 && kept < timed(own).length, `${kept} of ${timed(own).length} are kept`);
  assert.equal(setupOf(scenario, { ...request, splices: [{ stream: 'swarm/faults', after: 4, seed: 12 }] }).hosts, setupOf(scenario, request).hosts);
});

test.run();
