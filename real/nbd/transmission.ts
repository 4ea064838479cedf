/**
 * Requests of one client on its export, and their replies. A request is cut into parts that the core takes; all replies of a pass
 * leave in one write. Whatever a client sends, the place of the next request stays known, or the connection ends.
 */

import { readU16, readU32, readU64, writeU16, writeU32, writeU64 } from '../../src/wire/bytes.js';
import { newBytes } from '../../src/wire/memory.js';
import type { ByteQueue } from './bytes.js';
import { contexts, EXTENTS_MAX, statusChunk } from './contexts.js';
import { PART_BYTES_MAX, ZERO_BYTES_MAX, type AppError, type Export, type Volumes } from './exports.js';
import type { Agreed } from './negotiation.js';
import {
  CommandFlag,
  NbdCommand,
  NbdError,
  PAYLOAD_BYTES_MAX,
  REPLY_FLAG_DONE,
  REQUEST_BYTES,
  REQUEST_BYTES_MAX,
  REQUEST_MAGIC,
  ReplyType,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
} from './protocol.js';

/** What one client may have on its way: more is not read from its socket. */
const REQUESTS_MAX = 1024;
const BYTES_MAX = 16 << 20;

const errors: Record<AppError, NbdError> = { EIO: NbdError.Io, EROFS: NbdError.Permission, ENXIO: NbdError.Shutdown, EINVAL: NbdError.Invalid };

/** The flags that each command takes; other commands there are not. FUA means something for what changes data. */
const flagsOf = new Map<number, number>([
  [NbdCommand.Read, CommandFlag.Fua | CommandFlag.Df],
  [NbdCommand.Write, CommandFlag.Fua],
  [NbdCommand.Flush, CommandFlag.Fua],
  [NbdCommand.Trim, CommandFlag.Fua],
  [NbdCommand.WriteZeroes, CommandFlag.Fua | CommandFlag.NoHole | CommandFlag.FastZero],
  [NbdCommand.BlockStatus, CommandFlag.Fua | CommandFlag.ReqOne],
]);

interface Request {
  command: number;
  cookieHigh: number;
  cookieLow: number;
  offset: number;
  bytes: number;
  flags: number;
  /** Bytes of payload that it holds while it is on its way. */
  held: number;
  /** Parts that the core has not answered; one more while parts are still being made. */
  pending: number;
  error: NbdError;
  /** Of a read, in order. */
  data: (Uint8Array | undefined)[];
}

/** A write whose payload is still arriving. */
interface Arriving {
  request: Request;
  offset: number;
  left: number;
}

export class Transmission {
  private arriving: Arriving | undefined = undefined;
  /** Payload of a refused request. */
  private toSkip = 0;
  private readonly where: Export;
  private requests = 0;
  private bytes = 0;

  constructor(
    private readonly volumes: Volumes,
    private readonly agreed: Agreed,
    /** Pieces of replies, in order. */
    private readonly send: (pieces: Uint8Array[]) => void,
    /** There is room again for requests that were not read. */
    private readonly roomAgain: () => void,
  ) {
    this.where = agreed.where;
  }

  /** So much is on its way that nothing more is read. */
  get isFull(): boolean {
    // What is arriving counts when it is here: it may be more than that alone.
    return this.requests >= REQUESTS_MAX || this.bytes - (this.arriving?.request.held ?? 0) >= BYTES_MAX;
  }

  get requestsInFlight(): number {
    return this.requests;
  }

  /** Handles what has arrived, as far as there is room. Gives the reason when the connection is over. */
  advance(bytes: ByteQueue, mayGoOn: () => boolean): string | undefined {
    for (;;) {
      if (this.toSkip > 0) {
        this.toSkip -= bytes.skip(this.toSkip);
        if (this.toSkip > 0) return undefined;
      } else if (this.arriving) {
        if (!this.payloadPart(bytes, this.arriving)) return undefined;
      } else {
        if (this.isFull || !mayGoOn()) return undefined;
        const head = bytes.pull(REQUEST_BYTES);
        if (!head) return undefined;
        const over = this.begin(head);
        if (over !== undefined) return over;
      }
    }
  }

  private begin(head: Uint8Array): string | undefined {
    if (readU32(head, 0) !== REQUEST_MAGIC) return 'no request where one was expected';
    const flags = readU16(head, 4);
    const command = readU16(head, 6);
    const bytes = readU32(head, 24);
    const request: Request = {
      command,
      cookieHigh: readU32(head, 8),
      cookieLow: readU32(head, 12),
      // Exact up to 2^53; what is larger is beyond every device.
      offset: readU64(head, 16),
      bytes,
      flags,
      held: 0,
      pending: 1,
      error: NbdError.Ok,
      data: [],
    };
    if (command === NbdCommand.Disconnect) return 'the client disconnected';
    this.requests++;
    request.error = this.refusalOf(request);
    if (command === NbdCommand.Write) {
      if (bytes > PAYLOAD_BYTES_MAX) return `a write of ${bytes} bytes`;
      if (request.error !== NbdError.Ok) this.toSkip = bytes;
      else {
        this.hold(request);
        this.arriving = { request, offset: request.offset, left: bytes };
        return undefined;
      }
    }
    if (request.error === NbdError.Ok) this.start(request);
    this.partOver(request);
    return undefined;
  }

  private refusalOf({ command, offset, bytes, flags }: Request): NbdError {
    const known = flagsOf.get(command);
    if (known === undefined || (flags & ~known) !== 0) return NbdError.Invalid;
    if (command === NbdCommand.Flush) return NbdError.Ok;
    const hasPayload = command === NbdCommand.Read || command === NbdCommand.Write;
    const isWhole = bytes > 0 && bytes % 512 === 0 && offset % 512 === 0;
    if (!isWhole || (hasPayload && bytes > REQUEST_BYTES_MAX)) return NbdError.Invalid;
    if (command === NbdCommand.BlockStatus && this.agreed.contexts.length === 0) return NbdError.Invalid;
    if (offset + bytes > this.where.sizeBytes) return command === NbdCommand.Write || command === NbdCommand.WriteZeroes ? NbdError.NoSpace : NbdError.Invalid;
    // Who asks for fast zeros would do something else, not wait for slow ones.
    if (command === NbdCommand.WriteZeroes && (flags & CommandFlag.FastZero) !== 0 && !this.volumes.zeroesFast(this.where)) return NbdError.NotSupported;
    return NbdError.Ok;
  }

  private hold(request: Request): void {
    request.held = request.bytes;
    this.bytes += request.bytes;
  }

  private start(request: Request): void {
    const { volumes, where } = this;
    switch (request.command) {
      case NbdCommand.Flush:
        request.pending++;
        return volumes.flush(where, this.completionOf(request, -1));
      case NbdCommand.Read:
        this.hold(request);
        return this.inParts(request, PART_BYTES_MAX, (offset, bytes) => {
          request.data.push(undefined);
          volumes.read(where, offset, bytes, this.completionOf(request, request.data.length - 1));
        });
      case NbdCommand.Trim:
        return this.inParts(request, ZERO_BYTES_MAX, (offset, bytes) => volumes.discard(where, offset, bytes, this.completionOf(request, -1)));
      case NbdCommand.WriteZeroes: {
        const mayUnmap = (request.flags & CommandFlag.NoHole) === 0;
        return this.inParts(request, ZERO_BYTES_MAX, (offset, bytes) => volumes.writeZeroes(where, offset, bytes, mayUnmap, this.completionOf(request, -1)));
      }
    }
  }

  private inParts(request: Request, partBytes: number, start: (offset: number, bytes: number) => void): void {
    for (let done = 0; done < request.bytes; done += partBytes) {
      request.pending++;
      start(request.offset + done, Math.min(partBytes, request.bytes - done));
    }
  }

  /** One part of a write, as soon as it is there; false: it is not. */
  private payloadPart(bytes: ByteQueue, arriving: Arriving): boolean {
    const { request } = arriving;
    const data = bytes.pull(Math.min(PART_BYTES_MAX, arriving.left));
    if (!data) return false;
    request.pending++;
    this.volumes.write(this.where, arriving.offset, data, (request.flags & CommandFlag.Fua) !== 0, this.completionOf(request, -1));
    arriving.offset += data.length;
    arriving.left -= data.length;
    if (arriving.left === 0) {
      this.arriving = undefined;
      this.partOver(request);
    }
    return true;
  }

  private completionOf(request: Request, index: number) {
    return {
      done: (data: Uint8Array | undefined): void => {
        // What waits for other parts is known to nobody who is asked before memory is used again.
        if (data) request.data[index] = request.pending > 1 ? data.slice() : data;
        this.partOver(request);
      },
      failed: (error: AppError): void => {
        request.error = errors[error];
        this.partOver(request);
      },
    };
  }

  private partOver(request: Request): void {
    if (--request.pending > 0) return;
    if (this.needsFlush(request)) {
      request.flags &= ~CommandFlag.Fua;
      request.pending++;
      return this.volumes.flush(this.where, this.completionOf(request, -1));
    }
    const wasFull = this.isFull;
    this.requests--;
    this.bytes -= request.held;
    this.reply(request);
    if (wasFull && !this.isFull) this.roomAgain();
  }

  /** Zeros and discards know no FUA of their own. */
  private needsFlush({ command, flags, error }: Request): boolean {
    return error === NbdError.Ok && (flags & CommandFlag.Fua) !== 0 && (command === NbdCommand.Trim || command === NbdCommand.WriteZeroes);
  }

  private reply(request: Request): void {
    const { command, error, cookieHigh, cookieLow } = request;
    const data = error === NbdError.Ok ? (request.data as Uint8Array[]) : [];
    if (command === NbdCommand.BlockStatus && error === NbdError.Ok) return this.replyStatus(request);
    if ((command !== NbdCommand.Read && command !== NbdCommand.BlockStatus) || !this.agreed.structuredReplies) {
      const head = newBytes(16);
      writeU32(head, 0, SIMPLE_REPLY_MAGIC);
      writeU32(head, 4, error);
      writeU32(head, 8, cookieHigh);
      writeU32(head, 12, cookieLow);
      return this.send([head, ...data]);
    }
    // One chunk whatever the size: what a client with DF asks for, and nobody minds.
    const isData = error === NbdError.Ok;
    const head = newBytes(isData ? 28 : 26);
    writeU32(head, 0, STRUCTURED_REPLY_MAGIC);
    writeU16(head, 4, REPLY_FLAG_DONE);
    writeU16(head, 6, isData ? ReplyType.OffsetData : ReplyType.Error);
    writeU32(head, 8, cookieHigh);
    writeU32(head, 12, cookieLow);
    writeU32(head, 16, isData ? 8 + request.bytes : 6);
    if (isData) writeU64(head, 20, request.offset);
    else writeU32(head, 20, error);
    this.send([head, ...data]);
  }

  private replyStatus({ cookieHigh, cookieLow, offset, bytes, flags }: Request): void {
    const extentsMax = (flags & CommandFlag.ReqOne) === 0 ? EXTENTS_MAX : 1;
    const { contexts: ids } = this.agreed;
    this.send(ids.map((id, index) => statusChunk(cookieHigh, cookieLow, id, this.volumes.status(this.where, contexts.get(id)!, offset, bytes, extentsMax), index === ids.length - 1)));
  }
}
