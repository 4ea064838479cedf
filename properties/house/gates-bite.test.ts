// The gates of `npm test` that read source text, lint and import rules, fail on what they are there for. Each is given a planted
// violation under the house's own configuration, and the same text without it.

import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { ESLint } from 'eslint';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkout } from './checkout.js';
import fc, { seedOf } from '../fast-check.js';

// ---- Lint ----------------------------------------------------------------------------------------------------------------

const eslint = new ESLint({ cwd: checkout });

/** The rules that `text` breaks as a file of the house. */
async function broken(path: string, text: string): Promise<string[]> {
  const [result] = await eslint.lintText(text, { filePath: join(checkout, path) });
  return result!.messages.filter(({ severity }) => severity === 2).map(({ ruleId, message }) => ruleId ?? message);
}

const outsideTheCore: [string, string][] = [
  ['export const now = (): number => Date.now();', 'no-restricted-globals'],
  ['export const now = (): number => new Date().getTime();', 'no-restricted-globals'],
  ['export const name = process.argv[0];', 'no-restricted-globals'],
  ['export const later = (then: () => void): void => void setTimeout(then, 1);', 'no-restricted-globals'],
  ['export const later = (then: () => void): void => queueMicrotask(then);', 'no-restricted-globals'],
  ['export const copy = (bytes: Uint8Array): Uint8Array => Buffer.from(bytes);', 'no-restricted-globals'],
  ['export const toss = (): number => crypto.getRandomValues(new Uint8Array(1))[0]!;', 'no-restricted-globals'],
  ['export const all = globalThis;', 'no-restricted-globals'],
  ['export const toss = (): number => Math.random();', 'no-restricted-properties'],
  ['const { random } = Math; export const toss = random;', 'no-restricted-properties'],
  ["export const order = (a: string, b: string): number => a.localeCompare(b);", 'no-restricted-properties'],
  ["import { readFileSync } from 'node:fs'; export const read = readFileSync;", 'no-restricted-imports'],
  ["import type { Socket } from 'node:net'; export type Peer = Socket;", 'no-restricted-imports'],
  ["export { Subject } from 'rxjs';", 'no-restricted-imports'],
  ["export const fs = (): unknown => import('node:fs');", 'no-restricted-syntax'],
  ['export const here = import.meta.url;', 'no-restricted-syntax'],
  ['export const later = async (): Promise<void> => {};', 'no-restricted-syntax'],
  ['export const room = { async open(): Promise<void> {} };', 'no-restricted-syntax'],
  ['export const view = { get size(): number { return 1; } };', 'no-restricted-syntax'],
  ['export const order = (list: number[]): number[] => list.sort();', 'no-restricted-syntax'],
  ['export const walk = (o: object): void => { for (const k in o) void k; };', 'no-restricted-syntax'],
];

test('lint: what a core may not know is an error in src/, and nowhere else', async () => {
  for (const [text, rule] of outsideTheCore) {
    assert.ok((await broken('src/wire/planted.ts', text)).includes(rule), `${rule} misses: ${text}`);
    assert.not((await broken('sim/planted.ts', text)).includes(rule), `${rule} outside src/: ${text}`);
  }
});

test('lint: clean text of the core, and the rules of the whole house', async () => {
  const clean = "import { encode } from '../wire/encode.js';\n/** No Date, no Math.random(). */\nexport const process_ = (list: number[]): number[] => list.sort((a, b) => a - b).map(encode);\n";
  assert.equal(await broken('src/node/planted.ts', clean), []);
  for (const folder of ['src', 'sim', 'real', 'scenarios', 'reports', 'properties']) {
    assert.ok((await broken(`${folder}/planted.ts`, 'export const same = (a: number): boolean => a == 1;')).includes('eqeqeq'), folder);
    assert.ok((await broken(`${folder}/planted.ts`, 'const unused = 1;')).includes('@typescript-eslint/no-unused-vars'), folder);
  }
});

test('lint: a test takes fast-check with the seed of the gate', async () => {
  const planted = (from: string): string => `import fc from '${from}';\nexport const drawn = fc.nat();\n`;
  assert.equal(await broken('properties/wire/planted.test.ts', planted('fast-check')), ['no-restricted-imports']);
  assert.equal(await broken('properties/wire/planted.test.ts', planted('../fast-check.js')), []);
});

test('the seed of the gate is always the same; another one, or a fresh one, is asked for', () => {
  assert.type(seedOf(undefined), 'number');
  assert.is(seedOf(''), seedOf(undefined));
  assert.is(seedOf('-53521528'), -53521528);
  assert.is(seedOf('random'), undefined);
  assert.throws(() => seedOf('soon'), /LOCKSTEP_SEED is a whole number or the word random, not "soon"/);
  const drawn = (): unknown => fc.check(fc.property(fc.nat(), () => true), { numRuns: 1, verbose: 2 }).executionSummary;
  if (process.env['LOCKSTEP_SEED'] !== 'random') assert.equal(drawn(), drawn(), 'two draws of one seed');
});

// ---- Import rules ----------------------------------------------------------------------------------------------------------

/** A small house in a folder of its own, with our configuration; the violations that dependency-cruiser finds, a circle once. */
function cruise(files: Record<string, string>): string[] {
  const house = mkdtempSync(join(tmpdir(), 'lockstep-rules-'));
  try {
    for (const name of ['.dependency-cruiser.cjs', 'tsconfig.json', 'tsconfig.base.json', 'package.json']) copyFileSync(join(checkout, name), join(house, name));
    symlinkSync(join(checkout, 'node_modules'), join(house, 'node_modules'));
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(house, name)), { recursive: true });
      writeFileSync(join(house, name), text);
    }
    const tool = join(checkout, 'node_modules', 'dependency-cruiser', 'bin', 'dependency-cruise.mjs');
    const rooms = [...new Set(Object.keys(files).map((name) => name.split('/')[0]!))];
    const words = [tool, '--config', '.dependency-cruiser.cjs', '--output-type', 'json', ...rooms];
    const result = JSON.parse(execFileSync(process.execPath, words, { cwd: house, encoding: 'utf8' })) as {
      summary: { violations: { from: string; to: string; rule: { name: string; severity: string } }[]; totalCruised: number };
    };
    assert.ok(result.summary.totalCruised >= Object.keys(files).length, 'the tool read the files');
    const packageOf = (to: string): string => to.replace(/^.*(node_modules\/[^/]+).*$/, '$1');
    return result.summary.violations.map(({ from, to, rule }) => `${rule.severity} ${rule.name}: ${from} -> ${packageOf(to)}`).sort();
  } finally {
    rmSync(house, { recursive: true, force: true });
  }
}

/** Imports as the house writes them: down at run time, back for types only, packages and Node outside src/. */
const sound = {
  'src/model/types.ts': "import type { Wire } from '../wire/codec.js';\nexport interface State { wire: Wire }\nexport const one = 1;\n",
  'src/wire/codec.ts': "import { one, type State } from '../model/types.js';\nexport interface Wire { state: State }\nexport const two = one + 1;\n",
  'src/digests.ts': "import { sha256 } from '@noble/hashes/sha2.js';\nexport const digest = sha256;\n",
  'sim/world.ts': "import { two } from '../src/wire/codec.js';\nimport seedrandom from 'seedrandom';\nexport const three = two + seedrandom('1')();\n",
  'real/driver.ts': "import { readFileSync } from 'node:fs';\nimport { two } from '../src/wire/codec.js';\nexport const read = (): unknown => [readFileSync, two];\n",
  'scenarios/first.ts': "import { three } from '../sim/world.js';\nexport const four = three + 1;\n",
  'reports/main.ts': "import { stringify } from 'csv-stringify/sync';\nimport { four } from '../scenarios/first.js';\nexport const report = (): unknown => [stringify, four];\n",
  'properties/first.test.ts': "import { report } from '../reports/main.js';\nimport { read } from '../real/driver.js';\nreport();\nread();\n",
};

test('import rules: a sound house has no violations, type imports may point back', () => {
  assert.equal(cruise(sound), []);
});

test('import rules: one violation of each rule is found, and only these', () => {
  const planted: Record<string, string> = {
    'src/a.ts': "import { three } from '../sim/world.js';\nexport const a = three;\n",
    'src/b.ts': "import { readFileSync } from 'node:fs';\nexport const b = readFileSync;\n",
    'src/c.ts': "import { Subject } from 'rxjs';\nexport const c = Subject;\n",
    'src/circle/one.ts': "import { y } from './two.js';\nexport const x = (): unknown => y;\n",
    'src/circle/two.ts': "import { z } from './three.js';\nexport const y = (): unknown => z;\n",
    'src/circle/three.ts': "import { x } from './one.js';\nexport const z = (): unknown => x;\n",
    'src/gone.ts': "import { gone } from './missing.js';\nexport const g = gone;\n",
    'sim/d.ts': "import { four } from '../scenarios/first.js';\nexport const d = four;\n",
    'real/e.ts': "import { three } from '../sim/world.js';\nexport const e = three;\n",
    'scenarios/f.ts': "import { report } from '../reports/main.js';\nexport const f = report;\n",
    'reports/g.ts': "import { read } from '../real/driver.js';\nexport const g = read;\n",
    'reports/h.ts': "import '../properties/first.test.js';\n",
  };
  assert.equal(cruise({ ...sound, ...planted }), [
    'error no-circular: src/circle/one.ts -> src/circle/two.ts',
    'error nobody-imports-properties: reports/h.ts -> properties/first.test.ts',
    'error real-imports-src: real/e.ts -> sim/world.ts',
    'error reports-are-outermost: reports/g.ts -> real/driver.ts',
    'error reports-are-outermost: reports/h.ts -> properties/first.test.ts',
    'error resolvable: src/gone.ts -> ./missing.js',
    'error scenarios-import-sim: scenarios/f.ts -> reports/main.ts',
    'error sim-imports-src: sim/d.ts -> scenarios/first.ts',
    'error src-is-alone: src/a.ts -> sim/world.ts',
    'error src-is-alone: src/b.ts -> fs',
    'error src-is-alone: src/c.ts -> node_modules/rxjs',
    'error src-is-alone: src/gone.ts -> ./missing.js',
  ]);
});

test.run();
