/**
 * Liveness without waiting for it: whatever a node waits for, it is told when that comes true. So between two inputs nothing comes of telling
 * everybody once more: neither a command, nor a held request, nor a connection that is cleaned up goes on by it. A storm hides a wakeup that is
 * missing, since something else comes along soon; in production it is a volume that hangs until somebody pulls a cable.
 */

import type { Node } from '../../src/contract/index.js';
import { digests } from '../../src/digests/digests.js';
import type { Core } from '../../src/model/core.js';
import type { Signal } from '../../src/model/signals.js';
import type { NodeState, Resource } from '../../src/model/types.js';
import { decodeState } from '../../src/node/snapshot.js';
import { handleSignal } from '../../src/resource/dispatch.js';
import type { Checker, WorldView } from '../types.js';

const environment = { ...digests, random64: (): bigint => 1n };

export function nobodyWaits(): Checker {
  const reported = new Set<string>();
  /** Commands that are not answered, by host. */
  const commands = new Map<string, Set<number>>();
  const commandsOf = (name: string): Set<number> => {
    if (!commands.has(name)) commands.set(name, new Set());
    return commands.get(name)!;
  };
  /** Copying a node costs: only one of which somebody wants something is looked at. */
  const isAwaited = (name: string, node: Node): boolean =>
    commandsOf(name).size > 0 || node.resources().some(({ frozenReason, volumes }) => frozenReason !== undefined || volumes.some(({ waiting }) => waiting > 0));
  return {
    property: 'liveness',
    onInput(name, input) {
      if (input.type === 'command') commandsOf(name).add(input.id);
    },
    onOutput(name, output) {
      if (output.type === 'reply') commandsOf(name).delete(output.command);
    },
    onHost: (name) => commandsOf(name).clear(),
    onCheckpoint(world) {
      for (const { name, node } of world.hosts) {
        if (node === undefined || reported.has(name) || !isAwaited(name, node)) continue;
        const woken = wake(node.snapshot(), world);
        if (woken === undefined) continue;
        reported.add(name);
        world.report({ property: 'liveness', atUs: world.nowUs, detail: `${name} waits for what is so already: told again, it gives ${woken}` });
      }
    },
  };
}

/** What comes of telling a copy of this node everything once more, or undefined. */
function wake(snapshot: Uint8Array, world: WorldView): string | undefined {
  const state = decodeState(snapshot) as NodeState;
  const core: Core = { state, nowUs: world.nowUs, environment, outputs: [], signals: [] };
  for (const resource of state.resources.values()) core.signals.push(...signalsOf(resource));
  while (core.signals.length > 0) {
    const batch = core.signals;
    core.signals = [];
    for (const value of batch) {
      const resource = state.resources.get(value.resource);
      if (resource && value.signal !== 'resource-idle') handleSignal(core, resource, value);
    }
  }
  const [first] = core.outputs;
  return first === undefined ? undefined : first.type === 'observe' ? `${first.type} ${JSON.stringify(first.event)}` : first.type;
}

const signalsOf = (resource: Resource): Signal[] => [
  { signal: 'worker', resource: resource.name },
  { signal: 'procedures', resource: resource.name },
  ...[...resource.volumes.keys()].flatMap((volume): Signal[] => [
    { signal: 'writes-drained', resource: resource.name, volume },
    { signal: 'admission', resource: resource.name, volume },
  ]),
  ...[...resource.connections.keys()].flatMap((peer): Signal[] => [
    { signal: 'receiver-quiet', resource: resource.name, peer },
    { signal: 'epoch-progress', resource: resource.name, peer },
  ]),
];
