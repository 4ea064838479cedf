/**
 * Outdated with cause: a disk gives up being good only for somebody who has better data. A Primary goes on without it, a handshake found
 * the peer's data newer, a fence-peer handler or an operator said so; a mere refusal or a connection that ends is no cause (bug B111). Nor is it
 * good again without one: a peer's disk that it was compared with, what a Primary shows, or an operator's force.
 */

import type { Checker, WorldView } from '../types.js';
import { Conn, Disk, Role } from '../../src/state/states.js';
import { type Lineage, isTargetState } from './lineage.js';

/** Fence-peer's word for "the peer is an active Primary" (node-states.md §8.9). */
const PEER_IS_PRIMARY = 6;

export function outdatedWithCause(lineage: Lineage): Checker {
  /** Hosts that were told that they are outdated, since they booted. */
  const told = new Set<number>();

  return {
    property: 'outdated-with-cause',
    onHost(name) {
      told.delete(lineage.hostPlace(name));
    },
    onInput(name, input) {
      const isToldSo = input.type === 'command' ? input.command.verb === 'outdate' : input.type === 'handler-exited' && input.exitCode === PEER_IS_PRIMARY;
      if (isToldSo) told.add(lineage.hostPlace(name));
    },
    onOutput(name, output, world: WorldView) {
      if (output.type !== 'observe' || output.event.event !== 'state') return;
      const { from, to, volume, reason } = output.event;
      const isForced = to.role === Role.Primary && from.role !== Role.Primary;
      const meetsPrimary = from.conn < Conn.Connected && to.peer === Role.Primary;
      if (from.disk === Disk.Outdated && to.disk === Disk.UpToDate && to.pdsk <= Disk.Failed && !isForced && !meetsPrimary) {
        const detail = `volume ${volume} on ${name} was Outdated and becomes UpToDate beside a peer without a disk (${reason})`;
        world.report({ property: 'outdated-with-cause', atUs: world.nowUs, detail });
      }
      if (from.disk <= Disk.Outdated || to.disk !== Disk.Outdated) return;
      if (from.peer === Role.Primary || to.peer === Role.Primary || isTargetState(to.conn) || told.has(lineage.hostPlace(name))) return;
      // An operator parts them, the Primary has agreed, and the connection goes before its word comes: this node has forgotten whom it asked.
      const peer = lineage.peerOf(lineage.hostPlace(name));
      const isParting = to.conn === Conn.Disconnecting && from.conn < Conn.WFConnection;
      if (isParting && lineage.hosts[peer]!.up && lineage.status(peer, volume).role === Role.Primary) return;
      const detail = `volume ${volume} on ${name} becomes Outdated, and its peer is no Primary, nor was it told to (${reason})`;
      world.report({ property: 'outdated-with-cause', atUs: world.nowUs, detail });
    },
  };
}
