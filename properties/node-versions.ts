/**
 * A run is the same run on every version of Node: a gate of `npm test`, and `npm run test:nodes`. A run of each scenario is made under the other
 * versions that are supported, and the trace hashes are compared; of the first that differ the first event is printed, with the two
 * before it. The versions come from the registry, as the npm package `node`; where there is none, the gate says that nothing was checked.
 */

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { firstDifference } from '../reports/sweep/difference.js';

const majors = ['20', '22', '24'];
const installTimeoutMs = 180_000;
const program = fileURLToPath(new URL('./hashes.js', import.meta.url));
const cache = fileURLToPath(new URL('../../node_modules/.cache/lockstep', import.meta.url));

/** Without coverage, which `npm test` measures elsewhere. */
const { NODE_V8_COVERAGE: _, ...env } = process.env;

/** The program of that version, or why there is none. */
function installed(major: string): { node: string } | { problem: string } {
  const folder = join(cache, `node-${major}`);
  const node = join(folder, 'node_modules', 'node', 'bin', 'node');
  if (!existsSync(node)) {
    mkdirSync(folder, { recursive: true });
    const words = ['install', '--prefix', folder, '--no-audit', '--no-fund', '--no-package-lock', '--fetch-retries', '0', `node@${major}`];
    const npm = spawnSync('npm', words, { encoding: 'utf8', timeout: installTimeoutMs, env });
    if (!existsSync(node)) return { problem: npm.stderr?.split('\n').find((line) => line !== '') ?? 'npm does not answer' };
  }
  return { node };
}

function run(node: string, words: readonly string[]): string {
  const done = spawnSync(node, [program, ...words], { encoding: 'utf8', env });
  if (done.status !== 0) throw new Error(`${node} ${program} ${words.join(' ')} failed: ${done.stderr}`);
  return done.stdout;
}

/** Both traces of the run, as far as they are the same and a little further. */
function difference(node: string, scenario: string): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'lockstep-nodes-'));
  try {
    const traces = [process.execPath, node].map((one, index) => {
      const trace = join(folder, String(index));
      run(one, [scenario, trace]);
      return readFileSync(trace);
    });
    return firstDifference(traces[0]!, traces[1]!);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const own = run(process.execPath, []).trim().split('\n');
for (const major of majors.filter((one) => !process.version.startsWith(`v${one}.`))) {
  const version = installed(major);
  if ('problem' in version) {
    console.log(`Node ${major}: not checked: ${version.problem}`);
    continue;
  }
  const other = run(version.node, []).trim().split('\n');
  const differing = own.filter((line, index) => line !== other[index]).map((line) => line.split(' ')[0]!);
  console.log(`Node ${major}: ${own.length - differing.length} of ${own.length} runs have the trace hash that they have under ${process.version}`);
  if (differing.length === 0) continue;
  process.exitCode = 1;
  console.log([`NOT THE SAME: ${differing.join(', ')}, seed 1; in ${differing[0]} (first: ${process.version}, second: ${major})`, ...difference(version.node, differing[0]!)].join('\n  '));
}
