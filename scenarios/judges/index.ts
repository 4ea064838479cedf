/**
 * The real check of a recorded run: the survivor's image goes through the tool that the trace names, and every step that the
 * application had been told is durable must be there. First the same crash point is tried on a plain image without
 * replication: where the application cannot recover from what a perfect disk would have held, the run is excused.
 *
 * With protocol A a suffix may be missing on the survivor. Then its image is compared with the log to find how many leading
 * entries it holds, and that older state must be consistent and complete.
 */

import { closeSync, ftruncateSync, mkdirSync, openSync, readSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JudgeVerdict, Parameters, SurvivorImage } from '../../sim/types.js';
import { applyEntries, readDmLog } from '../../sim/workloads/dmlog.js';
import { readTraceInfo, type TraceInfo } from '../traces.js';
import { judgePostgres, judgeSqlite, ledgerSteps } from './databases.js';
import { fileSteps, judgeExtFiles, judgeXfsFiles } from './files.js';
import { leadingEntries } from './prefix.js';
import { Rejected, Unavailable, withTemporaryFolder } from './tools.js';

/** `parameters`: `trace` is the log's path, `protocol` what the run used. */
export function judgeRecorded(image: SurvivorImage, parameters: Parameters): JudgeVerdict {
  const trace = String(parameters['trace']);
  const info = readTraceInfo(trace);
  return withTemporaryFolder((folder) => {
    const path = join(folder, 'image');
    image.writeTo(path);
    let entries = image.acknowledgedEntries;
    try {
      const plain = checkPlain(trace, info, entries);
      if (plain !== undefined) return { verdict: 'excused', detail: `a perfect disk at entry ${entries} fails as well: ${plain}` };
      if (parameters['protocol'] === 'A') {
        entries = Math.min(entries, withReader(path, (read) => leadingEntries(readDmLog(trace), read)));
      }
      const problem = checkImage(info, path, folder, entries);
      if (problem === undefined) {
        return { verdict: 'passed', detail: `${info.kind}: every step up to entry ${entries} of ${info.entries} is on ${image.host}` };
      }
      return { verdict: 'failed', detail: `${info.kind} at entry ${entries} on ${image.host}: ${problem}` };
    } catch (error) {
      if (error instanceof Rejected) return { verdict: 'failed', detail: `${info.kind} on ${image.host}: ${error.message}` };
      if (!(error instanceof Unavailable)) throw error;
      const kept = join(tmpdir(), `lockstep-${info.name}-seed-${image.seed}.img`);
      image.writeTo(kept);
      return { verdict: 'unchecked', detail: `image written to ${kept}, not checked: ${error.message}` };
    }
  });
}

/** One line on what is wrong with an image, or undefined. The image may be changed: recovery writes. Throws `Unavailable`. */
export function checkImage(info: TraceInfo, path: string, folder: string, entries: number): string | undefined {
  const mountPoint = join(folder, 'mounted');
  mkdirSync(mountPoint, { recursive: true });
  try {
    switch (info.kind) {
      case 'ext2':
      case 'ext4':
        judgeExtFiles(path, mountPoint, info.kind, fileSteps(info.acks, entries));
        break;
      case 'xfs':
        judgeXfsFiles(path, mountPoint, fileSteps(info.acks, entries));
        break;
      case 'sqlite':
        judgeSqlite(path, mountPoint, ledgerSteps(info.acks, entries));
        break;
      case 'postgres':
        judgePostgres(path, folder, mountPoint, ledgerSteps(info.acks, entries));
        break;
      default:
        return info.kind satisfies never;
    }
  } catch (error) {
    if (error instanceof Rejected) return error.message;
    throw error;
  }
  return undefined;
}

const plainResults = new Map<string, string | undefined>();

/** The same check on what a disk without replication holds after the first `entries` entries. */
export function checkPlain(trace: string, info: TraceInfo, entries: number): string | undefined {
  const key = `${trace} ${entries}`;
  if (!plainResults.has(key)) {
    const problem = withTemporaryFolder((folder) => {
      const path = join(folder, 'image');
      writePlainImage(trace, info, entries, path);
      return checkImage(info, path, folder, entries);
    });
    plainResults.set(key, problem);
  }
  return plainResults.get(key);
}

/** Writes a sparse image of a disk that holds the first `entries` entries of the log. */
export function writePlainImage(trace: string, info: TraceInfo, entries: number, path: string): void {
  const file = openSync(path, 'w');
  try {
    ftruncateSync(file, info.deviceBytes);
    applyEntries(readDmLog(trace), entries, (sector, bytes) => writeSync(file, bytes, 0, bytes.length, sector * 512));
  } finally {
    closeSync(file);
  }
}

/** Reads sectors of the image while `use` runs. */
function withReader<T>(path: string, use: (read: (sector: number, bytes: Uint8Array) => void) => T): T {
  const file = openSync(path, 'r');
  try {
    return use((sector, bytes) => {
      readSync(file, bytes, 0, bytes.length, sector * 512);
    });
  } finally {
    closeSync(file);
  }
}
