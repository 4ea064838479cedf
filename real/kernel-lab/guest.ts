/**
 * One guest: a Linux kernel that runs as a process of ours. It is booted, sent shell scripts, frozen, and killed as by a power failure: what it
 * had written to its disks is in their files then, what it had not is lost.
 */

import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { randomBytes } from 'node:crypto';
import type { GuestFiles } from './guest-files.js';
import { until } from './peer.js';

/** The guest's C library must not use registers that User Mode Linux does not save. */
const TUNABLES = `glibc.cpu.hwcaps=${['AVX512F', 'AVX512VL', 'AVX512BW', 'AVX512CD', 'AVX512DQ', 'AVX2', 'AVX', 'XSAVE', 'XSAVEC', 'OSXSAVE'].map((name) => `-${name}`).join(',')}`;
const CHANNEL_PORT = 2323;
const BOOT_BOUND_MS = 60_000;

export interface GuestOptions {
  name: string;
  address: string;
  /** Host files, in the guest /dev/ubda, /dev/ubdb ... */
  disks: readonly string[];
  /** Where its memory and its console's log are. */
  folder: string;
}

export interface Ran {
  code: number;
  out: string;
}

export class Guest {
  private child: ChildProcess | undefined = undefined;
  private boots = 0;
  private isFrozen = false;
  /** Open channels: nobody hears of it when a guest dies. */
  private readonly channels = new Set<Socket>();
  private readonly console: WriteStream;

  constructor(
    private readonly files: GuestFiles,
    readonly options: GuestOptions,
    private readonly tap: string,
  ) {
    this.console = createWriteStream(`${options.folder}/${options.name}.console`, { flags: 'a' });
  }

  get isRunning(): boolean {
    return this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Resolves when it takes scripts. */
  async boot(): Promise<void> {
    const { name, address, disks, folder } = this.options;
    const word = randomBytes(8).toString('hex');
    const args = [
      ...['mem=160M', `initrd=${this.files.initramfs}`, `umid=${name}-${process.pid}-${++this.boots}`, 'con=null', 'con0=null,fd:1', 'quiet', 'panic=1'],
      ...disks.map((path, index) => `ubd${index}=${path}`),
      `vec0:transport=tap,ifname=${this.tap},depth=128,gro=1,mac=fe:fd:${address.split('.').map((part) => Number(part).toString(16).padStart(2, '0')).join(':')}`,
      ...[`LAB_NAME=${name}`, `LAB_ADDRESS=${address}`, `LAB_WORD=${word}`, `GLIBC_TUNABLES=${TUNABLES}`],
    ];
    const environment = { ...process.env, LD_PRELOAD: this.files.shim, TMPDIR: folder, HOME: folder };
    const child = spawn('/usr/bin/linux.uml', args, { env: environment, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    this.child = child;
    this.isFrozen = false;
    let said = '';
    child.once('exit', () => {
      for (const socket of this.channels) socket.destroy();
    });
    const ready = new Promise<void>((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`guest ${name} does not boot within ${BOOT_BOUND_MS / 1000} s: ${said.trim().split('\n').at(-1)}`)), BOOT_BOUND_MS);
      child.stdout.on('data', (data: Buffer) => {
        this.console.write(data);
        said = (said + data.toString()).slice(-4096);
        if (!said.includes('LAB-READY')) return;
        clearTimeout(late);
        resolve();
      });
      child.stderr.on('data', (data: Buffer) => this.console.write(data));
      child.once('error', (error) => reject(new Error(`guest ${name} does not boot: ${error.message}`)));
      child.once('exit', (code, signal) => {
        clearTimeout(late);
        reject(new Error(`guest ${name} ended with ${code ?? signal} while it booted: ${said.trim().split('\n').at(-1)}`));
      });
    });
    await ready;
    // The channel is opened by a process of its own, a moment later.
    const { out } = await until(() => this.run('cat /proc/cmdline').catch(() => undefined), () => `guest ${name} boots, and does not answer`, 5000);
    if (!out.includes(word)) throw new Error(`another guest answers at ${address}`);
  }

  /** Runs a shell script in the guest; throws when the guest does not answer. `onLine` hears what it says at once. */
  run(script: string, boundMs = 30_000, onLine?: (line: string) => void): Promise<Ran> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: this.options.address, port: CHANNEL_PORT, allowHalfOpen: true });
      let out = '';
      let told = 0;
      const fail = (reason: string): void => {
        socket.destroy();
        reject(new Error(`guest ${this.options.name}: ${reason}: ${script.slice(0, 200)}`));
      };
      const late = boundMs === Infinity ? undefined : setTimeout(() => fail(`no answer within ${boundMs / 1000} s`), boundMs);
      this.channels.add(socket);
      socket.on('connect', () => socket.end(script));
      socket.on('data', (data: Buffer) => {
        out += data.toString();
        if (!onLine) return;
        for (let end = out.indexOf('\n', told); end >= 0; end = out.indexOf('\n', told)) {
          onLine(out.slice(told, end));
          told = end + 1;
        }
      });
      socket.on('error', (error) => fail(error.message));
      socket.on('close', () => {
        clearTimeout(late);
        this.channels.delete(socket);
        const match = /\n?__rc=(\d+)\n$/.exec(out);
        if (!match) return fail('it ended in the middle of');
        resolve({ code: Number(match[1]), out: out.slice(0, match.index) });
      });
    });
  }

  /** A script that must succeed. */
  async must(script: string): Promise<string> {
    const { code, out } = await this.run(script);
    if (code !== 0) throw new Error(`guest ${this.options.name}: ${script}: ${out.trim() || `ended with ${code}`}`);
    return out;
  }

  /** It says nothing more, until `thaw`. Its other processes belong to the one that is stopped, and stop with it. */
  freeze(): void {
    this.child!.kill('SIGSTOP');
    this.isFrozen = true;
  }

  thaw(): void {
    this.child!.kill('SIGCONT');
    this.isFrozen = false;
  }

  /** Power off. */
  async kill(): Promise<void> {
    const { child } = this;
    if (!child || !this.isRunning) return;
    const ended = once(child, 'exit');
    if (this.isFrozen) this.thaw();
    try {
      process.kill(-child.pid!, 'SIGKILL');
    } catch {
      child.kill('SIGKILL');
    }
    await ended;
    this.child = undefined;
  }
}

/** The switch that guests are plugged into: it has the lab's own address, and a tap for each guest. All of it is in the lab's namespace. */
export function makeNetwork(addresses: readonly string[], taps: readonly string[]): void {
  const ip = (...words: string[]): void => {
    const { status, stderr } = spawnSync('ip', words, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`ip ${words.join(' ')}: ${stderr.trim()}`);
  };
  ip('link', 'set', 'lo', 'up');
  ip('link', 'add', 'switch', 'type', 'bridge');
  for (const address of addresses) ip('addr', 'add', `${address}/24`, 'dev', 'switch');
  ip('link', 'set', 'switch', 'up');
  for (const tap of taps) {
    ip('tuntap', 'add', 'dev', tap, 'mode', 'tap');
    ip('link', 'set', tap, 'master', 'switch', 'up');
  }
}
