/** The scenarios as data: pure, describable, possible, and every `any` replaced by what the seed drew. */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkConfig } from '../../src/config/check.js';
import { scenarioNamed } from '../../reports/parameters.js';
import { scenarios } from '../../scenarios/index.js';
import { makeWorkload } from '../../sim/workloads/index.js';
import type { Parameters, Scenario, Setup } from '../../sim/types.js';
import { UsageError } from '../../sim/types.js';
import { packetIndexOfName } from '../../sim/world/packets.js';
import { randomRoot } from '../../sim/world/random.js';

const SEEDS = 60;

const setupOf = (scenario: Scenario, seed: number, parameters: Parameters = {}): Setup => scenario.setup(parameters, randomRoot(seed).fork('setup'));

test('there are the scenarios that the house promises', () => {
  const wanted = [
    'failover', 'partition', 'both-lose-power', 'resync-interrupted', 'flapping-link', 'split-brain', 'degraded-then-failover', 'maintenance', 'active-set-bound', 'slow-disk', 'recorded',
  ];
  for (const name of wanted) assert.is(scenarioNamed(scenarios, name).name, name);
  assert.throws(() => scenarioNamed(scenarios, 'nonsense'), (error: unknown) => error instanceof UsageError);
  assert.is(new Set(scenarios.map(({ name }) => name)).size, scenarios.length);
});

for (const scenario of scenarios) {
  test(`${scenario.name}: pure, and given back its resolved parameters it is the same`, () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const setup = setupOf(scenario, seed);
      assert.equal(setupOf(scenario, seed), setup);
      assert.equal(setupOf(scenario, seed, setup.parameters), setup);
      assert.not.ok(Object.values(setup.parameters).includes('any'), 'every drawn parameter is reported as drawn');
      for (const spec of scenario.parameters) assert.ok(setup.parameters[spec.name] !== undefined, spec.name);
    }
  });

  test(`${scenario.name}: possible configurations, faults on what exists, inside the storm`, () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const setup = setupOf(scenario, seed);
      const names = setup.hosts.map(({ name }) => name);
      for (const { config } of setup.hosts) assert.is(checkConfig(config), undefined, JSON.stringify(checkConfig(config)));
      const ids = setup.schedule.map(({ id }) => id);
      assert.is(new Set(ids).size, ids.length, 'ids name one fault each');
      for (const { trigger, action } of setup.schedule) {
        if ('atUs' in trigger) assert.ok(Number.isInteger(trigger.atUs) && trigger.atUs >= 0 && trigger.atUs < setup.durationUs, JSON.stringify(trigger));
        if ('onPacket' in trigger) assert.ok(packetIndexOfName(trigger.onPacket) !== undefined, trigger.onPacket);
        if ('nth' in trigger) assert.ok(Number.isInteger(trigger.nth) && trigger.nth >= 1);
        const hosts = 'hosts' in action ? action.hosts : 'host' in action ? [action.host] : [action.from, action.to];
        for (const host of hosts) assert.ok(names.includes(host), host);
        for (const value of Object.values(action)) if (typeof value === 'number') assert.ok(Number.isInteger(value) && value >= 0, JSON.stringify(action));
      }
      for (const { host } of [...setup.prepare, ...setup.afterStorm]) assert.ok(names.includes(host));
    }
  });
}

test('a sweep varies what its scenario leaves open', () => {
  for (const scenario of scenarios) {
    const seen = new Map<string, Set<unknown>>();
    for (let seed = 1; seed <= SEEDS; seed++) {
      for (const [name, value] of Object.entries(setupOf(scenario, seed).parameters)) seen.set(name, (seen.get(name) ?? new Set()).add(value));
    }
    for (const spec of scenario.parameters) if (spec.default === 'any') assert.ok(seen.get(spec.name)!.size > 1, `${scenario.name} ${spec.name}`);
  }
});

test('setting one parameter leaves what the others drew', () => {
  const scenario = scenarioNamed(scenarios, 'failover');
  for (let seed = 1; seed <= 20; seed++) {
    const drawn = setupOf(scenario, seed);
    const fixed = setupOf(scenario, seed, { 'queue-depth': 16 });
    assert.equal({ ...fixed.parameters, 'queue-depth': 0 }, { ...drawn.parameters, 'queue-depth': 0 });
    assert.equal(fixed.schedule, drawn.schedule);
  }
});

test('impossible parameters are refused with the mend', () => {
  const failover = scenarioNamed(scenarios, 'failover');
  assert.throws(() => setupOf(failover, 1, { protocol: 'D' }), /protocol=D is impossible; choose one of any, A, B, C/);
  assert.throws(() => setupOf(failover, 1, { protocol: 'A', fencing: 'resource-and-stonith' }), /cannot go with .* choose protocol B or C/);
  assert.throws(() => setupOf(failover, 1, { volumes: 2, 'protocol-max': 90 }), /cannot go with .* choose one volume, or 101/);
  assert.throws(() => setupOf(scenarioNamed(scenarios, 'active-set-bound'), 1, { case: '3GiB' }), /case=3GiB is impossible/);
  assert.throws(() => setupOf(scenarioNamed(scenarios, 'recorded'), 1, { trace: '/no/such.dmlog.gz' }), /cannot be read/);
});

test('what must go together goes together when it is drawn', () => {
  for (let seed = 1; seed <= 300; seed++) {
    const { parameters } = setupOf(scenarioNamed(scenarios, 'failover'), seed);
    assert.not.ok(parameters['protocol'] === 'A' && parameters['fencing'] === 'resource-and-stonith');
    assert.not.ok(parameters['volumes'] === 2 && Number(parameters['protocol-max']) < 100);
  }
});

test('the recorded scenario replays its whole trace and dies somewhere behind mkfs', () => {
  const setup = setupOf(scenarioNamed(scenarios, 'recorded'), 5);
  assert.is(setup.workload.kind, 'recorded');
  const first = makeWorkload(setup, randomRoot(1)).poll(0);
  assert.is(first.do, 'issue');
  assert.is(setup.schedule.length, 1);
  assert.ok('nth' in setup.schedule[0]!.trigger);
});

test.run();
