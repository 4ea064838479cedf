// Two nodes find a pair of streams, whatever happens on the way: B137, B187, wire-protocol.md §1.2 and §1.3.

import fc from '../fast-check.js';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { OWN_FEATURES } from '../../src/connection/handshake.js';
import { newNetwork } from './network.js';
import type { Network } from './network.js';

/** Steps until both are ready on the same pair; the simulated time that took. */
function runUntilPaired(network: Network, limitUs: number): number {
  const beganUs = network.nowUs;
  while (!network.isPaired()) {
    if (!network.step() || network.nowUs - beganUs > limitUs) {
      assert.unreachable(`not connected after ${(network.nowUs - beganUs) / 1e6} s: ${network.story.join('; ')}`);
    }
  }
  return network.nowUs - beganUs;
}

/** Nothing goes wrong afterwards: both stay ready for half a minute, with the parameters that were agreed. */
function checkStays(network: Network): void {
  const losses = network.story.length;
  const untilUs = network.nowUs + 30_000_000;
  while (network.nowUs < untilUs) assert.ok(network.step());
  assert.equal(network.story.slice(losses), []);
  assert.ok(network.isPaired());
  const [a, b] = network.stations;
  assert.is(Number(a.connection.resolveConflicts) + Number(b.connection.resolveConflicts), 1, 'one node resolves conflicts');
  // The acceptor of the meta stream: accepted streams have negative ids.
  for (const { connection } of network.stations) assert.is(connection.resolveConflicts, connection.session.meta!.id < 0);
  for (const { connection, core } of network.stations) {
    assert.is(connection.protocolVersion, 101);
    assert.is(connection.features, OWN_FEATURES);
    assert.is(core.state.streams.size, 2, 'no stream is forgotten');
  }
  assert.equal(a.packets.at(-1), { packet: 'P_STATE', volume: 0, state: 0x8001 });
  assert.equal(b.packets.at(-1), { packet: 'P_STATE', volume: 0, state: 0x8000 });
}

test('two nodes connect, each with the same streams, and one of them resolves conflicts', () => {
  let longestUs = 0;
  let crossed = 0;
  fc.assert(
    fc.property(fc.nat(1_000_000), (seed) => {
      const network = newNetwork(seed);
      const tookUs = runUntilPaired(network, 300_000_000);
      longestUs = Math.max(longestUs, tookUs);
      if (network.attempts > 3) crossed++;
      checkStays(network);
    }),
    { numRuns: 400 },
  );
  console.log(`longest until ready: ${(longestUs / 1e6).toFixed(1)} s; more than three attempts in ${crossed} of 400`);
  assert.ok(crossed > 20);
});

test('a reset of any stream at any step ends in a connection (B187)', () => {
  let runs = 0;
  for (let seed = 1; seed <= 12; seed++) {
    const whole = newNetwork(seed);
    runUntilPaired(whole, 300_000_000);
    const steps = Math.min(whole.steps + 4, 120);
    for (let cutAt = 0; cutAt < steps; cutAt++) {
      for (const which of ['all', 0, 1, 2] as const) {
        const network = newNetwork(seed);
        for (let index = 0; index < cutAt; index++) network.step();
        network.resetWires(which);
        runUntilPaired(network, 300_000_000);
        if (cutAt % 8 === 0) checkStays(network);
        runs++;
      }
    }
  }
  console.log(`${runs} runs with a reset`);
});

test('a node that restarts at any step, unnoticed by its peer, ends in a connection', () => {
  for (let seed = 1; seed <= 12; seed++) {
    const whole = newNetwork(seed);
    runUntilPaired(whole, 300_000_000);
    const steps = Math.min(whole.steps + 4, 120);
    for (let crashAt = 0; crashAt < steps; crashAt += 2) {
      const network = newNetwork(seed);
      for (let index = 0; index < crashAt; index++) network.step();
      network.restart(crashAt % 4 === 0 ? 0 : 1);
      runUntilPaired(network, 300_000_000);
      if (crashAt % 16 === 0) checkStays(network);
    }
  }
});

test('repeated trouble: resets and restarts one after the other', () => {
  const trouble = fc.constantFrom<'all' | number | 'restart-0' | 'restart-1'>('all', 0, 1, 'restart-0', 'restart-1');
  fc.assert(
    fc.property(fc.nat(1_000_000), fc.array(fc.tuple(fc.nat(60), trouble), { maxLength: 12 }), (seed, troubles) => {
      const network = newNetwork(seed);
      for (const [steps, trouble] of troubles) {
        for (let index = 0; index < steps; index++) network.step();
        if (trouble === 'restart-0') network.restart(0);
        else if (trouble === 'restart-1') network.restart(1);
        else network.resetWires(trouble);
      }
      runUntilPaired(network, 400_000_000);
      checkStays(network);
    }),
    { numRuns: 150 },
  );
});

test('no common protocol version: both end StandAlone', () => {
  const network = newNetwork(3, [{ protocolMax: 99 }, { protocolMin: 100 }]);
  for (let index = 0; index < 5000 && !(network.isStandAlone[0] && network.isStandAlone[1]); index++) network.step();
  // The one that notices first closes the streams; the other one may see only that, and then knocks at a closed door.
  assert.ok(network.isStandAlone[0] || network.isStandAlone[1]);
  assert.ok(network.story.some((line) => line.includes('no common protocol version: ours')));
});

test.run();
