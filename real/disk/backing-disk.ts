/**
 * The disk operations of one volume, done on its devices. What stays in the page cache is done at once, in the call: that costs a
 * few microseconds, where the thread pool costs thirty. What can wait for a disk goes to the thread pool: flushes, durable writes,
 * reads of what is not cached, data that goes past the page cache, and for a while everything, once a call was seen to block.
 *
 * Errors are facts for the core and nothing is tried again: after a failed flush the page cache says nothing about the disk.
 */

import { read, readSync, write, writeSync } from 'node:fs';
import type { DiskArea, Output } from '../../src/contract/index.js';
import type { Arena } from '../arena.js';
import { reasonOf } from '../reasons.js';
import type { Device } from './devices.js';
import { alignedBytes, discardRange, readCached, stretchAt, zeroRange } from '../system.js';

export type DiskOperation = Extract<Output, { type: 'disk-read' | 'disk-write' | 'disk-write-zeroes' | 'disk-discard' | 'disk-flush' }>;

/**
 * Called exactly once for each operation, in the call of `submit` or later. `data`: what a read brought, lent for the pass; undefined where
 * it is zeros. An error says in one line what could not be done where.
 */
export type OperationEnded = (op: number, data: Uint8Array | undefined, error: Error | undefined) => void;

/** A call that took longer than this has waited for a disk, not for a processor that somebody else had. */
const BLOCKED_MS = 20;
/** How long nothing is done synchronously after that. */
const DISTRUST_MS = 5000;
/** Reads of one volume in the thread pool. */
const READS_MAX = 8;

/** Counters in sectors, for `status` and metrics. */
export interface DiskStatistics {
  readSectors: number;
  writtenSectors: number;
  metaWrites: number;
}

export class BackingDisk {
  readonly statistics: DiskStatistics = { readSectors: 0, writtenSectors: 0, metaWrites: 0 };
  /** Operations handed to the thread pool and not ended. */
  private running = 0;
  /** Reads for the thread pool that wait for their turn, and those that have it. */
  private readonly waitingReads: (() => void)[] = [];
  private readsRunning = 0;
  private whenQuiet: (() => void) | undefined = undefined;
  private distrustUntil = 0;

  constructor(
    readonly data: Device,
    readonly meta: Device,
    /** Where reads go that are done at once. */
    private readonly arena: Arena,
    private readonly told: OperationEnded,
  ) {}

  submit(operation: DiskOperation): void {
    const device = this.deviceOf(operation.area);
    if (operation.type !== 'disk-flush' && endOf(operation) > device.sectors) return this.ended(operation, undefined, new Error(`the device has only ${device.sectors} sectors`));
    switch (operation.type) {
      case 'disk-read':
        if (operation.area === 'data') this.statistics.readSectors += operation.sectors;
        return this.read(operation, device);
      case 'disk-write':
        if (operation.area === 'data') this.statistics.writtenSectors += operation.data.length / 512;
        else this.statistics.metaWrites++;
        return this.write(operation, device);
      case 'disk-flush':
        this.running++;
        return device.flusher.request((error) => this.over(operation, undefined, error));
      case 'disk-write-zeroes':
      case 'disk-discard':
        this.running++;
        return this.zero(operation, device, (error) => this.over(operation, undefined, error));
      default:
        operation satisfies never;
    }
  }

  /** What is stored of a range of the data: pieces from its beginning on, at most so many. All of a block device counts as stored. */
  stored(offset: number, bytes: number, piecesMax: number): { bytes: number; isHole: boolean }[] {
    const pieces: { bytes: number; isHole: boolean }[] = [];
    for (let at = offset; at < offset + bytes && pieces.length < piecesMax; ) {
      // What was cut away is no hole: it reads as an error.
      const sizeBytes = this.data.sectors * 512;
      const stretch = this.data.isBlockDevice || at >= sizeBytes ? undefined : stretchAt(this.data.fd, at);
      const end = Math.min(offset + bytes, stretch ? Math.min(stretch.endBytes, sizeBytes) : Infinity);
      pieces.push({ bytes: end - at, isHole: stretch?.isHole ?? false });
      at = end;
    }
    return pieces;
  }

  /** A file whose filesystem knows zeros; what a block device does with them nobody tells. */
  get zeroesFast(): boolean {
    return !this.data.isBlockDevice && (this.data.canPunch || this.data.canZero);
  }

  /** Calls back when no operation is running any more, at once if none is. */
  close(closed: () => void): void {
    if (this.running === 0) closed();
    else this.whenQuiet = closed;
  }

  private deviceOf(area: DiskArea): Device {
    return area === 'data' ? this.data : this.meta;
  }

  private ended(operation: DiskOperation, data: Uint8Array | undefined, error: Error | undefined): void {
    this.told(operation.op, data, error && new Error(`${this.deviceOf(operation.area).path}: ${nameOf(operation)} failed: ${reasonOf(error)}`));
  }

  private over(operation: DiskOperation, data: Uint8Array | undefined, error: Error | undefined): void {
    this.running--;
    if (operation.type === 'disk-write') this.arena.unpin([operation.data]);
    this.ended(operation, unlessZero(data), error);
    if (this.running > 0 || !this.whenQuiet) return;
    const closed = this.whenQuiet;
    this.whenQuiet = undefined;
    closed();
  }

  private mayBeSynchronous(): boolean {
    return performance.now() >= this.distrustUntil;
  }

  /** Runs a call that should not wait, and watches whether it did. */
  private watched<T>(call: () => T): T {
    const started = performance.now();
    try {
      return call();
    } finally {
      const ended = performance.now();
      if (ended - started > BLOCKED_MS) this.distrustUntil = ended + DISTRUST_MS;
    }
  }

  // ---- Reads -----------------------------------------------------------------------------------------------------------

  private read(operation: Extract<DiskOperation, { type: 'disk-read' }>, device: Device): void {
    const [offset, bytes] = [operation.sector * 512, operation.sectors * 512];
    const direct = operation.area === 'data' ? device.direct : undefined;
    const place = !direct && this.mayBeSynchronous() ? this.arena.take(bytes) : undefined;
    if (place) {
      const data = place.bytes;
      try {
        // Files in memory never wait, and their filesystem may not know the flag that asks for it.
        const read = this.watched(() => (device.isMemory ? readSync(device.fd, data, 0, bytes, offset) : readCached(device.fd, place.address, bytes, offset)));
        const found = read === bytes ? unlessZero(data) : undefined;
        if (!found) this.arena.giveBack(place);
        if (read === bytes) return this.ended(operation, found, undefined);
      } catch (error) {
        this.arena.giveBack(place);
        return this.ended(operation, undefined, error as Error);
      }
    }
    this.running++;
    this.waitingReads.push(() => {
      const data = direct ? alignedBytes(bytes) : new Uint8Array(bytes);
      readFully(direct?.fd ?? device.fd, data, 0, offset, (error) => {
        this.readsRunning--;
        this.startReads();
        this.over(operation, error ? undefined : data, error);
      });
    });
    this.startReads();
  }

  /** Memory is taken when a thread can fill it: an attach asks for a whole bitmap at once. */
  private startReads(): void {
    while (this.readsRunning < READS_MAX && this.waitingReads.length > 0) {
      this.readsRunning++;
      this.waitingReads.shift()!();
    }
  }

  // ---- Zeros -----------------------------------------------------------------------------------------------------------

  /** A discarded range of a file reads as zeros; what a block device makes of it is its affair. */
  private zero(operation: Extract<DiskOperation, { type: 'disk-write-zeroes' | 'disk-discard' }>, device: Device, ended: (error: Error | undefined) => void): void {
    const [offset, bytes] = [operation.sector * 512, operation.sectors * 512];
    const isDiscard = operation.type === 'disk-discard';
    if (isDiscard && device.isBlockDevice) return discardRange(device.fd, offset, bytes, ended);
    if (device.canPunch && (isDiscard || operation.mayUnmap)) return zeroRange(device.fd, 'hole', offset, bytes, ended);
    if (device.canZero) return zeroRange(device.fd, 'zeroes', offset, bytes, ended);
    return writeZeros(device.fd, offset, bytes, ended);
  }

  // ---- Writes ----------------------------------------------------------------------------------------------------------

  private write(operation: Extract<Output, { type: 'disk-write' }>, device: Device): void {
    const { data, preflush, fua } = operation;
    const offset = operation.sector * 512;
    const direct = operation.area === 'data' ? device.direct : undefined;
    if (!direct && !preflush && !fua && this.mayBeSynchronous()) {
      try {
        this.watched(() => writeFullySync(device.fd, data, offset));
      } catch (error) {
        return this.ended(operation, undefined, error as Error);
      }
      return this.ended(operation, undefined, undefined);
    }
    this.running++;
    this.arena.pin([data]);
    const { fd, durableFd } = direct ?? device;
    let bytes = data;
    if (direct) {
      bytes = alignedBytes(data.length);
      bytes.set(data);
    }
    const writeNow = (): void => writeFully(fua ? durableFd : fd, bytes, 0, offset, (error) => this.over(operation, undefined, error));
    if (!preflush) return writeNow();
    device.flusher.request((error) => {
      if (error) this.over(operation, undefined, error);
      else writeNow();
    });
  }
}

const sectorsOf = (operation: Exclude<DiskOperation, { type: 'disk-flush' }>): number => (operation.type === 'disk-write' ? operation.data.length / 512 : operation.sectors);
const endOf = (operation: Exclude<DiskOperation, { type: 'disk-flush' }>): number => operation.sector + sectorsOf(operation);

const names: Record<DiskOperation['type'], string> = {
  'disk-read': 'read', 'disk-write': 'write', 'disk-write-zeroes': 'write of zeroes', 'disk-discard': 'discard', 'disk-flush': 'flush',
};
const nameOf = (operation: DiskOperation): string =>
  operation.type === 'disk-flush' ? names[operation.type] : `${names[operation.type]} of ${sectorsOf(operation)} sectors at sector ${operation.sector}`;

/** Written where a range cannot be zeroed in another way. */
const zeros = new Uint8Array(1 << 20);

/** What a read brought, or undefined where all of it is zeros: nobody has to copy or keep those. */
function unlessZero(data: Uint8Array | undefined): Uint8Array | undefined {
  // Mostly seen at once; a call that compares costs more than a look.
  if (!data || data[0] !== 0 || data[1] !== 0 || data[2] !== 0 || data[3] !== 0 || data[8] !== 0) return data;
  for (let at = 0; at < data.length; at += zeros.length) {
    const part = data.subarray(at, at + zeros.length);
    if (Buffer.compare(part, zeros.subarray(0, part.length)) !== 0) return data;
  }
  return undefined;
}

function writeZeros(fd: number, offset: number, left: number, ended: (error: Error | undefined) => void): void {
  if (left === 0) return ended(undefined);
  const part = Math.min(left, zeros.length);
  writeFully(fd, zeros.subarray(0, part), 0, offset, (error) => {
    if (error) ended(error);
    else writeZeros(fd, offset + part, left - part, ended);
  });
}

function writeFullySync(fd: number, data: Uint8Array, offset: number): void {
  for (let done = 0; done < data.length; ) done += writeSync(fd, data, done, data.length - done, offset + done);
}

function writeFully(fd: number, data: Uint8Array, done: number, offset: number, ended: (error: Error | undefined) => void): void {
  write(fd, data, done, data.length - done, offset + done, (error, written) => {
    if (error) ended(error);
    else if (done + written === data.length) ended(undefined);
    else writeFully(fd, data, done + written, offset, ended);
  });
}

function readFully(fd: number, data: Uint8Array, done: number, offset: number, ended: (error: Error | undefined) => void): void {
  read(fd, data, done, data.length - done, offset + done, (error, bytes) => {
    if (error) ended(error);
    else if (bytes === 0) ended(new Error(`unexpected end at byte ${offset + done}`));
    else if (done + bytes === data.length) ended(undefined);
    else readFully(fd, data, done + bytes, offset, ended);
  });
}
