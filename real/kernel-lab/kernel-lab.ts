#!/usr/bin/env node
/**
 * `npm run kernel-lab -- CASE`, `npm run test:kernel`: our daemon beside the Linux kernel's DRBD, which runs in a guest. The lab lives in
 * namespaces of its own, of processes, mounts and network: when its first process ends, however it ends, the kernel takes every guest, daemon, tap
 * and file of it away. Exit 0: all passed; 1: one failed; 2: bad usage; 77: it cannot run here, and says why.
 */

import { spawn, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError } from 'commander';
import { variantOf } from './fuzz.js';
import { readCases, runCases } from './lab.js';
import { whatIsMissing } from './needs.js';
import { variantsOf, type Variant } from './script.js';

const EXIT_USAGE = 2;
const EXIT_SKIPPED = 77;
const NAMESPACES = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
const program = fileURLToPath(import.meta.url);

/** Starts this program again inside, and passes on how it ended. */
async function enter(args: readonly string[]): Promise<number> {
  const missing = whatIsMissing();
  if (missing !== undefined) {
    console.log(`skipped: ${missing}`);
    return EXIT_SKIPPED;
  }
  const child = spawn('unshare', [...NAMESPACES, process.execPath, program, ...args, '--inside'], { stdio: ['pipe', 'inherit', 'inherit'] });
  const stop = (): void => void child.kill('SIGKILL');
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
  return new Promise<number>((resolve) => child.once('exit', (status, signal) => resolve(signal === null ? (status ?? 1) : 130)));
}

/** Where the lab's files are: in its own mounts this is a file system of its own, in memory. */
const FOLDER = '/run';

function mountFolder(): void {
  const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', 'lockstep', FOLDER], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`mount: ${stderr.trim()}`);
}

const named = (names: readonly string[], all: boolean): Variant[] => readCases().flatMap(variantsOf).filter(({ title }) => all || names.some((name) => title.includes(name)));

/** `A..B`, or one. */
function seedsOf(text: string): number[] {
  const match = /^(\d{1,9})(?:\.\.(\d{1,9}))?$/.exec(text);
  if (!match) throw new InvalidArgumentError('A seed, or A..B, is expected.');
  const [first, last] = [Number(match[1]), Number(match[2] ?? match[1])];
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, at) => first + at);
}

interface LabOptions {
  all?: boolean;
  list?: boolean;
  seeds?: number[];
  inside?: boolean;
}

async function lab(names: readonly string[], { all = false, list = false, seeds, inside = false }: LabOptions): Promise<number> {
  const variants = seeds ? seeds.map(variantOf) : named(names, all || (list && names.length === 0));
  if (list) {
    for (const { title, script } of variants) console.log(seeds ? `${title}\n${script.steps.map(({ text }) => `    ${text}`).join('\n')}` : title);
    return 0;
  }
  if (variants.length === 0) {
    console.log('no such case: name a part of a title (--list tells them), or --all');
    return EXIT_USAGE;
  }
  if (!inside) return enter(process.argv.slice(2));
  // It ends with the one that started it, and then nobody writes to this pipe any more.
  process.stdin.resume().once('close', () => process.exit(1));
  mountFolder();
  return runCases(FOLDER, variants);
}

const commands = new Command('kernel-lab')
  .description("Runs cases of our node beside the Linux kernel's DRBD.")
  .argument('[cases...]', 'parts of the titles of cases')
  .option('--all', 'runs all of them')
  .option('--list', 'names them')
  .option('--seeds <A..B>', 'runs the cases that these seeds draw (npm run fuzz:kernel)', seedsOf)
  .option('--inside', 'for the lab itself')
  .action(async (names: string[], options: LabOptions) => {
    process.exit(await lab(names, options));
  });

await commands.parseAsync().catch((error: Error) => {
  console.error(`kernel-lab: ${error.message}`);
  process.exit(1);
});
