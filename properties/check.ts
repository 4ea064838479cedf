/**
 * `npm test`, after the build (which is the type check): lint, import rules, every test under V8 coverage with a gate on src/, a run of each
 * scenario under other versions of Node, a short sweep that must reach every situation that its scenarios promise, a small configuration seen whole.
 * Ends with one plain line, `N passed, N failed`: uvu's own counts, and among the failed each gate that did not hold.
 */

import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runTests, testFiles } from './run-tests.js';

/** Lines of src/, in percent. */
const coverageGate = 90;
const shortSweep = ['failover', 'partition', 'both-lose-power', 'resync-interrupted', 'split-brain', '--seeds', '1..50', '--require-reached', '--out', 'reports/out/short-sweep'];

const coverage = mkdtempSync(join(tmpdir(), 'lockstep-coverage-'));
const node = process.execPath;
const tool = (...path: string[]): string => join('node_modules', ...path);

try {
  const gates = await Promise.all([
    gate('lint', [tool('eslint', 'bin', 'eslint.js'), '--max-warnings', '0', '.']),
    gate('import rules', [tool('dependency-cruiser', 'bin', 'dependency-cruise.mjs'), '--config', '.dependency-cruiser.cjs', 'src', 'sim', 'real', 'scenarios', 'reports', 'properties']),
  ]);
  const counts = await runTests(testFiles(), { NODE_V8_COVERAGE: coverage });
  gates.push(
    await gate('coverage', [
      ...[tool('c8', 'bin', 'c8.js'), 'report', '--temp-directory', coverage, '--reporter', 'text'],
      ...['--all', '--src', 'dist/src', '--include', 'dist/src/**/*.js', ...typesOnly().flatMap((path) => ['--exclude', path])],
      ...['--check-coverage', '--lines', String(coverageGate), '--branches', '0', '--functions', '0', '--statements', '0'],
    ]),
    await gate('other Node versions', [join('dist', 'properties', 'node-versions.js')]),
    await gate('short sweep', [join('dist', 'reports', 'lockstep.js'), 'sweep', ...shortSweep]),
    await gate('explore smallest', [join('dist', 'reports', 'lockstep.js'), 'explore', 'smallest']),
  );
  const broken = gates.filter((held) => !held).length;
  console.log(`${counts.passed} passed, ${counts.failed + broken} failed`);
  process.exitCode = counts.failed + broken === 0 ? 0 : 1;
} finally {
  rmSync(coverage, { recursive: true, force: true });
}

/** Modules without anything that runs: never loaded, so `--all` would count their lines as not covered. */
function typesOnly(): string[] {
  const folder = join('dist', 'src');
  const modules = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.js'));
  const withoutComments = (path: string): string => readFileSync(path, 'utf8').replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, '').trim();
  return modules.map((name) => join(folder, name)).filter((path) => withoutComments(path) === 'export {};');
}

/** Runs a Node program; its words are shown when it has ended. */
async function gate(name: string, words: readonly string[]): Promise<boolean> {
  const started = Date.now();
  const child = spawn(node, words, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text));
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  const held = code === 0;
  if (output.trim() !== '') console.log(output.trimEnd());
  console.log(`gate ${name}: ${held ? 'held' : `BROKEN (exit ${code})`} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
  return held;
}
