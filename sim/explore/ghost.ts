/**
 * What the application knows, as a value: its requests and their answers, in the order in which they happened. The record that the checkers
 * ask (sim/ghost.ts) is made of it when it is needed; there are few different ones.
 */

import { createGhost, type GhostRecord } from '../ghost.js';
import type { Setup, WorkloadRequest } from '../types.js';
import type { Configuration } from './configurations.js';

export interface GhostEvent {
  is: 'issued' | 'acknowledged' | 'failed' | 'abandoned';
  /** From 1. */
  write: number;
  /** The host that was asked. */
  host: number;
  /** Of an acknowledged one: hosts whose disk must show it, or something newer, as bits. */
  must: number;
}

export const blockOfWrite = ({ blocks }: Configuration, write: number): number => (write - 1) % blocks;

export const requestOf = (configuration: Configuration, write: number): WorkloadRequest => ({
  operation: 'write', volume: 0, sector: blockOfWrite(configuration, write) * 8, sectors: 8, fua: false, tag: write,
});

export function recordOfEvents(setup: Setup, configuration: Configuration, events: readonly GhostEvent[]): GhostRecord {
  const record = createGhost(setup);
  for (const { is, write, host, must } of events) {
    if (is === 'issued') record.issued(write, setup.hosts[host]!.name, requestOf(configuration, write), 0);
    else if (is === 'abandoned') record.abandoned([write], 0);
    else record.completed(write, is === 'acknowledged', 0);
    record.writes[write]!.must |= must;
  }
  return record;
}

const written = new Map<string, Uint8Array>();

/** What a write puts into its block: the stamps of the ghost. */
export function contentOfWrite(configuration: Configuration, setup: Setup, write: number): Uint8Array {
  const key = `${configuration.blocks} ${write}`;
  const known = written.get(key);
  if (known) return known;
  const record = createGhost(setup);
  let bytes: Uint8Array | undefined;
  for (let one = 1; one <= write; one++) bytes = record.issued(one, setup.hosts[0]!.name, requestOf(configuration, one), 0)!.slice();
  written.set(key, bytes!);
  return bytes!;
}
