import type { Input } from '../contract/input.js';
import type { Core } from '../model/core.js';
import type { Connection } from '../model/types.js';
import type { Packet } from '../wire/packets.js';

export type StreamInput = Extract<Input, { type: `stream-${string}` | `connect-${string}` | 'listen-failed' }>;

export function streamInput(_core: Core, _input: StreamInput): void {
  throw new Error('not yet');
}
export function nextPacket(_core: Core, _connection: Connection, _stream: 'data' | 'meta'): Packet | undefined {
  throw new Error('not yet');
}
export function pauseData(_core: Core, _connection: Connection): void {
  throw new Error('not yet');
}
export function resumeData(_core: Core, _connection: Connection): void {
  throw new Error('not yet');
}
