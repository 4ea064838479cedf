/**
 * Traps: what bugs, published ones and such that somebody invented, needed to come out, a story each. The swarm meets such moments now and then; here they come in every run, each time a
 * little earlier or later: a promotion between two packets of a handshake, a disk and a link that are lost before one can tell of the other, a
 * request of which one part fails, a disk that hangs while it is given up.
 */

import type { Fault, RandomStream, Scenario } from '../../sim/types.js';
import { ALICE, BOB, RESOURCE, SECOND_US, afterStorm, at, connectTo, pairSetup } from '../pair.js';
import { type Knob, knobs, resolve, withDefault } from '../parameters.js';
import { diskless } from './diskless.js';
import { disks } from './disks.js';
import { links } from './links.js';
import { logs } from './logs.js';
import { resyncs } from './resyncs.js';
import { rivals } from './rivals.js';
import { type Story, net } from './story.js';

/** Their order is what a seed draws by. */
const names = [
  'role-in-handshake', 'diskless-return', 'frozen-diskless', 'split-request', 'failed-disk', 'unreadable', 'pause-at-end', 'suspended',
  'parked-write', 'smaller-peer', 'primary-target', 'hung-peer-disk', 'attach-both', 'torn-log', 'late-generation', 'fenced-in-handshake',
  'busy-resync', 'rivals-thaw', 'crowded-rivals', 'unflushed', 'disk-in-freeze', 'failed-generation', 'both-die', 'kept-marks', 'disk-in-fencing',
  'second-promotion', 'unreachable-peer', 'unreadable-verify', 'silent-death', 'beside-diskless', 'failed-while-paused', 'suspended-apart',
  'given-up-apart', 'undurable-alone', 'marked-reads', 'received-unwritten', 'lazy-marks', 'wide-set', 'given-up-in-flight', 'unflushed-detach',
  'refused-in-resync', 'bad-disk-reader', 'outdated-beside-diskless', 'lone-disk', 'flushed-then-dark', 'bitmap-cut', 'half-synced-fencing',
  'log-switched', 'left-behind', 'cold-crowd', 'late-verdict', 'lost-meta', 'stood-still', 'missed-end', 'resumed-together', 'evicted-unstable',
  'alone-evicting', 'paused-in-stall', 'refused-while-asked', 'demoted-ahead', 'grown-while-cold',
] as const satisfies readonly (keyof typeof diskless | keyof typeof disks | keyof typeof links | keyof typeof logs | keyof typeof resyncs | keyof typeof rivals)[];

const trapsOf = (scenario: Pick<Scenario, 'name' | 'summary' | 'sometimes'>, stories: Readonly<Record<string, Story>>, drawn: readonly string[] = Object.keys(stories), protocol = 'any'): Scenario => {
  const story: Knob = { name: 'story', description: 'which moment it is about', default: 'any', choices: ['any', ...drawn] };
  const parameters = [
    story, withDefault(knobs.protocol, protocol), withDefault(knobs.volumes, 1), knobs.alExtents, knobs.metaDisk, knobs.queueDepth, knobs.onIoError, knobs.onNoData, knobs.protocolMax, withDefault(knobs.failover, 'manager'), withDefault(knobs.writes, 600), withDefault(knobs.durationS, 25),
  ];
  return {
    ...scenario,
    parameters,
    setup(given, random) {
      const resolved = resolve(parameters, given, random);
      const told = stories[String(resolved['story'])]!;
      told.resolve?.(resolved, random);
      const options = told.options?.(Number(resolved['writes']), random.fork('options')) ?? { net };
      const setup = pairSetup(resolved, random, options);
      const tale = random.fork('story');
      const startUs = tale.integer(SECOND_US, 3 * SECOND_US);
      told.tell(setup, tale, startUs);
      if (!told.endsHere) setup.schedule.push(...ending(tale.fork('ending')));
      setup.afterStorm = afterStorm(setup.schedule, 1, resolved['on-io-error'] === 'pass_on');
      for (const [host, peer] of [[ALICE, BOB], [BOB, ALICE]] as const) {
        setup.afterStorm.push({ host, command: { verb: 'attach', resource: RESOURCE, volume: 0 } }, { host, command: connectTo(peer) });
      }
      if (told.skip) setup.expectations.skip = told.skip;
      return setup;
    },
  };
};

export const traps = trapsOf(
  { name: 'traps', summary: 'the moments that bugs needed to come out, one story each', sometimes: ['resync interrupted'] },
  { ...diskless, ...disks, ...links, ...logs, ...resyncs, ...rivals },
  names,
);

/** The same by what they are about: for each seed a sweep of all scenarios tells seven stories instead of one. */
export const trapsByKind: readonly Scenario[] = [
  trapsOf({ name: 'traps-diskless', summary: 'traps of nodes without a disk', sometimes: [] }, diskless),
  trapsOf({ name: 'traps-disks', summary: 'traps of disks that fail, hang or are left behind', sometimes: [] }, disks),
  trapsOf({ name: 'traps-links', summary: 'traps of links, machines and power', sometimes: [] }, links),
  trapsOf({ name: 'traps-log', summary: 'traps of the activity log', sometimes: [] }, logs),
  trapsOf({ name: 'traps-resyncs', summary: 'traps in a resync', sometimes: [] }, resyncs),
  trapsOf({ name: 'traps-rivals', summary: 'traps of two Primaries', sometimes: [] }, rivals, Object.keys(rivals), 'C'),
];

/** In some runs somebody dies afterwards: what was marked must have been marked on disk. */
function ending(random: RandomStream): Fault[] {
  if (random.chance(1, 2)) return [];
  const host = random.pick([ALICE, BOB]);
  const atUs = random.integer(14, 18) * SECOND_US;
  const restartAfterUs = random.integer(1, 3) * SECOND_US;
  return [at('death', atUs, random.chance(1, 2) ? { do: 'crash', host, restartAfterUs } : { do: 'power-loss', hosts: [host], restartAfterUs, tear: random.integer(0, 0x7fffffff) })];
}
