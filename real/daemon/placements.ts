/**
 * Where the internal metadata of each disk lies, by the size that its device had: kept beside the devices, so that it is found again
 * when a device has grown while nobody served it (metadata.md §5). The files are DRBD's `drbd-minor-N.lkbd`: bytes, a tab, the device.
 */

import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';

export class Placements {
  constructor(readonly folder: string) {}

  /** Sectors of this device when its metadata was placed; 0 where nothing is known of it. */
  read(minor: number, path: string): number {
    let text: string;
    try {
      text = readFileSync(this.pathOf(minor), 'utf8');
    } catch {
      return 0;
    }
    const [, bytes, device] = /^(\d+)\t(.*)$/m.exec(text) ?? [];
    // A minor that has got another disk: what is known is of the old one.
    return device === path ? Math.floor(Number(bytes) / 512) : 0;
  }

  /** Durable when it returns. Throws what the system says. */
  write(minor: number, path: string, sectors: number): void {
    mkdirSync(this.folder, { recursive: true });
    const temporary = `${this.pathOf(minor)}.new`;
    const fd = openSync(temporary, 'w', 0o600);
    try {
      writeSync(fd, `${sectors * 512}\t${path}\n`);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, this.pathOf(minor));
    const folder = openSync(this.folder, 'r');
    try {
      fsyncSync(folder);
    } finally {
      closeSync(folder);
    }
  }

  private pathOf(minor: number): string {
    return join(this.folder, `drbd-minor-${minor}.lkbd`);
  }
}
