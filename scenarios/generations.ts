/**
 * Generations: the ways for two disks to come to know of each other what they know, one story each, so that every rule of the
 * comparison (generation-uuids.md §5) is met by disks that came there by themselves. What an ordinary failover meets is met
 * everywhere; here are fresh disks, lost ends and begins of a resync, and generations that operators gave.
 */

import type { Fault, ParameterValue, RandomStream, Scenario, Setup, Trigger } from '../sim/types.js';
import { ALICE, BOB, RESOURCE, SECOND_US, act, at, connectTo, disconnectFrom, pairSetup } from './pair.js';
import { type Knob, knobs, resolve, withDefault } from './parameters.js';

const stories = [
  'fresh-pair', 'fresh-peer', 'sync-uuid-lost', 'sync-uuid-lost-after-crash', 'end-lost', 'end-lost-promoted', 'end-lost-power', 'frozen-crash', 'new-generations',
] as const;
type Story = (typeof stories)[number];

const parametersWith = (odds: readonly Story[]): Knob[] => [
  { name: 'story', description: 'how the two sets of generations come about', default: 'any', choices: ['any', ...stories], odds },
  knobs.protocol, knobs.alExtents, knobs.metaDisk, knobs.queueDepth, knobs.protocolMax, knobs.afterSb0Pri, knobs.afterSb1Pri,
  withDefault(knobs.writes, 300), withDefault(knobs.durationS, 40),
];

/** A scenario that tells these stories. */
const telling = (scenario: Pick<Scenario, 'name' | 'summary' | 'sometimes'>, odds: readonly Story[]): Scenario => {
  const parameters = parametersWith(odds);
  return {
    ...scenario,
    parameters,
    setup(given, random) {
      const resolved = resolve(parameters, given, random);
      const told = resolved['story'] as Story;
      // The story goes on only if their second meeting ends with bob as the source.
      if (told === 'end-lost-power' && isDrawn(given['after-sb-1pri']) && random.fork('policy').chance(2, 3)) resolved['after-sb-1pri'] = 'discard-secondary';
      // I/O that freezes when the peer is lost, and a handler that never gets through, keep a crashed Primary from a new generation.
      const freezes = told === 'frozen-crash';
      if (freezes) resolved['protocol'] = resolved['protocol'] === 'A' ? 'C' : resolved['protocol']!;
      const setup = pairSetup(resolved, random, {
        net: { connectInt: 1, pingInt: 1 },
        ...(freezes && { disk: { fencing: 'resource-and-stonith' as const }, handlers: [{ name: 'fence-peer', exitCode: 5, delayUs: 40 * SECOND_US }] }),
      });
      setup.failover = { by: 'nobody' };
      tell(told, setup, random.fork('story'));
      return setup;
    },
  };
};

// What takes more to come about is told more often.
export const generations = telling(
  {
    name: 'generations',
    summary: 'fresh disks, lost begins of a resync, generations that operators gave: the rules of the comparison',
    sometimes: ['resync interrupted', 'split brain detected', 'ended in unrelated-data'],
  },
  ['fresh-pair', 'fresh-peer', 'sync-uuid-lost', 'sync-uuid-lost-after-crash', 'frozen-crash', 'frozen-crash', 'new-generations', 'new-generations'],
);

export const lostEnds = telling(
  {
    name: 'lost-ends',
    summary: 'a resync ends, and its source does not hear of it: the other rules of the comparison, whoever goes on from there',
    sometimes: ['split brain detected', 'stale node promoted'],
  },
  ['end-lost', 'end-lost-promoted', 'end-lost-promoted', 'end-lost-power', 'end-lost-power', 'end-lost-power'],
);

const isDrawn = (asked: ParameterValue | undefined): boolean => asked === undefined || asked === 'any';

const promote = (force: boolean) => ({ verb: 'primary', resource: RESOURCE, force }) as const;
const demote = { verb: 'secondary', resource: RESOURCE } as const;

/** Puts the story into `setup`: how the disks are at first, and the schedule. */
function tell(told: Story, setup: Setup, random: RandomStream): void {
  const { schedule } = setup;
  switch (told) {
    case 'fresh-pair':
      setup.initial = 'blank';
      setup.prepare = [{ host: ALICE, command: promote(true) }];
      schedule.push(...disturbance(random));
      return;
    case 'fresh-peer':
      setup.initial = 'blank';
      setup.prepare = [
        { host: ALICE, command: disconnectFrom(BOB) },
        { host: ALICE, command: promote(true) },
        { host: ALICE, command: connectTo(BOB) },
      ];
      schedule.push(...disturbance(random));
      return;
    case 'sync-uuid-lost':
      // alice writes alone, and what begins the resync does not arrive.
      schedule.push(...partFor(random, 3 * SECOND_US), ...lost(random, { packet: 'P_SYNC_UUID', from: ALICE, nth: 1 }));
      return;
    case 'sync-uuid-lost-after-crash':
      // The generations are equal, and only alice's crash makes it the source.
      schedule.push(
        at('crash', random.integer(SECOND_US, 5 * SECOND_US), { do: 'crash', host: ALICE, restartAfterUs: random.integer(SECOND_US / 10, SECOND_US) }),
        ...lost(random, { packet: 'P_SYNC_UUID', from: ALICE, nth: 1 }),
      );
      return;
    case 'end-lost':
    case 'end-lost-promoted':
    case 'end-lost-power':
      return endLost(told, setup, random);
    case 'frozen-crash': {
      const crashUs = random.integer(2 * SECOND_US, 5 * SECOND_US);
      const bitmap: Trigger = { onPacket: random.pick(['P_COMPRESSED_BITMAP', 'P_BITMAP']), from: BOB, to: ALICE, nth: 1, when: 'sent' };
      schedule.push(
        at('crash', crashUs, { do: 'crash', host: ALICE, restartAfterUs: random.integer(SECOND_US / 10, SECOND_US) }),
        // bob's bitmap is held up, so alice is promoted as WFBitMapS; then the link goes, before it ever came.
        { id: 'hold', trigger: bitmap, action: { do: 'stall', from: BOB, to: ALICE, stream: 'data', forUs: 8 * SECOND_US } },
        { id: 'promote-again', trigger: { ...bitmap, delayUs: random.integer(1000, SECOND_US) }, action: { do: 'command', host: ALICE, command: promote(false) } },
        { id: 'part', trigger: { ...bitmap, delayUs: 2 * SECOND_US }, action: { do: 'reset', from: ALICE, to: BOB } },
      );
      return;
    }
    case 'new-generations': {
      // Each is given some, alone; who had what is then in nobody's bitmap UUID, or in nobody's memory.
      const partUs = random.integer(SECOND_US, 4 * SECOND_US);
      schedule.push(act('part-alice', partUs, ALICE, disconnectFrom(BOB)), act('part-bob', partUs + SECOND_US / 2, BOB, disconnectFrom(ALICE)));
      if (random.chance(1, 3)) schedule.push(act('promote-bob', partUs + SECOND_US, BOB, promote(true)));
      // Two of alice's and none of bob's leave what they had in common in her history.
      const givenTo = random.pick([[0, 0], [2, 0], [2, 0], [2, 0], [0, 1], [0, 2], [1, 2], [0, 3], [2, 3], [4, 0]] as const);
      for (const [index, host] of [ALICE, BOB].entries()) {
        const given = givenTo[index]!;
        for (let number = 1; number <= given; number++) {
          schedule.push(
            act(`generation-${host}-${number}`, partUs + SECOND_US + number * 100_000, host, { verb: 'new-current-uuid', resource: RESOURCE, volume: 0, clearBitmap: false }),
          );
        }
      }
      const meetUs = partUs + random.integer(3, 8) * SECOND_US;
      if (random.chance(1, 2)) schedule.push(act('demote-alice', meetUs - SECOND_US, ALICE, demote));
      schedule.push(act('meet-alice', meetUs, ALICE, connectTo(BOB)), act('meet-bob', meetUs, BOB, connectTo(ALICE)));
      return;
    }
    default:
      told satisfies never;
  }
}

/** bob ends a resync, and alice, its source, does not hear of it; who goes on alone from there makes the difference. */
function endLost(told: 'end-lost' | 'end-lost-promoted' | 'end-lost-power', setup: Setup, random: RandomStream): void {
  const { schedule } = setup;
  schedule.push(...partFor(random, 2 * SECOND_US));
  // Which of bob's states says that it has finished depends on how the meeting goes; mostly it is the third one.
  const end = { packet: 'P_STATE', from: BOB, nth: random.chance(2, 3) ? 3 : random.integer(1, 8) };
  schedule.push(...lost(random, end));
  if (told === 'end-lost') return;
  const trigger = (delayUs: number): Trigger => ({ onPacket: end.packet, from: BOB, to: ALICE, nth: end.nth, when: 'sent', delayUs });
  const order = (id: string, delayUs: number, host: string, command: Extract<Fault['action'], { do: 'command' }>['command']): Fault => ({
    id, trigger: trigger(delayUs), action: { do: 'command', host, command },
  });
  // With alice still Primary both have written alone; demoted before, it has only fallen behind.
  if (told === 'end-lost-power' || random.chance(1, 3)) schedule.push(order('demote-alice', SECOND_US / 10, ALICE, demote));
  schedule.push(order('promote-bob', 4 * SECOND_US, BOB, promote(false)));
  if (told === 'end-lost-promoted') {
    const given = random.pick([0, 1, 1, 2]);
    if (given > 0) schedule.push(order('part-bob', 4.5 * SECOND_US, BOB, disconnectFrom(ALICE)));
    for (let number = 1; number <= given; number++) {
      schedule.push(order(`generation-${number}`, 5 * SECOND_US + number * 100_000, BOB, { verb: 'new-current-uuid', resource: RESOURCE, volume: 0, clearBitmap: false }));
    }
    if (given > 0) schedule.push(order('meet-bob', 6 * SECOND_US, BOB, connectTo(ALICE)));
    setup.afterStorm = [{ host: BOB, command: connectTo(ALICE) }];
    return;
  }
  // bob is the source now, and its begin is lost as well; alice loses power before it wrote down what it had learned of the first.
  const begin = { onPacket: 'P_SYNC_UUID', from: BOB, to: ALICE, nth: 1, when: 'sent' as const };
  schedule.push(
    { id: 'begin-lost', trigger: begin, action: { do: 'cut', from: ALICE, to: BOB, oneWay: false, forUs: 8 * SECOND_US } },
    { id: 'power-alice', trigger: begin, action: { do: 'power-loss', hosts: [ALICE], restartAfterUs: SECOND_US / 2, tear: random.integer(0, 0x7fffffff) } },
    { id: 'promote-alice', trigger: { ...begin, delayUs: 3 * SECOND_US }, action: { do: 'command', host: ALICE, command: promote(false) } },
  );
}

/** They part in good order; alice, Primary, writes alone for a while. */
function partFor(random: RandomStream, longestUs: number): Fault[] {
  const partUs = random.integer(SECOND_US, 3 * SECOND_US);
  return [
    act('part', partUs, BOB, disconnectFrom(ALICE)),
    act('meet', partUs + random.integer(SECOND_US / 2, longestUs), BOB, connectTo(ALICE)),
  ];
}

/** This packet does not arrive, nor anything after it, until both have given the connection up. */
function lost(random: RandomStream, { packet, from, nth }: { packet: string; from: string; nth: number }): Fault[] {
  const to = from === ALICE ? BOB : ALICE;
  const forUs = random.integer(8 * SECOND_US, 12 * SECOND_US);
  return [{ id: 'lost', trigger: { onPacket: packet, from, to, nth, when: 'sent' }, action: { do: 'cut', from, to, oneWay: false, forUs } }];
}

/** Something that breaks the first resync off, or nothing. */
function disturbance(random: RandomStream): Fault[] {
  const atUs = random.integer(1, 10 * SECOND_US);
  switch (random.integer(1, 4)) {
    case 1:
      return [at('reset', atUs, { do: 'reset', from: ALICE, to: BOB })];
    case 2:
      return [at('crash', atUs, { do: 'crash', host: random.pick([ALICE, BOB]), restartAfterUs: SECOND_US })];
    case 3:
      return [at('power', atUs, { do: 'power-loss', hosts: [random.pick([ALICE, BOB])], restartAfterUs: SECOND_US, tear: random.integer(0, 0x7fffffff) })];
    default:
      return [];
  }
}
