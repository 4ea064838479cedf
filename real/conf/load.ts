/** Reads configuration files: the main one, and what it includes. */

import { readFileSync } from 'node:fs';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { globSync } from 'tinyglobby';
import { parseText } from './grammar.js';
import { meaningOf, type Configuration } from './meaning.js';
import { ConfigError, type FileItem } from './tree.js';

/** The first of these that can be read (configuration.md §1). */
export const defaultPaths = ['/etc/lockstep.conf', '/etc/drbd-84.conf', '/etc/drbd.conf'];

/** Exit code 20: the file cannot be opened. */
export class CannotOpen extends Error {}

/** `-` is standard input. Throws a ConfigError or CannotOpen. */
export function loadConfiguration(path: string, nodeName: string): Configuration {
  return meaningOf(readItems(path), nodeName);
}

function readItems(path: string): FileItem[] {
  const read = new Set<string>();
  const folder = path === '-' ? process.cwd() : dirname(resolve(path));
  const readOne = (file: string, shown: string): FileItem[] => {
    read.add(file);
    return parseText(shown, contentOf(file)).flatMap((item) => {
      if (item.is !== 'include') return [item];
      const { text, place } = item.pattern;
      const isPattern = /[*?[]/.test(text);
      const files = isPattern ? globSync([isAbsolute(text) ? text : join(folder, text)], { absolute: true, expandDirectories: false, dot: true }).sort() : [isAbsolute(text) ? text : join(folder, text)];
      return files.flatMap((found) => {
        if (read.has(found)) return [];
        try {
          return readOne(found, found);
        } catch (error) {
          if (error instanceof CannotOpen) throw new ConfigError(place, error.message);
          throw error;
        }
      });
    });
  };
  return readOne(path === '-' ? path : resolve(path), path);
}

function contentOf(file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new CannotOpen(`Can not open '${file}': ${code === 'ENOENT' ? 'No such file or directory' : message}`);
  }
}
