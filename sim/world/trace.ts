/**
 * The trace of a run: a hash chain over every input and output, all fields and all bytes. Two runs with equal hashes did the
 * same. On request each is also written to a file, a line of JSON each.
 */

import { closeSync, openSync, writeSync } from 'node:fs';
import type { Input, Output } from '../../src/contract/index.js';
import { finish, hashBytes, hashString, mix } from './hash.js';

/** Bytes up to this length are written out in a trace file, longer ones as length and hash. */
const SHOWN_BYTES = 64;

export class TraceHash {
  private high = 0x6a09e667;
  private low = 0x3c6ef372;

  /** Payload that goes to the disk and to the peer is hashed once: it is one array. */
  private lastBytes: Uint8Array | undefined = undefined;
  private lastHash = 0;

  /** 16 hexadecimal digits. */
  digest(): string {
    const hex = (word: number): string => (finish(word) >>> 0).toString(16).padStart(8, '0');
    return hex(this.high) + hex(this.low);
  }

  input(nowUs: number, host: number, input: Input): void {
    // The core will run: its arrays may hold other bytes.
    this.lastBytes = undefined;
    let hash = mix(host, nowUs % 4294967296 | 0);
    hash = mix(hash, nowUs / 4294967296);
    switch (input.type) {
      case 'disk-done':
        // What was read had been written: outputs cover it.
        hash = mix(mix(hash, 1), input.op);
        break;
      case 'stream-received':
        hash = mix(mix(mix(hash, 2), input.stream), input.bytes.length);
        break;
      case 'stream-sent':
        hash = mixNumber(mix(mix(hash, 3), input.stream), input.bytesTotal);
        break;
      case 'pass-ended':
        hash = mix(hash, 4);
        break;
      case 'app-write':
        // What is written goes to the disk: outputs cover it.
        hash = mix(mixNumber(mix(mix(hash, 6), input.id), input.sector), (input.data.length << 1) | (input.fua ? 1 : 0));
        hash = mix(hash, input.volume);
        break;
      case 'woken':
        hash = mix(hash, 5);
        break;
      default:
        hash = mix(hash, hashValue(input));
    }
    this.add(hash);
  }

  output(host: number, output: Output): void {
    let hash = host;
    switch (output.type) {
      case 'send':
        hash = mix(mix(mix(hash, 10), output.stream), output.pieces.length);
        for (const piece of output.pieces) hash = mix(hash, this.bytes(piece));
        break;
      case 'disk-write':
        hash = mix(mix(mix(hash, 11), output.op), hashString(output.resource));
        hash = mix(hash, (output.volume << 3) | (output.area === 'meta' ? 4 : 0) | (output.preflush ? 2 : 0) | (output.fua ? 1 : 0));
        hash = mix(mixNumber(hash, output.sector), this.bytes(output.data));
        break;
      case 'disk-read':
        hash = mix(mix(mix(hash, 12), output.op), hashString(output.resource));
        hash = mix(hash, (output.volume << 3) | (output.area === 'meta' ? 4 : 0));
        hash = mix(mixNumber(hash, output.sector), output.sectors);
        break;
      case 'disk-flush':
        hash = mix(mix(mix(hash, 14), output.op), hashString(output.resource));
        hash = mix(hash, (output.volume << 3) | (output.area === 'meta' ? 4 : 0));
        break;
      case 'app-done':
        hash = mix(mix(mix(mix(hash, 13), output.id), hashString(output.resource)), output.volume);
        if (output.data) hash = mix(hash, hashBytes(output.data, 0));
        break;
      default:
        hash = mix(hash, hashValue(output));
    }
    this.add(hash);
  }

  /** The core has not run since the last input: the same array has the same hash. */
  private bytes(bytes: Uint8Array): number {
    if (bytes.length < 512) return hashBytes(bytes, 0);
    if (bytes !== this.lastBytes) {
      this.lastBytes = bytes;
      this.lastHash = hashBytes(bytes, 0);
    }
    return this.lastHash;
  }

  private add(hash: number): void {
    this.high = mix(this.high, hash);
    this.low = (Math.imul(this.low ^ hash, 0x2c1b3c6d) + this.high) | 0;
  }
}

const mixNumber = (hash: number, value: number): number => mix(mix(hash, value % 4294967296 | 0), Math.floor(value / 4294967296));

/** Any plain value; fields in the order in which they were made. */
function hashValue(value: unknown): number {
  switch (typeof value) {
    case 'string':
      return hashString(value);
    case 'number':
      return mixNumber(20, value);
    case 'boolean':
      return value ? 21 : 22;
    case 'bigint':
      return mix(23, hashString(value.toString(16)));
    case 'undefined':
      return 24;
    case 'object': {
      if (value === null) return 25;
      if (value instanceof Uint8Array) return hashBytes(value, 26);
      let hash = 27;
      if (Array.isArray(value)) {
        for (const item of value) hash = mix(hash, hashValue(item));
        return mix(hash, value.length);
      }
      for (const [key, field] of Object.entries(value)) hash = mix(mix(hash, hashString(key)), hashValue(field));
      return hash;
    }
    default:
      throw new Error(`a ${typeof value} in a trace`);
  }
}

/** Writes inputs and outputs to a file as they come. */
export class TraceFile {
  private readonly file: number;
  private lines: string[] = [];

  constructor(path: string) {
    this.file = openSync(path, 'w');
  }

  write(nowUs: number, host: string, direction: 'input' | 'output', value: Input | Output): void {
    this.lines.push(JSON.stringify({ atUs: nowUs, host, direction, ...value }, plain));
    if (this.lines.length >= 1000) this.writeLines();
  }

  close(): void {
    this.writeLines();
    closeSync(this.file);
  }

  private writeLines(): void {
    if (this.lines.length > 0) writeSync(this.file, `${this.lines.join('\n')}\n`);
    this.lines = [];
  }
}

function plain(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString(16).padStart(16, '0');
  if (!(value instanceof Uint8Array)) return value;
  if (value.length <= SHOWN_BYTES) return Buffer.from(value).toString('hex');
  return { bytes: value.length, hash: (finish(hashBytes(value, 0)) >>> 0).toString(16).padStart(8, '0') };
}
