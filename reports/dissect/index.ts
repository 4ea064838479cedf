/**
 * `lockstep dissect FILE…`: recorded streams as packets, one JSON object a line.
 */

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { UsageError } from '../../sim/types.js';
import { exitCodes } from '../exit-codes.js';
import type { ExitCode } from '../exit-codes.js';
import { checkReadable } from '../files.js';
import { agreedOn } from './agreed.js';
import { describe } from './describe.js';
import type { Description } from './describe.js';
import { NoPacketError, piecesOf } from './stream.js';

/** Prints every packet of the named streams; a folder stands for all `*.bin` under it. Throws a UsageError on the first bad file. */
export function dissectCommand(files: readonly string[], output: (line: string) => void): ExitCode {
  dissectFiles(files, (description) => output(JSON.stringify(description)));
  return exitCodes.held;
}

/**
 * Describes every packet of the named streams, file by file, in the order of the bytes: `packet` (DRBD's name, or `unknown`), `volume`,
 * `offset`, `length` (of the whole packet), `header` (80, 95 or 100), the decoded fields, and the `file`. The lengths of a file's
 * objects add up to its size. A packet in which the recording ends has `cutOff: true`. Throws a UsageError on a file that cannot be
 * read or is no DRBD stream.
 */
export function dissectFiles(files: readonly string[], write: (description: Description) => void): void {
  for (const file of files.flatMap(streamsUnder)) {
    const bytes = readFileSync(file);
    const { context, note } = agreedOn(file, bytes);
    try {
      let isFirst = true;
      for (const piece of piecesOf(bytes, context)) {
        write({ ...describe(piece), file, ...(isFirst && note !== undefined ? { note } : {}) });
        isFirst = false;
      }
    } catch (error) {
      if (error instanceof NoPacketError) throw new UsageError(`${file} is no recorded DRBD stream: ${error.message}; give connN-KIND.FROM-to-TO.bin files`);
      throw error;
    }
  }
}

/** The file itself, or the `*.bin` files under a folder, conn2 before conn10. Checked before anything is printed. */
function streamsUnder(path: string): string[] {
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
    checkReadable(path, 'dissect');
    return [path];
  }
  const names = readdirSync(path, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.bin'));
  if (names.length === 0) throw new UsageError(`dissect: no *.bin file under '${path}'; give a folder with recorded streams`);
  return names.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).map((name) => join(path, name));
}
