/**
 * All checkers of a run. One file, one duty; the lineage is kept first, since the others ask it.
 */

import type { Checker, Setup, WorldView } from '../types.js';
import { recordOf } from '../ghost.js';
import { boundedRecovery } from './bounded-recovery.js';
import { complementaryStates } from './complementary-states.js';
import { convergence } from './convergence.js';
import { deviceSize } from './device-size.js';
import { durability } from './durability.js';
import { flushed } from './flushed.js';
import { frozenIo } from './frozen-io.js';
import { historiesAgree } from './histories-agree.js';
import { ImageReader } from './image.js';
import { Lineage } from './lineage.js';
import { knownOnDisk } from './known-on-disk.js';
import { linearizability } from './linearizability.js';
import { liveness } from './liveness.js';
import { metadataSanity } from './metadata-sanity.js';
import { nobodyWaits } from './nobody-waits.js';
import { noSilentDivergence } from './no-silent-divergence.js';
import { outdatedWithCause } from './outdated-with-cause.js';
import { onlineVerify, Planted } from './online-verify.js';
import { resyncDirection } from './resync-direction.js';
import { resyncOrder } from './resync-order.js';
import { splitBrain } from './split-brain.js';
import { thaw } from './thaw.js';
import { unexpectedDisconnect } from './unexpected-disconnect.js';
import { unmarkedInSync } from './unmarked-in-sync.js';
import { writeOrder } from './write-order.js';

export function makeCheckers(setup: Setup): Checker[] {
  const lineage = new Lineage(setup);
  const planted = new Planted(setup);
  let reader: ImageReader | undefined;
  const images = (world: WorldView): ImageReader => (reader ??= new ImageReader(recordOf(world.ghost)));
  /** Reports nothing itself: it keeps the account that durability is judged by. */
  const account: Checker = {
    property: 'durability',
    onInput: (host, input, world) => lineage.onInput(host, input, world),
    onOutput: (host, output, world) => lineage.onOutput(host, output, world),
    onCompletion: (completion, world) => lineage.onCompletion(completion, world),
    onHost: (host, what, world) => lineage.onHost(host, what, world),
    onCheckpoint: (world) => lineage.onCheckpoint(world),
  };
  const skipped = new Set(setup.expectations.skip.map(({ property }) => property));
  const checkers = [
    onlineVerify(setup, lineage, planted),
    durability(lineage, planted, images),
    flushed(setup, lineage),
    writeOrder(setup, lineage, images),
    linearizability(lineage, planted),
    noSilentDivergence(setup, lineage, planted),
    convergence(setup, lineage, planted),
    unmarkedInSync(setup, lineage),
    resyncDirection(lineage),
    splitBrain(setup, lineage),
    historiesAgree(),
    boundedRecovery(setup, lineage),
    liveness(setup, lineage),
    nobodyWaits(),
    metadataSanity(setup, lineage),
    knownOnDisk(setup, lineage),
    complementaryStates(setup, lineage),
    resyncOrder(setup),
    unexpectedDisconnect(setup, lineage),
    outdatedWithCause(lineage),
    frozenIo(setup, lineage),
    thaw(setup, lineage),
    deviceSize(setup, lineage),
  ];
  return [account, ...checkers.filter((checker) => !skipped.has(checker.property))];
}
