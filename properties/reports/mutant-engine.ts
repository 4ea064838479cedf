/**
 * The real engine with one mutant in it: a copy of what is compiled, in which one file was translated anew. Types are not checked here; that
 * the mutants compile is mutants.test.ts's affair.
 */

import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { mutants } from '../../reports/mutants/list.js';
import { applyMutant } from '../../reports/mutants/workshop.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/** `module`: its address. */
export function mutantEngine(id: string): { module: string; remove(): void } {
  const mutant = mutants.find((one) => one.id === id)!;
  const mutated = applyMutant(readFileSync(join(root, mutant.file), 'utf8'), mutant);
  if (typeof mutated !== 'string') throw new Error(`${id}: ${mutated.problem}`);
  const copy = mkdtempSync(join(tmpdir(), 'lockstep-mutant-'));
  for (const room of ['src', 'sim', 'scenarios', 'reports']) cpSync(join(root, 'dist', room), join(copy, 'dist', room), { recursive: true });
  cpSync(join(root, 'package.json'), join(copy, 'package.json'));
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  const { outputText } = ts.transpileModule(mutated, { compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023 } });
  writeFileSync(join(copy, 'dist', mutant.file.replace(/\.ts$/, '.js')), outputText);
  return { module: `file://${join(copy, 'dist', 'reports', 'engine.js')}`, remove: () => rmSync(copy, { recursive: true, force: true }) };
}
