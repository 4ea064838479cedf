/**
 * Commands, and everything else that takes several steps: each is a value in the resource's table that says where it is and
 * what it waits for (design: "State is data"). This file starts, resumes and ends them; what they do is in promote.ts,
 * disconnect.ts and administration.ts.
 */

import type { Command, Reply } from '../contract/command.js';
import { emit, signal, type Core } from '../model/core.js';
import { setTimer } from '../model/timers.js';
import type { Procedure, Resource, Volume } from '../model/types.js';
import { configText, isSuccess, returnText, type ConfigCode } from '../state/refusals.js';
import { queueBitmapWrite, queueFullSync, queueSuperblock } from '../volume/metadata-io.js';

export type Verb = Command['verb'];
export type CommandOf<V extends Verb> = Extract<Command, { verb: V }>;

export const newProcedure = (resource: Resource, what: Command, command: number | undefined, parent: number | undefined): Procedure => {
  const procedure: Procedure = {
    id: ++resource.lastProcedure,
    command,
    what,
    step: 0,
    attempts: 0,
    waits: 'nothing',
    change: {},
    forced: false,
    retryUsed: false,
    result: 0,
    peerCode: 0,
    pending: 0,
    sizes: undefined,
    parent,
  };
  resource.procedures.set(procedure.id, procedure);
  return procedure;
};

const CONFIG_OK = 101;

/** DRBD's code and text; codes above 100 are configuration results, the others those of a state change. */
export const replyOf = (code: number, blocker?: string): Reply => {
  const ok = code > 100 ? code === CONFIG_OK : isSuccess(code);
  const text = code > 100 ? (code === CONFIG_OK ? '' : configText(code as ConfigCode)) : returnText(code);
  return blocker === undefined ? { ok, code, text } : { ok, code, text, blocker };
};

/** The procedure is over: who asked is answered. */
export const finish = (core: Core, resource: Resource, procedure: Procedure, code: number, blocker?: string): void => {
  resource.procedures.delete(procedure.id);
  if (procedure.command !== undefined) emit(core, { type: 'reply', command: procedure.command, reply: replyOf(code, blocker) });
  const parent = procedure.parent === undefined ? undefined : resource.procedures.get(procedure.parent);
  if (parent) {
    parent.result = code;
    signal(core, { signal: 'procedure', resource: resource.name, procedure: parent.id });
  }
};

/** Goes on at `step` when what it waits for has come: by name for one procedure, or with any state change. */
export const wait = (procedure: Procedure, what: Procedure['waits'], step: number): void => {
  procedure.waits = what;
  procedure.step = step;
};

/** Waits until the superblocks (and, if asked, bitmaps) of these volumes are durable; volumes without a disk count as done. */
export const waitForMetadata = (core: Core, procedure: Procedure, volumes: readonly Volume[], what: 'superblock' | 'bitmap' | 'full-sync', step: number): void => {
  wait(procedure, 'metadata', step);
  procedure.pending = volumes.length;
  const purpose = { for: 'procedure', procedure: procedure.id } as const;
  for (const volume of volumes) {
    if (what === 'superblock') queueSuperblock(core, volume, purpose);
    else if (what === 'bitmap') queueBitmapWrite(core, volume, purpose);
    else queueFullSync(core, volume, purpose);
  }
};

/** Waits for the promote-retry timer. */
export const waitForTimer = (core: Core, resource: Resource, procedure: Procedure, afterUs: number, step: number): void => {
  wait(procedure, 'timer', step);
  setTimer(core, 'promote-retry', resource.name, '', procedure.id, afterUs);
};

/**
 * Our request and the peer's crossed, and ours gave way (B111): again in a moment. At once, the two could circle for as long as the
 * answer to the peer's is on its way.
 */
export const waitForCrossed = (core: Core, resource: Resource, procedure: Procedure, step: number): void =>
  waitForTimer(core, resource, procedure, CROSSED_PAUSE_US, step);

const CROSSED_PAUSE_US = 100_000;

/** A hold on new application I/O, by name; ending it lets waiting requests go on. */
export const hold = (volume: Volume, why: string): void => {
  if (!volume.holds.includes(why)) volume.holds.push(why);
};

export const endHold = (core: Core, volume: Volume, why: string): void => {
  const at = volume.holds.indexOf(why);
  if (at >= 0) volume.holds.splice(at, 1);
  signal(core, { signal: 'admission', resource: volume.resource, volume: volume.number });
};
