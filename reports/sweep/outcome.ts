/** What comes back from a worker for a job: messages between threads, plain data. */

import type { RunRequest, RunResult } from '../../sim/types.js';

export type Outcome =
  | {
      kind: 'ran';
      index: number;
      /** Without schedule and story when the run passed: nobody reads them, and a sweep has thousands. */
      result: RunResult;
      /** The trace hash of the second run, where the job asked for one. */
      repeatedHash?: string;
      /** Where the hashes differ: the first event that does, with the two before it. */
      difference?: string[];
    }
  /** The request cannot be met: a file, a parameter. */
  | { kind: 'usage'; index: number; message: string }
  /** The harness broke: an exception outside the core, a worker that died or no longer answers. */
  | { kind: 'broke'; index: number; request: RunRequest; message: string };

/** Data that a worker thread starts with. */
export interface WorkerStart {
  engineModule: string;
}
