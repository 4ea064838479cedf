/** The real simulator behind the `lockstep` command: the core, the engine, the checkers and the scenarios put together. */

import { makeCheckers } from '../sim/checkers/index.js';
import { createGhost } from '../sim/ghost.js';
import type { RunRequest, Scenario } from '../sim/types.js';
import { makeWorkload } from '../sim/workloads/index.js';
import type { RunParts } from '../sim/world/run.js';
import { runOnce, setupOf } from '../sim/world/run.js';
import { createNode } from '../src/node/index.js';
import { scenarios } from '../scenarios/index.js';
import { reachableConns, reachableDisks, reachablePackets, reachablePeerDisks, reachablePeerRoles, reachableRoles, reachableRules } from '../scenarios/reachable.js';
import type { Engine, Reachable } from './engine-types.js';
import { scenarioNamed } from './parameters.js';

const parts: RunParts = { createNode, makeCheckers, makeGhost: createGhost, makeWorkload };

/** Coverage names a state by its field. */
function fieldStates(field: string, list: readonly Reachable[]): Reachable[] {
  return list.map((item) => ({ ...item, name: `${field}:${item.name}` }));
}

function scenarioOf(request: RunRequest): Scenario {
  return scenarioNamed(scenarios, request.scenario);
}

export const engine: Engine = {
  scenarios,
  reachable: {
    rules: reachableRules.map(({ rule, ...rest }) => ({ name: rule, ...rest })),
    states: [
      ...fieldStates('role', reachableRoles),
      ...fieldStates('peer', reachablePeerRoles),
      ...fieldStates('conn', reachableConns),
      ...fieldStates('disk', reachableDisks),
      ...fieldStates('pdsk', reachablePeerDisks),
    ],
    packets: reachablePackets,
  },
  prepare: (request) => {
    const streams = new Map<string, number>();
    const setup = setupOf(scenarioOf(request), request, (stream) => void streams.set(stream, (streams.get(stream) ?? 0) + 1));
    return { resolved: setup.parameters, hosts: setup.hosts.map(({ name }) => name), faults: setup.schedule.length, streams };
  },
  run: (request) => runOnce(scenarioOf(request), request, parts),
  traceHash: (request) => {
    const { judge: _, ...unjudged } = scenarioOf(request);
    return runOnce(unjudged, request, parts).traceHash;
  },
};
