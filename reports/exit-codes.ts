/** The exit codes of `lockstep` (design: the command line contract), and which of several wins. */

import type { Violation } from '../sim/types.js';

export const exitCodes = {
  held: 0,
  violation: 1,
  usage: 2,
  liveness: 3,
  nondeterminism: 4,
  broke: 5,
  notReached: 6,
} as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** The worst first: what is further left makes what is further right untrustworthy. */
const precedence: readonly ExitCode[] = [
  exitCodes.usage,
  exitCodes.broke,
  exitCodes.nondeterminism,
  exitCodes.violation,
  exitCodes.liveness,
  exitCodes.notReached,
  exitCodes.held,
];

export function worstOf(codes: Iterable<ExitCode>): ExitCode {
  const seen = new Set(codes);
  return precedence.find((code) => seen.has(code)) ?? exitCodes.held;
}

/** A failed run is a liveness violation only when nothing else was violated; a core that threw broke its own assertion. */
export function exitCodeOfFailure(failure: { violations: readonly Violation[]; crash?: string }): ExitCode {
  const onlyLiveness = failure.crash === undefined && failure.violations.length > 0 && failure.violations.every((v) => v.property === 'liveness');
  return onlyLiveness ? exitCodes.liveness : exitCodes.violation;
}
