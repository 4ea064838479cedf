/**
 * Who is measured beside us: what mirrors in user space with the same guarantee (QEMU's quorum of a file and a remote NBD export, and its
 * mirror job that completes a write when both have it), and what mirrors nothing, as the limit. The remote end of both is nbdkit with
 * TCP_NODELAY (`--no-sr`): one without it would flatter us.
 */

import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync, ftruncateSync, openSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { freePort, newPair, sleep, startPair } from '../demo/machine.js';

export const IMAGE_BYTES = 512 << 20;

export interface Served {
  uri: string;
  /** Processes whose CPU time counts. */
  pids: number[];
  stop: () => Promise<void>;
}

/** `launcher`: a program and its first arguments that start the others, for pinning. */
export interface Circumstances {
  folder: string;
  launcher: readonly string[];
  /** Past the page cache. */
  isDirect: boolean;
}

export interface Server {
  name: string;
  start: (where: Circumstances) => Promise<Served>;
}

function newImage(path: string): string {
  const fd = openSync(path, 'w');
  ftruncateSync(fd, IMAGE_BYTES);
  closeSync(fd);
  return path;
}

function start({ launcher }: Circumstances, ...words: string[]): ChildProcess {
  const [program, ...args] = [...launcher, ...words] as [string, ...string[]];
  return spawn(program, args, { stdio: 'ignore' });
}

async function appears(path: string): Promise<void> {
  for (let tries = 0; tries < 400 && !existsSync(path); tries++) await sleep(25);
  if (!existsSync(path)) throw new Error(`nobody listens on ${path}`);
}

async function ended(...children: ChildProcess[]): Promise<void> {
  for (const child of children) {
    if (child.exitCode !== null) continue;
    child.kill('SIGTERM');
    await new Promise((resolve) => child.once('exit', resolve));
  }
}

const lockstep: Server = {
  name: 'lockstep',
  async start({ folder, launcher, isDirect }) {
    const pair = await newPair(folder, IMAGE_BYTES, 'net { protocol C; }');
    const { alpha, beta } = pair;
    for (const machine of [alpha, beta]) machine.launcher = launcher;
    await startPair(pair, () => (isDirect ? ['--direct-io'] : []));
    return {
      uri: `nbd+unix:///r0?socket=${join(alpha.run, 'nbd.sock')}`,
      pids: [alpha.child!.pid!, beta.child!.pid!],
      stop: async () => {
        await alpha.end('SIGTERM');
        await beta.end('SIGTERM');
      },
    };
  },
};

/** A file here, and an NBD export elsewhere, as QEMU's block devices `local` and `remote`. */
async function remoteAndLocal(where: Circumstances): Promise<{ remote: ChildProcess; devices: string[] }> {
  const { folder, isDirect } = where;
  const port = await freePort();
  const image = newImage(join(folder, 'remote.img'));
  const remote = start(where, 'nbdkit', '-f', '--no-sr', '-i', '127.0.0.1', '-p', String(port), 'file', image, ...(isDirect ? ['cache=none'] : []));
  await sleep(500);
  const direct = isDirect ? ',cache.direct=on,aio=native' : '';
  const devices = [
    ...['--blockdev', `driver=file,node-name=local,filename=${newImage(join(folder, 'local.img'))}${direct}`],
    ...['--blockdev', `driver=nbd,node-name=remote,server.type=inet,server.host=127.0.0.1,server.port=${port}`],
  ];
  return { remote, devices };
}

const exported = (node: string, socket: string): string[] => ['--nbd-server', `addr.type=unix,addr.path=${socket}`, '--export', `type=nbd,id=export,node-name=${node},writable=on,name=r0`];

const quorum: Server = {
  name: 'quorum',
  async start(where) {
    const { remote, devices } = await remoteAndLocal(where);
    const socket = join(where.folder, 'quorum.sock');
    const both = ['--blockdev', 'driver=quorum,node-name=both,vote-threshold=2,read-pattern=fifo,children.0=local,children.1=remote'];
    const daemon = start(where, 'qemu-storage-daemon', ...devices, ...both, ...exported('both', socket));
    await appears(socket);
    return { uri: `nbd+unix:///r0?socket=${socket}`, pids: [remote.pid!, daemon.pid!], stop: () => ended(daemon, remote) };
  },
};

const mirrorJob: Server = {
  name: 'mirror job',
  async start(where) {
    const { remote, devices } = await remoteAndLocal(where);
    const [socket, monitor] = [join(where.folder, 'mirror.sock'), join(where.folder, 'monitor.sock')];
    const control = ['--chardev', `socket,id=monitor,path=${monitor},server=on,wait=off`, '--monitor', 'chardev=monitor'];
    const daemon = start(where, 'qemu-storage-daemon', ...devices, ...exported('local', socket), ...control);
    await appears(socket);
    await mirror(monitor);
    return { uri: `nbd+unix:///r0?socket=${socket}`, pids: [remote.pid!, daemon.pid!], stop: () => ended(daemon, remote) };
  },
};

/** Tells QEMU to mirror `local` to `remote`, and waits until it does. */
async function mirror(monitor: string): Promise<void> {
  await appears(monitor);
  const socket = createConnection(monitor);
  const lines = createInterface(socket)[Symbol.asyncIterator]();
  type Answer = { return?: { status?: string }[]; error?: { desc: string }; event?: string };
  const ask = async (execute: string, words?: object): Promise<Answer> => {
    socket.write(JSON.stringify({ execute, arguments: words }));
    for (;;) {
      const line = await lines.next();
      if (line.done) throw new Error('qemu-storage-daemon hangs up');
      const answer = JSON.parse(line.value) as Answer;
      if (answer.error) throw new Error(`${execute}: ${answer.error.desc}`);
      if (answer.return !== undefined) return answer;
    }
  };
  await ask('qmp_capabilities');
  await ask('blockdev-mirror', { 'job-id': 'mirror', device: 'local', target: 'remote', sync: 'full', 'copy-mode': 'write-blocking' });
  for (let tries = 0; (await ask('query-jobs')).return?.[0]?.status !== 'ready'; tries++) {
    if (tries > 600) throw new Error('the mirror job does not become ready');
    await sleep(100);
  }
  socket.destroy();
}

const qemuNbd: Server = {
  name: 'qemu-nbd',
  async start(where) {
    const socket = join(where.folder, 'qemu-nbd.sock');
    const cache = where.isDirect ? ['--cache=none', '--aio=native'] : ['--cache=writeback'];
    const child = start(where, 'qemu-nbd', '-t', '-e', '4', '-f', 'raw', ...cache, '-k', socket, newImage(join(where.folder, 'qemu-nbd.img')));
    await appears(socket);
    return { uri: `nbd+unix:///?socket=${socket}`, pids: [child.pid!], stop: () => ended(child) };
  },
};

const nbdkit: Server = {
  name: 'nbdkit',
  async start(where) {
    const socket = join(where.folder, 'nbdkit.sock');
    const child = start(where, 'nbdkit', '-f', '-U', socket, 'file', newImage(join(where.folder, 'plain.img')), ...(where.isDirect ? ['cache=none'] : []));
    await appears(socket);
    return { uri: `nbd+unix:///?socket=${socket}`, pids: [child.pid!], stop: () => ended(child) };
  },
};

/** We come first: ratios are ours to theirs. */
export const servers: readonly Server[] = [lockstep, quorum, mirrorJob, qemuNbd, nbdkit];
