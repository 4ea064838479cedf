/**
 * The ways to make a case smaller, in the order of what they are worth: each proposes cases, and where to go on if one of them still fails.
 * A pass goes on from its place instead of from the beginning, so that what has just been tried in vain is not tried again at once.
 */

import type { Fault, ListedRequest, ParameterValue, Scenario, Setup } from '../../sim/types.js';
import { UsageError } from '../../sim/types.js';
import { setupOf } from '../../sim/world/run.js';
import type { Case, Seen } from './case.js';
import { simplerFaults, simplerRequests, simplerSpans } from './simpler.js';

/** How far a pass has come; each pass has its own meaning for it. */
export type Place = readonly number[];

export interface Proposal {
  smaller: Case;
  /** Where the pass goes on with that one. */
  next: Place;
}

export type Pass = (current: Case, seen: Seen, from: Place, scenario: Scenario) => Iterable<Proposal>;

/** What follows the last event: enough for an answer, for a timeout, for a ping. */
const tailsUs = [1000, 100_000, 1e6, 5e6, 15e6];

export const passes: readonly Pass[] = [
  cutOff, dropIdleFaults, dropFaults, dropRequests, stopLog, steady, atTheirTime, mergeFaults, simplifyFaults, simplifyRequests, closeGaps, shortenStorm, simplifyParameters,
];

/** Nothing after the violation: neither storm, nor faults, nor requests. First, since it makes all that follows cheap. */
function* cutOff(current: Case, { record, violatedUs }: Seen): Iterable<Proposal> {
  for (const durationUs of [violatedUs + 1, violatedUs + 5e6, Math.floor(record.durationUs / 2)]) {
    if (durationUs < 1 || durationUs >= record.durationUs) continue;
    const schedule = current.schedule.filter(({ trigger }) => !('atUs' in trigger) || trigger.atUs < durationUs);
    const { requests } = current.pinned;
    const pinned = { ...current.pinned, durationUs, ...(requests && { requests: requests.filter(({ atUs }) => atUs < durationUs) }) };
    yield { smaller: { ...current, schedule, pinned }, next: [] };
  }
}

/** Faults that never fired, or found nothing to break. */
function* dropIdleFaults(current: Case, { record }: Seen, [done = 0]: Place): Iterable<Proposal> {
  if (done > 0) return;
  const schedule = current.schedule.filter(({ id }) => record.faults.some((fired) => fired.id === id && fired.found));
  if (schedule.length < current.schedule.length) yield { smaller: { ...current, schedule }, next: [1] };
}

function* dropFaults(current: Case, _seen: Seen, from: Place): Iterable<Proposal> {
  for (const [schedule, next] of withoutSome(current.schedule, from)) yield { smaller: { ...current, schedule }, next };
}

function* dropRequests(current: Case, _seen: Seen, from: Place): Iterable<Proposal> {
  const { requests } = current.pinned;
  if (requests === undefined) return;
  for (const [fewer, next] of withoutSome(requests, from)) yield { smaller: withRequests(current, fewer), next };
}

/** A list without some of its neighbours: all, then halves, quarters, …, single ones; the last first, since nothing rests on them. */
function* withoutSome<T>(list: readonly T[], [size = list.length, end = list.length]: Place): Iterable<[T[], Place]> {
  let to = Math.min(end, list.length);
  for (let length = Math.min(size, list.length); length >= 1; length = Math.floor(length / 2)) {
    for (; to > 0; to -= length) {
      const start = Math.max(0, to - length);
      yield [[...list.slice(0, start), ...list.slice(to)], [length, start]];
    }
    to = list.length;
  }
}

/** A recorded workload ends earlier. */
function* stopLog(current: Case, _seen: Seen, _from: Place, scenario: Scenario): Iterable<Proposal> {
  if (current.pinned.requests !== undefined) return;
  const workload = planned(scenario, current)?.workload;
  if (workload?.kind !== 'recorded') return;
  const entries = current.pinned.entries ?? workload.entries;
  for (const fewer of new Set([0, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 7 / 8].map((share) => Math.floor(entries * share)).concat(entries - 1))) {
    if (fewer >= 0 && fewer < entries) yield { smaller: { ...current, pinned: { ...current.pinned, entries: fewer } }, next: [] };
  }
}

function* steady(current: Case): Iterable<Proposal> {
  if (current.pinned.steady !== true) yield { smaller: { ...current, pinned: { ...current.pinned, steady: true } }, next: [] };
}

/** Faults that waited for the nth packet or disk operation fire at the time when they did: what comes before may then go. */
function* atTheirTime(current: Case, { record }: Seen, [from = -1]: Place): Iterable<Proposal> {
  const timed = current.schedule.map((fault): Fault => {
    const fired = record.faults.find(({ id }) => id === fault.id);
    return 'atUs' in fault.trigger || fired === undefined ? fault : { ...fault, trigger: { atUs: fired.atUs } };
  });
  const changed = timed.flatMap((fault, index) => (fault === current.schedule[index] ? [] : [index]));
  if (changed.length > 1 && from < 0) yield { smaller: { ...current, schedule: timed }, next: [timed.length] };
  for (const index of changed) {
    if (index >= from) yield { smaller: { ...current, schedule: current.schedule.map((fault, i) => (i === index ? timed[i]! : fault)) }, next: [index + 1] };
  }
}

/** Two faults alike, one after the other: one that lasts as long as both. */
function* mergeFaults(current: Case, _seen: Seen, [from = 0]: Place): Iterable<Proposal> {
  const { schedule } = current;
  for (let i = from; i < schedule.length; i++) {
    for (let j = 0; j < schedule.length; j++) {
      const merged = i === j ? undefined : mergedFault(schedule[i]!, schedule[j]!);
      if (merged) yield { smaller: { ...current, schedule: schedule.flatMap((fault, k) => (k === i ? [merged] : k === j ? [] : [fault])) }, next: [i] };
    }
  }
}

function mergedFault(first: Fault, second: Fault): Fault | undefined {
  if (!('atUs' in first.trigger) || !('atUs' in second.trigger) || second.trigger.atUs < first.trigger.atUs) return undefined;
  if (!('forUs' in first.action) || !('forUs' in second.action)) return undefined;
  const endUs = Math.max(first.trigger.atUs + first.action.forUs, second.trigger.atUs + second.action.forUs);
  if (JSON.stringify({ ...first.action, forUs: 0 }) !== JSON.stringify({ ...second.action, forUs: 0 })) return undefined;
  return { ...first, action: { ...first.action, forUs: endUs - first.trigger.atUs } };
}

function* simplifyFaults(current: Case, _seen: Seen, [from = 0]: Place): Iterable<Proposal> {
  for (const [schedule, next] of withSimpler(current.schedule, from, simplerFaults)) yield { smaller: { ...current, schedule }, next };
}

function* simplifyRequests(current: Case, _seen: Seen, [from = 0]: Place): Iterable<Proposal> {
  const { requests } = current.pinned;
  if (requests === undefined) return;
  for (const [simpler, next] of withSimpler(requests, from, simplerRequests)) yield { smaller: withRequests(current, simpler), next };
}

function* withSimpler<T>(list: readonly T[], from: number, simpler: (item: T) => readonly T[]): Iterable<[T[], Place]> {
  for (let i = from; i < list.length; i++) {
    for (const item of simpler(list[i]!)) yield [list.map((old, k) => (k === i ? item : old)), [i]];
  }
}

/** The storm ends soon after what it needs. */
function* shortenStorm(current: Case, { record, violatedUs }: Seen): Iterable<Proposal> {
  const last = [...timesOf(current), 0].reduce((a, b) => Math.max(a, b));
  const candidates = [...tailsUs.map((tail) => last + tail), violatedUs + 1, Math.floor(record.durationUs / 2), ...(violatedUs > 0 ? simplerSpans(record.durationUs) : [])];
  for (const durationUs of [...new Set(candidates)].sort((a, b) => a - b)) {
    if (durationUs > last && durationUs < record.durationUs) yield { smaller: { ...current, pinned: { ...current.pinned, durationUs } }, next: [] };
  }
}

/** The pauses between events become short and round; what comes later comes sooner by as much. */
function* closeGaps(current: Case, { record }: Seen, [from = 0]: Place): Iterable<Proposal> {
  const times = [...new Set(timesOf(current))].sort((a, b) => a - b);
  for (let i = from; i < times.length; i++) {
    const beforeUs = i === 0 ? 0 : times[i - 1]!;
    for (const gapUs of simplerSpans(times[i]! - beforeUs)) {
      const laterUs = beforeUs + gapUs - times[i]!;
      const moved = (atUs: number): number => (atUs >= times[i]! ? atUs + laterUs : atUs);
      const schedule = current.schedule.map((fault) => ('atUs' in fault.trigger ? { ...fault, trigger: { atUs: moved(fault.trigger.atUs) } } : fault));
      const { requests } = current.pinned;
      const pinned = {
        ...current.pinned,
        durationUs: record.durationUs + laterUs,
        ...(requests && { requests: requests.map((request) => ({ ...request, atUs: moved(request.atUs) })) }),
      };
      yield { smaller: { ...current, schedule, pinned }, next: [i] };
    }
  }
}

/**
 * Parameters at their default, or what they mostly are. Only where the scenario would do and expect the same with it: a schedule that it
 * would not have drawn may break what its expectations rest on.
 */
function* simplifyParameters(current: Case, _seen: Seen, [from = 0]: Place, scenario: Scenario): Iterable<Proposal> {
  const resolved = planned(scenario, current)?.parameters;
  if (resolved === undefined) return;
  const plan = planOf(scenario, { ...current, parameters: resolved });
  for (let i = from; i < scenario.parameters.length; i++) {
    const spec = scenario.parameters[i]!;
    const simplest = spec.default === 'any' ? mostOf(spec.odds ?? []) : spec.default;
    if (simplest === undefined || simplest === resolved[spec.name]) continue;
    const smaller = { ...current, parameters: { ...resolved, [spec.name]: simplest } };
    if (planOf(scenario, smaller) === plan) yield { smaller, next: [i + 1] };
  }
}

/** The value that stands there most often, the first of equals. */
function mostOf(values: readonly ParameterValue[]): ParameterValue | undefined {
  const times = (value: ParameterValue): number => values.filter((one) => one === value).length;
  return values.reduce<ParameterValue | undefined>((best, value) => (best === undefined || times(value) > times(best) ? value : best), undefined);
}

function planned(scenario: Scenario, { seed, parameters, splices }: Case): Setup | undefined {
  try {
    return setupOf(scenario, { scenario: scenario.name, seed, parameters, ...(splices && { splices }) });
  } catch (error) {
    // By name: in a mutant's copy of the house the class is another one.
    if (error instanceof Error && error.name === UsageError.name) return undefined;
    throw error;
  }
}

/** What a scenario does by itself and rests on. */
function planOf(scenario: Scenario, theCase: Case): string | undefined {
  const setup = planned(scenario, theCase);
  if (setup === undefined) return undefined;
  const { schedule, prepare, afterStorm, failover, initial, durationUs, hosts } = setup;
  return JSON.stringify([schedule, prepare, afterStorm, failover, initial, durationUs, hosts.map(({ disks }) => disks)]);
}

function withRequests(current: Case, requests: readonly ListedRequest[]): Case {
  return { ...current, pinned: { ...current.pinned, requests } };
}

/** When faults and requests come, where that is known beforehand. */
function timesOf({ schedule, pinned }: Case): number[] {
  return [...schedule.flatMap(({ trigger }) => ('atUs' in trigger ? [trigger.atUs] : [])), ...(pinned.requests ?? []).map(({ atUs }) => atUs)];
}
