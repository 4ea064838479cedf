/**
 * A recording of a production node (design: "A recording"): segments, each a snapshot followed by everything that went in and out of
 * the core since, in order. The codec is that of the snapshot, so a recording holds every byte of its inputs and outputs.
 *
 * The file: eight bytes of magic, then for each part its length (32 bits, the lowest byte first) and its bytes. The first part is
 * the header, every other one a segment.
 */

import { decodeState, encodeState } from '../node/snapshot.js';
import type { Input } from './input.js';
import type { Output } from './output.js';

export type RecordedEntry =
  | { is: 'input'; nowUs: number; input: Input }
  /** What `Environment.random64` gave during the input before. */
  | { is: 'drawn'; value: bigint }
  /** What was taken with `Node.outputs`. */
  | { is: 'outputs'; outputs: readonly Output[] };

export interface RecordedSegment {
  snapshot: Uint8Array;
  entries: RecordedEntry[];
}

export interface RecordingHeader {
  node: string;
}

const MAGIC = new Uint8Array([0x4c, 0x4f, 0x43, 0x4b, 0x52, 0x45, 0x43, 0x01]);

/** The beginning of every recording. */
export const isRecording = (bytes: Uint8Array): boolean => bytes.length >= MAGIC.length && MAGIC.every((byte, index) => bytes[index] === byte);

export const encodeHeader = (header: RecordingHeader): Uint8Array => {
  const part = framed(encodeState(header));
  const bytes = new Uint8Array(MAGIC.length + part.length);
  bytes.set(MAGIC);
  bytes.set(part, MAGIC.length);
  return bytes;
};

export const encodeSegment = (segment: RecordedSegment): Uint8Array => framed(encodeState(segment));

const framed = (part: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(4 + part.length);
  new DataView(bytes.buffer).setUint32(0, part.length, true);
  bytes.set(part, 4);
  return bytes;
};

/** Throws a RangeError when the bytes are no recording, or a damaged one. */
export const decodeRecording = (bytes: Uint8Array): { header: RecordingHeader; segments: RecordedSegment[] } => {
  if (!isRecording(bytes)) throw new RangeError('no recording: it begins otherwise');
  const parts: unknown[] = [];
  for (let at = MAGIC.length; at < bytes.length; ) {
    if (at + 4 > bytes.length) throw new RangeError(`no recording: it ends in a length, at byte ${at}`);
    const length = new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0, true);
    if (at + 4 + length > bytes.length) throw new RangeError(`no recording: it ends in a part, at byte ${at}`);
    parts.push(decodeState(bytes.subarray(at + 4, at + 4 + length)));
    at += 4 + length;
  }
  const [header, ...segments] = parts;
  if (header === undefined) throw new RangeError('no recording: it has no header');
  return { header: header as RecordingHeader, segments: segments as RecordedSegment[] };
};
