/**
 * No silent divergence: any block that differs between the two disks is marked in a bitmap, covered by the activity log on
 * disk of a Primary that is down, or in flight (I2, I8); so is one that a disk would not read. Bitmaps of both sides are merged before a resync, so either will do.
 *
 * Only blocks that may have changed are looked at: those written since the last look, and all of them after a crash. A block
 * that differs and is marked is looked at again now and then, since marks can be lost.
 */

import type { Input, Output } from '../../src/contract/index.js';
import { Disk } from '../../src/state/states.js';
import type { Checker, Setup, WorldView } from '../types.js';
import { recordOf } from '../ghost.js';
import { BLOCK_SECTORS, forEachBlock, writtenRange } from './image.js';
import type { Lineage } from './lineage.js';
import { differenceAt, isSettled, Side } from './marks.js';
import type { Planted } from './online-verify.js';
import { volumesOf } from '../spec.js';

/** Marked blocks looked at again at each checkpoint. */
const AGAIN = 32;
const REPORTS_MAX = 3;

interface Suspects {
  /** Written since they were last found equal. */
  fresh: Set<number>;
  /** Different and marked when last looked at. */
  marked: Set<number>;
}

export function noSilentDivergence(setup: Setup, lineage: Lineage, planted: Planted): Checker {
  const volumes = volumesOf(setup.hosts[0]!).map((volume) => volume.volume);
  const suspects = new Map<number, Suspects>(volumes.map((volume) => [volume, { fresh: new Set(), marked: new Set() }]));
  /** Reads and writes of data under way, by host and operation; blocks that a disk would not read and that were not written since, by host and volume. */
  const underWay = setup.hosts.map(() => new Map<number, DataAccess>());
  const unreadable = setup.hosts.map(() => new Map<number, Set<number>>(volumes.map((volume) => [volume, new Set()])));
  let reports = 0;

  const everything = (world: WorldView): void => {
    for (const volume of volumes) {
      const { fresh, marked } = suspects.get(volume)!;
      marked.clear();
      for (const block of recordOf(world.ghost).blocks(volume)) fresh.add(block);
    }
  };

  const look = (volume: number, world: WorldView, all: boolean): void => {
    if (reports >= REPORTS_MAX || !isSettled((host) => lineage.status(host, volume))) return;
    const { fresh, marked } = suspects.get(volume)!;
    if (fresh.size === 0 && marked.size === 0) return;
    const sides = world.hosts.map((host, place) => new Side(host, volume, lineage.hosts[place]!.up));
    const visit = (block: number): void => {
      const isUnreadable = unreadable.some((blocks) => blocks.get(volume)!.has(block));
      const difference = differenceAt(world, volume, block, sides, isUnreadable);
      if (difference !== 'silent') {
        if (difference === 'none' || difference === 'none now') marked.delete(block);
        if (difference === 'none' || difference === 'marked') fresh.delete(block);
        if (difference === 'marked') marked.add(block);
        return;
      }
      fresh.delete(block);
      if (planted.excuses(volume, block, world)) return;
      if (reports++ >= REPORTS_MAX) return;
      const who = world.hosts.map((host, place) => `${host.name} ${sides[place]!.describe(lineage.status(place, volume).conn)}`).join(', ');
      const how = isUnreadable ? 'could not be read' : 'differs';
      const detail = `block ${block} (sector ${block * BLOCK_SECTORS}) of volume ${volume} ${how} and is marked nowhere: ${who}`;
      world.report({ property: 'no-silent-divergence', atUs: world.nowUs, detail });
    };
    for (const block of [...fresh]) visit(block);
    let again = all ? Infinity : AGAIN;
    for (const block of [...marked]) {
      if (again-- <= 0) break;
      // To the end of the line, so that all have their turn.
      marked.delete(block);
      marked.add(block);
      visit(block);
    }
  };

  /** What a disk would not read is equal to nothing, until it is written, or read after all (bug B031). */
  const ended = (host: number, input: Extract<Input, { type: 'disk-done' | 'disk-failed' }>): void => {
    const access = underWay[host]!.get(input.op);
    underWay[host]!.delete(input.op);
    if (access === undefined) return;
    const blocks = unreadable[host]!.get(access.volume)!;
    const { isRead } = access;
    if (access.area === 'meta') {
      // A disk that takes no metadata remembers nothing.
      if (!isRead && input.type === 'disk-failed') blocks.clear();
    } else if (isRead && input.type === 'disk-failed' && input.failure === 'failed') {
      forEachBlock(access, (block) => {
        blocks.add(block);
        suspects.get(access.volume)!.fresh.add(block);
      });
    } else if (blocks.size > 0 && !(isRead && input.type === 'disk-failed')) forEachBlock(access, (block) => blocks.delete(block));
  };

  return {
    property: 'no-silent-divergence',
    onInput(name, input) {
      if (input.type === 'disk-done' || input.type === 'disk-failed') return ended(lineage.hostPlace(name), input);
      const range = writtenRange(input);
      if (range) forEachBlock(range, (block) => suspects.get(range.volume)!.fresh.add(block));
    },
    onOutput(name, output) {
      const host = lineage.hostPlace(name);
      const access = accessOf(output);
      if (access) underWay[host]!.set(access.op, access);
      if (output.type !== 'observe') return;
      // A disk that is given up at once says nothing more.
      if (output.event.event === 'state' && output.event.to.disk === Disk.Failed && abandoned.includes(output.event.reason)) unreadable[host]!.get(output.event.volume)!.clear();
      if (output.event.event === 'out-of-sync') suspects.get(output.event.volume)!.fresh.add(Math.floor(output.event.sector / BLOCK_SECTORS));
    },
    onHost(name, what, world) {
      const host = lineage.hostPlace(name);
      underWay[host]!.clear();
      // It was in memory only.
      for (const blocks of unreadable[host]!.values()) blocks.clear();
      if (what === 'boot') return;
      everything(world);
      for (const volume of volumes) look(volume, world, true);
    },
    onCheckpoint(world) {
      for (const volume of volumes) look(volume, world, false);
    },
    onEnd(world) {
      for (const volume of volumes) look(volume, world, true);
    },
  };
}

interface DataAccess {
  isRead: boolean;
  area: 'data' | 'meta';
  volume: number;
  sector: number;
  sectors: number;
}

const accessOf = (output: Output): (DataAccess & { op: number }) | undefined => {
  if (output.type === 'disk-write') return { ...output, isRead: false, sectors: output.data.length / 512 };
  if (output.type === 'disk-read') return { ...output, isRead: true };
  return output.type === 'disk-write-zeroes' || output.type === 'disk-discard' ? { ...output, isRead: false } : undefined;
};

/** Why a disk is given up without a last word (src/resource/disk.ts). */
const abandoned = ['forced detach', 'disk-timeout'];
