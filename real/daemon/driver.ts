/**
 * Drives one core: hands it facts, takes its wishes, keeps its alarm. What arrives in one turn of the event loop is one pass,
 * or, while little arrives, what one socket brought; what a synchronous disk answers comes in the next pass of the same turn. Nothing of the protocol is decided here.
 */

import { randomBytes } from 'node:crypto';
import { type Observable, Subject } from 'rxjs';
import { digests } from '../../src/digests/digests.js';
import type { Command, Environment, HandlerName, Input, Node, Observation, Output, Reply } from '../../src/contract/index.js';
import { createNode } from '../../src/node/index.js';
import { Arena } from '../arena.js';
import type { LocalResource } from '../conf/local.js';
import { BackingDisk } from '../disk/backing-disk.js';
import { type Device, DeviceError, DeviceTable, lookAgain } from '../disk/devices.js';
import { Heartbeats, type PeerLink } from '../net/heartbeat.js';
import type { TlsFolder } from '../net/tls.js';
import { Streams, type StreamStatistics } from '../net/streams.js';
import { reasonOf } from '../reasons.js';
import { runHandler } from './handlers.js';
import type { Placements } from './placements.js';

/** Who asked for I/O on a volume. */
export interface Application {
  /** `data` lasts (arena.ts), or is nobody else's. */
  done(id: number, data: Uint8Array | undefined): void;
  failed(id: number, error: 'EIO' | 'EROFS' | 'ENXIO' | 'EINVAL'): void;
  admit(resource: string, volume: number, on: boolean): void;
  /** The pass is over: all that is to be answered now was answered. */
  carriedOut(): void;
}

/** Sees all that goes in and out of the core, in order. */
export interface Recorder {
  input(input: Input, nowUs: number): void;
  outputs(outputs: readonly Output[]): void;
  drawn(value: bigint): void;
}

/** Passes in one turn of the event loop, before sockets are looked at again. */
const PASSES_MAX = 32;
/** So many inputs in a turn of the event loop are few; then the next passes do not wait for its end, before one does again and looks. */
const CALM_INPUTS = 2;
const CALM_PASSES = 15;
/** setTimeout takes no more. */
const SLEEP_MAX_MS = 2 ** 31 - 1;
/** How long a report of what was sent may wait for company. */
const REPORT_MS = 1;
/** While things happen, the sizes of the devices are not older than this. */
const LOOK_US = 20_000;

type StreamOutput = Extract<Output, { type: 'listen' | 'stop-listening' | 'connect' | 'close' | 'send' | 'read-stream' }>;

const isOfStreams = (output: Output): output is StreamOutput => {
  const { type } = output;
  return type === 'send' || type === 'close' || type === 'read-stream' || type === 'connect' || type === 'listen' || type === 'stop-listening';
};

interface OpenDisk {
  resource: string;
  volume: number;
  disk: BackingDisk;
  data: Device;
  meta: Device;
  /** What the core was told of them. */
  dataSectors: number;
  metaSectors: number;
  /** One line for a disk that fails: what was on its way fails with it. */
  isFailureTold: boolean;
}

/** How it speaks with peers, and whether data goes past the page cache. */
export interface DriverOptions {
  tls?: TlsFolder | undefined;
  isDirect?: boolean | undefined;
}

export class Driver {
  readonly node: Node;
  /** What sockets and disks bring lies here, for the core and for whoever else reads or records it. */
  readonly arena = new Arena();
  application: Application | undefined = undefined;
  recorder: Recorder | undefined = undefined;
  /** A handler is started; it ended, with its exit code (0 where it could not be run). */
  onHandler: (phase: 'call' | 'response', resource: string, name: HandlerName, status?: number) => void = () => undefined;
  private readonly seen = new Subject<Observation>();
  /** State changes, decisions and words of the core, in order. */
  readonly observations: Observable<Observation> = this.seen;
  private readonly devices: DeviceTable;
  private readonly disks = new Map<string, OpenDisk>();
  /** Why disks could not be opened when that was tried last. */
  private readonly openFailures = new Map<string, string>();
  private readonly streams: Streams;
  private readonly heartbeats: Heartbeats;
  private links: readonly PeerLink[] = [];
  private readonly commands = new Map<number, (reply: Reply) => void>();
  private lastCommand = 0;
  private lastRequest = 0;
  /** Inputs that came while outputs were carried out. */
  private queue: Input[] = [];
  /** Among them are others than reports of what was sent. */
  private isUrgent = false;
  private isReportTimed = false;
  private isBusy = false;
  private isScheduled = false;
  private isStopped = false;
  /** Inputs since the last pass. */
  private given = 0;
  /** So many passes need not wait for company, which costs each of them a round of the event loop. */
  private calmPasses = 0;
  private alarm: NodeJS.Timeout | undefined = undefined;
  private alarmUs = Infinity;
  private lastNowUs = 0;
  private nextLookUs = 0;

  constructor(
    name: string,
    /** The resources as configured; commands name them before the core knows them. */
    private readonly localOf: (resource: string) => LocalResource | undefined,
    /** Called with a broken invariant: this process is over. */
    private readonly broken: (error: unknown) => void,
    /** Where handlers find the configuration. */
    private readonly configPath: string,
    private readonly placements: Placements,
    { tls, isDirect }: DriverOptions = {},
  ) {
    this.devices = new DeviceTable(isDirect);
    const environment: Environment = {
      ...digests,
      lasts: this.arena.lasts,
      random64: () => {
        const value = randomBytes(8).readBigUInt64LE();
        this.recorder?.drawn(value);
        return value;
      },
    };
    this.node = createNode(name, environment);
    this.arena.ask((held) => {
      for (const memory of this.node.holds()) held.add(memory);
    });
    const addressesOf = (resource: string, peer: string) => {
      const found = this.localOf(resource)?.peers.find((one) => one.name === peer);
      if (!found) throw new Error(`${resource} has no peer ${peer}`);
      return found;
    };
    const log = (resource: string, text: string): void => this.seen.next({ event: 'log', resource, level: 'warning', text });
    this.streams = new Streams(addressesOf, (input) => this.give(input), log, this.arena, tls);
    this.heartbeats = new Heartbeats((input) => this.give(input), (text) => log('', text));
  }

  // ---- Inputs ----------------------------------------------------------------------------------------------------------

  /** A fact for the core; bytes in it are lent until the end of the pass, or last (arena). */
  give(input: Input): void {
    if (this.isStopped) return;
    if (input.type === 'stream-sent') return this.report(input);
    if (this.isBusy) {
      this.queue.push(input);
      this.isUrgent = true;
      return;
    }
    this.given++;
    this.guarded(() => {
      this.handQueued();
      this.hand(input);
    });
    this.schedule();
  }

  /** What the kernel took of our bytes is told with what comes next, or a little later: nobody waits for it alone. */
  private report(input: Input): void {
    this.queue.push(input);
    if (this.isReportTimed) return;
    this.isReportTimed = true;
    setTimeout(() => {
      this.isReportTimed = false;
      if (this.queue.length > 0 && !this.isStopped) this.schedule();
    }, REPORT_MS);
  }

  private schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    if (this.calmPasses > 0) process.nextTick(this.pass);
    else setImmediate(this.pass);
  }

  /** An id for a request of the application. */
  nextRequest(): number {
    return ++this.lastRequest;
  }

  command(command: Command): Promise<Reply> {
    return new Promise((resolve) => {
      const id = ++this.lastCommand;
      this.commands.set(id, resolve);
      this.give({ type: 'command', id, command });
    });
  }

  /** No more inputs; disks and streams are closed as they are. */
  stop(): void {
    this.isStopped = true;
    clearTimeout(this.alarm);
    this.streams.closeAll();
    this.heartbeats.close();
    for (const [key, { disk, data, meta }] of this.disks) {
      this.disks.delete(key);
      disk.close(() => this.releaseDevices(data, meta));
    }
    this.seen.complete();
  }

  /** Where heartbeats go and come from. */
  setLinks(links: readonly PeerLink[]): void {
    this.links = links;
    this.heartbeats.setLinks(links);
  }

  /** The disk of a volume, where it has one. */
  disk(resource: string, volume: number): BackingDisk | undefined {
    return this.disks.get(`${resource}/${volume}`)?.disk;
  }

  streamStatistics(resource: string, peer: string): StreamStatistics {
    return this.streams.statistics(resource, peer);
  }

  /** Why a volume's disk could not be opened, or undefined where it could. */
  openFailure(resource: string, volume: number): string | undefined {
    return this.openFailures.get(`${resource}/${volume}`);
  }

  private hand(input: Input): void {
    const nowUs = this.nowUs();
    // A resize, whoever asks for it, goes by the sizes as they are now.
    if (nowUs >= this.nextLookUs || (input.type === 'command' && input.command.verb === 'resize')) {
      this.nextLookUs = nowUs + LOOK_US;
      for (const open of this.disks.values()) this.lookAtSizes(open, nowUs);
    }
    this.handNow(input, nowUs);
  }

  private handQueued(): void {
    this.isUrgent = false;
    if (this.queue.length === 0) return;
    const inputs = this.queue;
    this.queue = [];
    for (const [at, input] of inputs.entries()) {
      // One look at the clock for all of them.
      if (at === 0 || input.type === 'command') this.hand(input);
      else this.handNow(input, this.lastNowUs);
    }
  }

  private handNow(input: Input, nowUs: number): void {
    this.recorder?.input(input, nowUs);
    this.node.handle(input, nowUs);
  }

  private nowUs(): number {
    this.lastNowUs = Math.max(this.lastNowUs, Math.floor(performance.now() * 1000));
    return this.lastNowUs;
  }

  /** A broken invariant ends the process: what the core would do next nobody can know. */
  private guarded(work: () => void): void {
    if (this.isStopped) return;
    try {
      work();
    } catch (error) {
      this.isStopped = true;
      this.broken(error);
    }
  }

  // ---- Passes -----------------------------------------------------------------------------------------------------------

  private readonly pass = (): void => {
    this.isScheduled = false;
    // One that did not wait does not know what else would have come.
    if (this.given > CALM_INPUTS) this.calmPasses = 0;
    else if (this.calmPasses-- === 0) this.calmPasses = CALM_PASSES;
    this.given = 0;
    this.guarded(() => {
      this.isBusy = true;
      for (let passes = 0; passes < PASSES_MAX; passes++) {
        this.handQueued();
        this.hand({ type: 'pass-ended' });
        this.carryOut(this.node.outputs());
        if (!this.isUrgent) break;
      }
      this.isBusy = false;
      if (this.isUrgent) {
        this.calmPasses = 0;
        this.schedule();
      }
      // Else what was read may be on its way to the core.
      else this.arena.reclaim();
      this.setAlarm();
    });
  };

  /** What goes to the peer first: it works while we write our own disk. */
  private carryOut(outputs: readonly Output[]): void {
    this.recorder?.outputs(outputs);
    for (const output of outputs) if (isOfStreams(output)) this.performOnStreams(output);
    for (const output of outputs) if (!isOfStreams(output)) this.perform(output);
    this.application?.carriedOut();
  }

  private setAlarm(): void {
    const deadlineUs = this.node.deadline();
    // One that rings too early is harmless: deadlines mostly move away.
    if (deadlineUs === undefined || deadlineUs >= this.alarmUs) return;
    clearTimeout(this.alarm);
    this.alarmUs = deadlineUs;
    const sleepMs = Math.ceil((deadlineUs - this.nowUs()) / 1000);
    this.alarm = setTimeout(
      () => {
        this.alarmUs = Infinity;
        this.give({ type: 'woken' });
      },
      Math.min(SLEEP_MAX_MS, Math.max(0, sleepMs)),
    );
  }

  // ---- Outputs -----------------------------------------------------------------------------------------------------------

  private performOnStreams(output: StreamOutput): void {
    switch (output.type) {
      case 'send':
        return this.streams.send(output.stream, output.pieces);
      case 'close':
        return this.streams.close(output.stream);
      case 'read-stream':
        return this.streams.setReading(output.stream, output.on);
      case 'connect':
        return this.streams.connect(output.stream, output.resource, output.peer);
      case 'listen':
        return this.streams.listen(output.resource, output.peer);
      case 'stop-listening':
        return this.streams.stopListening(output.resource, output.peer);
      default:
        output satisfies never;
    }
  }

  private perform(output: Exclude<Output, StreamOutput>): void {
    switch (output.type) {
      case 'disk-read':
      case 'disk-write':
      case 'disk-write-zeroes':
      case 'disk-discard':
      case 'disk-flush':
        return this.disks.get(`${output.resource}/${output.volume}`)!.disk.submit(output);
      case 'disk-open':
        return this.openDisk(output.resource, output.volume);
      case 'disk-close':
        return this.closeDisk(output.resource, output.volume);
      case 'app-done':
        return this.application?.done(output.id, output.data);
      case 'app-failed':
        return this.application?.failed(output.id, output.error);
      case 'admit':
        return this.application?.admit(output.resource, output.volume, output.on);
      case 'membership-send':
        return this.heartbeats.send(output.to, output.bytes, this.links);
      case 'run-handler':
        return this.runHandler(output);
      case 'reply': {
        const resolve = this.commands.get(output.command);
        this.commands.delete(output.command);
        return resolve?.(output.reply);
      }
      case 'disk-placed':
        return this.remember(output.resource, output.volume, output.sectors);
      case 'observe':
        return this.seen.next(output.event);
      default:
        output satisfies never;
    }
  }

  private openDisk(resource: string, volume: number): void {
    const key = `${resource}/${volume}`;
    const local = this.localOf(resource);
    const paths = local?.volumes.find((one) => one.volume === volume);
    const configured = local?.config.volumes.find((one) => one.volume === volume);
    if (!paths || !configured) return this.give({ type: 'disk-open-failed', resource, volume, reason: 'no disk is configured' });
    this.openFailures.delete(key);
    let data: Device | undefined;
    try {
      data = this.devices.acquire(paths.diskPath, false, true);
      const meta = paths.metaPath === undefined ? data : this.devices.acquire(paths.metaPath, configured.metaDisk.kind === 'indexed', false);
      const disk = new BackingDisk(data, meta, this.arena, (op, bytes, error) => this.operationEnded(open, op, bytes, error));
      const open: OpenDisk = { resource, volume, disk, data, meta, dataSectors: data.sectors, metaSectors: meta.sectors, isFailureTold: false };
      this.disks.set(key, open);
      this.give({
        type: 'disk-opened',
        resource,
        volume,
        dataSectors: data.sectors,
        metaSectors: meta.sectors,
        shared: data === meta,
        logicalBlockBytes: Math.max(data.logicalBlockBytes, meta.logicalBlockBytes),
        discardGranularityBytes: data.discardGranularityBytes,
        rememberedSectors: paths.metaPath === undefined ? this.placements.read(configured.minor, paths.diskPath) : 0,
      });
    } catch (error) {
      if (data) this.devices.release(data);
      if (!(error instanceof DeviceError)) throw error;
      this.openFailures.set(key, error.message);
      this.give({ type: 'disk-open-failed', resource, volume, reason: error.message });
    }
  }

  private operationEnded(open: OpenDisk, op: number, data: Uint8Array | undefined, error: Error | undefined): void {
    if (!error) return this.give(data ? { type: 'disk-done', op, data } : { type: 'disk-done', op });
    if (!open.isFailureTold) this.seen.next({ event: 'log', resource: open.resource, level: 'error', text: error.message });
    open.isFailureTold = true;
    // What a failed call has written nobody knows.
    this.give({ type: 'disk-failed', op, failure: 'unknown' });
  }

  /** A device that has got another size: the core hears of it before what comes next. */
  private lookAtSizes(open: OpenDisk, nowUs: number): void {
    const { resource, volume, data, meta } = open;
    for (const device of new Set([data, meta])) {
      const before = device === data ? open.dataSectors : open.metaSectors;
      const wasDeleted = device.isDeleted;
      lookAgain(device);
      // It still serves; to close it now would be the end of the data.
      if (device.isDeleted && !wasDeleted) this.seen.next({ event: 'log', resource, level: 'error', text: `${device.path} was deleted: its data is lost when it is detached or this daemon ends` });
      if (device.sectors === before) continue;
      const level = device.sectors < before ? 'error' : 'info';
      this.seen.next({ event: 'log', resource, level, text: `${device.path} ${level === 'error' ? 'was cut' : 'has grown'}: ${device.sectors} sectors, and had ${before}` });
    }
    if (data.sectors === open.dataSectors && meta.sectors === open.metaSectors) return;
    open.dataSectors = data.sectors;
    open.metaSectors = meta.sectors;
    this.handNow({ type: 'disk-resized', resource, volume, dataSectors: data.sectors, metaSectors: meta.sectors }, nowUs);
  }

  /** What cannot be remembered is told: the data is where it is, but a device that grows while nobody serves it hides it. */
  private remember(resource: string, volume: number, sectors: number): void {
    const local = this.localOf(resource);
    const { diskPath } = local!.volumes.find((one) => one.volume === volume)!;
    try {
      this.placements.write(local!.config.volumes.find((one) => one.volume === volume)!.minor, diskPath, sectors);
    } catch (error) {
      this.seen.next({ event: 'log', resource, level: 'warning', text: `where the metadata of ${diskPath} lies cannot be kept in ${this.placements.folder}: ${reasonOf(error)}; do not let the disk grow while it is detached` });
    }
  }

  private closeDisk(resource: string, volume: number): void {
    const key = `${resource}/${volume}`;
    const open = this.disks.get(key);
    if (!open) return;
    this.disks.delete(key);
    open.disk.close(() => this.releaseDevices(open.data, open.meta));
  }

  private releaseDevices(data: Device, meta: Device): void {
    this.devices.release(data);
    if (meta !== data) this.devices.release(meta);
  }

  private runHandler(output: Extract<Output, { type: 'run-handler' }>): void {
    const { handler, resource, name } = output;
    const local = this.localOf(resource);
    if (!local) return this.give({ type: 'handler-failed', handler, reason: 'the resource is gone' });
    this.onHandler('call', resource, name);
    const exited = (exitCode: number): void => {
      this.onHandler('response', resource, name, exitCode);
      this.give({ type: 'handler-exited', handler, exitCode });
    };
    const failed = (reason: string): void => {
      this.onHandler('response', resource, name, 0);
      this.give({ type: 'handler-failed', handler, reason });
    };
    runHandler(local, this.configPath, output, exited, failed);
  }
}
