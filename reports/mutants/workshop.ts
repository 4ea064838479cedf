/**
 * A copy of what is compiled, in which one mutant at a time is put in: only its file is translated anew, which takes milliseconds. Types are not
 * checked here; that the mutants compile is a test's affair.
 */

import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import type { Mutant } from './mutant.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
/** What running takes. */
const parts = ['package.json', join('dist', 'src'), join('dist', 'sim'), join('dist', 'scenarios'), join('dist', 'reports'), join('scenarios', 'traces')];
const translation: ts.CompilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023, verbatimModuleSyntax: true };

/** A mutated core may loop for ever. */
export const runTimeoutMs = 300_000;

export interface Workshop {
  /** Module addresses of the compiled copy. */
  engineModule: URL;
  workerModule: URL;
  /** Puts the mutant in; returns what is wrong with it, or undefined. The mutant before it is taken out. */
  install(mutant: Mutant): string | undefined;
  remove(): void;
}

export function openWorkshop(): Workshop {
  const copy = mkdtempSync(join(tmpdir(), 'lockstep-mutants-'));
  for (const part of parts) cpSync(join(root, part), join(copy, part), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  const module = (...path: string[]): URL => new URL(`file://${join(copy, 'dist', 'reports', ...path)}`);
  let installed: string | undefined;
  const compiled = (file: string): string => join('dist', file.replace(/\.ts$/, '.js'));
  return {
    engineModule: module('engine.js'),
    workerModule: module('sweep', 'worker.js'),
    install: (mutant) => {
      if (installed !== undefined) cpSync(join(root, installed), join(copy, installed));
      installed = undefined;
      const mutated = mutatedSource(mutant);
      if (typeof mutated !== 'string') return mutated.problem;
      installed = compiled(mutant.file);
      writeFileSync(join(copy, installed), ts.transpileModule(mutated, { compilerOptions: translation, fileName: mutant.file }).outputText);
      return undefined;
    },
    remove: () => rmSync(copy, { recursive: true, force: true }),
  };
}

/** The text of the mutant's file with the mutant in it, or why it does not fit. */
export function mutatedSource(mutant: Mutant): string | { problem: string } {
  const path = join(root, mutant.file);
  return existsSync(path) ? applyMutant(readFileSync(path, 'utf8'), mutant) : { problem: `there is no file ${mutant.file}` };
}

/** The mutated text, or why the mutant does not fit. */
export function applyMutant(text: string, mutant: Mutant): string | { problem: string } {
  const parts = text.split(mutant.oldText);
  if (parts.length !== 2) return { problem: `its old text stands ${parts.length - 1} times in ${mutant.file}, not once` };
  if (mutant.oldText === mutant.newText) return { problem: 'it changes nothing' };
  return parts.join(mutant.newText);
}
