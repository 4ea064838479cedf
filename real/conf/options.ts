/**
 * The options of each section: their kinds, ranges and units (configuration.md §3), and which field of the core's configuration
 * each one is. The core's types decide: a field that is added there does not compile here until it has its option.
 */

import type { DiskOptions, NetOptions } from '../../src/contract/index.js';
import { ConfigError, type Option, type SectionKind, type Text } from './tree.js';

type Kind =
  | { kind: 'flag' }
  /** `unit`: what a plain number counts; `k` KiB, `s` sectors. */
  | { kind: 'number'; unit: '1' | 'k' | 's'; min: number; max: number }
  | { kind: 'enum'; values: readonly string[] }
  | { kind: 'text'; max: number }
  /** Any number of words, without a meaning here. */
  | { kind: 'words' };

const flag: Kind = { kind: 'flag' };
const number = (min: number, max: number, unit: '1' | 'k' | 's' = '1'): Kind => ({ kind: 'number', unit, min, max });
const oneOf = (...values: string[]): Kind => ({ kind: 'enum', values });
const text = (max: number): Kind => ({ kind: 'text', max });
const words: Kind = { kind: 'words' };

export type OptionValue = boolean | number | string;
export type Options = Map<string, { value: OptionValue; option: Option }>;

const disk: Record<string, Kind> = {
  size: number(0, 2199023255552, 's'),
  'max-bio-bvecs': number(0, 128),
  'on-io-error': oneOf('pass_on', 'call-local-io-error', 'detach'),
  fencing: oneOf('dont-care', 'resource-only', 'resource-and-stonith'),
  'disk-barrier': flag,
  'disk-flushes': flag,
  'disk-drain': flag,
  'md-flushes': flag,
  'resync-rate': number(1, 4194304, 'k'),
  'resync-after': text(255),
  // Clamped, not checked (configuration.md §3.1).
  'al-extents': number(0, 99999999),
  'al-updates': flag,
  'discard-zeroes-if-aligned': flag,
  'disable-write-same': flag,
  'c-plan-ahead': number(0, 300),
  'c-delay-target': number(1, 100),
  'c-fill-target': number(0, 1048576, 's'),
  'c-max-rate': number(250, 4194304, 'k'),
  'c-min-rate': number(0, 4194304, 'k'),
  'disk-timeout': number(0, 6000),
  'read-balancing': oneOf(
    ...['prefer-local', 'prefer-remote', 'round-robin', 'least-pending', 'when-congested-remote'],
    ...['32K-striping', '64K-striping', '128K-striping', '256K-striping', '512K-striping', '1M-striping'],
  ),
  'rs-discard-granularity': number(0, 1048576),
};

const net: Record<string, Kind> = {
  protocol: oneOf('A', 'B', 'C'),
  timeout: number(1, 600),
  'max-epoch-size': number(1, 20000),
  'max-buffers': number(32, 131072),
  'unplug-watermark': number(1, 131072),
  'connect-int': number(1, 120),
  'ping-int': number(1, 120),
  'ping-timeout': number(1, 300),
  'sndbuf-size': number(0, 10485760),
  'rcvbuf-size': number(0, 10485760),
  'ko-count': number(0, 200),
  'allow-two-primaries': flag,
  'cram-hmac-alg': text(63),
  'shared-secret': text(63),
  'data-integrity-alg': text(63),
  'verify-alg': text(63),
  'csums-alg': text(63),
  'csums-after-crash-only': flag,
  'after-sb-0pri': oneOf('disconnect', 'discard-younger-primary', 'discard-older-primary', 'discard-zero-changes', 'discard-least-changes', 'discard-local', 'discard-remote'),
  'after-sb-1pri': oneOf('disconnect', 'consensus', 'discard-secondary', 'call-pri-lost-after-sb', 'violently-as0p'),
  'after-sb-2pri': oneOf('disconnect', 'call-pri-lost-after-sb', 'violently-as0p'),
  'always-asbp': flag,
  'rr-conflict': oneOf('disconnect', 'call-pri-lost', 'violently'),
  'tcp-cork': flag,
  'on-congestion': oneOf('block', 'pull-ahead', 'disconnect'),
  'congestion-fill': number(0, 20971520, 's'),
  'congestion-extents': number(67, 65534),
  'use-rle': flag,
  'socket-check-timeout': number(0, 300),
};

const handlers = [
  ...['before-resync-target', 'after-resync-target', 'before-resync-source', 'pri-on-incon-degr', 'pri-lost-after-sb', 'pri-lost'],
  ...['fence-peer', 'unfence-peer', 'local-io-error', 'initial-split-brain', 'split-brain', 'out-of-sync'],
];

export const sections: Record<Exclude<SectionKind, 'syncer' | 'proxy'>, Record<string, Kind>> = {
  disk,
  net,
  options: { 'cpu-mask': text(31), 'on-no-data-accessible': oneOf('io-error', 'suspend-io') },
  startup: {
    'wfc-timeout': number(0, 300000),
    'degr-wfc-timeout': number(0, 300000),
    'outdated-wfc-timeout': number(0, 300000),
    'wait-after-sb': flag,
    'stacked-timeouts': flag,
    'become-primary-on': words,
  },
  handlers: Object.fromEntries(handlers.map((name) => [name, text(255)])),
};

export const globalOptions: Record<string, Kind> = {
  'usage-count': oneOf('yes', 'no', 'ask'),
  'minor-count': number(1, 255),
  'dialog-refresh': number(0, 600),
  'disable-ip-verification': flag,
  'udev-always-use-vnr': flag,
  'cmd-timeout-short': number(0, 900),
  'cmd-timeout-medium': number(0, 900),
  'cmd-timeout-long': number(0, 900),
};

/** The option that sets each field of the core. resync-after names a resource in the language and a minor in the core: not looked up yet. */
export const diskFields: Record<Exclude<keyof DiskOptions, 'resyncAfter'>, string> = {
  onIoError: 'on-io-error',
  fencing: 'fencing',
  diskFlushes: 'disk-flushes',
  diskDrain: 'disk-drain',
  mdFlushes: 'md-flushes',
  resyncRate: 'resync-rate',
  alExtents: 'al-extents',
  alUpdates: 'al-updates',
  cPlanAhead: 'c-plan-ahead',
  cDelayTarget: 'c-delay-target',
  cFillTarget: 'c-fill-target',
  cMaxRate: 'c-max-rate',
  cMinRate: 'c-min-rate',
  discardZeroesIfAligned: 'discard-zeroes-if-aligned',
  diskTimeout: 'disk-timeout',
  rsDiscardGranularity: 'rs-discard-granularity',
  readBalancing: 'read-balancing',
};

export const netFields: Record<keyof NetOptions, string> = {
  protocol: 'protocol',
  timeout: 'timeout',
  maxEpochSize: 'max-epoch-size',
  maxBuffers: 'max-buffers',
  connectInt: 'connect-int',
  pingInt: 'ping-int',
  pingTimeout: 'ping-timeout',
  koCount: 'ko-count',
  afterSb0Pri: 'after-sb-0pri',
  afterSb1Pri: 'after-sb-1pri',
  afterSb2Pri: 'after-sb-2pri',
  alwaysAsbp: 'always-asbp',
  rrConflict: 'rr-conflict',
  useRle: 'use-rle',
  socketCheckTimeout: 'socket-check-timeout',
  sndbufSize: 'sndbuf-size',
  onCongestion: 'on-congestion',
  congestionFill: 'congestion-fill',
  congestionExtents: 'congestion-extents',
  cramHmacAlg: 'cram-hmac-alg',
  sharedSecret: 'shared-secret',
  dataIntegrityAlg: 'data-integrity-alg',
  allowTwoPrimaries: 'allow-two-primaries',
  verifyAlg: 'verify-alg',
  csumsAlg: 'csums-alg',
  csumsAfterCrashOnly: 'csums-after-crash-only',
};

/** What a user may set without any effect here, and without any harm: tuning of the kernel's ways. They are read, checked and dumped. */
const withoutEffect = new Set([
  ...['max-bio-bvecs', 'disk-barrier', 'disable-write-same'],
  ...['unplug-watermark', 'rcvbuf-size', 'tcp-cork'],
  ...['cpu-mask', 'stacked-timeouts', 'become-primary-on'],
]);

/** Values that ask for nothing of an option whose feature is not here. */
const asksForNothing: Record<string, OptionValue> = {
  'resync-after': '-1',
};

const supported = new Set([...Object.values(diskFields), ...Object.values(netFields), 'size', 'on-no-data-accessible', 'wfc-timeout', 'degr-wfc-timeout', 'outdated-wfc-timeout', 'wait-after-sb', ...handlers]);

/** A safety option of a feature that is not here is refused; what only tunes is told to have no effect. */
export function checkSupport(name: string, value: OptionValue, place: Text): 'supported' | 'without effect' {
  if (supported.has(name) || asksForNothing[name] === value) return 'supported';
  if (withoutEffect.has(name)) return 'without effect';
  throw new ConfigError(place.place, `${name} ${String(value)} is not supported`);
}

/** Old names (configuration.md §2). */
const renamed: Record<string, string> = { rate: 'resync-rate', after: 'resync-after', 'outdate-peer': 'fence-peer' };
export const currentName = (name: string): string => renamed[name] ?? name;
export const isForgotten = (name: string): boolean => /^(delay-probe-.*|throttle-threshold|hold-off-threshold)$/.test(name);

/** One option of a section; `no-disk-flushes` is `disk-flushes no`. Throws a ConfigError that says what was expected. */
export function readOption(known: Record<string, Kind>, section: string, option: Option, hostName: string): { name: string; value: OptionValue } {
  const written = currentName(option.name.text);
  const negated = /^no-(.*)$/.exec(written)?.[1];
  if (negated !== undefined && !Object.hasOwn(known, written) && known[negated]?.kind === 'flag' && option.values.length === 0) return { name: negated, value: false };
  const kind = Object.hasOwn(known, written) ? known[written] : undefined;
  if (!kind) {
    const names = Object.keys(known).sort().join(', ');
    throw new ConfigError(option.name.place, `there is no option '${option.name.text}' in ${section} (there are ${names})`);
  }
  if (kind.kind === 'words') return { name: written, value: option.values.map((value) => value.text).join(' ') };
  const [value, surplus] = option.values;
  if (surplus) throw new ConfigError(surplus.place, `'${surplus.text}' where ';' was expected: ${written} takes one value`);
  if (kind.kind === 'flag') return { name: written, value: value === undefined || yesOrNo(written, value) };
  if (!value) throw new ConfigError(option.name.place, `${written} needs a value: ${wanted(kind)}`);
  return { name: written, value: valueOf(written, kind, value, hostName) };
}

function valueOf(name: string, kind: Exclude<Kind, { kind: 'flag' | 'words' }>, value: Text, hostName: string): OptionValue {
  const wrong = (): ConfigError => new ConfigError(value.place, `${name} '${value.text}' is not possible: ${wanted(kind)} was expected`);
  switch (kind.kind) {
    case 'text':
      if (value.text.length > kind.max) throw wrong();
      return value.text;
    case 'enum': {
      let found = value.text;
      if (name === 'protocol') found = found.toUpperCase();
      const node = /^discard-node-(.*)$/.exec(found)?.[1];
      if (name === 'after-sb-0pri' && node !== undefined) found = node === hostName ? 'discard-local' : 'discard-remote';
      if (!kind.values.includes(found)) throw wrong();
      return found;
    }
    case 'number': {
      const amount = inUnit(value.text, kind.unit);
      if (amount === undefined || amount < kind.min || amount > kind.max) throw wrong();
      return amount;
    }
  }
}

const unitBytes = { '1': 1, k: 1024, s: 512 } as const;
const suffixBytes: Record<string, number> = { k: 1024, m: 1048576, g: 1073741824, s: 512 };

/** `10M` in the option's unit, rounded up; undefined: no amount. */
export function inUnit(text: string, unit: '1' | 'k' | 's'): number | undefined {
  const match = /^(\d{1,15})([kmgs])?$/i.exec(text);
  if (!match) return undefined;
  const amount = Number(match[1]);
  const suffix = match[2]?.toLowerCase();
  return suffix === undefined ? amount : Math.ceil((amount * suffixBytes[suffix]!) / unitBytes[unit]);
}

function yesOrNo(name: string, value: Text): boolean {
  if (value.text === 'yes') return true;
  if (value.text === 'no') return false;
  throw new ConfigError(value.place, `${name} '${value.text}' is not possible: yes or no was expected`);
}

function wanted(kind: Kind): string {
  switch (kind.kind) {
    case 'number':
      return `a number in ${kind.min}..${kind.max}${kind.unit === 'k' ? ' KiB' : kind.unit === 's' ? ' sectors' : ''}`;
    case 'enum':
      return `one of ${kind.values.join(', ')}`;
    case 'text':
      return `a text of up to ${kind.max} characters`;
    default:
      return 'a value';
  }
}
