/**
 * Looks at the headers of the packets in a stream, and at nothing else: enough to name and count packets, and to learn what
 * a stream is, for faults that fire at "the third P_BARRIER" and for coverage (wire-protocol.md §2).
 */

import { MAGIC_BYTES, formBytes, headerForm, readHeader } from '../../src/wire/headers.js';
import { PACKET_NAMES, commandCode, packetName } from '../../src/wire/commands.js';

/** Room for counters by `packetIndex`. */
export const PACKET_INDICES = 0x110;
const LONGEST_HEADER = 16;
/** Packets of replicated data; a digest covers what is behind their fixed part (§5.2). */
const dataCodes: ReadonlySet<number> = new Set((['P_DATA', 'P_DATA_REPLY', 'P_RS_DATA_REPLY'] as const).map(commandCode));
const DATA_FIXED_BYTES = 24;

/** A small index for a command code: codes are below 0x100, or one of 0xfff1, 0xfff2, 0xfffe. */
export const packetIndex = (code: number): number => (code < 0x100 ? code : 0x100 | (code & 0xf));

const nameByIndex: (string | undefined)[] = [];
for (const name of PACKET_NAMES) nameByIndex[packetIndex(commandCode(name))] = name;

export const packetNameOfIndex = (index: number): string => nameByIndex[index] ?? `unknown-${index}`;

export const packetIndexOfName = (name: string): number | undefined => {
  const index = nameByIndex.indexOf(name);
  return index < 0 ? undefined : index;
};

/** One direction of one stream. Sees the bytes in any portions. */
export class PacketScanner {
  /** Bytes of the present packet that are still to come. */
  private skip = 0;
  /** Of the present packet. */
  private code = -1;
  private payloadBytes = 0;
  /** Where in the bytes that were scanned last there is one of replicated data, or of its digest; -1: nowhere. */
  dataAt = -1;
  private readonly header = new Uint8Array(LONGEST_HEADER);
  private headerLength = 0;
  /** No header where one should be: nothing can be said about the rest. */
  private lost = false;

  /** Counts each packet that begins in `bytes` (its header is complete) in `counts`, by `packetIndex`. Returns the last one's code, or -1. */
  scan(bytes: Uint8Array, counts: Int32Array): number {
    let last = -1;
    let at = 0;
    this.dataAt = -1;
    const length = bytes.length;
    while (at < length && !this.lost) {
      if (this.skip > 0) {
        const skipped = Math.min(this.skip, length - at);
        const behindFixed = at + Math.max(0, DATA_FIXED_BYTES - (this.payloadBytes - this.skip));
        if (dataCodes.has(this.code) && behindFixed < at + skipped) this.dataAt = behindFixed;
        this.skip -= skipped;
        at += skipped;
        continue;
      }
      let code: number;
      if (this.headerLength === 0 && length - at >= LONGEST_HEADER) {
        const before = at;
        code = this.begin(bytes, at, LONGEST_HEADER);
        at = before + this.consumed;
      } else {
        this.header[this.headerLength++] = bytes[at++]!;
        code = this.begin(this.header, 0, this.headerLength);
        if (code >= 0) this.headerLength = 0;
      }
      if (code < 0) continue;
      this.code = code;
      this.payloadBytes = this.skip;
      counts[packetIndex(code)]!++;
      last = code;
    }
    return last;
  }

  private consumed = 0;

  /** Reads the header at `at` if it is all there; its command's code, or -1. */
  private begin(bytes: Uint8Array, at: number, available: number): number {
    if (available < MAGIC_BYTES) return -1;
    const form = headerForm(bytes, at);
    if (form === undefined) {
      this.lost = true;
      return -1;
    }
    if (available < formBytes(form)) return -1;
    const header = readHeader(form, bytes, at);
    if (!header || packetName(header.command) === undefined) {
      this.lost = true;
      return -1;
    }
    this.skip = header.length;
    this.consumed = formBytes(form);
    return header.command;
  }
}
