/**
 * The knobs that scenarios share. A knob whose value is `any` is drawn from the seed, each from a stream of its own, so that a
 * sweep varies it, and setting one by hand leaves the others as they were.
 */

import { type ParameterSpec, type Parameters, type ParameterValue, type RandomStream, UsageError } from '../sim/types.js';

export type Knob = ParameterSpec;

const anyOf = (name: string, description: string, choices: readonly ParameterValue[], odds?: readonly ParameterValue[]): Knob => ({
  name, description, default: 'any', choices: ['any', ...choices], ...(odds && { odds }),
});

export const knobs = {
  protocol: anyOf('protocol', 'when a write is acknowledged: A sent, B received, C written', ['A', 'B', 'C'], ['A', 'B', 'C', 'C']),
  fencing: anyOf('fencing', 'what a Primary does when it loses its peer', ['dont-care', 'resource-only', 'resource-and-stonith'], [
    'dont-care', 'dont-care', 'resource-only', 'resource-and-stonith',
  ]),
  volumes: anyOf('volumes', 'volumes of the resource', [1, 2, 3, 4], [1, 1, 1, 1, 1, 2, 2, 3, 4]),
  alExtents: anyOf('al-extents', 'slots of the active set', [67, 128, 1237], [67, 67, 67, 128]),
  alUpdates: anyOf('al-updates', 'the activity log is kept on disk; without it everything is synced after the crash of a Primary', ['yes', 'no'], [
    'yes', 'yes', 'yes', 'yes', 'yes', 'yes', 'yes', 'yes', 'yes', 'no',
  ]),
  metaDisk: anyOf('meta-disk', 'where metadata lies', ['internal', 'flexible'], ['internal', 'internal', 'flexible']),
  size: anyOf('size', 'device size: small ones are cheap; large ones have more extents than the active set has slots', ['small', 'large'], [
    'small', 'small', 'small', 'small', 'small', 'small', 'small', 'large',
  ]),
  queueDepth: anyOf('queue-depth', 'requests that each of the four clients has in flight', [1, 2, 4, 8, 16, 32], [1, 2, 2, 4, 8]),
  discards: anyOf('discards', 'one write in so many discards or zeroes its range; 0: none', [0, 3, 20], [0, 0, 0, 0, 0, 0, 3, 20]),
  rsDiscardGranularity: anyOf('rs-discard-granularity', 'a resync asks for so many bytes at a time whether they are zeros, on disks that discard; 0: never', [0, 4096, 65536, 1048576], [
    0, 0, 0, 0, 0, 0, 0, 4096, 65536,
  ]),
  features: anyOf('features', 'features that bob offers: all, no P_ZEROES, no discards above 4 MiB, or none', ['all', 'trim', 'small', 'none'], [
    'all', 'all', 'trim', 'small', 'none',
  ]),
  diskTimeout: anyOf('disk-timeout', 'how long a disk may take before it is given up, in 0.1 s; 0: for ever', [0, 5, 20, 100], [0, 0, 5, 20]),
  onNoData: anyOf('on-no-data-accessible', 'what a Primary does without any data: errors, or it waits', ['io-error', 'suspend-io'], [
    'io-error', 'io-error', 'suspend-io',
  ]),
  onIoError: anyOf('on-io-error', 'what an I/O error does to the disk', ['detach', 'pass_on', 'call-local-io-error']),
  protocolMax: anyOf(
    'protocol-max',
    'newest wire protocol that bob speaks (98 to 100 were only ever spoken by prereleases)',
    [86, 87, 88, 89, 90, 91, 92, 93, 94, 95, 96, 97, 101],
    [101, 101, 101, 101, 97, 96, 95, 94, 91, 90, 88, 86],
  ),
  failover: anyOf('failover', 'who promotes the survivor', ['manager', 'membership']),
  readBalancing: anyOf(
    'read-balancing',
    'which disk is read when both are good',
    ['prefer-local', 'prefer-remote', 'round-robin', 'least-pending', 'when-congested-remote', '32K-striping', '1M-striping'],
    ['prefer-local', 'prefer-local', 'prefer-local', 'prefer-local', 'prefer-remote', 'round-robin', 'least-pending', '32K-striping'],
  ),
  twoPrimaries: anyOf('two-primaries', 'both nodes may be Primary at once (protocol C)', ['no', 'yes'], ['no', 'no', 'no', 'no', 'no', 'no', 'no', 'yes']),
  afterSb0Pri: anyOf('after-sb-0pri', 'after a split brain, no Primary present', [
    'disconnect',
    'discard-younger-primary',
    'discard-older-primary',
    'discard-zero-changes',
    'discard-least-changes',
    'discard-local',
    'discard-remote',
  ]),
  afterSb1Pri: anyOf('after-sb-1pri', 'after a split brain, one Primary present', [
    'disconnect', 'consensus', 'discard-secondary', 'call-pri-lost-after-sb', 'violently-as0p',
  ]),
  afterSb2Pri: anyOf('after-sb-2pri', 'after a split brain, two Primaries', ['disconnect', 'call-pri-lost-after-sb', 'violently-as0p']),
  verifyAlg: anyOf('verify-alg', 'digest that online verify compares', ['crc32c', 'md5', 'sha1', 'sha256']),
  csumsAlg: anyOf('csums-alg', 'digest by which a resync finds blocks that are equal', ['none', 'crc32c', 'md5', 'sha1', 'sha256'], [
    'none', 'none', 'none', 'none', 'none', 'none', 'crc32c', 'crc32c',
  ]),
  csumsAfterCrashOnly: anyOf('csums-after-crash-only', 'only what crashed as Primary compares digests', ['no', 'yes'], ['no', 'no', 'no', 'yes']),
  onCongestion: anyOf('on-congestion', 'with protocol A: what to do when too much is on its way to the peer', ['block', 'pull-ahead', 'disconnect'], [
    'block', 'block', 'pull-ahead',
  ]),
  congestionFill: anyOf('congestion-fill', 'how much may be on its way before that is called congestion, in sectors', [16, 64, 256, 768]),
  cramHmacAlg: anyOf('cram-hmac-alg', 'how the nodes show each other that they know the secret', ['none', 'md5', 'sha1', 'sha256'], [
    'none', 'none', 'none', 'none', 'none', 'none', 'sha1', 'sha256',
  ]),
  // Drawn are the quick one only, and small devices: a resync of a large one would cost half a minute.
  dataIntegrityAlg: anyOf('data-integrity-alg', 'digest in front of replicated data', ['none', 'crc32c', 'md5', 'sha1', 'sha256'], [
    'none', 'none', 'none', 'none', 'none', 'none', 'none', 'crc32c',
  ]),
  writes: { name: 'writes', description: 'writes of the application in all', default: 2000, min: 1, max: 1_000_000 },
  durationS: { name: 'duration', description: 'simulated length of the storm', default: 60, min: 5, max: 3600, unit: 's' },
} satisfies Record<string, Knob>;

/** The knob with another default; a scenario that fixes something by default still lets it be set. */
export const withDefault = (knob: Knob, value: ParameterValue): Knob => ({ ...knob, default: value });

/** Every knob's value: as set, or drawn where it is `any`. Throws `UsageError` on a value that the knob does not have. */
export function resolve(specs: readonly Knob[], parameters: Parameters, random: RandomStream): Parameters {
  const resolved: Parameters = {};
  for (const spec of specs) {
    const value = parameters[spec.name] ?? spec.default;
    if (spec.choices !== undefined && !spec.choices.includes(value)) {
      throw new UsageError(`${spec.name}=${value} is impossible; choose one of ${spec.choices.join(', ')}`);
    }
    const drawn = spec.odds ?? spec.choices?.filter((choice) => choice !== 'any');
    resolved[spec.name] = value === 'any' && drawn !== undefined ? random.fork(`parameter ${spec.name}`).pick(drawn) : value;
  }
  return avoidManyVolumesOnOldWire(
    parameters,
    avoidCongestionWithoutA(parameters, avoidFreezingWithA(parameters, avoidTwoPrimariesWithoutC(parameters, avoidSlowDigests(parameters, resolved)))),
  );
}

/** Packets name their volume since protocol 100: before that a connection has one. */
function avoidManyVolumesOnOldWire(asked: Parameters, resolved: Parameters): Parameters {
  const several = (volumes: ParameterValue | undefined): boolean => Number(volumes) > 1;
  if (!several(resolved['volumes']) || Number(resolved['protocol-max'] ?? 101) >= 100) return resolved;
  if (!several(asked['volumes'])) return { ...resolved, volumes: 1 };
  if (asked['protocol-max'] === undefined || asked['protocol-max'] === 'any') return { ...resolved, 'protocol-max': 101 };
  const why = 'packets name their volume since protocol 100';
  throw new UsageError(`volumes=${resolved['volumes']} cannot go with protocol-max=${resolved['protocol-max']}: ${why}; choose one volume, or 101`);
}

function avoidSlowDigests(asked: Parameters, resolved: Parameters): Parameters {
  if (resolved['size'] !== 'large') return resolved;
  const isDrawn = (name: string): boolean => resolved[name] !== undefined && (asked[name] === undefined || asked[name] === 'any');
  const drawn = ['data-integrity-alg', 'csums-alg'].filter(isDrawn);
  return { ...resolved, ...Object.fromEntries(drawn.map((name) => [name, 'none'])) };
}

/** DRBD refuses on-congestion without protocol A (155): where the seed drew them together, congestion gives way. */
function avoidCongestionWithoutA(asked: Parameters, resolved: Parameters): Parameters {
  if (resolved['protocol'] === 'A' || (resolved['on-congestion'] ?? 'block') === 'block') return resolved;
  if (asked['on-congestion'] === undefined || asked['on-congestion'] === 'any') return { ...resolved, 'on-congestion': 'block' };
  throw new UsageError(`on-congestion=${resolved['on-congestion']} cannot go with protocol=${resolved['protocol']} (DRBD error 155); choose protocol A, or block`);
}

/** DRBD refuses protocol A with resource-and-stonith (154): where the seed drew them together, the drawn one gives way. */
function avoidFreezingWithA(asked: Parameters, resolved: Parameters): Parameters {
  if (resolved['protocol'] !== 'A' || resolved['fencing'] !== 'resource-and-stonith') return resolved;
  if (asked['fencing'] !== 'resource-and-stonith') return { ...resolved, fencing: 'resource-only' };
  if (asked['protocol'] !== 'A') return { ...resolved, protocol: 'C' };
  throw new UsageError('protocol=A cannot go with fencing=resource-and-stonith (DRBD error 154); choose protocol B or C, or another fencing');
}

/** DRBD refuses two primaries without protocol C (139). */
function avoidTwoPrimariesWithoutC(asked: Parameters, resolved: Parameters): Parameters {
  if (resolved['two-primaries'] !== 'yes' || (resolved['protocol'] ?? 'C') === 'C') return resolved;
  if (asked['two-primaries'] !== 'yes') return { ...resolved, 'two-primaries': 'no' };
  if (asked['protocol'] === undefined || asked['protocol'] === 'any') return { ...resolved, protocol: 'C' };
  throw new UsageError(`two-primaries=yes cannot go with protocol=${resolved['protocol']} (DRBD error 139); choose protocol C`);
}
