/** Bytes of a socket, taken in pieces of a wanted length. What lies in one chunk is given as a view, what is spread over several is put together. */

import type { ReadBuffers } from '../net/buffers.js';

/** Smaller pieces get memory of their own. */
const LENT_BYTES_MIN = 16 << 10;

export class ByteQueue {
  private chunks: Uint8Array[] = [];
  /** Into the first chunk. */
  private at = 0;
  private partial: Uint8Array | undefined = undefined;
  private filled = 0;
  /** What holds `partial`, where that is lent. */
  private lent: Uint8Array<ArrayBuffer> | undefined = undefined;

  /** With buffers: what was put together may be lent like a chunk. */
  constructor(private readonly buffers?: ReadBuffers) {}

  push(chunk: Uint8Array): void {
    if (chunk.length > 0) this.chunks.push(chunk);
  }

  get isEmpty(): boolean {
    return this.chunks.length === 0;
  }

  /** The next `bytes` bytes, or undefined until they are there; then to be asked for again with the same length. */
  pull(bytes: number): Uint8Array | undefined {
    if (!this.partial) {
      const first = this.chunks[0];
      if (first && first.length - this.at >= bytes) {
        const view = first.subarray(this.at, this.at + bytes);
        this.advance(bytes);
        return view;
      }
      if (bytes === 0) return new Uint8Array(0);
      this.partial = this.room(bytes);
      this.filled = 0;
    }
    const { partial } = this;
    while (this.filled < bytes && this.chunks.length > 0) {
      const first = this.chunks[0]!;
      const part = first.subarray(this.at, this.at + Math.min(bytes - this.filled, first.length - this.at));
      partial.set(part, this.filled);
      this.filled += part.length;
      this.advance(part.length);
    }
    if (this.filled < bytes) return undefined;
    this.partial = undefined;
    if (this.lent) this.buffers!.lend(this.lent);
    this.lent = undefined;
    return partial;
  }

  private room(bytes: number): Uint8Array {
    if (!this.buffers || bytes < LENT_BYTES_MIN || bytes > this.buffers.bytes) return new Uint8Array(bytes);
    this.lent = this.buffers.take();
    return this.lent.subarray(0, bytes);
  }

  /** Drops up to `bytes` bytes and says how many. */
  skip(bytes: number): number {
    let skipped = 0;
    while (skipped < bytes && this.chunks.length > 0) {
      const part = Math.min(bytes - skipped, this.chunks[0]!.length - this.at);
      skipped += part;
      this.advance(part);
    }
    return skipped;
  }

  /** What is left is copied: the memory of the chunks is somebody else's again. */
  keep(): void {
    this.chunks = this.chunks.map((chunk, index) => (index === 0 ? chunk.slice(this.at) : chunk.slice()));
    this.at = 0;
  }

  private advance(bytes: number): void {
    this.at += bytes;
    if (this.at < this.chunks[0]!.length) return;
    this.chunks.shift();
    this.at = 0;
  }
}
