/**
 * The file or block device that lockmeta works on: its size, aligned reads, and the ordered writes of a plan with an fsync
 * at each flush point.
 */

import { closeSync, constants, fsyncSync, openSync, readSync, writeSync } from 'node:fs';
import type { MetadataStep } from '../src/metadata/apply-al.js';
import { DeviceError, sectorsOf } from './disk/devices.js';
import { tryLock } from './system.js';
import { reasonOf } from './reasons.js';

/** Ends the tool with this exit code (metadata.md §9) after the message on stderr. */
export class LockmetaError extends Error {
  constructor(
    readonly exitCode: number,
    message: string,
  ) {
    super(message);
  }
}

export const EXIT_NO_METADATA = 1;
export const EXIT_INCONSISTENT = 5;
export const EXIT_IMPOSSIBLE = 10;
export const EXIT_USAGE = 20;
export const EXIT_WOULD_DESTROY = 40;

export interface MetaDevice {
  fd: number;
  path: string;
  /** Capacity; a trailing part of a sector does not count. */
  sectors: number;
}

/**
 * Opens a regular file or a block device. A block device is opened exclusively, so that nothing that is mounted or attached is
 * touched; `busy` is asked whether to go on when that fails.
 */
export function openDevice(path: string, writable: boolean, busy: (reason: string) => boolean): MetaDevice {
  const flags = writable ? constants.O_RDWR : constants.O_RDONLY;
  let fd: number;
  try {
    fd = openSync(path, flags | constants.O_EXCL);
  } catch (error) {
    const reason = `open(${path}) failed: ${reasonOf(error)}`;
    if (codeOf(error) !== 'EBUSY' || !busy(reason)) throw new LockmetaError(EXIT_USAGE, reason);
    fd = openSync(path, flags);
  }
  try {
    // A daemon that serves this disk holds its lock; nothing forces that.
    if (!tryLock(fd)) throw new LockmetaError(EXIT_USAGE, `${path} is in use by another process`);
    return { fd, path, sectors: sectorsOf(fd, path) };
  } catch (error) {
    closeSync(fd);
    throw error instanceof DeviceError ? new LockmetaError(EXIT_USAGE, error.message) : error;
  }
}

export const closeDevice = (device: MetaDevice): void => closeSync(device.fd);

/** Reads exactly `bytes` bytes; throws when the device does not hold them. */
export function readAt(device: MetaDevice, sector: number, bytes: number): Uint8Array {
  const buffer = new Uint8Array(bytes);
  let done = 0;
  while (done < bytes) {
    const read = attempt(device, 'read', () => readSync(device.fd, buffer, done, bytes - done, sector * 512 + done));
    if (read === 0) throw new LockmetaError(EXIT_USAGE, `${device.path}: unexpected end at byte ${sector * 512 + done}`);
    done += read;
  }
  return buffer;
}

/** Does a plan: each write in full, each flush as an fsync. Stops at the first error. */
export function runSteps(device: MetaDevice, steps: readonly MetadataStep[]): void {
  for (const step of steps) {
    if (step.step === 'flush') {
      attempt(device, 'fsync', () => fsyncSync(device.fd));
      continue;
    }
    let done = 0;
    while (done < step.data.length) {
      const { data, sector } = step;
      done += attempt(device, 'write', () => writeSync(device.fd, data, done, data.length - done, sector * 512 + done));
    }
  }
}

function attempt<T>(device: MetaDevice, what: string, operation: () => T): T {
  try {
    return operation();
  } catch (error) {
    throw new LockmetaError(EXIT_USAGE, `${device.path}: ${what} failed: ${reasonOf(error)}`);
  }
}

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;
