/**
 * A peer that takes our bytes and says nothing: the oldest request that waits for it, or the last barrier, may be ko-count ×
 * timeout old, then the connection goes (timers-and-order.md §1.2, §1.4).
 */

import { loseConnection } from '../connection/loss.js';
import type { Core } from '../model/core.js';
import { setTimer } from '../model/timers.js';
import type { Connection, Resource } from '../model/types.js';
import { isFrozen } from '../model/view.js';
import { Conn } from '../state/states.js';

const FIRST_CHECK_US = 1_000_000;

/** How old a request may get, in µs; 0: for ever. */
const limitUs = ({ config }: Connection): number => config.net.koCount * config.net.timeout * 100_000;

export const startRequestTimer = (core: Core, connection: Connection): void => {
  if (limitUs(connection) > 0) setTimer(core, 'request-age', connection.resource, connection.peer, -1, FIRST_CHECK_US);
};

/** The timer ran out: anything too old ends the connection, else the next check is when the oldest would be. */
export const checkRequestAge = (core: Core, resource: Resource, connection: Connection): void => {
  const limit = limitUs(connection);
  if (limit === 0 || connection.loss || connection.cstate !== Conn.WFReportParams) return;
  let oldestUs = core.nowUs;
  for (const request of resource.log.requests.values()) {
    const part = request.net.find(({ peer, connectCount }) => peer === connection.peer && connectCount === connection.connectCount);
    if (!part || part.done || part.waitsFor === 'nothing' || part.waitsFor === 'barrier-ack') continue;
    oldestUs = Math.min(oldestUs, part.sentAtUs);
    if (core.nowUs - part.sentAtUs >= limit && !isFrozen(resource)) {
      return loseConnection(core, connection, 'Timeout', `a request at sector ${request.sector} waits for the peer since ${(core.nowUs - part.sentAtUs) / 1e6} s`);
    }
  }
  const lastBarrierUs = connection.sender.epochs.reduce<number | undefined>((last, { barrierSentAtUs }) => barrierSentAtUs ?? last, undefined);
  if (lastBarrierUs !== undefined && core.nowUs - lastBarrierUs >= limit) return loseConnection(core, connection, 'Timeout', 'a barrier was not acknowledged in time');
  if (lastBarrierUs !== undefined) oldestUs = Math.min(oldestUs, lastBarrierUs);
  setTimer(core, 'request-age', connection.resource, connection.peer, -1, Math.max(FIRST_CHECK_US, limit - (core.nowUs - oldestUs)));
};
