/**
 * What create-md would destroy: before metadata is laid over a device that was used otherwise, lockmeta says what it sees
 * there, in drbdmeta's words. Only ext2/3/4 and xfs are recognised, for they say how much of the device they use.
 */

import type { Layout } from '../src/metadata/layout.js';
import { type MetaDevice, readAt } from './lockmeta-device.js';

export interface FoundData {
  text: string;
  /** Not even --force may go on. */
  refuse: boolean;
}

/** Signatures of nearly everything lie in the first 64 KiB. */
const PROBED_BYTES = 65536;

export function foundData(device: MetaDevice, layout: Layout, internal: boolean): FoundData | undefined {
  const head = readAt(device, 0, Math.min(PROBED_BYTES, device.sectors * 512));
  const filesystem = filesystemIn(head);
  if (!filesystem) {
    if (head.every((byte) => byte === 0)) return undefined;
    return { text: 'Found some data\n\n ==> This might destroy existing data! <==\n', refuse: false };
  }
  const found = `Found ${filesystem.name} filesystem\n`;
  if (!internal) {
    return {
      text:
        `${found}\nThis would corrupt existing data.\nIf you want me to do this, you need to zero out the first part\n` +
        'of the device (destroy the content).\nYou should be very sure that you mean it.\nOperation refused.\n\n',
      refuse: true,
    };
  }
  const usableKib = Math.floor(layout.usableDataSectors / 2);
  const sizes =
    `${String(filesystem.usedKib).padStart(12)} kB data area apparently used\n` +
    `${String(usableKib).padStart(12)} kB left usable by current configuration\n\n`;
  if (filesystem.usedKib > usableKib) {
    return {
      text:
        `${found}${sizes}Device size would be truncated, which\nwould corrupt data and result in\n'access beyond end of device' errors.\n` +
        'You need to either\n   * use external meta data (recommended)\n   * shrink that filesystem first\n' +
        '   * zero out the device (destroy the filesystem)\nOperation refused.\n\n',
      refuse: true,
    };
  }
  return {
    text:
      `${found}${sizes}Even though it looks like this would place the new meta data into\n` +
      'unused space, you still need to confirm, as this is only a guess.\n',
    refuse: false,
  };
}

function filesystemIn(head: Uint8Array): { name: string; usedKib: number } | undefined {
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  if (head.length >= 2048 && view.getUint16(1024 + 56, true) === 0xef53) {
    const blocks = view.getUint32(1024 + 4, true);
    const blockKib = 2 ** Math.min(view.getUint32(1024 + 24, true), 6);
    const hasJournal = (view.getUint32(1024 + 92, true) & 4) !== 0;
    const hasExtents = (view.getUint32(1024 + 96, true) & 0x40) !== 0;
    const is64Bit = (view.getUint32(1024 + 96, true) & 0x80) !== 0;
    const blocksHigh = is64Bit ? view.getUint32(1024 + 336, true) : 0;
    const name = hasExtents ? 'ext4' : hasJournal ? 'ext3' : 'ext2';
    return { name, usedKib: (blocksHigh * 2 ** 32 + blocks) * blockKib };
  }
  if (head.length >= 512 && view.getUint32(0) === 0x58465342) {
    return { name: 'xfs', usedKib: Math.floor((Number(view.getBigUint64(8)) * view.getUint32(4)) / 1024) };
  }
  return undefined;
}
