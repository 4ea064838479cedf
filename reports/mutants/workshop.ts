/**
 * A copy of what is compiled, in which one mutant at a time is put in: only what it changes is translated anew, which takes milliseconds. Types are
 * not checked here; that the mutants compile is a test's affair.
 */

import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import type { Edit, Mutant } from './mutant.js';

export const root = fileURLToPath(new URL('../../../', import.meta.url));
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
  let installed: string[] = [];
  return {
    engineModule: module('engine.js'),
    workerModule: module('sweep', 'worker.js'),
    install: (mutant) => {
      for (const path of installed) cpSync(join(root, path), join(copy, path));
      installed = [];
      const translated = [mutant, ...(mutant.also ?? [])].map(translate);
      const problem = translated.find((one) => 'problem' in one);
      if (problem !== undefined) return problem.problem;
      for (const { path, text } of translated as Translated[]) writeFileSync(join(copy, path), text);
      installed = (translated as Translated[]).map(({ path }) => path);
      return undefined;
    },
    remove: () => rmSync(copy, { recursive: true, force: true }),
  };
}

interface Translated {
  /** Of the compiled file, relative to the root. */
  path: string;
  text: string;
}

function translate(edit: Edit): Translated | { problem: string } {
  const mutated = mutatedSource(edit);
  if (typeof mutated !== 'string') return mutated;
  const { outputText, diagnostics } = ts.transpileModule(mutated, { compilerOptions: translation, fileName: edit.file, reportDiagnostics: true });
  const [error] = diagnostics ?? [];
  if (error !== undefined) return { problem: `${edit.file} would not compile: ${ts.flattenDiagnosticMessageText(error.messageText, ' ')}` };
  return { path: join('dist', edit.file.replace(/\.ts$/, '.js')), text: outputText };
}

/** The text of the mutant's file with the mutant in it, or why it does not fit. */
export function mutatedSource(edit: Edit): string | { problem: string } {
  const path = join(root, edit.file);
  return existsSync(path) ? applyMutant(readFileSync(path, 'utf8'), edit) : { problem: `there is no file ${edit.file}` };
}

/** The mutated text, or why the mutant does not fit. */
export function applyMutant(text: string, { file, oldText, newText }: Edit): string | { problem: string } {
  const parts = text.split(oldText);
  if (parts.length !== 2) return { problem: `its old text stands ${parts.length - 1} times in ${file}, not once` };
  if (oldText === newText) return { problem: 'it changes nothing' };
  return parts.join(newText);
}
