/**
 * Resync dependencies: several resources between the same two hosts, each of which waits with its resync for the one before
 * (`resync-after`). Links break and hosts crash while they take turns; operators pause, resume and start resyncs. In the end every one had
 * its turn.
 */

import type { Command, ResourceConfig } from '../src/contract/index.js';
import type { Fault, HostSpec, RandomStream, Scenario, Setup } from '../sim/types.js';
import { drawSwarm } from '../sim/world/swarm.js';
import { afterStorm, commands, pairSetup } from './pair.js';
import { knobs, resolve, withDefault, type Knob } from './parameters.js';
import { drawStorm } from './storm.js';

const resources: Knob = { name: 'volumes', description: 'resources, of one volume each, and the second has two when there are four', default: 'any', choices: ['any', 2, 3, 4], odds: [2, 3, 3, 4] };

const parameters = [
  knobs.protocol, resources, knobs.alExtents, knobs.metaDisk, knobs.queueDepth, withDefault(knobs.protocolMax, 101), knobs.writes, knobs.durationS,
];

export const resyncAfter: Scenario = {
  name: 'resync-after',
  summary: 'several resources that wait for each other with their resyncs; links, hosts and operators disturb their turns',
  parameters,
  sometimes: ['resync interrupted', 'paused by a dependency'],
  setup(given, random) {
    const resolved = resolve(parameters, given, random);
    const slow = { cPlanAhead: 0, resyncRate: random.fork('rate').pick([1000, 4000, 20_000]) };
    const setup = pairSetup(resolved, random, { disk: slow });
    const swarm = random.fork('swarm');
    const operators = commands(resolved);
    const disturbing = [...operators.alice, ...operators.bob].filter(({ command }) => ['invalidate', 'pause-sync', 'resume-sync', 'disconnect', 'connect', 'detach', 'attach'].includes(command.verb));
    setup.schedule = drawStorm(setup, swarm, {
      kinds: ['command', 'command', ...drawSwarm(swarm.fork('kinds'), ['cut', 'reset', 'crash', 'stall', 'pause', 'power-loss', 'slow-disk'])], gapsS: [2, 4, 8],
      longestS: 8, longestRestartS: 5, commands: disturbing, oneWayCuts: false, togetherLosePower: true, atEventOneIn: 3,
    }, swarm.fork('faults'));
    setup.afterStorm = afterStorm(setup.schedule, Number(resolved['volumes']));
    return severalResources(setup, random.fork('split'));
  },
};

/** The resource that a volume goes to: r0 has the first, r1 the second and the last of four, and so on. */
const resourceOf = (volume: number): string => `r${volume === 3 ? 1 : volume}`;

/** Makes resources of a resource's volumes, each volume after the one before, or two after the same. */
function severalResources(setup: Setup, random: RandomStream): Setup {
  const fan = random.chance(1, 3);
  const split = ({ config, ...host }: HostSpec): HostSpec => {
    const volumes = config.volumes.map((volume, index) => ({ ...volume, disk: { ...volume.disk, resyncAfter: index === 0 ? -1 : fan ? 0 : index - 1 } }));
    const [first, ...more] = [...new Set(volumes.map(({ volume }) => resourceOf(volume)))].map(
      (resource): ResourceConfig => ({ ...config, resource, volumes: volumes.filter(({ volume }) => resourceOf(volume) === resource) }),
    );
    return { ...host, config: first!, more };
  };
  const names = [...new Set(setup.hosts[0]!.config.volumes.map(({ volume }) => resourceOf(volume)))];
  const spread = <T extends { command: Command }>(order: T): T[] => names.map((resource) => ({ ...order, command: aimedAt(order.command, resource) }));
  const aim = (fault: Fault): Fault => {
    const { action } = fault;
    if (action.do !== 'command') return fault;
    return { ...fault, action: { ...action, command: 'volume' in action.command ? aimedAt(action.command, resourceOf(action.command.volume)) : aimedAt(action.command, random.pick(names)) } };
  };
  return {
    ...setup,
    hosts: setup.hosts.map(split),
    prepare: setup.prepare.flatMap(spread),
    schedule: setup.schedule.map(aim),
    afterStorm: setup.afterStorm.flatMap((order) =>
      'volume' in order.command ? [{ ...order, command: aimedAt(order.command, resourceOf(order.command.volume)) }] : spread(order),
    ),
  };
}

const aimedAt = (command: Command, resource: string): Command => ('resource' in command ? ({ ...command, resource } as Command) : command);
