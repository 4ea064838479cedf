// The core as it runs (dist/src) is closed: its modules import each other and a library of pure functions, and name nothing of the outside
// world (design: "The core"). Lint says the same of the source, unless a comment switches it off; this looks at what was
// compiled, and knows no exceptions. And what every source file of the house owes its reader: a length, and a beginning.

import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve, sep } from 'node:path';
import ts from 'typescript';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkout } from './checkout.js';

const compiled = join(checkout, 'dist', 'src');

const filesIn = (folder: string, ending: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .sort((a, b) => (a < b ? -1 : 1));

// ---- The core ----------------------------------------------------------------------------------------------------------

/** What the core may have of others: functions of their arguments alone. */
const pureLibrary = /^@noble\/hashes\/(hmac|legacy|sha2|sha3)\.js$/;

const outside = new Set([
  ...['process', 'Buffer', 'console', 'setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask', 'performance', 'crypto', 'fetch', 'Date'],
  ...['globalThis', 'global', 'require', 'module', 'eval', 'Function', 'Promise', 'Intl', 'WeakRef', 'FinalizationRegistry'],
]);

/** `file: what`, for everything in the compiled modules of `folder` that is not theirs. */
function violationsIn(folder: string): string[] {
  const found: string[] = [];
  for (const name of filesIn(folder, '.js')) {
    const path = join(folder, name);
    const source = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.ES2023, true, ts.ScriptKind.JS);
    const report = (what: string): void => void found.push(`${name.split(sep).join('/')}: ${what}`);
    const visit = (node: ts.Node): void => {
      if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier !== undefined) {
        const specifier = (node.moduleSpecifier as ts.StringLiteral).text;
        const isInside = /^\.\.?\//.test(specifier) && !relative(folder, resolve(dirname(path), specifier)).startsWith('..');
        if (!isInside && !pureLibrary.test(specifier)) report(`imports ${specifier}`);
      } else if (node.kind === ts.SyntaxKind.ImportKeyword && ts.isCallExpression(node.parent)) {
        report('imports at run time');
      } else if (ts.isMetaProperty(node)) {
        report(node.getText(source));
      } else if (ts.isIdentifier(node) && outside.has(node.text) && !isNameOfField(node)) {
        report(node.text);
      } else if (isMathRandom(node)) {
        report('Math.random');
      }
      ts.forEachChild(node, visit);
    };
    visit(source);
  }
  return found;
}

/** After a dot, or before a colon: not the variable of that name. */
const isNameOfField = (node: ts.Identifier): boolean =>
  (ts.isPropertyAccessExpression(node.parent) || ts.isPropertyAssignment(node.parent)) && node.parent.name === node;

/** `random` of `Math`, and Math itself in any place where its `random` could be taken unseen: only `Math.name` is plain. */
const isMathRandom = (node: ts.Node): boolean =>
  ts.isIdentifier(node) && node.text === 'Math' && !isNameOfField(node) && !(ts.isPropertyAccessExpression(node.parent) && node.parent.name.text !== 'random');

test('the compiled core imports only itself and names nothing of the outside world', () => {
  const modules = filesIn(compiled, '.js');
  const sources = filesIn(join(checkout, 'src'), '.ts');
  assert.equal(sources.filter((name) => !modules.includes(name.replace(/\.ts$/, '.js'))), [], 'every source is compiled');
  assert.equal(violationsIn(compiled), []);
});

test('each violation, planted in a copy of the core, is found', () => {
  const copy = join(mkdtempSync(join(tmpdir(), 'lockstep-core-')), 'src');
  try {
    cpSync(compiled, copy, { recursive: true, filter: (path) => !/\.(map|d\.ts|tsbuildinfo)$/.test(path) });
    const target = join(copy, 'wire', 'bytes.js');
    const text = readFileSync(target, 'utf8');
    const planted: [string, string[]][] = [
      ["import 'node:fs';", ['imports node:fs']],
      ["import seedrandom from 'seedrandom';", ['imports seedrandom']],
      ["import { randomBytes } from '@noble/hashes/utils.js';", ['imports @noble/hashes/utils.js']],
      ["import { sha256 } from '@noble/hashes/sha2.js';", []],
      ["import { mix } from '../../sim/world/hash.js';", ['imports ../../sim/world/hash.js']],
      ["export * from '/etc/passwd';", ['imports /etc/passwd']],
      ["export const later = () => import('./headers.js');", ['imports at run time']],
      ['export const here = import.meta.url;', ['import.meta']],
      ['export const now = () => Date.now();', ['Date']],
      ['export const now = () => performance.now();', ['performance']],
      ['export const name = `of ${process.argv[0]}`;', ['process']],
      ['export const env = process["env"];', ['process']],
      ['export const copy = Buffer.from;', ['Buffer']],
      ['export const all = { globalThis };', ['globalThis']],
      ['export const later = (then) => setTimeout(then, 1);', ['setTimeout']],
      ['export const toss = () => Math.random();', ['Math.random']],
      ['export const toss = () => Math["random"]();', ['Math.random']],
      ['export const { random } = Math;', ['Math.random']],
      ['export const toss = () => crypto.randomUUID();', ['crypto']],
      ['export const out = Function("return process")();', ['Function']],
      // What is said in comments and strings, and what fields are called, is nobody's business.
      ['/* Date.now() */ export const text = "process.exit"; // Math.random()', []],
      ['export const text = `setTimeout ${"Buffer"} crypto`; export const pattern = /globalThis/;', []],
      ['export const field = (config) => ({ process: config.performance, least: Math.min(1, 2) });', []],
    ];
    for (const [line, expected] of planted) {
      writeFileSync(target, `${text}\n${line}\n`);
      assert.equal(violationsIn(copy), expected.map((what) => `wire/bytes.js: ${what}`), line);
    }
  } finally {
    rmSync(dirname(copy), { recursive: true, force: true });
  }
});

// ---- Files for a reader --------------------------------------------------------------------------------------------------

const LINES_MAX = 700;

/** What is wrong with a source file, if anything. */
function owes(text: string): string | undefined {
  const lines = text.replace(/\n$/, '').split('\n').length;
  if (lines > LINES_MAX) return `${lines} lines`;
  return /^(#!.*\n)?\s*\/[/*]/.test(text) ? undefined : 'does not open with why it exists';
}

test('no source file is longer than a person reads in one sitting, and each opens with a comment', () => {
  const found: string[] = [];
  let files = 0;
  for (const room of ['src', 'sim', 'real', 'reports', 'scenarios']) {
    for (const name of filesIn(join(checkout, room), '.ts')) {
      if (room === 'reports' && name.startsWith(`out${sep}`)) continue;
      files++;
      const what = owes(readFileSync(join(checkout, room, name), 'utf8'));
      if (what !== undefined) found.push(`${room}/${name}: ${what}`);
    }
  }
  assert.ok(files > 100, 'the files are where this looks for them');
  assert.equal(found, []);
});

test('a long file and one without a beginning are found', () => {
  const opening = '// Why.\n';
  assert.is(owes(opening + 'x;\n'.repeat(LINES_MAX - 1)), undefined);
  assert.is(owes(opening + 'x;\n'.repeat(LINES_MAX)), '701 lines');
  assert.is(owes('#!/usr/bin/env node\n/** Why. */\nx;\n'), undefined);
  for (const text of ['', 'x; // why\n', "import './x.js';\n/** Why. */\n"]) assert.is(owes(text), 'does not open with why it exists');
});

test.run();
