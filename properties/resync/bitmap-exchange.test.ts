// Two nodes tell each other their bitmaps: afterwards both know the union, whatever the form of the chunks (wire-protocol.md §6).

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import fc from '../fast-check.js';
import { dirtyPages } from '../../src/metadata/bitmap-io.js';
import { countBits, createBitmap, nextRun, setBits, type Bitmap } from '../../src/metadata/bitmap.js';
import { sendPacket } from '../../src/connection/send.js';
import { bitmapExpected, sendBitmap } from '../../src/resync/bitmap-exchange.js';
import type { Packet } from '../../src/wire/packets.js';
import { act, newPair, runUntil, type Pair } from './pair.js';
import { deviceOf, volumeOf, type Station } from './station.js';

const bitmapOf = (station: Station): Bitmap => deviceOf(volumeOf(station)).bitmap!;
const dirty = (bitmap: Bitmap, runs: [number, number][]): void => {
  for (const [bit, bits] of runs) if (bit < bitmap.bits) setBits(bitmap, bit, Math.min(bits, bitmap.bits - bit));
};
const send = (pair: Pair, from: Station): void =>
  act(pair, from, () => sendBitmap(from.core, from.resource, volumeOf(from), deviceOf(volumeOf(from)), from.connection));
const isTold = (station: Station): boolean => station.told.some(({ signal }) => signal === 'bitmap-received');
const runsOf = (bitmap: Bitmap): string => {
  const runs: string[] = [];
  for (let bit = 0; bit < bitmap.bits; ) {
    const { set, bits } = nextRun(bitmap, bit);
    if (set) runs.push(`${bit}+${bits}`);
    bit += bits;
  }
  return runs.join(' ');
};

test('after the exchange both bitmaps are the union, counted once (B034), and what was set must reach the disk (B032)', () => {
  const forms = new Set<string>();
  const runs = fc.array(fc.tuple(fc.nat(200_000), fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 50_000 }))), { maxLength: 60 });
  /** Every other bit: what run lengths are bad at. */
  const comb = fc.integer({ min: 0, max: 20_000 });
  fc.assert(
    fc.property(runs, runs, comb, fc.integer({ min: 1, max: 1_600_000 }), fc.constantFrom(101, 99, 89), fc.boolean(), (ofSource, ofTarget, teeth, sectors, protocolVersion, useRle) => {
      const pair = newPair({ sectors, protocolVersion, net: { useRle }, networkUs: 10 });
      const [source, target] = [bitmapOf(pair.source), bitmapOf(pair.target)];
      dirty(source, ofSource);
      for (let tooth = 0; tooth < teeth && tooth * 2 < source.bits; tooth++) setBits(source, tooth * 2, 1);
      dirty(target, ofTarget);
      const union = createBitmap(sectors);
      for (const bitmap of [source, target]) for (let bit = 0; bit < bitmap.bits; ) {
        const { set, bits } = nextRun(bitmap, bit);
        if (set) setBits(union, bit, bits);
        bit += bits;
      }
      send(pair, pair.source);
      assert.ok(runUntil(pair, () => isTold(pair.target), 1_000_000));
      assert.not(bitmapExpected(deviceOf(volumeOf(pair.target))));
      send(pair, pair.target);
      assert.ok(runUntil(pair, () => isTold(pair.source), 1_000_000));
      for (const station of [pair.source, pair.target]) {
        const bitmap = bitmapOf(station);
        assert.is(runsOf(bitmap), runsOf(union), station.name);
        assert.is(bitmap.weight, union.weight);
        assert.is(countBits(bitmap, 0, bitmap.bits), union.weight);
        for (let page = 0; page < bitmap.pages; page++) {
          if (bitmap.counts[page]! > 0) assert.ok(dirtyPages(bitmap, 'must').includes(page), `page ${page} must be written`);
        }
        for (const { packet } of station.received) forms.add(packet);
        assert.is(station.told.length, 1, 'told once');
      }
    }),
    { numRuns: 120 },
  );
  assert.equal([...forms].sort(), ['P_BITMAP', 'P_COMPRESSED_BITMAP']);
});

test('a large clean or wholly dirty bitmap is one packet', () => {
  for (const isDirty of [false, true]) {
    const pair = newPair({ sectors: 2048 });
    const device = deviceOf(volumeOf(pair.source));
    device.bitmap = createBitmap(2 ** 33);
    deviceOf(volumeOf(pair.target)).bitmap = createBitmap(2 ** 33);
    if (isDirty) setBits(device.bitmap, 0, device.bitmap.bits);
    send(pair, pair.source);
    assert.ok(runUntil(pair, () => isTold(pair.target), 1_000_000));
    assert.is(pair.target.received.length, 1);
    assert.is(bitmapOf(pair.target).weight, isDirty ? 2 ** 30 : 0);
  }
});

test('a chunk that does not fit drops the connection', () => {
  const bad: Packet[] = [
    { packet: 'P_BITMAP', volume: 0, words: new Uint8Array(8) },
    { packet: 'P_BITMAP', volume: 0, words: new Uint8Array(0) },
    // One set run of 16384 bits where there are 512.
    { packet: 'P_COMPRESSED_BITMAP', volume: 0, firstRunSet: true, padBits: 3, code: Uint8Array.of(0x7f, 0xcf, 0x1e, 0) },
    { packet: 'P_COMPRESSED_BITMAP', volume: 0, firstRunSet: true, padBits: 0, code: Uint8Array.of(0xff) },
  ];
  for (const packet of bad) {
    const pair = newPair({ sectors: 4096 });
    act(pair, pair.source, () => sendPacket(pair.source.core, pair.source.connection, packet));
    runUntil(pair, () => false, 10_000);
    const [end] = pair.target.told;
    assert.ok(end?.signal === 'connection-lost' && end.reason === 'ProtocolError', packet.packet);
    assert.not(bitmapExpected(deviceOf(volumeOf(pair.target))));
  }
});

test('without a disk a bitmap is passed over', () => {
  const pair = newPair({ sectors: 4096 });
  deviceOf(volumeOf(pair.target)).bitmap = undefined;
  send(pair, pair.source);
  runUntil(pair, () => false, 10_000);
  assert.equal(pair.target.told, []);
});

test.run();
