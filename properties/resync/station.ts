// Two nodes for the tests of the resync room: the real room on real sessions, packets as bytes, intervals, timers and metadata jobs of the
// core. Only the resource room and the life of application writes are small stand-ins, written here: an own write is registered, goes to
// the disk and the peer, and clears bits when both have it; the peer's resync end is told by a P_STATE.

import { digests } from '../../src/digests/digests.js';
import { newSession, stopConnecting } from '../../src/connection/establish.js';
import { streamInput, nextPacket } from '../../src/connection/receive.js';
import { flushSends, sendPacket } from '../../src/connection/send.js';
import { newStream } from '../../src/connection/types.js';
import { defaultDiskOptions, defaultNetOptions } from '../../src/config/defaults.js';
import type { DiskOptions, NetOptions } from '../../src/config/types.js';
import type { Output } from '../../src/contract/output.js';
import { createBitmap } from '../../src/metadata/bitmap.js';
import { newSuperblock } from '../../src/metadata/create-md.js';
import { layoutOf } from '../../src/metadata/layout.js';
import { mustGet, writeDisk, type Core } from '../../src/model/core.js';
import type { DiskOperation, OperationResult } from '../../src/model/operations.js';
import type { Signal } from '../../src/model/signals.js';
import { earliestDeadline, takeDueTimer } from '../../src/model/timers.js';
import type { Connection, Interval, NodeState, PeerDevice, Resource, Volume } from '../../src/model/types.js';
import { markOutOfSync, markWrittenOnBoth } from '../../src/replication/bits.js';
import { receiveBitmap } from '../../src/resync/bitmap-exchange.js';
import { abortResync, bitsCleared, checkFinished, fencePassed, finishAsSource, resyncFlushDone } from '../../src/resync/lifecycle.js';
import { readIntervalStarted, resyncAcknowledged, resyncNegAcknowledged, resyncReadDone, rangeRequest, serveDelayed } from '../../src/resync/source.js';
import { negResyncReply, resyncCancelled, resyncReply, resyncTick, resyncWriteDone, writeIntervalStarted } from '../../src/resync/target.js';
import { Conn, Disk, isSyncState, Role } from '../../src/state/states.js';
import { newActivityLog } from '../../src/volume/activity-log.js';
import { findInterval, registerInterval, releaseInterval, useInterval } from '../../src/volume/intervals.js';
import { metadataOperationDone } from '../../src/volume/metadata-io.js';
import type { Packet } from '../../src/wire/packets.js';
import { DataFlag, FeatureFlag } from '../../src/wire/packets.js';

export interface StationOptions {
  volumes?: number;
  sectors?: number;
  protocolVersion?: number;
  disk?: Partial<DiskOptions>;
  net?: Partial<NetOptions>;
  /** Of both disks; thin resync is agreed then. */
  discardGranularitySectors?: number | undefined;
}

interface AppWrite {
  id: number;
  volume: number;
  sector: number;
  data: Uint8Array;
  interval: number;
  started: boolean;
  localDone: boolean;
  peer: 'waiting' | 'ok' | 'in-sync' | 'failed';
}

export interface Station {
  name: string;
  core: Core;
  resource: Resource;
  connection: Connection;
  /** Signals that this rig does nothing with: connection-lost, disk-error, resync-complete, bitmap-received. */
  told: Signal[];
  /** Every packet that arrived, in order, without payloads. */
  received: Packet[];
  writes: Map<number, AppWrite>;
  peerWrites: Map<number, { volume: number; sector: number; data: Uint8Array; blockId: { high: number; low: number } }>;
  lastId: number;
  onComplete: ((volume: Volume, failedBits: number) => void) | undefined;
}

const STREAM = { data: 1, meta: 2 };

export function newStation(name: string, role: Role, options: StationOptions = {}): Station {
  const peer = 'peer';
  const sectors = options.sectors ?? 4096;
  const peerConfig = { name: peer, net: { ...defaultNetOptions, ...options.net } };
  const connection = {
    resource: 'r0',
    peer,
    config: peerConfig,
    cstate: Conn.WFReportParams,
    session: newSession(),
    protocolVersion: options.protocolVersion ?? 101,
    features: options.discardGranularitySectors === undefined ? 0 : FeatureFlag.FF_THIN_RESYNC,
    connectCount: 0,
    loss: undefined,
  } as unknown as Connection;
  const volumes = new Map<number, Volume>();
  const resource = { name: 'r0', role, volumes, connections: new Map([[peer, connection]]) } as unknown as Resource;
  for (let number = 0; number < (options.volumes ?? 1); number++) volumes.set(number, newVolume(number, sectors, peer, options));
  const state = {
    name,
    resources: new Map([['r0', resource]]),
    operations: new Map(),
    streams: new Map(),
    timers: new Map(),
    lastOperation: 0,
    lastStream: 0,
  } as unknown as NodeState;
  const core: Core = { state, nowUs: 0, environment: { ...digests, random64: () => 0n }, outputs: [], signals: [] };
  return { name, core, resource, connection, told: [], received: [], writes: new Map(), peerWrites: new Map(), lastId: 0, onComplete: undefined };
}

function newVolume(number: number, sectors: number, peer: string, options: StationOptions): Volume {
  const metaDisk = { kind: 'flexible' } as const;
  const devices = { dataSectors: sectors, metaSectors: 262144, shared: false };
  const layout = layoutOf(metaDisk, devices);
  if (!layout.ok) throw new Error('no layout');
  const device = { peer, repl: Conn.Connected, role: Role.Unknown, pdsk: Disk.UpToDate, bitmap: createBitmap(sectors), sequence: 0, bitmapReceiver: undefined, resync: undefined, hasUnannouncedMarks: false, staleRequests: [], hasStaleDigests: false };
  return {
    resource: 'r0',
    number,
    config: { volume: number, minor: number, metaDisk, disk: { ...defaultDiskOptions, ...options.disk }, sizeSectors: 0 },
    disk: Disk.UpToDate,
    sizeSectors: sectors,
    backing: {
      attachment: 1,
      ...devices,
      discardGranularitySectors: options.discardGranularitySectors ?? 0,
      layout: layout.value,
      superblock: newSuperblock(layout.value),
      superblockVersion: 0,
      superblockWritten: 0,
      activityLog: newActivityLog(7),
      metadataJobs: [],
      operationsInFlight: 0,
      failed: false,
    },
    peers: new Map([[peer, device as unknown as PeerDevice]]),
    waiting: [],
    intervals: [],
    holds: [],
    lastInterval: 0,
    applicationSectors: 0,
  } as unknown as Volume;
}

/** A new incarnation of the connection, up at once. */
export function connect(station: Station): void {
  const { core, connection } = station;
  const session = newSession();
  session.phase = 'up';
  session.data = newStream(STREAM.data, 'data', core.nowUs);
  session.meta = newStream(STREAM.meta, 'meta', core.nowUs);
  session.sending = { apv: connection.protocolVersion, features: connection.features, digestBytes: 0 };
  session.receiving = { apv: connection.protocolVersion, features: connection.features, digestBytes: 0 };
  connection.session = session;
  connection.connectCount++;
  connection.loss = undefined;
  for (const id of Object.values(STREAM)) core.state.streams.set(id, { resource: 'r0', peer: 'peer' });
  for (const volume of station.resource.volumes.values()) deviceOf(volume).sequence = 0;
}

/** The connection is lost, as the resource room would clean up. */
export function disconnect(station: Station): void {
  const { core, connection, resource } = station;
  connection.loss = { reason: 'NetworkFailure', step: 0, established: true };
  stopConnecting(core, connection);
  for (const volume of resource.volumes.values()) {
    const device = deviceOf(volume);
    abortResync(core, resource, volume, device, false);
    device.repl = Conn.StandAlone;
  }
  for (const write of station.writes.values()) if (write.peer === 'waiting') write.peer = 'failed';
  for (const write of [...station.writes.values()]) endAppWrite(station, write);
  // Peer writes that wait are cancelled, those on the disk end without an answer.
  for (const [id, { volume: number }] of [...station.peerWrites]) {
    const volume = mustGet(resource.volumes, number, 'volume');
    const interval = volume.intervals.find(({ kind, owner }) => kind === 'peer-write' && owner === id);
    if (!interval || interval.started) continue;
    station.peerWrites.delete(id);
    releaseInterval(core, volume, interval.id);
  }
}

export const deviceOf = (volume: Volume): PeerDevice => mustGet(volume.peers, 'peer', 'peer device');
export const volumeOf = (station: Station, number = 0): Volume => mustGet(station.resource.volumes, number, 'volume');

/** One pass of a node: a step, the signals that follow, and the outputs. */
export function pass(station: Station, nowUs: number, step: () => void): Output[] {
  const { core, connection } = station;
  core.nowUs = nowUs;
  step();
  for (let next = core.signals.shift(); next; next = core.signals.shift()) onSignal(station, next);
  flushSends(core, connection);
  return core.outputs.splice(0);
}

export const deadline = (station: Station): number | undefined => earliestDeadline(station.core);

export const runTimer = (station: Station): void => {
  const { core, resource, connection } = station;
  const timer = takeDueTimer(core);
  if (!timer || timer.volume < 0) return;
  const volume = volumeOf(station, timer.volume);
  const device = deviceOf(volume);
  if (timer.kind === 'resync-tick') resyncTick(core, resource, volume, device, connection);
  else if (timer.kind === 'serve-delay') serveDelayed(core, resource, volume, device, connection);
  else if (timer.kind === 'finish-retry') checkFinished(core, resource, volume, device, connection);
};

export const receive = (station: Station, stream: 'data' | 'meta', bytes: Uint8Array): void =>
  streamInput(station.core, { type: 'stream-received', stream: STREAM[stream], bytes });
export const sent = (station: Station, stream: 'data' | 'meta', bytesTotal: number): void =>
  streamInput(station.core, { type: 'stream-sent', stream: STREAM[stream], bytesTotal });
export const kindOf = (stream: number): 'data' | 'meta' => (stream === STREAM.data ? 'data' : 'meta');

function onSignal(station: Station, value: Signal): void {
  const { core, resource, connection } = station;
  switch (value.signal) {
    case 'packets-waiting':
      for (const kind of ['meta', 'data'] as const) {
        for (let packet = nextPacket(core, connection, kind); packet; packet = nextPacket(core, connection, kind)) onPacket(station, packet);
      }
      return;
    case 'interval-started': {
      const volume = volumeOf(station, value.volume);
      const interval = findInterval(volume, value.interval);
      if (interval) onInterval(station, volume, interval);
      return;
    }
    case 'ping-acknowledged':
      for (const volume of resource.volumes.values()) {
        fencePassed(core, resource, volume, deviceOf(volume), connection, value.purpose === 'resync-finish-target' ? 'target' : 'source');
      }
      return;
    case 'bits-cleared': {
      const volume = volumeOf(station, value.volume);
      return bitsCleared(core, resource, volume, deviceOf(volume), connection);
    }
    case 'resync-complete':
      station.told.push(value);
      return station.onComplete?.(volumeOf(station, value.volume), value.failedBits);
    case 'connection-lost':
    case 'connection-refused':
    case 'disk-error':
    case 'bitmap-received':
      station.told.push(value);
      return;
    default:
  }
}

function onInterval(station: Station, volume: Volume, interval: Interval): void {
  const { core, resource, connection } = station;
  const device = deviceOf(volume);
  if (interval.kind === 'resync-read') readIntervalStarted(core, resource, volume, device, connection, interval);
  else if (interval.kind === 'resync-write') writeIntervalStarted(core, resource, volume, device, connection, interval);
  else if (interval.kind === 'own-write' && interval.started) startAppWrite(station, mustGet(station.writes, interval.owner, 'write'));
  else if (interval.kind === 'peer-write') startPeerWrite(station, volume, interval.owner);
}

function onPacket(station: Station, packet: Packet): void {
  const { core, resource, connection } = station;
  const volume = volumeOf(station, packet.volume);
  const device = deviceOf(volume);
  station.received.push('data' in packet ? { ...packet, data: packet.data.subarray(0, 0) } : packet);
  switch (packet.packet) {
    case 'P_RS_DATA_REQUEST':
    case 'P_RS_THIN_REQ':
      return rangeRequest(core, resource, volume, device, connection, packet);
    case 'P_RS_DATA_REPLY':
    case 'P_RS_DEALLOCATED':
      return resyncReply(core, volume, device, connection, packet);
    case 'P_NEG_RS_DREPLY':
      return negResyncReply(core, resource, volume, device, connection, packet);
    case 'P_RS_CANCEL':
      return resyncCancelled(core, resource, volume, device, connection, packet);
    case 'P_BITMAP':
    case 'P_COMPRESSED_BITMAP':
      return receiveBitmap(core, resource, volume, device, connection, packet);
    case 'P_STATE':
      finishAsSource(core, resource, volume, device, connection);
      return;
    case 'P_DATA':
      return receiveWrite(station, volume, packet);
    case 'P_RS_WRITE_ACK':
    case 'P_NEG_ACK':
    case 'P_WRITE_ACK': {
      if (packet.blockId.high === 0xffffffff) {
        if (packet.packet === 'P_NEG_ACK') resyncNegAcknowledged(core, resource, volume, device, connection, packet);
        else resyncAcknowledged(core, resource, volume, device, connection, packet);
        return;
      }
      const write = mustGet(station.writes, packet.blockId.low, 'write');
      write.peer = packet.packet === 'P_NEG_ACK' ? 'failed' : packet.packet === 'P_RS_WRITE_ACK' ? 'in-sync' : 'ok';
      return endAppWrite(station, write);
    }
    default:
      throw new Error(`the rig does not expect ${packet.packet}`);
  }
}

/** A disk operation has ended. */
export function operationDone(station: Station, op: number, result: OperationResult): void {
  const { core, resource, connection } = station;
  const operation: DiskOperation = mustGet(core.state.operations, op, 'operation');
  core.state.operations.delete(op);
  const { then } = operation;
  const volume = volumeOf(station, operation.volume);
  const device = deviceOf(volume);
  if (volume.backing) volume.backing.operationsInFlight--;
  switch (then.to) {
    case 'metadata':
      return metadataOperationDone(core, volume, operation, result);
    case 'resync-read':
      return resyncReadDone(core, resource, volume, device, connection, then, operation, result);
    case 'resync-write':
      return resyncWriteDone(core, resource, volume, device, connection, then, operation, result);
    case 'resync-flush':
      return resyncFlushDone(core, resource, volume, device, connection, then, operation, result);
    case 'request': {
      const write = mustGet(station.writes, then.request, 'write');
      write.localDone = true;
      return endAppWrite(station, write);
    }
    case 'peer-write': {
      const write = mustGet(station.peerWrites, then.write, 'peer write');
      station.peerWrites.delete(then.write);
      const interval = volume.intervals.find(({ kind, owner }) => kind === 'peer-write' && owner === then.write)!;
      releaseInterval(core, volume, interval.id);
      if (connection.loss) return;
      const sectors = write.data.length / 512;
      const inSync = result.ok && isSyncState(device.repl);
      if (inSync) markWrittenOnBoth(core, volume, device, write.sector, sectors);
      if (!result.ok) markOutOfSync(device, write.sector, sectors);
      const packet = !result.ok ? 'P_NEG_ACK' : inSync ? 'P_RS_WRITE_ACK' : 'P_WRITE_ACK';
      return sendPacket(core, connection, { packet, volume: volume.number, sector: write.sector, blockId: write.blockId, sizeBytes: write.data.length, sequence: ++device.sequence });
    }
    default:
      throw new Error(`the rig does not expect ${then.to}`);
  }
}

// ---- Application writes ------------------------------------------------------------------------------------------------

/** An application write on this node, mirrored to the other. */
export function appWrite(station: Station, number: number, sector: number, data: Uint8Array): void {
  const volume = volumeOf(station, number);
  const id = ++station.lastId;
  const interval = registerInterval(station.core, volume, 'own-write', sector, data.length / 512, id, '');
  const write: AppWrite = { id, volume: number, sector, data, interval: interval.id, started: false, localDone: false, peer: 'waiting' };
  station.writes.set(id, write);
  volume.applicationSectors += data.length / 512;
  if (interval.started) startAppWrite(station, write);
}

function startAppWrite(station: Station, write: AppWrite): void {
  const { core, connection } = station;
  const volume = volumeOf(station, write.volume);
  const device = deviceOf(volume);
  write.started = true;
  useInterval(volume, write.interval, 'in-use');
  writeDisk(core, volume, 'data', write.sector, write.data, { preflush: false, fua: false }, { to: 'request', request: write.id });
  if (connection.loss || device.repl < Conn.Connected) {
    write.peer = 'failed';
    return;
  }
  write.peer = 'waiting';
  sendPacket(core, connection, {
    packet: 'P_DATA',
    volume: volume.number,
    sector: write.sector,
    blockId: { high: 0, low: write.id },
    sequence: ++device.sequence,
    flags: DataFlag.MAY_SET_IN_SYNC | DataFlag.SEND_WRITE_ACK,
    data: write.data,
  });
}

function endAppWrite(station: Station, write: AppWrite): void {
  if (!write.started || !write.localDone || write.peer === 'waiting') return;
  const { core } = station;
  const volume = volumeOf(station, write.volume);
  const sectors = write.data.length / 512;
  station.writes.delete(write.id);
  if (write.peer === 'failed') markOutOfSync(deviceOf(volume), write.sector, sectors);
  else if (write.peer === 'in-sync') markWrittenOnBoth(core, volume, deviceOf(volume), write.sector, sectors);
  releaseInterval(core, volume, write.interval);
}

function receiveWrite(station: Station, volume: Volume, packet: Extract<Packet, { packet: 'P_DATA' | 'P_DATA_REPLY' | 'P_RS_DATA_REPLY' }>): void {
  const id = ++station.lastId;
  station.peerWrites.set(id, { volume: volume.number, sector: packet.sector, data: packet.data.slice(), blockId: packet.blockId });
  const interval = registerInterval(station.core, volume, 'peer-write', packet.sector, packet.data.length / 512, id, 'peer');
  volume.applicationSectors += packet.data.length / 512;
  if (interval.started) startPeerWrite(station, volume, id);
}

function startPeerWrite(station: Station, volume: Volume, id: number): void {
  const write = mustGet(station.peerWrites, id, 'peer write');
  writeDisk(station.core, volume, 'data', write.sector, write.data, { preflush: false, fua: false }, { to: 'peer-write', peer: 'peer', write: id });
}

