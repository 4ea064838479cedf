/**
 * One run: from a scenario and a request to a result. A run is a pure function of its request; the trace hash proves it.
 */

import type { Environment, Node } from '../../src/contract/index.js';
import type { Checker, Ghost, RandomStream, RunRequest, RunResult, Scenario, Setup, Workload } from '../types.js';

/** Makes a core; the real one is `createNode` of src/node. */
export type NodeFactory = (name: string, environment: Environment) => Node;

/** What the engine is given to work with. */
export interface RunParts {
  createNode: NodeFactory;
  makeCheckers(setup: Setup): Checker[];
  makeGhost(setup: Setup): Ghost;
  makeWorkload(setup: Setup, random: RandomStream): Workload;
}

/** `UsageError` when the scenario refuses the parameters; everything else that goes wrong is in the result. */
export function runOnce(_scenario: Scenario, _request: RunRequest, _parts: RunParts): RunResult {
  throw new Error('the engine is not built yet');
}
