/**
 * Options online: operators change what is configured while everything runs, first on one node, a little later on the other: the protocol,
 * digests, the secret, timers, rates. In between the two do not agree, and whoever meets then gives the connection up until
 * both have been changed and are told to connect.
 */

import type { NetOptions, Protocol, ResourceConfig } from '../src/contract/index.js';
import type { Fault, RandomStream, Scenario, Setup } from '../sim/types.js';
import { drawSwarm } from '../sim/world/swarm.js';
import { ALICE, BOB, SECOND_US, act, afterStorm, commands, connectTo, optionsWith, pairSetup } from './pair.js';
import { knobs, resolve, withDefault } from './parameters.js';
import { drawStorm } from './storm.js';

const parameters = [
  knobs.protocol, knobs.cramHmacAlg, knobs.dataIntegrityAlg, knobs.fencing, knobs.volumes, knobs.alExtents, knobs.metaDisk, knobs.queueDepth, knobs.discards,
  { ...knobs.protocolMax, odds: [101, 101, 101, 101, 97, 90] }, withDefault(knobs.writes, 1500), withDefault(knobs.durationS, 40),
];

export const optionsOnline: Scenario = {
  name: 'options-online',
  summary: 'operators change protocol, digests, secrets, timers and rates while everything runs, one node after the other',
  parameters,
  sometimes: ['met with different options', 'resync interrupted'],
  setup(given, random) {
    const resolved = resolve(parameters, given, random);
    const setup = pairSetup(resolved, random, { net: { connectInt: 1, pingInt: 3 } });
    const swarm = random.fork('swarm');
    const operators = commands(resolved);
    const changes = changesOf(setup, random.fork('changes'), Number(resolved['protocol-max']) >= 100);
    setup.schedule = [
      ...changes.schedule,
      ...drawStorm(setup, swarm, {
        kinds: drawSwarm(swarm.fork('kinds'), ['reset', 'cut', 'stall', 'slow-link', 'slow-disk', 'crash', 'power-loss', 'command']), gapsS: [5, 10, 20],
        longestS: 6, longestRestartS: 5, commands: [...operators.alice, ...operators.bob], oneWayCuts: true, togetherLosePower: false, atEventOneIn: 2,
      }, swarm.fork('faults')),
    ];
    // Whatever was refused or missed: both get what was wanted last, and meet.
    setup.afterStorm = [
      ...changes.last,
      ...afterStorm(setup.schedule, Number(resolved['volumes'])),
      { host: ALICE, command: connectTo(BOB) },
      { host: BOB, command: connectTo(ALICE) },
    ];
    // What holds of all protocols that were in force holds of the weakest.
    if (changes.protocols.has('A')) setup.expectations.protocol = 'A';
    else if (changes.protocols.has('B')) setup.expectations.protocol = 'B';
    return setup;
  },
};

interface Changes {
  schedule: Fault[];
  last: Setup['afterStorm'];
  protocols: Set<Protocol>;
}

function changesOf(setup: Setup, random: RandomStream, mayCompareAnew: boolean): Changes {
  const { hosts, durationUs } = setup;
  const first = hosts[0]!.config;
  let net: NetOptions = first.peers[0]!.net;
  let disk: ResourceConfig['volumes'][number]['disk'] = first.volumes[0]!.disk;
  const changes: Changes = { schedule: [], last: [], protocols: new Set([net.protocol]) };
  let count = 0;
  for (let atUs = random.integer(SECOND_US, 5 * SECOND_US); atUs < durationUs; atUs += random.integer(SECOND_US, 8 * SECOND_US)) {
    count++;
    const what = random.pick(mayCompareAnew ? ['protocol', 'protocol', 'protocol', 'digests', 'digests', 'secret', 'policy', 'timers', 'rates'] : ['secret', 'timers', 'timers', 'rates', 'rates']);
    if (what === 'protocol') net = { ...net, protocol: random.pick(disk.fencing === 'resource-and-stonith' ? ['B', 'C'] : ['A', 'B', 'C']) };
    else if (what === 'digests') net = { ...net, dataIntegrityAlg: random.pick(['', 'crc32c', 'sha1', 'md5']) };
    else if (what === 'secret') net = { ...net, cramHmacAlg: random.pick(['sha1', 'sha256']), sharedSecret: `secret ${count}` };
    else if (what === 'policy') net = { ...net, afterSb0Pri: random.pick(['disconnect', 'discard-local', 'discard-zero-changes']) };
    else if (what === 'timers') net = { ...net, pingInt: random.pick([1, 3, 10]), koCount: random.pick([3, 7]), maxEpochSize: random.pick([20, 200, 2048]), maxBuffers: random.pick([32, 128, 2048]) };
    else disk = { ...disk, resyncRate: random.pick([4000, 40_000, 200_000]), cPlanAhead: random.pick([0, 5, 20]), cMinRate: random.pick([0, 250, 4000]) };
    changes.protocols.add(net.protocol);
    const both = optionsWith(hosts, net, disk);
    const order = random.chance(1, 2) ? both : both.toReversed();
    const gapUs = random.chance(1, 2) ? random.integer(0, 20_000) : random.integer(0, 2 * SECOND_US);
    order.forEach(({ host, command }, place) => changes.schedule.push(act(`options-${count}-${host}`, atUs + place * gapUs, host, command)));
    if (random.chance(1, 2)) {
      const againUs = atUs + gapUs + random.integer(1, SECOND_US);
      changes.schedule.push(act(`connect-${count}-alice`, againUs, ALICE, connectTo(BOB)), act(`connect-${count}-bob`, againUs, BOB, connectTo(ALICE)));
    }
  }
  changes.schedule = changes.schedule.filter(({ trigger }) => 'atUs' in trigger && trigger.atUs < durationUs);
  changes.last = optionsWith(hosts, net, disk);
  return changes;
}
