/**
 * A filesystem on an NBD export without a kernel module for NBD: qemu-storage-daemon shows the export as a file (FUSE), a loop device makes
 * a block device of the file, and that is mounted. When the daemon behind it dies, all of it is taken away, as a power cut would.
 */

import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { sleep, type Machine } from '../../../real/demo/machine.js';

export type Filesystem = 'ext2' | 'ext4' | 'xfs';

const BOUND_MS = 60_000;

/** Runs a program; throws with its words where its exit code is none of `good`. */
export function run(words: readonly string[], good: readonly number[] = [0]): string {
  const { status, signal, stdout, stderr, error } = spawnSync(words[0]!, words.slice(1), { encoding: 'utf8', timeout: BOUND_MS });
  if (error || status === null || !good.includes(status)) throw new Error(`${words.join(' ')}: ${error?.message ?? `exit ${status ?? signal}`}\n${stdout}${stderr}`);
  return stdout;
}

/** What this machine lacks for such a stack; empty: nothing. It is tried, not guessed. */
export function missingForStack(folder: string): string[] {
  const missing: string[] = [];
  if (process.getuid?.() !== 0) missing.push('root');
  for (const tool of ['qemu-storage-daemon', 'losetup', 'mount', 'mkfs.ext4', 'e2fsck']) if (!hasTool(tool)) missing.push(tool);
  if (missing.length > 0) return missing;
  if (!isDevice('/dev/fuse')) missing.push('/dev/fuse');
  const image = join(folder, 'probe.img');
  writeFileSync(image, '');
  try {
    run(['truncate', '-s', '16M', image]);
    run(['mkfs.ext4', '-q', image]);
    mkdirSync(join(folder, 'probe'));
    run(['mount', '-o', 'loop', image, join(folder, 'probe')]);
    run(['umount', join(folder, 'probe')]);
  } catch (error) {
    missing.push(`leave to mount a file through a loop device (${(error as Error).message.trim().replaceAll('\n', '; ')})`);
  }
  return missing;
}

export const hasTool = (tool: string): boolean => spawnSync('sh', ['-c', `command -v ${tool}`]).status === 0;

function isDevice(path: string): boolean {
  try {
    return statSync(path).isCharacterDevice();
  } catch {
    return false;
  }
}

export class Stack {
  readonly mountPoint: string;
  private readonly file: string;
  private server: ChildProcess | undefined = undefined;
  private loop = '';
  private isMounted = false;

  constructor(
    folder: string,
    private readonly machine: Machine,
    private readonly filesystem: Filesystem,
  ) {
    this.file = join(folder, `${machine.name}.export`);
    this.mountPoint = join(folder, `${machine.name}.mounted`);
    writeFileSync(this.file, '');
    mkdirSync(this.mountPoint, { recursive: true });
  }

  /** The machine is Primary: its export becomes a block device. */
  async open(): Promise<void> {
    const blockdev = `driver=nbd,node-name=n,server.type=unix,server.path=${join(this.machine.run, 'nbd.sock')},export=r0`;
    this.server = spawn('qemu-storage-daemon', ['--blockdev', blockdev, '--export', `type=fuse,id=e,node-name=n,mountpoint=${this.file},writable=on`], { stdio: 'ignore' });
    for (let tries = 0; statSync(this.file).size === 0; tries++) {
      if (tries > 200 || this.server.exitCode !== null) throw new Error(`qemu-storage-daemon does not export ${this.machine.name}'s volume`);
      await sleep(50);
    }
    this.loop = run(['losetup', '-f', '--show', this.file]).trim();
  }

  make(): void {
    run(this.filesystem === 'xfs' ? ['mkfs.xfs', '-q', this.loop] : [`mkfs.${this.filesystem}`, '-q', this.loop]);
  }

  mount(): void {
    run(['mount', this.loop, this.mountPoint]);
    this.isMounted = true;
  }

  unmount(): void {
    run(['umount', this.mountPoint]);
    this.isMounted = false;
  }

  /** As after a power cut: a journal is replayed by a mount, and then the filesystem's own checker must find nothing. ext2 has no journal: its checker repairs. */
  recover(): void {
    if (this.filesystem === 'ext2') run(['e2fsck', '-fy', this.loop], [0, 1]);
    else {
      this.mount();
      this.unmount();
    }
    run(this.filesystem === 'xfs' ? ['xfs_repair', '-n', this.loop] : ['e2fsck', '-fn', this.loop]);
    this.mount();
  }

  /** All of it goes, whatever has become of the daemon behind it. Throws where something is left. */
  async tearDown(): Promise<void> {
    let left = '';
    for (let tries = 0; this.isMounted; tries++) {
      const isLate = tries >= 100;
      const { status } = spawnSync('umount', [...(isLate ? ['-l'] : []), this.mountPoint], { timeout: BOUND_MS });
      this.isMounted = status !== 0 && !isLate;
      if (isLate) left = `${this.mountPoint} stays in use`;
      if (this.isMounted) await sleep(100);
    }
    if (this.loop !== '') run(['losetup', '-d', this.loop]);
    this.loop = '';
    await this.endServer();
    if (left !== '') throw new Error(left);
  }

  private async endServer(): Promise<void> {
    const { server } = this;
    this.server = undefined;
    if (!server || server.exitCode !== null || server.signalCode !== null) return;
    const exit = once(server, 'exit');
    server.kill('SIGTERM');
    const late = setTimeout(() => server.kill('SIGKILL'), 5000);
    await exit;
    clearTimeout(late);
    spawnSync('fusermount3', ['-u', '-z', this.file]);
  }
}
