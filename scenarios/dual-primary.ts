/**
 * Two Primaries: an application on each node, both on the same few blocks, so that their writes collide; around them links stall,
 * break, machines die and come back and are promoted again. Both disks must end equal, or a split brain must be seen.
 */

import type { Fault, FaultKind, Scenario, Setup, Trigger } from '../sim/types.js';
import { drawSwarm } from '../sim/world/swarm.js';
import { ALICE, BOB, RESOURCE, SECOND_US, act, afterStorm, at, commands, pairSetup, usableSectors } from './pair.js';
import { type Knob, knobs, resolve, withDefault } from './parameters.js';
import { drawStorm } from './storm.js';

const contested: Knob = {
  name: 'contested',
  description: 'sectors that both applications write to',
  default: 'any',
  choices: ['any', 16, 128, 2048, 'all'],
};

const parameters = [
  withDefault(knobs.twoPrimaries, 'yes'), knobs.fencing, knobs.volumes, knobs.alExtents, knobs.metaDisk, knobs.queueDepth, knobs.discards, knobs.readBalancing, knobs.protocolMax,
  knobs.afterSb0Pri, knobs.afterSb1Pri, knobs.afterSb2Pri, withDefault(knobs.writes, 3000), withDefault(knobs.durationS, 30), contested,
];

const kinds: FaultKind[] = ['crash', 'power-loss', 'cut', 'reset', 'stall', 'slow-link', 'slow-disk', 'pause', 'disk-error', 'command'];

export const dualPrimary: Scenario = {
  name: 'dual-primary',
  summary: 'both nodes are Primary and write the same blocks at the same time; links, disks and machines fail meanwhile',
  parameters,
  sometimes: ['both Primary', 'split brain detected', 'resync interrupted', 'data discarded by policy or operator'],
  setup(given, random) {
    const resolved = resolve(parameters, given, random);
    const sectors = resolved['contested'] === 'all' ? undefined : Number(resolved['contested']);
    const setup: Setup = pairSetup(resolved, random, { ...(sectors !== undefined && { workload: { sectors } }), net: { connectInt: 1, pingInt: 1 } });
    if (resolved['two-primaries'] === 'yes') setup.prepare = [...setup.prepare, { host: BOB, command: { verb: 'primary', resource: RESOURCE, force: false } }];
    setup.failover = { by: 'nobody' };
    const { durationUs } = setup;
    const story = random.fork('story');
    // Who died or was demoted becomes Primary again.
    const promotions: Fault[] = [];
    for (let atUs = 2 * SECOND_US, n = 1; atUs < durationUs; atUs += story.integer(2, 5) * SECOND_US, n++) {
      for (const host of [ALICE, BOB]) promotions.push(act(`promote-${host}-${n}`, atUs, host, { verb: 'primary', resource: RESOURCE, force: false }));
    }
    // One stream falls behind the other for a moment, again and again: a write and the acknowledgement that came before it cross.
    const crossings: Fault[] = [];
    const lag = random.fork('lag');
    const gapUs = lag.pick([100_000, 300_000, 1_000_000]);
    for (let atUs = lag.integer(1, gapUs); atUs < durationUs; atUs += lag.integer(1, 2 * gapUs)) {
      const [from, to] = lag.chance(1, 2) ? [ALICE, BOB] : [BOB, ALICE];
      crossings.push(at(`lag-${crossings.length + 1}`, atUs, { do: 'stall', from, to, stream: lag.pick(['data', 'meta']), forUs: lag.integer(500, 50_000) }));
    }
    // Resyncs are short here, and the storm seldom finds one.
    const inResync: Fault[] = [];
    const breaks = random.fork('breaks');
    if (breaks.chance(1, 4)) {
      for (const [from, to] of [[ALICE, BOB], [BOB, ALICE]] as const) {
        const trigger: Trigger = { onPacket: 'P_RS_DATA_REPLY', from, to, nth: breaks.integer(1, 20), when: breaks.pick(['sent', 'delivered']), delayUs: breaks.integer(1, 1000) };
        inResync.push({ id: `break-${from}`, trigger, action: { do: 'reset', from, to } });
      }
    }
    const swarm = random.fork('swarm');
    const operators = commands(resolved);
    // When both lose their disks, the one that was in use last has to come back first: an operator's puzzle of its own.
    const keepsDisk = (fault: Fault): boolean => !(fault.action.do === 'disk-error' && fault.action.host === ALICE);
    setup.schedule = [
      ...promotions,
      ...crossings,
      ...inResync,
      ...drawStorm(setup, swarm, {
        kinds: drawSwarm(swarm.fork('kinds'), kinds), gapsS: [3, 6, 15],
        longestS: 5, longestRestartS: 5, sectors: sectors ?? usableSectors(setup.hosts), commands: [...operators.alice.filter(({ command }) => command.verb !== 'detach'), ...operators.bob], oneWayCuts: true, togetherLosePower: true, atEventOneIn: 2,
      }, swarm.fork('faults')).filter(keepsDisk),
    ];
    setup.afterStorm = afterStorm(setup.schedule, Number(resolved['volumes']));
    return setup;
  },
};
