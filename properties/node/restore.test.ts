// A restored node is the node: in whole simulated runs each node is thrown away again and again and a new one made of its
// snapshot carries on. Every output stays the same byte for byte (the trace hash says so). Whatever a room hides from the state,
// in a closure or a module's variable, shows here.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { scenarioNamed } from '../../reports/parameters.js';
import { scenarios } from '../../scenarios/index.js';
import { createGhost } from '../../sim/ghost.js';
import type { RunResult } from '../../sim/types.js';
import { makeWorkload } from '../../sim/workloads/index.js';
import { runOnce, type NodeFactory } from '../../sim/world/run.js';
import type { Node } from '../../src/contract/index.js';
import { createNode, restoreNode } from '../../src/node/index.js';

/** Nodes that are replaced by their copy every `every` passes; `count` is told of each. */
const replacedNodes = (every: number, count: () => void): NodeFactory => (name, environment) => {
  let node = createNode(name, environment);
  let passes = 0;
  const visible: Node = {
    name,
    handle: (input, nowUs) => node.handle(input, nowUs),
    outputs: () => {
      const outputs = node.outputs();
      if (++passes % every === 0) {
        const bytes = node.snapshot();
        const copy = restoreNode(bytes, environment);
        assert.ok(Buffer.compare(copy.snapshot(), bytes) === 0, 'the copy has the same snapshot');
        node = copy;
        count();
      }
      return outputs;
    },
    deadline: () => node.deadline(),
    snapshot: () => node.snapshot(),
    holds: () => node.holds(),
    fingerprint: () => node.fingerprint(),
    resources: () => node.resources(),
  };
  return visible;
};

const run = (name: string, seed: number, factory: NodeFactory): RunResult => {
  const { judge: _, ...scenario } = scenarioNamed(scenarios, name);
  return runOnce(scenario, { scenario: name, seed, parameters: { writes: '200' } }, { createNode: factory, makeCheckers: () => [], makeGhost: createGhost, makeWorkload });
};

for (const name of ['failover', 'both-lose-power', 'resync-interrupted', 'flapping-link', 'disk-errors']) {
  test(`${name}: nodes that are replaced by their copies every few passes run on unchanged`, () => {
    for (const [seed, every] of [[1, 7], [2, 23]] as const) {
      let replaced = 0;
      const kept = run(name, seed, createNode);
      const copied = run(name, seed, replacedNodes(every, () => replaced++));
      assert.is(copied.crash, kept.crash);
      assert.is(copied.traceHash, kept.traceHash);
      assert.ok(replaced > 50, `${replaced} replacements`);
    }
  });
}

test.run();
