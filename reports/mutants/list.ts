/**
 * Deliberate protocol bugs, as data: a checker that has never failed proves nothing. Most are bugs that DRBD once had (the id is that of the
 * bug list the project was given), each put in by one replacement in a copy of the source. The source itself knows no mutant.
 */

import type { PropertyName } from '../../sim/types.js';

export interface Mutant {
  id: string;
  /** What goes wrong, in one line. */
  summary: string;
  /** Relative to the root of the project, below src/. */
  file: string;
  /** Stands exactly once in the file. */
  oldText: string;
  newText: string;
  /** Scenarios that should catch it, swept together. */
  scenarios: string[];
  /** Parameters that make it likelier, `name=value`; each of the scenarios must have them. */
  set?: string[];
  /** Properties any of which is expected to catch it; `assertion`: the core's own. */
  expected: (PropertyName | 'assertion')[];
}

export const mutants: readonly Mutant[] = [
  {
    id: 'B002',
    summary: 'whether a write is announced is asked when the bitmap exchange is already over: it is neither mirrored nor announced',
    file: 'src/replication/plan.ts',
    oldText: '(state.conn === Conn.Ahead || state.conn === Conn.WFBitMapS)',
    newText: '(state.conn === Conn.Ahead || state.conn === Conn.SyncSource)',
    scenarios: ['flapping-link', 'resync-interrupted'],
    expected: ['no-silent-divergence', 'convergence', 'complementary-states', 'liveness', 'durability'],
  },
  {
    id: 'B006',
    summary: 'a resync reads a block while a write to it is on its way, so older data may overwrite newer',
    file: 'src/volume/intervals.ts',
    oldText: "      if (earlier.kind === 'own-write') return !isOnDisk(earlier);\n      return earlier.kind === 'peer-write' || earlier.kind === 'resync-write';\n    case 'peer-read'",
    newText: "      return false;\n    case 'peer-read'",
    scenarios: ['resync-interrupted', 'flapping-link'],
    expected: ['convergence', 'no-silent-divergence', 'durability', 'linearizability', 'resync-direction'],
  },
  {
    id: 'B011',
    summary: 'a write is forgotten at its acknowledgement, not at the barrier: what the peer loses from its cache is marked nowhere',
    file: 'src/replication/completion.ts',
    oldText: 'for (const part of request.net) if (!part.done) return false;',
    newText: 'for (const part of request.net) if (!part.done && !part.ok) return false;',
    scenarios: ['failover', 'both-lose-power'],
    expected: ['no-silent-divergence', 'convergence', 'durability', 'assertion'],
  },
  {
    id: 'B013',
    summary: 'epochs of a lost connection are remembered on the next: a barrier for writes that were never sent there',
    file: 'src/replication/acks.ts',
    oldText: '  connection.sender.epochs = [];\n',
    newText: '',
    scenarios: ['flapping-link', 'partition'],
    expected: ['unexpected-disconnect', 'liveness', 'assertion'],
  },
  {
    id: 'B029a',
    summary: 'a bitmap page of an evicted extent failed to write, and the transaction that gives the extent up is written all the same',
    file: 'src/volume/metadata-io.ts',
    oldText: 'if (!result.ok && !backing.failed) {',
    newText: "if (!result.ok && !backing.failed && !(job.job === 'transaction' && job.step === 2)) {",
    scenarios: ['eviction-error'],
    expected: ['no-silent-divergence', 'convergence', 'durability'],
  },
  {
    id: 'B058',
    summary: 'the activity log is not initialised where there was nothing to replay: the next crash replays a mixture of two sessions',
    file: 'src/metadata/apply-al.ts',
    oldText: '  emptyRing(steps, layout, replay, blockAt);',
    newText: '  if (hasFlag(superblock, SuperblockFlag.PrimaryInd)) emptyRing(steps, layout, replay, blockAt);',
    scenarios: ['maintenance'],
    expected: ['no-silent-divergence', 'convergence', 'bounded-recovery', 'durability'],
  },
  {
    id: 'B063',
    summary: 'the superblock counts as clean although it changed while it was being written',
    file: 'src/volume/metadata-io.ts',
    oldText: 'backing.superblockWritten = Math.max(backing.superblockWritten, job.version);',
    newText: 'backing.superblockWritten = backing.superblockVersion;',
    scenarios: ['flapping-link', 'failover'],
    expected: ['metadata-sanity', 'split-brain', 'resync-direction', 'durability', 'no-silent-divergence', 'liveness', 'bounded-recovery', 'convergence'],
  },
  {
    id: 'B064',
    summary: 'a new data generation is written some time, not before it counts',
    file: 'src/resource/after-change.ts',
    oldText: "\"contact to the peer's data lost\");\n    return durableSuperblock(context);",
    newText: "\"contact to the peer's data lost\");\n    return 'done';",
    scenarios: ['degraded-then-failover'],
    expected: ['resync-direction', 'split-brain', 'durability', 'no-silent-divergence', 'convergence', 'liveness'],
  },
  {
    id: 'B071',
    summary: 'equal generations mean "no resync" although one side did not hear that the last one ended (rules 34-37 dropped)',
    file: 'src/generations/compare.ts',
    oldText: 'return compareOneSidedBitmap(input) ?? compareCrashes(input);',
    newText: 'return (compareOneSidedBitmap(input) && undefined) ?? compareCrashes(input);',
    scenarios: ['resync-interrupted', 'flapping-link'],
    expected: ['convergence', 'no-silent-divergence', 'durability', 'complementary-states', 'liveness'],
  },
  {
    id: 'B111',
    summary: 'any refusal of a disconnect, also that of a request that crossed ours, is taken as "outdate yourself"',
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
    id: 'B194',
    summary: 'the receiver acknowledges a barrier without flushing its disk first',
    file: 'src/replication/receiver.ts',
    oldText: "oldest.size > 0 && writeOrdering(resource) === 'flush'",
    newText: "oldest.size > 0 && writeOrdering(resource) === 'none'",
    scenarios: ['both-lose-power', 'failover'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'write-order'],
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
  {
    id: 'B196',
    summary: 'the target of a verify counts from the beginning of the device, wherever the verify began: it waits for results that never come',
    file: 'src/resync/verify.ts',
    oldText: '    verify.leftBits -= Math.floor(sector / SECTORS_PER_BIT);\n',
    newText: '',
    scenarios: ['online-verify'],
    set: ['protocol-max=95'],
    expected: ['liveness', 'complementary-states'],
  },
  {
    id: 'B127',
    summary: 'the source takes every block whose digest comes for equal, and sends nothing',
    file: 'src/resync/source.ts',
    oldText: 'sameBytes(blockDigest(core, connection.config.net.csumsAlg, data), range.targetDigest)',
    newText: 'sameBytes(range.targetDigest, range.targetDigest)',
    scenarios: ['resync-interrupted'],
    set: ['csums-alg=crc32c', 'csums-after-crash-only=no'],
    expected: ['no-silent-divergence'],
  },
  {
    id: 'B127b',
    summary: 'the target does not clear what the source says is equal',
    file: 'src/resync/target.ts',
    oldText: 'if (mayCompare(volume)) markWrittenOnBoth',
    newText: 'if (mayCompare(volume) && request.data) markWrittenOnBoth',
    scenarios: ['resync-interrupted'],
    set: ['csums-alg=crc32c', 'csums-after-crash-only=no'],
    expected: ['liveness'],
  },
  {
    id: 'verify-race',
    summary: 'a block is written here while the peer reads it for a verify: the two sides compare different moments',
    file: 'src/volume/intervals.ts',
    oldText: "return earlier.kind !== 'peer-read' && earlier.kind !== 'peer-reply';",
    newText: "return earlier.kind !== 'peer-read' && earlier.kind !== 'peer-reply' && earlier.kind !== 'verify-request';",
    scenarios: ['online-verify'],
    expected: ['online-verify'],
  },
  {
    id: 'verify-target-forgets',
    summary: 'the target of a verify does not mark what the source found',
    file: 'src/resync/verify.ts',
    oldText: 'if (sameBlockId(packet.blockId, ID_OUT_OF_SYNC)) markDifference',
    newText: 'if (sameBlockId(packet.blockId, ID_SYNCER)) markDifference',
    scenarios: ['online-verify'],
    expected: ['online-verify', 'no-silent-divergence'],
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
    id: 'B128',
    summary: 'a target clears the bits of a whole granule of rs-discard-granularity when it has written a part of one',
    file: 'src/resync/target.ts',
    oldText: '    markWrittenOnBoth(core, volume, peerDevice, request.sector, request.sectors);\n    sendAck(',
    newText:
      '    markWrittenOnBoth(core, volume, peerDevice, request.sector, Math.max(request.sectors, Math.min(thinRequestBytes(volume, connection) / 512, volume.sizeSectors - request.sector)));\n    sendAck(',
    scenarios: ['thin-resync'],
    set: ['rs-discard-granularity=65536', 'protocol-max=101', 'features=all'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'complementary-states', 'liveness'],
  },
  {
    id: 'deallocated-unread',
    summary: 'a source calls every granule that it is asked for deallocated, whatever it has read',
    file: 'src/resync/source.ts',
    oldText: "if (range.answer === 'thin' && result.data === undefined) {",
    newText: "if (range.answer === 'thin') {",
    scenarios: ['thin-resync'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'linearizability', 'resync-direction'],
  },
  {
    id: 'ahead-clears',
    summary: 'Ahead, the acknowledgement of a write from before clears the mark of a block that was written since',
    file: 'src/replication/bits.ts',
    oldText: 'else if (part.setInSync && device.repl !== Conn.Ahead)',
    newText: 'else if (part.setInSync)',
    scenarios: ['congestion'],
    expected: ['no-silent-divergence', 'durability', 'convergence'],
  },
  {
    id: 'ahead-silent',
    summary: 'marks from before Ahead are not announced: the target never asks for their blocks, and calls itself UpToDate',
    file: 'src/resource/congestion.ts',
    oldText: '  if (device.hasUnannouncedMarks) announceMarks(core, volume, connection, device);',
    newText: '  void announceMarks;',
    scenarios: ['congestion'],
    expected: ['durability', 'liveness', 'complementary-states', 'convergence'],
  },
  {
    id: 'generation-in-handshake',
    summary: 'our parameters go out while a new generation is on its way to the disk: each side decides on another set of UUIDs',
    file: 'src/resource/dispatch.ts',
    oldText: 'if (resource.worker.length > 0) {\n    connection.parametersDue',
    newText: 'if (resource.worker.length > 0 && connection.loss) {\n    connection.parametersDue',
    scenarios: ['failover'],
    set: ['fencing=resource-and-stonith', 'volumes=4'],
    expected: ['durability', 'no-silent-divergence', 'convergence', 'complementary-states', 'liveness', 'split-brain'],
  },
];
