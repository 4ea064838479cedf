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

test.run();
