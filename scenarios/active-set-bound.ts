/**
 * The bound of recovery: an application writes all over a huge device until the active set is full, its Primary dies, and the
 * resync that follows moves the active set, whatever the size of the device. resync-rate 30M, no load after the failover: with
 * the default set (1237 extents, 4948 MiB) it takes 1 to 3 minutes.
 */

import { type Scenario, UsageError } from '../sim/types.js';
import { ALICE, SECOND_US, at, pairSetup } from './pair.js';
import { type Knob, resolve } from './parameters.js';

const GIB_SECTORS = 2097152;
const EXTENT_SECTORS = 8192;
const RESYNC_RATE_KIB_S = 30 * 1024;

/** Device size and size of the active set, as DRBD's users meet them. */
const cases: Record<string, { gib: number; alExtents: number }> = {
  '8GiB': { gib: 8, alExtents: 1237 },
  '64GiB': { gib: 64, alExtents: 1237 },
  '4TiB': { gib: 4096, alExtents: 1237 },
  '1GiB-al128': { gib: 1, alExtents: 128 },
  '4TiB-al128': { gib: 4096, alExtents: 128 },
};

const parameters: Knob[] = [
  {
    name: 'case',
    description: 'device size, and active set where it is not the default of 1237 extents',
    default: 'any',
    choices: ['any', ...Object.keys(cases)],
  },
  {
    name: 'writes',
    description: 'writes before the crash, spread over the whole device; too few do not fill the active set',
    default: 4000,
    min: 1000,
    max: 20_000,
  },
];

export const activeSetBound: Scenario = {
  name: 'active-set-bound',
  summary: 'a Primary with a full active set dies; the resync moves the active set, whatever the size of the device',
  parameters,
  isLarge: true,
  sometimes: [],
  setup(given, random) {
    const resolved = resolve(parameters, given, random);
    const wanted = cases[String(resolved['case'])];
    if (wanted === undefined) throw new UsageError(`case=${resolved['case']} is impossible; choose one of ${Object.keys(cases).join(', ')}`);
    const { gib, alExtents } = wanted;
    const dataSectors = gib * GIB_SECTORS;
    // Internal metadata takes a part in 32768, and the log; rounded up generously.
    const metadataSectors = Math.ceil((gib * 0.0001 * GIB_SECTORS) / EXTENT_SECTORS) * EXTENT_SECTORS + EXTENT_SECTORS;
    const writeUs = 60 * SECOND_US;
    const diesUs = 75 * SECOND_US;
    const setup = pairSetup({ ...resolved, 'al-extents': alExtents, duration: 80 }, random, {
      dataSectors,
      disk: { cPlanAhead: 0, resyncRate: RESYNC_RATE_KIB_S },
      net: { connectInt: 3, pingInt: 3 },
      workload: {
        pattern: 'random',
        // Whole extents only, clear of the metadata at the end: a partial one would have fewer bits.
        sectors: dataSectors - (dataSectors % EXTENT_SECTORS) - metadataSectors,
        maxRequestSectors: 8,
        readShare: { numerator: 0, denominator: 1 },
        thinkUs: Math.floor((writeUs * 4 * 2 * 0.8) / Number(resolved['writes'])),
      },
    });
    setup.parameters = resolved;
    setup.settleUs = 900 * SECOND_US;
    setup.schedule = [at('death', diesUs, { do: 'crash', host: ALICE, restartAfterUs: 4 * SECOND_US })];
    return setup;
  },
};
