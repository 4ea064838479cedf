#!/usr/bin/env node
/**
 * `npm run kernel-lab -- CASE`, `npm run test:kernel`: our daemon beside the Linux kernel's DRBD, which runs in a guest. The lab lives in
 * namespaces of its own, of processes, mounts and network: when its first process ends, however it ends, the kernel takes every guest, daemon, tap
 * and file of it away. Exit 0: all passed; 1: one failed; 2: bad usage; 77: it cannot run here, and says why.
 */

import { spawn } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { spawnSync } from 'node:child_process';
import { Command } from 'commander';
import { readCases, runCases } from './lab.js';
import { whatIsMissing } from './needs.js';
import { variantsOf } from './script.js';

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
  const folder = mkdtempSync(join(tmpdir(), 'lockstep-kernel-lab-'));
  const child = spawn('unshare', [...NAMESPACES, process.execPath, program, ...args, '--inside', folder], { stdio: ['ignore', 'inherit', 'inherit'] });
  const stop = (): void => void child.kill('SIGKILL');
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
  const code = await new Promise<number>((resolve) => child.once('exit', (status, signal) => resolve(signal === null ? (status ?? 1) : 130)));
  rmdirSync(folder);
  return code;
}

/** In here the folder is a file system of the lab's own, in memory. */
function mountFolder(folder: string): void {
  const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', 'lockstep', folder], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`mount: ${stderr.trim()}`);
}

function list(): number {
  for (const variant of readCases().flatMap(variantsOf)) console.log(variant.title);
  return 0;
}

interface CaseOptions {
  all?: boolean;
  list?: boolean;
  inside?: string;
}

async function cases(names: readonly string[], { all = false, list: lists = false, inside }: CaseOptions): Promise<number> {
  if (lists) return list();
  if (!all && names.length === 0) {
    console.log('name a case, or a part of its title (--list names them), or --all');
    return EXIT_USAGE;
  }
  if (inside === undefined) return enter([...names, ...(all ? ['--all'] : [])]);
  mountFolder(inside);
  return runCases(inside, ({ title }) => all || names.some((name) => title.includes(name)));
}

const commands = new Command('kernel-lab')
  .description("Runs cases of our node beside the Linux kernel's DRBD.")
  .argument('[cases...]', 'parts of the titles of cases')
  .option('--all', 'runs all of them')
  .option('--list', 'names them')
  .option('--inside <folder>', 'for the lab itself')
  .action(async (names: string[], options: CaseOptions) => {
    process.exit(await cases(names, options));
  });

await commands.parseAsync().catch((error: Error) => {
  console.error(`kernel-lab: ${error.message}`);
  process.exit(1);
});
