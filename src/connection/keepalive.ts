import type { Core } from '../model/core.js';
import type { PingPurpose } from '../model/signals.js';
import type { Connection } from '../model/types.js';

export function startKeepalive(_core: Core, _connection: Connection): void {
  throw new Error('not yet');
}
export function requestPing(_core: Core, _connection: Connection, _purpose: PingPurpose): void {
  throw new Error('not yet');
}
export function expectClose(_core: Core, _connection: Connection, _isExpected = true): void {
  throw new Error('not yet');
}
export function ignoreInput(_connection: Connection): void {
  throw new Error('not yet');
}
