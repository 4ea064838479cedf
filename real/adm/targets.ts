/** What lockadm's words `all`, `RES`, `RES/VOL` and `minor-N` mean in a configuration. */

import type { Configuration, MeantResource } from '../conf/meaning.js';
import type { LocalResource } from '../conf/local.js';
import { AdmError, EXIT_USAGE } from './connection.js';

export interface Target {
  resource: MeantResource;
  local: LocalResource;
  /** The only volume that is meant; undefined: all. */
  volume: number | undefined;
}

export function targetsOf(configuration: Configuration, words: readonly string[]): Target[] {
  const mine = configuration.resources.flatMap((resource): Target[] => (resource.local ? [{ resource, local: resource.local, volume: undefined }] : []));
  return words.flatMap((word) => {
    if (word === 'all') return mine;
    const minor = /^minor-(\d+)$/.exec(word)?.[1] ?? /^\/dev\/drbd(\d+)$/.exec(word)?.[1];
    if (minor !== undefined) return [byMinor(mine, Number(minor), word)];
    const [, name, volume] = /^([^/]+)(?:\/(\d+))?$/.exec(word) ?? [];
    const found = mine.find(({ resource }) => resource.name === name);
    if (!found) {
      const isIgnored = configuration.resources.some((resource) => resource.name === name);
      throw new AdmError(EXIT_USAGE, isIgnored ? `'${name}' ignored, since this host is not mentioned with an 'on' keyword.` : `'${word}' not defined in your config (for this host).`);
    }
    if (volume === undefined) return [found];
    if (!found.local.volumes.some((one) => one.volume === Number(volume))) throw new AdmError(EXIT_USAGE, `Resource '${name}' has no volume ${volume}.`);
    return [{ ...found, volume: Number(volume) }];
  });
}

function byMinor(mine: readonly Target[], minor: number, word: string): Target {
  for (const target of mine) {
    const volume = target.local.config.volumes.find((one) => one.minor === minor);
    if (volume) return { ...target, volume: volume.volume };
  }
  throw new AdmError(EXIT_USAGE, `'${word}' not defined in your config (for this host).`);
}

export const volumesOf = ({ local, volume }: Target): number[] => (volume === undefined ? local.volumes.map((one) => one.volume) : [volume]);
export const minorOf = ({ local }: Target, volume: number): number => local.config.volumes.find((one) => one.volume === volume)!.minor;
