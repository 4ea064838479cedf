// Memory that is used again only when nobody refers to it; and whole runs of nodes that keep what lies there without a copy.

import { connect, createServer, type AddressInfo } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import fc from '../fast-check.js';
import type { Environment, Input, Node, Output } from '../../src/contract/index.js';
import { createNode } from '../../src/node/index.js';
import { Arena, PAGE_BYTES } from '../../real/arena.js';
import { createGhost } from '../../sim/ghost.js';
import type { RunResult } from '../../sim/types.js';
import { makeWorkload } from '../../sim/workloads/index.js';
import { runOnce, type NodeFactory } from '../../sim/world/run.js';
import { scenarios } from '../../scenarios/index.js';
import { scenarioNamed } from '../../reports/parameters.js';

test('pages that somebody refers to stay as they are, and the others are used again', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: 1, max: PAGE_BYTES }), fc.constantFrom('drop', 'hold', 'pin'), fc.nat(20)), { maxLength: 60 }), (pieces) => {
      const arena = new Arena();
      const held: { bytes: Uint8Array; value: number }[] = [];
      const pinned: { bytes: Uint8Array; value: number }[] = [];
      arena.ask((all) => {
        for (const { bytes } of held) all.add(bytes.buffer);
      });
      for (const [at, [length, what, dropped]] of pieces.entries()) {
        const { bytes } = arena.take(length)!;
        assert.is(bytes.length, length);
        assert.ok(arena.lasts(bytes));
        const one = { bytes: bytes.fill(at + 1), value: at + 1 };
        if (what === 'hold') held.push(one);
        if (what === 'pin') {
          arena.pin([one.bytes]);
          pinned.push(one);
        }
        for (const { bytes: kept, value } of [...held, ...pinned]) assert.ok(kept[0] === value && kept[kept.length - 1] === value);
        held.splice(0, dropped - 10);
        for (const { bytes: free } of pinned.splice(0, dropped - 15)) arena.unpin([free]);
        arena.reclaim();
      }
      assert.ok(!arena.lasts(new Uint8Array(4)));
    }),
    { numRuns: 100 },
  );
  const arena = new Arena();
  const buffers = new Set<ArrayBufferLike>();
  for (let page = 0; page < 100; page++) {
    buffers.add(arena.take(PAGE_BYTES)!.bytes.buffer);
    arena.reclaim();
  }
  assert.ok(buffers.size < 12, `${buffers.size} pages`);
  assert.is(arena.take(PAGE_BYTES + 1), undefined);
});

test('what a socket reads lies in one piece, up to the end of a page', async () => {
  const arena = new Arena();
  const server = createServer((socket) => {
    for (let byte = 1; byte <= 60; byte++) socket.write(new Uint8Array(50_000).fill(byte));
    socket.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const read: Uint8Array[] = [];
  const { onread, watch } = arena.reader((bytes) => read.push(bytes));
  const socket = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', onread });
  watch(socket);
  await new Promise((resolve) => socket.once('close', resolve));
  server.close();
  assert.ok(Buffer.concat(read).equals(Buffer.concat(Array.from({ length: 60 }, (_, at) => new Uint8Array(50_000).fill(at + 1)))));
  for (const [at, bytes] of read.entries()) {
    const before = read[at - 1];
    if (before && before.buffer === bytes.buffer) assert.is(bytes.byteOffset, before.byteOffset + before.length);
  }
  assert.ok(new Set(read.map(({ buffer }) => buffer)).size >= 3);
});

// ---- Nodes whose memory lasts ---------------------------------------------------------------------------------------------

/** A copy, of whatever holds bytes. */
const copied = <T>(value: T): T => structuredClone(value);

/**
 * As `lockstepd` drives them: what comes in lies in an arena, and what the node holds stays there. Pages are filled with rubbish as soon as
 * the node says that it holds nothing in them, which after each pass is looked at for all of them.
 */
function lastingNodes(counts: { kept: number; overwritten: number }): NodeFactory {
  return (name: string, environment: Environment): Node => {
    let current = new Uint8Array(PAGE_BYTES / 16);
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
        current = new Uint8Array(Math.max(PAGE_BYTES / 16, bytes.length));
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
      const safe = copied(outputs);
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

const run = (name: string, seed: number, factory: NodeFactory): RunResult => {
  const { judge: _, ...scenario } = scenarioNamed(scenarios, name);
  return runOnce(scenario, { scenario: name, seed, parameters: { writes: '200' } }, { createNode: factory, makeCheckers: () => [], makeGhost: createGhost, makeWorkload });
};

for (const name of ['failover', 'flapping-link', 'disk-errors', 'dual-primary', 'read-balancing', 'resync-interrupted', 'chains']) {
  test(`${name}: nodes that keep what lasts run as those that copy it`, () => {
    for (const seed of [1]) {
      const counts = { kept: 0, overwritten: 0 };
      const copying = run(name, seed, createNode);
      const lasting = run(name, seed, lastingNodes(counts));
      assert.is(lasting.crash, copying.crash);
      assert.is(lasting.traceHash, copying.traceHash);
      assert.ok(counts.kept > 50 && counts.overwritten > 50, JSON.stringify(counts));
    }
  });
}

test.run();
