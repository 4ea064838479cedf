/**
 * Chains: orders, faults and deaths that follow one another within a round trip or a few seconds, of every kind; then everything is mended, and the
 * next chain begins. A storm seldom has two things of a kind that matters so close together; the traps do, and know what they are after. Here nobody
 * does: it is for the bugs that nobody has thought of.
 */

import type { Command } from '../src/contract/index.js';
import type { Fault, FaultAction, RandomStream, Scenario, Setup } from '../sim/types.js';
import { ALICE, BOB, RESOURCE, SECOND_US, act, afterStorm, at, commands, connectTo, pairSetup } from './pair.js';
import { knobs, resolve, withDefault } from './parameters.js';
import { ALL_SECTORS, notWithA } from './traps/story.js';

const parameters = [
  knobs.protocol, knobs.fencing, knobs.volumes, knobs.alExtents, knobs.alUpdates, knobs.metaDisk, knobs.size, knobs.queueDepth, knobs.discards, knobs.rsDiscardGranularity, knobs.readBalancing,
  knobs.onIoError, knobs.onNoData, knobs.protocolMax, knobs.csumsAlg, withDefault(knobs.failover, 'manager'), knobs.writes, withDefault(knobs.durationS, 40),
];

export const chains: Scenario = {
  name: 'chains',
  summary: 'orders, faults and deaths of every kind within a round trip of one another, mended, again and again',
  parameters,
  sometimes: ['resync interrupted', 'split brain detected', 'both lost power', 'half-open connection'],
  setup(given, random) {
    const resolved = resolve(parameters, given, random);
    const story = random.fork('story');
    // In half of the runs one host's disk fails or is taken away by force. The other host keeps its power then: what its disk had not flushed is gone
    // with it, and what two bad disks have lost between them no protocol brings back. Nor what protocol A had on that disk alone.
    const bad = story.fork('bad').pick([ALICE, BOB, undefined, undefined]);
    if (bad !== undefined) notWithA(resolved);
    const setup = pairSetup(resolved, random, { net: { connectInt: 1, pingInt: 1 } });
    if (bad !== undefined) setup.expectations.skip = [{ property: 'liveness', reason: 'where a resync loses its source no good disk may be left: an operator must choose' }];
    const windows = story.fork('windows');
    // What takes long can be met half done.
    if (windows.chance(1, 3)) setup.schedule.push(at('slow-disk', 0, { do: 'slow-disk', host: windows.pick([ALICE, BOB]), forUs: setup.durationUs, factor: windows.pick([5, 20]) }));
    for (let number = 1, startUs = 0; ; number++) {
      const chain = story.fork(`chain ${number}`);
      startUs += chain.integer(SECOND_US / 2, 2 * SECOND_US);
      if (startUs >= setup.durationUs - 8 * SECOND_US) break;
      const links = drawChain(chain, setup, number, startUs, bad);
      const mendUs = startUs + chain.integer(2, 5) * SECOND_US;
      setup.schedule.push(...links, ...mend(number, mendUs, Number(resolved['volumes']), chain.pick([ALICE, BOB])));
      startUs = mendUs;
    }
    // Two may be Primary, or one without any good data: the service is stopped before all is mended.
    const stopUs = setup.durationUs - 6 * SECOND_US;
    setup.schedule = setup.schedule.filter(({ trigger }) => 'atUs' in trigger && trigger.atUs < stopUs);
    for (const host of [ALICE, BOB]) setup.schedule.push(act(`stop-${host}`, stopUs, host, { verb: 'secondary', resource: RESOURCE }));
    setup.afterStorm = afterStorm(setup.schedule, Number(resolved['volumes']), resolved['on-io-error'] === 'pass_on');
    for (const [host, peer] of [[ALICE, BOB], [BOB, ALICE]] as const) setup.afterStorm.push({ host, command: connectTo(peer) });
    return setup;
  },
};

function drawChain(random: RandomStream, setup: Setup, number: number, startUs: number, bad: string | undefined): Fault[] {
  const { alice, bob } = commands(setup.parameters);
  const orders = [...alice, ...bob].filter((order) => !takesGoodDisk(order, bad));
  const links: Fault[] = [];
  const count = random.integer(2, 5);
  let atUs = startUs;
  for (let link = 1; link <= count; link++) {
    links.push(at(`link-${number}-${link}`, atUs, drawLink(random, orders, bad, Number(setup.parameters['volumes']))));
    atUs += random.integer(0, random.pick([0, 300, 3000, 30_000, 300_000, SECOND_US]));
  }
  return links;
}

/** Would it leave only a disk that may fail, or lose what it has not flushed with its power? */
function takesGoodDisk({ host, command }: { host: string; command: Command }, bad: string | undefined): boolean {
  if (bad === undefined) return command.verb === 'detach';
  return host === bad ? command.verb === 'invalidate-remote' : command.verb === 'detach' || command.verb === 'outdate' || command.verb === 'invalidate';
}

function drawLink(random: RandomStream, orders: readonly { host: string; command: Command }[], bad: string | undefined, volumes: number): FaultAction {
  const host = random.pick([ALICE, BOB]);
  const [from, to] = random.chance(1, 2) ? [ALICE, BOB] : [BOB, ALICE];
  const forUs = random.integer(1, random.pick([2000, 200_000, 3 * SECOND_US]));
  const restartAfterUs = random.integer(1000, random.pick([SECOND_US / 10, SECOND_US, 3 * SECOND_US]));
  const stream = random.chance(1, 3) ? { stream: random.pick(['data', 'meta'] as const) } : {};
  const volume = random.integer(0, volumes - 1);
  switch (random.integer(1, 16)) {
    case 1:
      return { do: 'crash', host, restartAfterUs };
    case 2:
      return { do: 'power-loss', hosts: bad ? [bad] : random.pick([[host], [host], [ALICE, BOB]]), restartAfterUs, tear: random.integer(0, 0x7fffffff) };
    case 3:
    case 4:
      return { do: 'reset', from, to };
    case 5:
      return { do: 'cut', from, to, oneWay: random.chance(1, 3), forUs, ...stream };
    case 6:
      return { do: 'stall', from, to, forUs, ...stream };
    case 7:
    case 8:
      if (!bad) return { do: 'slow-link', from, to, forUs, latencyUs: random.integer(1000, 100_000), bytesPerSecond: random.integer(50_000, 10_000_000) };
      return random.chance(1, 2)
        ? { do: 'hang-disk', host: bad, volume, forUs }
        : { do: 'disk-error', host: bad, volume, area: random.pick(['data', 'data', 'meta']), operation: random.pick(['read', 'write', 'write', 'flush']), firstSector: 0, sectors: ALL_SECTORS, times: 1 };
    case 9:
      if (!bad) return { do: 'pause', host, forUs };
      return { do: 'command', host: bad, command: { verb: 'detach', resource: RESOURCE, volume, force: true } };
    default: {
      const order = random.pick(orders);
      return { do: 'command', ...order };
    }
  }
}

/** What an operator does who finds it in disorder. Most of it is refused: there was nothing to mend. */
function mend(number: number, atUs: number, volumes: number, primary: string): Fault[] {
  const orders: { host: string; command: Command }[] = [];
  for (const [host, peer] of [[ALICE, BOB], [BOB, ALICE]] as const) {
    orders.push({ host, command: { verb: 'resume-io', resource: RESOURCE } }, { host, command: connectTo(peer) });
    for (let volume = 0; volume < volumes; volume++) {
      orders.push({ host, command: { verb: 'attach', resource: RESOURCE, volume } }, { host, command: { verb: 'resume-sync', resource: RESOURCE, volume } });
    }
  }
  orders.push({ host: primary, command: { verb: 'primary', resource: RESOURCE, force: false } });
  return orders.map(({ host, command }, index) => act(`mend-${number}-${index + 1}`, atUs + 1000 * index, host, command));
}
