#!/usr/bin/env node
/**
 * `npm run bench:real`: fio's NBD engine against two daemons on this machine, and in the same run against what else mirrors in user space, and
 * against servers that mirror nothing. Ratios of one run mean something, absolute figures do not: fio and both nodes share the processors.
 * The goals are those of the project's data-path specification.
 */

import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Table from 'cli-table3';
import { Command } from 'commander';
import { servers, type Served } from './servers.js';

const USED_BYTES = 256 << 20;
const TICK_MS = 10;

/** What our ratio to one of the others is to be, and would better be. */
interface Goal {
  to: string;
  least: number;
  better: number;
}

interface Job {
  name: string;
  args: string[];
  goal?: Goal;
}

interface Mode {
  name: string;
  /** Where the images are. */
  place: 'memory' | 'disk';
  isPinned?: true;
  isDirect?: true;
  jobs: Job[];
}

const write = (depth: number): string[] => ['--rw=randwrite', '--bs=4k', `--iodepth=${depth}`];

const toQuorum = (least: number, better: number): Goal => ({ to: 'quorum', least, better });
const toNbdkit = (least: number, better: number): Goal => ({ to: 'nbdkit', least, better });

const jobs: Job[] = [
  { name: '4k write, depth 1', args: write(1) },
  { name: '4k write, depth 32', args: write(32), goal: toQuorum(2, 3) },
  { name: '4k read, depth 32', args: ['--rw=randread', '--bs=4k', '--iodepth=32'], goal: toNbdkit(1, 1.4) },
  { name: '70/30 mix, depth 16', args: ['--rw=randrw', '--rwmixread=70', '--bs=4k', '--iodepth=16'], goal: toQuorum(2, 3) },
  { name: '128k write, depth 8', args: ['--rw=write', '--bs=128k', '--iodepth=8'], goal: toQuorum(1.6, 2) },
  { name: '128k read, depth 8', args: ['--rw=read', '--bs=128k', '--iodepth=8'], goal: toNbdkit(0.8, 1) },
];

const withoutGoal = (job: Job): Job => ({ name: job.name, args: job.args });

const modes: Mode[] = [
  { name: 'page cache, files in memory', place: 'memory', jobs },
  // With two idle processors depth 1 measures how long one takes to wake up.
  { name: 'page cache, files in memory, everybody on one processor', place: 'memory', isPinned: true, jobs: [{ ...jobs[0]!, goal: toQuorum(0.8, 1) }, withoutGoal(jobs[1]!)] },
  { name: 'page cache, files on disk', place: 'disk', jobs: jobs.map(withoutGoal) },
  { name: 'durable: a flush after each write, files on disk', place: 'disk', jobs: [{ name: '4k write, depth 1', args: [...write(1), '--fsync=1'], goal: toQuorum(1, 1.2) }] },
  { name: 'past the page cache (O_DIRECT), files on disk', place: 'disk', isDirect: true, jobs: [{ name: '4k write, depth 32', args: write(32), goal: toQuorum(0.8, 1) }] },
];

interface Result {
  iops: number;
  cpuUs: number;
  p50Us: number;
  p99Us: number;
}

/** User and system time of a process so far. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

interface FioSide {
  iops: number;
  total_ios: number;
  clat_ns: { percentile?: Record<string, number> };
}

function measure(served: Served, launcher: readonly string[], args: readonly string[], seconds: number): Promise<Result> {
  const before = served.pids.reduce((sum, pid) => sum + cpuMs(pid), 0);
  const words = ['fio', '--name=job', '--ioengine=nbd', `--uri=${served.uri}`, `--size=${USED_BYTES}`, '--time_based', `--runtime=${seconds}`, '--output-format=json', ...args];
  const [program, ...rest] = [...launcher, ...words] as [string, ...string[]];
  const child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  return new Promise((resolve, reject) =>
    child.on('close', (code) => {
      if (code !== 0) return reject(new Error(`fio ended with ${code} against ${served.uri}`));
      const used = served.pids.reduce((sum, pid) => sum + cpuMs(pid), 0) - before;
      const { read, write: written } = (JSON.parse(out.slice(out.indexOf('{'))) as { jobs: { read: FioSide; write: FioSide }[] }).jobs[0]!;
      const worst = (percentile: string): number => Math.max(...[read, written].map(({ clat_ns }) => (clat_ns.percentile?.[percentile] ?? 0) / 1000));
      resolve({ iops: read.iops + written.iops, cpuUs: (used * 1000) / (read.total_ios + written.total_ios), p50Us: worst('50.000000'), p99Us: worst('99.000000') });
    }),
  );
}

async function run(mode: Mode, parent: string, seconds: number): Promise<Map<string, Result[]>> {
  const launcher = mode.isPinned ? ['taskset', '-c', '0'] : [];
  const results = new Map<string, Result[]>();
  for (const server of servers) {
    process.stderr.write(`${mode.name}: ${server.name}\n`);
    const folder = mkdtempSync(join(parent, 'lockstep-bench-'));
    try {
      const served = await server.start({ folder, launcher, isDirect: mode.isDirect === true });
      try {
        // Fills the page cache, and lets everybody warm up.
        await measure(served, launcher, ['--rw=write', '--bs=128k', '--iodepth=8'], 3);
        await measure(served, launcher, write(32), 2);
        const of: Result[] = [];
        for (const { args } of mode.jobs) of.push(await measure(served, launcher, args, seconds));
        results.set(server.name, of);
      } finally {
        await served.stop();
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
  return results;
}

function tableOf(mode: Mode, results: Map<string, Result[]>): string {
  const [own, ...others] = [...results.keys()] as [string, ...string[]];
  const table = new Table({
    head: ['', `${own}\nI/O a second`, ...others.map((name) => `ratio to\n${name}`), 'goal (better)', `CPU µs an I/O:\n${own} / ${others[0]}`, `p50, p99 µs\n${own}`, `p50, p99 µs\n${others[0]}`],
    colAligns: ['left', 'right', ...others.map(() => 'right' as const)],
    style: { head: [], border: [], compact: true },
  });
  for (const [at, { name, goal }] of mode.jobs.entries()) {
    const of = (server: string): Result => results.get(server)![at]!;
    const ratio = (to: string): number => of(own).iops / of(to).iops;
    const met = goal && (ratio(goal.to) >= goal.better ? 'better' : ratio(goal.to) >= goal.least ? 'met' : 'NOT met');
    const latency = ({ p50Us, p99Us }: Result): string => `${p50Us.toFixed(0)}, ${p99Us.toFixed(0)}`;
    table.push([
      name,
      Math.round(of(own).iops),
      ...others.map((other) => ratio(other).toFixed(2)),
      goal ? `${goal.to} ${goal.least} (${goal.better}): ${met}` : '',
      `${of(own).cpuUs.toFixed(1)} / ${of(others[0]!).cpuUs.toFixed(1)}`,
      latency(of(own)),
      latency(of(others[0]!)),
    ]);
  }
  return `${mode.name}\n${table.toString()}\n`;
}

async function main(options: { seconds: string; memory: string; disk: string; only?: string }): Promise<void> {
  const needed = ['fio', 'nbdkit', 'qemu-nbd', 'qemu-storage-daemon', 'taskset'];
  const missing = needed.filter((tool) => spawnSync('sh', ['-c', `command -v ${tool}`]).status !== 0);
  if (missing.length > 0) {
    console.error(`${missing.join(', ')}: not installed (Debian: fio, nbdkit, qemu-utils, qemu-system-common, util-linux)`);
    process.exit(1);
  }
  const chosen = modes.filter(({ name }) => name.includes(options.only ?? ''));
  if (chosen.length === 0) throw new Error(`no mode is called ${options.only}: ${modes.map(({ name }) => name).join('; ')}`);
  for (const mode of chosen) console.log(tableOf(mode, await run(mode, options[mode.place], Number(options.seconds))));
}

const program = new Command('bench-real')
  .description('Measures two daemons on this machine against other mirrors, and against servers that mirror nothing.')
  .option('--seconds <n>', 'for each job', '5')
  .option('--memory <dir>', 'a folder in memory', '/dev/shm')
  .option('--disk <dir>', 'a folder on a disk', tmpdir())
  .option('--only <text>', 'modes whose name holds this');
await main(program.parse().opts());
