#!/usr/bin/env node
/**
 * `lockmeta`: drbdmeta's commands for v08 metadata on a file or a block device, with its syntax, text and exit codes
 * (metadata.md §9). `lockmeta [--force] NAME v08 DEVICE internal|flex-external|flex-internal|INDEX COMMAND`.
 *
 * NAME is what drbdmeta looks up in the kernel to refuse a device in use; here the exclusive open of a block device does that.
 * Differences from drbdmeta: a regular file needs no --force, dump-md prints the flags, create-md over metadata with another
 * activity-log geometry asks and overwrites, and only the filesystems ext2/3/4 and xfs are recognised by name.
 */

import { readSync } from 'node:fs';
import { hostname } from 'node:os';
import { parseArgs } from 'node:util';
import type { MetaDisk } from '../src/config/types.js';
import { AL_BLOCK_BYTES, type AlReplay, replayLog } from '../src/metadata/activity-log.js';
import { extentsToMark, planApplyAl } from '../src/metadata/apply-al.js';
import { PAGE_BYTES } from '../src/metadata/bitmap.js';
import { createMdSteps, newSuperblock } from '../src/metadata/create-md.js';
import { INDEXED_SECTORS, type Layout, checkGeometry, layoutOf, superblockSector } from '../src/metadata/layout.js';
import {
  AL_BLOCKS_MAX,
  AL_BLOCKS_MIN,
  DEFAULT_AL_STRIPES,
  DEFAULT_AL_STRIPE_SIZE_4K,
  Magic,
  SUPERBLOCK_BYTES,
  type Superblock,
  SuperblockFlag,
  decodeSuperblock,
  encodeSuperblock,
  formatOf,
  hasFlag,
  isClean,
} from '../src/metadata/superblock.js';
import {
  EXIT_IMPOSSIBLE,
  EXIT_INCONSISTENT,
  EXIT_NO_METADATA,
  EXIT_USAGE,
  EXIT_WOULD_DESTROY,
  LockmetaError,
  type MetaDevice,
  closeDevice,
  openDevice,
  readAt,
  runSteps,
} from './lockmeta-device.js';
import { foundData } from './lockmeta-found.js';
import { bitmapBytes, diskState, dumpBitmap, dumpHead, generationLine, niceSize, showGi } from './lockmeta-text.js';

const usage = `
USAGE: lockmeta [--force] NAME v08 DEVICE internal|flex-external|flex-internal|INDEX COMMAND [CMD ARGS...]

COMMANDS:
  get-gi
  show-gi
  dump-md
  apply-al
  wipe-md
  outdate
  invalidate
  dstate
  read-dev-uuid
  write-dev-uuid {val}
  create-md [--peer-max-bio-size {val}] [--al-stripes {val}] [--al-stripe-size-kB {val}]
`;

/** One invocation: the parsed command line and the opened device. */
interface Job {
  force: boolean;
  metaDisk: MetaDisk;
  device: MetaDevice;
  options: Record<string, string | boolean | undefined>;
  /** What stands behind the command. */
  rest: string[];
}

interface Metadata {
  superblock: Superblock;
  layout: Layout;
}

const commands: Record<string, { writes: boolean; run: (job: Job) => void }> = {
  'get-gi': { writes: false, run: (job) => print(`${generationLine(load(job).superblock)}\n`) },
  'show-gi': { writes: false, run: (job) => print(showGi(load(job).superblock)) },
  dstate: { writes: false, run: (job) => print(`${diskState(load(job).superblock)}\n`) },
  'read-dev-uuid': { writes: false, run: (job) => print(`${load(job).superblock.deviceUuid.toString(16).toUpperCase().padStart(16, '0')}\n`) },
  'write-dev-uuid': { writes: true, run: writeDeviceUuid },
  'dump-md': { writes: false, run: dumpMd },
  'apply-al': { writes: true, run: applyAl },
  'create-md': { writes: true, run: createMd },
  'wipe-md': { writes: true, run: wipeMd },
  outdate: { writes: true, run: outdate },
  invalidate: { writes: true, run: invalidate },
};

function main(argv: string[]): void {
  const { values, positionals } = parse(argv);
  const [name, format, path, index, command, ...rest] = positionals;
  if (name === undefined || format === undefined) throw new LockmetaError(EXIT_USAGE, usage);
  if (format !== 'v08') throw new LockmetaError(EXIT_USAGE, `Unknown format '${format}'.`);
  if (path === undefined || index === undefined) throw new LockmetaError(EXIT_USAGE, 'Too few arguments for format');
  const metaDisk = metaDiskOf(index);
  if (command === undefined) throw new LockmetaError(EXIT_USAGE, 'command missing');
  const entry = Object.hasOwn(commands, command) ? commands[command] : undefined;
  if (!entry) throw new LockmetaError(EXIT_USAGE, `Unknown command '${command}'.`);
  if (rest.length > 0 && command !== 'write-dev-uuid') warn('Ignoring additional arguments');

  const force = values['force'] === true;
  const device = openDevice(path, entry.writes, (reason) => {
    warn(reason);
    return confirmed(force, 'Exclusive open failed. Do it anyways?');
  });
  try {
    entry.run({ force, metaDisk, device, options: values, rest });
  } finally {
    closeDevice(device);
  }
}

function parse(argv: string[]): { values: Record<string, string | boolean | undefined>; positionals: string[] } {
  try {
    return parseArgs({
      args: argv,
      allowPositionals: true,
      options: {
        force: { type: 'boolean', short: 'f' },
        'al-stripes': { type: 'string', short: 's' },
        'al-stripe-size-kB': { type: 'string', short: 'z' },
        'peer-max-bio-size': { type: 'string', short: 'p' },
      },
    });
  } catch (error) {
    const reason = (error as Error).message;
    const unknown = /^Unknown option '([^']*)'/.exec(reason);
    throw new LockmetaError(EXIT_USAGE, `lockmeta: ${unknown ? `unrecognized option '${unknown[1]}'` : reason}\n${usage}`);
  }
}

function metaDiskOf(index: string): MetaDisk {
  if (index === 'internal' || index === 'flex-internal') return { kind: 'internal' };
  if (index === 'flex-external' || index === 'flexible') return { kind: 'flexible' };
  const number = numberOf(index);
  if (number === undefined) throw new LockmetaError(EXIT_USAGE, `'${index}' is not a valid index number.`);
  return { kind: 'indexed', index: number };
}

/** A plain decimal number up to 2^32 - 1. */
const numberOf = (text: string): number | undefined => (/^\d{1,10}$/.test(text) && Number(text) < 2 ** 32 ? Number(text) : undefined);

function optionOf(job: Job, option: string, otherwise: number): number {
  const text = job.options[option];
  if (typeof text !== 'string') return otherwise;
  const number = numberOf(text);
  if (number === undefined) throw new LockmetaError(EXIT_IMPOSSIBLE, `--${option}: '${text}' is not a number`);
  return number;
}

/** The sectors of the device as the layout wants them: only the metadata device is known here. */
const devicesOf = (job: Job): { dataSectors: number; metaSectors: number; shared: boolean } => {
  const shared = job.metaDisk.kind === 'internal';
  return { dataSectors: shared ? job.device.sectors : Infinity, metaSectors: job.device.sectors, shared };
};

/** Refuses a device that has no room for a superblock at its place. */
function checkRoom(job: Job): void {
  const { metaDisk, device } = job;
  if (metaDisk.kind === 'indexed' && device.sectors < INDEXED_SECTORS * (metaDisk.index + 1)) {
    const end = INDEXED_SECTORS * 512 * (metaDisk.index + 1);
    throw new LockmetaError(
      EXIT_IMPOSSIBLE,
      `Device too small: index ${metaDisk.index} ends at byte ${end}, but ${device.path} is only ${device.sectors * 512} bytes.`,
    );
  }
  const placed = layoutOf(metaDisk, devicesOf(job));
  if (!placed.ok && placed.refusal.code === 112) {
    throw new LockmetaError(EXIT_IMPOSSIBLE, `${device.path} is only ${device.sectors * 512} bytes. That's not enough.`);
  }
}

const superblockBytes = (job: Job): Uint8Array =>
  readAt(job.device, superblockSector(job.metaDisk, job.device.sectors), SUPERBLOCK_BYTES);

/** The metadata in place, or why there is none that fits this device. */
function find(job: Job): Metadata | string {
  const decoded = decodeSuperblock(superblockBytes(job));
  if (!decoded.ok) return decoded.refusal.detail;
  const superblock = decoded.value;
  const placed = layoutOf(job.metaDisk, devicesOf(job), superblock);
  if (!placed.ok) return placed.refusal.detail;
  const layout = placed.value;
  if (superblock.lastAgreedSectors > layout.usableDataSectors) {
    warn(`# la-size-sect was too big (${superblock.lastAgreedSectors}), truncated (${layout.usableDataSectors})!`);
    superblock.lastAgreedSectors = layout.usableDataSectors;
  }
  const misplaced = checkGeometry(superblock, layout);
  if (misplaced) return misplaced.detail;
  return { superblock, layout };
}

function load(job: Job): Metadata {
  checkRoom(job);
  const found = find(job);
  if (typeof found === 'string') throw new LockmetaError(EXIT_NO_METADATA, `No valid meta data found (${found})`);
  return found;
}

const UNCLEAN = 'Found meta data is "unclean", please apply-al first';

function dumpMd(job: Job): void {
  const { superblock, layout } = load(job);
  if (!isClean(superblock)) {
    if (!job.force) throw new LockmetaError(EXIT_NO_METADATA, UNCLEAN);
    warn(UNCLEAN);
  }
  const command = ['lockmeta', ...process.argv.slice(2)].join(' ');
  print(dumpHead(superblock, layout, { time: new Date(), host: hostname(), command }));
  const total = bitmapBytes(superblock.lastAgreedSectors);
  let text = '';
  for (const line of dumpBitmap(bitmapParts(job.device, layout.bitmapSector, total))) {
    text += line;
    if (text.length < 65536) continue;
    print(text);
    text = '';
  }
  print(text);
}

/** How much of a bitmap is read at a time. */
const PART_BYTES = 1048576;

function* bitmapParts(device: MetaDevice, sector: number, bytes: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes; at += PART_BYTES) yield readAt(device, sector + at / 512, Math.min(PART_BYTES, bytes - at));
}

function applyAl(job: Job): void {
  const { superblock, layout } = load(job);
  if (isClean(superblock)) return;
  const blockAt = (index: number): Uint8Array => readAt(job.device, layout.alSector + index * 8, AL_BLOCK_BYTES);
  const pageAt = (page: number): Uint8Array => readAt(job.device, layout.bitmapSector + page * 8, PAGE_BYTES);
  const replay = replayLog(layout, blockAt);
  tellReplay(replay, extentsToMark(superblock, layout, replay));
  const plan = planApplyAl(superblock, layout, replay, blockAt, pageAt);
  if (!plan.ok) throw new LockmetaError(EXIT_NO_METADATA, '');
  if (replay.outcome === 'failed') warn('Error ignored, no need to apply the AL');
  runSteps(job.device, plan.value.steps);
  if (plan.value.markedBits > 0) warn(`Marked additional ${niceSize(plan.value.markedBits * 4)} as out-of-sync based on AL.`);
}

function tellReplay(replay: AlReplay, marked: number[]): void {
  const damaged = replay.outcome === 'empty' ? Number(replay.torn) : replay.damagedBlocks;
  if (replay.outcome === 'failed' && replay.reason === 'no valid block') {
    warn('No usable activity log found. Do you need to create-md?');
    return;
  }
  if (damaged > 0) warn(`${damaged} corrupt AL transactions found`);
  if (replay.outcome === 'failed') warn('No valid AL update transaction found.');
  if (replay.outcome !== 'extents') return;
  if (replay.ignoredSlots > 0) warn(`${replay.ignoredSlots} update slot numbers out of range`);
  if (marked.length === 0) return;
  for (const extent of replay.extents) if (extent > marked.at(-1)!) warn(`extent ${extent} beyond end of bitmap!`);
}

/** Writes a changed superblock, with the magic of a tool: clean, though AL_CLEAN alone says whether the log was applied. */
function store(job: Job, { superblock, layout }: Metadata): void {
  const data = encodeSuperblock({ ...superblock, magic: Magic.Clean });
  runSteps(job.device, [{ step: 'write', sector: layout.superblockSector, data }, { step: 'flush' }]);
}

function outdate(job: Job): void {
  const found = load(job);
  if (!hasFlag(found.superblock, SuperblockFlag.Consistent)) throw new LockmetaError(EXIT_INCONSISTENT, 'Device is inconsistent.');
  found.superblock.flags &= ~SuperblockFlag.WasUpToDate;
  store(job, found);
}

function invalidate(job: Job): void {
  const found = load(job);
  found.superblock.flags &= ~(SuperblockFlag.Consistent | SuperblockFlag.WasUpToDate);
  found.superblock.flags |= SuperblockFlag.FullSync;
  store(job, found);
}

function writeDeviceUuid(job: Job): void {
  const text = job.rest[0] ?? '';
  if (!/^[0-9a-fA-F]{1,16}$/.test(text)) throw new LockmetaError(EXIT_IMPOSSIBLE, `'${text}' is not a UUID of up to 16 hexadecimal digits`);
  const found = load(job);
  found.superblock.deviceUuid = BigInt(`0x${text}`);
  store(job, found);
}

function wipeMd(job: Job): void {
  checkRoom(job);
  if (typeof find(job) === 'string') {
    warn('There appears to be no drbd meta data to wipe out?');
    return;
  }
  if (!confirmed(job.force, 'Do you really want to wipe out the DRBD meta data?')) throw cancelled();
  print('Wiping meta data...\n');
  const sector = superblockSector(job.metaDisk, job.device.sectors);
  runSteps(job.device, [{ step: 'write', sector, data: new Uint8Array(SUPERBLOCK_BYTES) }, { step: 'flush' }]);
  print('DRBD meta data block successfully wiped out.\n');
}

function createMd(job: Job): void {
  const alStripes = optionOf(job, 'al-stripes', DEFAULT_AL_STRIPES);
  const stripeSizeKib = optionOf(job, 'al-stripe-size-kB', DEFAULT_AL_STRIPE_SIZE_4K * 4);
  const peerMaxBioBytes = optionOf(job, 'peer-max-bio-size', 0);
  const alStripeSize4k = Math.floor(stripeSizeKib / 4);
  const alBlocks = alStripes * alStripeSize4k;
  if (alBlocks < AL_BLOCKS_MIN) throw new LockmetaError(EXIT_IMPOSSIBLE, 'invalid (too small) al-stripe* settings');
  if (alBlocks > AL_BLOCKS_MAX) throw new LockmetaError(EXIT_IMPOSSIBLE, 'invalid (too large) al-stripe* settings');
  checkRoom(job);
  const placed = layoutOf(job.metaDisk, devicesOf(job), { alStripes, alStripeSize4k });
  if (!placed.ok) throw new LockmetaError(EXIT_IMPOSSIBLE, `${job.device.path}: ${placed.refusal.detail}`);
  const layout = placed.value;

  if (!confirmOverwrite(job, layout)) throw cancelled();
  // As drbdmeta does: the bitmap of a data device as large as this one. The first attach writes the whole bitmap anyway.
  const bitmapSectors = Math.min(layout.bitmapSectors, bitmapBytes(job.device.sectors) / 512);
  warn(`initializing bitmap (${niceSize(bitmapSectors / 2)}) to all zero`);
  print('initializing activity log\nWriting meta data...\n');
  runSteps(job.device, createMdSteps(layout, { ...newSuperblock(layout), peerMaxBioBytes }, bitmapSectors));
  print('New drbd meta data block successfully created.\n');
}

/** Shows what would be lost and asks. A filesystem that would be truncated or overwritten is refused, even with --force. */
function confirmOverwrite(job: Job, layout: Layout): boolean {
  const bytes = superblockBytes(job);
  const format = typeof find(job) === 'string' ? otherFormatOf(bytes) : 'v08';
  if (format !== undefined) {
    if (job.metaDisk.kind !== 'internal') return confirmed(job.force, 'Valid meta data seems to be in place.\nDo you really want to overwrite?');
    warn(
      'You want me to create a v08 style flexible-size internal meta data block.\n' +
        `There appears to be a ${format} flexible-size internal meta data block\n` +
        `already in place on ${job.device.path} at byte offset ${layout.superblockSector * 512}`,
    );
    return confirmed(job.force, 'Do you really want to overwrite the existing meta-data?');
  }
  const found = foundData(job.device, layout, job.metaDisk.kind === 'internal');
  if (!found) return true;
  const [md, al, bm] = [layout.superblockSector, layout.alSector, layout.bitmapSector].map((sector) => sector * 512);
  print(`md_offset ${md}\nal_offset ${al}\nbm_offset ${bm}\n\n${found.text}`);
  if (found.refuse) throw new LockmetaError(EXIT_WOULD_DESTROY, '');
  return confirmed(job.force, 'Do you want to proceed?');
}

/** Metadata of another version: never taken for nothing. A v08 that does not fit this device is not in place. */
function otherFormatOf(bytes: Uint8Array): string | undefined {
  const format = formatOf(bytes);
  return format === 'v08' ? undefined : format;
}

const cancelled = (): LockmetaError => new LockmetaError(EXIT_NO_METADATA, 'Operation cancelled.');

/** Asks on a terminal; --force answers yes; without either the answer is no. */
function confirmed(force: boolean, question: string): boolean {
  warn(`\n${question}`);
  if (force) {
    warn('*** confirmation forced via --force option ***');
    return true;
  }
  if (!process.stdin.isTTY) {
    warn('stdin not a TTY, not waiting for confirmation');
    return false;
  }
  process.stderr.write("[need to type 'yes' to confirm] ");
  const answer = Buffer.alloc(64);
  return answer.subarray(0, readSync(0, answer)).toString().trim() === 'yes';
}

function print(text: string): void {
  process.stdout.write(text);
}

function warn(text: string): void {
  process.stderr.write(`${text}\n`);
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // A reader that went away (`| head`) is no error.
  if (error.code === 'EPIPE') process.exit(0);
  warn(`lockmeta: output failed: ${error.message}`);
  process.exit(EXIT_USAGE);
});
try {
  main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof LockmetaError)) throw error;
  if (error.message) warn(error.message);
  process.exitCode = error.exitCode;
}
