/**
 * A disk that hangs: `disk-timeout` is how long any of its operations may take, the application's, the peer's, a resync's or the
 * metadata's, then the disk is given up (timers-and-order.md §1.4, "disk age", "metadata I/O"). The kernel watches the application's and
 * the metadata's only; a secondary that waits for ever for its disk holds up its primary just the same.
 */

import type { Core } from '../model/core.js';
import type { DiskOperation } from '../model/operations.js';
import { clearTimer, setTimer } from '../model/timers.js';
import type { Resource, Volume } from '../model/types.js';
import { diskHangs } from './disk.js';

const DISK_TIMEOUT_UNIT_US = 100_000;

const limitUs = ({ config }: Volume): number => config.disk.diskTimeout * DISK_TIMEOUT_UNIT_US;

/** The disk was opened, or its options changed: the timer runs as long as there is a disk and a limit. */
export const watchDisk = (core: Core, volume: Volume): void => {
  const limit = limitUs(volume);
  if (limit === 0 || !volume.backing) clearTimer(core, 'disk-age', volume.resource, '', volume.number);
  else setTimer(core, 'disk-age', volume.resource, '', volume.number, limit);
};

/** The timer ran out: an operation that is too old costs the disk, else the next look is when the oldest would be. */
export const checkDiskAge = (core: Core, resource: Resource, volume: Volume): void => {
  const limit = limitUs(volume);
  if (limit === 0 || !volume.backing) return;
  const oldest = oldestOperation(core, volume);
  const ageUs = oldest ? core.nowUs - oldest.startedAtUs : 0;
  if (!oldest || ageUs < limit) return setTimer(core, 'disk-age', volume.resource, '', volume.number, limit - ageUs);
  diskHangs(core, resource, volume, `a ${oldest.kind} of ${oldest.area} takes ${ageUs / 1e6} s`);
};

/** Of those that somebody waits for. Its age counts from when it was asked for (bug B166). */
const oldestOperation = (core: Core, volume: Volume): DiskOperation | undefined => {
  let oldest: DiskOperation | undefined;
  for (const operation of core.state.operations.values()) {
    const isOurs = operation.resource === volume.resource && operation.volume === volume.number && operation.attachment === volume.backing?.attachment;
    if (isOurs && operation.then.to !== 'nobody' && (!oldest || operation.startedAtUs < oldest.startedAtUs)) oldest = operation;
  }
  return oldest;
};
