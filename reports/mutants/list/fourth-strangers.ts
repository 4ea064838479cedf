/**
 * Bugs of a fourth stranger, who had read the core only, eighteen, of which two were known (hit-on-uncommitted-extent, pages-behind-flush). What nothing
 * caught by itself has a trap, or a rule of a checker, since.
 */

import type { Mutant } from '../mutant.js';

export const fourthStrangers: readonly Mutant[] = [
  {
    id: 'demote-while-ahead',
    summary: 'a Primary that is Ahead may be demoted before the resync has begun',
    file: 'src/resource/promote.ts',
    oldText: '      // Until the resync has begun, nothing but PRIMARY_IND says which side is behind.\n      if (volumes.some((volume) => volume.peers.get(connection.peer)!.repl === Conn.Ahead)) return wait(procedure, \'state\', DemoteStep.Begin);\n',
    newText: '',
    scenarios: ['traps'],
    set: ['story=demoted-ahead'],
    expected: ['convergence', 'durability', 'no-silent-divergence'],
  },
];
