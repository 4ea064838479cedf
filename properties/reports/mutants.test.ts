/** Every mutant fits: its old text stands exactly once in its file, and the mutated file compiles among the others. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { basename, join } from 'node:path';
import { createTwoFilesPatch } from 'diff';
import ts from 'typescript';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadEngine } from '../../reports/engine-types.js';
import { impossible } from '../../reports/mutants/impossible.js';
import { mutants } from '../../reports/mutants/list.js';
import type { Mutant } from '../../reports/mutants/mutant.js';
import { patchMutant } from '../../reports/mutants/patch.js';
import { readRegression, regressionIds } from '../../reports/mutants/regression.js';
import { applyMutant, mutatedSource } from '../../reports/mutants/workshop.js';
import { scenarios as allScenarios } from '../../scenarios/index.js';
import { propertyNames } from '../../sim/types.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/** Section P of the bug list: each must die in every run of `lockstep mutants`. */
const sectionP = [
  'B001', 'B002', 'B004', 'B005', 'B006', 'B008', 'B011', 'B013', 'B017', 'B018', 'B024', 'B029a', 'B029b', 'B029c', 'B031', 'B038', 'B044', 'B046', 'B054', 'B058', 'B063', 'B065a',
  'B065b', 'B070', 'B071', 'B072', 'B074', 'B075', 'B077', 'B081', 'B082', 'B088', 'B091', 'B097', 'B111', 'B126', 'B142', 'B147', 'B172', 'B184', 'B194', 'B197', 'B215',
];

/**
 * The core as the compiler sees it, with each mutated file beside the one that it is made from, under a name of its own: one program, so that
 * the whole list costs little more than one compilation.
 */
function complaints(mutated: readonly { id: string; file: string; text: string }[]): string[] {
  const configPath = join(root, 'src', 'tsconfig.json');
  const config = ts.getParsedCommandLineOfConfigFile(configPath, {}, { ...ts.sys, onUnRecoverableConfigFileDiagnostic: () => assert.unreachable(configPath) })!;
  const options: ts.CompilerOptions = { ...config.options, noEmit: true, incremental: false, composite: false };
  const texts = new Map(mutated.map(({ id, file, text }) => [join(root, file.replace(/\.ts$/, `.${id}.ts`)), text]));
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (path) => texts.has(path) || fileExists(path);
  host.readFile = (path) => texts.get(path) ?? readFile(path);
  host.getSourceFile = (path, how, ...rest) => {
    const text = texts.get(path);
    return text === undefined ? getSourceFile(path, how, ...rest) : ts.createSourceFile(path, text, how);
  };
  const program = ts.createProgram([...texts.keys()], options, host);
  return [...texts.keys()].flatMap((path) => {
    const source = program.getSourceFile(path)!;
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map(
      ({ messageText }) => `${basename(path)}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`,
    );
  });
}

test('the machine refuses a mutant that does not fit', () => {
  const mutant: Mutant = { id: 'X', summary: '', file: 'a', oldText: 'one', newText: '1', scenarios: [], expected: [] };
  assert.is(applyMutant('one two', mutant), '1 two');
  assert.match((applyMutant('one one', mutant) as { problem: string }).problem, /stands 2 times/);
  assert.match((applyMutant('two', mutant) as { problem: string }).problem, /stands 0 times/);
  assert.match((applyMutant('one', { ...mutant, newText: 'one' }) as { problem: string }).problem, /changes nothing/);
});

test('a diff of the core becomes a mutant; one that is none, or does not fit, is refused in a line', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lockstep-patch-'));
  try {
    const patched = (name: string, text: string): Mutant => {
      writeFileSync(join(folder, name), text);
      return patchMutant(join(folder, name), ['failover']);
    };
    const [one, two] = ['src/generations/compare.ts', 'src/generations/split-brain.ts'].map((file) => {
      const text = readFileSync(join(root, file), 'utf8');
      return { file, text, diff: createTwoFilesPatch(`a/${file}`, `b/${file}`, text, text.replace('export const', '// a bug\nexport const')) };
    }) as [{ file: string; text: string; diff: string }, { file: string; text: string; diff: string }];
    const mutant = patched('both.diff', one.diff + two.diff);
    assert.equal([mutant.id, mutant.file, mutant.scenarios, mutant.also?.map(({ file }) => file)], ['both.diff', one.file, ['failover'], [two.file]]);
    assert.is(mutatedSource(mutant), one.text.replace('export const', '// a bug\nexport const'));
    const refusals: [string, string, RegExp][] = [
      ['empty.diff', '', /changes nothing; give a unified diff/],
      ['words.diff', 'a story\n', /changes nothing/],
      ['outside.diff', one.diff.replaceAll('src/generations', 'sim/generations'), /changes sim\/generations\/compare\.ts, which is no file of the core/],
      ['above.diff', one.diff.replaceAll('src/generations', 'src/../src/generations'), /no file of the core/],
      ['other.diff', one.diff.replaceAll(one.file, two.file), /does not fit src\/generations\/split-brain\.ts as it is/],
      ['torn.diff', one.diff.slice(0, one.diff.indexOf('\n+') + 2), /cannot be read|does not fit/],
    ];
    for (const [name, text, expected] of refusals) assert.throws(() => patched(name, text), expected);
    assert.throws(() => patchMutant(join(folder, 'none.diff'), []), /none\.diff is not there/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('ids are unique, files are those of the core, scenarios and properties exist', () => {
  const scenarios = allScenarios.map(({ name }) => name);
  assert.is(new Set(mutants.map(({ id }) => id)).size, mutants.length);
  for (const mutant of mutants) {
    assert.match(mutant.file, /^src\/.*\.ts$/, mutant.id);
    assert.ok(mutant.scenarios.length > 0 && mutant.scenarios.every((name) => scenarios.includes(name)), `${mutant.id}: ${mutant.scenarios.join(', ')}`);
    assert.ok(mutant.expected.length > 0 && mutant.expected.every((name) => name === 'assertion' || propertyNames.includes(name)), mutant.id);
  }
});

test('each mutant applies exactly once and compiles', () => {
  const mutated = mutants.map((mutant) => {
    const text = mutatedSource(mutant);
    if (typeof text !== 'string') assert.unreachable(`${mutant.id}: ${text.problem}`);
    return { id: mutant.id, file: mutant.file, text: text as string };
  });
  const broken = { id: 'broken', file: 'src/generations/compare.ts', text: 'export const broken: number = "text";\n' };
  const [found, ...others] = complaints([...mutated, broken]).sort((one) => (one.startsWith('compare.broken') ? -1 : 1));
  assert.match(found ?? '', /compare\.broken\.ts: .*not assignable/);
  assert.equal(others, []);
});

test('a bug is a mutant or has an argument why it is none, and those that come first are told apart', () => {
  for (const { id, argument } of impossible) {
    assert.not.ok(mutants.some((mutant) => mutant.id === id), id);
    assert.ok(argument.length > 40, id);
  }
  const first = [...mutants, ...impossible].filter((one) => one.first).map(({ id }) => id);
  assert.equal(first.sort(), [...sectionP].sort());
});

test('each regression is of a mutant, is told in a few lines, and holds with the rules as they are', async () => {
  const engine = await loadEngine(new URL('../../reports/engine.js', import.meta.url).href);
  for (const id of regressionIds()) {
    assert.ok(mutants.some((mutant) => mutant.id === id), `${id}: there is no such mutant`);
    const { verdict, violations, crash } = engine.run(readRegression(id, engine));
    assert.is(verdict, 'passed', `${id}: ${violations[0]?.detail ?? crash}`);
  }
});

test.run();
