/** `junit.xml` for CI: a suite per scenario, a case per run. */

import type { Builder } from 'junit-report-builder';
import imported from 'junit-report-builder';
import type { Tally } from './tally.js';

/** Node hands over the builder itself, where the package's types expect it under `default`. */
const builder = imported as unknown as Builder;

/** Beyond this many runs the passed ones become one case per scenario: readers of JUnit files keep every case in memory. */
const maxCases = 50_000;

export function junitOf(tally: Tally): string {
  const report = builder.newBuilder();
  const grouped = tally.cases.length > maxCases;
  for (const { scenario, passed, simulatedMs } of tally.scenarios) {
    const suite = report.testSuite().name(`lockstep ${scenario}`).property('simulatedSeconds', String(Math.round(simulatedMs / 1000)));
    if (grouped) suite.testCase().className(scenario).name(`${passed} runs passed`);
    for (const run of tally.cases) {
      if (run.scenario !== scenario || (grouped && run.verdict === 'passed')) continue;
      const testCase = suite.testCase().className(scenario).name(run.name);
      switch (run.verdict) {
        case 'passed':
          break;
        case 'failed':
          testCase.failure(printable(run.reason));
          break;
        case 'unchecked':
        case 'excused':
          testCase.standardOutput(printable(`${run.verdict}: ${run.reason}`));
          testCase.skipped();
          break;
        default:
          run.verdict satisfies never;
      }
    }
  }
  for (const { scenario, seed, firstHash, secondHash, command } of tally.nondeterminism) {
    const testCase = report.testCase().className(scenario).name(`seed ${seed} twice`);
    testCase.failure(`nondeterministic: trace hash ${firstHash}, then ${secondHash}; ${command}`);
  }
  return report.build();
}

/** XML has no way to say most control characters. */
function printable(text: string): string {
  return text.replaceAll(/[^\t\n\x20-\uD7FF\uE000-\uFFFD]/g, '?');
}
