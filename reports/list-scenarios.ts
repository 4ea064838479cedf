/** `lockstep scenarios`: a line each with its parameters; with names, what each parameter means. */

import type { Scenario } from '../sim/types.js';
import type { CommandContext } from './context.js';
import type { ExitCode } from './exit-codes.js';
import { exitCodes } from './exit-codes.js';
import { allowedValues, scenarioNamed } from './parameters.js';

export function scenariosCommand(names: readonly string[], context: CommandContext): ExitCode {
  const { scenarios } = context.engine;
  const width = Math.max(...scenarios.map((scenario) => scenario.name.length));
  if (names.length === 0) for (const scenario of scenarios) context.out(`${scenario.name.padEnd(width)}  ${lineOf(scenario)}`);
  for (const name of names) for (const line of detailsOf(scenarioNamed(scenarios, name))) context.out(line);
  return exitCodes.held;
}

function lineOf(scenario: Scenario): string {
  const parameters = scenario.parameters.map((spec) => `${spec.name}=${spec.default}`).join(' ');
  return `${scenario.summary}  [${parameters || 'no parameters'}]`;
}

function detailsOf(scenario: Scenario): string[] {
  const width = Math.max(0, ...scenario.parameters.map((spec) => spec.name.length));
  return [
    `${scenario.name}: ${scenario.summary}`,
    ...scenario.parameters.map((spec) => `  ${spec.name.padEnd(width)}  ${spec.description} (${allowedValues(spec)}; default ${spec.default})`),
    ...(scenario.sometimes.length === 0 ? [] : [`  a sweep should sometimes see: ${scenario.sometimes.join('; ')}`]),
  ];
}
