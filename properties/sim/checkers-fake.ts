/**
 * A world without an engine for the tests of the checkers: two hosts whose disks and states the test sets as it likes, so
 * that any violation can be planted. Everything goes to all checkers in the order in which the engine would tell them.
 */

import { defaultDiskOptions, defaultNetOptions } from '../../src/config/defaults.js';
import type { Command, Input, Node, Observation, ObservedState, OnIoError, Output, PeerView, Protocol, VolumeView } from '../../src/contract/index.js';
import { createMdSteps, newSuperblock } from '../../src/metadata/create-md.js';
import { type Layout, layoutOf } from '../../src/metadata/layout.js';
import { type Bitmap, createBitmap } from '../../src/metadata/bitmap.js';
import { type Superblock, SuperblockFlag, encodeSuperblock } from '../../src/metadata/superblock.js';
import { encodeState } from '../../src/node/snapshot.js';
import { Conn, Disk, Role } from '../../src/state/states.js';
import { makeCheckers } from '../../sim/checkers/index.js';
import { type GhostRecord, createGhost } from '../../sim/ghost.js';
import type { Checker, DiskView, HostSpec, HostView, PropertyName, Setup, Violation, WorldView } from '../../sim/types.js';

export const ALICE = 0;
export const BOB = 1;
const NAMES = ['alice', 'bob'] as const;
/** 8 MiB and 256 KiB of metadata device. */
const DATA_SECTORS = 16384;
const META_SECTORS = 2048;

export class FakeDisk implements DiskView {
  readonly dataSectors = DATA_SECTORS;
  readonly metaSectors = META_SECTORS;
  readonly rememberedSectors = META_SECTORS;
  private readonly blocks = new Map<number, Uint8Array>();
  private readonly meta = new Uint8Array(META_SECTORS * 512);

  constructor(private readonly contents: Map<string, number>) {}

  read(area: 'data' | 'meta', sector: number, sectors: number): Uint8Array {
    if (area === 'meta') return this.meta.slice(sector * 512, (sector + sectors) * 512);
    const bytes = new Uint8Array(sectors * 512);
    for (let n = 0; n < sectors; n++) {
      const at = sector + n;
      bytes.set(this.blockBytes(Math.floor(at / 8)).subarray((at % 8) * 512, (at % 8) * 512 + 512), n * 512);
    }
    return bytes;
  }
  isZero(area: 'data' | 'meta', sector: number, sectors: number): boolean {
    return this.read(area, sector, sectors).every((byte) => byte === 0);
  }
  readDurable(area: 'data' | 'meta', sector: number, sectors: number): Uint8Array {
    return this.read(area, sector, sectors);
  }
  blockBytes(block: number): Uint8Array {
    return this.blocks.get(block) ?? new Uint8Array(4096);
  }
  blockId(block: number): number {
    const bytes = this.blockBytes(block);
    if (bytes.every((byte) => byte === 0)) return 0;
    const key = Buffer.from(bytes).toString('latin1');
    let id = this.contents.get(key);
    if (id === undefined) this.contents.set(key, (id = this.contents.size + 1));
    return id;
  }
  *writtenBlocks(): Iterable<number> {
    for (const block of [...this.blocks.keys()].sort((a, b) => a - b)) if (this.blockId(block) !== 0) yield block;
  }
  write(sector: number, bytes: Uint8Array): void {
    for (let n = 0; n * 512 < bytes.length; n++) {
      const at = sector + n;
      const block = Math.floor(at / 8);
      const copy = this.blockBytes(block).slice();
      copy.set(bytes.subarray(n * 512, n * 512 + 512), (at % 8) * 512);
      this.blocks.set(block, copy);
    }
  }
  writeMeta(sector: number, bytes: Uint8Array): void {
    this.meta.set(bytes, sector * 512);
  }
  copyFrom(other: FakeDisk): void {
    this.blocks.clear();
    for (const [block, bytes] of other.blocks) this.blocks.set(block, bytes.slice());
  }
}

export class FakeWorld implements WorldView {
  nowUs = 0;
  phase: WorldView['phase'] = 'storm';
  readonly setup: Setup;
  readonly ghost: GhostRecord;
  readonly hosts: HostView[];
  readonly violations: Violation[] = [];
  readonly sometimes: string[] = [];
  readonly disks: FakeDisk[];
  readonly bitmaps: (Bitmap | undefined)[];
  readonly inFlight: { sector: number; sectors: number; request: number | undefined }[][] = [[], []];
  readonly layout: Layout;
  /** As both nodes see the volume; the disks may be longer. */
  sizeSectors = DATA_SECTORS;
  /** As alice alone sees it, where that differs. */
  alicesSectors: number | undefined = undefined;
  /** What `disturbed` answers. */
  isDisturbed = false;
  /** Why both nodes hold requests back. */
  frozenReason: string | undefined = undefined;
  private readonly up = [true, true];
  private readonly states: ObservedState[];
  private readonly checkers: Checker[];
  private lastId = 0;

  constructor(options: { protocol?: Protocol; splitBrainPossible?: boolean; activeSetExtents?: number; protocolMax?: number; onIoError?: OnIoError } = {}) {
    const { protocol = 'C', splitBrainPossible = true, activeSetExtents = 67, protocolMax = 101, onIoError = 'detach' } = options;
    const spec = (place: number): HostSpec => ({
      name: NAMES[place]!,
      disks: [{ volume: 0, dataSectors: DATA_SECTORS, metaSectors: META_SECTORS }],
      config: {
        resource: 'r0',
        volumes: [{ volume: 0, minor: 0, metaDisk: { kind: 'flexible' }, disk: { ...defaultDiskOptions, onIoError }, sizeSectors: 0 }],
        peers: [{ name: NAMES[1 - place]!, net: { ...defaultNetOptions, protocol } }],
        onNoDataAccessible: 'io-error',
        handlers: [],
        protocolMin: 86,
        protocolMax,
      },
      handlers: [],
    });
    this.setup = {
      parameters: {},
      hosts: [spec(ALICE), spec(BOB)],
      network: { latencyUs: 0, jitterUs: 0, bytesPerSecond: 1 },
      disk: { readUs: 0, writeUs: 0, flushUs: 0, jitterUs: 0, bytesPerSecond: 1 },
      workload: { kind: 'synthetic', clients: 1, queueDepth: 1, writes: 1, readShare: { numerator: 0, denominator: 1 }, flushEvery: 0, fuaEvery: 0, zerosOneIn: 0, pattern: 'random', firstSector: 0, sectors: 1, maxRequestSectors: 8, thinkUs: 0 },
      schedule: [],
      prepare: [],
      initial: 'synced',
      onBoot: 'nothing',
      failover: { by: 'nobody' },
      afterStorm: [],
      durationUs: 0,
      settleUs: 0,
      expectations: { protocol, splitBrainPossible, unexpectedDisconnectsAllowed: false, skip: [], activeSetExtents },
    };
    const contents = new Map<string, number>();
    this.disks = [new FakeDisk(contents), new FakeDisk(contents)];
    const placed = layoutOf({ kind: 'flexible' }, { dataSectors: DATA_SECTORS, metaSectors: META_SECTORS, shared: false });
    if (!placed.ok) throw new Error(placed.refusal.detail);
    this.layout = placed.value;
    for (const disk of this.disks) {
      for (const step of createMdSteps(this.layout, this.superblock(SuperblockFlag.Consistent | SuperblockFlag.WasUpToDate), this.layout.bitmapSectors)) {
        if (step.step === 'write') disk.writeMeta(step.sector, step.data);
      }
    }
    this.bitmaps = [createBitmap(DATA_SECTORS), createBitmap(DATA_SECTORS)];
    this.ghost = createGhost(this.setup);
    const booted = (): ObservedState => ({ role: Role.Secondary, peer: Role.Unknown, conn: Conn.StandAlone, disk: Disk.Diskless, pdsk: Disk.DUnknown, flags: [] });
    this.states = [booted(), booted()];
    this.hosts = [ALICE, BOB].map((place) => this.hostView(place));
    this.checkers = makeCheckers(this.setup);
  }

  private hostView(place: number): HostView {
    const world = this as FakeWorld;
    return {
      name: NAMES[place]!,
      spec: this.setup.hosts[place]!,
      config: this.setup.hosts[place]!.config,
      get state() {
        return world.up[place] ? ('running' as const) : ('down' as const);
      },
      get node() {
        return world.up[place] ? world.node(place) : undefined;
      },
      disk: () => this.disks[place]!,
    };
  }

  private node(place: number): Node {
    const { role, peer: peerRole, conn, disk, pdsk } = this.states[place]!;
    const state = { role, peer: peerRole, conn, disk, pdsk, aftrIsp: false, peerIsp: false, userIsp: false, susp: false, suspNod: false, suspFen: false } as PeerView['state'];
    const peer: PeerView = { peer: NAMES[1 - place]!, state, bitmap: this.bitmaps[place], failedBits: 0 };
    const volume: VolumeView = { volume: 0, peers: [peer], uuids: undefined, sizeSectors: (place === ALICE ? this.alicesSectors : undefined) ?? this.sizeSectors, activeExtents: [], superblock: undefined, activityLogTransactions: 0, inFlight: this.inFlight[place]!, waiting: 0 };
    const resource = { resource: 'r0', volumes: [volume], suspended: false, frozenReason: this.frozenReason };
    // Nothing waits in it.
    return { resources: () => [resource], snapshot: () => encodeState({ resources: new Map() }) } as unknown as Node;
  }

  superblock(flags: number): Superblock {
    return { ...newSuperblock(this.layout), lastAgreedSectors: DATA_SECTORS, flags };
  }

  host(name: string): HostView {
    return this.hosts[NAMES.indexOf(name as 'alice')]!;
  }
  disturbed(): boolean {
    return this.isDisturbed;
  }
  report(violation: Violation): void {
    this.violations.push(violation);
  }
  reached(sometimes: string): void {
    this.sometimes.push(sometimes);
  }

  // ---- What the tests do ---------------------------------------------------------------------------------------------

  /** Properties reported so far, each once. */
  get reported(): PropertyName[] {
    return [...new Set(this.violations.map(({ property }) => property))];
  }

  later(us = 1_000_000): void {
    this.nowUs += us;
  }

  observe(place: number, event: Observation): void {
    for (const checker of this.checkers) checker.onOutput?.(NAMES[place]!, { type: 'observe', event }, this);
  }

  /** A state change of volume 0. */
  state(place: number, change: Partial<ObservedState>, reason = ''): void {
    const from = this.states[place]!;
    const to = { ...from, ...change };
    this.states[place] = to;
    this.observe(place, { event: 'state', resource: 'r0', volume: 0, peer: NAMES[1 - place]!, from, to, reason });
  }

  decide(place: number, decision: string, rule: string, detail: string): void {
    this.observe(place, { event: 'decision', resource: 'r0', volume: 0, peer: NAMES[1 - place]!, decision, rule, detail });
  }

  command(place: number, command: Command): void {
    for (const checker of this.checkers) checker.onInput?.(NAMES[place]!, { type: 'command', id: 1, command }, this);
  }

  /** The answer to the last command. */
  answer(place: number): void {
    for (const checker of this.checkers) checker.onOutput?.(NAMES[place]!, { type: 'reply', command: 1, reply: { ok: true, code: 1, text: '' } }, this);
  }

  hears(place: number, input: Input): void {
    for (const checker of this.checkers) checker.onInput?.(NAMES[place]!, input, this);
  }

  says(place: number, output: Output): void {
    for (const checker of this.checkers) checker.onOutput?.(NAMES[place]!, output, this);
  }

  handlerExits(place: number, exitCode: number): void {
    for (const checker of this.checkers) checker.onInput?.(NAMES[place]!, { type: 'handler-exited', handler: 1, exitCode }, this);
  }

  /** Both attached, connected, UpToDate; alice is Primary. */
  up2date(): void {
    for (const place of [ALICE, BOB]) {
      this.state(place, { disk: Disk.UpToDate, conn: Conn.WFConnection });
      this.state(place, { conn: Conn.Connected, pdsk: Disk.UpToDate, peer: Role.Secondary });
    }
    this.state(ALICE, { role: Role.Primary });
    this.state(BOB, { peer: Role.Primary });
    for (const disk of this.disks) disk.writeMeta(this.layout.superblockSector, encodeSuperblock(this.superblock(SuperblockFlag.Consistent | SuperblockFlag.WasUpToDate | SuperblockFlag.PrimaryInd)));
  }

  /** The link is gone and both know it. */
  part(): void {
    for (const place of [ALICE, BOB]) this.state(place, { conn: Conn.WFConnection, pdsk: Disk.DUnknown, peer: Role.Unknown });
  }

  get lastRequest(): number {
    return this.lastId;
  }

  issue(place: number, sector: number, sectors = 8, fua = false): { id: number; bytes: Uint8Array } {
    const id = ++this.lastId;
    const bytes = this.ghost.issued(id, NAMES[place]!, { operation: 'write', volume: 0, sector, sectors, fua, tag: 0 }, this.nowUs)!.slice();
    for (const checker of this.checkers) {
      checker.onInput?.(NAMES[place]!, { type: 'app-write', resource: 'r0', volume: 0, id, sector, data: bytes, fua }, this);
    }
    return { id, bytes };
  }

  /** Zeroes that are never answered. */
  issueZeroes(place: number, sector: number, sectors = 8): void {
    const id = ++this.lastId;
    this.ghost.issued(id, NAMES[place]!, { operation: 'write', volume: 0, sector, sectors, fua: false, tag: 0, zeros: 'zeroes' }, this.nowUs);
    for (const checker of this.checkers) {
      checker.onInput?.(NAMES[place]!, { type: 'app-write-zeroes', resource: 'r0', volume: 0, id, sector, sectors, mayUnmap: false }, this);
    }
  }

  complete(place: number, id: number, operation: 'read' | 'write' | 'flush', ok = true, read?: { sector: number; data: Uint8Array }): void {
    const write = this.ghost.pending.get(id)?.write;
    this.ghost.completed(id, ok, this.nowUs);
    const { sector, sectors } = read !== undefined ? { sector: read.sector, sectors: read.data.length / 512 } : (write ?? { sector: 0, sectors: 0 });
    const completion = { host: NAMES[place]!, volume: 0, operation, id, sector, sectors, ok, issuedAtUs: 0, ...(read && { data: read.data }) };
    for (const checker of this.checkers) checker.onCompletion?.(completion, this);
  }

  /** A write that is acknowledged, and shows on the disks of `shown`. */
  write(place: number, sector: number, shown: readonly number[] = [ALICE, BOB], sectors = 8, fua = false): Uint8Array {
    const { id, bytes } = this.issue(place, sector, sectors, fua);
    for (const one of shown) this.disks[one]!.write(sector, bytes);
    this.complete(place, id, 'write');
    return bytes;
  }

  /** A flush that is answered; `during`: what happens before that. */
  flush(place: number, during: () => void = () => undefined): void {
    const id = ++this.lastId;
    this.ghost.issued(id, NAMES[place]!, { operation: 'flush', volume: 0, sector: 0, sectors: 0, fua: false, tag: 0 }, this.nowUs);
    for (const checker of this.checkers) checker.onInput?.(NAMES[place]!, { type: 'app-flush', resource: 'r0', volume: 0, id }, this);
    during();
    this.complete(place, id, 'flush');
  }

  /** A read that finds what the host's disk shows, or `data`. */
  read(place: number, sector: number, sectors = 8, data = this.disks[place]!.read('data', sector, sectors)): void {
    const id = ++this.lastId;
    this.ghost.issued(id, NAMES[place]!, { operation: 'read', volume: 0, sector, sectors, fua: false, tag: 0 }, this.nowUs);
    this.complete(place, id, 'read', true, { sector, data });
  }

  goDown(place: number, what: 'crash' | 'power-loss' = 'crash'): void {
    this.ghost.abandoned([...this.ghost.pending.values()].filter(({ host }) => host === place).map(({ id }) => id), this.nowUs);
    for (const checker of this.checkers) checker.onHost?.(NAMES[place]!, what, this);
    this.up[place] = false;
    this.states[place] = { role: Role.Secondary, peer: Role.Unknown, conn: Conn.StandAlone, disk: Disk.Diskless, pdsk: Disk.DUnknown, flags: [] };
  }

  boot(place: number): void {
    this.up[place] = true;
    this.bitmaps[place] = createBitmap(DATA_SECTORS);
    for (const checker of this.checkers) checker.onHost?.(NAMES[place]!, 'boot', this);
  }

  checkpoint(): void {
    for (const checker of this.checkers) checker.onCheckpoint?.(this);
  }

  end(): void {
    this.phase = 'ended';
    for (const checker of this.checkers) checker.onEnd?.(this);
  }
}
