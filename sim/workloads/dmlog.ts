/**
 * Logs in the format of dm-log-writes: what a real filesystem or database wrote to its device, in the order in which the
 * writes completed (shared/traces/README.md). A header sector (magic, version, entries, sector size), then for each entry a
 * sector with position, length, flags and inline length, followed by the data. The length is in sectors of data that follow,
 * except after a discard; the inline length is only used by marks.
 *
 * A log is input from outside: whatever is wrong with it is a `UsageError` that says what, where, and how to mend it.
 */

import { readFileSync, statSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { UsageError } from '../types.js';

export interface LogEntry {
  /** Place in the log, from 0: an acknowledgement at `entry` n was given when entries 0 .. n-1 existed. */
  index: number;
  sector: number;
  sectors: number;
  flush: boolean;
  fua: boolean;
  discard: boolean;
  /** The bytes written; undefined for a discard, a flush, a mark. Belongs to the log: not to be changed. */
  data: Uint8Array | undefined;
}

export interface DmLog {
  path: string;
  entries: LogEntry[];
}

const MAGIC = 0x6a736677736872n;
const SECTOR_BYTES = 512;
const Flag = { Flush: 1, Fua: 2, Discard: 4, Mark: 8 } as const;

let cached: { key: string; log: DmLog } | undefined;

/** Reads and checks the whole log. The last one is kept: a sweep reads the same file for each of its runs. */
export function readDmLog(path: string): DmLog {
  let key: string;
  let packed: Uint8Array;
  try {
    const { mtimeMs, size } = statSync(path);
    key = `${path} ${mtimeMs} ${size}`;
    if (cached?.key === key) return cached.log;
    packed = readFileSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UsageError(`the trace ${path} cannot be read (${code}); give a readable file with --set trace=FILE`);
  }
  let bytes = packed;
  if (packed[0] === 0x1f && packed[1] === 0x8b) {
    try {
      bytes = gunzipSync(packed);
    } catch (error) {
      const { message } = error as Error;
      throw new UsageError(`the trace ${path} is damaged: its gzip does not unpack (${message}); copy it again from where it came from`);
    }
  }
  const log = { path, entries: parseDmLog(bytes, path) };
  cached = { key, log };
  return log;
}

/** The entries of an unpacked log; `name` is for messages. */
export function parseDmLog(bytes: Uint8Array, name: string): LogEntry[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const bad = (what: string, mend: string): UsageError => new UsageError(`the trace ${name} ${what}; ${mend}`);
  if (bytes.length < SECTOR_BYTES || view.getBigUint64(0, true) !== MAGIC) {
    throw bad('is not a dm-log-writes log (its first sector has no such magic)', 'give a .dmlog or .dmlog.gz file');
  }
  if (view.getBigUint64(8, true) !== 1n) throw bad(`has version ${view.getBigUint64(8, true)}`, 'only version 1 is known');
  const sectorBytes = view.getUint32(24, true);
  if (sectorBytes !== SECTOR_BYTES) throw bad(`has sectors of ${sectorBytes} bytes`, 'record it on a device with 512-byte sectors');
  const count = Number(view.getBigUint64(16, true));
  const entries: LogEntry[] = [];
  let at = SECTOR_BYTES;
  for (let index = 0; index < count; index++) {
    const where = `entry ${index} of ${count}, byte ${at}`;
    const truncated = (): UsageError => bad(`is truncated at ${where}`, 'copy it again, or record it again to its end');
    if (at + SECTOR_BYTES > bytes.length) throw truncated();
    const sector = Number(view.getBigUint64(at, true));
    const sectors = Number(view.getBigUint64(at + 8, true));
    const flags = Number(view.getBigUint64(at + 16, true));
    const inlineBytes = Number(view.getBigUint64(at + 24, true));
    at += SECTOR_BYTES;
    if (!Number.isSafeInteger(sector + sectors)) {
      throw bad(`makes no sense at ${where}: sector ${sector}, ${sectors} sectors`, 'it is damaged: copy it again');
    }
    const discard = (flags & Flag.Discard) !== 0;
    const dataBytes = discard ? 0 : sectors * SECTOR_BYTES;
    const skipped = Math.ceil(inlineBytes / SECTOR_BYTES) * SECTOR_BYTES;
    if (at + dataBytes + skipped > bytes.length) throw truncated();
    const mark = (flags & Flag.Mark) !== 0;
    entries.push({
      index,
      sector,
      sectors: mark ? 0 : sectors,
      flush: (flags & Flag.Flush) !== 0,
      fua: (flags & Flag.Fua) !== 0,
      discard,
      data: dataBytes > 0 && !mark ? bytes.subarray(at, at + dataBytes) : undefined,
    });
    at += dataBytes + skipped;
  }
  return entries;
}

/** Hands the first `count` entries' changes to `write`, in order, as a plain disk would see them. A discard writes zeros. */
export function applyEntries(log: DmLog, count: number, write: (sector: number, bytes: Uint8Array) => void): void {
  for (const entry of log.entries.slice(0, count)) {
    if (entry.sectors > 0) write(entry.sector, entry.data ?? new Uint8Array(entry.sectors * SECTOR_BYTES));
  }
}
