/** The engine around the real core: fencing handlers, heartbeats, operators, traces and images. What the core does right is for the scenarios to say. */

import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createNode } from '../../src/node/index.js';
import { createGhost } from '../../sim/ghost.js';
import { makeWorkload } from '../../sim/workloads/index.js';
import type { Checker, Fault, FaultAction, RunRequest, RunResult, Setup } from '../../sim/types.js';
import { runOnce } from '../../sim/world/run.js';
import { toyScenario, toySetup } from './world-toy.js';

const S = 1_000_000;

type HandlerSpec = Setup['hosts'][number]['handlers'][number];

function play(changes: Partial<Setup>, request: Partial<RunRequest> = {}, checkers: Checker[] = []): RunResult {
  const result = runOnce(toyScenario({ durationUs: 40 * S, settleUs: 60 * S, ...changes }), { scenario: 'toy', parameters: {}, seed: 1, ...request }, {
    createNode,
    makeCheckers: () => checkers,
    makeGhost: createGhost,
    makeWorkload,
  });
  assert.is(result.crash, undefined, result.crash);
  return result;
}

/** Both hosts with this handler and policy. */
function fenced(handler: Partial<HandlerSpec>, fencing: 'resource-only' | 'resource-and-stonith' = 'resource-only'): Setup['hosts'] {
  return toySetup().hosts.map((host) => ({
    ...host,
    handlers: [{ name: 'fence-peer', exitCode: 'derive', delayUs: 100_000, ...handler }],
    config: {
      ...host.config,
      handlers: ['fence-peer'],
      volumes: host.config.volumes.map((volume) => ({ ...volume, disk: { ...volume.disk, fencing } })),
    },
  }));
}

const told = (result: RunResult, host: string, text: string): boolean => result.story.some((line) => line.host === host && line.text.includes(text));
const at = (atUs: number, action: FaultAction): Fault => ({ id: `${action.do} at ${atUs}`, trigger: { atUs }, action });
const cut = at(5 * S, { do: 'cut', from: 'alice', to: 'bob', oneWay: false, forUs: 30 * S });

test('a fence-peer handler tells the truth about its peer', () => {
  const outdated = play({ hosts: fenced({}), schedule: [cut] });
  assert.ok(told(outdated, 'alice', 'fence-peer exits with 4'));
  assert.ok(told(outdated, 'bob', 'disk UpToDate → Outdated'));
  const dead = play({ hosts: fenced({}), schedule: [at(5 * S, { do: 'power-loss', hosts: ['bob'], tear: 1 })] });
  assert.ok(told(dead, 'alice', 'fence-peer exits with 5'));
  const shot = play({ hosts: fenced({ shoots: true }, 'resource-and-stonith'), schedule: [cut] });
  assert.ok(told(shot, 'alice', 'fence-peer exits with 7'));
  assert.ok(told(shot, 'bob', 'is shot'));
  assert.is(shot.story.filter((line) => line.host === 'bob' && line.text === 'boots').length >= 2, true);
  const wrong = play({ hosts: fenced({ exitCode: 1 }), schedule: [cut] });
  assert.ok(told(wrong, 'alice', 'fence-peer exits with 1'));
});

test('a paused peer is not declared dead: the handler waits for it', () => {
  const result = play({ hosts: fenced({}), schedule: [cut, at(5 * S, { do: 'pause', host: 'bob', forUs: 20 * S })] });
  const exit = result.story.find((line) => line.text.startsWith('fence-peer exits'));
  assert.is(exit?.text, 'fence-peer exits with 4');
  assert.ok(exit!.atUs > 25 * S);
});

test('the operator stops the application before a demotion, and it goes on where there is a Primary again', () => {
  const closed: string[] = [];
  const watcher: Checker = {
    property: 'liveness',
    onInput(host, input) {
      if (input.type === 'app-opened' || input.type === 'app-closed') closed.push(`${host} ${input.type}`);
    },
  };
  const result = play(
    {
      schedule: [
        at(1 * S, { do: 'command', host: 'alice', command: { verb: 'secondary', resource: 'r0' } }),
        at(3 * S, { do: 'command', host: 'bob', command: { verb: 'primary', resource: 'r0', force: false } }),
      ],
    },
    {},
    [watcher],
  );
  assert.equal(closed.slice(0, 3), ['alice app-opened', 'alice app-closed', 'bob app-opened']);
  assert.is(result.metrics.failovers, 0);
  assert.is(result.metrics.acknowledgedWrites, 300);
});

test('after the storm the operator undoes what was done', () => {
  const disconnect: Fault = at(2 * S, { do: 'command', host: 'bob', command: { verb: 'disconnect', resource: 'r0', peer: 'alice', force: false } });
  const result = play({
    schedule: [disconnect],
    afterStorm: ['alice', 'bob'].map((host) => ({
      host,
      command: { verb: 'connect' as const, resource: 'r0', peer: host === 'bob' ? 'alice' : 'bob', discardMyData: false, tentative: false },
    })),
  });
  const last = [...result.story].reverse().find((line) => line.host === 'bob' && line.text.includes('conn '));
  assert.match(last!.text, /→ Connected/);
  assert.ok(last!.atUs > 40 * S);
});

test('a trace file has a line for each input and output, and the same hash comes without it', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lockstep-trace-'));
  try {
    const trace = join(folder, 'trace.jsonl');
    const traced = play({}, { trace });
    const lines = readFileSync(trace, 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as { direction: string; type: string });
    assert.is(lines.filter((line) => line.direction === 'input').length, traced.metrics.inputs);
    assert.is(lines.filter((line) => line.direction === 'output').length, traced.metrics.outputs);
    assert.is(lines.filter((line) => line.type === 'app-done').length > 300, true);
    assert.equal(play({}), traced);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('the survivor\'s image is what its users see, sparse', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lockstep-image-'));
  try {
    const image = join(folder, 'image');
    const shown = new Map<number, Uint8Array>();
    let sizeSectors = 0;
    const looker: Checker = {
      property: 'convergence',
      onEnd(world) {
        const alice = world.host('alice');
        sizeSectors = alice.node!.resources()[0]!.volumes[0]!.sizeSectors;
        for (const block of alice.disk(0).writtenBlocks()) shown.set(block, alice.disk(0).blockBytes(block).slice());
      },
    };
    play({}, { image }, [looker]);
    const bytes = readFileSync(image);
    assert.is(bytes.length, sizeSectors * 512);
    assert.ok(shown.size > 100);
    for (const [block, content] of shown) assert.is(Buffer.compare(bytes.subarray(block * 4096, block * 4096 + 4096), content.subarray(0, bytes.length - block * 4096)), 0);
    assert.ok(statSync(image).blocks * 512 < bytes.length);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('equal requests give equal results, whatever ran before', () => {
  const schedule = [
    at(4 * S, { do: 'crash', host: 'alice', restartAfterUs: 2 * S }),
    at(20 * S, { do: 'power-loss', hosts: ['alice', 'bob'], tear: 7, restartAfterUs: 3 * S }),
  ];
  const failover: Setup['failover'] = { by: 'manager', detectUs: S, force: false };
  const first = play({ schedule, failover }, { seed: 11 });
  play({ schedule: [cut] }, { seed: 12 });
  assert.equal(play({ schedule, failover }, { seed: 11 }), first);
  assert.is.not(play({ schedule, failover }, { seed: 13 }).traceHash, first.traceHash);
});

test.run();
