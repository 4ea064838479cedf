/**
 * What every room of the core is handed: the state of the node as plain data, the time of the input that is being handled,
 * and the two ways out: outputs for the driver, signals for the rooms above.
 *
 * Calls go downwards only (node > resource > resync > replication > connection > volume > pure rooms). What a lower room has
 * to tell a higher one is a `Signal`: a value that the node hands to the resource room after the current step, in order.
 * So no room is re-entered and nothing is decided on a state that changes underneath.
 */

import type { Environment } from '../contract/environment.js';
import type { DiskArea, StreamId } from '../contract/input.js';
import type { Output } from '../contract/output.js';
import type { NodeState, Volume } from './types.js';
import type { Signal } from './signals.js';
import type { DiskOperation, Then } from './operations.js';

export interface Core {
  readonly state: NodeState;
  nowUs: number;
  readonly environment: Environment;
  /** Outputs since the driver last took them. */
  outputs: Output[];
  /** What lower rooms told the rooms above, not yet handled. */
  signals: Signal[];
}

/** A broken invariant: a bug of ours, never a peer's or an operator's doing. Assertions stay on in production. */
export class InvariantError extends Error {}

/** Where it is looked at for every input, a message with numbers in it is a function: building it costs more than the look. */
export function assert(condition: boolean, message: string | (() => string)): asserts condition {
  if (!condition) throw new InvariantError(typeof message === 'string' ? message : message());
}

export const emit = (core: Core, output: Output): void => {
  core.outputs.push(output);
};

export const signal = (core: Core, value: Signal): void => {
  core.signals.push(value);
};

export const log = (core: Core, resource: string, level: 'info' | 'warning' | 'error', text: string): void => {
  core.outputs.push({ type: 'observe', event: { event: 'log', resource, level, text } });
};

export const newStreamId = (core: Core): StreamId => ++core.state.lastStream;

// ---- Disk operations: each is remembered under its id with what is to happen when it ends ---------------------------

const newOperation = (core: Core, volume: Volume, area: DiskArea, kind: DiskOperation['kind'], sector: number, sectors: number, then: Then): number => {
  const op = ++core.state.lastOperation;
  const backing = volume.backing;
  assert(backing !== undefined, 'a disk operation needs an attached disk');
  backing.operationsInFlight++;
  core.state.operations.set(op, { op, resource: volume.resource, volume: volume.number, attachment: backing.attachment, area, kind, sector, sectors, startedAtUs: core.nowUs, then });
  return op;
};

export const readDisk = (core: Core, volume: Volume, area: DiskArea, sector: number, sectors: number, then: Then): void => {
  const op = newOperation(core, volume, area, 'read', sector, sectors, then);
  emit(core, { type: 'disk-read', op, resource: volume.resource, volume: volume.number, area, sector, sectors });
};

export const writeDisk = (
  core: Core,
  volume: Volume,
  area: DiskArea,
  sector: number,
  data: Uint8Array,
  how: { preflush: boolean; fua: boolean },
  then: Then,
): void => {
  const op = newOperation(core, volume, area, 'write', sector, data.length / 512, then);
  emit(core, { type: 'disk-write', op, resource: volume.resource, volume: volume.number, area, sector, data, preflush: how.preflush, fua: how.fua });
};

export const zeroDisk = (core: Core, volume: Volume, area: DiskArea, sector: number, sectors: number, mayUnmap: boolean, then: Then): void => {
  const op = newOperation(core, volume, area, 'zeroes', sector, sectors, then);
  emit(core, { type: 'disk-write-zeroes', op, resource: volume.resource, volume: volume.number, area, sector, sectors, mayUnmap });
};

export const discardDisk = (core: Core, volume: Volume, area: DiskArea, sector: number, sectors: number, then: Then): void => {
  const op = newOperation(core, volume, area, 'discard', sector, sectors, then);
  emit(core, { type: 'disk-discard', op, resource: volume.resource, volume: volume.number, area, sector, sectors });
};

export const flushDisk = (core: Core, volume: Volume, area: DiskArea, then: Then): void => {
  const op = newOperation(core, volume, area, 'flush', 0, 0, then);
  emit(core, { type: 'disk-flush', op, resource: volume.resource, volume: volume.number, area });
};

// ---- Lookups that must not fail ------------------------------------------------------------------------------------

export const mustGet = <K, V>(map: ReadonlyMap<K, V>, key: K, what: string): V => {
  const value = map.get(key);
  assert(value !== undefined, () => `${what} ${String(key)} does not exist`);
  return value;
};
