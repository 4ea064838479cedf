/** Metadata contexts: what a client may ask about ranges of an export (`NBD_CMD_BLOCK_STATUS`), and how the answer looks. */

import type { Extent, StatusContext } from './exports.js';
import { REPLY_FLAG_DONE, ReplyType, STRUCTURED_REPLY_MAGIC } from './protocol.js';

/** Numbers on the wire, and names. */
export const contexts: ReadonlyMap<number, StatusContext> = new Map([
  [1, 'base:allocation'],
  [2, 'lockstep:out-of-sync'],
]);

/** Descriptors in one answer: a client asks on from where they end. */
export const EXTENTS_MAX = 1024;

/** The data of NBD_OPT_LIST_META_CONTEXT and NBD_OPT_SET_META_CONTEXT; undefined where it is malformed. */
export function readQueries(data: Uint8Array): { name: string; queries: string[] } | undefined {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  let at = 0;
  const number = (): number | undefined => {
    if (at + 4 > data.length) return undefined;
    at += 4;
    return view.getUint32(at - 4);
  };
  const text = (): string | undefined => {
    const bytes = number();
    if (bytes === undefined || at + bytes > data.length) return undefined;
    at += bytes;
    return new TextDecoder().decode(data.subarray(at - bytes, at));
  };
  const name = text();
  const count = number();
  if (name === undefined || count === undefined) return undefined;
  const queries: string[] = [];
  for (let index = 0; index < count; index++) {
    const query = text();
    if (query === undefined) return undefined;
    queries.push(query);
  }
  return at === data.length ? { name, queries } : undefined;
}

/** Which contexts queries mean. A list takes a whole namespace (`base:`), and no query for all there is; a choice takes names only. */
export function chosenBy(queries: readonly string[], isList: boolean): number[] {
  if (isList && queries.length === 0) return [...contexts.keys()];
  const isMeant = (name: string): boolean => queries.some((query) => query === name || (isList && query === name.slice(0, name.indexOf(':') + 1)));
  return [...contexts].flatMap(([id, name]) => (isMeant(name) ? [id] : []));
}

/** One chunk of an answer: a context and its extents. */
export function statusChunk(cookieHigh: number, cookieLow: number, id: number, extents: readonly Extent[], isLast: boolean): Uint8Array {
  const chunk = new DataView(new ArrayBuffer(24 + 8 * extents.length));
  chunk.setUint32(0, STRUCTURED_REPLY_MAGIC);
  chunk.setUint16(4, isLast ? REPLY_FLAG_DONE : 0);
  chunk.setUint16(6, ReplyType.BlockStatus);
  chunk.setUint32(8, cookieHigh);
  chunk.setUint32(12, cookieLow);
  chunk.setUint32(16, 4 + 8 * extents.length);
  chunk.setUint32(20, id);
  for (const [index, { bytes, flags }] of extents.entries()) {
    chunk.setUint32(24 + 8 * index, bytes);
    chunk.setUint32(28 + 8 * index, flags);
  }
  return new Uint8Array(chunk.buffer);
}
