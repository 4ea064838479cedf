/**
 * A pair of nodes, alice (Primary to begin with) and bob, as the scenarios share it: from resolved parameters to disks,
 * configuration and application. What makes a scenario is what it does to them.
 */

import { defaultDiskOptions, defaultNetOptions } from '../src/config/defaults.js';
import type {
  AfterSb0Pri, AfterSb1Pri, AfterSb2Pri, Command, Fencing, MetaDisk, NetOptions, OnCongestion, OnIoError, OnNoDataAccessible, Protocol, ReadBalancing, ResourceConfig,
} from '../src/contract/index.js';
import { layoutOf } from '../src/metadata/layout.js';
import { FeatureFlag } from '../src/wire/packets.js';
import type { Fault, HostSpec, Parameters, RandomStream, Setup, WorkloadSpec } from '../sim/types.js';

export const RESOURCE = 'r0';
export const ALICE = 'alice';
export const BOB = 'bob';
export const SECOND_US = 1_000_000;

const CLIENTS = 4;
const MIB_SECTORS = 2048;
const MEMBERSHIP = { intervalMs: 500, deadTimeMs: 3000 };
const MANAGER_DETECT_US = 3 * SECOND_US;
const SETTLE_US = 300 * SECOND_US;
/** A resync of a small device is over by then. */
const RESYNC_US = 60 * SECOND_US;
/** What one side has asked for is agreed on by then. */
const CROSSING_US = 5 * SECOND_US;
/** A device of its own for metadata: the least that DRBD takes, and some odd sectors. */
const META_SECTORS = 2048 + 3;

/** What a peer may lack; undefined: nothing. */
const FEATURES: Record<string, number | undefined> = {
  all: undefined,
  trim: FeatureFlag.FF_TRIM | FeatureFlag.FF_WSAME,
  small: FeatureFlag.FF_TRIM | FeatureFlag.FF_WZEROES,
  none: 0,
};

export interface PairOptions {
  /** Sectors of alice's data devices; drawn by the parameter `size` when absent. bob's are some sectors larger. */
  dataSectors?: number;
  /** Volume size in sectors when the devices are larger. */
  sizeSectors?: number;
  net?: Partial<NetOptions>;
  disk?: Partial<ResourceConfig['volumes'][number]['disk']>;
  handlers?: HostSpec['handlers'];
  workload?: Partial<Extract<WorkloadSpec, { kind: 'synthetic' }>>;
}

const text = (parameters: Parameters, name: string, otherwise: string): string => String(parameters[name] ?? otherwise);
const number = (parameters: Parameters, name: string, otherwise: number): number => Number(parameters[name] ?? otherwise);
const byMembership = (parameters: Parameters): boolean => text(parameters, 'failover', 'manager') === 'membership';

/**
 * Everything but the schedule. `parameters` are resolved; what a scenario has no knob for has DRBD's default or is drawn from the
 * seed (timers, rates, device sizes).
 */
export function pairSetup(parameters: Parameters, random: RandomStream, options: PairOptions = {}): Setup {
  const durationUs = number(parameters, 'duration', 60) * SECOND_US;
  const hosts = pairHosts(parameters, random, options);
  const protocol = text(parameters, 'protocol', 'C') as Protocol;
  return {
    parameters,
    hosts,
    network: { latencyUs: random.fork('network').pick([50, 100, 500, 2000]), jitterUs: 50, bytesPerSecond: 117_000_000 },
    disk: { readUs: 100, writeUs: 60, flushUs: 400, jitterUs: 200, bytesPerSecond: 400_000_000 },
    workload: syntheticLoad(parameters, random.fork('load'), usableSectors(hosts), durationUs, options.workload),
    schedule: [],
    prepare: [{ host: ALICE, command: { verb: 'primary', resource: RESOURCE, force: false } }],
    initial: 'synced',
    onBoot: 'attach-and-connect',
    failover: byMembership(parameters) ? { by: 'membership' } : { by: 'manager', detectUs: MANAGER_DETECT_US, force: false },
    afterStorm: [],
    durationUs,
    settleUs: SETTLE_US + slowResyncUs(parameters, hosts),
    expectations: {
      protocol,
      // Only a Primary that freezes until its peer is fenced keeps two histories from beginning.
      splitBrainPossible: text(parameters, 'fencing', 'dont-care') !== 'resource-and-stonith',
      unexpectedDisconnectsAllowed: false,
      skip: [],
      activeSetExtents: number(parameters, 'al-extents', defaultDiskOptions.alExtents),
    },
  };
}

/**
 * Below protocol 95 no controller finds a rate and each end takes the other's in the handshake (wire-protocol.md §3.5): a disk that was
 * away brings the default back, and a large device is resynced with that (disk-errors, seed 257). Half as long again for what else goes on.
 */
function slowResyncUs(parameters: Parameters, hosts: HostSpec[]): number {
  if (number(parameters, 'protocol-max', 101) >= 95) return 0;
  const largestSectors = Math.max(...hosts.flatMap(({ disks }) => disks.map(({ dataSectors }) => dataSectors)));
  return Math.ceil((largestSectors / 2 / defaultDiskOptions.resyncRate) * 1.5) * SECOND_US;
}

function pairHosts(parameters: Parameters, random: RandomStream, options: PairOptions): HostSpec[] {
  const sizes = random.fork('sizes');
  const timing = random.fork('timing');
  const count = number(parameters, 'volumes', 1);
  const flexible = text(parameters, 'meta-disk', 'internal') === 'flexible';
  const metaDisk: MetaDisk = { kind: flexible ? 'flexible' : 'internal' };
  const large = text(parameters, 'size', 'small') === 'large';
  const drawn = Array.from({ length: count }, () => sizes.integer(large ? 300 : 4, large ? 600 : 12) * MIB_SECTORS + sizes.integer(1, 15));
  const larger = sizes.integer(0, 9);
  const rsDiscardGranularity = number(parameters, 'rs-discard-granularity', 0);
  const discards = number(parameters, 'discards', 0) > 0 || rsDiscardGranularity > 0 ? random.fork('discards') : undefined;
  const discard = { zeroes: discards === undefined || discards.chance(3, 4) };
  const disks = (more: number): HostSpec['disks'] => {
    // What one disk gives up the other may have to zero.
    const granularitySectors = discards?.pick([0, 1, 8, 64, 128, 2048]) ?? 0;
    return drawn.map((sectors, volume) => ({
      volume,
      dataSectors: (options.dataSectors ?? sectors) + more,
      ...(flexible && { metaSectors: META_SECTORS }),
      ...(granularitySectors > 0 && { discard: { ...discard, granularitySectors } }),
    }));
  };

  const fixedRate = timing.chance(1, 2);
  const disk = {
    ...defaultDiskOptions,
    fencing: text(parameters, 'fencing', 'dont-care') as Fencing,
    onIoError: text(parameters, 'on-io-error', 'detach') as OnIoError,
    alExtents: number(parameters, 'al-extents', defaultDiskOptions.alExtents),
    alUpdates: text(parameters, 'al-updates', 'yes') === 'yes',
    readBalancing: text(parameters, 'read-balancing', 'prefer-local') as ReadBalancing,
    diskTimeout: number(parameters, 'disk-timeout', defaultDiskOptions.diskTimeout),
    ...(fixedRate ? { cPlanAhead: 0, resyncRate: timing.pick([10_000, 40_000, 200_000]) } : {}),
    cMinRate: timing.pick([0, 250, 4000]),
    discardZeroesIfAligned: discard.zeroes,
    rsDiscardGranularity,
    ...options.disk,
  };
  const net: NetOptions = {
    ...defaultNetOptions,
    protocol: text(parameters, 'protocol', 'C') as Protocol,
    allowTwoPrimaries: text(parameters, 'two-primaries', 'no') === 'yes',
    afterSb0Pri: text(parameters, 'after-sb-0pri', 'disconnect') as AfterSb0Pri,
    afterSb1Pri: text(parameters, 'after-sb-1pri', 'disconnect') as AfterSb1Pri,
    afterSb2Pri: text(parameters, 'after-sb-2pri', 'disconnect') as AfterSb2Pri,
    connectInt: timing.pick([1, 3, 10]),
    pingInt: timing.pick([1, 3, 10]),
    maxEpochSize: timing.pick([20, 200, 2048]),
    useRle: timing.chance(3, 4),
    verifyAlg: text(parameters, 'verify-alg', 'crc32c'),
    csumsAlg: noneAsEmpty(text(parameters, 'csums-alg', 'none')),
    csumsAfterCrashOnly: text(parameters, 'csums-after-crash-only', 'no') === 'yes',
    onCongestion: text(parameters, 'on-congestion', 'block') as OnCongestion,
    congestionFill: number(parameters, 'congestion-fill', 0),
    ...secretFor(noneAsEmpty(text(parameters, 'cram-hmac-alg', 'none'))),
    dataIntegrityAlg: noneAsEmpty(text(parameters, 'data-integrity-alg', 'none')),
    ...options.net,
  };
  const fenceUs = random.fork('handlers').pick([20_000, 500_000, 3_000_000]);
  const handlers = options.handlers ?? [{ name: 'fence-peer', exitCode: 'derive', delayUs: fenceUs }, ...resyncHandlers(random.fork('resync-handlers'))];
  // Volumes of some runs are synced one after the other.
  const inTurn = count > 1 && random.fork('resync-after').chance(1, 4);
  const config = (peer: string, oldest: number, features: number | undefined): ResourceConfig => ({
    resource: RESOURCE,
    volumes: drawn.map((_, volume) => ({ volume, minor: volume, metaDisk, disk: { ...disk, resyncAfter: inTurn ? volume - 1 : -1 }, sizeSectors: options.sizeSectors ?? 0 })),
    peers: [{ name: peer, net: peer === BOB ? net : mirrored(net) }],
    onNoDataAccessible: text(parameters, 'on-no-data-accessible', 'io-error') as OnNoDataAccessible,
    handlers: handlers.map(({ name }) => name),
    ...(byMembership(parameters) && { membership: MEMBERSHIP }),
    protocolMin: 86,
    protocolMax: oldest,
    ...(features !== undefined && { features }),
  });
  return [
    { name: ALICE, disks: disks(0), config: config(BOB, 101, undefined), handlers },
    { name: BOB, disks: disks(larger), config: config(ALICE, number(parameters, 'protocol-max', 101), FEATURES[text(parameters, 'features', 'all')]), handlers },
  ];
}

const noneAsEmpty = (algorithm: string): string => (algorithm === 'none' ? '' : algorithm);
const secretFor = (cramHmacAlg: string): Pick<NetOptions, 'cramHmacAlg' | 'sharedSecret'> => ({ cramHmacAlg, sharedSecret: cramHmacAlg === '' ? '' : 'swordfish' });

/** In some runs a resync asks first, and the answer takes its time. */
function resyncHandlers(random: RandomStream): HostSpec['handlers'] {
  if (!random.chance(1, 6)) return [];
  const delayUs = random.pick([1000, 50_000, 2 * SECOND_US]);
  return [
    { name: 'before-resync-target', exitCode: 0, delayUs, fails: random.chance(1, 4) },
    { name: 'before-resync-source', exitCode: random.pick([0, 3]), delayUs: random.pick([1000, 200_000]) },
    { name: 'after-resync-target', exitCode: 1, delayUs },
  ];
}

/** What one side calls local is the other's remote; both must say the same (generation-uuids.md §7). */
function mirrored(net: NetOptions): NetOptions {
  if (net.afterSb0Pri === 'discard-local') return { ...net, afterSb0Pri: 'discard-remote' };
  if (net.afterSb0Pri === 'discard-remote') return { ...net, afterSb0Pri: 'discard-local' };
  return net;
}

/** The size that the smallest volume will have: room for metadata is taken off where it is internal. */
export function usableSectors(hosts: readonly HostSpec[]): number {
  let usable = Infinity;
  for (const { disks, config } of hosts) {
    for (const { volume, dataSectors, metaSectors } of disks) {
      const { metaDisk, sizeSectors } = config.volumes.find((one) => one.volume === volume)!;
      const layout = layoutOf(metaDisk, { dataSectors, metaSectors: metaSectors ?? dataSectors, shared: metaSectors === undefined });
      if (!layout.ok) throw new Error(`${dataSectors} sectors have no room for metadata: ${layout.refusal.detail}`);
      usable = Math.min(usable, layout.value.usableDataSectors, sizeSectors || Infinity);
    }
  }
  return usable;
}

function syntheticLoad(
  parameters: Parameters,
  random: RandomStream,
  sectors: number,
  durationUs: number,
  options: Partial<Extract<WorkloadSpec, { kind: 'synthetic' }>> = {},
): WorkloadSpec {
  const queueDepth = number(parameters, 'queue-depth', 2);
  const writes = number(parameters, 'writes', 2000);
  const readShare = { numerator: random.integer(1, 4), denominator: 12 };
  const flushEvery = random.pick([4, 8, 8, 30, 0]);
  // So that the writes fill the storm, service interruptions included.
  const requests = (writes * 12) / (12 - readShare.numerator) + (flushEvery === 0 ? 0 : writes / flushEvery);
  return {
    kind: 'synthetic',
    clients: CLIENTS,
    queueDepth,
    writes,
    readShare,
    flushEvery,
    fuaEvery: random.pick([0, 20]),
    zerosOneIn: number(parameters, 'discards', 0),
    pattern: random.pick(['random', 'random', 'hot-spot', 'sequential']),
    firstSector: 0,
    sectors,
    maxRequestSectors: random.pick([8, 16, 16, 128]),
    thinkUs: Math.floor((durationUs * CLIENTS * queueDepth * 0.8) / requests),
    ...options,
  };
}

// ---- Words for schedules -----------------------------------------------------------------------------------------------

export const at = (id: string, atUs: number, action: Fault['action']): Fault => ({ id, trigger: { atUs: Math.floor(atUs) }, action });

/** An operator acts. */
export const act = (id: string, atUs: number, host: string, command: Command): Fault => at(id, atUs, { do: 'command', host, command });

export const connectTo = (peer: string, discardMyData = false): Command =>
  ({ verb: 'connect', resource: RESOURCE, peer, discardMyData, tentative: false });
export const disconnectFrom = (peer: string, force = false): Command => ({ verb: 'disconnect', resource: RESOURCE, peer, force });

/** These options on both nodes. */
export const optionsWith = (hosts: readonly HostSpec[], net: NetOptions, disk: ResourceConfig['volumes'][number]['disk']): { host: string; command: Command }[] =>
  hosts.map(({ name, config }) => ({
    host: name,
    command: {
      verb: 'options',
      resource: RESOURCE,
      config: {
        ...config,
        volumes: config.volumes.map((volume) => ({ ...volume, disk })),
        peers: config.peers.map((peer) => ({ ...peer, net: peer.name === BOB ? net : mirrored(net) })),
      },
    },
  }));

export const commands = (parameters: Parameters): Record<'alice' | 'bob', { host: string; command: Command }[]> => ({
  alice: commandsOf(ALICE, BOB, number(parameters, 'volumes', 1)),
  bob: commandsOf(BOB, ALICE, number(parameters, 'volumes', 1)),
});

/** Verifies some blocks: a large device takes its time. (A peer before protocol 97 goes on to the end.) */
const VERIFIED_SECTORS = 8192;

/** What an operator may do on a host at any moment, without force and without taking the resource away. */
function commandsOf(host: string, peer: string, volumes: number): { host: string; command: Command }[] {
  const list: Command[] = [
    connectTo(peer),
    disconnectFrom(peer),
    { verb: 'primary', resource: RESOURCE, force: false },
    { verb: 'secondary', resource: RESOURCE },
    { verb: 'suspend-io', resource: RESOURCE },
    { verb: 'resume-io', resource: RESOURCE },
  ];
  for (let volume = 0; volume < volumes; volume++) {
    list.push(
      { verb: 'attach', resource: RESOURCE, volume },
      { verb: 'detach', resource: RESOURCE, volume, force: false },
      { verb: 'outdate', resource: RESOURCE, volume },
      { verb: 'invalidate', resource: RESOURCE, volume },
      { verb: 'invalidate-remote', resource: RESOURCE, volume },
      { verb: 'pause-sync', resource: RESOURCE, volume },
      { verb: 'resume-sync', resource: RESOURCE, volume },
      { verb: 'verify', resource: RESOURCE, volume, startSector: 0, stopSector: VERIFIED_SECTORS },
      { verb: 'resize', resource: RESOURCE, volume, sizeSectors: 0, assumeClean: false, assumePeerHasSpace: false },
    );
  }
  return list.map((command) => ({ host, command }));
}

/**
 * Which order undoes an operator's act or a fault's lasting effect. `keepsBadDisks`: on-io-error is pass_on. A disk that is kept in spite of
 * errors stays Inconsistent, and so does one whose source could not read: whoever is, is made again from the good one. (The good one refuses.)
 * One side after the other, for requests of both would cross and be refused; and once more later, since a resync that lacks blocks may still run.
 */
export function afterStorm(schedule: readonly Fault[], volumes: number, keepsBadDisks = false): Setup['afterStorm'] {
  const orders: Setup['afterStorm'] = [];
  const verbs = new Set(schedule.flatMap(({ action }) => (action.do === 'command' ? [action.command.verb] : [])));
  const disksFail = schedule.some(({ action }) => action.do === 'disk-error' || action.do === 'latent-error' || action.do === 'hang-disk');
  for (const [host, peer] of [[ALICE, BOB], [BOB, ALICE]] as const) {
    const order = (command: Command): void => void orders.push({ host, command });
    if (verbs.has('suspend-io')) order({ verb: 'resume-io', resource: RESOURCE });
    for (let volume = 0; volume < volumes; volume++) {
      if (verbs.has('detach') || disksFail) order({ verb: 'attach', resource: RESOURCE, volume });
      if (verbs.has('pause-sync')) order({ verb: 'resume-sync', resource: RESOURCE, volume });
    }
    // A diskless Primary that meets other data than its applications have seen gives the connection up.
    if (verbs.has('disconnect') || disksFail) order(connectTo(peer));
  }
  if (!keepsBadDisks || !disksFail) return orders;
  for (const roundUs of [0, RESYNC_US]) {
    for (const host of [ALICE, BOB]) {
      const afterUs = roundUs + (host === ALICE ? 0 : CROSSING_US);
      for (let volume = 0; volume < volumes; volume++) {
        orders.push({ host, command: { verb: 'invalidate', resource: RESOURCE, volume }, ...(volume === 0 && afterUs > 0 && { afterUs }) });
      }
    }
  }
  return orders;
}
