// Whole runs of nodes that keep what lasts where it lies (`Environment.lasts`), as `lockstepd` drives them: every output is the same, byte for
// byte, as that of nodes that copy what they keep.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Environment, Input, Node, Output } from '../../src/contract/index.js';
import { createNode } from '../../src/node/index.js';
import { createGhost } from '../../sim/ghost.js';
import type { RunResult } from '../../sim/types.js';
import { makeWorkload } from '../../sim/workloads/index.js';
import { runOnce, type NodeFactory } from '../../sim/world/run.js';
import { scenarios } from '../../scenarios/index.js';
import { scenarioNamed } from '../../reports/parameters.js';

/** Small, so that many are begun and left. */
const PAGE_BYTES = 64 << 10;

/**
 * What comes in lies in pages, and what the node holds stays there. Pages are filled with rubbish as soon as
 * the node says that it holds nothing in them, which after each pass is looked at for all of them.
 */
function lastingNodes(counts: { kept: number; overwritten: number }): NodeFactory {
  return (name: string, environment: Environment): Node => {
    let current = new Uint8Array(PAGE_BYTES);
    let used = 0;
    let pages = new Set<ArrayBufferLike>([current.buffer]);
    const lasts = (bytes: Uint8Array): boolean => {
      if (!pages.has(bytes.buffer)) return false;
      counts.kept++;
      return true;
    };
    const node = createNode(name, { ...environment, lasts });
    const place = (bytes: Uint8Array): Uint8Array => {
      if (used + bytes.length > current.length) {
        current = new Uint8Array(Math.max(PAGE_BYTES, bytes.length));
        pages.add(current.buffer);
        used = 0;
      }
      const copy = current.subarray(used, used + bytes.length);
      copy.set(bytes);
      used += bytes.length;
      return copy;
    };
    const placed = (input: Input): Input => {
      if (input.type === 'app-write') return { ...input, data: place(input.data) };
      if (input.type === 'disk-done' && input.data) return { ...input, data: place(input.data) };
      if (input.type === 'stream-received') return { ...input, bytes: place(input.bytes) };
      return input;
    };
    const endPass = (outputs: Output[]): Output[] => {
      // Whoever carries them out would pin what he keeps; here he gets copies.
      const safe = structuredClone(outputs);
      const held = node.holds();
      const still = new Set<ArrayBufferLike>();
      for (const page of pages) {
        if (held.has(page)) still.add(page);
        else {
          new Uint8Array(page).fill(0xee);
          counts.overwritten++;
        }
      }
      if (!still.has(current.buffer)) used = current.length;
      pages = still;
      return safe;
    };
    return {
      name: node.name,
      handle: (input, nowUs) => node.handle(placed(input), nowUs),
      outputs: () => endPass(node.outputs()),
      deadline: () => node.deadline(),
      snapshot: () => node.snapshot(),
      holds: () => node.holds(),
      fingerprint: () => node.fingerprint(),
      resources: () => node.resources(),
    };
  };
}

const run = (name: string, factory: NodeFactory): RunResult => {
  const { judge: _, ...scenario } = scenarioNamed(scenarios, name);
  return runOnce(scenario, { scenario: name, seed: 1, parameters: { writes: '200' } }, { createNode: factory, makeCheckers: () => [], makeGhost: createGhost, makeWorkload });
};

for (const name of ['failover', 'flapping-link', 'dual-primary', 'read-balancing', 'resync-interrupted', 'chains']) {
  test(`${name}: nodes that keep what lasts run as those that copy it`, () => {
    const counts = { kept: 0, overwritten: 0 };
    const copying = run(name, createNode);
    const lasting = run(name, lastingNodes(counts));
    assert.is(lasting.crash, copying.crash);
    assert.is(lasting.traceHash, copying.traceHash);
    assert.ok(counts.kept > 50 && counts.overwritten > 50, JSON.stringify(counts));
  });
}

test.run();
