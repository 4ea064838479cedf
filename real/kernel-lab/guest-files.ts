/**
 * What a guest boots from, made of Debian's packages and of the sources in `guest/`: its first file system, with DRBD's module and tools, and
 * the shim that lets User Mode Linux run on processors with wide registers. Made anew for each run, kept nowhere.
 */

import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, realpathSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The sources are read where they are written, not beside what the compiler made of this file. */
export const sourcePath = (name: string): string => fileURLToPath(new URL(`../../../real/kernel-lab/${name}`, import.meta.url));

const MODULES = ['crypto/hmac.ko', 'crypto/crc32_generic.ko', 'lib/lru_cache.ko', 'drivers/block/drbd/drbd.ko'];
const TOOLS = ['/usr/sbin/drbdmeta', '/lib/drbd/drbdsetup-84', '/usr/sbin/blkdiscard'];
const FOLDERS = ['bin', 'sbin', 'usr/sbin', 'lib/modules', 'lib/drbd', 'etc', 'proc', 'sys', 'dev', 'run', 'tmp', 'var/lib/drbd', 'var/lock'];

export interface GuestFiles {
  shim: string;
  initramfs: string;
}

function run(program: string, args: string[], input?: string, cwd?: string): Buffer {
  const { status, stdout, stderr, error } = spawnSync(program, args, { input, cwd, maxBuffer: 1 << 28 });
  if (error || status !== 0) throw new Error(`${program} ${args.join(' ')}: ${error?.message ?? stderr.toString().trim()}`);
  return stdout;
}

/** Throws what a tool says that fails. */
export function buildGuestFiles(folder: string): GuestFiles {
  const shim = join(folder, 'shim.so');
  run('gcc', ['-O2', '-Wall', '-shared', '-fPIC', '-o', shim, sourcePath('guest/shim.c')]);
  const root = join(folder, 'root');
  for (const name of FOLDERS) mkdirSync(join(root, name), { recursive: true });
  const helperFlags = ['-O2', '-Wall', '-ffreestanding', '-nostdlib', '-static', '-mno-avx', '-fno-stack-protector', '-fno-pie', '-no-pie'];
  run('gcc', [...helperFlags, '-o', join(root, 'bin/drbd-helper'), sourcePath('guest/helper.c')]);
  for (const [from, to] of [['guest/init', 'init'], ['guest/channel', 'bin/channel']] as const) {
    copyFileSync(sourcePath(from), join(root, to));
    chmodSync(join(root, to), 0o755);
  }
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
  const versions = readdirSync('/usr/lib/uml/modules');
  const modules = versions.map((version) => join('/usr/lib/uml/modules', version, 'kernel')).find((path) => existsSync(join(path, MODULES.at(-1)!)));
  if (modules === undefined) throw new Error('there is no drbd.ko below /usr/lib/uml/modules');
  for (const name of MODULES) cpSync(join(modules, name), join(root, 'lib/modules', name.split('/').at(-1)!));
  const libraries = new Set<string>();
  for (const tool of TOOLS) {
    copyFileSync(tool, join(root, tool));
    for (const [library] of run('ldd', [tool]).toString().matchAll(/\/\S+/g)) libraries.add(library);
  }
  for (const library of libraries) {
    mkdirSync(join(root, dirname(library)), { recursive: true });
    copyFileSync(realpathSync(library), join(root, library));
    chmodSync(join(root, library), 0o755);
  }
  const initramfs = join(folder, 'initramfs');
  const names = run('find', ['.'], undefined, root).toString();
  writeFileSync(initramfs, run('cpio', ['-o', '-H', 'newc', '--quiet'], names, root));
  return { shim, initramfs };
}
