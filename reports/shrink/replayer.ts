/** One worker thread that runs requests one after the other: a run that hangs does not hang us, and a mutated core is loaded there alone. */

import { Worker } from 'node:worker_threads';
import type { RunRequest } from '../../sim/types.js';
import type { Outcome, WorkerStart } from '../sweep/outcome.js';
import type { Job } from '../sweep/plan.js';

export class Replayer {
  private worker: Worker | undefined;
  /** Takes the outcome of the run under way. */
  private answer: ((outcome: Outcome) => void) | undefined;
  private request: RunRequest | undefined;

  /** `workerModule`: the compiled sweep/worker.js, of this build or of a mutated copy. A run without an answer for `timeoutMs` hangs. */
  constructor(
    private readonly engineModule: string,
    private readonly workerModule: URL,
    private readonly timeoutMs: number,
  ) {}

  run(request: RunRequest): Promise<Outcome> {
    const worker = (this.worker ??= this.start());
    return new Promise((resolve) => {
      const alarm = setTimeout(() => this.broke(`the run gave no answer for ${Math.round(this.timeoutMs / 1000)} s`), this.timeoutMs);
      this.request = request;
      this.answer = (outcome) => {
        clearTimeout(alarm);
        this.answer = undefined;
        if (outcome.kind === 'broke') this.end();
        resolve(outcome);
      };
      const job: Job = { index: 0, request, repeat: false };
      worker.postMessage(job);
    });
  }

  private broke(message: string): void {
    this.answer?.({ kind: 'broke', index: 0, request: this.request!, message });
  }

  private start(): Worker {
    const start: WorkerStart = { engineModule: this.engineModule };
    const worker = new Worker(this.workerModule, { workerData: start });
    const died = (message: string): void => {
      if (this.worker === worker) this.broke(message);
    };
    worker.on('message', (outcome: Outcome) => this.answer?.(outcome));
    worker.on('error', (error) => died(error instanceof Error ? (error.stack ?? error.message) : String(error)));
    worker.on('exit', (code) => died(`the worker ended with code ${code}`));
    return worker;
  }

  end(): void {
    const { worker } = this;
    this.worker = undefined;
    void worker?.terminate();
  }
}
