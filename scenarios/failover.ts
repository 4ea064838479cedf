/**
 * Failover: the Primary dies under load (its process, or its power), the survivor is promoted, the dead one comes back; around
 * it links, disks and operators misbehave. The run that benchmarks and sweeps mean when they say "standard".
 */

import type { FaultKind, Scenario } from '../sim/types.js';
import { drawSwarm } from '../sim/world/swarm.js';
import { ALICE, BOB, SECOND_US, afterStorm, at, commands, pairSetup } from './pair.js';
import { knobs, resolve, withDefault } from './parameters.js';
import { drawMetadataDeath, drawStorm } from './storm.js';

const parameters = [
  knobs.protocol, knobs.fencing, knobs.volumes, knobs.alExtents, knobs.alUpdates, knobs.metaDisk, knobs.size, knobs.queueDepth, knobs.discards, knobs.twoPrimaries, knobs.readBalancing, knobs.protocolMax,
  withDefault(knobs.failover, 'manager'), knobs.writes, knobs.durationS,
  knobs.cramHmacAlg, knobs.dataIntegrityAlg, knobs.csumsAlg, knobs.csumsAfterCrashOnly, knobs.onCongestion, knobs.congestionFill,
];

const kinds: FaultKind[] = ['crash', 'power-loss', 'cut', 'reset', 'stall', 'slow-link', 'slow-disk', 'pause', 'slow-clock', 'resize-disk', 'command'];

export const failover: Scenario = {
  name: 'failover',
  summary: 'the Primary dies under load, the survivor takes over; links, disks and operators misbehave meanwhile',
  parameters,
  sometimes: [
    'power loss tore a sector', 'both lost power', 'resync interrupted', 'primary paused',
    'half-open connection', 'stale node promoted',
  ],
  setup(given, random) {
    const resolved = resolve(parameters, given, random);
    const setup = pairSetup(resolved, random);
    const { durationUs } = setup;
    const death = random.fork('death');
    const restartAfterUs = death.integer(SECOND_US / 10, durationUs / 4);
    const diesUs = death.integer(durationUs / 12, durationUs / 2);
    const dies = death.chance(1, 2)
      ? at('death', diesUs, { do: 'crash', host: ALICE, restartAfterUs })
      : at('death', diesUs, { do: 'power-loss', hosts: [ALICE], restartAfterUs, tear: death.integer(0, 0x7fffffff) });
    const swarm = random.fork('swarm');
    const operators = commands(resolved);
    setup.schedule = [
      dies,
      ...drawMetadataDeath(random.fork('metadata'), [[], [ALICE], [BOB], [ALICE, BOB]]),
      ...drawStorm(setup, swarm, {
        kinds: drawSwarm(swarm.fork('kinds'), kinds), gapsS: [4, 8, 15],
        longestS: 15, longestRestartS: 10, commands: [...operators.alice, ...operators.bob], oneWayCuts: true, togetherLosePower: true, atEventOneIn: 3,
      }, swarm.fork('faults')),
    ];
    setup.afterStorm = afterStorm(setup.schedule, Number(resolved['volumes']));
    return setup;
  },
};
