import type { Core } from '../model/core.js';
import type { Timer } from '../model/timers.js';

/** The kinds of the connection room: see CONNECTION_TIMERS. */
export function connectionTimer(_core: Core, _timer: Timer): void {
  throw new Error('not yet');
}
