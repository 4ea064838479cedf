/**
 * Everything that can be waiting in the clock: a closed union, dispatched by one switch in world.ts. What is on its way
 * (a disk operation, a segment, a connect attempt) is its own event.
 */

import type { Fault, RepairStep } from '../types.js';
import type { DiskOperation } from './disk.js';
import type { ActiveFault } from './faults.js';
import type { HandlerRun } from './handlers.js';
import type { Host } from './host.js';
import type { ConnectAttempt } from './connect.js';
import type { End, Segment } from './transport.js';

export type WorldEvent =
  | DiskOperation
  | Segment
  | ConnectAttempt
  /** The transport has room again for what this end still wants to send. */
  | { kind: 'room'; end: End }
  /** TCP sends again what was held up. */
  | { kind: 'resend'; end: End }
  /** This end learns that its connection was reset. */
  | { kind: 'broken'; end: End }
  /** The core reads this stream again. */
  | { kind: 'inbox'; end: End }
  | { kind: 'datagram'; from: Host; to: Host; bytes: Uint8Array }
  | { kind: 'sent'; host: Host }
  | { kind: 'alarm'; host: Host; boot: number }
  | { kind: 'disk-opened'; host: Host; boot: number; volume: number }
  | { kind: 'restart'; host: Host; boot: number }
  | HandlerRun
  | { kind: 'fault'; fault: Fault }
  | { kind: 'fault-end'; active: ActiveFault }
  /** The application asks its workload. */
  | { kind: 'client' }
  /** The application may have had enough time to stop, before a demotion. */
  | { kind: 'released'; host: Host; boot: number }
  | { kind: 'manager' }
  | { kind: 'repair' }
  /** The operator has waited long enough. */
  | { kind: 'next-repair'; host: Host; steps: RepairStep[] }
  /** Preparation took too long. */
  | { kind: 'prepare' }
  | { kind: 'checkpoint' }
  | { kind: 'storm-ends' };
