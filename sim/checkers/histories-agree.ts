/**
 * Histories: when a resync has ended on both sides, both have the same generation, no other to compare with, and the same history but for the
 * oldest slot (generation-uuids.md §3; I4). A history that lacks what its peer's has is noticed much later, when an old disk comes back: it is
 * taken for another's, and copied whole or refused. So it is looked at when it is written.
 */

import { Conn } from '../../src/state/states.js';
import type { Checker } from '../types.js';

const ENDS = /^end of resync as (source|target)$/;

export function historiesAgree(): Checker {
  /** By volume: the side whose resync has ended while the other's has not yet. */
  const waiting = new Map<number, { host: string; why: string; uuids: string[] }>();
  return {
    property: 'histories-agree',
    onOutput(host, output, world) {
      if (output.type !== 'observe') return;
      const { event } = output;
      if (event.event === 'state' && event.to.conn < Conn.Connected) waiting.delete(event.volume);
      if (event.event !== 'generation') return;
      const first = waiting.get(event.volume);
      waiting.delete(event.volume);
      if (!ENDS.test(event.why)) return;
      const uuids = event.uuids.map(withoutRole);
      if (!first || first.host === host || first.why === event.why) {
        waiting.set(event.volume, { host, why: event.why, uuids });
        return;
      }
      if (agree(first.uuids, uuids)) return;
      const detail = `the resync of volume ${event.volume} has ended, and ${first.host} has the generations ${first.uuids.join(':')}, ${host} ${uuids.join(':')}`;
      world.report({ property: 'histories-agree', atUs: world.nowUs, detail });
    },
    onHost: () => waiting.clear(),
  };
}

/** The oldest is what the target was told at the handshake: resyncs that followed one another since (Ahead) have moved the source's. */
const agree = (one: readonly string[], other: readonly string[]): boolean => one.slice(0, OLDEST).every((uuid, slot) => uuid === other[slot]);

const OLDEST = 3;

/** Bit 0 only says whether it was Primary. */
const withoutRole = (uuid: string): string => (BigInt(`0x${uuid}`) & ~1n).toString(16).toUpperCase();
