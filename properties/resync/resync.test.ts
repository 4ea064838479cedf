// Source and target back to back: whatever the timing, the load and the errors, both disks end equal outside of failed blocks, nothing stays
// registered, and both sides know that it is over.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { defaultNetOptions } from '../../src/config/defaults.js';
import fc, { runsOr } from '../fast-check.js';
import { findInterval } from '../../src/volume/intervals.js';
import { countBits } from '../../src/metadata/bitmap.js';
import { nextSequence } from '../../src/replication/sequence.js';
import { sendPacket } from '../../src/connection/send.js';
import { markOutOfSync } from '../../src/replication/bits.js';
import { ID_SYNCER } from '../../src/wire/packets.js';
import type { Packet } from '../../src/wire/packets.js';
import { abortResync } from '../../src/resync/lifecycle.js';
import { Conn, Disk } from '../../src/state/states.js';
import { act, cut, later, makeDirty, newPair, reconnect, runUntil, setPaused, startSync, write, type Pair, type PairOptions } from './pair.js';
import { deviceOf, volumeOf, type Station } from './station.js';

const FAST = { disk: { resyncRate: 400 * 1024, cPlanAhead: 0, cMinRate: 0 } };
const MINUTE_US = 60_000_000;

const isOver = (pair: Pair): boolean =>
  [pair.source, pair.target].every((station) => [...station.resource.volumes.values()].every((volume) => !deviceOf(volume).resync)) && isQuiet(pair);
const isQuiet = (pair: Pair): boolean => pair.source.writes.size + pair.target.writes.size + pair.source.peerWrites.size + pair.target.peerWrites.size === 0;

const complete = (station: Station) => station.told.filter((value) => value.signal === 'resync-complete');
const lost = (pair: Pair): string[] => [pair.source, pair.target].flatMap(({ told }) => told.flatMap((value) => (value.signal === 'connection-lost' ? [value.detail] : [])));

/** Bits that are set on either node. */
const dirtyBits = (pair: Pair, number = 0): Set<number> => {
  const bits = new Set<number>();
  for (const station of [pair.source, pair.target]) {
    const bitmap = deviceOf(volumeOf(station, number)).bitmap!;
    for (let bit = 0; bit < bitmap.bits; bit++) if (countBits(bitmap, bit, 1) > 0) bits.add(bit);
  }
  return bits;
};

/** Every block that no bitmap marks is what the application wrote last, on both disks (I2, I3). */
function assertEqualDisks(pair: Pair, marked: Set<number> = new Set()): void {
  for (const [number, expected] of pair.expected.entries()) {
    for (const station of [pair.source, pair.target]) {
      const image = pair.disks.get(station)![number]!;
      for (let block = 0; block * 4096 < expected.length; block++) {
        if (marked.has(block)) continue;
        const from = block * 4096;
        const same = Buffer.compare(image.subarray(from, from + 4096), expected.subarray(from, from + 4096)) === 0;
        assert.ok(same, `volume ${number}: block ${block} of the ${station.name} is not what was written`);
      }
    }
  }
}

function assertNothingLeft(pair: Pair): void {
  for (const station of [pair.source, pair.target]) {
    for (const volume of station.resource.volumes.values()) {
      assert.equal(volume.intervals, [], `${station.name}: intervals are left`);
      assert.is(volume.backing!.operationsInFlight, 0, `${station.name}: operations are left`);
    }
  }
}

const requests = (pair: Pair): Packet[] => pair.source.received.filter(({ packet }) => packet === 'P_RS_DATA_REQUEST');

// ---- Examples --------------------------------------------------------------------------------------------------------

test('a resync copies what is marked, ends on both sides, and asks for each block once', () => {
  const pair = newPair({ ...FAST, sectors: 8192 });
  makeDirty(pair, 0, 64);
  makeDirty(pair, 100, 33);
  makeDirty(pair, 1000, 24);
  startSync(pair);
  assert.ok(runUntil(pair, () => isOver(pair), MINUTE_US));
  assert.equal(lost(pair), []);
  assert.is(dirtyBits(pair).size, 0);
  assertEqualDisks(pair);
  assertNothingLeft(pair);
  assert.is(complete(pair.target).length, 1);
  assert.is(complete(pair.source).length, 1);
  assert.equal(requests(pair).map((packet) => (packet.packet === 'P_RS_DATA_REQUEST' ? [packet.sector / 8, packet.sizeBytes / 4096] : [])), [
    [0, 64], [100, 4], [104, 8], [112, 16], [128, 5], [1000, 8], [1008, 16],
  ]);
  assert.equal(
    pair.target.told.map(({ signal }) => signal),
    ['resync-complete'],
  );
});

test('the last block of a device that is no multiple of 4 KiB is asked for in its length, and its bit is cleared', () => {
  const pair = newPair({ ...FAST, sectors: 4093 });
  makeDirty(pair, 508, 4);
  startSync(pair);
  assert.ok(runUntil(pair, () => isOver(pair), MINUTE_US));
  const [request] = requests(pair);
  assert.ok(request?.packet === 'P_RS_DATA_REQUEST' && request.sector === 508 * 8 && request.sizeBytes === (4093 - 508 * 8) * 512);
  assert.is(dirtyBits(pair).size, 0);
  assertEqualDisks(pair);
});

test('the largest request follows the protocol version', () => {
  for (const [protocolVersion, mostBytes] of [[101, 1 << 20], [99, 128 << 10], [90, 32 << 10]] as const) {
    const pair = newPair({ ...FAST, sectors: 16384, protocolVersion });
    makeDirty(pair, 0, 2048);
    startSync(pair);
    assert.ok(runUntil(pair, () => isOver(pair), MINUTE_US), `protocol ${protocolVersion} ends`);
    assert.is(Math.max(...requests(pair).map((packet) => ('sizeBytes' in packet ? packet.sizeBytes : 0))), mostBytes);
    assertEqualDisks(pair);
  }
});

test('an empty resync ends at the first tick on both sides; below protocol 95 the source waits for ping-int and ping-timeout', () => {
  for (const protocolVersion of [101, 96, 95]) {
    const pair = newPair({ ...FAST, protocolVersion });
    startSync(pair);
    assert.ok(runUntil(pair, () => isOver(pair), 100_000), `protocol ${protocolVersion}`);
    assert.is(complete(pair.source).length, 1);
  }
  const old = newPair({ ...FAST, protocolVersion: 94 });
  // Such a source does not listen to the target's state.
  startSync(old);
  old.target.onComplete = (volume) => void (deviceOf(volume).repl = Conn.Connected);
  assert.not(runUntil(old, () => isOver(old), 10_500_000));
  assert.ok(runUntil(old, () => isOver(old), 200_000));
});

test('below protocol 96 both sides end on their own count', () => {
  const pair = newPair({ ...FAST, protocolVersion: 95 });
  makeDirty(pair, 3, 40);
  startSync(pair);
  pair.target.onComplete = (volume) => void (deviceOf(volume).repl = Conn.Connected);
  assert.ok(runUntil(pair, () => isOver(pair), MINUTE_US));
  assert.is(complete(pair.source).length, 1);
  assertEqualDisks(pair);
});

test('an empty resync that is paused before its first tick ends when it goes on (B114), and a flap within one tick does no harm (B117)', () => {
  const pair = newPair(FAST);
  startSync(pair, true);
  assert.not(runUntil(pair, () => isOver(pair), MINUTE_US));
  setPaused(pair, false);
  assert.ok(runUntil(pair, () => isOver(pair), 100_000));

  const busy = newPair({ ...FAST, sectors: 65536 });
  makeDirty(busy, 0, 8192);
  startSync(busy);
  runUntil(busy, () => requests(busy).length > 0, MINUTE_US);
  for (let flap = 0; flap < 5; flap++) {
    setPaused(busy, true);
    setPaused(busy, false);
  }
  assert.ok(runUntil(busy, () => isOver(busy), MINUTE_US));
  assertEqualDisks(busy);
});

test('a paused resync asks for nothing, finishes what is on its way, and goes on where it was', () => {
  const pair = newPair({ disk: { resyncRate: 4000, cPlanAhead: 0 }, sectors: 16384 });
  makeDirty(pair, 0, 2048);
  startSync(pair);
  runUntil(pair, () => requests(pair).length >= 3, MINUTE_US);
  setPaused(pair, true);
  runUntil(pair, () => false, 1_000_000);
  const before = requests(pair).length;
  assert.equal(deviceOf(volumeOf(pair.target)).resync!.requests, []);
  assert.not(runUntil(pair, () => requests(pair).length > before, MINUTE_US));
  setPaused(pair, false);
  assert.ok(runUntil(pair, () => isOver(pair), MINUTE_US));
  assertEqualDisks(pair);
  assert.is(complete(pair.source).length, 1);
});

test('blocks that cannot be read or written stay marked on both nodes, are not asked for again, and the source does not end', () => {
  const pair = newPair({ ...FAST, sectors: 8192 });
  makeDirty(pair, 0, 600);
  pair.readErrors.add(10);
  pair.writeErrors.add(300);
  startSync(pair);
  assert.ok(runUntil(pair, () => complete(pair.target).length === 1, MINUTE_US));
  const asked = requests(pair).length;
  runUntil(pair, () => false, 1_000_000);
  assert.is(requests(pair).length, asked);
  const failed = [...dirtyBits(pair)];
  assert.ok(failed.includes(10) && failed.includes(300));
  const [end] = complete(pair.target);
  assert.ok(end?.signal === 'resync-complete' && end.failedBits === failed.length);
  assertEqualDisks(pair, new Set(failed));
  assert.ok(deviceOf(volumeOf(pair.source)).resync, 'the source waits for the link to be renewed');
  assert.equal(pair.source.told.map(({ signal }) => signal), ['disk-error']);
  assert.equal(pair.target.told.map(({ signal }) => signal), ['disk-error', 'resync-complete']);
  // The next connection repairs what can be repaired.
  pair.readErrors.clear();
  pair.writeErrors.clear();
  cut(pair);
  reconnect(pair);
  assert.ok(runUntil(pair, () => isOver(pair), MINUTE_US));
  assertEqualDisks(pair);
});

test('a failed block that the application writes anew is repaired, and the resync ends without failures', () => {
  const pair = newPair({ ...FAST, sectors: 8192, diskUs: 50_000 });
  makeDirty(pair, 0, 64);
  makeDirty(pair, 900, 1);
  pair.readErrors.add(900);
  startSync(pair);
  runUntil(pair, () => deviceOf(volumeOf(pair.target)).resync!.failed !== undefined, MINUTE_US);
  write(pair, 7200, 8);
  assert.ok(runUntil(pair, () => isOver(pair), MINUTE_US));
  const [end] = complete(pair.target);
  assert.ok(end?.signal === 'resync-complete' && end.failedBits === 0);
  assertEqualDisks(pair);
});

test('a bit that is set behind the cursor is found again (B119), also one that is set while the fence is on its way', () => {
  const pair = newPair({ disk: { resyncRate: 4000, cPlanAhead: 0 }, sectors: 16384 });
  makeDirty(pair, 0, 2000);
  startSync(pair);
  const resync = () => deviceOf(volumeOf(pair.target)).resync!;
  runUntil(pair, () => resync().cursorBit > 1000 && countBits(deviceOf(volumeOf(pair.target)).bitmap!, 50, 1) === 0, MINUTE_US);
  act(pair, pair.target, () => markOutOfSync(deviceOf(volumeOf(pair.target)), 50 * 8, 8));
  act(pair, pair.source, () => markOutOfSync(deviceOf(volumeOf(pair.source)), 50 * 8, 8));
  runUntil(pair, () => resync().phase === 'fencing', MINUTE_US);
  assert.is(countBits(deviceOf(volumeOf(pair.target)).bitmap!, 50, 1), 0);
  makeDirty(pair, 1, 1);
  assert.ok(runUntil(pair, () => isOver(pair), MINUTE_US));
  assert.is(dirtyBits(pair).size, 0);
  assertEqualDisks(pair);
});

test('cancelled requests are asked for again, and do not fill the window for ever (B120)', () => {
  const pair = newPair({ ...FAST, sectors: 8192 });
  makeDirty(pair, 0, 1024);
  startSync(pair);
  // The source cancels what it is asked for at first.
  const { core, connection } = pair.source;
  const volume = volumeOf(pair.source);
  const device = deviceOf(volume);
  runUntil(pair, () => requests(pair).length > 0, MINUTE_US);
  const resync = device.resync!;
  assert.ok(resync.reads.size > 0);
  act(pair, pair.source, () => {
    for (const range of resync.reads.values()) {
      sendPacket(core, connection, { packet: 'P_RS_CANCEL', volume: 0, sector: range.sector, blockId: ID_SYNCER, sizeBytes: range.sectors * 512, sequence: nextSequence(device) });
    }
    for (const id of resync.reads.keys()) volume.intervals.splice(volume.intervals.indexOf(findInterval(volume, id)!), 1);
    resync.reads.clear();
  });
  assert.ok(runUntil(pair, () => isOver(pair), MINUTE_US));
  assertEqualDisks(pair);
});

test('a flush that fails keeps the target from ending until one succeeds (D8)', () => {
  const pair = newPair(FAST);
  makeDirty(pair, 0, 10);
  pair.flushErrors = 2;
  startSync(pair);
  assert.ok(runUntil(pair, () => isOver(pair), MINUTE_US));
  assert.equal(pair.target.told.map(({ signal }) => signal), ['disk-error', 'disk-error', 'resync-complete']);
  assert.ok(pair.nowUs > 2_000_000, 'with pauses in between');
});

test('a flush that an earlier connection asked for does not count', () => {
  const pair = newPair({ ...FAST, diskUs: 1, networkUs: 1 });
  makeDirty(pair, 0, 10);
  pair.slowFlushesUs = [500_000, 900_000];
  startSync(pair);
  const resync = () => deviceOf(volumeOf(pair.target)).resync;
  runUntil(pair, () => resync()?.phase === 'flushing', MINUTE_US);
  cut(pair);
  makeDirty(pair, 5, 1);
  reconnect(pair);
  assert.ok(runUntil(pair, () => resync()?.phase === 'flushing', 400_000), 'the second resync waits for its flush before the first flush ends');
  const sinceUs = pair.nowUs;
  assert.ok(runUntil(pair, () => isOver(pair), MINUTE_US));
  assert.ok(pair.nowUs - sinceUs >= 900_000, `${pair.nowUs - sinceUs} µs`);
});

test('below protocol 96 the source, too, ends with its failed blocks', () => {
  for (const side of ['source', 'target'] as const) {
    const pair = newPair({ ...FAST, protocolVersion: 95 });
    makeDirty(pair, 0, 600);
    (side === 'source' ? pair.readErrors : pair.writeErrors).add(77);
    startSync(pair);
    pair.target.onComplete = (volume) => void (deviceOf(volume).repl = Conn.Connected);
    assert.ok(runUntil(pair, () => isOver(pair), MINUTE_US));
    for (const station of [pair.source, pair.target]) {
      const [end] = complete(station);
      assert.ok(end?.signal === 'resync-complete' && end.failedBits === dirtyBits(pair).size && end.failedBits > 0, `${side} error, ${station.name}`);
    }
  }
});

test('each of several volumes waits for its own fence', () => {
  for (let seed = 1; seed <= 30; seed++) {
    const pair = newPair({ ...FAST, volumes: 3, seed, networkUs: 30_000 });
    makeDirty(pair, 0, 10, 0);
    makeDirty(pair, 0, 10, 1);
    startSync(pair);
    let acks = 0;
    const target = pair.target;
    const onComplete = target.onComplete!;
    target.onComplete = (volume, failed) => {
      // The source has processed every acknowledgement: its own count is zero.
      acks++;
      assert.is(deviceOf(volumeOf(pair.source, volume.number)).bitmap!.weight, 0, `volume ${volume.number}, seed ${seed}`);
      onComplete(volume, failed);
    };
    assert.ok(runUntil(pair, () => isOver(pair), MINUTE_US));
    assert.is(acks, 3);
    assert.is(complete(pair.source).length, 3);
  }
});

test('the application goes first: the resync slows down to c-min-rate on either side, and speeds up again', () => {
  for (const primaryIsTarget of [false, true]) {
    const pair = newPair({ disk: { resyncRate: 100 * 1024, cPlanAhead: 0, cMinRate: 1000 }, sectors: 65536, primaryIsTarget });
    makeDirty(pair, 0, 8000);
    let stop = false;
    const load = (): void => {
      if (stop) return;
      write(pair, 64800, 256);
      later(pair, 50_000, load);
    };
    load();
    startSync(pair);
    runUntil(pair, () => false, 10_000_000);
    const copied = (8000 - deviceOf(volumeOf(pair.source)).bitmap!.weight) * 4;
    assert.ok(copied > 8_000 && copied < 20_000, `${copied} KiB in 10 s under load, target Primary: ${primaryIsTarget}`);
    stop = true;
    assert.ok(runUntil(pair, () => isOver(pair), 3_000_000), 'at once when the load ends');
    assertEqualDisks(pair);
  }
});

test('resync-rate 30M with c-plan-ahead 0: 30 MiB/s, measured', () => {
  const pair = newPair({ disk: { resyncRate: 30 * 1024, cPlanAhead: 0 }, sectors: 262144 });
  makeDirty(pair, 0, 32768);
  startSync(pair);
  assert.ok(runUntil(pair, () => isOver(pair), MINUTE_US));
  const mibPerS = 128 / (pair.nowUs / 1e6);
  console.log(`${mibPerS.toFixed(2)} MiB/s`);
  assert.ok(mibPerS > 28.5 && mibPerS < 31.5);
});

test('half of max-buffers is all that is asked for and not written at any moment, and does not bound the speed', () => {
  const pair = newPair({ disk: { resyncRate: 100 * 1024, cPlanAhead: 0 }, sectors: 524288 });
  makeDirty(pair, 0, 65536);
  startSync(pair);
  let most = 0;
  const isBounded = (): boolean => {
    const { resync } = deviceOf(volumeOf(pair.target));
    most = Math.max(most, resync?.requests.reduce((sum, { sectors }) => sum + sectors, 0) ?? 0);
    return isOver(pair);
  };
  assert.ok(runUntil(pair, isBounded, MINUTE_US));
  const mibPerS = 256 / (pair.nowUs / 1e6);
  console.log(`${mibPerS.toFixed(2)} MiB/s, ${most / 8} blocks of ${defaultNetOptions.maxBuffers} buffers`);
  assert.ok(mibPerS > 95 && mibPerS < 105);
  assert.is(most / 8, defaultNetOptions.maxBuffers / 2);
  assertEqualDisks(pair);
});

test('with its default options a resync starts at 250 KiB/s and speeds up', () => {
  const pair = newPair({ sectors: 131072 });
  makeDirty(pair, 0, 16384);
  startSync(pair);
  const copied = (seconds: number): number => {
    const before = deviceOf(volumeOf(pair.source)).bitmap!.weight;
    runUntil(pair, () => false, seconds * 1_000_000);
    return ((before - deviceOf(volumeOf(pair.source)).bitmap!.weight) * 4) / seconds;
  };
  const rates = [copied(1), copied(6), copied(1)];
  console.log(`${rates.map((rate) => rate.toFixed(0)).join(', ')} KiB/s`);
  assert.ok(rates[0]! > 200 && rates[0]! < 800 && rates[2]! > 8 * rates[0]!, `${rates}`);
});

test('the source does not end while it has open blocks, whatever the target says', () => {
  const pair = newPair({ ...FAST, networkUs: 1 });
  makeDirty(pair, 0, 10);
  startSync(pair, true);
  act(pair, pair.target, () => sendPacket(pair.target.core, pair.target.connection, { packet: 'P_STATE', volume: 0, state: 0 }));
  runUntil(pair, () => false, 1_000_000);
  assert.equal(complete(pair.source), []);
  assert.is(deviceOf(volumeOf(pair.source)).resync!.phase, 'running');
});

test('cleared bits are written out every 2 s while a resync goes on, so that an interrupted one goes on near where it was', () => {
  const pair = newPair({ disk: { resyncRate: 4000, cPlanAhead: 0 }, sectors: 131072 });
  makeDirty(pair, 0, 16384);
  startSync(pair);
  runUntil(pair, () => false, 9_000_000);
  for (const station of [pair.source, pair.target]) {
    assert.ok(pair.pagesWritten.get(station)! >= 3 && pair.pagesWritten.get(station)! <= 5, `${station.name}: ${pair.pagesWritten.get(station)} times in 9 s`);
  }
});

test('a Primary target does not ask for a block that it is about to write: the answer would be older (B006)', () => {
  const pair = newPair({ ...FAST, primaryIsTarget: true, diskUs: 400_000, networkUs: 1000 });
  makeDirty(pair, 100, 1);
  startSync(pair);
  // The second write waits for the first, so the source does not have it yet when the first tick comes.
  write(pair, 800, 4);
  write(pair, 802, 4);
  assert.ok(runUntil(pair, () => isOver(pair), MINUTE_US));
  assertEqualDisks(pair);
});

test('requests wait while half of the send buffer is taken', () => {
  const pair = newPair({ ...FAST, sectors: 65536, net: { sndbufSize: 400 }, networkUs: 1 });
  for (let bit = 0; bit < 2000; bit += 2) makeDirty(pair, bit, 1);
  startSync(pair);
  runUntil(pair, () => requests(pair).length > 0, MINUTE_US);
  // Requests of 40 bytes, until more than 200 are unsent.
  assert.ok(deviceOf(volumeOf(pair.target)).resync!.requests.length <= 6);
});

test('a target that lost its disk gets no answers', () => {
  const pair = newPair({ ...FAST, diskUs: 100_000, networkUs: 1 });
  makeDirty(pair, 0, 10);
  startSync(pair);
  const device = deviceOf(volumeOf(pair.source));
  runUntil(pair, () => device.resync!.reads.size > 0, MINUTE_US);
  device.pdsk = Disk.Diskless;
  runUntil(pair, () => device.resync!.reads.size === 0, MINUTE_US);
  runUntil(pair, () => false, 10_000);
  assert.equal(pair.target.received, []);
  assert.equal(volumeOf(pair.source).intervals, []);
});

test('a target that loses its disk refuses what still comes, and keeps no range', () => {
  const pair = newPair({ ...FAST, sectors: 16384, diskUs: 200_000 });
  makeDirty(pair, 0, 2048);
  startSync(pair);
  const { core, resource } = pair.target;
  const volume = volumeOf(pair.target);
  const device = deviceOf(volume);
  runUntil(pair, () => device.resync!.requests.some(({ stage }) => stage === 'writing'), MINUTE_US);
  assert.ok(device.resync!.requests.some(({ stage }) => stage === 'asked'));
  volume.disk = Disk.Failed;
  volume.backing!.failed = true;
  // Answers and ends of writes come in before the resource room has drawn the consequences.
  runUntil(pair, () => false, 100_000);
  act(pair, pair.target, () => abortResync(core, resource, volume, device, false));
  assert.equal(volume.intervals, []);
  device.bitmap = undefined;
  runUntil(pair, () => false, 2_000_000);
  assert.ok(pair.source.received.some(({ packet }) => packet === 'P_NEG_ACK'));
  assert.equal(lost(pair), []);
  assert.is(deviceOf(volumeOf(pair.source)).bitmap!.weight > 0, true);
  assert.equal(volume.intervals, []);
});

test('a source that loses its disk refuses what is asked for, and the target is left with what it lacks', () => {
  const pair = newPair({ ...FAST, sectors: 16384, diskUs: 100_000 });
  makeDirty(pair, 0, 2048);
  startSync(pair);
  const { core, resource } = pair.source;
  const volume = volumeOf(pair.source);
  const device = deviceOf(volume);
  runUntil(pair, () => device.resync!.reads.size > 0, MINUTE_US);
  volume.disk = Disk.Failed;
  volume.backing!.failed = true;
  runUntil(pair, () => false, 20_000);
  act(pair, pair.source, () => abortResync(core, resource, volume, device, false));
  device.bitmap = undefined;
  assert.equal(volume.intervals, []);
  assert.not(runUntil(pair, () => complete(pair.source).length > 0, 5_000_000));
  assert.equal(lost(pair), []);
  assert.ok(deviceOf(volumeOf(pair.target)).bitmap!.weight > 0);
});

// ---- Thin resync -------------------------------------------------------------------------------------------------------

/** What the target asked for, as `thin 0+16` in blocks. */
const asked = (pair: Pair): string[] =>
  pair.source.received.flatMap((packet) =>
    packet.packet === 'P_RS_DATA_REQUEST' || packet.packet === 'P_RS_THIN_REQ' ? [`${packet.packet === 'P_RS_THIN_REQ' ? 'thin' : 'data'} ${packet.sector / 8}+${packet.sizeBytes / 4096}`] : [],
  );
const answered = (pair: Pair, name: Packet['packet']): number => pair.target.received.filter(({ packet }) => packet === name).length;
const THIN = { resyncRate: 400 * 1024, cPlanAhead: 0, cMinRate: 0, rsDiscardGranularity: 65536 };

test('whole granules are asked for thinly; what is all zeros over there is discarded here, and only then cleared on both sides', () => {
  const pair = newPair({ disk: THIN, sectors: 8192, discardGranularitySectors: 8 });
  makeDirty(pair, 0, 32, 0, true);
  makeDirty(pair, 32, 16);
  makeDirty(pair, 100, 30, 0, true);
  startSync(pair);
  assert.ok(runUntil(pair, () => isOver(pair), MINUTE_US));
  assert.equal(asked(pair), ['thin 0+16', 'thin 16+16', 'thin 32+16', 'data 100+4', 'data 104+8', 'thin 112+16', 'data 128+2']);
  assert.equal([answered(pair, 'P_RS_DEALLOCATED'), answered(pair, 'P_RS_DATA_REPLY')], [3, 4]);
  assert.is(dirtyBits(pair).size, 0);
  assertEqualDisks(pair);
  assertNothingLeft(pair);
});

test('nothing is asked for thinly without the option, the feature, a disk that discards, or room for a granule in a request', () => {
  const thin = (options: PairOptions): boolean => {
    const pair = newPair({ disk: THIN, sectors: 8192, discardGranularitySectors: 8, ...options });
    makeDirty(pair, 0, 256, 0, true);
    startSync(pair);
    assert.ok(runUntil(pair, () => isOver(pair), MINUTE_US));
    assertEqualDisks(pair);
    return asked(pair).some((one) => one.startsWith('thin'));
  };
  const of = (rsDiscardGranularity: number): PairOptions => ({ disk: { ...THIN, rsDiscardGranularity } });
  assert.ok(thin({}));
  assert.not(thin(of(0)));
  assert.not(thin({ discardGranularitySectors: undefined }));
  assert.not(thin({ discardGranularitySectors: 0 }));
  // The disk's granule counts where it is larger, and a request of protocol 90 is at most 32 KiB.
  assert.ok(thin({ ...of(512), discardGranularitySectors: 16 }));
  assert.not(thin({ ...of(512), discardGranularitySectors: 1 }));
  assert.ok(thin({ ...of(32768), protocolVersion: 90 }));
  assert.not(thin({ ...of(65536), protocolVersion: 90 }));
});

test('a granule larger than the rate allows in a step is asked for whole, and made up for (B123)', () => {
  const pair = newPair({ disk: { ...THIN, resyncRate: 1000, rsDiscardGranularity: 1 << 20 }, sectors: 20480, discardGranularitySectors: 8, networkUs: 1, diskUs: 1 });
  makeDirty(pair, 0, 2560, 0, true);
  startSync(pair);
  assert.ok(runUntil(pair, () => isOver(pair), MINUTE_US));
  assert.is(asked(pair).filter((one) => one.startsWith('thin')).length, 10);
  assert.ok(pair.nowUs > 8_500_000 && pair.nowUs < 11_500_000, `10 MiB at 1000 KiB/s took ${pair.nowUs} µs`);
});

test('zeros that the disk refuses to make stay marked on both nodes; what is cleared is never more than was zeroed (B128)', () => {
  for (let seed = 1; seed <= 40; seed++) {
    // Granules of 24 sectors: heads and tails are zeroed, and each operation may be refused, or fail for good.
    const pair = newPair({ disk: THIN, sectors: 8189, discardGranularitySectors: 24, seed });
    makeDirty(pair, 0, 512, 0, true);
    makeDirty(pair, 600, 424, 0, true);
    pair.refused = seed % 2 === 0 ? ['disk-discard', 'disk-write-zeroes'] : ['disk-discard', 'disk-write-zeroes', 'disk-write'];
    startSync(pair);
    assert.ok(runUntil(pair, () => complete(pair.target).length === 1, MINUTE_US));
    runUntil(pair, () => false, 1_000_000);
    const failed = dirtyBits(pair);
    assert.is(failed.size > 0, seed % 2 === 1, `seed ${seed}: ${failed.size} failed`);
    const [end] = complete(pair.target);
    assert.ok(end?.signal === 'resync-complete' && end.failedBits === failed.size);
    assertEqualDisks(pair, failed);
    assertNothingLeft(pair);
  }
});

test('a thin request that was not agreed, and zeros that nobody asked for, drop the connection', () => {
  const thin: Packet = { packet: 'P_RS_THIN_REQ', volume: 0, sector: 0, blockId: ID_SYNCER, sizeBytes: 4096 };
  const zeros: Packet = { packet: 'P_RS_DEALLOCATED', volume: 0, sector: 800, sizeBytes: 4096 };
  const lostBy = (side: 'source' | 'target', packet: Packet, options: PairOptions, paused: boolean): string | undefined => {
    const pair = newPair({ ...FAST, networkUs: 1, diskUs: 1_000_000, ...options });
    makeDirty(pair, 100, 1);
    startSync(pair, paused);
    runUntil(pair, () => false, 1000);
    const [hearer, speaker] = side === 'source' ? [pair.source, pair.target] : [pair.target, pair.source];
    act(pair, speaker, () => sendPacket(speaker.core, speaker.connection, packet));
    runUntil(pair, () => false, 1000);
    const end = hearer.told.find((value) => value.signal === 'connection-lost');
    assert.is(deviceOf(volumeOf(hearer)).bitmap!.weight, 1, 'no bit is cleared by it (B050)');
    return end?.signal === 'connection-lost' && end.reason === 'ProtocolError' ? end.detail : undefined;
  };
  assert.match(lostBy('source', thin, {}, true)!, /FF_THIN_RESYNC is not agreed/);
  assert.is(lostBy('source', thin, { discardGranularitySectors: 8 }, true), undefined);
  assert.match(lostBy('source', { ...thin, sizeBytes: (1 << 20) + 512 }, { discardGranularitySectors: 8 }, true)!, /larger/);
  assert.match(lostBy('target', zeros, { discardGranularitySectors: 8 }, true)!, /nobody asked/);
  // Asked for as data: zeros are an answer to a thin request only.
  assert.match(lostBy('target', zeros, { discardGranularitySectors: 8 }, false)!, /nobody asked/);
  assert.match(lostBy('target', { ...zeros, sector: 8189 }, { discardGranularitySectors: 8 }, true)!, /beyond/);
});

// ---- Bad bytes ---------------------------------------------------------------------------------------------------------

test('what the peer may not say drops the connection', () => {
  const request = (sector: number, sizeBytes: number): Packet => ({ packet: 'P_RS_DATA_REQUEST', volume: 0, sector, blockId: ID_SYNCER, sizeBytes });
  const ack = (packet: 'P_RS_WRITE_ACK' | 'P_NEG_RS_DREPLY' | 'P_RS_CANCEL', sector: number, sizeBytes: number): Packet => ({ packet, volume: 0, sector, blockId: ID_SYNCER, sizeBytes, sequence: 1 });
  const reply = (sector: number, bytes: number): Packet => ({ packet: 'P_RS_DATA_REPLY', volume: 0, sector, blockId: ID_SYNCER, sequence: 0, flags: 0, data: new Uint8Array(bytes) });
  const said: ['source' | 'target', Packet, RegExp][] = [
    ['source', request(0, 0), /size 0/],
    ['source', request(0, 513), /multiple/],
    ['source', request(0, (1 << 20) + 512), /larger/],
    ['source', request(4095, 1024), /beyond/],
    ['source', ack('P_RS_WRITE_ACK', 0, 4096), /not sent/],
    ['target', reply(8, 4096), /nobody asked/],
    ['target', reply(4096, 4096), /beyond/],
    ['target', ack('P_NEG_RS_DREPLY', 8, 4096), /nobody asked/],
    ['target', ack('P_RS_CANCEL', 8, 4096), /nobody asked/],
  ];
  for (const [side, packet, text] of said) {
    const pair = newPair({ ...FAST, networkUs: 1 });
    makeDirty(pair, 100, 1);
    startSync(pair, true);
    const [hearer, speaker] = side === 'source' ? [pair.source, pair.target] : [pair.target, pair.source];
    act(pair, speaker, () => sendPacket(speaker.core, speaker.connection, packet));
    runUntil(pair, () => false, 1000);
    const end = hearer.told.find((value) => value.signal === 'connection-lost');
    assert.ok(end?.signal === 'connection-lost' && end.reason === 'ProtocolError', `${packet.packet} ${text}`);
    assert.match(end.detail, text);
    assert.is(deviceOf(volumeOf(hearer)).bitmap!.weight, 1, 'no bit is cleared by it (B050)');
  }
});

test('one answer for each request, of exactly its range', () => {
  for (const wrong of ['twice', 'shorter', 'longer'] as const) {
    const pair = newPair({ ...FAST, diskUs: 1_000_000, networkUs: 1 });
    makeDirty(pair, 100, 2);
    startSync(pair);
    runUntil(pair, () => requests(pair).length === 1, MINUTE_US);
    const bytes = wrong === 'shorter' ? 4096 : wrong === 'longer' ? 3 * 4096 : 8192;
    const reply: Packet = { packet: 'P_RS_DATA_REPLY', volume: 0, sector: 800, blockId: ID_SYNCER, sequence: 0, flags: 0, data: new Uint8Array(bytes) };
    act(pair, pair.source, () => {
      sendPacket(pair.source.core, pair.source.connection, reply);
      if (wrong === 'twice') sendPacket(pair.source.core, pair.source.connection, reply);
    });
    runUntil(pair, () => false, 100);
    assert.equal(pair.target.told.map(({ signal }) => signal), ['connection-lost'], wrong);
  }
});

test('without an UpToDate disk the source refuses; without a resync the target refuses what comes', () => {
  const pair = newPair({ ...FAST, networkUs: 1 });
  act(pair, pair.target, () => sendPacket(pair.target.core, pair.target.connection, { packet: 'P_RS_DATA_REQUEST', volume: 0, sector: 0, blockId: { high: 7, low: 9 }, sizeBytes: 4096 }));
  act(pair, pair.source, () =>
    sendPacket(pair.source.core, pair.source.connection, { packet: 'P_RS_DATA_REPLY', volume: 0, sector: 0, blockId: ID_SYNCER, sequence: 0, flags: 0, data: new Uint8Array(4096) }),
  );
  runUntil(pair, () => false, 1000);
  assert.equal(lost(pair), []);
  assert.equal(pair.target.received.map(({ packet }) => packet), ['P_RS_DATA_REPLY', 'P_NEG_RS_DREPLY']);
  const refusal = pair.target.received[1]!;
  assert.ok(refusal.packet === 'P_NEG_RS_DREPLY' && refusal.blockId.high === 7 && refusal.blockId.low === 9, 'the block id is echoed');
  assert.equal(pair.source.received.map(({ packet }) => packet), ['P_RS_DATA_REQUEST', 'P_NEG_ACK']);
});

// ---- Properties --------------------------------------------------------------------------------------------------------

const range = fc.tuple(fc.nat(1023), fc.integer({ min: 1, max: 300 }));
const action = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('write' as const), sector: fc.nat(8150), sectors: fc.integer({ min: 1, max: 40 }), afterUs: fc.nat(20_000) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('flap' as const), afterUs: fc.nat(200_000) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cut' as const), afterUs: fc.nat(200_000) }) },
);

/** Granule of the disks, and rs-discard-granularity. */
const thinness = fc.constantFrom<[number | undefined, number]>([undefined, 0], [undefined, 0], [8, 16384], [1, 4096], [24, 4096], [40, 65536]);

const story = fc.record({
  seed: fc.nat(1_000_000),
  dirty: fc.array(range, { minLength: 1, maxLength: 6 }),
  zeros: fc.array(range, { maxLength: 3 }),
  thinness,
  actions: fc.array(action, { maxLength: 40 }),
  readErrors: fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: fc.array(fc.nat(1023), { maxLength: 3 }) }),
  primaryIsTarget: fc.boolean(),
  /** Writes fall into so many sectors. */
  hotSectors: fc.constantFrom(8150, 100),
  sectors: fc.constantFrom(8192, 8189),
  disk: fc.constantFrom<NonNullable<PairOptions['disk']>>(FAST.disk, {}, { resyncRate: 4000, cPlanAhead: 0, cMinRate: 250 }, { cFillTarget: 0, cMinRate: 4000, resyncRate: 10000 }),
  networkUs: fc.constantFrom(100, 3000, 150_000),
  diskUs: fc.constantFrom(100, 5000, 120_000),
});

test('any load, pauses, cuts and read errors: the disks end equal wherever no bit is set, and nothing is left behind (B006, B115, B133)', () => {
  let cuts = 0;
  let completed = 0;
  fc.assert(
    fc.property(story, ({ seed, dirty, zeros, thinness: [discardGranularitySectors, rsDiscardGranularity], actions, readErrors, primaryIsTarget, hotSectors, disk, ...options }) => {
      // A write on a node that is alone and Inconsistent has no home: a Primary target keeps its link.
      const pair = newPair({ ...options, disk: { ...disk, rsDiscardGranularity }, discardGranularitySectors, seed, primaryIsTarget });
      for (const [bit, bits] of dirty) makeDirty(pair, bit, Math.min(bits, 1024 - bit));
      for (const [bit, bits] of zeros) makeDirty(pair, bit, Math.min(bits, 1024 - bit), 0, true);
      for (const block of readErrors) pair.readErrors.add(block);
      startSync(pair);
      for (const step of actions) {
        runUntil(pair, () => false, step.afterUs);
        if (step.do === 'write') write(pair, step.sector % hotSectors, Math.min(step.sectors, options.sectors - (step.sector % hotSectors)));
        else if (step.do === 'flap') {
          setPaused(pair, true);
          runUntil(pair, () => false, step.afterUs);
          setPaused(pair, false);
        } else if (!primaryIsTarget) {
          cuts++;
          cut(pair);
          runUntil(pair, () => isQuiet(pair), MINUTE_US);
          reconnect(pair);
        }
      }
      const done = (): boolean => complete(pair.target).length > 0 && isQuiet(pair) && !deviceOf(volumeOf(pair.target)).resync && (isOver(pair) || dirtyBits(pair).size > 0);
      assert.ok(runUntil(pair, done, 10 * MINUTE_US), 'the resync ends');
      runUntil(pair, () => false, 1_000_000);
      assert.equal(lost(pair), []);
      const marked = dirtyBits(pair);
      if (pair.readErrors.size === 0) assert.is(marked.size, 0, 'no bit is left');
      if (pair.readErrors.size === 0) completed++;
      assertEqualDisks(pair, marked);
      assertNothingLeft(pair);
    }),
    { numRuns: runsOr(150) },
  );
  console.log(`${completed} runs ended without a bit left, ${cuts} cuts`);
});

test.run();
