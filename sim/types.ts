/**
 * The vocabulary of the simulator: scenarios, faults as data, what a run reports. Engine (`sim/world`), checkers
 * (`sim/checkers`), scenarios and reports meet here and nowhere else. Times are integer microseconds of virtual time unless
 * a name says otherwise; sectors are 512 bytes.
 */

import type { Command, Input, Node, Output, ResourceConfig } from '../src/contract/index.js';

// ---- Parameters -------------------------------------------------------------------------------------------------

export type ParameterValue = number | string | boolean;
export type Parameters = Record<string, ParameterValue>;

/** One knob of a scenario: `--set name=value` checks against this; an impossible value is one clear line and exit 2. */
export interface ParameterSpec {
  name: string;
  description: string;
  default: ParameterValue;
  /** Allowed values; for numbers `min`/`max` may stand instead. */
  choices?: readonly ParameterValue[];
  min?: number;
  max?: number;
  unit?: string;
  /** Path of a file that must exist and be readable. */
  file?: boolean;
  /** What `any` draws from; values may be there several times. Without it every choice is equally likely. */
  odds?: readonly ParameterValue[];
}

// ---- Faults as data ---------------------------------------------------------------------------------------------

export type StreamKind = 'data' | 'meta';

/** What a disk is asked to do. */
export const diskVerbs = ['read', 'write', 'flush', 'zeroes', 'discard'] as const;
export type DiskVerb = (typeof diskVerbs)[number];

/**
 * When a fault fires: at a time, or at the nth (from 1) occurrence of an event, plus an optional delay. Times and occurrences
 * are counted from the beginning of the storm: the pair is up and the commands of `Setup.prepare` have been answered.
 */
export type Trigger =
  | { atUs: number }
  | { onDiskOperation: DiskVerb; host: string; area: 'data' | 'meta'; nth: number; when: 'issued' | 'done'; delayUs?: number }
  | { onPacket: string; from: string; to: string; nth: number; when: 'sent' | 'delivered'; delayUs?: number };

export type FaultAction =
  /** The process dies; the disk's volatile cache survives. The host comes back after `restartAfterUs` (never, when absent). */
  | { do: 'crash'; host: string; restartAfterUs?: number }
  /** Power is lost: any subset of unflushed sectors survives, drawn from `tear` (a seed of its own). Several hosts lose it at the same instant. */
  | { do: 'power-loss'; hosts: string[]; restartAfterUs?: number; tear: number }
  /** Stop-the-world: the process does not run, its kernel keeps buffering. */
  | { do: 'pause'; host: string; forUs: number }
  /** The process's clock alarm is served late by this much for a while. */
  | { do: 'slow-clock'; host: string; forUs: number; lateUs: number }
  /** Packets from `from` to `to` vanish (both directions when `oneWay` is false; only one stream when given); connections are not reset, nobody notices. */
  | { do: 'cut'; from: string; to: string; oneWay: boolean; stream?: StreamKind; forUs: number }
  /** Both ends see a reset; a prefix of what was in flight may arrive first. */
  | { do: 'reset'; from: string; to: string; stream?: StreamKind }
  /** Bytes are held back, not lost. */
  | { do: 'stall'; from: string; to: string; stream?: StreamKind; forUs: number }
  /** In the next so many packets of replicated data that way, one bit of what a digest covers is turned over. Nothing but data-integrity-alg notices. */
  | { do: 'garble'; from: string; to: string; times: number }
  | { do: 'slow-link'; from: string; to: string; forUs: number; latencyUs: number; bytesPerSecond: number }
  /** I/O errors of a disk (of the first volume, where none is named): of one operation (`times` 1) or more, in a sector range. */
  | { do: 'disk-error'; host: string; volume?: number; area: 'data' | 'meta'; operation: DiskVerb; firstSector: number; sectors: number; times: number }
  /** These sectors cannot be read until they are written again. */
  | { do: 'latent-error'; host: string; volume?: number; firstSector: number; sectors: number }
  /**
   * These sectors hold what nobody wrote, on the medium, and nobody is told. Breaks a disk's contract: only where the scenario knows what
   * still holds, with a synthetic workload.
   */
  | { do: 'corrupt'; host: string; firstSector: number; sectors: number }
  /** The device under a volume (of the first one, where none is named) gets so many sectors more, or fewer. Internal metadata stays where it is. What is new holds `noise`, or zeros (0). */
  | { do: 'resize-disk'; host: string; volume?: number; more: number; fewer: number; noise: number }
  | { do: 'slow-disk'; host: string; forUs: number; factor: number }
  /** Nothing ends: on every disk of the host, or on those of one volume. */
  | { do: 'hang-disk'; host: string; volume?: number; forUs: number }
  /** An operator or a cluster manager acts. `hosts` says where; refused commands are part of life. */
  | { do: 'command'; host: string; command: Command };

export interface Fault {
  /** Stable within a schedule; names the fault in traces, stories and shrunk files. */
  id: string;
  trigger: Trigger;
  action: FaultAction;
}

export type FaultKind = FaultAction['do'];

// ---- Scenario ---------------------------------------------------------------------------------------------------

/** A small named random stream (seedrandom); each subsystem and entity has its own, so removing one fault does not reshuffle the rest. */
export interface RandomStream {
  /** Integer in [low, high]. */
  integer(low: number, high: number): number;
  /** True with probability numerator/denominator. */
  chance(numerator: number, denominator: number): boolean;
  pick<T>(items: readonly T[]): T;
  random64(): bigint;
  /** An independent stream whose values depend only on this stream's name and `name`, not on what was drawn so far. */
  fork(name: string): RandomStream;
}

export interface HostSpec {
  name: string;
  /** Devices of each volume, by volume number. Without `metaSectors` metadata is internal, on the data device. */
  disks: { volume: number; dataSectors: number; metaSectors?: number; discard?: DiscardSpec }[];
  config: ResourceConfig;
  /** Further resources, with volume numbers of their own (sim/spec.ts). */
  more?: ResourceConfig[];
  /** Handlers: exit code and how long they take. `fence-peer` may really cut the peer off (`shoots`). */
  handlers: { name: string; exitCode: number | 'derive'; delayUs: number; shoots?: boolean; fails?: boolean }[];
}

/** A data device that can discard: whole granules of what it is asked; they read as zeros afterwards, or as anything. */
export interface DiscardSpec {
  granularitySectors: number;
  zeroes: boolean;
}

export interface NetworkSpec {
  latencyUs: number;
  jitterUs: number;
  bytesPerSecond: number;
}

export interface DiskSpec {
  readUs: number;
  writeUs: number;
  flushUs: number;
  jitterUs: number;
  bytesPerSecond: number;
}

export type WorkloadSpec =
  | { kind: 'none' }
  /** Clients that read and write with a queue depth and flush now and then. */
  | {
      kind: 'synthetic';
      clients: number;
      queueDepth: number;
      /** How many writes in all, then the clients stop. */
      writes: number;
      readShare: { numerator: number; denominator: number };
      flushEvery: number;
      fuaEvery: number;
      /** One write in so many discards or zeroes its range; 0: none. */
      zerosOneIn: number;
      pattern: 'random' | 'sequential' | 'hot-spot';
      /** The part of the device that is written. */
      firstSector: number;
      sectors: number;
      maxRequestSectors: number;
      /** Mean pause between a completion and the client's next request. */
      thinkUs: number;
    }
  /** A dm-log-writes log, replayed in order: entries between two flushes may be in flight together up to the queue depth. */
  | {
      kind: 'recorded';
      file: string;
      queueDepth: number;
      thinkUs: number;
      /** The application stops here: nothing beyond this many leading entries is issued (the number of all entries: it runs to its end). */
      entries: number;
    }
  /** These requests at these times, whatever became of the ones before: what a shrunk run has left of another workload. */
  | { kind: 'listed'; requests: readonly ListedRequest[] };

/** A request by time. Where nobody is Primary then, it waits for one. */
export interface ListedRequest {
  /** From the beginning of the storm; a list is in the order of these. */
  atUs: number;
  /** Where it is issued, if that is Primary then; otherwise where it can be. */
  host: string;
  operation: WorkloadRequest['operation'];
  volume: number;
  sector: number;
  sectors: number;
  fua: boolean;
  zeros?: NonNullable<WorkloadRequest['zeros']>;
}

/** `afterUs`: how long the operator waits before it, when the command before it was answered. */
export interface RepairStep {
  host: string;
  command: Command;
  afterUs?: number;
}

/** What a scenario asks of one run: everything that the engine needs, drawn from parameters and seed. */
export interface Setup {
  /** The parameters as resolved: `any` replaced by what the seed drew. A run reports these; given back as they are, they give the same setup. */
  parameters: Parameters;
  hosts: HostSpec[];
  network: NetworkSpec;
  disk: DiskSpec;
  workload: WorkloadSpec;
  /** The default schedule of this seed; `--schedule FILE` replaces it. */
  schedule: Fault[];
  /** Commands that bring the pair up, in order, each after the one before was answered; then the workload starts. */
  prepare: { host: string; command: Command }[];
  /** Start with both nodes UpToDate and equal (as after a skipped initial sync) instead of blank. */
  initial: 'blank' | 'synced';
  /** Restarted hosts run these commands (attach, connect) as an init script would; a cluster manager actor promotes per `failover`. */
  onBoot: 'attach-and-connect' | 'nothing';
  /** Who promotes the survivor: the nodes' own heartbeat, a manager actor outside (after `detectUs`, with or without fencing), or nobody. */
  failover: { by: 'membership' } | { by: 'manager'; detectUs: number; force: boolean } | { by: 'nobody' };
  /**
   * When the storm is over an operator undoes what faults and other operators left behind (attach a detached disk, connect after a
   * disconnect, resume what was paused): each command once, after links healed and hosts came up; refusals are part of life.
   */
  afterStorm: RepairStep[];
  /** The storm lasts this long; then faults stop, links heal, and everything must settle within `settleUs`. */
  durationUs: number;
  settleUs: number;
  /** Which guarantee holds (design: the table of guarantees), and deviations that this scenario expects. */
  expectations: Expectations;
}

export interface Expectations {
  protocol: 'A' | 'B' | 'C';
  /** Diverged histories may stay StandAlone in the end (split brain without a policy); excused with the rule that proves it. */
  splitBrainPossible: boolean;
  /** Disconnects that a fault explains are fine; a disconnect between two healthy nodes is a failure unless this is set. */
  unexpectedDisconnectsAllowed: boolean;
  /** Properties that this scenario does not judge, each with the reason. */
  skip: { property: PropertyName; reason: string }[];
  /** Bound of resync after a crash of an active primary, in bits beyond the marked ones: active set size × 1024. */
  activeSetExtents: number;
}

export interface Scenario {
  name: string;
  /** One line for `lockstep scenarios`. */
  summary: string;
  parameters: ParameterSpec[];
  /** Pure: same parameters and random stream, same setup. Throws `UsageError` on parameters that cannot go together. */
  setup(parameters: Parameters, random: RandomStream): Setup;
  /** The real check of the survivor's image, for recorded workloads (scenarios/judges). */
  judge?: (image: SurvivorImage, parameters: Parameters) => JudgeVerdict;
  /** Its runs take hundreds of MB each: a sweep of such makes them one by one, unless --jobs says otherwise. */
  isLarge?: true;
  /** `sometimes` properties of a sweep of this scenario: names that at least one run should reach. */
  sometimes: string[];
}

export interface SurvivorImage {
  /** Host whose image this is. */
  host: string;
  sizeBytes: number;
  /** Writes the image, sparse, to a path. */
  writeTo(path: string): void;
  /** Log entries that were complete when the primary died (recorded workloads): everything acknowledged up to here must be there. */
  acknowledgedEntries: number;
  /** Seed of the run, for names of temporary files. */
  seed: number;
}

export interface JudgeVerdict {
  verdict: 'passed' | 'failed' | 'unchecked' | 'excused';
  detail: string;
}

/** A problem of usage: one clear line that names the problem and the mend; exit 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

// ---- Properties -------------------------------------------------------------------------------------------------

export const propertyNames = [
  'durability',
  'linearizability',
  'write-order',
  'no-silent-divergence',
  'convergence',
  'resync-direction',
  'split-brain',
  'histories-agree',
  'bounded-recovery',
  'liveness',
  'metadata-sanity',
  'complementary-states',
  'resync-order',
  'unexpected-disconnect',
  'outdated-with-cause',
  'online-verify',
  'frozen-io',
  'device-size',
  'real-check',
] as const;
export type PropertyName = (typeof propertyNames)[number];

export interface Violation {
  property: PropertyName;
  atUs: number;
  /** One line: what was expected, what was found, where. */
  detail: string;
}

/**
 * One checker, one duty. The engine calls the hooks that a checker has, in virtual time order. A checker reads the world
 * through `WorldView` and reports; it never changes anything.
 */
export interface Checker {
  readonly property: PropertyName;
  /** A core is about to be given this input (`pass-ended`, `stream-sent` and `woken` are left out) / gave this output. */
  onInput?(host: string, input: Input, world: WorldView): void;
  onOutput?(host: string, output: Output, world: WorldView): void;
  /** The application was answered (the ghost has been told already). */
  onCompletion?(completion: Completion, world: WorldView): void;
  /**
   * A host crashed, lost power, came back. At a crash its disks are already what they are after it, while `node` is still there, as it
   * was right before.
   */
  onHost?(host: string, what: 'crash' | 'power-loss' | 'boot', world: WorldView): void;
  /** Called now and then at quiet moments (every `checkIntervalUs` and after each fault). */
  onCheckpoint?(world: WorldView): void;
  /** After the settling phase. */
  onEnd?(world: WorldView): void;
}

export interface Completion {
  host: string;
  volume: number;
  operation: 'read' | 'write' | 'flush';
  id: number;
  sector: number;
  sectors: number;
  /** Present when a read succeeded. */
  data?: Uint8Array;
  ok: boolean;
  issuedAtUs: number;
}

/** What a checker may see: everything, as it is now. */
export interface WorldView {
  readonly nowUs: number;
  readonly phase: 'preparing' | 'storm' | 'settling' | 'ended';
  readonly setup: Setup;
  readonly hosts: readonly HostView[];
  readonly ghost: GhostView;
  host(name: string): HostView;
  /** True while a fault that can explain lost connections between these two is active, or was within the last `graceUs`. */
  disturbed(hostA: string, hostB: string, graceUs: number): boolean;
  report(violation: Violation): void;
  /** A `sometimes` property of the scenario came true (counted in `coverage.sometimes`). */
  reached(sometimes: string): void;
}

export interface HostView {
  readonly name: string;
  readonly spec: HostSpec;
  /** What its configuration file says now: `spec.config`, or what an operator has changed it to. */
  readonly config: ResourceConfig;
  readonly state: 'running' | 'paused' | 'down';
  /** The core; undefined while down. */
  readonly node: Node | undefined;
  /** The devices as a reader would see them now (cache included). */
  disk(volume: number): DiskView;
}

export interface DiskView {
  /** Sizes of the devices as they are now, and where the metadata was last known to end (internal metadata). */
  readonly dataSectors: number;
  readonly metaSectors: number;
  readonly rememberedSectors: number;
  /** Reads through the cache: what the device answers now. */
  read(area: 'data' | 'meta', sector: number, sectors: number): Uint8Array;
  /** Would `read` bring nothing but zeros? */
  isZero(area: 'data' | 'meta', sector: number, sectors: number): boolean;
  /** Only what is durable. */
  readDurable(area: 'data' | 'meta', sector: number, sectors: number): Uint8Array;
  /** A value that is equal for equal content of a 4 KiB block of the data area, on every host (content id, 0 = zeros), never reused in a run. */
  blockId(block: number): number;
  /** That block's 4096 bytes without a copy (zeros behind the end of the device); not to be changed or kept. */
  blockBytes(block: number): Uint8Array;
  /** Blocks of the data area that hold anything but zeros, in ascending order. */
  writtenBlocks(): Iterable<number>;
}

/** What the simulator itself knows of each 512-byte sector: every write issued, acknowledged, flushed, with a unique stamp. */
export interface GhostView {
  /** Stamps that a correct reader may find in this sector now (the last acknowledged one and everything issued since), 0 = never written. */
  allowed(volume: number, sector: number): readonly number[];
  /** The last acknowledged stamp of this sector. */
  acknowledged(volume: number, sector: number): number;
  /** Sectors ever written. */
  sectors(volume: number): Iterable<number>;
  /** Writes acknowledged so far. */
  readonly acknowledgedWrites: number;
}

// ---- Runs -------------------------------------------------------------------------------------------------------

export type Verdict = 'passed' | 'failed' | 'unchecked' | 'excused';

export interface RunRequest {
  scenario: string;
  parameters: Parameters;
  seed: number;
  /** What the scenario draws in another way than the seed says; at most one for each stream. */
  splices?: readonly Splice[];
  /** Replaces the schedule of the seed. */
  schedule?: Fault[];
  /** Replaces a part of what the scenario would set up. */
  pinned?: Pinned;
  /** The same past until then, and after it another future (from 1; 0: its own), by other random numbers and other faults. */
  turn?: { atUs: number; future: number };
  /** Bring what happened as data too (`RunResult.record`). */
  record?: boolean;
  /** Keep the survivor's image here. */
  image?: string;
  /** Write every input and output as a JSON line here. */
  trace?: string;
}

/**
 * Two runs spliced: the first `after` numbers of this stream are the seed's own, those behind it are the first ones of the same stream of
 * another seed. The scenario draws its faults from such streams one after the other, so that a splice keeps the first ones and has others follow; since
 * the scenario itself has drawn it, what comes out is as possible as any seed's.
 */
export interface Splice {
  /** Name of the stream, below that of the setup: `swarm/faults`. */
  stream: string;
  after: number;
  seed: number;
}

/** What shrinking may take out of a setup, besides faults, without making it another scenario: less storm, less application, less chance. */
export interface Pinned {
  /** Length of the storm. */
  durationUs?: number;
  /** These requests in the place of a synthetic workload. */
  requests?: readonly ListedRequest[];
  /** A recorded workload stops after so many entries. */
  entries?: number;
  /** Network and disks take the same time for the same thing. */
  steady?: boolean;
}

/** What happened in a run, as data. Times count from the beginning of the storm. */
export interface RunRecord {
  /** The beginning of the storm, from that of the run. */
  beganUs: number;
  /** Length of the storm. */
  durationUs: number;
  /** Faults in the order in which they fired; `found`: there was something to break. */
  faults: { id: string; atUs: number; found: boolean }[];
  requests: RecordedRequest[];
}

/** `unknown`: its host died first, or the run ended. */
export type RecordedRequest = ListedRequest & { outcome: 'done' | 'failed' | 'unknown'; endedUs?: number };

/** A row of runs.csv, `run --json`, and what sweeps count. */
export interface RunResult {
  scenario: string;
  seed: number;
  splices?: readonly Splice[];
  parameters: Parameters;
  verdict: Verdict;
  /** Why unchecked, excused or failed, in one line. */
  reason?: string;
  violations: Violation[];
  /** The core or the simulator threw: the harness or an invariant broke. */
  crash?: string;
  traceHash: string;
  /** Of a run that turned: the hash of its trace until then. */
  pastHash?: string;
  schedule: Fault[];
  metrics: RunMetrics;
  /** Counters that a sweep adds up. */
  coverage: {
    /** Rules that made a decision: those of the comparison by number, others by name. */
    rules: Record<string, number>;
    /** DRBD name → how many were sent and arrived. */
    packets: Record<string, number>;
    /** `conn:WFBitMapS` → how often that was entered. */
    states: Record<string, number>;
    /** `conn:Connected→WFBitMapS`. */
    transitions: Record<string, number>;
    /** `write log | flush meta`: a host died behind the first operation of its disks and before the end of the second. */
    crashPositions: Record<string, number>;
    /** Kinds of faults that found something to break. */
    faults: Record<string, number>;
    sometimes: Record<string, number>;
  };
  /** What happened, for people: at most a few hundred lines of (time, host, text). */
  story: { atUs: number; host: string; text: string }[];
  /** Where the request asked for it. */
  record?: RunRecord;
}

export interface RunMetrics {
  simulatedUs: number;
  /** What the clock brought: segments, disk operations, alarms, … */
  events: number;
  /** What the cores were given, ends of passes included. */
  inputs: number;
  outputs: number;
  issuedWrites: number;
  acknowledgedWrites: number;
  failovers: number;
  resyncBits: number;
  /** Longest time without service between a primary's death and the first write acknowledged by its successor; 0 without failover. */
  failoverUs: number;
  /** Longest resync, from start to end. */
  resyncUs: number;
  activeExtentsAtCrash: number;
  disconnects: number;
}

// ---- Application ------------------------------------------------------------------------------------------------

export interface WorkloadRequest {
  operation: 'read' | 'write' | 'flush';
  volume: number;
  sector: number;
  sectors: number;
  fua: boolean;
  /** A write that leaves zeros, in this way, and brings no data. */
  zeros?: 'discard' | 'zeroes' | 'zeroes-unmap';
  /** Recorded workloads bring their bytes; synthetic ones leave them to the ghost, which stamps each sector. */
  data?: Uint8Array;
  /** Which client issues it (synthetic), the log entry (recorded), or the place in the list (listed). */
  tag: number;
  /** Which of several Primaries is meant. */
  host?: string;
}

/** The application above the primary, as the engine's client actor asks it. Plain and deterministic: its own random stream only. */
export interface Workload {
  /** The storm begins: from here on it may be polled. */
  began?(nowUs: number): void;
  /** `issue`: this request now, then poll again. `wait`: poll again then. `blocked`: poll after the next completion. */
  poll(nowUs: number): { do: 'issue'; request: WorkloadRequest } | { do: 'wait'; untilUs: number } | { do: 'blocked' } | { do: 'finished' };
  completed(request: WorkloadRequest, ok: boolean, nowUs: number): void;
  /** The primary died or lost its device: outstanding requests have an unknown fate. Afterwards the client goes on with the successor. */
  interrupted(nowUs: number): void;
  /** Recorded workloads: how many leading log entries are complete (`SurvivorImage.acknowledgedEntries`). */
  completedEntries?(): number;
}

/** The ghost as the engine feeds it. */
export interface Ghost extends GhostView {
  /**
   * Registers a request; for a synthetic write returns the stamped bytes to write, for a recorded one its own bytes. The engine
   * copies them at once, so they may live in a buffer that the ghost uses again.
   */
  issued(id: number, host: string, request: WorkloadRequest, nowUs: number): Uint8Array | undefined;
  completed(id: number, ok: boolean, nowUs: number): void;
  /** These requests will never be answered: their writes may or may not be there. */
  abandoned(ids: readonly number[], nowUs: number): void;
  /** The stamp found in this sector of `bytes` (at `offset` bytes), 0 for a sector of zeros. */
  stampOf(bytes: Uint8Array, offset: number): number;
}
