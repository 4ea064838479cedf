/** The README's commands do what they say: the cheap ones are executed, as a newcomer would type them, in the checkout. */

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const program = join(root, 'dist', 'reports', 'lockstep.js');

/** Without coverage: it makes a sweep several times slower, and the simulator's own tests cover the core. */
const { NODE_V8_COVERAGE: _, ...env } = process.env;

/** Too long for a test, or about a file that is not here. */
const notCheap = [/--time /, / mutants$/, / --regressions$/, / --patch /, / explore smallest$/, / replay /, / shrink /];

const commands = [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/```sh\n(.*?)```/gs)]
  .flatMap(([, block]) => block!.split('\n'))
  .filter((line) => line.startsWith('npx lockstep '));

test('there are commands to execute', () => {
  assert.ok(commands.length >= 8);
  for (const pattern of notCheap) assert.ok(commands.some((line) => pattern.test(line)), String(pattern));
});

for (const command of commands.filter((line) => !notCheap.some((pattern) => pattern.test(line)))) {
  test(command, () => {
    const words = command.split(' ').slice(2);
    if (words[0] === 'dissect' && !existsSync(join(root, words[1]!))) return void console.log(`skipped: ${words[1]} is not here`);
    const folder = mkdtempSync(join(tmpdir(), 'lockstep-readme-'));
    try {
      if (words[0] === 'sweep' && !words.includes('--out')) words.push('--out', join(folder, 'report'));
      const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...words], { cwd: root, env, encoding: 'utf8', maxBuffer: 2 ** 30 });
      assert.is(status, 0, `${command}\n${stderr}\n${stdout.slice(-2000)}`);
      assert.ok(stdout.length > 0);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
}

test('the commands of the first screen are scripts of package.json, and CI runs the second one', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> };
  for (const script of ['start', 'test', 'bench']) assert.ok(script in scripts, script);
  const tested = /^(npm ci && npm test)\b/m.exec(readme)![1]!;
  assert.ok(readFileSync(join(root, '.ci', 'run'), 'utf8').split('\n').includes(tested));
});

test.run();
