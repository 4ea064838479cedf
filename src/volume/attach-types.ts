/** Progress of an attach: which metadata was read so far (volume/attach). */
export interface Attachment {
  /** Reads and writes still in flight in the present step. */
  pending: number;
  step: 'opening' | 'superblock' | 'activity-log' | 'bitmap' | 'apply-al' | 'ready';
  ring: Uint8Array[];
}
