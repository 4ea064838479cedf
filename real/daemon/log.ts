/** The log: one JSON object a line, whose `msg` is the line that DRBD's users know from their kernel log. */

import { pino, type Logger } from 'pino';
import type { Observation, ObservedState } from '../../src/contract/index.js';
import { connName, diskName, roleName } from '../../src/state/states.js';

export type { Logger };

/** To standard output; `level` is pino's. */
export const newLogger = (level: string, node: string): Logger =>
  pino({ level, base: { node }, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) } }, pino.destination({ fd: 1, sync: true }));

export function logObservation(logger: Logger, event: Observation, minorOf: (resource: string, volume: number) => number | undefined): void {
  const device = (resource: string, volume: number): string => `block drbd${minorOf(resource, volume) ?? `${resource}/${volume}`}`;
  switch (event.event) {
    case 'state': {
      const { resource, volume, peer, from, to, reason } = event;
      const changes = stateChanges(from, to);
      if (changes !== '') logger.info({ resource, volume, peer, event: 'state', reason }, `${device(resource, volume)}: ${changes}`);
      return;
    }
    case 'decision': {
      const { resource, volume, peer, decision, rule, detail } = event;
      logger.info({ resource, volume, peer, event: 'decision', decision, rule }, `${device(resource, volume)}: ${decision} by rule ${rule}${detail === '' ? '' : `: ${detail}`}`);
      return;
    }
    case 'generation': {
      const { resource, volume, uuids, why } = event;
      logger.info({ resource, volume, event: 'generation', why }, `${device(resource, volume)}: uuid ${uuids.join(':').toUpperCase()} (${why})`);
      return;
    }
    case 'resync': {
      const { resource, volume, peer, what, side, totalBits, leftBits, failedBits } = event;
      const role = side === 'source' ? 'SyncSource' : 'SyncTarget';
      const text =
        what === 'started'
          ? `Began resync as ${role} (will sync ${totalBits * 4} KB [${totalBits} bits set]).`
          : what === 'finished'
            ? `Resync done (total ${totalBits * 4} KB${failedBits > 0 ? `, ${failedBits * 4} KB failed` : ''})`
            : `Resync ${what} (${leftBits * 4} KB left)`;
      logger.info({ resource, volume, peer, event: 'resync', what, side, totalBits, leftBits, failedBits }, `${device(resource, volume)}: ${text}`);
      return;
    }
    case 'verify': {
      const { resource, volume, peer, what, side, startSector, reachedSector, foundBits } = event;
      const text =
        what === 'started'
          ? `Starting Online Verify from sector ${startSector}`
          : `Online verify ${what === 'finished' ? 'done' : 'aborted'} at sector ${reachedSector}; ${foundBits} 4k blocks out of sync!`;
      logger.info({ resource, volume, peer, event: 'verify', what, side, startSector, reachedSector, foundBits }, `${device(resource, volume)}: ${text}`);
      return;
    }
    case 'out-of-sync': {
      const { resource, volume, peer, sector, sectors } = event;
      logger.warn({ resource, volume, peer, event: 'out-of-sync', sector, sectors }, `${device(resource, volume)}: Out of sync: start=${sector}, size=${sectors} (sectors)`);
      return;
    }
    case 'connection-lost':
      logger.warn({ resource: event.resource, peer: event.peer, event: 'connection-lost', reason: event.reason }, `drbd ${event.resource}: connection lost: ${event.reason}${event.detail === '' ? '' : `: ${event.detail}`}`);
      return;
    case 'membership':
      logger.warn({ event: 'membership', machine: event.machine }, `${event.machine} is ${event.what}`);
      return;
    case 'log':
      logger[event.level === 'warning' ? 'warn' : event.level]({ resource: event.resource, event: 'log' }, `drbd ${event.resource}: ${event.text}`);
      return;
    default:
      event satisfies never;
  }
}

/** `role( Secondary -> Primary ) disk( Consistent -> UpToDate )`: what changed, in DRBD's order. */
function stateChanges(from: ObservedState, to: ObservedState): string {
  const parts: string[] = [];
  const changed = (name: string, before: string, after: string): void => {
    if (before !== after) parts.push(`${name}( ${before} -> ${after} )`);
  };
  changed('role', roleName(from.role), roleName(to.role));
  changed('peer', roleName(from.peer), roleName(to.peer));
  changed('conn', connName(from.conn), connName(to.conn));
  changed('disk', diskName(from.disk), diskName(to.disk));
  changed('pdsk', diskName(from.pdsk), diskName(to.pdsk));
  for (const flag of new Set([...from.flags, ...to.flags])) changed(flag, from.flags.includes(flag) ? '1' : '0', to.flags.includes(flag) ? '1' : '0');
  return parts.join(' ');
}
