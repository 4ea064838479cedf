/**
 * Frozen I/O: while a node holds its I/O (an administrator's suspend-io, no data, fencing) no application is answered (I15); and once suspend-io is
 * answered, nothing more reaches the disk, or what is copied from it then is of no one moment (bug B147). Who is frozen until the peer is fenced
 * has it fenced (bug B138).
 */

import type { Output } from '../../src/contract/index.js';
import { Conn, Role } from '../../src/state/states.js';
import type { Checker, Setup, WorldView } from '../types.js';
import { volumesOf } from '../spec.js';
import { type Lineage, isTargetState } from './lineage.js';

/** The marks of the outage are on the disk first: a slow one takes its time. */
const FENCE_DUE_US = 20_000_000;

type DataWrite = Extract<Output, { type: 'disk-write' | 'disk-write-zeroes' | 'disk-discard' }>;

export function frozenIo(setup: Setup, lineage: Lineage): Checker {
  const suspensions = ['susp', 'suspNod', 'suspFen'];
  /** Resources that are frozen, with why, and those whose suspend-io was answered, by host. */
  const frozen = setup.hosts.map(() => new Map<string, string>());
  const suspended = setup.hosts.map(() => new Set<string>());
  /** suspend-io that is not answered, and writes of data that have not ended, by host. */
  const asked = setup.hosts.map(() => new Map<number, string>());
  const writing = setup.hosts.map(() => new Map<number, DataWrite>());

  /** Since when a host without its peer is frozen until that is fenced, and has called no handler for it, by resource. */
  const unfencedSinceUs = setup.hosts.map(() => new Map<string, number>());

  const report = (detail: string, world: WorldView): void => world.report({ property: 'frozen-io', atUs: world.nowUs, detail });
  /** The peer's writes, or a resync's, are none of this node's application. */
  const takesFromPeer = (host: number): boolean =>
    volumesOf(setup.hosts[host]!).some(({ volume }) => {
      const { conn, peer } = lineage.status(host, volume);
      return isTargetState(conn) || (conn >= Conn.Connected && peer === Role.Primary);
    });

  return {
    property: 'frozen-io',
    onHost(name) {
      const host = lineage.hostPlace(name);
      for (const one of [frozen, suspended, asked, writing, unfencedSinceUs]) one[host]!.clear();
    },
    onInput(name, input) {
      const host = lineage.hostPlace(name);
      if (input.type === 'command' && input.command.verb === 'suspend-io') asked[host]!.set(input.id, input.command.resource);
      if (input.type === 'disk-done' || input.type === 'disk-failed') writing[host]!.delete(input.op);
    },
    onOutput(name, output, world) {
      const host = lineage.hostPlace(name);
      if (output.type === 'observe' && output.event.event === 'state') {
        const { resource, to } = output.event;
        const why = to.flags.filter((flag) => suspensions.includes(flag));
        if (why.length > 0) frozen[host]!.set(resource, why.join('+'));
        else frozen[host]!.delete(resource);
        const isFenceDue = why.includes('suspFen') && to.role === Role.Primary && to.conn < Conn.Connected;
        if (!isFenceDue) unfencedSinceUs[host]!.delete(resource);
        else if (!unfencedSinceUs[host]!.has(resource)) unfencedSinceUs[host]!.set(resource, world.nowUs);
        if (!why.includes('susp')) suspended[host]!.delete(resource);
      } else if ((output.type === 'disk-write' || output.type === 'disk-write-zeroes' || output.type === 'disk-discard') && output.area === 'data') {
        writing[host]!.set(output.op, output);
        if (suspended[host]!.has(output.resource) && !takesFromPeer(host)) report(`${name} writes sector ${output.sector} of volume ${output.volume} although its I/O is suspended`, world);
      } else if (output.type === 'run-handler') {
        // It has been called: whatever it says, and however long it takes, is not the core's affair.
        if (output.name === 'fence-peer') unfencedSinceUs[host]!.set(output.resource, Infinity);
      } else if (output.type === 'reply') {
        const resource = asked[host]!.get(output.command);
        asked[host]!.delete(output.command);
        if (resource === undefined || !output.reply.ok) return;
        suspended[host]!.add(resource);
        const late = [...writing[host]!.values()].find((write) => write.resource === resource);
        if (late && !takesFromPeer(host)) report(`${name} says that its I/O is suspended while it writes sector ${late.sector} of volume ${late.volume}`, world);
      } else if (output.type === 'app-done' || (output.type === 'app-failed' && output.error === 'EIO')) {
        const why = frozen[host]!.get(output.resource);
        if (why !== undefined) report(`${name} answers request ${output.id} of volume ${output.volume} while its I/O is frozen (${why})`, world);
      }
    },
    onCheckpoint(world) {
      for (const [host, { name }] of setup.hosts.entries()) {
        for (const [resource, sinceUs] of unfencedSinceUs[host]!) {
          if (world.hosts[host]!.state !== 'running' || world.nowUs - sinceUs < FENCE_DUE_US) continue;
          unfencedSinceUs[host]!.set(resource, Infinity);
          report(`${name} is frozen until its peer is fenced, and calls no handler for that`, world);
        }
      }
    },
  };
}
