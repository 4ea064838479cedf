/**
 * The only two things that a core may ask of the outside while it handles an input (design: "The core"). Both are
 * synchronous; values drawn are part of a recording.
 */
export interface Environment {
  /** A random 64-bit value: UUIDs, challenges, coin tosses. */
  random64(): bigint;
}
