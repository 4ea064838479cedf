/** Progress of an attach: what was read so far, and what of the apply-al plan is still to be done (volume/attach). */

import type { MetadataStep } from '../metadata/apply-al.js';
import type { Layout } from '../metadata/layout.js';

export interface Attachment {
  step: 'superblock' | 'activity-log' | 'bitmap' | 'apply-al' | 'move';
  /** Size of the device when its metadata was placed, as the driver remembers it; 0: not known. */
  rememberedSectors: number;
  /** The metadata is looked for where a device of this size ends. */
  endSectors: number;
  /** The metadata was found where the device ended before, and is to be moved here. */
  moveTo: Layout | undefined;
  /** Operations of the present step that are in flight. */
  pending: number;
  /** The whole ring, empty when the metadata was clean. */
  ring: Uint8Array;
  plan: MetadataStep[];
  planAt: number;
}
