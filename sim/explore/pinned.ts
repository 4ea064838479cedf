/**
 * How much there is to see in each configuration that is seen whole. The counts are the same on every machine; they change when the core does something
 * else than before, in any order of events: who changes it on purpose reads why they changed, and writes the new ones here.
 */

import type { Counts } from './search.js';

export const pinned: Record<string, Counts> = {};
