/**
 * What an operator or a cluster manager may ask of a node, and how it answers. The commands are those of drbdsetup
 * (configuration.md §4), minors replaced by resource and volume; refusals carry DRBD's code and text (node-states.md §2).
 */

import type { ResourceConfig } from '../config/types.js';

export type Command =
  /** Brings a resource into being: no disk attached, no connection (drbdadm new-resource, new-minor). */
  | { verb: 'new-resource'; config: ResourceConfig }
  /** Takes a resource away; it must be Secondary, its disks detached, its connections StandAlone. */
  | { verb: 'del-resource'; resource: string }
  | { verb: 'attach'; resource: string; volume: number }
  | { verb: 'detach'; resource: string; volume: number; force: boolean }
  | { verb: 'connect'; resource: string; peer: string; discardMyData: boolean; tentative: boolean }
  | { verb: 'disconnect'; resource: string; peer: string; force: boolean }
  | { verb: 'primary'; resource: string; force: boolean }
  | { verb: 'secondary'; resource: string }
  | { verb: 'outdate'; resource: string; volume: number }
  | { verb: 'invalidate'; resource: string; volume: number }
  | { verb: 'invalidate-remote'; resource: string; volume: number }
  | { verb: 'pause-sync'; resource: string; volume: number }
  | { verb: 'resume-sync'; resource: string; volume: number }
  /** Compares the disks from a sector (default: where the last verify ended) to another (default: the end). While it runs: sets where it stops. */
  | { verb: 'verify'; resource: string; volume: number; startSector?: number; stopSector?: number }
  /**
   * Takes the sizes of the devices as they are now, and agrees with the peer on the device's. `sizeSectors` 0: as large as possible; less than
   * now: it shrinks. `alStripes`, `alStripeSizeKb` make another activity log.
   */
  | {
      verb: 'resize';
      resource: string;
      volume: number;
      sizeSectors: number;
      assumeClean: boolean;
      assumePeerHasSpace: boolean;
      alStripes?: number;
      alStripeSizeKb?: number;
    }
  | { verb: 'suspend-io'; resource: string }
  | { verb: 'resume-io'; resource: string }
  | { verb: 'new-current-uuid'; resource: string; volume: number; clearBitmap: boolean }
  /** Changes options while running; what cannot change online is refused. */
  | { verb: 'options'; resource: string; config: ResourceConfig }
  | { verb: 'down'; resource: string };

/**
 * `code` is DRBD's: a state change's return code (SUCCESS 1, NOTHING_TO_DO 2, negative: refused) or a configuration
 * result (101 ok, above: refused). `text` is DRBD's message for it; `blocker` says who is in the way, where that is known.
 */
export interface Reply {
  ok: boolean;
  code: number;
  text: string;
  blocker?: string;
}
