// A peer's bad bytes end in a dropped connection, never in a throw: packets of every type, with arbitrary fields, in every state of a
// connection, through the real encoder; and bytes that are no packets.

import fc, { runsOr } from '../fast-check.js';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Conn, connName } from '../../src/state/states.js';
import { isMetaPacket, PACKET_NAMES } from '../../src/wire/commands.js';
import { encodePacket } from '../../src/wire/encode.js';
import { FeatureFlag, type Packet } from '../../src/wire/packets.js';
import { arbitraryPacket } from '../wire/arbitrary-packets.js';
import { advance, application, command, inject, newPair, stepUntil, type Pair } from './pair.js';
import { up } from './story.js';

const SECOND = 1_000_000;
const resource = 'r0';
const context = { apv: 101, features: FeatureFlag.FF_WSAME, digestBytes: 0 };

const connOf = (pair: Pair): Conn => pair.machines.bob.node!.resources()[0]!.volumes[0]!.peers[0]!.state.conn;
const primary = (pair: Pair): void => {
  command(pair, 'alice', { verb: 'primary', resource, force: true });
  advance(pair, 30 * SECOND);
};

/** How bob comes into each state, from two fresh nodes that are up. */
const states: { conn: Conn; reach: (pair: Pair) => void }[] = [
  {
    conn: Conn.WFReportParams,
    reach: (pair) => {
      command(pair, 'bob', { verb: 'disconnect', resource, peer: 'alice', force: true });
      advance(pair, SECOND);
      command(pair, 'bob', { verb: 'connect', resource, peer: 'alice', discardMyData: false, tentative: false });
      stepUntil(pair, () => connOf(pair) === Conn.WFReportParams);
    },
  },
  { conn: Conn.Connected, reach: primary },
  {
    conn: Conn.WFBitMapT,
    reach: (pair) => {
      command(pair, 'alice', { verb: 'primary', resource, force: true });
      stepUntil(pair, () => connOf(pair) === Conn.WFBitMapT);
    },
  },
  {
    conn: Conn.WFBitMapS,
    reach: (pair) => {
      command(pair, 'bob', { verb: 'primary', resource, force: true });
      stepUntil(pair, () => connOf(pair) === Conn.WFBitMapS);
    },
  },
  {
    conn: Conn.SyncTarget,
    reach: (pair) => {
      command(pair, 'alice', { verb: 'primary', resource, force: true });
      pair.holds.add('alice data disk');
      advance(pair, SECOND);
    },
  },
  {
    conn: Conn.SyncSource,
    reach: (pair) => {
      command(pair, 'bob', { verb: 'primary', resource, force: true });
      pair.holds.add('bob data disk');
      advance(pair, SECOND);
    },
  },
  {
    conn: Conn.PausedSyncT,
    reach: (pair) => {
      command(pair, 'bob', { verb: 'pause-sync', resource, volume: 0 });
      command(pair, 'alice', { verb: 'primary', resource, force: true });
      advance(pair, SECOND);
    },
  },
  {
    conn: Conn.WFSyncUUID,
    reach: (pair) => {
      primary(pair);
      pair.holds.add('alice meta disk');
      command(pair, 'bob', { verb: 'invalidate', resource, volume: 0 });
      advance(pair, SECOND);
    },
  },
];

const arbitraryName = fc.constantFrom(...PACKET_NAMES.filter((name) => name !== 'P_INITIAL_DATA' && name !== 'P_INITIAL_META'));

/** Fields that could be meant: near what exists, so that more than the first check is reached. */
const plausible = (packet: Packet, small: number): Packet => {
  const near = { ...packet, volume: packet.volume % 3 === 0 ? 0 : packet.volume } as Record<string, unknown>;
  if ('sector' in near) near['sector'] = (small * 8) % 2056;
  if ('sizeBytes' in near) near['sizeBytes'] = ((small % 9) + (small % 2)) * 4096;
  if ('blockId' in near) near['blockId'] = small % 3 === 0 ? { high: 0xffffffff, low: 0xffffffff } : { high: 0, low: small % 6 };
  if ('barrier' in near) near['barrier'] = small % 3;
  if ('setSize' in near) near['setSize'] = small % 3;
  if ('retcode' in near) near['retcode'] = (small % 24) - 20;
  return near as unknown as Packet;
};

const bytesOf = (packet: Packet): Uint8Array => {
  const pieces = encodePacket(packet, context);
  const bytes = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
};

const arbitraryPackets = fc.array(
  fc.tuple(arbitraryName, fc.nat(2000), fc.boolean()).chain(([name, small, isNear]) => arbitraryPacket(name, context).map((packet) => (isNear ? plausible(packet, small) : packet))),
  { minLength: 1, maxLength: 5 },
);

const runs = runsOr(30);

for (const { conn, reach } of states) {
  test(`packets while ${connName(conn)}`, () => {
    let reached = 0;
    const property = fc.property(arbitraryPackets, fc.boolean(), (packets, withRequests) => {
      const pair = newPair({ sectors: 2048 });
      up(pair);
      reach(pair);
      if (connOf(pair) === conn) reached++;
      if (withRequests) {
        for (const name of ['alice', 'bob'] as const) {
          application(pair, name, [
            { ask: 'write', volume: 0, sector: 0, data: new Uint8Array(4096).fill(97), fua: false },
            { ask: 'read', volume: 0, sector: 8, sectors: 8 },
            { ask: 'flush', volume: 0 },
          ]);
        }
      }
      for (const packet of packets) inject(pair, 'bob', isMetaPacket(packet.packet) ? 'meta' : 'data', bytesOf(packet));
      pair.holds.clear();
      advance(pair, 5 * SECOND);
    });
    fc.assert(property, { numRuns: runs });
    assert.is(reached, runs, `runs that were ${connName(conn)} when the packets came`);
  });
}

test('bytes that are no packets end the connection', () => {
  const property = fc.property(fc.uint8Array({ minLength: 16, maxLength: 200 }), fc.constantFrom('data' as const, 'meta' as const), (bytes, kind) => {
    const pair = newPair({ sectors: 2048 });
    up(pair);
    bytes[0] = 0x11;
    inject(pair, 'bob', kind, bytes);
    assert.ok(connOf(pair) < Conn.Connected, `still ${connName(connOf(pair))}`);
  });
  fc.assert(property, { numRuns: runs });
});

test.run();
