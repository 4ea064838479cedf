/**
 * Disk errors: reads, writes and flushes fail, of data and of metadata, now and then or for a whole region, or a disk hangs, or an operator
 * takes it away under load and brings it back, while links break and hosts crash. The policy `on-io-error` and `disk-timeout` decide
 * whether the disk is given up; the peer's copy must carry on.
 */

import type { Command } from '../src/contract/index.js';
import type { Fault, FaultKind, Scenario, Setup } from '../sim/types.js';
import { ALICE, BOB, RESOURCE, afterStorm, pairSetup } from './pair.js';
import { knobs, resolve } from './parameters.js';
import { drawStorm } from './storm.js';

const parameters = [
  knobs.protocol, knobs.fencing, knobs.volumes, knobs.alExtents, knobs.metaDisk, knobs.queueDepth, knobs.discards, knobs.onIoError,
  knobs.diskTimeout, knobs.onNoData, knobs.readBalancing, knobs.csumsAlg, knobs.protocolMax, knobs.writes, knobs.durationS,
];

const META_SECTORS_ALL = 2 ** 30;

export const diskErrors: Scenario = {
  name: 'disk-errors',
  summary: 'reads, writes, flushes and metadata writes fail, disks hang or are taken away; on-io-error and disk-timeout decide, the peer carries on',
  parameters,
  sometimes: ['resync interrupted'],
  setup(given, random) {
    const resolved = resolve(parameters, given, random);
    const setup = pairSetup(resolved, random);
    const swarm = random.fork('swarm');
    const volumes = Array.from({ length: Number(resolved['volumes']) }, (_, volume) => volume);
    const operators = volumes.flatMap((volume): { host: string; command: Command }[] => [
      ...[ALICE, BOB].map((host) => ({ host, command: { verb: 'attach', resource: RESOURCE, volume } as const })),
      { host: ALICE, command: { verb: 'attach', resource: RESOURCE, volume } },
      { host: ALICE, command: { verb: 'detach', resource: RESOURCE, volume, force: swarm.chance(2, 3) } },
    ]);
    const hangs: FaultKind[] = Number(resolved['disk-timeout']) > 0 ? ['hang-disk', 'hang-disk'] : [];
    const more: FaultKind[] = swarm.chance(1, 2) ? ['cut', 'reset'] : ['crash'];
    const schedule = drawStorm(setup, swarm, {
      kinds: ['disk-error', 'disk-error', 'latent-error', 'command', ...hangs, ...more], gapsS: [5, 10, 20],
      longestS: 10, longestRestartS: 10, commands: operators, oneWayCuts: false, togetherLosePower: false, atEventOneIn: 3,
    }, swarm.fork('faults'));
    // The swarm leaves metadata alone; here it fails too, anywhere in its area. One disk is bad, the other is good: what two bad disks
    // have lost between them no protocol brings back.
    const metadata = swarm.fork('metadata').chance(1, 2);
    const bad = swarm.fork('bad').pick([ALICE, BOB]);
    setup.schedule = schedule.map((fault, index) => onHost(metadata && index % 2 === 1 ? onMetadata(fault) : fault, bad, (index >> 1) % volumes.length));
    // A disk that is kept in spite of errors stays Inconsistent, and so does one whose source could not read: whoever is, is made again
    // from the good one. (The good one refuses.) Twice, since requests of both sides may cross.
    const remade = [ALICE, BOB, ALICE, BOB].flatMap((host) =>
      volumes.map((volume): Setup['afterStorm'][number] => ({ host, command: { verb: 'invalidate', resource: RESOURCE, volume } })),
    );
    setup.afterStorm = [...afterStorm(setup.schedule, volumes.length), ...(resolved['on-io-error'] === 'pass_on' ? remade : [])];
    return setup;
  },
};

/** What happens to a disk happens to the bad host's, of one volume; attaching does no harm anywhere. */
function onHost(fault: Fault, host: string, volume: number): Fault {
  const { action } = fault;
  if (action.do === 'disk-error' || action.do === 'latent-error' || action.do === 'hang-disk') return { ...fault, action: { ...action, host, volume } };
  if (action.do === 'command' && action.command.verb === 'detach') return { ...fault, action: { ...action, host } };
  return fault;
}

/** A disk error that hits metadata instead: one operation, wherever it is. */
function onMetadata(fault: Fault): Fault {
  if (fault.action.do !== 'disk-error') return fault;
  return { ...fault, action: { ...fault.action, area: 'meta', firstSector: 0, sectors: META_SECTORS_ALL, times: 1 } };
}
