/** Acknowledgements, epochs, the transfer log (section A of the bug list). */

import type { Mutant } from '../mutant.js';

export const writes: readonly Mutant[] = [
  {
    id: 'B002',
    summary: 'whether a write is announced is asked when the bitmap exchange is already over: it is neither mirrored nor announced',
    first: true,
    file: 'src/replication/plan.ts',
    oldText: '(state.conn === Conn.Ahead || state.conn === Conn.WFBitMapS)',
    newText: '(state.conn === Conn.Ahead || state.conn === Conn.SyncSource)',
    scenarios: ['flapping-link', 'resync-interrupted'],
    expected: ['no-silent-divergence', 'convergence', 'complementary-states', 'liveness', 'durability'],
  },
  {
    id: 'B006',
    summary: 'a resync reads a block while a write to it is on its way, so older data may overwrite newer',
    first: true,
    file: 'src/volume/intervals.ts',
    oldText: "      if (earlier.kind === 'own-write') return !isOnDisk(earlier);\n      return earlier.kind === 'peer-write' || earlier.kind === 'resync-write';\n    case 'peer-read'",
    newText: "      return false;\n    case 'peer-read'",
    scenarios: ['resync-interrupted', 'flapping-link'],
    expected: ['convergence', 'no-silent-divergence', 'durability', 'linearizability', 'resync-direction'],
  },
  {
    id: 'B011',
    summary: 'a write is forgotten at its acknowledgement, not at the barrier: what the peer loses from its cache is marked nowhere',
    first: true,
    file: 'src/replication/completion.ts',
    oldText: 'for (const part of request.net) if (!part.done) return false;',
    newText: 'for (const part of request.net) if (!part.done && !part.ok) return false;',
    scenarios: ['failover', 'both-lose-power'],
    expected: ['no-silent-divergence', 'convergence', 'durability', 'assertion'],
  },
  {
    id: 'B013',
    summary: 'epochs of a lost connection are remembered on the next: a barrier for writes that were never sent there',
    first: true,
    file: 'src/replication/acks.ts',
    oldText: '  connection.sender.epochs = [];\n',
    newText: '',
    scenarios: ['flapping-link', 'partition'],
    expected: ['unexpected-disconnect', 'liveness', 'assertion'],
  },
  {
    id: 'B004',
    summary: 'the target does not hear of a write that falls into the bitmap exchange before the resync is over',
    first: true,
    file: 'src/replication/submit.ts',
    oldText:
      '      sendDueBarrier(core, connection, request.epoch);\n' +
      "      sendPacket(core, connection, { packet: 'P_OUT_OF_SYNC',",
    newText:
      '      sendDueBarrier(core, connection, request.epoch);\n' +
      "      if (device.repl === Conn.Ahead) sendPacket(core, connection, { packet: 'P_OUT_OF_SYNC',",
    scenarios: ['resync-interrupted', 'flapping-link'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states'],
  },
  {
    id: 'B017',
    summary: 'writes that are not mirrored count in the epoch of the peer',
    first: true,
    file: 'src/replication/submit.ts',
    oldText: '    // The bit first, then the notice',
    newText:
      '    else if (!plan.announce && device.repl >= Conn.Connected) countSentWrite(connection, request.epoch, request.id);\n' +
      '    // The bit first, then the notice',
    scenarios: ['disk-errors', 'flapping-link'],
    expected: ['unexpected-disconnect', 'liveness', 'assertion'],
  },
  {
    id: 'B018',
    summary: 'flushes are not counted down when the connection is lost: they hang, and so does the next change of role',
    first: true,
    file: 'src/replication/acks.ts',
    oldText:
      '    if (!part) continue;\n' +
      '    const volume: Volume =',
    newText:
      "    if (!part || request.kind === 'flush') continue;\n" +
      '    const volume: Volume =',
    scenarios: ['flapping-link', 'failover'],
    set: ['protocol=C'],
    expected: ['liveness', 'assertion'],
  },
  {
    id: 'B001',
    summary: "with protocols A and B a write that the peer's disk failed is not refused: nobody marks it on the Primary",
    first: true,
    file: 'src/replication/receiver.ts',
    oldText:
      '  if (!ok) {\n' +
      "    sendAck(core, connection, device, volume, 'P_NEG_ACK', write.sector",
    newText:
      '  if (!ok) {\n' +
      "    if (write.sendWriteAck) sendAck(core, connection, device, volume, 'P_NEG_ACK', write.sector",
    scenarios: ['traps'],
    set: ['story=hung-peer-disk', 'protocol=B'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states', 'linearizability', 'unexpected-disconnect'],
  },
  {
    id: 'B008',
    summary: 'a barrier is acknowledged although a write of its epoch waits for its range and is not on the disk',
    first: true,
    file: 'src/replication/receiver.ts',
    oldText: 'oldest.barrier === undefined || oldest.active > 0 || oldest',
    newText: 'oldest.barrier === undefined || [...receiver.writes.values()].some(({ epoch, operations }) => epoch === oldest.id && operations > 0) || oldest',
    scenarios: ['traps'],
    set: ['story=parked-write'],
    expected: ['write-order', 'assertion', 'no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states'],
  },
  {
    id: 'B024',
    summary: 'of a request that was split, the last part decides: its success hides that another part failed',
    first: true,
    file: 'src/replication/completion.ts',
    oldText:
      'if (!succeeded(volume, request)) application.failed = true;\n' +
      '  else if',
    newText:
      'application.failed = !succeeded(volume, request);\n' +
      '  if (application.failed) application.data?.fill(0);\n' +
      '  else if',
    scenarios: ['traps'],
    set: ['story=split-request'],
    expected: ['durability', 'linearizability', 'no-silent-divergence', 'assertion'],
  },
];
