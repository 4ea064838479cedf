/**
 * Thaw: a Primary that is frozen for fencing (resource-and-stonith) goes on without its peer only when that is fenced, on every volume, by the word of
 * a handler that was called for this loss; or when an operator says so (I15, node-states.md §8.9).
 */

import { Conn, Disk, Role } from '../../src/state/states.js';
import type { Checker, Setup, WorldView } from '../types.js';
import { volumesOf } from '../spec.js';
import type { Lineage } from './lineage.js';

interface Freeze {
  sinceUs: number;
  /** An operator has said since then that it is to go on. */
  isTold: boolean;
  /** The last fence-peer handler that has ended since then had been called before. */
  hasStaleVerdict: boolean;
}

export function thaw(setup: Setup, lineage: Lineage): Checker {
  /** By host: freezes by resource, resume-io that is not answered, fence-peer handlers that run. */
  const freezes = setup.hosts.map(() => new Map<string, Freeze>());
  const resuming = setup.hosts.map(() => new Map<number, string>());
  const handlers = setup.hosts.map(() => new Map<number, { resource: string; sinceUs: number }>());
  const report = (detail: string, world: WorldView): void => world.report({ property: 'frozen-io', atUs: world.nowUs, detail });
  /** A volume whose peer's disk is not known to be outdated, or worse. */
  const mayBePromoted = (host: number): number | undefined =>
    volumesOf(setup.hosts[host]!).find(({ volume }) => {
      const { disk, pdsk } = lineage.status(host, volume);
      return disk === Disk.UpToDate && pdsk > Disk.Outdated;
    })?.volume;

  return {
    property: 'frozen-io',
    onHost(name) {
      for (const one of [freezes, resuming, handlers]) one[lineage.hostPlace(name)]!.clear();
    },
    onInput(name, input) {
      const host = lineage.hostPlace(name);
      if (input.type === 'command' && input.command.verb === 'resume-io') {
        resuming[host]!.set(input.id, input.command.resource);
        const freeze = freezes[host]!.get(input.command.resource);
        if (freeze) freeze.isTold = true;
      } else if (input.type === 'handler-exited') {
        const run = handlers[host]!.get(input.handler);
        const freeze = run && freezes[host]!.get(run.resource);
        if (freeze) freeze.hasStaleVerdict = run.sinceUs < freeze.sinceUs;
        handlers[host]!.delete(input.handler);
      }
    },
    onOutput(name, output, world) {
      const host = lineage.hostPlace(name);
      if (output.type === 'reply') resuming[host]!.delete(output.command);
      else if (output.type === 'run-handler' && output.name === 'fence-peer') handlers[host]!.set(output.handler, { resource: output.resource, sinceUs: world.nowUs });
      if (output.type !== 'observe' || output.event.event !== 'state') return;
      const { resource, to } = output.event;
      const freeze = freezes[host]!.get(resource);
      if (to.flags.includes('suspFen')) {
        if (!freeze) freezes[host]!.set(resource, { sinceUs: world.nowUs, isTold: [...resuming[host]!.values()].includes(resource), hasStaleVerdict: false });
        return;
      }
      freezes[host]!.delete(resource);
      if (!freeze || freeze.isTold || to.role !== Role.Primary || to.conn >= Conn.Connected) return;
      const volume = mayBePromoted(host);
      if (volume !== undefined) report(`${name} goes on without its peer, whose volume ${volume} may be promoted`, world);
      if (freeze.hasStaleVerdict) report(`${name} goes on by the word of a handler that was called before it lost its peer`, world);
    },
  };
}
