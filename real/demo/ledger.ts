/** What an application wrote, block by block: which version was acknowledged last, and which may have been written after it. */

export const BLOCK_BYTES = 4096;

interface Entry {
  acknowledged: number;
  /** Issued and not acknowledged: any of them may be there. */
  open: number[];
}

export class Ledger {
  acknowledged = 0;
  private readonly entries = new Map<number, Entry>();
  private lastVersion = 0;

  /** A version to write to this block; nothing else may be on its way there. */
  issue(block: number): number {
    const version = ++this.lastVersion;
    const entry = this.entries.get(block) ?? { acknowledged: 0, open: [] };
    entry.open.push(version);
    this.entries.set(block, entry);
    return version;
  }

  acknowledge(block: number, version: number): void {
    const entry = this.entries.get(block)!;
    entry.acknowledged = version;
    entry.open = [];
    this.acknowledged++;
  }

  isIdle(block: number): boolean {
    return (this.entries.get(block)?.open.length ?? 0) === 0;
  }

  blocks(): Iterable<number> {
    return this.entries.keys();
  }

  /** What is wrong with what was read of a block; undefined: nothing. What was found counts as acknowledged from now on: it was seen. */
  check(block: number, data: Uint8Array): string | undefined {
    const entry = this.entries.get(block) ?? { acknowledged: 0, open: [] };
    for (const version of [entry.acknowledged, ...entry.open]) {
      if (Buffer.compare(data, contentOf(block, version)) !== 0) continue;
      entry.acknowledged = version;
      entry.open = [];
      return undefined;
    }
    return `block ${block} is neither version ${entry.acknowledged}, which was acknowledged, nor one of ${entry.open.length} later ones`;
  }
}

/** Bytes that no other version of any block has; version 0 is a block that was never written. */
export function contentOf(block: number, version: number): Uint8Array {
  const words = new Uint32Array(BLOCK_BYTES / 4);
  if (version === 0) return new Uint8Array(words.buffer);
  let state = (Math.imul(block + 1, 0x9e3779b1) ^ Math.imul(version, 0x85ebca77)) >>> 0 || 1;
  words[0] = block;
  words[1] = version;
  for (let index = 2; index < words.length; index++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[index] = state;
  }
  return new Uint8Array(words.buffer);
}
