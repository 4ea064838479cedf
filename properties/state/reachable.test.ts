/** The committed lists of what two nodes can reach, held against the tables that would let them. */

import * as assert from 'uvu/assert';
import { test } from 'uvu';
import { reachableConns, reachableDisks, reachablePeerDisks, reachablePeerRoles, reachableRoles, reachableRules, unreachableCombinations } from '../../scenarios/reachable.js';
import { comparisonRules } from '../../src/generations/compare.js';
import { sanitize } from '../../src/state/sanitize.js';
import { ReturnCode } from '../../src/state/refusals.js';
import { Conn, Disk, Role, type State } from '../../src/state/states.js';
import { stateValidity, type RuleContext } from '../../src/state/validity.js';

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

test('every rule and every value of every field is listed once, and what cannot be reached has its argument', () => {
  assert.equal(reachableRules.map(({ rule }) => rule).sort(), [...comparisonRules].sort());
  const lists: [readonly { name: string; reachable: true | string }[], object][] = [
    [reachableConns, Conn],
    [reachableDisks, Disk],
    [reachablePeerDisks, Disk],
    [reachableRoles, Role],
    [reachablePeerRoles, Role],
  ];
  for (const [list, values] of lists) assert.equal(list.map(({ name }) => name), Object.keys(values));
  for (const { reachable } of [...reachableRules, ...lists.flatMap(([list]) => list)]) assert.ok(reachable === true || reachable.length > 20);
  assert.equal(reachableConns.filter(({ reachable }) => reachable !== true), []);
});

test('the combinations that are called unreachable: the sanitizer leaves none; two Primaries are refused unless they are allowed', () => {
  assert.is(unreachableCombinations.length, 3);
  for (const role of [Role.Primary, Role.Secondary])
    for (const peer of Object.values(Role))
      for (const conn of Object.values(Conn))
        for (const disk of Object.values(Disk))
          for (const pdsk of Object.values(Disk)) {
            const wanted: State = { role, peer, conn, disk, pdsk, susp: false, aftrIsp: false, peerIsp: false, userIsp: false, suspNod: false, suspFen: false };
            const { state } = sanitize(wanted, wanted, context);
            assert.not.ok(state.conn > Conn.Connected && (state.disk <= Disk.Failed || state.pdsk <= Disk.Failed));
            if (state.conn < Conn.Connected) {
              assert.is(state.peer, Role.Unknown);
              assert.ok(([Disk.Inconsistent, Disk.Outdated, Disk.DUnknown] as Disk[]).includes(state.pdsk));
            }
            if (state.role === Role.Primary && state.peer === Role.Primary) assert.is(stateValidity(state, context), ReturnCode.TwoPrimaries);
          }
});

test.run();
