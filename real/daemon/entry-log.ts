/**
 * What went in and out of a core, kept in columns: numbers in pages of numbers, bytes in pages of an arena: where they lie if they last, and
 * copied if not. Objects kept instead would have to be moved and marked by the garbage collector over and over: that cost a quarter of the
 * Primary's time under small writes. What is rare is kept as the object that it is.
 */

import type { Input, Output } from '../../src/contract/index.js';
import type { RecordedEntry } from '../../src/contract/recording.js';
import { PAGE_BYTES, Page, type Arena } from '../arena.js';

const NUMBERS_PER_PAGE = 1 << 15;
/** Bytes of outputs are nobody else's to change: up to this many are copied, more are kept where they are. */
const COPIED_BYTES_MAX = 512;

/** What stands before the numbers of each entry, and of each output of one. */
const enum Kind {
  OtherInput,
  PassEnded,
  StreamSent,
  StreamReceived,
  DiskDone,
  AppRead,
  AppWrite,
  Drawn,
  Outputs,
  OtherOutput,
  Send,
  DiskRead,
  DiskWrite,
  AppDone,
}

/** Memory of logs: where the bytes lie that they record, and pages of those that have gone, for the next. */
export class LogPages {
  private readonly numbers: Float64Array[] = [];

  constructor(readonly arena: Arena) {}

  takeNumbers(): Float64Array {
    return this.numbers.pop() ?? new Float64Array(NUMBERS_PER_PAGE);
  }

  giveBack(numbers: readonly Float64Array[]): void {
    this.numbers.push(...numbers);
  }
}

export class EntryLog {
  inputs = 0;
  /** Of memory, about. */
  bytes = 0;
  /** In which recorded bytes lie. */
  private readonly bytePages: Page[] = [];
  /** Where copies go. */
  private copies: Page | undefined = undefined;
  private readonly numberPages: Float64Array[] = [];
  /** How far each page of numbers is filled: a group of them does not go over the end of a page. */
  private readonly filled: number[] = [];
  private page: Float64Array;
  private at = 0;
  /** Inputs, outputs, drawn numbers and bytes that are kept as they are. */
  private readonly objects: unknown[] = [];
  /** Resource and volume of those that name one. */
  private readonly places: { resource: string; volume: number }[] = [];
  private lastPlace = -1;
  /** Where larger ones of this pass are kept that may come again: what a read brought is passed on, a write goes to the disk and the peer. */
  private kept = new Map<Uint8Array, number>();

  constructor(private readonly memory: LogPages) {
    this.page = this.memory.takeNumbers();
    this.numberPages.push(this.page);
  }

  /** Bytes of an input are lent for the pass only: they are copied, unless they last. */
  input(input: Input, nowUs: number): void {
    this.inputs++;
    switch (input.type) {
      case 'pass-ended':
        return this.put(Kind.PassEnded, nowUs);
      case 'stream-sent':
        return this.put(Kind.StreamSent, nowUs, input.stream, input.bytesTotal);
      case 'stream-received':
        this.put(Kind.StreamReceived, nowUs, input.stream);
        return this.putLent(input.bytes);
      case 'disk-done': {
        this.put(Kind.DiskDone, nowUs, input.op);
        if (!input.data) return this.putNone();
        if (this.putInPlace(input.data)) {
          this.bytes += input.data.length;
          return;
        }
        const where = this.copied(input.data);
        this.kept.set(input.data, where);
        return this.putBytes(where, input.data.length);
      }
      case 'app-read':
        return this.put(Kind.AppRead, nowUs, this.placeOf(input), input.id, input.sector, input.sectors);
      case 'app-write':
        this.put(Kind.AppWrite, nowUs, this.placeOf(input), input.id, input.sector, input.fua ? 1 : 0);
        return this.putLent(input.data);
      case 'membership-received':
        return this.put(Kind.OtherInput, nowUs, this.object({ ...input, bytes: input.bytes.slice() }));
      default:
        return this.put(Kind.OtherInput, nowUs, this.object(input));
    }
  }

  drawn(value: bigint): void {
    this.put(Kind.Drawn, this.object(value));
  }

  outputs(outputs: readonly Output[]): void {
    this.put(Kind.Outputs, outputs.length);
    for (const output of outputs) this.output(output);
  }

  /** What was lent is somebody else's again. A new map: cleared ones are kept in a chain (src/model/tables). */
  passEnded(): void {
    if (this.kept.size > 0) this.kept = new Map();
  }

  private output(output: Output): void {
    switch (output.type) {
      case 'send':
        this.put(Kind.Send, output.stream, output.pieces.length);
        for (const piece of output.pieces) this.putOwned(piece);
        return;
      case 'disk-read':
        return this.put(Kind.DiskRead, output.op, this.placeOf(output), output.area === 'data' ? 0 : 1, output.sector, output.sectors);
      case 'disk-write':
        this.put(Kind.DiskWrite, output.op, this.placeOf(output), (output.area === 'data' ? 0 : 1) + (output.preflush ? 2 : 0) + (output.fua ? 4 : 0), output.sector);
        return this.putOwned(output.data);
      case 'app-done': {
        this.put(Kind.AppDone, this.placeOf(output), output.id);
        if (!output.data) return this.putNone();
        if (this.putInPlace(output.data)) return;
        const where = this.kept.get(output.data);
        return where === undefined ? this.putLent(output.data) : this.putBytes(where, output.data.length);
      }
      default:
        return this.put(Kind.OtherOutput, this.object(output));
    }
  }

  /** All of it, as a recording tells it. */
  entries(): RecordedEntry[] {
    return new Reader(this.numberPages, [...this.filled, this.at], this.bytePages, this.objects, this.places).entries();
  }

  /** Adds the memory in which recorded bytes lie. */
  holds(held: Set<ArrayBufferLike>): void {
    for (const page of this.bytePages) held.add(page);
  }

  /** It is over, and nobody reads it any more: its memory is used again. */
  giveBack(): void {
    if (this.copies) this.memory.arena.retire(this.copies);
    this.memory.giveBack(this.numberPages);
  }

  // ---- Putting ---------------------------------------------------------------------------------------------------------

  private put(a: number, b: number, c = 0, d = 0, e = 0, f = 0): void {
    if (this.at + 6 > NUMBERS_PER_PAGE) this.nextPage();
    const { page, at } = this;
    page[at] = a;
    page[at + 1] = b;
    page[at + 2] = c;
    page[at + 3] = d;
    page[at + 4] = e;
    page[at + 5] = f;
    this.at = at + 6;
    this.bytes += 48;
  }

  /** Where bytes are, and how many: from 0 on a place in the pages, below it an object. */
  private putBytes(where: number, length: number): void {
    if (this.at + 2 > NUMBERS_PER_PAGE) this.nextPage();
    this.page[this.at] = where;
    this.page[this.at + 1] = length;
    this.at += 2;
    this.bytes += 16;
  }

  private putNone(): void {
    this.putBytes(0, -1);
  }

  private putOwned(bytes: Uint8Array): void {
    // Counted with the input that brought it.
    if (this.putInPlace(bytes)) return;
    if (bytes.length <= COPIED_BYTES_MAX) return this.putLent(bytes);
    let where = this.kept.get(bytes);
    if (where === undefined) {
      this.bytes += bytes.length;
      where = -1 - this.object(bytes);
      this.kept.set(bytes, where);
    }
    this.putBytes(where, bytes.length);
  }

  private putLent(bytes: Uint8Array): void {
    if (this.putInPlace(bytes)) this.bytes += bytes.length;
    else this.putBytes(this.copied(bytes), bytes.length);
  }

  /** Puts bytes that stay where they are, and says whether they do. */
  private putInPlace(bytes: Uint8Array): boolean {
    const { buffer } = bytes;
    if (!(buffer instanceof Page)) return false;
    this.putBytes(this.placeIn(buffer, bytes.byteOffset), bytes.length);
    return true;
  }

  private placeIn(page: Page, at: number): number {
    if (page.recordedBy !== this) {
      page.recordedBy = this;
      page.recordedAs = this.bytePages.push(page) - 1;
    }
    return page.recordedAs * PAGE_BYTES + at;
  }

  /** Copies bytes, and says where they are. */
  private copied(bytes: Uint8Array): number {
    this.bytes += bytes.length;
    if (bytes.length === 0) return 0;
    if (bytes.length > PAGE_BYTES) return -1 - this.object(bytes.slice());
    let page = this.copies;
    if (!page || page.used + bytes.length > PAGE_BYTES) {
      if (page) this.memory.arena.retire(page);
      page = this.copies = this.memory.arena.takePage();
    }
    const at = page.used;
    page.used += bytes.length;
    page.memory.set(bytes, at);
    return this.placeIn(page, at);
  }

  private object(value: unknown): number {
    this.bytes += 200;
    return this.objects.push(value) - 1;
  }

  private placeOf({ resource, volume }: { resource: string; volume: number }): number {
    const last = this.places[this.lastPlace];
    if (last && last.resource === resource && last.volume === volume) return this.lastPlace;
    this.lastPlace = this.places.findIndex((place) => place.resource === resource && place.volume === volume);
    if (this.lastPlace < 0) this.lastPlace = this.places.push({ resource, volume }) - 1;
    return this.lastPlace;
  }

  private nextPage(): void {
    this.filled.push(this.at);
    this.page = this.memory.takeNumbers();
    this.numberPages.push(this.page);
    this.at = 0;
  }
}

/** The way back, in the order in which it was put. */
class Reader {
  private page = 0;
  private at = 0;

  constructor(
    private readonly numberPages: readonly Float64Array[],
    private readonly filled: readonly number[],
    private readonly bytePages: readonly Page[],
    private readonly objects: readonly unknown[],
    private readonly places: readonly { resource: string; volume: number }[],
  ) {}

  entries(): RecordedEntry[] {
    const entries: RecordedEntry[] = [];
    for (;;) {
      if (this.at === this.filled[this.page]!) {
        if (this.page === this.filled.length - 1) return entries;
        this.page++;
        this.at = 0;
      }
      entries.push(this.entry());
    }
  }

  private entry(): RecordedEntry {
    const [kind, first, ...rest] = this.take(6) as [Kind, number, ...number[]];
    if (kind === Kind.Drawn) return { is: 'drawn', value: this.objects[first] as bigint };
    if (kind === Kind.Outputs) return { is: 'outputs', outputs: Array.from({ length: first }, () => this.output()) };
    return { is: 'input', nowUs: first, input: this.input(kind, rest as [number, number, number, number]) };
  }

  private input(kind: Kind, [a, b, c, d]: [number, number, number, number]): Input {
    switch (kind) {
      case Kind.PassEnded:
        return { type: 'pass-ended' };
      case Kind.StreamSent:
        return { type: 'stream-sent', stream: a, bytesTotal: b };
      case Kind.StreamReceived:
        return { type: 'stream-received', stream: a, bytes: this.takeBytes()! };
      case Kind.DiskDone: {
        const data = this.takeBytes();
        return data ? { type: 'disk-done', op: a, data } : { type: 'disk-done', op: a };
      }
      case Kind.AppRead:
        return { type: 'app-read', ...this.places[a]!, id: b, sector: c, sectors: d };
      case Kind.AppWrite:
        return { type: 'app-write', ...this.places[a]!, id: b, sector: c, data: this.takeBytes()!, fua: d === 1 };
      case Kind.OtherInput:
        return this.objects[a] as Input;
      default:
        throw new Error(`no input is of kind ${kind}`);
    }
  }

  private output(): Output {
    const [kind, a, b, c, d, e] = this.take(6) as [Kind, number, number, number, number, number];
    switch (kind) {
      case Kind.Send:
        return { type: 'send', stream: a, pieces: Array.from({ length: b }, () => this.takeBytes()!) };
      case Kind.DiskRead:
        return { type: 'disk-read', op: a, ...this.places[b]!, area: c === 0 ? 'data' : 'meta', sector: d, sectors: e };
      case Kind.DiskWrite:
        return { type: 'disk-write', op: a, ...this.places[b]!, area: (c & 1) === 0 ? 'data' : 'meta', sector: d, data: this.takeBytes()!, preflush: (c & 2) !== 0, fua: (c & 4) !== 0 };
      case Kind.AppDone: {
        const data = this.takeBytes();
        return data ? { type: 'app-done', ...this.places[a]!, id: b, data } : { type: 'app-done', ...this.places[a]!, id: b };
      }
      case Kind.OtherOutput:
        return this.objects[a] as Output;
      default:
        throw new Error(`no output is of kind ${kind}`);
    }
  }

  private take(count: number): number[] {
    if (this.at === this.filled[this.page]!) {
      this.page++;
      this.at = 0;
    }
    const at = this.at;
    this.at += count;
    return [...this.numberPages[this.page]!.subarray(at, this.at)];
  }

  private takeBytes(): Uint8Array | undefined {
    const [where, length] = this.take(2) as [number, number];
    if (length < 0) return undefined;
    if (length === 0) return new Uint8Array(0);
    if (where < 0) return this.objects[-1 - where] as Uint8Array;
    const at = where % PAGE_BYTES;
    return this.bytePages[(where - at) / PAGE_BYTES]!.memory.subarray(at, at + length);
  }
}
