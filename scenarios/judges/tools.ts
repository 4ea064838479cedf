/**
 * Running the real tools: with a time limit each, cleaned up whatever happens. What cannot be run here (a tool is not
 * installed, no root, no loop devices) is `Unavailable`, which makes a check unchecked, never passed and never failed.
 */

import { spawnSync } from 'node:child_process';
import { accessSync, constants, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The check cannot be made on this machine; the message says what is missing. */
export class Unavailable extends Error {}

/** The image failed the check; the message is one line. */
export class Rejected extends Error {}

export interface ToolRun {
  /** Exit code; -1 when the time limit or a signal ended it. */
  status: number;
  /** stdout and stderr. */
  output: string;
}

const DEFAULT_TIMEOUT_MS = 60_000;
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;

/** Where administrators' tools are, whatever PATH says. */
function searchPath(): string[] {
  const postgres = listed('/usr/lib/postgresql').map((version) => `/usr/lib/postgresql/${version}/bin`);
  return [...(process.env['PATH'] ?? '').split(':'), '/usr/local/sbin', '/usr/sbin', '/sbin', ...postgres];
}

function listed(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}

const found = new Map<string, string | undefined>();

/** Full path of a tool. Throws `Unavailable`. */
export function toolPath(name: string): string {
  if (!found.has(name)) {
    const candidates = searchPath().map((folder) => join(folder, name));
    found.set(name, candidates.find(isExecutable));
  }
  const path = found.get(name);
  if (path === undefined) throw new Unavailable(`${name} is missing`);
  return path;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export function run(tool: string, args: readonly string[], options: { timeoutMs?: number; uid?: number; gid?: number } = {}): ToolRun {
  const { timeoutMs = DEFAULT_TIMEOUT_MS, ...identity } = options;
  const result = spawnSync(toolPath(tool), args, {
    ...identity,
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
    maxBuffer: OUTPUT_BYTES_MAX,
    encoding: 'utf8',
    cwd: '/',
    env: { PATH: searchPath().join(':'), LC_ALL: 'C' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return { status: result.status ?? -1, output: `${result.stdout}${result.stderr}${result.error ? ` ${result.error.message}` : ''}` };
}

/** The last line that says something, for one-line reports. */
export const lastLine = (output: string): string => output.trim().split('\n').at(-1)?.trim() ?? '';

/** A folder of its own for as long as `use` runs. */
export function withTemporaryFolder<T>(use: (folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'lockstep-judge-'));
  try {
    return use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Mounts an image through a loop device for as long as `use` runs. `Unavailable` without root, loop devices or the
 * filesystem in the kernel; `Rejected` when the kernel does not mount it.
 */
export function withMounted<T>(imagePath: string, mountPoint: string, filesystem: string, options: string, use: () => T): T {
  if (process.getuid?.() !== 0) throw new Unavailable('mounting an image needs root');
  const attached = run('losetup', ['--find', '--show', imagePath]);
  if (attached.status !== 0) throw new Unavailable(`no loop device can be had (${lastLine(attached.output)})`);
  const device = attached.output.trim();
  try {
    const mounted = run('mount', ['-t', filesystem, '-o', options, device, mountPoint]);
    if (mounted.status !== 0) {
      if (/unknown filesystem type|permission denied/i.test(mounted.output)) {
        throw new Unavailable(`this kernel does not mount ${filesystem} (${lastLine(mounted.output)})`);
      }
      throw new Rejected(`mount -t ${filesystem} -o ${options}: ${lastLine(mounted.output)}`);
    }
    try {
      return use();
    } finally {
      if (run('umount', [mountPoint]).status !== 0) run('umount', ['--lazy', mountPoint]);
    }
  } finally {
    run('losetup', ['--detach', device]);
  }
}
