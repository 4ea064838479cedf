/** One worker thread that runs requests one after the other: a run that hangs does not hang us, and a mutated core is loaded there alone. */

import { Worker } from 'node:worker_threads';
import type { RunRequest } from '../../sim/types.js';
import type { Outcome, WorkerStart } from '../sweep/outcome.js';
import type { Job } from '../sweep/plan.js';

export class Replayer {
  private worker: Worker | undefined;

  /** `workerModule`: the compiled sweep/worker.js, of this build or of a mutated copy. A run without an answer for `timeoutMs` hangs. */
  constructor(
    private readonly engineModule: string,
    private readonly workerModule: URL,
    private readonly timeoutMs: number,
  ) {}

  run(request: RunRequest): Promise<Outcome> {
    const start: WorkerStart = { engineModule: this.engineModule };
    const worker = (this.worker ??= new Worker(this.workerModule, { workerData: start }));
    return new Promise((resolve) => {
      const ended = (outcome: Outcome): void => {
        clearTimeout(alarm);
        worker.removeAllListeners();
        if (outcome.kind === 'broke') this.end();
        resolve(outcome);
      };
      const broke = (message: string): void => ended({ kind: 'broke', index: 0, request, message });
      const alarm = setTimeout(() => broke(`the run gave no answer for ${Math.round(this.timeoutMs / 1000)} s`), this.timeoutMs);
      worker.once('message', ended);
      worker.once('error', (error) => broke(error instanceof Error ? (error.stack ?? error.message) : String(error)));
      worker.once('exit', (code) => broke(`the worker ended with code ${code}`));
      const job: Job = { index: 0, request, repeat: false };
      worker.postMessage(job);
    });
  }

  end(): void {
    const { worker } = this;
    this.worker = undefined;
    void worker?.terminate();
  }
}
