/**
 * The small configurations that `lockstep explore` goes through, as data: what there is, and how much may happen to it. Each is a world small enough
 * to be seen whole, or as far as a bound allows.
 */

import { defaultDiskOptions, defaultNetOptions } from '../../src/config/defaults.js';
import type { ResourceConfig } from '../../src/contract/index.js';
import type { HostSpec, Setup } from '../types.js';

export interface Configuration {
  name: string;
  /** One line. */
  summary: string;
  /** Of 4 KiB each: the whole device. */
  blocks: number;
  /** Writes of a block each, wherever somebody is Primary. */
  writes: number;
  /** How often a host may crash, the connection may break, somebody may be promoted or demoted; at any moment. */
  crashes: number;
  cuts: number;
  promotions: number;
  demotions: number;
  /** Who may be promoted: only one whose peer is not Primary, or anybody. */
  promotes: 'successor' | 'anybody';
  /** Whose attempts to connect get through: with `both` they cross in every way, which is a world of its own. */
  connects: 'alice' | 'both';
  /** A pair that has not come to rest after so many alarms never will. */
  ticksMax: number;
  /** It ends by itself in minutes: `lockstep explore` needs no bound. */
  isComplete: boolean;
}

const nothing = { crashes: 0, cuts: 0, promotions: 0, demotions: 0, promotes: 'successor', connects: 'alice', ticksMax: 40 } as const;

export const configurations: readonly Configuration[] = [
  { ...nothing, name: 'writes', summary: 'one block, three writes, no trouble', blocks: 1, writes: 3, isComplete: true },
  { ...nothing, name: 'smallest', summary: 'one block, one write, one crash at any step, one promotion of the survivor', blocks: 1, writes: 1, crashes: 1, promotions: 1, isComplete: true },
  { ...nothing, name: 'cut', summary: 'one block, two writes, the connection breaks once at any step', blocks: 1, writes: 2, cuts: 1, isComplete: true },
  { ...nothing, name: 'role-change', summary: 'one block, two writes, the Primary is told to be Secondary and the other to be Primary', blocks: 1, writes: 2, demotions: 1, promotions: 1, isComplete: true },
  { ...nothing, name: 'parted', summary: 'one block, two writes, the connection breaks and anybody may be promoted: a split brain must be seen', blocks: 1, writes: 2, cuts: 1, promotions: 1, promotes: 'anybody', isComplete: true },
  { ...nothing, name: 'two-writes', summary: 'one block, two writes, one crash, one promotion', blocks: 1, writes: 2, crashes: 1, promotions: 1, isComplete: false },
  { ...nothing, name: 'two-crashes', summary: 'one block, one write, two crashes, of one node or both', blocks: 1, writes: 1, crashes: 2, isComplete: false },
  { ...nothing, name: 'crossing', summary: 'the connection breaks once and both nodes connect at once, without writes', blocks: 1, writes: 0, cuts: 1, connects: 'both', isComplete: true },
];

/** In the terms of the simulator, for the checkers. */
export function setupOf({ blocks, crashes, cuts, promotes }: Configuration): Setup {
  const hosts = ['alice', 'bob'].map((name, place): HostSpec => {
    const config: ResourceConfig = {
      resource: 'r0',
      volumes: [{ volume: 0, minor: 0, metaDisk: { kind: 'flexible' }, disk: { ...defaultDiskOptions, alExtents: 67, cPlanAhead: 0, resyncRate: 40_000, cMinRate: 0 }, sizeSectors: 0 }],
      peers: [{ name: place === 0 ? 'bob' : 'alice', net: defaultNetOptions }],
      onNoDataAccessible: 'io-error',
      handlers: [],
      protocolMin: 86,
      protocolMax: 101,
    };
    return { name, disks: [{ volume: 0, dataSectors: blocks * 8, metaSectors: META_SECTORS }], config, handlers: [] };
  });
  return {
    parameters: {},
    hosts,
    network: { latencyUs: 0, jitterUs: 0, bytesPerSecond: 1 },
    disk: { readUs: 0, writeUs: 0, flushUs: 0, jitterUs: 0, bytesPerSecond: 1 },
    workload: { kind: 'none' },
    schedule: [],
    prepare: [],
    initial: 'synced',
    onBoot: 'attach-and-connect',
    failover: { by: 'nobody' },
    afterStorm: [],
    durationUs: 0,
    settleUs: 0,
    expectations: {
      protocol: 'C',
      splitBrainPossible: promotes === 'anybody' || crashes + cuts > 1,
      unexpectedDisconnectsAllowed: false,
      skip: [],
      activeSetExtents: 67,
    },
  };
}

/** The least that DRBD takes. */
const META_SECTORS = 2048;
