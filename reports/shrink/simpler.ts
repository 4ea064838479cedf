/** Simpler forms of single things: times, faults, requests. Each list begins with the simplest, and following it always ends. */

import type { Fault, FaultAction, ListedRequest, Trigger } from '../../sim/types.js';

/** Round times in microseconds, the shortest first. */
const roundSpansUs = [1000, 10_000, 100_000, 1e6, 5e6, 10e6];
const BLOCK_SECTORS = 8;

/** Fewer digits, or as many and less. */
export function simplerSpans(us: number): number[] {
  const digits = digitsOf(us);
  const shorter = roundSpansUs.filter((round) => round < us && digitsOf(round) <= digits);
  const rounded = [1, 2].filter((kept) => kept < digits).flatMap((kept) => {
    const unit = 10 ** (String(us).length - kept);
    return [Math.floor(us / unit) * unit, Math.ceil(us / unit) * unit];
  });
  return [...shorter, ...rounded.filter((round) => !shorter.includes(round))];
}

function digitsOf(us: number): number {
  return String(us).replace(/0+$/, '').length;
}

/** Fields of faults that are lengths of time. */
const spans = ['restartAfterUs', 'forUs', 'lateUs', 'latencyUs'] as const;
/** Fields that are simplest at a value. */
const simplest: Record<string, number> = { tear: 1, times: 1, factor: 2, sectors: 1, noise: 1 };

export function simplerFaults(fault: Fault): Fault[] {
  const { trigger, action } = fault;
  return [...simplerTriggers(trigger).map((simpler) => ({ ...fault, trigger: simpler })), ...simplerActions(action).map((simpler) => ({ ...fault, action: simpler }))];
}

function simplerTriggers(trigger: Trigger): Trigger[] {
  if ('atUs' in trigger) return [];
  const { delayUs, ...prompt } = trigger;
  const list: Trigger[] = delayUs === undefined ? [] : [prompt, ...simplerSpans(delayUs).map((us) => ({ ...trigger, delayUs: us }))];
  for (const nth of new Set([1, 2, 3, 5, Math.floor(trigger.nth / 2), trigger.nth - 1])) if (nth > 0 && nth < trigger.nth) list.push({ ...trigger, nth });
  return list;
}

function simplerActions(action: FaultAction): FaultAction[] {
  const list: FaultAction[] = [];
  if (action.do === 'power-loss') {
    if (action.hosts.length === 1) {
      const { restartAfterUs } = action;
      list.push({ do: 'crash', host: action.hosts[0]!, ...(restartAfterUs !== undefined && { restartAfterUs }) });
    } else list.push(...action.hosts.map((host) => ({ ...action, hosts: [host] })));
  }
  // Without it the host stays down until the storm is over.
  if ('restartAfterUs' in action) list.push(without(action, 'restartAfterUs'));
  if ('stream' in action) list.push(without(action, 'stream'));
  if (action.do === 'cut' && action.oneWay) list.push({ ...action, oneWay: false });
  const fields = action as unknown as Record<string, unknown>;
  for (const name of spans) {
    const us = fields[name];
    if (typeof us === 'number') for (const simpler of simplerSpans(us)) list.push({ ...fields, [name]: simpler } as unknown as FaultAction);
  }
  for (const [name, value] of Object.entries(simplest)) {
    const number = fields[name];
    if (typeof number === 'number' && number > value) list.push({ ...fields, [name]: value } as unknown as FaultAction);
  }
  return list;
}

function without<T extends object, K extends keyof T>(whole: T, field: K): T {
  const { [field]: _, ...rest } = whole;
  return rest as unknown as T;
}

export function simplerRequests(request: ListedRequest): ListedRequest[] {
  const { sector, sectors, fua, zeros, ...rest } = request;
  const list: ListedRequest[] = [];
  if (zeros !== undefined) list.push({ ...rest, sector, sectors, fua });
  if (fua) list.push({ ...request, fua: false });
  for (const size of [BLOCK_SECTORS, 1]) if (size < sectors) list.push({ ...request, sectors: size });
  const first = sector - (sector % BLOCK_SECTORS);
  if (sector !== first) list.push({ ...request, sector: first });
  return list;
}
