/**
 * Buffers that are lent to a core for one pass and then overwritten, so that a core that keeps lent bytes shows it at once
 * (design: "Bytes"). Allocating a typed array costs more than copying 4 KiB, so they are used again.
 *
 * The memory is shared by all runs of a thread; the order in which it is handed out is a run's own, so that even a core that
 * does keep lent bytes sees the same rubbish each time.
 */

const SLAB_SHIFT = 20;
const SLAB_BYTES = 1 << SLAB_SHIFT;
const POISON = 0xee;
const SMALLEST_SHIFT = 6;

const slabs: ArrayBuffer[] = [];
const slabNumbers = new Map<ArrayBufferLike, number>();

export class LentBuffers {
  private slab = -1;
  private used = SLAB_BYTES;
  /** Free places by size class, as slab × SLAB_BYTES + offset; class n has 64 << n bytes. */
  private readonly free: number[][] = [];

  /** `length` bytes with any content, at a multiple of 64 in memory. */
  lend(length: number): Uint8Array {
    const size = sizeClass(length);
    if (1 << (size + SMALLEST_SHIFT) > SLAB_BYTES) return new Uint8Array(length);
    const place = this.free[size]?.pop() ?? this.carve(1 << (size + SMALLEST_SHIFT));
    return new Uint8Array(slabs[place >>> SLAB_SHIFT]!, place & (SLAB_BYTES - 1), length);
  }

  /** Overwrites the bytes and takes them back. Only whole buffers as `lend` gave them. */
  takeBack(bytes: Uint8Array): void {
    bytes.fill(POISON);
    const slab = slabNumbers.get(bytes.buffer);
    if (slab === undefined) return;
    (this.free[sizeClass(bytes.length)] ??= []).push(slab * SLAB_BYTES + bytes.byteOffset);
  }

  private carve(bytes: number): number {
    if (this.used + bytes > SLAB_BYTES) {
      this.slab++;
      this.used = 0;
      if (this.slab === slabs.length) {
        const slab = new ArrayBuffer(SLAB_BYTES);
        slabNumbers.set(slab, this.slab);
        slabs.push(slab);
      }
    }
    const place = this.slab * SLAB_BYTES + this.used;
    this.used += bytes;
    return place;
  }
}

const sizeClass = (length: number): number => (length <= 64 ? 0 : 32 - SMALLEST_SHIFT - Math.clz32(length - 1));
