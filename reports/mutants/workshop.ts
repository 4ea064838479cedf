/** A copy of the project in which one mutant at a time is put in and compiled. */

import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import type { Mutant } from './list.js';

/** Not needed to compile and run. */
const leftBehind = new Set(['node_modules', '.git', 'coverage', join('reports', 'out')]);

export interface Workshop {
  /** Module addresses of the compiled copy. */
  engineModule: URL;
  workerModule: URL;
  /** Puts the mutant in and compiles; returns what is wrong with it, or undefined. The mutant before it is taken out. */
  install(mutant: Mutant): string | undefined;
  remove(): void;
}

/** Copies the project at `root`, compiled output included, so that a mutant costs one incremental compilation. */
export function openWorkshop(root: string): Workshop {
  const copy = mkdtempSync(join(tmpdir(), 'lockstep-mutants-'));
  for (const name of readdirSync(root)) {
    if (!leftBehind.has(name)) cpSync(join(root, name), join(copy, name), { recursive: true, filter: (path) => !leftBehind.has(relative(root, path)) });
  }
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  const module = (...path: string[]): URL => new URL(`file://${join(copy, 'dist', 'reports', ...path)}`);
  let installed: { path: string; text: string } | undefined;
  return {
    engineModule: module('engine.js'),
    workerModule: module('sweep', 'worker.js'),
    install: (mutant) => {
      if (installed !== undefined) writeFileSync(installed.path, installed.text);
      const path = join(copy, mutant.file);
      if (!existsSync(path)) return `there is no file ${mutant.file}`;
      const text = readFileSync(path, 'utf8');
      installed = { path, text };
      const mutated = applyMutant(text, mutant);
      if (typeof mutated !== 'string') return mutated.problem;
      writeFileSync(path, mutated);
      const tsc = spawnSync(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-b'], { cwd: copy, encoding: 'utf8' });
      return tsc.status === 0 ? undefined : `does not compile: ${tsc.stdout.trim().split('\n')[0]}`;
    },
    remove: () => rmSync(copy, { recursive: true, force: true }),
  };
}

/** The mutated text, or why the mutant does not fit. */
export function applyMutant(text: string, mutant: Mutant): string | { problem: string } {
  const parts = text.split(mutant.oldText);
  if (parts.length !== 2) return { problem: `its old text stands ${parts.length - 1} times in ${mutant.file}, not once` };
  if (mutant.oldText === mutant.newText) return { problem: 'it changes nothing' };
  return parts.join(mutant.newText);
}
