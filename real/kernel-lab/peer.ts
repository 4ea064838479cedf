/** What a case may ask of a node, whether it is a kernel in a guest or our daemon: the same words, and the same view of it. */

import type { Content } from './contents.js';

export type PeerName = 'kernel' | 'ours';

/** The state of volume 0 in 8.4's names, and its generations without the role bit. */
export interface View {
  conn: string;
  role: string;
  peerRole: string;
  disk: string;
  peerDisk: string;
  outOfSyncKib: number;
  /** Of the device. */
  sizeSectors: number;
  /** Current, bitmap, younger and older history; empty without a disk. */
  generations: string[];
}

/** What a node is whose power is off, or that has no such resource. */
export const NOT_THERE: View = { conn: 'Unconfigured', role: 'Unknown', peerRole: 'Unknown', disk: 'Diskless', peerDisk: 'DUnknown', outOfSyncKib: 0, sizeSectors: 0, generations: [] };

/** An answer to an operator's command, with DRBD's code. */
export interface Answer {
  ok: boolean;
  code: number;
  text: string;
}

/** Options of the configuration, by section; a handler has the exit code that it ends with. */
export interface Options {
  net: Map<string, string>;
  disk: Map<string, string>;
  handlers: Map<string, number>;
}

/** Who writes without being asked twice, until it is told to end or its node dies. */
export interface Load {
  end(): Promise<void>;
}

export interface Peer {
  readonly name: PeerName;
  /** The host file that is the node's disk. */
  readonly image: string;
  /** Power on; no resource is configured yet. */
  boot(): Promise<void>;
  /** Power off, without a warning. */
  crash(): Promise<void>;
  freeze(): void;
  thaw(): void;
  createMetadata(): Promise<void>;
  /** Attaches and connects. */
  up(): Promise<void>;
  /** drbdadm's verb and its options. */
  order(words: readonly string[]): Promise<Answer>;
  view(): Promise<View>;
  write(block: number, contents: readonly Content[]): Promise<void>;
  read(block: number, blocks: number): Promise<Uint8Array>;
  flush(): Promise<void>;
  discard(block: number, blocks: number): Promise<void>;
  zero(block: number, blocks: number): Promise<void>;
  /** Writes these blocks over and over, each time a new content; says when one is acknowledged. */
  load(block: number, blocks: number, text: string, acknowledged: (round: number) => void): Promise<Load>;
  /** Names of handlers that were called. */
  calls(): Promise<string[]>;
  /** Everything that it said since the case began. */
  log(): Promise<string>;
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until `look` gives something; throws `late()` when that takes too long. */
export async function until<T>(look: () => Promise<T | undefined>, late: () => string, boundMs = 40_000, everyMs = 60): Promise<T> {
  for (const end = Date.now() + boundMs; ; await sleep(everyMs)) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > end) throw new Error(`${late()} (waited ${boundMs / 1000} s)`);
  }
}
