/**
 * The only things that a core may ask of the outside while it handles an input (design: "The core"). All are
 * synchronous; values drawn are part of a recording.
 */
export interface Environment {
  /** A random 64-bit value: UUIDs, challenges, coin tosses. */
  random64(): bigint;
  /**
   * The digest of the pieces, one after the other, under the kernel's name of the algorithm (crc32c, md5, sha1, sha256 …), in
   * the bytes of the wire; undefined: the driver does not know the algorithm. The size of a digest depends on the algorithm alone.
   */
  digest(algorithm: string, pieces: readonly Uint8Array[]): Uint8Array | undefined;
  /** The same for HMAC with this digest below it (what the kernel calls `hmac(sha1)` is asked for as `sha1`). */
  hmac(algorithm: string, key: Uint8Array, pieces: readonly Uint8Array[]): Uint8Array | undefined;
  /**
   * Do these bytes of an input, lent for the pass, stay as they are for as long as the state refers to them (`Node.holds`)? Then the core
   * keeps them where they are; else, and without this, it makes its one copy. It changes neither.
   */
  lasts?(bytes: Uint8Array): boolean;
}
