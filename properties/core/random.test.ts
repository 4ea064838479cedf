// Random commands, requests, cuts, crashes and completions in random order, on two nodes. The ordering obligations hold at every step
// (order.ts), no node throws; at the end, when everything works again, what was asked is answered and nodes that say so are equal.

import fc, { runsOr } from '../fast-check.js';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { rulesOf, watchOrder, type OrderWatch } from './order.js';
import { command, drive, names, newPair } from './pair.js';
import { arbitraryAct, arbitraryOptions, carryOut, choices, repair, resource } from './random-acts.js';
import { claimEqual, differingBlocks, up } from './story.js';

const runs = runsOr(100);

const watches: OrderWatch[] = [];
let equal = 0;

test('random runs', () => {
  const property = fc.property(arbitraryOptions, fc.integer(), fc.array(arbitraryAct, { minLength: 5, maxLength: 60, size: 'max' }), (options, seed, acts) => {
    const pair = newPair(options);
    const watch = watchOrder(pair);
    watches.push(watch);
    for (const name of names) pair.machines[name].handlers.set('fence-peer', seed % 3 === 0 ? 'hangs' : 4);
    up(pair);
    command(pair, 'alice', { verb: 'new-current-uuid', resource, volume: 0, clearBitmap: true });
    drive(pair);
    if (seed % 2 === 0) command(pair, 'alice', { verb: 'primary', resource, force: true });
    drive(pair);
    pair.choose = choices(seed);
    for (const act of acts) carryOut(pair, act);
    repair(pair);
    for (const name of names) {
      const machine = pair.machines[name];
      const unanswered = [...machine.asked.values()].map(({ type }) => type);
      assert.equal(unanswered, [], `${name}: requests without an answer`);
    }
    if (claimEqual(pair)) {
      equal++;
      assert.equal(differingBlocks(pair), [], 'both say UpToDate and the disks are equal');
    }
  });
  fc.assert(property, { numRuns: runs });
});

test('the runs come to something', () => {
  const held = rulesOf(watches);
  // Those that need little luck; that every rule can be reached is shown by the stories.
  assert.equal(['D1', 'D4', 'D5', 'D6', 'D14', 'D15', 'M7'].filter((name) => !held.has(name)), [], 'rules that no run looked at');
  assert.ok(equal > runs / 4, `${equal} of ${runs} runs ended Connected and UpToDate`);
});

test.run();
