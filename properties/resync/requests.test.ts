// Which blocks a target asks for, in requests of which size (wire-protocol.md §7.3): the rule against a naive statement of it, and against
// what kernels asked for after the bitmaps that they had exchanged.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import fc from '../fast-check.js';
import { orBytes } from '../../src/metadata/bitmap-io.js';
import { clearBits, countBits, createBitmap, setBits } from '../../src/metadata/bitmap.js';
import type { Bitmap } from '../../src/metadata/bitmap.js';
import { nextRange } from '../../src/resync/target.js';
import type { ResyncRequest } from '../../src/resync/types.js';
import { receiveBitmapChunk } from '../../src/wire/bitmap-chunks.js';
import type { Packet } from '../../src/wire/packets.js';
import { recordedConnections } from './recordings.js';

const nothing = { requests: [], failed: undefined };
const request = (sector: number, sectors: number): ResyncRequest => ({ sector, sectors, interval: 0, stage: 'asked', askedAs: 'data', data: undefined, operations: 0, failed: false });

/** All requests of one pass. */
function pass(bitmap: Bitmap, mostBits: number): { bit: number; bits: number }[] {
  const ranges = [];
  for (let range = nextRange(nothing, bitmap, 0, mostBits); range; range = nextRange(nothing, bitmap, range.bit + range.bits, mostBits)) ranges.push(range);
  return ranges;
}

test('a pass asks for every set bit once, in order, and each request is as large as the rule allows', () => {
  const runs = fc.array(fc.tuple(fc.nat(9000), fc.integer({ min: 1, max: 700 })), { maxLength: 12 });
  fc.assert(
    fc.property(runs, fc.constantFrom(256, 32, 8, 31, 1), fc.integer({ min: 9000, max: 9700 }), (sets, mostBits, bits) => {
      const bitmap = createBitmap(bits * 8);
      for (const [bit, count] of sets) setBits(bitmap, bit, Math.min(count, bits - bit));
      const seen = createBitmap(bits * 8);
      for (const { bit, bits: count } of pass(bitmap, mostBits)) {
        assert.is(countBits(bitmap, bit, count), count, 'only set bits');
        assert.is(setBits(seen, bit, count), count, 'none twice');
        assert.ok(count <= mostBits);
        // Aligned to the power of two that holds it, and inside one 16 MiB extent.
        const power = 2 ** Math.ceil(Math.log2(count));
        assert.is(bit % power, 0);
        assert.is(Math.floor(bit / 4096), Math.floor((bit + count - 1) / 4096));
        // Not one block more could have been taken.
        const next = count + 1;
        const couldGrow = next <= mostBits && bit % 2 ** Math.ceil(Math.log2(next)) === 0 && bit + count < bits && countBits(bitmap, bit + count, 1) === 1;
        assert.not(couldGrow, `${count} bits at ${bit} could be one more`);
      }
      assert.is(seen.weight, bitmap.weight);
    }),
    { numRuns: 200 },
  );
});

test('what is asked for or has failed is not asked for, and ends a request in front of it', () => {
  const bitmap = createBitmap(1024 * 8);
  setBits(bitmap, 0, 1024);
  const failed = createBitmap(bitmap.sectors);
  setBits(failed, 600, 10);
  const requests = [request(0, 256 * 8), request(300 * 8, 8), request(512 * 8, 32 * 8)];
  const at = (from: number) => nextRange({ requests, failed }, bitmap, from, 256);
  assert.equal(at(0), { bit: 256, bits: 44 });
  assert.equal(at(300), { bit: 301, bits: 1 });
  assert.equal(at(512), { bit: 544, bits: 32 });
  assert.equal(at(592), { bit: 592, bits: 8 });
  assert.equal(at(600), { bit: 610, bits: 2 });
  clearBits(bitmap, 612, 412);
  assert.is(at(612), undefined);
});

test('a huge device that is all out of sync costs no more per request than a small one', () => {
  const bitmap = createBitmap(2 ** 33);
  setBits(bitmap, 0, bitmap.bits);
  const began = process.hrtime.bigint();
  let bit = 2 ** 29;
  for (let n = 0; n < 1000; n++) bit = nextRange(nothing, bitmap, bit, 256)!.bit + 256;
  const milliseconds = Number(process.hrtime.bigint() - began) / 1e6;
  assert.ok(milliseconds < 1000, `${milliseconds} ms for 1000 requests`);
});

/** The largest request of the recorded kernels: their virtual disk takes 126976 bytes at once. */
const RECORDED_MOST_BITS = 31;
/** Half of max-buffers, which bounds what a recorded tick asks for. */
const RECORDED_BUDGET = 1024;

interface Recorded {
  bitmap: Bitmap;
  asked: { bit: number; bits: number }[];
}

/** The bitmap that a target sent and what it then asked for; undefined when the stream holds no such pair, or rate limits cut the requests. */
function recordedResync(packets: Packet[], apv: number): Recorded | undefined {
  const sizes = packets.find(({ packet }) => packet === 'P_SIZES');
  const sectors = sizes?.packet === 'P_SIZES' ? sizes.currentSectors || sizes.diskSectors : 0;
  let bitmap: Bitmap | undefined;
  let position = 0;
  const asked: { bit: number; bits: number }[] = [];
  for (const packet of packets) {
    if (packet.packet === 'P_BITMAP' || packet.packet === 'P_COMPRESSED_BITMAP') {
      const target = (bitmap ??= createBitmap(sectors));
      const writer = {
        bits: target.bits,
        setBits: (bit: number, bits: number): void => void setBits(target, bit, bits),
        orBytes: (offset: number, bytes: Uint8Array): void => void orBytes(target, offset, bytes),
      };
      const received = receiveBitmapChunk(writer, packet, position, apv);
      if ('error' in received) return undefined;
      position = received.position;
    } else if (packet.packet === 'P_RS_DATA_REQUEST') {
      asked.push({ bit: packet.sector / 8, bits: Math.ceil(packet.sizeBytes / 4096) });
    }
  }
  return bitmap && asked.length > 0 && bitmap.weight <= RECORDED_BUDGET ? { bitmap, asked } : undefined;
}

test('after their recorded bitmaps kernels asked for exactly these ranges', () => {
  let compared = 0;
  let requests = 0;
  const names: string[] = [];
  for (const { name, protocolVersion, packets } of recordedConnections()) {
    // Rate limits cut requests there; DRBD 9 sizes its requests otherwise; checksum and thin requests follow other rules.
    if (/sync-interrupted|write-during-sync|verify|thin|csums|congestion/.test(name)) continue;
    for (const [direction, stream] of packets) {
      const isDrbd9 = stream.some((packet) => packet.packet === 'P_RS_DATA_REQUEST' && packet.blockId.low !== 0xffffffff);
      const recorded = isDrbd9 ? undefined : recordedResync(stream, protocolVersion);
      if (!recorded) continue;
      assert.equal(pass(recorded.bitmap, RECORDED_MOST_BITS), recorded.asked, `${name} ${direction}`);
      compared++;
      requests += recorded.asked.length;
      names.push(name);
    }
  }
  if (compared > 0) {
    console.log(`${compared} recorded resyncs, ${requests} requests: equal`);
    assert.ok(names.some((name) => name.startsWith('resync-bitmap conn')), 'the recording resync-bitmap is among them');
  }
});

test.run();
