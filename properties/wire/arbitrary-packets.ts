// Arbitrary packets of every type, as a connection of any version could carry them: for the codec's properties.

import fc from '../fast-check.js';
import { hasQueueLimits, maxRequestBytes } from '../../src/wire/context.js';
import type { WireContext } from '../../src/wire/context.js';
import type { BlockId, Packet, PacketName } from '../../src/wire/packets.js';

export const arbitraryContext: fc.Arbitrary<WireContext> = fc.record({
  apv: fc.integer({ min: 86, max: 101 }),
  features: fc.integer({ min: 0, max: 15 }),
  digestBytes: fc.constantFrom(0, 0, 4, 16, 20, 32, 64),
});

const u8 = fc.integer({ min: 0, max: 0xff });
const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.oneof(fc.integer({ min: 0, max: 0xffffffff }), fc.constantFrom(0, 1, 0x7fffffff, 0x80000000, 0xffffffff));
const sector = fc.oneof(fc.integer({ min: 0, max: 2 ** 51 }), fc.constantFrom(0, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 51));
const uuid = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const blockId: fc.Arbitrary<BlockId> = fc.record({ high: u32, low: u32 });
const algorithm = fc.string({ maxLength: 63, unit: fc.integer({ min: 1, max: 255 }).map((code) => String.fromCharCode(code)) });
const bytesBetween = (min: number, max: number) => fc.uint8Array({ minLength: min, maxLength: max });

/** Whole sectors; now and then as many as the version allows. */
const sectorsOf = (context: WireContext): fc.Arbitrary<Uint8Array> =>
  fc
    .tuple(fc.oneof({ weight: 30, arbitrary: fc.integer({ min: 0, max: 4 }) }, { weight: 1, arbitrary: fc.constant(maxRequestBytes(context.apv) / 512) }), u32)
    .map(([sectors, seed]) => Uint8Array.from({ length: sectors * 512 }, (_, index) => seed + index * 7 + (index >>> 8)));

/** A pad is kept only when it is not 0. */
const withPad = <T extends object>(packet: fc.Arbitrary<T>, max: number): fc.Arbitrary<T & { pad?: number }> =>
  fc.tuple(packet, fc.option(fc.integer({ min: 1, max }), { nil: undefined })).map(([fields, pad]) => (pad === undefined ? fields : { ...fields, pad }));

/** Fields that a packet has under one condition only. */
const when = <T extends object>(holds: boolean, fields: fc.Arbitrary<T>): fc.Arbitrary<Partial<T>> => (holds ? fields : fc.constant({}));

const digestOf = (context: WireContext) =>
  when(context.digestBytes > 0, fc.record({ digest: bytesBetween(context.digestBytes, context.digestBytes) }));

const merged = <A extends object, B extends object>(a: fc.Arbitrary<A>, b: fc.Arbitrary<B>): fc.Arbitrary<A & B> =>
  fc.tuple(a, b).map(([first, second]) => ({ ...first, ...second }));

type Fields = fc.Arbitrary<object>;

/** The fields of a packet but for its name and volume. */
function fieldsOf(name: PacketName, context: WireContext): Fields {
  switch (name) {
    case 'P_INITIAL_DATA':
    case 'P_INITIAL_META':
    case 'P_UNPLUG_REMOTE':
    case 'P_PING':
    case 'P_PING_ACK':
      return fc.constant({});
    case 'P_CONNECTION_FEATURES':
      return fc.record({ protocolMin: u32, protocolMax: u32, flags: u32, senderNodeId: u32, receiverNodeId: u32 });
    case 'P_AUTH_CHALLENGE':
      return fc.record({ challenge: bytesBetween(64, 128) });
    case 'P_AUTH_RESPONSE':
      return fc.record({ response: bytesBetween(0, 64) });
    case 'P_PROTOCOL':
    case 'P_PROTOCOL_UPDATE':
      return merged(
        fc.record({ protocol: u32, afterSb0Pri: u32, afterSb1Pri: u32, afterSb2Pri: u32, connFlags: u32, twoPrimaries: u32 }),
        when(context.apv >= 87, fc.record({ integrityAlg: algorithm })),
      );
    case 'P_SYNC_PARAM':
      return merged(fc.record({ resyncRate: u32 }), when(context.apv >= 88, fc.record({ verifyAlg: algorithm })));
    case 'P_SYNC_PARAM89':
      return merged(
        fc.record({ resyncRate: u32, verifyAlg: algorithm, csumsAlg: algorithm }),
        when(context.apv >= 95, fc.record({ controller: fc.record({ cPlanAhead: u32, cDelayTarget: u32, cFillTarget: u32, cMaxRate: u32 }) })),
      );
    case 'P_SIZES':
      return merged(
        fc.record({ diskSectors: sector, userSectors: sector, currentSectors: sector, maxRequestBytes: u32, queueOrderType: u16, ddsFlags: u16 }),
        when(
          hasQueueLimits(context),
          fc.record({
            limits: withPad(
              fc.record({
                physicalBlockBytes: u32,
                logicalBlockBytes: u32,
                alignmentOffsetBytes: u32,
                ioMinBytes: u32,
                ioOptBytes: u32,
                discardEnabled: u8,
                discardZeroesData: u8,
                writeSameCapable: u8,
              }),
              0xff,
            ),
          }),
        ),
      );
    case 'P_UUIDS':
      return fc.record({ current: uuid, bitmap: uuid, history0: uuid, history1: uuid, dirtyBits: sector, flags: u32 });
    case 'P_STATE':
      return fc.record({ state: u32 });
    case 'P_STATE_CHG_REQ':
    case 'P_CONN_ST_CHG_REQ':
      return fc.record({ mask: u32, val: u32 });
    case 'P_STATE_CHG_REPLY':
    case 'P_CONN_ST_CHG_REPLY':
      return fc.record({ retcode: fc.integer() });
    case 'P_SYNC_UUID':
      return fc.record({ uuid });
    case 'P_ENABLE_REPLICATION':
      return withPad(fc.record({ enable: u8 }), 0xffffff);
    case 'P_DATA':
    case 'P_DATA_REPLY':
    case 'P_RS_DATA_REPLY':
      return merged(fc.record({ sector, blockId, sequence: u32, flags: u32, data: sectorsOf(context) }), digestOf(context));
    case 'P_TRIM':
    case 'P_ZEROES':
      return fc.record({ sector, blockId, sequence: u32, flags: u32, sizeBytes: u32 });
    case 'P_WSAME':
      return merged(fc.record({ sector, blockId, sequence: u32, flags: u32, sizeBytes: u32, data: sectorsOf(context) }), digestOf(context));
    case 'P_DATA_REQUEST':
    case 'P_RS_DATA_REQUEST':
    case 'P_OV_REQUEST':
    case 'P_RS_THIN_REQ':
      return withPad(fc.record({ sector, blockId, sizeBytes: u32 }), 0xffffffff);
    case 'P_CSUM_RS_REQUEST':
    case 'P_OV_REPLY':
      return withPad(fc.record({ sector, blockId, sizeBytes: u32, digest: bytesBetween(0, 64) }), 0xffffffff);
    case 'P_OUT_OF_SYNC':
    case 'P_RS_DEALLOCATED':
      return withPad(fc.record({ sector, sizeBytes: u32 }), 0xffffffff);
    case 'P_BARRIER':
      return withPad(fc.record({ barrier: u32 }), 0xffffffff);
    case 'P_BARRIER_ACK':
      return fc.record({ barrier: u32, setSize: u32 });
    case 'P_BITMAP':
      return fc.record({ words: bytesBetween(0, 64).map((bytes) => bytes.subarray(0, bytes.length & ~7)) });
    case 'P_COMPRESSED_BITMAP':
      return fc.record({ firstRunSet: fc.boolean(), padBits: fc.integer({ min: 0, max: 7 }), code: bytesBetween(1, 200) });
    case 'P_RECV_ACK':
    case 'P_WRITE_ACK':
    case 'P_RS_WRITE_ACK':
    case 'P_SUPERSEDED':
    case 'P_RETRY_WRITE':
    case 'P_NEG_ACK':
    case 'P_NEG_DREPLY':
    case 'P_NEG_RS_DREPLY':
    case 'P_OV_RESULT':
    case 'P_RS_IS_IN_SYNC':
    case 'P_RS_CANCEL':
      return fc.record({ sector, blockId, sizeBytes: u32, sequence: u32 });
    case 'P_DELAY_PROBE':
      return fc.record({ sequence: u32, offset: u32 });
    default:
      return name satisfies never;
  }
}

export function arbitraryPacket(name: PacketName, context: WireContext): fc.Arbitrary<Packet> {
  const volume = context.apv >= 100 ? u16 : fc.constant(0);
  return merged(fc.record({ packet: fc.constant(name), volume }), fieldsOf(name, context)) as unknown as fc.Arbitrary<Packet>;
}
