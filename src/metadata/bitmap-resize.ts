/** The marks of a device that gets another size (metadata.md §5). */

import { createBitmap, nextRun, setBits, type Bitmap } from './bitmap.js';

/** The same marks on `sectors`; blocks that are new, the old last one too if it was partial, are out of sync unless they are assumed clean. */
export const resizedBitmap = (old: Bitmap, sectors: number, assumeClean: boolean): Bitmap => {
  const bitmap = createBitmap(sectors);
  const common = Math.min(old.bits, bitmap.bits);
  for (let bit = 0; bit < common; ) {
    const run = nextRun(old, bit);
    const bits = Math.min(run.bits, common - bit);
    if (run.set) setBits(bitmap, bit, bits);
    bit += bits;
  }
  const firstNew = Math.floor(old.sectors / 8);
  if (sectors > old.sectors && !assumeClean) setBits(bitmap, firstNew, bitmap.bits - firstNew);
  return bitmap;
};
