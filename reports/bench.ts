/**
 * How fast the simulator is: `npm run bench`. Runs the standard failover run (60 simulated seconds, two nodes, 2,000 writes,
 * faults and checkers on) over a few seeds on one core, then as many events through a bare event loop, which pops a heap and
 * draws random numbers and does nothing else, in the same process. The ratio of the two says how far we are from that limit,
 * whatever the machine.
 *
 * Each round does both, one after the other, so that a busy machine slows down both; the middle round is printed.
 */

import { cpus } from 'node:os';
import { engine } from './engine.js';
import type { Parameters } from '../sim/types.js';
import { Clock } from '../sim/world/clock.js';
import { randomRoot } from '../sim/world/random.js';

const SCENARIO = 'failover';
/** Large devices resync hundreds of MiB after the crash: that would measure memcpy. */
const PARAMETERS: Parameters = { protocol: 'C', volumes: 1, size: 'small' };
const FIRST_SEED = 1;
const SEEDS = 20;
const ROUNDS = 5;
const WARM_UP_RUNS = 10;
/** About as many as are waiting in a run. */
const EVENTS_WAITING = 40;

interface Round {
  seconds: number;
  bareSeconds: number;
}

interface Totals {
  runs: number;
  inputs: number;
  events: number;
  simulatedSeconds: number;
  failed: number;
}

const secondsOf = (work: () => void): number => {
  const start = process.hrtime.bigint();
  work();
  return Number(process.hrtime.bigint() - start) / 1e9;
};

function runSeeds(count: number): Totals {
  const totals: Totals = { runs: 0, inputs: 0, events: 0, simulatedSeconds: 0, failed: 0 };
  for (let seed = FIRST_SEED; seed < FIRST_SEED + count; seed++) {
    const { metrics, verdict } = engine.run({ scenario: SCENARIO, parameters: PARAMETERS, seed });
    totals.runs++;
    totals.inputs += metrics.inputs;
    totals.events += metrics.events;
    totals.simulatedSeconds += metrics.simulatedUs / 1e6;
    if (verdict === 'failed') totals.failed++;
  }
  return totals;
}

/** Nothing but the heap and the random numbers. */
function bareLoop(events: number): number {
  const random = randomRoot(FIRST_SEED).fork('bare loop');
  const clock = new Clock<{ kind: string }>();
  for (let n = 0; n < EVENTS_WAITING; n++) clock.schedule(random.integer(0, 1000), { kind: 'event' });
  for (let n = 0; n < events; n++) {
    const event = clock.next();
    clock.schedule(clock.nowUs + random.integer(1, 1000), event);
  }
  return clock.nowUs;
}

function main(): void {
  runSeeds(WARM_UP_RUNS);
  let totals: Totals | undefined;
  const rounds: Round[] = [];
  for (let n = 0; n < ROUNDS; n++) {
    const seconds = secondsOf(() => (totals = runSeeds(SEEDS)));
    const { events } = totals!;
    rounds.push({ seconds, bareSeconds: secondsOf(() => bareLoop(events)) });
  }
  rounds.sort((a, b) => a.seconds / a.bareSeconds - b.seconds / b.bareSeconds);
  const { seconds, bareSeconds } = rounds[ROUNDS >> 1]!;
  const { runs, inputs, events, simulatedSeconds, failed } = totals!;
  const figure = (value: number): string => Math.round(value).toLocaleString('en-US').padStart(12);
  const print = (line: string): void => void process.stdout.write(`${line}\n`);
  const set = Object.entries(PARAMETERS).map(([name, value]) => `${name}=${value}`).join(' ');
  print(`${SCENARIO} ${set}, seeds ${FIRST_SEED}..${FIRST_SEED + SEEDS - 1}, one core of ${cpus()[0]?.model ?? 'an unknown machine'}, Node ${process.versions.node}`);
  print(`${figure(inputs / seconds)}  core inputs per second`);
  print(`${figure(events / seconds)}  events per second (${Math.round(events / runs)} events, ${Math.round(inputs / runs)} inputs a run)`);
  print(`${(runs / seconds).toFixed(1).padStart(12)}  runs per second`);
  print(`${figure(simulatedSeconds / seconds)}  simulated seconds per second`);
  print(`${figure(simulatedSeconds / bareSeconds)}  the same for a bare event loop: the simulator reaches 1/${(seconds / bareSeconds).toFixed(1)} of it`);
  if (failed > 0) print(`${failed} of ${runs} runs failed: the figures are those of a broken core`);
}

main();
