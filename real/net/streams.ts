/**
 * TCP streams between the daemons: the two connections per peer, made and accepted, read into an arena, written in gathered
 * writes. Facts go to the core, which decides everything; here a stream has a number and two addresses.
 */

import { createServer, connect, isIPv4, type Server, type Socket } from 'node:net';
import type { Input, StreamId } from '../../src/contract/index.js';
import type { Arena } from '../arena.js';
import { reasonOf } from '../reasons.js';
import { withReader } from './accepted.js';
import { writeGathered } from './gathered.js';
import { nameError, plainBytes, tlsReason, type TlsFolder } from './tls.js';

export interface Address {
  host: string;
  port: number;
}

/** Where a resource's connection to a peer lives. */
export interface PeerAddresses {
  local: Address;
  remote: Address;
}

/** A gathered write is told as taken in parts of about this size: a slow line shows progress. */
const WRITE_BYTES = 256 << 10;
const SMALL_BYTES = 512;
/** What was queued when a stream was closed may still leave for so long. */
const LINGER_MS = 2000;

interface Stream {
  id: StreamId;
  resource: string;
  socket: Socket;
  counts: StreamStatistics;
  /** Bytes handed to the socket, and bytes that the kernel took. */
  takenBytes: number;
  /** The core knows that it is open, and was not told of its end. */
  isTold: boolean;
  isClosed: boolean;
}

/** Payload bytes that went over the wire, for `status` and metrics. */
export interface StreamStatistics {
  sentBytes: number;
  receivedBytes: number;
}

export class Streams {
  private readonly streams = new Map<StreamId, Stream>();
  private readonly servers = new Map<string, Server>();
  private readonly counts = new Map<string, StreamStatistics>();
  private lastAccepted = 0;

  constructor(
    private readonly addressesOf: (resource: string, peer: string) => PeerAddresses,
    private readonly give: (input: Input) => void,
    private readonly warn: (resource: string, text: string) => void,
    /** Where sockets read to. */
    private readonly arena: Arena,
    /** Undefined: in the clear, as DRBD speaks. */
    private readonly tls?: TlsFolder,
  ) {}

  statistics(resource: string, peer: string): StreamStatistics {
    const key = `${resource} ${peer}`;
    let counts = this.counts.get(key);
    if (!counts) this.counts.set(key, (counts = { sentBytes: 0, receivedBytes: 0 }));
    return counts;
  }

  // ---- Making them ---------------------------------------------------------------------------------------------------

  listen(resource: string, peer: string): void {
    const { local, remote } = this.addressesOf(resource, peer);
    const key = `${resource} ${peer}`;
    if (this.servers.has(key)) return;
    const isFromPeer = (socket: Socket): boolean => {
      if (this.servers.get(key) === server && isSameHost(socket.remoteAddress, remote.host)) return true;
      this.warn(resource, `a connection from ${socket.remoteAddress ?? 'nowhere'} is not from ${peer} (${remote.host}): closed`);
      socket.destroy();
      return false;
    };
    const server = this.tls
      ? this.tls.server(
          (socket) => {
            const wrongName = nameError(socket.getPeerCertificate(), [peer, remote.host]);
            if (!isFromPeer(socket)) return;
            if (!wrongName) return this.accepted(resource, peer, socket);
            this.warn(resource, `the certificate of ${socket.remoteAddress} is not that of ${peer}: ${reasonOf(wrongName)}`);
            socket.destroy();
          },
          (from, why) => this.warn(resource, `no TLS with ${from ?? 'somebody who is gone'}: ${why}`),
        )
      : createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (socket) => {
          if (isFromPeer(socket)) this.accepted(resource, peer, socket);
        });
    this.servers.set(key, server);
    server.on('error', (error) => {
      if (this.servers.get(key) === server) this.servers.delete(key);
      this.give({ type: 'listen-failed', resource, peer, reason: `${local.host}:${local.port}: ${reasonOf(error)}` });
    });
    server.listen({ host: local.host, port: local.port });
  }

  stopListening(resource: string, peer: string): void {
    const key = `${resource} ${peer}`;
    const server = this.servers.get(key);
    this.servers.delete(key);
    server?.close();
  }

  connect(id: StreamId, resource: string, peer: string): void {
    const { local, remote } = this.addressesOf(resource, peer);
    const stream: Stream = { id, resource, socket: undefined as unknown as Socket, counts: this.statistics(resource, peer), takenBytes: 0, isTold: false, isClosed: false };
    const received = (bytes: Uint8Array): void => this.received(stream, bytes);
    const where = { host: remote.host, port: remote.port, localAddress: local.host };
    let socket: Socket;
    if (this.tls) socket = this.tls.connect({ ...where, peer }).on('data', (bytes) => received(plainBytes(bytes)));
    else {
      const { onread, watch } = this.arena.reader(received);
      socket = connect({ ...where, noDelay: true, allowHalfOpen: true, onread });
      watch(socket);
    }
    stream.socket = socket;
    this.streams.set(id, stream);
    socket.on(this.tls ? 'secureConnect' : 'connect', () => {
      if (stream.isClosed) return;
      stream.isTold = true;
      this.give({ type: 'stream-connected', stream: id });
    });
    this.watch(stream, (error) => {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ECONNREFUSED') this.give({ type: 'connect-refused', stream: id });
      else this.give({ type: 'connect-failed', stream: id, reason: this.tls ? tlsReason(error) : reasonOf(error) });
    });
  }

  private accepted(resource: string, peer: string, accepted: Socket): void {
    const stream: Stream = { id: --this.lastAccepted, resource, socket: accepted, counts: this.statistics(resource, peer), takenBytes: 0, isTold: true, isClosed: false };
    const received = (bytes: Uint8Array): void => this.received(stream, bytes);
    stream.socket = this.tls ? accepted.on('data', (bytes) => received(plainBytes(bytes))) : withReader(accepted, this.arena.reader(received), true);
    this.streams.set(stream.id, stream);
    this.watch(stream, () => undefined);
    this.give({ type: 'stream-accepted', resource, peer, stream: stream.id });
  }

  private received(stream: Stream, bytes: Uint8Array): void {
    stream.counts.receivedBytes += bytes.length;
    if (stream.isTold) this.give({ type: 'stream-received', stream: stream.id, bytes });
  }

  /** Tells of the end exactly once; `failed`: it ended before it was open. */
  private watch(stream: Stream, failed: (error: Error) => void): void {
    const { socket } = stream;
    const over = (how: 'closed' | 'reset'): void => {
      if (!stream.isTold) return;
      stream.isTold = false;
      this.give({ type: 'stream-closed', stream: stream.id, how });
    };
    let wasOpen = stream.isTold;
    socket.once(this.tls ? 'secureConnect' : 'connect', () => (wasOpen = true));
    socket.on('end', () => over('closed'));
    socket.on('error', (error) => {
      if (stream.isClosed) return;
      if (!wasOpen) return failed(error);
      // The other side has looked at our certificate when we take the connection for open.
      if (this.tls && stream.isTold && (error as NodeJS.ErrnoException).code?.startsWith('ERR_SSL')) this.warn(stream.resource, `TLS: ${tlsReason(error)}`);
      over('reset');
    });
    socket.on('close', () => {
      over('reset');
      this.streams.delete(stream.id);
    });
  }

  // ---- Using them ----------------------------------------------------------------------------------------------------

  send(id: StreamId, pieces: readonly Uint8Array[]): void {
    const stream = this.streams.get(id);
    if (!stream || stream.isClosed || stream.socket.destroyed) return;
    let group: Uint8Array[] = [];
    let bytes = 0;
    for (const piece of pieces) {
      // A small one behind goes with it: alone it would wake up the peer once more.
      if (bytes >= WRITE_BYTES && (piece.length > SMALL_BYTES || bytes >= 2 * WRITE_BYTES)) {
        this.write(stream, group, bytes);
        group = [];
        bytes = 0;
      }
      group.push(piece);
      bytes += piece.length;
    }
    if (bytes > 0) this.write(stream, group, bytes);
  }

  private write(stream: Stream, pieces: readonly Uint8Array[], bytes: number): void {
    writeGathered(stream.socket, pieces, bytes, this.arena, (error) => {
      if (error) return;
      stream.takenBytes += bytes;
      stream.counts.sentBytes += bytes;
      if (!stream.isClosed && stream.isTold) this.give({ type: 'stream-sent', stream: stream.id, bytesTotal: stream.takenBytes });
    });
  }

  setReading(id: StreamId, on: boolean): void {
    const stream = this.streams.get(id);
    if (!stream || stream.isClosed) return;
    if (on) stream.socket.resume();
    else stream.socket.pause();
  }

  /** What is queued may leave; what still arrives is nobody's. Also gives up a connect attempt. */
  close(id: StreamId): void {
    const stream = this.streams.get(id);
    if (!stream || stream.isClosed) return;
    stream.isClosed = true;
    const wasOpen = stream.isTold || (!this.tls && !stream.socket.connecting);
    stream.isTold = false;
    if (!wasOpen) {
      stream.socket.destroy();
      return;
    }
    stream.socket.resume();
    stream.socket.destroySoon();
    setTimeout(() => stream.socket.destroy(), LINGER_MS).unref();
  }

  /** The daemon stops: nobody listens, every stream ends. */
  closeAll(): void {
    for (const server of this.servers.values()) server.close();
    this.servers.clear();
    for (const id of [...this.streams.keys()]) this.close(id);
  }
}

/** IPv4 addresses arrive as IPv6 ones on a socket that takes both; a scope is not part of the address. */
export function isSameHost(remote: string | undefined, configured: string): boolean {
  if (remote === undefined) return false;
  const plain = (host: string): string => {
    const mapped = /^::ffff:(.*)$/i.exec(host)?.[1];
    return mapped !== undefined && isIPv4(mapped) ? mapped : host.replace(/%.*$/, '').toLowerCase();
  };
  return plain(remote) === plain(configured);
}
