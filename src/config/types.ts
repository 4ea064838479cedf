/**
 * The configuration of a resource as the core wants it: one node's view of itself and its peers, every option present
 * (configuration.md §3). Names are DRBD's in camel case; each keeps DRBD's unit, said in its name or here.
 * Options of features that the core does not have yet are absent.
 */

export type Protocol = 'A' | 'B' | 'C';
export type Fencing = 'dont-care' | 'resource-only' | 'resource-and-stonith';
export type OnIoError = 'pass_on' | 'call-local-io-error' | 'detach';
export type OnNoDataAccessible = 'io-error' | 'suspend-io';
export type AfterSb0Pri =
  | 'disconnect'
  | 'discard-younger-primary'
  | 'discard-older-primary'
  | 'discard-zero-changes'
  | 'discard-least-changes'
  | 'discard-local'
  | 'discard-remote';
export type AfterSb1Pri = 'disconnect' | 'consensus' | 'discard-secondary' | 'call-pri-lost-after-sb' | 'violently-as0p';
export type AfterSb2Pri = 'disconnect' | 'call-pri-lost-after-sb' | 'violently-as0p';
export type OnCongestion = 'block' | 'pull-ahead' | 'disconnect';
export type ReadBalancing =
  | 'prefer-local'
  | 'prefer-remote'
  | 'round-robin'
  | 'least-pending'
  | 'when-congested-remote'
  | '32K-striping'
  | '64K-striping'
  | '128K-striping'
  | '256K-striping'
  | '512K-striping'
  | '1M-striping';
export type RrConflict = 'disconnect' | 'call-pri-lost' | 'violently';

export interface DiskOptions {
  onIoError: OnIoError;
  fencing: Fencing;
  diskFlushes: boolean;
  diskDrain: boolean;
  mdFlushes: boolean;
  /** KiB/s; used when cPlanAhead is 0, and for the first step of the controller. */
  resyncRate: number;
  /** Slots of the active set. */
  alExtents: number;
  alUpdates: boolean;
  /** Which disk is read when both are good. */
  readBalancing: ReadBalancing;
  /** The disk is known to read as zeros where an aligned discard was; otherwise zeros are written instead. */
  discardZeroesIfAligned: boolean;
  /** 0.1 s; 0 = fixed rate. */
  cPlanAhead: number;
  /** 0.1 s */
  cDelayTarget: number;
  /** Sectors. */
  cFillTarget: number;
  /** KiB/s */
  cMaxRate: number;
  /** KiB/s; 0 = never give way to the application. */
  cMinRate: number;
  /** Minor of the volume whose resync goes first (node-states.md §8.11); -1: none. */
  resyncAfter: number;
  /** 0.1 s; how long an operation on the disk may take before the disk is given up. 0 = for ever. */
  diskTimeout: number;
  /** Bytes; a resync asks for so much at a time whether it is all zeros, and discards it then. 0 = it never asks. Without effect on a disk that cannot discard. */
  rsDiscardGranularity: number;
}

export interface NetOptions {
  protocol: Protocol;
  /** 0.1 s */
  timeout: number;
  maxEpochSize: number;
  /** Pages of 4 KiB; bounds requests in flight and resync requests. */
  maxBuffers: number;
  /** s */
  connectInt: number;
  /** s */
  pingInt: number;
  /** 0.1 s */
  pingTimeout: number;
  /** Number of `timeout`s tolerated; 0 = unlimited. */
  koCount: number;
  /** Both nodes may be Primary at once; needs protocol C. */
  allowTwoPrimaries: boolean;
  afterSb0Pri: AfterSb0Pri;
  afterSb1Pri: AfterSb1Pri;
  afterSb2Pri: AfterSb2Pri;
  alwaysAsbp: boolean;
  rrConflict: RrConflict;
  /** With protocol A: what to do when too much is on its way to the peer. */
  onCongestion: OnCongestion;
  /** Sectors; 0 = however much. */
  congestionFill: number;
  /** Extents of the activity log in use. */
  congestionExtents: number;
  /** Digest of the HMAC by which the peer shows that it knows the secret; '' = no authentication. */
  cramHmacAlg: string;
  sharedSecret: string;
  /** Digest in front of replicated data; '' = none. */
  dataIntegrityAlg: string;
  useRle: boolean;
  /** 0.1 s; 0 = ping-timeout. */
  socketCheckTimeout: number;
  /** Bytes; bounds what a resync target asks for before it waits. 0 = 128 KiB. */
  sndbufSize: number;
  /** The kernel's name of the digest that online verify compares; empty: no verify. */
  verifyAlg: string;
  /** The digest by which a resync tells blocks that are equal, so that they need not travel; empty: all travel. */
  csumsAlg: string;
  /** Only a target that crashed as Primary compares: elsewhere marked blocks mostly differ. */
  csumsAfterCrashOnly: boolean;
}

/** Where a volume's metadata is: `internal`, `flexible` (a device of its own), or a numbered 128 MiB slot. */
export type MetaDisk = { kind: 'internal' } | { kind: 'flexible' } | { kind: 'indexed'; index: number };

export interface VolumeConfig {
  volume: number;
  minor: number;
  metaDisk: MetaDisk;
  disk: DiskOptions;
  /** Size limit in sectors; 0 = as big as possible. */
  sizeSectors: number;
}

export interface PeerConfig {
  name: string;
  net: NetOptions;
}

/** Heartbeat between the machines (design: membership). Absent: nobody promotes by itself. */
export interface MembershipConfig {
  intervalMs: number;
  /** Silence after which the peer counts as dead. */
  deadTimeMs: number;
}

export interface ResourceConfig {
  resource: string;
  volumes: VolumeConfig[];
  peers: PeerConfig[];
  onNoDataAccessible: OnNoDataAccessible;
  /** Names of handlers that are configured; an absent fence-peer counts as broken. */
  handlers: string[];
  membership?: MembershipConfig;
  /** Wire protocol versions that this node offers, and the largest it will talk. */
  protocolMin: number;
  protocolMax: number;
  /** Feature flags that this node offers (wire-protocol.md §3.2); absent: all that it has. */
  features?: number;
}
