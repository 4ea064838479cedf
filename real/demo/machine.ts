/** Two machines on loopback, each a lockstepd process of its own, in a folder of its own: for the demonstration and the tests. */

import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, createReadStream, ftruncateSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ask } from '../adm/connection.js';
import type { ControlRequest, OrderVerb } from '../daemon/control.js';
import type { Answer } from '../daemon/daemon.js';
import type { ResourceStatus } from '../daemon/status.js';
import type { NbdAddress } from '../nbd/server.js';

const program = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
export const lockstepd = program('../daemon/lockstepd.js');
export const lockadm = program('../adm/lockadm.js');

export const RESOURCE = 'r0';

/** A port that nobody has now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

export class Machine {
  readonly run: string;
  readonly image: string;
  readonly logPath: string;
  child: ChildProcess | undefined = undefined;
  /** Who runs the daemon, where that is not who runs this. */
  user: { uid: number; gid: number } | undefined = undefined;
  /** A program and its first arguments that start the daemon in their place. */
  launcher: readonly string[] = [];

  constructor(
    readonly folder: string,
    readonly name: string,
    readonly configPath: string,
  ) {
    this.run = join(folder, name);
    this.image = join(folder, `${name}.img`);
    this.logPath = join(folder, `${name}.log`);
    mkdirSync(this.run, { recursive: true });
  }

  get control(): string {
    return join(this.run, 'control.sock');
  }

  get nbd(): NbdAddress {
    return { kind: 'unix', path: join(this.run, 'nbd.sock') };
  }

  /** Starts the daemon and waits until it answers. */
  async start(...args: string[]): Promise<void> {
    const log = openSync(this.logPath, 'a');
    const words = [...this.launcher, process.execPath, lockstepd, '-c', this.configPath, '--node', this.name, '--run', this.run, '--state', this.run, ...args];
    const child = spawn(words[0]!, words.slice(1), { stdio: ['ignore', log, log], ...this.user });
    closeSync(log);
    this.child = child;
    for (let tries = 0; tries < 600; tries++) {
      if (child.exitCode !== null) throw new Error(`${this.name}: lockstepd ended with ${child.exitCode}; see ${this.logPath}`);
      const answers = await ask(this.control, { do: 'hello' }).then(
        () => true,
        () => false,
      );
      if (answers) return;
      await sleep(50);
    }
    throw new Error(`${this.name}: lockstepd does not answer; see ${this.logPath}`);
  }

  /** Ends the daemon; gives its exit code, or the signal that killed it. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | string> {
    const { child } = this;
    if (!child) throw new Error(`${this.name} does not run`);
    this.child = undefined;
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode ?? child.signalCode!;
    child.kill(signal);
    const [code, killedBy] = (await once(child, 'exit')) as [number | null, string | null];
    return code ?? killedBy!;
  }

  ask<T>(request: ControlRequest): Promise<T> {
    return ask<T>(this.control, request, 60);
  }

  async order(verb: OrderVerb, extra: Partial<Extract<ControlRequest, { do: 'order' }>> = {}): Promise<Answer['reply']> {
    const { reply } = await this.ask<Answer>({ do: 'order', verb, resource: RESOURCE, volume: 0, ...extra });
    return reply;
  }

  /** An order that must succeed. */
  async must(verb: OrderVerb, extra: Partial<Extract<ControlRequest, { do: 'order' }>> = {}): Promise<void> {
    const reply = await this.order(verb, extra);
    if (!reply.ok) throw new Error(`${this.name}: ${verb} is refused: (${reply.code}) ${reply.text}`);
  }

  async status(): Promise<ResourceStatus | undefined> {
    return (await this.ask<ResourceStatus[]>({ do: 'status' }))[0];
  }

  async until(what: string, isReached: (status: ResourceStatus) => boolean, boundMs = 30_000): Promise<ResourceStatus> {
    for (const end = Date.now() + boundMs; Date.now() < end; ) {
      const status = await this.status();
      if (status && isReached(status)) return status;
      await sleep(50);
    }
    throw new Error(`${this.name}: not ${what} within ${boundMs / 1000} s: ${JSON.stringify(await this.status())}`);
  }

  /** Runs lockadm as an operator would. */
  adm(...words: string[]): { code: number | null; out: string; err: string } {
    const { status, stdout, stderr } = spawnSync(process.execPath, [lockadm, '--control', this.control, ...words], { encoding: 'utf8', timeout: 60_000 });
    return { code: status, out: stdout, err: stderr };
  }

  /** SHA-256 of the first bytes of the image: the replicated data. */
  async checksum(bytes: number): Promise<string> {
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(this.image, { end: bytes - 1 })) hash.update(chunk as Buffer);
    return hash.digest('hex');
  }
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export interface Pair {
  alpha: Machine;
  beta: Machine;
  configPath: string;
}

/** Images with fresh metadata, and a configuration; nothing runs yet. */
export async function newPair(folder: string, imageBytes: number, sections = ''): Promise<Pair> {
  const configPath = join(folder, 'lockstep.conf');
  const [one, other] = [new Machine(folder, 'alpha', configPath), new Machine(folder, 'beta', configPath)];
  writeFileSync(
    configPath,
    `resource ${RESOURCE} {
  device /dev/drbd0;
  meta-disk internal;
  ${sections}
  on alpha { disk ${one.image}; address 127.0.0.1:${await freePort()}; }
  on beta { disk ${other.image}; address 127.0.0.1:${await freePort()}; }
}
`,
  );
  for (const machine of [one, other]) {
    const fd = openSync(machine.image, 'w');
    ftruncateSync(fd, imageBytes);
    closeSync(fd);
    const made = machine.adm('-c', configPath, '--node', machine.name, 'create-md', RESOURCE);
    if (made.code !== 0) throw new Error(`create-md of ${machine.name}: ${made.err}`);
  }
  return { alpha: one, beta: other, configPath };
}

export const isConnected = (status: ResourceStatus): boolean => status.connections[0]?.peer_devices[0]?.['replication-state'] === 'Established';
export const isHealthy = (status: ResourceStatus): boolean =>
  isConnected(status) && status.devices[0]!['disk-state'] === 'UpToDate' && status.connections[0]!.peer_devices[0]!['peer-disk-state'] === 'UpToDate';

/** Both daemons run, with these arguments, connected; two fresh disks are equal, so no first sync is needed. `alpha` is Primary. */
export async function startPair({ alpha, beta }: Pair, argsOf: (machine: Machine) => string[] = () => []): Promise<void> {
  await Promise.all([alpha, beta].map((machine) => machine.start(...argsOf(machine))));
  await alpha.until('connected', isConnected);
  await alpha.must('new-current-uuid', { clearBitmap: true });
  await alpha.until('UpToDate on both sides', isHealthy);
  await alpha.must('primary');
}
