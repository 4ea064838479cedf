/** Generations and the handshake: who is newer, what both decide on (section D). */

import type { Mutant } from '../mutant.js';

export const generations: readonly Mutant[] = [
  {
    id: 'B071',
    summary: 'equal generations mean "no resync" although one side did not hear that the last one ended (rules 34-37 dropped)',
    first: true,
    file: 'src/generations/compare.ts',
    oldText: 'return compareOneSidedBitmap(input) ?? compareCrashes(input);',
    newText: 'return (compareOneSidedBitmap(input) && undefined) ?? compareCrashes(input);',
    scenarios: ['resync-interrupted', 'flapping-link'],
    expected: ['convergence', 'no-silent-divergence', 'durability', 'complementary-states', 'liveness'],
  },
  {
    id: 'B111',
    summary: 'any refusal of a disconnect, also that of a request that crossed ours, is taken as "outdate yourself"',
    first: true,
    file: 'src/resource/disconnect.ts',
    oldText:
      "    if (connection.loss || connection.cstate < Conn.WFReportParams) return wait(procedure, 'state', Step.Begin);\n" +
      '    // Only "a Primary needs its peer outdated" asks us to outdate ourselves. Two requests that crossed do not (bug B111).\n' +
      '    if (procedure.peerCode === ReturnCode.ConcurrentStateChange) return waitForCrossed(core, resource, procedure, Step.Begin);\n' +
      '    if (procedure.peerCode === ReturnCode.PrimaryNop && change.disk === undefined) {',
    newText:
      '    if (procedure.peerCode === ReturnCode.ConcurrentStateChange && change.disk !== undefined) return waitForCrossed(core, resource, procedure, Step.Begin);\n' +
      '    if (change.disk === undefined) {',
    scenarios: ['maintenance'],
    expected: ['outdated-with-cause'],
  },
  {
    id: 'B065b',
    summary: 'a connection may be made while a new generation is on its way to the disk: each side decides on another set, and the next loss finds the first one\'s flag',
    first: true,
    file: 'src/resource/dispatch.ts',
    oldText: 'if (resource.worker.length > 0) {\n    connection.parametersDue',
    newText: 'if (resource.worker.length > 0 && connection.loss) {\n    connection.parametersDue',
    scenarios: ['traps'],
    set: ['story=fenced-in-handshake'],
    expected: ['durability', 'no-silent-divergence', 'convergence', 'complementary-states', 'liveness', 'split-brain'],
  },
  {
    id: 'B072',
    summary: 'the loss of the last sync UUID is not recognised (rules 51 and 71 dropped)',
    first: true,
    file: 'src/generations/compare.ts',
    oldText:
      '  if (!sameGeneration(behind.current, ahead.history1)) return false;\n',
    newText:
      '  if (!sameGeneration(behind.current, ahead.history1) || protocol > 0) return false;\n',
    scenarios: ['generations'],
    set: ['story=sync-uuid-lost'],
    expected: ['bounded-recovery', 'liveness', 'no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states'],
  },
  {
    id: 'B074',
    summary: 'a connection that is lost while the target waits for the sync UUID marks everything, as an invalidate would',
    first: true,
    file: 'src/resource/after-change.ts',
    oldText: "    if (!source && !entered(Conn.StartingSyncT)) return 'done';",
    newText:
      '    const lostUuid = context.from.conn === Conn.WFSyncUUID && context.to.conn < Conn.Connected;\n' +
      "    if (!source && !entered(Conn.StartingSyncT) && !lostUuid) return 'done';",
    scenarios: ['generations', 'resync-interrupted'],
    expected: ['bounded-recovery'],
  },
  {
    id: 'B077',
    summary: 'a role may change in the middle of a handshake: the nodes decide on different facts',
    first: true,
    file: 'src/state/validity.ts',
    oldText: 'if (context.handshakeUnfinished && !finishesHandshake) code',
    newText: 'if (context.handshakeUnfinished && !finishesHandshake && !promoting) code',
    scenarios: ['traps'],
    set: ['story=role-in-handshake'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states', 'split-brain', 'unexpected-disconnect', 'assertion'],
  },
  {
    id: 'B081',
    summary: 'I/O is thawed towards a peer that came back without its disk, and no new generation begins',
    first: true,
    file: 'src/resource/after-change.ts',
    oldText: 'if (deviceOf(volume, connection.peer).pdsk >= Disk.Inconsistent) volume.newCurrentUuidDue = false;',
    newText: 'volume.newCurrentUuidDue = false;',
    scenarios: ['traps'],
    set: ['story=frozen-diskless'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states', 'split-brain'],
  },
  {
    id: 'B082',
    summary: 'a Primary that comes back without its disk begins no new generation with the first write on ours',
    first: true,
    file: 'src/resource/change.ts',
    oldText: 'to.pdsk < Disk.Inconsistent) device.generationDueOnWrite = true;',
    newText: 'to.pdsk < Disk.Inconsistent) device.generationDueOnWrite = false;',
    scenarios: ['traps'],
    set: ['story=diskless-return'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states', 'split-brain'],
  },
  {
    id: 'B097',
    summary: 'a disk that is attached while connected is at once what its metadata says: two of them skip the handshake',
    first: true,
    file: 'src/resource/disk.ts',
    oldText: 'const change: Partial<State> = connection ? { disk: Disk.Negotiating } : wanted;',
    newText: 'const change: Partial<State> = connection && wanted.disk < Disk.Negotiating ? { disk: Disk.Negotiating } : wanted;',
    scenarios: ['traps'],
    set: ['story=attach-both'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states', 'unexpected-disconnect', 'metadata-sanity', 'linearizability', 'assertion'],
  },
  {
    id: 'B126',
    summary: 'the sync UUID overtakes the notices of writes that came before it',
    first: true,
    file: 'src/connection/send.ts',
    oldText: 'const isMeta = isMetaPacket(packet.packet);',
    newText: "const isMeta = isMetaPacket(packet.packet) || packet.packet === 'P_SYNC_UUID';",
    scenarios: ['resync-interrupted', 'flapping-link'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states', 'unexpected-disconnect', 'assertion'],
  },
];
