/**
 * Bytes as numbers: each different content is kept once and named by a number, so that worlds which share most of what they hold are small,
 * and equal where their numbers are. Numbers are given in the order of first appearance, which is the same on every machine.
 */

import { fingerprintOf } from '../../src/node/snapshot.js';

export class Contents {
  private readonly all: Uint8Array[] = [];
  private readonly byHash = new Map<string, number[]>();

  /** The number of this content; a copy is kept where it is new. */
  numberOf(bytes: Uint8Array): number {
    const hash = fingerprintOf(bytes);
    const same = this.byHash.get(hash);
    const known = same?.find((number) => equalBytes(this.all[number]!, bytes));
    if (known !== undefined) return known;
    const number = this.all.push(bytes.slice()) - 1;
    if (same) same.push(number);
    else this.byHash.set(hash, [number]);
    return number;
  }

  /** Not to be changed. */
  bytes(number: number): Uint8Array {
    return this.all[number]!;
  }

  get size(): number {
    return this.all.length;
  }
}

export const equalBytes = (one: Uint8Array, other: Uint8Array): boolean => Buffer.compare(one, other) === 0;

/** Values that are plain data, numbered by their JSON text. */
export class Numbered<T> {
  private readonly all: T[] = [];
  private readonly byText = new Map<string, number>();

  numberOf(value: T): number {
    const text = JSON.stringify(value);
    const known = this.byText.get(text);
    if (known !== undefined) return known;
    this.all.push(value);
    this.byText.set(text, this.all.length - 1);
    return this.all.length - 1;
  }

  at(number: number): T {
    return this.all[number]!;
  }
}
