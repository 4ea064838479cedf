/**
 * `lockstep explore`: goes through everything that can happen to a small configuration, in every order, and says how much that was. A violation
 * is told step by step, the shortest way there is to it.
 */

import { configurations, type Configuration } from '../sim/explore/configurations.js';
import { tell } from '../sim/explore/path.js';
import { pinned } from '../sim/explore/pinned.js';
import { Search, type Counts, type Exploration } from '../sim/explore/search.js';
import { Worlds, type Action } from '../sim/explore/world.js';
import type { Violation } from '../sim/types.js';
import { UsageError } from '../sim/types.js';
import type { ExitCode } from './exit-codes.js';
import { exitCodeOfFailure, exitCodes } from './exit-codes.js';
import { suggestion } from './parameters.js';
import { storyLines } from './story.js';

export interface ExploreOptions {
  depth?: string;
  states?: string;
  json?: boolean;
}

interface Output {
  out(line: string): void;
  err(line: string): void;
}

/** A set of JavaScript holds so many and no more. */
const STATES_MAX = 16_000_000;
/** Of a configuration that does not end in minutes. */
const BOUNDED_STATES = 500_000;
/** Ends whose paths are judged; of more, as many evenly chosen ones. */
const JUDGED_MAX = 400;
/** Worlds between two looks at the clock. */
const AT_ONCE = 500;

interface Found {
  counts: Counts;
  isComplete: boolean;
  judged: number;
  failure: { violations: Violation[]; crash?: string; path: Action[]; story: string[] } | undefined;
}

export function exploreCommand(name: string, options: ExploreOptions, { out, err }: Output): ExitCode {
  const configuration = configurationNamed(name);
  const bounds = {
    depth: options.depth === undefined ? Infinity : wholeNumber('--depth', options.depth),
    states: options.states === undefined ? (configuration.isComplete ? STATES_MAX : BOUNDED_STATES) : wholeNumber('--states', options.states),
  };
  const command = ['lockstep explore', name, ...(options.depth === undefined ? [] : ['--depth', options.depth]), ...(options.states === undefined ? [] : ['--states', options.states])].join(' ');
  if (options.json !== true) out(`${configuration.name}: ${configuration.summary}`);
  const began = performance.now();
  const found = explore(configuration, bounds, progress(began, err));
  const seconds = (performance.now() - began) / 1000;
  const expected = found.isComplete ? pinned[name] : undefined;
  const isAsPinned = expected === undefined || sameCounts(expected, found.counts);
  if (options.json === true) {
    out(JSON.stringify({ configuration: name, ...found.counts, complete: found.isComplete, judged: found.judged, seconds: Number(seconds.toFixed(1)), ...(expected && { asPinned: isAsPinned }), ...(found.failure && { failure: found.failure }), command }));
  } else {
    for (const line of [...countLines(found, seconds), ...completenessLines(found, options, expected, isAsPinned), ...failureLines(found)]) out(line);
  }
  (options.json === true ? err : out)(`repeat: ${command}`);
  if (found.failure) return exitCodeOfFailure(found.failure);
  return isAsPinned ? exitCodes.held : exitCodes.nondeterminism;
}

/** The search, then a judgement of the ways to its ends. */
function explore(configuration: Configuration, bounds: { depth: number; states: number }, tick: (counts: Counts, judged: number) => void): Found {
  const worlds = new Worlds(configuration);
  const search = new Search(worlds, bounds);
  while (search.go(AT_ONCE)) tick(search.counts, 0);
  const result = search.result;
  const { counts, isComplete, broken } = result;
  if (broken) {
    const told = tell(worlds, broken.path, false);
    const violations = broken.property === 'assertion' ? [] : [{ property: broken.property, atUs: told.story.at(-1)?.atUs ?? 0, detail: broken.detail }];
    return { counts, isComplete, judged: 0, failure: { violations, ...(broken.property === 'assertion' && { crash: told.crash ?? broken.detail }), path: broken.path, story: storyLines(told.story) } };
  }
  const chosen = chosenEnds(result);
  for (const [judged, end] of chosen.entries()) {
    tick(counts, judged);
    const path = search.path(end);
    const { violations, crash, story } = tell(worlds, path, true);
    if (violations.length > 0 || crash !== undefined) return { counts, isComplete, judged: judged + 1, failure: { violations, ...(crash !== undefined && { crash }), path, story: storyLines(story) } };
  }
  return { counts, isComplete, judged: chosen.length, failure: undefined };
}

const chosenEnds = ({ ends }: Exploration): number[] => {
  if (ends.length <= JUDGED_MAX) return ends;
  return Array.from({ length: JUDGED_MAX }, (_, at) => ends[Math.floor((at * ends.length) / JUDGED_MAX)]!);
};

function configurationNamed(name: string): Configuration {
  const found = configurations.find((one) => one.name === name);
  if (found) return found;
  const names = configurations.map((one) => one.name);
  throw new UsageError(`unknown configuration '${name}'${suggestion(name, names)}; there are: ${names.join(', ')}`);
}

function wholeNumber(option: string, text: string): number {
  const value = Number(text);
  const max = option === '--states' ? STATES_MAX : Number.MAX_SAFE_INTEGER;
  if (!Number.isSafeInteger(value) || value < 1 || value > max) throw new UsageError(`${option} ${text} is impossible; give a number from 1 to ${max}`);
  return value;
}

// ---- Words ------------------------------------------------------------------------------------------------------------------

const inThousands = (value: number): string => String(value).replace(/\B(?=(\d{3})+$)/g, ',');

function countLines({ counts, judged }: Found, seconds: number): string[] {
  const { states, transitions, depth, ends, nodes } = counts;
  return [
    `states       ${inThousands(states)} different worlds; ${inThousands(nodes)} different states of a node in them`,
    `transitions  ${inThousands(transitions)}`,
    `depth        ${depth} steps to the furthest`,
    `ends         ${inThousands(ends)} where nothing more happens by itself; ${judged === ends ? 'the path to each' : `the paths to ${inThousands(judged)} of them`} judged by every checker`,
    `speed        ${inThousands(Math.round(states / seconds))} states per second, ${seconds.toFixed(1)} s`,
  ];
}

function completenessLines({ counts, isComplete, failure }: Found, { depth, states }: ExploreOptions, expected: Counts | undefined, isAsPinned: boolean): string[] {
  if (failure && !isComplete) return ['stopped at the first violation'];
  if (!isComplete) {
    const bound = [...(depth === undefined ? [] : [`--depth ${depth}`]), ...(states === undefined ? [] : [`--states ${states}`])].join(' ') || `${inThousands(BOUNDED_STATES)} states, since it is a large one (--states N, --depth N)`;
    return [`BOUNDED, NOT COMPLETE: ${bound}`];
  }
  if (expected === undefined) return ['complete; its counts are not pinned'];
  if (isAsPinned) return ['complete, and the counts are as pinned'];
  return ['complete, but the counts are NOT AS PINNED: the core does something else than it did in some order of events', `  pinned  ${JSON.stringify(expected)}`, `  found   ${JSON.stringify(counts)}`, '  if that was meant, sim/explore/pinned.ts takes the new ones'];
}

function failureLines({ failure }: Found): string[] {
  if (!failure) return ['verdict      held'];
  const { violations, crash, story, path } = failure;
  return [
    '',
    ...story,
    '',
    ...violations.map(({ property, detail }) => `VIOLATED     ${property}: ${detail}`),
    ...(crash === undefined ? [] : [`THE CORE THREW ${crash.split('\n').slice(0, 4).join('\n')}`]),
    `verdict      failed, ${path.length} steps from the beginning`,
  ];
}

const sameCounts = (one: Counts, other: Counts): boolean => (Object.keys(one) as (keyof Counts)[]).every((name) => one[name] === other[name]);

const FIRST_LINE_MS = 2000;
const TERMINAL_LINE_MS = 250;
const LOG_LINE_MS = 60_000;

/** A line that is written over on a terminal, one a minute elsewhere; nothing in the first two seconds. */
function progress(began: number, err: (line: string) => void): (counts: Counts, judged: number) => void {
  const isTerminal = process.stderr.isTTY;
  let nextMs = began + (isTerminal ? FIRST_LINE_MS : LOG_LINE_MS);
  return ({ states, transitions, depth, ends }, judged) => {
    const nowMs = performance.now();
    if (nowMs < nextMs) return;
    nextMs = nowMs + (isTerminal ? TERMINAL_LINE_MS : LOG_LINE_MS);
    const search = `${inThousands(states)} states, ${inThousands(transitions)} transitions, depth ${depth}, ${inThousands(Math.round((states * 1000) / (nowMs - began)))} states per second`;
    const line = judged > 0 ? `${inThousands(states)} states; ${judged} of ${Math.min(ends, JUDGED_MAX)} paths judged` : search;
    if (isTerminal) process.stderr.write(`\r\u001b[K${line}`);
    else err(line);
  };
}
