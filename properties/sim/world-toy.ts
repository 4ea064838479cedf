/**
 * A toy core for tests of the simulator itself: mirrors writes over one data and one meta stream, without any recovery. It
 * does what a driver may expect of a core (copies lent bytes, one overlapping write at a time is the workload's care) and can
 * be told to break the contract.
 */

import type { Environment, Input, Node, Output, ResourceConfig } from '../../src/contract/index.js';
import { defaultDiskOptions, defaultNetOptions } from '../../src/config/defaults.js';
import { Conn, Disk, Role, type State } from '../../src/state/states.js';
import { commandCode } from '../../src/wire/commands.js';
import { writeHeader } from '../../src/wire/headers.js';
import type { PacketName } from '../../src/wire/packets.js';
import type { Scenario, Setup } from '../../sim/types.js';

/** `keeps-lent`: writes the bytes it was lent instead of a copy. `overlaps`: writes each block twice at once. */
export type Sin = 'none' | 'keeps-lent' | 'overlaps' | 'throws';

interface QueuedWrite {
  sector: number;
  data: Uint8Array;
  what: 'app-write' | 'peer-write';
  id: number;
}

export class ToyNode implements Node {
  private out: Output[] = [];
  private role: Role = Role.Secondary;
  private disk: Disk = Disk.Diskless;
  private data = 0;
  private meta = 0;
  private connected = false;
  private config: ResourceConfig | undefined;
  private lastOp = 0;
  private lastStream = 0;
  private attachCommand = 0;
  private wakeUs: number | undefined;
  private readonly ops = new Map<number, { what: 'app-write' | 'app-read' | 'app-flush' | 'peer-write'; id: number; sectors: number }>();
  private readonly writes = new Map<number, { left: number }>();
  private readonly queue: QueuedWrite[] = [];
  private readonly rests = new Map<number, Uint8Array<ArrayBuffer>>();

  constructor(
    readonly name: string,
    private readonly environment: Environment,
    private readonly sin: Sin = 'none',
  ) {}

  handle(input: Input, nowUs: number): void {
    switch (input.type) {
      case 'command': {
        const { command, id } = input;
        switch (command.verb) {
          case 'new-resource':
            this.config = command.config;
            this.reply(id, true);
            return;
          case 'attach':
            this.attachCommand = id;
            this.out.push({ type: 'disk-open', resource: command.resource, volume: 0 });
            return;
          case 'connect':
            this.out.push({ type: 'listen', resource: command.resource, peer: command.peer });
            this.wakeUs = nowUs + 1000;
            this.reply(id, true);
            return;
          case 'primary':
          case 'secondary': {
            const from = this.observed();
            this.role = command.verb === 'primary' ? Role.Primary : Role.Secondary;
            this.changed(from, command.verb);
            this.reply(id, true);
            return;
          }
          default:
            this.reply(id, false);
            return;
        }
      }
      case 'disk-opened':
        this.disk = Disk.UpToDate;
        this.reply(this.attachCommand, true);
        return;
      case 'woken':
        if (this.wakeUs === undefined || nowUs < this.wakeUs) return;
        this.wakeUs = undefined;
        // The first by name connects.
        if (this.name < this.peer && this.data === 0) this.connect();
        return;
      case 'stream-connected':
        this.send(input.stream, input.stream === this.data ? 'P_INITIAL_DATA' : 'P_INITIAL_META', new Uint8Array(0), 0);
        if (input.stream === this.meta) this.become(true);
        return;
      case 'connect-refused':
      case 'connect-failed':
        this.lose(nowUs);
        return;
      case 'stream-closed':
        if (input.stream === this.data || input.stream === this.meta) this.lose(nowUs);
        else this.out.push({ type: 'close', stream: input.stream });
        return;
      case 'stream-received':
        this.receive(input.stream, input.bytes);
        return;
      case 'app-write': {
        if (this.sin === 'throws' && this.environment.random64() % 16n === 0n) throw new Error('the toy broke');
        const data = this.sin === 'keeps-lent' ? input.data : input.data.slice();
        const mirrored = this.connected;
        this.writes.set(input.id, { left: mirrored ? 2 : 1 });
        this.write(input.sector, data, 'app-write', input.id);
        if (this.sin === 'overlaps') this.write(input.sector, data, 'app-write', input.id);
        if (mirrored) this.send(this.data, 'P_DATA', data, input.id, input.sector);
        return;
      }
      case 'app-read': {
        const op = ++this.lastOp;
        this.ops.set(op, { what: 'app-read', id: input.id, sectors: input.sectors });
        this.out.push({ type: 'disk-read', op, resource: 'r0', volume: 0, area: 'data', sector: input.sector, sectors: input.sectors });
        return;
      }
      case 'app-flush': {
        const op = ++this.lastOp;
        this.ops.set(op, { what: 'app-flush', id: input.id, sectors: 0 });
        this.out.push({ type: 'disk-flush', op, resource: 'r0', volume: 0, area: 'data' });
        return;
      }
      case 'disk-done': {
        const { what, id, sectors } = this.ops.get(input.op)!;
        this.ops.delete(input.op);
        if (what === 'app-write' || what === 'peer-write') this.writeEnded();
        if (what === 'app-write') this.part(id);
        else if (what === 'peer-write') {
          if (this.connected) this.send(this.meta, 'P_WRITE_ACK', new Uint8Array(0), id, 0);
        } else {
          const done: Output = { type: 'app-done', resource: 'r0', volume: 0, id };
          if (what === 'app-read') done.data = input.data?.slice() ?? new Uint8Array(sectors * 512);
          this.out.push(done);
        }
        return;
      }
      case 'disk-failed': {
        const { what, id } = this.ops.get(input.op)!;
        this.ops.delete(input.op);
        if (what === 'app-write' || what === 'peer-write') this.writeEnded();
        this.writes.delete(id);
        if (what !== 'peer-write') this.out.push({ type: 'app-failed', resource: 'r0', volume: 0, id, error: 'EIO' });
        return;
      }
      default:
        return;
    }
  }

  outputs(): Output[] {
    const { out } = this;
    this.out = [];
    return out;
  }

  deadline(): number | undefined {
    return this.wakeUs;
  }

  snapshot(): Uint8Array {
    return new Uint8Array(0);
  }

  holds(): Set<ArrayBufferLike> {
    return new Set();
  }

  fingerprint(): string {
    return '0'.repeat(16);
  }

  resources(): ReturnType<Node['resources']> {
    if (!this.config) return [];
    const peers = [{ peer: this.peer, state: this.state(), bitmap: undefined, failedBits: 0 }];
    const volume = { volume: 0, peers, uuids: undefined, sizeSectors: 131077, activeExtents: [], superblock: undefined, activityLogTransactions: 0, inFlight: [], waiting: 0 };
    return [{ resource: 'r0', volumes: [volume], suspended: false, frozenReason: undefined }];
  }

  private get peer(): string {
    return this.config!.peers[0]!.name;
  }

  private state(): State {
    const none = { aftrIsp: false, peerIsp: false, userIsp: false, susp: false, suspNod: false, suspFen: false };
    const conn = this.connected ? Conn.Connected : Conn.WFConnection;
    return { role: this.role, peer: Role.Unknown, conn, disk: this.disk, pdsk: Disk.UpToDate, ...none };
  }

  private observed() {
    const { role, peer, conn, disk, pdsk } = this.state();
    return { role, peer, conn, disk, pdsk, flags: [] };
  }

  private changed(from: ReturnType<ToyNode['observed']>, reason: string): void {
    this.out.push({ type: 'observe', event: { event: 'state', resource: 'r0', volume: 0, peer: this.peer, from, to: this.observed(), reason } });
  }

  private reply(command: number, ok: boolean): void {
    this.out.push({ type: 'reply', command, reply: { ok, code: ok ? 1 : -1, text: '' } });
  }

  private connect(): void {
    this.data = ++this.lastStream;
    this.meta = ++this.lastStream;
    for (const stream of [this.data, this.meta]) this.out.push({ type: 'connect', stream, resource: 'r0', peer: this.peer });
  }

  private become(connected: boolean): void {
    const from = this.observed();
    this.connected = connected;
    if (from.conn !== this.observed().conn) this.changed(from, '');
  }

  private lose(nowUs: number): void {
    for (const stream of [this.data, this.meta]) if (stream !== 0) this.out.push({ type: 'close', stream });
    this.data = this.meta = 0;
    this.rests.clear();
    if (this.connected) this.out.push({ type: 'observe', event: { event: 'connection-lost', resource: 'r0', peer: this.peer, reason: 'BrokenPipe', detail: '' } });
    this.become(false);
    for (const [id, write] of this.writes) if (write.left > 0) this.part(id, true);
    this.wakeUs = nowUs + 500_000;
  }

  private part(id: number, connectionLost = false): void {
    const write = this.writes.get(id);
    if (!write) return;
    const local = this.queue.some((queued) => queued.what === 'app-write' && queued.id === id);
    write.left = connectionLost ? (local ? 1 : 0) : write.left - 1;
    if (write.left > 0) return;
    this.writes.delete(id);
    this.out.push({ type: 'app-done', resource: 'r0', volume: 0, id });
  }

  /** One write at a time: nothing overlaps. */
  private write(sector: number, data: Uint8Array, what: 'app-write' | 'peer-write', id: number): void {
    this.queue.push({ sector, data, what, id });
    if (this.queue.length === 1 || this.sin === 'overlaps') this.startWrite(this.queue[this.queue.length - 1]!);
  }

  private startWrite({ sector, data, what, id }: QueuedWrite): void {
    const op = ++this.lastOp;
    this.ops.set(op, { what, id, sectors: 0 });
    this.out.push({ type: 'disk-write', op, resource: 'r0', volume: 0, area: 'data', sector, data, preflush: false, fua: false });
  }

  private writeEnded(): void {
    this.queue.shift();
    if (this.queue[0]) this.startWrite(this.queue[0]);
  }

  private send(stream: number, packet: PacketName, data: Uint8Array, id: number, sector = -1): void {
    const length = sector < 0 ? 0 : 16 + data.length;
    const head = new Uint8Array(32);
    const used = writeHeader(head, sector < 0 ? 0 : 100, 0, commandCode(packet), length);
    if (sector >= 0) {
      const view = new DataView(head.buffer);
      view.setFloat64(used, sector);
      view.setFloat64(used + 8, id);
    }
    const pieces: Uint8Array[] = [head.slice(0, used + (sector < 0 ? 0 : 16))];
    if (data.length > 0) pieces.push(data);
    this.out.push({ type: 'send', stream, pieces });
  }

  /** Whole packets of a stream: the header's command and what follows the header. The first one says what the stream is. */
  private receive(stream: number, bytes: Uint8Array): void {
    const rest = this.rests.get(stream) ?? new Uint8Array(0);
    const joined = new Uint8Array(rest.length + bytes.length);
    joined.set(rest);
    joined.set(bytes, rest.length);
    let at = 0;
    while (joined.length - at >= 8) {
      const view = new DataView(joined.buffer, at);
      if (joined[at] === 0x83) {
        if (view.getUint16(4) === commandCode('P_INITIAL_DATA')) this.data = stream;
        else this.meta = stream;
        if (this.data !== 0 && this.meta !== 0) this.become(true);
        at += 8;
        continue;
      }
      if (joined.length - at < 32) break;
      const length = view.getUint32(8);
      if (joined.length - at < 16 + length) break;
      const id = view.getFloat64(24);
      if (view.getUint16(6) === commandCode('P_DATA')) this.write(view.getFloat64(16), joined.slice(at + 32, at + 16 + length), 'peer-write', id);
      else this.part(id);
      at += 16 + length;
    }
    this.rests.set(stream, joined.slice(at));
  }
}

export function toySetup(changes: Partial<Setup> = {}): Setup {
  const host = (name: string, peer: string): Setup['hosts'][number] => ({
    name,
    disks: [{ volume: 0, dataSectors: 131077 }],
    config: {
      resource: 'r0',
      volumes: [{ volume: 0, minor: 0, metaDisk: { kind: 'internal' }, disk: defaultDiskOptions, sizeSectors: 0 }],
      peers: [{ name: peer, net: defaultNetOptions }],
      onNoDataAccessible: 'io-error',
      handlers: [],
      protocolMin: 86,
      protocolMax: 101,
    },
    handlers: [],
  });
  return {
    parameters: {},
    hosts: [host('alice', 'bob'), host('bob', 'alice')],
    network: { latencyUs: 100, jitterUs: 50, bytesPerSecond: 125_000_000 },
    disk: { readUs: 100, writeUs: 200, flushUs: 1000, jitterUs: 300, bytesPerSecond: 500_000_000 },
    workload: {
      kind: 'synthetic', clients: 2, queueDepth: 2, writes: 300, readShare: { numerator: 1, denominator: 4 }, flushEvery: 20, fuaEvery: 0, zerosOneIn: 0,
      pattern: 'random', firstSector: 0, sectors: 100000, maxRequestSectors: 64, thinkUs: 5000,
    },
    schedule: [],
    prepare: [{ host: 'alice', command: { verb: 'primary', resource: 'r0', force: false } }],
    initial: 'synced',
    onBoot: 'attach-and-connect',
    failover: { by: 'nobody' },
    afterStorm: [],
    durationUs: 5_000_000,
    settleUs: 5_000_000,
    expectations: { protocol: 'C', splitBrainPossible: false, unexpectedDisconnectsAllowed: false, skip: [], activeSetExtents: 1237 },
    ...changes,
  };
}

export const toyScenario = (changes: Partial<Setup> = {}): Scenario => ({
  name: 'toy',
  summary: 'a toy',
  parameters: [],
  setup: () => toySetup(changes),
  sometimes: [],
});
