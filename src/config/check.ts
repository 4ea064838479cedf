/**
 * Is a configuration possible? Ranges of every option (configuration.md §3) and the rules between options (node-states.md
 * §8.1, §8.3), checked once at the door, so that no room behind it has to. An answer names the option and what is allowed.
 */

import type { Environment } from '../contract/environment.js';
import type { HandlerName } from '../contract/output.js';
import { ConfigCode, configText } from '../state/refusals.js';
import { Conn, Role } from '../state/states.js';
import type { DiskOptions, NetOptions, ReadBalancing, ResourceConfig, VolumeConfig } from './types.js';

export interface ConfigRefusal {
  code: ConfigCode;
  /** DRBD's meaning of the code and, after a colon, what exactly is wrong. */
  text: string;
}

const refusal = (code: ConfigCode, detail: string): ConfigRefusal => ({ code, text: `${configText(code)}: ${detail}` });

interface Range {
  option: string;
  min: number;
  max: number;
}

type NumericOf<T> = { [K in keyof T]: T[K] extends number ? K : never }[keyof T];

/** al-extents is not here: it is clamped to what the log's ring can describe (metadata.md §3.1; metadata/activity-log). */
const diskRanges: Record<Exclude<NumericOf<DiskOptions>, 'alExtents' | 'resyncAfter'>, Range> = {
  resyncRate: { option: 'resync-rate', min: 1, max: 4194304 },
  cPlanAhead: { option: 'c-plan-ahead', min: 0, max: 300 },
  cDelayTarget: { option: 'c-delay-target', min: 1, max: 100 },
  cFillTarget: { option: 'c-fill-target', min: 0, max: 1048576 },
  cMaxRate: { option: 'c-max-rate', min: 250, max: 4194304 },
  cMinRate: { option: 'c-min-rate', min: 0, max: 4194304 },
  diskTimeout: { option: 'disk-timeout', min: 0, max: 6000 },
  rsDiscardGranularity: { option: 'rs-discard-granularity', min: 0, max: 1048576 },
};

const netRanges: Record<NumericOf<NetOptions>, Range> = {
  timeout: { option: 'timeout', min: 1, max: 600 },
  maxEpochSize: { option: 'max-epoch-size', min: 1, max: 20000 },
  maxBuffers: { option: 'max-buffers', min: 32, max: 131072 },
  connectInt: { option: 'connect-int', min: 1, max: 120 },
  pingInt: { option: 'ping-int', min: 1, max: 120 },
  pingTimeout: { option: 'ping-timeout', min: 1, max: 300 },
  koCount: { option: 'ko-count', min: 0, max: 200 },
  socketCheckTimeout: { option: 'socket-check-timeout', min: 0, max: 300 },
  congestionFill: { option: 'congestion-fill', min: 0, max: 20971520 },
  congestionExtents: { option: 'congestion-extents', min: 67, max: 65534 },
  sndbufSize: { option: 'sndbuf-size', min: 0, max: 10485760 },
};

/** Wire protocol versions of this core (wire-protocol.md §3.2). */
const protocolVersions: Range = { option: 'protocol version', min: 86, max: 101 };
/** 0xffff is "no volume" on the wire (wire-protocol.md §13). */
const features: Range = { option: 'features', min: 0, max: 0xffffffff };
const volumeNumbers: Range = { option: 'volume', min: 0, max: 0xfffe };
const minors: Range = { option: 'minor', min: 0, max: 1048575 };
const sizes: Range = { option: 'size', min: 0, max: 2199023255552 };
const slotIndexes: Range = { option: 'meta-disk index', min: 0, max: 65535 };
const resyncAfters: Range = { option: 'resync-after', min: -1, max: 1048575 };
const alExtents: Range = { option: 'al-extents', min: 0, max: Number.MAX_SAFE_INTEGER };
const intervals: Range = { option: 'heartbeat interval (ms)', min: 10, max: 3600000 };
const deadTimes: Range = { option: 'heartbeat dead time (ms)', min: 20, max: 3600000 };

const handlerNames: Record<HandlerName, true> = {
  'before-resync-target': true,
  'after-resync-target': true,
  'before-resync-source': true,
  'pri-on-incon-degr': true,
  'pri-lost-after-sb': true,
  'pri-lost': true,
  'fence-peer': true,
  'unfence-peer': true,
  'local-io-error': true,
  'initial-split-brain': true,
  'split-brain': true,
  'out-of-sync': true,
};

const readBalancing: Record<ReadBalancing, true> = {
  'prefer-local': true,
  'prefer-remote': true,
  'round-robin': true,
  'least-pending': true,
  'when-congested-remote': true,
  '32K-striping': true,
  '64K-striping': true,
  '128K-striping': true,
  '256K-striping': true,
  '512K-striping': true,
  '1M-striping': true,
};

/** Quoted tokens of the configuration language are up to 255 bytes; a name also travels in a heartbeat, a byte a character. */
const nameIsUsable = (name: string): boolean => /^[\x21-\x7e]{1,128}$/.test(name);

const outOfRange = (where: string, { option, min, max }: Range, value: number): ConfigRefusal | undefined =>
  Number.isInteger(value) && value >= min && value <= max
    ? undefined
    : refusal(ConfigCode.InvalidAttribute, `${where}: ${option} ${value} is not an integer in ${min}..${max}`);

const firstRefusal = (checks: Iterable<ConfigRefusal | undefined>): ConfigRefusal | undefined => {
  for (const found of checks) if (found !== undefined) return found;
  return undefined;
};

const checkRanges = <K extends string>(where: string, ranges: Record<K, Range>, options: Record<K, number>): ConfigRefusal | undefined =>
  firstRefusal((Object.keys(ranges) as K[]).map((name) => outOfRange(where, ranges[name], options[name])));

const checkVolume = (config: ResourceConfig, volume: VolumeConfig): ConfigRefusal | undefined => {
  const where = `${config.resource}/${volume.volume}`;
  return (
    outOfRange(where, volumeNumbers, volume.volume) ??
    outOfRange(where, minors, volume.minor) ??
    outOfRange(where, sizes, volume.sizeSectors) ??
    (volume.metaDisk.kind === 'indexed' ? outOfRange(where, slotIndexes, volume.metaDisk.index) : undefined) ??
    checkRanges(where, diskRanges, volume.disk) ??
    outOfRange(where, alExtents, volume.disk.alExtents) ??
    (Object.hasOwn(readBalancing, volume.disk.readBalancing) ? undefined : refusal(ConfigCode.InvalidAttribute, `${where}: there is no read-balancing ${volume.disk.readBalancing}`)) ??
    (outOfRange(where, resyncAfters, volume.disk.resyncAfter) && refusal(ConfigCode.ResyncAfterInvalid, `${where}: resync-after ${volume.disk.resyncAfter}`))
  );
};

const duplicate = <T>(values: readonly T[]): T | undefined => values.find((value, index) => values.indexOf(value) !== index);

/** Undefined when the configuration is possible, else the first thing that is wrong with it. */
export const checkConfig = (config: ResourceConfig): ConfigRefusal | undefined => {
  const where = config.resource;
  const wrong = (detail: string): ConfigRefusal => refusal(ConfigCode.InvalidAttribute, `${where}: ${detail}`);
  if (!nameIsUsable(config.resource)) return wrong('a resource needs a name of 1 to 128 visible ASCII characters');
  if (config.volumes.length === 0) return wrong('a resource needs at least one volume');
  // The superblock of format v08 has room for one bitmap.
  if (config.peers.length > 1) return wrong('metadata v08 can replicate to one peer only');
  if (config.peers.some(({ name }) => !nameIsUsable(name))) return wrong('a peer needs a name of 1 to 128 visible ASCII characters');
  const twice = duplicate(config.volumes.map(({ volume }) => volume));
  if (twice !== undefined) return refusal(ConfigCode.MinorExists, `${where}: volume ${twice} is there twice`);
  const minorTwice = duplicate(config.volumes.map(({ minor }) => minor));
  if (minorTwice !== undefined) return refusal(ConfigCode.MinorExists, `${where}: minor ${minorTwice} is there twice`);
  const handler = config.handlers.find((name) => !Object.hasOwn(handlerNames, name));
  if (handler !== undefined) return wrong(`there is no handler called ${handler}`);

  return (
    outOfRange(where, protocolVersions, config.protocolMin) ??
    outOfRange(where, protocolVersions, config.protocolMax) ??
    (config.protocolMin > config.protocolMax ? wrong(`protocol versions ${config.protocolMin}..${config.protocolMax} are none`) : undefined) ??
    (config.features === undefined ? undefined : outOfRange(where, features, config.features)) ??
    firstRefusal(config.volumes.map((volume) => checkVolume(config, volume))) ??
    firstRefusal(config.peers.map((peer) => checkRanges(`${where} to ${peer.name}`, netRanges, peer.net))) ??
    firstRefusal(config.peers.map((peer) => checkStrings(`${where} to ${peer.name}`, peer.net))) ??
    checkStonith(config) ??
    checkTwoPrimaries(config) ??
    checkCongestion(config) ??
    checkMembership(config)
  );
};

const stringOptions = { cramHmacAlg: 'cram-hmac-alg', sharedSecret: 'shared-secret', dataIntegrityAlg: 'data-integrity-alg', verifyAlg: 'verify-alg', csumsAlg: 'csums-alg' } as const;

/** Strings of the wire and of DRBD's configuration hold up to 63 bytes; a secret with a letter that two nodes encode differently would be two. */
const checkStrings = (where: string, net: NetOptions): ConfigRefusal | undefined => {
  const wrong = (Object.keys(stringOptions) as (keyof typeof stringOptions)[]).find((option) => !/^[\x20-\x7e]{0,63}$/.test(net[option]));
  if (wrong !== undefined) return refusal(ConfigCode.InvalidAttribute, `${where}: ${stringOptions[wrong]} is not a text of up to 63 ASCII characters`);
  const isSecretMissing = net.cramHmacAlg !== '' && net.sharedSecret === '';
  return isSecretMissing ? refusal(ConfigCode.InvalidAttribute, `${where}: cram-hmac-alg needs a shared-secret`) : undefined;
};

/** Can this node compute the digests that a configuration names? What it does not know it cannot promise (120, 141, 144, 146). */
export const checkAlgorithms = (config: ResourceConfig, environment: Pick<Environment, 'digest' | 'hmac'>): ConfigRefusal | undefined =>
  firstRefusal(
    config.peers.map(({ name, net }) => {
      const where = `${config.resource} to ${name}`;
      if (net.cramHmacAlg !== '' && environment.hmac(net.cramHmacAlg, new Uint8Array(1), []) === undefined) return refusal(ConfigCode.UnknownAuthAlg, `${where}: ${net.cramHmacAlg}`);
      if (net.dataIntegrityAlg !== '' && environment.digest(net.dataIntegrityAlg, []) === undefined) return refusal(ConfigCode.UnknownIntegrityAlg, `${where}: ${net.dataIntegrityAlg}`);
      if (net.csumsAlg !== '' && environment.digest(net.csumsAlg, []) === undefined) return refusal(ConfigCode.UnknownCsumsAlg, `${where}: ${net.csumsAlg}`);
      if (net.verifyAlg !== '' && environment.digest(net.verifyAlg, []) === undefined) return refusal(ConfigCode.UnknownVerifyAlg, `${where}: ${net.verifyAlg}`);
      return undefined;
    }),
  );

/** 154: with protocol A a write is confirmed before the peer has it; freezing and fencing cannot keep what nobody else has. */
const checkStonith = (config: ResourceConfig): ConfigRefusal | undefined => {
  const freezes = config.volumes.some(({ disk }) => disk.fencing === 'resource-and-stonith');
  const peer = config.peers.find(({ net }) => net.protocol === 'A');
  return freezes && peer !== undefined ? refusal(ConfigCode.StonithWithProtocolA, `${config.resource} to ${peer.name}`) : undefined;
};

/** 139: with A and B a write is confirmed before it is known to be in conflict with one of the other Primary. */
const checkTwoPrimaries = (config: ResourceConfig): ConfigRefusal | undefined => {
  const peer = config.peers.find(({ net }) => net.allowTwoPrimaries && net.protocol !== 'C');
  return peer === undefined ? undefined : refusal(ConfigCode.NeedsProtocolC, `${config.resource} to ${peer.name}: allow-two-primaries with protocol ${peer.net.protocol}`);
};

/** 155: what is not mirrored is not confirmed by the peer either. */
const checkCongestion = (config: ResourceConfig): ConfigRefusal | undefined => {
  const peer = config.peers.find(({ net }) => net.onCongestion !== 'block' && net.protocol !== 'A');
  return peer && refusal(ConfigCode.CongestionNeedsProtocolA, `${config.resource} to ${peer.name}`);
};

const checkMembership = ({ resource, membership }: ResourceConfig): ConfigRefusal | undefined => {
  if (membership === undefined) return undefined;
  const { intervalMs, deadTimeMs } = membership;
  const tooShort = deadTimeMs < 2 * intervalMs;
  return (
    outOfRange(resource, intervals, intervalMs) ??
    outOfRange(resource, deadTimes, deadTimeMs) ??
    (tooShort ? refusal(ConfigCode.InvalidAttribute, `${resource}: dead time ${deadTimeMs} ms is less than two intervals of ${intervalMs} ms`) : undefined)
  );
};

/** May this connection be made (node-states.md §8.3)? `conn` is its present state. */
export const checkConnect = (conn: Conn, role: Role, discardMyData: boolean): ConfigRefusal | undefined => {
  if (conn !== Conn.StandAlone) return { code: ConfigCode.AlreadyHasNetConfig, text: configText(ConfigCode.AlreadyHasNetConfig) };
  if (discardMyData && role === Role.Primary) {
    return { code: ConfigCode.DiscardMyDataWhilePrimary, text: configText(ConfigCode.DiscardMyDataWhilePrimary) };
  }
  return undefined;
};

/** Does it change what both sides of a connection must agree on? */
const changesAgreement = (from: ResourceConfig, to: ResourceConfig): boolean =>
  from.peers.some(({ net }, index) => {
    const other = to.peers[index]?.net;
    return net.protocol !== other?.protocol || net.allowTwoPrimaries !== other.allowTwoPrimaries || net.dataIntegrityAlg !== other.dataIntegrityAlg;
  });

/**
 * May a running resource get these options? `agreedProtocol`: the version of the live connection, undefined without one;
 * `twoPrimaries`: this node and its peer are both Primary now.
 * What a resource is made of stays: name, volumes with their minors and metadata, peers. `to` must pass `checkConfig` as well.
 */
export const checkOnlineChange = (
  from: ResourceConfig,
  to: ResourceConfig,
  agreedProtocol: number | undefined,
  twoPrimaries: boolean,
): ConfigRefusal | undefined => {
  const made = (config: ResourceConfig): string =>
    JSON.stringify([
      config.resource,
      config.protocolMin,
      config.protocolMax,
      config.features,
      config.volumes.map(({ volume, minor, metaDisk, sizeSectors }) => [volume, minor, metaDisk.kind, metaDisk.kind === 'indexed' && metaDisk.index, sizeSectors]),
      config.peers.map(({ name }) => name),
    ]);
  if (made(from) !== made(to)) {
    return refusal(ConfigCode.InvalidRequest, `${from.resource}: name, volumes, peers, sizes, protocol versions and features cannot change while it runs`);
  }
  if (twoPrimaries && to.peers.some(({ net }) => !net.allowTwoPrimaries)) return refusal(ConfigCode.TwoPrimariesPresent, from.resource);
  if (changesAgreement(from, to) && agreedProtocol !== undefined && agreedProtocol < 100) {
    return refusal(ConfigCode.NeedsProtocol100, `${from.resource}: replication protocol, allow-two-primaries or data-integrity-alg`);
  }
  return undefined;
};
