/** Roles, frozen I/O, disks and their size (sections F, G, H). */

import type { Mutant } from '../mutant.js';

export const disks: readonly Mutant[] = [
  {
    id: 'B070',
    summary: 'the peer is not told that the disk failed',
    first: true,
    file: 'src/resource/after-change.ts',
    oldText:
      '      if (hasLink(context)) sendStateOf(context.core, context.connection, context.volume, context.to);\n' +
      '      diskFailed(context.core, context.resource, context.volume);\n' +
      '    }\n' +
      '    if (context.from.disk !== Disk.Diskless && context.to.disk === Disk.Diskless) {\n' +
      '      if (hasLink(context)) sendStateOf(context.core, context.connection, context.volume, context.to);\n',
    newText:
      '      diskFailed(context.core, context.resource, context.volume);\n' +
      '    }\n' +
      '    if (context.from.disk !== Disk.Diskless && context.to.disk === Disk.Diskless) {\n',
    scenarios: ['disk-errors'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states'],
  },
  {
    id: 'B142',
    summary: 'with resource-and-stonith the new generation begins before the handler has returned',
    first: true,
    file: 'src/resource/change.ts',
    oldText: 'const newGeneration = volume.newCurrentUuidDue && !isUndecided(to);',
    newText: 'const newGeneration = volume.newCurrentUuidDue && !to.suspNod;',
    scenarios: ['failover', 'degraded-then-failover'],
    set: ['fencing=resource-and-stonith'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states', 'split-brain'],
  },
  {
    id: 'B147',
    summary: 'suspend-io is answered while writes are under way',
    first: true,
    file: 'src/resource/administration.ts',
    oldText: 'if (hasRequestsUnderWay(resource) && !resource.suspFen',
    newText: 'if (procedure.step === 0 && hasRequestsUnderWay(resource) && !resource.suspFen',
    scenarios: ['traps'],
    set: ['story=suspended'],
    expected: ['frozen-io', 'no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states'],
  },
  {
    id: 'B172',
    summary: 'a smaller disk that connects makes a device that is in use smaller',
    first: true,
    file: 'src/resource/peer-parameters.ts',
    oldText: 'if (sectors < volume.sizeSectors && volume.disk >= Disk.Outdated && (handshake || wasDiskless)) {',
    newText: 'if (sectors < volume.sizeSectors && volume.disk >= Disk.Outdated && sectors === 0 && (handshake || wasDiskless)) {',
    scenarios: ['traps'],
    set: ['story=smaller-peer'],
    expected: ['device-size', 'no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states', 'assertion'],
  },
];
