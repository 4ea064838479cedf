/**
 * The cable between our daemon and the kernel, where a case wants to do something to it: both connect to it instead of to each other. It passes
 * packets on whole, counts them, and does at a packet what it was told: cuts both streams or one, in the middle of the packet if wished, or
 * holds it for a while.
 */

import { connect, createServer, type Server, type Socket } from 'node:net';
import { headerForm, formBytes, MAGIC_BYTES, readHeader } from '../../src/wire/headers.js';

export interface Fault {
  /** How many packets pass before it, in either direction. */
  after: number;
  do: 'cut' | 'cut-data' | 'cut-meta' | 'cut-inside' | 'hold';
  /** For `hold`: how long. */
  ms: number;
}

interface End {
  listen: string;
  target: string;
  /** Who it claims to be there. */
  from: string;
}

type Kind = 'data' | 'meta';

const P_INITIAL_META = 0xfff1;

/** One TCP connection through the cable. */
class Strand {
  kind: Kind | undefined = undefined;
  private readonly there: Socket;

  constructor(
    private readonly link: Link,
    private readonly here: Socket,
    { target, from }: End,
    port: number,
  ) {
    this.there = connect({ host: target, port, localAddress: from, allowHalfOpen: true, noDelay: true });
    this.pass(here, this.there, true);
    this.pass(this.there, here, false);
    for (const socket of [here, this.there]) {
      socket.on('error', () => this.cut());
      socket.on('close', () => this.link.strands.delete(this));
    }
  }

  cut(): void {
    this.here.destroy();
    this.there.destroy();
  }

  /** Its last bytes arrive. */
  private cutBehind(to: Socket, bytes: Uint8Array): void {
    to.write(bytes, () => this.cut());
  }

  private pass(from: Socket, to: Socket, isOpener: boolean): void {
    let kept = Buffer.alloc(0);
    let isHeld = false;
    const work = (): void => {
      for (;;) {
        if (isHeld || this.link.isOff) return;
        const bytes = packetBytes(kept);
        if (bytes === undefined || kept.length < bytes) return;
        const packet = kept.subarray(0, bytes);
        if (isOpener && this.kind === undefined) this.kind = packet.readUInt16BE(4) === P_INITIAL_META ? 'meta' : 'data';
        const fault = this.link.packetPasses();
        if (fault?.do === 'hold') {
          isHeld = true;
          setTimeout(() => {
            isHeld = false;
            work();
          }, fault.ms);
          return;
        }
        kept = kept.subarray(bytes);
        if (fault?.do === 'cut-inside') return this.cutBehind(to, packet.subarray(0, Math.floor(bytes / 2)));
        to.write(packet);
        if (fault) return this.link.cut(fault.do === 'cut-data' ? 'data' : fault.do === 'cut-meta' ? 'meta' : undefined);
      }
    };
    from.on('data', (data: Buffer) => {
      kept = Buffer.concat([kept, data]);
      work();
    });
    from.on('end', () => {
      to.end();
    });
    this.link.resumed.add(work);
    from.on('close', () => this.link.resumed.delete(work));
  }
}

/** Bytes of the packet that begins here, once its header is there; of what is no packet, all there is. */
function packetBytes(bytes: Buffer): number | undefined {
  if (bytes.length < MAGIC_BYTES) return undefined;
  const form = headerForm(bytes, 0);
  if (form === undefined) return bytes.length;
  if (bytes.length < formBytes(form)) return undefined;
  const header = readHeader(form, bytes, 0);
  return header ? formBytes(form) + header.length : bytes.length;
}

export class Link {
  readonly strands = new Set<Strand>();
  readonly resumed = new Set<() => void>();
  isOff = false;
  /** Faults that were armed, and those that came about. */
  armed = 0;
  happened = 0;
  private fault: Fault | undefined = undefined;
  private readonly servers: Server[] = [];

  async open(ends: readonly End[], port: number): Promise<void> {
    for (const end of ends) {
      const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.strands.add(new Strand(this, socket, end, port)));
      this.servers.push(server);
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(port, end.listen, resolve);
      });
    }
  }

  /** The next fault; one that did not come about is forgotten. */
  arm(fault: Fault): void {
    this.fault = fault;
    this.armed++;
  }

  /** Says nothing any more in either direction, and does not say that either; until it is on again. */
  setOff(isOff: boolean): void {
    this.isOff = isOff;
    if (!isOff) for (const work of [...this.resumed]) work();
  }

  heal(): void {
    this.fault = undefined;
    this.setOff(false);
  }

  cut(kind?: Kind): void {
    for (const strand of [...this.strands]) if (kind === undefined || strand.kind === kind) strand.cut();
  }

  close(): void {
    for (const server of this.servers) server.close();
    this.cut();
  }

  packetPasses(): Fault | undefined {
    const { fault } = this;
    if (!fault || fault.after-- > 0) return undefined;
    this.fault = undefined;
    this.happened++;
    return fault;
  }
}
