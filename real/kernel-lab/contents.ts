/** What applications wrote, as both kinds of node can make it: `yes TEXT` cut into blocks. And which block must hold what. */

export const BLOCK_BYTES = 4096;

/** Block `index` of the stream; without a text: zeros. */
export interface Content {
  text: string | undefined;
  index: number;
}

export const zeros: Content = { text: undefined, index: 0 };

export const contentsOf = (text: string, blocks: number): Content[] => Array.from({ length: blocks }, (_, index) => ({ text, index }));

export function bytesOf({ text, index }: Content): Uint8Array {
  const block = Buffer.alloc(BLOCK_BYTES);
  if (text === undefined) return block;
  const line = Buffer.from(`${text}\n`);
  const start = index * BLOCK_BYTES;
  for (let at = 0; at < BLOCK_BYTES; at++) block[at] = line[(start + at) % line.length]!;
  return block;
}

interface Entry {
  acknowledged: Content;
  /** On its way since: any of them may be there. */
  open: Content[];
}

/** Which contents a block may have. A block that nobody wrote is zeros. */
export class Ledger {
  private readonly entries = new Map<number, Entry>();
  acknowledged = 0;

  issue(block: number, content: Content): void {
    const entry = this.entries.get(block) ?? { acknowledged: zeros, open: [] };
    entry.open.push(content);
    this.entries.set(block, entry);
  }

  acknowledge(block: number, content: Content): void {
    const entry = this.entries.get(block)!;
    entry.acknowledged = content;
    entry.open = [];
    this.acknowledged++;
  }

  /** Of these blocks nothing is known any more. */
  forget(block: number, blocks: number): void {
    for (let at = block; at < block + blocks; at++) this.entries.delete(at);
  }

  forgetAll(): void {
    this.entries.clear();
  }

  /** What is wrong with an image: blocks that hold something else than they may. */
  check(read: (block: number) => Uint8Array): string[] {
    const wrong: string[] = [];
    for (const [block, { acknowledged, open }] of this.entries) {
      const found = Buffer.from(read(block));
      if ([acknowledged, ...open].some((content) => found.equals(bytesOf(content)))) continue;
      const wanted = acknowledged.text === undefined ? 'zeros' : `'${acknowledged.text}'`;
      wrong.push(`block ${block} holds ${describe(found)}, not ${wanted}${open.length > 0 ? ` nor one of ${open.length} later ones` : ''}`);
    }
    return wrong;
  }
}

export function describe(block: Uint8Array): string {
  const bytes = Buffer.from(block);
  if (bytes.every((byte) => byte === 0)) return 'zeros';
  const lines = bytes.toString('latin1').split('\n');
  return `'${(lines[1] ?? lines[0]!).slice(0, 30)}'`;
}
