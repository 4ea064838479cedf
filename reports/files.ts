/**
 * Files and folders of the command line, checked before the work begins: a sweep of an hour must not end at a folder that cannot be
 * written. Every problem is a `UsageError` with one line.
 */

import { accessSync, closeSync, constants, existsSync, mkdirSync, openSync, readFileSync, rmSync, statSync, unlinkSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { UsageError } from '../sim/types.js';

/** Throws unless `path` is a file that can be read. */
export function checkReadable(path: string, what: string): void {
  let problem: string | undefined;
  try {
    if (statSync(path).isFile()) accessSync(path, constants.R_OK);
    else problem = 'it is no file';
  } catch (error) {
    problem = systemProblem(error);
  }
  if (problem !== undefined) throw new UsageError(`${what}: cannot read '${path}': ${problem}; give the path of a readable file`);
}

/** Throws unless a file can be written at `path`. Tries it, for permissions alone do not tell; leaves nothing behind. */
export function checkWritable(path: string, option: string): void {
  const existed = existsSync(path);
  try {
    closeSync(openSync(path, 'a'));
  } catch (error) {
    throw new UsageError(`${option} ${path}: cannot be written: ${systemProblem(error)}; give a path in a folder that exists and that you may write`);
  }
  if (!existed) unlinkSync(path);
}

/**
 * Makes a folder and its parents. Returns how to take back what was made, for a command that ends before it wrote anything of worth.
 * Not `mkdirSync` with `recursive`: below /proc that one never returns.
 */
export function makeFolder(path: string, what: string): { undo(): void } {
  let outermost: string | undefined;
  const undo = (): void => {
    if (outermost !== undefined) rmSync(outermost, { recursive: true, force: true });
  };
  try {
    const missing: string[] = [];
    for (let next = resolve(path); !existsSync(next); next = dirname(next)) missing.unshift(next);
    for (const next of missing) {
      mkdirSync(next);
      outermost ??= next;
    }
    accessSync(path, constants.W_OK);
    return { undo };
  } catch (error) {
    undo();
    throw new UsageError(`${what}: the folder cannot be written: ${systemProblem(error)}; name another with --out`);
  }
}

/** The JSON value of a file that a person or an earlier command wrote. */
export function readJson(path: string, what: string): unknown {
  checkReadable(path, what);
  const text = readFileSync(path, 'utf8');
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${what}: '${path}' is no JSON (${(error as Error).message}); is it cut off, or another file?`);
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What the operating system objected to, in plain words. */
export function systemProblem(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  switch (code) {
    case 'ENOENT':
      return 'there is no such file or folder';
    case 'EACCES':
    case 'EPERM':
      return 'permission denied';
    case 'ENOTDIR':
    case 'EEXIST':
      return 'a part of the path is no folder';
    case 'EISDIR':
      return 'it is a folder';
    case 'EROFS':
      return 'the file system is read-only';
    case 'ENOSPC':
      return 'no space is left';
    default:
      return error instanceof Error ? error.message : String(error);
  }
}
