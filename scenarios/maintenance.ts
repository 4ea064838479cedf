/**
 * Maintenance: an operator stops the service and demotes alice, then reboots a node, takes a disk away and gives it back, parts the
 * two from both sides at once, or lets bob serve for a while; then somebody is Primary again, and soon dies. Nothing of the first
 * session is left to replay (bug B058), nobody outdates himself without cause (B111), and what the second session leaves behind
 * is found although its activity log has only just begun.
 */

import type { Fault, RandomStream, Scenario } from '../sim/types.js';
import { ALICE, BOB, RESOURCE, SECOND_US, act, afterStorm, at, connectTo, disconnectFrom, pairSetup } from './pair.js';
import { knobs, resolve, withDefault } from './parameters.js';

const parameters = [
  knobs.protocol, knobs.fencing, knobs.metaDisk, knobs.queueDepth, knobs.protocolMax, withDefault(knobs.failover, 'manager'), knobs.writes,
  withDefault(knobs.durationS, 40),
];

const MIB_SECTORS = 2048;

export const maintenance: Scenario = {
  name: 'maintenance',
  summary: 'alice is demoted, nodes are rebooted, disks taken away, both disconnected at once; then the next Primary soon dies',
  parameters,
  sometimes: [],
  setup(given, random) {
    // More extents of 4 MiB than the smallest active set has slots.
    const sizes = random.fork('device');
    const resolved = { ...resolve(parameters, given, random), 'al-extents': 67 };
    const setup = pairSetup(resolved, random, {
      dataSectors: sizes.integer(400, 900) * MIB_SECTORS + sizes.integer(1, 15),
      workload: { pattern: 'random' },
      disk: { cPlanAhead: 0, resyncRate: 400_000, cMinRate: 0 },
      net: { connectInt: 1 },
    });
    const story = random.fork('story');
    const { durationUs } = setup;
    const demotedUs = story.integer(Math.floor(durationUs / 6), Math.floor(durationUs / 3));
    const worksUs = demotedUs + story.integer(SECOND_US, 2 * SECOND_US);
    const againUs = worksUs + story.integer(5 * SECOND_US, 8 * SECOND_US);
    const next = story.chance(3, 4) ? ALICE : BOB;
    const diesUs = againUs + drawMoment(story);
    const restartAfterUs = story.integer(SECOND_US, 6 * SECOND_US);
    setup.schedule = [
      act('demote', demotedUs, ALICE, { verb: 'secondary', resource: RESOURCE }),
      ...drawWork(story, worksUs),
      act('promote', againUs, next, { verb: 'primary', resource: RESOURCE, force: false }),
      story.chance(1, 2)
        ? at('death', diesUs, { do: 'crash', host: next, restartAfterUs })
        : at('death', diesUs, { do: 'power-loss', hosts: [next], restartAfterUs, tear: story.integer(0, 0x7fffffff) }),
    ];
    setup.afterStorm = afterStorm(setup.schedule, 1);
    return setup;
  },
};

/** Long before the second session's activity log has gone round once as often as after. */
function drawMoment(story: RandomStream): number {
  return story.integer(1000, story.pick([20_000, 100_000, 500_000, 3 * SECOND_US]));
}

/** One to three pieces of work while nobody is Primary, each over before the next begins. */
function drawWork(story: RandomStream, fromUs: number): Fault[] {
  const work: Fault[] = [];
  const pieces = story.integer(1, 3);
  for (let piece = 1; piece <= pieces; piece++) {
    const startUs = fromUs + (piece - 1) * 1.6 * SECOND_US;
    const host = story.chance(2, 3) ? ALICE : BOB;
    const peer = host === ALICE ? BOB : ALICE;
    switch (story.integer(1, 5)) {
      case 1:
        work.push(at(`reboot-${piece}`, startUs, { do: 'crash', host, restartAfterUs: story.integer(1000, SECOND_US / 2) }));
        break;
      case 2:
        work.push(at(`power-${piece}`, startUs, { do: 'power-loss', hosts: [host], restartAfterUs: story.integer(1000, SECOND_US / 2), tear: story.integer(0, 0x7fffffff) }));
        break;
      case 3:
        work.push(
          act(`detach-${piece}`, startUs, host, { verb: 'detach', resource: RESOURCE, volume: 0, force: false }),
          act(`attach-${piece}`, startUs + SECOND_US / 2, host, { verb: 'attach', resource: RESOURCE, volume: 0 }),
        );
        break;
      case 4: {
        // Within each other's way over the network, mostly.
        const laterUs = story.integer(0, story.pick([0, 200, 2000, 20_000]));
        work.push(
          act(`part-${piece}`, startUs, host, disconnectFrom(peer)),
          act(`part-too-${piece}`, startUs + laterUs, peer, disconnectFrom(host)),
          act(`meet-${piece}`, startUs + SECOND_US / 2, host, connectTo(peer)),
          act(`meet-too-${piece}`, startUs + SECOND_US / 2, peer, connectTo(host)),
        );
        break;
      }
      default:
        work.push(
          act(`serve-${piece}`, startUs, BOB, { verb: 'primary', resource: RESOURCE, force: false }),
          act(`served-${piece}`, startUs + SECOND_US, BOB, { verb: 'secondary', resource: RESOURCE }),
        );
    }
  }
  return work;
}
