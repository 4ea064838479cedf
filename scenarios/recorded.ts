/**
 * Recorded: what a real filesystem or database wrote is written again, through the pair, its Primary dies at a point that the seed
 * draws, and the survivor's image goes through the real check: every step that the application had been told is durable
 * must be there (judges/). A trace of a few hundred KB is part of the project; others are given with trace=FILE.
 */

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { FaultAction, RandomStream, Scenario, Trigger } from '../sim/types.js';
import { UsageError } from '../sim/types.js';
import { type DmLog, readDmLog } from '../sim/workloads/dmlog.js';
import { judgeRecorded } from './judges/index.js';
import { ALICE, BOB, SECOND_US, pairSetup, usableSectors } from './pair.js';
import { knobs, resolve, withDefault } from './parameters.js';
import { readTraceInfo } from './traces.js';

const DEFAULT_TRACE = 'scenarios/traces/ext4-journal.dmlog.gz';
const SPLIT_SECTORS = 2048;

const parameters = [
  { name: 'trace', description: 'log in the dm-log-writes format, with its description (.json) beside it', default: DEFAULT_TRACE, file: true },
  withDefault(knobs.protocol, 'C'),
  withDefault(knobs.queueDepth, 8),
  knobs.alExtents,
  withDefault(knobs.protocolMax, 101),
  withDefault(knobs.durationS, 60),
];

export const recorded: Scenario = {
  name: 'recorded',
  summary: 'replays what a real filesystem or database wrote, kills the Primary, and checks the survivor with the real tools',
  parameters,
  sometimes: [],
  setup(given, random) {
    const resolved = resolve(parameters, given, random);
    const trace = locate(String(resolved['trace']));
    const info = readTraceInfo(trace);
    const log = readDmLog(trace);
    if (log.entries.length !== info.entries) {
      throw new UsageError(`the trace ${trace} has ${log.entries.length} entries, its description says ${info.entries}; copy both again`);
    }
    const deviceSectors = info.deviceBytes / 512;
    const setup = pairSetup(resolved, random, { dataSectors: deviceSectors + roomForMetadata(deviceSectors), sizeSectors: deviceSectors });
    if (usableSectors(setup.hosts) !== deviceSectors) throw new Error('the recorded device does not fit');
    const point = random.fork('point');
    const firstEntry = info.acks.find((ack) => ack.ack === 'mkfs')?.entry ?? 0;
    const entry = point.integer(firstEntry, info.entries);
    setup.workload = { kind: 'recorded', file: trace, queueDepth: Number(resolved['queue-depth']), thinkUs: 0, entries: info.entries };
    setup.schedule = [{ id: 'death', trigger: triggerAt(log, entry, point), action: death(point) }];
    return setup;
  },
  judge: (image, resolved) => judgeRecorded(image, { ...resolved, trace: locate(String(resolved['trace'])) }),
};

/** As given, or, so that the default works from anywhere, from the root of the checkout. */
function locate(path: string): string {
  const fromRoot = fileURLToPath(new URL(`../../${path}`, import.meta.url));
  return !existsSync(path) && !path.startsWith('/') && existsSync(fromRoot) ? fromRoot : path;
}

/** Internal metadata and some odd sectors: superblock, activity log, and a page of bitmap for each 128 MiB, generously. */
const roomForMetadata = (sectors: number): number => 256 + Math.ceil(sectors / 16_384) + 5;

/** Around the moment when the first `entry` entries are written: at a write on disk, or at a packet that carries one. */
function triggerAt(log: DmLog, entry: number, random: RandomStream): Trigger {
  let writes = 0;
  for (const one of log.entries.slice(0, entry)) if (one.data) writes += Math.ceil(one.sectors / SPLIT_SECTORS);
  const nth = Math.max(1, writes);
  const delay = random.chance(1, 2) ? {} : { delayUs: random.integer(1, 3000) };
  switch (random.integer(1, 4)) {
    case 1:
      return { onDiskOperation: 'write', host: ALICE, area: 'data', nth, when: 'issued', ...delay };
    case 2:
      return { onDiskOperation: 'write', host: ALICE, area: 'data', nth, when: 'done', ...delay };
    case 3:
      return { onPacket: 'P_DATA', from: ALICE, to: BOB, nth, when: 'sent', ...delay };
    default:
      return { onPacket: 'P_DATA', from: ALICE, to: BOB, nth, when: 'delivered', ...delay };
  }
}

/** alice comes back, if at all, when bob has noticed (ping-int 10 s) and was promoted: it is his image that is judged. */
function death(random: RandomStream): FaultAction {
  // Not before the survivor was promoted: it is the survivor that is judged.
  const restart = random.chance(1, 2) ? { restartAfterUs: random.integer(20 * SECOND_US, 30 * SECOND_US) } : {};
  if (random.chance(1, 2)) return { do: 'crash', host: ALICE, ...restart };
  return { do: 'power-loss', hosts: [ALICE], tear: random.integer(0, 0x7fffffff), ...restart };
}
