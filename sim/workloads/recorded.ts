/**
 * Replays what a real application wrote (dmlog.ts). The order that the application relied on is kept and nothing more: a flush
 * is issued when every entry before it is complete, and entries after it when it is complete; between two flushes entries may be
 * in flight together, up to the queue depth, but never two that overlap. Requests above 1 MiB (discards: 128 MiB) are split.
 *
 * The application dies with its primary: after an interruption there is nothing more to do. A failed request is the end as
 * well: a filesystem would go read-only.
 */

import type { Workload, WorkloadRequest, WorkloadSpec } from '../types.js';
import { readDmLog, type LogEntry } from './dmlog.js';

const MAX_SECTORS = 2048;
/** Discards may be larger. */
const MAX_DISCARD_SECTORS = 262_144;
const SECTOR_BYTES = 512;

type Spec = Extract<WorkloadSpec, { kind: 'recorded' }>;

interface Outstanding {
  entry: LogEntry;
  /** Parts not answered yet, issued or not. */
  parts: number;
}

export function recordedWorkload(spec: Spec): Workload {
  const entries = readDmLog(spec.file).entries.slice(0, spec.entries);
  const outstanding = new Map<number, Outstanding>();
  /** The next entry, how many of its sectors were issued, and whether the flush before its data is done. */
  let next = 0;
  let issuedSectors = 0;
  let preflushed = false;
  let inFlight = 0;
  let notBeforeUs = 0;
  let ended = false;

  const overlaps = (entry: LogEntry): boolean => {
    for (const { entry: other } of outstanding.values()) {
      if (other !== entry && other.sector < entry.sector + entry.sectors && entry.sector < other.sector + other.sectors) return true;
    }
    return false;
  };
  /** A flush stands alone: everything before it is complete, nothing after it has begun. */
  const barrier = (entry: LogEntry): boolean => entry.flush && !preflushed;

  return {
    poll(nowUs) {
      while (!ended && entries[next] !== undefined && !entries[next]!.flush && entries[next]!.sectors === 0) next++; // marks
      const entry = entries[next];
      if (ended || (entry === undefined && outstanding.size === 0)) return { do: 'finished' };
      if (entry === undefined || inFlight >= spec.queueDepth) return { do: 'blocked' };
      if (nowUs < notBeforeUs) return { do: 'wait', untilUs: notBeforeUs };
      const flushRuns = outstanding.size > 0 && [...outstanding.values()].some((one) => one.entry.flush && one.entry.sectors === 0);
      if (flushRuns || (barrier(entry) && outstanding.size > 0)) return { do: 'blocked' };
      if (barrier(entry)) {
        // The flush in front of data is a request of its own; the entry stays the next one until it is answered.
        outstanding.set(entry.index, { entry: { ...entry, sectors: 0 }, parts: 1 });
        inFlight++;
        preflushed = true;
        if (entry.sectors === 0) advance();
        return { do: 'issue', request: { operation: 'flush', volume: 0, sector: 0, sectors: 0, fua: false, tag: entry.index } };
      }
      if (issuedSectors === 0) {
        if (overlaps(entry)) return { do: 'blocked' };
        outstanding.set(entry.index, { entry, parts: Math.ceil(entry.sectors / largest(entry)) });
      }
      const sectors = Math.min(largest(entry), entry.sectors - issuedSectors);
      const from = issuedSectors * SECTOR_BYTES;
      const sector = entry.sector + issuedSectors;
      const common = { operation: 'write', volume: 0, sector, sectors, fua: entry.fua, tag: entry.index } as const;
      const request: WorkloadRequest = entry.data ? { ...common, data: entry.data.subarray(from, from + sectors * SECTOR_BYTES) } : { ...common, zeros: 'discard' };
      issuedSectors += sectors;
      inFlight++;
      if (issuedSectors === entry.sectors) advance();
      return { do: 'issue', request };
    },
    completed(request, ok, nowUs) {
      inFlight--;
      const one = outstanding.get(request.tag);
      if (one === undefined) throw new Error(`entry ${request.tag} is not outstanding`);
      if (!ok) {
        ended = true;
        return;
      }
      if (--one.parts === 0) {
        outstanding.delete(request.tag);
        if (request.operation === 'flush') notBeforeUs = nowUs + spec.thinkUs;
      }
    },
    interrupted() {
      ended = true;
    },
    completedEntries() {
      let first = next;
      for (const index of outstanding.keys()) first = Math.min(first, index);
      return first;
    },
  };

  function largest(entry: LogEntry): number {
    return entry.data ? MAX_SECTORS : MAX_DISCARD_SECTORS;
  }

  function advance(): void {
    next++;
    issuedSectors = 0;
    preflushed = false;
  }
}
