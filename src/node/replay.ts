/** Repeats a recorded segment, input by input, and finds the first output that is not what was recorded, or the input with which the core broke. */

import type { Environment } from '../contract/environment.js';
import type { Input } from '../contract/input.js';
import type { Output } from '../contract/output.js';
import type { RecordedSegment } from '../contract/recording.js';
import { restoreNode } from './node.js';

export interface Difference {
  /** Inputs handled before, and the time of the last one. */
  inputs: number;
  nowUs: number;
  /** Position among the outputs that were taken then; undefined on either side: there is none. */
  index: number;
  recorded: Output | undefined;
  repeated: Output | undefined;
}

/** A broken invariant of the core. */
export interface Break {
  /** Inputs handled before and with it, the time of the last one, and what it was. */
  inputs: number;
  nowUs: number;
  input: Input['type'] | undefined;
  error: unknown;
  /** The recorded core did not break there. */
  wentOn: boolean;
}

export interface Repetition {
  inputs: number;
  outputs: number;
  difference?: Difference;
  broken?: Break;
}

export const replaySegment = (segment: RecordedSegment, environment: Omit<Environment, 'random64'>): Repetition => {
  // Values were drawn while the input before them was handled.
  const drawn = segment.entries.flatMap((entry) => (entry.is === 'drawn' ? [entry.value] : []));
  let next = 0;
  const random64 = (): bigint => drawn[next++] ?? 0n;
  const node = restoreNode(segment.snapshot, { ...environment, random64 });
  let inputs = 0;
  let outputs = 0;
  let nowUs = 0;
  let input: Input['type'] | undefined = undefined;
  for (const [at, entry] of segment.entries.entries()) {
    try {
      if (entry.is === 'input') {
        inputs++;
        nowUs = entry.nowUs;
        input = entry.input.type;
        node.handle(entry.input, nowUs);
      } else if (entry.is === 'outputs') {
        const repeated = node.outputs();
        const count = Math.max(repeated.length, entry.outputs.length);
        for (let index = 0; index < count; index++) {
          if (isEqual(entry.outputs[index], repeated[index])) continue;
          return { inputs, outputs, difference: { inputs, nowUs, index, recorded: entry.outputs[index], repeated: repeated[index] } };
        }
        outputs += count;
      }
    } catch (error) {
      // What a core draws before it breaks was recorded, too.
      const wentOn = segment.entries.slice(at + 1).some(({ is }) => is !== 'drawn');
      return { inputs, outputs, broken: { inputs, nowUs, input, error, wentOn } };
    }
  }
  return { inputs, outputs };
};

/** Plain data, byte for byte. Whether two parts are one object does not count. */
const isEqual = (one: unknown, other: unknown): boolean => {
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null) return Object.is(one, other);
  if (one instanceof Uint8Array || other instanceof Uint8Array) {
    return one instanceof Uint8Array && other instanceof Uint8Array && one.length === other.length && one.every((byte, index) => byte === other[index]);
  }
  if (Array.isArray(one) !== Array.isArray(other)) return false;
  const [keys, otherKeys] = [Object.keys(one), Object.keys(other)];
  if (keys.length !== otherKeys.length) return false;
  return keys.every((key) => Object.hasOwn(other, key) && isEqual((one as Record<string, unknown>)[key], (other as Record<string, unknown>)[key]));
};
