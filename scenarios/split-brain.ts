/**
 * Split brain on purpose: the link is cut, bob is promoted beside alice, both write (or one, or neither), some are demoted or
 * crash, then the link heals. The divergence must be detected, the configured policy or the operator decides whose data is
 * given up, and both sides agree on it.
 */

import type { Fault, Scenario } from '../sim/types.js';
import { ALICE, BOB, RESOURCE, SECOND_US, act, at, connectTo, disconnectFrom, pairSetup } from './pair.js';
import { type Knob, knobs, resolve, withDefault } from './parameters.js';

const solve: Knob = {
  name: 'solve',
  description: 'what an operator does about a split brain that no policy solved',
  default: 'any',
  choices: ['any', 'nothing', 'discard-alice', 'discard-bob'],
};

const parameters = [
  knobs.protocol, knobs.volumes, knobs.alExtents, knobs.metaDisk, knobs.queueDepth, knobs.protocolMax,
  knobs.afterSb0Pri, knobs.afterSb1Pri, knobs.afterSb2Pri, withDefault(knobs.writes, 500), withDefault(knobs.durationS, 40), solve,
];

export const splitBrain: Scenario = {
  name: 'split-brain',
  summary: 'both become Primary while the link is cut; the policies or an operator decide whose data is given up',
  parameters,
  sometimes: ['split brain detected', 'data discarded by policy or operator', 'ended in split-brain'],
  setup(given, random) {
    const resolved = resolve(parameters, given, random);
    const setup = pairSetup(resolved, random, { net: { connectInt: 1, pingInt: 1 } });
    setup.failover = { by: 'nobody' };
    const story = random.fork('story');
    const schedule: Fault[] = [];
    const cutUs = story.integer(SECOND_US, 5 * SECOND_US);
    const promotedUs = cutUs + story.integer(SECOND_US / 10, 8 * SECOND_US);
    const healedUs = promotedUs + story.integer(SECOND_US, 10 * SECOND_US);
    schedule.push(at('cut', cutUs, { do: 'cut', from: ALICE, to: BOB, oneWay: false, forUs: healedUs - cutUs }));
    schedule.push(act('promote-bob', promotedUs, BOB, { verb: 'primary', resource: RESOURCE, force: false }));
    // A demoted or dead Primary still has its history; who is left decides which of the three policies applies.
    for (const [host, id] of [[ALICE, 'alice'], [BOB, 'bob']] as const) {
      const endsUs = story.integer(promotedUs + 1, healedUs - 1);
      switch (story.integer(1, 4)) {
        case 1:
          schedule.push(act(`demote-${id}`, endsUs, host, { verb: 'secondary', resource: RESOURCE }));
          break;
        case 2:
          schedule.push(at(`crash-${id}`, endsUs, { do: 'crash', host, restartAfterUs: story.integer(SECOND_US / 10, 5 * SECOND_US) }));
          break;
        default:
          break;
      }
    }
    const answer = resolved['solve'];
    if (answer === 'discard-alice' || answer === 'discard-bob') {
      const [victim, winner] = answer === 'discard-alice' ? [ALICE, BOB] : [BOB, ALICE];
      const solvedUs = healedUs + story.integer(5 * SECOND_US, 12 * SECOND_US);
      schedule.push(
        act('demote-victim', solvedUs, victim, { verb: 'secondary', resource: RESOURCE }),
        act('part-victim', solvedUs + SECOND_US, victim, disconnectFrom(winner)),
        act('discard', solvedUs + 2 * SECOND_US, victim, connectTo(winner, true)),
        act('connect-winner', solvedUs + 2 * SECOND_US, winner, connectTo(victim)),
      );
    }
    setup.schedule = schedule;
    return setup;
  },
};
