/** connect and disconnect (node-states.md §8.3, §8.4). */

import { checkConnect } from '../config/check.js';
import type { Core } from '../model/core.js';
import type { Connection, Procedure, Resource } from '../model/types.js';
import { isSuccess, ReturnCode } from '../state/refusals.js';
import { Conn, Disk } from '../state/states.js';
import { allVolumes, changeState } from './change.js';
import { requestChange } from './consent.js';
import { connectionLost, reconnect } from './loss.js';
import { finish, wait, waitForCrossed, type CommandOf } from './procedures.js';

/** DRBD's code for an address that nobody is configured at. */
const INVALID_REQUEST = 162;

export const connect = (core: Core, resource: Resource, procedure: Procedure, what: CommandOf<'connect'>): void => {
  const connection = resource.connections.get(what.peer);
  if (!connection) return finish(core, resource, procedure, INVALID_REQUEST);
  const refusal = checkConnect(connection.cstate, resource.role, what.discardMyData);
  if (refusal) return finish(core, resource, procedure, refusal.code);
  const code = changeState(core, resource, allVolumes(resource), connection, { conn: Conn.Unconnected }, 'soft', 'connect');
  if (!isSuccess(code)) return finish(core, resource, procedure, code);
  connection.discardMyData = what.discardMyData;
  connection.tentative = what.tentative;
  reconnect(core, resource, connection, false);
  finish(core, resource, procedure, ReturnCode.Success);
};

const Step = { Begin: 0, Consented: 1, Leaving: 2 } as const;
type Step = (typeof Step)[keyof typeof Step];

export const disconnect = (core: Core, resource: Resource, procedure: Procedure, what: CommandOf<'disconnect'>): void => {
  const connection = resource.connections.get(what.peer);
  if (!connection) return finish(core, resource, procedure, INVALID_REQUEST);
  switch (procedure.step as Step) {
    case Step.Begin:
      if (connection.cstate === Conn.StandAlone) return finish(core, resource, procedure, ReturnCode.Success);
      if (connection.cstate === Conn.Disconnecting) return wait(procedure, 'state', Step.Leaving);
      if (what.force) return leave(core, resource, procedure, connection, 'hard');
      return ask(core, resource, procedure, connection);
    case Step.Consented:
      return judged(core, resource, procedure, connection, procedure.result);
    case Step.Leaving:
      if (connection.cstate === Conn.StandAlone) return finish(core, resource, procedure, ReturnCode.Success);
      return wait(procedure, 'state', Step.Leaving);
  }
};

const ask = (core: Core, resource: Resource, procedure: Procedure, connection: Connection): void => {
  const code = requestChange(core, resource, connection, allVolumes(resource), { ...procedure.change, conn: Conn.Disconnecting }, procedure);
  if (code === 'asked') return wait(procedure, 'consent', Step.Consented);
  if (code === 'busy') return wait(procedure, 'state', Step.Begin);
  judged(core, resource, procedure, connection, code);
};

const judged = (core: Core, resource: Resource, procedure: Procedure, connection: Connection, code: number): void => {
  if (isSuccess(code) || code === ReturnCode.AlreadyStandAlone) return leave(core, resource, procedure, connection, undefined);
  if (code === ReturnCode.InTransientState) return wait(procedure, 'state', Step.Begin);
  const { change } = procedure;
  if (code === ReturnCode.PrimaryNop && change.pdsk === undefined && change.disk === undefined) {
    // We are Primary and fencing is on: the peer shall outdate itself.
    procedure.change = { pdsk: Disk.Outdated };
    return ask(core, resource, procedure, connection);
  }
  if (code === ReturnCode.OutdateWithoutConnection) {
    procedure.change = {};
    return leave(core, resource, procedure, connection, 'hard');
  }
  if (code === ReturnCode.CwFailedByPeer) {
    if (connection.loss || connection.cstate < Conn.WFReportParams) return wait(procedure, 'state', Step.Begin);
    // Only "a Primary needs its peer outdated" asks us to outdate ourselves. Two requests that crossed do not (bug B111).
    if (procedure.peerCode === ReturnCode.ConcurrentStateChange) return waitForCrossed(core, resource, procedure, Step.Begin);
    if (procedure.peerCode === ReturnCode.PrimaryNop && change.disk === undefined) {
      procedure.change = { disk: Disk.Outdated };
      return ask(core, resource, procedure, connection);
    }
  }
  if (change.disk !== undefined && (code === ReturnCode.IsDiskless || code === ReturnCode.LowerThanOutdated)) {
    return leave(core, resource, procedure, connection, 'hard');
  }
  finish(core, resource, procedure, code);
};

/** Disconnecting: the streams go, then StandAlone. */
const leave = (core: Core, resource: Resource, procedure: Procedure, connection: Connection, kind: 'hard' | undefined): void => {
  if (kind) changeState(core, resource, allVolumes(resource), connection, { conn: Conn.Disconnecting }, kind, 'disconnect');
  if (connection.cstate === Conn.Disconnecting && !connection.loss) connectionLost(core, resource, connection, 'Disconnecting', 'disconnect');
  if (connection.cstate === Conn.StandAlone) return finish(core, resource, procedure, ReturnCode.Success);
  wait(procedure, 'state', Step.Leaving);
};
