// The rate controller in figures: a model peer answers after a given delay, and what was asked for is added up.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import fc from '../fast-check.js';
import { defaultDiskOptions } from '../../src/config/defaults.js';
import type { DiskOptions } from '../../src/config/types.js';
import { advanceMarks, measuredRate, newController, newMarks, ratePlan, roomBlocks, throttle } from '../../src/resync/rate.js';

const TICKS_PER_S = 10;

/** Blocks asked for in each tick, by a peer that answers everything `delayTicks` ticks after it was asked (0: before the next one). */
function run(options: Partial<DiskOptions>, ticks: number, delayTicks = 0, maxBuffers = 2048): number[] {
  const disk = { ...defaultDiskOptions, ...options };
  let controller = newController();
  const asked: number[] = [];
  for (let tick = 0; tick < ticks; tick++) {
    const inFlight = asked.slice(Math.max(0, tick - delayTicks), tick).reduce((sum, blocks) => sum + blocks, 0);
    const answered = asked[tick - delayTicks - 1] ?? 0;
    const plan = ratePlan(controller, disk, { answeredSectors: answered * 8, inFlightSectors: inFlight * 8, unwrittenSectors: inFlight * 8 });
    controller = plan.controller;
    asked.push(Math.min(plan.blocks, roomBlocks(maxBuffers, inFlight * 8)));
  }
  return asked;
}

const sum = (numbers: number[]): number => numbers.reduce((total, one) => total + one, 0);
const kibPerS = (asked: number[]): number => (sum(asked) * 4 * TICKS_PER_S) / asked.length;

test('resync-rate 30M with c-plan-ahead 0 gives 30 MiB/s', () => {
  assert.is(kibPerS(run({ resyncRate: 30 * 1024, cPlanAhead: 0 }, 600)), 30 * 1024);
});

test('a fixed rate is kept from the lowest on, without bursts (B123)', () => {
  for (const resyncRate of [1, 10, 39, 40, 41, 250, 1000, 4096, 30720, 40000]) {
    const asked = run({ resyncRate, cPlanAhead: 0 }, 4000);
    // 4000 ticks are 400 s; less than one block may be left over.
    assert.ok(sum(asked) * 4 <= resyncRate * 400 && sum(asked) * 4 > resyncRate * 400 - 4, `${resyncRate} KiB/s: ${sum(asked) * 4} KiB in 400 s`);
    assert.ok(Math.max(...asked) <= Math.ceil(resyncRate / 40), `${resyncRate} KiB/s: a burst of ${Math.max(...asked)} blocks`);
  }
});

test('the adaptive controller starts at resync-rate, speeds up while answers are prompt, and keeps below c-max-rate', () => {
  const asked = run({ resyncRate: 250, cMaxRate: 4000 }, 3000);
  assert.is(asked[0], 6, '250 KiB/s are 6 blocks in the first step');
  assert.ok(Math.max(...asked) <= 100, 'c-max-rate 4000 KiB/s is 100 blocks in a step');
  assert.ok(kibPerS(asked.slice(-100)) > 3900, `${kibPerS(asked.slice(-100))} KiB/s at the end`);
});

test('while answers are prompt the speed grows in proportion to itself: the active set of a crashed primary is done within three minutes', () => {
  const asked = run({}, 1400);
  const setKib = defaultDiskOptions.alExtents * 4096;
  assert.ok(sum(asked) * 4 > setKib, `${Math.trunc((sum(asked) * 4) / 1024)} of ${setKib / 1024} MiB in 140 s with the default options`);
  const large = run({}, 400, 0, 8192);
  assert.ok(kibPerS(large.slice(-100)) > 0.99 * defaultDiskOptions.cMaxRate, `${kibPerS(large.slice(-100))} KiB/s after 30 s with room for it`);
  for (let tick = 20; tick < 300; tick++) assert.ok(large[tick]! <= 5 * large[tick - 20]!, `from ${large[tick - 20]} to ${large[tick]} blocks within two seconds`);
});

test('a peer that answers only so much in a step is kept busy, with little more than c-fill-target waiting for it', () => {
  for (const most of [5, 50, 500, 900]) {
    let controller = newController();
    let [waiting, answered, total] = [0, 0, 0];
    for (let tick = 0; tick < 1500; tick++) {
      const plan = ratePlan(controller, defaultDiskOptions, { answeredSectors: answered * 8, inFlightSectors: waiting * 8, unwrittenSectors: waiting * 8 });
      controller = plan.controller;
      waiting += plan.blocks;
      answered = Math.min(waiting, most);
      waiting -= answered;
      if (tick < 500) continue;
      total += answered;
      assert.ok(waiting * 8 <= 4 * defaultDiskOptions.cFillTarget + 8, `${most} blocks a step: ${waiting * 8} sectors wait`);
    }
    assert.ok(total > 0.99 * 1000 * most, `${most} blocks a step: ${total / 1000}`);
  }
});

test('with c-fill-target the sectors on their way settle at the target', () => {
  // Answers later than about a third of c-plan-ahead make it swing: the kernel's formula does.
  for (const delayTicks of [1, 3, 6]) {
    const asked = run({ cFillTarget: 2000, cMaxRate: 1024000 }, 2000, delayTicks, 131072);
    const onTheirWay = (sum(asked.slice(-delayTicks - 400)) / (delayTicks + 400)) * delayTicks * 8;
    assert.ok(onTheirWay > 1500 && onTheirWay < 2500, `delay ${delayTicks}: ${onTheirWay} sectors`);
  }
});

test('with c-delay-target the speed grows until answers take that long, and never stalls', () => {
  const asked = run({ cFillTarget: 0, cDelayTarget: 10, resyncRate: 1000, cMaxRate: 20000 }, 3000, 1);
  assert.ok(asked.every((blocks, tick) => tick < 1 || blocks > 0 || asked[tick - 1]! > 0), 'no two steps in a row ask for nothing');
  assert.ok(kibPerS(asked.slice(-300)) > 19000, `${kibPerS(asked.slice(-300))} KiB/s at the end`);
});

test('never more than half of max-buffers is on its way, and something is asked for when nothing is (B120, B122)', () => {
  const option = fc.record({
    resyncRate: fc.integer({ min: 1, max: 4000000 }),
    cPlanAhead: fc.integer({ min: 0, max: 300 }),
    cDelayTarget: fc.integer({ min: 1, max: 100 }),
    cFillTarget: fc.integer({ min: 0, max: 1048576 }),
    cMaxRate: fc.integer({ min: 250, max: 4194304 }),
  });
  fc.assert(
    fc.property(option, fc.array(fc.nat(100), { minLength: 60, maxLength: 200 }), fc.integer({ min: 32, max: 10000 }), (options, answers, maxBuffers) => {
      let controller = newController();
      let inFlight = 0;
      let answered = 0;
      let idle = 0;
      for (const percent of answers) {
        const plan = ratePlan(controller, options, { answeredSectors: answered * 8, inFlightSectors: inFlight * 8, unwrittenSectors: inFlight * 8 });
        controller = plan.controller;
        const blocks = Math.min(plan.blocks, roomBlocks(maxBuffers, inFlight * 8));
        assert.ok(Number.isSafeInteger(blocks) && blocks >= 0);
        assert.ok(blocks + inFlight <= Math.trunc(maxBuffers / 2));
        assert.ok(controller.plan.every(Number.isSafeInteger));
        if (options.cPlanAhead > 0 && options.cMaxRate > 0) assert.ok(blocks * 8 <= Math.max(8, Math.trunc(options.cMaxRate / 5)));
        idle = blocks === 0 && inFlight === 0 ? idle + 1 : 0;
        // A fixed rate of 1 KiB/s is a block in 40 steps.
        assert.ok(idle < 40, 'a resync that never asks for anything');
        inFlight += blocks;
        answered = Math.trunc((inFlight * percent) / 100);
        inFlight -= answered;
      }
    }),
    { numRuns: 300 },
  );
});

const quiet = { requestsWaiting: false, sectors: 0 };
const busy = { requestsWaiting: true, sectors: 0 };

test('c-min-rate holds the resync back only while the application works, and only above c-min-rate', () => {
  const resync = { marks: newMarks(0, 100000), lastApplicationSectors: 0 };
  const fast = 100000 - 1000; // 4000 KiB in a second
  const slow = 100000 - 50; // 200 KiB in a second
  assert.not(throttle(resync, quiet, 250, 1_000_000, fast).slowDown);
  assert.ok(throttle(resync, busy, 250, 1_000_000, fast).slowDown);
  assert.not(throttle(resync, busy, 250, 1_000_000, slow).slowDown);
  assert.not(throttle(resync, busy, 0, 1_000_000, fast).slowDown, 'c-min-rate 0 never gives way');
  assert.not(throttle(resync, busy, 250, 1_000_000, 100400).slowDown, 'a resync that loses ground is not held back (B122)');
  assert.not(throttle(resync, { requestsWaiting: false, sectors: 64 }, 250, 1_000_000, fast).slowDown);
  assert.equal(throttle(resync, { requestsWaiting: false, sectors: 65 }, 250, 1_000_000, fast), { slowDown: true, lastApplicationSectors: 65 });
});

test('under constant load the resync keeps c-min-rate: neither a stall nor much more (B122)', () => {
  for (const cMinRate of [250, 1000, 4000]) {
    let leftBits = 1_000_000;
    const marks = newMarks(0, leftBits);
    const seconds = 300;
    for (let tick = 0; tick < seconds * TICKS_PER_S; tick++) {
      const nowUs = tick * 100_000;
      if (throttle({ marks, lastApplicationSectors: 0 }, busy, cMinRate, nowUs, leftBits).slowDown) continue;
      leftBits -= 256;
      advanceMarks(marks, nowUs, leftBits);
    }
    const rate = ((1_000_000 - leftBits) * 4) / seconds;
    assert.ok(rate > cMinRate * 0.8 && rate < cMinRate * 1.5, `c-min-rate ${cMinRate}: ${rate} KiB/s`);
  }
});

test('the speed is measured from the mark before the latest, marks are 3 s apart', () => {
  const marks = newMarks(0, 10000);
  advanceMarks(marks, 2_999_999, 9000);
  assert.is(marks.latest.leftBits, 10000);
  advanceMarks(marks, 3_000_000, 9000);
  advanceMarks(marks, 6_000_000, 8500);
  assert.is(measuredRate(marks, 7_000_000, 8400), 600, '600 blocks in 4 s');
});

test.run();
