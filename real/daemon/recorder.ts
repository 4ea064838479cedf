/**
 * The flight recorder: a ring of all that went in and out of the core lately, in segments that each begin with a snapshot. It keeps
 * the values themselves and encodes nothing until it is asked to, so it costs a copy of what was lent, into memory that it uses again.
 */

import { open } from 'node:fs/promises';
import { closeSync, openSync, writeSync } from 'node:fs';
import type { Input, Node, Output } from '../../src/contract/index.js';
import { encodeHeader, encodeSegment, type RecordedSegment } from '../../src/contract/recording.js';
import type { Recorder } from './driver.js';

/** A ring of so many segments: the oldest goes when one is full. */
const SEGMENTS = 4;
/**
 * A segment is worth its snapshot when making it took at most this part of the segment's time. It ends in any case when what went in and out
 * fills half of the ring, and is as large as the snapshot: what a large device costs is so never more than what is moved on it.
 */
const SNAPSHOT_SHARE = 0.01;
/** What an entry costs beside its bytes. */
const ENTRY_BYTES = 200;

/** Copies lie one behind the other in pages of this size: what brings more at once is copied by itself. */
const PAGE_BYTES = 1 << 20;

interface Segment extends RecordedSegment {
  /** Of its entries. */
  bytes: number;
  /** Where copies of lent bytes lie, the last page filled up to `filled`. */
  pages: Uint8Array[];
  filled: number;
  startedMs: number;
  snapshotMs: number;
}

export class FlightRecorder implements Recorder {
  private segments: Segment[] = [];
  private current: Segment;
  /** Pages of segments that have gone. */
  private free: Uint8Array[] = [];
  /** Recordings that are being written: what they hold is not used again. */
  private writing = 0;

  constructor(
    private readonly node: Node,
    /** How much the ring keeps. */
    private readonly ringBytes: number,
  ) {
    this.current = this.newSegment();
  }

  input(input: Input, nowUs: number): void {
    this.current.entries.push({ is: 'input', nowUs, input: this.keep(input) });
    this.current.bytes += ENTRY_BYTES;
  }

  drawn(value: bigint): void {
    this.current.entries.push({ is: 'drawn', value });
  }

  /** The end of a pass: where a new segment may begin. */
  outputs(outputs: readonly Output[]): void {
    if (outputs.length > 0) {
      this.current.entries.push({ is: 'outputs', outputs });
      for (const output of outputs) this.current.bytes += ENTRY_BYTES + bytesOf(output);
    }
    const { bytes, snapshot, startedMs, snapshotMs } = this.current;
    if (bytes < this.ringBytes / SEGMENTS) return;
    const isWorthIt = snapshotMs < SNAPSHOT_SHARE * (performance.now() - startedMs);
    if (isWorthIt || bytes >= Math.max(this.ringBytes / 2, snapshot.length)) this.current = this.newSegment();
  }

  /** Writes what the ring holds. */
  async write(path: string): Promise<{ inputs: number; bytes: number }> {
    const segments = [...this.segments];
    this.writing++;
    try {
      return await this.writeSegments(path, segments);
    } finally {
      this.writing--;
    }
  }

  private async writeSegments(path: string, segments: readonly Segment[]): Promise<{ inputs: number; bytes: number }> {
    const file = await open(path, 'w', 0o600);
    let inputs = 0;
    let bytes = 0;
    try {
      const put = async (part: Uint8Array): Promise<void> => {
        await file.write(part);
        bytes += part.length;
      };
      await put(encodeHeader({ node: this.node.name }));
      for (const segment of segments) {
        inputs += countInputs(segment);
        // One after the other: the core is served in between.
        await put(encodeSegment({ snapshot: segment.snapshot, entries: segment.entries.slice() }));
      }
    } finally {
      await file.close();
    }
    return { inputs, bytes };
  }

  /** The same at once, for a process that is about to end. */
  writeNow(path: string): void {
    const fd = openSync(path, 'w', 0o600);
    writeSync(fd, encodeHeader({ node: this.node.name }));
    for (const { snapshot, entries } of this.segments) writeSync(fd, encodeSegment({ snapshot, entries }));
    closeSync(fd);
  }

  private newSegment(): Segment {
    const startedMs = performance.now();
    const snapshot = this.node.snapshot();
    const segment: Segment = { snapshot, entries: [], bytes: 0, pages: [], filled: PAGE_BYTES, startedMs, snapshotMs: performance.now() - startedMs };
    this.segments.push(segment);
    // One that is whole is kept beside the one that has just begun.
    while (this.segments.length > SEGMENTS || (this.segments.length > 2 && this.keptBytes() > this.ringBytes)) {
      const { pages } = this.segments.shift()!;
      if (this.writing === 0) this.free.push(...pages);
    }
    return segment;
  }

  /** Bytes of an input are lent for the pass only. */
  private keep(input: Input): Input {
    switch (input.type) {
      case 'app-write':
        return { ...input, data: this.copy(input.data) };
      case 'disk-done':
        return input.data ? { ...input, data: this.copy(input.data) } : input;
      case 'stream-received':
      case 'membership-received':
        return { ...input, bytes: this.copy(input.bytes) };
      default:
        return input;
    }
  }

  private copy(bytes: Uint8Array): Uint8Array {
    const { current } = this;
    current.bytes += bytes.length;
    if (bytes.length > PAGE_BYTES) return bytes.slice();
    if (current.filled + bytes.length > PAGE_BYTES) {
      current.pages.push(this.free.pop() ?? new Uint8Array(PAGE_BYTES));
      current.filled = 0;
    }
    const at = current.filled;
    current.filled += bytes.length;
    const kept = current.pages.at(-1)!.subarray(at, current.filled);
    kept.set(bytes);
    return kept;
  }

  private keptBytes(): number {
    return this.segments.reduce((sum, { bytes, snapshot }) => sum + bytes + snapshot.length, 0);
  }
}

const countInputs = ({ entries }: RecordedSegment): number => entries.reduce((count, { is }) => (is === 'input' ? count + 1 : count), 0);

function bytesOf(output: Output): number {
  switch (output.type) {
    case 'disk-write':
      return output.data.length;
    case 'send':
      return output.pieces.reduce((sum, { length }) => sum + length, 0);
    case 'app-done':
      return output.data?.length ?? 0;
    default:
      return 0;
  }
}
