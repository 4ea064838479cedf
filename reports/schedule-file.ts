/**
 * `--schedule FILE`: a list of faults that a person edited, or the one inside a failure file. Checked field by field, since a fault that is
 * silently ignored would make a run look survivable.
 */

import type { Fault, FaultKind } from '../sim/types.js';
import { UsageError, diskVerbs } from '../sim/types.js';
import { isRecord, readJson } from './files.js';

type FieldType = 'text' | 'texts' | 'number' | 'flag' | 'area' | 'operation' | 'command' | 'number?' | 'stream?';

/** The fields of each fault beside `do` (sim/types.ts, `FaultAction`). */
const actionFields: Record<FaultKind, Record<string, FieldType>> = {
  'crash': { host: 'text', restartAfterUs: 'number?' },
  'power-loss': { hosts: 'texts', restartAfterUs: 'number?', tear: 'number' },
  'pause': { host: 'text', forUs: 'number' },
  'slow-clock': { host: 'text', forUs: 'number', lateUs: 'number' },
  'cut': { from: 'text', to: 'text', oneWay: 'flag', stream: 'stream?', forUs: 'number' },
  'reset': { from: 'text', to: 'text', stream: 'stream?' },
  'stall': { from: 'text', to: 'text', stream: 'stream?', forUs: 'number' },
  'garble': { from: 'text', to: 'text', times: 'number' },
  'slow-link': { from: 'text', to: 'text', forUs: 'number', latencyUs: 'number', bytesPerSecond: 'number' },
  'disk-error': { host: 'text', volume: 'number?', area: 'area', operation: 'operation', firstSector: 'number', sectors: 'number', times: 'number' },
  'corrupt': { host: 'text', firstSector: 'number', sectors: 'number' },
  'latent-error': { host: 'text', volume: 'number?', firstSector: 'number', sectors: 'number' },
  'resize-disk': { host: 'text', volume: 'number?', more: 'number', fewer: 'number', noise: 'number' },
  'slow-disk': { host: 'text', forUs: 'number', factor: 'number' },
  'hang-disk': { host: 'text', volume: 'number?', forUs: 'number' },
  'command': { host: 'text', command: 'command' },
};

const triggerFields: Record<string, Record<string, FieldType>> = {
  atUs: { atUs: 'number' },
  onDiskOperation: { onDiskOperation: 'operation', host: 'text', area: 'area', nth: 'number', when: 'text', delayUs: 'number?' },
  onPacket: { onPacket: 'text', from: 'text', to: 'text', nth: 'number', when: 'text', delayUs: 'number?' },
};

/** `hosts`: the hosts of the scenario, when they are known; a fault on another host is a mistake. */
export function readSchedule(path: string, hosts?: readonly string[]): Fault[] {
  const value = readJson(path, '--schedule');
  const list = isRecord(value) ? value['schedule'] : value;
  if (!Array.isArray(list)) {
    throw new UsageError(`--schedule ${path}: holds no list of faults; give a JSON list, or an object with a list under "schedule"`);
  }
  return checkSchedule(list, `--schedule ${path}`, hosts);
}

export function checkSchedule(list: readonly unknown[], where: string, hosts?: readonly string[]): Fault[] {
  const ids = new Set<string>();
  return list.map((fault, index) => {
    const name = isRecord(fault) && typeof fault['id'] === 'string' ? `fault '${fault['id']}'` : `fault number ${index + 1}`;
    const wrong = (what: string): UsageError => new UsageError(`${where}: ${name} ${what}; see Fault in sim/types.ts`);
    if (!isRecord(fault) || typeof fault['id'] !== 'string') throw wrong('has no "id"');
    if (ids.has(fault['id'])) throw wrong('has the "id" of an earlier one');
    ids.add(fault['id']);
    const { trigger, action } = fault;
    if (!isRecord(trigger)) throw wrong('has no "trigger"');
    const form = Object.keys(triggerFields).find((key) => key in trigger);
    if (form === undefined) throw wrong(`has a trigger without ${Object.keys(triggerFields).join(', ')}`);
    checkFields(trigger, triggerFields[form]!, [], (what) => wrong(`has a trigger whose ${what}`));
    if (!isRecord(action) || typeof action['do'] !== 'string') throw wrong('has no "action" with a "do"');
    const fields = (actionFields as Record<string, Record<string, FieldType>>)[action['do']];
    if (fields === undefined) throw wrong(`does '${action['do']}', which is none of ${Object.keys(actionFields).join(', ')}`);
    checkFields(action, fields, ['do'], (what) => wrong(`has an action whose ${what}`));
    for (const host of hostsOf(trigger, action)) {
      if (hosts !== undefined && !hosts.includes(host)) throw wrong(`names host '${host}'; the scenario has ${hosts.join(', ')}`);
    }
    return fault as unknown as Fault;
  });
}

function hostsOf(...parts: Record<string, unknown>[]): string[] {
  return parts.flatMap((part) => [part['host'], part['from'], part['to'], ...(Array.isArray(part['hosts']) ? (part['hosts'] as unknown[]) : [])])
    .filter((host) => typeof host === 'string');
}

function checkFields(
  value: Record<string, unknown>,
  fields: Record<string, FieldType>,
  also: readonly string[],
  wrong: (what: string) => UsageError,
): void {
  for (const key of Object.keys(value)) {
    if (!(key in fields) && !also.includes(key)) throw wrong(`field "${key}" is unknown (it may have ${Object.keys(fields).join(', ')})`);
  }
  for (const [key, type] of Object.entries(fields)) {
    const problem = fieldProblem(value[key], type);
    if (problem !== undefined) throw wrong(`field "${key}" ${problem}`);
  }
}

function fieldProblem(value: unknown, type: FieldType): string | undefined {
  const wholeNumber = typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
  switch (type) {
    case 'text':
      return typeof value === 'string' ? undefined : 'must be text';
    case 'texts':
      return Array.isArray(value) && value.every((item) => typeof item === 'string') ? undefined : 'must be a list of texts';
    case 'number':
      return wholeNumber ? undefined : 'must be a whole number, not negative';
    case 'number?':
      return value === undefined || wholeNumber ? undefined : 'must be a whole number, not negative';
    case 'flag':
      return typeof value === 'boolean' ? undefined : 'must be true or false';
    case 'area':
      return value === 'data' || value === 'meta' ? undefined : 'must be "data" or "meta"';
    case 'operation':
      return diskVerbs.some((verb) => verb === value) ? undefined : `must be one of ${diskVerbs.map((verb) => `"${verb}"`).join(', ')}`;
    case 'stream?':
      return value === undefined || value === 'data' || value === 'meta' ? undefined : 'must be "data" or "meta"';
    case 'command':
      return isRecord(value) && typeof value['verb'] === 'string' ? undefined : 'must be a command with a "verb"';
  }
}
