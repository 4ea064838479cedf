// The stories of properties/core/stories: each command causes exactly what is written below it, also when every pass ends with
// a node made anew of its snapshot. `LOCKSTEP_REWRITE=1` writes what happened instead of comparing.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkout } from '../house/checkout.js';

import { names } from './pair.js';
import { ruleNames, rulesOf, type OrderWatch } from './order.js';
import { claimEqual, differingBlocks, parseStory, tellStory, writeStory } from './story.js';

const folder = join(checkout, 'properties', 'core', 'stories');
const rewrites = process.env['LOCKSTEP_REWRITE'] === '1';
const only = process.env['LOCKSTEP_STORY'] ?? '';

const watches: OrderWatch[] = [];

for (const file of readdirSync(folder).filter((name) => name.endsWith('.txt') && name.includes(only)).sort((a, b) => (a < b ? -1 : 1))) {
  test(file, () => {
    const path = join(folder, file);
    const text = readFileSync(path, 'utf8');
    const story = parseStory(text);
    const told = tellStory(story);
    watches.push(...told.watches);
    if (rewrites) writeFileSync(path, writeStory(told.steps));
    else assert.fixture(writeStory(told.steps), text);
    if (claimEqual(told.pair)) assert.equal(differingBlocks(told.pair), [], 'both say UpToDate and the disks are equal');

    const again = tellStory(story, true);
    assert.equal(writeStory(again.steps), writeStory(told.steps), 'the same story with restored nodes');
    for (const name of names) {
      assert.is(again.pair.machines[name].outputsHash, told.pair.machines[name].outputsHash, `${name}: the same outputs with restored nodes`);
      assert.is(again.pair.machines[name].node?.fingerprint(), told.pair.machines[name].node?.fingerprint(), `${name}: the same state with restored nodes`);
    }
  });
}

test('every rule was looked at', () => {
  if (only !== '') return console.log('skipped: not all stories were told');
  const held = rulesOf(watches);
  assert.equal(ruleNames.filter((name) => !held.has(name)), [], 'rules that no story looked at');
});

test.run();
