/**
 * The lab itself, which runs inside namespaces of its own (kernel-lab.ts): boots the guest, gives each case two nodes with fresh disks, and
 * says how each went. One guest serves many cases; it is booted anew when a case has crashed it, or failed.
 */

import { closeSync, cpSync, existsSync, ftruncateSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterwards } from './afterwards.js';
import { buildGuestFiles, sourcePath } from './guest-files.js';
import { Guest, makeNetwork } from './guest.js';
import { KERNEL_ADDRESS, KernelPeer, LINK_TO_KERNEL, LINK_TO_US, OUR_ADDRESS, PORT } from './kernel-peer.js';
import { Link } from './link.js';
import { OurPeer } from './our-peer.js';
import type { Options, Peer, PeerName } from './peer.js';
import { parseCases, type CaseScript, type Variant } from './script.js';
import { newStage, perform, viewText, type Stage } from './steps.js';

/** Not a multiple of 256 KiB without its metadata: the kernel loses the last bits of such a bitmap (metadata.md §4). */
export const DISK_BYTES = (24 << 20) + (28 << 10);
/** An indexed place for metadata is 128 MiB. */
const META_BYTES = (128 << 20) + 8192;
const TAP = 'tap-kernel';
/** Below the checkout: what outlives the lab. */
const PLACE = 'reports/out/kernel-lab';

const defaults: Record<'net' | 'disk', [string, string][]> = {
  net: [['protocol', 'C'], ['connect-int', '1'], ['ping-int', '2'], ['timeout', '30'], ['ping-timeout', '5']],
  disk: [['c-plan-ahead', '0'], ['c-min-rate', '0'], ['resync-rate', '400M']],
};

export interface Lab {
  folder: string;
  guest: Guest;
  cases: number;
  faults: { armed: number; happened: number };
}

export function readCases(): CaseScript[] {
  const folder = sourcePath('cases');
  return readdirSync(folder).sort().filter((name) => name.endsWith('.txt')).flatMap((name) => parseCases(name.replace('.txt', ''), readFileSync(join(folder, name), 'utf8')));
}

export function openLab(folder: string): Lab {
  const files = buildGuestFiles(folder);
  makeNetwork([OUR_ADDRESS, LINK_TO_US, LINK_TO_KERNEL], [TAP]);
  const disks = ['kernel.img', 'kernel.meta'].map((name) => join(folder, name));
  makeFile(disks[0]!, DISK_BYTES);
  makeFile(disks[1]!, META_BYTES);
  return { folder, guest: new Guest(files, { name: 'kernel', address: KERNEL_ADDRESS, disks, folder }, TAP), cases: 0, faults: { armed: 0, happened: 0 } };
}

export function makeFile(path: string, bytes: number): void {
  const fd = openSync(path, 'w');
  ftruncateSync(fd, bytes);
  closeSync(fd);
}

function optionsFor(variant: Variant, name: PeerName): Options {
  const options: Options = { net: new Map(defaults.net), disk: new Map(defaults.disk), handlers: new Map() };
  const side = (name === 'kernel') === (variant.kernelIs === 'one') ? 'one' : 'other';
  for (const [index, { section, who, alternatives }] of variant.script.options.entries()) {
    if (who !== 'both' && who !== name && who !== side) continue;
    for (const [option, value] of alternatives[variant.picks[index]!]!) {
      if (section === 'handlers') options.handlers.set(option, Number(value));
      else options[section].set(option, value);
    }
  }
  return options;
}

/** Throws what is wrong. */
async function runVariant(lab: Lab, variant: Variant): Promise<void> {
  const { guest } = lab;
  const folder = join(lab.folder, `case-${++lab.cases}`);
  mkdirSync(folder);
  const { steps, allows, finding } = variant.script;
  const { meta } = variant;
  const diskBytes = variant.bytes ?? DISK_BYTES;
  const [disk, metaDisk] = guest.options.disks as [string, string];
  const link = steps.some(({ verb }) => verb === 'link') ? new Link() : undefined;
  const kernel = new KernelPeer(guest, optionsFor(variant, 'kernel'), meta, link ? LINK_TO_US : OUR_ADDRESS);
  const ours = new OurPeer(folder, optionsFor(variant, 'ours'), meta, link ? LINK_TO_KERNEL : KERNEL_ADDRESS);
  const stage: Stage = variant.kernelIs === 'one' ? newStage(kernel, ours, link, allows) : newStage(ours, kernel, link, allows);
  makeFile(ours.image, diskBytes);
  makeFile(ours.metaImage, META_BYTES);
  await link?.open([{ listen: LINK_TO_US, target: OUR_ADDRESS, from: LINK_TO_KERNEL }, { listen: LINK_TO_KERNEL, target: KERNEL_ADDRESS, from: LINK_TO_US }], PORT);
  try {
    // A guest knows its disks' sizes since it was booted.
    if (guest.isRunning && (statSync(disk).size !== diskBytes || !(await kernel.clear()))) await guest.kill();
    for (const [path, bytes] of [[disk, diskBytes], [metaDisk, META_BYTES]] as const) {
      truncateSync(path, 0);
      truncateSync(path, bytes);
    }
    await Promise.all([kernel.boot(), ours.createMetadata().then(() => ours.boot())]);
    await kernel.createMetadata();
    for (const step of steps) {
      try {
        await perform(stage, step);
      } catch (error) {
        throw new Error(`at '${step.text}': ${(error as Error).message}; ${await viewsOf(stage)}`, { cause: error });
      }
    }
    const wrong = await afterwards(stage);
    if (finding && wrong.length === 0) throw new Error('nothing is wrong: the kernel does not do it any more');
    const unexplained = finding ? wrong.filter((text) => !finding.test(text)) : wrong;
    if (unexplained.length > 0) throw new Error(unexplained.join('\n    '));
    await ours.crash();
    rmSync(folder, { recursive: true });
    rmSync(placeOf(variant), { recursive: true, force: true });
  } catch (error) {
    await keep(lab, variant, kernel, ours, folder);
    await ours.crash();
    await guest.kill();
    throw error;
  } finally {
    link?.close();
    lab.faults.armed += link?.armed ?? 0;
    lab.faults.happened += link?.happened ?? 0;
  }
}

async function viewsOf(stage: Stage): Promise<string> {
  const of = (peer: Peer): Promise<string> => peer.view().then((view) => `${peer.name} is ${viewText(view)}`, (error: Error) => `${peer.name}: ${error.message}`);
  return `${await of(stage.one)}, ${await of(stage.other)}`;
}

const placeOf = ({ title }: Variant): string => join(process.cwd(), PLACE, title.replaceAll(/[^\w]+/g, '-'));

/** Logs of a failure, where they outlive the lab. */
async function keep(lab: Lab, variant: Variant, kernel: KernelPeer, ours: OurPeer, folder: string): Promise<void> {
  const place = placeOf(variant);
  rmSync(place, { recursive: true, force: true });
  mkdirSync(place, { recursive: true });
  writeFileSync(join(place, 'case.txt'), `${variant.title}\n${variant.script.steps.map(({ text }) => text).join('\n')}\n`);
  writeFileSync(join(place, 'kernel.log'), await kernel.log().catch((error: Error) => error.message));
  await ours.machine.ask({ do: 'record', path: join(place, 'ours.recording') }).catch(() => undefined);
  for (const file of [join(folder, 'ours.log'), join(folder, 'lockstep.conf'), join(lab.folder, 'kernel.console')]) if (existsSync(file)) cpSync(file, join(place, basename(file)));
}

/** Runs them all, tells each; gives the exit code. */
export async function runCases(folder: string, variants: readonly Variant[]): Promise<number> {
  const lab = openLab(folder);
  const started = Date.now();
  await lab.guest.boot();
  const failures: string[] = [];
  for (const [index, variant] of variants.entries()) {
    const began = Date.now();
    const seconds = (): string => `${((Date.now() - began) / 1000).toFixed(1).padStart(5)} s`;
    const count = `${String(index + 1).padStart(String(variants.length).length)}/${variants.length}`;
    try {
      await runVariant(lab, variant);
      console.log(`${count} passed ${seconds()}  ${variant.title}`);
    } catch (error) {
      failures.push(variant.title);
      console.log(`${count} FAILED ${seconds()}  ${variant.title}\n    ${(error as Error).message}`);
    }
  }
  await lab.guest.kill();
  const total = ((Date.now() - started) / 1000).toFixed(0);
  console.log(`${variants.length - failures.length} passed, ${failures.length} failed in ${total} s`);
  if (lab.faults.armed > 0) console.log(`${lab.faults.happened} of ${lab.faults.armed} faults of the link came about`);
  for (const title of failures) console.log(`  failed: ${title} (logs in ${PLACE})`);
  return failures.length === 0 ? 0 : 1;
}
