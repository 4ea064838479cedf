/**
 * Degraded, then failover: bob goes away, alice goes on alone, then alice dies, and bob comes back, before or after that. What
 * alice acknowledged alone is not on bob: where fencing outdated him he must not be promoted; otherwise he may be, and the
 * split brain must be found when alice returns.
 */

import type { Fault, RandomStream, Scenario } from '../sim/types.js';
import { ALICE, BOB, SECOND_US, afterStorm, at, pairSetup } from './pair.js';
import { knobs, resolve } from './parameters.js';

const parameters = [
  knobs.protocol, knobs.fencing, knobs.volumes, knobs.alExtents, knobs.alUpdates, knobs.metaDisk, knobs.size, knobs.queueDepth, knobs.discards, knobs.protocolMax, knobs.failover,
  knobs.afterSb0Pri, knobs.afterSb1Pri, knobs.writes, knobs.durationS,
  knobs.cramHmacAlg, knobs.dataIntegrityAlg, knobs.csumsAlg, knobs.csumsAfterCrashOnly,
];

/**
 * The link is cut, and alice dies at one of her first metadata writes: while her device has few extents, the new generation that she
 * begins without bob is among them, and what waited for it must not be answered before it is durable (bug B064). She is away for long
 * enough that bob takes over.
 */
function drawDeathAtMetadataWrite(random: RandomStream, durationUs: number): Fault[] {
  const awayUs = random.integer(SECOND_US, Math.floor(durationUs / 4));
  const restartAfterUs = random.integer(6 * SECOND_US, 15 * SECOND_US);
  return [
    at('link-cut', awayUs, { do: 'cut', from: ALICE, to: BOB, oneWay: false, forUs: random.integer(4 * SECOND_US, 15 * SECOND_US) }),
    {
      id: 'alice-dies',
      trigger: {
        onDiskOperation: 'write',
        host: ALICE,
        area: 'meta',
        nth: random.integer(2, 5),
        when: random.pick(['issued', 'issued', 'done'] as const),
        ...(random.chance(1, 2) && { delayUs: random.integer(1, 500) }),
      },
      action: random.chance(1, 2)
        ? { do: 'crash', host: ALICE, restartAfterUs }
        : { do: 'power-loss', hosts: [ALICE], restartAfterUs, tear: random.integer(0, 0x7fffffff) },
    },
  ];
}

export const degradedThenFailover: Scenario = {
  name: 'degraded-then-failover',
  summary: 'alice goes on alone, dies, and bob, who missed her last writes, is asked to take over',
  parameters,
  sometimes: ['stale node promoted', 'split brain detected'],
  setup(given, random) {
    const resolved = resolve(parameters, given, random);
    const setup = pairSetup(resolved, random, { net: { connectInt: random.fork('connect').pick([1, 3]), pingInt: 3 } });
    const story = random.fork('story');
    const { durationUs } = setup;
    const awayUs = story.integer(SECOND_US, Math.floor(durationUs / 4));
    const deathUs = awayUs + story.integer(SECOND_US / 2, Math.floor(durationUs / 3));
    const backUs = story.chance(1, 2) ? deathUs + story.integer(0, 8 * SECOND_US) : story.integer(awayUs + 1, deathUs);
    const returnsUs = deathUs + story.integer(SECOND_US, Math.floor(durationUs / 3));
    const tear = (): number => story.integer(0, 0x7fffffff);
    const schedule: Fault[] = [];
    switch (story.integer(1, 3)) {
      case 1:
        schedule.push(at('bob-crashes', awayUs, { do: 'crash', host: BOB, restartAfterUs: backUs - awayUs }));
        break;
      case 2:
        schedule.push(at('bob-loses-power', awayUs, { do: 'power-loss', hosts: [BOB], restartAfterUs: backUs - awayUs, tear: tear() }));
        break;
      default:
        schedule.push(at('link-cut', awayUs, { do: 'cut', from: ALICE, to: BOB, oneWay: false, forUs: backUs - awayUs }));
    }
    const restartAfterUs = returnsUs - deathUs;
    schedule.push(
      story.chance(1, 2)
        ? at('alice-crashes', deathUs, { do: 'crash', host: ALICE, restartAfterUs })
        : at('alice-loses-power', deathUs, { do: 'power-loss', hosts: [ALICE], restartAfterUs, tear: tear() }),
    );
    const moment = random.fork('moment');
    setup.schedule = moment.chance(1, 3) ? drawDeathAtMetadataWrite(moment, durationUs) : schedule;
    setup.afterStorm = afterStorm(setup.schedule, Number(resolved['volumes']));
    return setup;
  },
};
