/**
 * Linearizability: concurrent reads and writes of a sector behave like one register (I7). A read shows a write that was
 * issued before the read ended and that no write acknowledged before the read began has made obsolete; what a read has
 * shown, later reads do not take back; a write that was given up and not seen does not appear later.
 */

import { Conn, Disk } from '../../src/state/states.js';
import type { Checker, Completion, WorldView } from '../types.js';
import { PLANTED, recordOf, type GhostRecord, type RequestRecord, type WriteRecord } from '../ghost.js';
import { describe, judgeSector } from './image.js';
import { type Lineage, isOwed } from './lineage.js';
import type { Planted } from './online-verify.js';

/** What the last read of a sector showed on a host. */
interface Seen {
  /** Stamp of the write, 0 for zeros, and when it was issued. */
  stamp: number;
  issuedAt: number;
  /** Places in the order of events of that read's begin and end. */
  readFrom: number;
  readUntil: number;
}

/** Sector numbers of all volumes in one map: a volume has fewer than 2^42 sectors. */
const VOLUME_STRIDE = 2 ** 42;

const BLOCK_SECTORS = 8;

export function linearizability(lineage: Lineage, planted: Planted): Checker {
  const seen = [new Map<number, Seen>(), new Map<number, Seen>()];
  return {
    property: 'linearizability',
    onCompletion(completion: Completion, world: WorldView) {
      if (completion.operation !== 'read' || !completion.ok || completion.data === undefined) return;
      const ghost = recordOf(world.ghost);
      const request = ghost.requests.get(completion.id);
      if (request === undefined) return;
      const { volume } = completion;
      for (let index = 0; index < completion.sectors; index++) {
        const sector = completion.sector + index;
        if (ghost.newest(volume, sector) === 0 && ghost.keyOf(completion.data, index * 512, sector) === 0) continue;
        checkSector(ghost, request, sector, ghost.keyOf(completion.data, index * 512, sector), world);
      }
    },
  };

  function checkSector(ghost: GhostRecord, request: RequestRecord, sector: number, key: number, world: WorldView): void {
    const { host, volume } = request;
    if (key === PLANTED && planted.excuses(volume, Math.floor(sector / BLOCK_SECTORS), world, request.issuedUs)) return;
    const bit = 1 << host;
    const { primaryAt, conn, disk, pdsk } = lineage.status(host, volume);
    // It may be read on the peer's disk, and must be where ours is not good.
    const readsThere = conn >= Conn.Connected && pdsk === Disk.UpToDate;
    const places = bit | (readsThere ? 1 << lineage.peerOf(host) : 0);
    const good = readsThere && disk !== Disk.UpToDate ? places : bit;
    const place = sector + volume * VOLUME_STRIDE;
    const counts = (last: Seen | undefined, since: number): last is Seen => last !== undefined && last.readUntil <= request.issuedAt && last.readFrom >= since;
    const own = seen[host]!.get(place);
    const theirs = seen[lineage.peerOf(host)]!.get(place);
    let before = counts(own, lineage.contentSince(host, volume)) ? own : undefined;
    // Two Primaries are one register: what a read on the other one has shown is not taken back here.
    if (counts(theirs, lineage.oneSince(volume)) && (before === undefined || theirs.issuedAt > before.issuedAt)) before = theirs;
    const mustShow = (write: WriteRecord): boolean => {
      if (before !== undefined && write.stamp === before.stamp) return write.discarded === '';
      const mine = (write.must & good) !== 0 || (write.host === host && write.issuedAt >= primaryAt);
      return mine && isOwed(write) && write.endedAt <= request.issuedAt;
    };
    const mayShow = (write: WriteRecord): boolean => {
      if ((write.never & places) === places) return false;
      // Zeros seen before may have been this write's (integrity 224).
      if (before === undefined || write.outcome !== 'abandoned' || (key === 0 && before.stamp === 0)) return true;
      const notSeen = write.endedAt <= before.readFrom && write.issuedAt > before.issuedAt;
      return !notSeen;
    };
    const problem = judgeSector(ghost, volume, sector, key, mustShow, mayShow);
    if (problem !== undefined) {
      const detail = `a read on ${world.hosts[host]!.name}: ${describe(problem, volume, sector, world.hosts[host]!.name, world)}`;
      world.report({ property: 'linearizability', atUs: world.nowUs, detail });
      return;
    }
    // Zeros may come from any of the writes of zeros, or from none.
    const shown = key === 0 ? undefined : newestShown(ghost, volume, sector, key);
    seen[host]!.set(place, { stamp: shown?.stamp ?? 0, issuedAt: shown?.issuedAt ?? 0, readFrom: request.issuedAt, readUntil: ghost.next() });
  }
}

function newestShown(ghost: GhostRecord, volume: number, sector: number, key: number): WriteRecord | undefined {
  for (let node = ghost.newest(volume, sector); node !== 0; node = ghost.older(node)) {
    if (ghost.keyAt(node) === key) return ghost.writeAt(node);
  }
  return undefined;
}
