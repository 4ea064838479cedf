/** The real engine with a core that throws dice: what it takes for random is another number each time. */

import type { Engine } from '../../reports/engine-types.js';
import { engine as real } from '../../reports/engine.js';
import { scenarioNamed } from '../../reports/parameters.js';
import { makeCheckers } from '../../sim/checkers/index.js';
import { createGhost } from '../../sim/ghost.js';
import type { RunRequest, RunResult } from '../../sim/types.js';
import { makeWorkload } from '../../sim/workloads/index.js';
import { runOnce } from '../../sim/world/run.js';
import { createNode } from '../../src/node/index.js';

const dice = (): bigint => BigInt(Math.floor(Math.random() * 2 ** 52)) << 12n;

const run = (request: RunRequest): RunResult =>
  runOnce(scenarioNamed(real.scenarios, request.scenario), request, {
    createNode: (name, environment) => createNode(name, { ...environment, random64: dice }),
    makeCheckers,
    makeGhost: createGhost,
    makeWorkload,
  });

export const engine: Engine = { ...real, run, traceHash: (request) => run(request).traceHash };
