/** The 32-bit word, (mask, val) pairs, what a peer's request means on this node, and the flags that a state leaves on disk. */

import fc from '../fast-check.js';
import * as assert from 'uvu/assert';
import { test } from 'uvu';
import type { StateChange } from '../../src/state/evaluate.js';
import { decodeChange, decodeStateWord, encodeChange, encodeStateWord, mirrorRequest } from '../../src/state/state-word.js';
import { Conn, Disk, Role, type State } from '../../src/state/states.js';
import { flagsFromState } from '../../src/state/superblock-flags.js';
import { recordedWords, recordingsExist, stateDumps } from './recordings.js';

const fields = {
  role: fc.constantFrom(...Object.values(Role)),
  peer: fc.constantFrom(...Object.values(Role)),
  conn: fc.constantFrom(...Object.values(Conn)),
  disk: fc.constantFrom(...Object.values(Disk)),
  pdsk: fc.constantFrom(...Object.values(Disk)),
  susp: fc.boolean(),
  aftrIsp: fc.boolean(),
  peerIsp: fc.boolean(),
  userIsp: fc.boolean(),
  suspNod: fc.boolean(),
  suspFen: fc.boolean(),
};
const anyState: fc.Arbitrary<State> = fc.record(fields, { noNullPrototype: true });
const anyChange: fc.Arbitrary<StateChange> = fc.record(fields, { requiredKeys: [], noNullPrototype: true });

test('words of the specification', () => {
  const secondary: State = {
    role: Role.Secondary,
    peer: Role.Unknown,
    conn: Conn.WFConnection,
    disk: Disk.Inconsistent,
    pdsk: Disk.DUnknown,
    susp: false,
    aftrIsp: false,
    peerIsp: false,
    userIsp: false,
    suspNod: false,
    suspFen: false,
  };
  assert.is(encodeStateWord(secondary), 0x0000c882);
  const source: State = { ...secondary, role: Role.Primary, peer: Role.Secondary, conn: Conn.WFBitMapS, disk: Disk.UpToDate, pdsk: Disk.Consistent };
  assert.is(encodeStateWord(source), 0x0000f0d9);
  assert.is(encodeStateWord({ ...source, suspFen: true }), 0x0040f0d9);
  assert.equal(encodeChange({ role: Role.Primary, disk: Disk.UpToDate }), { mask: 0x1e03, val: 0x1001 });
  assert.equal(encodeChange({ conn: Conn.Disconnecting }), { mask: 0x1f0, val: 0x10 });
  assert.equal(encodeChange({ conn: Conn.VerifyS }), { mask: 0x1f0, val: 0x120 });
  assert.equal(encodeChange({ conn: Conn.StartingSyncT }), { mask: 0x1f0, val: 0xc0 });
});

test('encode and decode are inverse', () => {
  fc.assert(fc.property(anyState, (state) => assert.equal(decodeStateWord(encodeStateWord(state)), state)));
  fc.assert(
    fc.property(anyChange, (change) => {
      const { mask, val } = encodeChange(change);
      assert.equal(decodeChange(mask, val), change);
      assert.is((val & ~mask) >>> 0, 0);
    }),
  );
});

test('any 32 bits are a state or are refused, and a state keeps its bits', () => {
  fc.assert(
    fc.property(fc.nat(0xffffffff), (word) => {
      const state = decodeStateWord(word);
      if (state === undefined) {
        const outOfRange = (word & 3) === 3 || ((word >>> 2) & 3) === 3 || ((word >>> 4) & 31) > 23 || ((word >>> 9) & 15) > 8 || ((word >>> 13) & 15) > 8;
        assert.ok(outOfRange, `0x${word.toString(16)}`);
      } else {
        assert.is(encodeStateWord(state), word & 0x7fffff);
      }
    }),
    { numRuns: 2000 },
  );
});

test('a request is mirrored into the eyes of the one who is asked', () => {
  const cases: [StateChange, StateChange | undefined][] = [
    [{ role: Role.Primary }, { peer: Role.Primary }],
    [{ role: Role.Secondary }, { peer: Role.Secondary }],
    [{ role: Role.Primary, disk: Disk.UpToDate }, { peer: Role.Primary, pdsk: Disk.UpToDate }],
    [{ disk: Disk.Failed }, { pdsk: Disk.Failed }],
    [{ conn: Conn.StartingSyncT }, { conn: Conn.StartingSyncS }],
    [{ conn: Conn.StartingSyncS }, { conn: Conn.StartingSyncT }],
    [{ conn: Conn.VerifyS }, { conn: Conn.VerifyT }],
    [{ conn: Conn.WFReportParams }, { conn: Conn.WFReportParams }],
    [{ conn: Conn.Connected }, { conn: Conn.Connected }],
    [{ conn: Conn.Disconnecting }, { conn: Conn.TearDown }],
    [{ conn: Conn.Disconnecting, pdsk: Disk.Outdated }, { conn: Conn.TearDown, disk: Disk.Outdated }],
    [{ conn: Conn.Disconnecting, disk: Disk.Outdated }, { conn: Conn.TearDown, pdsk: Disk.Outdated }],
    [{ aftrIsp: true, userIsp: false }, { peerIsp: true }],
    [{ userIsp: false }, { peerIsp: false }],
    // What nobody asks of another node.
    [{ peer: Role.Primary }, undefined],
    [{ pdsk: Disk.UpToDate }, undefined],
    [{ susp: true }, undefined],
    [{ suspFen: true }, undefined],
    [{ conn: Conn.SyncTarget }, undefined],
    [{ conn: Conn.StandAlone }, undefined],
    [{ conn: Conn.TearDown }, undefined],
  ];
  for (const [asked, mirrored] of cases) {
    const { mask, val } = encodeChange(asked);
    assert.equal(mirrorRequest(mask, val), mirrored, JSON.stringify(asked));
  }
  assert.is(mirrorRequest(1, 1), undefined, 'a mask over half a field');
  assert.is(mirrorRequest(3, 3), undefined, 'a role without a name');
  assert.is(mirrorRequest(0x1e00, 0x1400), undefined, 'a disk state without a name');
  assert.equal(mirrorRequest(0x1e03, 0x1201), { peer: Role.Primary, pdsk: Disk.UpToDate }, 'DRBD 9 is forced to be Primary');
  assert.equal(mirrorRequest(0x1e1f0, 0xc010), { conn: Conn.TearDown, disk: Disk.Outdated }, 'DRBD 9 disconnects and wants our disk Outdated');
  assert.equal(mirrorRequest(0x1ff0, 0xc10), { conn: Conn.TearDown, pdsk: Disk.Outdated }, 'DRBD 9 disconnects and outdates its own disk');
});

test('a request never raises our own disk, role or suspension, whatever the bits', () => {
  fc.assert(
    fc.property(fc.nat(0x7fffff), fc.nat(0xffffffff), anyChange, (mask, val, change) => {
      const proper = encodeChange(change);
      for (const request of [{ mask, val }, proper]) {
        const mirrored = mirrorRequest(request.mask, request.val);
        if (mirrored === undefined) continue;
        assert.ok(mirrored.disk === undefined || mirrored.disk === Disk.Outdated);
        assert.ok(!('role' in mirrored) && !('susp' in mirrored) && !('suspNod' in mirrored) && !('suspFen' in mirrored));
      }
    }),
    { numRuns: 3000 },
  );
});

test('every recorded request of a kernel node has a meaning, but for the disk numbers of DRBD 9', () => {
  if (!recordingsExist('recorded requests')) return;
  let understood = 0;
  const refused = new Set<string>();
  for (const { where, words } of recordedWords(['STATE_CHG_REQ', 'CONN_ST_CHG_REQ'])) {
    const [mask = NaN, val = NaN] = words;
    if (mirrorRequest(mask, val) !== undefined) understood++;
    else refused.add(`${where.split(' ')[0]} 0x${mask.toString(16)}/0x${val.toString(16)}`);
  }
  assert.ok(understood > 150, `${understood}`);
  // captures/with-drbd9/README.md item 14: numbers of DRBD 9 itself (9 UpToDate, 6 Outdated).
  for (const request of refused) assert.ok(request.startsWith('with-drbd9/') && /0x1e03\/0x1201|0x1e1f0\/0xc010/.test(request), request);
});

test('the flags in the recorded superblocks follow from the states recorded beside them', () => {
  if (!recordingsExist('superblock flags')) return;
  let checked = 0;
  for (const { where, text } of stateDumps()) {
    const states = new Map<string, State>();
    for (const [, minor = '', cs, own, peer, disk, pdsk] of text.matchAll(/^\s*(\d+): cs:(\w+) ro:(\w+)\/(\w+) ds:(\w+)\/(\w+)/gm)) {
      states.set(minor, {
        ...decodeStateWord(0)!,
        role: Role[own as keyof typeof Role],
        peer: Role[peer as keyof typeof Role],
        conn: Conn[cs as keyof typeof Conn],
        disk: Disk[disk as keyof typeof Disk],
        pdsk: Disk[pdsk as keyof typeof Disk],
      });
    }
    for (const section of text.split('### drbdsetup-84 show-gi ').slice(1)) {
      const minor = section.slice(0, section.indexOf('\n')).trim();
      const flags = /^[0-9A-F]{16}(?::[0-9A-F]{16}){3}:([01](?::[01]){6})$/m.exec(section)?.[1]?.split(':').map((bit) => bit === '1');
      const state = states.get(minor);
      if (flags === undefined || state === undefined || state.disk < Disk.Inconsistent) continue;
      const [consistent, wasUpToDate, primaryInd, connectedInd, , peerOutDated, crashedPrimary = false] = flags;
      const expected = { consistent, wasUpToDate, primaryInd, connectedInd, peerOutDated, crashedPrimary };
      assert.equal(flagsFromState(state, crashedPrimary), expected, `${where} minor ${minor}`);
      checked++;
    }
  }
  assert.ok(checked > 100, `${checked} superblocks`);
});

test('flags of a volume without a disk are a bug of the caller', () => {
  assert.throws(() => flagsFromState(decodeStateWord(0)!, false));
});

test.run();
