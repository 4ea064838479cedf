/** Every mutant fits: its old text stands exactly once in its file, and the mutated file compiles among the others. */

import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import ts from 'typescript';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Mutant } from '../../reports/mutants/list.js';
import { mutants } from '../../reports/mutants/list.js';
import { applyMutant } from '../../reports/mutants/workshop.js';
import { propertyNames } from '../../sim/types.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/** The core as the compiler's language service sees it, with the text of one file replaced at a time. */
class Compiler {
  private readonly replaced = new Map<string, { text: string; version: number }>();
  private readonly service: ts.LanguageService;

  constructor() {
    const configPath = join(root, 'src', 'tsconfig.json');
    const config = ts.getParsedCommandLineOfConfigFile(configPath, {}, { ...ts.sys, onUnRecoverableConfigFileDiagnostic: () => assert.unreachable(configPath) })!;
    this.service = ts.createLanguageService({
      getScriptFileNames: () => config.fileNames,
      getScriptVersion: (name) => String(this.replaced.get(name)?.version ?? 0),
      getScriptSnapshot: (name) => {
        const text = this.replaced.get(name)?.text ?? ts.sys.readFile(name);
        return text === undefined ? undefined : ts.ScriptSnapshot.fromString(text);
      },
      getCurrentDirectory: () => root,
      getCompilationSettings: () => config.options,
      getDefaultLibFileName: (options) => ts.getDefaultLibFilePath(options),
      fileExists: ts.sys.fileExists,
      readFile: ts.sys.readFile,
      readDirectory: ts.sys.readDirectory,
      directoryExists: ts.sys.directoryExists,
      getDirectories: ts.sys.getDirectories,
    });
  }

  /** The first complaint about the file with this text, or undefined. */
  complaint(path: string, text: string): string | undefined {
    const name = join(root, path);
    this.replaced.set(name, { text, version: (this.replaced.get(name)?.version ?? 0) + 1 });
    const [first] = [...this.service.getSyntacticDiagnostics(name), ...this.service.getSemanticDiagnostics(name)];
    return first === undefined ? undefined : ts.flattenDiagnosticMessageText(first.messageText, ' ');
  }

  /** Takes the text of the disk again. */
  restore(path: string): void {
    this.complaint(path, readFileSync(join(root, path), 'utf8'));
  }
}

test('the machine refuses a mutant that does not fit', () => {
  const mutant: Mutant = { id: 'X', summary: '', file: 'a', oldText: 'one', newText: '1', scenarios: [], expected: [] };
  assert.is(applyMutant('one two', mutant), '1 two');
  assert.match((applyMutant('one one', mutant) as { problem: string }).problem, /stands 2 times/);
  assert.match((applyMutant('two', mutant) as { problem: string }).problem, /stands 0 times/);
  assert.match((applyMutant('one', { ...mutant, newText: 'one' }) as { problem: string }).problem, /changes nothing/);
});

test('ids are unique, files are those of the core, scenarios and properties exist', () => {
  const scenarios = readdirSync(join(root, 'scenarios')).map((name) => name.replace(/\.ts$/, ''));
  assert.is(new Set(mutants.map(({ id }) => id)).size, mutants.length);
  for (const mutant of mutants) {
    assert.match(mutant.file, /^src\/.*\.ts$/, mutant.id);
    assert.ok(mutant.scenarios.length > 0 && mutant.scenarios.every((name) => scenarios.includes(name)), `${mutant.id}: ${mutant.scenarios.join(', ')}`);
    assert.ok(mutant.expected.length > 0 && mutant.expected.every((name) => name === 'assertion' || propertyNames.includes(name)), mutant.id);
  }
});

test('each mutant applies exactly once and compiles', () => {
  const compiler = new Compiler();
  const sample = 'src/generations/compare.ts';
  assert.is(compiler.complaint(sample, readFileSync(join(root, sample), 'utf8')), undefined);
  assert.match(compiler.complaint(sample, 'export const broken: number = "text";\n') ?? '', /not assignable/);
  compiler.restore(sample);
  for (const mutant of mutants) {
    const mutated = applyMutant(readFileSync(join(root, mutant.file), 'utf8'), mutant);
    if (typeof mutated !== 'string') assert.unreachable(`${mutant.id}: ${mutated.problem}`);
    else assert.is(compiler.complaint(mutant.file, mutated), undefined, mutant.id);
    compiler.restore(mutant.file);
  }
});

test.run();
