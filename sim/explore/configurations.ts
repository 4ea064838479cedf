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
  /** How often time may pass to the next alarm though something is on its way: that is slow, or the alarm is. */
  hurries: number;
  /** Does the peer hear at once that a host has crashed (its system resets what is left of the connections), or only when it waits for an answer in vain? */
  crashesAre: 'heard' | 'unheard';
  /** Who may be promoted: only one whose peer is not Primary, or anybody. */
  promotes: 'successor' | 'anybody';
  /** Whose attempts to connect get through: with `both` they cross in every way, which is a world of its own. */
  connects: 'alice' | 'both';
  /** Seconds. */
  pingInt: number;
  /** A pair that has not come to rest after so many alarms never will. */
  ticksMax: number;
  /** It ends by itself in minutes: `lockstep explore` needs no bound. */
  isComplete: boolean;
}

const nothing = { crashes: 0, cuts: 0, promotions: 0, demotions: 0, hurries: 0, crashesAre: 'heard', promotes: 'successor', connects: 'alice', pingInt: defaultNetOptions.pingInt, ticksMax: 40 } as const;

export const configurations: readonly Configuration[] = [
  { ...nothing, name: 'writes', summary: 'one block, three writes, no trouble', blocks: 1, writes: 3, isComplete: true },
  { ...nothing, name: 'smallest', summary: 'one block, one write, one crash at any step, one promotion of the survivor', blocks: 1, writes: 1, crashes: 1, promotions: 1, isComplete: true },
  { ...nothing, name: 'cut', summary: 'one block, two writes, the connection breaks once at any step', blocks: 1, writes: 2, cuts: 1, isComplete: true },
  { ...nothing, name: 'role-change', summary: 'one block, two writes, the Primary is told to be Secondary and the other to be Primary', blocks: 1, writes: 2, demotions: 1, promotions: 1, isComplete: true },
  { ...nothing, name: 'parted', summary: 'one block, two writes, the connection breaks and anybody may be promoted: a split brain must be seen', blocks: 1, writes: 2, cuts: 1, promotions: 1, promotes: 'anybody', isComplete: true },
  { ...nothing, name: 'silent', summary: 'one block, one write, one crash that the peer finds out by waiting in vain, one promotion', blocks: 1, writes: 1, crashes: 1, crashesAre: 'unheard', promotions: 1, isComplete: true },
  { ...nothing, name: 'slow', summary: 'one block, one write; twice an alarm rings before what is on its way has arrived: enough to give up a connection', blocks: 1, writes: 1, hurries: 2, pingInt: 1, isComplete: true },
  { ...nothing, name: 'crossing', summary: 'the connection breaks once and both nodes connect at once, without writes', blocks: 1, writes: 0, cuts: 1, connects: 'both', isComplete: true },
  { ...nothing, name: 'two-crashes', summary: 'one block, one write, two crashes, of one node or both', blocks: 1, writes: 1, crashes: 2, isComplete: true },
  { ...nothing, name: 'two-writes', summary: 'one block, two writes, one crash, one promotion', blocks: 1, writes: 2, crashes: 1, promotions: 1, isComplete: false },
  { ...nothing, name: 'storm', summary: 'two blocks, two writes, one crash, one broken connection, one promotion, one slow packet', blocks: 2, writes: 2, crashes: 1, cuts: 1, promotions: 1, hurries: 1, isComplete: false },
];

/** In the terms of the simulator, for the checkers. */
export function setupOf({ blocks, crashes, cuts, promotes, pingInt }: Configuration): Setup {
  const hosts = ['alice', 'bob'].map((name, place): HostSpec => {
    const config: ResourceConfig = {
      resource: 'r0',
      volumes: [{ volume: 0, minor: 0, metaDisk: { kind: 'flexible' }, disk: { ...defaultDiskOptions, alExtents: 67, cPlanAhead: 0, resyncRate: 40_000, cMinRate: 0 }, sizeSectors: 0 }],
      peers: [{ name: place === 0 ? 'bob' : 'alice', net: { ...defaultNetOptions, pingInt } }],
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
