/**
 * Memory that sockets read into. Node allocates 64 KiB for every read of a socket, and throws it away; a socket with buffers of ours
 * does not, which is most of the garbage of a block server. What a read brought is lent to the core for the pass.
 */

import { Socket, type OnReadOpts } from 'node:net';

const KEPT_BUFFERS = 64;

export class ReadBuffers {
  private readonly free: Uint8Array<ArrayBuffer>[] = [];
  private lent: Uint8Array<ArrayBuffer>[] = [];

  constructor(readonly bytes: number) {}

  take(): Uint8Array<ArrayBuffer> {
    return this.free.pop() ?? new Uint8Array(this.bytes);
  }

  /** What a read brought is the core's until the end of the pass. */
  lend(buffer: Uint8Array<ArrayBuffer>): void {
    this.lent.push(buffer);
  }

  giveBack(buffer: Uint8Array<ArrayBuffer>): void {
    if (this.free.length < KEPT_BUFFERS) this.free.push(buffer);
  }

  passEnded(): void {
    for (const buffer of this.lent) this.giveBack(buffer);
    this.lent = [];
  }

  /** Socket options: `received` gets each read, and says whether the core was given any of it. */
  reader(received: (bytes: Uint8Array) => boolean): OnReadOpts {
    let current = this.take();
    return {
      buffer: () => current,
      callback: (count) => {
        const filled = current;
        current = this.take();
        if (received(filled.subarray(0, count))) this.lend(filled);
        else this.giveBack(filled);
        return true;
      },
    };
  }
}

/** What Node keeps of a socket that a server made, as far as it is needed to make another of it. */
interface Accepted {
  _handle: unknown;
  _server: unknown;
}

/**
 * The connection of a socket that a server accepted (with `pauseOnConnect`), as a socket that reads into our buffers: Node offers that
 * to clients only. The accepted socket is an empty shell afterwards.
 */
export function withReader(accepted: Socket, onread: OnReadOpts, allowHalfOpen: boolean): Socket {
  const shell = accepted as unknown as Accepted;
  const { _handle: handle, _server: server } = shell;
  shell._handle = null;
  shell._server = null;
  const socket = new Socket({ handle, onread, allowHalfOpen, readable: true, writable: true } as ConstructorParameters<typeof Socket>[0]);
  (socket as unknown as Accepted)._server = server;
  socket.setNoDelay(true);
  // Reading begins when somebody asks for it.
  socket.resume();
  return socket;
}
