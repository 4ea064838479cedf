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
  done(data: Uint8Array | undefined): void;
  failed(error: AppError): void;
}

/** The application's side of a driver. Requests are at most `PART_BYTES_MAX`, in whole sectors; bytes are lent until the end of the pass. */
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
}

/** Larger requests are cut into parts. */
export const PART_BYTES_MAX = 1 << 20;
export const ZERO_BYTES_MAX = 64 << 20;
