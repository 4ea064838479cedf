/**
 * A write of any content on the disk: its data, or zeros by the cheapest way that gives zeros for sure. Replicas must read the
 * same after a discard, so a discard is a write of zeros whose space may be given up (sync-and-activity-log.md §5.8): only
 * whole granules are discarded, and only where the disk is known to read as zeros there (disk option discard-zeroes-if-aligned);
 * the unaligned ends, and everything on another disk, are zeroed (bug B197).
 *
 * A disk that refuses a discard is asked for zeros, and one that refuses that too is given zeros to write: only when this
 * fails has the disk failed.
 */

import { discardDisk, writeDisk, zeroDisk, type Core } from '../model/core.js';
import type { DiskOperation, OperationResult, Then } from '../model/operations.js';
import type { Volume, WriteContent } from '../model/types.js';

/** Plain writes of zeros go out in pieces of up to 1 MiB. */
const WRITE_SECTORS = 2048;

export interface RangeWrite {
  content: WriteContent;
  sector: number;
  sectors: number;
  /** Of content `data` only. */
  data: Uint8Array | undefined;
  fua: boolean;
}

/** Issues the disk operations of a write on the data area. Returns how many ends `then` follow. */
export const writeRange = (core: Core, volume: Volume, write: RangeWrite, preflush: boolean, then: Then): number => {
  const { content, sector, sectors } = write;
  if (content === 'data') {
    writeDisk(core, volume, 'data', sector, write.data!, { preflush, fua: write.fua }, then);
    return 1;
  }
  const granularity = volume.backing!.discardGranularitySectors;
  const first = Math.ceil(sector / granularity) * granularity;
  const end = Math.floor((sector + sectors) / granularity) * granularity;
  if (content !== 'discard' || granularity === 0 || !volume.config.disk.discardZeroesIfAligned || first >= end) {
    zeroDisk(core, volume, 'data', sector, sectors, content !== 'zeroes', then);
    return 1;
  }
  let operations = 1;
  if (first > sector) {
    zeroDisk(core, volume, 'data', sector, first - sector, true, then);
    operations++;
  }
  discardDisk(core, volume, 'data', first, end - first, then);
  if (end < sector + sectors) {
    zeroDisk(core, volume, 'data', end, sector + sectors - end, true, then);
    operations++;
  }
  return operations;
};

/** An operation of `writeRange` ended: what the disk refused is tried in a simpler way. Returns how many more ends follow; 0: this was it. */
export const tryOtherwise = (core: Core, volume: Volume, operation: DiskOperation, result: OperationResult): number => {
  const { backing } = volume;
  const { kind, sector, sectors, then } = operation;
  if (result.ok || result.failure === 'aborted' || !backing || backing.failed || backing.attachment !== operation.attachment) return 0;
  if (kind === 'discard') {
    zeroDisk(core, volume, 'data', sector, sectors, true, then);
    return 1;
  }
  if (kind !== 'zeroes') return 0;
  let operations = 0;
  for (let at = 0; at < sectors; at += WRITE_SECTORS) {
    writeDisk(core, volume, 'data', sector + at, new Uint8Array(Math.min(WRITE_SECTORS, sectors - at) * 512), { preflush: false, fua: false }, then);
    operations++;
  }
  return operations;
};
