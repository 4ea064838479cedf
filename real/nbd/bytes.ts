/** Bytes of a socket, taken in pieces of a wanted length. What lies in one piece is given as a view, what does not is put together. */

import type { Arena } from '../arena.js';

export class ByteQueue {
  private chunks: Uint8Array[] = [];
  /** Into the first chunk. */
  private at = 0;
  private partial: Uint8Array | undefined = undefined;
  private filled = 0;

  /** With an arena, whose memory the chunks are, what was put together lasts as they do. */
  constructor(private readonly arena?: Arena) {}

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    const last = this.chunks.at(-1);
    // Reads that lie one behind the other are one chunk.
    if (last && last.buffer === chunk.buffer && last.byteOffset + last.length === chunk.byteOffset) {
      this.chunks[this.chunks.length - 1] = new Uint8Array(last.buffer, last.byteOffset, last.length + chunk.length);
    } else this.chunks.push(chunk);
  }

  get isEmpty(): boolean {
    return this.chunks.length === 0;
  }

  /** Adds the memory that it refers to. */
  holds(held: Set<ArrayBufferLike>): void {
    for (const { buffer } of this.chunks) held.add(buffer);
    if (this.partial) held.add(this.partial.buffer);
  }

  /** The next `bytes` bytes, or undefined until they are there; then to be asked for again with the same length. */
  pull(bytes: number): Uint8Array | undefined {
    if (!this.partial) {
      const first = this.chunks[0];
      const available = first ? first.length - this.at : 0;
      if (first && available >= bytes) {
        const view = first.subarray(this.at, this.at + bytes);
        this.advance(bytes);
        return view;
      }
      if (bytes === 0) return new Uint8Array(0);
      // The rest may follow in the same piece of memory.
      if (this.arena && this.chunks.length < 2) return undefined;
      this.partial = this.arena?.take(bytes)?.bytes ?? new Uint8Array(bytes);
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
    return partial;
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

  private advance(bytes: number): void {
    this.at += bytes;
    if (this.at < this.chunks[0]!.length) return;
    this.chunks.shift();
    this.at = 0;
  }
}
