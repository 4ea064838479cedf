/**
 * The files and block devices that this process has open. Each is opened once and locked, so that neither a second daemon nor a
 * second volume writes to it; only metadata slots of one device may share it.
 */

import { closeSync, constants, fdatasync, fdatasyncSync, fstatSync, openSync, readFileSync, readlinkSync, readSync, statfsSync, type Stats } from 'node:fs';
import { dirname, join } from 'node:path';
import { reasonOf } from '../reasons.js';
import { alignedBytes, canZero, tryLock } from '../system.js';

/** Why a device cannot be used, in one line. */
export class DeviceError extends Error {}

/** statfs(2) of a filesystem in memory. */
const TMPFS = 0x01021994;

export interface Device {
  path: string;
  /** Reads, writes, flushes. */
  fd: number;
  /** The same device opened with O_DSYNC: a write is durable when it returns. */
  durableFd: number;
  /** The same past the page cache (O_DIRECT), for data; undefined: not asked for. */
  direct: { fd: number; durableFd: number } | undefined;
  isBlockDevice: boolean;
  /** Its content lives in memory (tmpfs): nothing there waits for a disk. */
  isMemory: boolean;
  flusher: Flusher;
  /** Capacity when it was looked at last; a trailing part of a sector does not count. Nothing is done behind it: a file would grow. */
  sectors: number;
  /** Nobody finds it any more when it is closed. */
  isDeleted: boolean;
  logicalBlockBytes: number;
  /** What a discard may not cut; 0 where the device cannot discard. */
  discardGranularityBytes: number;
  /** Ranges can be zeroed without writing zeros, giving up their space (`canPunch`) or keeping it. */
  canPunch: boolean;
  canZero: boolean;
  /** Device and inode (a file), or device number (a block device). */
  identity: string;
  isShareable: boolean;
  users: number;
}

/** Capacity of an open file or block device. Node cannot ask a block device for its size, sysfs can. Throws a DeviceError for anything else. */
export function sectorsOf(fd: number, path: string): number {
  const stat = fstatSync(fd);
  if (stat.isFile()) return Math.floor(stat.size / 512);
  return Number(readFileSync(join(sysfsFolder(stat, path), 'size'), 'utf8'));
}

/** Looks at the device again: its capacity (0: it is gone), and whether a file still has a name. */
export function lookAgain(device: Device): void {
  try {
    device.sectors = sectorsOf(device.fd, device.path);
    device.isDeleted = fstatSync(device.fd).nlink === 0;
  } catch {
    device.sectors = 0;
  }
}

function sysfsFolder(stat: Stats, path: string): string {
  if (!stat.isBlockDevice()) throw new DeviceError(`'${path}' is neither a block device nor a regular file!`);
  const major = (stat.rdev >>> 8) & 0xfff;
  const minor = (stat.rdev & 0xff) | ((stat.rdev >>> 12) & 0xfff00);
  return `/sys/dev/block/${major}:${minor}`;
}

/** A number of a block device's queue in sysfs, or undefined. A partition has no queue of its own: that of the whole disk counts. */
function queueNumber(stat: Stats, path: string, name: string): number | undefined {
  const folder = sysfsFolder(stat, path);
  for (const queue of [join(folder, 'queue'), join(dirname(join('/sys/dev/block', readlinkSync(folder))), 'queue')]) {
    try {
      return Number(readFileSync(join(queue, name), 'utf8'));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  return undefined;
}

/** Filesystems give up whole blocks. */
const FILE_GRANULE = 4096;

function abilitiesOf(fd: number, stat: Stats, path: string): Pick<Device, 'logicalBlockBytes' | 'discardGranularityBytes' | 'canPunch' | 'canZero'> {
  if (stat.isFile()) {
    const canPunch = canZero(fd, 'hole', stat.size);
    return { logicalBlockBytes: 512, discardGranularityBytes: canPunch ? FILE_GRANULE : 0, canPunch, canZero: canZero(fd, 'zeroes', stat.size) };
  }
  const canDiscard = (queueNumber(stat, path, 'discard_max_bytes') ?? 0) > 0;
  return {
    logicalBlockBytes: queueNumber(stat, path, 'logical_block_size') ?? 512,
    discardGranularityBytes: canDiscard ? (queueNumber(stat, path, 'discard_granularity') ?? 0) : 0,
    // Giving up space while zeroing is refused by many; zeroing never is, the kernel writes where it must.
    canPunch: false,
    canZero: true,
  };
}

/**
 * Flushes of one device. Those asked for while one is running are all served by the next one. A flush that failed is the last one:
 * the kernel tells an error once and forgets the pages, so that the next flush would say that all is well.
 */
export class Flusher {
  private waiting: ((error: Error | undefined) => void)[] = [];
  private isRunning = false;
  private failure: Error | undefined = undefined;

  constructor(
    private readonly fd: number,
    private readonly sync: (fd: number, ended: (error: Error | null) => void) => void,
  ) {}

  request(done: (error: Error | undefined) => void): void {
    this.waiting.push(done);
    if (!this.isRunning) this.run();
  }

  private run(): void {
    const served = this.waiting;
    this.waiting = [];
    this.isRunning = true;
    const ended = (error: Error | null): void => {
      this.isRunning = false;
      this.failure ??= error ?? undefined;
      for (const done of served) done(this.failure);
      if (this.waiting.length > 0 && !this.isRunning) this.run();
    };
    if (this.failure) setImmediate(ended, this.failure);
    else this.sync(this.fd, ended);
  }
}

/** For what waits for no disk. */
function flushNow(fd: number, ended: (error: Error | null) => void): void {
  let failure: Error | null = null;
  try {
    fdatasyncSync(fd);
  } catch (error) {
    failure = error as Error;
  }
  ended(failure);
}

/** Opens past the page cache, and sees whether single sectors can be had that way. */
function openDirect(path: string): { fd: number; durableFd: number } {
  const flags = constants.O_RDWR | constants.O_DIRECT;
  const opened: number[] = [];
  try {
    opened.push(openSync(path, flags), openSync(path, flags | constants.O_DSYNC));
    const sector = alignedBytes(512);
    for (const offset of [0, 512]) readSync(opened[0]!, sector, 0, 512, offset);
    return { fd: opened[0]!, durableFd: opened[1]! };
  } catch (error) {
    for (const fd of opened) closeSync(fd);
    const why = (error as NodeJS.ErrnoException).code !== 'EINVAL' ? reasonOf(error) : opened.length < 2 ? 'its filesystem has no such way' : 'it has no sectors of 512 bytes';
    throw new DeviceError(`${path} cannot be used past the page cache (--direct-io): ${why}`);
  }
}

export class DeviceTable {
  private readonly open = new Map<string, Device>();

  /** `isDirect`: data past the page cache. Metadata is written in few pieces that are made durable one by one; it gains nothing there. */
  constructor(private readonly isDirect = false) {}

  /** Opens and locks; `isShareable` for a device of numbered metadata slots, `holdsData` for one with data. Throws a DeviceError with the reason. */
  acquire(path: string, isShareable: boolean, holdsData: boolean): Device {
    let fd: number;
    try {
      // On a block device O_EXCL fails while it is mounted, or part of something else.
      fd = openSync(path, constants.O_RDWR | constants.O_EXCL);
    } catch (error) {
      const known = (error as NodeJS.ErrnoException).code === 'EBUSY' ? this.sharedByPath(path, isShareable) : undefined;
      if (known) return known;
      throw new DeviceError(`open(${path}) failed: ${reasonOf(error)}`);
    }
    try {
      const stat = fstatSync(fd);
      const identity = stat.isBlockDevice() ? `block ${stat.rdev}` : `file ${stat.dev}:${stat.ino}`;
      const known = this.open.get(identity);
      if (known) {
        if (!known.isShareable || !isShareable) throw new DeviceError(`${path} is in use by another volume of this daemon (as ${known.path})`);
        closeSync(fd);
        known.users++;
        return known;
      }
      const sectors = sectorsOf(fd, path);
      if (!tryLock(fd)) throw new DeviceError(`${path} is in use by another process`);
      const isMemory = stat.isFile() && statfsSync(path).type === TMPFS;
      const device: Device = {
        path,
        fd,
        // The lock above is ours already, and a second exclusive open of a block device would fail.
        durableFd: openSync(path, constants.O_RDWR | constants.O_DSYNC),
        direct: this.isDirect && holdsData ? openDirect(path) : undefined,
        isBlockDevice: stat.isBlockDevice(),
        isMemory,
        flusher: new Flusher(fd, isMemory ? flushNow : fdatasync),
        sectors,
        isDeleted: false,
        ...abilitiesOf(fd, stat, path),
        identity,
        isShareable,
        users: 1,
      };
      this.open.set(identity, device);
      return device;
    } catch (error) {
      closeSync(fd);
      throw error instanceof DeviceError ? error : new DeviceError(`${path}: ${reasonOf(error)}`);
    }
  }

  release(device: Device): void {
    if (--device.users > 0) return;
    this.open.delete(device.identity);
    if (device.direct) for (const fd of [device.direct.fd, device.direct.durableFd]) closeSync(fd);
    closeSync(device.durableFd);
    closeSync(device.fd);
  }

  /** A block device that we hold ourselves refuses a second exclusive open. */
  private sharedByPath(path: string, isShareable: boolean): Device | undefined {
    for (const device of this.open.values()) {
      if (device.path !== path || !device.isShareable || !isShareable) continue;
      device.users++;
      return device;
    }
    return undefined;
  }
}
