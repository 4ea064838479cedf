/** A world as checkers see it: what sim/types.ts calls views, on the numbers of an explored world. */

import type { Node } from '../../src/contract/index.js';
import type { DiskView, GhostView, HostView, WorldView } from '../types.js';
import { equalBytes } from './contents.js';
import { contentAt, readDisk, writtenBlocks } from './disk.js';
import { places, type HostState, type Place, type World, type Worlds } from './world.js';

export function hostView(worlds: Worlds, place: Place, host: HostState, node: Node | undefined): HostView {
  const spec = worlds.setup.hosts[place]!;
  const view = diskView(worlds, place, host.disk);
  return { name: spec.name, spec, config: spec.config, state: host.node === 0 ? 'down' : 'running', node, disk: () => view };
}

function diskView(worlds: Worlds, place: Place, number: number): DiskView {
  const { contents } = worlds;
  const disk = worlds.disks.at(number);
  const { dataSectors, metaSectors } = worlds.setup.hosts[place]!.disks[0]!;
  const area = (name: 'data' | 'meta'): 0 | 1 => (name === 'data' ? 0 : 1);
  const read: DiskView['read'] = (name, sector, sectors) => readDisk(disk, contents, area(name), sector, sectors);
  return {
    dataSectors,
    metaSectors: metaSectors!,
    rememberedSectors: metaSectors!,
    read,
    isZero: (name, sector, sectors) => equalBytes(read(name, sector, sectors), new Uint8Array(sectors * 512)),
    readDurable: (name, sector, sectors) => readDisk(disk, contents, area(name), sector, sectors, true),
    blockId: (block) => contentAt(disk, 0, block),
    blockBytes: (block) => contents.bytes(contentAt(disk, 0, block)),
    writtenBlocks: () => writtenBlocks(disk),
  };
}

/** A node that can be looked at and nothing else. */
export function stillNode(worlds: Worlds, place: Place, number: number): Node | undefined {
  if (number === 0) return undefined;
  const refuse = (): never => {
    throw new Error('who judges a world changes nothing in it');
  };
  return {
    name: worlds.names[place],
    resources: () => worlds.nodes.resources(number),
    handle: refuse,
    outputs: refuse,
    deadline: refuse,
    snapshot: () => worlds.nodes.snapshot(number),
    holds: refuse,
    fingerprint: refuse,
  };
}

/** One moment, for rules that need no memory. */
export function stillView(worlds: Worlds, world: World, ghost: GhostView): WorldView {
  const hosts = places.map((place) => hostView(worlds, place, world.hosts[place], stillNode(worlds, place, world.hosts[place].node)));
  return {
    nowUs: 0,
    phase: 'storm',
    setup: worlds.setup,
    hosts,
    ghost,
    host: (name) => hosts.find((host) => host.name === name)!,
    disturbed: () => true,
    report: () => undefined,
    reached: () => undefined,
  };
}
