/**
 * The report folder. Everything is written to a sibling of the folder and renamed at the end: a folder under its final name is complete.
 */

import { closeSync, existsSync, mkdirSync, openSync, readdirSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { UsageError } from '../../sim/types.js';
import type { FailureFile } from '../failure-file.js';
import { writeFailureFile } from '../failure-file.js';
import { makeFolder } from '../files.js';

export interface ReportFolder {
  /** Where it will be. */
  readonly path: string;
  /** Appends to runs.csv. */
  addRow(line: string): void;
  /** Returns the path relative to the folder. */
  addFailure(name: string, failure: FailureFile): string;
  /** Writes the files and gives the folder its name, in the place of an older report. */
  finish(files: Record<string, string>): void;
  /** Takes everything back. */
  discard(): void;
}

/** Throws `UsageError` when the folder cannot be written, or holds something else than a report. */
export function openReportFolder(out: string, csvHeader: string): ReportFolder {
  const path = resolve(out);
  if (existsSync(path) && !replaceable(path)) {
    throw new UsageError(`--out ${out}: exists and is no report folder; name another with --out, or remove it`);
  }
  const partial = join(dirname(path), `.${basename(path)}.partial-${process.pid}`);
  const made = makeFolder(partial, `--out ${out}`);
  const csv = openSync(join(partial, 'runs.csv'), 'w');
  writeSync(csv, csvHeader);
  return {
    path,
    addRow: (line) => void writeSync(csv, line),
    addFailure: (name, failure) => {
      mkdirSync(join(partial, 'failures'), { recursive: true });
      const file = failurePath(name);
      writeFailureFile(join(partial, file), failure);
      return file;
    },
    finish: (files) => {
      closeSync(csv);
      for (const [name, content] of Object.entries(files)) writeFileSync(join(partial, name), content);
      const old = `${partial}-old`;
      if (existsSync(path)) renameSync(path, old);
      renameSync(partial, path);
      rmSync(old, { recursive: true, force: true });
    },
    discard: () => {
      closeSync(csv);
      rmSync(partial, { recursive: true, force: true });
      made.undo();
    },
  };
}

/** Where the failure of this name is, relative to the folder. */
export function failurePath(name: string): string {
  return join('failures', `${name.replaceAll(/[^\w=.,-]/g, '_')}.json`);
}

/** An empty folder or an older report. */
function replaceable(path: string): boolean {
  let names: string[];
  try {
    names = readdirSync(path);
  } catch {
    return false;
  }
  return names.length === 0 || names.includes('summary.json');
}
