/** The activity log in memory against a model of lists: who is granted what, who must go, and what is active on disk, over any order of requests, releases and transactions. */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Grant } from '../../src/volume/activity-log.js';
import { activeExtents, commitChanges, evictedExtents, getExtents, isIdle, newActivityLog, putExtents, usedExtents } from '../../src/volume/activity-log.js';
import fc from '../fast-check.js';

const EXTENT_SECTORS = 8192;
const UPDATES_MAX = 64;

interface Entry {
  extent: number;
  references: number;
  /** The extent that its slot still has on disk, when it is not this one. */
  replaces?: number | 'nothing';
}

/** The rules of sync-and-activity-log.md §1, done naively. */
class Model {
  entries: Entry[] = [];
  /** Idle entries that are on disk; the first one has been idle the longest. */
  idle: Entry[] = [];
  isStarving = false;
  isRunning = false;

  constructor(private readonly slots: number) {}

  get pending(): Entry[] {
    return this.entries.filter(({ replaces }) => replaces !== undefined);
  }

  get onDisk(): number[] {
    return this.entries.flatMap(({ extent, replaces }) => (replaces === undefined ? [extent] : replaces === 'nothing' ? [] : [replaces]));
  }

  get evicted(): number[] {
    return this.pending.flatMap(({ replaces }) => (typeof replaces === 'number' ? [replaces] : []));
  }

  get(extents: readonly number[]): Grant {
    if (this.isStarving) return 'full';
    const found = extents.map((extent) => this.entries.find((entry) => entry.extent === extent));
    const missing = extents.filter((_, index) => found[index] === undefined);
    const others = this.idle.filter((entry) => !found.includes(entry));
    if (missing.length > 0) {
      if (this.isRunning || this.pending.length + missing.length > UPDATES_MAX) return 'full';
      if (missing.length > this.slots - this.entries.length + others.length) {
        this.isStarving = true;
        return 'full';
      }
    }
    this.idle = others;
    for (const entry of found) if (entry !== undefined) entry.references++;
    for (const extent of missing) {
      let replaces: Entry['replaces'] = 'nothing';
      if (this.entries.length === this.slots) {
        const oldest = this.idle.shift()!;
        replaces = oldest.extent;
        this.entries.splice(this.entries.indexOf(oldest), 1);
      }
      this.entries.push({ extent, references: 1, replaces });
    }
    return extents.every((extent) => this.entries.find((entry) => entry.extent === extent)!.replaces === undefined) ? 'active' : 'pending';
  }

  put(extents: readonly number[]): boolean {
    let becameIdle = false;
    for (const extent of extents) {
      const entry = this.entries.find((one) => one.extent === extent)!;
      if (--entry.references > 0) continue;
      if (entry.replaces === undefined) this.idle.push(entry);
      this.isStarving = false;
      becameIdle = true;
    }
    return becameIdle;
  }

  commit(): void {
    for (const entry of this.pending) {
      delete entry.replaces;
      if (entry.references === 0) this.idle.push(entry);
    }
  }
}

type Act = { do: 'get'; extent: number; extents: number } | { do: 'put'; which: number } | { do: 'begin' } | { do: 'commit' };

const acts: fc.Arbitrary<Act[]> = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('get' as const), extent: fc.nat(14), extents: fc.constantFrom(1, 1, 1, 2) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('get' as const), extent: fc.nat(200), extents: fc.constantFrom(1, 2) }) },
    { weight: 5, arbitrary: fc.record({ do: fc.constant('put' as const), which: fc.nat(1000) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('begin' as const) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('commit' as const) }) },
  ),
  { minLength: 60, maxLength: 150 },
);

const ascending = (list: readonly number[]): number[] => [...list].sort((a, b) => a - b);

test('the log grants, evicts and remembers what the model does', () => {
  const seen = { active: 0, pending: 0, full: 0, starving: 0, evicted: 0, manyPending: 0 };
  fc.assert(
    fc.property(fc.constantFrom(2, 3, 5, 8, 100), acts, (slots, all) => {
      const log = newActivityLog(slots);
      const model = new Model(slots);
      const held: { sector: number; sectors: number; extents: number[] }[] = [];
      for (const act of all) {
        switch (act.do) {
          case 'get': {
            // From the last sector of the first extent to the first one of the last.
            const sector = (act.extent + 1) * EXTENT_SECTORS - 1;
            const sectors = act.extents === 1 ? 1 : 2 + (act.extents - 2) * EXTENT_SECTORS;
            const extents = Array.from({ length: act.extents }, (_, n) => act.extent + n);
            const grant = getExtents(log, sector, sectors);
            assert.is(grant, model.get(extents));
            seen[grant]++;
            if (grant !== 'full') held.push({ sector, sectors, extents });
            // What this is all for: nobody may write where a crash would not be looked for.
            if (grant === 'active') for (const extent of extents) assert.ok(activeExtents(log).includes(extent));
            break;
          }
          case 'put': {
            const [holder] = held.splice(act.which % Math.max(1, held.length), 1);
            if (holder !== undefined) assert.is(putExtents(log, holder.sector, holder.sectors), model.put(holder.extents));
            break;
          }
          case 'begin':
            log.transactionRunning = model.isRunning = model.pending.length > 0;
            break;
          case 'commit':
            seen.evicted += model.evicted.length;
            if (model.pending.length > 5) seen.manyPending++;
            commitChanges(log);
            model.commit();
            log.transactionRunning = model.isRunning = false;
            break;
        }
        if (log.starving) seen.starving++;
        assert.is(log.starving, model.isStarving);
        assert.equal(ascending(activeExtents(log)), ascending(model.onDisk));
        assert.equal(ascending(evictedExtents(log)), ascending(model.evicted));
        assert.is(usedExtents(log), model.entries.length - model.idle.length);
        assert.is(isIdle(log), held.length === 0 && model.pending.length === 0);
        assert.ok(activeExtents(log).length <= slots);
      }
    }),
    { numRuns: 300 },
  );
  for (const [what, times] of Object.entries(seen)) assert.ok(times > 20, `${what} was hardly reached: ${times}`);
});

test('a transaction changes at most 64 slots', () => {
  const log = newActivityLog(100);
  for (let extent = 0; extent < UPDATES_MAX; extent++) assert.is(getExtents(log, extent * EXTENT_SECTORS, 8), 'pending');
  assert.is(getExtents(log, 70 * EXTENT_SECTORS, 8), 'full');
  assert.not(log.starving);
  assert.is(getExtents(log, 0, 8), 'pending', 'who is in it already joins');
  commitChanges(log);
  assert.is(getExtents(log, 0, 8), 'active');
  assert.is(getExtents(log, 70 * EXTENT_SECTORS, 8), 'pending');
});

test.run();
