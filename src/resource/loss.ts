/**
 * Losing a connection, and getting over it, in the order of timers-and-order.md §2.3: the state first, then nothing is sent or
 * processed any more, what is on its way to our disk ends, a new generation becomes durable, the transfer log gives up the
 * peer's part, metadata is written, fencing starts, and only then a new connection is looked for.
 */

import { startConnecting, startConnectingAfterPause, stopConnecting } from '../connection/establish.js';
import { flushSends } from '../connection/send.js';
import { assert, emit, log, signal, type Core } from '../model/core.js';
import type { LossReason } from '../model/signals.js';
import { clearTimer } from '../model/timers.js';
import type { Connection, Resource } from '../model/types.js';
import { failNetworkParts, resetSender } from '../replication/acks.js';
import { retryAfterLoss } from '../replication/conflicts.js';
import { closeEpoch } from '../replication/epochs.js';
import { flushAfterLoss, isReceiverQuiet, resetReceiver } from '../replication/receiver.js';
import { abortResync } from '../resync/lifecycle.js';
import { Conn, Disk, Role } from '../state/states.js';
import { isSuccess, ReturnCode } from '../state/refusals.js';
import { queueBitmapWrite } from '../volume/metadata-io.js';
import { sendBitmapIfQuiet } from './after-change.js';
import { allVolumes, changeState, isUndecided } from './change.js';
import { requestAnswered } from './consent.js';
import { startFencing } from './fencing.js';
import { forgetSizes } from './resize.js';

const connOfReason: Record<LossReason, Conn> = {
  Timeout: Conn.Timeout,
  BrokenPipe: Conn.BrokenPipe,
  NetworkFailure: Conn.NetworkFailure,
  ProtocolError: Conn.ProtocolError,
  TearDown: Conn.TearDown,
};

/** Steps of `connection.loss`. */
const WAITS_FOR_DISK = 1;
const WAITS_FOR_METADATA = 2;

/** The connection is lost for this reason; the first one counts. Also the way out for a connection that is given up. */
export const connectionLost = (core: Core, resource: Resource, connection: Connection, reason: LossReason | 'Disconnecting', detail: string): void => {
  if (connection.loss || connection.cstate === Conn.StandAlone) return;
  const wasAbove = connection.cstate >= Conn.WFReportParams;
  flushSends(core, connection);
  if (reason !== 'Disconnecting') changeState(core, resource, allVolumes(resource), connection, { conn: connOfReason[reason] }, 'hard', detail);
  if (wasAbove || reason !== 'Disconnecting') {
    emit(core, { type: 'observe', event: { event: 'connection-lost', resource: resource.name, peer: connection.peer, reason, detail } });
    log(core, resource.name, reason === 'TearDown' || reason === 'Disconnecting' ? 'info' : 'warning', `connection to ${connection.peer} lost: ${reason}, ${detail}`);
  }
  connection.loss = { reason: reason === 'Disconnecting' ? 'TearDown' : reason, step: WAITS_FOR_DISK, established: wasAbove };
  stopConnecting(core, connection);
  clearTimer(core, 'request-age', resource.name, connection.peer, -1);
  connection.parametersDue = false;
  connection.stateSent = false;
  connection.replyDue = undefined;
  if (connection.request) requestAnswered(core, resource, connection, ReturnCode.CwFailedByPeer);
  closeEpoch(resource);
  resetReceiver(core, resource, connection);
  for (const volume of resource.volumes.values()) {
    const device = volume.peers.get(connection.peer)!;
    device.bitmapReceiver = undefined;
    device.earlySyncUuid = undefined;
    device.hasUnannouncedMarks = false;
    device.staleRequests = [];
    clearTimer(core, 'leave-ahead', resource.name, connection.peer, volume.number);
    forgetSizes(device);
    device.beforeResync = undefined;
    if (device.resync) abortResync(core, resource, volume, device, false);
    device.hasStaleDigests = false;
    sendBitmapIfQuiet(core, resource, volume);
  }
  continueLoss(core, resource, connection);
};

/** Called whenever something ended that the cleanup may be waiting for. */
export const continueLoss = (core: Core, resource: Resource, connection: Connection): void => {
  const loss = connection.loss;
  if (!loss) return;
  if (loss.step === WAITS_FOR_DISK) {
    if (!isReceiverQuiet(resource, connection) || resource.worker.length > 0) return;
    loss.step = WAITS_FOR_METADATA;
    for (const volume of resource.volumes.values()) {
      const device = volume.peers.get(connection.peer)!;
      device.peerUuids = undefined;
      device.toldCurrent = 0n;
    }
    resetSender(connection);
    retryAfterLoss(core, resource, connection);
    if (!isUndecided(resource)) failNetworkParts(core, resource, connection);
    loss.pending = resource.volumes.size + (loss.established ? flushAfterLoss(core, resource, connection) : 0);
    for (const volume of resource.volumes.values()) queueBitmapWrite(core, volume, { for: 'connection-loss', peer: connection.peer });
    return;
  }
  assert(loss.step === WAITS_FOR_METADATA, 'steps of a lost connection');
  if ((loss.pending ?? 0) > 0 || resource.worker.length > 0) return;
  connection.loss = undefined;
  const contactLost = allVolumes(resource).some((volume) => volume.peers.get(connection.peer)!.pdsk >= Disk.DUnknown);
  if (resource.role === Role.Primary && contactLost) startFencing(core, resource, connection, undefined);
  if (connection.cstate === Conn.Disconnecting) {
    changeState(core, resource, allVolumes(resource), connection, { conn: Conn.StandAlone }, 'hard', 'disconnected');
    connection.discardMyData = false;
    return;
  }
  reconnect(core, resource, connection, !loss.established);
};

/** The bitmap of one volume is written, or its data flushed. */
export const lossMetadataWritten = (core: Core, resource: Resource, connection: Connection): void => {
  if (!connection.loss || connection.loss.step !== WAITS_FOR_METADATA) return;
  connection.loss.pending = (connection.loss.pending ?? 0) - 1;
  continueLoss(core, resource, connection);
};

/** Unconnected, and at once WFConnection; after a failed handshake with a pause (timers-and-order.md §1.1). */
export const reconnect = (core: Core, resource: Resource, connection: Connection, afterPause: boolean): void => {
  if (connection.cstate !== Conn.Unconnected) changeState(core, resource, allVolumes(resource), connection, { conn: Conn.Unconnected }, 'hard', 'retry');
  const code = changeState(core, resource, allVolumes(resource), connection, { conn: Conn.WFConnection }, 'hard', 'looking for the peer');
  assert(isSuccess(code), `from Unconnected to WFConnection (${code})`);
  if (afterPause) startConnectingAfterPause(core, connection);
  else startConnecting(core, connection);
};

/** STOP: Disconnecting, then StandAlone; only an operator connects again. */
export const connectionRefused = (core: Core, resource: Resource, connection: Connection, detail: string): void => {
  changeState(core, resource, allVolumes(resource), connection, { conn: Conn.Disconnecting }, 'hard', detail);
  log(core, resource.name, 'error', `connection to ${connection.peer} given up: ${detail}`);
  if (!connection.loss) connectionLost(core, resource, connection, 'Disconnecting', detail);
  signal(core, { signal: 'procedures', resource: resource.name });
};
