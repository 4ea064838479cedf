/**
 * Buffers that are lent to a core for one pass and then overwritten, so that a core that keeps lent bytes shows it at once
 * (design: "Bytes"). Allocating a typed array costs more than copying 4 KiB, so they are used again.
 *
 * The memory is shared by all runs of a thread; the order in which it is handed out is a run's own, so that even a core that
 * does keep lent bytes sees the same rubbish each time.
 */

const SLAB_BYTES = 1 << 20;
const POISON = 0xee;
const SMALLEST_SHIFT = 6;

const slabs: Uint8Array[] = [];

export class LentBuffers {
  private slab = -1;
  private used = SLAB_BYTES;
  /** Free buffers by size class; class n has 64 << n bytes. */
  private readonly free: Uint8Array[][] = [];

  /** `length` bytes with any content, at a multiple of 64 in memory. */
  lend(length: number): Uint8Array {
    const size = sizeClass(length);
    const buffer = this.free[size]?.pop() ?? this.carve(size);
    return buffer.length === length ? buffer : buffer.subarray(0, length);
  }

  /** Overwrites the bytes and takes them back. Only whole buffers as `lend` gave them. */
  takeBack(bytes: Uint8Array): void {
    bytes.fill(POISON);
    const size = sizeClass(bytes.length);
    const whole = 1 << (size + SMALLEST_SHIFT);
    const buffer = bytes.length === whole ? bytes : new Uint8Array(bytes.buffer, bytes.byteOffset, whole);
    (this.free[size] ??= []).push(buffer);
  }

  private carve(size: number): Uint8Array {
    const bytes = 1 << (size + SMALLEST_SHIFT);
    if (bytes > SLAB_BYTES) return new Uint8Array(bytes);
    if (this.used + bytes > SLAB_BYTES) {
      this.slab++;
      this.used = 0;
    }
    const slab = (slabs[this.slab] ??= new Uint8Array(SLAB_BYTES));
    const buffer = slab.subarray(this.used, this.used + bytes);
    this.used += bytes;
    return buffer;
  }
}

const sizeClass = (length: number): number => (length <= 64 ? 0 : 32 - SMALLEST_SHIFT - Math.clz32(length - 1));
