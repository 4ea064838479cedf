// P_PROTOCOL and the resync parameters: what we say, and what does not match (wire-protocol.md §3.4, §3.5).

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkProtocol, protocolPacket, syncParamPacket } from '../../src/connection/parameters.js';
import { defaultDiskOptions } from '../../src/config/defaults.js';
import type { NetOptions } from '../../src/config/types.js';
import type { Connection, Volume } from '../../src/model/types.js';
import { Disk } from '../../src/state/states.js';
import { encodePacket } from '../../src/wire/encode.js';
import type { PacketOf } from '../../src/wire/packets.js';
import { CONTEXT_101, newStation } from './station.js';

function connectionWith(net: Partial<NetOptions>, more: Partial<Connection> = {}): Connection {
  return Object.assign(newStation({ net }).connection, { protocolVersion: 101 }, more);
}

test('P_PROTOCOL is the kernel\'s, byte for byte (wire-protocol.md §14.1)', () => {
  const [bytes] = encodePacket(protocolPacket(connectionWith({})), CONTEXT_101);
  assert.is(Buffer.from(bytes!).toString('hex'), '8620ec200000000b00000019' + '00000000' + '00000003' + '00'.repeat(21));
});

test('equal configurations match; after-sb is seen from the other side', () => {
  for (const afterSb0Pri of ['disconnect', 'discard-younger-primary', 'discard-zero-changes', 'discard-least-changes'] as const) {
    assert.is(checkProtocol(connectionWith({ afterSb0Pri }), protocolPacket(connectionWith({ afterSb0Pri }))), undefined);
  }
  const local = connectionWith({ afterSb0Pri: 'discard-local' });
  const remote = connectionWith({ afterSb0Pri: 'discard-remote' });
  assert.is(checkProtocol(local, protocolPacket(remote)), undefined);
  assert.is(checkProtocol(remote, protocolPacket(local)), undefined);
  assert.match(checkProtocol(local, protocolPacket(local))!, 'after-sb-0pri');
});

test('every difference is named', () => {
  const own = connectionWith({});
  const packet = protocolPacket(own);
  const cases: [change: Partial<PacketOf<'P_PROTOCOL'>>, what: string][] = [
    [{ protocol: 1 }, 'protocol'],
    [{ protocol: 0 }, 'protocol'],
    [{ afterSb0Pri: 3 }, 'after-sb-0pri'],
    [{ afterSb1Pri: 7 }, 'after-sb-1pri'],
    [{ afterSb2Pri: 10 }, 'after-sb-2pri'],
    [{ afterSb2Pri: 4711 }, 'after-sb-2pri'],
    [{ twoPrimaries: 1 }, 'allow-two-primaries'],
    [{ integrityAlg: 'crc32c' }, 'data-integrity-alg'],
  ];
  for (const [change, what] of cases) assert.match(checkProtocol(own, { ...packet, ...change })!, what);
});

test('discarding one\'s data works for one side only', () => {
  const plain = connectionWith({});
  const discards = connectionWith({}, { discardMyData: true });
  assert.is(protocolPacket(discards).connFlags, 1);
  assert.is(checkProtocol(plain, protocolPacket(discards)), undefined);
  assert.is(checkProtocol(discards, protocolPacket(plain)), undefined);
  assert.match(checkProtocol(discards, protocolPacket(discards))!, 'discard');
  const tentative = connectionWith({}, { tentative: true });
  assert.is(protocolPacket(tentative).connFlags, 2);
  assert.is(checkProtocol(tentative, protocolPacket(tentative)), undefined);
});

test('each version has its own form, and it can be encoded', () => {
  for (let version = 86; version <= 101; version++) {
    const connection = connectionWith({}, { protocolVersion: version });
    const context = { apv: version, features: 0, digestBytes: 0 };
    const disk = { ...defaultDiskOptions, resyncRate: 30720, cPlanAhead: 0 };
    const volume = { number: 0, disk: Disk.UpToDate, config: { disk } } as unknown as Volume;
    const params = syncParamPacket(connection, volume);
    assert.is(params.packet, version < 89 ? 'P_SYNC_PARAM' : 'P_SYNC_PARAM89');
    assert.is(params.resyncRate, 30720);
    assert.is('controller' in params, version >= 95);
    const payloadBytes = version < 88 ? 4 : version === 88 ? 5 : version < 95 ? 132 : 148;
    const headerBytes = version >= 100 ? 16 : 8;
    assert.is(encodePacket(params, context).reduce((sum, piece) => sum + piece.length, 0), headerBytes + payloadBytes);
    const protocol = protocolPacket(connection);
    assert.is(protocol.integrityAlg, version < 87 ? undefined : '');
    assert.is(encodePacket(protocol, context)[0]!.length, headerBytes + (version < 87 ? 24 : 25));
    assert.is(checkProtocol(connection, protocol), undefined);
    const diskless = syncParamPacket(connection, { ...volume, disk: Disk.Diskless });
    assert.is(diskless.resyncRate, 250);
  }
});

test.run();
