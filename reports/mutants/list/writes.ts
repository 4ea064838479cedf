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
    scenarios: ['traps'],
    set: ['story=busy-resync'],
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
  {
    id: 'B012',
    summary: 'a write leaves the log when it is acknowledged, not when its barrier is',
    file: 'src/replication/acks.ts',
    oldText:
      '  part.ok = true;\n' +
      "  if (packet.packet === 'P_RS_WRITE_ACK')",
    newText:
      '  part.ok = true;\n' +
      "  part.done = packet.packet === 'P_WRITE_ACK';\n" +
      "  if (packet.packet === 'P_RS_WRITE_ACK')",
    scenarios: ['traps'],
    set: ['story=unflushed'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states', 'assertion', 'write-order'],
  },
  {
    id: 'B015',
    summary: 'an epoch is never closed: no barrier goes out, no flush waits for one, extents stay active',
    file: 'src/replication/epochs.ts',
    oldText: 'if (resource.log.epochWrites === 0) return;',
    newText: 'if (resource.log.epochWrites >= 0) return;',
    scenarios: ['failover', 'both-lose-power'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states', 'write-order', 'assertion'],
  },
  {
    id: 'B020',
    summary: "what is complete is answered while I/O is frozen, although it is not decided yet whether the peer's part counts",
    file: 'src/replication/completion.ts',
    oldText: 'if (isFrozen(resource) || volume.generationPending) return;',
    newText: 'if (isFrozen(resource) && volume.generationPending) return;',
    scenarios: ['degraded-then-failover'],
    set: ['fencing=resource-and-stonith', 'protocol=C'],
    expected: ['frozen-io', 'no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states'],
  },
  {
    id: 'B022',
    summary: 'a connection is lost, and writes that still wait to be sent are not told',
    file: 'src/replication/acks.ts',
    oldText:
      '    if (!part) continue;\n' +
      '    const volume: Volume',
    newText:
      "    if (!part || part.waitsFor === 'transport') continue;\n" +
      '    const volume: Volume',
    scenarios: ['flapping-link', 'congestion'],
    set: ['protocol=A'],
    expected: ['liveness', 'assertion'],
  },
  {
    id: 'B023',
    summary: 'an acknowledgement is matched by its sector, whatever request it names',
    file: 'src/replication/acks.ts',
    oldText: 'const request = resource.log.requests.get(requestIdOf(blockId));',
    newText: "const request = [...resource.log.requests.values()].find((one) => one.sector === sector && one.kind !== 'flush') ?? resource.log.requests.get(requestIdOf(blockId));",
    scenarios: ['dual-primary'],
    set: ['contested=16'],
    expected: ['liveness', 'unexpected-disconnect', 'assertion', 'no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states'],
  },
  {
    id: 'B025',
    summary: 'of a request that was cut, each part travels with the data of the whole',
    file: 'src/replication/on-wire.ts',
    oldText: 'data: request.data ?? new Uint8Array(sizeBytes) };',
    newText: 'data: request.data ? new Uint8Array(request.data.buffer).subarray(0, sizeBytes) : new Uint8Array(sizeBytes) };',
    scenarios: ['traps'],
    set: ['story=split-request'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states', 'linearizability'],
  },
  {
    id: 'B201',
    summary: "the application's buffer is kept, not copied: what it puts there next is replicated",
    file: 'src/wire/memory.ts',
    oldText: '  const copy = newBytes(lent.length);\n  copy.set(lent);\n  return copy;',
    newText: '  return lent;',
    scenarios: ['failover', 'flapping-link'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states', 'linearizability', 'write-order'],
  },
  {
    id: 'X02',
    summary: 'writes that were under way when the link broke count as replicated',
    file: 'src/replication/acks.ts',
    oldText:
      '    part.ok = false;\n' +
      '    part.done = true;\n' +
      '    const waited',
    newText:
      '    part.ok = true;\n' +
      '    part.done = true;\n' +
      '    const waited',
    scenarios: ['flapping-link', 'partition'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states'],
  },
  {
    id: 'X01',
    summary: 'a write is marked only if there was a peer to send it to: what is written alone is marked nowhere',
    file: 'src/replication/bits.ts',
    oldText:
      '      markOutOfSync(device, request.sector, request.sectors);\n' +
      '      if (device.resync)',
    newText:
      '      if (part !== undefined) markOutOfSync(device, request.sector, request.sectors);\n' +
      '      if (device.resync)',
    scenarios: ['degraded-then-failover', 'partition'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states'],
  },
  {
    id: 'X03',
    summary: 'a discard that the peer lacks is not marked',
    file: 'src/replication/bits.ts',
    oldText:
      '      markOutOfSync(device, request.sector, request.sectors);\n' +
      '      if (device.resync)',
    newText:
      "      if (request.content === 'data') markOutOfSync(device, request.sector, request.sectors);\n" +
      '      if (device.resync)',
    scenarios: ['degraded-then-failover', 'partition'],
    set: ['discards=3'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states'],
  },
];
