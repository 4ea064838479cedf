/**
 * `lockstep replay` of what a production node recorded: each segment is repeated input by input, and the first output that differs by
 * a byte is shown. Exit 0: identical; 4: the core is not deterministic, or is not the one that recorded.
 */

import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { decodeRecording, isRecording } from '../src/contract/recording.js';
import { digests } from '../src/digests/digests.js';
import { replaySegment, type Difference } from '../src/node/replay.js';
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

export function replayRecording(path: string, context: CommandContext): ExitCode {
  const { header, segments } = read(path);
  context.out(`recording of ${header.node}: ${segments.length} segments`);
  let [inputs, outputs] = [0, 0];
  for (const [index, segment] of segments.entries()) {
    const repetition = replaySegment(segment, digests);
    inputs += repetition.inputs;
    outputs += repetition.outputs;
    if (!repetition.difference) continue;
    for (const line of differenceLines(index, repetition.difference)) context.out(line);
    context.out(`repeat: lockstep replay ${quoteWord(path)}`);
    return exitCodes.nondeterminism;
  }
  context.out(`${inputs} inputs repeated: ${outputs} outputs are identical to the last byte`);
  return exitCodes.held;
}

function read(path: string): ReturnType<typeof decodeRecording> {
  try {
    return decodeRecording(readFileSync(path));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UsageError(`replay: '${path}' is damaged: ${error.message}`);
  }
}

const differenceLines = (segment: number, { inputs, nowUs, index, recorded, repeated }: Difference): string[] => [
  `DIFFERS in segment ${segment}, after ${inputs} inputs (at ${nowUs} µs), output ${index}:`,
  `  recorded: ${textOf(recorded)}`,
  `  repeated: ${textOf(repeated)}`,
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
