/** Progress of an attach: what was read so far, and what of the apply-al plan is still to be done (volume/attach). */

import type { MetadataStep } from '../metadata/apply-al.js';

export interface Attachment {
  step: 'superblock' | 'activity-log' | 'bitmap' | 'apply-al';
  /** Operations of the present step that are in flight. */
  pending: number;
  /** The whole ring, empty when the metadata was clean. */
  ring: Uint8Array;
  plan: MetadataStep[];
  planAt: number;
}
