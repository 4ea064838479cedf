/**
 * Filesystem traces: small files created, replaced, appended to, removed, each step fsynced. The image must pass its
 * filesystem's own check, and every acknowledged step must show.
 */

import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Acknowledgement } from '../traces.js';
import { Rejected, lastLine, run, withMounted } from './tools.js';

const HEAD_BYTES_MAX = 64;

/** e2fsck's exit codes: 0 clean, 1 errors corrected, 2 corrected and a reboot is wanted; above: errors left or trouble. */
const E2FSCK_CORRECTED_MAX = 1;

/**
 * ext2 and ext4: e2fsck mends what a crash leaves (ext4: replays the journal), must succeed, and must find nothing the second
 * time. ext2 has no journal, so after a crash its bitmaps are always stale; that is what e2fsck is for, also on a perfect disk.
 */
export function repairExt(imagePath: string): void {
  const repair = run('e2fsck', ['-fy', imagePath]);
  if (repair.status < 0 || repair.status > E2FSCK_CORRECTED_MAX) {
    throw new Rejected(`e2fsck -fy: exit ${repair.status}: ${lastLine(repair.output)}`);
  }
  const again = run('e2fsck', ['-fn', imagePath]);
  if (again.status !== 0) throw new Rejected(`e2fsck -fn after e2fsck -fy: exit ${again.status}: ${lastLine(again.output)}`);
}

export function judgeExtFiles(imagePath: string, mountPoint: string, filesystem: 'ext2' | 'ext4', steps: FileSteps): void {
  repairExt(imagePath);
  withMounted(imagePath, mountPoint, filesystem, 'ro', () => checkSteps(mountPoint, steps));
}

/** xfs replays its log when it is mounted; then xfs_repair must find nothing. `nouuid`: parallel runs mount twins. */
export function judgeXfsFiles(imagePath: string, mountPoint: string, steps: FileSteps): void {
  withMounted(imagePath, mountPoint, 'xfs', 'nouuid', () => checkSteps(mountPoint, steps));
  const repair = run('xfs_repair', ['-n', imagePath]);
  if (repair.status !== 0) throw new Rejected(`xfs_repair -n: exit ${repair.status}: ${lastLine(repair.output)}`);
}

export interface FileSteps {
  /** The last acknowledged step of each file; undefined as well as 'removed': it must not be there. */
  expected: Map<string, Extract<Acknowledgement, { ack: 'file' | 'removed' }>>;
  /** The file that the step after the last acknowledged one is about: it may be in any state of that step. */
  inProgress: string | undefined;
}

/** What must be there when the steps acknowledged by log entry `entries` are done. */
export function fileSteps(acks: readonly Acknowledgement[], entries: number): FileSteps {
  const expected: FileSteps['expected'] = new Map();
  for (const ack of acks) {
    if (ack.ack !== 'file' && ack.ack !== 'removed') continue;
    if (ack.entry > entries) return { expected, inProgress: ack.name };
    expected.set(ack.name, ack);
  }
  return { expected, inProgress: undefined };
}

function checkSteps(mountPoint: string, steps: FileSteps): void {
  for (const [name, step] of steps.expected) {
    if (name === steps.inProgress) continue;
    const path = join(mountPoint, name);
    const size = statSync(path, { throwIfNoEntry: false })?.size;
    if (step.ack === 'removed') {
      if (size !== undefined) throw new Rejected(`${name} is there, its removal was acknowledged at entry ${step.entry}`);
      continue;
    }
    if (size === undefined) throw new Rejected(`${name} is missing, it was acknowledged at entry ${step.entry}`);
    if (size !== step.size) throw new Rejected(`${name} has ${size} bytes, ${step.size} were acknowledged at entry ${step.entry}`);
    const head = headOf(path, step.head.length);
    if (head !== step.head) throw new Rejected(`${name} begins with '${head}', '${step.head}' was acknowledged at entry ${step.entry}`);
  }
}

function headOf(path: string, length: number): string {
  const bytes = Buffer.alloc(Math.min(length, HEAD_BYTES_MAX));
  const file = openSync(path, 'r');
  try {
    return bytes.toString('latin1', 0, readSync(file, bytes, 0, bytes.length, 0));
  } finally {
    closeSync(file);
  }
}
