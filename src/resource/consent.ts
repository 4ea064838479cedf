/**
 * State changes that need the peer's consent (node-states.md §3.4, wire-protocol.md §3.8). The asked node applies the mirrored
 * change and answers; the asking one applies it on the answer (M11). One request at a time on a connection; of two that cross,
 * the one of the resolve-conflicts node survives.
 */

import { expectClose, ignoreInput } from '../connection/keepalive.js';
import { loseConnection } from '../connection/loss.js';
import { sendPacket } from '../connection/send.js';
import { signal, type Core } from '../model/core.js';
import type { Connection, Procedure, Resource, Volume } from '../model/types.js';
import { deviceOf, volumeOf } from '../model/view.js';
import { connectionNeedsConsent, needsConsent } from '../state/evaluate.js';
import { isSuccess, ReturnCode } from '../state/refusals.js';
import { encodeChange, mirrorRequest } from '../state/state-word.js';
import { Conn, type State } from '../state/states.js';
import type { PacketOf } from '../wire/packets.js';
import { isSuperblockDirty, queueSuperblock } from '../volume/metadata-io.js';
import { sendState } from './announce.js';
import { allVolumes, changeState, judge } from './change.js';

/** Below this version there is one kind of request, for volume 0. */
const CONNECTION_REQUESTS = 100;

/**
 * Makes a soft change, asking the peer first where that is needed. `asked`: the procedure is told by the signal `procedure`,
 * with the outcome in its `result`; `busy`: another request is out, try again when states change.
 */
export const requestChange = (
  core: Core,
  resource: Resource,
  connection: Connection,
  volumes: readonly Volume[],
  change: Partial<State>,
  procedure: Procedure,
): ReturnCode | 'asked' | 'busy' => {
  const mustAsk = (kind: 'soft' | 'cluster-wide'): { code: ReturnCode; asks: boolean } => {
    const { code, targets, next } = judge(resource, volumes, connection, change, kind);
    const asks = connectionNeedsConsent(connection.cstate, change) || targets.some(({ from }, index) => needsConsent(from, next[index]!));
    return { code, asks };
  };
  const soft = mustAsk('soft');
  if (!isSuccess(soft.code)) return soft.code;
  if (!soft.asks || connection.loss) return changeState(core, resource, volumes, connection, change, 'soft', procedure.what.verb);
  const wide = mustAsk('cluster-wide');
  if (!isSuccess(wide.code)) return wide.code;
  if (connection.request || connection.replyDue) return 'busy';
  const connectionWide = volumes.length > 1 || change.conn === Conn.Disconnecting;
  const { mask, val } = encodeChange(change);
  connection.request = { volume: connectionWide ? -1 : volumes[0]!.number, volumes: volumes.map(({ number }) => number), change, procedure: procedure.id };
  if (change.conn === Conn.Disconnecting) expectClose(core, connection);
  const packet = connectionWide && connection.protocolVersion >= CONNECTION_REQUESTS ? 'P_CONN_ST_CHG_REQ' : 'P_STATE_CHG_REQ';
  sendPacket(core, connection, { packet, volume: connectionWide ? 0 : volumes[0]!.number, mask, val });
  return 'asked';
};

/** The peer answered, or it never will (connection lost: CW_FAILED_BY_PEER). */
export const requestAnswered = (core: Core, resource: Resource, connection: Connection, retcode: number): void => {
  const request = connection.request;
  if (!request) {
    if (!connection.loss) loseConnection(core, connection, 'NetworkFailure', 'a reply to a state change that nobody asked for');
    return;
  }
  connection.request = undefined;
  const volumes = request.volumes.map((number) => volumeOf(resource, number));
  const procedure = resource.procedures.get(request.procedure);
  const code = isSuccess(retcode)
    ? changeState(core, resource, volumes, connection, request.change, 'soft', `${procedure?.what.verb ?? 'request'}, by consent`)
    : ReturnCode.CwFailedByPeer;
  // It has done its half already. Where ours has become impossible meanwhile, it must hear what we are instead.
  const { conn } = request.change;
  if (isSuccess(retcode) && conn !== undefined && conn > Conn.Connected) {
    for (const volume of volumes) {
      const device = deviceOf(volume, connection.peer);
      if (device.repl >= Conn.Connected && device.repl !== conn) sendState(core, resource, connection, volume, device);
    }
  }
  // Agreed: the streams may have ended before the answer was here, and that is no loss.
  if (request.change.conn === Conn.Disconnecting && !isSuccess(code)) expectClose(core, connection, false);
  if (procedure) {
    procedure.peerCode = retcode;
    procedure.result = isSuccess(code) ? ReturnCode.CwSuccess : code;
    signal(core, { signal: 'procedure', resource: resource.name, procedure: procedure.id });
  }
  signal(core, { signal: 'procedures', resource: resource.name });
};

/** P_STATE_CHG_REQ, P_CONN_ST_CHG_REQ: the peer asks. */
export const answerRequest = (core: Core, resource: Resource, connection: Connection, packet: PacketOf<'P_STATE_CHG_REQ' | 'P_CONN_ST_CHG_REQ'>): void => {
  const mirrored = mirrorRequest(packet.mask, packet.val);
  const leaves = mirrored?.conn === Conn.TearDown;
  const connectionWide = packet.packet === 'P_CONN_ST_CHG_REQ' || (leaves && connection.protocolVersion < CONNECTION_REQUESTS);
  const reply = (code: number): void => {
    const name = packet.packet === 'P_CONN_ST_CHG_REQ' ? 'P_CONN_ST_CHG_REPLY' : 'P_STATE_CHG_REPLY';
    sendPacket(core, connection, { packet: name, volume: packet.volume, retcode: code });
  };
  if (connection.replyDue) return loseConnection(core, connection, 'ProtocolError', 'a second state change request before the first was answered');
  if (connection.request && connection.resolveConflicts) return reply(ReturnCode.ConcurrentStateChange);
  if (!mirrored) return reply(ReturnCode.NotSupported);
  const volumes = connectionWide ? allVolumes(resource) : [volumeOf(resource, packet.volume)];
  const code = changeState(core, resource, volumes, connection, mirrored, 'soft', 'the peer asked', connectionWide);
  // What we agree to must survive our crash before the peer may count on it (D12).
  const dirty = isSuccess(code) && mirrored.disk !== undefined ? volumes.filter(({ backing }) => backing && !backing.failed && isSuperblockDirty(backing)) : [];
  if (leaves && isSuccess(code)) ignoreInput(connection);
  if (dirty.length === 0) {
    reply(code);
    if (leaves && isSuccess(code)) loseConnection(core, connection, 'TearDown', 'the peer disconnects');
    return;
  }
  connection.replyDue = { volume: packet.volume, connectionWide: packet.packet === 'P_CONN_ST_CHG_REQ', code, pending: dirty.length };
  for (const volume of dirty) queueSuperblock(core, volume, { for: 'reply-to-peer', peer: connection.peer });
};

/** A superblock that an answer waited for is durable. */
export const replyMayGo = (core: Core, connection: Connection): void => {
  const due = connection.replyDue;
  if (!due || --due.pending > 0) return;
  connection.replyDue = undefined;
  signal(core, { signal: 'procedures', resource: connection.resource });
  if (connection.loss) return;
  const name = due.connectionWide ? 'P_CONN_ST_CHG_REPLY' : 'P_STATE_CHG_REPLY';
  sendPacket(core, connection, { packet: name, volume: due.volume, retcode: due.code });
  if (connection.cstate === Conn.TearDown) loseConnection(core, connection, 'TearDown', 'the peer disconnects');
};
