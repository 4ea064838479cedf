/**
 * What the two ends of a stream must have agreed on to read its bytes, and the limits that follow from it
 * (wire-protocol.md §0 and §2). Plain data: a connection keeps one for what it sends and one for what it receives, because
 * the integrity algorithm of each direction changes by itself (P_PROTOCOL_UPDATE, §3.4).
 */

import { FeatureFlag } from './packets.js';

export interface WireContext {
  /** Agreed protocol version 86..101; 0 until P_CONNECTION_FEATURES has been exchanged. */
  apv: number;
  /** Agreed `FeatureFlag`s. */
  features: number;
  /** Size of the digest in front of the data of P_DATA, P_DATA_REPLY, P_RS_DATA_REPLY, P_WSAME; 0 without integrity algorithm. */
  digestBytes: number;
}

/** The context of a stream that was just opened. */
export const freshContext = (): WireContext => ({ apv: 0, features: 0, digestBytes: 0 });

/** The largest digest of any algorithm (sha512): bounds what a peer may make us buffer. */
export const DIGEST_BYTES_MAX = 64;

/** §0, "socket scratch buffer": bounds a bitmap packet together with its header. */
export const BITMAP_PACKET_BYTES_MAX = 4096;

/** §0: string fields, with their NUL. */
export const STRING_BYTES_MAX = 64;

/** §2: 16 bytes from protocol 100, else 8. */
export const headerBytes = (apv: number): 8 | 16 => (apv >= 100 ? 16 : 8);

/** §0: the largest request that may be put into one packet. */
export function maxRequestBytes(apv: number): number {
  if (apv >= 100) return 1 << 20;
  return apv >= 95 ? 128 << 10 : 32 << 10;
}

/** §3.6: FF_WSAME adds the queue limits to P_SIZES. */
export const hasQueueLimits = (context: WireContext): boolean => (context.features & FeatureFlag.FF_WSAME) !== 0;
