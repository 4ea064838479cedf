/** Bugs of this project's own, each found by a sweep: the numbers are the seeds. */

import type { Mutant } from '../mutant.js';

export const own: readonly Mutant[] = [
  {
    id: 'frozen-rival',
    summary: 'of two Primaries that thaw, the one that decides does not count a write of its own that it has still to send again (dual-primary 401)',
    file: 'src/replication/conflicts.ts',
    oldText: "const isOpen = request.net.some(({ peer, waitsFor }) => peer === connection.peer && waitsFor === 'write-ack');",
    newText: "const isOpen = request.net.some(({ peer, connectCount, waitsFor }) => peer === connection.peer && connectCount === connection.connectCount && waitsFor === 'write-ack');",
    scenarios: ['traps'],
    set: ['story=rivals-thaw'],
    expected: ['no-silent-divergence', 'convergence', 'linearizability', 'durability'],
  },
  {
    id: 'again-unseen',
    summary: 'a write that goes its way again is taken to be on the disk still: one of the other Primary goes there at the same time (traps, crowded-rivals 13)',
    file: 'src/volume/intervals.ts',
    oldText: "(use === 'again' && !started)",
    newText: "(use === 'again' && (started || !started))",
    scenarios: ['traps'],
    set: ['story=crowded-rivals'],
    expected: ['assertion'],
  },
  {
    id: 'hanging-range',
    summary: 'a resync write that hangs in a disk that is given up keeps its range for ever (disk-errors 404)',
    file: 'src/resource/dispatch.ts',
    oldText: "    operation.then = { to: 'nobody' };\n    tellOwner(core, resource, volume, ended, { ok: false, failure: 'aborted' });\n",
    newText: "    tellOwner(core, resource, volume, ended, { ok: false, failure: 'aborted' });\n    operation.then = { to: 'nobody' };\n",
    scenarios: ['disk-errors', 'resync-interrupted'],
    expected: ['liveness'],
  },
  {
    id: 'outdated-target',
    summary: 'a resync that ends because the source lost its disk leaves the target UpToDate for a diskless Primary (disk-errors 284)',
    file: 'src/state/sanitize.ts',
    oldText: '    if (state.pdsk === Disk.Consistent) state.pdsk = Disk.Outdated;\n',
    newText: '',
    scenarios: ['disk-errors'],
    expected: ['resync-direction', 'durability', 'complementary-states', 'no-silent-divergence', 'convergence'],
  },
  {
    id: 'unwritten-generation',
    summary: 'applications are taken to have seen a generation that the disk did not take (disk-errors 463)',
    file: 'src/resource/after-change.ts',
    oldText: '    volume.exposedUuid = exposedUuid;\n',
    newText: '    void exposedUuid;\n',
    scenarios: ['disk-errors'],
    expected: ['unexpected-disconnect', 'liveness'],
  },
  {
    id: 'synced-is-rebooted',
    summary: 'of several volumes one is to be synced from here, and its Primary is taken for one that has rebooted (dual-primary 471)',
    file: 'src/resource/peer-state.ts',
    oldText: "const sameGeneration = conn === Conn.Connected || (conn === Conn.WFBitMapS && outcome?.decidedBy === 'disk-states');",
    newText: "const sameGeneration = conn === Conn.Connected || (conn === Conn.WFBitMapS && outcome?.outcome === 'refuse');",
    scenarios: ['dual-primary'],
    set: ['fencing=resource-and-stonith'],
    expected: ['liveness', 'unexpected-disconnect'],
  },
];
