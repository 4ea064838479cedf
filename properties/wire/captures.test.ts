// Two kernels' own words: every recorded stream decodes to its last byte, in whatever chunks it arrives, and every packet
// encodes again, from its typed fields, to the bytes that were on the wire.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { nextBitmapChunk, runsOf } from '../../src/wire/bitmap-chunks.js';
import type { Run } from '../../src/wire/bitmap-chunks.js';
import { freshContext } from '../../src/wire/context.js';
import type { WireContext } from '../../src/wire/context.js';
import { encodePacket } from '../../src/wire/encode.js';
import { isWireError } from '../../src/wire/errors.js';
import type { Packet } from '../../src/wire/packets.js';
import { newStreamDecoder, pullPacket } from '../../src/wire/reassembly.js';
import { agreedBy, capturedStreams, listedPackets } from './captured-streams.js';
import type { CapturedStream } from './captured-streams.js';

const streams = capturedStreams();
const digestBytesOf: Record<string, number> = { '': 0, crc32c: 4 };

/** A typed packet without any bytes that this codec did not make itself, but for what is opaque by nature. */
function rebuilt(packet: Packet): Packet {
  if (packet.packet !== 'P_COMPRESSED_BITMAP') return packet;
  const runs = runsOf(packet);
  if (runs === undefined) throw new Error('a recorded bitmap does not decode');
  return nextBitmapChunk(readerOf(runs), packet.volume, 0, 101, true).packet;
}

/** A bitmap that consists of exactly these runs. */
function readerOf(runs: Run[]) {
  const starts = new Map<number, Run>();
  let bits = 0;
  for (const run of runs) {
    starts.set(bits, run);
    bits += run.bits;
  }
  return {
    bits,
    nextRun: (bit: number): Run => starts.get(bit)!,
    bytesOf: (): Uint8Array => {
      throw new Error('the recorded sender chose the compressed form');
    },
  };
}

interface Seen {
  name: string;
  volume: number;
  offset: number;
  payloadBytes: number;
}

/** Feeds a stream in chunks and compares what it encodes to again; returns the packets and the error that ended it. */
function replay(stream: CapturedStream, chunkBytes: (at: number) => number): { seen: Seen[]; error: string | undefined; left: number } {
  const agreed = agreedBy(stream, streams);
  const context: WireContext = freshContext();
  // The side that accepted the connection sends no first packet.
  const isOpener = ['83740267fff10000', '83740267fff20000'].includes(Buffer.from(stream.bytes.subarray(0, 8)).toString('hex'));
  const decoder = newStreamDecoder(isOpener ? 'first' : stream.kind);
  const seen: Seen[] = [];
  let offset = 0;
  let error: string | undefined;
  for (let at = 0; at < stream.bytes.length && error === undefined; ) {
    const chunk = stream.bytes.slice(at, at + chunkBytes(at));
    at += chunk.length;
    const input = { bytes: chunk, at: 0 };
    for (;;) {
      const packet = pullPacket(decoder, context, input);
      if (packet === undefined) break;
      if (isWireError(packet)) {
        error = packet.error;
        break;
      }
      // Header 100 on meta needs no agreement to be read; to be written it does.
      const form100 = stream.bytes[offset] === 0x86;
      const pieces = encodePacket(rebuilt(packet), form100 ? { ...context, apv: 101 } : context);
      const encoded = Buffer.concat(pieces);
      const recorded = stream.bytes.subarray(offset, offset + encoded.length);
      if (Buffer.compare(encoded, recorded) !== 0) {
        throw new Error(`${stream.path} @${offset} ${packet.packet}\n encoded ${encoded.toString('hex')}\n recorded ${Buffer.from(recorded).toString('hex')}`);
      }
      seen.push({ name: packet.packet, volume: packet.volume, offset, payloadBytes: encoded.length - (form100 ? 16 : 8) });
      offset += encoded.length;
      if (packet.packet === 'P_CONNECTION_FEATURES' && agreed !== undefined) Object.assign(context, agreed);
      if (packet.packet === 'P_PROTOCOL' || packet.packet === 'P_PROTOCOL_UPDATE') context.digestBytes = digestBytesOf[packet.integrityAlg!]!;
    }
    chunk.fill(0xee);
  }
  return { seen, error, left: stream.bytes.length - offset };
}

test('every recorded stream decodes whole, and encodes again to the same bytes', () => {
  let packets = 0;
  let bytes = 0;
  const listed = new Map<string, ReturnType<typeof listedPackets>>();
  const refused: string[] = [];
  for (const stream of streams) {
    const { seen, error, left } = replay(stream, () => stream.bytes.length);
    if (!listed.has(stream.folder)) listed.set(stream.folder, listedPackets(stream.folder));
    const expected = (listed.get(stream.folder)!.get(`${stream.connection} ${stream.direction}`) ?? []).map(
      ({ name, volume, offset, payloadBytes }) => ({ name, volume, offset, payloadBytes }),
    );
    if (error !== undefined) {
      // An 8.4 receiver refuses this too: the first features packet of a DRBD 9 that wants protocol 118 has header 100.
      assert.is(error, 'bad-magic', stream.path);
      assert.is(left, 88, stream.path);
      const context = { apv: 101, features: 0, digestBytes: 0 };
      const last = stream.bytes.slice(-88);
      const packet = pullPacket(newStreamDecoder('data'), context, { bytes: last, at: 0 });
      if (packet === undefined || isWireError(packet)) throw new Error(`${stream.path}: the last 88 bytes`);
      assert.equal(new Uint8Array(Buffer.concat(encodePacket(packet, context))), last);
      seen.push({ name: packet.packet, volume: packet.volume, offset: stream.bytes.length - left, payloadBytes: 72 });
      refused.push(stream.path);
    } else {
      assert.is(left, 0, stream.path);
    }
    assert.equal(seen, expected, stream.path);
    packets += seen.length;
    bytes += stream.bytes.length;
  }
  console.log(`${streams.length} streams, ${packets} packets, ${bytes} bytes; ${refused.length} ended as an 8.4 receiver ends them`);
  if (streams.length > 0) {
    assert.is(streams.length, 626);
    assert.ok(refused.every((path) => path.includes('refused-protocol-version-min-118')));
  }
});

test('chunks of any size give the same packets', () => {
  for (const stream of streams.filter((s) => s.bytes.length < 20_000)) {
    const whole = replay(stream, () => stream.bytes.length);
    for (const chunkBytes of [() => 1, (at: number) => 1 + ((at * 7) % 31), () => 997]) assert.equal(replay(stream, chunkBytes), whole, stream.path);
  }
});

test.run();
