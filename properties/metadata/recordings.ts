/**
 * The recorded metadata images (`captures/metadata`): each a piece of a device and drbdmeta's reading of it.
 */

import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { MetaDisk } from '../../src/config/types.js';

const folder = join(process.env['LOCKSTEP_SHARED'] ?? join(process.cwd(), '../shared'), 'captures/metadata');

export interface MetadataRecording {
  name: string;
  metaDisk: MetaDisk;
  /** drbdmeta's word for it. */
  layout: string;
  sectors: number;
  image: Uint8Array;
  imageSector: number;
  dump: string;
  generation: string;
  /** The same after drbdmeta's apply-al, where that was recorded. */
  applied: { image: Uint8Array; dump: string; generation: string; output: string } | undefined;
}

interface Info {
  layout: string;
  device_size: number;
  images: { file: string; offset: number }[];
  apply_al_output?: string;
}

/** Empty, with a line that says so, in a clone that has no recordings beside it. */
export function metadataRecordings(who: string): MetadataRecording[] {
  if (!existsSync(folder)) {
    console.log(`skipped: ${who}: no recordings at ${folder} (set LOCKSTEP_SHARED)`);
    return [];
  }
  return readdirSync(folder)
    .sort()
    .map((name) => {
      const text = (file: string): string => readFileSync(join(folder, name, file), 'utf8');
      const bytes = (file: string): Uint8Array => new Uint8Array(readFileSync(join(folder, name, file)));
      const info = JSON.parse(text('info.json')) as Info;
      const applied = existsSync(join(folder, name, 'md.after-apply-al.raw'));
      return {
        name,
        metaDisk: info.layout === 'internal' ? { kind: 'internal' } : { kind: 'flexible' },
        layout: info.layout,
        sectors: info.device_size / 512,
        image: bytes('md.raw'),
        imageSector: info.images[0]!.offset / 512,
        dump: text('dump-md.txt'),
        generation: text('get-gi.txt'),
        applied: applied
          ? {
              image: bytes('md.after-apply-al.raw'),
              dump: text('dump-md.after-apply-al.txt'),
              generation: text('get-gi.after-apply-al.txt'),
              output: info.apply_al_output ?? '',
            }
          : undefined,
      };
    });
}
