/**
 * How much there is to see in each configuration that is seen whole. The counts are the same on every machine; they change when the core does something
 * else than before, in any order of events: who changes it on purpose reads why they changed, and writes the new ones here.
 */

import type { Counts } from './search.js';

export const pinned: Record<string, Counts> = {
  writes: { states: 283, transitions: 535, depth: 25, ends: 9, nodes: 144 },
  smallest: { states: 269211, transitions: 682078, depth: 78, ends: 277, nodes: 11442 },
  cut: { states: 240327, transitions: 602873, depth: 72, ends: 181, nodes: 10398 },
  'role-change': { states: 3045, transitions: 7517, depth: 31, ends: 31, nodes: 750 },
  parted: { states: 1939145, transitions: 5838096, depth: 154, ends: 1821, nodes: 48076 },
  silent: { states: 104713, transitions: 262607, depth: 88, ends: 141, nodes: 8822 },
  slow: { states: 21770, transitions: 60852, depth: 67, ends: 171, nodes: 1900 },
  'two-crashes': { states: 1221158, transitions: 2108128, depth: 123, ends: 2104, nodes: 25379 },
  'two-writes': { states: 4891970, transitions: 13308106, depth: 86, ends: 2098, nodes: 74193 },
  crossing: { states: 3692, transitions: 6525, depth: 48, ends: 30, nodes: 1033 },
};
