/** A node that is our daemon: a process of its own, its disk a file, its device an NBD export. */

import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Machine } from '../demo/machine.js';
import type { OrderVerb } from '../daemon/control.js';
import { cstateOf } from '../daemon/status.js';
import { NbdClient } from '../nbd/client.js';
import { BLOCK_BYTES, bytesOf, type Content } from './contents.js';
import { OUR_ADDRESS, PORT, withoutRole, type MetaPlace } from './kernel-peer.js';
import { NOT_THERE, type Answer, type Load, type Options, type Peer, type View } from './peer.js';

export class OurPeer implements Peer {
  readonly name = 'ours';
  readonly image: string;
  /** Its metadata's disk, where that is another one. */
  readonly metaImage: string;
  readonly machine: Machine;
  readonly configPath: string;

  constructor(
    private readonly folder: string,
    options: Options,
    private readonly meta: MetaPlace,
    /** Where the kernel is for it. */
    peerAddress: string,
  ) {
    this.configPath = join(folder, 'lockstep.conf');
    this.machine = new Machine(folder, 'ours', this.configPath);
    this.image = this.machine.image;
    this.metaImage = join(folder, 'ours.meta');
    const section = (name: 'net' | 'disk'): string => `${name} { ${[...options[name]].map(([option, value]) => `${option} ${value};`).join(' ')} }`;
    const handlers = [...options.handlers].map(([name, code]) => `${name} "${this.handler(name, code)}";`);
    const metaDisk = meta === 'internal' ? 'meta-disk internal;' : `${meta === 'indexed' ? 'meta-disk' : 'flexible-meta-disk'} ${this.metaImage}${meta === 'indexed' ? '[0]' : ''};`;
    writeFileSync(
      this.configPath,
      `resource r0 {
  device /dev/drbd0;
  ${section('net')}
  ${section('disk')}
  handlers { ${handlers.join(' ')} }
  on ours { disk ${this.image}; address ${OUR_ADDRESS}:${PORT}; ${metaDisk} }
  on kernel { disk /dev/ubda; address ${peerAddress}:${PORT}; ${metaDisk} }
}
`,
    );
  }

  /** Its disk, and that of its metadata where that is another one. */
  get images(): string[] {
    return this.meta === 'internal' ? [this.image] : [this.image, this.metaImage];
  }

  /** The program that a handler is: it notes the call, and ends with the code that the case wants. */
  private handler(name: string, code: number): string {
    const path = join(this.folder, `handler-${name}`);
    writeFileSync(path, `#!/bin/sh\necho ${name} >> ${join(this.folder, 'calls')}\nexit ${code}\n`);
    chmodSync(path, 0o755);
    return path;
  }

  async boot(): Promise<void> {
    await this.machine.start('--no-up');
  }

  async crash(): Promise<void> {
    if (this.machine.child) await this.machine.end('SIGKILL');
  }

  freeze(): void {
    this.machine.child!.kill('SIGSTOP');
  }

  thaw(): void {
    this.machine.child!.kill('SIGCONT');
  }

  async createMetadata(): Promise<void> {
    const { code, err } = this.machine.adm('-c', this.configPath, '--node', 'ours', 'create-md', '--force', 'r0');
    if (code !== 0) throw new Error(`create-md: ${err}`);
  }

  async up(): Promise<void> {
    const answers = await this.machine.ask<{ reply: Answer }[]>({ do: 'up', resource: 'r0' });
    const refused = answers.find(({ reply }) => !reply.ok);
    if (refused) throw new Error(`ours: up: (${refused.reply.code}) ${refused.reply.text}`);
  }

  order([verb, ...words]: readonly string[]): Promise<Answer> {
    const value = (name: string): string | undefined => words.find((word) => word.startsWith(`--${name}=`))?.split('=')[1];
    const sectors = (name: string): number | undefined => (value(name) === undefined ? undefined : Number(value(name)!.replace(/s$/, '')));
    return this.machine.order(verb as OrderVerb, {
      ...(verb === 'connect' || verb === 'disconnect' ? { peer: 'kernel' } : {}),
      ...(words.includes('--force') ? { force: true } : {}),
      ...(words.includes('--clear-bitmap') ? { clearBitmap: true } : {}),
      ...(words.includes('--discard-my-data') ? { discardMyData: true } : {}),
      ...(words.includes('--assume-clean') ? { assumeClean: true } : {}),
      ...(verb === 'resize' ? { sizeSectors: sectors('size') ?? 0 } : {}),
      ...(sectors('start') === undefined ? {} : { startSector: sectors('start')! }),
      ...(sectors('stop') === undefined ? {} : { stopSector: sectors('stop')! }),
    });
  }

  async view(): Promise<View> {
    if (!this.machine.child) return NOT_THERE;
    const status = await this.machine.status();
    const device = status?.devices[0];
    const peer = status?.connections[0];
    const line = await this.machine.ask<string | null>({ do: 'get-gi', resource: 'r0', volume: 0 });
    return {
      conn: status ? cstateOf(status, 0) : 'Unconfigured',
      role: status?.role ?? 'Unknown',
      peerRole: peer?.['peer-role'] ?? 'Unknown',
      disk: device?.['disk-state'] ?? 'Diskless',
      peerDisk: peer?.peer_devices[0]?.['peer-disk-state'] ?? 'DUnknown',
      outOfSyncKib: peer?.peer_devices[0]?.['out-of-sync'] ?? 0,
      sizeSectors: (device?.size ?? 0) * 2,
      generations: line === null ? [] : line.split(':').slice(0, 4).map(withoutRole),
    };
  }

  /** The device is open only while it is used: a Primary whose device is open is not demoted. */
  private async use<T>(work: (client: NbdClient) => Promise<T>): Promise<T> {
    const client = await NbdClient.open(this.machine.nbd, 'r0');
    try {
      return await work(client);
    } finally {
      client.close();
    }
  }

  write(block: number, contents: readonly Content[]): Promise<void> {
    return this.use(async (client) => {
      for (const [at, content] of contents.entries()) await client.write((block + at) * BLOCK_BYTES, bytesOf(content));
    });
  }

  read(block: number, blocks: number): Promise<Uint8Array> {
    return this.use((client) => client.read(block * BLOCK_BYTES, blocks * BLOCK_BYTES));
  }

  flush(): Promise<void> {
    return this.use((client) => client.flush());
  }

  discard(block: number, blocks: number): Promise<void> {
    return this.use((client) => client.trim(block * BLOCK_BYTES, blocks * BLOCK_BYTES));
  }

  zero(block: number, blocks: number): Promise<void> {
    return this.use((client) => client.writeZeroes(block * BLOCK_BYTES, blocks * BLOCK_BYTES));
  }

  async load(block: number, blocks: number, text: string, acknowledged: (round: number) => void): Promise<Load> {
    const client = await NbdClient.open(this.machine.nbd, 'r0');
    let isOver = false;
    const work = (async () => {
      for (let round = 0; !isOver; round++) {
        await client.write((block + (round % blocks)) * BLOCK_BYTES, bytesOf({ text: `${text} ${round}`, index: 0 }));
        acknowledged(round);
      }
    })().catch(() => undefined);
    return {
      end: async () => {
        isOver = true;
        await work;
        client.close();
      },
    };
  }

  async calls(): Promise<string[]> {
    const path = join(this.folder, 'calls');
    return existsSync(path) ? readFileSync(path, 'utf8').split('\n').filter((name) => name !== '') : [];
  }

  async log(): Promise<string> {
    return existsSync(this.machine.logPath) ? readFileSync(this.machine.logPath, 'utf8') : '';
  }
}
