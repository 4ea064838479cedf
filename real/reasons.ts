/** What the system says to an error, in its own words and without Node's decoration: for lines that a person reads. */

import { getSystemErrorMap } from 'node:util';

/** Where libuv's words are not those that strerror(3) has taught everybody. */
const wellKnown: Record<string, string> = {
  EBUSY: 'Device or resource busy',
  EISDIR: 'Is a directory',
  EROFS: 'Read-only file system',
  EIO: 'Input/output error',
  ENXIO: 'No such device or address',
  ETXTBSY: 'Text file busy',
  EDQUOT: 'Disk quota exceeded',
};

export function reasonOf(error: unknown): string {
  const { code, errno } = error as NodeJS.ErrnoException;
  if (code !== undefined && wellKnown[code] !== undefined) return wellKnown[code];
  const [, words] = (errno !== undefined && getSystemErrorMap().get(errno)) || [];
  if (words !== undefined) return words[0]!.toUpperCase() + words.slice(1);
  return error instanceof Error ? error.message : String(error);
}
