/**
 * The application that writes files: each version is written under a temporary name, made durable, and takes the place of the one before;
 * then its number is told. Runs as a process of its own (`node files.js FOLDER FIRST`), since its disk may go away under it.
 */

import { mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const SLOTS = 64;
export const slotOf = (version: number): number => version % SLOTS;

/** A few bytes up to 100 KiB, which nothing but this version has. */
export function contentOfVersion(version: number): Buffer {
  const line = `version ${version} of file ${slotOf(version)}\n`;
  return Buffer.from(line.repeat(1 + ((version * 7919) % 4000)));
}

export const versionIn = (content: Buffer): number => Number(/^version (\d+) /.exec(content.subarray(0, 40).toString('latin1'))?.[1] ?? -1);

async function durably(path: string, work: 'sync' | Buffer): Promise<void> {
  const file = await open(path, work === 'sync' ? 'r' : 'w');
  try {
    if (work !== 'sync') await file.writeFile(work);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** What is wrong with the files, of which `acknowledged` gives the last version that was told; undefined: nothing. */
export function wrongFiles(folder: string, acknowledged: ReadonlyMap<number, number>): string | undefined {
  const present = new Set(readdirSync(folder));
  for (const [slot, version] of acknowledged) {
    const name = `file${slot}`;
    if (!present.has(name)) return `${name} is gone; version ${version} was acknowledged`;
    const content = readFileSync(join(folder, name));
    const found = versionIn(content);
    if (found < version || slotOf(found) !== slot) return `${name} is version ${found}; version ${version} was acknowledged`;
    if (!content.equals(contentOfVersion(found))) return `${name}, version ${found}, is damaged`;
  }
  return undefined;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = process.argv[2]!;
  mkdirSync(folder, { recursive: true });
  for (let version = Number(process.argv[3]); ; version++) {
    const path = join(folder, `file${slotOf(version)}`);
    await durably(`${path}.new`, contentOfVersion(version));
    await rename(`${path}.new`, path);
    await durably(folder, 'sync');
    process.stdout.write(`${version}\n`);
  }
}
