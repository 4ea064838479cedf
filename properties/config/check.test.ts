/** Impossible configurations are refused with the code of DRBD and a text that names the option. */

import * as assert from 'uvu/assert';
import { test } from 'uvu';
import { digests } from '../../src/digests/digests.js';
import { checkAlgorithms, checkConfig, checkConnect, checkOnlineChange } from '../../src/config/check.js';
import { defaultDiskOptions, defaultNetOptions } from '../../src/config/defaults.js';
import type { ResourceConfig } from '../../src/config/types.js';
import { ConfigCode } from '../../src/state/refusals.js';
import { Conn, Role } from '../../src/state/states.js';

const config = (): ResourceConfig => ({
  resource: 'r0',
  volumes: [{ volume: 0, minor: 3, metaDisk: { kind: 'internal' }, disk: { ...defaultDiskOptions }, sizeSectors: 0 }],
  peers: [{ name: 'bob', net: { ...defaultNetOptions } }],
  onNoDataAccessible: 'io-error',
  handlers: ['fence-peer'],
  protocolMin: 86,
  protocolMax: 101,
});

type Edit = (resource: ResourceConfig) => void;
const disk = (edit: (options: ResourceConfig['volumes'][0]['disk']) => void): Edit => (resource) => edit(resource.volumes[0]!.disk);
const net = (edit: (options: ResourceConfig['peers'][0]['net']) => void): Edit => (resource) => edit(resource.peers[0]!.net);
const edited = (...edits: Edit[]): ResourceConfig => {
  const resource = config();
  for (const edit of edits) edit(resource);
  return resource;
};

test('the defaults are possible', () => {
  assert.is(checkConfig(config()), undefined);
  assert.is(checkConfig(edited((resource) => (resource.membership = { intervalMs: 100, deadTimeMs: 500 }))), undefined);
  assert.is(checkConfig(edited(disk((options) => (options.alExtents = 5)))), undefined, 'al-extents is clamped, not refused');
});

const { InvalidAttribute, StonithWithProtocolA, MinorExists } = ConfigCode;
const refused: [edit: Edit, code: ConfigCode, named: string][] = [
  [disk((options) => (options.resyncRate = 0)), InvalidAttribute, 'resync-rate 0'],
  [disk((options) => (options.resyncRate = 4194305)), InvalidAttribute, 'resync-rate'],
  [disk((options) => (options.readBalancing = 'sometimes' as 'prefer-local')), InvalidAttribute, 'read-balancing sometimes'],
  [disk((options) => (options.cPlanAhead = 301)), InvalidAttribute, 'c-plan-ahead'],
  [disk((options) => (options.cDelayTarget = 0)), InvalidAttribute, 'c-delay-target'],
  [disk((options) => (options.cFillTarget = -1)), InvalidAttribute, 'c-fill-target'],
  [disk((options) => (options.cMaxRate = 249)), InvalidAttribute, 'c-max-rate'],
  [disk((options) => (options.cMinRate = 0.5)), InvalidAttribute, 'c-min-rate'],
  [disk((options) => (options.alExtents = NaN)), InvalidAttribute, 'al-extents'],
  [net((options) => (options.timeout = 0)), InvalidAttribute, 'timeout 0'],
  [net((options) => (options.maxEpochSize = 20001)), InvalidAttribute, 'max-epoch-size'],
  [net((options) => (options.maxBuffers = 31)), InvalidAttribute, 'max-buffers'],
  [net((options) => (options.connectInt = 121)), InvalidAttribute, 'connect-int'],
  [net((options) => (options.pingInt = 0)), InvalidAttribute, 'ping-int'],
  [net((options) => (options.pingTimeout = 301)), InvalidAttribute, 'ping-timeout'],
  [net((options) => (options.koCount = 201)), InvalidAttribute, 'ko-count'],
  [net((options) => (options.socketCheckTimeout = 301)), InvalidAttribute, 'socket-check-timeout'],
  [net((options) => (options.sndbufSize = 10485761)), InvalidAttribute, 'sndbuf-size'],
  [net((options) => (options.dataIntegrityAlg = 'x'.repeat(64))), InvalidAttribute, 'data-integrity-alg'],
  [net((options) => (options.csumsAlg = 'x'.repeat(64))), InvalidAttribute, 'csums-alg'],
  [net((options) => (options.cramHmacAlg = 'sha1\0')), InvalidAttribute, 'cram-hmac-alg'],
  [net((options) => ([options.cramHmacAlg, options.sharedSecret] = ['sha1', 'schlüssel'])), InvalidAttribute, 'shared-secret'],
  [net((options) => (options.cramHmacAlg = 'sha1')), InvalidAttribute, 'needs a shared-secret'],
  [net((options) => (options.congestionExtents = 66)), InvalidAttribute, 'congestion-extents'],
  [net((options) => (options.congestionFill = -1)), InvalidAttribute, 'congestion-fill'],
  [disk((options) => (options.rsDiscardGranularity = -1)), InvalidAttribute, 'rs-discard-granularity'],
  [disk((options) => (options.rsDiscardGranularity = 1048577)), InvalidAttribute, 'rs-discard-granularity'],
  [(resource) => (resource.resource = ''), InvalidAttribute, 'name'],
  [(resource) => (resource.resource = 'a b'), InvalidAttribute, 'name'],
  [(resource) => (resource.peers[0]!.name = 'ü'), InvalidAttribute, 'peer'],
  [(resource) => (resource.volumes = []), InvalidAttribute, 'volume'],
  [(resource) => resource.peers.push(resource.peers[0]!), InvalidAttribute, 'one peer'],
  [(resource) => resource.volumes.push({ ...resource.volumes[0]!, minor: 4 }), MinorExists, 'volume 0'],
  [(resource) => resource.volumes.push({ ...resource.volumes[0]!, volume: 1 }), MinorExists, 'minor 3'],
  [(resource) => (resource.volumes[0]!.volume = 65535), InvalidAttribute, 'volume 65535'],
  [(resource) => (resource.volumes[0]!.minor = -1), InvalidAttribute, 'minor'],
  [(resource) => (resource.volumes[0]!.sizeSectors = 2199023255553), InvalidAttribute, 'size'],
  [(resource) => (resource.volumes[0]!.metaDisk = { kind: 'indexed', index: -1 }), InvalidAttribute, 'meta-disk index'],
  [(resource) => resource.handlers.push('fence-pear'), InvalidAttribute, 'fence-pear'],
  [(resource) => resource.handlers.push('toString'), InvalidAttribute, 'toString'],
  [(resource) => (resource.protocolMin = 85), InvalidAttribute, 'protocol version 85'],
  [(resource) => (resource.protocolMax = 102), InvalidAttribute, 'protocol version 102'],
  [(resource) => ([resource.protocolMin, resource.protocolMax] = [101, 100]), InvalidAttribute, '101..100'],
  [(resource) => (resource.membership = { intervalMs: 0, deadTimeMs: 500 }), InvalidAttribute, 'interval'],
  [(resource) => (resource.membership = { intervalMs: 100, deadTimeMs: 10 }), InvalidAttribute, 'dead time'],
  [(resource) => (resource.membership = { intervalMs: 100, deadTimeMs: 199 }), InvalidAttribute, 'two intervals'],
];

test('ranges and rules: each refusal has its code and names its option', () => {
  for (const [edit, code, named] of refused) {
    const answer = checkConfig(edited(edit));
    assert.is(answer?.code, code, named);
    assert.ok(answer?.text.includes(named), `${answer?.text} should name ${named}`);
  }
});

test('a digest that this node cannot compute is refused, where it is configured', () => {
  const secret = net((options) => (options.sharedSecret = 'swordfish'));
  const cram = (name: string): Edit => net((options) => (options.cramHmacAlg = name));
  const integrity = (name: string): Edit => net((options) => (options.dataIntegrityAlg = name));
  const codeOf = (...edits: Edit[]): number | undefined => checkAlgorithms(edited(...edits), digests)?.code;
  for (const edits of [[], [secret], [secret, cram('sha1')], [secret, cram('md5')], [integrity('crc32c')], [integrity('sha256')]]) assert.is(codeOf(...edits), undefined);
  for (const name of ['SHA1', 'hmac(sha1)', 'crc32c', 'toString']) assert.is(codeOf(secret, cram(name)), ConfigCode.UnknownAuthAlg, name);
  for (const name of ['crc-32c', 'sha1 ', 'toString']) assert.is(codeOf(integrity(name)), ConfigCode.UnknownIntegrityAlg, name);
  for (const name of ['crc-32c', 'sha1 ', 'toString']) assert.is(codeOf(net((options) => (options.csumsAlg = name))), ConfigCode.UnknownCsumsAlg, name);
  assert.is(codeOf(net((options) => (options.csumsAlg = 'md5'))), undefined);
});

test('what is not mirrored needs protocol A', () => {
  for (const policy of ['pull-ahead', 'disconnect'] as const) {
    const congestion = net((options) => (options.onCongestion = policy));
    assert.is(checkConfig(edited(congestion))?.code, ConfigCode.CongestionNeedsProtocolA);
    assert.is(checkConfig(edited(congestion, net((options) => (options.protocol = 'A')))), undefined);
  }
});

test('freezing until the peer is fenced needs to know what the peer has', () => {
  const freezing = disk((options) => (options.fencing = 'resource-and-stonith'));
  const late = net((options) => (options.protocol = 'A'));
  assert.is(checkConfig(edited(freezing, late))?.code, StonithWithProtocolA);
  assert.is(checkConfig(edited(freezing)), undefined);
  assert.is(checkConfig(edited(late)), undefined);
});

test('connecting: only from StandAlone, and a Primary does not discard its data', () => {
  assert.is(checkConnect(Conn.StandAlone, Role.Secondary, true), undefined);
  assert.is(checkConnect(Conn.StandAlone, Role.Primary, false), undefined);
  assert.is(checkConnect(Conn.StandAlone, Role.Primary, true)?.code, ConfigCode.DiscardMyDataWhilePrimary);
  assert.is(checkConnect(Conn.WFConnection, Role.Secondary, false)?.code, ConfigCode.AlreadyHasNetConfig);
});

test('while it runs a resource keeps what it is made of', () => {
  const faster = edited(disk((options) => (options.resyncRate = 30720)), net((options) => (options.pingInt = 1)));
  assert.is(checkOnlineChange(config(), faster, 101, false), undefined);
  for (const edit of [
    (resource: ResourceConfig) => (resource.volumes[0]!.minor = 9),
    (resource: ResourceConfig) => (resource.volumes[0]!.metaDisk = { kind: 'flexible' }),
    (resource: ResourceConfig) => (resource.volumes[0]!.sizeSectors = 800),
    (resource: ResourceConfig) => (resource.peers = []),
    (resource: ResourceConfig) => (resource.protocolMax = 100),
  ]) {
    assert.is(checkOnlineChange(config(), edited(edit), undefined, false)?.code, ConfigCode.InvalidRequest);
  }
  const other = edited(net((options) => (options.protocol = 'B')));
  assert.is(checkOnlineChange(config(), other, 99, false)?.code, ConfigCode.NeedsProtocol100);
  assert.is(checkOnlineChange(config(), other, 100, false), undefined);
  assert.is(checkOnlineChange(config(), other, undefined, false), undefined);
});

test('two primaries need protocol C, and cannot be forbidden while they are there', () => {
  const two = (protocol: 'A' | 'B' | 'C'): ResourceConfig => edited(net((options) => Object.assign(options, { protocol, allowTwoPrimaries: true })));
  assert.is(checkConfig(two('C')), undefined);
  for (const protocol of ['A', 'B'] as const) {
    const refusal = checkConfig(two(protocol));
    assert.is(refusal?.code, ConfigCode.NeedsProtocolC);
    assert.match(refusal!.text, `allow-two-primaries with protocol ${protocol}`);
  }
  assert.is(checkOnlineChange(two('C'), config(), 101, true)?.code, ConfigCode.TwoPrimariesPresent);
  assert.is(checkOnlineChange(two('C'), config(), undefined, false), undefined);
  assert.is(checkOnlineChange(config(), two('C'), 99, false)?.code, ConfigCode.NeedsProtocol100);
  assert.is(checkOnlineChange(config(), two('C'), 100, false), undefined);
});

test.run();
