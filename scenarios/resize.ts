/**
 * The device grows and shrinks under load: the devices below grow on either side and at different times, operators resize on either
 * node, with and without a resync of what is new, and hosts die at the packets and metadata writes of it. Wherever that leaves the
 * two, the metadata must be found, nobody may have lost what was acknowledged, and in the end both sides have one size and equal data.
 */

import type { Command } from '../src/contract/index.js';
import type { Fault, FaultKind, RandomStream, Scenario, Trigger } from '../sim/types.js';
import { drawSwarm } from '../sim/world/swarm.js';
import { ALICE, BOB, RESOURCE, SECOND_US, act, afterStorm, at, commands, connectTo, pairSetup, usableSectors } from './pair.js';
import { type Knob, knobs, resolve, withDefault } from './parameters.js';
import { drawStorm } from './storm.js';

const shrinks: Knob = { name: 'shrinks', description: 'operators also make the device smaller', default: 'any', choices: ['any', true, false], odds: [true, false, false] };

const parameters = [
  knobs.protocol, knobs.fencing, knobs.alExtents, knobs.metaDisk, knobs.queueDepth, knobs.protocolMax, knobs.discards, shrinks,
  withDefault(knobs.writes, 800), withDefault(knobs.durationS, 40),
];

const kinds: FaultKind[] = ['crash', 'power-loss', 'cut', 'reset', 'stall', 'slow-disk', 'pause', 'command'];
const ROUNDS_MAX = 4;

export const resize: Scenario = {
  name: 'resize',
  summary: 'devices grow and shrink under load, online and offline, with crashes at every step of moving the metadata',
  parameters,
  sometimes: ['resync interrupted', 'crash between two metadata writes'],
  setup(given, random) {
    const resolved = resolve(parameters, given, random);
    const before = usableSectors(pairSetup(resolved, random).hosts);
    const plan = random.fork('plan');
    const rounds = plan.integer(1, ROUNDS_MAX);
    const more = Array.from({ length: rounds }, () => plan.pick([8, 64, 72, 100, 1000, 8192, 40_000] as const) + plan.integer(0, 9));
    const isShrinking = resolved['shrinks'] === true;
    // Nobody may vouch for what differs: it does where nobody does.
    const isClean = !isShrinking && plan.chance(1, 2);
    // What is written survives every size; where what is new is known to be zeros also behind the first end, as soon as there is room.
    const smallest = before - Math.floor(before / 4);
    const sectors = isShrinking ? smallest : !isClean ? before : before + more.reduce((sum, sectors) => sum + sectors, 0);
    const setup = pairSetup(resolved, random, { workload: { firstSector: 0, sectors } });
    const { durationUs } = setup;
    const swarm = random.fork('swarm');
    const operators = commands(resolved);
    setup.schedule = [
      ...more.flatMap((sectors, round) => roundOf(plan.fork(`round ${round}`), round, Math.floor((durationUs * (round + 0.5)) / (rounds + 1)), sectors, isShrinking ? smallest : undefined, isClean)),
      ...Array.from({ length: plan.integer(0, 3) }, (_, index) => atResize(random.fork(`at resize ${index}`), `at-resize-${index + 1}`)),
      ...drawStorm(setup, swarm, {
        kinds: drawSwarm(swarm.fork('kinds'), kinds), gapsS: [8, 15, 30],
        longestS: 8, longestRestartS: 6, sectors: before, commands: [...operators.alice, ...operators.bob], oneWayCuts: true, togetherLosePower: true, atEventOneIn: 4,
      }, swarm.fork('faults')),
    ];
    const resizes = [ALICE, BOB].map((host) => ({ host, command: resizeTo(0, false) }));
    setup.afterStorm = [...resizes, ...afterStorm(setup.schedule, 1)];
    if (isShrinking) {
      // A limit that one side alone has heard of is smaller than what the other uses: they refuse each other until an operator lifts it.
      setup.expectations.skip = [
        { property: 'unexpected-disconnect', reason: 'nodes with different size limits give the connection up, as in DRBD' },
        { property: 'liveness', reason: 'a disk that was away during a shrink is refused until an operator says its size (170)' },
      ];
      setup.afterStorm = [...resizes, ...afterStorm(setup.schedule, 1), { host: ALICE, command: connectTo(BOB) }, { host: BOB, command: connectTo(ALICE) }, ...resizes];
    }
    return setup;
  },
};

const resizeTo = (sizeSectors: number, assumeClean: boolean, ring: { alStripes?: number; alStripeSizeKb?: number } = {}): Command => ({
  verb: 'resize', resource: RESOURCE, volume: 0, sizeSectors, assumeClean, assumePeerHasSpace: false, ...ring,
});

/** Both devices grow, in either order or one of them not at all; then somebody resizes, and perhaps again. */
function roundOf(random: RandomStream, round: number, startUs: number, sectors: number, smallest: number | undefined, isClean: boolean): Fault[] {
  const faults: Fault[] = [];
  const grow = (host: string, afterUs: number): void => void faults.push(at(`grow-${round}-${host}`, startUs + afterUs, { do: 'resize-disk', host, more: sectors, fewer: 0, noise: isClean ? 0 : random.integer(1, 0x7fffffff) }));
  if (random.chance(7, 8)) grow(ALICE, random.integer(0, SECOND_US));
  if (random.chance(7, 8)) grow(BOB, random.integer(0, SECOND_US));
  for (let time = 0; time < random.integer(1, 3); time++) {
    const host = random.pick([ALICE, ALICE, BOB]);
    const smaller = smallest !== undefined && random.chance(1, 2);
    const assumeClean = isClean && random.chance(1, 2);
    // A larger log takes room from the data: after a shrink that only one side knows of, more than the other gives up by itself.
    const ring = smallest === undefined && random.chance(1, 6) ? { alStripes: random.pick([1, 2, 4]), alStripeSizeKb: random.pick([16, 32, 64]) } : {};
    faults.push(act(`resize-${round}-${time}`, startUs + SECOND_US + time * random.integer(1000, 3 * SECOND_US), host, resizeTo(smaller ? smallest + random.integer(0, 500) : 0, assumeClean, ring)));
  }
  return faults;
}

/** In the middle of it: at a P_SIZES, or a little later, when metadata is being written. */
function atResize(random: RandomStream, id: string): Fault {
  const [from, to] = random.chance(1, 2) ? [ALICE, BOB] : [BOB, ALICE];
  const host = random.pick([ALICE, BOB]);
  const delay = random.chance(1, 4) ? {} : { delayUs: random.integer(1, 4000) };
  const trigger: Trigger = { onPacket: 'P_SIZES', from, to, nth: random.integer(1, 5), when: random.pick(['sent', 'delivered'] as const), ...delay };
  const restartAfterUs = random.integer(SECOND_US / 10, 6 * SECOND_US);
  switch (random.integer(1, 4)) {
    case 1:
      return { id, trigger, action: { do: 'crash', host, restartAfterUs } };
    case 2:
      return { id, trigger, action: { do: 'power-loss', hosts: [host], restartAfterUs, tear: random.integer(0, 0x7fffffff) } };
    case 3:
      return { id, trigger, action: { do: 'power-loss', hosts: [ALICE, BOB], restartAfterUs, tear: random.integer(0, 0x7fffffff) } };
    default:
      return { id, trigger, action: { do: 'reset', from, to } };
  }
}
