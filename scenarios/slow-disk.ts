/**
 * Slow disks: one or both disks become slow or hang for a while, clocks and links lag, and nobody dies. Everything is late and
 * in another order; nothing may be lost, and a peer that is merely slow must not be taken for broken by mistake.
 */

import type { Scenario } from '../sim/types.js';
import { afterStorm, pairSetup } from './pair.js';
import { knobs, resolve } from './parameters.js';
import { drawStorm } from './storm.js';

const parameters = [
  knobs.protocol, knobs.fencing, knobs.volumes, knobs.alExtents, knobs.metaDisk, knobs.size, knobs.queueDepth, knobs.protocolMax,
  knobs.writes, knobs.durationS,
];

export const slowDisk: Scenario = {
  name: 'slow-disk',
  summary: 'disks are slow or hang for a while, clocks and links lag; nobody dies',
  parameters,
  sometimes: ['half-open connection'],
  setup(given, random) {
    const resolved = resolve(parameters, given, random);
    const setup = pairSetup(resolved, random);
    const swarm = random.fork('swarm');
    setup.schedule = drawStorm(setup, swarm, {
      kinds: ['slow-disk', 'slow-disk', 'hang-disk', 'slow-clock', 'slow-link', 'stall'], gapsS: [3, 6, 12],
      longestS: 20, longestRestartS: 1, oneWayCuts: false, togetherLosePower: false, atEventOneIn: 4,
    });
    setup.afterStorm = afterStorm(setup.schedule, Number(resolved['volumes']));
    return setup;
  },
};
