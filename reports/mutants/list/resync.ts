/** Resync, verify, congestion (sections E and J). */

import type { Mutant } from '../mutant.js';

export const resync: readonly Mutant[] = [
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
    id: 'B042',
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
    oldText: 'else if (part.setInSync && isSyncState(device.repl))',
    newText: 'else if (part.setInSync && (isSyncState(device.repl) || device.repl >= 0))',
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
    id: 'B197',
    summary: 'a discard is given to the disk as it came, whatever that does with the ends that are not aligned',
    first: true,
    file: 'src/volume/zeroing.ts',
    oldText:
      '  let operations = 1;\n' +
      '  if (first > sector) {',
    newText:
      "  discardDisk(core, volume, 'data', sector, sectors, then);\n" +
      '  if (sectors > 0) return 1;\n' +
      '  let operations = 1;\n' +
      '  if (first > sector) {',
    scenarios: ['discard'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states', 'linearizability', 'assertion'],
  },
  {
    id: 'B215',
    summary: 'the connection is gone, and ranges of blocks that were asked for stay locked: what waits for them waits for ever',
    first: true,
    file: 'src/resync/lifecycle.ts',
    oldText: "if ((stage !== 'writing' || !hasDisk(volume)) && findInterval(volume, interval)) releaseInterval",
    newText: "if (stage !== 'writing' && stage !== 'asked' && findInterval(volume, interval)) releaseInterval",
    scenarios: ['traps'],
    set: ['story=primary-target'],
    expected: ['liveness', 'assertion'],
  },
  {
    id: 'B116',
    summary: 'a pause that the peer took back in a handshake stays',
    file: 'src/resource/peer-state.ts',
    oldText: 'peerIsp: peer.aftrIsp || peer.userIsp, conn };',
    newText: 'peerIsp: (me.peerIsp && peer.conn > Conn.Connected) || peer.aftrIsp || peer.userIsp, conn };',
    scenarios: ['traps', 'resync-interrupted'],
    expected: ['liveness', 'complementary-states'],
  },
  {
    id: 'B117',
    summary: 'a resync that was paused is not taken up again',
    file: 'src/resync/lifecycle.ts',
    oldText:
      "  observeResync(core, volume, peerDevice, resync, 'resumed');\n" +
      "  if (resync.side === 'target')",
    newText:
      "  observeResync(core, volume, peerDevice, resync, 'resumed');\n" +
      "  if (resync.side === 'target' && resync.requests.length > 0)",
    scenarios: ['traps'],
    set: ['story=pause-at-end'],
    expected: ['liveness', 'complementary-states'],
  },
  {
    id: 'B119',
    summary: 'a resync that has gone round once does not look behind it again',
    file: 'src/resync/target.ts',
    oldText:
      '      resync.cursorBit = 0;\n' +
      '      return endBudget(resync);',
    newText: '      return endBudget(resync);',
    scenarios: ['traps'],
    set: ['story=primary-target'],
    expected: ['liveness', 'complementary-states'],
  },
  {
    id: 'B131',
    summary: 'each handshake that leads to a resync marks everything',
    file: 'src/resource/peer-state.ts',
    oldText: "(plan.outcome === 'source' || plan.outcome === 'target') && plan.full && device.bitmap)",
    newText: "(plan.outcome === 'source' || plan.outcome === 'target') && device.bitmap)",
    scenarios: ['flapping-link', 'resync-interrupted'],
    expected: ['bounded-recovery'],
  },
  {
    id: 'B160',
    summary: 'a block that cannot be read is equal, as far as a verify can tell',
    file: 'src/resync/verify.ts',
    oldText: 'const isEqual = data !== undefined && sameBytes(',
    newText: 'const isEqual = data === undefined || sameBytes(',
    scenarios: ['traps'],
    set: ['story=unreadable-verify'],
    expected: ['online-verify', 'no-silent-divergence'],
  },
  {
    id: 'B198',
    summary: 'there is no handler for one kind of packet',
    file: 'src/resource/packets.ts',
    oldText:
      "    case 'P_TRIM':\n" +
      "    case 'P_ZEROES':\n",
    newText:
      "    case 'P_TRIM':\n",
    scenarios: ['discard'],
    expected: ['unexpected-disconnect', 'liveness'],
  },
  {
    id: 'X05',
    summary: 'a block that the target could not write counts as written',
    file: 'src/resync/target.ts',
    oldText:
      '  if (!request.failed) {\n' +
      '    markWrittenOnBoth',
    newText:
      '  if (!request.failed || request.operations === 0) {\n' +
      '    markWrittenOnBoth',
    scenarios: ['disk-errors'],
    set: ['on-io-error=pass_on'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states'],
  },
];
