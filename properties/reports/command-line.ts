/** Runs `lockstep` inside the test's own process, in a temporary folder: with the fake engine, or with another. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { main } from '../../reports/main.js';

export interface Said {
  code: number;
  out: string;
  err: string;
}

export function lockstep(...words: string[]): Promise<Said> {
  return lockstepWith(new URL('./fake-engine.js', import.meta.url).href, words);
}

/** `engineModule`: the address of a module that exports an engine. */
export async function lockstepWith(engineModule: string, words: readonly string[]): Promise<Said> {
  const out: string[] = [];
  const err: string[] = [];
  const code = await main(words, { engineModule, out: (line) => out.push(line), err: (line) => err.push(line) });
  return { code, out: out.join('\n'), err: err.join('\n') };
}

/** Makes a temporary folder the current one; the returned function goes back and removes it. */
export function inTemporaryFolder(): () => void {
  const before = process.cwd();
  const folder = mkdtempSync(join(tmpdir(), 'lockstep-test-'));
  process.chdir(folder);
  return () => {
    process.chdir(before);
    rmSync(folder, { recursive: true, force: true });
  };
}
