/**
 * Words of the command line turned into values, checked before anything runs: seeds, parameters, durations. Each throws `UsageError` with
 * one line that names the problem and the mend.
 */

import type { ParameterSpec, Parameters, ParameterValue, RunRequest, Scenario } from '../sim/types.js';
import { UsageError } from '../sim/types.js';
import { checkReadable } from './files.js';
import { spliceWord } from './splice.js';

/** The scenario of that name; an unknown name suggests the nearest ones. */
export function scenarioNamed(scenarios: readonly Scenario[], name: string): Scenario {
  const found = scenarios.find((scenario) => scenario.name === name);
  if (found !== undefined) return found;
  throw new UsageError(`unknown scenario '${name}'${suggestion(name, scenarios.map((s) => s.name))}; 'lockstep scenarios' lists them`);
}

/**
 * A seed: a number (0..2^53-1), or a commit hash (7 to 64 hexadecimal digits, of which the first 12 count), so that CI gets new seeds with
 * each commit and the same ones when it repeats one.
 */
export function parseSeed(text: string): number {
  if (/^\d+$/.test(text) && Number(text) <= Number.MAX_SAFE_INTEGER) return Number(text);
  if (/^[0-9a-f]{7,64}$/i.test(text)) return Number.parseInt(text.slice(0, 12), 16);
  throw new UsageError(`'${text}' is no seed; give a number from 0 to ${Number.MAX_SAFE_INTEGER} or a commit hash of 7 to 64 hexadecimal digits`);
}

/** `A..B` (both included), or a single seed. */
export function parseSeeds(text: string): { from: number; to: number } {
  const parts = text.split('..');
  if (parts.length > 2 || parts.includes('')) throw new UsageError(`'${text}' is no range of seeds; write --seeds 1..100, or one seed`);
  const from = parseSeed(parts[0]!);
  const to = parts.length === 2 ? parseSeed(parts[1]!) : from;
  if (to < from) throw new UsageError(`the seeds ${text} run backwards; write --seeds ${to}..${from}`);
  return { from, to };
}

/** `90s`, `10m`, `2h` → milliseconds. */
export function parseDuration(text: string): number {
  const match = /^(\d+)(s|m|h)$/.exec(text);
  const ms = match === null ? 0 : Number(match[1]) * { s: 1000, m: 60_000, h: 3_600_000 }[match[2] as 's' | 'm' | 'h'];
  if (ms === 0) throw new UsageError(`'${text}' is no duration; write for example --time 90s, --time 10m or --time 2h`);
  return ms;
}

export function parseJobs(text: string): number {
  const jobs = Number(text);
  if (!Number.isInteger(jobs) || jobs < 1 || jobs > 256) throw new UsageError(`--jobs ${text} is impossible; give a number of workers from 1 to 256`);
  return jobs;
}

/** Splits `name=value`. */
export function parseAssignment(option: '--set' | '--vary', text: string): { name: string; value: string } {
  const at = text.indexOf('=');
  if (at <= 0) throw new UsageError(`'${option} ${text}' sets nothing; write ${option} name=value`);
  return { name: text.slice(0, at), value: text.slice(at + 1) };
}

/** Every parameter of the scenario: the default, or what was set. */
export function fillParameters(scenario: Scenario, assignments: readonly { name: string; value: string }[]): Parameters {
  const filled: Parameters = {};
  for (const spec of scenario.parameters) filled[spec.name] = spec.default;
  for (const { name, value } of assignments) {
    const spec = scenario.parameters.find((candidate) => candidate.name === name);
    if (spec === undefined) {
      const names = scenario.parameters.map((candidate) => candidate.name);
      throw new UsageError(`scenario ${scenario.name} has no parameter '${name}'${suggestion(name, names)}; it has: ${names.join(', ') || 'none'}`);
    }
    filled[name] = parseValue(scenario, spec, value);
  }
  return filled;
}

/** One line on what a parameter may be: `A|B|C`, `1..2000`, `FILE`, `on|off`. */
export function allowedValues(spec: ParameterSpec): string {
  if (spec.choices !== undefined) return spec.choices.join('|');
  if (spec.file === true) return 'FILE';
  switch (typeof spec.default) {
    case 'boolean':
      return 'true|false';
    case 'number':
      return `${spec.min ?? ''}..${spec.max ?? ''}${spec.unit === undefined ? '' : ` ${spec.unit}`}`;
    default:
      return 'TEXT';
  }
}

function parseValue(scenario: Scenario, spec: ParameterSpec, text: string): ParameterValue {
  const wrong = (why: string): UsageError => new UsageError(`scenario ${scenario.name}: ${spec.name}=${text} ${why}`);
  if (text === String(spec.default)) return spec.default;
  if (spec.choices !== undefined) {
    const choice = spec.choices.find((candidate) => String(candidate) === text);
    if (choice === undefined) throw wrong(`is impossible; choose one of ${spec.choices.join(', ')}`);
    return choice;
  }
  switch (typeof spec.default) {
    case 'boolean':
      if (text !== 'true' && text !== 'false') throw wrong('is impossible; choose true or false');
      return text === 'true';
    case 'number': {
      const value = Number(text);
      if (text.trim() === '' || !Number.isFinite(value)) throw wrong(`is no number; choose ${allowedValues(spec)}`);
      if (Number.isInteger(spec.default) && !Number.isInteger(value)) throw wrong('is no whole number');
      if (value < (spec.min ?? -Infinity) || value > (spec.max ?? Infinity)) throw wrong(`is out of range; choose ${allowedValues(spec)}`);
      return value;
    }
    case 'string':
      if (spec.file === true) checkReadable(text, `scenario ${scenario.name}: ${spec.name}`);
      return text;
  }
}

/** The command that repeats a run: only what differs from the scenario's defaults is said. */
export function repeatCommand(scenario: Scenario, request: RunRequest, schedulePath?: string): string {
  const words = ['lockstep', 'run', scenario.name, '--seed', String(request.seed)];
  for (const spec of scenario.parameters) {
    const value = request.parameters[spec.name];
    if (value !== undefined && value !== spec.default) words.push('--set', `${spec.name}=${value}`);
  }
  for (const splice of request.splices ?? []) words.push('--splice', spliceWord(splice));
  if (schedulePath !== undefined) words.push('--schedule', schedulePath);
  return words.map(quoteWord).join(' ');
}

export function quoteWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** `; did you mean …?` for the names within a third of their length in edits. */
export function suggestion(wrong: string, names: readonly string[]): string {
  const near = names
    .map((name) => ({ name, edits: name.includes(wrong) && wrong.length > 2 ? 0 : editDistance(wrong, name) }))
    .filter(({ name, edits }) => edits <= Math.max(2, Math.floor(name.length / 3)))
    .sort((a, b) => a.edits - b.edits)
    .slice(0, 3);
  return near.length === 0 ? '' : `; did you mean ${near.map(({ name }) => name).join(' or ')}?`;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}
