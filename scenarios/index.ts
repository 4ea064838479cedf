/** The scenarios by name. To add one: copy a module, change its name, and put it into this list. */

import type { Scenario } from '../sim/types.js';
import { activeSetBound } from './active-set-bound.js';
import { bothLosePower } from './both-lose-power.js';
import { chains } from './chains.js';
import { congestion } from './congestion.js';
import { degradedThenFailover } from './degraded-then-failover.js';
import { discard } from './discard.js';
import { diskErrors } from './disk-errors.js';
import { dualPrimary } from './dual-primary.js';
import { evictionError } from './eviction-error.js';
import { failover } from './failover.js';
import { flappingLink } from './flapping-link.js';
import { generations, lostEnds } from './generations.js';
import { integrity } from './integrity.js';
import { maintenance } from './maintenance.js';
import { onlineVerify } from './online-verify.js';
import { optionsOnline } from './options-online.js';
import { partition } from './partition.js';
import { readBalancing } from './read-balancing.js';
import { recorded } from './recorded.js';
import { resize } from './resize.js';
import { resyncAfter } from './resync-after.js';
import { resyncInterrupted } from './resync-interrupted.js';
import { slowDisk } from './slow-disk.js';
import { splitBrain } from './split-brain.js';
import { thinResync } from './thin-resync.js';
import { traps, trapsByKind } from './traps/traps.js';
import { volumes } from './volumes.js';

export const scenarios: readonly Scenario[] = [
  failover,
  partition,
  bothLosePower,
  resyncInterrupted,
  flappingLink,
  splitBrain,
  generations,
  lostEnds,
  dualPrimary,
  readBalancing,
  degradedThenFailover,
  maintenance,
  slowDisk,
  congestion,
  integrity,
  optionsOnline,
  diskErrors,
  discard,
  thinResync,
  resize,
  evictionError,
  volumes,
  resyncAfter,
  activeSetBound,
  onlineVerify,
  chains,
  traps,
  ...trapsByKind,
  recorded,
];
