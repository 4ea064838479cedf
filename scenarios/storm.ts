/** The storm around what a scenario is about: faults on both hosts of a pair, drawn from the seed, of the kinds and at the rate that it names. */

import type { Command } from '../src/contract/index.js';
import type { Fault, FaultAction, FaultKind, RandomStream, Setup, Trigger } from '../sim/types.js';
import { drawSchedule } from '../sim/world/swarm.js';
import { ALICE, BOB, SECOND_US, usableSectors } from './pair.js';

export interface Storm {
  kinds: FaultKind[];
  /** Mean seconds between two faults; one of these is picked for the run. */
  gapsS: number[];
  /** Seconds that a fault lasts at the most, and until a host is up again. */
  longestS: number;
  longestRestartS: number;
  /** Sectors where a disk may fail; all that both have, unless said otherwise. */
  sectors?: number;
  /** What operators may do; nothing, unless said otherwise. */
  commands?: readonly { host: string; command: Command }[];
  oneWayCuts: boolean;
  togetherLosePower: boolean;
  /** One fault of so many comes at an event (a packet, a disk operation) instead of a time. */
  atEventOneIn: number;
}

/** In one run of three somebody dies at an operation on metadata, where a step that takes several writes may be half done. */
export function drawMetadataDeath(random: RandomStream, powerLoss: readonly string[][]): Fault[] {
  if (!random.chance(1, 3)) return [];
  const host = random.pick([ALICE, ALICE, BOB]);
  const delay = random.chance(1, 2) ? {} : { delayUs: random.integer(1, 400) };
  const trigger: Trigger = {
    onDiskOperation: random.pick(['write', 'write', 'flush'] as const), host, area: 'meta', nth: random.integer(1, 5), when: random.pick(['issued', 'issued', 'done'] as const), ...delay,
  };
  const restartAfterUs = random.integer(SECOND_US / 10, 5 * SECOND_US);
  const hosts = random.pick(powerLoss);
  const action: FaultAction = hosts.length === 0 ? { do: 'crash', host, restartAfterUs } : { do: 'power-loss', hosts: [...hosts], restartAfterUs, tear: random.integer(0, 0x7fffffff) };
  return [{ id: 'metadata-death', trigger, action }];
}

/** `swarm` decides the rate, `faults` what happens when. */
export const drawStorm = (setup: Setup, swarm: RandomStream, storm: Storm, faults = swarm): Fault[] =>
  drawSchedule(faults, {
    hosts: [ALICE, BOB],
    durationUs: setup.durationUs,
    kinds: storm.kinds,
    meanGapUs: Math.floor(swarm.pick(storm.gapsS) * SECOND_US),
    longestUs: storm.longestS * SECOND_US,
    longestRestartUs: storm.longestRestartS * SECOND_US,
    firstSector: 0,
    sectors: storm.sectors ?? usableSectors(setup.hosts),
    commands: storm.commands ?? [],
    oneWayCuts: storm.oneWayCuts,
    togetherLosePower: storm.togetherLosePower,
    atEventOneIn: storm.atEventOneIn,
  });
