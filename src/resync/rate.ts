/**
 * How fast a resync may go: pure arithmetic on integers, no clock of its own. The target asks `ratePlan` once per tick how many
 * blocks to request, and `roomBlocks` whenever it requests some; both sides ask `throttle` whether the application goes first (sync-and-activity-log.md §7.3).
 *
 * The formulas are the kernel's, with four differences: what a fixed rate leaves over of a block is carried on (at 10 KiB/s
 * the kernel never asks for anything); the adaptive controller always asks for something when nothing is on its way (B122);
 * while answers keep up it grows in proportion to its speed (`wantedSectors`); and max-buffers bounds what is asked for and not yet
 * written at any moment, so that a slow disk bounds what is kept in memory, and not what is asked for in one step, which would
 * hold a resync to 40 MiB/s with the defaults.
 */

import type { DiskOptions } from '../config/types.js';
import type { RateController, SpeedMarks } from './types.js';

/** A tick and a step of the controller. */
export const TICK_US = 100_000;
const SECTORS_PER_BLOCK = 8;
const KIB_PER_BLOCK = 4;
/** A fixed rate of r KiB/s is r fortieths of a block per tick. */
const TICK_PARTS = 40;
/** Marks of the measured speed are this far apart. */
const MARK_US = 3_000_000;
/** More than this many sectors of the application's since it was last seen at work, and it is at work. */
const APPLICATION_SECTORS = 64;

export const newController = (): RateController => ({ plan: [], remainder: 0 });

export interface RateStep {
  /** Sectors answered since the last step, whatever the answer (B120). */
  answeredSectors: number;
  /** Sectors asked for and not answered. */
  inFlightSectors: number;
  /** Sectors asked for and not yet written, those in flight included. */
  unwrittenSectors: number;
}

/** Blocks that may be asked for now: half of max-buffers (pages of 4 KiB) are for what is not written yet. */
export const roomBlocks = (maxBuffers: number, unwrittenSectors: number): number =>
  Math.max(0, Math.trunc(maxBuffers / 2) - Math.ceil(unwrittenSectors / SECTORS_PER_BLOCK));

/** Blocks of 4 KiB to ask for in this step, and the controller's memory for the next. */
export const ratePlan = (
  controller: RateController,
  options: Pick<DiskOptions, 'resyncRate' | 'cPlanAhead' | 'cDelayTarget' | 'cFillTarget' | 'cMaxRate'>,
  step: RateStep,
): { blocks: number; controller: RateController } => {
  if (options.cPlanAhead === 0) {
    const parts = controller.remainder + options.resyncRate;
    return { blocks: Math.trunc(parts / TICK_PARTS), controller: { plan: [], remainder: parts % TICK_PARTS } };
  }
  const steps = options.cPlanAhead;
  const plan = controller.plan.length === steps ? [...controller.plan] : new Array<number>(steps).fill(0);
  const planned = plan.reduce((sum, sectors) => sum + sectors, 0);
  const correction = Math.trunc((wantedSectors(options, step) - step.inFlightSectors - planned) / steps);
  for (let n = 0; n < steps; n++) plan[n]! += correction;
  const now = plan.shift()!;
  plan.push(0);
  const most = sectorsPerStep(options.cMaxRate);
  const sectors = Math.min(Math.max(step.answeredSectors + now, 0), most);
  const least = step.unwrittenSectors === 0 ? 1 : 0;
  const blocks = Math.max(Math.trunc(sectors / SECTORS_PER_BLOCK), least);
  return { blocks, controller: { plan, remainder: 0 } };
};

/** KiB/s to sectors in a step. */
const sectorsPerStep = (rateKiB: number): number => Math.trunc((rateKiB * 2) / 10);

/**
 * How many sectors should be on their way. Less than c-fill-target at the end of a step says that neither link nor disks are full yet: the
 * speed grows in proportion to itself, with the default c-plan-ahead to the double in a second. The kernel adds c-fill-target then,
 * whatever the speed is (250 KiB/s in each second with the defaults): the active set of a crashed primary takes three minutes on any line.
 */
const wantedSectors = (options: Pick<DiskOptions, 'resyncRate' | 'cPlanAhead' | 'cDelayTarget' | 'cFillTarget'>, step: RateStep): number => {
  const { cFillTarget } = options;
  if (step.inFlightSectors + step.answeredSectors === 0) return sectorsPerStep(options.resyncRate) * options.cPlanAhead;
  if (cFillTarget === 0) return step.answeredSectors * options.cDelayTarget;
  return step.inFlightSectors < cFillTarget ? Math.max(cFillTarget, step.answeredSectors) : cFillTarget;
};

export const newMarks = (nowUs: number, leftBits: number): SpeedMarks => ({ older: { atUs: nowUs, leftBits }, latest: { atUs: nowUs, leftBits } });

/** To be called on progress. */
export const advanceMarks = (marks: SpeedMarks, nowUs: number, leftBits: number): void => {
  if (nowUs - marks.latest.atUs < MARK_US || leftBits === marks.latest.leftBits) return;
  marks.older = marks.latest;
  marks.latest = { atUs: nowUs, leftBits };
};

/** KiB/s since the mark before the latest; negative when the resync loses ground. */
export const measuredRate = (marks: SpeedMarks, nowUs: number, leftBits: number): number => {
  const seconds = Math.max(1, Math.trunc((nowUs - marks.older.atUs) / 1_000_000));
  return Math.trunc((marks.older.leftBits - leftBits) / seconds) * KIB_PER_BLOCK;
};

/**
 * Should the resync give way? The application must be at work (requests wait, or it moved data since it was last seen at
 * work), and the resync faster than c-min-rate. The rate is measured over a window that only progress moves, so a resync
 * that is held back looks slower and slower and goes on: it never starves (B122).
 */
export const throttle = (
  resync: { marks: SpeedMarks; lastApplicationSectors: number },
  application: { requestsWaiting: boolean; sectors: number },
  cMinRate: number,
  nowUs: number,
  leftBits: number,
): { slowDown: boolean; lastApplicationSectors: number } => {
  const isAtWork = application.requestsWaiting || application.sectors - resync.lastApplicationSectors > APPLICATION_SECTORS;
  if (cMinRate === 0 || !isAtWork) return { slowDown: false, lastApplicationSectors: resync.lastApplicationSectors };
  return { slowDown: measuredRate(resync.marks, nowUs, leftBits) > cMinRate, lastApplicationSectors: application.sectors };
};
