/**
 * The progress of a sweep, on stderr: a bar on a terminal (done, failures so far, time left), else a line a minute, for a log; and failures
 * as they happen, so that nobody waits an hour for the first one's name.
 */

import { SingleBar } from 'cli-progress';

/** To the left end of the line, which is emptied: where the bar is drawn again. */
const CLEAR_LINE = '\r\x1b[K';

export interface Progress {
  update(done: number, failures: number): void;
  /** A line of its own, above the bar. */
  tell(line: string): void;
  end(): void;
}

/** `total`: runs, or Infinity when `timeMs` is the limit. */
export function startProgress(stream: NodeJS.WriteStream, total: number, timeMs?: number): Progress {
  if (!stream.isTTY) return progressLines(stream, total);
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
    tell: (line) => stream.write(`${CLEAR_LINE}${line}\n`),
    end: () => bar.stop(),
  };
}

const LINE_EVERY_MS = 60_000;

/** Where nobody watches, short sweeps are silent. */
function progressLines(stream: NodeJS.WriteStream, total: number): Progress {
  const started = Date.now();
  let nextLine = started + LINE_EVERY_MS;
  return {
    update: (done, failures) => {
      const now = Date.now();
      if (now < nextLine) return;
      nextLine += LINE_EVERY_MS;
      const perSecond = (done * 1000) / (now - started);
      const of = Number.isFinite(total) ? ` of ${total}` : '';
      stream.write(`${done}${of} runs, ${failures} failed, ${perSecond.toFixed(1)} a second\n`);
    },
    tell: (line) => stream.write(`${line}\n`),
    end: () => undefined,
  };
}
