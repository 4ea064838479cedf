/**
 * Disk errors: reads, writes and flushes fail, of data and of metadata, now and then or for a whole region, or a disk hangs, or an operator
 * takes it away under load and brings it back, while links break and hosts crash. The policy `on-io-error` and `disk-timeout` decide
 * whether the disk is given up; the peer's copy must carry on.
 */

import type { Command } from '../src/contract/index.js';
import type { Fault, FaultKind, RandomStream, Scenario } from '../sim/types.js';
import { ALICE, BOB, RESOURCE, SECOND_US, act, afterStorm, at, pairSetup } from './pair.js';
import { knobs, resolve } from './parameters.js';
import { drawStorm } from './storm.js';

const parameters = [
  knobs.protocol, knobs.fencing, knobs.volumes, knobs.alExtents, knobs.metaDisk, knobs.size, knobs.queueDepth, knobs.discards, knobs.onIoError,
  knobs.diskTimeout, knobs.onNoData, knobs.readBalancing, knobs.csumsAlg, knobs.protocolMax, knobs.writes, knobs.durationS,
];

const ALL_SECTORS = 2 ** 30;

export const diskErrors: Scenario = {
  name: 'disk-errors',
  summary: 'reads, writes, flushes and metadata writes fail, disks hang or are taken away; on-io-error and disk-timeout decide, the peer carries on',
  parameters,
  sometimes: ['resync interrupted'],
  setup(given, random) {
    const resolved = resolve(parameters, given, random);
    const setup = pairSetup(resolved, random);
    const swarm = random.fork('swarm');
    const volumes = Array.from({ length: Number(resolved['volumes']) }, (_, volume) => volume);
    const operators = volumes.flatMap((volume): { host: string; command: Command }[] => [
      ...[ALICE, BOB].map((host) => ({ host, command: { verb: 'attach', resource: RESOURCE, volume } as const })),
      { host: ALICE, command: { verb: 'attach', resource: RESOURCE, volume } },
      { host: ALICE, command: { verb: 'detach', resource: RESOURCE, volume, force: swarm.chance(2, 3) } },
    ]);
    const hangs: FaultKind[] = Number(resolved['disk-timeout']) > 0 ? ['hang-disk', 'hang-disk'] : [];
    const more: FaultKind[] = swarm.chance(1, 2) ? ['cut', 'reset'] : ['crash'];
    const schedule = drawStorm(setup, swarm, {
      kinds: ['disk-error', 'disk-error', 'latent-error', 'command', ...hangs, ...more], gapsS: [5, 10, 20],
      longestS: 10, longestRestartS: 10, commands: operators, oneWayCuts: false, togetherLosePower: false, atEventOneIn: 3,
    }, swarm.fork('faults'));
    // The swarm leaves metadata alone; here it fails too, anywhere in its area. One disk is bad, the other is good: what two bad disks
    // have lost between them no protocol brings back.
    const metadata = swarm.fork('metadata').chance(1, 2);
    const bad = swarm.fork('bad').pick([ALICE, BOB]);
    setup.schedule = schedule.map((fault, index) => onHost(metadata && index % 2 === 1 ? onMetadata(fault) : fault, bad, (index >> 1) % volumes.length));
    const keepsBadDisks = resolved['on-io-error'] === 'pass_on';
    const prologue = random.fork('prologue');
    if (keepsBadDisks && bad === ALICE && prologue.chance(1, 2)) setup.schedule.push(...unreadable(prologue));
    else if (prologue.chance(1, 3)) setup.schedule.push(...attachedInHandshake(prologue, bad));
    setup.afterStorm = afterStorm(setup.schedule, volumes.length, keepsBadDisks);
    return setup;
  },
};

/** bob is synced anew, and what alice is asked for cannot be read: with pass_on bob hears of it, block by block (P_NEG_RS_DREPLY). */
function unreadable(random: RandomStream): Fault[] {
  const times = random.integer(1, 3);
  return [
    act('make-again', random.integer(SECOND_US, 4 * SECOND_US), BOB, { verb: 'invalidate', resource: RESOURCE, volume: 0 }),
    {
      id: 'unreadable',
      trigger: { onPacket: 'P_RS_DATA_REQUEST', from: BOB, to: ALICE, when: 'delivered', nth: random.integer(1, 12) },
      action: { do: 'disk-error', host: ALICE, volume: 0, area: 'data', operation: 'read', firstSector: 0, sectors: ALL_SECTORS, times },
    },
  ];
}

/** A host without its disk meets its peer again, and an operator gives the disk back in the middle of the handshake (bug B097). */
function attachedInHandshake(random: RandomStream, host: string): Fault[] {
  const peer = host === ALICE ? BOB : ALICE;
  const atUs = random.integer(SECOND_US, 3 * SECOND_US);
  return [
    act('take-away', atUs, host, { verb: 'detach', resource: RESOURCE, volume: 0, force: false }),
    at('part', atUs + SECOND_US, { do: 'reset', from: host, to: peer }),
    {
      id: 'give-back',
      trigger: { onPacket: 'P_PROTOCOL', from: peer, to: host, when: 'sent', nth: 1, delayUs: random.integer(1, 400) },
      action: { do: 'command', host, command: { verb: 'attach', resource: RESOURCE, volume: 0 } },
    },
  ];
}

/** What happens to a disk happens to the bad host's, of one volume; attaching does no harm anywhere. */
function onHost(fault: Fault, host: string, volume: number): Fault {
  const { action } = fault;
  if (action.do === 'disk-error' || action.do === 'latent-error' || action.do === 'hang-disk') return { ...fault, action: { ...action, host, volume } };
  if (action.do === 'command' && action.command.verb === 'detach') return { ...fault, action: { ...action, host } };
  return fault;
}

/** A disk error that hits metadata instead: one operation, wherever it is. */
function onMetadata(fault: Fault): Fault {
  if (fault.action.do !== 'disk-error') return fault;
  return { ...fault, action: { ...fault.action, area: 'meta', firstSector: 0, sectors: ALL_SECTORS, times: 1 } };
}
