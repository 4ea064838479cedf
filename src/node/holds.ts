/**
 * The memory that a state refers to, found as the snapshot finds everything (snapshot.ts): by looking at all of it, so that nobody has to
 * remember where bytes may be kept. A driver that lends memory which lasts asks before it uses it again.
 */

/** The buffers of all typed arrays in this plain data. */
export function heldMemory(state: unknown): Set<ArrayBufferLike> {
  const held = new Set<ArrayBufferLike>();
  const seen = new Set<object>();
  const look = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    if (ArrayBuffer.isView(value)) return void held.add(value.buffer);
    if (seen.has(value)) return;
    seen.add(value);
    if (Array.isArray(value)) for (const entry of value) look(entry);
    else if (value instanceof Map) {
      for (const [key, entry] of value) {
        look(key);
        look(entry);
      }
    } else if (value instanceof Set) for (const member of value) look(member);
    else for (const field of Object.values(value)) look(field);
  };
  look(state);
  return held;
}
