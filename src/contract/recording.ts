/**
 * A recording of a production node (design: "A recording"): segments, each a snapshot followed by everything that went in and out of
 * the core since, in order. The codec is that of the snapshot, so a recording holds every byte of its inputs and outputs.
 *
 * The file: eight bytes of magic, the last of which is the version, then for each part its length and its CRC-32C (32 bits each, the
 * lowest byte first) and its bytes. The first part is the header, every other one a segment. A damaged file is told as damaged: repeated
 * from what is left of it, the core would be blamed.
 */

import { crc32c } from '../metadata/crc32c.js';
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

const MAGIC = new Uint8Array([0x4c, 0x4f, 0x43, 0x4b, 0x52, 0x45, 0x43, 0x02]);
const VERSION_AT = MAGIC.length - 1;
const FRAME_BYTES = 8;

/** The beginning of every recording, of whatever version. */
export const isRecording = (bytes: Uint8Array): boolean => bytes.length >= MAGIC.length && MAGIC.every((byte, index) => index === VERSION_AT || bytes[index] === byte);

export const encodeHeader = (header: RecordingHeader): Uint8Array => {
  const part = framed(encodeState(header));
  const bytes = new Uint8Array(MAGIC.length + part.length);
  bytes.set(MAGIC);
  bytes.set(part, MAGIC.length);
  return bytes;
};

export const encodeSegment = (segment: RecordedSegment): Uint8Array => framed(encodeState(segment));

const framed = (part: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(FRAME_BYTES + part.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, part.length, true);
  view.setUint32(4, crc32c(0, part), true);
  bytes.set(part, FRAME_BYTES);
  return bytes;
};

/** Throws a RangeError when the bytes are no recording, or a damaged one. */
export const decodeRecording = (bytes: Uint8Array): { header: RecordingHeader; segments: RecordedSegment[] } => {
  if (!isRecording(bytes)) throw new RangeError('no recording: it begins otherwise');
  if (bytes[VERSION_AT] !== MAGIC[VERSION_AT]) throw new RangeError(`its format is version ${bytes[VERSION_AT]}, and this is ${MAGIC[VERSION_AT]}`);
  const parts: unknown[] = [];
  for (let at = MAGIC.length; at < bytes.length; ) {
    if (at + FRAME_BYTES > bytes.length) throw new RangeError(`it ends in a length, at byte ${at}`);
    const view = new DataView(bytes.buffer, bytes.byteOffset + at, FRAME_BYTES);
    const end = at + FRAME_BYTES + view.getUint32(0, true);
    if (end > bytes.length) throw new RangeError(`it ends in a part, at byte ${at}`);
    const part = bytes.subarray(at + FRAME_BYTES, end);
    if (crc32c(0, part) !== view.getUint32(4, true)) throw new RangeError(`a byte was changed, between ${at} and ${end}`);
    parts.push(decodeState(part));
    at = end;
  }
  const [header, ...segments] = parts;
  if (header === undefined) throw new RangeError('it has no header');
  return { header: header as RecordingHeader, segments: segments as RecordedSegment[] };
};
