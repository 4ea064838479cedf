/** Writes down which faults fired and which requests were issued, for whoever wants the run as data (`RunRequest.record`). */

import type { RecordedRequest, RunRecord, WorkloadRequest } from '../types.js';

export class Recorder {
  private readonly faults: RunRecord['faults'] = [];
  private readonly requests: RecordedRequest[] = [];
  /** Requests by id that are neither answered nor lost. */
  private readonly open = new Map<number, RecordedRequest>();
  private beganUs = 0;

  began(nowUs: number): void {
    this.beganUs = nowUs;
  }

  fired(id: string, found: boolean, nowUs: number): void {
    this.faults.push({ id, atUs: nowUs - this.beganUs, found });
  }

  issued(id: number, host: string, request: WorkloadRequest, nowUs: number): void {
    const { operation, volume, sector, sectors, fua, zeros } = request;
    const atUs = nowUs - this.beganUs;
    const recorded: RecordedRequest = { atUs, host, operation, volume, sector, sectors, fua, ...(zeros !== undefined && { zeros }), outcome: 'unknown' };
    this.requests.push(recorded);
    this.open.set(id, recorded);
  }

  answered(id: number, ok: boolean, nowUs: number): void {
    const request = this.open.get(id)!;
    request.outcome = ok ? 'done' : 'failed';
    request.endedUs = nowUs - this.beganUs;
    this.open.delete(id);
  }

  record(durationUs: number): RunRecord {
    return { beganUs: this.beganUs, durationUs, faults: this.faults, requests: this.requests };
  }
}
