/**
 * Resync direction: a resync never overwrites an acknowledged write with an older one, unless an operator or a configured
 * policy chose to discard (I5). What is thrown away by right is written off here, with the reason.
 *
 * One loss is nobody's choice: a source that held the write and lost it with its cache, before a flush covered it. A Primary
 * that lost power and comes back before anyone took over is the source (rules 40, 41, 70), also over a peer that still has the
 * write; and so is a survivor that took over and then lost power itself (with protocol B: or crashed). No flush covered what
 * they lost, so no promise is broken; it is what a single disk would have lost.
 */

import { Conn, Disk } from '../../src/state/states.js';
import type { Checker, WorldView } from '../types.js';
import { recordOf, type WriteRecord } from '../ghost.js';
import { type Decision, type Lineage, isSourceState, isSplitBrainDecision, isTargetState } from './lineage.js';

export function resyncDirection(lineage: Lineage): Checker {
  return {
    property: 'resync-direction',
    onOutput(host, output, world) {
      if (output.type !== 'observe' || output.event.event !== 'state') return;
      const { from, to, volume } = output.event;
      if (from.conn > Conn.Connected || to.conn <= Conn.Connected) return;
      const place = lineage.hostPlace(host);
      if (isSourceState(to.conn)) check(place, lineage.peerOf(place), volume, world);
      else if (isTargetState(to.conn)) check(lineage.peerOf(place), place, volume, world);
    },
  };

  function check(source: number, target: number, volume: number, world: WorldView): void {
    const ghost = recordOf(world.ghost);
    const overwritten = lineage.onlyOn(target, source, volume, ghost);
    if (overwritten.length === 0) return;
    const unexcused: WriteRecord[] = [];
    const reason = chosenBy(target, volume, world);
    for (const write of overwritten) {
      // A target that was not synced to its end has no good data: the source's was all there was, whoever wrote it.
      const isOnlyGood = lineage.status(target, volume).disk === Disk.Inconsistent;
      const newest = isOnlyGood || lineage.hosts[source]!.lostCacheAsPrimary.has(volume) || tookOver(source, target, volume);
      const lostWithCache = (write.lostPower & (1 << source)) !== 0 && newest;
      if (reason === undefined && !lostWithCache) unexcused.push(write);
      write.discarded = reason ?? (lostWithCache ? 'lost with the cache of the source, unflushed' : 'overwritten by a resync');
    }
    if (reason !== undefined) world.reached('data discarded by policy or operator');
    if (unexcused.length === 0) return;
    const [first] = unexcused;
    const names = [source, target].map((place) => world.hosts[place]!.name);
    const what = `${unexcused.length} acknowledged writes that ${names[0]} lacks, the first is write ${first!.stamp} at sector ${first!.sector}`;
    const detail = `the resync of volume ${volume} from ${names[0]} to ${names[1]} overwrites ${what}`;
    world.report({ property: 'resync-direction', atUs: world.nowUs, detail });
  }

  /** Who chose that the target's data is thrown away: an operator's order, or a policy after a split brain. */
  function chosenBy(target: number, volume: number, world: WorldView): string | undefined {
    const order = lineage.orderAgainst(target, volume);
    if (order !== undefined) return `operator: ${order}`;
    const decision = lastDecision(volume);
    if (decision === undefined || !isSplitBrainDecision(decision)) return undefined;
    // This one gives up a side that has changed nothing, whoever is Primary: what was written there is no choice of its.
    const { afterSb0Pri, afterSb1Pri } = world.hosts[target]!.config.peers[0]!.net;
    const isAs0Pri = decision.decidedBy === 'after-sb-0pri' || decision.decidedBy === 'after-sb-2pri' || (decision.decidedBy === 'after-sb-1pri' && afterSb1Pri !== 'discard-secondary');
    if (isAs0Pri && afterSb0Pri === 'discard-zero-changes') return undefined;
    return `policy: ${decision.decidedBy}, rule ${decision.rule}`;
  }

  /** The source went on without the target since they were last in sync, and not the other way round. */
  function tookOver(source: number, target: number, volume: number): boolean {
    return lineage.parted[source]!.get(volume) === true && lineage.parted[target]!.get(volume) !== true;
  }

  function lastDecision(volume: number): Decision | undefined {
    return lineage.decisions.findLast((decision) => decision.volume === volume);
  }
}
