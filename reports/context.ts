/** What every command is given: the simulator and where its words go. Results go to `out` (pipes), everything else to `err`. */

import type { Engine } from './engine-types.js';

export interface CommandContext {
  engine: Engine;
  /** Address of the module that exports `engine`: sweep workers load it again. */
  engineModule: string;
  /** One line, or several with newlines in between. */
  out(line: string): void;
  err(line: string): void;
}

/** `12.345678 s` of simulated time. */
export function seconds(us: number): string {
  return `${(us / 1_000_000).toFixed(6)} s`;
}
