/** How long the connection room waits for what, in microseconds, from the net options (timers-and-order.md §1.1, §1.2). */

import type { Connection } from '../model/types.js';

const SECOND_US = 1_000_000;
const TENTH_US = 100_000;

/** A connect attempt, and the wait for the peer's after it (that one ± 1/7). */
export const connectUs = (connection: Connection): number => connection.config.net.connectInt * SECOND_US;

/** How long a complete pair of streams is watched before it is used. */
export const socketCheckUs = (connection: Connection): number =>
  (connection.config.net.socketCheckTimeout || connection.config.net.pingTimeout) * TENTH_US;

/** The first packet on an accepted stream, the features exchange, and each step of the authentication. */
export const handshakeUs = (connection: Connection): number => 4 * pingAnswerUs(connection);

/** After a handshake that failed before WFReportParams. */
export const RETRY_PAUSE_US = SECOND_US;

export const pingIntervalUs = (connection: Connection): number => connection.config.net.pingInt * SECOND_US;

export const pingAnswerUs = (connection: Connection): number => connection.config.net.pingTimeout * TENTH_US;

/** A stream may be blocked this long (on data: ko-count times). */
export const sendUs = (connection: Connection): number => connection.config.net.timeout * TENTH_US;
