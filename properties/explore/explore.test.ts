// What `lockstep explore` sees: all of it, the same every time, and a wrong world is found.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { configurations, type Configuration } from '../../sim/explore/configurations.js';
import { moveBack } from '../../sim/explore/canonical.js';
import { Contents } from '../../sim/explore/contents.js';
import { afterCrash, endOperation, type DiskState, type Operation } from '../../sim/explore/disk.js';
import { tell } from '../../sim/explore/path.js';
import { pinned } from '../../sim/explore/pinned.js';
import { beginning, Search, type Bounds } from '../../sim/explore/search.js';
import { Worlds, type HostState, type World } from '../../sim/explore/world.js';
import { lockstep } from '../reports/command-line.js';

const named = (name: string): Configuration => configurations.find((one) => one.name === name)!;
const everything: Bounds = { depth: Infinity, states: Infinity };

const explored = (worlds: Worlds, bounds = everything): Search => {
  const search = new Search(worlds, bounds);
  while (search.go(1000));
  return search;
};

for (const name of ['writes', 'role-change', 'crossing']) {
  test(`${name}: as much as it was, and every way to an end is right`, () => {
    const worlds = new Worlds(named(name));
    const search = explored(worlds);
    const { counts, isComplete, broken, ends } = search.result;
    assert.is(broken, undefined);
    assert.ok(isComplete);
    assert.equal(counts, pinned[name]);
    for (const end of ends) {
      const { violations, crash } = tell(worlds, search.path(end), true);
      assert.equal({ violations, crash }, { violations: [], crash: undefined });
    }
  });
}

test('every configuration that is said to be complete has its counts pinned, and nothing else has that is none', () => {
  assert.equal(configurations.filter(({ name, isComplete }) => isComplete && !(name in pinned)), []);
  for (const name of Object.keys(pinned)) assert.ok(named(name), name);
});

test('counters that begin again make no difference to what nodes do', () => {
  for (const name of ['smallest', 'cut']) {
    const worlds = new Worlds(named(name));
    const search = explored(worlds, { depth: Infinity, states: 12_000 });
    const { states } = search.counts;
    for (let number = 1; number < states; number += 199) {
      const path = search.path(number);
      const [one, other] = [worlds, new Worlds(named(name), false)].map((some) => {
        let world = beginning(some);
        for (const action of path) world = some.after(world, action);
        return shown(some, world);
      });
      assert.equal(one, other, path.join(', '));
    }
  }
});

const shown = (worlds: Worlds, world: World) => ({
  ghost: worlds.ghosts.at(world.ghost),
  hosts: world.hosts.map(({ node, operations }) => ({
    resources: node === 0 ? [] : worlds.nodes.resources(node).map((view) => ({ ...view, volumes: view.volumes.map((volume) => ({ ...volume, activityLogTransactions: 0 })) })),
    operations: operations.map((operation) => ({ ...worlds.operations.at(operation), op: 0, contents: [] })),
  })),
  pipes: world.pipes.map(({ ways }) => ways.map(({ end, chunks }) => `${end} ${chunks.length}`)),
});

/** Disks that lose in a crash what they had flushed. */
class Liars extends Worlds {
  override outcomes(host: HostState) {
    return super.outcomes(host).map((outcome) => {
      const { durable, cached } = this.disks.at(outcome.disk);
      return { ...outcome, disk: this.disks.numberOf({ durable: durable.filter(({ place }) => place > 0), cached }) };
    });
  }
}

test('a disk that lies about a flush is found, on one of the shortest ways to it, and told', () => {
  const worlds = new Liars(named('smallest'));
  const { broken, isComplete } = explored(worlds).result;
  assert.is(broken?.property, 'no-silent-divergence');
  assert.is(isComplete, false);
  const { story, violations } = tell(worlds, broken!.path, true);
  assert.ok(story.length >= broken!.path.length);
  assert.ok(story.some(({ text }) => /^bob crashes; of what no flush covers its disks keep/.test(text)), JSON.stringify(story));
  assert.ok(violations.some(({ property }) => property === 'no-silent-divergence'), 'the simulator\'s checker sees it too');
});

/** A host that answers the application before its node does. */
class Hasty extends Worlds {
  override after(world: World, action: string, ...rest: []): World {
    const after = super.after(world, action, ...rest);
    if (action !== 'write 0') return after;
    const events = this.ghosts.at(after.ghost);
    return { ...after, ghost: this.ghosts.numberOf([...events, { is: 'acknowledged', write: 1, host: 0, must: 3 }]) };
  }
}

test('a write that is acknowledged and nowhere is found', () => {
  assert.is(explored(new Hasty(named('writes'))).result.broken?.property, 'durability');
});

test('what a crash leaves: nothing, all, what had ended, one, all but one', () => {
  const contents = new Contents();
  contents.numberOf(new Uint8Array(4096));
  const write = (block: number, letter: number, more: Partial<Operation> = {}): Operation => ({
    op: block, verb: 'write', area: 0, sector: block * 8, sectors: 8, contents: [contents.numberOf(new Uint8Array(4096).fill(letter))], fua: false, covers: -1, ...more,
  });
  let disk: DiskState = { durable: [], cached: [[], []] };
  disk = endOperation(disk, write(0, 1), []).disk;
  disk = endOperation(disk, write(1, 2), []).disk;
  const blocksKept = (outcomes: ReturnType<typeof afterCrash>): string[] => outcomes.map((outcome) => outcome.disk.durable.map(({ place }) => place).join(' '));
  assert.equal(blocksKept(afterCrash(disk, [write(2, 3)])), ['0 1 2', '0 1', '', '0', '1 2', '1', '0 2', '2']);
  assert.equal(afterCrash(disk, [write(2, 3)]).map(({ isWhole }) => isWhole), [true, true, false, false, false, false, false, false]);

  // A flush covers what had ended when it was asked for, and no more.
  const flush: Operation = { op: 9, verb: 'flush', area: 0, sector: 0, sectors: 0, contents: [], fua: false, covers: 2 };
  const late = endOperation(disk, write(2, 3), [flush]);
  disk = endOperation(late.disk, late.others[0]!, []).disk;
  assert.equal(blocksKept(afterCrash(disk, [])), ['0 1 2', '0 1']);
  // FUA over something in the cache leaves the older one no chance.
  disk = endOperation(disk, write(2, 4, { fua: true }), []).disk;
  assert.equal(afterCrash(disk, []).map((outcome) => contents.bytes(outcome.disk.durable[2]!.content)[0]), [4]);
});

test('a new field that may be a moment is refused, not overlooked', () => {
  assert.throws(() => moveBack({ timers: new Map([['one', { deadlineUs: 7, sinceWhenUs: 3 }]]) } as never, 5), /is sinceWhenUs a moment or a period/);
  const state = { timers: new Map([['one', { deadlineUs: 7 }]]) };
  moveBack(state as never, 5);
  assert.equal([...state.timers.values()], [{ deadlineUs: 2 }]);
});

test('the command says what it saw, how far it went, and how to see it again', async () => {
  const whole = await lockstep('explore', 'writes');
  assert.is(whole.code, 0, whole.out);
  assert.match(whole.out, /complete, and the counts are as pinned/);
  assert.match(whole.out, /repeat: lockstep explore writes$/);
  const bounded = await lockstep('explore', 'writes', '--depth', '4');
  assert.is(bounded.code, 0);
  assert.match(bounded.out, /BOUNDED, NOT COMPLETE: --depth 4/);
  assert.match(bounded.out, /depth {8}4 steps/);
  const data = JSON.parse((await lockstep('explore', 'writes', '--json')).out) as object;
  assert.equal({ ...data, seconds: 0 }, { configuration: 'writes', ...pinned['writes'], complete: true, judged: pinned['writes']!.ends, seconds: 0, asPinned: true, command: 'lockstep explore writes' });
});

test('what is no configuration and no bound is said in one line', async () => {
  const unknown = await lockstep('explore', 'smalest');
  assert.is(unknown.code, 2);
  assert.match(unknown.err, /unknown configuration 'smalest'; did you mean smallest\?/);
  const bound = await lockstep('explore', 'cut', '--states', '0');
  assert.is(bound.code, 2);
  assert.match(bound.err, /--states 0 is impossible; give a number from 1 to 16000000/);
});

test.run();
