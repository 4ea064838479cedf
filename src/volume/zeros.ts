/**
 * Zeros to read from: what a disk read of nothing but zeros stands for where bytes are needed, to be sent or digested. One buffer for all,
 * since the resync of an empty device would otherwise allocate every block of it.
 */

const ZEROS = new Uint8Array(1 << 20);

/** `bytes` zeros, at most 1 MiB of them shared: nobody may write to them, or hand them to somebody who may. */
export const zeros = (bytes: number): Uint8Array => (bytes <= ZEROS.length ? ZEROS.subarray(0, bytes) : new Uint8Array(bytes));
