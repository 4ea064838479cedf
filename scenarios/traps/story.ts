/** What a trap is: one moment that a published bug needed, as a story of faults and orders, and the circumstances that it takes place in. */

import type { Command } from '../../src/contract/index.js';
import type { Parameters, RandomStream, Setup } from '../../sim/types.js';
import { type PairOptions, RESOURCE, SECOND_US } from '../pair.js';

export interface Story {
  /** Parameters that it does not leave to chance. */
  resolve?: (resolved: Parameters, random: RandomStream) => void;
  /** What the pair is like; without it, as `quiet`. */
  options?: (writes: number, random: RandomStream) => PairOptions;
  /** Puts its faults into the schedule; `startUs`: when it begins. */
  tell: (setup: Setup, random: RandomStream, startUs: number) => void;
  /** Properties that do not hold in it, and why. */
  skip?: Setup['expectations']['skip'];
  /** Nobody dies when it is over. */
  endsHere?: true;
}

export const net = { connectInt: 1, pingInt: 1 };

/** Many under way at any moment. */
export const busy = (writes: number) => ({ pattern: 'random', thinkUs: 8000, writes: 5 * writes }) as const;

/** A resync at a rate that is given. */
export const notPlanned = { cPlanAhead: 0, cMinRate: 0 };

/** Frozen until the peer is fenced, so long. */
export const fencedAfter = (delayUs: number): PairOptions => ({ disk: { fencing: 'resource-and-stonith' }, handlers: [{ name: 'fence-peer', exitCode: 5, delayUs }] });
/** Longer than any story. */
export const NEVER_US = 40 * SECOND_US;

export const withC = (resolved: Parameters): void => {
  resolved['protocol'] = 'C';
};

/** Protocol A has no part in what these are about. */
export const notWithA = (resolved: Parameters): void => {
  if (resolved['protocol'] === 'A') resolved['protocol'] = 'C';
};

/** More extents than the active set has slots: what is marked is marked by a bit. */
export const LARGE_SECTORS = 900 * 2048 + 5;
export const large: PairOptions = { net, dataSectors: LARGE_SECTORS, workload: { pattern: 'random' }, disk: { ...notPlanned, resyncRate: 400_000 } };
/** Requests of 32 KiB would not bring a large device back in the time there is (327). */
export const largeInTime = (resolved: Parameters): void => {
  resolved['protocol-max'] = 101;
};

export const ALL_SECTORS = 2 ** 30;

export const attachHere = { verb: 'attach', resource: RESOURCE, volume: 0 } as const;
export const detachHere = (force: boolean): Command => ({ verb: 'detach', resource: RESOURCE, volume: 0, force });
export const promote: Command = { verb: 'primary', resource: RESOURCE, force: false };
export const demote: Command = { verb: 'secondary', resource: RESOURCE };
