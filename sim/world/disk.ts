/**
 * A disk as a core meets it: operations that take their time and end in any order, errors, hangs. What becomes of the bytes
 * is device.ts's.
 */

import type { DiskArea, Input } from '../../src/contract/index.js';
import type { DiscardSpec, DiskSpec, DiskVerb, RandomStream } from '../types.js';
import { diskStep } from './coverage.js';
import type { Device, WriteInFlight } from './device.js';
import type { Host } from './host.js';

export interface DiskOperation {
  kind: 'disk-operation';
  disk: Disk;
  op: number;
  verb: DiskVerb;
  area: DiskArea;
  sector: number;
  sectors: number;
  data: Uint8Array | undefined;
  preflush: boolean;
  fua: boolean;
  /** What a flush, or a flush before a write, covers. */
  flushMark: number;
  /** How it will end. */
  outcome: 'done' | 'failed' | 'unknown';
  /** The process that wanted it is gone. */
  orphaned: boolean;
}

/** I/O errors that are still to come. */
export interface DiskErrors {
  area: DiskArea;
  verb: DiskVerb;
  firstSector: number;
  sectors: number;
  times: number;
}

export class Disk {
  private busyUntilUs = 0;
  readonly outstanding: DiskOperation[] = [];
  readonly errors: DiskErrors[] = [];
  /** Sectors that cannot be read until they are written. */
  readonly badSectors = new Set<number>();
  readonly slowFactors: number[] = [];
  private hangs = 0;
  private readonly hung: DiskOperation[] = [];
  /** For `sometimes`: when the last metadata write ended. */
  metaWriteEndedUs = -Infinity;

  constructor(
    private readonly host: Host,
    readonly device: Device,
    private readonly spec: DiskSpec,
    private readonly random: RandomStream,
    readonly discards?: DiscardSpec,
  ) {}

  submit(op: number, verb: DiskVerb, area: DiskArea, sector: number, sectors: number, data: Uint8Array | undefined, preflush: boolean, fua: boolean): void {
    if (verb !== 'flush' && !(sector >= 0 && sectors > 0 && sector + sectors <= this.device.sectors)) {
      throw new Error(`${verb} of ${sectors} sectors at ${sector}, the device has ${this.device.sectors}`);
    }
    if (changes(verb)) this.assertNoOverlap(sector, sectors, area);
    if (verb === 'discard') this.assertDiscards(sector, sectors);
    const operation: DiskOperation = {
      kind: 'disk-operation', disk: this, op, verb, area, sector, sectors, data, preflush, fua,
      flushMark: verb === 'flush' || preflush ? this.device.flushMark : 0,
      outcome: this.errors.length > 0 ? this.fate(verb, area, sector, sectors) : 'done',
      orphaned: false,
    };
    if (verb === 'read' && this.badSectors.size > 0 && this.isBad(sector, sectors)) operation.outcome = 'failed';
    this.outstanding.push(operation);
    this.host.world.schedule(this.endUs(operation), operation);
    this.host.diskOperation(area, verb, 'issued');
  }

  /** The clock says that an operation ends now. */
  end(operation: DiskOperation): void {
    if (operation.orphaned) return;
    if (this.hangs > 0) {
      this.hung.push(operation);
      return;
    }
    const at = this.outstanding.indexOf(operation);
    this.outstanding[at] = this.outstanding[this.outstanding.length - 1]!;
    this.outstanding.pop();
    const { verb, area, outcome } = operation;
    this.host.world.changes++;
    this.host.lastDiskStep = diskStep(operation);
    const input = this.carryOut(operation);
    this.host.give(input, input.type === 'disk-done' ? input.data : undefined);
    if (outcome === 'done') this.host.diskOperation(area, verb, 'done');
  }

  /** Nothing ends until `resume`. */
  hang(): void {
    this.hangs++;
  }

  resume(): void {
    if (--this.hangs > 0) return;
    for (const operation of this.hung.splice(0)) {
      if (!operation.orphaned) this.host.world.schedule(this.host.world.nowUs + 1 + this.random.integer(0, this.spec.jitterUs), operation);
    }
  }

  /** The process is gone: its operations end without it, or did not begin. What is in the cache stays. */
  abandon(): void {
    for (const write of this.takeInFlight()) {
      const mode = this.random.pick(['nothing', 'everything', 'some'] as const);
      if (mode !== 'nothing') this.device.writeSome(write, () => mode === 'everything' || this.random.chance(1, 2));
    }
  }

  /** Power is lost. True when that tore a write. */
  losePower(tear: RandomStream): boolean {
    return this.device.losePower(this.takeInFlight(), tear);
  }

  private takeInFlight(): WriteInFlight[] {
    const writes: WriteInFlight[] = [];
    for (const operation of this.outstanding) {
      operation.orphaned = true;
      if (changes(operation.verb) && operation.outcome !== 'failed') writes.push(operation);
    }
    this.outstanding.length = 0;
    this.hung.length = 0;
    return writes;
  }

  private carryOut(operation: DiskOperation): Input {
    const { verb, op, sector, outcome, data } = operation;
    const { device } = this;
    if (outcome !== 'done') {
      if (outcome === 'unknown') device.writeSome(operation, () => this.random.chance(1, 2));
      return { type: 'disk-failed', op, failure: outcome };
    }
    switch (verb) {
      case 'read': {
        if (device.isZero(sector, operation.sectors)) return { type: 'disk-done', op };
        const bytes = this.host.world.buffers.lend(operation.sectors * 512);
        device.read(sector, bytes);
        return { type: 'disk-done', op, data: bytes };
      }
      case 'write':
        if (operation.preflush) device.flush(operation.flushMark);
        device.write(sector, data!, operation.fua);
        this.mend(sector, operation.sectors);
        if (operation.area === 'meta') this.metaWriteEndedUs = this.host.world.nowUs;
        return { type: 'disk-done', op };
      case 'zeroes':
        device.zero(sector, operation.sectors);
        this.mend(sector, operation.sectors);
        return { type: 'disk-done', op };
      case 'discard':
        // Nobody may rely on what is there now: some of it may be left.
        if (this.discards!.zeroes) device.zero(sector, operation.sectors);
        else device.writeSome(operation, () => this.random.chance(1, 2));
        return { type: 'disk-done', op };
      case 'flush':
        device.flush(operation.flushMark);
        return { type: 'disk-done', op };
      default:
        return verb satisfies never;
    }
  }

  private endUs(operation: DiskOperation): number {
    const { spec } = this;
    const { nowUs } = this.host.world;
    let takesUs = 0;
    switch (operation.verb) {
      case 'read':
        takesUs = spec.readUs;
        break;
      case 'write':
        takesUs = spec.writeUs + (operation.preflush ? spec.flushUs : 0) + (operation.fua ? spec.flushUs : 0);
        break;
      case 'flush':
        takesUs = spec.flushUs;
        break;
      case 'zeroes':
      case 'discard':
        takesUs = spec.writeUs;
        break;
      default:
        operation.verb satisfies never;
    }
    takesUs += this.random.integer(0, spec.jitterUs);
    const bytes = operation.verb === 'zeroes' || operation.verb === 'discard' ? 0 : operation.sectors * 512;
    let transferUs = Math.ceil((bytes * 1000000) / spec.bytesPerSecond);
    for (const factor of this.slowFactors) {
      takesUs = Math.ceil(takesUs * factor);
      transferUs = Math.ceil(transferUs * factor);
    }
    this.busyUntilUs = Math.max(nowUs, this.busyUntilUs) + transferUs;
    return this.busyUntilUs + takesUs;
  }

  private fate(verb: DiskVerb, area: DiskArea, sector: number, sectors: number): DiskOperation['outcome'] {
    for (const error of this.errors) {
      if (error.verb !== verb || error.area !== area || error.times === 0) continue;
      if (verb !== 'flush' && (sector >= error.firstSector + error.sectors || sector + sectors <= error.firstSector)) continue;
      error.times--;
      return changes(verb) && this.random.chance(1, 2) ? 'unknown' : 'failed';
    }
    return 'done';
  }

  /** A device may ignore what is not a whole granule, so nobody may ask for it. */
  private assertDiscards(sector: number, sectors: number): void {
    const granularity = this.discards?.granularitySectors ?? 0;
    if (granularity > 0 && sector % granularity === 0 && sectors % granularity === 0) return;
    throw new Error(`a discard of ${sectors} sectors at ${sector} on a device with granules of ${granularity}`);
  }

  /** Bad sectors are good again when something was written there. */
  private mend(sector: number, sectors: number): void {
    if (this.badSectors.size > 0) for (let n = 0; n < sectors; n++) this.badSectors.delete(sector + n);
  }

  private isBad(sector: number, sectors: number): boolean {
    for (let n = 0; n < sectors; n++) if (this.badSectors.has(sector + n)) return true;
    return false;
  }

  /** design, "Order": what must not overlap, the core keeps apart. */
  private assertNoOverlap(sector: number, sectors: number, area: DiskArea): void {
    for (const other of this.outstanding) {
      if (changes(other.verb) && other.sector < sector + sectors && sector < other.sector + other.sectors) {
        throw new Error(
          `two overlapping writes outstanding on one disk of ${this.host.name}: ${other.area} ${other.sector}+${other.sectors} and ${area} ${sector}+${sectors}`,
        );
      }
    }
  }
}

const changes = (verb: DiskVerb): boolean => verb !== 'read' && verb !== 'flush';
