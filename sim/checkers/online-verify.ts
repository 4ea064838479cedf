/**
 * Online verify: what it calls different is different, and what lay in its way and differs, it marks on both sides. A difference that
 * a fault planted is nobody's fault until a verify has found it; from then on it must stay marked until a resync has made it good.
 */

import { Conn, Role } from '../../src/state/states.js';
import type { Observation } from '../../src/contract/index.js';
import type { Checker, Setup, WorldView } from '../types.js';
import { PLANTED, recordOf } from '../ghost.js';
import type { Lineage } from './lineage.js';
import { isEqual, isInFlight, isMarkedInMemory, Side, volumeView } from './marks.js';
import { volumesOf } from '../spec.js';

const BLOCK_SECTORS = 8;
const REPORTS_MAX = 3;
/** When a verify has ended, its marks are written to disk; they are there after this time, and a crash takes them away no more. */
const STORED_US = 10_000_000;

/** A block that a verify found: when it did, and when it ended. */
interface Found {
  foundUs: number;
  endedUs: number;
}

/** What differed when a verify began, by block: content ids on both hosts. */
type Differences = Map<number, readonly [number, number]>;

/** The account of planted differences that the other checkers ask. */
export class Planted {
  readonly found = new Map<number, Map<number, Found>>();

  constructor(setup: Setup) {
    for (const { volume } of volumesOf(setup.hosts[0]!)) this.found.set(volume, new Map());
  }

  /** Does a disk hold here what a fault put there? */
  isPlanted(volume: number, block: number, world: WorldView): boolean {
    const ghost = recordOf(world.ghost);
    return world.hosts.some((host) => {
      const bytes = host.disk(volume).blockBytes(block);
      for (let index = 0; index < BLOCK_SECTORS; index++) if (ghost.keyOf(bytes, index * 512, block * BLOCK_SECTORS + index) === PLANTED) return true;
      return false;
    });
  }

  /** The same, and nobody could know of it, now or when something began. */
  excuses(volume: number, block: number, world: WorldView, beganUs = Infinity): boolean {
    const found = this.found.get(volume)!.get(block);
    return (found === undefined || found.foundUs >= beganUs) && this.isPlanted(volume, block, world);
  }
}

export function onlineVerify(setup: Setup, lineage: Lineage, planted: Planted): Checker {
  const differedAtStart = new Map<number, Differences>();
  /** When an operation last failed on a host: what it cannot read it calls different. */
  const failedUs = setup.hosts.map(() => -1);
  /** Of commands that give a disk up: the volume, by host and command. */
  const orders = new Map<string, number>();
  let reports = 0;
  const report = (detail: string, world: WorldView): void => {
    if (reports++ < REPORTS_MAX) world.report({ property: 'online-verify', atUs: world.nowUs, detail });
  };
  const ids = (world: WorldView, volume: number, block: number): readonly [number, number] =>
    [world.hosts[0]!.disk(volume).blockId(block), world.hosts[1]!.disk(volume).blockId(block)];
  const inFlight = (world: WorldView, volume: number, block: number): boolean => world.hosts.some((host) => isInFlight(volumeView(host, volume), block));

  const foundDifference = (host: number, event: Extract<Observation, { event: 'out-of-sync' }>, world: WorldView): void => {
    const { volume, sector } = event;
    const block = Math.floor(sector / BLOCK_SECTORS);
    // The source has just read its block, and writes to it wait. The target marks later, or what it could not read itself; and only if it is
    // Primary, its block may have changed since it answered.
    const peer = lineage.peerOf(host);
    const peerBitmap = volumeView(world.hosts[peer]!, volume)?.peers[0]?.bitmap;
    const mayHaveChanged = lineage.status(peer, volume).role === Role.Primary && inFlight(world, volume, block);
    const unreadable = failedUs[host] === world.nowUs || (peerBitmap !== undefined && isMarkedInMemory(peerBitmap, block));
    if (isEqual(world, volume, block) && lineage.status(host, volume).conn === Conn.VerifyS && !unreadable && !mayHaveChanged) {
      report(`${world.hosts[host]!.name} calls block ${block} (sector ${sector}) of volume ${volume} different, and it is equal on both disks`, world);
    }
    if (!planted.found.get(volume)!.has(block)) planted.found.get(volume)!.set(block, { foundUs: world.nowUs, endedUs: Infinity });
    world.reached('difference found');
  };

  /** An operator has given a disk up while the two were apart, and was told that it is done: all of it is made anew, whatever happens then. */
  const givenUp = (volume: number, world: WorldView): void => {
    for (const block of differences(volume, world).keys()) {
      if (planted.isPlanted(volume, block, world)) planted.found.get(volume)!.set(block, { foundUs: world.nowUs, endedUs: -Infinity });
    }
  };

  const verifies = (host: number, event: Extract<Observation, { event: 'verify' }>, world: WorldView): void => {
    const { volume, what, side, startSector, reachedSector } = event;
    if (what === 'started') {
      if (side === 'source') differedAtStart.set(volume, differences(volume, world));
      return;
    }
    world.reached(what === 'finished' ? 'verify finished' : 'verify interrupted');
    if (what === 'finished') {
      for (const found of planted.found.get(volume)!.values()) found.endedUs = Math.min(found.endedUs, world.nowUs);
    } else if (side === 'target') {
      // What it was not told of yet.
      return;
    }
    const bitmap = volumeView(world.hosts[host]!, volume)?.peers[0]?.bitmap;
    for (const [block, [a, b]] of differedAtStart.get(volume) ?? []) {
      const sector = block * BLOCK_SECTORS;
      const [nowA, nowB] = ids(world, volume, block);
      // Ids are never used again: the same ones, and nothing was written in between.
      if (sector < startSector || sector >= reachedSector || a !== nowA || b !== nowB || !bitmap || isMarkedInMemory(bitmap, block)) continue;
      report(`a verify of volume ${volume} from sector ${startSector} to ${reachedSector} leaves block ${block}, which differs, unmarked on ${world.hosts[host]!.name}`, world);
    }
  };

  const differences = (volume: number, world: WorldView): Differences => {
    const found: Differences = new Map();
    for (const host of world.hosts) {
      for (const block of host.disk(volume).writtenBlocks()) {
        const pair = ids(world, volume, block);
        if (!isEqual(world, volume, block) && !inFlight(world, volume, block)) found.set(block, pair);
      }
    }
    return found;
  };

  return {
    property: 'online-verify',
    onInput(host, input, world) {
      if (input.type === 'disk-failed') failedUs[lineage.hostPlace(host)] = world.nowUs;
      if (input.type === 'command' && (input.command.verb === 'invalidate' || input.command.verb === 'invalidate-remote')) orders.set(`${host} ${input.id}`, input.command.volume);
    },
    onOutput(host, output, world) {
      if (output.type === 'reply') {
        const volume = orders.get(`${host} ${output.command}`);
        if (volume !== undefined && output.reply.ok && lineage.status(lineage.hostPlace(host), volume).conn === Conn.StandAlone) givenUp(volume, world);
      }
      if (output.type !== 'observe') return;
      const { event } = output;
      if (event.event === 'out-of-sync') foundDifference(lineage.hostPlace(host), event, world);
      else if (event.event === 'verify') verifies(lineage.hostPlace(host), event, world);
    },
    onHost(_host, what, world) {
      if (what === 'boot') return;
      // Marks that were in memory only: nobody knows of the block any more.
      for (const [volume, blocks] of planted.found) {
        if (blocks.size === 0) continue;
        const sides = world.hosts.map((host, place) => new Side(host, volume, lineage.hosts[place]!.up));
        for (const [block, { endedUs }] of blocks) {
          if (world.nowUs - endedUs > STORED_US || sides.some((side) => side.marks(block))) continue;
          blocks.delete(block);
          world.reached('difference forgotten');
        }
      }
    },
    onCheckpoint(world) {
      for (const [volume, blocks] of planted.found) {
        for (const block of blocks.keys()) {
          const [a, b] = ids(world, volume, block);
          if (a !== b) continue;
          blocks.delete(block);
          world.reached('difference repaired');
        }
      }
    },
  };
}
