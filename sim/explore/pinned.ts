/**
 * How much there is to see in each configuration that is seen whole. The counts are the same on every machine; they change when the core does something
 * else than before, in any order of events: who changes it on purpose reads why they changed, and writes the new ones here.
 */

import type { Counts } from './search.js';

export const pinned: Record<string, Counts> = {
  writes: { states: 283, transitions: 535, depth: 25, ends: 9, nodes: 144 },
  smallest: { states: 231645, transitions: 585462, depth: 76, ends: 243, nodes: 10387 },
  cut: { states: 229105, transitions: 576228, depth: 69, ends: 150, nodes: 10448 },
  'role-change': { states: 3045, transitions: 7517, depth: 31, ends: 31, nodes: 750 },
  parted: { states: 1854999, transitions: 5586916, depth: 154, ends: 1759, nodes: 47940 },
  silent: { states: 104713, transitions: 262607, depth: 88, ends: 141, nodes: 8822 },
  slow: { states: 21390, transitions: 60199, depth: 64, ends: 169, nodes: 1845 },
  'two-crashes': { states: 1199368, transitions: 2066134, depth: 123, ends: 2022, nodes: 24634 },
  crossing: { states: 3692, transitions: 6525, depth: 48, ends: 30, nodes: 1033 },
};
