/**
 * What must be so in every world that is reached, whatever led there. The rules are the simulator's (sim/checkers); those that need to remember
 * what has happened are asked along a path instead (path.ts).
 *
 * - durability: a disk that says UpToDate shows every write whose acknowledgement promised it to this disk, or a newer one
 * - no silent divergence: a block that differs is marked somewhere, or a write to it is on its way
 * - convergence: where both say Connected and UpToDate, and nothing is on its way, the disks are equal
 * - metadata sanity: what a host that is down has on its disk can be read
 *
 * That a core throws, and what a disk refuses, is noticed where it happens (world.ts).
 */

import { Conn, Disk, Role } from '../../src/state/states.js';
import { BLOCK_SECTORS, describe, judgeSector } from '../checkers/image.js';
import { isOwed } from '../checkers/lineage.js';
import { differenceAt, isSettled, readStoredMetadata, Side } from '../checkers/marks.js';
import type { GhostRecord } from '../ghost.js';
import type { PropertyName, WorldView } from '../types.js';
import { recordOfEvents } from './ghost.js';
import { stateOf } from './nodes.js';
import { stillView } from './sight.js';
import { places, type Place, type World, type Worlds } from './world.js';

export interface Broken {
  property: PropertyName | 'assertion';
  detail: string;
}

export class Rules {
  /** What was said of this part of a world: most worlds differ in what is on its way only. */
  private readonly judged = new Map<string, Broken | undefined>();
  private readonly records = new Map<number, GhostRecord>();

  constructor(private readonly worlds: Worlds) {}

  check(world: World): Broken | undefined {
    const [one, another] = world.hosts;
    const key = `${one.node} ${one.disk} ${another.node} ${another.disk} ${world.ghost}`;
    if (this.judged.has(key)) return this.judged.get(key);
    const broken = this.judge(world);
    this.judged.set(key, broken);
    return broken;
  }

  private judge(world: World): Broken | undefined {
    const record = this.record(world.ghost);
    const view = stillView(this.worlds, world, record);
    for (const place of places) {
      const broken = this.metadata(world, view, place) ?? this.durability(world, view, record, place);
      if (broken) return broken;
    }
    return this.equality(world, view);
  }

  private record(ghost: number): GhostRecord {
    const known = this.records.get(ghost);
    if (known) return known;
    const record = recordOfEvents(this.worlds.setup, this.worlds.configuration, this.worlds.ghosts.at(ghost));
    this.records.set(ghost, record);
    return record;
  }

  private metadata(world: World, view: WorldView, place: Place): Broken | undefined {
    if (world.hosts[place].node !== 0) return undefined;
    const stored = readStoredMetadata(view.hosts[place]!, 0);
    return typeof stored === 'string' ? { property: 'metadata-sanity', detail: `${view.hosts[place]!.name} is down: ${stored}` } : undefined;
  }

  private durability(world: World, view: WorldView, record: GhostRecord, place: Place): Broken | undefined {
    const { node } = world.hosts[place];
    if (node === 0 || stateOf(this.worlds.nodes.resources(node))?.disk !== Disk.UpToDate) return undefined;
    const host = view.hosts[place]!;
    const bit = 1 << place;
    for (const sector of record.sectors(0)) {
      const bytes = host.disk(0).blockBytes(Math.floor(sector / BLOCK_SECTORS));
      const key = record.keyOf(bytes, (sector % BLOCK_SECTORS) * 512, sector);
      const problem = judgeSector(record, 0, sector, key, (write) => (write.must & bit) !== 0 && isOwed(write), () => true);
      if (problem) return { property: 'durability', detail: describe(problem, 0, sector, host.name, view) };
    }
    return undefined;
  }

  private equality(world: World, view: WorldView): Broken | undefined {
    const states = world.hosts.map(({ node }) => (node === 0 ? undefined : stateOf(this.worlds.nodes.resources(node))));
    const isSettledNow = isSettled((host) => ({ role: states[host]?.role ?? Role.Unknown, conn: states[host]?.conn ?? Conn.StandAlone }));
    const inSync = states.every((state) => state?.conn === Conn.Connected && state.disk === Disk.UpToDate && state.pdsk === Disk.UpToDate);
    const sides = view.hosts.map((host, place) => new Side(host, 0, world.hosts[place]!.node !== 0));
    for (let block = 0; block < this.worlds.configuration.blocks; block++) {
      const difference = differenceAt(view, 0, block, sides);
      const detail = (what: string): string => `block ${block} differs and ${what}: ${view.hosts.map((host, place) => `${host.name} ${sides[place]!.describe(states[place]?.conn ?? 0)}`).join(', ')}`;
      if (difference === 'silent' && isSettledNow) return { property: 'no-silent-divergence', detail: detail('is marked nowhere') };
      if (inSync && (difference === 'silent' || difference === 'marked')) return { property: 'convergence', detail: detail('both sides say Connected and UpToDate') };
    }
    return undefined;
  }
}
