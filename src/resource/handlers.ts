/**
 * Handlers: programs of the machine that are told of an event, or asked (node-states.md §8.10, configuration.md §3.5). One that is
 * not configured is not run. What happened is on disk before anybody is told (D18).
 */

import type { HandlerName } from '../contract/output.js';
import { emit, type Core } from '../model/core.js';
import type { Connection, Resource, Volume } from '../model/types.js';
import { isSuperblockDirty, queueSuperblock } from '../volume/metadata-io.js';

/**
 * Runs a handler: of a volume, or of the whole resource where `volume` is undefined. Its exit comes back as the signal
 * `handler-exited` with the id that is returned; undefined: there is no such handler.
 */
export const runEventHandler = (core: Core, resource: Resource, name: HandlerName, volume: Volume | undefined, connection: Connection | undefined): number | undefined => {
  if (!resource.config.handlers.includes(name)) return undefined;
  const handler = ++core.state.lastHandler;
  const about = volume ? [volume] : [...resource.volumes.values()];
  const dirty = about.filter(({ backing }) => backing && !backing.failed && !backing.attaching && isSuperblockDirty(backing));
  core.state.handlers.set(handler, { name, resource: resource.name, volume: volume?.number, peer: connection?.peer, pending: dirty.length });
  if (dirty.length === 0) start(core, resource, handler);
  for (const one of dirty) queueSuperblock(core, one, { for: 'handler', handler });
  return handler;
};

/** A superblock that the handler waited for is on disk, or will never be. */
export const handlerMayRun = (core: Core, resource: Resource, handler: number): void => {
  const run = core.state.handlers.get(handler);
  if (run && --run.pending === 0) start(core, resource, handler);
};

const start = (core: Core, resource: Resource, handler: number): void => {
  const { name, volume: number, peer } = core.state.handlers.get(handler)!;
  const volume = number === undefined ? undefined : resource.volumes.get(number);
  const about = volume ? [volume] : [...resource.volumes.values()];
  const environment: [string, string][] = [
    ['DRBD_RESOURCE', resource.name],
    ['DRBD_PEERS', [...resource.connections.keys()].join(' ')],
    ['DRBD_MINOR', about.map(({ config }) => config.minor).join(' ')],
    ['DRBD_VOLUME', about.map((one) => one.number).join(' ')],
  ];
  if (peer !== undefined) environment.push(['DRBD_PEER', peer]);
  emit(core, { type: 'run-handler', handler, name, resource: resource.name, ...(volume && { minor: volume.config.minor }), environment });
};
