/** down: demote, disconnect, detach each volume, and the resource is gone; stops at the first refusal (node-states.md §8.8). */

import type { Command } from '../contract/command.js';
import { signal, type Core } from '../model/core.js';
import type { Procedure, Resource } from '../model/types.js';
import { isSuccess, ReturnCode } from '../state/refusals.js';
import { isIdle } from './create.js';
import { finish, newProcedure, wait } from './procedures.js';

/** DRBD's configuration result (node-states.md §2). */
const RESOURCE_IN_USE = 159;

/** The parts, in order. */
const partsOf = (resource: Resource): Command[] => [
  { verb: 'secondary', resource: resource.name },
  ...[...resource.connections.keys()].map((peer) => ({ verb: 'disconnect', resource: resource.name, peer, force: false }) as const),
  ...[...resource.volumes.keys()].map((volume) => ({ verb: 'detach', resource: resource.name, volume, force: false }) as const),
];

export const takeDown = (core: Core, resource: Resource, procedure: Procedure): void => {
  if (procedure.step > 0 && !isSuccess(procedure.result)) return finish(core, resource, procedure, procedure.result);
  const part = partsOf(resource)[procedure.step];
  if (!part) {
    // Another command was faster.
    if (!isIdle(resource)) return finish(core, resource, procedure, RESOURCE_IN_USE);
    finish(core, resource, procedure, ReturnCode.Success);
    return signal(core, { signal: 'resource-idle', resource: resource.name });
  }
  wait(procedure, 'part', procedure.step + 1);
  const child = newProcedure(resource, part, undefined, procedure.id);
  signal(core, { signal: 'procedure', resource: resource.name, procedure: child.id });
};
