/**
 * Traps: what published bugs needed to come out, a story each. The swarm meets such moments now and then; here they come in every run, each time a
 * little earlier or later: a promotion between two packets of a handshake, a disk and a link that are lost before one can tell of the other, a
 * request of which one part fails, a disk that hangs while it is given up.
 */

import type { Command } from '../src/contract/index.js';
import type { Fault, RandomStream, Scenario, Setup, Trigger } from '../sim/types.js';
import type { PairOptions } from './pair.js';
import { ALICE, BOB, RESOURCE, SECOND_US, act, afterStorm, at, connectTo, disconnectFrom, pairSetup } from './pair.js';
import { type Knob, knobs, resolve, withDefault } from './parameters.js';

const stories = [
  'role-in-handshake', 'diskless-return', 'frozen-diskless', 'split-request', 'failed-disk', 'unreadable', 'pause-at-end', 'suspended', 'parked-write', 'smaller-peer', 'primary-target',
  'hung-peer-disk', 'attach-both', 'torn-log', 'late-generation', 'fenced-in-handshake', 'busy-resync', 'rivals-thaw', 'crowded-rivals', 'unflushed', 'disk-in-freeze', 'failed-generation',
  'both-die', 'kept-marks', 'disk-in-fencing', 'second-promotion', 'unreachable-peer', 'unreadable-verify',
] as const;
type Story = (typeof stories)[number];

const story: Knob = { name: 'story', description: 'which moment it is about', default: 'any', choices: ['any', ...stories] };

const parameters = [
  story, knobs.protocol, withDefault(knobs.volumes, 1), knobs.alExtents, knobs.metaDisk, knobs.queueDepth, knobs.onIoError, knobs.onNoData, knobs.protocolMax, withDefault(knobs.writes, 600), withDefault(knobs.durationS, 25),
];

/** More extents than the active set has slots: what is marked is marked by a bit. */
const LARGE_SECTORS = 900 * 2048 + 5;
const ALL_SECTORS = 2 ** 30;

export const traps: Scenario = {
  name: 'traps',
  summary: 'the moments that published bugs needed to come out, one story each',
  parameters,
  sometimes: ['resync interrupted'],
  setup(given, random) {
    const resolved = resolve(parameters, given, random);
    const told = resolved['story'] as Story;
    // An old peer takes 32 KiB at a time.
    if (told === 'split-request') resolved['protocol-max'] = random.fork('old').pick([86, 88, 90]);
    if (told === 'parked-write') resolved['protocol'] = random.fork('early').pick(['A', 'A', 'B']);
    // Requests of 32 KiB would not bring a large device back in the time there is (327).
    if (told === 'unreadable' || told === 'failed-disk' || told === 'torn-log') resolved['protocol-max'] = 101;
    if (told === 'unreadable-verify') resolved['on-io-error'] = 'pass_on';
    if (told === 'unreachable-peer') resolved['protocol'] = 'C';
    const freezes = told === 'frozen-diskless' || told === 'fenced-in-handshake';
    if (freezes && resolved['protocol'] === 'A') resolved['protocol'] = 'C';
    if (told === 'unflushed' || told === 'both-die' || told === 'failed-generation') resolved['protocol'] = 'C';
    if (told === 'disk-in-freeze') resolved['on-no-data-accessible'] = 'suspend-io';
    if (told === 'disk-in-fencing' && resolved['protocol'] === 'A') resolved['protocol'] = 'C';
    if (told === 'crowded-rivals') Object.assign(resolved, { 'protocol': 'C', 'queue-depth': 32, 'protocol-max': 101 });
    if (told === 'rivals-thaw') Object.assign(resolved, { 'protocol': 'C', 'volumes': 2, 'protocol-max': 101 });
    if (told === 'fenced-in-handshake') Object.assign(resolved, { 'volumes': 4, 'protocol-max': 101 });
    const setup = pairSetup(resolved, random, optionsOf(told, Number(resolved['writes']), random.fork('options')));
    const tale = random.fork('story');
    tell(told, setup, tale);
    setup.schedule.push(...ending(told, tale.fork('ending')));
    setup.afterStorm = afterStorm(setup.schedule, 1, resolved['on-io-error'] === 'pass_on');
    for (const [host, peer] of [[ALICE, BOB], [BOB, ALICE]] as const) {
      setup.afterStorm.push({ host, command: { verb: 'attach', resource: RESOURCE, volume: 0 } }, { host, command: connectTo(peer) });
    }
    if (told === 'smaller-peer') {
      setup.expectations.skip = [
        { property: 'unexpected-disconnect', reason: 'a peer whose disk is too small is refused' },
        { property: 'liveness', reason: 'a peer whose disk is too small is refused' },
        { property: 'complementary-states', reason: 'a peer whose disk is too small is refused' },
      ];
    }
    if (told === 'failed-generation') {
      setup.expectations.skip = [{ property: 'liveness', reason: 'a generation that is on the disk although its write failed is a history of its own: an operator must choose' }];
    }
    return setup;
  },
};

function optionsOf(told: Story, writes: number, random: RandomStream): PairOptions {
  // Many under way at any moment.
  const busy = { pattern: 'random', thinkUs: 8000, writes: 5 * writes } as const;
  const net = { connectInt: 1, pingInt: 1 };
  switch (told) {
    case 'failed-disk':
    case 'torn-log':
    case 'unreadable':
      return { net, dataSectors: LARGE_SECTORS, workload: { pattern: 'random' }, disk: { cPlanAhead: 0, resyncRate: 400_000, cMinRate: 0 } };
    case 'hung-peer-disk':
      return { net, disk: { diskTimeout: 5 } };
    case 'split-request':
      return { net, workload: { maxRequestSectors: 128, readShare: { numerator: 8, denominator: 12 }, pattern: 'random' } };
    case 'disk-in-fencing':
      return { net, disk: { fencing: 'resource-and-stonith' }, handlers: [{ name: 'fence-peer', exitCode: 5, delayUs: 40 * SECOND_US }], workload: busy };
    case 'unreachable-peer':
      return { net, disk: { fencing: 'resource-and-stonith' }, handlers: [{ name: 'fence-peer', exitCode: 5, delayUs: random.integer(1000, SECOND_US) }] };
    case 'frozen-diskless':
      return { net, disk: { fencing: 'resource-and-stonith' }, handlers: [{ name: 'fence-peer', exitCode: 5, delayUs: 40 * SECOND_US }] };
    case 'late-generation':
    case 'unflushed':
    case 'disk-in-freeze':
    case 'failed-generation':
      return { net, workload: busy };
    case 'both-die':
      return { net: { ...net, allowTwoPrimaries: true }, workload: busy };
    case 'busy-resync':
      return { net, workload: { thinkUs: 1000, writes: 6 * writes, fuaEvery: 2 }, disk: { cPlanAhead: 0, resyncRate: 100_000, cMinRate: 0 } };
    case 'rivals-thaw':
    case 'crowded-rivals':
      return {
        net: { ...net, allowTwoPrimaries: true },
        disk: { fencing: 'resource-and-stonith' },
        handlers: [{ name: 'fence-peer', exitCode: 5, delayUs: 40 * SECOND_US }],
        workload: told === 'rivals-thaw' ? { pattern: 'random', sectors: 16 } : { ...busy, sectors: 128 },
      };
    case 'fenced-in-handshake':
      return {
        net,
        disk: { fencing: 'resource-and-stonith' },
        handlers: [{ name: 'fence-peer', exitCode: 5, delayUs: random.integer(100_000, 480_000) }],
        workload: busy,
      };
    case 'parked-write':
      return { net, workload: { pattern: 'hot-spot', flushEvery: 4 }, disk: { cPlanAhead: 0, resyncRate: 4000, cMinRate: 0 } };
    case 'primary-target':
    case 'pause-at-end':
      return { net, disk: { cPlanAhead: 0, resyncRate: 8000, cMinRate: 0 } };
    default:
      return { net };
  }
}

const attachHere = { verb: 'attach', resource: RESOURCE, volume: 0 } as const;
const detachHere = (force: boolean): Command => ({ verb: 'detach', resource: RESOURCE, volume: 0, force });
const promote: Command = { verb: 'primary', resource: RESOURCE, force: false };
const demote: Command = { verb: 'secondary', resource: RESOURCE };

function tell(told: Story, setup: Setup, random: RandomStream): void {
  const { schedule } = setup;
  const startUs = random.integer(SECOND_US, 3 * SECOND_US);
  switch (told) {
    case 'role-in-handshake': {
      // Nobody is Primary while the two meet, until an operator promotes one of them, or both (bugs B077, B079).
      const handshake = ['P_PROTOCOL', 'P_SIZES', 'P_UUIDS', 'P_STATE'] as const;
      schedule.push(act('demote', startUs, ALICE, demote), at('part', startUs + SECOND_US, { do: 'reset', from: ALICE, to: BOB }));
      for (const host of random.pick([[ALICE], [BOB], [ALICE, BOB]])) {
        const [from, to] = random.chance(1, 2) ? [ALICE, BOB] : [BOB, ALICE];
        const trigger: Trigger = { onPacket: random.pick(handshake), from, to, nth: 1, when: random.pick(['sent', 'delivered'] as const), delayUs: random.integer(1, random.pick([200, 2000])) };
        schedule.push({ id: `promote-${host}`, trigger, action: { do: 'command', host, command: promote } });
      }
      return;
    }
    case 'diskless-return': {
      // alice's disk goes, and the link before she could say so; she comes back without it, and it comes back later (bugs B082, B083).
      schedule.push(
        at('silence', startUs, { do: 'stall', from: ALICE, to: BOB, forUs: 2 * SECOND_US }),
        act('take-away', startUs + random.integer(1000, 20_000), ALICE, detachHere(true)),
        at('part', startUs + random.integer(30_000, 400_000), { do: 'reset', from: ALICE, to: BOB }),
        act('give-back', startUs + random.integer(5, 9) * SECOND_US, ALICE, attachHere),
      );
      return;
    }
    case 'frozen-diskless': {
      // alice is frozen until bob is fenced, and thaws towards a bob who has lost his disk meanwhile (bug B081).
      schedule.push(
        at('part', startUs, { do: 'cut', from: ALICE, to: BOB, oneWay: false, forUs: random.integer(3, 6) * SECOND_US }),
        act('take-away', startUs + 2.5 * SECOND_US, BOB, detachHere(true)),
        act('give-back', startUs + random.integer(9, 14) * SECOND_US, BOB, attachHere),
      );
      return;
    }
    case 'split-request':
      // alice is alone, and some of her sectors cannot be read (bug B024).
      schedule.push(at('bob-crashes', startUs, { do: 'crash', host: BOB, restartAfterUs: 12 * SECOND_US }));
      for (let spot = 0; spot < 40; spot++) {
        const firstSector = random.integer(0, 8000);
        schedule.push(at(`spot-${spot}`, startUs + SECOND_US, { do: 'latent-error', host: ALICE, firstSector, sectors: 8 }));
      }
      return;
    case 'failed-disk': {
      // alice's disk hangs and is given up; until it has ended what it was doing she is Failed, and bob's disk is the only one (bug B029c).
      const forUs = random.integer(1, 4) * SECOND_US;
      schedule.push(
        at('hang', startUs, { do: 'hang-disk', host: ALICE, forUs }),
        act('give-up', startUs + random.integer(1000, SECOND_US / 2), ALICE, detachHere(true)),
        act('give-back', startUs + forUs + random.integer(1, 3) * SECOND_US, ALICE, attachHere),
      );
      return;
    }
    case 'unreadable':
      // What a disk would not read is remembered until it is back (bug B031).
      for (let spot = 0; spot < 12; spot++) {
        schedule.push(at(`spot-${spot}`, startUs, { do: 'latent-error', host: ALICE, firstSector: random.integer(0, LARGE_SECTORS - 60_000), sectors: 50_000 }));
      }
      for (let round = 1; round <= 3; round++) schedule.push(act(`give-back-${round}`, startUs + round * 4 * SECOND_US, ALICE, attachHere));
      return;
    case 'pause-at-end':
      // Pauses come and go while a resync ends (bugs B075, B114, B116).
      schedule.push(act('part', startUs, BOB, disconnectFrom(ALICE)), act('meet', startUs + random.integer(SECOND_US / 2, 3 * SECOND_US), BOB, connectTo(ALICE)));
      for (let time = 1; time <= 6; time++) {
        const host = random.pick([ALICE, BOB]);
        const packet = random.pick(['P_RS_WRITE_ACK', 'P_PING', 'P_PING_ACK', 'P_STATE', 'P_SYNC_UUID'] as const);
        const [from, to] = packet === 'P_SYNC_UUID' || random.chance(1, 3) ? [ALICE, BOB] : [BOB, ALICE];
        const verb = time % 2 === 1 ? 'pause-sync' : 'resume-sync';
        const trigger: Trigger = { onPacket: packet, from, to, nth: random.integer(1, packet === 'P_RS_WRITE_ACK' ? 60 : 4), when: random.pick(['sent', 'delivered'] as const), delayUs: random.integer(1, 3000) };
        schedule.push({ id: `pause-${time}`, trigger, action: { do: 'command', host, command: { verb, resource: RESOURCE, volume: 0 } } });
      }
      return;
    case 'suspended':
      // An administrator holds I/O to copy the disk (bug B147).
      for (let time = 1; time <= 6; time++) {
        const atUs = startUs + time * 2 * SECOND_US + random.integer(0, SECOND_US);
        schedule.push(act(`suspend-${time}`, atUs, ALICE, { verb: 'suspend-io', resource: RESOURCE }), act(`resume-${time}`, atUs + SECOND_US, ALICE, { verb: 'resume-io', resource: RESOURCE }));
      }
      return;
    case 'parked-write':
      // Writes wait behind a resync on bob's slow disk while barriers come (bugs B008, B215).
      schedule.push(
        act('part', startUs, BOB, disconnectFrom(ALICE)),
        at('slow', startUs, { do: 'slow-disk', host: BOB, forUs: 12 * SECOND_US, factor: random.pick([20, 50, 100]) }),
        act('meet', startUs + 2 * SECOND_US, BOB, connectTo(ALICE)),
        at('break', startUs + random.integer(3, 8) * SECOND_US, random.pick([{ do: 'reset', from: ALICE, to: BOB }, { do: 'power-loss', hosts: [BOB], restartAfterUs: SECOND_US, tear: 1 }] as const)),
      );
      return;
    case 'smaller-peer':
      // bob's new disk is smaller than what alice has in use (bug B172).
      setup.initial = 'blank';
      setup.hosts[1]!.disks[0] = { ...setup.hosts[1]!.disks[0]!, dataSectors: setup.hosts[0]!.disks[0]!.dataSectors - random.integer(1, 2000) };
      // They meet when alice is Primary, or they would agree on bob's size.
      setup.onBoot = 'nothing';
      setup.prepare = [
        ...setup.hosts.map(({ name, config }) => ({ host: name, command: { verb: 'new-resource', config } as const })),
        { host: ALICE, command: attachHere },
        { host: BOB, command: attachHere },
        { host: ALICE, command: { verb: 'primary', resource: RESOURCE, force: true } },
        { host: ALICE, command: connectTo(BOB) },
        { host: BOB, command: connectTo(ALICE) },
      ];
      return;
    case 'primary-target':
      // alice, Primary, is the target, and the link breaks under the blocks that she has asked for (bugs B125, B215).
      schedule.push(act('take-away', startUs, ALICE, detachHere(false)), act('give-back', startUs + random.integer(1, 4) * SECOND_US, ALICE, attachHere));
      for (let time = 1; time <= 3; time++) {
        const trigger: Trigger = { onPacket: random.pick(['P_RS_DATA_REQUEST', 'P_RS_DATA_REPLY', 'P_RS_WRITE_ACK']), from: ALICE, to: BOB, nth: random.integer(1, 30), when: 'sent', delayUs: random.integer(1, 1000) };
        schedule.push({ id: `break-${time}`, trigger, action: { do: 'reset', from: ALICE, to: BOB } });
      }
      return;
    case 'hung-peer-disk':
      // bob's disk hangs under writes that he has taken, is given up, and comes back (bug B001).
      for (let time = 0; time < 2; time++) {
        const atUs = startUs + time * 8 * SECOND_US;
        const gone: Fault['action'] = random.chance(1, 2)
          ? { do: 'hang-disk', host: BOB, forUs: 2 * SECOND_US }
          : { do: 'disk-error', host: BOB, area: 'data', operation: 'write', firstSector: 0, sectors: ALL_SECTORS, times: random.integer(1, 3) };
        schedule.push(at(`gone-${time}`, atUs, gone), act(`give-back-${time}`, atUs + 4 * SECOND_US, BOB, attachHere));
      }
      return;
    case 'attach-both':
      // Both are there without their disks, one of which has missed something, and get them back at the same moment (bug B097).
      schedule.push(
        act('part', startUs, BOB, disconnectFrom(ALICE)),
        act('demote', startUs + 2 * SECOND_US, ALICE, demote),
        act('take-alices', startUs + 3 * SECOND_US, ALICE, detachHere(true)),
        act('take-bobs', startUs + 3 * SECOND_US, BOB, detachHere(true)),
        act('meet', startUs + 4 * SECOND_US, BOB, connectTo(ALICE)),
        act('give-alices', startUs + 6 * SECOND_US, ALICE, attachHere),
        act('give-bobs', startUs + 6 * SECOND_US + random.integer(0, random.pick([0, 500, 5000])), BOB, attachHere),
        act('promote', startUs + 9 * SECOND_US, ALICE, promote),
      );
      return;
    case 'fenced-in-handshake':
      // alice thaws, in a new generation, just when bob is back; her metadata is written slowly (bug B065).
      schedule.push(at('slow', 0, { do: 'slow-disk', host: ALICE, forUs: 25 * SECOND_US, factor: random.pick([20, 50]) }));
      for (let time = 0; time < 5; time++) schedule.push(at(`part-${time}`, startUs + time * 4 * SECOND_US, { do: 'reset', from: ALICE, to: BOB }));
      return;
    case 'late-generation': {
      // The link breaks, and alice dies before the generation that she goes on in is on her disk (bugs B064-B066); bob takes over.
      schedule.push(at('part', startUs, { do: 'reset', from: ALICE, to: BOB }), at('silence', startUs, { do: 'cut', from: ALICE, to: BOB, oneWay: false, forUs: SECOND_US }));
      const restartAfterUs = random.integer(6, 9) * SECOND_US;
      const diesUs = startUs + random.integer(1, random.pick([1000, 4000]));
      schedule.push(at('alice-dies', diesUs, random.chance(1, 2) ? { do: 'crash', host: ALICE, restartAfterUs } : { do: 'power-loss', hosts: [ALICE], restartAfterUs, tear: random.integer(0, 0x7fffffff) }));
      return;
    }
    case 'torn-log':
      // Power goes while a transaction of the activity log is being written (bugs B052-B055).
      for (let time = 1; time <= 3; time++) {
        const trigger: Trigger = { onDiskOperation: 'write', host: ALICE, area: 'meta', nth: random.integer(1, 60) + time * 60, when: 'issued', delayUs: random.integer(1, 700) };
        schedule.push({ id: `power-${time}`, trigger, action: { do: 'power-loss', hosts: [random.pick([ALICE, ALICE, BOB])], restartAfterUs: random.integer(SECOND_US / 10, 2 * SECOND_US), tear: random.integer(0, 0x7fffffff) } });
      }
      return;
    case 'rivals-thaw':
      // Both are Primary and write the same blocks; what they send does not arrive, both freeze until the other is fenced, meet again, and of several
      // volumes one is thawed after the other.
      setup.failover = { by: 'nobody' };
      setup.prepare = [...setup.prepare, { host: BOB, command: promote }];
      for (let time = 0; time < 4; time++) {
        const [from, to] = random.pick([[ALICE, BOB], [BOB, ALICE]] as const);
        schedule.push(at(`silence-${time}`, startUs + time * 5.5 * SECOND_US, { do: 'stall', from, to, forUs: 3 * SECOND_US }));
      }
      return;
    case 'crowded-rivals':
      // So many writes collide that the connection is lost between a verdict and what becomes of it.
      setup.failover = { by: 'nobody' };
      setup.prepare = [...setup.prepare, { host: BOB, command: promote }];
      for (const [from, to] of [[ALICE, BOB], [BOB, ALICE]] as const) {
        for (let time = 1; time <= 12; time++) {
          const trigger: Trigger = { onPacket: 'P_RETRY_WRITE', from, to, nth: time * 40 + random.integer(0, 30), when: random.pick(['sent', 'delivered']), delayUs: random.integer(1, 2000) };
          schedule.push({ id: `part-${from}-${time}`, trigger, action: { do: 'reset', from, to } });
        }
      }
      return;
    case 'unflushed':
      // bob loses power when he has acknowledged what he has not flushed (bug B012).
      for (let time = 1; time <= 6; time++) {
        const trigger: Trigger = { onPacket: 'P_WRITE_ACK', from: BOB, to: ALICE, nth: time * 150 + random.integer(0, 99), when: 'delivered', delayUs: random.integer(1, 400) };
        schedule.push({ id: `power-${time}`, trigger, action: { do: 'power-loss', hosts: [BOB], restartAfterUs: SECOND_US / 2, tear: random.integer(0, 0x7fffffff) } });
      }
      return;
    case 'disk-in-freeze':
      // alice loses her disk and bob in one moment, freezes, and has the disk again before or after she meets him (bug B061).
      if (random.chance(1, 2)) schedule.push(at('slow', 0, { do: 'slow-disk', host: ALICE, forUs: 25 * SECOND_US, factor: random.pick([5, 20]) }));
      for (let time = 0; time < 4; time++) {
        const atUs = startUs + time * 5 * SECOND_US;
        schedule.push(
          act(`take-away-${time}`, atUs, ALICE, detachHere(true)),
          at(`part-${time}`, atUs + random.integer(0, 2000), { do: 'reset', from: ALICE, to: BOB }),
          act(`give-back-${time}`, atUs + random.integer(5000, random.pick([100_000, 1.5 * SECOND_US])), ALICE, attachHere),
        );
      }
      return;
    case 'failed-generation':
      // The link breaks, and alice's disk does not take the generation that she goes on in. (Bug B066 is there, and no checker sees it yet: an answer that
      // no good disk holds is excused.)
      for (let time = 0; time < 3; time++) {
        const atUs = startUs + time * 6 * SECOND_US;
        schedule.push(
          at(`bad-${time}`, atUs, { do: 'disk-error', host: ALICE, area: 'meta', operation: 'write', firstSector: 0, sectors: ALL_SECTORS, times: 1 }),
          at(`part-${time}`, atUs, { do: 'cut', from: ALICE, to: BOB, oneWay: false, forUs: SECOND_US }),
          at(`break-${time}`, atUs, { do: 'reset', from: ALICE, to: BOB }),
          act(`give-back-${time}`, atUs + random.integer(2, 4) * SECOND_US, ALICE, attachHere),
        );
      }
      return;
    case 'both-die':
      // Both are Primary and lose power in the middle of their writes (bug B069).
      setup.failover = { by: 'nobody' };
      setup.prepare = [...setup.prepare, { host: BOB, command: promote }];
      for (let time = 0; time < 3; time++) {
        const atUs = startUs + time * 5 * SECOND_US;
        schedule.push(
          at(`power-${time}`, atUs, { do: 'power-loss', hosts: [ALICE, BOB], restartAfterUs: SECOND_US / 2, tear: random.integer(0, 0x7fffffff) }),
          act(`promote-alice-${time}`, atUs + 3 * SECOND_US, ALICE, promote),
          act(`promote-bob-${time}`, atUs + 3.5 * SECOND_US, BOB, promote),
        );
      }
      return;
    case 'kept-marks':
      // A verify has marked what differs, and nobody writes when the link breaks: equal generations, and the marks stay (bug B050).
      for (let time = 0; time < 3; time++) {
        const atUs = startUs + time * 7 * SECOND_US;
        schedule.push(
          act(`demote-${time}`, atUs, ALICE, demote),
          at(`rot-${time}`, atUs + SECOND_US / 2, { do: 'corrupt', host: BOB, firstSector: random.integer(0, 7000), sectors: 1 }),
          act(`verify-${time}`, atUs + SECOND_US, ALICE, { verb: 'verify', resource: RESOURCE, volume: 0 }),
          at(`part-${time}`, atUs + 4.5 * SECOND_US, { do: 'reset', from: ALICE, to: BOB }),
          act(`promote-${time}`, atUs + 6 * SECOND_US, ALICE, promote),
        );
      }
      // What a verify has found is for an operator to mend.
      schedule.push(act('mend', startUs + 22 * SECOND_US, BOB, { verb: 'invalidate', resource: RESOURCE, volume: 0 }));
      return;
    case 'unreadable-verify':
      // A verify finds what a disk would not read: it is equal to nothing (bug B160). Nobody is Primary when they part.
      for (let time = 0; time < 3; time++) {
        const atUs = startUs + time * 7 * SECOND_US;
        const [host, other] = random.pick([[ALICE, BOB], [BOB, ALICE]] as const);
        schedule.push(
          at(`rot-${time}`, atUs, { do: 'latent-error', host, firstSector: random.integer(0, 7000), sectors: random.integer(1, 40) }),
          act(`verify-${time}`, atUs + SECOND_US / 2, random.pick([host, other]), { verb: 'verify', resource: RESOURCE, volume: 0 }),
          act(`demote-${time}`, atUs + 3 * SECOND_US, ALICE, demote),
          act(`part-${time}`, atUs + 4 * SECOND_US, BOB, disconnectFrom(ALICE)),
          act(`meet-${time}`, atUs + 5 * SECOND_US, BOB, connectTo(ALICE)),
          act(`promote-${time}`, atUs + 6 * SECOND_US, ALICE, promote),
        );
      }
      return;
    case 'disk-in-fencing':
      // alice is frozen until bob is fenced; meanwhile her disk is taken away under her writes, and given back (bug B061).
      schedule.push(at('slow', 0, { do: 'slow-disk', host: ALICE, forUs: 25 * SECOND_US, factor: random.pick([5, 20]) }));
      for (let time = 0; time < 4; time++) {
        const atUs = startUs + time * 5 * SECOND_US;
        schedule.push(
          at(`part-${time}`, atUs, { do: 'reset', from: ALICE, to: BOB }),
          act(`take-away-${time}`, atUs + random.integer(0, 3000), ALICE, detachHere(true)),
          act(`give-back-${time}`, atUs + random.integer(10_000, 200_000), ALICE, attachHere),
        );
      }
      return;
    case 'second-promotion':
      // Somebody promotes bob while alice is Primary: he is refused (bug B207).
      setup.failover = { by: 'nobody' };
      for (let time = 0; time < 6; time++) schedule.push(act(`promote-bob-${time}`, startUs + time * 3 * SECOND_US, BOB, promote));
      return;
    case 'unreachable-peer':
      // bob comes back behind a broken link, where his handler cannot reach alice, who goes on: he is not promoted (bug B139).
      setup.failover = { by: 'nobody' };
      setup.expectations.splitBrainPossible = false;
      schedule.push(
        at('part', startUs, { do: 'cut', from: ALICE, to: BOB, oneWay: false, forUs: 16 * SECOND_US }),
        at('bob-restarts', startUs + 4 * SECOND_US, { do: 'crash', host: BOB, restartAfterUs: SECOND_US }),
        act('promote-bob', startUs + 8 * SECOND_US, BOB, promote),
      );
      return;
    case 'busy-resync':
      // The application writes much while all of bob's blocks are copied, time and again (bug B006). On a slow disk a write is under way for long, with FUA longer than a read.
      schedule.push(at('slow', 0, { do: 'slow-disk', host: ALICE, forUs: 12 * SECOND_US, factor: random.pick([4, 10, 25]) }));
      for (let time = 0; time < 16; time++) {
        schedule.push(act(`make-again-${time}`, (time + 1) * SECOND_US / 4 + random.integer(0, SECOND_US / 10), BOB, { verb: 'invalidate', resource: RESOURCE, volume: 0 }));
      }
      return;
    default:
      told satisfies never;
  }
}

/** In some runs somebody dies afterwards: what was marked must have been marked on disk. */
function ending(told: Story, random: RandomStream): Fault[] {
  if (told === 'smaller-peer' || random.chance(1, 2)) return [];
  const host = random.pick([ALICE, BOB]);
  const atUs = random.integer(14, 18) * SECOND_US;
  const restartAfterUs = random.integer(1, 3) * SECOND_US;
  return [at('death', atUs, random.chance(1, 2) ? { do: 'crash', host, restartAfterUs } : { do: 'power-loss', hosts: [host], restartAfterUs, tear: random.integer(0, 0x7fffffff) })];
}
