/** Requests by time, one after the other, without waiting for answers: the application of a shrunk run. */

import type { ListedRequest, Workload } from '../types.js';

export function listedWorkload(requests: readonly ListedRequest[]): Workload {
  let beganUs = 0;
  let issued = 0;
  return {
    began(nowUs) {
      beganUs = nowUs;
    },
    poll(nowUs) {
      const next = requests[issued];
      if (next === undefined) return { do: 'finished' };
      const { atUs, ...request } = next;
      if (beganUs + atUs > nowUs) return { do: 'wait', untilUs: beganUs + atUs };
      return { do: 'issue', request: { ...request, tag: issued++ } };
    },
    completed() {},
    interrupted() {},
  };
}
