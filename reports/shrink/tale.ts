/**
 * A shrunk run told in at most 25 lines: what operators, network and disks did, what the application asked and was told, what was
 * violated. Those lines come first; of what the nodes said of themselves, what matters most fills the room that is left.
 */

import type { FaultAction, RecordedRequest, RunRecord, RunResult } from '../../sim/types.js';
import { storyLines } from '../story.js';

export const taleLines = 25;
const widestLine = 180;
const violationsTold = 2;
/** Ranks above this are left to the timeline, even where there is room. */
const dullestTold = 2;

interface Line {
  atUs: number;
  host: string;
  text: string;
  /** The lower, the more it is worth. */
  rank: number;
}

/** Of a run with a record. */
export function taleOf({ record, schedule, story, violations, crash }: RunResult): string[] {
  if (record === undefined) return [];
  const actions = new Map(schedule.map(({ id, action }) => [id, action]));
  const lines: Line[] = [
    ...record.faults.map(({ id, atUs, found }) => ({ atUs: atUs + record.beganUs, ...wordsOfFault(actions.get(id)!, found), rank: found ? 0 : 3 })),
    ...record.requests.map((request) => ({ atUs: request.atUs + record.beganUs, host: request.host, text: wordsOfRequest(request), rank: 0 })),
    ...story.flatMap(({ atUs, host, text }) => {
      const rank = atUs < record.beganUs ? 5 : rankOf(host, text, atUs >= record.beganUs + record.durationUs);
      return rank === undefined ? [] : [{ atUs, host, text, rank }];
    }),
    ...violations.slice(0, violationsTold).map(({ property, atUs, detail }) => ({ atUs, host: '', text: `VIOLATED ${property}: ${detail}`, rank: -1 })),
    ...(crash === undefined ? [] : [{ atUs: endOf(record, story), host: '', text: `THE CORE THREW ${crash.split('\n')[0]}`, rank: -1 }]),
  ];
  // What came of it is no part of how it came.
  const end = violations.length === 0 ? Infinity : Math.max(...violations.slice(0, violationsTold).map(({ atUs }) => atUs));
  const ordered = lines.map((line, index) => ({ ...line, rank: line.atUs > end ? 6 : line.rank, index }));
  // Of what is worth the same, the later: it is nearer to what went wrong.
  const kept = ordered.filter(({ rank }) => rank <= dullestTold).sort((a, b) => a.rank - b.rank || b.atUs - a.atUs || b.index - a.index).slice(0, taleLines - 1);
  kept.sort((a, b) => a.atUs - b.atUs || (a.rank < 0 ? 1 : 0) - (b.rank < 0 ? 1 : 0) || a.index - b.index);
  const left = lines.length - kept.length;
  return [...storyLines(kept.map(({ atUs, host, text }) => ({ atUs, host, text: shortened(text) }))), ...(left > 0 ? [`(${left} more lines with --timeline)`] : [])];
}

const shortened = (text: string): string => (text.length > widestLine ? `${text.slice(0, widestLine - 1)}…` : text);

const endOf = (record: RunRecord, story: RunResult['story']): number => story.at(-1)?.atUs ?? record.beganUs;

/** What the story says of itself, by worth; undefined: a fault or request already says it. */
function rankOf(host: string, text: string, isAfterStorm: boolean): number | undefined {
  if (/^(VIOLATION of|fault |operator: |the storm begins)/.test(text)) return undefined;
  if (host === '') return text === 'the storm is over' ? 1 : 3;
  // Most of what is repaired needed no repair.
  if (isAfterStorm && /^after the storm: |is refused/.test(text)) return 3;
  if (/^(the cluster manager|is shot|boots)|is refused|resync (started|finished|aborted) as target|verify (finished|aborted) as source/.test(text)) return 1;
  if (/^connection lost|: rule |role \w+ → |disk \w+ → /.test(text)) return 2;
  return /generation /.test(text) ? 4 : 3;
}

function wordsOfRequest({ operation, volume, sector, sectors, fua, zeros, outcome, atUs, endedUs }: RecordedRequest): string {
  const range = `${sectors === 1 ? 'sector' : `${sectors} sectors from`} ${sector}${volume === 0 ? '' : ` of volume ${volume}`}`;
  const verb = zeros === undefined ? `${operation}s` : zeros === 'discard' ? 'discards' : 'zeroes';
  const what = operation === 'flush' ? 'the application flushes' : `the application ${verb} ${range}${fua ? ' (FUA)' : ''}`;
  if (outcome === 'unknown') return `${what}: never answered`;
  return `${what}: ${outcome === 'done' ? 'acknowledged' : 'an error'} after ${((endedUs! - atUs) / 1000).toFixed(1)} ms`;
}

function wordsOfFault(action: FaultAction, found: boolean): { host: string; text: string } {
  const { host, text } = faultInWords(action);
  return { host, text: found ? text : `${text} (nothing to break)` };
}

function faultInWords(action: FaultAction): { host: string; text: string } {
  const seconds = (us: number): string => `${us / 1_000_000} s`;
  const back = (us: number | undefined): string => (us === undefined ? '' : `, back after ${seconds(us)}`);
  const way = (one: { from: string; to: string; stream?: string }, isOneWay: boolean): string =>
    `${one.stream === undefined ? '' : `the ${one.stream} stream `}${isOneWay ? 'from' : 'between'} ${one.from} ${isOneWay ? 'to' : 'and'} ${one.to}`;
  switch (action.do) {
    case 'crash':
      return { host: action.host, text: `crashes${back(action.restartAfterUs)}` };
    case 'power-loss':
      return { host: action.hosts.join(', '), text: `loses power${back(action.restartAfterUs)}` };
    case 'cut':
      return { host: 'network', text: `cut ${way(action, action.oneWay)} for ${seconds(action.forUs)}` };
    case 'stall':
      return { host: 'network', text: `held back ${way(action, true)} for ${seconds(action.forUs)}` };
    case 'reset':
      return { host: 'network', text: `reset ${way(action, false)}` };
    case 'garble':
      return { host: 'network', text: `${action.times} packets of data from ${action.from} to ${action.to} are damaged` };
    case 'slow-link':
      return { host: 'network', text: `slow from ${action.from} to ${action.to} for ${seconds(action.forUs)}: ${action.latencyUs / 1000} ms, ${action.bytesPerSecond} bytes/s` };
    case 'pause':
      return { host: action.host, text: `stands still for ${seconds(action.forUs)}` };
    case 'slow-clock':
      return { host: action.host, text: `its alarms are ${seconds(action.lateUs)} late for ${seconds(action.forUs)}` };
    case 'slow-disk':
      return { host: action.host, text: `its disks are ${action.factor} times as slow for ${seconds(action.forUs)}` };
    case 'hang-disk':
      return { host: action.host, text: `${disk(action.volume)} hangs for ${seconds(action.forUs)}` };
    case 'disk-error':
      return { host: action.host, text: `${disk(action.volume)} fails the next ${action.times} ${action.operation} of ${action.area} in ${action.sectors} sectors from ${action.firstSector}` };
    case 'latent-error':
      return { host: action.host, text: `${disk(action.volume)} cannot read ${action.sectors} sectors from ${action.firstSector} any more` };
    case 'corrupt':
      return { host: action.host, text: `its disk changes ${action.sectors} sectors from ${action.firstSector} silently` };
    case 'resize-disk':
      return { host: action.host, text: `the device below grows by ${action.more - action.fewer} sectors` };
    case 'command': {
      const { verb, resource: _, config: __, ...rest } = action.command as { verb: string; resource?: string; config?: unknown };
      const details = Object.entries(rest).filter(([, value]) => value !== false && value !== 0);
      return { host: action.host, text: `the operator says ${verb}${details.map(([name, value]) => (value === true ? ` ${name}` : ` ${name}=${String(value)}`)).join('')}` };
    }
    default:
      return action satisfies never;
  }
}

const disk = (volume: number | undefined): string => (volume === undefined ? 'its disk' : `its disk of volume ${volume}`);
