/** Stub. */
