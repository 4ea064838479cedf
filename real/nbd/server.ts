/** The NBD server: listens on unix and TCP sockets, and keeps its clients apart: none can make it wait, or hold more than its share. */

import { createServer, type Server, type Socket } from 'node:net';
import { rmSync, chmodSync } from 'node:fs';
import type { Arena } from '../arena.js';
import { widenSendBuffer } from '../system.js';
import { withReader } from '../net/accepted.js';
import { writeGathered } from '../net/gathered.js';
import { plainBytes, type TlsFolder } from '../net/tls.js';
import { ByteQueue } from './bytes.js';
import type { Export, Volumes } from './exports.js';
import { Negotiation, type Agreed } from './negotiation.js';
import { Transmission } from './transmission.js';

export type NbdAddress = { kind: 'unix'; path: string } | { kind: 'tcp'; host: string; port: number };

const CLIENTS_MAX = 256;
/** A client that has not chosen an export by then is sent away. */
const NEGOTIATION_MS = 10_000;
/** What a client has asked for leaves in one write, mostly. */
const SEND_BUFFER_BYTES = 1 << 20;
/** Replies that a client does not read: nothing more is done for it until it does. */
const UNREAD_BYTES_MAX = 8 << 20;

export const addressText = (address: NbdAddress): string => (address.kind === 'unix' ? `unix:${address.path}` : `${address.host}:${address.port}`);

export class NbdServer {
  private readonly servers: Server[] = [];
  private readonly clients = new Set<Client>();
  private readonly stopped = new Set<string>();
  /** They have replies that are not sent. */
  private replying: Client[] = [];
  private lastClient = 0;

  constructor(
    private readonly volumes: Volumes,
    private readonly log: (text: string) => void,
    /** Where sockets read to. */
    readonly arena: Arena,
    /** For TCP; a unix socket is this machine's own. */
    private readonly tls?: TlsFolder,
  ) {
    arena.ask((held) => {
      for (const client of this.clients) client.holds(held);
    });
  }

  /** Rejects when the address cannot be had. A unix socket that nobody listens on any more must be removed by the caller. */
  async listen(address: NbdAddress): Promise<NbdAddress> {
    const server = createServer({ noDelay: true, pauseOnConnect: true }, (socket) => this.accept(socket, address));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      const listening = (): void => {
        server.off('error', reject);
        server.on('error', (error) => this.log(`NBD ${addressText(address)}: ${error.message}`));
        resolve();
      };
      if (address.kind === 'unix') server.listen(address.path, listening);
      else server.listen(address.port, address.host, listening);
    });
    if (address.kind === 'unix') chmodSync(address.path, 0o600);
    this.servers.push(server);
    const bound = server.address();
    return address.kind === 'tcp' && bound && typeof bound === 'object' ? { ...address, port: bound.port } : address;
  }

  /** The core wants no more requests of this volume, or again. */
  admit(resource: string, volume: number, on: boolean): void {
    const key = `${resource}/${volume}`;
    if (on) this.stopped.delete(key);
    else this.stopped.add(key);
    if (on) for (const client of this.clients) client.goOn();
  }

  isStopped(where: Export): boolean {
    return this.stopped.has(`${where.resource}/${where.volume}`);
  }

  get clientCount(): number {
    return this.clients.size;
  }

  /** All that is to be answered now was answered: each client's replies leave in one write. */
  sendReplies(): void {
    const clients = this.replying;
    if (clients.length === 0) return;
    this.replying = [];
    for (const client of clients) client.flush();
  }

  /** It has replies: they are sent at the latest in a moment. */
  hasReplies(client: Client): void {
    if (this.replying.length === 0) process.nextTick(() => this.sendReplies());
    this.replying.push(client);
  }

  /** Nobody is served any more. */
  close(): void {
    for (const server of this.servers) server.close();
    for (const client of this.clients) client.end('the server stops');
  }

  removed(client: Client): void {
    this.clients.delete(client);
  }

  private accept(socket: Socket, address: NbdAddress): void {
    if (this.clients.size >= CLIENTS_MAX) {
      this.log(`NBD: more than ${CLIENTS_MAX} clients: one is turned away`);
      socket.destroy();
      return;
    }
    const number = ++this.lastClient;
    const who = address.kind === 'unix' ? `NBD client ${number} on ${address.path}` : `NBD client ${number} at ${socket.remoteAddress}:${socket.remotePort}`;
    this.clients.add(new Client(this, this.volumes, socket, who, this.log, address.kind === 'tcp' ? this.tls : undefined));
  }
}

class Client {
  private readonly bytes: ByteQueue;
  private readonly negotiation: Negotiation;
  private transmission: Transmission | undefined = undefined;
  private where: Export | undefined = undefined;
  private replies: Uint8Array[] = [];
  private socket: Socket;
  private replyBytes = 0;
  private isOver = false;
  private readonly patience: NodeJS.Timeout;

  constructor(
    private readonly server: NbdServer,
    private readonly volumes: Volumes,
    accepted: Socket,
    private readonly who: string,
    private readonly log: (text: string) => void,
    private readonly tls: TlsFolder | undefined,
  ) {
    this.bytes = new ByteQueue(server.arena);
    const { fd } = (accepted as unknown as { _handle: { fd: number } })._handle;
    if (fd >= 0) widenSendBuffer(fd, SEND_BUFFER_BYTES);
    // What is to be secured later is read in Node's own way.
    this.socket = tls ? accepted.on('data', this.receivedInBuffer) : withReader(accepted, server.arena.reader(this.received), false);
    if (tls) accepted.resume();
    this.negotiation = new Negotiation(volumes, (bytes) => this.socket.write(bytes), tls !== undefined);
    this.patience = setTimeout(() => this.end('it chose no export'), NEGOTIATION_MS);
    this.watch();
  }

  private watch(): void {
    const { socket } = this;
    socket.on('drain', () => this.goOn());
    socket.on('end', () => this.end('the client went'));
    socket.on('error', (error) => this.end(error.message));
    socket.on('close', () => this.end('the connection is gone'));
  }

  /** What came before the first byte of TLS was said by anybody: a client that sent more is sent away. */
  private secure(): void {
    if (!this.bytes.isEmpty) return this.end('it did not wait for TLS');
    const plain = this.socket;
    for (const event of ['data', 'drain', 'end', 'error', 'close']) plain.removeAllListeners(event);
    this.tls!.upgrade(
      plain,
      (socket) => {
        if (this.isOver) return void socket.destroy();
        this.socket = socket.on('data', this.receivedInBuffer);
        this.watch();
      },
      (why) => this.end(`no TLS: ${why}`),
    );
  }

  private readonly received = (bytes: Uint8Array): void => {
    if (this.isOver) return;
    this.bytes.push(bytes);
    this.goOn();
  };

  private readonly receivedInBuffer = (bytes: Buffer): void => this.received(plainBytes(bytes));

  holds(held: Set<ArrayBufferLike>): void {
    this.bytes.holds(held);
  }

  /** Does what can be done with what has arrived, and reads on where there is room. */
  goOn(): void {
    if (this.isOver) return;
    if (!this.transmission) {
      const outcome = this.negotiation.advance(this.bytes);
      if (outcome.result === 'over') return this.end(outcome.reason);
      if (outcome.result === 'waiting') return;
      if (outcome.result === 'secures') return this.secure();
      this.open(outcome.agreed);
    }
    const over = this.transmission!.advance(this.bytes, this.mayGoOn);
    if (over !== undefined) return this.end(over);
    const shouldRead = !this.transmission!.isFull && this.mayGoOn();
    if (shouldRead === this.socket.isPaused()) {
      if (shouldRead) this.socket.resume();
      else this.socket.pause();
    }
  }

  private readonly mayGoOn = (): boolean => this.socket.writableLength < UNREAD_BYTES_MAX && !this.server.isStopped(this.where!);

  end(reason: string): void {
    if (this.isOver) return;
    this.isOver = true;
    clearTimeout(this.patience);
    this.flush();
    this.socket.resume();
    this.socket.destroySoon();
    setTimeout(() => this.socket.destroy(), 1000).unref();
    this.server.removed(this);
    if (this.where) {
      this.volumes.closed(this.where, this.who);
      this.log(`${this.where.name}: ${this.who} is gone: ${reason}`);
    } else this.log(`${this.who} is gone: ${this.negotiation.wantsPlain ? 'it speaks in the clear, and here everybody speaks TLS' : reason}`);
  }

  private open(agreed: Agreed): void {
    const { where } = agreed;
    clearTimeout(this.patience);
    this.where = where;
    this.transmission = new Transmission(this.volumes, agreed, this.send, () => setImmediate(() => this.goOn()));
    this.volumes.opened(where, this.who);
    this.log(`${where.name}: opened by ${this.who}`);
  }

  private readonly send = (pieces: Uint8Array[]): void => {
    if (this.replies.length === 0) this.server.hasReplies(this);
    for (const piece of pieces) {
      this.replies.push(piece);
      this.replyBytes += piece.length;
    }
  };

  flush(): void {
    const { replies, replyBytes } = this;
    this.replies = [];
    this.replyBytes = 0;
    if (replies.length === 0 || this.socket.destroyed || this.socket.writableEnded) return;
    writeGathered(this.socket, replies, replyBytes, this.server.arena);
  }
}

/** Takes away a unix socket that a dead process left. */
export function removeStaleSocket(path: string): void {
  rmSync(path, { force: true });
}
