import type { Core } from '../model/core.js';
import type { LossReason } from '../model/signals.js';
import type { Connection } from '../model/types.js';

/** Signals `connection-lost`, once per session; nothing is read or sent afterwards. For other rooms too. */
export function loseConnection(_core: Core, _connection: Connection, _reason: LossReason, _detail: string): void {
  throw new Error('not yet');
}
/** Signals `connection-refused` (STOP), once per session. For other rooms too. */
export function refuseConnection(_core: Core, _connection: Connection, _detail: string): void {
  throw new Error('not yet');
}
