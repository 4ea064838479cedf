/**
 * What a shrunk failure file says besides its schedule, checked field by field: a request that is silently ignored would make a run look
 * survivable.
 */

import type { ListedRequest, Pinned } from '../sim/types.js';
import { UsageError } from '../sim/types.js';
import { isRecord } from './files.js';

const fields = ['durationUs', 'requests', 'entries', 'steady'] satisfies (keyof Pinned)[];
const requestFields = ['atUs', 'host', 'operation', 'volume', 'sector', 'sectors', 'fua', 'zeros'] satisfies (keyof ListedRequest)[];
const operations = ['read', 'write', 'flush'] satisfies ListedRequest['operation'][];
const zeroings = ['discard', 'zeroes', 'zeroes-unmap'] satisfies ListedRequest['zeros'][];

export function checkPinned(value: unknown, where: string): void {
  const wrong = (what: string): UsageError => new UsageError(`${where}: "pinned" ${what}; see Pinned in sim/types.ts`);
  if (!isRecord(value)) throw wrong('is no object');
  const unknown = Object.keys(value).find((key) => !isOneOf(key, fields));
  if (unknown !== undefined) throw wrong(`has an unknown field "${unknown}" (it may have ${fields.join(', ')})`);
  for (const name of ['durationUs', 'entries']) if (value[name] !== undefined && !isWhole(value[name])) throw wrong(`has a "${name}" that is no whole number`);
  if (value['steady'] !== undefined && typeof value['steady'] !== 'boolean') throw wrong('has a "steady" that is neither true nor false');
  const { requests } = value;
  if (requests === undefined) return;
  if (!Array.isArray(requests)) throw wrong('has no list of "requests"');
  let beforeUs = 0;
  requests.forEach((request: unknown, index) => {
    const problem = problemOf(request, beforeUs);
    if (problem !== undefined) throw wrong(`has a request number ${index + 1} that ${problem}`);
    beforeUs = (request as ListedRequest).atUs;
  });
}

function problemOf(request: unknown, beforeUs: number): string | undefined {
  if (!isRecord(request)) return 'is no object';
  const unknown = Object.keys(request).find((key) => !isOneOf(key, requestFields));
  if (unknown !== undefined) return `has an unknown field "${unknown}" (it may have ${requestFields.join(', ')})`;
  for (const name of ['atUs', 'volume', 'sector', 'sectors']) if (!isWhole(request[name])) return `has a "${name}" that is no whole number`;
  if ((request['atUs'] as number) < beforeUs) return 'comes before the one ahead of it: put them in the order of "atUs"';
  if (typeof request['host'] !== 'string') return 'has no "host"';
  if (!isOneOf(request['operation'], operations)) return `has an "operation" that is none of ${operations.join(', ')}`;
  if (typeof request['fua'] !== 'boolean') return 'has a "fua" that is neither true nor false';
  if (request['zeros'] !== undefined && !isOneOf(request['zeros'], zeroings)) return `has "zeros" that are none of ${zeroings.join(', ')}`;
  return undefined;
}

const isOneOf = (value: unknown, list: readonly unknown[]): boolean => list.includes(value);
const isWhole = (value: unknown): boolean => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
