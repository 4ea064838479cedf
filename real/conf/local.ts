/** A resource as this machine runs it: what the core is told (`config`), and what only the drivers need: paths, addresses, programs. */

import type { HandlerName, ResourceConfig } from '../../src/contract/index.js';
import type { PeerAddresses } from '../net/streams.js';

export interface LocalVolume {
  volume: number;
  /** `/dev/drbd0`: a name only, nothing is there. */
  device: string;
  diskPath: string;
  /** The device of the metadata; undefined where it is internal. */
  metaPath: string | undefined;
}

/** Seconds; 0 = for ever (configuration.md §3.4). */
export interface StartupOptions {
  wfcTimeout: number;
  degrWfcTimeout: number;
  outdatedWfcTimeout: number;
  waitAfterSb: boolean;
}

export interface LocalResource {
  config: ResourceConfig;
  volumes: LocalVolume[];
  peers: ({ name: string } & PeerAddresses)[];
  /** Shell command lines. */
  handlers: Map<HandlerName, string>;
  startup: StartupOptions;
}
