/** The line of a shrink on stderr, only on a terminal: replays so far, and how much is left of the run. */

import { SingleBar } from 'cli-progress';

export interface ShrinkProgress {
  update(replays: number, events: number): void;
  end(): void;
}

export function startShrinkProgress(stream: NodeJS.WriteStream): ShrinkProgress {
  if (!stream.isTTY) return { update: () => undefined, end: () => undefined };
  const bar = new SingleBar({ stream, format: 'shrinking: {replays} replays | {events} events left (Ctrl-C: the best so far)', hideCursor: true, clearOnComplete: true });
  bar.start(1, 0, { replays: 0, events: '…' });
  return { update: (replays, events) => bar.update(0, { replays, events }), end: () => bar.stop() };
}
