/**
 * Fencing: before a disconnected node is promoted, or a frozen primary goes on alone, the peer must be known to be outdated
 * (node-states.md §8.9). The fence-peer handler finds out or sees to it; its exit code says what it found.
 */

import { assert, emit, log, signal, type Core } from '../model/core.js';
import type { Connection, Resource } from '../model/types.js';
import { connectionTo, isFrozen } from '../model/view.js';
import { failNetworkParts } from '../replication/acks.js';
import { answerHeld } from '../replication/completion.js';
import { ReturnCode } from '../state/refusals.js';
import { Conn, Disk, Role, type State } from '../state/states.js';
import { allVolumes, changeState, fencingPolicy } from './change.js';
import { runEventHandler } from './handlers.js';

/** Is every disk of the peer known to be Outdated or worse? */
export const isPeerOutdated = (resource: Resource, connection: Connection): boolean =>
  allVolumes(resource).every((volume) => volume.peers.get(connection.peer)!.pdsk <= Disk.Outdated);

/**
 * Starts fencing; `procedure` (if any) is told by the signal `procedure` when the verdict is there. Returns the verdict at
 * once where no handler is needed.
 */
export const startFencing = (core: Core, resource: Resource, connection: Connection, procedure: number | undefined): 'fenced' | 'failed' | 'running' => {
  const policy = fencingPolicy(resource, Disk.Consistent);
  if (policy === undefined) {
    changeState(core, resource, allVolumes(resource), connection, { suspFen: false }, 'hard', 'no disk to fence for');
    if (!isFrozen(resource)) {
      failNetworkParts(core, resource, connection);
      answerHeld(core, resource);
    }
    return 'failed';
  }
  if (policy === 'dont-care') return 'fenced';
  if (connection.cstate >= Conn.WFReportParams) return 'failed';
  if (!resource.fencing) {
    const handler = runEventHandler(core, resource, 'fence-peer', undefined, connection);
    if (handler === undefined) {
      log(core, resource.name, 'error', 'fence-peer helper broken: none is configured');
      return 'failed';
    }
    resource.fencing = { handler, peer: connection.peer, connectCount: connection.connectCount, waiting: [] };
  }
  if (procedure !== undefined) resource.fencing.waiting.push(procedure);
  return 'running';
};

/** What an exit code of fence-peer says (the table of §8.9); undefined: broken handler. */
const verdictOf = (exitCode: number, ownDisk: Disk): Partial<State> | undefined => {
  switch (exitCode) {
    case 3:
      return { pdsk: Disk.Inconsistent };
    case 4:
    case 7:
      return { pdsk: Disk.Outdated };
    case 5:
      return ownDisk === Disk.UpToDate ? { pdsk: Disk.Outdated } : undefined;
    case 6:
      return { disk: Disk.Outdated };
    default:
      return undefined;
  }
};

/** fence-peer ended (or could not run: exit code 0, a broken handler). Its verdict is void if a connection was made meanwhile. */
export const fencingEnded = (core: Core, resource: Resource, exitCode: number): void => {
  const run = resource.fencing;
  assert(run !== undefined, 'fence-peer ended and nobody started it');
  resource.fencing = undefined;
  const connection = connectionTo(resource, run.peer);
  const ownDisk = allVolumes(resource).reduce<Disk>((best, { disk }) => (disk > best ? disk : best), Disk.Diskless);
  const change = verdictOf(exitCode, ownDisk);
  const isValid = connection.connectCount === run.connectCount && connection.cstate < Conn.WFReportParams && !connection.stateSent;
  if (!change) log(core, resource.name, 'error', `fence-peer helper broken, returned ${exitCode}`);
  if (change && isValid) {
    const code = changeState(core, resource, allVolumes(resource), connection, change, 'soft', `fence-peer returned ${exitCode}`, true);
    emit(core, {
      type: 'observe',
      event: { event: 'decision', resource: resource.name, volume: -1, peer: run.peer, decision: 'fence-peer', rule: `fence-peer-${exitCode}`, detail: `state change ${code}` },
    });
  }
  const fenced = isPeerOutdated(resource, connection);
  // A connection came and went meanwhile: that says nothing about this loss, and who waits for it would wait for ever.
  const isStale = connection.connectCount !== run.connectCount && connection.cstate < Conn.WFReportParams && !connection.loss;
  if (isStale && !fenced && (resource.role === Role.Primary || run.waiting.length > 0)) {
    const verdicts = (run.waiting.length > 0 ? run.waiting : [undefined]).map((procedure) => startFencing(core, resource, connection, procedure));
    if (verdicts[0] === 'running') return;
  }
  for (const id of run.waiting) {
    const procedure = resource.procedures.get(id);
    if (!procedure) continue;
    procedure.result = fenced ? ReturnCode.Success : ReturnCode.UnknownError;
    signal(core, { signal: 'procedure', resource: resource.name, procedure: id });
  }
  signal(core, { signal: 'procedures', resource: resource.name });
};
