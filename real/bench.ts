#!/usr/bin/env node
/**
 * `npm run bench:real`: fio's NBD engine against two daemons on this machine, and in the same run against what mirrors in user space with
 * the same guarantee (qemu-storage-daemon's quorum of a file and a remote NBD export) and against a server that mirrors nothing (nbdkit
 * file). Ratios of one run mean something, absolute figures do not: fio and both nodes share the processors.
 *
 * The remote end of the quorum is nbdkit with TCP_NODELAY (`--no-sr`): one without it would flatter us. `--seconds N` for each job
 * (default 5), `--folder DIR` for the images (default: /dev/shm, the page cache and nothing else).
 */

import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, openSync, closeSync, ftruncateSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import Table from 'cli-table3';
import { Command } from 'commander';
import { freePort, newPair, sleep, startPair } from './demo/machine.js';

const IMAGE_BYTES = 512 << 20;
const USED_BYTES = 256 << 20;
const TICK_MS = 10;

interface Served {
  name: string;
  uri: string;
  /** Processes whose CPU time counts. */
  pids: number[];
  stop: () => Promise<void>;
}

interface Result {
  iops: number;
  cpuUs: number;
  p50Us: number;
  p99Us: number;
}

const jobs = [
  { name: '4k write, depth 1', args: ['--rw=randwrite', '--bs=4k', '--iodepth=1'] },
  { name: '4k write, depth 32', args: ['--rw=randwrite', '--bs=4k', '--iodepth=32'] },
  { name: '4k read, depth 32', args: ['--rw=randread', '--bs=4k', '--iodepth=32'] },
  { name: '70/30 mix, depth 16', args: ['--rw=randrw', '--rwmixread=70', '--bs=4k', '--iodepth=16'] },
  { name: '128k write, depth 8', args: ['--rw=write', '--bs=128k', '--iodepth=8'] },
  { name: '128k read, depth 8', args: ['--rw=read', '--bs=128k', '--iodepth=8'] },
];

function newImage(path: string): string {
  const fd = openSync(path, 'w');
  ftruncateSync(fd, IMAGE_BYTES);
  closeSync(fd);
  return path;
}

async function socketAppears(path: string): Promise<void> {
  for (let tries = 0; tries < 200 && !existsSync(path); tries++) await sleep(25);
  if (!existsSync(path)) throw new Error(`nobody listens on ${path}`);
}

const ended = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null) return;
  child.kill('SIGTERM');
  await new Promise((resolve) => child.once('exit', resolve));
};

async function lockstep(folder: string): Promise<Served> {
  const pair = await newPair(folder, IMAGE_BYTES, 'net { protocol C; }');
  await startPair(pair);
  const { alpha, beta } = pair;
  return {
    name: 'lockstep',
    uri: `nbd+unix:///r0?socket=${join(alpha.run, 'nbd.sock')}`,
    pids: [alpha.child!.pid!, beta.child!.pid!],
    stop: async () => {
      await alpha.end('SIGTERM');
      await beta.end('SIGTERM');
    },
  };
}

async function quorum(folder: string): Promise<Served> {
  const port = await freePort();
  const remote = spawn('nbdkit', ['-f', '--no-sr', '-i', '127.0.0.1', '-p', String(port), 'file', newImage(join(folder, 'remote.img'))], { stdio: 'ignore' });
  await sleep(500);
  const socket = join(folder, 'quorum.sock');
  const daemon = spawn(
    'qemu-storage-daemon',
    [
      ...['--blockdev', `driver=file,node-name=local,filename=${newImage(join(folder, 'local.img'))}`],
      ...['--blockdev', `driver=nbd,node-name=remote,server.type=inet,server.host=127.0.0.1,server.port=${port}`],
      ...['--blockdev', 'driver=quorum,node-name=both,vote-threshold=2,read-pattern=fifo,children.0=local,children.1=remote'],
      ...['--nbd-server', `addr.type=unix,addr.path=${socket}`, '--export', 'type=nbd,id=export,node-name=both,writable=on,name=r0'],
    ],
    { stdio: 'ignore' },
  );
  await socketAppears(socket);
  return {
    name: 'qemu quorum',
    uri: `nbd+unix:///r0?socket=${socket}`,
    pids: [remote.pid!, daemon.pid!],
    stop: async () => {
      await ended(daemon);
      await ended(remote);
    },
  };
}

async function unmirrored(folder: string): Promise<Served> {
  const socket = join(folder, 'nbdkit.sock');
  const child = spawn('nbdkit', ['-f', '-U', socket, 'file', newImage(join(folder, 'plain.img'))], { stdio: 'ignore' });
  await socketAppears(socket);
  return { name: 'nbdkit, no mirror', uri: `nbd+unix:///?socket=${socket}`, pids: [child.pid!], stop: () => ended(child) };
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

function measure(served: Served, args: readonly string[], seconds: number): Promise<Result> {
  const before = served.pids.reduce((sum, pid) => sum + cpuMs(pid), 0);
  const child = spawn('fio', ['--name=job', '--ioengine=nbd', `--uri=${served.uri}`, `--size=${USED_BYTES}`, '--time_based', `--runtime=${seconds}`, '--output-format=json', ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  return new Promise((resolve, reject) =>
    child.on('close', (code) => {
      if (code !== 0) return reject(new Error(`fio ended with ${code} against ${served.name}`));
      const used = served.pids.reduce((sum, pid) => sum + cpuMs(pid), 0) - before;
      const { read, write } = (JSON.parse(out.slice(out.indexOf('{'))) as { jobs: { read: FioSide; write: FioSide }[] }).jobs[0]!;
      const worst = (percentile: string): number => Math.max(...[read, write].map(({ clat_ns }) => (clat_ns.percentile?.[percentile] ?? 0) / 1000));
      resolve({ iops: read.iops + write.iops, cpuUs: (used * 1000) / (read.total_ios + write.total_ios), p50Us: worst('50.000000'), p99Us: worst('99.000000') });
    }),
  );
}

async function main(options: { seconds: string; folder: string }): Promise<void> {
  const missing = ['fio', 'nbdkit', 'qemu-storage-daemon'].filter((tool) => spawnSync('sh', ['-c', `command -v ${tool}`]).status !== 0);
  if (missing.length > 0) throw new Error(`${missing.join(', ')}: not installed (Debian: fio, nbdkit, qemu-system-common)`);
  const folder = mkdtempSync(join(options.folder, 'lockstep-bench-'));
  const results = new Map<string, Map<string, Result>>();
  try {
    for (const start of [lockstep, quorum, unmirrored]) {
      const served = await start(folder);
      try {
        // Fills the page cache, and lets everybody warm up.
        await measure(served, ['--rw=write', '--bs=128k', '--iodepth=8'], 3);
        const of = new Map<string, Result>();
        for (const { name, args } of jobs) of.set(name, await measure(served, args, Number(options.seconds)));
        results.set(served.name, of);
      } finally {
        await served.stop();
      }
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  const names = [...results.keys()];
  const table = new Table({ head: ['job', ...names.map((name) => `${name}\nI/O a second`), 'ratio to quorum', 'ratio to nbdkit', 'CPU µs an I/O\n(each in turn)', 'p50 / p99 µs\n(lockstep)', '(quorum)'] });
  for (const { name } of jobs) {
    const [own, mirror, plain] = names.map((one) => results.get(one)!.get(name)!) as [Result, Result, Result];
    const ratio = (to: Result): string => (own.iops / to.iops).toFixed(2);
    const latency = ({ p50Us, p99Us }: Result): string => `${p50Us.toFixed(0)} / ${p99Us.toFixed(0)}`;
    table.push([name, ...[own, mirror, plain].map(({ iops }) => Math.round(iops)), ratio(mirror), ratio(plain), [own, mirror, plain].map(({ cpuUs }) => cpuUs.toFixed(1)).join(' / '), latency(own), latency(mirror)]);
  }
  console.log(table.toString());
}

const program = new Command('bench-real')
  .description('Measures two daemons on this machine against other mirrors.')
  .option('--seconds <n>', 'for each job', '5')
  .option('--folder <dir>', 'where the images are', '/dev/shm');
await main(program.parse().opts());
