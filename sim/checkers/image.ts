/**
 * What a disk shows, sector by sector, in the ghost's terms: which write each sector comes from. Content is decoded once for
 * each content id, so looking at a whole disk again costs a lookup for each block.
 */

import type { Input } from '../../src/contract/index.js';
import type { HostView, WorldView } from '../types.js';
import type { GhostRecord, WriteRecord } from '../ghost.js';
import { GARBAGE, PLANTED } from '../ghost.js';

export const BLOCK_SECTORS = 8;

/** The range that an application's request changes, or undefined. */
export const writtenRange = (input: Input): { id: number; volume: number; sector: number; sectors: number } | undefined => {
  if (input.type === 'app-write') return { id: input.id, volume: input.volume, sector: input.sector, sectors: input.data.length / 512 };
  return input.type === 'app-write-zeroes' || input.type === 'app-discard' ? input : undefined;
};

/** Each block that a range of sectors touches. */
export function forEachBlock({ sector, sectors }: { sector: number; sectors: number }, visit: (block: number) => void): void {
  const last = Math.floor((sector + sectors - 1) / BLOCK_SECTORS);
  for (let block = Math.floor(sector / BLOCK_SECTORS); block <= last; block++) visit(block);
}

export class ImageReader {
  /** By content id: the keys of the block's eight sectors, and the block that it was decoded for. */
  private readonly decoded = new Map<number, { block: number; keys: readonly number[] }>();

  constructor(private readonly ghost: GhostRecord) {}

  /** The keys of a block's sectors as `host`'s disk shows them. */
  keys(host: HostView, volume: number, block: number): readonly number[] {
    const disk = host.disk(volume);
    const id = disk.blockId(block);
    const known = this.decoded.get(id);
    // Stamped content belongs to its place; the same bytes elsewhere are garbage there.
    if (known !== undefined && (known.block === block || id === 0)) return known.keys;
    const bytes = disk.blockBytes(block);
    const keys: number[] = [];
    for (let index = 0; index < BLOCK_SECTORS; index++) keys.push(this.ghost.keyOf(bytes, index * 512, block * BLOCK_SECTORS + index));
    this.decoded.set(id, { block, keys });
    return keys;
  }

  /** Calls `visit` for each sector ever written, with the key that the disk shows there. */
  forEachSector(host: HostView, volume: number, visit: (sector: number, key: number) => void): void {
    for (const block of this.ghost.blocks(volume)) {
      const keys = this.keys(host, volume, block);
      const { heads, at } = this.ghost.headsOfBlock(volume, block)!;
      for (let index = 0; index < BLOCK_SECTORS; index++) if (heads[at + index] !== 0) visit(block * BLOCK_SECTORS + index, keys[index]!);
    }
  }
}

/** What is wrong with a sector's content, or undefined. */
export type SectorProblem = { found: WriteRecord | undefined; missing: WriteRecord | undefined; garbage: boolean };

/**
 * May a reader find `key` in this sector? `mustShow` says which writes are owed; the newest of them makes everything obsolete
 * that had ended before it was issued. `mayShow` says which may appear at all.
 */
export function judgeSector(
  ghost: GhostRecord,
  volume: number,
  sector: number,
  key: number,
  mustShow: (write: WriteRecord) => boolean,
  mayShow: (write: WriteRecord) => boolean,
): SectorProblem | undefined {
  let owed: WriteRecord | undefined;
  let found: WriteRecord | undefined;
  for (let node = ghost.newest(volume, sector); node !== 0; node = ghost.older(node)) {
    const write = ghost.writeAt(node);
    if (ghost.keyAt(node) === key) {
      if (mayShow(write) && (owed === undefined || write.endedAt > owed.issuedAt)) return undefined;
      found ??= write;
    }
    if (owed === undefined && mustShow(write)) owed = write;
  }
  if (key === 0 && owed === undefined) return undefined;
  return { found, missing: owed, garbage: key === GARBAGE || key === PLANTED || (found === undefined && key !== 0) };
}

/** One line for a report. */
export function describe(problem: SectorProblem, volume: number, sector: number, host: string, world: WorldView): string {
  const { found, missing } = problem;
  const shows = problem.garbage ? 'bytes that nobody wrote there' : found === undefined ? 'zeros' : `write ${found.stamp} (${fateOf(found)})`;
  const instead = missing === undefined ? 'which must not be there' : `write ${missing.stamp} (${fateOf(missing)}) is missing`;
  return `sector ${sector} of volume ${volume} on ${host} holds ${shows}, ${instead}${world.phase === 'ended' ? ', at the end' : ''}`;
}

function fateOf(write: WriteRecord): string {
  const ended = write.endedAt === Infinity ? 'still pending' : `${write.outcome} ${seconds(write.endedUs)}`;
  return `issued ${seconds(write.issuedUs)}, ${ended}${write.discarded === '' ? '' : `, given up: ${write.discarded}`}`;
}

const seconds = (us: number): string => `${(us / 1_000_000).toFixed(6)} s`;
