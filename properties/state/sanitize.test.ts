/**
 * The sanitizer over its whole cross product, and against what two kernels recorded: every state word they sent and every
 * state that their logs print must be one that the sanitizer leaves alone.
 */

import * as assert from 'uvu/assert';
import { test } from 'uvu';
import { evaluateChange, sameState, stateFields, type StateChange } from '../../src/state/evaluate.js';
import { diskRange, hasNoGoodData, sanitize, type SanitizeOptions } from '../../src/state/sanitize.js';
import { decodeStateWord, encodeStateWord } from '../../src/state/state-word.js';
import { Conn, Disk, Role, connName, isSyncState, type State } from '../../src/state/states.js';
import type { RuleContext } from '../../src/state/validity.js';
import { kernelLogs, recordedWords, recordingsExist } from './recordings.js';

const roles = Object.values(Role);
const conns = Object.values(Conn);
const disks = Object.values(Disk);

const initial: State = {
  role: Role.Secondary,
  peer: Role.Unknown,
  conn: Conn.StandAlone,
  disk: Disk.Diskless,
  pdsk: Disk.DUnknown,
  susp: false,
  aftrIsp: false,
  peerIsp: false,
  userIsp: false,
  suspNod: false,
  suspFen: false,
};
const plain: SanitizeOptions = { fencing: 'dont-care', onNoDataAccessible: 'io-error', exposedEqualsCurrent: false, negotiation: undefined, isMadeAnew: false };

function* everyState(): Generator<State> {
  for (const role of roles)
    for (const peer of roles)
      for (const conn of conns)
        for (const disk of disks)
          for (const pdsk of disks)
            for (let flags = 0; flags < 8; flags++)
              yield { ...initial, role, peer, conn, disk, pdsk, aftrIsp: (flags & 1) > 0, peerIsp: (flags & 2) > 0, userIsp: (flags & 4) > 0 };
}

const optionSets: SanitizeOptions[] = [
  plain,
  { ...plain, fencing: 'resource-and-stonith', onNoDataAccessible: 'suspend-io' },
  { ...plain, isMadeAnew: true },
  { ...plain, exposedEqualsCurrent: true, negotiation: { disk: Disk.Consistent, pdsk: Disk.UpToDate } },
];

test('sanitizing twice is sanitizing once, and the result is inside the clamp table', () => {
  let states = 0;
  for (const wanted of everyState()) {
    states++;
    for (const options of optionSets) {
      const once = sanitize(initial, wanted, options);
      const twice = sanitize(initial, once.state, options);
      if (!sameState(once.state, twice.state)) {
        assert.unreachable(`0x${encodeStateWord(wanted).toString(16)} -> 0x${encodeStateWord(once.state).toString(16)} -> 0x${encodeStateWord(twice.state).toString(16)}`);
      }
      const { conn, disk, pdsk, role } = once.state;
      const range = diskRange(conn);
      assert.ok(disk >= range.disk.min && disk <= range.disk.max && pdsk >= range.pdsk.min && pdsk <= range.pdsk.max);
      assert.is(role, wanted.role, 'nobody is promoted or demoted by implication');
      if (conn < Conn.Connected) assert.ok(once.state.peer === Role.Unknown && !once.state.peerIsp && disk !== Disk.Negotiating);
      if (conn > Conn.Connected) assert.ok(disk > Disk.Failed && pdsk > Disk.Failed);
      const paused = once.state.aftrIsp || once.state.peerIsp || once.state.userIsp;
      if (isSyncState(conn)) assert.is(paused, conn === Conn.PausedSyncS || conn === Conn.PausedSyncT);
    }
  }
  assert.is(states, 3 * 3 * 24 * 9 * 9 * 8);
});

test('freezing needs its policy, and happens only when the reason is new', () => {
  const policy: SanitizeOptions = { ...plain, fencing: 'resource-and-stonith', onNoDataAccessible: 'suspend-io' };
  const primary: State = { ...initial, role: Role.Primary, peer: Role.Secondary, conn: Conn.Connected, disk: Disk.UpToDate, pdsk: Disk.UpToDate };
  const lost = sanitize(primary, { ...primary, conn: Conn.NetworkFailure }, policy).state;
  assert.ok(lost.suspFen);
  assert.not.ok(sanitize(primary, { ...primary, conn: Conn.NetworkFailure }, { ...policy, fencing: 'resource-only' }).state.suspFen);
  // Thawed by an operator: the next change must not freeze it again.
  const thawed = { ...lost, suspFen: false };
  assert.not.ok(sanitize(thawed, { ...thawed, conn: Conn.Unconnected }, policy).state.suspFen);
  const noData = sanitize(thawed, { ...thawed, disk: Disk.Diskless }, policy).state;
  assert.ok(noData.suspNod && hasNoGoodData(noData));
  assert.not.ok(sanitize(thawed, { ...thawed, disk: Disk.Diskless }, plain).state.suspNod);
});

test('a negotiating disk that loses its peer keeps its data only when applications saw the same generation', () => {
  const attaching: State = { ...initial, role: Role.Primary, peer: Role.Secondary, conn: Conn.Connected, disk: Disk.Negotiating, pdsk: Disk.UpToDate };
  const lost: State = { ...attaching, conn: Conn.BrokenPipe };
  const remembered = { disk: Disk.Outdated, pdsk: Disk.Outdated };
  const kept = sanitize(attaching, lost, { ...plain, exposedEqualsCurrent: true, negotiation: remembered });
  assert.equal([kept.state.disk, kept.state.pdsk, kept.warnings], [Disk.Outdated, Disk.Outdated, []]);
  const dropped = sanitize(attaching, lost, { ...plain, negotiation: remembered });
  assert.equal([dropped.state.disk, dropped.state.pdsk], [Disk.Diskless, Disk.DUnknown]);
  assert.is(dropped.warnings.length, 1);
});

test('what is Outdated becomes good by comparison: with a disk, or with what a Primary without one has seen when they meet', () => {
  const apart: State = { ...initial, conn: Conn.WFReportParams, disk: Disk.Outdated };
  const beside = (from: State, change: Partial<State>): Disk => sanitize(from, { ...from, conn: Conn.Connected, peer: Role.Secondary, ...change }, plain).state.disk;
  for (const pdsk of [Disk.Diskless, Disk.Attaching, Disk.Failed, Disk.Negotiating]) {
    assert.is(beside(apart, { pdsk }), Disk.Outdated);
    assert.is(beside(apart, { pdsk, peer: Role.Primary }), Disk.UpToDate);
    const together: State = { ...apart, conn: Conn.Connected, peer: Role.Secondary, pdsk };
    assert.is(beside(together, { peer: Role.Primary }), Disk.Outdated, 'a promotion proves nothing');
    // The other node says the same of it.
    const seen = sanitize({ ...apart, disk: pdsk }, { ...apart, conn: Conn.Connected, peer: Role.Secondary, disk: pdsk, pdsk: Disk.Outdated }, plain).state;
    assert.is(seen.pdsk, Disk.Outdated);
  }
  for (const pdsk of [Disk.Outdated, Disk.Consistent, Disk.UpToDate]) assert.is(beside(apart, { pdsk }), Disk.UpToDate);
});

test('every state word that a DRBD 8.4 kernel sent is one that the sanitizer leaves alone', () => {
  if (!recordingsExist('recorded state words')) return;
  let checked = 0;
  let fromDrbd9 = 0;
  for (const { where, words } of recordedWords(['STATE'])) {
    const [word = NaN] = words;
    const state = decodeStateWord(word);
    assert.ok(state, `${where}: 0x${word.toString(16)} decodes`);
    // Bit 23 (quorum): sent by DRBD 9, which has its own rules.
    if ((word & 0x800000) !== 0) {
      fromDrbd9++;
      continue;
    }
    checked++;
    assert.is(encodeStateWord(state), word, where);
    assert.equal(sanitize(state, state, plain).state, state, `${where}: 0x${word.toString(16)}`);
  }
  assert.ok(checked > 400 && fromDrbd9 > 300, `${checked} and ${fromDrbd9} words`);
});

// ---- Kernel logs ---------------------------------------------------------------------------------------------------

const numberOf: Record<string, Record<string, number>> = { role: Role, peer: Role, conn: Conn, disk: Disk, pdsk: Disk };
const flagOf: Record<string, keyof State> = {
  susp: 'susp',
  aftr_isp: 'aftrIsp',
  peer_isp: 'peerIsp',
  user_isp: 'userIsp',
};

/** "role( Secondary -> Primary ) disk( … )" as two partial states. */
const transition = (text: string): { from: StateChange; to: StateChange } => {
  const from: Record<string, number | boolean> = {};
  const to: Record<string, number | boolean> = {};
  for (const [, field = '', before = '', after = ''] of text.matchAll(/(\w+)\( (\w+) -> (\w+) \)/g)) {
    const numbers = numberOf[field];
    const flag = flagOf[field];
    if (numbers) {
      from[field] = numbers[before] ?? NaN;
      to[field] = numbers[after] ?? NaN;
    } else if (flag) {
      from[flag] = before === '1';
      to[flag] = after === '1';
    }
  }
  return { from: from as StateChange, to: to as StateChange };
};

test('every state change in the kernel logs is one that the rules give', () => {
  if (!recordingsExist('state changes in kernel logs')) return;
  // The kernel may do all that an operator with every permission may: contexts never forbid anything here.
  const context: RuleContext = {
    ...plain,
    twoPrimaries: true,
    hasNetConfig: true,
    deviceOpen: false,
    otherVolumePeerPrimary: false,
    handshakeUnfinished: false,
    hasVerifyAlg: true,
    protocolVersion: 101,
  };
  let changes = 0;
  const kinds = new Set<string>();
  for (const { scenario, node, lines } of kernelLogs()) {
    const volumes = new Map<string, State>();
    for (const line of lines) {
      const [, device, text] = /^(?:block (drbd\d+)|drbd \w+): (.*\( \w+ -> \w+ \).*)$/.exec(line) ?? [];
      if (text === undefined) continue;
      const { from, to } = transition(text);
      // A line of the resource is a change of all volumes; each volume may have been in another state.
      if (device !== undefined && !volumes.has(device)) volumes.set(device, initial);
      for (const [name, state] of volumes) {
        if (device !== undefined && device !== name) continue;
        if (device !== undefined) for (const field of stateFields) if (from[field] !== undefined) assert.is(state[field], from[field], `${scenario} ${node}: ${line}`);
        const evaluation = evaluateChange(state, to, 'hard', context);
        assert.ok(evaluation.code >= 1, `${scenario} ${node}: ${line}`);
        const expected: State = { ...state, ...to };
        assert.equal(evaluation.next, expected, `${scenario} ${node}: ${line}`);
        volumes.set(name, evaluation.next);
        changes++;
        kinds.add(`${connName(state.conn)} ${text}`);
      }
    }
  }
  console.log(`${changes} recorded state changes, ${kinds.size} different ones`);
  assert.ok(changes > 500 && kinds.size > 60, `${changes} changes, ${kinds.size} kinds`);
});

test.run();
