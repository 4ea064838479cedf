/**
 * One direction between two hosts: how fast it is, and which faults lie on it now. Streams and datagrams share it.
 */

import type { NetworkSpec, RandomStream, StreamKind } from '../types.js';
import type { Host } from './host.js';
import { PACKET_INDICES } from './packets.js';

/** A fault that waits for a packet on this link. */
export interface PacketWatch {
  index: number;
  nth: number;
  fire(): void;
}

export interface LinkBlock {
  /** Lost bytes come again after a retransmission timeout, stalled ones at once. */
  how: 'cut' | 'stall';
  /** One stream, or everything. */
  stream: StreamKind | undefined;
}

export class Link {
  private busyUntilUs = 0;
  readonly blocks: LinkBlock[] = [];
  readonly slow: { latencyUs: number; bytesPerSecond: number }[] = [];
  readonly sentPackets = new Int32Array(PACKET_INDICES);
  private readonly earlierDelivered = new Int32Array(PACKET_INDICES);
  readonly deliveredPackets = new Int32Array(PACKET_INDICES);
  /** Packets of data that will arrive damaged, and who is told of each. */
  readonly damages: (() => void)[] = [];
  sentWatches: PacketWatch[] = [];
  deliveredWatches: PacketWatch[] = [];

  constructor(
    readonly from: Host,
    readonly to: Host,
    private readonly spec: NetworkSpec,
    readonly random: RandomStream,
  ) {}

  /** The storm begins: packets count from one again, for triggers. */
  restartCounts(): void {
    for (let index = 0; index < PACKET_INDICES; index++) this.earlierDelivered[index]! += this.deliveredPackets[index]!;
    this.sentPackets.fill(0);
    this.deliveredPackets.fill(0);
  }

  /** Packets of this kind that were sent and arrived, in the whole run. */
  allDeliveredPackets(index: number): number {
    return this.earlierDelivered[index]! + this.deliveredPackets[index]!;
  }

  /** When something of this length, sent now, arrives. */
  arrivalUs(nowUs: number, bytes: number): number {
    let { latencyUs, bytesPerSecond } = this.spec;
    for (const slow of this.slow) {
      latencyUs = Math.max(latencyUs, slow.latencyUs);
      bytesPerSecond = Math.min(bytesPerSecond, slow.bytesPerSecond);
    }
    this.busyUntilUs = Math.max(nowUs, this.busyUntilUs) + Math.ceil((bytes * 1000000) / bytesPerSecond);
    return this.busyUntilUs + latencyUs + this.random.integer(0, this.spec.jitterUs);
  }

  isBlocked(kind: StreamKind | undefined): boolean {
    for (const block of this.blocks) if (block.stream === undefined || block.stream === kind) return true;
    return false;
  }

  /** Does a cut, which loses bytes, lie on it? */
  isCut(kind: StreamKind | undefined): boolean {
    for (const block of this.blocks) if (block.how === 'cut' && (block.stream === undefined || block.stream === kind)) return true;
    return false;
  }
}

/** Fires the watches whose packet has now been counted often enough; what is left still waits. */
export function fireWatches(watches: PacketWatch[], counts: Int32Array): PacketWatch[] {
  const due = watches.filter((watch) => counts[watch.index]! >= watch.nth);
  if (due.length === 0) return watches;
  for (const watch of due) watch.fire();
  return watches.filter((watch) => !due.includes(watch));
}
