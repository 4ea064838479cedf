/**
 * The disks of one host as a value: what is durable, what is only in a cache, and what is on its way. The rules are those of world/device.ts: a write
 * that has ended is in the cache, a flush makes durable what had ended when it was asked for, FUA makes itself durable, a crash keeps of the
 * rest whatever it likes. Here that is a list of the ways to lose it, not a draw.
 *
 * Blocks of 4 KiB survive whole or not at all: the metadata's units and the application's requests are such blocks, and nothing smaller is written.
 * The data and the metadata are on devices of their own, whose caches are flushed apart: the weaker of the two contracts.
 */

import type { DiskArea } from '../../src/contract/index.js';
import type { Contents } from './contents.js';

export const BLOCK_SECTORS = 8;
export const BLOCK_BYTES = 4096;

/** `place`: which device and block; `content`: of `Contents`. */
export interface Block {
  place: number;
  content: number;
}

/** In the order in which they ended. `durable`: FUA over a block that has an older write in the cache. */
export interface CachedBlock extends Block {
  durable: boolean;
}

export interface DiskState {
  /** By place, ascending. What is not here is zeros. */
  durable: readonly Block[];
  /** By area: data, metadata. */
  cached: readonly [readonly CachedBlock[], readonly CachedBlock[]];
}

/** What a node has asked for and not been answered. */
export interface Operation {
  op: number;
  verb: 'read' | 'write' | 'flush';
  area: 0 | 1;
  sector: number;
  sectors: number;
  /** Of a write: a content for each block. */
  contents: readonly number[];
  fua: boolean;
  /** A flush, or a write with one before it, covers so many of the cached blocks of its area; -1: it flushes nothing. */
  covers: number;
}

export const areaNumber = (area: DiskArea): 0 | 1 => (area === 'data' ? 0 : 1);

const AREA_BLOCKS = 2 ** 20;
const placeOf = (area: 0 | 1, block: number): number => area * AREA_BLOCKS + block;

export function contentAt(disk: DiskState, area: 0 | 1, block: number, isDurable = false): number {
  const place = placeOf(area, block);
  const cached = disk.cached[area].findLast((one) => one.place === place && (!isDurable || one.durable));
  return cached?.content ?? disk.durable.find((one) => one.place === place)?.content ?? 0;
}

export function readDisk(disk: DiskState, contents: Contents, area: 0 | 1, sector: number, sectors: number, isDurable = false): Uint8Array {
  const bytes = new Uint8Array(sectors * 512);
  for (let block = Math.floor(sector / BLOCK_SECTORS); block * BLOCK_SECTORS < sector + sectors; block++) {
    const content = contentAt(disk, area, block, isDurable);
    if (content === 0) continue;
    const from = Math.max(sector, block * BLOCK_SECTORS);
    const to = Math.min(sector + sectors, (block + 1) * BLOCK_SECTORS);
    bytes.set(contents.bytes(content).subarray((from - block * BLOCK_SECTORS) * 512, (to - block * BLOCK_SECTORS) * 512), (from - sector) * 512);
  }
  return bytes;
}

/** Blocks of the data area that hold anything but zeros. */
export function writtenBlocks(disk: DiskState): number[] {
  const blocks = new Set<number>();
  for (const { place } of [...disk.durable, ...disk.cached[0]]) if (place < AREA_BLOCKS) blocks.add(place);
  return [...blocks].filter((block) => contentAt(disk, 0, block) !== 0).sort((a, b) => a - b);
}

/** The blocks of a write, whole ones; anything else throws, since it could be torn. */
export function contentsOf(contents: Contents, sector: number, data: Uint8Array): number[] {
  if (sector % BLOCK_SECTORS !== 0 || data.length % BLOCK_BYTES !== 0) throw new Error(`a write of ${data.length} bytes at ${sector} is no write of whole blocks`);
  const found: number[] = [];
  for (let at = 0; at < data.length; at += BLOCK_BYTES) found.push(contents.numberOf(data.subarray(at, at + BLOCK_BYTES)));
  return found;
}

/** The operation ends. `others`: what is on its way besides; flushes among them cover less when this one has covered some. */
export function endOperation(disk: DiskState, operation: Operation, others: readonly Operation[]): { disk: DiskState; others: readonly Operation[] } {
  const { area, covers } = operation;
  let { durable } = disk;
  let cached = disk.cached[area];
  let rest = others;
  if (covers > 0) {
    durable = withBlocks(durable, cached.slice(0, covers));
    cached = cached.slice(covers);
    rest = others.map((other) => (other.area === area && other.covers > 0 ? { ...other, covers: Math.max(0, other.covers - covers) } : other));
  }
  if (operation.verb === 'write') {
    for (const { place, content } of blocksOf(operation)) {
      if (operation.fua && !cached.some((one) => one.place === place)) durable = withBlocks(durable, [{ place, content }]);
      else cached = [...cached, { place, content, durable: operation.fua }];
    }
  }
  return { disk: { durable, cached: area === 0 ? [cached, disk.cached[1]] : [disk.cached[0], cached] }, others: rest };
}

/** How the disks may come out of a crash. */
export interface Outcome {
  disk: DiskState;
  /** What they keep of what no flush covers, in words. */
  keeps: string;
  /** Nothing that had ended is gone: the process died, and the power stayed. */
  isWhole: boolean;
}

/**
 * Every way in which the disks may come out of a crash: with nothing of what no flush covers, with all of it, with the caches but nothing that was on its way (only the
 * process died), with one write alone, with all but one. Ways that come to the same are one.
 */
export function afterCrash(disk: DiskState, underway: readonly Operation[]): Outcome[] {
  const loose: (Block & { keeps: boolean; isUnderway: boolean })[] = [];
  for (const cached of disk.cached) for (const { place, content, durable } of cached) loose.push({ place, content, keeps: durable, isUnderway: false });
  for (const operation of underway) {
    if (operation.verb === 'write') for (const { place, content } of blocksOf(operation)) loose.push({ place, content, keeps: false, isUnderway: true });
  }
  const outcomes = new Map<string, Outcome>();
  const add = (keeps: string, isKept: (at: number) => boolean): void => {
    const outcome: DiskState = { durable: withBlocks(disk.durable, loose.filter((one, at) => one.keeps || isKept(at))), cached: [[], []] };
    const text = JSON.stringify(outcome);
    const isWhole = loose.every((one, at) => one.isUnderway || one.keeps || isKept(at));
    if (!outcomes.has(text)) outcomes.set(text, { disk: outcome, keeps, isWhole });
  };
  const nameOf = ({ place, isUnderway }: (typeof loose)[number]): string => `block ${place % AREA_BLOCKS} of ${place < AREA_BLOCKS ? 'the data' : 'the metadata'}${isUnderway ? ', on its way' : ''}`;
  add('everything', () => true);
  add('what had ended', (at) => !loose[at]!.isUnderway);
  add('nothing', () => false);
  loose.forEach((one, at) => {
    add(`only ${nameOf(one)}`, (other) => other === at);
    add(`all but ${nameOf(one)}`, (other) => other !== at);
  });
  return [...outcomes.values()];
}

const blocksOf = ({ area, sector, contents }: Operation): Block[] => contents.map((content, at) => ({ place: placeOf(area, sector / BLOCK_SECTORS + at), content }));

/** Later ones win; zeros are not kept. */
function withBlocks(durable: readonly Block[], blocks: readonly Block[]): Block[] {
  const all = new Map(durable.map(({ place, content }) => [place, content]));
  for (const { place, content } of blocks) all.set(place, content);
  return [...all].filter(([, content]) => content !== 0).map(([place, content]) => ({ place, content })).sort((a, b) => a.place - b.place);
}
