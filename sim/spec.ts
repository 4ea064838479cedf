/**
 * What a host of a setup is made of. A host may have several resources (`HostSpec.config` and `HostSpec.more`); the numbers of their volumes
 * are different, so that in the simulator a number says which volume of which resource is meant.
 */

import type { Node, ResourceConfig, VolumeView } from '../src/contract/index.js';
import type { HostSpec } from './types.js';

/** In configuration order. */
export const configsOf = ({ config, more }: HostSpec): readonly ResourceConfig[] => (more ? [config, ...more] : [config]);

export const volumesOf = (spec: HostSpec): ResourceConfig['volumes'] => configsOf(spec).flatMap(({ volumes }) => volumes);

/** The resource that a volume belongs to. */
export function configOf(spec: HostSpec, volume: number): ResourceConfig {
  const found = configsOf(spec).find(({ volumes }) => volumes.some((one) => one.volume === volume));
  if (!found) throw new Error(`${spec.name} has no volume ${volume}`);
  return found;
}

/** The configuration of a resource by its name. */
export function configNamed(spec: HostSpec, resource: string): ResourceConfig {
  const found = configsOf(spec).find((config) => config.resource === resource);
  if (!found) throw new Error(`${spec.name} has no resource ${resource}`);
  return found;
}

/** A volume as its core shows it, undefined while the host is down or does not know it yet. */
export function volumeViewOf(node: Node | undefined, volume: number): VolumeView | undefined {
  for (const { volumes } of node?.resources() ?? []) for (const view of volumes) if (view.volume === volume) return view;
  return undefined;
}
