/** What the NBD server knows of the volumes behind it. */

/** A volume that a client asked for by name. */
export interface Export {
  resource: string;
  volume: number;
  name: string;
  description: string;
  sizeBytes: number;
}

/** Why it cannot be opened now. */
export interface Refusal {
  isUnknown: boolean;
  reason: string;
}

export type AppError = 'EIO' | 'EROFS' | 'ENXIO' | 'EINVAL';

/** Ends exactly once; `data` of a read. */
export interface Completion {
  /** `data`, of a read, lasts (arena.ts), or is nobody else's. */
  done(data: Uint8Array | undefined): void;
  failed(error: AppError): void;
}

/** What clients may ask of ranges: what a read would find without reading, and which blocks the peer lacks. */
export type StatusContext = 'base:allocation' | 'lockstep:out-of-sync';

/** A piece of a range; `flags` are the context's. */
export interface Extent {
  bytes: number;
  flags: number;
}

/** Of base:allocation: nothing is stored there; it reads as zeros. */
export const AllocationFlag = { Hole: 1, Zero: 2 } as const;
/** Of lockstep:out-of-sync: the peer does not have this. */
export const OUT_OF_SYNC = 1;

/** The application's side of a driver. Requests are at most `PART_BYTES_MAX`, in whole sectors; bytes are lent until the end of the pass, or last. */
export interface Volumes {
  list(): Export[];
  find(name: string): Export | Refusal;
  opened(where: Export, who: string): void;
  closed(where: Export, who: string): void;
  read(where: Export, offsetBytes: number, bytes: number, completion: Completion): void;
  write(where: Export, offsetBytes: number, data: Uint8Array, fua: boolean, completion: Completion): void;
  /** Afterwards the range reads as zeros; at most `ZERO_BYTES_MAX`. */
  writeZeroes(where: Export, offsetBytes: number, bytes: number, mayUnmap: boolean, completion: Completion): void;
  discard(where: Export, offsetBytes: number, bytes: number, completion: Completion): void;
  flush(where: Export, completion: Completion): void;
  /** Pieces from the beginning of the range on, at least one, at most so many; they may end before the range does. */
  status(where: Export, context: StatusContext, offsetBytes: number, bytes: number, extentsMax: number): Extent[];
  /** Zeros cost less here than to write them. */
  zeroesFast(where: Export): boolean;
}

/** Larger requests are cut into parts. */
export const PART_BYTES_MAX = 1 << 20;
export const ZERO_BYTES_MAX = 64 << 20;
