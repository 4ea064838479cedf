/**
 * One machine: its resources in a map, and what crosses resources. Drivers talk only to this (design: "The core"): facts in,
 * wishes out, one alarm. An input is handled to its end before the next one: what the rooms below signal upwards is worked
 * off in order until nothing is left.
 */

import { checkAlgorithms, checkConfig } from '../config/check.js';
import type { Command } from '../contract/command.js';
import type { Environment } from '../contract/environment.js';
import type { Input } from '../contract/input.js';
import type { Node, PeerView, ResourceView, VolumeView } from '../contract/node.js';
import type { Output } from '../contract/output.js';
import { flushSends } from '../connection/send.js';
import { streamInput, type StreamInput } from '../connection/receive.js';
import { onHeartbeat, onTimer } from '../membership/membership.js';
import { assert, emit, InvariantError, type Core } from '../model/core.js';
import { without } from '../model/tables.js';
import { clearTimersOf, earliestDeadline, setTimer, takeDueTimer } from '../model/timers.js';
import type { NodeState, Resource, Volume } from '../model/types.js';
import { isFrozen, stateOf } from '../model/view.js';
import { copyConfig, isIdle, newResource } from '../resource/create.js';
import { applicationRequest, closed, diskInput, handleSignal, opened, operationDone, passEnded, startProcedure, timerDue } from '../resource/dispatch.js';
import { newProcedure, replyOf } from '../resource/procedures.js';
import { settleDependencies } from '../resource/resync-after.js';
import { resyncView } from '../resync/lifecycle.js';
import { activeExtents } from '../volume/activity-log.js';
import { holdReason } from '../volume/admission.js';
import { heldMemory } from './holds.js';
import { decodeState, encodeState, fingerprintOf } from './snapshot.js';

/** DRBD's configuration results (node-states.md §2). */
const CONFIG_OK = 101;
const UNKNOWN_RESOURCE = 158;
const RESOURCE_IN_USE = 159;
const INVALID_REQUEST = 162;

/** Far more than any input needs: a circle of signals is a bug, not a hang. */
const SIGNALS_MAX = 1_000_000;

export const createNode = (name: string, environment: Environment): Node =>
  nodeOf(
    {
      name,
      resources: new Map(),
      operations: new Map(),
      streams: new Map(),
      timers: new Map(),
      handlers: new Map(),
      lastOperation: 0,
      lastStream: 0,
      lastHandler: 0,
      lastRequest: 0,
    },
    environment,
  );

/** An equal node of a snapshot. Throws when the bytes are no snapshot. */
export const restoreNode = (snapshot: Uint8Array, environment: Environment): Node => nodeOf(decodeState(snapshot) as NodeState, environment);

/** A node on this state, which is the node's from now on. */
export const nodeOf = (state: NodeState, environment: Environment): Node => {
  const core: Core = { state, nowUs: 0, environment, outputs: [], signals: [] };
  let handling = false;
  return {
    name: state.name,
    handle: (input: Input, nowUs: number): void => {
      assert(!handling, 'handle is not re-entrant');
      assert(Number.isSafeInteger(nowUs) && nowUs >= core.nowUs, () => `time goes back from ${core.nowUs} to ${nowUs}`);
      handling = true;
      core.nowUs = nowUs;
      try {
        handleInput(core, input);
        workOff(core);
        while (settleDependencies(core)) workOff(core);
        if (input.type === 'pass-ended') {
          for (const resource of state.resources.values()) {
            passEnded(core, resource);
            // A change of role is announced at once.
            if (resource.membership && resource.membership.announcedRole !== resource.role) runMembership(core, resource);
          }
          workOff(core);
          for (const resource of state.resources.values()) for (const connection of resource.connections.values()) flushSends(core, connection);
        }
      } finally {
        handling = false;
      }
    },
    outputs: (): Output[] => {
      const outputs = core.outputs;
      core.outputs = [];
      return outputs;
    },
    deadline: (): number | undefined => earliestDeadline(core),
    snapshot: (): Uint8Array => encodeState(state),
    holds: (): Set<ArrayBufferLike> => heldMemory(state),
    fingerprint: (): string => fingerprintOf(encodeState(state)),
    resources: (): ResourceView[] => [...state.resources.values()].map(viewOf),
  };
};

/** Signals are handled in the order in which they were given, until there are none. */
const workOff = (core: Core): void => {
  for (let handled = 0; core.signals.length > 0; handled++) {
    if (handled > SIGNALS_MAX) throw new InvariantError('signals go round in a circle');
    const batch = core.signals;
    core.signals = [];
    for (const value of batch) {
      const resource = core.state.resources.get(value.resource);
      if (!resource) continue;
      if (value.signal !== 'resource-idle') handleSignal(core, resource, value);
      // It may be in use again by what came between.
      else if (isIdle(resource)) removeResource(core, resource);
    }
  }
};

const handleInput = (core: Core, input: Input): void => {
  switch (input.type) {
    case 'app-read':
    case 'app-write':
    case 'app-write-zeroes':
    case 'app-discard':
    case 'app-flush': {
      const found = find(core, input);
      if (found) return applicationRequest(core, found.resource, found.volume, input);
      return emit(core, { type: 'app-failed', resource: input.resource, volume: input.volume, id: input.id, error: 'ENXIO' });
    }
    case 'app-opened': {
      const found = find(core, input);
      if (found) opened(found.resource, found.volume, input.who);
      return;
    }
    case 'app-closed': {
      const found = find(core, input);
      if (found) closed(core, found.resource, found.volume, input.who);
      return;
    }
    case 'disk-opened':
    case 'disk-resized':
    case 'disk-open-failed': {
      const found = find(core, input);
      if (found) diskInput(core, found.volume, input);
      return;
    }
    case 'disk-done':
    case 'disk-failed': {
      const operation = core.state.operations.get(input.op);
      assert(operation !== undefined, () => `disk operation ${input.op} ended and was not running`);
      core.state.operations = without(core.state.operations, input.op);
      const resource = core.state.resources.get(operation.resource);
      if (!resource) return;
      return operationDone(core, resource, operation, input.type === 'disk-done' ? { ok: true, data: input.data } : { ok: false, failure: input.failure });
    }
    case 'stream-connected':
    case 'connect-refused':
    case 'connect-failed':
    case 'stream-accepted':
    case 'stream-received':
    case 'stream-sent':
    case 'stream-closed':
    case 'listen-failed':
      return streamInput(core, input satisfies StreamInput);
    case 'membership-received':
      for (const resource of core.state.resources.values()) {
        if (resource.membership && onHeartbeat(resource.membership, core.nowUs, input.from, input.bytes)) runMembership(core, resource);
      }
      return;
    case 'command':
      return handleCommand(core, input.id, input.command);
    case 'handler-exited':
      return handlerEnded(core, input.handler, input.exitCode);
    case 'handler-failed':
      // Exec errors count as exit 0 (node-states.md §8.10): for fence-peer a broken handler.
      return handlerEnded(core, input.handler, 0);
    case 'woken':
      return timersDue(core);
    case 'pass-ended':
      return;
  }
};

const find = (core: Core, address: { resource: string; volume: number }): { resource: Resource; volume: Volume } | undefined => {
  const resource = core.state.resources.get(address.resource);
  const volume = resource?.volumes.get(address.volume);
  return resource && volume && { resource, volume };
};

const handlerEnded = (core: Core, id: number, exitCode: number): void => {
  const run = core.state.handlers.get(id);
  assert(run !== undefined, `handler ${id} ended and was not running`);
  core.state.handlers.delete(id);
  core.signals.push({ signal: 'handler-exited', resource: run.resource, volume: run.volume, handler: id, name: run.name, exitCode });
};

const timersDue = (core: Core): void => {
  for (let timer = takeDueTimer(core); timer; timer = takeDueTimer(core)) {
    const resource = core.state.resources.get(timer.resource);
    if (!resource) continue;
    if (timer.kind === 'heartbeat') runMembership(core, resource);
    else timerDue(core, resource, timer);
    workOff(core);
  }
};

// ---- Commands -----------------------------------------------------------------------------------------------------------

const handleCommand = (core: Core, id: number, command: Command): void => {
  const reply = (code: number): void => emit(core, { type: 'reply', command: id, reply: replyOf(code) });
  if (command.verb === 'new-resource') {
    const refusal = checkConfig(command.config) ?? checkAlgorithms(command.config, core.environment);
    if (refusal) return reply(refusal.code);
    if (command.config.peers.length === 0 || core.state.resources.has(command.config.resource)) return reply(INVALID_REQUEST);
    const resource = newResource(core, copyConfig(command.config));
    core.state.resources.set(resource.name, resource);
    runMembership(core, resource);
    return reply(CONFIG_OK);
  }
  const resource = core.state.resources.get(command.resource);
  if (!resource) return reply(UNKNOWN_RESOURCE);
  if (command.verb === 'del-resource') {
    if (!isIdle(resource)) return reply(RESOURCE_IN_USE);
    removeResource(core, resource);
    return reply(CONFIG_OK);
  }
  const what = command.verb === 'options' ? { ...command, config: copyConfig(command.config) } : command;
  startProcedure(core, resource, newProcedure(resource, what, id, undefined));
};

const removeResource = (core: Core, resource: Resource): void => {
  assert(isIdle(resource), 'a resource in use is taken away');
  clearTimersOf(core, resource.name, undefined);
  core.state.resources.delete(resource.name);
};

// ---- Membership ---------------------------------------------------------------------------------------------------------

/** Heartbeats out, deaths noticed; a death asks for a promotion like an operator would, without force. */
const runMembership = (core: Core, resource: Resource): void => {
  if (!resource.membership) return;
  const wish = onTimer(resource.membership, core.nowUs, resource.role);
  for (const peer of wish.died) emit(core, { type: 'observe', event: { event: 'membership', machine: peer, what: 'dead' } });
  if (wish.send) for (const peer of resource.connections.keys()) emit(core, { type: 'membership-send', to: peer, bytes: wish.send });
  setTimer(core, 'heartbeat', resource.name, '', -1, Math.max(0, wish.nextDeadlineUs - core.nowUs));
  const promoting = [...resource.procedures.values()].some(({ what }) => what.verb === 'primary');
  if (wish.promote && !promoting) {
    startProcedure(core, resource, newProcedure(resource, { verb: 'primary', resource: resource.name, force: false }, undefined, undefined));
  }
};

// ---- Views --------------------------------------------------------------------------------------------------------------

const viewOf = (resource: Resource): ResourceView => ({
  resource: resource.name,
  volumes: [...resource.volumes.values()].map((volume) => new LiveVolume(resource, volume)),
  suspended: isFrozen(resource),
  frozenReason: [...resource.volumes.values()].map((volume) => holdReason(resource, volume)).find((reason) => reason !== undefined),
});

/** Checkers look at a size or a bitmap thousands of times a second: what nobody asks for is not put together, and what was is kept. */
class LiveVolume implements VolumeView {
  private ranges: VolumeView['inFlight'] | undefined;
  private views: PeerView[] | undefined;

  constructor(
    private readonly resource: Resource,
    private readonly of: Volume,
  ) {}

  get volume(): number {
    return this.of.number;
  }

  get sizeSectors(): number {
    return this.of.sizeSectors;
  }

  get peers(): PeerView[] {
    const { resource, of } = this;
    this.views ??= [...resource.connections.values()].map((connection): PeerView => {
      const device = of.peers.get(connection.peer)!;
      return {
        peer: connection.peer,
        state: stateOf(resource, of, connection, device),
        // Half read, it says nothing: what counts is on disk.
        bitmap: of.backing?.attaching ? undefined : device.bitmap,
        failedBits: resyncView(device)?.failedBits ?? 0,
      };
    });
    return this.views;
  }

  get uuids(): VolumeView['uuids'] {
    return this.superblock?.uuids;
  }

  get superblock(): VolumeView['superblock'] {
    return this.of.backing?.attaching ? undefined : this.of.backing?.superblock;
  }

  get activeExtents(): number[] {
    return this.of.backing ? activeExtents(this.of.backing.activityLog) : [];
  }

  get activityLogTransactions(): number {
    return this.of.backing?.activityLog.transactions ?? 0;
  }

  get inFlight(): VolumeView['inFlight'] {
    if (this.ranges !== undefined) return this.ranges;
    const ranges: VolumeView['inFlight'] = [];
    for (const { kind, submitted, retry, volume, sector, sectors, application } of this.resource.log.requests.values()) {
      if (kind === 'write' && (submitted || retry !== 'no') && volume === this.of.number) ranges.push({ sector, sectors, request: application.id });
    }
    for (const { receiver } of this.resource.connections.values()) {
      for (const { volume, sector, sectors } of receiver.writes.values()) if (volume === this.of.number) ranges.push({ sector, sectors, request: undefined });
    }
    return (this.ranges = ranges);
  }

  get waiting(): number {
    return this.of.waiting.length;
  }
}
