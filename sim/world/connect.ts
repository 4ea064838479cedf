/**
 * How a connection comes about, as seen by a core: connected, refused, failed, or nothing for a long time. A lost packet of the
 * handshake is sent again as TCP does; a dead machine never answers; a dead process refuses; a paused one connects, since
 * its kernel does.
 */

import type { Host } from './host.js';
import type { End } from './transport.js';
import type { World } from './world.js';

/** First wait for an answer; doubles each time. */
const RETRY_US = 1_000_000;
/** After so many tries the attempt fails: 127 s, as Linux gives up. */
const TRIES = 7;

export interface ConnectAttempt {
  kind: 'connect';
  /** What the clock brings next: our packet at the peer, its answer here, or the time to try again. */
  phase: 'arrives' | 'established' | 'refused' | 'again';
  host: Host;
  boot: number;
  stream: number;
  resource: string;
  target: Host;
  tries: number;
  end: End | undefined;
}

export function beginConnect(world: World, host: Host, stream: number, resource: string, target: Host): void {
  const attempt: ConnectAttempt = {
    kind: 'connect', phase: 'arrives', host, boot: host.boot, stream, resource, target, tries: 1, end: undefined,
  };
  host.attempts.set(stream, attempt);
  knock(world, attempt);
}

/** The core closes a stream that is not connected yet: whatever answer comes is for nobody. */
export function abandonConnect(host: Host, stream: number): boolean {
  return host.attempts.delete(stream);
}

export function connectEvent(world: World, attempt: ConnectAttempt): void {
  const wanted = attempt.host.attempts.get(attempt.stream) === attempt && attempt.host.boot === attempt.boot;
  switch (attempt.phase) {
    case 'again':
      if (wanted) knock(world, attempt);
      return;
    case 'arrives':
      if (wanted) arrives(world, attempt);
      return;
    case 'refused':
      if (!wanted) return;
      attempt.host.attempts.delete(attempt.stream);
      attempt.host.give({ type: 'connect-refused', stream: attempt.stream });
      return;
    case 'established':
      established(world, attempt, attempt.end!, wanted);
      return;
    default:
      attempt.phase satisfies never;
  }
}

function knock(world: World, attempt: ConnectAttempt): void {
  attempt.phase = 'arrives';
  world.schedule(world.link(attempt.host, attempt.target).arrivalUs(world.nowUs, 0), attempt);
}

function arrives(world: World, attempt: ConnectAttempt): void {
  const { host, target } = attempt;
  const out = world.link(host, target);
  const back = world.link(target, host);
  // An answer that is lost looks the same to us.
  if (!target.powered || out.isBlocked(undefined) || back.isBlocked(undefined)) {
    if (attempt.tries === TRIES) {
      host.attempts.delete(attempt.stream);
      host.give({ type: 'connect-failed', stream: attempt.stream, reason: 'timed out' });
      return;
    }
    attempt.phase = 'again';
    world.schedule(world.nowUs + RETRY_US * 2 ** (attempt.tries - 1), attempt);
    attempt.tries++;
    return;
  }
  if (target.isListening(attempt.resource, host.name)) {
    attempt.phase = 'established';
    attempt.end = world.transport.connect(attempt.resource, host, target).ends[0];
  } else {
    attempt.phase = 'refused';
  }
  world.schedule(back.arrivalUs(world.nowUs, 0), attempt);
}

function established(world: World, attempt: ConnectAttempt, end: End, wanted: boolean): void {
  const { host, stream } = attempt;
  if (!wanted || end.state !== 'opening') {
    // Nobody waits for it: the kernel answers with a reset, and the other side never hears of it.
    end.state = 'closed';
    world.transport.broken(end.peer);
    world.transport.forget(end);
    return;
  }
  host.attempts.delete(stream);
  end.state = 'open';
  end.stream = stream;
  host.streams.set(stream, end);
  world.transport.announce(end);
  host.give({ type: 'stream-connected', stream });
}
