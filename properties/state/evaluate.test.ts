/**
 * How changes are judged: one example for every line of the tables of refusals, and properties over every state and every
 * single change.
 */

import * as assert from 'uvu/assert';
import { test } from 'uvu';
import {
  connectionNeedsConsent,
  evaluateAll,
  evaluateChange,
  needsConsent,
  otherVolumePeerPrimary,
  sameState,
  type ChangeKind,
  type StateChange,
} from '../../src/state/evaluate.js';
import { ConfigCode, ReturnCode, configText, isSuccess, returnText } from '../../src/state/refusals.js';
import { sanitize } from '../../src/state/sanitize.js';
import { Conn, Disk, Role, connName, diskName, roleName, type State } from '../../src/state/states.js';
import { softLimit, stateValidity, type RuleContext } from '../../src/state/validity.js';

const context: RuleContext = {
  fencing: 'dont-care',
  onNoDataAccessible: 'io-error',
  exposedEqualsCurrent: false,
  isMadeAnew: false,
  negotiation: undefined,
  twoPrimaries: false,
  hasNetConfig: true,
  deviceOpen: false,
  otherVolumePeerPrimary: false,
  handshakeUnfinished: false,
  hasVerifyAlg: false,
  protocolVersion: 101,
};
/** Two healthy connected Secondaries. */
const connected: State = {
  role: Role.Secondary,
  peer: Role.Secondary,
  conn: Conn.Connected,
  disk: Disk.UpToDate,
  pdsk: Disk.UpToDate,
  susp: false,
  aftrIsp: false,
  peerIsp: false,
  userIsp: false,
  suspNod: false,
  suspFen: false,
};
/** A Secondary that waits for its peer. */
const alone: State = { ...connected, conn: Conn.WFConnection, peer: Role.Unknown, pdsk: Disk.DUnknown };
const standAlone: State = { ...alone, conn: Conn.StandAlone };
const primary: State = { ...connected, role: Role.Primary };

const show = (state: StateChange): string =>
  Object.entries(state)
    .filter(([, value]) => value !== false)
    .map(([field, value]) => `${field}:${field === 'conn' ? connName(value as number) : field.endsWith('sk') ? diskName(value as number) : field === 'role' || field === 'peer' ? roleName(value as number) : value}`)
    .join(' ');

type Case = [name: string, from: State, change: StateChange, code: ReturnCode, context?: Partial<RuleContext>, kind?: ChangeKind];

const promote: StateChange = { role: Role.Primary };
const cases: Case[] = [
  // §3.1
  ['StandAlone cannot disconnect', standAlone, { conn: Conn.Disconnecting }, ReturnCode.AlreadyStandAlone, {}, 'hard'],
  ['StandAlone goes to Unconnected only', standAlone, { conn: Conn.WFConnection }, ReturnCode.NeedConnection, {}, 'hard'],
  ['no link without a handshake', alone, { conn: Conn.Connected, pdsk: Disk.UpToDate }, ReturnCode.NeedConnection, {}, 'hard'],
  ['a failed connection cleans up first', { ...alone, conn: Conn.Timeout }, { conn: Conn.WFConnection }, ReturnCode.InTransientState, {}, 'hard'],
  ['the first reason of a loss wins', { ...alone, conn: Conn.Timeout }, { conn: Conn.BrokenPipe }, ReturnCode.InTransientState, {}, 'hard'],
  ['Disconnecting ends StandAlone', { ...alone, conn: Conn.Disconnecting }, { conn: Conn.Unconnected }, ReturnCode.InTransientState, {}, 'hard'],
  ['no disk, no failure', { ...connected, disk: Disk.Diskless }, { disk: Disk.Failed }, ReturnCode.IsDiskless, {}, 'hard'],
  ['a lost link is a fact', primary, { conn: Conn.NetworkFailure }, ReturnCode.Success, { fencing: 'resource-only' }, 'hard'],
  // §3.2
  ['1 two Primaries', { ...connected, peer: Role.Primary }, promote, ReturnCode.TwoPrimaries],
  ['1 two Primaries where allowed', { ...connected, peer: Role.Primary }, promote, ReturnCode.Success, { twoPrimaries: true }],
  ['1 other volume', connected, promote, ReturnCode.OtherVolumePeerPrimary, { otherVolumePeerPrimary: true }],
  ['1 without a net configuration', standAlone, promote, ReturnCode.Success, { hasNetConfig: false, otherVolumePeerPrimary: true }],
  ['2 open device', primary, { role: Role.Secondary }, ReturnCode.DeviceInUse, { deviceOpen: true }],
  ['3 Outdated disk alone', { ...alone, disk: Disk.Outdated }, promote, ReturnCode.NoUpToDateDisk],
  ['3 Consistent disk alone', { ...alone, disk: Disk.Consistent }, promote, ReturnCode.NoUpToDateDisk],
  ['4 fencing', alone, promote, ReturnCode.PrimaryNop, { fencing: 'resource-only' }],
  ['4 fencing, peer outdated', { ...alone, pdsk: Disk.Outdated }, promote, ReturnCode.Success, { fencing: 'resource-and-stonith' }],
  ['5 nowhere data', { ...connected, disk: Disk.Inconsistent, pdsk: Disk.Inconsistent }, promote, ReturnCode.NoUpToDateDisk],
  ['9 Outdated while connected', { ...connected, conn: Conn.WFReportParams }, { conn: Conn.Ahead, disk: Disk.UpToDate }, ReturnCode.Success],
  ['10 verify', connected, { conn: Conn.VerifyS }, ReturnCode.NoVerifyAlg],
  ['10 verify with an algorithm', connected, { conn: Conn.VerifyT }, ReturnCode.Success, { hasVerifyAlg: true }],
  ['10 verify with an old peer', connected, { conn: Conn.VerifyS }, ReturnCode.NotSupported, { hasVerifyAlg: true, protocolVersion: 87 }],
  ['6 verify without a disk', { ...connected, disk: Disk.Diskless }, { conn: Conn.VerifyS }, ReturnCode.NoLocalDisk, { hasVerifyAlg: true }],
  ['7 verify without the peer\'s disk', { ...connected, pdsk: Disk.Failed }, { conn: Conn.VerifyS }, ReturnCode.NoRemoteDisk, { hasVerifyAlg: true }],
  ['11 detach under a Primary', { ...primary, pdsk: Disk.Inconsistent }, { disk: Disk.Failed }, ReturnCode.NoUpToDateDisk],
  ['13 connected to an unknown disk', { ...alone, conn: Conn.WFReportParams }, { conn: Conn.Connected, peer: Role.Secondary }, ReturnCode.ConnectedOutdates],
  // §3.3
  ['one resync at a time', { ...connected, conn: Conn.SyncSource, pdsk: Disk.Inconsistent }, { conn: Conn.StartingSyncS }, ReturnCode.ResyncRunning],
  ['attach has its order', { ...alone, disk: Disk.Diskless }, { disk: Disk.UpToDate }, ReturnCode.IsDiskless],
  ['waiting needs a configuration', { ...alone, conn: Conn.Disconnecting }, { conn: Conn.StandAlone }, ReturnCode.Success],
  ['outdating what is worse', { ...alone, disk: Disk.Inconsistent }, { disk: Disk.Outdated }, ReturnCode.LowerThanOutdated],
  ['outdating', alone, { disk: Disk.Outdated }, ReturnCode.Success],
  ['outdating while connected does nothing', connected, { disk: Disk.Outdated }, ReturnCode.NothingToDo],
  ['disconnecting too early', { ...alone, conn: Conn.Unconnected }, { conn: Conn.Disconnecting }, ReturnCode.InTransientState],
  ['promotion in the handshake (B077)', alone, promote, ReturnCode.InTransientState, { handshakeUnfinished: true }],
  ['attach in the handshake (B078)', { ...alone, disk: Disk.Attaching }, { disk: Disk.UpToDate }, ReturnCode.InTransientState, { handshakeUnfinished: true }],
  ['the handshake itself', alone, { conn: Conn.WFReportParams }, ReturnCode.Success, { handshakeUnfinished: true }],
  ['promoting a sync target', { ...connected, conn: Conn.WFBitMapT, disk: Disk.Outdated }, promote, ReturnCode.InTransientState],
  ['promoting a running sync target', { ...connected, conn: Conn.SyncTarget, disk: Disk.Inconsistent }, promote, ReturnCode.Success],
  ['verify alone', alone, { conn: Conn.VerifyS }, ReturnCode.NeedConnection, { hasVerifyAlg: true }],
  ['verify while syncing', { ...connected, conn: Conn.SyncSource, pdsk: Disk.Inconsistent }, { conn: Conn.VerifyS }, ReturnCode.ResyncRunning, { hasVerifyAlg: true }],
  ['verify while the peer verifies', { ...connected, conn: Conn.VerifyT }, { conn: Conn.VerifyS }, ReturnCode.ResyncRunning, { hasVerifyAlg: true }],
  ['verify against a bad disk', { ...connected, pdsk: Disk.Inconsistent }, { conn: Conn.VerifyS }, ReturnCode.NoUpToDateDisk, { hasVerifyAlg: true }],
  ['a disk that turns bad ends a verify', { ...connected, conn: Conn.VerifyT }, { disk: Disk.Inconsistent }, ReturnCode.Success, { hasVerifyAlg: true }, 'hard'],
  ['invalidate alone', alone, { conn: Conn.StartingSyncT }, ReturnCode.NeedConnection],
  ['invalidate', connected, { conn: Conn.StartingSyncT }, ReturnCode.Success],
  ['invalidate without good data (B134)', { ...connected, disk: Disk.Inconsistent, pdsk: Disk.Inconsistent }, { conn: Conn.StartingSyncT }, ReturnCode.NoUpToDateDisk],
  ['invalidate-remote without good data (B134)', { ...connected, disk: Disk.Inconsistent, pdsk: Disk.Inconsistent }, { conn: Conn.StartingSyncS }, ReturnCode.NoUpToDateDisk],
  ['outdating a peer that is away', alone, { conn: Conn.Disconnecting, pdsk: Disk.Outdated }, ReturnCode.OutdateWithoutConnection],
  ['graceful disconnect of a fencing Primary', primary, { conn: Conn.Disconnecting }, ReturnCode.PrimaryNop, { fencing: 'resource-only' }],
  ['the same, outdating the peer', primary, { conn: Conn.Disconnecting, pdsk: Disk.Outdated }, ReturnCode.Success, { fencing: 'resource-only' }],
  // Old faults do not forbid new changes, but for what the peer would be asked.
  ['a fault that is old', { ...alone, role: Role.Primary, disk: Disk.Outdated }, { userIsp: true }, ReturnCode.Success],
  ['a fault that is old, cluster-wide', { ...alone, role: Role.Primary, disk: Disk.Outdated }, { userIsp: true }, ReturnCode.NoUpToDateDisk, {}, 'cluster-wide'],
];

for (const [name, from, change, code, extra = {}, kind = 'soft'] of cases) {
  test(`${name}: ${returnText(code) || 'granted'}`, () => {
    const rules = { ...context, ...extra };
    const evaluation = evaluateChange(from, change, kind, rules);
    assert.is(evaluation.code, code, `${show(from)} + ${show(change)}`);
    assert.is(sameState(evaluation.next, from), code !== ReturnCode.Success);
  });
}

test('rules of validity that the sanitizer leaves no way to reach still hold', () => {
  // 6, 7, 8, 9, 12: asked directly.
  assert.is(stateValidity({ ...connected, conn: Conn.SyncSource, disk: Disk.Failed }, context), ReturnCode.NoLocalDisk);
  assert.is(stateValidity({ ...connected, conn: Conn.SyncTarget, pdsk: Disk.Failed }, context), ReturnCode.NoRemoteDisk);
  assert.is(stateValidity({ ...connected, conn: Conn.SyncTarget, disk: Disk.Inconsistent, pdsk: Disk.Outdated }, context), ReturnCode.NoUpToDateDisk);
  assert.is(stateValidity({ ...connected, disk: Disk.Outdated }, context), ReturnCode.ConnectedOutdates);
  assert.is(stateValidity({ ...connected, conn: Conn.StartingSyncS, pdsk: Disk.DUnknown }, context), ReturnCode.NeedConnection);
  assert.is(softLimit({ ...alone, conn: Conn.StandAlone }, alone, context), ReturnCode.NoNetConfig);
  assert.is(softLimit(alone, { ...connected, conn: Conn.SyncTarget }, context), ReturnCode.NeedConnection);
  assert.is(softLimit({ ...connected, conn: Conn.WFBitMapS }, { ...connected, conn: Conn.VerifyT }, context), ReturnCode.ResyncRunning);
  assert.is(softLimit(alone, { ...connected, conn: Conn.VerifyT }, context), ReturnCode.NeedConnection);
});

/** All sanitized states without pause or suspension. */
const sanitizedStates = (): State[] => {
  const found = new Map<string, State>();
  for (const role of [Role.Primary, Role.Secondary])
    for (const peer of Object.values(Role))
      for (const conn of Object.values(Conn))
        for (const disk of Object.values(Disk))
          for (const pdsk of Object.values(Disk)) {
            const { state } = sanitize(alone, { ...alone, role, peer, conn, disk, pdsk }, context);
            found.set(JSON.stringify(state), state);
          }
  return [...found.values()];
};

const singleChanges: StateChange[] = [
  ...Object.values(Role).map((role) => ({ role })),
  ...Object.values(Conn).map((conn) => ({ conn })),
  ...Object.values(Disk).map((disk) => ({ disk })),
  ...Object.values(Disk).map((pdsk) => ({ pdsk })),
  { userIsp: true },
  { susp: true },
];

test('over every state and every single change: refusals change nothing, kinds are ordered, promotions see good data', () => {
  const states = sanitizedStates();
  const codes = new Set<ReturnCode>();
  let judged = 0;
  for (const from of states) {
    for (const change of singleChanges) {
      judged++;
      const hard = evaluateChange(from, change, 'hard', context);
      const soft = evaluateChange(from, change, 'soft', context);
      const wide = evaluateChange(from, change, 'cluster-wide', context);
      for (const evaluation of [hard, soft, wide]) {
        codes.add(evaluation.code);
        assert.is(sameState(evaluation.next, from), evaluation.code !== ReturnCode.Success);
      }
      // What a fact may not do, no request may; what a lenient request may not do, a strict one may not.
      assert.ok(isSuccess(hard.code) || hard.code === soft.code);
      assert.ok(isSuccess(soft.code) || !isSuccess(wide.code));
      const { next } = soft;
      if (soft.code === ReturnCode.Success && from.role !== Role.Primary && next.role === Role.Primary) {
        assert.ok(next.disk === Disk.UpToDate || (next.conn >= Conn.Connected && next.pdsk === Disk.UpToDate), show(next));
        assert.is.not(next.peer, Role.Primary, show(next));
      }
      if (soft.code === ReturnCode.Success && !isSuccess(stateValidity(next, context))) {
        assert.is(stateValidity(next, context), stateValidity(from, context), 'only an old fault may stay');
      }
    }
  }
  console.log(`${states.length} sanitized states, ${judged} judgements, ${codes.size} different codes`);
  assert.is(judged, states.length * singleChanges.length);
  // An alarm: a change of the sanitizer that admits or loses states must be meant.
  assert.is(states.length, 934);
});

test('consent is asked for exactly the changes of the specification', () => {
  assert.ok(needsConsent(connected, primary));
  assert.not.ok(needsConsent(primary, connected), 'a demotion is only announced');
  assert.not.ok(needsConsent(alone, { ...alone, role: Role.Primary }));
  assert.ok(needsConsent(connected, { ...connected, conn: Conn.StartingSyncS }));
  assert.ok(needsConsent(connected, { ...connected, conn: Conn.StartingSyncT }));
  assert.ok(needsConsent(connected, { ...connected, disk: Disk.Failed }));
  assert.not.ok(needsConsent(alone, { ...alone, disk: Disk.Failed }));
  assert.ok(needsConsent(connected, { ...connected, conn: Conn.Disconnecting }));
  assert.ok(needsConsent(connected, { ...connected, conn: Conn.VerifyS }));
  assert.ok(needsConsent(connected, { ...connected, conn: Conn.WFReportParams }));
  assert.not.ok(needsConsent({ ...connected, conn: Conn.SyncSource }, connected));
  assert.not.ok(needsConsent(connected, { ...connected, conn: Conn.NetworkFailure }));
  assert.ok(connectionNeedsConsent(Conn.WFReportParams, { conn: Conn.Disconnecting }));
  assert.not.ok(connectionNeedsConsent(Conn.WFConnection, { conn: Conn.Disconnecting }));
  assert.not.ok(connectionNeedsConsent(Conn.WFReportParams, { conn: Conn.NetworkFailure }));
});

test('all volumes change or none does, and the first refusal is given', () => {
  const good = { state: connected, context };
  const bad = { state: { ...connected, disk: Disk.Inconsistent, pdsk: Disk.Inconsistent }, context };
  const worse = { state: connected, context: { ...context, otherVolumePeerPrimary: true } };
  const both = evaluateAll([good, good], promote, 'soft');
  assert.equal([both.code, both.next.map(({ role }) => role)], [ReturnCode.Success, [Role.Primary, Role.Primary]]);
  const refused = evaluateAll([good, bad, worse], promote, 'soft');
  assert.equal([refused.code, refused.refusedBy], [ReturnCode.NoUpToDateDisk, 1]);
  assert.equal(refused.next, [good.state, bad.state, worse.state]);
  const none = evaluateAll([{ state: primary, context }, { state: primary, context }], promote, 'soft');
  assert.is(none.code, ReturnCode.NothingToDo);
  const some = evaluateAll([{ state: primary, context }, good], promote, 'soft');
  assert.is(some.code, ReturnCode.Success);
  assert.throws(() => evaluateAll([], promote, 'soft'));
});

test("a peer's connection-wide outdate request skips disks that are worse", () => {
  const inconsistent = { state: { ...connected, conn: Conn.SyncTarget, disk: Disk.Inconsistent, peer: Role.Primary }, context };
  const request: StateChange = { conn: Conn.TearDown, disk: Disk.Outdated };
  assert.is(evaluateAll([inconsistent], request, 'soft').code, ReturnCode.LowerThanOutdated);
  const skipped = evaluateAll([inconsistent, { state: connected, context }], request, 'soft', true);
  assert.is(skipped.code, ReturnCode.Success);
  assert.equal(skipped.next.map(({ disk }) => disk), [Disk.Inconsistent, Disk.Outdated]);
});

test('siblings: only another volume counts', () => {
  const other = { ...connected, peer: Role.Primary };
  assert.not.ok(otherVolumePeerPrimary([other, connected], 0));
  assert.ok(otherVolumePeerPrimary([other, connected], 1));
});

test('every refusal has a text, and unknown numbers of a peer do no harm', () => {
  for (const code of Object.values(ReturnCode)) assert.is(returnText(code) === '', code >= 0);
  for (const code of Object.values(ConfigCode)) assert.is(configText(code) === '', code === ConfigCode.Ok);
  assert.is(returnText(-77), 'Unknown return code');
  assert.is(returnText(ReturnCode.DeviceInUse), 'Device is held open by someone');
});

test.run();
