/**
 * What a run has reached, counted by name: what a sweep adds up, holds against the list of what can be reached, and steers by. Names are
 * stable: they are the DRBD names of what they count.
 */

import { AL_MAGIC } from '../../src/metadata/activity-log.js';
import { formatOf } from '../../src/metadata/superblock.js';
import type { Observation } from '../../src/contract/index.js';
import type { RunResult } from '../types.js';
import type { DiskOperation } from './disk.js';
import type { Host } from './host.js';
import type { Link } from './link.js';
import { PACKET_INDICES, packetNameOfIndex } from './packets.js';
import { stateFields } from './words.js';

type Counts = Record<string, number>;
type StateChange = Extract<Observation, { event: 'state' }>;

export class Coverage {
  private readonly rules: Counts = {};
  private readonly states: Counts = {};
  private readonly transitions: Counts = {};
  private readonly crashPositions: Counts = {};
  private readonly faults: Counts = {};
  private readonly sometimes: Counts = {};

  decision(rule: string): void {
    count(this.rules, rule);
  }

  fault(kind: string): void {
    count(this.faults, kind);
  }

  reached(sometimes: string): void {
    count(this.sometimes, sometimes);
  }

  /** Counts each field that changes. */
  stateChange({ from, to }: StateChange): void {
    for (const [field, name] of stateFields) {
      if (from[field] === to[field]) continue;
      const [before, after] = [name(from[field]), name(to[field])];
      count(this.states, `${field}:${after}`);
      count(this.transitions, `${field}:${before}→${after}`);
    }
  }

  /** The host dies now: behind the operation that ended last, before the one that would have ended next as far as the core knows. */
  crash(host: Host): void {
    let next: DiskOperation | undefined;
    for (const disk of host.disks()) for (const operation of disk.outstanding) if (next === undefined || operation.op < next.op) next = operation;
    count(this.crashPositions, `${host.lastDiskStep} | ${next === undefined ? 'nothing' : diskStep(next)}`);
  }

  counted(links: readonly Link[]): RunResult['coverage'] {
    const packets: Counts = {};
    for (let index = 0; index < PACKET_INDICES; index++) {
      let total = 0;
      for (const link of links) total += link.allDeliveredPackets(index);
      if (total > 0) packets[packetNameOfIndex(index)] = total;
    }
    const { rules, states, transitions, crashPositions, faults, sometimes } = this;
    return { rules, packets, states, transitions, crashPositions, faults, sometimes };
  }
}

/** What a disk operation is for the metadata's order of writes: `write superblock`, `flush meta`, `write data`. */
export function diskStep({ verb, area, data }: Pick<DiskOperation, 'verb' | 'area' | 'data'>): string {
  return `${verb} ${verb === 'write' && area === 'meta' && data !== undefined ? metadataPart(data) : area}`;
}

function metadataPart(bytes: Uint8Array): string {
  if (bytes.length >= 4 && new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0) === AL_MAGIC) return 'log';
  return formatOf(bytes) === undefined ? 'bitmap' : 'superblock';
}

function count(counters: Counts, name: string): void {
  counters[name] = (counters[name] ?? 0) + 1;
}
