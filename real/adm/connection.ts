/** lockadm's side of the control socket. */

import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import type { ControlRequest } from '../daemon/control.js';

/** Ends lockadm with this exit code (configuration.md §4) after the message on stderr. */
export class AdmError extends Error {
  constructor(
    readonly exitCode: number,
    message: string,
  ) {
    super(message);
  }
}

export const EXIT_USAGE = 1;
export const EXIT_TIMEOUT = 5;
export const EXIT_CONFIG = 10;
export const EXIT_REFUSED = 11;
export const EXIT_CANNOT = 20;

interface Line {
  result?: unknown;
  error?: string;
  exitCode?: number;
  event?: string;
}

/** Asks the daemon. `timeoutS`: a bound, after which it is an error (20) that tells what was asked; `event` hears of events. */
export async function ask<T>(path: string, request: ControlRequest, timeoutS?: number, event?: (line: string) => void): Promise<T> {
  const socket = connect(path);
  const bound = timeoutS === undefined ? undefined : setTimeout(() => socket.destroy(new TimedOut()), timeoutS * 1000);
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    }).catch((error: NodeJS.ErrnoException) => {
      const reason = { ENOENT: 'there is no such socket', ECONNREFUSED: 'nobody listens there', EACCES: 'permission denied' }[error.code ?? ''] ?? error.message;
      throw new AdmError(EXIT_CANNOT, `Could not connect to lockstepd at ${path}: ${reason}. Is it running?`);
    });
    socket.write(`${JSON.stringify(request)}\n`);
    let failure: Error | undefined;
    socket.on('error', (error) => (failure = error));
    for await (const text of createInterface({ input: socket, crlfDelay: Infinity })) {
      const line = JSON.parse(text) as Line;
      if (line.event !== undefined) {
        event?.(line.event);
        continue;
      }
      if (line.error !== undefined) throw new AdmError(line.exitCode ?? EXIT_CANNOT, line.error);
      return line.result as T;
    }
    throw failure ?? new AdmError(EXIT_CANNOT, 'lockstepd went away');
  } finally {
    clearTimeout(bound);
    socket.destroy();
  }
}

export class TimedOut extends Error {}
