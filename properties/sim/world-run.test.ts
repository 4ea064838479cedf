/** Whole runs of the simulator over a toy core: they repeat, and sins of a core show. */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createGhost } from '../../sim/ghost.js';
import { makeWorkload } from '../../sim/workloads/index.js';
import type { Checker, Completion, Fault, RunResult, Setup } from '../../sim/types.js';
import { type RunParts, runOnce } from '../../sim/world/run.js';
import { drawSchedule, drawSwarm } from '../../sim/world/swarm.js';
import { randomRoot } from '../../sim/world/random.js';
import { type Sin, ToyNode, toyScenario } from './world-toy.js';

const parts = (sin: Sin = 'none', checkers: Checker[] = []): RunParts => ({
  createNode: (name, environment) => new ToyNode(name, environment, sin),
  makeCheckers: () => checkers,
  makeGhost: createGhost,
  makeWorkload,
});

const run = (changes: Partial<Setup>, seed: number, sin: Sin = 'none', checkers: Checker[] = []): RunResult =>
  runOnce(toyScenario(changes), { scenario: 'toy', parameters: {}, seed }, parts(sin, checkers));

const allKinds: Fault['action']['do'][] = [
  'crash', 'power-loss', 'pause', 'slow-clock', 'cut', 'reset', 'stall', 'slow-link', 'disk-error', 'latent-error', 'slow-disk', 'hang-disk', 'command',
];

const stormy = (seed: number): Fault[] => {
  const random = randomRoot(seed).fork('schedule');
  return drawSchedule(random, {
    hosts: ['alice', 'bob'],
    durationUs: 5_000_000,
    kinds: drawSwarm(random, allKinds),
    meanGapUs: 500_000,
    longestUs: 2_000_000,
    longestRestartUs: 1_000_000,
    firstSector: 0,
    sectors: 100000,
    commands: [
      { host: 'bob', command: { verb: 'outdate', resource: 'r0', volume: 0 } },
      { host: 'alice', command: { verb: 'primary', resource: 'r0', force: false } },
      { host: 'alice', command: { verb: 'secondary', resource: 'r0' } },
    ],
    oneWayCuts: true,
    togetherLosePower: true,
    atEventOneIn: 3,
  });
};

test('a quiet run completes every write and mirrors it', () => {
  const images: number[][] = [];
  const looker: Checker = {
    property: 'convergence',
    onEnd(world) {
      for (const host of world.hosts) {
        const disk = host.disk(0);
        images.push([...disk.writtenBlocks()].filter((block) => block * 8 < 100000).flatMap((block) => [block, disk.blockId(block)]));
      }
    },
  };
  const result = run({}, 1, 'none', [looker]);
  assert.is(result.crash, undefined);
  assert.is(result.verdict, 'passed');
  assert.is(result.metrics.issuedWrites, 300);
  assert.is(result.metrics.acknowledgedWrites, 300);
  assert.is(result.metrics.disconnects, 0);
  assert.is(result.coverage.packets['P_DATA'], 300);
  assert.is(result.coverage.packets['P_INITIAL_META'], 1);
  assert.ok(images[0]!.length > 300);
  assert.equal(images[0], images[1]);
});

test('the same request gives the same trace, another seed another', () => {
  const hashes = new Set<string>();
  for (let seed = 1; seed <= 30; seed++) {
    const schedule = stormy(seed);
    const first = run({ schedule }, seed);
    const second = run({ schedule }, seed);
    assert.is(first.crash, undefined, first.crash);
    assert.equal(first, second);
    hashes.add(first.traceHash);
  }
  assert.is(hashes.size, 30);
});

test('faults of every kind happen, and none outlives the storm', () => {
  const fired = new Set<string>();
  const reached = new Set<string>();
  for (let seed = 100; seed < 220; seed++) {
    const result = run({ schedule: stormy(seed) }, seed);
    assert.is(result.crash, undefined, result.crash);
    for (const kind of Object.keys(result.coverage.faults)) fired.add(kind);
    for (const name of Object.keys(result.coverage.sometimes)) reached.add(name);
  }
  assert.equal([...fired].sort(), [...allKinds].sort());
  for (const name of ['primary paused', 'half-open connection', 'both lost power', 'power loss tore a sector']) assert.ok(reached.has(name), name);
});

test('a core that keeps lent bytes writes rubbish', () => {
  const bad: string[] = [];
  const looker: Checker = {
    property: 'durability',
    onCompletion(completion: Completion, world) {
      if (!completion.data) return;
      for (let n = 0; n < completion.sectors; n++) {
        const bytes = completion.data.subarray(n * 512, n * 512 + 512);
        if (bytes.every((byte) => byte === 0xee)) bad.push(`${world.nowUs}`);
      }
    },
  };
  run({}, 3, 'none', [looker]);
  assert.is(bad.length, 0);
  // Slow disks, so that lent bytes are long gone when they are written.
  run({ workload: { kind: 'synthetic', clients: 2, queueDepth: 1, writes: 300, readShare: { numerator: 1, denominator: 2 }, flushEvery: 0, fuaEvery: 0, zerosOneIn: 0, pattern: 'hot-spot', firstSector: 0, sectors: 64, maxRequestSectors: 8, thinkUs: 5000 } }, 3, 'keeps-lent', [looker]);
  assert.ok(bad.length > 0);
});

test('overlapping writes and exceptions of a core end the run', () => {
  const overlapping = run({}, 4, 'overlaps');
  assert.is(overlapping.verdict, 'failed');
  assert.match(overlapping.crash!, /two overlapping writes outstanding on one disk/);
  const broken = run({}, 4, 'throws');
  assert.is(broken.verdict, 'failed');
  assert.match(broken.crash!, /the toy broke[\s\S]*world-toy/);
});

test('a violation fails the run, unless the scenario skips the property', () => {
  const accuser: Checker = {
    property: 'liveness',
    onEnd: (world) => world.report({ property: 'liveness', atUs: world.nowUs, detail: 'never happy' }),
  };
  const result = run({}, 5, 'none', [accuser]);
  assert.is(result.verdict, 'failed');
  assert.is(result.reason, 'liveness: never happy');
  const { expectations } = toyScenario().setup({}, randomRoot(1));
  const skipped = run({ expectations: { ...expectations, skip: [{ property: 'liveness', reason: 'a test' }] } }, 5, 'none', [accuser]);
  assert.is(skipped.verdict, 'passed');
});

test('the cluster manager promotes the survivor and the application goes on there', () => {
  const result = run(
    {
      failover: { by: 'manager', detectUs: 300_000, force: false },
      schedule: [{ id: 'c', trigger: { atUs: 200_000 }, action: { do: 'crash', host: 'alice', restartAfterUs: 1_000_000 } }],
    },
    6,
  );
  assert.is(result.crash, undefined, result.crash);
  assert.is(result.metrics.failovers, 1);
  assert.ok(result.metrics.failoverUs >= 300_000 && result.metrics.failoverUs < 2_000_000);
  assert.is(result.metrics.issuedWrites, 300);
});

test.run();
