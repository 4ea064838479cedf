/** primary and secondary (node-states.md §8.6, §8.7): roles belong to the resource, all volumes change or none. */

import { requestPing } from '../connection/keepalive.js';
import { newCurrent, setRoleBit } from '../generations/uuid-set.js';
import { log, type Core } from '../model/core.js';
import type { Connection, Procedure, Resource } from '../model/types.js';
import { deviceOf, volumeOf } from '../model/view.js';
import { markOutOfSync } from '../replication/bits.js';
import { isSuccess, ReturnCode } from '../state/refusals.js';
import { Conn, Disk, Role } from '../state/states.js';
import { allVolumes, announceInTurn, changeState, judge, storeUuids, uuidsOf } from './change.js';
import { requestChange } from './consent.js';
import { startFencing } from './fencing.js';
import { endHold, finish, hold, wait, waitForMetadata, waitForTimer, type CommandOf } from './procedures.js';

const ATTEMPTS_MAX = 4;
const PROMOTE_HOLD = 'promoting';
const DEMOTE_HOLD = 'demoting';

const firstConnection = (resource: Resource): Connection => resource.connections.values().next().value!;

const Step = { Begin: 0, Attempt: 1, Consented: 2, FencedForDisk: 3, FencedForPeer: 4, Durable: 5 } as const;
type Step = (typeof Step)[keyof typeof Step];

export const promote = (core: Core, resource: Resource, procedure: Procedure, what: CommandOf<'primary'>): void => {
  const connection = firstConnection(resource);
  const code = procedure.result;
  switch (procedure.step as Step) {
    case Step.Begin:
      if (resource.role === Role.Primary) return finish(core, resource, procedure, ReturnCode.NothingToDo);
      // Finds out whether the peer is still there; the request does not wait for it (wire-protocol.md §11.1).
      if (connection.cstate >= Conn.WFReportParams) requestPing(core, connection, 'promote');
      return attempt(core, resource, procedure, what, connection);
    case Step.Attempt:
      return attempt(core, resource, procedure, what, connection);
    case Step.Consented:
      return judged(core, resource, procedure, what, connection, code);
    case Step.FencedForDisk:
      if (!isSuccess(code)) return refusePromotion(core, resource, procedure, ReturnCode.NoUpToDateDisk);
      procedure.change.disk = Disk.UpToDate;
      return attempt(core, resource, procedure, what, connection);
    case Step.FencedForPeer:
      if (isSuccess(code)) return attempt(core, resource, procedure, what, connection);
      if (!what.force) return refusePromotion(core, resource, procedure, ReturnCode.PrimaryNop);
      log(core, resource.name, 'warning', 'Forced into split brain situation!');
      procedure.change.pdsk = Disk.Outdated;
      return attempt(core, resource, procedure, what, connection);
    case Step.Durable:
      for (const volume of resource.volumes.values()) {
        const device = volume.peers.get(connection.peer)!;
        if (device.repl >= Conn.Connected) announceInTurn(core, resource, volume, connection, procedure.forced ? 'uuids' : 'state');
        endHold(core, volume, PROMOTE_HOLD);
      }
      return finish(core, resource, procedure, ReturnCode.Success);
  }
};

const refusePromotion = (core: Core, resource: Resource, procedure: Procedure, code: number): void => {
  for (const volume of resource.volumes.values()) endHold(core, volume, PROMOTE_HOLD);
  finish(core, resource, procedure, code);
};

const attempt = (core: Core, resource: Resource, procedure: Procedure, what: CommandOf<'primary'>, connection: Connection): void => {
  // Held from before the change: no write may come before PRIMARY_IND is on disk (D4).
  for (const volume of resource.volumes.values()) hold(volume, PROMOTE_HOLD);
  const code = requestChange(core, resource, connection, allVolumes(resource), { ...procedure.change, role: Role.Primary }, procedure);
  if (code === 'asked') return wait(procedure, 'consent', Step.Consented);
  if (code === 'busy') return wait(procedure, 'state', Step.Attempt);
  judged(core, resource, procedure, what, connection, code);
};

const judged = (core: Core, resource: Resource, procedure: Procedure, what: CommandOf<'primary'>, connection: Connection, code: number): void => {
  if (isSuccess(code)) return promoted(core, resource, procedure);
  if (code === ReturnCode.InTransientState) return wait(procedure, 'state', Step.Attempt);
  const refuse = (): void => refusePromotion(core, resource, procedure, code);
  if (++procedure.attempts >= ATTEMPTS_MAX) return refuse();
  const volumes = allVolumes(resource);
  const { change } = procedure;
  if (code === ReturnCode.CwFailedByPeer && change.pdsk !== undefined) {
    delete change.pdsk;
    return attempt(core, resource, procedure, what, connection);
  }
  if (code === ReturnCode.NoUpToDateDisk && change.disk === undefined) {
    if (what.force && volumes.every(({ disk }) => disk >= Disk.Inconsistent && disk !== Disk.DUnknown)) {
      procedure.forced = true;
      change.disk = Disk.UpToDate;
      return attempt(core, resource, procedure, what, connection);
    }
    if (volumes.some(({ disk }) => disk === Disk.Consistent) && volumes.every(({ disk }) => disk >= Disk.Consistent) && change.pdsk === undefined) {
      return fence(core, resource, procedure, what, connection, Step.FencedForDisk, refuse);
    }
  }
  if (code === ReturnCode.PrimaryNop && change.pdsk === undefined) {
    return fence(core, resource, procedure, what, connection, Step.FencedForPeer, refuse);
  }
  if (code === ReturnCode.TwoPrimaries && !procedure.retryUsed) {
    procedure.retryUsed = true;
    return waitForTimer(core, resource, procedure, (connection.config.net.pingTimeout + 1) * 100_000, Step.Attempt);
  }
  refuse();
};

const fence = (core: Core, resource: Resource, procedure: Procedure, what: CommandOf<'primary'>, connection: Connection, next: Step, refuse: () => void): void => {
  const verdict = startFencing(core, resource, connection, procedure.id);
  if (verdict === 'running') return wait(procedure, 'fencing', next);
  if (verdict === 'failed' && !what.force) return refuse();
  procedure.result = verdict === 'fenced' ? ReturnCode.Success : ReturnCode.UnknownError;
  procedure.step = next;
  promote(core, resource, procedure, what);
};

/** We are Primary: the generation that applications will write, and PRIMARY_IND, go to disk before the first write does. */
const promoted = (core: Core, resource: Resource, procedure: Procedure): void => {
  const connection = firstConnection(resource);
  connection.discardMyData = false;
  for (const volume of resource.volumes.values()) {
    if (!volume.backing || volume.backing.failed) continue;
    const device = volume.peers.get(connection.peer)!;
    const set = uuidsOf(volume);
    const alone = device.repl < Conn.Connected || device.pdsk <= Disk.Failed;
    const isNew = (alone && set.bitmap === 0n) || procedure.forced;
    storeUuids(core, volume, isNew ? newCurrent(set, core.environment.random64(), true) : setRoleBit(set, true), 'promotion');
  }
  waitForMetadata(core, procedure, allVolumes(resource), 'superblock', Step.Durable);
};

const DemoteStep = { Begin: 0, Marked: 1, Durable: 2 } as const;
type DemoteStep = (typeof DemoteStep)[keyof typeof DemoteStep];

const refuseDemotion = (core: Core, resource: Resource, procedure: Procedure, code: number): void => {
  for (const volume of resource.volumes.values()) endHold(core, volume, DEMOTE_HOLD);
  const opener = allVolumes(resource).flatMap(({ openers }) => openers)[0];
  finish(core, resource, procedure, code, code === ReturnCode.DeviceInUse ? opener : undefined);
};

/** Writes that are answered and not yet known to be stable on a peer that is away. */
const markUnsettled = (resource: Resource): void => {
  for (const { kind, volume, net, sector, sectors } of resource.log.requests.values()) {
    for (const { peer, done } of net) if (kind === 'write' && !done) markOutOfSync(deviceOf(volumeOf(resource, volume), peer), sector, sectors);
  }
};

/** Refused while somebody has the device open or a request is not answered: the rest of the node takes a Secondary to be quiet. */
export const demote = (core: Core, resource: Resource, procedure: Procedure): void => {
  const connection = firstConnection(resource);
  const volumes = allVolumes(resource);
  switch (procedure.step as DemoteStep) {
    case DemoteStep.Begin: {
      if (resource.role === Role.Secondary) return finish(core, resource, procedure, ReturnCode.NothingToDo);
      const { code } = judge(resource, volumes, undefined, { role: Role.Secondary }, 'soft');
      if (code === ReturnCode.InTransientState) return wait(procedure, 'state', DemoteStep.Begin);
      if (!isSuccess(code)) return refuseDemotion(core, resource, procedure, code);
      for (const volume of volumes) hold(volume, DEMOTE_HOLD);
      // Without PRIMARY_IND a crash marks nothing by the activity log. So what the peer may lack is marked on disk before that goes.
      if (connection.cstate === Conn.WFReportParams && !connection.loss && resource.log.requests.size > 0) return wait(procedure, 'state', DemoteStep.Begin);
      // Until the resync has begun, nothing but PRIMARY_IND says which side is behind.
      if (volumes.some((volume) => volume.peers.get(connection.peer)!.repl === Conn.Ahead)) return wait(procedure, 'state', DemoteStep.Begin);
      markUnsettled(resource);
      return waitForMetadata(core, procedure, volumes, 'bitmap', DemoteStep.Marked);
    }
    case DemoteStep.Marked: {
      const code = changeState(core, resource, volumes, undefined, { role: Role.Secondary }, 'soft', 'secondary');
      if (code === ReturnCode.InTransientState) return wait(procedure, 'state', DemoteStep.Begin);
      if (!isSuccess(code)) return refuseDemotion(core, resource, procedure, code);
      for (const volume of volumes) endHold(core, volume, DEMOTE_HOLD);
      for (const volume of volumes) {
        if (volume.backing && !volume.backing.failed) storeUuids(core, volume, setRoleBit(uuidsOf(volume), false), 'demotion');
      }
      return waitForMetadata(core, procedure, volumes, 'superblock', DemoteStep.Durable);
    }
    case DemoteStep.Durable:
      for (const volume of volumes) {
        const device = volume.peers.get(connection.peer)!;
        if (device.repl >= Conn.Connected) announceInTurn(core, resource, volume, connection, 'state');
      }
      return finish(core, resource, procedure, ReturnCode.Success);
  }
};
