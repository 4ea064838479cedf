/** Cases in which disks change hands, and in which two tools read one disk. */

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { KernelPeer } from './kernel-peer.js';
import { OurPeer } from './our-peer.js';
import type { Stage } from './steps.js';

const lockmetaPath = fileURLToPath(new URL('../lockmeta.js', import.meta.url));

function peersOf({ one, other }: Stage): { kernel: KernelPeer; ours: OurPeer } {
  const kernel = [one, other].find((peer) => peer instanceof KernelPeer)!;
  const ours = [one, other].find((peer) => peer instanceof OurPeer)!;
  return { kernel, ours };
}

/** The same file with other contents: a guest has it open. */
function copy(from: string, to: string): void {
  const { status, stderr } = spawnSync('cp', ['--sparse=always', from, to], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`cp: ${stderr.trim()}`);
}

export function swapDisks(stage: Stage): void {
  const { kernel, ours } = peersOf(stage);
  for (const [at, path] of kernel.images.entries()) {
    const between = `${ours.images[at]!}.swapped`;
    copy(path, between);
    copy(ours.images[at]!, path);
    copy(between, ours.images[at]!);
  }
}

/** Everything but when and by whom it was dumped, and the flags, which drbdmeta 9.22 prints as 0. */
const fields = (dump: string): string =>
  dump
    .split('\n')
    .filter((line) => !/^# \d{4}-|^# .*> |^ {4}flags /.test(line) && line.trim() !== '')
    .join('\n');

/** The kernel's disk, which is not in use, read by both tools; then each applies the log, on a copy of its own. */
export async function compareMetadata(stage: Stage): Promise<void> {
  const { kernel, ours } = peersOf(stage);
  for (const [at, path] of kernel.images.entries()) copy(path, ours.images[at]!);
  const lockmeta = (command: string): string => {
    const [disk, meta] = ours.images as [string, string | undefined];
    const words = kernel.metaWords.replace('/dev/ubda', disk).replace('/dev/ubdb', meta ?? '').split(' ');
    const { stdout, stderr } = spawnSync(process.execPath, [lockmetaPath, '--force', ...words, command], { encoding: 'utf8', input: '' });
    return `${stderr}${stdout}`;
  };
  const drbdmeta = async (command: string): Promise<string> => (await kernel.guest.run(`drbdmeta --force ${kernel.metaWords} ${command}`)).out;
  const agree = async (command: string): Promise<void> => {
    const [theirs, own] = [fields(await drbdmeta(command)), fields(lockmeta(command))];
    if (theirs !== own) throw new Error(`${command} differs: drbdmeta says\n${theirs}\nand lockmeta\n${own}`);
  };
  await agree('get-gi');
  await agree('dump-md');
  if (!(await drbdmeta('dump-md')).includes('unclean')) throw new Error('the log is not dirty: nothing is shown');
  await agree('apply-al');
  await agree('dump-md');
  await kernel.guest.must('sync');
  for (const [at, path] of kernel.images.entries()) if (!readFileSync(path).equals(readFileSync(ours.images[at]!))) throw new Error(`apply-al of drbdmeta and of lockmeta leave other bytes in ${at === 0 ? 'the disk' : 'the metadata'}`);
}
