/**
 * The system calls that Node lacks: locks on open files, reads that only look into the page cache, holes. Called through koffi, which
 * brings its own compiled part for each platform. Flags and request numbers are those of the Linux headers.
 */

import koffi from 'koffi';

const library = koffi.load(null);
const flock = library.func('int flock(int fd, int operation)');
const preadv2 = library.func('long preadv2(int fd, const void *vector, int count, int64_t offset, int flags)');

const fallocate = library.func('int fallocate(int fd, int mode, int64_t offset, int64_t length)');
const ioctl = library.func('int ioctl(int fd, uint64_t request, void *argument)');

const setsockopt = library.func('int setsockopt(int fd, int level, int name, void *value, int length)');
const lseek = library.func('int64_t lseek(int fd, int64_t offset, int whence)');

const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const LOCK_EXCLUSIVE = 2;
const LOCK_WITHOUT_WAITING = 4;
const READ_WITHOUT_WAITING = 8;
const KEEP_SIZE = 1;
const PUNCH_HOLE = 2;
const ZERO_RANGE = 16;
const BLKDISCARD = 0x1277;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_SNDBUFFORCE = 32;

/**
 * Takes the lock of an open file for whoever holds the descriptor; false when another process (or another open of the same file)
 * has it. The kernel gives it back when the descriptor is closed, however the process ended.
 */
export function tryLock(fd: number): boolean {
  if (flock(fd, LOCK_EXCLUSIVE | LOCK_WITHOUT_WAITING) === 0) return true;
  const reason = koffi.errno();
  if (reason === koffi.os.errno['EWOULDBLOCK'] || reason === koffi.os.errno['EAGAIN']) return false;
  throw new Error(`the file cannot be locked (error ${reason})`);
}

/** Where this memory is. */
export const addressOf = (memory: Uint8Array): bigint => BigInt(koffi.address(memory));

/** One struct iovec: an address and a length. */
const vector = new Uint8Array(16);
const vectorView = new DataView(vector.buffer);

/** What O_DIRECT wants of memory on any device. */
const DIRECT_ALIGNMENT = 4096;

/** Memory that O_DIRECT can read into and write from. */
export function alignedBytes(bytes: number): Uint8Array {
  const memory = new Uint8Array(bytes + DIRECT_ALIGNMENT);
  const at = (DIRECT_ALIGNMENT - Number(addressOf(memory) % BigInt(DIRECT_ALIGNMENT))) % DIRECT_ALIGNMENT;
  return memory.subarray(at, at + bytes);
}

/**
 * Reads what the page cache holds to this address, without ever waiting for a disk. Gives the number of bytes read, 0 at the end of the file, or
 * undefined when the answer is not in the cache, or the filesystem cannot tell.
 */
export function readCached(fd: number, address: bigint, bytes: number, offsetBytes: number): number | undefined {
  vectorView.setBigUint64(0, address, true);
  vectorView.setBigUint64(8, BigInt(bytes), true);
  const read = Number(preadv2(fd, vector, 1, offsetBytes, READ_WITHOUT_WAITING));
  return read < 0 ? undefined : read;
}

/**
 * The stretch that begins at `offsetBytes`: `isHole` where nothing is stored, up to `endBytes`, exclusive, or further. Undefined where
 * the filesystem cannot tell.
 */
export function stretchAt(fd: number, offsetBytes: number): { isHole: boolean; endBytes: number } | undefined {
  const data = Number(lseek(fd, offsetBytes, SEEK_DATA));
  // No data from here to the end.
  if (data < 0) return koffi.errno() === koffi.os.errno['ENXIO'] ? { isHole: true, endBytes: Infinity } : undefined;
  if (data > offsetBytes) return { isHole: true, endBytes: data };
  const hole = Number(lseek(fd, offsetBytes, SEEK_HOLE));
  // Not behind where it began: it was punched meanwhile.
  return hole <= offsetBytes ? undefined : { isHole: false, endBytes: hole };
}

/** Afterwards a range of a file or block device reads as zeros: `hole` gives its space up, `zeroes` keeps it. */
export type Zeroing = 'hole' | 'zeroes';

const modes: Record<Zeroing, number> = { hole: PUNCH_HOLE | KEEP_SIZE, zeroes: ZERO_RANGE | KEEP_SIZE };

/** Does the filesystem do this? Asked of a range behind the end of the file, where it changes nothing. */
export const canZero = (fd: number, how: Zeroing, sizeBytes: number): boolean => fallocate(fd, modes[how], sizeBytes, 4096) === 0;

/** In the thread pool. */
export function zeroRange(fd: number, how: Zeroing, offsetBytes: number, bytes: number, ended: (error: Error | undefined) => void): void {
  fallocate.async(fd, modes[how], offsetBytes, bytes, (error: Error | null, result: number) => ended(failureOf(error, result, 'fallocate')));
}

/** BLKDISCARD of a block device, in the thread pool. */
export function discardRange(fd: number, offsetBytes: number, bytes: number, ended: (error: Error | undefined) => void): void {
  const range = new BigUint64Array([BigInt(offsetBytes), BigInt(bytes)]);
  ioctl.async(fd, BLKDISCARD, range, (error: Error | null, result: number) => ended(failureOf(error, result, 'BLKDISCARD', range)));
}

/** How much the kernel takes of what nobody has read yet. Only root gets more than the system's limit; who gets less waits more often. */
export function widenSendBuffer(fd: number, bytes: number): void {
  const value = new Int32Array([bytes]);
  if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, value, 4) !== 0) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, value, 4);
}

/** The error number belongs to the thread that made the call. `_alive` keeps memory until the call is over. */
function failureOf(error: Error | null, result: number, call: string, _alive?: BigUint64Array): Error | undefined {
  if (error) return error;
  return result === 0 ? undefined : new Error(`${call} failed`);
}
