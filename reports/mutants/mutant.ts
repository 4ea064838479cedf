/** What a mutant is: one rule of the core stated wrongly, as data. */

import type { PropertyName } from '../../sim/types.js';

/** One change of one file. */
export interface Edit {
  /** Relative to the root of the project, below src/. */
  file: string;
  /** Stands exactly once in the file. */
  oldText: string;
  newText: string;
}

export interface Mutant extends Edit {
  /** The number of the bug in the bug list that the project was given, or a name. */
  id: string;
  /** What goes wrong, in one line. */
  summary: string;
  /** One of those that must die in every run of `lockstep mutants` (section P of the bug list). */
  first?: true;
  /** What a patch changes in other files. */
  also?: readonly Edit[];
  /** Scenarios that should catch it, swept together. */
  scenarios: string[];
  /** Parameters that make it likelier, `name=value`; each of the scenarios must have them. */
  set?: string[];
  /** Properties any of which is expected to catch it, none when nobody knows; `assertion`: the core's own. */
  expected: (PropertyName | 'assertion')[];
  /** Known to live, and why no run shows it yet: it is given few runs, unless it is asked for by name. */
  survives?: string;
}

/** A bug of the list whose wrong rule cannot be stated here, or does no harm if it is. */
export interface Impossible {
  id: string;
  first?: true;
  /** Why. */
  argument: string;
}
