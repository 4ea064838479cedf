/**
 * The consequences of state changes, in order (node-states.md §7): each change has one entry in the resource's queue, its
 * steps run one after the other, and all of them before those of the next change (M3). A step that needs something durable
 * first queues it and waits; the queue waits with it. So "what must be on disk first" is the order of this list.
 */

import type { HandlerName } from '../contract/output.js';
import { sendPacket } from '../connection/send.js';
import { newCurrent, sameGeneration, startAsSource } from '../generations/uuid-set.js';
import { setAll } from '../metadata/bitmap.js';
import { signal, type Core } from '../model/core.js';
import type { AfterChange, Connection, PeerDevice, Resource, Volume } from '../model/types.js';
import { connectionTo, deviceOf, stateOf, volumeOf } from '../model/view.js';
import { failNetworkParts } from '../replication/acks.js';
import { answerHeld, disownLocalWrites } from '../replication/completion.js';
import { sendDueBarrier } from '../replication/epochs.js';
import { resend } from '../replication/submit.js';
import { sendBitmap } from '../resync/bitmap-exchange.js';
import { abortResync, pauseResync, resumeResync, startResync } from '../resync/lifecycle.js';
import { cancelServed } from '../resync/source.js';
import { forgetRequests } from '../resync/target.js';
import { verifyCanStop } from '../resync/verify.js';
import { hasNoGoodData } from '../state/sanitize.js';
import { Conn, Disk, Role, isSyncState, type State } from '../state/states.js';
import { UuidsFlag } from '../wire/packets.js';
import { isSuperblockDirty, queueBitmapWrite, queueFullSync, queueSuperblock } from '../volume/metadata-io.js';
import { sendSizes, sendStateOf, sendUuids } from './announce.js';
import { allVolumes, changeState, fencingPolicy, storeUuids, updateFlags, uuidsOf } from './change.js';
import { checkDrained } from './congestion.js';
import { diskFailed, disklessNow } from './disk.js';
import { runEventHandler } from './handlers.js';

/** `waits`: the step queued something durable; the queue goes on, with the next step, when that is done. */
type StepResult = 'done' | 'waits';

interface Context {
  core: Core;
  resource: Resource;
  volume: Volume;
  connection: Connection;
  device: PeerDevice;
  change: AfterChange;
  from: State;
  to: State;
}

const became = (context: Context, test: (state: State) => boolean): boolean => !test(context.from) && test(context.to);

const isSource = (conn: Conn): boolean => conn === Conn.SyncSource || conn === Conn.PausedSyncS;
const isTarget = (conn: Conn): boolean => conn === Conn.SyncTarget || conn === Conn.PausedSyncT;
const hasLink = (context: Context): boolean => context.to.conn >= Conn.Connected;

/** It may have been seen Attaching in the handshake: whoever negotiates waits for our answer (bug B097). */
const isAwaited = (context: Context): boolean => {
  const attached = context.from.pdsk < Disk.Negotiating && context.to.pdsk >= Disk.Negotiating && context.to.pdsk !== Disk.DUnknown;
  return hasLink(context) && (attached || context.change.announces === 'uuids');
};

const startsAsSource = ({ from, to, volume, device }: Context): boolean =>
  !isSource(from.conn) && isSource(to.conn) && volume.backing !== undefined && isSource(device.repl);

const isGenerationUntold = ({ volume, device }: Context): boolean => !sameGeneration(device.toldCurrent, uuidsOf(volume).current);

const isLateAttach = (context: Context): boolean => hasLink(context) && context.from.disk === Disk.Attaching && context.to.disk === Disk.Negotiating;

const durableSuperblock = ({ core, volume }: Context): StepResult => {
  if (!volume.backing || volume.backing.failed || !isSuperblockDirty(volume.backing)) return 'done';
  queueSuperblock(core, volume, { for: 'worker' });
  return 'waits';
};

/** node-states.md §7, with its numbers. The order is the specification's; what is durable first is inserted where it is needed. */
const steps: readonly ((context: Context) => StepResult)[] = [
  /** 2: equal again; nobody crashed as far as the next handshake is concerned. */
  (context) => {
    if (!became(context, ({ disk, pdsk }) => disk === Disk.UpToDate && pdsk === Disk.UpToDate)) return 'done';
    context.volume.crashedPrimary = false;
    if (context.device.peerUuids) context.device.peerUuids.flags &= ~UuidsFlag.CRASHED_PRIMARY;
    if (context.volume.backing && !context.volume.backing.failed) updateFlags(context.resource, context.volume, stateOf(context.resource, context.volume, context.connection, context.device));
    return 'done';
  },
  /** 3 */
  (context) => {
    const noData = ({ role, disk, pdsk }: State): boolean => role === Role.Primary && disk < Disk.UpToDate && pdsk < Disk.UpToDate;
    if (became(context, noData)) handler(context, 'pri-on-incon-degr');
    return 'done';
  },
  /**
   * D9, D8: a target is known as such on disk before its first block is written, and its end before the peer hears of it. The marks
   * that it took over are on disk too: what it acknowledges may be in its cache only, and the source forgets it then.
   */
  (context) => {
    // A source's end too: as long as it is not on disk, a crash makes a target that goes on alone look like a split brain (rule 50b).
    if (isSyncState(context.from.conn) && context.to.conn === Conn.Connected) return durableSuperblock(context);
    if (isTarget(context.from.conn) || !isTarget(context.to.conn)) return 'done';
    queueSuperblock(context.core, context.volume);
    queueBitmapWrite(context.core, context.volume, { for: 'worker' });
    return 'waits';
  },
  (context) => {
    if (isTarget(context.to.conn) && !isTarget(context.from.conn) && isTarget(context.device.repl)) {
      startResync(context.core, context.resource, context.volume, context.device, context.connection, 'target');
    }
    return 'done';
  },
  /** 6: a source says which generation the target's data will be, when that is on its own disk (D7). */
  (context) => (startsAsSource(context) && isGenerationUntold(context) ? durableSuperblock(context) : 'done'),
  (context) => {
    if (!startsAsSource(context)) return 'done';
    // The target takes over what it heard last: a generation that we adopted from it, or from another, it has not heard from us.
    if (isGenerationUntold(context)) sendUuids(context.core, context.connection, context.volume, context.device);
    const { set } = startAsSource(uuidsOf(context.volume), context.core.environment.random64());
    storeUuids(context.core, context.volume, set, 'start of resync as source');
    return durableSuperblock(context);
  },
  (context) => {
    if (!startsAsSource(context)) return 'done';
    const uuid = context.volume.backing!.superblock.uuids[1];
    sendPacket(context.core, context.connection, { packet: 'P_SYNC_UUID', volume: context.volume.number, uuid });
    startResync(context.core, context.resource, context.volume, context.device, context.connection, 'source');
    return 'done';
  },
  /** 7: the peer has a disk again, or waits for our half of what both decide. The generation that it is told is durable (D6). */
  (context) => (isAwaited(context) ? durableSuperblock(context) : 'done'),
  (context) => {
    if (context.device.repl < Conn.Connected || (!isAwaited(context) && context.change.announces === 'nothing')) return 'done';
    if (isAwaited(context)) sendUuids(context.core, context.connection, context.volume, context.device);
    sendStateOf(context.core, context.connection, context.volume, context.to);
    return 'done';
  },
  /** 9: a new data generation. Durable before it is announced (D6) and before anything that the peer lacks is answered (D5). */
  (context) => {
    if (!context.change.newGeneration) return 'done';
    const { core, resource, volume } = context;
    if (!volume.backing || volume.backing.failed || uuidsOf(volume).bitmap !== 0n) return 'done';
    const { exposedUuid } = volume;
    storeUuids(core, volume, newCurrent(uuidsOf(volume), core.environment.random64(), resource.role === Role.Primary), "contact to the peer's data lost");
    // Applications see nothing of it before it is durable.
    volume.exposedUuid = exposedUuid;
    return durableSuperblock(context);
  },
  (context) => {
    if (!context.change.newGeneration) return 'done';
    const { core, resource, volume } = context;
    volume.generationPending = false;
    // A disk that did not take the new generation does not count for what waited for it (bug B066).
    if (volume.backing && !volume.backing.failed) volume.exposedUuid = uuidsOf(volume).current;
    else disownLocalWrites(resource, volume);
    if (context.device.repl >= Conn.Connected) sendUuids(core, context.connection, volume, context.device);
    answerHeld(core, resource);
    signal(core, { signal: 'admission', resource: resource.name, volume: volume.number });
    return 'done';
  },
  /** 10 */
  (context) => {
    if (context.from.role === Role.Primary && context.to.role === Role.Secondary && context.to.conn <= Conn.Connected) queueBitmapWrite(context.core, context.volume);
    return 'done';
  },
  /** 11: late attach. */
  (context) => (isLateAttach(context) ? durableSuperblock(context) : 'done'),
  (context) => {
    if (!isLateAttach(context) || context.device.repl < Conn.Connected) return 'done';
    sendSizes(context.core, context.connection, context.volume);
    sendUuids(context.core, context.connection, context.volume, context.device);
    sendStateOf(context.core, context.connection, context.volume, context.to);
    return 'done';
  },
  /** 12 */
  (context) => {
    const paused = context.from.aftrIsp !== context.to.aftrIsp || context.from.userIsp !== context.to.userIsp;
    if (hasLink(context) && context.from.conn >= Conn.Connected && paused) sendStateOf(context.core, context.connection, context.volume, context.to);
    return 'done';
  },
  /** 13 */
  (context) => {
    if (context.from.conn === Conn.WFReportParams && hasLink(context)) sendStateOf(context.core, context.connection, context.volume, context.to);
    return 'done';
  },
  /** 13: behind the barrier of the last epoch that was mirrored. */
  (context) => {
    if (context.from.conn === Conn.Ahead || context.to.conn !== Conn.Ahead || context.device.repl !== Conn.Ahead) return 'done';
    const { core, resource, volume, connection, device } = context;
    sendDueBarrier(core, connection, resource.log.epoch);
    sendStateOf(core, connection, volume, context.to);
    checkDrained(core, resource, volume, connection, device);
    return 'done';
  },
  /** 4: data is there again. After P_STATE, as what is sent again follows it (timers-and-order.md §2.4). */
  (context) => {
    const { core, resource, connection } = context;
    if (!resource.suspNod || allVolumes(resource).some((volume) => hasNoGoodData(stateOf(resource, volume, connection, deviceOf(volume, connection.peer))))) return 'done';
    if (!resource.suspFen && !settleNetworkParts(core, resource, connection)) return 'done';
    thaw(context, { suspNod: false });
    return 'done';
  },
  /** 5: reconnected while frozen for fencing. */
  (context) => {
    const { core, resource, connection } = context;
    if (!resource.suspFen || !isLinked(resource, connection)) return 'done';
    settleNetworkParts(core, resource, connection);
    thaw(context, { suspFen: false });
    return 'done';
  },
  /** 14: everything is to be synced. The bits are set and on disk before the sync starts (D11). */
  (context) => {
    const entered = (conn: Conn): boolean => context.from.conn !== conn && context.to.conn === conn;
    const source = entered(Conn.StartingSyncS);
    if (!source && !entered(Conn.StartingSyncT)) return 'done';
    if (context.device.bitmap) setAll(context.device.bitmap);
    queueFullSync(context.core, context.volume, { for: 'full-sync', peer: context.connection.peer, next: source ? 'starting-source' : 'starting-target' });
    return 'done';
  },
  /** 8: the bitmap goes out after P_STATE(WFBitMapS), when no application write is in flight (M5). */
  (context) => {
    if (context.from.conn === Conn.WFBitMapS || context.to.conn !== Conn.WFBitMapS || context.device.repl !== Conn.WFBitMapS) return 'done';
    if (!context.volume.holds.includes(BITMAP_HOLD)) context.volume.holds.push(BITMAP_HOLD);
    sendBitmapIfQuiet(context.core, context.resource, context.volume);
    return 'done';
  },
  /** 15, 16 */
  (context) => {
    if (context.from.disk !== Disk.Failed && context.to.disk === Disk.Failed) {
      if (hasLink(context)) sendStateOf(context.core, context.connection, context.volume, context.to);
      diskFailed(context.core, context.resource, context.volume, context.to);
    }
    if (context.from.disk !== Disk.Diskless && context.to.disk === Disk.Diskless) {
      if (hasLink(context)) sendStateOf(context.core, context.connection, context.volume, context.to);
      disklessNow(context.core, context.resource, context.volume);
    }
    return 'done';
  },
  /** A disk that is kept though it is bad is known as such on disk before the peer counts on that. */
  (context) => {
    const isBad = context.from.disk > Disk.Inconsistent && context.to.disk === Disk.Inconsistent;
    return isBad && context.from.conn >= Conn.Connected && context.to.conn === Conn.Connected ? durableSuperblock(context) : 'done';
  },
  /** 17, 20 */
  (context) => {
    const failedSoftly = context.from.disk === Disk.UpToDate && context.to.disk === Disk.Inconsistent && context.from.conn >= Conn.Connected;
    const targetEnded = context.from.disk < Disk.UpToDate && context.from.conn >= Conn.SyncSource && context.to.conn === Conn.Connected;
    // A disk that did not take the end of the resync does not tell it (D8): what comes next is that it failed.
    if (targetEnded && context.volume.backing?.failed) return 'done';
    // The target of a verify ends on it. A disk that ended it has told already (15, or here).
    const verified = context.from.conn === Conn.VerifyS && context.to.conn === Conn.Connected && context.from.disk === context.to.disk;
    const tellsEnd = verified && verifyCanStop(context.connection.protocolVersion);
    if (hasLink(context) && (failedSoftly || targetEnded || tellsEnd)) sendStateOf(context.core, context.connection, context.volume, context.to);
    return 'done';
  },
  /** Pausing, ending. */
  (context) => {
    const { core, resource, volume, device, connection, from, to } = context;
    if (!device.resync) return 'done';
    const paused = (conn: Conn): boolean => conn === Conn.PausedSyncS || conn === Conn.PausedSyncT;
    if (isSyncState(from.conn) && isSyncState(to.conn)) {
      if (!paused(from.conn) && paused(to.conn)) pauseResync(core, resource, volume, device, connection);
      if (paused(from.conn) && !paused(to.conn)) resumeResync(core, resource, volume, device, connection);
    } else if (isSyncState(from.conn) && !isSyncState(to.conn)) {
      // By the change and not by what is now: the next resync may have been told already, while this waited for the disk.
      if (to.conn === Conn.Ahead) cancelServed(core, volume, device, connection, device.resync);
      if (to.conn === Conn.Behind) forgetRequests(device, device.resync);
      abortResync(core, resource, volume, device, to.conn === Conn.Behind);
    }
    return 'done';
  },
  /** 21 */
  (context) => {
    const ended = context.from.conn > Conn.Connected && context.to.conn === Conn.Connected;
    // Bug B033.
    const interrupted = context.from.conn > Conn.Connected && context.from.conn < Conn.Ahead && context.to.conn >= Conn.Ahead;
    if (ended || interrupted) queueBitmapWrite(context.core, context.volume);
    return 'done';
  },
  /** Fencing succeeded while frozen (§7, connection level): known on disk of every volume (D13), then the peer's part is given up. */
  (context) => (context.resource.suspFen && isPeerFenced(context.resource) ? durableSuperblock(context) : 'done'),
  (context) => {
    const { core, resource, connection, change } = context;
    if (!resource.suspFen || !isPeerFenced(resource) || resource.worker.at(-1) !== change) return 'done';
    failNetworkParts(core, resource, connection);
    thaw(context, { suspFen: false });
    return 'done';
  },
  /** 22 */
  (context) => {
    const { volume, core } = context;
    if (volume.backing && !volume.backing.failed && isSuperblockDirty(volume.backing)) queueSuperblock(core, volume);
    return 'done';
  },
];

const BITMAP_HOLD = 'the bitmap is being sent';

const isPeerFenced = (resource: Resource): boolean =>
  allVolumes(resource).every((volume) => [...volume.peers.values()].every(({ pdsk }) => pdsk <= Disk.Outdated));

/** Is every volume connected? */
export const isLinked = (resource: Resource, connection: Connection): boolean => allVolumes(resource).every((volume) => deviceOf(volume, connection.peer).repl >= Conn.Connected);

/** Connected again, the peer is sent what it lacks: its data missed nothing, and no new generation is due. Without its disk it misses everything (bug B081). */
export const dropDueGenerations = (resource: Resource, connection: Connection): void => {
  for (const volume of resource.volumes.values()) if (deviceOf(volume, connection.peer).pdsk >= Disk.Inconsistent) volume.newCurrentUuidDue = false;
};

/**
 * I/O is about to be thawed: what waits for the peer is sent again or given up. False: in the middle of a handshake.
 */
export const settleNetworkParts = (core: Core, resource: Resource, connection: Connection): boolean => {
  if (isLinked(resource, connection)) {
    dropDueGenerations(resource, connection);
    resend(core, resource, connection);
    return true;
  }
  if (connection.cstate >= Conn.WFReportParams) return false;
  failNetworkParts(core, resource, connection);
  return true;
};

const handler = ({ core, resource, volume, connection }: Context, name: HandlerName): void => void runEventHandler(core, resource, name, volume, connection);

const thaw = (context: Context, change: Partial<State>): void => {
  const { core, resource } = context;
  changeState(core, resource, allVolumes(resource), undefined, change, 'hard', 'I/O thawed');
  answerHeld(core, resource);
  for (const volume of resource.volumes.values()) signal(core, { signal: 'admission', resource: resource.name, volume: volume.number });
};

/** Sends the bitmap that a volume owes, if nothing is in flight there and all earlier consequences are drawn; else when there is not. */
export const sendBitmapIfQuiet = (core: Core, resource: Resource, volume: Volume): void => {
  const at = volume.holds.indexOf(BITMAP_HOLD);
  if (at < 0) return;
  const device = [...volume.peers.values()].find(({ repl }) => repl === Conn.WFBitMapS);
  if (device && volume.writesInFlight > 0) return;
  volume.holds.splice(at, 1);
  if (device && device.bitmap) sendBitmap(core, resource, volume, device, connectionTo(resource, device.peer));
  signal(core, { signal: 'admission', resource: resource.name, volume: volume.number });
};

/** Works the queue off until a step waits. Called when a change was queued and when what was waited for is done. */
export const runWorker = (core: Core, resource: Resource): void => {
  while (!resource.workerWaits) {
    const change = resource.worker[0];
    if (!change) return;
    const step = steps[change.step++];
    if (!step) {
      resource.worker.shift();
      signal(core, { signal: 'admission', resource: resource.name, volume: change.volume });
      if (resource.worker.length > 0) continue;
      for (const { peer, parametersDue } of resource.connections.values()) {
        if (parametersDue) signal(core, { signal: 'streams-ready', resource: resource.name, peer });
      }
      signal(core, { signal: 'procedures', resource: resource.name });
      continue;
    }
    const volume = volumeOf(resource, change.volume);
    const connection = connectionTo(resource, change.peer);
    const device = deviceOf(volume, change.peer);
    if (step({ core, resource, volume, connection, device, change, from: change.from, to: change.to }) === 'waits') resource.workerWaits = true;
  }
};

/** What the worker waited for is done, well or not. */
export const workerGoesOn = (core: Core, resource: Resource): void => {
  resource.workerWaits = false;
  runWorker(core, resource);
};

/** Unfence-peer is due when a source finished and everything is UpToDate everywhere (node-states.md §8.9). */
export const unfenceIfEqual = (core: Core, resource: Resource, connection: Connection): void => {
  const policy = fencingPolicy(resource, Disk.Consistent);
  const equal = allVolumes(resource).every((volume) => volume.disk === Disk.UpToDate && [...volume.peers.values()].every(({ pdsk }) => pdsk === Disk.UpToDate));
  if (policy && policy !== 'dont-care' && equal) runEventHandler(core, resource, 'unfence-peer', undefined, connection);
};
