/** Connections that a server accepted, as sockets that read into memory of ours. */

import { Socket, type OnReadOpts } from 'node:net';

/** What Node keeps of a socket that a server made, as far as it is needed to make another of it. */
interface Accepted {
  _handle: unknown;
  _server: unknown;
}

/**
 * The connection of a socket that a server accepted (with `pauseOnConnect`), as a socket that reads where we want: Node offers that
 * to clients only. The accepted socket is an empty shell afterwards.
 */
export function withReader(accepted: Socket, { onread, watch }: { onread: OnReadOpts; watch: (socket: Socket) => void }, allowHalfOpen: boolean): Socket {
  const shell = accepted as unknown as Accepted;
  const { _handle: handle, _server: server } = shell;
  shell._handle = null;
  shell._server = null;
  const socket = new Socket({ handle, onread, allowHalfOpen, readable: true, writable: true } as ConstructorParameters<typeof Socket>[0]);
  (socket as unknown as Accepted)._server = server;
  socket.setNoDelay(true);
  watch(socket);
  // Reading begins when somebody asks for it.
  socket.resume();
  return socket;
}
