/** A bug that somebody brings along: a unified diff of files below src/ as a mutant, to be swept through all scenarios. */

import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { applyPatch, parsePatch } from 'diff';
import type { StructuredPatch } from 'diff';
import { UsageError } from '../../sim/types.js';
import type { Edit, Mutant } from './mutant.js';
import { root } from './workshop.js';

/** `scenarios`: those that it is swept through. Throws `UsageError` when the file is no diff of the core as it is. */
export function patchMutant(path: string, scenarios: readonly string[]): Mutant {
  const wrong = (what: string): UsageError => new UsageError(`${path} ${what}; give a unified diff of files below src/, as 'git diff' writes it`);
  if (!existsSync(path)) throw wrong('is not there');
  let patches: StructuredPatch[];
  try {
    patches = parsePatch(readFileSync(path, 'utf8')).filter(({ hunks }) => hunks.length > 0);
  } catch (error) {
    throw wrong(`cannot be read (${(error as Error).message.split('\n')[0]})`);
  }
  const [first, ...also] = patches.map((patch): Edit => {
    const file = (patch.newFileName ?? patch.oldFileName ?? '').replace(/^[ab]\//, '');
    if (!/^src\/.*\.ts$/.test(file) || file.includes('..') || !existsSync(join(root, file))) throw wrong(`changes ${file || 'a file without a name'}, which is no file of the core`);
    const oldText = readFileSync(join(root, file), 'utf8');
    const newText = applyPatch(oldText, patch);
    if (newText === false) throw wrong(`does not fit ${file} as it is`);
    return { file, oldText, newText };
  });
  if (first === undefined) throw wrong('changes nothing');
  return { id: basename(path), summary: `the patch ${path}`, ...first, also, scenarios: [...scenarios], expected: [] };
}
