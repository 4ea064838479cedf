/** A small NBD client: enough to use an export, for the demonstration and the tests. Many requests may be on their way. */

import { connect, type Socket } from 'node:net';
import { ByteQueue } from './bytes.js';
import {
  CommandFlag,
  HandshakeFlag,
  InfoType,
  NBD_MAGIC,
  NbdCommand,
  NbdOption,
  OPTION_MAGIC,
  OPTION_REPLY_MAGIC,
  OptionReply,
  REPLY_FLAG_DONE,
  REQUEST_MAGIC,
  ReplyType,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
} from './protocol.js';
import type { Extent } from './exports.js';
import type { NbdAddress } from './server.js';

export class NbdFailure extends Error {
  constructor(
    message: string,
    /** The protocol's error number, or undefined when the connection is gone. */
    readonly code?: number,
  ) {
    super(message);
  }
}

interface Waiting {
  bytes: number;
  /** Chunks of an answer that is not whole. */
  status: Map<string, Extent[]>;
  resolve: (data: Uint8Array) => void;
  reject: (error: Error) => void;
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

function number(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  viewOf(bytes).setUint32(0, value);
  return bytes;
}
const joined = (parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
/** A text with its length before it. */
const counted = (text: string): Uint8Array => {
  const bytes = new TextEncoder().encode(text);
  return joined([number(bytes.length), bytes]);
};

export class NbdClient {
  sizeBytes = 0;
  flags = 0;
  private readonly bytes = new ByteQueue();
  private readonly waiting = new Map<number, Waiting>();
  private wanted: { bytes: number; resolve: (data: Uint8Array) => void } | undefined = undefined;
  private readonly contexts = new Map<number, string>();
  private lastCookie = 0;
  private failure: Error | undefined = undefined;
  private fail: (error: Error) => void = () => undefined;
  private readonly gone: Promise<never>;

  private constructor(private readonly socket: Socket) {
    this.gone = new Promise<never>((_, reject) => (this.fail = reject));
    this.gone.catch(() => undefined);
    socket.on('data', (chunk: Buffer) => {
      this.bytes.push(new Uint8Array(chunk));
      this.deliver();
    });
    socket.on('error', (error) => this.over(new NbdFailure(error.message)));
    socket.on('close', () => this.over(new NbdFailure('the connection is gone')));
  }

  /** Opens an export, with metadata contexts that `blockStatus` shall tell of. Rejects with the server's reason when it refuses. */
  static async open(address: NbdAddress, name: string, structuredReplies = true, contexts: readonly string[] = []): Promise<NbdClient> {
    const socket = address.kind === 'unix' ? connect(address.path) : connect({ host: address.host, port: address.port, noDelay: true });
    const client = new NbdClient(socket);
    try {
      await client.negotiate(name, structuredReplies, contexts);
    } catch (error) {
      socket.destroy();
      throw error;
    }
    void client.readReplies().catch(() => undefined);
    return client;
  }

  read(offsetBytes: number, bytes: number): Promise<Uint8Array> {
    return this.request(NbdCommand.Read, 0, offsetBytes, bytes, undefined, bytes);
  }

  async write(offsetBytes: number, data: Uint8Array, fua = false): Promise<void> {
    await this.request(NbdCommand.Write, fua ? CommandFlag.Fua : 0, offsetBytes, data.length, data, 0);
  }

  async writeZeroes(offsetBytes: number, bytes: number, flags = 0): Promise<void> {
    await this.request(NbdCommand.WriteZeroes, flags, offsetBytes, bytes, undefined, 0);
  }

  async trim(offsetBytes: number, bytes: number, flags = 0): Promise<void> {
    await this.request(NbdCommand.Trim, flags, offsetBytes, bytes, undefined, 0);
  }

  async flush(): Promise<void> {
    await this.request(NbdCommand.Flush, 0, 0, 0, undefined, 0);
  }

  /** The extents of each context. */
  async blockStatus(offsetBytes: number, bytes: number, flags = 0): Promise<Map<string, Extent[]>> {
    const status = new Map<string, Extent[]>();
    await this.request(NbdCommand.BlockStatus, flags, offsetBytes, bytes, undefined, 0, status);
    return status;
  }

  /** Any command, for tests of servers. */
  request(command: number, flags: number, offsetBytes: number, bytes: number, payload: Uint8Array | undefined, replyBytes: number, status = new Map<string, Extent[]>()): Promise<Uint8Array> {
    if (this.failure) return Promise.reject(this.failure);
    const cookie = ++this.lastCookie;
    this.sendRequest(command, flags, cookie, offsetBytes, bytes, payload);
    return new Promise((resolve, reject) => this.waiting.set(cookie, { bytes: replyBytes, status, resolve, reject }));
  }

  close(): void {
    if (!this.failure) this.sendRequest(NbdCommand.Disconnect, 0, 0, 0, 0, undefined);
    this.over(new NbdFailure('closed'));
    this.socket.end();
  }

  private sendRequest(command: number, flags: number, cookie: number, offset: number, bytes: number, payload: Uint8Array | undefined): void {
    const head = new DataView(new ArrayBuffer(28));
    head.setUint32(0, REQUEST_MAGIC);
    head.setUint16(4, flags);
    head.setUint16(6, command);
    head.setBigUint64(8, BigInt(cookie));
    head.setBigUint64(16, BigInt(offset));
    head.setUint32(24, bytes);
    this.socket.cork();
    this.socket.write(new Uint8Array(head.buffer));
    if (payload) this.socket.write(payload);
    this.socket.uncork();
  }

  private over(error: Error): void {
    if (this.failure) return;
    this.failure = error;
    this.fail(error);
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
  }

  private take(bytes: number): Promise<Uint8Array> {
    const taken = new Promise<Uint8Array>((resolve) => (this.wanted = { bytes, resolve }));
    this.deliver();
    return Promise.race([taken, this.gone]);
  }

  private deliver(): void {
    if (!this.wanted) return;
    const data = this.bytes.pull(this.wanted.bytes);
    if (!data) return;
    const { resolve } = this.wanted;
    this.wanted = undefined;
    resolve(data);
  }

  private async negotiate(name: string, structuredReplies: boolean, contexts: readonly string[]): Promise<void> {
    const greeting = viewOf(await this.take(18));
    if (greeting.getBigUint64(0) !== NBD_MAGIC || greeting.getBigUint64(8) !== OPTION_MAGIC) throw new NbdFailure('this is no NBD server');
    const flags = new Uint8Array(4);
    viewOf(flags).setUint32(0, HandshakeFlag.FixedNewstyle | HandshakeFlag.NoZeroes);
    this.socket.write(flags);
    if (structuredReplies) {
      this.sendOption(NbdOption.StructuredReply, new Uint8Array(0));
      await this.optionReply();
    }
    if (contexts.length > 0) {
      this.sendOption(NbdOption.SetMetaContext, joined([counted(name), number(contexts.length), ...contexts.map(counted)]));
      for (let reply = await this.optionReply(); reply.type === OptionReply.MetaContext; reply = await this.optionReply()) {
        this.contexts.set(viewOf(reply.data).getUint32(0), new TextDecoder().decode(reply.data.subarray(4)));
      }
    }
    this.sendOption(NbdOption.Go, joined([counted(name), new Uint8Array(2)]));
    for (;;) {
      const { type, data: info } = await this.optionReply();
      if (type === OptionReply.Ack) return;
      if (type !== OptionReply.Info || viewOf(info).getUint16(0) !== InfoType.Export) continue;
      this.sizeBytes = Number(viewOf(info).getBigUint64(2));
      this.flags = viewOf(info).getUint16(10);
    }
  }

  private sendOption(option: number, data: Uint8Array): void {
    const head = new DataView(new ArrayBuffer(16));
    head.setBigUint64(0, OPTION_MAGIC);
    head.setUint32(8, option);
    head.setUint32(12, data.length);
    this.socket.write(new Uint8Array(head.buffer));
    if (data.length > 0) this.socket.write(data);
  }

  private async optionReply(): Promise<{ type: number; data: Uint8Array }> {
    const head = viewOf(await this.take(20));
    if (head.getBigUint64(0) !== OPTION_REPLY_MAGIC) throw new NbdFailure('no option reply where one was expected');
    const type = head.getUint32(12);
    const data = await this.take(head.getUint32(16));
    if (type >= 0x80000000) throw new NbdFailure(new TextDecoder().decode(data) || `the server refuses (${type.toString(16)})`, type);
    return { type, data };
  }

  private async readReplies(): Promise<void> {
    for (;;) {
      const magic = viewOf(await this.take(4)).getUint32(0);
      if (magic === SIMPLE_REPLY_MAGIC) {
        const head = viewOf(await this.take(12));
        const waiting = this.takeWaiting(Number(head.getBigUint64(4)));
        const error = head.getUint32(0);
        if (error !== 0) waiting.reject(new NbdFailure(`NBD error ${error}`, error));
        else waiting.resolve(await this.take(waiting.bytes));
      } else if (magic === STRUCTURED_REPLY_MAGIC) {
        const head = viewOf(await this.take(16));
        const cookie = Number(head.getBigUint64(4));
        const type = head.getUint16(2);
        const data = await this.take(head.getUint32(12));
        if (type === ReplyType.BlockStatus) {
          const extents = Array.from({ length: (data.length - 4) / 8 }, (_, index) => ({ bytes: viewOf(data).getUint32(4 + 8 * index), flags: viewOf(data).getUint32(8 + 8 * index) }));
          this.waiting.get(cookie)?.status.set(this.contexts.get(viewOf(data).getUint32(0)) ?? '', extents);
          if ((head.getUint16(0) & REPLY_FLAG_DONE) !== 0) this.takeWaiting(cookie).resolve(data);
          continue;
        }
        const waiting = this.takeWaiting(cookie);
        if (type === ReplyType.OffsetData) waiting.resolve(data.subarray(8));
        else waiting.reject(new NbdFailure(`NBD error ${viewOf(data).getUint32(0)}`, viewOf(data).getUint32(0)));
      } else {
        this.socket.destroy();
        return this.over(new NbdFailure(`no reply where one was expected (${magic.toString(16)})`));
      }
    }
  }

  private takeWaiting(cookie: number): Waiting {
    const waiting = this.waiting.get(cookie);
    if (!waiting) {
      this.socket.destroy();
      throw new NbdFailure(`a reply to nothing (${cookie})`);
    }
    this.waiting.delete(cookie);
    return waiting;
  }
}
