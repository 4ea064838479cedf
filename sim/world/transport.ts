/**
 * Streams between hosts, as TCP gives them: in order, with a bounded buffer, half-open when nobody notices. A connection has
 * two ends; each end sends to the other. Bytes count as sent when the transport's buffer has room for them (as a kernel
 * reports it), which is not when they arrive. How a connection comes about is in connect.ts.
 */

import type { StreamKind } from '../types.js';
import type { Host } from './host.js';
import { type Link, fireWatches } from './link.js';
import { PacketScanner, packetIndex } from './packets.js';
import { commandCode } from '../../src/wire/commands.js';
import type { World } from './world.js';

/** What one direction of a connection may hold between the two cores: send buffer and receive window together. */
const WINDOW_BYTES = 256 * 1024;
/** One segment in so many arrives in two parts. */
const SPLIT_ONE_IN = 16;
const RETRANSMIT_US = 200_000;
/** Kernels go up to 120 s; a settling phase would only be longer for it. */
const RETRANSMIT_MAX_US = 5_000_000;

export interface Connection {
  readonly number: number;
  readonly resource: string;
  /** Known once the side that connected has said it. */
  kind: StreamKind | undefined;
  /** The side that connected, the side that accepted. */
  readonly ends: [End, End];
}

export interface End {
  connection: Connection;
  readonly host: Host;
  readonly boot: number;
  /** Out of this end. */
  readonly link: Link;
  peer: End;
  /** The core's name for it; 0 before it was accepted. */
  stream: number;
  /**
   * opening: the core does not have it yet. open. ended: the core was told that the peer's side is over. closed: the core, or its
   * kernel after a crash, gave it up. lost: the machine lost power and knows of nothing.
   */
  state: 'opening' | 'open' | 'ended' | 'closed' | 'lost';
  // Sending.
  sentBytes: number;
  sentReported: boolean;
  /** Taken from the core and not yet given to the peer's. */
  windowUsed: number;
  /** What the buffer had no room for. */
  waiting: Uint8Array[];
  lastArrivalUs: number;
  /** Segments on the wire. */
  underway: number;
  /** Segments that a cut, a stall or a dead machine kept from arriving. */
  held: Segment[];
  heldSinceUs: number;
  /** Some of them were lost, not only stalled: they come when TCP sends them again. */
  heldLost: boolean;
  blocked: boolean;
  /** After a reset: how many of the segments on the wire still arrive; -1 without reset. */
  arrivalsLeft: number;
  resetSent: boolean;
  readonly scanner: PacketScanner;
  // Receiving.
  reading: boolean;
  inbox: Segment[];
  /** Acknowledged bytes that the peer's kernel has not heard of, since the way back is blocked. */
  owed: number;
  readonly arrivals: PacketScanner;
}

export interface Segment {
  kind: 'segment';
  to: End;
  what: 'data' | 'end' | 'reset' | 'accept';
  bytes: Uint8Array | undefined;
}

const INITIAL_DATA = packetIndex(commandCode('P_INITIAL_DATA'));
const INITIAL_META = packetIndex(commandCode('P_INITIAL_META'));

export class Transport {
  readonly connections = new Set<Connection>();
  private made = 0;

  constructor(private readonly world: World) {}

  /** A connection whose both ends are still opening. */
  connect(resource: string, client: Host, server: Host): Connection {
    const ends = [newEnd(client, this.world.link(client, server)), newEnd(server, this.world.link(server, client))] as [End, End];
    const connection: Connection = { number: ++this.made, resource, kind: undefined, ends };
    ends[0].connection = ends[1].connection = connection;
    ends[0].peer = ends[1];
    ends[1].peer = ends[0];
    for (const end of ends) {
      end.blocked = end.link.isBlocked(undefined);
      end.host.ends.add(end);
    }
    this.connections.add(connection);
    return connection;
  }

  /** The core's send: one gathered write. Bytes for an end that is over vanish, as they do in a kernel. */
  send(end: End, pieces: readonly Uint8Array[]): void {
    if (end.state !== 'open' && end.state !== 'ended') return;
    let total = 0;
    for (const piece of pieces) total += piece.length;
    this.look(end, pieces);
    if (end.arrivalsLeft >= 0) return;
    if (end.waiting.length > 0) {
      end.waiting.push(...pieces);
      return;
    }
    const taken = Math.min(total, WINDOW_BYTES - end.windowUsed);
    this.take(end, pieces, taken);
    if (taken < total) end.waiting = remainder(pieces, taken);
  }

  /** The core's close. Bytes that the buffer had not taken are gone; unread bytes turn it into a reset. */
  close(end: End): void {
    if (end.state === 'closed' || end.state === 'lost') return;
    const unread = end.inbox.some((segment) => segment.what === 'data');
    end.state = 'closed';
    end.host.streams.delete(end.stream);
    end.waiting = [];
    this.emptyInbox(end);
    // What would tell the other side does not get through.
    if (end.blocked && end.arrivalsLeft < 0) this.halfOpen(end);
    if (unread) this.reset(end);
    else if (end.arrivalsLeft < 0) this.transmit(end, 'end', undefined, 0);
    this.forget(end);
  }

  /** The process died: its kernel closes what it had open. */
  processDied(host: Host): void {
    for (const connection of [...this.connections]) for (const end of connection.ends) if (end.host === host) this.close(end);
  }

  /** The machine lost power: it sends nothing any more, and later knows of nothing. */
  powerLost(host: Host): void {
    for (const connection of [...this.connections]) for (const end of connection.ends) if (end.host === host) this.lose(end);
  }

  /** A segment reached the other machine, or what is in the way of it. */
  arrive(segment: Segment): void {
    const { to } = segment;
    const from = to.peer;
    from.underway--;
    if (from.arrivalsLeft >= 0) {
      this.arriveBeforeReset(segment, from);
    } else if (from.blocked || from.held.length > 0 || !to.host.powered) {
      if (from.host.powered) this.hold(from, segment);
      else this.recycle(segment);
    } else {
      this.accept(segment);
    }
  }

  /** Both ends will see a reset; of what is on the wire some may arrive first. */
  breakConnection(connection: Connection): void {
    for (const end of connection.ends) {
      if (end.arrivalsLeft >= 0) continue;
      // What was held up comes before what is on the wire: without it nothing arrives.
      end.arrivalsLeft = end.held.length > 0 ? 0 : end.link.random.integer(0, end.underway);
      end.held = this.drop(end.held);
      end.waiting = [];
      if (end.arrivalsLeft === 0) {
        this.world.schedule(end.link.arrivalUs(this.world.nowUs, 0), { kind: 'broken', end: end.peer });
      }
    }
  }

  /** This end learns of a reset. */
  broken(end: End): void {
    this.emptyInbox(end);
    end.waiting = [];
    if (end.state === 'open') {
      end.state = 'ended';
      end.host.give({ type: 'stream-closed', stream: end.stream, how: 'reset' });
    } else if (end.state === 'opening') {
      end.state = 'closed';
      this.forget(end);
    }
  }

  /** After a change of the faults on a link, or of what a stream is. */
  refreshBlocks(from: Host, to: Host): void {
    for (const connection of this.connections) {
      for (const end of connection.ends) if (end.host === from && end.peer.host === to) this.refreshBlock(end);
    }
  }

  /** The machine has power again: what was sent to it meanwhile is sent again, and answered by a kernel that knows nothing. */
  powerReturned(host: Host): void {
    for (const connection of this.connections) {
      for (const end of connection.ends) if (end.peer.host === host && !end.blocked) this.release(end);
    }
  }

  /** Room in the buffer: takes what waited. */
  room(end: End): void {
    if (end.waiting.length === 0 || (end.state !== 'open' && end.state !== 'ended')) return;
    const pieces = end.waiting;
    let total = 0;
    for (const piece of pieces) total += piece.length;
    const taken = Math.min(total, WINDOW_BYTES - end.windowUsed);
    end.waiting = [];
    this.take(end, pieces, taken);
    if (taken < total) end.waiting = remainder(pieces, taken);
  }

  /** The core runs again, or reads again: what came meanwhile. */
  drainInbox(end: End): void {
    while (end.inbox.length > 0 && this.mayRead(end)) this.read(end.inbox.shift()!);
  }

  private lose(end: End): void {
    end.held = this.drop(end.held);
    if (end.state === 'closed') return;
    end.state = 'lost';
    end.waiting = [];
    this.emptyInbox(end);
    this.halfOpen(end);
    this.forget(end);
  }

  /** This end is over; the other one may go on believing in it for a while. */
  private halfOpen(end: End): void {
    if (end.peer.state === 'open') this.world.reached('half-open connection');
  }

  // ---- Sending ------------------------------------------------------------------------------------------------------

  private take(end: End, pieces: readonly Uint8Array[], length: number): void {
    if (length === 0) return;
    const bytes = this.world.buffers.lend(length);
    let at = 0;
    for (const piece of pieces) {
      const left = length - at;
      if (piece.length > left) {
        bytes.set(piece.subarray(0, left), at);
        break;
      }
      bytes.set(piece, at);
      at += piece.length;
    }
    end.sentBytes += length;
    end.windowUsed += length;
    end.host.bytesSent(end);
    if (length > 1 && end.link.random.chance(1, SPLIT_ONE_IN)) {
      const first = end.link.random.integer(1, length - 1);
      for (const part of [bytes.subarray(0, first), bytes.subarray(first)]) {
        const copy = this.world.buffers.lend(part.length);
        copy.set(part);
        this.transmit(end, 'data', copy, part.length);
      }
      this.world.buffers.takeBack(bytes);
    } else {
      this.transmit(end, 'data', bytes, length);
    }
  }

  private transmit(end: End, what: Segment['what'], bytes: Uint8Array | undefined, length: number): void {
    const { nowUs } = this.world;
    end.lastArrivalUs = Math.max(end.lastArrivalUs, end.link.arrivalUs(nowUs, length));
    end.underway++;
    this.world.schedule(end.lastArrivalUs, { kind: 'segment', to: end.peer, what, bytes });
  }

  private reset(end: End): void {
    if (end.resetSent || end.arrivalsLeft >= 0) return;
    end.resetSent = true;
    this.transmit(end, 'reset', undefined, 0);
  }

  /** The accepting side's kernel has it; its core is told when the last part of the handshake arrives. */
  announce(client: End): void {
    this.transmit(client, 'accept', undefined, 0);
  }

  private look(end: End, pieces: readonly Uint8Array[]): void {
    const { link, connection } = end;
    const learns = connection.kind === undefined && end === connection.ends[0];
    for (const piece of pieces) {
      const last = end.scanner.scan(piece, link.sentPackets);
      if (learns && last >= 0) this.learn(connection, packetIndex(last));
    }
    if (link.sentWatches.length > 0) link.sentWatches = fireWatches(link.sentWatches, link.sentPackets);
  }

  private learn(connection: Connection, index: number): void {
    connection.kind = index === INITIAL_DATA ? 'data' : index === INITIAL_META ? 'meta' : undefined;
    for (const end of connection.ends) this.refreshBlock(end);
  }

  // ---- Arriving -----------------------------------------------------------------------------------------------------

  private accept(segment: Segment): void {
    const { to } = segment;
    switch (segment.what) {
      case 'data':
        if (to.state === 'closed' || to.state === 'lost') {
          this.recycle(segment);
          this.reset(to);
        } else if (to.inbox.length > 0 || !this.mayRead(to)) {
          to.inbox.push(segment);
        } else {
          this.read(segment);
        }
        return;
      case 'accept':
      case 'end':
        if (to.state === 'lost') this.reset(to);
        else if (to.state !== 'closed') {
          if (to.inbox.length > 0 || !this.mayRead(to)) to.inbox.push(segment);
          else this.read(segment);
        }
        return;
      case 'reset':
        this.broken(to);
        return;
      default:
        segment.what satisfies never;
    }
  }

  private mayRead(end: End): boolean {
    return end.host.state === 'running' && end.reading;
  }

  /** The core takes it. */
  private read(segment: Segment): void {
    const { to } = segment;
    switch (segment.what) {
      case 'accept':
        if (!to.host.accept(to)) {
          to.state = 'closed';
          this.reset(to);
          this.forget(to);
        }
        return;
      case 'end':
        if (to.state !== 'open') return;
        to.state = 'ended';
        to.host.give({ type: 'stream-closed', stream: to.stream, how: 'closed' });
        return;
      case 'data': {
        const bytes = segment.bytes!;
        if (to.state !== 'open') {
          this.recycle(segment);
          return;
        }
        this.acknowledge(to, bytes.length);
        const { link } = to.peer;
        to.arrivals.scan(bytes, link.deliveredPackets);
        if (link.damages.length > 0 && to.arrivals.dataAt >= 0) {
          bytes[to.arrivals.dataAt]! ^= 0x10;
          link.damages.shift()!();
        }
        to.host.give({ type: 'stream-received', stream: to.stream, bytes }, bytes);
        if (link.deliveredWatches.length > 0) link.deliveredWatches = fireWatches(link.deliveredWatches, link.deliveredPackets);
        return;
      }
      case 'reset':
        return;
      default:
        segment.what satisfies never;
    }
  }

  private acknowledge(to: End, bytes: number): void {
    if (to.blocked) to.owed += bytes;
    else this.credit(to.peer, bytes);
  }

  private credit(from: End, bytes: number): void {
    from.windowUsed -= bytes;
    if (from.waiting.length > 0) this.world.schedule(from.peer.link.arrivalUs(this.world.nowUs, 0), { kind: 'room', end: from });
  }

  private arriveBeforeReset(segment: Segment, from: End): void {
    if (from.arrivalsLeft === 0) {
      this.recycle(segment);
      return;
    }
    from.arrivalsLeft--;
    if (from.blocked) {
      this.recycle(segment);
      from.arrivalsLeft = 0;
      this.broken(segment.to);
      return;
    }
    const last = from.arrivalsLeft === 0;
    if (segment.what === 'data' && last) {
      // The reset falls into the middle of it.
      const whole = segment.bytes!;
      const part = this.world.buffers.lend(from.link.random.integer(1, whole.length));
      part.set(whole.subarray(0, part.length));
      this.world.buffers.takeBack(whole);
      segment.bytes = part;
    }
    if (segment.what !== 'reset' && segment.to.host.powered) this.accept(segment);
    else this.recycle(segment);
    if (last) this.broken(segment.to);
  }

  // ---- What is in the way ---------------------------------------------------------------------------------------------

  private hold(from: End, segment: Segment): void {
    if (from.held.length === 0) from.heldSinceUs = this.world.nowUs;
    from.heldLost ||= !segment.to.host.powered || from.link.isCut(from.connection.kind);
    from.held.push(segment);
  }

  private refreshBlock(end: End): void {
    const { kind } = end.connection;
    const wasBlocked = end.blocked;
    end.blocked = end.link.isBlocked(kind);
    if (end.blocked || !wasBlocked) return;
    if (end.owed > 0) {
      const { owed } = end;
      end.owed = 0;
      this.credit(end.peer, owed);
    }
    this.release(end);
  }

  private release(end: End): void {
    if (end.held.length === 0) return;
    const { nowUs } = this.world;
    let atUs = nowUs;
    if (end.heldLost) {
      atUs = end.heldSinceUs;
      for (let gapUs = RETRANSMIT_US; atUs <= nowUs; gapUs = Math.min(2 * gapUs, RETRANSMIT_MAX_US)) atUs += gapUs;
    }
    this.world.schedule(atUs, { kind: 'resend', end });
  }

  /** What was held goes on the wire again, unless something is in its way again. */
  resend(end: End): void {
    if (end.blocked || !end.peer.host.powered) return;
    const { held } = end;
    end.held = [];
    end.heldLost = false;
    // At once: what was sent after them may be on the wire already, and must not come before them.
    for (const segment of held) this.accept(segment);
  }

  private drop(segments: Segment[]): Segment[] {
    for (const segment of segments) this.recycle(segment);
    return [];
  }

  private emptyInbox(end: End): void {
    const unread = end.inbox;
    end.inbox = [];
    for (const segment of unread) this.recycle(segment);
  }

  private recycle(segment: Segment): void {
    if (segment.bytes) this.world.buffers.takeBack(segment.bytes);
    segment.bytes = undefined;
  }

  /** Nobody has it any more. */
  forget(end: End): void {
    end.host.ends.delete(end);
    const over = (one: End): boolean => one.state === 'closed' || one.state === 'lost';
    if (over(end) && over(end.peer)) this.connections.delete(end.connection);
  }
}

function newEnd(host: Host, link: Link): End {
  return {
    // Both are set by `connect`, which makes the two ends together.
    connection: undefined as unknown as Connection,
    peer: undefined as unknown as End,
    host,
    boot: host.boot,
    link,
    stream: 0,
    state: 'opening',
    sentBytes: 0,
    sentReported: true,
    windowUsed: 0,
    waiting: [],
    lastArrivalUs: 0,
    underway: 0,
    held: [],
    heldSinceUs: 0,
    heldLost: false,
    blocked: false,
    arrivalsLeft: -1,
    resetSent: false,
    scanner: new PacketScanner(),
    reading: true,
    inbox: [],
    owed: 0,
    arrivals: new PacketScanner(),
  };
}

/** The pieces behind the first `length` bytes. */
function remainder(pieces: readonly Uint8Array[], length: number): Uint8Array[] {
  const rest: Uint8Array[] = [];
  let skip = length;
  for (const piece of pieces) {
    if (skip >= piece.length) skip -= piece.length;
    else {
      rest.push(skip === 0 ? piece : piece.subarray(skip));
      skip = 0;
    }
  }
  return rest;
}
