// Each property that is tested with fast-check fails when the rule that it guards is wrong: a property that nothing breaks proves nothing.

import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ts from 'typescript';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkout } from './checkout.js';
import { propertyMutants } from './property-mutants.js';

/** A copy of what is compiled, in which one file at a time is translated anew. That a mutant is TypeScript does not matter here. */
let copy: string;
test.before(() => {
  copy = mkdtempSync(join(tmpdir(), 'lockstep-bite-'));
  for (const folder of ['dist', 'package.json']) cpSync(join(checkout, folder), join(copy, folder), { recursive: true });
  symlinkSync(join(checkout, 'node_modules'), join(copy, 'node_modules'));
});
test.after(() => rmSync(copy, { recursive: true, force: true }));

/** Without coverage: of the copy it would count as that of the house. Where recordings are is not told: most tests of them take long. */
const { NODE_V8_COVERAGE: _, ...env } = process.env;

for (const mutant of propertyMutants) {
  test(`${mutant.property} ✗ ${mutant.summary}`, () => {
    const parts = readFileSync(join(checkout, mutant.file), 'utf8').split(mutant.oldText);
    assert.is(parts.length, 2, `its old text stands ${parts.length - 1} times in ${mutant.file}, not once`);
    const compiled = join('dist', mutant.file.replace(/\.ts$/, '.js'));
    const { outputText } = ts.transpileModule(parts.join(mutant.newText), { compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023 } });
    writeFileSync(join(copy, compiled), outputText);
    try {
      const ran = spawnSync(process.execPath, [join(copy, 'dist', 'properties', `${mutant.test}.test.js`)], { encoding: 'utf8', env: { ...env, LOCKSTEP_SHARED: copy }, timeout: 120_000 });
      const failed = [...ran.stdout.replaceAll(/\x1b\[[0-9;]*m/g, '').matchAll(/FAIL +"(.*)"/g)].map(([, name]) => name);
      assert.is.not(ran.status, 0);
      assert.ok(failed.includes(mutant.property), `failed instead: ${failed.join('; ') || ran.stderr.slice(0, 500)}`);
    } finally {
      cpSync(join(checkout, compiled), join(copy, compiled));
    }
  });
}

test.run();
