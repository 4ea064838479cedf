/**
 * A flush is answered when all that was answered before it is on stable storage: on this node's disk, and with protocol C on the peer's, whose
 * barrier is acknowledged by then (design: the table of guarantees). Losing power shows it only when both lose it at that moment; here the
 * disks' own words are followed: what they had done, and what they had flushed.
 */

import type { Input, Output } from '../../src/contract/index.js';
import { Role } from '../../src/state/states.js';
import type { Checker, Setup, WorldView } from '../types.js';
import { volumesOf } from '../spec.js';
import { forEachBlock, writtenRange } from './image.js';
import { type Lineage, saysInSync } from './lineage.js';

/** Data operations of one disk, in the order in which they ended. */
interface Cache {
  ended: number;
  /** When each block that an application waits for was last written, unless with FUA. */
  written: Map<number, number>;
  /** Up to here everything is stable. */
  stable: number;
  /** The latest write that the application has an answer for. */
  owed: number;
}

/** A write on its way to a disk, with the blocks that it changes; `flushes`: what had ended when a flush began. */
interface Operation {
  volume: number;
  changes?: { sector: number; sectors: number; fua: boolean };
  flushes?: number;
}

export function flushed(setup: Setup, lineage: Lineage): Checker {
  const volumes = volumesOf(setup.hosts[0]!).map(({ volume }) => volume);
  const caches = setup.hosts.map(() => new Map(volumes.map((volume): [number, Cache] => [volume, { ended: 0, written: new Map(), stable: 0, owed: 0 }])));
  const operations = setup.hosts.map(() => new Map<number, Operation>());
  /** Blocks of writes that are not answered, with how many there are: a resync writes others by the million. */
  const awaited = new Map(volumes.map((volume): [number, Map<number, number>] => [volume, new Map()]));
  /** What each disk must have flushed before an application's flush is answered, by its id; none for a disk that is not in sync. */
  const flushes = new Map<number, { volume: number; needs: (number | undefined)[] }>();
  const isShared = (host: number, volume: number): boolean => setup.hosts[host]!.disks.find((one) => one.volume === volume)?.metaSectors === undefined;
  const isPair = (volume: number): boolean => [0, 1].every((host) => saysInSync(lineage.status(host, volume)));
  const isFlushed = (volume: number, world: WorldView): boolean =>
    world.hosts.every(({ config }) => {
      const disk = config.volumes.find((one) => one.volume === volume)?.disk;
      return disk?.diskFlushes === true && config.peers.every(({ net }) => net.protocol === 'C' && !net.allowTwoPrimaries);
    });

  const began = (host: number, output: Extract<Output, { op: number }>): void => {
    const cache = caches[host]!.get(output.volume);
    if (cache === undefined) return;
    const reaches = output.type !== 'disk-read' && (output.area === 'data' || isShared(host, output.volume));
    const operation: Operation = { volume: output.volume };
    if (reaches && (output.type === 'disk-flush' || (output.type === 'disk-write' && output.preflush))) operation.flushes = cache.ended;
    if (output.type === 'disk-write' && output.area === 'data') operation.changes = { sector: output.sector, sectors: output.data.length / 512, fua: output.fua };
    else if (output.type === 'disk-write-zeroes' && output.area === 'data') operation.changes = { sector: output.sector, sectors: output.sectors, fua: false };
    if (operation.changes !== undefined || operation.flushes !== undefined) operations[host]!.set(output.op, operation);
  };
  const ended = (host: number, input: Extract<Input, { type: 'disk-done' | 'disk-failed' }>): void => {
    const operation = operations[host]!.get(input.op);
    operations[host]!.delete(input.op);
    if (operation === undefined) return;
    const cache = caches[host]!.get(operation.volume)!;
    // Such a disk is not good any more, and the answer is the peer's, whichever is told first (disk-errors 27).
    if (input.type === 'disk-failed') {
      cache.stable = cache.ended;
      return;
    }
    if (operation.flushes !== undefined) cache.stable = Math.max(cache.stable, operation.flushes);
    if (operation.changes === undefined) return;
    cache.ended += 1;
    const { fua } = operation.changes;
    const blocks = awaited.get(operation.volume)!;
    if (blocks.size === 0) return;
    forEachBlock(operation.changes, (block) => {
      if (fua) cache.written.delete(block);
      else if (blocks.has(block)) cache.written.set(block, cache.ended);
    });
  };

  return {
    property: 'durability',
    onInput(name, input) {
      const host = lineage.hostPlace(name);
      if (input.type === 'disk-done' || input.type === 'disk-failed') return ended(host, input);
      const range = writtenRange(input);
      if (range) {
        const blocks = awaited.get(range.volume)!;
        forEachBlock(range, (block) => blocks.set(block, (blocks.get(block) ?? 0) + 1));
      }
      if (input.type !== 'app-flush') return;
      const needs = caches.map((of, place) => (place === host || isPair(input.volume) ? of.get(input.volume)!.owed : undefined));
      flushes.set(input.id, { volume: input.volume, needs });
    },
    onOutput(name, output) {
      if ('op' in output) began(lineage.hostPlace(name), output);
    },
    onCompletion({ host: name, volume, operation, id, sector, sectors, ok }, world) {
      const host = lineage.hostPlace(name);
      if (operation === 'write') {
        const blocks = awaited.get(volume)!;
        forEachBlock({ sector, sectors }, (block) => {
          const others = (blocks.get(block) ?? 1) - 1;
          if (others > 0) blocks.set(block, others);
          else blocks.delete(block);
          for (const of of caches) {
            const cache = of.get(volume)!;
            if (ok) cache.owed = Math.max(cache.owed, cache.written.get(block) ?? 0);
            if (others <= 0) cache.written.delete(block);
          }
        });
      }
      const flush = flushes.get(id);
      flushes.delete(id);
      if (operation !== 'flush' || flush === undefined || !ok || !isFlushed(volume, world)) return;
      for (const [place, need] of flush.needs.entries()) {
        const isAsked = place === host ? saysInSync(lineage.status(host, volume)) : isPair(volume);
        if (!isAsked || need === undefined || caches[place]!.get(volume)!.stable >= need || lineage.status(host, volume).role !== Role.Primary) continue;
        const detail = `${name} answers flush ${id} of volume ${volume}, and what was answered before it lies in the cache of ${world.hosts[place]!.name}'s disk`;
        world.report({ property: 'durability', atUs: world.nowUs, detail });
      }
    },
    onHost(name) {
      const host = lineage.hostPlace(name);
      operations[host]!.clear();
      for (const blocks of awaited.values()) blocks.clear();
      for (const of of caches) for (const cache of of.values()) cache.written.clear();
      // Whatever was lost with the cache is somebody else's to judge.
      for (const cache of caches[host]!.values()) cache.owed = 0;
    },
  };
}
