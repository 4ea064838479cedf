import type { Core } from '../model/core.js';
import type { Connection } from '../model/types.js';
export { newSession } from './types.js';

export function startConnecting(_core: Core, _connection: Connection): void {
  throw new Error('not yet');
}
export function startConnectingAfterPause(_core: Core, _connection: Connection): void {
  throw new Error('not yet');
}
export function stopConnecting(_core: Core, _connection: Connection): void {
  throw new Error('not yet');
}
