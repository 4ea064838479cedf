/** A sweep's worker thread: takes a job, runs it, answers with the outcome, until nobody asks any more. */

import { parentPort, workerData } from 'node:worker_threads';
import { UsageError } from '../../sim/types.js';
import type { Engine } from '../engine-types.js';
import { loadEngine } from '../engine-types.js';
import { differenceOf } from './difference.js';
import type { Outcome, WorkerStart } from './outcome.js';
import type { Job } from './plan.js';

const port = parentPort!;
const engine = await loadEngine((workerData as WorkerStart).engineModule);
port.on('message', (job: Job) => port.postMessage(outcomeOf(engine, job)));

function outcomeOf(engine: Engine, job: Job): Outcome {
  try {
    const result = engine.run(job.request);
    const kept = result.verdict === 'passed' ? { ...result, schedule: [], story: [] } : result;
    if (!job.repeat) return { kind: 'ran', index: job.index, result: kept };
    const repeatedHash = engine.traceHash(job.request);
    const differs = repeatedHash !== result.traceHash;
    return { kind: 'ran', index: job.index, result: kept, repeatedHash, ...(differs && { difference: differenceOf(engine, job.request) }) };
  } catch (error) {
    if (error instanceof UsageError) return { kind: 'usage', index: job.index, message: error.message };
    return { kind: 'broke', index: job.index, request: job.request, message: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}
