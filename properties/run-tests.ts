/**
 * Runs test files, each in a process of its own, as many at a time as there are cores, and adds up the counts that uvu prints. A file that ends
 * without counts, or with an exit code that its counts do not explain, counts as one failure: a test that never ran has not passed.
 */

import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Counts {
  passed: number;
  failed: number;
}

const folder = dirname(fileURLToPath(import.meta.url));

/** Compiled test files whose path holds one of `filters` (all without filters). */
export function testFiles(filters: readonly string[] = []): string[] {
  const all = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.test.js'));
  return all.filter((name) => filters.length === 0 || filters.some((filter) => name.includes(filter))).sort();
}

/** `environment` is added to that of the tests. What a file prints is shown when it has ended. */
export async function runTests(files: readonly string[], environment: Record<string, string>): Promise<Counts> {
  const sum: Counts = { passed: 0, failed: 0 };
  const queue = [...files];
  const worker = async (): Promise<void> => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      const counts = await runFile(file, environment);
      sum.passed += counts.passed;
      sum.failed += counts.failed;
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return sum;
}

async function runFile(file: string, environment: Record<string, string>): Promise<Counts> {
  const started = Date.now();
  const child = spawn(process.execPath, [join(folder, file)], { env: { ...process.env, ...environment }, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text));
  const exit = await new Promise<string>((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('close', (code, signal) => resolve(code === null ? String(signal) : String(code)));
  });
  const counts = countsIn(output, exit);
  console.log(`${file} (${((Date.now() - started) / 1000).toFixed(1)} s): ${counts.passed} passed, ${counts.failed} failed${exit === '0' ? '' : `, exit ${exit}`}`);
  const told = counts.failed > 0 ? output : [...output.matchAll(/\b(skipped|not checked)\b.*$/gm)].map(([words]) => `  ${words}`).join('\n');
  if (told.trim() !== '') console.log(told.trimEnd());
  return counts;
}

/** Reads uvu's `Total: n`, `Passed: n`. */
export function countsIn(output: string, exit: string): Counts {
  const total = /^\s*Total:\s+(\d+)\s*$/m.exec(output);
  const passed = /^\s*Passed:\s+(\d+)\s*$/m.exec(output);
  if (total === null || passed === null) return { passed: 0, failed: 1 };
  const failed = Number(total[1]) - Number(passed[1]);
  return { passed: Number(passed[1]), failed: failed === 0 && exit !== '0' ? 1 : failed };
}
