/**
 * A simulator of a few lines, to test the command line without the real one: every kind of run that a report must be able to show, as a pure
 * function of the request. Sweep workers load it by its address.
 */

import { writeFileSync } from 'node:fs';
import type { Engine, Prepared } from '../../reports/engine-types.js';
import type { Fault, RunRequest, RunResult, Scenario, Violation } from '../../sim/types.js';
import { UsageError } from '../../sim/types.js';

const scenario = (name: string, summary: string): Scenario => ({
  name,
  summary,
  parameters: [
    { name: 'protocol', description: 'replication protocol', default: 'any', choices: ['any', 'A', 'B', 'C'] },
    { name: 'writes', description: 'how many', default: 2000, min: 1, max: 100000 },
    { name: 'failFrom', description: 'seeds from here on fail', default: 0, min: 0 },
    { name: 'how', description: 'how they fail', default: 'durability', choices: ['durability', 'liveness', 'crash', 'unchecked', 'excused', 'throw', 'exit', 'usage', 'refuse', 'random', 'slow'] },
    { name: 'input', description: 'a file', default: '', file: true },
  ],
  setup: () => {
    throw new UsageError('the fake engine sets nothing up');
  },
  sometimes: ['a resync was interrupted', 'the sky fell'],
});

const drawn = ['A', 'B', 'C'];
const schedule: Fault[] = [{ id: 'crash-1', trigger: { atUs: 1_000_000 }, action: { do: 'crash', host: 'alice', restartAfterUs: 5_000_000 } }];

function prepare({ seed, parameters }: RunRequest): Prepared {
  if (parameters['how'] === 'refuse') throw new UsageError('writes and how do not go together; leave one of them out');
  return { resolved: { ...parameters, protocol: parameters['protocol'] === 'any' ? drawn[seed % 3]! : parameters['protocol']! }, hosts: ['alice', 'bob'], faults: schedule.length, streams: new Map([['swarm', 20], ['parameter protocol', 1]]) };
}

/** What was spliced, as a number. */
const spliced = ({ splices = [] }: RunRequest): number => splices.reduce((sum, { after, seed }) => sum + 31 * after + seed, 0);

/** Lost at 6 s and seen at 12: from then on every future fails, before that one in five. */
const isSpared = ({ turn }: RunRequest): boolean => turn !== undefined && turn.future > 0 && turn.atUs < 6_000_000 && turn.future % 5 !== 0;

/** One whose future has changed its past. */
const pastOf = ({ turn, parameters }: RunRequest): string => `${turn?.atUs}${parameters['writes'] === 666 && turn?.future === 3 ? ' rewritten' : ''}`;

function run(request: RunRequest): RunResult {
  const { seed, parameters } = request;
  const how = isSpared(request) ? 'pass' : Number(parameters['failFrom']) > 0 && seed >= Number(parameters['failFrom']) ? String(parameters['how']) : 'pass';
  const violations: Violation[] = [];
  if (how === 'durability' || how === 'liveness') violations.push({ property: how, atUs: 12_345_678, detail: `block ${seed} <is> gone & "lost"` });
  if (how === 'throw') throw new Error('the fake harness broke');
  if (how === 'exit') process.exit(9);
  if (how === 'usage') throw new UsageError('trace x.dmlog.gz is cut off at byte 7; record it again');
  if (how === 'slow') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 150);
  const verdict = violations.length > 0 || how === 'crash' ? 'failed' : how === 'unchecked' || how === 'excused' ? how : 'passed';
  const salt = how === 'random' ? Math.floor(Math.random() * 2 ** 48) : 0;
  if (request.trace !== undefined) writeFileSync(request.trace, ['begin', 'write', 'read', `salt ${salt}`, 'end'].map((event) => `${event}\n`).join(''));
  const active = (seed * 37) % 128;
  return {
    scenario: request.scenario,
    seed,
    ...(request.splices && { splices: request.splices }),
    parameters: prepare(request).resolved,
    verdict,
    ...(verdict === 'unchecked' ? { reason: 'image written to /tmp/x, not checked: e2fsck is missing' } : {}),
    ...(verdict === 'excused' ? { reason: 'a perfect disk would not have been readable either' } : {}),
    violations,
    ...(how === 'crash' ? { crash: 'Error: epoch counts below zero\n    at somewhere' } : {}),
    traceHash: (seed * 0x9e3779b1 + salt + spliced(request) + (request.turn?.future ?? 0) + (request.schedule?.length ?? 1)).toString(16).padStart(16, '0'),
    ...(request.turn && { pastHash: pastOf(request) }),
    schedule: request.schedule ?? schedule,
    metrics: {
      simulatedUs: 60_000_000,
      events: 40_000,
      inputs: 20_000,
      outputs: 21_000,
      issuedWrites: 2000,
      acknowledgedWrites: 1990,
      failovers: seed % 2,
      resyncBits: active * 1024,
      failoverUs: (seed % 2) * (2_000_000 + ((seed * 7919) % 4_000_000)),
      resyncUs: active * 130_000 + ((seed * 104729) % 900_000),
      activeExtentsAtCrash: active,
      disconnects: seed % 5,
    },
    coverage: {
      rules: { '40': 1, '34': seed % 11 === 0 ? 1 : 0 },
      packets: { P_DATA: 1990, P_WRITE_ACK: 1990, P_BARRIER: 80 },
      states: { 'conn:Connected': 3 },
      // One seed in so many shows something new; what is spliced from it, more of it.
      transitions: { 'conn:WFReportParams→Connected': 3, ...(seed % 17 === 0 && { [`conn:${seed}→${spliced(request) % 50}`]: 1 }) },
      crashPositions: { 'write log | write data': 1, ...(seed % 7 === 0 && { 'write data | flush meta': 1 }) },
      faults: { crash: 1, ...(seed % 5 === 0 && { cut: 1 }) },
      sometimes: { 'a resync was interrupted': seed % 3 === 0 ? 1 : 0 },
    },
    ...(request.record === true && { record: { beganUs: 0, durationUs: request.pinned?.durationUs ?? 60_000_000, faults: (request.schedule ?? schedule).map(({ id }) => ({ id, atUs: 1_000_000, found: true })), requests: [] } }),
    story: [
      { atUs: 0, host: 'alice', text: 'primary' },
      { atUs: 1_000_000, host: 'alice', text: 'crash <crash-1>' },
    ],
  };
}

export const engine: Engine = {
  scenarios: [scenario('failover', 'the primary dies, the survivor takes over'), scenario('partition', 'the link is cut, both ways or one way')],
  reachable: {
    rules: [
      { name: '34', reachable: true },
      { name: '40', reachable: true },
      { name: '71', reachable: true, how: 'lose the last ack' },
      { name: '100', reachable: 'needs three nodes' },
    ],
    states: [{ name: 'conn:Connected', reachable: 'to try what an unexpected state looks like' }],
    packets: [{ name: 'P_DATA', reachable: true }, { name: 'P_TRIM', reachable: true }],
  },
  prepare,
  run,
  traceHash: (request) => run(request).traceHash,
};
