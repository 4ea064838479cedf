/** Prints the trace hash of a run of each scenario, a line each, or writes the trace of one (`hashes.js SCENARIO FILE`): node-versions.ts runs it under other versions of Node. */

import { engine } from '../reports/engine.js';
import { fillParameters, scenarioNamed } from '../reports/parameters.js';
import type { RunRequest, Scenario } from '../sim/types.js';

const seed = 1;
const requestOf = (scenario: Scenario): RunRequest => ({ scenario: scenario.name, parameters: fillParameters(scenario, []), seed });

const [name, trace] = process.argv.slice(2);
if (name === undefined) for (const scenario of engine.scenarios) {
  if (scenario.isLarge !== true) console.log(`${scenario.name} ${engine.traceHash(requestOf(scenario))}`);
} else {
  engine.run({ ...requestOf(scenarioNamed(engine.scenarios, name)), trace: trace! });
}
