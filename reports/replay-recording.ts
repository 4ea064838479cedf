/**
 * `lockstep replay` of what a production node recorded: each segment is repeated input by input, and the first output that differs by
 * a byte is shown, or with what the core broke. Exit 0: identical; 1: it broke where the recorded one ended; 4: the core is not
 * deterministic, or is not the one that recorded.
 */

import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { decodeRecording, isRecording } from '../src/contract/recording.js';
import { digests } from '../src/digests/digests.js';
import { replaySegment, type Break, type Difference } from '../src/node/replay.js';
import { UsageError } from '../sim/types.js';
import type { CommandContext } from './context.js';
import { exitCodes, type ExitCode } from './exit-codes.js';
import { quoteWord } from './parameters.js';

export function isRecordingFile(path: string): boolean {
  const head = new Uint8Array(8);
  try {
    const fd = openSync(path, 'r');
    readSync(fd, head);
    closeSync(fd);
  } catch {
    // Whoever reads it next says why not.
    return false;
  }
  return isRecording(head);
}

export function replayRecording(path: string, context: Pick<CommandContext, 'out'>): ExitCode {
  const { header, segments } = read(path);
  context.out(`recording of ${header.node}: ${segments.length} segments`);
  let [inputs, outputs] = [0, 0];
  for (const [index, segment] of segments.entries()) {
    const repetition = replaySegment(segment, digests);
    inputs += repetition.inputs;
    outputs += repetition.outputs;
    const { difference, broken } = repetition;
    if (!difference && !broken) continue;
    for (const line of difference ? differenceLines(index, difference) : breakLines(index, broken!)) context.out(line);
    context.out(`repeat: lockstep replay ${quoteWord(path)}`);
    return difference || broken!.wentOn ? exitCodes.nondeterminism : exitCodes.violation;
  }
  context.out(`${inputs} inputs repeated: ${outputs} outputs are identical to the last byte`);
  return exitCodes.held;
}

function read(path: string): ReturnType<typeof decodeRecording> {
  try {
    return decodeRecording(readFileSync(path));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UsageError(`replay: '${path}' cannot be read: ${error.message}`);
  }
}

const differenceLines = (segment: number, { inputs, nowUs, index, recorded, repeated }: Difference): string[] => [
  `DIFFERS in segment ${segment}, after ${inputs} inputs (at ${nowUs} µs), output ${index}:`,
  `  recorded: ${textOf(recorded)}`,
  `  repeated: ${textOf(repeated)}`,
];

const breakLines = (segment: number, { inputs, nowUs, input, error, wentOn }: Break): string[] => [
  `BREAKS in segment ${segment}, with input ${inputs} (${input ?? 'none'}, at ${nowUs} µs); ${wentOn ? 'the recorded one went on' : 'there the recording ends'}:`,
  `  ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
];

/** Bytes as hexadecimal digits, the first of them; numbers of any size. */
const textOf = (value: unknown): string =>
  value === undefined
    ? 'none'
    : JSON.stringify(value, (_key, part: unknown) => {
        if (typeof part === 'bigint') return part.toString(16);
        if (part instanceof Uint8Array) return `${part.length} bytes ${Buffer.from(part.subarray(0, 64)).toString('hex')}`;
        return part;
      });
