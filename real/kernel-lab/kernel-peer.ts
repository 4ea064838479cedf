/** A node whose DRBD is the kernel's: drbdsetup's commands in a guest. Its metadata is on its disk, or on the guest's second one. */

import { Guest } from './guest.js';
import { BLOCK_BYTES, type Content } from './contents.js';
import { NOT_THERE, type Answer, type Load, type Options, type Peer, type View } from './peer.js';

export const KERNEL_ADDRESS = '10.99.0.11';
export const OUR_ADDRESS = '10.99.0.1';
export const PORT = 7789;
/** The cable's ends, where it is between the two: what each takes for the other. */
export const LINK_TO_US = '10.99.0.2';
export const LINK_TO_KERNEL = '10.99.0.3';

/** Where the case puts the metadata. */
export type MetaPlace = 'internal' | 'external' | 'indexed';

/** The words for it: of drbdmeta, and of `drbdsetup attach`. */
const places: Record<MetaPlace, [drbdmeta: string, attach: string]> = {
  internal: ['/dev/ubda internal', '/dev/ubda internal'],
  external: ['/dev/ubdb flex-external', '/dev/ubdb flexible'],
  indexed: ['/dev/ubdb 0', '/dev/ubdb 0'],
};

/** Without the bit that says that the node is Primary. */
export const withoutRole = (uuid: string): string => (BigInt(`0x${uuid}`) & ~1n).toString(16).toUpperCase().padStart(16, '0');

export class KernelPeer implements Peer {
  readonly name = 'kernel';
  readonly image: string;
  private said = '';
  private loads = 0;
  private readonly called: string[] = [];

  constructor(
    readonly guest: Guest,
    private readonly options: Options,
    private readonly meta: MetaPlace,
    /** Where the other node is for it. */
    private readonly peerAddress: string,
  ) {
    this.image = guest.options.disks[0]!;
  }

  async boot(): Promise<void> {
    if (!this.guest.isRunning) await this.guest.boot();
    const handlers = [...this.options.handlers].map(([name, code]) => `echo ${code} > /run/helper/${name}`);
    await this.guest.must(['rm -f /run/helper/*; : > /run/helper/calls', ...handlers].join('\n'));
  }

  async crash(): Promise<void> {
    await this.hear();
    await this.guest.kill();
  }

  freeze(): void {
    this.guest.freeze();
  }

  thaw(): void {
    this.guest.thaw();
  }

  async createMetadata(): Promise<void> {
    await this.guest.must(`drbdmeta --force ${this.metaWords} create-md > /dev/null`);
  }

  /** Its disk, and that of its metadata where that is another one. */
  get images(): string[] {
    return this.guest.options.disks.slice(0, this.meta === 'internal' ? 1 : 2);
  }

  /** drbdmeta's arguments for this volume. */
  get metaWords(): string {
    return `0 v08 ${places[this.meta][0]}`;
  }

  async up(): Promise<void> {
    await this.guest.must(['set -e', 'drbdsetup-84 new-resource r0', 'drbdsetup-84 new-minor r0 0 0', `drbdmeta ${this.metaWords} apply-al`, this.attachCommand, this.connectCommand('')].join('\n'));
  }

  private get attachCommand(): string {
    const options = [...this.options.disk].map(([name, value]) => `--${name}=${value}`);
    return `drbdsetup-84 attach 0 /dev/ubda ${places[this.meta][1]} ${options.join(' ')}`;
  }

  private get link(): string {
    return `ipv4:${KERNEL_ADDRESS}:${PORT} ipv4:${this.peerAddress}:${PORT}`;
  }

  private connectCommand(more: string): string {
    const options = [...this.options.net].map(([name, value]) => `--${name}=${value}`);
    return `drbdsetup-84 connect r0 ${this.link} ${options.join(' ')} ${more}`;
  }

  async order([verb, ...words]: readonly string[]): Promise<Answer> {
    const { code, out } = await this.guest.run(this.commandOf(verb!, words.join(' ')));
    const refusal = /\((-?\d+)\) *(.*)/.exec(out);
    return { ok: code === 0, code: refusal ? Number(refusal[1]) : code, text: refusal?.[2] ?? out.trim() };
  }

  private commandOf(verb: string, words: string): string {
    switch (verb) {
      case 'connect':
        return this.connectCommand(words);
      case 'disconnect':
        return `drbdsetup-84 disconnect ${this.link} ${words}`;
      case 'down':
        return `drbdsetup-84 down r0`;
      case 'attach':
        return `drbdmeta ${this.metaWords} apply-al && ${this.attachCommand}`;
      default:
        return `drbdsetup-84 ${verb} 0 ${words}`;
    }
  }

  async view(): Promise<View> {
    if (!this.guest.isRunning) return NOT_THERE;
    const out = await this.guest.must('cat /proc/drbd; drbdsetup-84 get-gi 0 2>/dev/null; echo size $(cat /sys/block/drbd0/size)');
    const state = /^ *0: cs:(\S+) ro:(\w+)\/(\w+) ds:(\w+)\/(\w+)[^]*? oos:(\d+)/m.exec(out);
    if (!state) return NOT_THERE;
    const [, conn, role, peerRole, disk, peerDisk, outOfSync] = state as unknown as string[];
    const generations = (/^([0-9A-F]{16}(?::[0-9A-F]{16}){3}):/m.exec(out)?.[1] ?? '').split(':').filter((uuid) => uuid !== '');
    return { conn: conn!, role: role!, peerRole: peerRole!, disk: disk!, peerDisk: peerDisk!, outOfSyncKib: Number(outOfSync), sizeSectors: Number(/^size (\d+)/m.exec(out)?.[1] ?? 0), generations: generations.map(withoutRole) };
  }

  async write(block: number, contents: readonly Content[]): Promise<void> {
    const [{ text }] = contents as [Content];
    await this.guest.must(`yes '${text}' | dd of=/dev/drbd0 bs=4k seek=${block} count=${contents.length} iflag=fullblock oflag=direct conv=notrunc 2>&1`);
  }

  async read(block: number, blocks: number): Promise<Uint8Array> {
    const out = await this.guest.must(`dd if=/dev/drbd0 bs=4k skip=${block} count=${blocks} iflag=direct 2>/dev/null | base64`);
    const data = Buffer.from(out, 'base64');
    if (data.length !== blocks * BLOCK_BYTES) throw new Error(`kernel: ${data.length} bytes where ${blocks} blocks were asked for`);
    return data;
  }

  async flush(): Promise<void> {
    await this.guest.must('dd if=/dev/null of=/dev/drbd0 conv=fsync,notrunc 2>&1');
  }

  async discard(block: number, blocks: number): Promise<void> {
    await this.guest.must(`/usr/sbin/blkdiscard -o ${block * BLOCK_BYTES} -l ${blocks * BLOCK_BYTES} /dev/drbd0`);
  }

  async zero(block: number, blocks: number): Promise<void> {
    await this.guest.must(`/usr/sbin/blkdiscard -z -o ${block * BLOCK_BYTES} -l ${blocks * BLOCK_BYTES} /dev/drbd0`);
  }

  async load(block: number, blocks: number, text: string, acknowledged: (round: number) => void): Promise<Load> {
    const stop = `/tmp/stop-${++this.loads}`;
    const write = `yes "${text} $n" | dd of=/dev/drbd0 bs=4k seek=$((${block} + n % ${blocks})) count=1 iflag=fullblock oflag=direct conv=notrunc 2>/dev/null`;
    const over = this.guest
      .run(`rm -f ${stop}; n=0; while [ ! -e ${stop} ]; do ${write} || break; echo $n; n=$((n + 1)); done`, Infinity, (line) => {
        if (/^\d+$/.test(line)) acknowledged(Number(line));
      })
      .then(() => undefined, () => undefined);
    return {
      end: async () => {
        if (this.guest.isRunning) await this.guest.must(`: > ${stop}`);
        await over;
      },
    };
  }

  async calls(): Promise<string[]> {
    if (this.guest.isRunning) this.called.splice(0, Infinity, ...(await this.guest.must('cat /run/helper/calls')).split('\n').filter((name) => name !== ''));
    return this.called;
  }

  async log(): Promise<string> {
    await this.hear();
    return this.said;
  }

  private async hear(): Promise<void> {
    if (this.guest.isRunning) this.said += await this.guest.must('dmesg -c').catch(() => '');
  }

  /** Nothing of an earlier case is left in the guest; false: it has to be booted anew. */
  async clear(): Promise<boolean> {
    const script = [
      'for stop in /tmp/stop-*; do : > $stop; done',
      'set -e',
      '[ -z "$(grep "0: cs" /proc/drbd | grep -v Unconfigured)" ] || drbdsetup-84 down r0',
      'rmmod drbd',
      'insmod /lib/modules/drbd.ko usermode_helper=/bin/drbd-helper',
      'for disk in /dev/ubd?; do blockdev --flushbufs $disk; done',
      'echo 3 > /proc/sys/vm/drop_caches',
      'rm -f /tmp/stop-*',
      'dmesg -c > /dev/null',
    ];
    return this.guest.run(script.join('\n'), 15_000).then(
      ({ code }) => code === 0,
      () => false,
    );
  }
}
