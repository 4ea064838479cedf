// What the checker of ordering obligations (order.ts) remembers of one machine: writes on their way, who wrote what is still in
// the disk's cache, what was said.

import type { ObservedState } from '../../src/contract/output.js';
import type { Command } from '../../src/contract/command.js';
import { countOutOfSync, type Bitmap } from '../../src/metadata/bitmap.js';
import type { State } from '../../src/state/states.js';
import type { mirrorRequest } from '../../src/state/state-word.js';
import type { BlockId } from '../../src/wire/packets.js';

interface Range {
  volume: number;
  sector: number;
  sectors: number;
}

/** A write that the peer sent. */
export interface PeerWrite extends Range {
  data: Uint8Array;
  blockId: BlockId;
  flags: number;
  submitted: boolean;
  /** A discard, or zeros: `pieces` operations of it are with the disk. */
  isZeros: boolean;
  pieces: number;
  ended: 'ok' | 'failed' | undefined;
  acked: boolean;
}

export type Author = PeerWrite | 'own' | 'resync';

export interface MachineState {
  /** Writes of the application that are not answered. `inEpoch`: sent, and its epoch has no barrier yet. `localFailed`: our disk refused it. */
  ownWrites: (Range & { id: number; data: Uint8Array; inEpoch: boolean; localFailed: boolean })[];
  commands: Map<number, Command>;
  /** Received on this connection, oldest epoch first; the last one is open. */
  epochs: PeerWrite[][];
  /** Answers that are not written yet; zeros in several operations, so that they stay until they are acknowledged. */
  resyncReplies: (Range & { isZeros: boolean })[];
  /** Operations that write them. */
  resyncOperations: Set<number>;
  /** Written and not acknowledged. */
  resyncWritten: Range[];
  /** By operation. */
  submitted: Map<number, Author>;
  transactions: Map<number, Map<number, number[]>>;
  extents: Map<number, { version: number; extents: Set<number> }>;
  /** Sent: writes since the last barrier, and whether one must come first. */
  epochSize: number;
  owesBarrier: boolean;
  /** The state of each volume as of the output that is looked at: later ones of the same pass do not count yet. */
  observed: Map<number, ObservedState>;
  /** The last P_STATE of each volume. */
  told: Map<number, State>;
  /** The peer's last request. */
  asked: ReturnType<typeof mirrorRequest>;
  /** These sectors are in the cache, written by this author; undefined: they are durable. */
  tag(volume: number, sector: number, sectors: number, author: Author | undefined): void;
  clearTags(volume: number): void;
  isTagged(volume: number, sector: number, sectors: number, author: Author): boolean;
  isVolatile(write: PeerWrite): boolean;
  isCached(volume: number, sector: number, sectors: number): boolean;
  newConnection(): void;
}

export function newMachineState(): MachineState {
  const tags = new Map<number, Map<number, Author>>();
  const isTagged = (volume: number, sector: number, sectors: number, author: Author): boolean => {
    for (const [at, by] of tags.get(volume) ?? []) if (by === author && at >= sector && at < sector + sectors) return true;
    return false;
  };
  const state: MachineState = {
    ownWrites: [],
    commands: new Map(),
    epochs: [[]],
    resyncReplies: [],
    resyncOperations: new Set(),
    resyncWritten: [],
    submitted: new Map(),
    transactions: new Map(),
    extents: new Map(),
    epochSize: 0,
    owesBarrier: false,
    observed: new Map(),
    told: new Map(),
    asked: undefined,
    tag: (volume, sector, sectors, author) => {
      const map = tags.get(volume) ?? new Map<number, Author>();
      tags.set(volume, map);
      for (let at = sector; at < sector + sectors; at++) {
        if (author) map.set(at, author);
        else map.delete(at);
      }
    },
    clearTags: (volume) => void tags.delete(volume),
    isTagged,
    isCached: (volume, sector, sectors) => [...(tags.get(volume) ?? new Map<number, Author>()).keys()].some((at) => at >= sector && at < sector + sectors),
    isVolatile: (write) => isTagged(write.volume, write.sector, write.sectors, write),
    newConnection: () => {
      state.epochs = [[]];
      state.resyncReplies = [];
      state.resyncOperations.clear();
      state.resyncWritten = [];
      state.epochSize = 0;
      state.owesBarrier = false;
      state.told.clear();
      for (const write of state.ownWrites) write.inEpoch = false;
    },
  };
  return state;
}

export const rangesOverlap = (one: number, sectors: number, other: number, otherSectors: number): boolean => one < other + otherSectors && other < one + sectors;

/** Of each active extent, the blocks that are marked: on disk before the extent may be given up. */
export function evictableState(active: ReadonlySet<number>, bitmap: Bitmap): Map<number, number[]> {
  const marked = new Map<number, number[]>();
  for (const extent of active) {
    const bits: number[] = [];
    for (let bit = extent * 1024; bitmap.weight > 0 && bit < Math.min((extent + 1) * 1024, bitmap.bits); bit++) {
      if (countOutOfSync(bitmap, bit * 8, 8) > 0) bits.push(bit);
    }
    marked.set(extent, bits);
  }
  return marked;
}
