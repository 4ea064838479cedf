/**
 * The flight recorder: a ring of all that went in and out of the core lately, in segments that each begin with a snapshot. It encodes
 * nothing until it is asked to, so it costs some numbers, and a copy of what does not last (entry-log).
 */

import { open } from 'node:fs/promises';
import { closeSync, openSync, writeSync } from 'node:fs';
import type { Input, Node, Output } from '../../src/contract/index.js';
import { encodeHeader, encodeSegment } from '../../src/contract/recording.js';
import type { Arena } from '../arena.js';
import type { Recorder } from './driver.js';
import { EntryLog, LogPages } from './entry-log.js';

/** A ring of so many segments: the oldest goes when one is full. */
const SEGMENTS = 4;
/**
 * A segment is worth its snapshot when making it took at most this part of the segment's time. It ends in any case when what went in and out
 * fills half of the ring, and is as large as the snapshot: what a large device costs is so never more than what is moved on it.
 */
const SNAPSHOT_SHARE = 0.01;

interface Segment {
  snapshot: Uint8Array;
  log: EntryLog;
  startedMs: number;
  snapshotMs: number;
}

export class FlightRecorder implements Recorder {
  private segments: Segment[] = [];
  private current: Segment;
  private readonly pages: LogPages;
  /** What recordings that are being written hold is not used again. */
  private readonly writing: Segment[][] = [];

  constructor(
    private readonly node: Node,
    /** How much the ring keeps. */
    private readonly ringBytes: number,
    /** Where the bytes lie that are to be recorded, mostly. */
    arena: Arena,
  ) {
    this.pages = new LogPages(arena);
    arena.ask((held) => {
      for (const segments of [this.segments, ...this.writing]) for (const { log } of segments) log.holds(held);
    });
    this.current = this.newSegment();
  }

  input(input: Input, nowUs: number): void {
    this.current.log.input(input, nowUs);
  }

  drawn(value: bigint): void {
    this.current.log.drawn(value);
  }

  /** The end of a pass: where a new segment may begin. */
  outputs(outputs: readonly Output[]): void {
    const { log, snapshot, startedMs, snapshotMs } = this.current;
    if (outputs.length > 0) log.outputs(outputs);
    log.passEnded();
    const { bytes } = log;
    if (bytes < this.ringBytes / SEGMENTS) return;
    const isWorthIt = snapshotMs < SNAPSHOT_SHARE * (performance.now() - startedMs);
    if (isWorthIt || bytes >= Math.max(this.ringBytes / 2, snapshot.length)) this.current = this.newSegment();
  }

  /** Writes what the ring holds. */
  async write(path: string): Promise<{ inputs: number; bytes: number }> {
    const segments = [...this.segments];
    this.writing.push(segments);
    try {
      return await this.writeSegments(path, segments);
    } finally {
      this.writing.splice(this.writing.indexOf(segments), 1);
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
        inputs += segment.log.inputs;
        // One after the other: the core is served in between.
        await put(encodeSegment({ snapshot: segment.snapshot, entries: segment.log.entries() }));
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
    for (const { snapshot, log } of this.segments) writeSync(fd, encodeSegment({ snapshot, entries: log.entries() }));
    closeSync(fd);
  }

  private newSegment(): Segment {
    const startedMs = performance.now();
    const snapshot = this.node.snapshot();
    const segment: Segment = { snapshot, log: new EntryLog(this.pages), startedMs, snapshotMs: performance.now() - startedMs };
    this.segments.push(segment);
    // One that is whole is kept beside the one that has just begun.
    while (this.segments.length > SEGMENTS || (this.segments.length > 2 && this.keptBytes() > this.ringBytes)) {
      const { log } = this.segments.shift()!;
      if (this.writing.length === 0) log.giveBack();
    }
    return segment;
  }

  private keptBytes(): number {
    return this.segments.reduce((sum, { log, snapshot }) => sum + log.bytes + snapshot.length, 0);
  }
}
