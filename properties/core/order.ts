// Watches two nodes for the ordering obligations of timers-and-order.md §2: what must be durable before what becomes visible, and
// the order of packets. Each is judged on what the disks would still hold after a loss of power at that very moment. A rule that is
// broken throws, with its number.

import { evictableState, type MachineState, newMachineState, type PeerWrite, rangesOverlap } from './order-state.js';
import { durableExtents, durableSuperblock, isMarkedOnDisk, read, type Disk, type Which } from './disk.js';
import type { Output } from '../../src/contract/output.js';
import type { VolumeView } from '../../src/contract/node.js';
import { countOutOfSync } from '../../src/metadata/bitmap.js';
import { hasFlag, SuperblockFlag, type Superblock } from '../../src/metadata/superblock.js';
import { Conn, Disk as DiskState, Role } from '../../src/state/states.js';
import { decodeStateWord, mirrorRequest } from '../../src/state/state-word.js';
import { DataFlag, ID_SYNCER, sameBlockId, type Packet } from '../../src/wire/packets.js';
import { type Event, type Machine, type Name, type Pair } from './pair.js';

export interface OrderWatch {
  /** How often each rule was looked at and held. */
  held: Map<string, number>;

}

const SECTORS_PER_EXTENT = 8192;

export function watchOrder(pair: Pair): OrderWatch {
  const states: Record<Name, MachineState> = { alice: newMachineState(), bob: newMachineState() };
  const held = new Map<string, number>();
  const watch: Watch = { pair, states, held };
  pair.watchers.push((event) => onEvent(watch, event));
  return { held };
}

interface Watch {
  pair: Pair;
  states: Record<Name, MachineState>;
  held: Map<string, number>;
}

/** `holds` or the run ends with the number of the rule. */
function rule({ held }: Watch, number: string, holds: boolean, machine: Machine, what: () => string): void {
  if (!holds) throw new Error(`${number} is broken: ${machine.name}: ${what()}`);
  held.set(number, (held.get(number) ?? 0) + 1);
}

const viewOf = (machine: Machine, volume: number): VolumeView | undefined => machine.node?.resources()[0]?.volumes.find((view) => view.volume === volume);
const diskOf = (machine: Machine, volume: number): Disk => machine.disks.get(volume)!;
const flushes = ({ pair }: Watch): boolean => pair.options.disk?.diskFlushes ?? true;
/** With md-flushes no, what was written counts as durable: the administrator said so. */
const whichOf = ({ pair }: Watch): Which => (pair.options.disk?.mdFlushes === false ? 'seen' : 'durable');
const superblockOf = (watch: Watch, machine: Machine, volume: number): Superblock => durableSuperblock(diskOf(machine, volume), whichOf(watch));

/** Is a disk attached whose metadata counts? */
const isAttached = (view: VolumeView | undefined): boolean => {
  const disk = view?.peers[0]?.state.disk ?? DiskState.Diskless;
  return disk >= DiskState.Inconsistent && view!.uuids !== undefined;
};

function onEvent(watch: Watch, event: Event): void {
  const { machine } = event;
  const state = watch.states[machine.name];
  switch (event.event) {
    case 'input': {
      const { input } = event;
      if (input.type === 'command') {
        state.commands.set(input.id, input.command);
        // The machine has booted.
        if (input.command.verb === 'new-resource') watch.states[machine.name] = newMachineState();
        watch.states[machine.name].commands.set(input.id, input.command);
      }
      if (input.type === 'app-write') {
        state.ownWrites.push({ id: input.id, volume: input.volume, sector: input.sector, sectors: input.data.length / 512, data: input.data.slice(), inEpoch: false, localFailed: false });
      } else if (input.type === 'app-discard' || input.type === 'app-write-zeroes') {
        state.ownWrites.push({ id: input.id, volume: input.volume, sector: input.sector, sectors: input.sectors, data: new Uint8Array(input.sectors * 512), inEpoch: false, localFailed: false });
      }
      return;
    }
    case 'output':
      return onOutput(watch, machine, state, event.output);
    case 'sent':
      return onSent(watch, machine, state, event.packet);
    case 'received':
      return onReceived(watch, machine, state, event.packet);
    case 'operation-ended':
      return onOperationEnded(watch, machine, state, event);
    case 'passed':
      return;
  }
}

// ---- Disks ------------------------------------------------------------------------------------------------------------------------

type DiskWrite = Extract<Output, { type: 'disk-write' | 'disk-write-zeroes' | 'disk-discard' }>;

const changesDisk = (output: Output): output is DiskWrite => output.type === 'disk-write' || output.type === 'disk-write-zeroes' || output.type === 'disk-discard';
const dataOf = (output: DiskWrite): Uint8Array => (output.type === 'disk-write' ? output.data : new Uint8Array(output.sectors * 512));
const sectorsOf = (output: DiskWrite): number => (output.type === 'disk-write' ? output.data.length / 512 : output.sectors);

function onDiskWrite(watch: Watch, machine: Machine, state: MachineState, output: DiskWrite): void {
  const sectors = sectorsOf(output);
  const disk = diskOf(machine, output.volume);
  for (const { output: other } of machine.operations) {
    if (!changesDisk(other) || other.volume !== output.volume || (other.area !== output.area && !disk.shared)) continue;
    const overlaps = rangesOverlap(other.sector, sectorsOf(other), output.sector, sectors);
    rule(watch, 'no two overlapping writes', !overlaps, machine, () => `${output.area} ${output.sector}+${sectors} and ${other.sector}+${sectorsOf(other)}`);
  }
  if (output.area === 'meta' && output.type === 'disk-write') return onMetaWrite(watch, machine, state, output, disk);
  const where = `${output.sector}+${sectors}`;
  const peerWrite = peerWriteOf(state, output.volume, output.sector, dataOf(output));
  if (peerWrite) {
    peerWrite.submitted = true;
    peerWrite.pieces++;
    state.submitted.set(output.op, peerWrite);
    const before = state.epochs.slice(0, state.epochs.findIndex((epoch) => epoch.includes(peerWrite))).flat();
    const late = before.find((write) => !write.ended || (flushes(watch) && state.isVolatile(write)));
    rule(watch, 'D16', late === undefined || watch.pair.options.disk?.diskDrain === false, machine, () => `write ${where} while an earlier epoch is not stable (${late?.sector})`);
    const peer = state.observed.get(output.volume);
    if (peer && peer.pdsk < DiskState.Inconsistent && peer.peer === Role.Primary) checkActive(watch, machine, output.volume, output.sector, sectors, 'the only disk');
    return;
  }
  const reply = resyncReplyOf(state, output.volume, output.sector, dataOf(output));
  if (reply) {
    if (!reply.isZeros) state.resyncReplies.splice(state.resyncReplies.indexOf(reply), 1);
    state.submitted.set(output.op, 'resync');
    state.resyncOperations.add(output.op);
    const superblock = superblockOf(watch, machine, output.volume);
    rule(watch, 'D9', !hasFlag(superblock, SuperblockFlag.Consistent) && superblock.uuids[1] === 0n, machine, () => `resync write ${where} with a superblock that is still consistent`);
    return;
  }
  const own = ownWriteOf(state, output.volume, output.sector, dataOf(output));
  // One that lost a conflict: written with our own bytes where they overlap.
  const superseded = own ? undefined : state.epochs.flat().find((write) => !write.submitted && write.volume === output.volume && write.sector === output.sector && write.sectors === sectors);
  if (superseded) {
    superseded.submitted = true;
    state.submitted.set(output.op, superseded);
    return;
  }
  rule(watch, 'every write has an author', own !== undefined, machine, () => `nobody asked for the write of ${where}`);
  state.submitted.set(output.op, 'own');
  checkActive(watch, machine, output.volume, output.sector, sectors, 'own write');
  rule(watch, 'D4', hasFlag(superblockOf(watch, machine, output.volume), SuperblockFlag.PrimaryInd), machine, () => `write ${where} while the disk does not know that we are Primary`);
}

const sameBytes = (one: Uint8Array, other: Uint8Array): boolean => one.length === other.length && one.every((byte, at) => byte === other[at]);

/** The peer's write that this is, or of zeros a part. */
const peerWriteOf = (state: MachineState, volume: number, sector: number, data: Uint8Array): PeerWrite | undefined =>
  state.epochs.flat().find((write) => {
    if (write.volume !== volume || write.ended !== undefined) return false;
    if (!write.isZeros) return !write.submitted && write.sector === sector && sameBytes(write.data, data);
    return sector >= write.sector && sector + data.length / 512 <= write.sector + write.sectors && data.every((byte) => byte === 0);
  });

/** The answer of a resync that this writes, or of zeros a part. */
const resyncReplyOf = (state: MachineState, volume: number, sector: number, data: Uint8Array) =>
  state.resyncReplies.find((range) => {
    if (range.volume !== volume) return false;
    const sectors = data.length / 512;
    if (!range.isZeros) return range.sector === sector && range.sectors === sectors;
    return sector >= range.sector && sector + sectors <= range.sector + range.sectors && data.every((byte) => byte === 0);
  });

/** The application's write that this is, or a part of. */
const ownWriteOf = (state: MachineState, volume: number, sector: number, data: Uint8Array) =>
  state.ownWrites.find((write) => {
    const at = (sector - write.sector) * 512;
    return write.volume === volume && at >= 0 && at + data.length <= write.data.length && sameBytes(write.data.subarray(at, at + data.length), data);
  });

/** D1: every extent of the range is active on disk. */
function checkActive(watch: Watch, machine: Machine, volume: number, sector: number, sectors: number, why: string): void {
  if (watch.pair.options.disk?.alUpdates === false || !isAttached(viewOf(machine, volume))) return;
  const state = watch.states[machine.name];
  const active = cachedExtents(watch, state, diskOf(machine, volume), volume);
  for (let extent = Math.floor(sector / SECTORS_PER_EXTENT); extent <= Math.floor((sector + sectors - 1) / SECTORS_PER_EXTENT); extent++) {
    rule(watch, 'D1', active.has(extent), machine, () => `${why} at ${sector}+${sectors}: extent ${extent} is not active on disk`);
  }
}

function cachedExtents(watch: Watch, state: MachineState, disk: Disk, volume: number): Set<number> {
  const known = state.extents.get(volume);
  if (known?.version === disk.metaVersion) return known.extents;
  const extents = durableExtents(disk, whichOf(watch));
  state.extents.set(volume, { version: disk.metaVersion, extents });
  return extents;
}

function onMetaWrite(watch: Watch, machine: Machine, state: MachineState, output: Extract<Output, { type: 'disk-write' }>, disk: Disk): void {
  const { layout } = disk;
  const sectors = output.data.length / 512;
  const bitmap = viewOf(machine, output.volume)?.peers[0]?.bitmap;
  if (bitmap && output.sector >= layout.bitmapSector && output.sector < layout.bitmapSector + layout.bitmapSectors) {
    const before = read(disk, 'meta', output.sector, sectors, whichOf(watch));
    const firstBit = (output.sector - layout.bitmapSector) * 4096;
    for (let at = 0; at < output.data.length; at++) {
      const cleared = before[at]! & ~output.data[at]!;
      for (let bit = 0; cleared !== 0 && bit < 8; bit++) {
        if ((cleared & (1 << bit)) === 0) continue;
        const block = firstBit + at * 8 + bit;
        rule(watch, 'D10', !flushes(watch) || !state.isTagged(output.volume, block * 8, 8, 'resync'), machine, () => `bit ${block} is cleared on disk before its data is flushed`);
      }
    }
  }
  const isLog = output.sector >= layout.alSector && output.sector < layout.alSector + layout.alBlocks * 8;
  if (isLog && bitmap) state.transactions.set(output.op, evictableState(cachedExtents(watch, state, disk, output.volume), bitmap));
}

function onOperationEnded(watch: Watch, machine: Machine, state: MachineState, event: Extract<Event, { event: 'operation-ended' }>): void {
  const { output, area } = event.operation;
  if (area === 'data' || diskOf(machine, output.volume).shared) {
    if (event.ok && (output.type === 'disk-flush' || (output.type === 'disk-write' && output.preflush))) state.clearTags(output.volume);
  }
  if (!changesDisk(output)) return;
  const author = state.submitted.get(output.op);
  state.submitted.delete(output.op);
  if (area === 'data') {
    const sectors = sectorsOf(output);
    if (typeof author === 'object' && --author.pieces === 0) {
      if (event.ok) author.ended = 'ok';
      // What a disk refused to zero is zeroed in another way.
      else if (output.type === 'disk-write') author.ended = 'failed';
    }
    if (author === 'own' && !event.ok) {
      for (const write of state.ownWrites) if (write.volume === output.volume && rangesOverlap(write.sector, write.sectors, output.sector, sectors)) write.localFailed = true;
    }
    if (state.resyncOperations.delete(output.op) && event.ok) state.resyncWritten.push({ volume: output.volume, sector: output.sector, sectors });
    if (event.ok && author) state.tag(output.volume, output.sector, sectors, output.type === 'disk-write' && output.fua ? undefined : author);
    return;
  }
  const before = state.transactions.get(output.op);
  if (!before || !event.ok) return;
  state.transactions.delete(output.op);
  const disk = diskOf(machine, output.volume);
  const after = cachedExtents(watch, state, disk, output.volume);
  for (const [extent, bits] of before) {
    if (after.has(extent)) continue;
    for (const bit of bits) rule(watch, 'D2', isMarkedOnDisk(disk, bit, whichOf(watch)), machine, () => `extent ${extent} is given up while the mark of block ${bit} is not on disk`);
    const dirty = flushes(watch) && state.isTagged(output.volume, extent * SECTORS_PER_EXTENT, SECTORS_PER_EXTENT, 'own');
    rule(watch, 'D2', !dirty, machine, () => `extent ${extent} is given up while data in it is not flushed`);
  }
}

// ---- Answers and decisions -------------------------------------------------------------------------------------------------------------

function onOutput(watch: Watch, machine: Machine, state: MachineState, output: Output): void {
  switch (output.type) {
    case 'disk-write':
    case 'disk-write-zeroes':
    case 'disk-discard':
      return onDiskWrite(watch, machine, state, output);
    case 'app-done':
    case 'app-failed': {
      const at = state.ownWrites.findIndex(({ id }) => id === output.id);
      if (at < 0) return;
      const [write] = state.ownWrites.splice(at, 1);
      // M7: what is submitted from now on may depend on this answer.
      if (write!.inEpoch) state.owesBarrier = true;
      if (output.type === 'app-failed') return;
      const view = viewOf(machine, output.volume);
      const peer = view?.peers[0]?.state;
      if (write!.localFailed) checkKnownAsBad(watch, machine, output.volume, 'a write that this disk failed is answered');
      if (!isAttached(view) || !peer || peer.conn >= Conn.Connected || peer.disk !== DiskState.UpToDate) return;
      rule(watch, 'D5', superblockOf(watch, machine, output.volume).uuids[1] !== 0n, machine, () => `a write that the peer may lack is answered in the old generation`);
      return;
    }
    case 'reply':
      return onReply(watch, machine, state, output);
    case 'observe': {
      const { event } = output;
      if (event.event !== 'state') return;
      state.observed.set(event.volume, event.to);
      // An operator's resume-io is the operator's word.
      const thaws = event.from.flags.includes('suspFen') && !event.to.flags.includes('suspFen') && event.reason !== 'resume-io';
      if (!thaws || event.to.conn >= Conn.WFReportParams || event.to.pdsk > DiskState.Outdated || !isAttached(viewOf(machine, event.volume))) return;
      const superblock = superblockOf(watch, machine, event.volume);
      rule(watch, 'D13', hasFlag(superblock, SuperblockFlag.PeerOutDated), machine, () => 'thawed before it is on disk that the peer is outdated');
      // That the new generation is on disk (D6) shows when the first answer is given: D5.
      return;
    }
    default:
      return;
  }
}

/** A disk that is kept though it failed a write (on-io-error pass_on): after a crash it must not be offered as good. */
function checkKnownAsBad(watch: Watch, machine: Machine, volume: number, what: string): void {
  const view = viewOf(machine, volume);
  if (!isAttached(view) || view!.peers[0]!.state.disk !== DiskState.Inconsistent) return;
  rule(watch, 'D-bad', !hasFlag(superblockOf(watch, machine, volume), SuperblockFlag.Consistent), machine, () => `${what} before it is on disk that the disk is bad`);
}

function onReply(watch: Watch, machine: Machine, state: MachineState, output: Extract<Output, { type: 'reply' }>): void {
  const what = state.commands.get(output.command);
  if (!what || output.reply.code !== 1) return;
  for (const view of machine.node?.resources()[0]?.volumes ?? []) {
    const peer = view.peers[0]!;
    if (!isAttached(view)) continue;
    const disk = diskOf(machine, view.volume);
    const superblock = superblockOf(watch, machine, view.volume);
    if (what.verb === 'outdate' && what.volume === view.volume && peer.state.disk <= DiskState.Outdated) {
      rule(watch, 'D12', !hasFlag(superblock, SuperblockFlag.WasUpToDate), machine, () => 'outdate is answered before it is on disk');
    }
    const isFenced = (watch.pair.options.disk?.fencing ?? 'dont-care') !== 'dont-care' && peer.state.conn < Conn.WFReportParams && peer.state.pdsk <= DiskState.Outdated;
    if (what.verb === 'primary' && isFenced && peer.state.role === Role.Primary && !what.force) {
      rule(watch, 'D13', hasFlag(superblock, SuperblockFlag.PeerOutDated), machine, () => 'promoted before it is on disk that the peer is outdated');
    }
    // Unless a resync runs, or is about to.
    if (what.verb === 'secondary' && peer.bitmap && peer.state.conn <= Conn.Connected) {
      const missing = bitsOf(peer.bitmap).find((bit) => !isMarkedOnDisk(disk, bit, whichOf(watch)));
      rule(watch, 'D21', missing === undefined, machine, () => `demotion is answered while the mark of block ${missing} is not on disk`);
    }
  }
}

const bitsOf = (bitmap: NonNullable<VolumeView['peers'][number]['bitmap']>): number[] => {
  const bits: number[] = [];
  for (let bit = 0; bitmap.weight > 0 && bit < bitmap.bits; bit++) if (countOutOfSync(bitmap, bit * 8, 8) > 0) bits.push(bit);
  return bits;
};

// ---- Packets -----------------------------------------------------------------------------------------------------------------------------

function onReceived(_watch: Watch, _machine: Machine, state: MachineState, packet: Packet): void {
  switch (packet.packet) {
    case 'P_DATA':
    case 'P_TRIM':
    case 'P_ZEROES': {
      const data = 'data' in packet ? packet.data.slice() : new Uint8Array(packet.sizeBytes);
      const write: PeerWrite = {
        volume: packet.volume,
        sector: packet.sector,
        sectors: data.length / 512,
        data,
        isZeros: !('data' in packet),
        pieces: 0,
        blockId: packet.blockId,
        flags: packet.flags,
        submitted: false,
        ended: undefined,
        acked: false,
      };
      state.epochs.at(-1)!.push(write);
      return;
    }
    case 'P_BARRIER':
      state.epochs.push([]);
      return;
    case 'P_RS_DATA_REPLY':
      state.resyncReplies.push({ volume: packet.volume, sector: packet.sector, sectors: packet.data.length / 512, isZeros: false });
      return;
    case 'P_RS_DEALLOCATED':
      state.resyncReplies.push({ volume: packet.volume, sector: packet.sector, sectors: packet.sizeBytes / 512, isZeros: true });
      return;
    case 'P_STATE_CHG_REQ':
    case 'P_CONN_ST_CHG_REQ':
      state.asked = mirrorRequest(packet.mask, packet.val);
      return;
    default:
      return;
  }
}

function onSent(watch: Watch, machine: Machine, state: MachineState, packet: Packet): void {
  const view = viewOf(machine, packet.volume);
  switch (packet.packet) {
    case 'P_CONNECTION_FEATURES':
      return state.newConnection();
    case 'P_DATA':
    case 'P_TRIM':
    case 'P_ZEROES': {
      rule(watch, 'M7', !state.owesBarrier, machine, () => `${packet.packet} ${packet.sector} in the epoch of a write that is answered`);
      state.epochSize++;
      const data = 'data' in packet ? packet.data : new Uint8Array(packet.sizeBytes);
      const own = ownWriteOf(state, packet.volume, packet.sector, data);
      if (own) own.inEpoch = true;
      checkActive(watch, machine, packet.volume, packet.sector, data.length / 512, packet.packet);
      if (isAttached(view)) rule(watch, 'D4', hasFlag(superblockOf(watch, machine, packet.volume), SuperblockFlag.PrimaryInd), machine, () => 'P_DATA while the disk does not know that we are Primary');
      return;
    }
    case 'P_OUT_OF_SYNC': {
      rule(watch, 'M7', !state.owesBarrier, machine, () => 'P_OUT_OF_SYNC in the epoch of a write that is answered');
      const bitmap = view?.peers[0]?.bitmap;
      if (bitmap) rule(watch, 'M14', countOutOfSync(bitmap, packet.sector, packet.sizeBytes / 512) > 0, machine, () => 'P_OUT_OF_SYNC without a bit');
      return;
    }
    case 'P_BARRIER':
      rule(watch, 'M6', state.epochSize > 0, machine, () => 'P_BARRIER for no write');
      state.epochSize = 0;
      state.owesBarrier = false;
      for (const write of state.ownWrites) write.inEpoch = false;
      return;
    case 'P_UUIDS':
      if (isAttached(view)) {
        const durable = superblockOf(watch, machine, packet.volume).uuids[0];
        rule(watch, 'D6', durable >> 1n === packet.current >> 1n, machine, () => `P_UUIDS with ${packet.current.toString(16)}, on disk is ${durable.toString(16)}`);
      }
      return;
    case 'P_SYNC_UUID':
      rule(watch, 'D7', superblockOf(watch, machine, packet.volume).uuids[1] === packet.uuid, machine, () => 'P_SYNC_UUID before it is on disk');
      return;
    case 'P_STATE':
      return onStateSent(watch, machine, state, packet);
    case 'P_WRITE_ACK':
    case 'P_RS_WRITE_ACK': {
      if (sameBlockId(packet.blockId, ID_SYNCER)) {
        const sectors = packet.sizeBytes / 512;
        const isIn = (range: { volume: number; sector: number; sectors: number }): boolean =>
          range.volume === packet.volume && range.sector >= packet.sector && range.sector + range.sectors <= packet.sector + sectors;
        const written = state.resyncWritten.filter(isIn).reduce((sum, range) => sum + range.sectors, 0);
        rule(watch, 'D14', written === sectors, machine, () => `a resync write at ${packet.sector} is acknowledged when ${written} of ${sectors} sectors are written`);
        state.resyncWritten = state.resyncWritten.filter((range) => !isIn(range));
        state.resyncReplies = state.resyncReplies.filter((range) => !range.isZeros || !isIn(range));
        return;
      }
      const write = writeOf(state, packet);
      rule(watch, 'D14', write?.ended === 'ok', machine, () => `the write at ${packet.sector} is acknowledged before it is written`);
      write!.acked = true;
      return;
    }
    case 'P_SUPERSEDED':
      rule(watch, 'D14', !flushes(watch) || !state.isCached(packet.volume, packet.sector, packet.sizeBytes / 512), machine, () => `the write at ${packet.sector} is called superseded before what supersedes it is durable`);
      return leaveEpoch(state, packet);
    case 'P_RETRY_WRITE':
      return leaveEpoch(state, packet);
    case 'P_NEG_ACK': {
      const write = writeOf(state, packet);
      if (!write) return;
      if (write.ended === 'failed') checkKnownAsBad(watch, machine, packet.volume, `the write at ${packet.sector} is refused`);
      write.acked = true;
      write.submitted = true;
      write.ended ??= 'failed';
      return;
    }
    case 'P_BARRIER_ACK':
      return onBarrierAck(watch, machine, state, packet);
    case 'P_STATE_CHG_REPLY':
    case 'P_CONN_ST_CHG_REPLY': {
      if (packet.retcode < 1 || state.asked?.disk !== DiskState.Outdated) return;
      for (const asked of machine.node?.resources()[0]?.volumes ?? []) {
        if (!isAttached(asked) || asked.peers[0]!.state.disk !== DiskState.Outdated) continue;
        rule(watch, 'D12', !hasFlag(superblockOf(watch, machine, asked.volume), SuperblockFlag.WasUpToDate), machine, () => 'the peer is told that we are outdated before it is on disk');
      }
      return;
    }
    default:
      return;
  }
}

const writeOf = (state: MachineState, packet: Extract<Packet, { blockId: unknown }>): PeerWrite | undefined =>
  state.epochs.flat().find((write) => write.volume === packet.volume && sameBlockId(write.blockId, packet.blockId));

/** It lost a conflict: its epoch goes on without it. */
function leaveEpoch(state: MachineState, packet: Extract<Packet, { blockId: unknown }>): void {
  const write = writeOf(state, packet);
  state.epochs = state.epochs.map((epoch) => epoch.filter((one) => one !== write));
}

function onBarrierAck(watch: Watch, machine: Machine, state: MachineState, packet: Extract<Packet, { packet: 'P_BARRIER_ACK' }>): void {
  // All of it lost conflicts: there is nothing to acknowledge.
  while (state.epochs.length > 2 && state.epochs[0]!.length === 0) state.epochs.shift();
  const isClosed = state.epochs.length > 1;
  const epoch = state.epochs.shift()!;
  rule(watch, 'D15', isClosed && epoch.length === packet.setSize, machine, () => `barrier ack for ${packet.setSize} writes, received were ${epoch.length}`);
  const version = Math.min(...(watch.pair.options.protocolMax ?? [101]));
  const isC = (watch.pair.options.net?.protocol ?? 'C') === 'C';
  for (const write of epoch) {
    const wantsAck = version >= 100 ? (write.flags & DataFlag.SEND_WRITE_ACK) !== 0 : isC;
    rule(watch, 'D15', write.ended !== undefined, machine, () => `barrier ack while the write at ${write.sector} is on its way to the disk`);
    rule(watch, 'M8', !wantsAck || write.acked, machine, () => `barrier ack before the ack of the write at ${write.sector}`);
    rule(watch, 'D15', !flushes(watch) || !state.isVolatile(write), machine, () => `barrier ack before the write at ${write.sector} is flushed`);
  }
}

function onStateSent(watch: Watch, machine: Machine, state: MachineState, packet: Extract<Packet, { packet: 'P_STATE' }>): void {
  const now = decodeStateWord(packet.state)!;
  const before = state.told.get(packet.volume);
  state.told.set(packet.volume, now);
  if (now.conn === Conn.Connected && now.disk === DiskState.Inconsistent) checkKnownAsBad(watch, machine, packet.volume, 'the peer is told that the disk is Inconsistent');
  const wasTarget = before?.conn === Conn.SyncTarget || before?.conn === Conn.PausedSyncT || before?.conn === Conn.WFBitMapT;
  if (!wasTarget || now.conn !== Conn.Connected || now.disk !== DiskState.UpToDate) return;
  const disk = diskOf(machine, packet.volume);
  const superblock = superblockOf(watch, machine, packet.volume);
  rule(watch, 'D8', hasFlag(superblock, SuperblockFlag.Consistent) && hasFlag(superblock, SuperblockFlag.WasUpToDate), machine, () => 'the end of the resync is told before the flags are on disk');
  rule(watch, 'D8', superblock.uuids[0] >> 1n === viewOf(machine, packet.volume)!.uuids![0] >> 1n, machine, () => 'the end of the resync is told before the UUIDs are on disk');
  rule(watch, 'D8', !flushes(watch) || !state.isTagged(packet.volume, 0, disk.dataSectors, 'resync'), machine, () => 'the end of the resync is told before its data is flushed');
}

/** Which rules a run has looked at. */
export const rulesOf = (watches: readonly OrderWatch[]): Map<string, number> => {
  const sum = new Map<string, number>();
  for (const { held } of watches) for (const [number, count] of held) sum.set(number, (sum.get(number) ?? 0) + count);
  return sum;
};

export const ruleNames = ['D1', 'D2', 'D4', 'D5', 'D6', 'D7', 'D8', 'D9', 'D10', 'D12', 'D13', 'D14', 'D15', 'D16', 'D-bad', 'D21', 'M6', 'M7', 'M8', 'M14'];
