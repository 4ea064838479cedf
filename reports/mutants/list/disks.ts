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
      '      diskFailed(context.core, context.resource, context.volume, context.to);\n' +
      '    }\n' +
      '    if (context.from.disk !== Disk.Diskless && context.to.disk === Disk.Diskless) {\n' +
      '      if (hasLink(context)) sendStateOf(context.core, context.connection, context.volume, context.to);\n',
    newText:
      '      diskFailed(context.core, context.resource, context.volume, context.to);\n' +
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
  {
    id: 'B108',
    summary: 'I/O that waited for data is thawed, and what had been complete is not answered',
    file: 'src/resource/after-change.ts',
    oldText:
      "'hard', 'I/O thawed');\n" +
      '  answerHeld(core, resource);',
    newText:
      "'hard', 'I/O thawed');\n" +
      '  if (!change.suspFen && change.suspNod === undefined) answerHeld(core, resource);',
    scenarios: ['traps'],
    set: ['story=split-request', 'on-no-data-accessible=suspend-io'],
    expected: ['liveness'],
  },
  {
    id: 'B109',
    summary: 'I/O that waits for good data goes on with any disk',
    file: 'src/state/sanitize.ts',
    oldText: '  state.role === Role.Primary && state.disk < Disk.UpToDate && state.pdsk < Disk.UpToDate;',
    newText: '  state.role === Role.Primary && state.disk < Disk.Inconsistent && state.pdsk < Disk.UpToDate;',
    scenarios: ['traps'],
    set: ['story=disk-in-freeze'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states', 'linearizability'],
  },
  {
    id: 'B138',
    summary: 'a Primary that loses its peer does not call the fence-peer handler',
    file: 'src/resource/loss.ts',
    oldText: 'if (resource.role === Role.Primary && contactLost) startFencing',
    newText: 'if (resource.role !== Role.Primary && contactLost) startFencing',
    scenarios: ['degraded-then-failover', 'partition'],
    set: ['fencing=resource-and-stonith'],
    expected: ['frozen-io', 'no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states', 'split-brain'],
  },
  {
    id: 'B154',
    summary: 'a disk that is only Consistent stays so when it meets an equal peer',
    file: 'src/state/sanitize.ts',
    oldText: 'if (state.disk === Disk.Consistent || (state.disk',
    newText: "if ((state.disk === Disk.Consistent && options.fencing === 'dont-care') || (state.disk",
    scenarios: ['failover'],
    set: ['fencing=resource-only'],
    expected: ['liveness', 'complementary-states'],
  },
  {
    id: 'B158',
    summary: 'a read that the own disk failed fails for the application, although the peer has the block',
    file: 'src/replication/completion.ts',
    oldText:
      'markOutOfSync(device, request.sector, request.sectors);\n' +
      '  routeAgain(core, volume, request);',
    newText:
      'markOutOfSync(device, request.sector, request.sectors);\n' +
      '  completeIfDone(core, resource, volume, request);',
    scenarios: ['traps', 'disk-errors'],
    expected: ['liveness'],
  },
  {
    id: 'B159',
    summary: 'on-io-error pass_on: a disk that failed stays UpToDate',
    file: 'src/resource/disk.ts',
    oldText: 'if (volume.disk > Disk.Inconsistent) changeState(core, resource, [volume], undefined, { disk: Disk.Inconsistent }',
    newText: 'if (volume.disk > Disk.UpToDate) changeState(core, resource, [volume], undefined, { disk: Disk.Inconsistent }',
    scenarios: ['disk-errors'],
    set: ['on-io-error=pass_on'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states', 'linearizability'],
  },
  {
    id: 'B170',
    summary: 'a read at the peer whose connection is lost is not asked for anywhere else',
    file: 'src/replication/acks.ts',
    oldText: "    else if (request.kind === 'read' && waited === 'data') retryElsewhere",
    newText: "    else if (request.kind === 'write' && waited === 'data') retryElsewhere",
    scenarios: ['read-balancing'],
    set: ['read-balancing=prefer-remote'],
    expected: ['liveness'],
  },
  {
    id: 'B173',
    summary: 'two resizes of one device run at the same time',
    file: 'src/resource/resize.ts',
    oldText: 'if (isBusy(resource, procedure, volume) || (',
    newText: 'if (isBusy(resource, procedure, volume) && (',
    scenarios: ['resize'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states', 'device-size', 'assertion'],
    survives: 'an operator has to give a second order within the milliseconds in which the first is carried out: not drawn yet',
  },
  {
    id: 'B207',
    summary: 'two Primaries are not refused',
    file: 'src/state/validity.ts',
    oldText: 'if (state.peer === Role.Primary) return ReturnCode.TwoPrimaries;',
    newText: 'if (state.peer === Role.Primary && context.otherVolumePeerPrimary) return ReturnCode.TwoPrimaries;',
    scenarios: ['traps'],
    set: ['story=second-promotion'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states', 'split-brain', 'linearizability'],
  },
  {
    id: 'B139',
    summary: 'a peer that the fence-peer handler could not reach counts as fenced, also for a disk that is only Consistent',
    file: 'src/resource/fencing.ts',
    oldText: 'return ownDisk === Disk.UpToDate ? { pdsk: Disk.Outdated } : undefined;',
    newText: 'return ownDisk >= Disk.Consistent ? { pdsk: Disk.Outdated } : undefined;',
    scenarios: ['traps'],
    set: ['story=unreachable-peer'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states', 'split-brain'],
  },
];
