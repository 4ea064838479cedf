/**
 * Where a difference between two disks may be marked: the out-of-sync bitmap in a core's memory, or, of a host that is down or
 * has no disk attached, what its metadata on disk says (bitmap, and the activity log of a Primary that crashed). Read with
 * the core's own codecs.
 */

import type { VolumeView } from '../../src/contract/index.js';
import { BITS_PER_AL_EXTENT, BITS_PER_PAGE, type Bitmap, countBits, popcount } from '../../src/metadata/bitmap.js';
import { replayLog } from '../../src/metadata/activity-log.js';
import { type Layout, layoutOf, superblockSector } from '../../src/metadata/layout.js';
import type { Result } from '../../src/metadata/refusal.js';
import { type Superblock, SuperblockFlag, decodeSuperblock, hasFlag } from '../../src/metadata/superblock.js';
import { Conn, Role } from '../../src/state/states.js';
import type { HostView, WorldView } from '../types.js';
import { volumeViewOf, volumesOf } from '../spec.js';

const BLOCK_SECTORS = 8;
const PAGE_SECTORS = 8;
const PAGE_BYTES = 4096;
/** Bitmap sectors read at once. */
const READ_SECTORS = 128;

export interface StoredMetadata {
  superblock: Superblock;
  layout: Layout;
  /** Is the bit set in the bitmap on disk? */
  isSet(bit: number): boolean;
  /** How many are set; the whole device when a full sync was under way, or a Primary kept no activity log. */
  countBits(): number;
  /** Extents that an attach will mark: those of the log when the node was Primary. */
  extents: ReadonlySet<number>;
}

/** The superblock that a disk holds, and where its metadata ends; or why there is none. */
export function findSuperblock(host: HostView, volume: number): { superblock: Superblock; metaSectors: number; shared: boolean } | string {
  const config = volumesOf(host.spec).find((one) => one.volume === volume)!;
  const shared = host.spec.disks.find((one) => one.volume === volume)!.metaSectors === undefined;
  const disk = host.disk(volume);
  const at = (sectors: number): Result<Superblock> => decodeSuperblock(disk.read('meta', superblockSector(config.metaDisk, sectors), PAGE_SECTORS));
  // The device may have grown: then the metadata is where it ended before, until it is moved.
  const here = at(disk.metaSectors);
  const isElsewhere = !here.ok && shared && disk.rememberedSectors < disk.metaSectors;
  const metaSectors = isElsewhere ? disk.rememberedSectors : disk.metaSectors;
  const decoded = isElsewhere ? at(metaSectors) : here;
  return decoded.ok ? { superblock: decoded.value, metaSectors, shared } : `the superblock does not parse: ${decoded.refusal.detail}`;
}

/** What the metadata of a volume says now, or one line on why it says nothing. */
export function readStoredMetadata(host: HostView, volume: number): StoredMetadata | string {
  const config = volumesOf(host.spec).find((one) => one.volume === volume)!;
  const disk = host.disk(volume);
  const found = findSuperblock(host, volume);
  if (typeof found === 'string') return found;
  const { superblock, metaSectors, shared } = found;
  const devices = { dataSectors: shared ? metaSectors : disk.dataSectors, metaSectors, shared };
  const placed = layoutOf(config.metaDisk, devices, { alStripes: superblock.alStripes, alStripeSize4k: superblock.alStripeSize4k });
  if (!placed.ok) return `the superblock describes no layout: ${placed.refusal.detail}`;
  const layout = placed.value;
  const isAllMarked = hasFlag(superblock, SuperblockFlag.FullSync) || (hasFlag(superblock, SuperblockFlag.AlDisabled) && hasFlag(superblock, SuperblockFlag.PrimaryInd));
  // Only a Primary's log means something, and none with FULL_SYNC: everything is marked, and the log may be on its way to another place.
  let extents: readonly number[] = [];
  if (hasFlag(superblock, SuperblockFlag.PrimaryInd) && !hasFlag(superblock, SuperblockFlag.FullSync)) {
    const ring = disk.read('meta', layout.alSector, layout.alBlocks * PAGE_SECTORS);
    const replay = replayLog(layout, (index) => ring.subarray(index * PAGE_BYTES, (index + 1) * PAGE_BYTES));
    if (replay.outcome === 'failed') return `the activity log of a Primary cannot be replayed: ${replay.reason}`;
    if (replay.outcome === 'extents') extents = replay.extents;
  }
  const pages = new Map<number, Uint8Array>();
  return {
    superblock,
    layout,
    isSet(bit) {
      if (isAllMarked) return true;
      const page = Math.floor(bit / BITS_PER_PAGE);
      if ((page + 1) * PAGE_SECTORS > layout.bitmapSectors) return false;
      let bytes = pages.get(page);
      if (bytes === undefined) pages.set(page, (bytes = disk.read('meta', layout.bitmapSector + page * PAGE_SECTORS, PAGE_SECTORS)));
      const within = bit % BITS_PER_PAGE;
      return (bytes[(within >> 3) % PAGE_BYTES]! & (1 << (within & 7))) !== 0;
    },
    countBits() {
      const bits = Math.ceil(superblock.lastAgreedSectors / 8);
      if (isAllMarked) return bits;
      const sectors = Math.min(layout.bitmapSectors, Math.ceil(bits / BITS_PER_PAGE) * PAGE_SECTORS);
      let count = 0;
      for (let at = 0; at < sectors; at += READ_SECTORS) {
        // Most of the bitmap of a large device.
        if (disk.isZero('meta', layout.bitmapSector + at, Math.min(READ_SECTORS, sectors - at))) continue;
        const bytes = disk.read('meta', layout.bitmapSector + at, Math.min(READ_SECTORS, sectors - at));
        for (const word of new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)) if (word !== 0) count += popcount(word);
      }
      return count;
    },
    extents: new Set(extents),
  };
}

export const isMarkedIn = (metadata: StoredMetadata, block: number): boolean =>
  metadata.extents.has(Math.floor(block / BITS_PER_AL_EXTENT)) || metadata.isSet(block);

export const isMarkedInMemory = (bitmap: Bitmap, block: number): boolean => block < bitmap.bits && countBits(bitmap, block, 1) === 1;

export const volumeView = (host: HostView, volume: number): VolumeView | undefined => volumeViewOf(host.node, volume);

/** Do both disks hold the same in this block? Of the last one only what is of the device counts: behind its end lies whatever the disks hold there. */
export const isEqual = ({ hosts }: WorldView, volume: number, block: number): boolean => {
  const [one, other] = [hosts[0]!.disk(volume), hosts[1]!.disk(volume)];
  if (one.blockId(block) === other.blockId(block)) return true;
  let sectors = BLOCK_SECTORS;
  for (const host of hosts) {
    const size = volumeView(host, volume)?.sizeSectors ?? 0;
    if (size > 0) sectors = Math.min(sectors, size - block * BLOCK_SECTORS);
  }
  if (sectors === BLOCK_SECTORS) return false;
  const there = other.blockBytes(block);
  return one.blockBytes(block).subarray(0, Math.max(0, sectors) * 512).every((byte, at) => byte === there[at]);
};

/** Is a write to this block on its way on that host? */
export const isInFlight = (view: VolumeView | undefined, block: number): boolean =>
  view !== undefined && view.inFlight.some(({ sector, sectors }) => sector < (block + 1) * BLOCK_SECTORS && block * BLOCK_SECTORS < sector + sectors);

/** Where one host keeps its marks now; what lies on disk is read when it is asked for. */
export class Side {
  readonly view: VolumeView | undefined;
  private stored: StoredMetadata | string | undefined;

  /** A host that goes down just now still has its core, but what that knew is lost: `up` is the lineage's word. */
  constructor(private readonly host: HostView, private readonly volume: number, up: boolean) {
    this.view = up ? volumeView(host, volume) : undefined;
  }

  marks(block: number): boolean {
    const bitmap = this.view?.peers[0]?.bitmap;
    if (bitmap !== undefined) return isMarkedInMemory(bitmap, block);
    this.stored ??= readStoredMetadata(this.host, this.volume);
    return typeof this.stored !== 'string' && isMarkedIn(this.stored, block);
  }

  describe(conn: number): string {
    const where = this.view?.peers[0]?.bitmap === undefined ? 'metadata on disk' : 'bitmap in memory';
    return `(${this.host.state}, connection state ${conn}, ${where})`;
  }
}

/**
 * The rule of no silent divergence for one block: `silent` is what must not be. `none now`: equal, with a write on its way. What a disk would not
 * read is equal to nothing.
 */
export function differenceAt(world: WorldView, volume: number, block: number, sides: readonly Side[], isUnreadable = false): 'none' | 'none now' | 'in flight' | 'marked' | 'silent' {
  const inFlight = (): boolean => sides.some((side) => isInFlight(side.view, block));
  if (!isUnreadable && isEqual(world, volume, block)) return inFlight() ? 'none now' : 'none';
  if (inFlight()) return 'in flight';
  return sides.some((side) => side.marks(block)) ? 'marked' : 'silent';
}

/** A Primary that has not noticed yet that the connection is gone still has to mark what was under way on it. */
export function isSettled(statusOf: (host: number) => { role: number; conn: number }): boolean {
  return [0, 1].every((host) => {
    const { role, conn } = statusOf(host);
    return !(role === Role.Primary && conn >= Conn.WFReportParams && statusOf(1 - host).conn < Conn.WFReportParams);
  });
}
