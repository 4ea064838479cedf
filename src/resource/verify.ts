/** Online verify as an operator and the states see it: the command, the end, and the side that was asked (node-states.md §8.8, wire-protocol.md §8). */

import { log, type Core } from '../model/core.js';
import type { Connection, PeerDevice, Procedure, Resource, Volume } from '../model/types.js';
import { aimVerify, moveVerifyStop } from '../resync/verify.js';
import { ConfigCode, isSuccess, ReturnCode } from '../state/refusals.js';
import { Conn, Disk } from '../state/states.js';
import { changeState } from './change.js';
import { requestChange } from './consent.js';
import { runEventHandler } from './handlers.js';
import { finish, wait, waitForCrossed, type CommandOf } from './procedures.js';

const isSector = (sector: number | undefined): boolean => sector === undefined || (Number.isSafeInteger(sector) && sector >= 0);

/** `verify`: answered when it has begun. Given again while it runs, it sets where to stop. */
export const verify = (core: Core, resource: Resource, procedure: Procedure, what: CommandOf<'verify'>): void => {
  const volume = resource.volumes.get(what.volume);
  if (!volume) return finish(core, resource, procedure, ConfigCode.UnknownMinor);
  if (!isSector(what.startSector) || !isSector(what.stopSector)) return finish(core, resource, procedure, ConfigCode.InvalidAttribute);
  const connection: Connection = resource.connections.values().next().value!;
  const device = volume.peers.get(connection.peer)!;
  if (procedure.step === 1) {
    if (procedure.peerCode === ReturnCode.ConcurrentStateChange) return waitForCrossed(core, resource, procedure, 0);
    // Before the first tick: the state has changed a moment ago, in the same input. So has what the peer said next, perhaps: its disk is gone, and it is over.
    if (isSuccess(procedure.result) && device.verify?.side === 'source') aimVerify(core, volume, device, connection, what.startSector, what.stopSector);
    return finish(core, resource, procedure, procedure.result);
  }
  if (device.repl === Conn.VerifyS) {
    moveVerifyStop(core, resource, volume, device, connection, what.stopSector);
    return finish(core, resource, procedure, ReturnCode.Success);
  }
  const code = requestChange(core, resource, connection, [volume], { conn: Conn.VerifyS }, procedure);
  if (code === 'asked') return wait(procedure, 'consent', 1);
  if (code === 'busy' || code === ReturnCode.InTransientState) return wait(procedure, 'state', 0);
  finish(core, resource, procedure, code);
};

/** All was compared and both sides know the results (signal `verify-complete`). */
export const verifyComplete = (core: Core, resource: Resource, volume: Volume, connection: Connection, device: PeerDevice): void => {
  if (!device.verify) return;
  const { foundBits } = device.verify;
  changeState(core, resource, [volume], connection, { conn: Conn.Connected }, 'hard', 'verify finished');
  if (foundBits > 0) log(core, resource.name, 'error', `volume ${volume.number}: Online verify found ${foundBits} 4k blocks out of sync!`);
  // What an earlier verify found and nobody has resynced counts too.
  if ((device.bitmap?.weight ?? 0) > 0) runEventHandler(core, resource, 'out-of-sync', volume, connection);
};

/**
 * P_OV_REQUEST is about to be served. A P_STATE that the source sent before it began, and that crossed its request to begin, looked like the
 * end: the verify goes on.
 */
export const verifyRequested = (core: Core, resource: Resource, volume: Volume, connection: Connection, device: PeerDevice): void => {
  const ended = device.repl === Conn.Connected && volume.disk === Disk.UpToDate && device.pdsk === Disk.UpToDate;
  if (ended) changeState(core, resource, [volume], connection, { conn: Conn.VerifyT }, 'soft', 'the peer verifies');
};
