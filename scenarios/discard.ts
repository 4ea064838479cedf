/**
 * Discards and zeroing: a third of the writes give their range up or zero it, on disks that discard in granules of their own, do not
 * discard at all, or cannot be trusted to read as zeros afterwards; to a peer that may lack the packets for it. Links break, hosts
 * die, disks refuse to discard: whoever reads must find zeros, on either disk.
 */

import type { Fault, FaultAction, FaultKind, RandomStream, Scenario, Trigger } from '../sim/types.js';
import { drawSwarm } from '../sim/world/swarm.js';
import { ALICE, BOB, SECOND_US, afterStorm, commands, pairSetup } from './pair.js';
import { knobs, resolve, withDefault } from './parameters.js';
import { drawStorm } from './storm.js';

const parameters = [
  knobs.protocol, knobs.fencing, knobs.volumes, knobs.alExtents, knobs.metaDisk, knobs.size, knobs.queueDepth, knobs.protocolMax,
  withDefault(knobs.discards, 3), knobs.rsDiscardGranularity, knobs.features, withDefault(knobs.writes, 1000), withDefault(knobs.durationS, 40),
];

const kinds: FaultKind[] = ['crash', 'power-loss', 'cut', 'reset', 'stall', 'slow-disk', 'pause', 'command'];

export const discard: Scenario = {
  name: 'discard',
  summary: 'discards and zeroes replicated between disks of different granularity, under crashes and to peers that lack them',
  parameters,
  sometimes: ['resync interrupted', 'power loss tore a sector'],
  setup(given, random) {
    const resolved = resolve(parameters, given, random);
    const setup = pairSetup(resolved, random);
    const { durationUs } = setup;
    const swarm = random.fork('swarm');
    const operators = commands(resolved);
    const targeted = random.fork('targeted');
    setup.schedule = [
      ...Array.from({ length: targeted.integer(1, 3) }, (_, index) => atDiscard(targeted, `at-discard-${index + 1}`)),
      ...refusals(random.fork('refusals'), durationUs),
      ...drawStorm(setup, swarm, {
        kinds: drawSwarm(swarm.fork('kinds'), kinds), gapsS: [5, 10, 20],
        longestS: 10, longestRestartS: 8, commands: [...operators.alice, ...operators.bob], oneWayCuts: true, togetherLosePower: true, atEventOneIn: 4,
      }, swarm.fork('faults')),
    ];
    setup.afterStorm = afterStorm(setup.schedule, Number(resolved['volumes']));
    return setup;
  },
};

/** A crash, a loss of power or a reset in the middle of a discard: at its packet, or at an operation of it on a disk. */
function atDiscard(random: RandomStream, id: string): Fault {
  const nth = random.integer(1, 60);
  const host = random.pick([ALICE, BOB]);
  const delay = random.chance(1, 2) ? {} : { delayUs: random.integer(1, 1500) };
  const trigger: Trigger = random.chance(1, 2)
    ? { onPacket: random.pick(['P_TRIM', 'P_ZEROES']), from: ALICE, to: BOB, nth, when: random.pick(['sent', 'delivered'] as const), ...delay }
    : { onDiskOperation: random.pick(['discard', 'zeroes'] as const), host, area: 'data', nth, when: random.pick(['issued', 'done'] as const), ...delay };
  return { id, trigger, action: breakDown(random, host) };
}

/** The host dies, with its memory or with its caches too, or its link is reset. */
export function breakDown(random: RandomStream, host: string): FaultAction {
  const restartAfterUs = random.integer(SECOND_US / 10, 6 * SECOND_US);
  switch (random.integer(1, 3)) {
    case 1:
      return { do: 'crash', host, restartAfterUs };
    case 2:
      return { do: 'power-loss', hosts: [host], restartAfterUs, tear: random.integer(0, 0x7fffffff) };
    default:
      return { do: 'reset', from: host, to: host === ALICE ? BOB : ALICE };
  }
}

/** A disk that announces what it then refuses: discards, or zeroing as well. That alone is no reason to lose the disk. */
export function refusals(random: RandomStream, durationUs: number): Fault[] {
  if (random.chance(2, 3)) return [];
  const host = random.pick([ALICE, BOB]);
  const operations = random.chance(1, 2) ? (['discard'] as const) : (['discard', 'zeroes'] as const);
  const atUs = random.integer(0, durationUs / 2);
  return operations.map((operation) => ({
    id: `refuses-${operation}`,
    trigger: { atUs },
    action: { do: 'disk-error', host, area: 'data', operation, firstSector: 0, sectors: 2 ** 30, times: random.integer(1, 50) },
  }));
}
