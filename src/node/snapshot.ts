/**
 * The state of a node as bytes and back, and the hash of those bytes. State is data (design: "State is data"), so this knows
 * nothing of resources or requests: it writes whatever plain data it is given, every field of it. A field that somebody adds
 * is therefore in the snapshot and in the fingerprint without anyone having to remember it, and a closure, a promise or a
 * class that somebody hides in the state is found by the first snapshot.
 *
 * Canonical: equal states, built in the same order, give equal bytes; different states give different bytes. Sharing is part
 * of a state (a request is in the transfer log and in a queue, and both see it change), so the second way to an object is
 * written as a reference to the first, numbered by first appearance. Order of keys and entries is part of it too.
 *
 * An array of bytes or words is its content, never the buffer behind it, so two views of a buffer are two arrays. An empty
 * one cannot change and so has no identity: `NO_BYTES` of a module stays one thing in a node that runs on, and would become
 * two in a restored one.
 *
 * The format: a version byte, then one value. A value is a tag byte and what follows from the tag; counts and indices are
 * variable-length integers (7 bits a byte, the lowest first); a text that appeared before is its number.
 */

import { InvariantError } from '../model/core.js';

const FORMAT = 1;

/** Parts of the format: numbers are never given to something else. */
const Tag = {
  Undefined: 0,
  Null: 1,
  False: 2,
  True: 3,
  /** Non-negative, and negative: -1 - value. Safe integers only. */
  Natural: 4,
  Negative: 5,
  /** Every other finite number, and -0: 8 bytes. */
  Double: 6,
  BigNatural: 7,
  BigNegative: 8,
  Text: 9,
  Array: 10,
  Object: 11,
  Map: 12,
  Set: 13,
  Bytes: 14,
  Words16: 15,
  Words32: 16,
  /** An object that appeared before. */
  Again: 17,
} as const;

type Words = Uint8Array | Uint16Array | Uint32Array;

/** The format's order of bytes is this machine's: words need not be taken apart. */
const isLittleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

// ---- Writing ---------------------------------------------------------------------------------------------------------

interface Writer {
  bytes: Uint8Array;
  at: number;
  /** Number of each text, and of each object, by first appearance. */
  texts: Map<string, number>;
  objects: Map<object, number>;
  /** How we came to the present value, for the message of a refusal. */
  path: unknown[];
}

/**
 * Objects, arrays, Map, Set, Uint8Array, Uint16Array, Uint32Array, bigint, finite numbers, strings, booleans, undefined and
 * null, with shared references and cycles. Anything else throws an InvariantError that names the path to it.
 */
export function encodeState(state: unknown): Uint8Array {
  const writer: Writer = { bytes: new Uint8Array(4096), at: 0, texts: new Map(), objects: new Map(), path: ['state'] };
  writeByte(writer, FORMAT);
  writeValue(writer, state);
  return writer.bytes.slice(0, writer.at);
}

function writeValue(writer: Writer, value: unknown): void {
  switch (typeof value) {
    case 'undefined':
      return writeByte(writer, Tag.Undefined);
    case 'boolean':
      return writeByte(writer, value ? Tag.True : Tag.False);
    case 'number':
      return writeNumber(writer, value);
    case 'bigint':
      return writeBigint(writer, value);
    case 'string':
      writeByte(writer, Tag.Text);
      return writeText(writer, value);
    case 'object':
      return value === null ? writeByte(writer, Tag.Null) : writeObject(writer, value);
    case 'function':
    case 'symbol':
      return refuse(writer, `a ${typeof value}`);
  }
}

function writeNumber(writer: Writer, value: number): void {
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
    writeByte(writer, value < 0 ? Tag.Negative : Tag.Natural);
    writeCount(writer, value < 0 ? -1 - value : value);
    return;
  }
  if (!Number.isFinite(value)) refuse(writer, String(value));
  writeByte(writer, Tag.Double);
  reserve(writer, 8);
  new DataView(writer.bytes.buffer).setFloat64(writer.at, value, true);
  writer.at += 8;
}

/** The magnitude in words of 32 bits, the lowest first, the last one not 0. */
function writeBigint(writer: Writer, value: bigint): void {
  const words: number[] = [];
  for (let rest = value < 0n ? -value : value; rest > 0n; rest >>= 32n) words.push(Number(rest & 0xffffffffn));
  writeByte(writer, value < 0n ? Tag.BigNegative : Tag.BigNatural);
  writeCount(writer, words.length);
  reserve(writer, words.length * 4);
  for (const word of words) writeWord(writer, word);
}

/** UTF-16 code units, as they are: half of a pair is no error here. */
function writeText(writer: Writer, text: string): void {
  const known = writer.texts.get(text);
  if (known !== undefined) return writeCount(writer, known + 1);
  writer.texts.set(text, writer.texts.size);
  writeCount(writer, 0);
  writeCount(writer, text.length);
  for (let index = 0; index < text.length; index++) writeCount(writer, text.charCodeAt(index));
}

function writeObject(writer: Writer, value: object): void {
  if (ArrayBuffer.isView(value) && value.byteLength === 0) return writeContent(writer, value);
  const known = writer.objects.get(value);
  if (known !== undefined) {
    writeByte(writer, Tag.Again);
    return writeCount(writer, known);
  }
  writer.objects.set(value, writer.objects.size);
  writeContent(writer, value);
}

function writeContent(writer: Writer, value: object): void {
  // By prototype and not by instanceof: a subclass (Buffer of Uint8Array) has behaviour that would be lost.
  switch (Object.getPrototypeOf(value)) {
    case Object.prototype:
      return writeFields(writer, value as Record<string, unknown>);
    case Array.prototype: {
      const array = value as unknown[];
      writeHead(writer, Tag.Array, array.length);
      for (let index = 0; index < array.length; index++) {
        if (array[index] === undefined && !(index in array)) refuse(writer, 'an array with holes');
        writeAt(writer, index, array[index]);
      }
      return expectOwnKeys(writer, array, array.length + 1);
    }
    case Map.prototype: {
      const map = value as Map<unknown, unknown>;
      expectOwnKeys(writer, map, 0);
      writeHead(writer, Tag.Map, map.size);
      for (const [key, entry] of map) {
        writeAt(writer, '(key)', key);
        writeAt(writer, typeof key === 'object' ? '(entry)' : key, entry);
      }
      return;
    }
    case Set.prototype: {
      const set = value as Set<unknown>;
      expectOwnKeys(writer, set, 0);
      writeHead(writer, Tag.Set, set.size);
      for (const member of set) writeAt(writer, '(member)', member);
      return;
    }
    case Uint8Array.prototype: {
      const bytes = value as Uint8Array;
      writeHead(writer, Tag.Bytes, bytes.length);
      return writeContentOf(writer, bytes);
    }
    case Uint16Array.prototype: {
      const words = value as Uint16Array;
      writeHead(writer, Tag.Words16, words.length);
      if (isLittleEndian) return writeContentOf(writer, words);
      reserve(writer, words.length * 2);
      for (const word of words) {
        writer.bytes[writer.at++] = word;
        writer.bytes[writer.at++] = word >>> 8;
      }
      return;
    }
    case Uint32Array.prototype: {
      const words = value as Uint32Array;
      writeHead(writer, Tag.Words32, words.length);
      if (isLittleEndian) return writeContentOf(writer, words);
      reserve(writer, words.length * 4);
      for (const word of words) writeWord(writer, word);
      return;
    }
    default: {
      const name = (value as { constructor?: { name?: unknown } }).constructor?.name;
      refuse(writer, typeof name === 'string' && name !== '' ? `an instance of ${name}` : 'an object with an unknown prototype');
    }
  }
}

/** As it lies in memory: bytes, or words of a machine that has them in the order of the format. A large bitmap is many of those. */
function writeContentOf(writer: Writer, content: Words): void {
  reserve(writer, content.byteLength);
  writer.bytes.set(new Uint8Array(content.buffer, content.byteOffset, content.byteLength), writer.at);
  writer.at += content.byteLength;
}

function writeFields(writer: Writer, value: Record<string, unknown>): void {
  const keys = Object.keys(value);
  expectOwnKeys(writer, value, keys.length);
  writeHead(writer, Tag.Object, keys.length);
  for (const key of keys) {
    writeText(writer, key);
    writeAt(writer, key, value[key]);
  }
}

function writeAt(writer: Writer, segment: unknown, value: unknown): void {
  writer.path.push(segment);
  writeValue(writer, value);
  writer.path.pop();
}

/** Nothing hides in an object beside what is written: no symbol, no field that is not enumerable, no field on a container. */
function expectOwnKeys(writer: Writer, value: object, expected: number): void {
  if (Reflect.ownKeys(value).length !== expected) refuse(writer, 'an object with hidden fields');
}

function refuse(writer: Writer, what: string): never {
  throw new InvariantError(`${writer.path.map(String).join('.')}: ${what} is not plain data`);
}

function writeHead(writer: Writer, tag: number, count: number): void {
  writeByte(writer, tag);
  writeCount(writer, count);
}

function writeByte(writer: Writer, byte: number): void {
  reserve(writer, 1);
  writer.bytes[writer.at++] = byte;
}

function writeCount(writer: Writer, value: number): void {
  reserve(writer, 8);
  let rest = value;
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) writer.bytes[writer.at++] = (rest % 128) | 0x80;
  writer.bytes[writer.at++] = rest;
}

/** The caller has reserved the room. */
function writeWord(writer: Writer, word: number): void {
  const { bytes, at } = writer;
  bytes[at] = word;
  bytes[at + 1] = word >>> 8;
  bytes[at + 2] = word >>> 16;
  bytes[at + 3] = word >>> 24;
  writer.at = at + 4;
}

function reserve(writer: Writer, more: number): void {
  if (writer.at + more <= writer.bytes.length) return;
  const larger = new Uint8Array(Math.max(writer.bytes.length * 2, writer.at + more));
  larger.set(writer.bytes);
  writer.bytes = larger;
}

// ---- Reading ---------------------------------------------------------------------------------------------------------

interface Reader {
  bytes: Uint8Array;
  at: number;
  texts: string[];
  objects: object[];
}

/**
 * What `encodeState` was given, made anew: no array shares its buffer with `bytes` or with another. Throws a RangeError with
 * the place when the bytes are no snapshot; it never reads or makes more than the bytes say and hold.
 */
export function decodeState(bytes: Uint8Array): unknown {
  const reader: Reader = { bytes, at: 0, texts: [], objects: [] };
  if (readByte(reader) !== FORMAT) damaged(reader, 'an unknown format');
  const state = readValue(reader);
  if (reader.at !== bytes.length) damaged(reader, 'bytes after the end');
  return state;
}

function readValue(reader: Reader): unknown {
  const tag = readByte(reader);
  switch (tag) {
    case Tag.Undefined:
      return undefined;
    case Tag.Null:
      return null;
    case Tag.False:
      return false;
    case Tag.True:
      return true;
    case Tag.Natural:
      return readCount(reader);
    case Tag.Negative:
      return -1 - readCount(reader);
    case Tag.Double:
      return readDouble(reader);
    case Tag.BigNatural:
      return readMagnitude(reader);
    case Tag.BigNegative:
      return -readMagnitude(reader);
    case Tag.Text:
      return readText(reader);
    case Tag.Array: {
      const array = appeared<unknown[]>(reader, []);
      for (let left = readSize(reader, 1); left > 0; left--) array.push(readValue(reader));
      return array;
    }
    case Tag.Object: {
      const object = appeared<Record<string, unknown>>(reader, {});
      for (let left = readSize(reader, 2); left > 0; left--) {
        const key = readText(reader);
        const value = readValue(reader);
        // An assignment to this one name would set the prototype.
        if (key === '__proto__') Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
        else object[key] = value;
      }
      return object;
    }
    case Tag.Map: {
      const map = appeared(reader, new Map<unknown, unknown>());
      for (let left = readSize(reader, 2); left > 0; left--) {
        const key = readValue(reader);
        map.set(key, readValue(reader));
      }
      return map;
    }
    case Tag.Set: {
      const set = appeared(reader, new Set<unknown>());
      for (let left = readSize(reader, 1); left > 0; left--) set.add(readValue(reader));
      return set;
    }
    case Tag.Bytes: {
      const bytes = appearedWords(reader, new Uint8Array(readSize(reader, 1)));
      bytes.set(reader.bytes.subarray(reader.at, reader.at + bytes.length));
      reader.at += bytes.length;
      return bytes;
    }
    case Tag.Words16: {
      const words = appearedWords(reader, new Uint16Array(readSize(reader, 2)));
      for (let index = 0; index < words.length; index++, reader.at += 2) words[index] = reader.bytes[reader.at]! | (reader.bytes[reader.at + 1]! << 8);
      return words;
    }
    case Tag.Words32: {
      const words = appearedWords(reader, new Uint32Array(readSize(reader, 4)));
      for (let index = 0; index < words.length; index++, reader.at += 4) words[index] = wordAt(reader.bytes, reader.at);
      return words;
    }
    case Tag.Again:
      return reader.objects[readCount(reader)] ?? damaged(reader, 'a reference to nothing');
    default:
      return damaged(reader, `the unknown tag ${tag}`);
  }
}

/** Numbered before its content is read: a cycle leads back to it. */
function appeared<T extends object>(reader: Reader, object: T): T {
  reader.objects.push(object);
  return object;
}

const appearedWords = <T extends Words>(reader: Reader, words: T): T => (words.length === 0 ? words : appeared(reader, words));

function readDouble(reader: Reader): number {
  if (reader.at + 8 > reader.bytes.length) damaged(reader, 'the end');
  const value = new DataView(reader.bytes.buffer, reader.bytes.byteOffset + reader.at).getFloat64(0, true);
  reader.at += 8;
  return value;
}

function readMagnitude(reader: Reader): bigint {
  let value = 0n;
  const words = readSize(reader, 4);
  for (let index = words - 1; index >= 0; index--) value = (value << 32n) | BigInt(wordAt(reader.bytes, reader.at + index * 4));
  reader.at += words * 4;
  return value;
}

function readText(reader: Reader): string {
  const number = readCount(reader);
  if (number > 0) return reader.texts[number - 1] ?? damaged(reader, 'a reference to no text');
  let text = '';
  for (let left = readSize(reader, 1); left > 0; left--) text += String.fromCharCode(readCount(reader));
  reader.texts.push(text);
  return text;
}

/** A number of elements, each at least `elementBytes` long: so many must still be there before anything of that size is made. */
function readSize(reader: Reader, elementBytes: number): number {
  const count = readCount(reader);
  if (count * elementBytes > reader.bytes.length - reader.at) damaged(reader, 'more elements than bytes');
  return count;
}

function readCount(reader: Reader): number {
  let value = 0;
  for (let scale = 1; ; scale *= 128) {
    const byte = readByte(reader);
    value += (byte & 0x7f) * scale;
    if (!Number.isSafeInteger(value)) damaged(reader, 'a number that is too large');
    if (byte < 0x80) return value;
  }
}

function readByte(reader: Reader): number {
  const byte = reader.bytes[reader.at];
  if (byte === undefined) damaged(reader, 'the end');
  reader.at++;
  return byte;
}

function wordAt(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

function damaged(reader: Reader, found: string): never {
  throw new RangeError(`no snapshot: ${found} at byte ${reader.at} of ${reader.bytes.length}`);
}

// ---- Hash --------------------------------------------------------------------------------------------------------------

/**
 * 64 bits of any bytes as 16 hexadecimal digits, equal on every machine. Two lanes of 32 bits, each a different bijection of
 * its state and the next word, so that one changed word always changes both. Not cryptographic.
 */
export function fingerprintOf(bytes: Uint8Array): string {
  let a = 0x6c6f636b;
  let b = 0x73746570;
  const whole = bytes.length & ~3;
  for (let at = 0; at < whole; at += 4) {
    const word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    a = mix(a, Math.imul(word, 0xcc9e2d51), 15, 0x1b873593);
    b = mix(b, Math.imul(word, 0x9e3779b1), 13, 0x85ebca77);
  }
  let tail = 0;
  for (let at = whole; at < bytes.length; at++) tail |= bytes[at]! << ((at - whole) * 8);
  for (const word of [tail, bytes.length | 0]) {
    a = mix(a, Math.imul(word, 0xcc9e2d51), 15, 0x1b873593);
    b = mix(b, Math.imul(word, 0x9e3779b1), 13, 0x85ebca77);
  }
  a = spread((a + b) | 0);
  b = spread((b + a) | 0);
  return hex32(a) + hex32(b);
}

function mix(lane: number, word: number, rotation: number, factor: number): number {
  const h = lane ^ word;
  return Math.imul((h << rotation) | (h >>> (32 - rotation)), factor);
}

/** Every bit of the result depends on every bit of the lane. */
function spread(lane: number): number {
  let h = lane ^ (lane >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
}

const hex32 = (value: number): string => (value >>> 0).toString(16).padStart(8, '0');
