/**
 * How much of a recorded log an image holds. Protocol A may lose a suffix: this finds the longest prefix of entries that is
 * wholly there, from the content alone.
 */

import { contentKey } from '../../sim/ghost.js';
import { applyEntries, type DmLog } from '../../sim/workloads/dmlog.js';
import { Rejected } from './tools.js';

const SECTOR_BYTES = 512;

/**
 * Leading entries whose every sector shows the entry itself or a later one. `read` fills `bytes` from the image. `Rejected`
 * when a sector holds what no entry ever wrote there.
 */
export function leadingEntries(log: DmLog, read: (sector: number, bytes: Uint8Array) => void): number {
  /** For each sector its contents in order, with the entries that wrote them. Before the first there are zeros. */
  const versions = new Map<number, { entries: number[]; keys: number[] }>();
  for (const entry of log.entries) {
    applyEntries({ path: log.path, entries: [entry] }, 1, (first, bytes) => {
      for (let offset = 0; offset < bytes.length; offset += SECTOR_BYTES) {
        const sector = first + offset / SECTOR_BYTES;
        let list = versions.get(sector);
        if (list === undefined) versions.set(sector, (list = { entries: [], keys: [] }));
        list.entries.push(entry.index);
        list.keys.push(contentKey(bytes, offset));
      }
    });
  }
  let leading = log.entries.length;
  const bytes = new Uint8Array(SECTOR_BYTES);
  for (const [sector, { entries, keys }] of versions) {
    read(sector, bytes);
    const found = contentKey(bytes, 0);
    const newest = keys.lastIndexOf(found);
    if (newest < 0 && found !== 0) throw new Rejected(`sector ${sector} holds what no entry of the log wrote there`);
    const missing = entries[newest + 1];
    if (missing !== undefined) leading = Math.min(leading, missing);
  }
  return leading;
}
