// Metadata that moves (metadata.md §5): after any number of its writes, whole or torn, what lies on the disk is found, parses, and
// describes no less than before.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import fc from '../fast-check.js';
import { createMdSteps, newSuperblock } from '../../src/metadata/create-md.js';
import { layoutOf, superblockSector, checkGeometry, type Layout } from '../../src/metadata/layout.js';
import { leftBehind, planMove } from '../../src/metadata/move.js';
import { decodeSuperblock, hasFlag, Magic, SuperblockFlag, type Superblock } from '../../src/metadata/superblock.js';

const internal = { kind: 'internal' } as const;

const layoutFor = (sectors: number): Layout => {
  const layout = layoutOf(internal, { dataSectors: sectors, metaSectors: sectors, shared: true });
  if (!layout.ok) throw new Error(layout.refusal.detail);
  return layout.value;
};

/** As an attach looks for it: at the end, or where the device is remembered to have ended. */
const find = (read: (sector: number) => Uint8Array, sectors: number, remembered: number): { superblock: Superblock; layout: Layout; at: number } | undefined => {
  for (const end of [sectors, remembered]) {
    const decoded = decodeSuperblock(read(superblockSector(internal, end)));
    if (!decoded.ok) continue;
    const layout = layoutFor(end);
    if (!checkGeometry(decoded.value, layout)) return { superblock: decoded.value, layout, at: end };
  }
  return undefined;
};

test('a move that ends anywhere leaves metadata that is found: the old one whole, or the new one that marks everything, or the new one whole (B175)', () => {
  fc.assert(
    fc.property(fc.integer({ min: 2048, max: 600_000 }), fc.integer({ min: 8, max: 300_000 }), fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(), (before, more, how, tear) => {
      const [old, layout] = [layoutFor(before), layoutFor(before + more)];
      if (old.superblockSector === layout.superblockSector) return;
      const disk = new Map<number, Uint8Array>();
      const write = (sector: number, data: Uint8Array, keeps: (sector: number) => boolean = () => true): void => {
        for (let at = 0; at < data.length; at += 512) if (keeps(at / 512)) disk.set(sector + at / 512, data.slice(at, at + 512));
      };
      const read = (sector: number, sectors = 8): Uint8Array => {
        const bytes = new Uint8Array(sectors * 512);
        for (let n = 0; n < sectors; n++) bytes.set(disk.get(sector + n) ?? new Uint8Array(512), n * 512);
        return bytes;
      };
      const superblock = { ...newSuperblock(old), magic: Magic.Clean, lastAgreedSectors: old.usableDataSectors, flags: SuperblockFlag.AlClean | SuperblockFlag.Consistent };
      for (const step of createMdSteps(old, superblock, 0)) if (step.step === 'write') write(step.sector, step.data);
      const pages = Math.ceil(Math.ceil(old.usableDataSectors / 8) / 32768);
      const bitmap = new Uint8Array(pages * 4096).map((_, n) => (n * 7) & 0xff);
      write(old.bitmapSector, bitmap);
      const { steps } = planMove(superblock, old, layout, bitmap);
      const done = Math.floor(how * (steps.length + 1));
      steps.slice(0, done).forEach((step) => step.step === 'write' && write(step.sector, step.data));
      const next = steps[done];
      if (next?.step === 'write') write(next.sector, next.data, (sector) => ((tear >> (sector % 31)) & 1) === 1);

      const found = find(read, before + more, before);
      assert.ok(found, `after ${done} of ${steps.length} steps nothing is found`);
      assert.is(found.superblock.lastAgreedSectors, old.usableDataSectors);
      const trusts = !hasFlag(found.superblock, SuperblockFlag.FullSync);
      if (trusts) assert.equal(read(found.layout.bitmapSector, pages * 8), bitmap, `after ${done} of ${steps.length} steps the bitmap counts and is not whole`);
      if (found.at === before || !trusts) return;
      for (const { sector, sectors } of leftBehind(old, layout)) assert.ok(read(sector, sectors).every((byte) => byte === 0), 'the old metadata is zeroed');
    }),
    { seed: 5, numRuns: 300 },
  );
});

test.run();
