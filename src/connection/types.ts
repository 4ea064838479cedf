/**
 * The two streams to a peer as plain data: what the connection room keeps from the first connect attempt until both streams
 * are gone. Other rooms hold a `Session` and look at nothing in it.
 */

import type { StreamId } from '../contract/input.js';
import type { PingPurpose } from '../model/signals.js';
import type { TimerKind } from '../model/timers.js';
import { freshContext } from '../wire/context.js';
import type { WireContext } from '../wire/context.js';
import { newStreamDecoder } from '../wire/reassembly.js';
import type { StreamDecoder } from '../wire/reassembly.js';
import type { StreamKind } from '../wire/commands.js';

/** Every timer of this room. */
export const CONNECTION_TIMERS = [
  'connect-attempt',
  'accept-wait',
  'first-packet',
  'socket-check',
  'handshake',
  'retry-pause',
  'meta-idle',
  'ping-answer',
  'data-send',
  'meta-send',
  'graceful-end',
] as const satisfies readonly TimerKind[];

export type ConnectionTimerKind = (typeof CONNECTION_TIMERS)[number];

/**
 * `closed`: no streams, nothing under way. `pausing`: waits before it tries again. `connecting`: looks for a pair of streams.
 * `checking`: has a pair and waits whether it stays (wire-protocol.md §1.2, step 2). `handshake`: exchanges features.
 * `authentication`: does the peer know the shared secret? `up`: packets go both ways.
 */
export type SessionPhase = 'closed' | 'pausing' | 'connecting' | 'checking' | 'handshake' | 'authentication' | 'up';

export interface Session {
  phase: SessionPhase;
  /** Our connect attempt that is under way. */
  attempt: StreamId | undefined;
  data: Stream | undefined;
  meta: Stream | undefined;
  /** The peer opened these and has not said what they are; the oldest first. */
  unnamed: Stream[];
  /** What both streams agreed on; fresh until the features exchange. */
  sending: WireContext;
  receiving: WireContext;
  /** protocol_max as the peer announced it: 110 and more is DRBD 9 (wire-protocol.md §13.7). 0 before the features exchange. */
  peerProtocolMax: number;
  /** While authenticating: what we sent, and whether the peer's challenge has come and been answered. */
  authentication: { challenge: Uint8Array; isAnswered: boolean } | undefined;
  /** data-integrity-alg of each direction from this point of the data stream on; '': none. */
  sentIntegrityAlg: string;
  receivedIntegrityAlg: string;
  /** A loss or refusal was signalled; nothing is read or sent any more. */
  isOver: boolean;
  /** Our disconnect request is out: the end of a stream is no failure for a while. */
  isCloseExpected: boolean;
  /** We agreed to the peer's disconnect: what still arrives is dropped (M16). */
  isIgnoring: boolean;
  /** The stream that ended first while that was expected. */
  endedFirst: 'data' | 'meta' | undefined;
  isKeptAlive: boolean;
  /** When the running wait of the keep-alive (idle, or for an answer) began. */
  waitSinceUs: number;
  /** P_PINGs without an answer, the oldest first: who waits, and where the packet ends in the bytes queued on meta. */
  pings: { purpose: PingPurpose | 'idle'; endBytes: number }[];
  isAnswerTimed: boolean;
}

export interface Stream {
  id: StreamId;
  decoder: StreamDecoder;
  /** Received and not yet looked at; lent until the end of the pass. */
  chunk: { bytes: Uint8Array; at: number };
  acceptedAtUs: number;
  lastReceivedUs: number;
  /** The peer sends nothing more on it. */
  ended: 'closed' | 'reset' | undefined;
  /** The receiver drains an epoch: bytes are only kept. */
  isPaused: boolean;
  /** The driver was told not to read. */
  isReadOff: boolean;
  /** Cumulative: bytes that we queued, and how many of them the transport took. */
  queuedBytes: number;
  sentBytes: number;
  /** Pieces queued in this pass and not yet handed to the driver. */
  batch: Uint8Array[];
  /** Since when the transport owes us progress; meaningful while sentBytes < queuedBytes. */
  blockedSinceUs: number;
  isStallTimed: boolean;
  /** `timeout`s without progress that are still tolerated (ko-count; the data stream only). */
  koLeft: number;
}

export const newSession = (): Session => ({
  phase: 'closed',
  attempt: undefined,
  data: undefined,
  meta: undefined,
  unnamed: [],
  sending: freshContext(),
  receiving: freshContext(),
  peerProtocolMax: 0,
  authentication: undefined,
  sentIntegrityAlg: '',
  receivedIntegrityAlg: '',
  isOver: false,
  isCloseExpected: false,
  isIgnoring: false,
  endedFirst: undefined,
  isKeptAlive: false,
  waitSinceUs: 0,
  pings: [],
  isAnswerTimed: false,
});

export const newStream = (id: StreamId, kind: StreamKind, nowUs: number): Stream => ({
  id,
  decoder: newStreamDecoder(kind),
  chunk: { bytes: NO_BYTES, at: 0 },
  acceptedAtUs: nowUs,
  lastReceivedUs: nowUs,
  ended: undefined,
  isPaused: false,
  isReadOff: false,
  queuedBytes: 0,
  sentBytes: 0,
  batch: [],
  blockedSinceUs: nowUs,
  isStallTimed: false,
  koLeft: 0,
});

export const NO_BYTES = new Uint8Array(0);
