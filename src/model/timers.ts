/**
 * The timers of a node: one table, a closed union of kinds × resource × volume × peer (timers-and-order.md §1). The driver
 * keeps one alarm at `earliestDeadline`. Setting a timer that runs replaces it.
 */

import { assert, type Core } from './core.js';

export type TimerKind =
  // Making a connection.
  | 'connect-attempt'
  | 'accept-wait'
  | 'first-packet'
  | 'socket-check'
  | 'handshake'
  | 'retry-pause'
  // An established connection.
  | 'meta-idle'
  | 'ping-answer'
  | 'data-send'
  | 'meta-send'
  | 'request-age'
  | 'early-write'
  | 'graceful-end'
  // Resync, one set per volume and peer.
  | 'resync-tick'
  | 'serve-delay'
  | 'finish-retry'
  // Congestion, likewise.
  | 'leave-ahead'
  // Disks, one per volume.
  | 'disk-age'
  // Administration.
  | 'promote-retry'
  | 'heartbeat';

export interface Timer {
  kind: TimerKind;
  deadlineUs: number;
  resource: string;
  volume: number;
  peer: string;
}

const keyOf = (kind: TimerKind, resource: string, peer: string, volume: number): string => `${kind}/${resource}/${peer}/${volume}`;

/** `volume` is -1 for timers of a connection or a resource, `peer` '' for timers of a volume or a resource. */
export const setTimer = (core: Core, kind: TimerKind, resource: string, peer: string, volume: number, afterUs: number): void => {
  assert(Number.isSafeInteger(afterUs) && afterUs >= 0, () => `timer ${kind} set to ${afterUs} µs`);
  const key = keyOf(kind, resource, peer, volume);
  const timer = core.state.timers.get(key);
  if (timer) timer.deadlineUs = core.nowUs + afterUs;
  else core.state.timers.set(key, { kind, deadlineUs: core.nowUs + afterUs, resource, volume, peer });
};

export const clearTimer = (core: Core, kind: TimerKind, resource: string, peer: string, volume: number): void => {
  core.state.timers.delete(keyOf(kind, resource, peer, volume));
};

export const isTimerSet = (core: Core, kind: TimerKind, resource: string, peer: string, volume: number): boolean =>
  core.state.timers.has(keyOf(kind, resource, peer, volume));

export const earliestDeadline = (core: Core): number | undefined => {
  let earliest: number | undefined;
  for (const timer of core.state.timers.values()) {
    if (earliest === undefined || timer.deadlineUs < earliest) earliest = timer.deadlineUs;
  }
  return earliest;
};

/** Takes the timer that is due and was set the longest ago among the earliest, or undefined. */
export const takeDueTimer = (core: Core): Timer | undefined => {
  let due: Timer | undefined;
  let dueKey = '';
  for (const [key, timer] of core.state.timers) {
    if (timer.deadlineUs <= core.nowUs && (due === undefined || timer.deadlineUs < due.deadlineUs)) {
      due = timer;
      dueKey = key;
    }
  }
  if (due) core.state.timers.delete(dueKey);
  return due;
};

/** Clears every timer of a connection (peer) or of a whole resource (peer undefined). */
export const clearTimersOf = (core: Core, resource: string, peer: string | undefined): void => {
  for (const [key, timer] of [...core.state.timers]) {
    if (timer.resource === resource && (peer === undefined || timer.peer === peer)) core.state.timers.delete(key);
  }
};
