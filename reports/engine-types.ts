/**
 * What the command line needs of the simulator, and nothing more: a list of scenarios and a function from a request to a
 * result. The real one is reports/engine.ts; tests hand in a small fake by the address of its module, since sweep workers are threads
 * that load it for themselves.
 */

import type { Parameters, RunRequest, RunResult, Scenario } from '../sim/types.js';

/** A comparison rule, a state or a packet, and whether two nodes can come to it. */
export interface Reachable {
  /** As coverage counts it: `40`, `conn:WFBitMapS`, `P_DATA`. */
  name: string;
  /** True, or the argument why two nodes cannot reach it. */
  reachable: true | string;
  /** The shortest way there, where it is not an everyday one. */
  how?: string;
}

export interface Prepared {
  /** The parameters with what the seed drew. */
  resolved: Parameters;
  hosts: string[];
  /** Faults of the seed's own schedule. */
  faults: number;
  /** The random streams that it drew from, and how many numbers: where a run can be spliced. */
  streams: ReadonlyMap<string, number>;
}

export interface Engine {
  readonly scenarios: readonly Scenario[];
  /** What a sweep is held against (scenarios/reachable.ts). */
  readonly reachable: { readonly rules: readonly Reachable[]; readonly states: readonly Reachable[]; readonly packets: readonly Reachable[] };
  /** What the run would be, without running it. Throws `UsageError` like `run`. */
  prepare(request: RunRequest): Prepared;
  /**
   * One run: a pure function of the request, apart from the files that `image` and `trace` ask for. Throws `UsageError` when the request
   * cannot be met; any other exception means that the harness broke.
   */
  run(request: RunRequest): RunResult;
  /** The same run without the real check of its image: what a comparison of trace hashes needs. */
  traceHash(request: RunRequest): string;
}

/** Loads an engine by the address of its module, which exports it as `engine`. */
export async function loadEngine(moduleUrl: string): Promise<Engine> {
  const loaded = (await import(moduleUrl)) as { engine: Engine };
  return loaded.engine;
}
