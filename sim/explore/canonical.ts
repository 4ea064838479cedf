/**
 * A node's state in the form in which an explorer compares it: times are relative, counters that nobody can see any more begin again, statistics
 * are left out. Each change keeps what the node will ever do: a counter only names things, and begins again when nothing has such a name, here or on a wire.
 */

import type { NodeState, Resource } from '../../src/model/types.js';

/** As if it all had happened so much earlier. */
export function moveBack(state: NodeState, byUs: number): void {
  moveBackIn(state, byUs, new Set());
}

/** Moments that a node remembers. Everything else whose name ends like a time must be known for what it is, so that a new field cannot be missed. */
const momentNames = new Set([
  'deadlineUs', 'startedAtUs', 'barrierSentAtUs', 'sentAtUs', 'lastLazyWriteAtUs', 'atUs', 'waitSinceUs', 'acceptedAtUs', 'lastReceivedUs', 'blockedSinceUs',
]);

function moveBackIn(value: unknown, byUs: number, visited: Set<object>): void {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || visited.has(value)) return;
  visited.add(value);
  if (value instanceof Map) for (const entry of value.values()) moveBackIn(entry, byUs, visited);
  else if (value instanceof Set || Array.isArray(value)) for (const entry of value) moveBackIn(entry, byUs, visited);
  else {
    for (const [name, entry] of Object.entries(value)) {
      if (momentNames.has(name) && typeof entry === 'number') (value as Record<string, unknown>)[name] = Math.max(0, entry - byUs);
      else if (name.endsWith('Us') && !momentNames.has(name)) throw new Error(`is ${name} a moment or a period? sim/explore/canonical.ts must know`);
      else moveBackIn(entry, byUs, visited);
    }
  }
}

/**
 * Counters begin again, statistics are left out. What a number names may be named in many places: by an operation that is on its way, by a job that waits, by the
 * peer. So most begin again only when a node has nothing to do with its disks at all.
 */
export function forget(state: NodeState): void {
  if (state.streams.size === 0) state.lastStream = 0;
  if (state.handlers.size === 0) state.lastHandler = 0;
  const resources = [...state.resources.values()];
  for (const resource of resources) for (const { backing } of resource.volumes.values()) if (backing) backing.activityLog.transactions = 0;
  if (state.operations.size > 0) return;
  state.lastOperation = 0;
  if (!resources.every(hasNoJobs)) return;
  if (resources.every(hasNoRequests)) state.lastRequest = 0;
  for (const resource of resources) forgetOf(resource);
}

const hasNoJobs = ({ volumes }: Resource): boolean => [...volumes.values()].every(({ backing }) => !backing || backing.metadataJobs.length === 0);

/** None of its own, and no stream on which a peer could still answer one. */
const hasNoRequests = ({ log, volumes, connections }: Resource): boolean =>
  log.requests.size === 0 &&
  [...volumes.values()].every(({ waiting, intervals, backing }) => waiting.length === 0 && intervals.length === 0 && (backing?.activityLog.waitingForCommit.length ?? 0) === 0) &&
  [...connections.values()].every(({ session }) => session.data === undefined);

function forgetOf(resource: Resource): void {
  if (resource.procedures.size === 0 && resource.fencing === undefined) resource.lastProcedure = 0;
  for (const volume of resource.volumes.values()) if (volume.intervals.length === 0) volume.lastInterval = 0;
  for (const { session, sender, receiver } of resource.connections.values()) {
    if (session.data !== undefined) continue;
    if (resource.log.requests.size === 0 && sender.epochs.length === 0 && resource.log.epochWrites === 0) resource.log.epoch = 0;
    if (receiver.writes.size > 0) continue;
    receiver.lastWrite = 0;
    const [only, ...more] = receiver.epochs;
    if (only && more.length === 0 && only.size === 0 && only.active === 0) {
      only.id = 0;
      receiver.lastEpoch = 0;
    }
  }
}
