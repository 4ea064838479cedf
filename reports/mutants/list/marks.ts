/** Out-of-sync bits, activity log, what is durable when (sections B and C). */

import type { Mutant } from '../mutant.js';

export const marks: readonly Mutant[] = [
  {
    id: 'B029a',
    summary: 'a bitmap page of an evicted extent failed to write, and the transaction that gives the extent up is written all the same',
    first: true,
    file: 'src/volume/metadata-io.ts',
    oldText: 'if (!result.ok && !backing.failed) {',
    newText: "if (!result.ok && !backing.failed && !(job.job === 'transaction' && job.step === 2)) {",
    scenarios: ['eviction-error'],
    expected: ['no-silent-divergence', 'convergence', 'durability'],
  },
  {
    id: 'B058',
    summary: 'the activity log is not initialised where there was nothing to replay: the next crash replays a mixture of two sessions',
    first: true,
    file: 'src/metadata/apply-al.ts',
    oldText: '  emptyRing(steps, layout, replay, blockAt);',
    newText: '  if (hasFlag(superblock, SuperblockFlag.PrimaryInd)) emptyRing(steps, layout, replay, blockAt);',
    scenarios: ['maintenance'],
    expected: ['no-silent-divergence', 'convergence', 'bounded-recovery', 'durability'],
  },
  {
    id: 'B063',
    summary: 'the superblock counts as clean although it changed while it was being written',
    first: true,
    file: 'src/volume/metadata-io.ts',
    oldText: 'backing.superblockWritten = Math.max(backing.superblockWritten, job.version);',
    newText: 'backing.superblockWritten = backing.superblockVersion;',
    scenarios: ['flapping-link', 'failover'],
    expected: ['metadata-sanity', 'split-brain', 'resync-direction', 'durability', 'no-silent-divergence', 'liveness', 'bounded-recovery', 'convergence'],
  },
  {
    id: 'B029b',
    summary: 'the transaction that makes extents active failed, and the writes that waited for it go all the same',
    first: true,
    file: 'src/volume/metadata-io.ts',
    oldText: 'if (!result.ok && !backing.failed) {',
    newText: "if (!result.ok && !backing.failed && !(job.job === 'transaction' && job.step === 3)) {",
    scenarios: ['eviction-error'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states', 'bounded-recovery', 'metadata-sanity'],
  },
  {
    id: 'B044',
    summary: 'the peer leaves: writes that it had acknowledged, and that no barrier covers, are not marked',
    first: true,
    file: 'src/replication/acks.ts',
    oldText:
      '    part.ok = false;\n' +
      '    part.done = true;\n' +
      '    const waited',
    newText:
      '    part.done = true;\n' +
      '    const waited',
    scenarios: ['failover', 'both-lose-power'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states'],
  },
  {
    id: 'B046',
    summary: 'whether the activity log is in use is noted on disk some time, not when the disk is attached',
    first: true,
    file: 'src/resource/disk.ts',
    oldText:
      '  else superblock.flags |= SuperblockFlag.AlDisabled;\n',
    newText:
      '\n',
    scenarios: ['failover'],
    set: ['al-updates=no'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states'],
  },
  {
    id: 'B029c',
    summary: 'a write of a Primary without a usable disk is marked and covered only while that disk is exactly Diskless',
    first: true,
    file: 'src/replication/plan.ts',
    oldText: 'state.pdsk < Disk.Inconsistent && state.peer === Role.Primary;',
    newText: 'state.pdsk === Disk.Diskless && state.peer === Role.Primary;',
    scenarios: ['traps'],
    set: ['story=failed-disk'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states'],
  },
  {
    id: 'B031',
    summary: 'the bitmap is not written when a disk fails: what could not be read is forgotten',
    first: true,
    file: 'src/resource/disk.ts',
    oldText: "  queueBitmapWrite(core, volume, { for: 'detach' });",
    newText:
      "  if (backing.wasReadError) queueSuperblock(core, volume, { for: 'detach' });\n" +
      "  else queueBitmapWrite(core, volume, { for: 'detach' });",
    scenarios: ['traps'],
    set: ['story=unreadable'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states', 'linearizability'],
  },
  {
    id: 'B038',
    summary: 'bits that are cleared are accounted only where the request begins: what lies behind the next border counts as open for ever',
    first: true,
    file: 'src/metadata/bitmap.ts',
    oldText:
      '    newly += popcount(mask & words[index]!);\n' +
      '    words[index]! &= ~mask;',
    newText:
      '    if (index === from >>> 5) newly += popcount(mask & words[index]!);\n' +
      '    words[index]! &= ~mask;',
    scenarios: ['resync-interrupted', 'failover'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states', 'assertion'],
  },
  {
    id: 'B054',
    summary: 'one torn block of the activity log, and the log is ignored',
    first: true,
    file: 'src/metadata/activity-log.ts',
    oldText:
      '  let newest = found[0]!;\n',
    newText:
      "  if (invalid > 0) return { outcome: 'empty', torn: true };\n" +
      '  let newest = found[0]!;\n',
    scenarios: ['traps'],
    set: ['story=torn-log'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states', 'bounded-recovery'],
  },
  {
    id: 'B054b',
    summary: 'a torn block of the activity log is taken for a whole one',
    file: 'src/metadata/activity-log.ts',
    oldText: '|| view.getUint32(CRC_AT) !== crcOf(bytes)) return',
    newText: '|| (view.getUint16(12) === TYPE_EMPTY && view.getUint32(CRC_AT) !== crcOf(bytes))) return',
    scenarios: ['traps'],
    set: ['story=torn-log'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states', 'bounded-recovery'],
  },
  {
    id: 'B034',
    summary: 'bits that are set already are counted once more when a run is set',
    file: 'src/metadata/bitmap.ts',
    oldText: '    newly += popcount(mask & ~words[index]!);',
    newText: '    newly += popcount(mask);',
    scenarios: ['resync-interrupted', 'failover'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states', 'bounded-recovery', 'assertion'],
  },
  {
    id: 'B052',
    summary: 'only the first slots of the activity log are read, as many as a smaller one has',
    file: 'src/metadata/activity-log.ts',
    oldText:
      '      const slot = block.contextStart + n;\n' +
      '      const extent',
    newText:
      '      if (n >= 31) break;\n' +
      '      const slot = block.contextStart + n;\n' +
      '      const extent',
    scenarios: ['traps'],
    set: ['story=torn-log'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states'],
  },
  {
    id: 'B055',
    summary: 'the blocks of the activity log are taken in the order in which they lie, not in that of their numbers',
    file: 'src/metadata/activity-log.ts',
    oldText:
      '  found.sort((a, b) => distance(last, a.number) - distance(last, b.number));\n',
    newText:
      '  void last;\n',
    scenarios: ['traps'],
    set: ['story=torn-log'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states'],
  },
  {
    id: 'B061',
    summary: 'writes of a freeze go on without their extents in the activity log of a disk that came meanwhile',
    file: 'src/replication/submit.ts',
    oldText: 'if (follows || isOfAnotherDisk(volumeOf(resource, request.volume), request)) again.push(request);',
    newText: 'if (follows && isOfAnotherDisk(volumeOf(resource, request.volume), request)) again.push(request);',
    scenarios: ['traps'],
    set: ['story=disk-in-fencing'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states', 'assertion'],
  },
  {
    id: 'B174',
    summary: 'the new part of a device that grew is not marked',
    file: 'src/volume/metadata-io.ts',
    oldText: 'resizedBitmap(device.bitmap, job.sectors, job.assumeClean)',
    newText: 'resizedBitmap(device.bitmap, job.sectors, job.sectors > 0)',
    scenarios: ['resize'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states'],
  },
  {
    id: 'B175',
    summary: 'metadata moves, and only the pages of the bitmap that changed are written at the new place',
    file: 'src/volume/metadata-io.ts',
    oldText:
      'metaWrite(core, volume, job, sector, data, false);\n' +
      '        } else if (step === 2) {\n' +
      '          writeAllPages(core, volume, backing, job);',
    newText:
      'metaWrite(core, volume, job, sector, data, false);\n' +
      '        } else if (step === 2) {\n' +
      '          if (samePlace(job.old, job.layout)) writeAllPages(core, volume, backing, job);',
    scenarios: ['resize'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states'],
  },
  {
    id: 'X04',
    summary: 'a block that a write covers in part is marked when it is whole, and cleared when it is not',
    file: 'src/metadata/bitmap.ts',
    oldText:
      '  const first = Math.ceil(sector / SECTORS_PER_BIT);\n' +
      '  const end = sector + sectors === bitmap.sectors ? bitmap.bits : Math.floor((sector + sectors) / SECTORS_PER_BIT);',
    newText:
      '  const first = Math.floor(sector / SECTORS_PER_BIT);\n' +
      '  const end = sector + sectors === bitmap.sectors ? bitmap.bits : Math.ceil((sector + sectors) / SECTORS_PER_BIT);',
    scenarios: ['resync-interrupted', 'flapping-link'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states'],
  },
  {
    id: 'B064',
    summary: 'a new data generation is written some time, not before it counts',
    file: 'src/resource/after-change.ts',
    oldText:
      '    volume.exposedUuid = exposedUuid;\n' +
      '    return durableSuperblock(context);',
    newText:
      '    volume.exposedUuid = exposedUuid;\n' +
      "    return 'done';",
    scenarios: ['traps'],
    set: ['story=late-generation'],
    expected: ['resync-direction', 'split-brain', 'durability', 'no-silent-divergence', 'convergence', 'liveness', 'metadata-sanity'],
  },
  {
    id: 'B065a',
    summary: 'what waits for a new generation goes on when that is on its way to the disk, not when it is there',
    first: true,
    file: 'src/resource/after-change.ts',
    oldText:
      '    volume.exposedUuid = exposedUuid;\n' +
      '    return durableSuperblock(context);',
    newText:
      '    volume.exposedUuid = exposedUuid;\n' +
      '    queueSuperblock(core, volume);\n' +
      "    return 'done';",
    scenarios: ['traps'],
    set: ['story=late-generation'],
    expected: ['resync-direction', 'split-brain', 'durability', 'no-silent-divergence', 'convergence', 'liveness', 'metadata-sanity'],
  },
  {
    id: 'B066',
    summary: 'an error of the disk that is to take a new generation goes unnoticed',
    file: 'src/volume/metadata-io.ts',
    oldText: '  if (!result.ok && !backing.failed) {',
    newText: "  if (!result.ok && !backing.failed && job.job !== 'superblock') {",
    scenarios: ['traps'],
    set: ['story=failed-generation'],
    expected: ['metadata-sanity', 'no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states', 'split-brain'],
  },
  {
    id: 'B036',
    summary: 'a device that grows without a resync keeps what its new part had marked',
    file: 'src/metadata/bitmap-resize.ts',
    oldText: 'if (sectors > old.sectors && !assumeClean) setBits',
    newText: 'if (sectors > old.sectors && (!assumeClean || old.sectors > 0)) setBits',
    scenarios: ['resize'],
    expected: ['no-silent-divergence', 'durability', 'convergence', 'resync-direction', 'liveness', 'complementary-states', 'bounded-recovery'],
    survives: 'what it costs is one resync of the new part, and that a device has grown is a reason to mark it',
  },
];
