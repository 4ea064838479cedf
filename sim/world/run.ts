/**
 * One run: from a scenario and a request to a result. A run is a pure function of its request; the trace hash proves it.
 */

import type { Environment, Node } from '../../src/contract/index.js';
import type { Checker, Fault, Ghost, JudgeVerdict, Pinned, RandomStream, RunRequest, RunResult, Scenario, Setup, Workload } from '../types.js';
import { survivorImage, survivorOf, writeImage } from './image.js';
import { futureSetupStream, randomRoot, setupStream, type Turn } from './random.js';
import { Recorder } from './recorder.js';
import { TraceFile } from './trace.js';
import { World, type WorldTurn } from './world.js';

/** Lines of a stack that say where it was. */
const STACK_LINES = 8;

/** Makes a core; the real one is `createNode` of src/node. */
export type NodeFactory = (name: string, environment: Environment) => Node;

/** What the engine is given to work with. */
export interface RunParts {
  createNode: NodeFactory;
  makeCheckers(setup: Setup): Checker[];
  makeGhost(setup: Setup): Ghost;
  makeWorkload(setup: Setup, random: RandomStream): Workload;
}

/** What the scenario asks of this run; `UsageError` when it refuses the parameters. `onDraw`: as `setupStream`. */
export function setupOf(scenario: Scenario, request: RunRequest, onDraw?: (stream: string) => void): Setup {
  const setup = scenario.setup(request.parameters, setupStream(request.seed, request.splices, onDraw));
  return request.pinned === undefined ? setup : pin(setup, request.pinned);
}

/** The setup with what was pinned in it. */
function pin(setup: Setup, { durationUs, requests, entries, steady }: Pinned): Setup {
  const { workload, network, disk } = setup;
  return {
    ...setup,
    ...(durationUs !== undefined && { durationUs }),
    ...(requests !== undefined && { workload: { kind: 'listed', requests } }),
    ...(entries !== undefined && workload.kind === 'recorded' && { workload: { ...workload, entries: Math.min(entries, workload.entries) } }),
    ...(steady === true && { network: { ...network, jitterUs: 0 }, disk: { ...disk, jitterUs: 0 } }),
  };
}

/** Faults of another future are what the scenario would draw for the same pair; a schedule that was given stays. */
function turnOf({ atUs, future }: NonNullable<RunRequest['turn']>, random: Turn, scenario: Scenario, request: RunRequest, setup: Setup): WorldTurn {
  if (future === 0) return { atUs, take: undefined };
  const word = `future ${future}`;
  const drawn = request.schedule === undefined ? scenario.setup(setup.parameters, futureSetupStream(request.seed, word)).schedule : undefined;
  return { atUs, take: { random, future: word, schedule: drawn?.filter((fault) => isOnDevice(fault, setup)) } };
}

/** Another draw may have been of larger devices. */
function isOnDevice({ action }: Fault, { hosts }: Setup): boolean {
  if (!('firstSector' in action)) return true;
  const { disks } = hosts.find(({ name }) => name === action.host)!;
  const disk = disks.find(({ volume }) => volume === ('volume' in action ? action.volume : undefined)) ?? disks[0]!;
  return action.firstSector + action.sectors <= disk.dataSectors;
}

/** `UsageError` when the scenario refuses the parameters; everything else that goes wrong is in the result. */
export function runOnce(scenario: Scenario, request: RunRequest, parts: RunParts): RunResult {
  const turning: Turn = { future: undefined };
  const random = randomRoot(request.seed, request.turn && turning);
  const setup = setupOf(scenario, request);
  const schedule = request.schedule ?? setup.schedule;
  const workload = parts.makeWorkload(setup, random.fork('workload'));
  const traceFile = request.trace === undefined ? undefined : new TraceFile(request.trace);
  const recorder = request.record === true ? new Recorder() : undefined;
  const world = new World({
    setup,
    schedule,
    random,
    createNode: parts.createNode,
    checkers: parts.makeCheckers(setup),
    ghost: parts.makeGhost(setup),
    workload,
    traceFile,
    recorder,
    turn: request.turn && turnOf(request.turn, turning, scenario, request, setup),
  });
  let crash: string | undefined;
  let judged: JudgeVerdict | undefined;
  try {
    world.run();
    if (request.image !== undefined) writeImage(survivorOf(world), request.image);
    if (scenario.judge && workload.completedEntries) {
      judged = scenario.judge(survivorImage(world, workload.completedEntries(), request.seed), setup.parameters);
    }
  } catch (error) {
    crash = error instanceof Error && error.stack !== undefined ? error.stack.split('\n').slice(0, STACK_LINES).join('\n') : String(error);
  } finally {
    traceFile?.close();
  }
  if (judged?.verdict === 'failed') world.report({ property: 'real-check', atUs: world.nowUs, detail: judged.detail });
  const { metrics } = world.observer;
  metrics.simulatedUs = world.nowUs;
  metrics.events = world.events;
  metrics.inputs = world.inputs;
  metrics.outputs = world.outputs;
  const result: RunResult = {
    scenario: scenario.name,
    seed: request.seed,
    ...(request.splices && { splices: request.splices }),
    parameters: setup.parameters,
    verdict: 'passed',
    violations: world.violations,
    traceHash: world.trace.digest(),
    ...(world.pastHash !== undefined && { pastHash: world.pastHash }),
    schedule,
    metrics,
    coverage: world.observer.coverage.counted(world.links()),
    story: world.observer.finishStory(),
    ...(recorder && { record: recorder.record(setup.durationUs) }),
  };
  if (crash !== undefined) {
    result.crash = crash;
    result.verdict = 'failed';
    result.reason = crash.split('\n')[0]!;
  } else if (world.violations.length > 0) {
    result.verdict = 'failed';
    result.reason = `${world.violations[0]!.property}: ${world.violations[0]!.detail}`;
  } else if (judged) {
    result.verdict = judged.verdict;
    if (judged.verdict !== 'passed') result.reason = judged.detail;
  }
  world.content.dispose();
  return result;
}
