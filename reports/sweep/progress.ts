/** The progress bar of a sweep, on stderr and only on a terminal: done, failures so far, time left. */

import { SingleBar } from 'cli-progress';

export interface Progress {
  update(done: number, failures: number): void;
  end(): void;
}

/** `total`: runs, or Infinity when `timeMs` is the limit. */
export function startProgress(stream: NodeJS.WriteStream, total: number, timeMs?: number): Progress {
  if (!stream.isTTY) return { update: () => undefined, end: () => undefined };
  const started = Date.now();
  const elapsed = (): number => Math.min(Date.now() - started, timeMs ?? 0);
  const left = timeMs === undefined ? 'ETA {eta_formatted}' : '{left} left';
  const bar = new SingleBar({
    stream,
    format: `{bar} {runs} runs{of} | {failures} failed | ${left}`,
    barsize: 30,
    hideCursor: true,
    clearOnComplete: true,
    etaBuffer: 200,
    barCompleteChar: '█',
    barIncompleteChar: '░',
  });
  const payload = (runs: number, failures: number): object => ({
    runs,
    failures,
    of: timeMs === undefined ? ` of ${total}` : '',
    left: `${Math.round(((timeMs ?? 0) - elapsed()) / 1000)} s`,
  });
  bar.start(timeMs ?? total, 0, payload(0, 0));
  return {
    update: (done, failures) => bar.update(timeMs === undefined ? done : elapsed(), payload(done, failures)),
    end: () => bar.stop(),
  };
}
