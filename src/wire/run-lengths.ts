/**
 * The variable-length code in which a compressed bitmap writes its run lengths (wire-protocol.md §6.3): ten levels, each with
 * a prefix of ones and zeros and a number of data bits, packed least-significant bit first.
 *
 * Runs go beyond 2^32 bits, where JavaScript's shifts silently lose the upper half (B037): everything that can be wider than a
 * byte is built by multiplication. Numbers are exact to 2^53; the code reaches to 2^56, and what is rounded between the two
 * is still longer than any device.
 */

interface Level {
  /** The first bit of the stream is bit 0. */
  prefix: number;
  prefixBits: number;
  dataBits: number;
  /** The shortest run of this level. */
  firstRun: number;
}

const LEVELS: readonly Level[] = [
  { prefix: 0x00, prefixBits: 1, dataBits: 1, firstRun: 1 },
  { prefix: 0x01, prefixBits: 2, dataBits: 1, firstRun: 3 },
  { prefix: 0x03, prefixBits: 3, dataBits: 2, firstRun: 5 },
  { prefix: 0x07, prefixBits: 4, dataBits: 3, firstRun: 9 },
  { prefix: 0x0f, prefixBits: 5, dataBits: 5, firstRun: 17 },
  { prefix: 0x1f, prefixBits: 6, dataBits: 8, firstRun: 49 },
  { prefix: 0x3f, prefixBits: 8, dataBits: 13, firstRun: 305 },
  { prefix: 0x7f, prefixBits: 8, dataBits: 21, firstRun: 8497 },
  { prefix: 0xbf, prefixBits: 8, dataBits: 34, firstRun: 2105649 },
  { prefix: 0xff, prefixBits: 8, dataBits: 56, firstRun: 17181974833 },
];

/** Six ones and two more bits choose among the last four levels. */
const ONES_MAX = 6;

/** Code that is being written: `usedBits` of `bytes`, which are 0 behind them. */
export interface CodeWriter {
  bytes: Uint8Array;
  usedBits: number;
}

/** Appends the code of a run of 1..2^53-1 bits; returns false, and changes nothing, if there is no room for it. */
export function appendRun(code: CodeWriter, run: number): boolean {
  if (!Number.isSafeInteger(run) || run < 1) throw new RangeError(`a run of ${run} bits`);
  let level = LEVELS[0]!;
  for (const candidate of LEVELS) if (run >= candidate.firstRun) level = candidate;
  if (code.usedBits + level.prefixBits + level.dataBits > code.bytes.length * 8) return false;
  appendBits(code, level.prefix, level.prefixBits);
  appendBits(code, run - level.firstRun, level.dataBits);
  return true;
}

function appendBits(code: CodeWriter, value: number, count: number): void {
  let rest = value;
  for (let left = count; left > 0; ) {
    const bitInByte = code.usedBits & 7;
    const taken = Math.min(8 - bitInByte, left);
    const low = rest % 2 ** taken;
    code.bytes[code.usedBits >>> 3]! |= low << bitInByte;
    rest = (rest - low) / 2 ** taken;
    code.usedBits += taken;
    left -= taken;
  }
}

/** All runs of a code of `codeBits` bits, or `undefined` if it ends inside a run. At least `ceil(codeBits / 8)` bytes are there. */
export function readRuns(bytes: Uint8Array, codeBits: number): number[] | undefined {
  const runs: number[] = [];
  for (let at = 0; at < codeBits; ) {
    let ones = 0;
    while (ones < ONES_MAX && at + ones < codeBits && bitsAt(bytes, at + ones, 1) === 1) ones++;
    let level = LEVELS[ones]!;
    if (ones === ONES_MAX) {
      if (at + 8 > codeBits) return undefined;
      level = LEVELS[6 + bitsAt(bytes, at + 6, 2)]!;
    }
    const end = at + level.prefixBits + level.dataBits;
    if (end > codeBits) return undefined;
    runs.push(level.firstRun + bitsAt(bytes, at + level.prefixBits, level.dataBits));
    at = end;
  }
  return runs;
}

function bitsAt(bytes: Uint8Array, from: number, count: number): number {
  let value = 0;
  for (let got = 0; got < count; ) {
    const bitInByte = (from + got) & 7;
    const taken = Math.min(8 - bitInByte, count - got);
    value += ((bytes[(from + got) >>> 3]! >>> bitInByte) & (2 ** taken - 1)) * 2 ** got;
    got += taken;
  }
  return value;
}
