/**
 * The control socket: a unix socket that only its owner may open, a JSON object a line. A request is answered by one line with
 * `result` or `error`; `events` by a line for each event until the client goes.
 */

import { chmodSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { Command } from '../../src/contract/index.js';
import { generationLine, showGi } from '../lockmeta-text.js';
import type { Daemon } from './daemon.js';
import { eventLine } from './events.js';

/** Orders that an operator may give; the others need a configuration, which the daemon reads itself. */
export type OrderVerb = Exclude<Command['verb'], 'new-resource' | 'options'>;

export type ControlRequest =
  | { do: 'hello' }
  | OrderRequest
  | { do: 'up'; resource: string }
  | { do: 'new-resource'; resource: string }
  | { do: 'adjust'; resource: string; dryRun: boolean }
  | { do: 'status'; resources?: string[] }
  | { do: 'show-gi' | 'get-gi'; resource: string; volume: number }
  | { do: 'wait'; what: 'connect' | 'sync'; resource: string; volume?: number; timeoutS?: number }
  | { do: 'events'; resources?: string[]; now: boolean }
  | { do: 'record'; path: string };

/** What a daemon is, for its operators. */
export interface Hello {
  node: string;
  config: string;
  pid: number;
}

/** An order with what the one or other verb takes. */
export interface OrderRequest {
  do: 'order';
  verb: OrderVerb;
  resource: string;
  volume?: number;
  peer?: string;
  force?: boolean;
  clearBitmap?: boolean;
  startSector?: number;
  stopSector?: number;
  discardMyData?: boolean;
  tentative?: boolean;
  sizeSectors?: number;
  assumeClean?: boolean;
  assumePeerHasSpace?: boolean;
  alStripes?: number;
  alStripeSizeKb?: number;
}

type Order = Exclude<Command, { verb: 'new-resource' | 'options' }>;

const text = (value: unknown, what: string): string => {
  if (typeof value !== 'string') throw new Error(`${what} is missing`);
  return value;
};
const count = (value: unknown, what: string): number => {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0) throw new Error(`${what} is missing`);
  return value;
};

/** Each order from its parts: nothing of a request reaches the core unchecked. */
const orders: { [V in OrderVerb]: (from: OrderRequest) => Extract<Order, { verb: V }> } = {
  'del-resource': ({ resource }) => ({ verb: 'del-resource', resource }),
  attach: ({ resource, volume }) => ({ verb: 'attach', resource, volume: count(volume, 'the volume') }),
  detach: ({ resource, volume, force }) => ({ verb: 'detach', resource, volume: count(volume, 'the volume'), force: force === true }),
  connect: ({ resource, peer, discardMyData, tentative }) => ({
    verb: 'connect', resource, peer: text(peer, 'the peer'), discardMyData: discardMyData === true, tentative: tentative === true,
  }),
  disconnect: ({ resource, peer, force }) => ({ verb: 'disconnect', resource, peer: text(peer, 'the peer'), force: force === true }),
  primary: ({ resource, force }) => ({ verb: 'primary', resource, force: force === true }),
  secondary: ({ resource }) => ({ verb: 'secondary', resource }),
  outdate: ({ resource, volume }) => ({ verb: 'outdate', resource, volume: count(volume, 'the volume') }),
  invalidate: ({ resource, volume }) => ({ verb: 'invalidate', resource, volume: count(volume, 'the volume') }),
  'invalidate-remote': ({ resource, volume }) => ({ verb: 'invalidate-remote', resource, volume: count(volume, 'the volume') }),
  'pause-sync': ({ resource, volume }) => ({ verb: 'pause-sync', resource, volume: count(volume, 'the volume') }),
  'resume-sync': ({ resource, volume }) => ({ verb: 'resume-sync', resource, volume: count(volume, 'the volume') }),
  verify: ({ resource, volume, startSector, stopSector }) => ({
    verb: 'verify',
    resource,
    volume: count(volume, 'the volume'),
    ...(startSector === undefined ? {} : { startSector: count(startSector, 'the start') }),
    ...(stopSector === undefined ? {} : { stopSector: count(stopSector, 'the stop') }),
  }),
  resize: ({ resource, volume, sizeSectors, assumeClean, assumePeerHasSpace, alStripes, alStripeSizeKb }) => ({
    verb: 'resize',
    resource,
    volume: count(volume, 'the volume'),
    sizeSectors: count(sizeSectors, 'the size'),
    assumeClean: assumeClean === true,
    assumePeerHasSpace: assumePeerHasSpace === true,
    ...(alStripes === undefined ? {} : { alStripes: count(alStripes, 'the number of stripes') }),
    ...(alStripeSizeKb === undefined ? {} : { alStripeSizeKb: count(alStripeSizeKb, 'the size of a stripe') }),
  }),
  'suspend-io': ({ resource }) => ({ verb: 'suspend-io', resource }),
  'resume-io': ({ resource }) => ({ verb: 'resume-io', resource }),
  'new-current-uuid': ({ resource, volume, clearBitmap }) => ({
    verb: 'new-current-uuid', resource, volume: count(volume, 'the volume'), clearBitmap: clearBitmap === true,
  }),
  down: ({ resource }) => ({ verb: 'down', resource }),
};

const orderOf = (request: OrderRequest): Order => {
  const verb = text(request.verb, 'the order');
  if (!Object.hasOwn(orders, verb)) throw new Error(`there is no order ${verb}`);
  return orders[request.verb]({ ...request, resource: text(request.resource, 'the resource') });
};

export class ControlServer {
  private readonly server: Server;

  constructor(
    private readonly daemon: Daemon,
    private readonly record: (path: string) => Promise<{ inputs: number; bytes: number }>,
  ) {
    this.server = createServer((socket) => this.serve(socket));
  }

  async listen(path: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject);
      // Nobody may open it before its permissions are right.
      const before = process.umask(0o177);
      this.server.listen(path, resolve);
      process.umask(before);
    });
    chmodSync(path, 0o600);
  }

  close(): void {
    this.server.close();
  }

  private serve(socket: Socket): void {
    socket.on('error', () => socket.destroy());
    const say = (line: object): void => {
      if (!socket.destroyed) socket.write(`${JSON.stringify(line)}\n`);
    };
    createInterface({ input: socket, crlfDelay: Infinity }).on('line', (line) => {
      this.answer(line, socket, say).catch((error: unknown) => say({ error: (error as Error).message, exitCode: (error as { exitCode?: number }).exitCode }));
    });
  }

  private async answer(line: string, socket: Socket, say: (line: object) => void): Promise<void> {
    const { daemon } = this;
    const request = JSON.parse(line) as ControlRequest;
    switch (request.do) {
      case 'hello':
        return say({ result: { node: daemon.nodeName, config: daemon.configPath, pid: process.pid } satisfies Hello });
      case 'order':
        return say({ result: await daemon.order(orderOf(request)) });
      case 'up':
        return say({ result: await daemon.up(text(request.resource, 'the resource')) });
      case 'new-resource':
        return say({ result: await daemon.newResource(text(request.resource, 'the resource')) });
      case 'adjust':
        return say({ result: await daemon.adjust(text(request.resource, 'the resource'), request.dryRun === true) });
      case 'status':
        return say({ result: daemon.statuses(request.resources) });
      case 'show-gi':
      case 'get-gi': {
        const superblock = daemon.view(request.resource)?.volumes.find(({ volume }) => volume === request.volume)?.superblock;
        return say({ result: superblock ? (request.do === 'show-gi' ? showGi(superblock) : `${generationLine(superblock)}\n`) : null });
      }
      case 'wait': {
        const seconds = request.timeoutS ?? daemon.startupTimeoutS(request.resource);
        return say({ result: await daemon.wait(request.what, text(request.resource, 'the resource'), request.volume, seconds === 0 ? undefined : seconds * 1000) });
      }
      case 'events': {
        const wanted = (name: string): boolean => request.resources?.includes(name) ?? true;
        for (const event of daemon.events.dump(daemon.statuses(request.resources))) say({ event: eventLine(event) });
        say({ event: 'exists -' });
        if (request.now === true) return say({ result: true });
        const subscription = daemon.events.events.subscribe((event) => {
          if (wanted(event.keys[0]![1])) say({ event: eventLine(event) });
        });
        socket.once('close', () => subscription.unsubscribe());
        return;
      }
      case 'record':
        return say({ result: await this.record(text(request.path, 'the path')) });
      default:
        request satisfies never;
        throw new Error('there is no such request');
    }
  }
}
