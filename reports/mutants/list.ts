/**
 * Deliberate protocol bugs, as data: a checker that has never failed proves nothing. Each is a bug that DRBD once had (the id is that of the
 * bug list the project was given), put back by one replacement in a copy of the source. The source itself knows no mutant.
 */

import type { PropertyName } from '../../sim/types.js';

export interface Mutant {
  id: string;
  /** What goes wrong, in one line. */
  summary: string;
  /** Relative to the root of the project, below src/. */
  file: string;
  /** Stands exactly once in the file. */
  oldText: string;
  newText: string;
  /** Scenarios that should catch it, swept together. */
  scenarios: string[];
  /** Parameters that make it likelier, `name=value`; each of the scenarios must have them. */
  set?: string[];
  /** Properties any of which is expected to catch it; `assertion`: the core's own. */
  expected: (PropertyName | 'assertion')[];
}

export const mutants: readonly Mutant[] = [];
