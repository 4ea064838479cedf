/** What a core says of itself, as a line of a story. */

import type { Observation } from '../../src/contract/index.js';
import { connName, diskName, roleName } from '../../src/state/states.js';

/** Undefined: it says nothing that a reader would miss. */
export function wordsOf(event: Observation): string | undefined {
  switch (event.event) {
    case 'state': {
      const changes = stateChanges(event);
      return changes.length === 0 ? undefined : `volume ${event.volume}: ${changes.join(', ')}${event.reason === '' ? '' : ` (${event.reason})`}`;
    }
    case 'decision':
      return `${event.decision}: rule ${event.rule}${event.detail === '' ? '' : `, ${event.detail}`}`;
    case 'resync':
      return `volume ${event.volume}: resync ${event.what} as ${event.side}, ${event.leftBits} of ${event.totalBits} bits left`;
    case 'verify':
      return `volume ${event.volume}: verify ${event.what} as ${event.side}, from ${event.startSector} to ${event.reachedSector}, ${event.foundBits} blocks differ`;
    case 'out-of-sync':
      return `volume ${event.volume}: out of sync: ${event.sector}+${event.sectors}`;
    case 'connection-lost':
      return `connection lost: ${event.reason}${event.detail === '' ? '' : `, ${event.detail}`}`;
    case 'generation':
      return `volume ${event.volume} generation ${event.uuids.join(':')}, ${event.why}`;
    case 'membership':
      return `membership: ${event.what}`;
    case 'log':
      return event.text;
    default:
      return event satisfies never;
  }
}

/** What a state is made of besides its flags. */
export const stateFields: readonly (readonly ['role' | 'peer' | 'conn' | 'disk' | 'pdsk', (value: number) => string])[] = [
  ['conn', connName],
  ['role', roleName],
  ['peer', roleName],
  ['disk', diskName],
  ['pdsk', diskName],
];

function stateChanges({ from, to }: Extract<Observation, { event: 'state' }>): string[] {
  const changes: string[] = [];
  for (const [field, name] of stateFields) if (from[field] !== to[field]) changes.push(`${field} ${name(from[field])} → ${name(to[field])}`);
  if (from.flags.join() !== to.flags.join()) changes.push(`flags [${from.flags.join(' ')}] → [${to.flags.join(' ')}]`);
  return changes;
}
