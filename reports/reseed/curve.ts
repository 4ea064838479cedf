/**
 * When was it lost? The same run up to a moment, and many different futures from there on: the share of them that fails, for moment after moment.
 * Where the share steps up, the damage was done. Moments are chosen evenly first, then more of them where the step is.
 */

import type { RunRequest, RunResult } from '../../sim/types.js';
import { UsageError } from '../../sim/types.js';
import type { Job } from '../sweep/plan.js';
import type { Outcome } from '../sweep/outcome.js';

/** What came of the futures from one moment on. */
export interface Point {
  atUs: number;
  futures: number;
  /** They violate a property that the run violates. */
  failed: number;
  /** They fail in another way. */
  otherwise: number;
}

/** Moments of a first look, from the beginning to the failure; and more of them between the two on either side of the step, so often. */
const FIRST_MOMENTS = 13;
const CLOSER_MOMENTS = 6;
const CLOSER_LOOKS = 2;
/** Closer than this there is nothing between two moments. */
const NEAREST_US = 100;

/** Runs requests somewhere, in any order, and hands the outcomes back in the order of the requests. */
export type Runner = (jobs: readonly Job[]) => Promise<Outcome[]>;

/** The last one is behind the failure: where all is in the past, what happened at that very instant too. */
export const firstMoments = (failedAtUs: number): number[] => [...evenly(0, failedAtUs, FIRST_MOMENTS), failedAtUs + 1];

/** One share before, another one from there on. */
export interface Step {
  before: Point;
  after: Point;
  /** Pooled: of all points up to `before`, and of all from `after` on. */
  shareBefore: number;
  shareAfter: number;
}

/**
 * Where the curve, as one step up, fits the counts best (the likeliest place of a change in a share); undefined where no step does much better than none. A few futures
 * more or less at one moment move nothing, since all the others count too.
 */
export function stepOf(points: readonly Point[]): Step | undefined {
  let best: (Step & { likelihood: number }) | undefined;
  for (let at = 1; at < points.length; at++) {
    const [left, right] = [pooled(points.slice(0, at)), pooled(points.slice(at))];
    const [shareBefore, shareAfter] = [left.failed / left.futures, right.failed / right.futures];
    const likelihood = likelihoodOf(left) + likelihoodOf(right);
    if (shareAfter > shareBefore && likelihood > (best?.likelihood ?? -Infinity)) best = { before: points[at - 1]!, after: points[at]!, shareBefore, shareAfter, likelihood };
  }
  if (best === undefined || best.likelihood - likelihoodOf(pooled(points)) < CLEARLY) return undefined;
  const { likelihood: _, ...step } = best;
  return step;
}

/** Logarithm of how much likelier a step must make the counts: twenty times. */
const CLEARLY = 3;

type Counted = Pick<Point, 'failed' | 'futures'>;

const pooled = (points: readonly Point[]): Counted => ({
  failed: points.reduce((sum, { failed }) => sum + failed, 0),
  futures: points.reduce((sum, { futures }) => sum + futures, 0),
});

/** Logarithm of the likelihood of so many failures under their own share. */
function likelihoodOf({ failed, futures }: Counted): number {
  const part = (count: number): number => (count === 0 ? 0 : count * Math.log(count / futures));
  return part(failed) + part(futures - failed);
}

export const shareOf = ({ failed, futures }: Point): number => failed / futures;

/** Points of these moments, or, without moments, of those that tell most. */
export async function curveOf(request: RunRequest, original: RunResult, moments: readonly number[] | undefined, futures: number, run: Runner): Promise<Point[]> {
  const points = new Map<number, Point>();
  const measure = async (atUs: readonly number[]): Promise<void> => {
    for (const point of await measured(request, original, atUs.filter((one) => !points.has(one)), futures, run)) points.set(point.atUs, point);
  };
  const sorted = (): Point[] => [...points.values()].sort((a, b) => a.atUs - b.atUs);
  if (moments) {
    await measure(moments);
    return sorted();
  }
  await measure(firstMoments(failureOf(original)));
  for (let look = 0; look < CLOSER_LOOKS; look++) {
    const step = stepOf(sorted());
    if (!step || step.after.atUs - step.before.atUs < NEAREST_US) break;
    await measure(evenly(step.before.atUs, step.after.atUs, CLOSER_MOMENTS + 2));
  }
  return sorted();
}

/** When the run was first seen to fail. */
export const failureOf = ({ violations, metrics }: RunResult): number => Math.min(metrics.simulatedUs, ...violations.map(({ atUs }) => atUs));

async function measured(request: RunRequest, original: RunResult, moments: readonly number[], futures: number, run: Runner): Promise<Point[]> {
  // Future 0 is the run itself: what its past hashes to is what every other's must.
  const jobs = moments.flatMap((atUs) => Array.from({ length: futures + 1 }, (_, future) => ({ ...request, turn: { atUs, future } }))).map((one, index): Job => ({ index, request: one, repeat: false }));
  const outcomes = await run(jobs);
  const points: Point[] = [];
  for (const [at, atUs] of moments.entries()) {
    const results = outcomes.slice(at * (futures + 1), (at + 1) * (futures + 1)).map(resultOf);
    points.push(pointOf(atUs, original, results));
  }
  return points;
}

function resultOf(outcome: Outcome): RunResult {
  if (outcome.kind === 'ran') return outcome.result;
  if (outcome.kind === 'usage') throw new UsageError(outcome.message);
  throw new Error(`a future broke the harness: ${outcome.message}`);
}

/** Throws where a past is not the same: then no future proves anything. */
function pointOf(atUs: number, original: RunResult, [itself, ...others]: RunResult[]): Point {
  if (itself!.traceHash !== original.traceHash) throw new Error(`the run that only looks at its trace at ${atUs} µs is another run: ${itself!.traceHash}, not ${original.traceHash}`);
  const point: Point = { atUs, futures: others.length, failed: 0, otherwise: 0 };
  const ways = waysOf(original);
  for (const [n, result] of others.entries()) {
    if (result.pastHash !== itself!.pastHash) throw new Error(`future ${n + 1} from ${atUs} µs has another past: ${String(result.pastHash)}, not ${String(itself!.pastHash)}`);
    if (result.verdict !== 'failed') continue;
    if ([...waysOf(result)].some((way) => ways.has(way))) point.failed++;
    else point.otherwise++;
  }
  return point;
}

/** What is violated, and whether the core threw. */
const waysOf = ({ violations, crash }: RunResult): Set<string> => new Set([...violations.map(({ property }): string => property), ...(crash === undefined ? [] : ['assertion'])]);

const evenly = (fromUs: number, toUs: number, count: number): number[] => [...new Set(Array.from({ length: count }, (_, at) => Math.round(fromUs + ((toUs - fromUs) * at) / (count - 1))))];
