/**
 * The worker threads of a sweep. Jobs go out in order, each to the first worker that is free; outcomes are handed on in the order of the
 * jobs, so that nothing downstream depends on how many workers there are or how fast they were.
 */

import { Worker } from 'node:worker_threads';
import { Observable } from 'rxjs';
import type { Outcome, WorkerStart } from './outcome.js';
import type { Job } from './plan.js';

export interface PoolOptions {
  engineModule: string;
  /** The compiled worker.js: that of this build, or of a mutated copy. */
  workerModule: URL;
  jobs: number;
  /** Undefined: it depends on outcomes that have not been handed on yet; the workers ask again when they have. */
  jobAt(index: number): Job | undefined;
  /** Number of jobs; Infinity until `stop`. */
  count: number;
  /** No new jobs after this; those under way are finished and handed on. */
  stop: AbortSignal;
  /** A run without an answer for this long hangs: its worker is ended and the outcome says so. */
  runTimeoutMs: number;
}

/**
 * A run makes much garbage, most of it buffers that die young. With V8's default (48) each worker holds some 100 MB of it; this costs a few
 * per cent of time, and two workers stay under 500 MB also where a 4 TiB pair is resynced.
 */
const YOUNG_GENERATION_MB = 8;

/**
 * Cold: each subscription starts the workers. Completes when all jobs are done, after `stop`, or behind the first outcome that makes going on
 * pointless (usage, broke). Unsubscribing ends the workers at once.
 */
export function runPool(options: PoolOptions): Observable<Outcome> {
  return new Observable<Outcome>((subscriber) => {
    const workers = new Set<Worker>();
    const waiting = new Map<number, Outcome>();
    /** Workers that wait for a job. */
    let idle: (() => void)[] = [];
    let nextJob = 0;
    let nextOut = 0;
    let stopped = options.stop.aborted;

    const stop = (): void => {
      stopped = true;
      if (nextOut === nextJob) subscriber.complete();
    };
    const received = (outcome: Outcome): void => {
      waiting.set(outcome.index, outcome);
      for (let next = waiting.get(nextOut); next !== undefined && !subscriber.closed; next = waiting.get(nextOut)) {
        waiting.delete(nextOut);
        nextOut += 1;
        if (next.kind !== 'ran') stopped = true;
        subscriber.next(next);
      }
      if (nextOut === nextJob && (stopped || nextJob >= options.count)) return subscriber.complete();
      if (subscriber.closed) return;
      const asking = idle;
      idle = [];
      for (const dispatch of asking) dispatch();
    };
    const startWorker = (): void => {
      const start: WorkerStart = { engineModule: options.engineModule };
      const worker = new Worker(options.workerModule, { workerData: start, resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB } });
      let current: Job | undefined;
      let alarm: NodeJS.Timeout | undefined;
      const dispatch = (): void => {
        if (stopped || nextJob >= options.count) {
          workers.delete(worker);
          void worker.terminate();
          return;
        }
        const job = options.jobAt(nextJob);
        if (job === undefined) {
          idle.push(dispatch);
          return;
        }
        current = job;
        nextJob += 1;
        worker.postMessage(job);
        alarm = setTimeout(() => died(`the run gave no answer for ${Math.round(options.runTimeoutMs / 1000)} s`), options.runTimeoutMs);
      };
      const died = (message: string): void => {
        clearTimeout(alarm);
        if (!workers.delete(worker)) return;
        void worker.terminate();
        if (current !== undefined) received({ kind: 'broke', index: current.index, request: current.request, message });
      };
      worker.on('message', (outcome: Outcome) => {
        clearTimeout(alarm);
        current = undefined;
        received(outcome);
        if (!subscriber.closed) dispatch();
      });
      worker.on('error', (error) => died(error instanceof Error ? (error.stack ?? error.message) : String(error)));
      worker.on('exit', (code) => died(`the worker ended with code ${code}`));
      workers.add(worker);
      dispatch();
    };

    options.stop.addEventListener('abort', stop);
    subscriber.add(() => {
      options.stop.removeEventListener('abort', stop);
      for (const worker of workers) void worker.terminate();
      workers.clear();
    });
    if (stopped || options.count === 0) subscriber.complete();
    else for (let i = 0; i < Math.min(options.jobs, options.count) && !stopped; i++) startWorker();
  });
}
