// Disks that fill up, go away, are read-only or damaged under a real daemon: one clear line, the right exit code, nothing lost.

import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, closeSync, copyFileSync, mkdtempSync, openSync, readFileSync, readSync, renameSync, rmSync, statSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { isHealthy, newPair, sleep, startPair, type Machine, type Pair } from '../../real/demo/machine.js';
import { NbdClient } from '../../real/nbd/client.js';

const IMAGE_BYTES = 32 << 20;
const BLOCK = 64 << 10;
const FAST = 'net { ping-int 1; connect-int 1; } disk { c-plan-ahead 0; resync-rate 400M; c-min-rate 0; }';

const errorsOf = (machine: Machine): string[] =>
  readFileSync(machine.logPath, 'utf8')
    .split('\n')
    .flatMap((line) => (line.startsWith('{') ? [JSON.parse(line) as { level: string; msg: string }] : []))
    .flatMap(({ level, msg }) => (level === 'error' || level === 'fatal' ? [msg] : []));

const filled = (value: number): Uint8Array => new Uint8Array(BLOCK).fill(value);
const isDiskless = (status: { devices: { 'disk-state': string }[] }): boolean => status.devices[0]!['disk-state'] === 'Diskless';

/** Writes every second block of the first 30 MiB; all of it must be acknowledged. */
async function writeAll(client: NbdClient, value: number): Promise<void> {
  await Promise.all(Array.from({ length: 240 }, (_, index) => client.write(2 * index * BLOCK, filled(value))));
  await client.flush();
}
async function checkAll(machine: Machine, value: number): Promise<void> {
  const client = await NbdClient.open(machine.nbd, 'r0');
  for (let index = 0; index < 240; index++) assert.is(Buffer.compare(await client.read(2 * index * BLOCK, BLOCK), filled(value)), 0, `block ${index}`);
  client.close();
}

const disks = suite<{ folder: string; pair: Pair }>('disk trouble');
disks.before.each(async (context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'lockstep-disks-'));
  context.pair = await newPair(context.folder, IMAGE_BYTES, FAST);
});
disks.after.each(async ({ folder, pair }) => {
  for (const machine of [pair.alpha, pair.beta]) if (machine.child) await machine.end('SIGKILL');
  rmSync(folder, { recursive: true });
});

/** Gives beta a metadata device of its own, so that its data alone may fail. */
function separateMetadata({ beta, configPath }: Pair, folder: string): void {
  const meta = join(folder, 'beta.meta');
  writeFileSync(meta, '');
  truncateSync(meta, 1 << 20);
  const text = readFileSync(configPath, 'utf8').replace('  meta-disk internal;\n', '');
  writeFileSync(configPath, text.replace('on alpha {', 'on alpha { meta-disk internal;').replace('on beta {', `on beta { meta-disk ${meta};`));
  const made = beta.adm('-c', configPath, '--node', 'beta', 'create-md', 'r0');
  assert.is(made.code, 0, made.err);
}

/** After a limit of the file size, data behind it is refused as it is on a full disk. */
const withLimit = (machine: Machine): void => void (machine.launcher = ['/bin/sh', '-c', 'ulimit -f 32768; exec "$@"', 'sh']);

disks('the disk of the Secondary is full: it goes on without it, every write is acknowledged, and with space again it is synced', async ({ folder, pair }) => {
  const { alpha, beta } = pair;
  separateMetadata(pair, folder);
  withLimit(beta);
  await startPair(pair);
  const client = await NbdClient.open(alpha.nbd, 'r0');
  await writeAll(client, 7);
  await beta.until('Diskless', isDiskless);
  const lines = errorsOf(beta).filter((line) => line.includes(beta.image));
  assert.is(lines.length, 1, lines.join('\n'));
  assert.match(lines[0]!, /beta\.img: write of \d+ sectors at sector \d+ failed: File too large$/);
  assert.equal(errorsOf(alpha), []);
  await writeAll(client, 8);
  await beta.end('SIGTERM');
  beta.launcher = [];
  await beta.start();
  await alpha.until('in sync', isHealthy);
  client.close();
  await alpha.must('secondary');
  await beta.must('primary');
  await checkAll(beta, 8);
});

disks('the disk of a Primary that is alone is full: its client gets errors, and what was acknowledged is there', async ({ folder, pair }) => {
  const { alpha, beta } = pair;
  separateMetadata(pair, folder);
  withLimit(beta);
  await startPair(pair);
  await alpha.must('secondary');
  await alpha.end('SIGTERM');
  await beta.must('primary');
  const client = await NbdClient.open(beta.nbd, 'r0');
  const results = await Promise.allSettled(Array.from({ length: 240 }, (_, index) => client.write(2 * index * BLOCK, filled(3))));
  const good = results.flatMap(({ status }, index) => (status === 'fulfilled' ? [index] : []));
  assert.ok(good.length > 0 && good.length < 240, `${good.length} writes were acknowledged`);
  client.close();
  await beta.until('Diskless', isDiskless);
  await beta.end('SIGTERM');
  beta.launcher = [];
  await beta.start();
  await beta.until('attached', (status) => !['Diskless', 'Attaching'].includes(status.devices[0]!['disk-state']));
  await beta.must('primary', { force: true });
  const other = await NbdClient.open(beta.nbd, 'r0');
  for (const index of good) assert.is(Buffer.compare(await other.read(2 * index * BLOCK, BLOCK), filled(3)), 0, `block ${index}`);
  other.close();
});

disks('the device of the Secondary is cut away under its daemon: one line, nothing more is written there; a new one is synced', async ({ pair }) => {
  const { alpha, beta } = pair;
  await startPair(pair);
  const client = await NbdClient.open(alpha.nbd, 'r0');
  await writeAll(client, 1);
  truncateSync(beta.image, 8 << 20);
  await sleep(50);
  await writeAll(client, 2);
  await beta.until('Diskless', isDiskless);
  assert.is(statSync(beta.image).size, 8 << 20, 'the file does not grow again');
  const lines = errorsOf(beta).filter((line) => line.includes(beta.image));
  assert.equal(lines.map((line) => line.replace(/\d+ sectors at sector \d+/, 'N sectors at sector N')), [
    `drbd r0: ${beta.image} was cut: 16384 sectors, and had 65536`,
    `drbd r0: ${beta.image}: write of N sectors at sector N failed: the device has only 16384 sectors`,
  ]);
  const refused = beta.adm('attach', 'r0');
  assert.equal([refused.code, refused.err], [10, "0: Failure: (119) No valid metadata found\nCommand 'lockadm attach r0/0' terminated with exit code 10\n"]);
  truncateSync(beta.image, 0);
  truncateSync(beta.image, IMAGE_BYTES);
  assert.is(beta.adm('create-md', '--force', 'r0').code, 0);
  assert.is(beta.adm('attach', 'r0').code, 0);
  await alpha.until('in sync', isHealthy);
  client.close();
  await alpha.must('secondary');
  await beta.must('primary');
  await checkAll(beta, 2);
});

disks('a file that is deleted under the daemon is told, and serves on', async ({ pair }) => {
  const { alpha } = pair;
  await startPair(pair);
  const client = await NbdClient.open(alpha.nbd, 'r0');
  renameSync(alpha.image, `${alpha.image}.moved`);
  await sleep(50);
  await client.write(0, filled(1));
  assert.equal(errorsOf(alpha), []);
  rmSync(`${alpha.image}.moved`);
  await sleep(50);
  for (let index = 0; index < 10; index++) await client.write(index * BLOCK, filled(2));
  assert.equal(errorsOf(alpha), [`drbd r0: ${alpha.image} was deleted: its data is lost when it is detached or this daemon ends`]);
  assert.is((await client.read(0, BLOCK))[0], 2);
  client.close();
});

disks('a file that may not be written, and one that is missing: refused with the reason, and untouched', async ({ folder, pair: { alpha, configPath } }) => {
  if (process.getuid?.() === 0) {
    // Root may write everything: somebody else runs this daemon.
    alpha.user = { uid: 65534, gid: 65534 };
    for (const path of [folder, alpha.run]) chownSync(path, 65534, 65534);
  }
  const text = readFileSync(configPath, 'utf8');
  chmodSync(alpha.image, 0o444);
  const before = await alpha.checksum(IMAGE_BYTES);
  await alpha.start();
  await sleep(200);
  const reason = `open(${alpha.image}) failed: Permission denied`;
  assert.equal(errorsOf(alpha), [`drbd r0: volume 0: attach failed: (104) ${reason}`, 'up r0/0: (104) Cannot open the backing device']);
  for (const [verb, object] of [['attach', '0'], ['up', 'r0/0']] as const) {
    const refused = alpha.adm(verb, 'r0');
    assert.is(refused.code, 10);
    assert.ok(refused.err.startsWith(`${object}: Failure: (104) Cannot open the backing device\nadditional info from kernel:\n${reason}\n`), refused.err);
  }
  writeFileSync(configPath, text.replace(alpha.image, `${alpha.image}.none`));
  assert.is(alpha.adm('down', 'r0').code, 0);
  const missing = alpha.adm('up', 'r0');
  assert.is(missing.code, 10);
  assert.match(missing.err, /alpha\.img\.none\) failed: No such file or directory\n/);
  assert.is(await alpha.checksum(IMAGE_BYTES), before);
});

disks('a damaged superblock: refused with 119, untouched, and good again when it is mended', async ({ pair }) => {
  const { alpha } = pair;
  await alpha.start('--no-up');
  const good = `${alpha.image}.good`;
  copyFileSync(alpha.image, good);
  const at = IMAGE_BYTES - 4096;
  // The magic, the size of the metadata, the place of the bitmap, bits per byte of the bitmap (metadata.md §2).
  for (const [offset, what] of [[60, 'magic'], [64, 'md_size_sect'], [68, 'al_offset'], [76, 'bm_offset']] as const) {
    const fd = openSync(alpha.image, 'r+');
    const kept = new Uint8Array(4);
    readSync(fd, kept, 0, 4, at + offset);
    writeSync(fd, new Uint8Array([0x5a, 0xa5, 0x5a, 0xa5]), 0, 4, at + offset);
    const damaged = await alpha.checksum(IMAGE_BYTES);
    const refused = alpha.adm('up', 'r0');
    assert.is(refused.code, 10, what);
    assert.match(refused.err, /^r0\/0: Failure: \(1\d\d\) .*\nCommand 'lockadm up r0' terminated with exit code 10\n$/, what);
    assert.is(errorsOf(alpha).length, 1, errorsOf(alpha).join('\n'));
    assert.match(errorsOf(alpha)[0]!, /^drbd r0: volume 0: attach failed: \(1\d\d\) ./);
    assert.is(await alpha.checksum(IMAGE_BYTES), damaged, `${what}: nothing is written`);
    writeSync(fd, kept, 0, 4, at + offset);
    closeSync(fd);
    assert.is(alpha.adm('down', 'r0').code, 0);
    writeFileSync(alpha.logPath, '');
  }
  assert.is(Buffer.compare(readFileSync(alpha.image), readFileSync(good)), 0);
  assert.is(alpha.adm('up', 'r0').code, 0);
});

disks.run();

// ---- Real devices: what only root may make ---------------------------------------------------------------------------------

const shell = (command: string): { status: number | null; out: string } => {
  const { status, stdout } = spawnSync('sh', ['-c', command], { encoding: 'utf8', timeout: 30_000 });
  return { status, out: stdout.trim() };
};
const isRoot = process.getuid?.() === 0;

const devices = suite<{ folder: string; pair: Pair; undo: string[] }>('real devices');
devices.before.each(async (context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'lockstep-devices-'));
  context.pair = await newPair(context.folder, IMAGE_BYTES, FAST);
  context.undo = [];
});
devices.after.each(async ({ folder, pair, undo }) => {
  for (const machine of [pair.alpha, pair.beta]) if (machine.child) await machine.end('SIGKILL');
  for (const command of undo) shell(command);
  rmSync(folder, { recursive: true });
});

/** Does what only root may do, and says loudly where that is not allowed. */
function made(undo: string[], command: string, undone: (out: string) => string): string | undefined {
  const { status, out } = isRoot ? shell(command) : { status: null, out: '' };
  if (status === 0) undo.push(undone(out));
  else console.log(`   NOT CHECKED: '${command}' is not allowed here`);
  return status === 0 ? out : undefined;
}

devices('a filesystem that is full: one line, and with room again the disk is synced', async ({ folder, pair: { alpha, beta, configPath }, undo }) => {
  const small = join(folder, 'small');
  if (made(undo, `mkdir ${small} && mount -t tmpfs -o size=16m lockstep ${small} && cp --sparse=always ${beta.image} ${small}/beta.img`, () => `umount ${small}`) === undefined) return;
  writeFileSync(configPath, readFileSync(configPath, 'utf8').replace(beta.image, `${small}/beta.img`));
  await startPair({ alpha, beta, configPath });
  const client = await NbdClient.open(alpha.nbd, 'r0');
  // Twice 15 MiB, of which 16 find room.
  await writeAll(client, 7);
  await Promise.all(Array.from({ length: 240 }, (_, index) => client.write((2 * index + 1) * BLOCK, filled(9))));
  await beta.until('Diskless', isDiskless);
  const lines = errorsOf(beta).filter((line) => line.includes('beta.img'));
  assert.is(lines.length, 1, lines.join('\n'));
  assert.match(lines[0]!, /beta\.img: write of \d+ sectors at sector \d+ failed: No space left on device$/);
  await writeAll(client, 8);
  client.close();
  assert.is(shell(`mount -o remount,size=64m ${small}`).status, 0);
  assert.is(beta.adm('attach', 'r0').code, 0);
  await alpha.until('in sync', isHealthy);
  await alpha.must('secondary');
  await beta.must('primary');
  await checkAll(beta, 8);
});

devices('a block device that loses its end while it serves: one line, the rest goes on; a second daemon may not have it', async ({ pair: { alpha, beta, configPath }, undo }) => {
  const device = made(undo, `losetup -f --show ${beta.image}`, (out) => `losetup -d ${out}`);
  if (device === undefined) return;
  const text = readFileSync(configPath, 'utf8').replace(`disk ${beta.image}`, `disk ${device}`);
  writeFileSync(configPath, text);
  await startPair({ alpha, beta, configPath });
  const client = await NbdClient.open(alpha.nbd, 'r0');
  await writeAll(client, 1);
  const tool = spawnSync(process.execPath, [fileURLToPath(new URL('../../real/lockmeta.js', import.meta.url)), '0', 'v08', device, 'internal', 'dump-md'], { encoding: 'utf8' });
  assert.equal([tool.status, tool.stdout], [20, ''], tool.stderr);
  truncateSync(beta.image, 8 << 20);
  assert.is(shell(`losetup -c ${device}`).status, 0);
  await sleep(50);
  await writeAll(client, 2);
  await beta.until('Diskless', isDiskless);
  const lines = errorsOf(beta).filter((line) => line.includes(device));
  assert.is(lines.length, 2, lines.join('\n'));
  assert.is(lines[0], `drbd r0: ${device} was cut: 16384 sectors, and had 65536`);
  assert.match(lines[1]!, /: write of \d+ sectors at sector \d+ failed: /);
  const refused = beta.adm('attach', 'r0');
  assert.equal([refused.code, refused.err], [10, "0: Failure: (119) No valid metadata found\nCommand 'lockadm attach r0/0' terminated with exit code 10\n"]);
  for (let index = 0; index < 240; index++) assert.is((await client.read(2 * index * BLOCK, BLOCK))[0], 2);
  client.close();
});

devices.run();
