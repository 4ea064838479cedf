/**
 * Which host must hold which write: the simulator's own account of the guarantees (design: the table), kept from what nodes
 * are told, what they say and what becomes of them. The checkers ask it what a disk must show.
 *
 * For each write and host: `must` (its disk shows the write or something newer), `durable` (also after a power loss, since a
 * flush or FUA covers it), `never` (it cannot be there). Everything else may be there or not: writes in flight at a crash, the
 * suffix that protocol A may lose, what a peer missed while it was away.
 *
 * The account takes over from one host to the other when a resync ends, and keeps apart what two Primaries wrote while they
 * did not see each other. Two hosts only, as in every scenario so far.
 */

import type { Input, Output, VolumeView } from '../../src/contract/index.js';
import { Conn, Disk, Role } from '../../src/state/states.js';
import type { Completion, Setup, WorldView } from '../types.js';
import { recordOf, type GhostRecord, type WriteRecord } from '../ghost.js';
import { writtenRange } from './image.js';
import { readStoredMetadata } from './marks.js';
import { configNamed, volumeViewOf, volumesOf } from '../spec.js';

/** One volume as its host last said it is (state observations); how it starts after each boot is `asBooted`. */
export interface VolumeStatus {
  role: number;
  peer: number;
  conn: number;
  disk: number;
  pdsk: number;
  /** Place in the order of events when `conn` last rose to Connected or more, and when `role` last became Primary. */
  connectedAt: number;
  primaryAt: number;
}

export interface HostStatus {
  up: boolean;
  boots: number;
  /** Places in the order of events. */
  downAt: number;
  powerLostAt: number;
  /** Volumes that it wrote as Primary, and no resync has replaced since: its cache may hold what only the application's flushes order. */
  wrotePrimary: Set<number>;
  /** Those of which it has lost that cache. */
  lostCacheAsPrimary: Set<number>;
  /** It was told to outdate itself by a fence-peer handler and no resync has made it current since. */
  outdated: boolean;
  volumes: Map<number, VolumeStatus>;
}

/** A decision that a node said it made (handshakes, promotions, fencing). */
export interface Decision {
  atUs: number;
  host: number;
  volume: number;
  /** `handshake: source`, `handshake: refuse`, `fence-peer`, … */
  decision: string;
  rule: string;
  /** The step of generation-uuids.md §6 that had the last word: `uuid-compare`, `disk-states`, `after-sb-0pri`, `split-brain`, … */
  decidedBy: string;
}

export interface Promotion {
  host: number;
  volume: number;
  forced: boolean;
  /** Acknowledged writes that the guarantee lets it miss: it was away when they were written. */
  missed: number;
}

/** Why a write of a Primary whose own disk is not UpToDate may be lost. */
const ONLY_PEER = 'only the peer was UpToDate, and did not get it for good';

/** Place of the bitmap UUID in a superblock: 0 while the two are in sync. */
const BITMAP_UUID = 1;

const asBooted = (): VolumeStatus => ({
  role: Role.Secondary, peer: Role.Unknown, conn: Conn.StandAlone, disk: Disk.Diskless, pdsk: Disk.DUnknown, connectedAt: 0, primaryAt: 0,
});

const targetStates: readonly number[] = [Conn.SyncTarget, Conn.PausedSyncT, Conn.WFBitMapT, Conn.WFSyncUUID, Conn.StartingSyncT, Conn.Behind];
const sourceStates: readonly number[] = [Conn.SyncSource, Conn.PausedSyncS, Conn.WFBitMapS, Conn.StartingSyncS, Conn.Ahead];

export const isTargetState = (conn: number): boolean => targetStates.includes(conn);
export const isSourceState = (conn: number): boolean => sourceStates.includes(conn);

/** The UUIDs had parted, and a policy, an operator or nobody solved it. */
export const isSplitBrainDecision = ({ decidedBy }: Decision): boolean => /^(after-sb-[012]pri|discard-my-data|split-brain)$/.test(decidedBy);

export const isRefusal = ({ decision }: Decision): boolean => decision === 'handshake: refuse';

export class Lineage {
  readonly hosts: HostStatus[];
  readonly decisions: Decision[] = [];
  /** Called when a volume became Primary, before anything that it misses is written off. */
  onPromotion: ((promotion: Promotion, world: WorldView) => void)[] = [];
  /** Called when one side calls the connection made, before anything is taken for equal. */
  onMeeting: ((host: number, volume: number, world: WorldView) => void)[] = [];
  /** Volumes whose next promotion was asked for with force, by host. */
  private readonly forced: Set<number>[];
  /** Since both were last in sync, this side was given writes, or could be, that the other could not get: it may have parted. */
  readonly parted: Map<number, boolean>[];
  /** Volumes whose last resync from this host has ended, and those for which it is a source whose target has not begun. */
  private readonly served: Set<number>[];
  private readonly offered: Set<number>[];
  /** Volumes for which this host keeps a bitmap UUID and marks of a resync that the other knows to be over, or never knew of. */
  readonly lostEnd: Set<number>[];
  /** By host and volume, since both were last in sync: its current generation, how often that changed, how often by an operator's order. */
  private readonly generations: Map<number, { current: string; begun: number; given: number }>[];
  /** Operators' orders that throw data away, by host and volume: the next resync may. */
  private readonly orders: Map<number, string>[];
  /** By host and volume: changes each time when the content may have been replaced (crash, resync). */
  private readonly contents: Map<number, number>[];
  /** Acknowledged and not settled yet. */
  private unsettled: WriteRecord[] = [];

  constructor(private readonly setup: Setup) {
    this.hosts = setup.hosts.map(() => ({
      up: true,
      boots: 0,
      downAt: 0,
      powerLostAt: 0,
      wrotePrimary: new Set<number>(),
      lostCacheAsPrimary: new Set<number>(),
      outdated: false,
      volumes: new Map<number, VolumeStatus>(),
    }));
    this.forced = setup.hosts.map(() => new Set<number>());
    this.parted = setup.hosts.map(() => new Map<number, boolean>());
    this.served = setup.hosts.map(() => new Set<number>());
    this.offered = setup.hosts.map(() => new Set<number>());
    this.lostEnd = setup.hosts.map(() => new Set<number>());
    this.generations = setup.hosts.map(() => new Map<number, { current: string; begun: number; given: number }>());
    this.orders = setup.hosts.map(() => new Map<number, string>());
    this.contents = setup.hosts.map(() => new Map<number, number>());
  }

  status(host: number, volume: number): VolumeStatus {
    const { volumes } = this.hosts[host]!;
    let status = volumes.get(volume);
    if (status === undefined) volumes.set(volume, (status = asBooted()));
    return status;
  }

  peerOf(host: number): number {
    return 1 - host;
  }

  hostPlace(name: string): number {
    return this.setup.hosts.findIndex((host) => host.name === name);
  }

  /** The peer's disk is kept current by this host: what is acknowledged now is promised on both (protocols B and C). */
  private mirrors(host: number, volume: number): boolean {
    const status = this.status(host, volume);
    return status.conn >= Conn.Connected && status.pdsk === Disk.UpToDate;
  }

  /** What the peer held when this host was last connected to it has not been lost since. */
  private peerKept(host: number, volume: number): boolean {
    const peer = this.hosts[this.peerOf(host)]!;
    const lostAt = this.setup.expectations.protocol === 'C' ? peer.powerLostAt : peer.downAt;
    return lostAt < this.status(host, volume).connectedAt;
  }

  // ---- What happens ---------------------------------------------------------------------------------------------

  onInput(host: string, input: Input, world: WorldView): void {
    if (input.type !== 'app-write' && input.type !== 'handler-exited' && input.type !== 'command') return;
    const place = this.hostPlace(host);
    const written = writtenRange(input);
    if (written) {
      const write = recordOf(world.ghost).requests.get(written.id)?.write;
      if (write !== undefined && this.status(place, written.volume).conn < Conn.WFReportParams) write.never |= 1 << this.peerOf(place);
      return;
    }
    // A fence-peer handler that says 4 has outdated the peer (node-states.md §8.9); the only handler with such a code.
    if (input.type === 'handler-exited' && input.exitCode === 4) this.hosts[this.peerOf(place)]!.outdated = true;
    if (input.type !== 'command') return;
    const { command } = input;
    switch (command.verb) {
      case 'primary':
        for (const { volume } of configNamed(this.setup.hosts[place]!, command.resource).volumes) {
          if (command.force) this.forced[place]!.add(volume);
          else this.forced[place]!.delete(volume);
        }
        return;
      case 'invalidate':
        this.orders[place]!.set(command.volume, 'invalidate');
        return;
      case 'invalidate-remote':
        this.orders[this.peerOf(place)]!.set(command.volume, 'invalidate-remote');
        return;
      case 'new-current-uuid':
        // Its data is another's from now on because an operator says so.
        if (this.status(place, command.volume).conn !== Conn.StandAlone) return;
        this.parted[place]!.set(command.volume, true);
        this.generationsOf(place, command.volume).given++;
        return;
      case 'connect':
        if (!command.discardMyData) return;
        for (const { volume } of configNamed(this.setup.hosts[place]!, command.resource).volumes) this.orders[place]!.set(volume, 'discard-my-data');
        return;
      default:
        return;
    }
  }

  onOutput(host: string, output: Output, world: WorldView): void {
    if (output.type !== 'observe') return;
    const { event } = output;
    const place = this.hostPlace(host);
    if (event.event === 'decision') {
      const { volume, decision, rule, detail } = event;
      this.decisions.push({ atUs: world.nowUs, host: place, volume, decision, rule, decidedBy: detail.split(';')[0]! });
    }
    if (event.event === 'generation') {
      const generations = this.generationsOf(place, event.volume);
      // Bit 0 only says whether it was Primary.
      const current = (BigInt(`0x${event.uuids[0]}`) >> 1n).toString(16);
      if (generations.current !== '' && generations.current !== current) generations.begun++;
      generations.current = current;
    }
    if (event.event !== 'state') return;
    const ghost = recordOf(world.ghost);
    const status = this.status(place, event.volume);
    const from = { ...status };
    const { to } = event;
    Object.assign(status, { role: to.role, peer: to.peer, conn: to.conn, disk: to.disk, pdsk: to.pdsk });
    if (to.conn >= Conn.Connected && from.conn < Conn.Connected) {
      this.connected(place, event.volume, status, ghost);
      for (const tell of this.onMeeting) tell(place, event.volume, world);
    }
    // Protocol A: what a Primary on a disk that is not UpToDate had only handed to the transport.
    if (to.conn < Conn.Connected && from.conn >= Conn.Connected) {
      for (const write of this.unsettled) {
        if (write.volume === event.volume && write.host === place && isOwed(write) && write.must === 0) write.discarded = ONLY_PEER;
      }
    }
    const isTarget = (conn: number): boolean => conn === Conn.SyncTarget || conn === Conn.PausedSyncT;
    if (isSourceState(to.conn) && !isSourceState(from.conn) && !isTarget(this.status(this.peerOf(place), event.volume).conn)) this.offered[place]!.add(event.volume);
    if (isTarget(to.conn)) this.offered[this.peerOf(place)]!.delete(event.volume);
    if (to.conn < Conn.Connected && this.offered[place]!.delete(event.volume)) this.lostEnd[place]!.add(event.volume);
    const loses = holdsData(from.pdsk) && !holdsData(to.pdsk);
    // A Primary whose disk comes back while the other's is out of reach.
    const comesBack = to.role === Role.Primary && from.disk !== Disk.UpToDate && !holdsData(to.pdsk);
    if ((loses || comesBack) && to.disk === Disk.UpToDate) {
      this.served[place]!.delete(event.volume);
      // Also a former Primary may have acknowledged what never arrived (protocol A).
      const withPrimary = to.role === Role.Primary || to.peer === Role.Primary;
      if (withPrimary || this.onlyOn(place, this.peerOf(place), event.volume, ghost).length > 0) this.parted[place]!.set(event.volume, true);
    }
    if (to.disk === Disk.Inconsistent && from.disk > Disk.Inconsistent) {
      // An I/O error that is passed on, or an operator's order: what only this disk had is not to be had any more.
      const lost = isTargetState(to.conn) ? [] : this.onlyOn(place, this.peerOf(place), event.volume, ghost);
      for (const write of lost) write.discarded = 'the only disk that had it failed';
      forget(['must', 'durable'], place, event.volume, ghost);
    }
    // B promises the peer's memory, and a disk that fails does not take over what is there.
    if (to.disk === Disk.Failed && this.setup.expectations.protocol === 'B') {
      for (const write of this.unsettled) if (write.volume === event.volume && write.host !== place) this.lose(write, 1 << place);
    }
    // From now on it may be given anything that the source has.
    if (isTargetState(to.conn) && !isTargetState(from.conn)) forget(['never'], place, event.volume, ghost);
    if (to.role === Role.Primary && from.role !== Role.Primary) this.promoted(place, event.volume, status, world);
    if (to.conn >= Conn.Connected) this.madeEqual(place, event.volume, from, status, world);
    const inSync = this.hosts.every((_, host) => saysInSync(this.status(host, event.volume)));
    if (!inSync) return;
    for (const parted of this.parted) parted.set(event.volume, false);
    for (const lost of this.lostEnd) lost.delete(event.volume);
    for (const host of this.hosts.keys()) Object.assign(this.generationsOf(host, event.volume), { begun: 0, given: 0 });
  }

  private connected(host: number, volume: number, status: VolumeStatus, ghost: GhostRecord): void {
    status.connectedAt = ghost.next();
    // A write that came while nobody was there may still go out on this connection.
    for (const { write } of ghost.pending.values()) {
      if (write !== undefined && write.volume === volume) write.never &= ~(1 << this.peerOf(host));
    }
  }

  private promoted(host: number, volume: number, status: VolumeStatus, world: WorldView): void {
    const ghost = recordOf(world.ghost);
    status.primaryAt = ghost.next();
    this.hosts[host]!.wrotePrimary.add(volume);
    if (status.conn < Conn.Connected || status.pdsk <= Disk.Failed) this.parted[host]!.set(volume, true);
    const forced = this.forced[host]!.delete(volume);
    const bit = 1 << host;
    const lacking = ghost.writes.filter((write) => write?.volume === volume && isOwed(write) && (write.must & bit) === 0);
    // What a node lacks that is promoted in the middle of a resync is read from its source.
    if (status.conn >= Conn.Connected && status.pdsk === Disk.UpToDate && status.disk !== Disk.UpToDate) return;
    const promotion = { host, volume, forced, missed: lacking.filter((write) => !write.mirrored).length };
    for (const tell of this.onPromotion) tell(promotion, world);
    for (const write of lacking) {
      if (forced) write.discarded = 'promoted with force';
      else if (write.mirrored) write.discarded = `a suffix that protocol ${this.setup.expectations.protocol} or a power loss may cost`;
    }
  }

  /** After a resync, or a handshake that found none necessary, one disk is what the other is. */
  private madeEqual(host: number, volume: number, from: VolumeStatus, to: VolumeStatus, world: WorldView): void {
    const peer = this.peerOf(host);
    const ownRose = to.disk === Disk.UpToDate && from.disk !== Disk.UpToDate;
    const peerRose = to.pdsk === Disk.UpToDate && (from.pdsk !== Disk.UpToDate || from.conn < Conn.Connected);
    if (ownRose && isTargetState(from.conn) && !isTargetState(to.conn)) this.takeOver(peer, host, volume, world);
    else if (peerRose && isSourceState(from.conn) && !isSourceState(to.conn)) {
      if (this.peerKept(host, volume) && this.hosts[peer]!.up) this.takeOver(host, peer, volume, world);
    } else if ((ownRose || peerRose) && to.conn === Conn.Connected && to.disk === Disk.UpToDate && to.pdsk === Disk.UpToDate) {
      if (this.hosts[peer]!.up) this.unite(volume, recordOf(world.ghost));
    }
  }

  /** The target's content is the source's now. */
  private takeOver(source: number, target: number, volume: number, world: WorldView): void {
    const ghost = recordOf(world.ghost);
    const { protocol } = this.setup.expectations;
    // Only these themselves: what they overlap is older, and the target has that or something newer.
    const underway = new Set(protocol === 'C' ? [] : inFlightRanges(world, source, volume).map(({ request }) => request !== undefined && ghost.requests.get(request)?.write));
    for (const write of ghost.writes) {
      if (write === undefined || write.volume !== volume) continue;
      const isUnderway = underway.has(write);
      const uncertain = protocol === 'A' && isUnderway;
      // What its disk has given away is not only in its memory (protocol B).
      if (protocol === 'B' && !isUnderway && isOwed(write) && (write.must & (1 << source)) !== 0) write.settled = true;
      // It is settled again when nothing is on its way over it any more.
      if (uncertain && isOwed(write) && !this.unsettled.includes(write)) this.unsettled.push(write);
      for (const field of ['must', 'durable', 'never', 'lostPower'] as const) {
        const set = (write[field] & (1 << source)) !== 0 && !(uncertain && field !== 'never');
        write[field] = set ? write[field] | (1 << target) : write[field] & ~(1 << target);
      }
    }
    this.served[source]!.add(volume);
    this.contents[target]!.set(volume, ghost.next());
    setMember(this.hosts[target]!.wrotePrimary, volume, this.status(target, volume).role === Role.Primary);
    setMember(this.hosts[target]!.lostCacheAsPrimary, volume, this.hosts[source]!.lostCacheAsPrimary.has(volume));
    this.hosts[target]!.outdated = false;
    this.orders[target]!.delete(volume);
  }

  /** Both say that they are equal without a resync: each must hold what either must. */
  private unite(volume: number, ghost: GhostRecord): void {
    const both = (1 << this.hosts.length) - 1;
    for (const write of ghost.writes) {
      if (write === undefined || write.volume !== volume || write.discarded !== '') continue;
      if (write.must !== 0 && (this.setup.expectations.protocol !== 'A' || !write.mirrored)) write.must = both;
    }
    for (const host of this.hosts) host.outdated = false;
  }

  onCompletion(completion: Completion, world: WorldView): void {
    if (!completion.ok) return;
    const ghost = recordOf(world.ghost);
    const request = ghost.requests.get(completion.id);
    if (request === undefined) return;
    const { host, volume } = request;
    const peer = this.peerOf(host);
    const own = this.status(host, volume).disk === Disk.UpToDate ? 1 << host : 0;
    const mirrors = this.mirrors(host, volume);
    const kept = mirrors && this.setup.expectations.protocol !== 'A' && this.peerKept(host, volume);
    const { write } = request;
    if (write !== undefined) {
      // A target is sent it too, and may be good and take over before it arrives (protocol A; the source hears of that later).
      const { conn } = this.status(host, volume);
      write.mirrored = mirrors || (this.setup.expectations.protocol === 'A' && (conn === Conn.SyncSource || conn === Conn.PausedSyncS));
      this.unsettled.push(write);
      write.must |= own | (kept ? 1 << peer : 0);
      write.never &= ~write.must;
      if (write.must === 0 && !this.peerKept(host, volume)) write.discarded = ONLY_PEER;
      if (write.fua) write.durable |= own | (kept && this.flushesBoth() && this.fuaReachesPeer() ? 1 << peer : 0);
    } else if (request.operation === 'flush') {
      const covered = own | (kept && this.flushesBoth() ? 1 << peer : 0);
      // What another Primary wrote is in its own cache, which its own flushes empty: ours make the peer flush what we wrote.
      const peerWrites = this.status(peer, volume).role === Role.Primary;
      for (const earlier of ghost.writes) {
        if (earlier === undefined || (earlier.must & covered & ~earlier.durable) === 0) continue;
        if (earlier.volume === volume && earlier.outcome === 'acknowledged' && earlier.endedAt <= request.issuedAt) {
          earlier.durable |= earlier.must & (peerWrites && earlier.host !== host ? own : covered);
        }
      }
    }
  }

  /** A completed flush covers the peer's disk as well (design: protocol C, both lose power). */
  private flushesBoth(): boolean {
    const { expectations, hosts } = this.setup;
    return expectations.protocol === 'C' && hosts.every((host) => volumesOf(host).every((volume) => volume.disk.diskFlushes));
  }

  /** FUA travels in the packet since protocol 95 (sync-and-activity-log.md §5.7). */
  private fuaReachesPeer(): boolean {
    return this.setup.hosts.every((host) => host.config.protocolMax >= 95);
  }

  onHost(name: string, what: 'crash' | 'power-loss' | 'boot', world: WorldView): void {
    const ghost = recordOf(world.ghost);
    const place = this.hostPlace(name);
    const host = this.hosts[place]!;
    const bit = 1 << place;
    if (what === 'boot') {
      host.up = true;
      host.boots++;
      return;
    }
    host.up = false;
    host.downAt = ghost.next();
    for (const write of ghost.writes) {
      if (write === undefined) continue;
      // B promises the peer's memory, no more: what was not yet finished everywhere dies with it.
      const inMemory = this.setup.expectations.protocol === 'B' && write.host !== place && !write.settled;
      if (inMemory || (what === 'power-loss' && (write.durable & bit) === 0)) this.lose(write, bit);
      // The other one is Primary on a disk that is not UpToDate: what this one had, or was about to have, was all that counted.
      if (isOwed(write) && write.must === 0 && write.mirrored) write.discarded = ONLY_PEER;
      // Protocol A: it had given its own disk up for the peer's, which never got what was still on its way.
      const onItsWay = write.host === place && write.mirrored && (write.must & ~bit) === 0;
      const gaveUpDisk = this.status(place, write.volume).disk < Disk.Inconsistent && this.mirrors(place, write.volume);
      if (isOwed(write) && onItsWay && gaveUpDisk && this.setup.expectations.protocol === 'A') write.discarded = ONLY_PEER;
    }
    for (const volume of this.served[place]!) {
      const stored = readStoredMetadata(world.hosts[place]!, volume);
      if (typeof stored !== 'string' && stored.superblock.uuids[BITMAP_UUID] !== 0n) this.lostEnd[place]!.add(volume);
    }
    this.served[place]!.clear();
    if (what === 'power-loss') {
      host.powerLostAt = host.downAt;
      for (const volume of host.wrotePrimary) host.lostCacheAsPrimary.add(volume);
    }
    for (const volume of host.volumes.keys()) {
      host.volumes.set(volume, asBooted());
      this.contents[place]!.set(volume, host.downAt);
    }
    this.forced[place]!.clear();
  }

  private lose(write: WriteRecord, bit: number): void {
    if ((write.must & bit) === 0) return;
    write.must &= ~bit;
    write.lostPower |= bit;
  }

  /** What time settles: a write that is in flight on neither side any more is on both (and, protocol B, not only in memory). */
  onCheckpoint(world: WorldView): void {
    for (let host = 0; host < this.hosts.length; host++) {
      for (const [volume, status] of this.hosts[host]!.volumes) {
        // Also when nobody is Primary: what was written before a demotion has settled since.
        const calm = status.conn === Conn.Connected && this.mirrors(host, volume);
        if (!calm || !this.peerKept(host, volume)) continue;
        const underway = [host, this.peerOf(host)].flatMap((place) => inFlightRanges(world, place, volume));
        this.unsettled = this.unsettled.filter((write) => {
          if (!isOwed(write)) return false;
          const isOwn = status.role === Role.Primary && write.host === host && write.issuedAt >= status.primaryAt;
          // A disk that is away has what it had; through it nothing settles on the other.
          const shown = (status.disk === Disk.UpToDate && (write.must & (1 << host)) !== 0) || isOwn;
          if (write.volume !== volume || !shown || overlapsAny(write, underway)) return true;
          write.must |= (1 << this.peerOf(host)) | (status.disk === Disk.UpToDate ? 1 << host : 0);
          write.settled = true;
          return false;
        });
      }
    }
  }

  private generationsOf(host: number, volume: number): { current: string; begun: number; given: number } {
    const known = this.generations[host]!.get(volume);
    if (known !== undefined) return known;
    const fresh = { current: '', begun: 0, given: 0 };
    this.generations[host]!.set(volume, fresh);
    return fresh;
  }

  // ---- What checkers ask ------------------------------------------------------------------------------------------

  /** Acknowledged writes that `host` must hold and `other` need not, without those that were given up. */
  onlyOn(host: number, other: number, volume: number, ghost: GhostRecord): WriteRecord[] {
    const [mine, theirs] = [1 << host, 1 << other];
    return ghost.writes.filter((write) => write?.volume === volume && isOwed(write) && (write.must & mine) !== 0 && (write.must & theirs) === 0);
  }

  /** On both hosts together, since they were last in sync: generations that began, and how many of them an operator gave. */
  generationsSinceSync(volume: number): { begun: number; given: number } {
    const both = this.hosts.map((_, host) => this.generationsOf(host, volume));
    return { begun: both.reduce((sum, { begun }) => sum + begun, 0), given: both.reduce((sum, { given }) => sum + given, 0) };
  }

  /** Place in the order of events when the content of a disk was last replaced wholesale: by a crash, by a resync. */
  contentSince(host: number, volume: number): number {
    return this.contents[host]!.get(volume) ?? 0;
  }

  /** Since when both hosts are Primary, connected and in sync (place in the order of events); Infinity when they are not. */
  oneSince(volume: number): number {
    let since = 0;
    for (let host = 0; host < this.hosts.length; host++) {
      const status = this.status(host, volume);
      if (status.role !== Role.Primary || !saysInSync(status)) return Infinity;
      since = Math.max(since, status.connectedAt, status.primaryAt, this.contentSince(host, volume));
    }
    return since;
  }

  /** Why the target's data may be thrown away now: an operator's order, or undefined. */
  orderAgainst(target: number, volume: number): string | undefined {
    return this.orders[target]!.get(volume);
  }
}

/** A disk that says Inconsistent promises nothing, until a resync makes it what its source is. */
function forget(fields: readonly ('must' | 'durable' | 'never')[], host: number, volume: number, ghost: GhostRecord): void {
  for (const write of ghost.writes) {
    if (write !== undefined && write.volume === volume) for (const field of fields) write[field] &= ~(1 << host);
  }
}

function setMember(set: Set<number>, member: number, is: boolean): void {
  if (is) set.add(member);
  else set.delete(member);
}

/** A peer's disk that may still be given writes (generation-uuids.md §3, first row). */
const holdsData = (disk: number): boolean => disk === Disk.Inconsistent || disk === Disk.Consistent || disk === Disk.UpToDate;

/** One side's word for it; only both sides' words count. */
export const saysInSync = (status: VolumeStatus): boolean =>
  status.conn === Conn.Connected && status.disk === Disk.UpToDate && status.pdsk === Disk.UpToDate;

/** Acknowledged, and not given up since. */
export const isOwed = (write: WriteRecord): boolean => write.outcome === 'acknowledged' && write.discarded === '';

function inFlightRanges(world: WorldView, host: number, volume: number): VolumeView['inFlight'] {
  return volumeViewOf(world.hosts[host]?.node, volume)?.inFlight ?? [];
}

const overlapsAny = (write: WriteRecord, ranges: readonly { sector: number; sectors: number }[]): boolean =>
  ranges.some((range) => range.sector < write.sector + write.sectors && write.sector < range.sector + range.sectors);
