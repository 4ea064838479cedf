/**
 * The other commands (node-states.md §8.1, §8.2, §8.8): disks, marks, pauses, suspension, generations. Each refuses with
 * DRBD's code, and what it promises is on disk before it is answered.
 */

import { checkConfig } from '../config/check.js';
import { JUST_CREATED, afterSkipAnnounced, newCurrent, newCurrentByOperator } from '../generations/uuid-set.js';
import { clearAll, setAll } from '../metadata/bitmap.js';
import { signal, type Core } from '../model/core.js';
import type { Connection, Procedure, Resource, Volume } from '../model/types.js';
import { answerHeld } from '../replication/completion.js';
import { hasDisk } from '../replication/plan.js';
import { isSuccess, ReturnCode } from '../state/refusals.js';
import { Conn, Disk, Role, type State } from '../state/states.js';
import { UuidsFlag } from '../wire/packets.js';
import { beginAttach } from '../volume/attach.js';
import { dropDueGenerations, isLinked, settleNetworkParts } from './after-change.js';
import { sendUuids } from './announce.js';
import { allVolumes, changeState, storeUuids, uuidsOf } from './change.js';
import { requestChange } from './consent.js';
import { forceDetach } from './disk.js';
import { beginAsSource, beginAsTarget } from './resync-begin.js';
import { endHold, finish, hold, wait, waitForCrossed, waitForMetadata, type CommandOf } from './procedures.js';

/** Configuration results of node-states.md §2. */
const ALREADY_ATTACHED = 124;
const UNKNOWN_VOLUME = 127;
const INTERRUPTED = 129;
const PAUSE_ALREADY_SET = 134;
const PAUSE_ALREADY_CLEARED = 135;
const NO_DISK = 138;
const MUST_BE_STANDALONE = 151;
const PAUSED_BY_DEPENDENCY = 156;
const PAUSED_BY_PEER = 157;

const DETACH_HOLD = 'detaching';
const MARK_HOLD = 'all blocks are being marked';
const SUSPEND_HOLD = 'suspending';
const RESUME_HOLD = 'resuming';

const firstConnection = (resource: Resource): Connection => resource.connections.values().next().value!;
const deviceTo = (volume: Volume, connection: Connection) => volume.peers.get(connection.peer)!;

/** Finds the volume, or refuses. */
const withVolume = (core: Core, resource: Resource, procedure: Procedure, number: number, then: (volume: Volume) => void): void => {
  const volume = resource.volumes.get(number);
  if (volume) then(volume);
  else finish(core, resource, procedure, UNKNOWN_VOLUME);
};

// ---- attach, detach ---------------------------------------------------------------------------------------------------

export const attach = (core: Core, resource: Resource, procedure: Procedure, what: CommandOf<'attach'>): void =>
  withVolume(core, resource, procedure, what.volume, (volume) => {
    if (procedure.step === 1) return finish(core, resource, procedure, procedure.result);
    if (volume.disk === Disk.Failed || (volume.disk === Disk.Diskless && volume.backing)) return wait(procedure, 'state', 0);
    if (volume.disk !== Disk.Diskless) return finish(core, resource, procedure, ALREADY_ATTACHED);
    const refusal = checkConfig(resource.config);
    if (refusal) return finish(core, resource, procedure, refusal.code);
    const code = changeState(core, resource, [volume], undefined, { disk: Disk.Attaching }, 'soft', 'attach');
    if (code === ReturnCode.InTransientState) return wait(procedure, 'state', 0);
    if (!isSuccess(code)) return finish(core, resource, procedure, code);
    wait(procedure, 'metadata', 1);
    beginAttach(core, volume);
  });

/** The attach of this volume ended with this code: who asked for it is told. */
export const attachEnded = (core: Core, resource: Resource, volume: Volume, code: number): void => {
  for (const procedure of resource.procedures.values()) {
    if (procedure.what.verb !== 'attach' || procedure.what.volume !== volume.number || procedure.step !== 1) continue;
    procedure.result = code;
    signal(core, { signal: 'procedure', resource: resource.name, procedure: procedure.id });
  }
};

const DetachStep = { Begin: 0, Written: 1, Consented: 2, Failed: 3 } as const;
type DetachStep = (typeof DetachStep)[keyof typeof DetachStep];

export const detach = (core: Core, resource: Resource, procedure: Procedure, what: CommandOf<'detach'>): void =>
  withVolume(core, resource, procedure, what.volume, (volume) => {
    const refuse = (code: number): void => {
      endHold(core, volume, DETACH_HOLD);
      finish(core, resource, procedure, code);
    };
    // A disk that fails may hang for ever; the peer's copy serves meanwhile (bug B167).
    const waitWithoutHold = (step: DetachStep): void => {
      endHold(core, volume, DETACH_HOLD);
      wait(procedure, 'state', step);
    };
    switch (procedure.step as DetachStep) {
      case DetachStep.Begin:
        if (volume.disk === Disk.Diskless) return refuse(ReturnCode.NothingToDo);
        if (what.force) {
          // The driver has not answered yet whether there is a disk to let go.
          if (volume.disk === Disk.Attaching && !volume.backing) return wait(procedure, 'state', DetachStep.Begin);
          forceDetach(core, resource, volume, INTERRUPTED, 'forced detach');
          return finish(core, resource, procedure, ReturnCode.Success);
        }
        if (volume.disk < Disk.Inconsistent) return waitWithoutHold(DetachStep.Begin);
        hold(volume, DETACH_HOLD);
        if (volume.writesInFlight > 0) return wait(procedure, 'state', DetachStep.Begin);
        return waitForMetadata(core, procedure, [volume], 'bitmap', DetachStep.Written);
      case DetachStep.Written: {
        const code = requestChange(core, resource, firstConnection(resource), [volume], { disk: Disk.Failed }, procedure);
        if (code === 'asked') return wait(procedure, 'consent', DetachStep.Consented);
        if (code === 'busy' || code === ReturnCode.InTransientState) return wait(procedure, 'state', DetachStep.Written);
        if (!isSuccess(code)) return refuse(code);
        return waitWithoutHold(DetachStep.Failed);
      }
      case DetachStep.Consented:
        if (procedure.peerCode === ReturnCode.ConcurrentStateChange) return waitForCrossed(core, resource, procedure, DetachStep.Written);
        if (!isSuccess(procedure.result)) return refuse(procedure.result);
        return waitWithoutHold(DetachStep.Failed);
      case DetachStep.Failed:
        if (volume.disk > Disk.Diskless || volume.backing) return waitWithoutHold(DetachStep.Failed);
        return refuse(ReturnCode.Success);
    }
  });

// ---- outdate, invalidate, pauses -----------------------------------------------------------------------------------------

export const outdate = (core: Core, resource: Resource, procedure: Procedure, what: CommandOf<'outdate'>): void =>
  withVolume(core, resource, procedure, what.volume, (volume) => {
    if (procedure.step === 1) return finish(core, resource, procedure, ReturnCode.Success);
    // An attach takes this step itself when it has read the metadata: before that nobody knows what the disk is.
    if (volume.disk === Disk.Attaching) return wait(procedure, 'state', 0);
    const code = changeState(core, resource, [volume], undefined, { disk: Disk.Outdated }, 'soft', 'outdate');
    if (code === ReturnCode.InTransientState) return wait(procedure, 'state', 0);
    if (code !== ReturnCode.Success) return finish(core, resource, procedure, code);
    waitForMetadata(core, procedure, [volume], 'superblock', 1);
  });

/** invalidate and invalidate-remote: everything is synced, into this disk or out of it. */
export const invalidate = (core: Core, resource: Resource, procedure: Procedure, number: number, side: 'target' | 'source'): void =>
  withVolume(core, resource, procedure, number, (volume) => {
    const connection = firstConnection(resource);
    const device = deviceTo(volume, connection);
    if (procedure.step === 1) {
      endHold(core, volume, MARK_HOLD);
      return finish(core, resource, procedure, ReturnCode.Success);
    }
    if (procedure.step === 2) return finish(core, resource, procedure, procedure.result);
    if (volume.disk < Disk.Inconsistent || volume.disk === Disk.DUnknown) return finish(core, resource, procedure, NO_DISK);
    const role = side === 'target' ? Role.Secondary : Role.Primary;
    if (connection.cstate === Conn.StandAlone && resource.role === role) {
      const change: Partial<State> = side === 'target' ? { disk: Disk.Inconsistent } : { pdsk: Disk.Inconsistent };
      const code = changeState(core, resource, [volume], connection, change, 'soft', procedure.what.verb);
      if (!isSuccess(code)) return finish(core, resource, procedure, code);
      hold(volume, MARK_HOLD);
      if (device.bitmap) setAll(device.bitmap);
      return waitForMetadata(core, procedure, [volume], 'full-sync', 1);
    }
    const conn = side === 'target' ? Conn.StartingSyncT : Conn.StartingSyncS;
    const code = requestChange(core, resource, connection, [volume], { conn }, procedure);
    if (code === 'asked') return wait(procedure, 'consent', 2);
    if (code === 'busy' || code === ReturnCode.InTransientState) return wait(procedure, 'state', 0);
    finish(core, resource, procedure, code);
  });

/** Marks are on disk after StartingSyncS/T: the sync begins (node-states.md §7.14). */
export const fullSyncWritten = (core: Core, resource: Resource, volume: Volume, connection: Connection, next: 'starting-source' | 'starting-target', ok: boolean): void => {
  const device = deviceTo(volume, connection);
  const starting = next === 'starting-source' ? Conn.StartingSyncS : Conn.StartingSyncT;
  if (device.repl !== starting) return;
  if (ok && next === 'starting-source') return beginAsSource(core, resource, volume, connection, device, 'all blocks are marked');
  changeState(core, resource, [volume], connection, { conn: ok ? Conn.WFSyncUUID : Conn.Connected }, 'hard', 'all blocks are marked');
  const early = device.earlySyncUuid;
  device.earlySyncUuid = undefined;
  if (early !== undefined) beginAsTarget(core, resource, volume, connection, device, early);
};

export const pauseSync = (core: Core, resource: Resource, procedure: Procedure, number: number, pause: boolean): void =>
  withVolume(core, resource, procedure, number, (volume) => {
    const device = deviceTo(volume, firstConnection(resource));
    const code = changeState(core, resource, [volume], undefined, { userIsp: pause }, 'soft', procedure.what.verb);
    if (code === ReturnCode.InTransientState) return wait(procedure, 'state', 0);
    if (code !== ReturnCode.NothingToDo) return finish(core, resource, procedure, code);
    if (pause) return finish(core, resource, procedure, PAUSE_ALREADY_SET);
    finish(core, resource, procedure, device.aftrIsp ? PAUSED_BY_DEPENDENCY : device.peerIsp ? PAUSED_BY_PEER : PAUSE_ALREADY_CLEARED);
  });

// ---- suspended I/O -----------------------------------------------------------------------------------------------------------

/** Reads, writes and flushes that went out and are not answered; what waits for its turn is held. */
const hasRequestsUnderWay = (resource: Resource): boolean => [...resource.log.requests.values()].some(({ completed, parked }) => !completed && !parked);

/** Answered when every request that went out is answered: what is read from the disk then stays (bug B147). */
export const suspendIo = (core: Core, resource: Resource, procedure: Procedure): void => {
  if (procedure.step === 0) {
    // Held first, suspended when the last request is answered: a suspended device answers nothing.
    for (const volume of resource.volumes.values()) hold(volume, SUSPEND_HOLD);
    procedure.step = 1;
  }
  if (hasRequestsUnderWay(resource) && !resource.suspFen && !resource.suspNod) return wait(procedure, 'state', 1);
  const code = changeState(core, resource, allVolumes(resource), undefined, { susp: true }, 'soft', 'suspend-io');
  for (const volume of resource.volumes.values()) endHold(core, volume, SUSPEND_HOLD);
  finish(core, resource, procedure, code);
};

export const resumeIo = (core: Core, resource: Resource, procedure: Procedure): void => {
  const connection = firstConnection(resource);
  if (procedure.step === 0) {
    if (isLinked(resource, connection)) dropDueGenerations(resource, connection);
    for (const volume of resource.volumes.values()) {
      hold(volume, RESUME_HOLD);
      if (!volume.newCurrentUuidDue) continue;
      volume.newCurrentUuidDue = false;
      if (hasDisk(volume)) {
        storeUuids(core, volume, newCurrent(uuidsOf(volume), core.environment.random64(), resource.role === Role.Primary), 'resume-io');
      } else {
        // Whatever attaches or connects from now on is not what applications have seen.
        volume.exposedUuid = core.environment.random64();
      }
    }
    return waitForMetadata(core, procedure, allVolumes(resource), 'superblock', 1);
  }
  const code = changeState(core, resource, allVolumes(resource), undefined, { susp: false, suspNod: false, suspFen: false }, 'soft', 'resume-io');
  if (code === ReturnCode.InTransientState) return wait(procedure, 'state', 1);
  if (isSuccess(code)) {
    settleNetworkParts(core, resource, connection);
    answerHeld(core, resource);
  }
  for (const volume of resource.volumes.values()) endHold(core, volume, RESUME_HOLD);
  finish(core, resource, procedure, code);
};

// ---- generations, options ---------------------------------------------------------------------------------------------------------

export const newCurrentUuid = (core: Core, resource: Resource, procedure: Procedure, what: CommandOf<'new-current-uuid'>): void =>
  withVolume(core, resource, procedure, what.volume, (volume) => {
    const connection = firstConnection(resource);
    const device = deviceTo(volume, connection);
    if (!volume.backing || volume.backing.failed || volume.disk < Disk.Inconsistent) return finish(core, resource, procedure, NO_DISK);
    const skips = device.repl === Conn.Connected && uuidsOf(volume).current === JUST_CREATED && what.clearBitmap && connection.protocolVersion >= 90;
    if (procedure.step === 0) {
      if (connection.cstate !== Conn.StandAlone && !skips) return finish(core, resource, procedure, MUST_BE_STANDALONE);
      procedure.forced = skips;
      storeUuids(core, volume, newCurrentByOperator(uuidsOf(volume), core.environment.random64(), resource.role === Role.Primary), 'new-current-uuid');
      // An operator's order clears bits: the one way without data or acknowledgement.
      if (what.clearBitmap && device.bitmap) clearAll(device.bitmap);
      return waitForMetadata(core, procedure, [volume], what.clearBitmap ? 'full-sync' : 'superblock', 1);
    }
    if (procedure.forced) {
      if (device.repl !== Conn.Connected) return finish(core, resource, procedure, ReturnCode.NeedConnection);
      sendUuids(core, connection, volume, device, UuidsFlag.SKIP_INITIAL_SYNC);
      device.toldToSkip = true;
      storeUuids(core, volume, afterSkipAnnounced(uuidsOf(volume)), 'initial sync skipped');
      // It adopts the generation, and does not say so.
      if (device.peerUuids) device.peerUuids = { ...device.peerUuids, current: uuidsOf(volume).current, bitmap: 0n };
      changeState(core, resource, [volume], connection, { disk: Disk.UpToDate, pdsk: Disk.UpToDate }, 'hard', 'skip initial sync');
    }
    finish(core, resource, procedure, ReturnCode.Success);
  });
