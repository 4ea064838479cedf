/**
 * Machines talking to machines: the core's heartbeats as UDP datagrams between the addresses of the resources, on the ports that
 * TCP has there. Datagrams may be lost, come twice, or come from anybody: only those from a peer's address are handed on.
 */

import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import type { Input } from '../../src/contract/index.js';
import { reasonOf } from '../reasons.js';
import { isSameHost, type PeerAddresses } from './streams.js';

export type PeerLink = { name: string } & PeerAddresses;

const keyOf = ({ local, remote }: PeerLink): string => `${local.host} ${local.port} ${remote.host} ${remote.port}`;

export class Heartbeats {
  private readonly sockets = new Map<string, Socket>();

  constructor(
    private readonly give: (input: Input) => void,
    private readonly warn: (text: string) => void,
  ) {}

  /** The links that there are now: they are listened on, others no more. */
  setLinks(links: readonly PeerLink[]): void {
    const wanted = new Map(links.map((link) => [keyOf(link), link]));
    for (const [key, socket] of this.sockets) {
      if (wanted.has(key)) continue;
      this.sockets.delete(key);
      socket.close();
    }
    for (const [key, link] of wanted) if (!this.sockets.has(key)) this.open(key, link);
  }

  /** To a machine, over every link to it. */
  send(to: string, bytes: Uint8Array, links: readonly PeerLink[]): void {
    for (const link of links) {
      // A datagram that cannot be sent is one that was lost.
      if (link.name === to) this.sockets.get(keyOf(link))?.send(bytes, link.remote.port, link.remote.host, () => undefined);
    }
  }

  close(): void {
    this.setLinks([]);
  }

  private open(key: string, link: PeerLink): void {
    const socket = createSocket(isIPv6(link.local.host) ? 'udp6' : 'udp4');
    this.sockets.set(key, socket);
    socket.on('error', (error) => {
      this.warn(`heartbeats on ${link.local.host}:${link.local.port}: ${reasonOf(error)}`);
      if (this.sockets.get(key) === socket) this.sockets.delete(key);
      socket.close();
    });
    socket.on('message', (bytes, { address }) => {
      if (isSameHost(address, link.remote.host)) this.give({ type: 'membership-received', from: link.name, bytes: new Uint8Array(bytes) });
    });
    socket.bind(link.local.port, link.local.host);
  }
}
