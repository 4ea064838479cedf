/**
 * The ghost: what the simulator itself knows of the application's requests. Every write that was issued, answered or given up,
 * in one order of events, and for each 512-byte sector the chain of writes that touched it. Checkers compare disks and reads
 * with it; nothing in the core can see it.
 *
 * Synthetic writes carry a stamp in every sector, so a sector tells which write it came from. Recorded writes carry the
 * application's own bytes; there a hash of the sector's content stands for the stamp. Both are called the sector's *key*. Zeros,
 * whoever wrote them, have the key 0.
 *
 * It runs once for each request and sector, so it is flat arrays: a chain is a list of node numbers, the newest first.
 */

import type { Ghost, GhostView, Setup, WorkloadRequest } from './types.js';

export type WriteOutcome = 'pending' | 'acknowledged' | 'failed' | 'abandoned';

/** Host sets are bit masks over the hosts' places in `Setup.hosts`; the lineage (checkers/lineage.ts) keeps those below `endedUs`. */
export interface WriteRecord {
  /** 1, 2, …: what its sectors carry. */
  readonly stamp: number;
  readonly id: number;
  /** Place of the host that was asked. */
  readonly host: number;
  readonly volume: number;
  readonly sector: number;
  readonly sectors: number;
  readonly fua: boolean;
  /** A discard, or zeros. */
  readonly zeros: boolean;
  /** Places in the order of events. `endedAt` is Infinity while nobody knows what became of it. */
  readonly issuedAt: number;
  endedAt: number;
  outcome: WriteOutcome;
  readonly issuedUs: number;
  endedUs: number;
  /** Hosts whose disk must show it, or something newer. */
  must: number;
  /** Of these, the ones where a completed flush or FUA covers it. */
  durable: number;
  /** Hosts where it must not appear (any more). */
  never: number;
  /** Hosts that had it and lost power before a flush covered it. */
  lostPower: number;
  /** Acknowledged while the Primary held both disks to be UpToDate. */
  mirrored: boolean;
  /** Seen finished everywhere: acknowledged, and not in flight any more on either side while both were UpToDate. */
  settled: boolean;
  /** Given up for good, and why; empty otherwise. */
  discarded: string;
}

export interface RequestRecord {
  readonly id: number;
  readonly host: number;
  readonly operation: WorkloadRequest['operation'];
  readonly volume: number;
  readonly issuedAt: number;
  endedAt: number;
  outcome: WriteOutcome;
  readonly issuedUs: number;
  /** Writes only. */
  readonly write: WriteRecord | undefined;
}

const SECTOR_BYTES = 512;
const SECTOR_WORDS = SECTOR_BYTES / 4;
const PAGE_SECTORS = 256;
const BLOCK_SECTORS = 8;
const BLOCKS_PER_PAGE = PAGE_SECTORS / BLOCK_SECTORS;
/** First word of a stamped sector: 'LSTP'. */
const STAMP_MAGIC = 0x5054534c;
/** Key of a sector that nobody wrote like this: torn, misplaced or garbage. */
export const GARBAGE = -1;
/** Key of a sector that holds what the fault `corrupt` put there. */
export const PLANTED = -2;
/** First word of such a sector: 'LROT'. */
const PLANTED_MAGIC = 0x544f524c;

interface Page {
  /** Newest node of each sector, 0 = none. */
  heads: Int32Array;
  /** Which of the page's 32 blocks of 4 KiB were ever written. */
  blocks: number;
}

interface VolumeHistory {
  pages: Map<number, Page>;
  /** Blocks of 4 KiB ever written, in the order of their first write. */
  blocks: number[];
}

export const createGhost = (setup: Setup): GhostRecord => new GhostRecord(setup);

/** The ghost behind a checker's view. */
export function recordOf(view: GhostView): GhostRecord {
  if (view instanceof GhostRecord) return view;
  throw new TypeError('checkers need the ghost of sim/ghost.ts');
}

export class GhostRecord implements Ghost {
  /** By stamp; place 0 is empty. */
  readonly writes: WriteRecord[] = [];
  readonly requests = new Map<number, RequestRecord>();
  /** Requests that were neither answered nor given up. */
  readonly pending = new Map<number, RequestRecord>();
  readonly recorded: boolean;
  acknowledgedWrites = 0;
  /** The order of events: counts everything that the ghost was told. */
  sequence = 0;

  private readonly hostPlaces = new Map<string, number>();
  private readonly volumes = new Map<number, VolumeHistory>();
  private nodes = 0;
  private olderNodes = new Int32Array(4096);
  private nodeStamps = new Int32Array(4096);
  private stamped = new Int32Array(64 * SECTOR_WORDS);
  /** Recorded workloads only. */
  private nodeKeys = new Float64Array(0);

  constructor(setup: Setup) {
    setup.hosts.forEach((host, place) => this.hostPlaces.set(host.name, place));
    this.recorded = setup.workload.kind === 'recorded';
    if (this.recorded) this.nodeKeys = new Float64Array(4096);
    this.writes.push(undefined as unknown as WriteRecord);
  }

  /** A new place in the order of events. */
  next(): number {
    return ++this.sequence;
  }

  hostPlace(name: string): number {
    const place = this.hostPlaces.get(name);
    if (place === undefined) throw new RangeError(`no host ${name}`);
    return place;
  }

  // ---- What the engine tells --------------------------------------------------------------------------------------

  issued(id: number, host: string, request: WorkloadRequest, nowUs: number): Uint8Array | undefined {
    if (this.requests.has(id)) throw new Error(`request ${id} was issued before`);
    const place = this.hostPlace(host);
    const issuedAt = this.next();
    let write: WriteRecord | undefined;
    let bytes: Uint8Array | undefined;
    if (request.operation === 'write') {
      write = {
        stamp: this.writes.length,
        id,
        host: place,
        volume: request.volume,
        sector: request.sector,
        sectors: request.sectors,
        fua: request.fua,
        zeros: request.zeros !== undefined,
        issuedAt,
        endedAt: Infinity,
        outcome: 'pending',
        issuedUs: nowUs,
        endedUs: 0,
        must: 0,
        durable: 0,
        never: 0,
        lostPower: 0,
        mirrored: false,
        settled: false,
        discarded: '',
      };
      this.writes.push(write);
      if (!write.zeros) bytes = request.data ?? this.stampedSectors(write);
      if (bytes !== undefined && bytes.length !== request.sectors * SECTOR_BYTES) {
        throw new RangeError(`a write of ${request.sectors} sectors with ${bytes.length} bytes`);
      }
      this.remember(write, bytes);
    }
    const record: RequestRecord = {
      id,
      host: place,
      operation: request.operation,
      volume: request.volume,
      issuedAt,
      endedAt: Infinity,
      outcome: 'pending',
      issuedUs: nowUs,
      write,
    };
    this.requests.set(id, record);
    this.pending.set(id, record);
    return bytes;
  }

  completed(id: number, ok: boolean, nowUs: number): void {
    this.end(id, ok ? 'acknowledged' : 'failed', nowUs);
  }

  abandoned(ids: readonly number[], nowUs: number): void {
    for (const id of ids) this.end(id, 'abandoned', nowUs);
  }

  private end(id: number, outcome: WriteOutcome, nowUs: number): void {
    const record = this.pending.get(id);
    if (record === undefined) throw new Error(`request ${id} ended (${outcome}) but is not pending`);
    this.pending.delete(id);
    record.endedAt = this.next();
    record.outcome = outcome;
    const { write } = record;
    if (write === undefined) return;
    write.endedAt = record.endedAt;
    write.endedUs = nowUs;
    write.outcome = outcome;
    if (outcome === 'acknowledged') this.acknowledgedWrites++;
  }

  private remember(write: WriteRecord, bytes: Uint8Array | undefined): void {
    const history = this.history(write.volume);
    for (let index = 0; index < write.sectors; index++) {
      const sector = write.sector + index;
      const place = sector % PAGE_SECTORS;
      const page = pageOf(history, (sector - place) / PAGE_SECTORS);
      const bit = 1 << (place >> 3);
      if ((page.blocks & bit) === 0) {
        page.blocks |= bit;
        history.blocks.push((sector - (sector % BLOCK_SECTORS)) / BLOCK_SECTORS);
      }
      const node = ++this.nodes;
      if (node === this.olderNodes.length) this.grow();
      this.olderNodes[node] = page.heads[place]!;
      this.nodeStamps[node] = write.stamp;
      if (this.recorded) this.nodeKeys[node] = bytes === undefined ? 0 : contentKey(bytes, index * SECTOR_BYTES);
      page.heads[place] = node;
    }
  }

  /** Sector layout: magic, stamp, low half of the sector's number, then the stamp to the end. Good until the next call. */
  private stampedSectors(write: WriteRecord): Uint8Array {
    const length = write.sectors * SECTOR_WORDS;
    if (this.stamped.length < length) this.stamped = new Int32Array(length);
    const words = this.stamped;
    words.fill(write.stamp, 0, length);
    for (let index = 0; index < write.sectors; index++) {
      words[index * SECTOR_WORDS] = STAMP_MAGIC;
      words[index * SECTOR_WORDS + 2] = (write.sector + index) | 0;
    }
    return new Uint8Array(words.buffer, 0, length * 4);
  }

  private grow(): void {
    const length = this.olderNodes.length * 2;
    const grown = (old: Int32Array): Int32Array<ArrayBuffer> => {
      const array = new Int32Array(length);
      array.set(old);
      return array;
    };
    this.olderNodes = grown(this.olderNodes);
    this.nodeStamps = grown(this.nodeStamps);
    if (!this.recorded) return;
    const keys = new Float64Array(length);
    keys.set(this.nodeKeys);
    this.nodeKeys = keys;
  }

  private history(volume: number): VolumeHistory {
    let history = this.volumes.get(volume);
    if (history === undefined) this.volumes.set(volume, (history = { pages: new Map(), blocks: [] }));
    return history;
  }

  // ---- What checkers ask ------------------------------------------------------------------------------------------

  /** The newest write's node of each sector of a block, from the returned place on: 0 = never written. */
  headsOfBlock(volume: number, block: number): { heads: Int32Array; at: number } | undefined {
    const at = (block % BLOCKS_PER_PAGE) * BLOCK_SECTORS;
    const heads = this.volumes.get(volume)?.pages.get((block - (block % BLOCKS_PER_PAGE)) / BLOCKS_PER_PAGE)?.heads;
    return heads && { heads, at };
  }

  /** The newest write's node of a sector, 0 = never written. */
  newest(volume: number, sector: number): number {
    const place = sector % PAGE_SECTORS;
    return this.volumes.get(volume)?.pages.get((sector - place) / PAGE_SECTORS)?.heads[place] ?? 0;
  }

  older(node: number): number {
    return this.olderNodes[node]!;
  }

  writeAt(node: number): WriteRecord {
    return this.writes[this.nodeStamps[node]!]!;
  }

  keyAt(node: number): number {
    if (this.recorded) return this.nodeKeys[node]!;
    return this.writeAt(node).zeros ? 0 : this.nodeStamps[node]!;
  }

  /** What was found in this sector: the key of a write, 0 for zeros (as never written), `GARBAGE` for what nobody wrote here. */
  keyOf(bytes: Uint8Array, offset: number, sector: number): number {
    if (this.recorded) return contentKey(bytes, offset);
    const words = wordsOf(bytes, offset);
    if (words[0] !== STAMP_MAGIC) return words[0] === PLANTED_MAGIC ? PLANTED : isZero(words) ? 0 : GARBAGE;
    const stamp = words[1]!;
    if (words[2] !== (sector | 0) || stamp <= 0 || stamp >= this.writes.length) return GARBAGE;
    for (let index = 3; index < SECTOR_WORDS; index++) if (words[index] !== stamp) return GARBAGE;
    return stamp;
  }

  stampOf(bytes: Uint8Array, offset: number): number {
    if (this.recorded) return contentKey(bytes, offset);
    const words = wordsOf(bytes, offset);
    return words[0] === STAMP_MAGIC ? words[1]! : isZero(words) ? 0 : GARBAGE;
  }

  volumeNumbers(): Iterable<number> {
    return this.volumes.keys();
  }

  /** Blocks of 4 KiB ever written, in the order of their first write. */
  blocks(volume: number): readonly number[] {
    return this.volumes.get(volume)?.blocks ?? [];
  }

  *sectors(volume: number): Iterable<number> {
    for (const [number, page] of this.volumes.get(volume)?.pages ?? []) {
      for (let place = 0; place < PAGE_SECTORS; place++) if (page.heads[place] !== 0) yield number * PAGE_SECTORS + place;
    }
  }

  allowed(volume: number, sector: number): readonly number[] {
    const allowed: number[] = [];
    let newestAcknowledged = 0;
    for (let node = this.newest(volume, sector); node !== 0; node = this.older(node)) {
      const write = this.writeAt(node);
      if (write.endedAt > newestAcknowledged) allowed.push(this.keyAt(node));
      if (newestAcknowledged === 0 && write.outcome === 'acknowledged') newestAcknowledged = write.issuedAt;
    }
    if (newestAcknowledged === 0) allowed.push(0);
    return allowed;
  }

  acknowledged(volume: number, sector: number): number {
    for (let node = this.newest(volume, sector); node !== 0; node = this.older(node)) {
      if (this.writeAt(node).outcome === 'acknowledged') return this.keyAt(node);
    }
    return 0;
  }
}

function pageOf(history: VolumeHistory, number: number): Page {
  let page = history.pages.get(number);
  if (page === undefined) history.pages.set(number, (page = { heads: new Int32Array(PAGE_SECTORS), blocks: 0 }));
  return page;
}

/** What the `number`th corruption of a run puts into these sectors: different each time. */
export function plantedSectors(number: number, sector: number, sectors: number): Uint8Array {
  const words = new Int32Array(sectors * SECTOR_WORDS).fill(number);
  for (let index = 0; index < sectors; index++) {
    words[index * SECTOR_WORDS] = PLANTED_MAGIC;
    words[index * SECTOR_WORDS + 2] = (sector + index) | 0;
  }
  return new Uint8Array(words.buffer);
}

function wordsOf(bytes: Uint8Array, offset: number): Int32Array {
  const at = bytes.byteOffset + offset;
  if (at % 4 === 0) return new Int32Array(bytes.buffer, at, SECTOR_WORDS);
  return new Int32Array(bytes.slice(offset, offset + SECTOR_BYTES).buffer);
}

function isZero(words: Int32Array): boolean {
  for (let index = 0; index < SECTOR_WORDS; index++) if (words[index] !== 0) return false;
  return true;
}

/** A 53-bit hash of a sector's content; 0 for zeros only. */
export function contentKey(bytes: Uint8Array, offset: number): number {
  const words = wordsOf(bytes, offset);
  let high = 0x9e3779b9 | 0;
  let low = 0x85ebca6b | 0;
  let any = 0;
  for (let index = 0; index < SECTOR_WORDS; index++) {
    const word = words[index]!;
    any |= word;
    high = Math.imul(high ^ word, 0x01000193);
    low = Math.imul((low ^ word) + index, 0xcc9e2d51 | 0);
    low ^= low >>> 15;
  }
  if (any === 0) return 0;
  return ((high >>> 0) & 0x1fffff) * 4294967296 + (low >>> 0) + 1;
}
