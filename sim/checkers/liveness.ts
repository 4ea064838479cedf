/**
 * Liveness: once faults stop and links heal, every request completes and every replica is UpToDate and connected, without
 * an operator, unless the state truly needs one (I10, I11). An excuse is believed only with its proof: for a split brain, that
 * a rule said so and that the ghost knows both sides to have been Primary without each other.
 */

import { Conn, Disk, connName, diskName } from '../../src/state/states.js';
import type { Checker, Setup, WorldView } from '../types.js';
import { recordOf } from '../ghost.js';
import { type Lineage, isSplitBrainDecision } from './lineage.js';

/** A request may be this young when the run ends, if the application still works. */
const REQUEST_AGE_US = 10_000_000;

export function liveness(setup: Setup, lineage: Lineage): Checker {
  const report = (detail: string, world: WorldView): void => world.report({ property: 'liveness', atUs: world.nowUs, detail });

  return {
    property: 'liveness',
    onEnd(world) {
      const excuse = setup.hosts[0]!.config.volumes.map(({ volume }) => splitBrainExcuse(volume)).find((one) => one !== undefined);
      if (excuse !== undefined) world.reached('ended in split brain');
      for (const [place, host] of world.hosts.entries()) {
        if (host.state !== 'running') report(`${host.name} is ${host.state} in the end`, world);
        for (const { volume } of setup.hosts[place]!.config.volumes) {
          const status = lineage.status(place, volume);
          if (status.disk !== Disk.UpToDate && !(excuse !== undefined && status.disk >= Disk.Outdated)) {
            report(`volume ${volume} on ${host.name} is ${diskName(status.disk as Disk)} in the end, not UpToDate${why(host.name, world)}`, world);
          }
          if (status.conn !== Conn.Connected && excuse === undefined) {
            report(`volume ${volume} on ${host.name} is ${connName(status.conn as Conn)} in the end, not Connected${why(host.name, world)}`, world);
          }
        }
      }
      const ghost = recordOf(world.ghost);
      const stuck = [...ghost.pending.values()].filter((request) => world.nowUs - request.issuedUs > REQUEST_AGE_US);
      const [oldest] = stuck;
      if (oldest === undefined) return;
      const host = world.hosts[oldest.host]!;
      const age = ((world.nowUs - oldest.issuedUs) / 1_000_000).toFixed(1);
      report(`${stuck.length} requests hang, the oldest is a ${oldest.operation} on ${host.name} issued ${age} s ago${why(host.name, world)}`, world);
    },
  };

  /** The rule that left the nodes apart for good, when the ghost agrees that they parted. */
  function splitBrainExcuse(volume: number): string | undefined {
    if (!setup.expectations.splitBrainPossible) return undefined;
    const decision = lineage.decisions.findLast((one) => one.volume === volume && isSplitBrainDecision(one));
    const parted = [0, 1].every((host) => lineage.parted[host]!.get(volume) === true);
    const alone = [0, 1].some((host) => lineage.status(host, volume).conn === Conn.StandAlone);
    return decision !== undefined && parted && alone ? `${decision.decision}, rule ${decision.rule}` : undefined;
  }

  function why(host: string, world: WorldView): string {
    const frozen = world.host(host).node?.resources()[0]?.frozenReason;
    return frozen === undefined ? '' : ` (I/O waits: ${frozen})`;
  }
}
