// The codec against itself: what is encoded decodes to the same packet, in every version and in any chunks; what the limits
// forbid is refused before it is buffered; the worked bytes of wire-protocol.md come out as printed there.

import fc from '../fast-check.js';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { belongsOn, commandCode, isMetaPacket, lengthFits, PACKET_NAMES } from '../../src/wire/commands.js';
import type { StreamKind } from '../../src/wire/commands.js';
import { freshContext, maxRequestBytes } from '../../src/wire/context.js';
import type { WireContext } from '../../src/wire/context.js';
import { encodePacket } from '../../src/wire/encode.js';
import { ID_SYNCER } from '../../src/wire/packets.js';
import type { Packet, PacketName } from '../../src/wire/packets.js';
import { isWireError } from '../../src/wire/errors.js';
import type { WireError } from '../../src/wire/errors.js';
import { keepRest, newStreamDecoder, pullPacket } from '../../src/wire/reassembly.js';
import type { StreamDecoder } from '../../src/wire/reassembly.js';
import { arbitraryContext, arbitraryPacket } from './arbitrary-packets.js';

const agreed: WireContext = { apv: 101, features: 15, digestBytes: 0 };

const streamOf = (name: PacketName): StreamKind => (belongsOn(name, 'first') ? 'first' : isMetaPacket(name) ? 'meta' : 'data');

/** A packet whose byte arrays are its own. */
const owned = (packet: Packet): Packet => structuredClone(packet);

const bytesOf = (packets: Packet[], context: WireContext): Uint8Array => new Uint8Array(Buffer.concat(packets.flatMap((p) => encodePacket(p, context))));

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const fromHex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replace(/\s/g, ''), 'hex'));

/** Takes all packets of a chunk, and the error that ended the stream, if one did. `onPacket` may change the context. */
function drain(decoder: StreamDecoder, context: WireContext, bytes: Uint8Array, onPacket: (packet: Packet) => void = () => {}): WireError | undefined {
  const chunk = { bytes, at: 0 };
  for (;;) {
    const packet = pullPacket(decoder, context, chunk);
    if (packet === undefined) assert.is(chunk.at, bytes.length, 'all of the chunk is read or kept');
    if (packet === undefined || isWireError(packet)) return packet;
    onPacket(packet);
  }
}

/** Packets that arrive when `bytes` come in chunks of these sizes (then whole); every chunk is overwritten behind the pass. */
function received(decoder: StreamDecoder, context: WireContext, bytes: Uint8Array, sizes: number[]): Packet[] {
  const packets: Packet[] = [];
  let index = 0;
  for (let at = 0; at < bytes.length; ) {
    const chunk = bytes.slice(at, at + (sizes[index++] ?? bytes.length));
    at += chunk.length;
    const lent: Packet[] = [];
    drain(decoder, context, chunk, (packet) => {
      packets.push(packet);
      if (Object.values(packet).some((value) => value instanceof Uint8Array && value.buffer === chunk.buffer)) lent.push(packet);
    });
    for (const packet of lent) packets[packets.indexOf(packet)] = owned(packet);
    chunk.fill(0xee);
  }
  return packets.map(owned);
}

for (const name of PACKET_NAMES) {
  test(`${name}: decoding undoes encoding`, () => {
    const stream = streamOf(name);
    const scenario = arbitraryContext.chain((context) => {
      // The first packet of a stream comes before anything was agreed.
      const used = stream === 'first' ? freshContext() : context;
      return fc.tuple(fc.constant(used), arbitraryPacket(name, used), fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 12 }));
    });
    fc.assert(
      fc.property(scenario, ([context, packet, sizes]) => {
        const decoder = newStreamDecoder(stream);
        assert.equal(received(decoder, context, bytesOf([packet], context), sizes), [owned(packet)]);
        assert.is(decoder.error, undefined);
        assert.is(decoder.heldEnd, 0);
      }),
      { numRuns: 60 },
    );
  });
}

test('a whole stream in arbitrary chunks gives its packets in order', () => {
  const dataNames = PACKET_NAMES.filter((name) => streamOf(name) === 'data');
  const metaNames = PACKET_NAMES.filter((name) => streamOf(name) === 'meta' || name === 'P_DELAY_PROBE');
  for (const [stream, names] of [['data', dataNames], ['meta', metaNames]] as const) {
    const scenario = arbitraryContext.chain((context) =>
      fc.tuple(
        fc.constant(context),
        fc.array(fc.constantFrom(...names).chain((name) => arbitraryPacket(name, context)), { maxLength: 12 }),
        fc.array(fc.integer({ min: 1, max: 3000 }), { maxLength: 20 }),
      ),
    );
    fc.assert(
      fc.property(scenario, ([context, packets, sizes]) => {
        assert.equal(received(newStreamDecoder(stream), context, bytesOf(packets, context), sizes), packets.map(owned));
      }),
      { numRuns: 300 },
    );
  }
});

test('a receiver may stop behind any packet and loses nothing', () => {
  const scenario = fc.tuple(
    fc.array(fc.constantFrom<PacketName>('P_DATA', 'P_BARRIER', 'P_UNPLUG_REMOTE', 'P_STATE').chain((name) => arbitraryPacket(name, agreed)), { maxLength: 10 }),
    // In each pass: how many packets the receiver takes, and how many bytes arrive.
    fc.array(fc.tuple(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 1, max: 3000 })), { maxLength: 20 }),
  );
  fc.assert(
    fc.property(scenario, ([packets, passes]) => {
      const bytes = bytesOf(packets, agreed);
      const decoder = newStreamDecoder('data');
      const got: Packet[] = [];
      let at = 0;
      for (const [appetite, size] of [...passes, [Infinity, bytes.length] as const]) {
        const chunk = { bytes: bytes.slice(at, at + size), at: 0 };
        const lent = chunk.bytes;
        at = Math.min(at + size, bytes.length);
        for (let taken = 0; taken < appetite; taken++) {
          const packet = pullPacket(decoder, agreed, chunk);
          if (packet === undefined) break;
          if (isWireError(packet)) throw new Error(packet.detail);
          got.push(owned(packet));
        }
        keepRest(decoder, chunk);
        lent.fill(0xee);
      }
      assert.equal(got, packets.map(owned));
      assert.is(decoder.held.length, 0);
    }),
    { numRuns: 400 },
  );
});

test('chunks that last are kept where they lie, while they follow each other; nothing is written there', () => {
  const scenario = fc.tuple(
    fc.array(fc.constantFrom<PacketName>('P_DATA', 'P_BARRIER', 'P_UNPLUG_REMOTE', 'P_STATE').chain((name) => arbitraryPacket(name, agreed)), { maxLength: 10 }),
    // Size of a chunk, and how many bytes of nobody's lie between it and the one before; most follow directly.
    fc.array(fc.tuple(fc.integer({ min: 1, max: 3000 }), fc.constantFrom(0, 0, 0, 7)), { maxLength: 20 }),
    fc.integer({ min: 1, max: 5 }),
  );
  let inPlace = 0;
  fc.assert(
    fc.property(scenario, ([packets, chunks, appetite]) => {
      const bytes = bytesOf(packets, agreed);
      const memory = new Uint8Array(bytes.length + 200).fill(0xaa);
      const decoder = newStreamDecoder('data');
      const got: Packet[] = [];
      const lasting = { lasts: (of: Uint8Array) => of.buffer === memory.buffer };
      let at = 0;
      let place = 0;
      for (const [size, gap] of [...chunks, [bytes.length, 0] as const, [0, 0] as const]) {
        place += gap;
        const part = bytes.subarray(at, at + size);
        memory.set(part, place);
        const chunk = { bytes: memory.subarray(place, place + part.length), at: 0 };
        at += part.length;
        place += part.length;
        for (let taken = 0; taken < appetite || size === 0; taken++) {
          const packet = pullPacket(decoder, agreed, chunk, lasting);
          if (packet === undefined) break;
          if (isWireError(packet)) throw new Error(packet.detail);
          if (packet.packet === 'P_DATA' && packet.data.buffer === memory.buffer) inPlace++;
          got.push(packet);
        }
        const before = memory.slice();
        keepRest(decoder, chunk, lasting);
        assert.equal(memory, before);
      }
      // Nothing is copied before the end: what lasts is as it was.
      assert.equal(got.map(owned), packets.map(owned));
    }),
    { numRuns: 400 },
  );
  assert.ok(inPlace > 100, `${inPlace} in place`);
});

test('a decoder is plain data: a copy of it goes on as the original would', () => {
  const packets: Packet[] = [
    { packet: 'P_DATA', volume: 3, sector: 8, blockId: { high: 1, low: 2 }, sequence: 1, flags: 258, data: new Uint8Array(4096).fill(7) },
    { packet: 'P_BARRIER', volume: 0, barrier: 9 },
  ];
  const bytes = bytesOf(packets, agreed);
  for (let cut = 0; cut <= bytes.length; cut += 13) {
    const decoder = newStreamDecoder('data');
    const before = received(decoder, agreed, bytes.slice(0, cut), []);
    const after = received(structuredClone(decoder), agreed, bytes.slice(cut), []);
    assert.equal([...before, ...after], packets.map(owned));
  }
});

test('what was agreed may change between two packets of one chunk', () => {
  const context = freshContext();
  const features: Packet = { packet: 'P_CONNECTION_FEATURES', volume: 0, protocolMin: 86, protocolMax: 101, flags: 15, senderNodeId: 0, receiverNodeId: 0 };
  const state: Packet = { packet: 'P_STATE', volume: 1, state: 0xc882 };
  const bytes = Buffer.concat([...encodePacket({ packet: 'P_INITIAL_DATA', volume: 0 }, context), ...encodePacket(features, context), ...encodePacket(state, agreed)]);
  const names: string[] = [];
  const error = drain(newStreamDecoder('first'), context, bytes, (packet) => {
    names.push(packet.packet);
    if (packet.packet === 'P_CONNECTION_FEATURES') Object.assign(context, agreed);
  });
  assert.is(error, undefined);
  assert.equal(names, ['P_INITIAL_DATA', 'P_CONNECTION_FEATURES', 'P_STATE']);
});

test('a meta packet with the new header may come before the features exchange; a data packet may not', () => {
  const ping = bytesOf([{ packet: 'P_PING', volume: 0xffff }], agreed);
  assert.equal(received(newStreamDecoder('meta'), freshContext(), ping, []), [{ packet: 'P_PING', volume: 0xffff }]);
  const early = bytesOf([{ packet: 'P_STATE', volume: 0, state: 0 }], agreed);
  assert.is(drain(newStreamDecoder('data'), freshContext(), early)?.error, 'bad-magic');
});

test('from protocol 100 header 80 is refused as soon as its magic is there, on both streams', () => {
  for (const [stream, reaction] of [['data', 'ProtocolError'], ['meta', 'NetworkFailure']] as const) {
    const error = drain(newStreamDecoder(stream), agreed, fromHex('83740267'));
    assert.equal([error?.error, error?.reaction], ['bad-magic', reaction]);
  }
});

test('sizes choose between header 80 and 95 at protocols 95 to 99', () => {
  const write = (bytes: number): Packet => ({ packet: 'P_DATA', volume: 0, sector: 0, blockId: ID_SYNCER, sequence: 1, flags: 2, data: new Uint8Array(bytes) });
  const headOf = (apv: number, bytes: number): string => hex(encodePacket(write(bytes), { apv, features: 0, digestBytes: 0 })[0]!.subarray(0, 8));
  assert.is(headOf(94, 32768), '8374026700008018');
  assert.is(headOf(95, 32768 - 512), '8374026700007e18');
  assert.is(headOf(95, 32768), '835a000000008018');
  assert.is(headOf(99, 131072), '835a000000020018');
  assert.throws(() => encodePacket(write(65536), { apv: 94, features: 0, digestBytes: 0 }), /out of the limits/);
  assert.throws(() => encodePacket({ ...write(512), volume: 1 }, { apv: 99, features: 0, digestBytes: 0 }), /volume 1/);
});

test('encoding copies no payload', () => {
  const data = new Uint8Array(4096);
  const pieces = encodePacket({ packet: 'P_DATA', volume: 0, sector: 0, blockId: ID_SYNCER, sequence: 1, flags: 2, data }, agreed);
  assert.is(pieces.length, 2);
  assert.is(pieces[1], data);
  assert.is(pieces[0]!.length, 40);
});

test('encoding refuses what was not agreed', () => {
  const write: Packet = { packet: 'P_DATA', volume: 0, sector: 0, blockId: ID_SYNCER, sequence: 1, flags: 2, data: new Uint8Array(512) };
  assert.throws(() => encodePacket(write, { ...agreed, digestBytes: 4 }), /digest/);
  assert.throws(() => encodePacket({ ...write, sector: 2 ** 53 }, agreed), /53 bits/);
  assert.throws(() => encodePacket({ ...write, sequence: -1 }, agreed), /32 bits/);
  assert.throws(() => encodePacket({ ...write, volume: 65536 }, agreed), /16 bits/);
  assert.throws(() => encodePacket({ packet: 'P_COMPRESSED_BITMAP', volume: 0, firstRunSet: false, padBits: 8, code: new Uint8Array(1) }, agreed), /pad bits/);
  assert.throws(() => encodePacket({ packet: 'P_SYNC_UUID', volume: 0, uuid: 2n ** 64n }, agreed), /64 bits/);
  assert.throws(() => encodePacket({ packet: 'P_STATE_CHG_REPLY', volume: 0, retcode: 2 ** 31 }, agreed), /signed/);
  assert.throws(() => encodePacket({ packet: 'P_ENABLE_REPLICATION', volume: 0, enable: 256 }, agreed), /8 bits/);
  const sizes: Packet = { packet: 'P_SIZES', volume: 0, diskSectors: 1, userSectors: 0, currentSectors: 1, maxRequestBytes: 4096, queueOrderType: 0, ddsFlags: 0 };
  assert.throws(() => encodePacket(sizes, agreed), /FF_WSAME/);
  const params: Packet = { packet: 'P_SYNC_PARAM89', volume: 0, resyncRate: 1, verifyAlg: 'é'.repeat(64), csumsAlg: '' };
  assert.throws(() => encodePacket(params, { ...agreed, apv: 94 }), /63 characters/);
  assert.throws(() => encodePacket({ ...params, verifyAlg: '\u0100' }, { ...agreed, apv: 94 }), /cannot be sent/);
  const protocol: Packet = { packet: 'P_PROTOCOL', volume: 0, protocol: 3, afterSb0Pri: 0, afterSb1Pri: 0, afterSb2Pri: 0, connFlags: 0, twoPrimaries: 0 };
  assert.throws(() => encodePacket(protocol, agreed), /protocol 87/);
  assert.throws(() => encodePacket({ packet: 'P_SYNC_PARAM', volume: 0, resyncRate: 1 }, { ...agreed, apv: 88 }), /protocol 88/);
});

test('the printed bytes of wire-protocol.md §14.1', () => {
  const write: Packet = {
    packet: 'P_DATA', volume: 0, sector: 0, blockId: { high: 0xc0216f8e, low: 0 }, sequence: 1, flags: 0x102, data: new Uint8Array(4096),
  };
  assert.is(hex(encodePacket(write, agreed)[0]!), '8620ec200000000000001018000000000000000000000000c0216f8e000000000000000100000102');
  const ack: Packet = { packet: 'P_WRITE_ACK', volume: 0, sector: 0, blockId: { high: 0xc0216f8e, low: 0 }, sizeBytes: 4096, sequence: 1 };
  assert.is(hex(bytesOf([ack], agreed)), '8620ec200000001600000018000000000000000000000000c0216f8e000000000000100000000001');
  assert.is(hex(bytesOf([{ packet: 'P_BARRIER', volume: 0, barrier: 0 }], agreed)), '8620ec200000000300000008000000000000000000000000');
  assert.is(hex(bytesOf([{ packet: 'P_INITIAL_META', volume: 0 }], freshContext())), '83740267fff10000');
});

// --- Hostile bytes -----------------------------------------------------------------------------------------------------

const contexts = [freshContext(), { apv: 86, features: 0, digestBytes: 0 }, { apv: 95, features: 4, digestBytes: 20 }, agreed, { ...agreed, digestBytes: 4 }];
const kinds: StreamKind[] = ['first', 'data', 'meta'];

/** Bytes that look like packets: a real header over anything, a real packet with a few bytes changed, or plain noise. */
const hostile: fc.Arbitrary<Uint8Array> = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc
    .tuple(fc.constantFrom('83740267', '835a', '8620ec20'), fc.constantFrom(...PACKET_NAMES), fc.integer({ min: 0, max: 0xffffffff }), fc.boolean(), fc.uint8Array({ maxLength: 300 }))
    .map(([magic, name, length, isShort, rest]) => {
      const command = commandCode(name).toString(16).padStart(4, '0');
      const size = isShort ? length % 200 : length;
      const header =
        magic === '83740267' ? magic + command + (size & 0xffff).toString(16).padStart(4, '0')
        : magic === '835a' ? magic + command + size.toString(16).padStart(8, '0')
        : `${magic}0000${command}${size.toString(16).padStart(8, '0')}00000000`;
      return new Uint8Array(Buffer.concat([Buffer.from(header, 'hex'), rest]));
    }),
  fc
    .tuple(fc.constantFrom(...contexts.slice(1)), fc.constantFrom(...PACKET_NAMES), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }))
    .chain(([context, name, changes]) =>
      arbitraryPacket(name, context).map((packet) => {
        const bytes = bytesOf([packet], context);
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        return bytes;
      }),
    ),
  // A sector, size or count that no device has, in whichever field it falls.
  fc
    .tuple(fc.constantFrom<PacketName>('P_DATA', 'P_TRIM', 'P_WRITE_ACK', 'P_DATA_REQUEST', 'P_OUT_OF_SYNC', 'P_SIZES', 'P_UUIDS'), fc.constantFrom(0, 8, 16, 32))
    .chain(([name, at]) =>
      arbitraryPacket(name, agreed).map((packet) => {
        const bytes = bytesOf([packet], agreed);
        bytes.fill(0xff, 16 + at, Math.min(16 + at + 8, bytes.length));
        return bytes;
      }),
    ),
);

test('arbitrary bytes end in packets or in an error, never in an exception, an over-read or an unbounded buffer', () => {
  const seen = new Map<string, number>();
  fc.assert(
    fc.property(
      fc.array(hostile, { maxLength: 3 }),
      fc.constantFrom(...contexts),
      fc.constantFrom(...kinds),
      fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 10 }),
      (parts, context, kind, sizes) => {
        const bytes = new Uint8Array(Buffer.concat(parts));
        const outcomeIn = (chunkSizes: number[]) => {
          const decoder = newStreamDecoder(kind);
          const packets: Packet[] = [];
          let index = 0;
          for (let at = 0; at < bytes.length; ) {
            const size = Math.min(chunkSizes[index++] ?? bytes.length, bytes.length - at);
            // What lies behind the chunk must not matter: an over-read would find 0xdd there.
            const room = new Uint8Array(size + 64).fill(0xdd);
            room.set(bytes.subarray(at, at + size));
            at += size;
            const error = drain(decoder, context, room.subarray(0, size), (packet) => packets.push(owned(packet)));
            assert.is(error, decoder.error);
            assert.ok(decoder.heldEnd - decoder.heldStart <= at);
            assert.ok(decoder.held.length <= 16 + 24 + 64 + (1 << 20));
            if (error !== undefined) assert.is(decoder.held.length, 0);
          }
          return { packets, error: decoder.error, kept: hex(decoder.held.subarray(decoder.heldStart, decoder.heldEnd)) };
        };
        const whole = outcomeIn([]);
        assert.equal(outcomeIn(sizes), whole);
        const kindOfEnd = whole.error?.error ?? 'none';
        seen.set(kindOfEnd, (seen.get(kindOfEnd) ?? 0) + 1);
      },
    ),
    { numRuns: 6000 },
  );
  for (const error of ['none', 'bad-magic', 'unknown-command', 'bad-length', 'bad-value']) assert.ok((seen.get(error) ?? 0) > 20, `${error} was hardly reached`);
});

test('an error is final', () => {
  const decoder = newStreamDecoder('meta');
  const error = drain(decoder, agreed, new Uint8Array(4));
  assert.is(error?.error, 'bad-magic');
  const packets: Packet[] = [];
  assert.is(drain(decoder, agreed, bytesOf([{ packet: 'P_PING', volume: 0 }], agreed), (packet) => packets.push(packet)), error);
  assert.equal(packets, []);
});

test('each broken rule has the reaction that the protocol asks for', () => {
  const reactionTo = (stream: StreamKind, bytes: string, context = agreed): string | undefined => {
    const error = drain(newStreamDecoder(stream), context, fromHex(bytes));
    return error && `${error.error} ${error.reaction}`;
  };
  assert.is(reactionTo('data', '8620ec20 0000 0013 00000000 00000000'), 'unknown-command ProtocolError', 'P_PING on data');
  assert.is(reactionTo('meta', '8620ec20 0000 0000 00001018 00000000'), 'unknown-command Disconnecting', 'P_DATA on meta');
  assert.is(reactionTo('meta', '8620ec20 0000 00ff 00000000 00000000'), 'unknown-command Disconnecting');
  assert.is(reactionTo('data', '8620ec20 0000 0005 00000000 00000000'), 'unknown-command ProtocolError', 'BECOME_SYNC_TARGET');
  assert.is(reactionTo('data', '8620ec20 0000 000e 00000005 00000000'), 'bad-length ProtocolError');
  assert.is(reactionTo('meta', '8620ec20 0000 0016 00000019 00000000'), 'bad-length NetworkFailure');
  assert.is(reactionTo('data', '8620ec20 0000 000e 00000004 00000001'), 'bad-magic ProtocolError', 'pad of the header');
  assert.is(reactionTo('meta', '8620ec20 0000 0013 00000000 01000000'), 'bad-magic NetworkFailure', 'pad of the header');
  assert.is(reactionTo('data', '83740267 fffe 0047', freshContext()), 'bad-length Disconnecting', 'features of 71 bytes');
  assert.is(reactionTo('data', '8620ec20 0000 0010 0000003f 00000000'), 'bad-length Disconnecting', 'a challenge of 63 bytes');
  assert.is(reactionTo('first', '83740267 0013 0000', freshContext()), 'unknown-command ProtocolError');
  const trim = `8620ec20 0000 0031 0000001c 00000000 0008000000000001 ${'00'.repeat(20)}`;
  assert.is(reactionTo('data', trim), 'bad-value ProtocolError', 'a sector above 2^51');
  assert.is(reactionTo('data', trim.replace('0008000000000001', '0008000000000000')), undefined);
  const ack = `8620ec20 0000 0016 00000018 00000000 ffffffffffffffff ${'00'.repeat(16)}`;
  assert.is(reactionTo('meta', ack), 'bad-value NetworkFailure');
  assert.is(reactionTo('data', '8620ec20 0000 0024 00000002 00000000 1397'), 'bad-value ProtocolError', 'code type 3');
});

test('a length above the limit is refused with the header, before anything is buffered', () => {
  for (const apv of [86, 94, 95, 99, 100, 101]) {
    const context = { apv, features: 15, digestBytes: 0 };
    assert.ok(lengthFits('P_DATA', 24 + maxRequestBytes(apv), context));
    assert.not(lengthFits('P_DATA', 24 + 512 + maxRequestBytes(apv), context));
    assert.not(lengthFits('P_DATA', 24 + 511, context));
  }
  const decoder = newStreamDecoder('data');
  assert.is(drain(decoder, agreed, fromHex('8620ec20 0000 0000 00100218 00000000'))?.error, 'bad-length');
  assert.is(decoder.held.length, 0);
});

test('only the packet that spans two chunks is copied: what follows it is a view of the chunk', () => {
  const write = (fill: number): Packet => ({ packet: 'P_DATA', volume: 0, sector: 0, blockId: ID_SYNCER, sequence: 1, flags: 2, data: new Uint8Array(512).fill(fill) });
  const bytes = bytesOf([write(1), write(2), write(3)], agreed);
  const decoder = newStreamDecoder('data');
  const isLent: boolean[] = [];
  for (const part of [bytes.slice(0, 100), bytes.slice(100)]) {
    drain(decoder, agreed, part, (packet) => isLent.push((packet as { data: Uint8Array }).data.buffer === part.buffer));
  }
  assert.equal(isLent, [false, true, true]);
});

test('a packet of 1 MiB in small chunks is copied once: time grows with the bytes, not with their square', () => {
  const write: Packet = { packet: 'P_DATA', volume: 0, sector: 0, blockId: ID_SYNCER, sequence: 1, flags: 2, data: new Uint8Array(1 << 20).fill(5) };
  const bytes = bytesOf([write], agreed);
  const decoder = newStreamDecoder('data');
  const buffers = new Set<ArrayBufferLike>();
  let got = 0;
  for (let at = 0; at < bytes.length; at += 100) {
    drain(decoder, agreed, bytes.subarray(at, at + 100), (packet) => {
      assert.equal(packet, write);
      got++;
    });
    buffers.add(decoder.held.buffer);
  }
  assert.is(got, 1);
  // The first chunk's header sizes the buffer, which then never moves; the last one is the empty one.
  assert.ok(buffers.size <= 2, `${buffers.size} buffers`);
});

test.run();
