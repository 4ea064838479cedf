/** The connection, its timers, the bytes on the wire, two Primaries (sections I and K). */

import type { Mutant } from '../mutant.js';

export const connection: readonly Mutant[] = [
  {
    id: 'B194',
    summary: 'the receiver acknowledges a barrier without flushing its disk first',
    first: true,
    file: 'src/replication/receiver.ts',
    oldText: "oldest.size > 0 && writeOrdering(resource) === 'flush'",
    newText: "oldest.size > 0 && writeOrdering(resource) === 'none'",
    scenarios: ['both-lose-power', 'failover'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'write-order'],
  },
  {
    id: 'B195',
    summary: 'a digest is compared with nothing: damaged data is taken',
    file: 'src/connection/integrity.ts',
    oldText: 'return digest.some((byte, index) => byte !== expected[index]);',
    newText: 'return digest.length < expected.length;',
    scenarios: ['integrity'],
    expected: ['no-silent-divergence', 'convergence', 'durability', 'linearizability'],
  },
  {
    id: 'B203',
    summary: 'nobody detects that two Primaries write the same sectors: each disk ends with the write of the other',
    file: 'src/replication/conflicts.ts',
    oldText: 'if (request.kind !== \'write\' || request.volume !== volume.number ||',
    newText: 'if (request.kind === \'write\' || request.volume !== volume.number ||',
    scenarios: ['dual-primary'],
    expected: ['no-silent-divergence', 'convergence', 'linearizability'],
  },
  {
    id: 'B204',
    summary: 'the node that does not decide lets the other\'s write pass before it knows what became of its own',
    file: 'src/replication/completion.ts',
    oldText: 'if (!isUndecided) letPass',
    newText: 'if (!isUndecided || request.sectors > 0) letPass',
    scenarios: ['dual-primary'],
    expected: ['no-silent-divergence', 'convergence', 'linearizability'],
  },
  {
    id: 'B204a',
    summary: 'a write is taken up before the acknowledgements that were made before it',
    file: 'src/replication/sequence.ts',
    oldText: 'isInTurn(deviceOf(volume, connection.peer), packet.sequence)) return false',
    newText: 'packet.sequence > 0) return false',
    scenarios: ['dual-primary'],
    expected: ['no-silent-divergence', 'convergence', 'linearizability'],
  },
  {
    id: 'B204b',
    summary: 'a superseded write counts in its epoch, as in the kernel: the barrier acknowledgements do not match',
    file: 'src/replication/receiver.ts',
    oldText: '    epoch.size--;\n    epoch.lostWrites = true;\n    sendAck',
    newText: '    sendAck',
    scenarios: ['dual-primary'],
    expected: ['unexpected-disconnect', 'liveness'],
  },
];
