// Devices that grow under real daemons: both take the new size online, internal metadata moves, and a SIGKILL at any moment loses nothing.

import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BLOCK_BYTES, contentOf, Ledger } from '../../real/demo/ledger.js';
import { isHealthy, newPair, sleep, startPair, type Machine, type Pair } from '../../real/demo/machine.js';
import { NbdClient } from '../../real/nbd/client.js';
import { Placements } from '../../real/daemon/placements.js';

const MIB = 1 << 20;
const FAST = 'net { ping-int 1; connect-int 1; } disk { c-plan-ahead 0; resync-rate 400M; c-min-rate 0; }';

/** Data that a device with internal metadata of this size has room for. */
const dataOf = (imageBytes: number): number => imageBytes - 40 * 1024;
const sizeOf = async (machine: Machine): Promise<number> => (await machine.status())!.devices[0]!.size * 1024;
const said = (machine: Machine, pattern: RegExp): boolean => pattern.test(readFileSync(machine.logPath, 'utf8'));

/** What the last 4 KiB before `end` begin with: a superblock has its magic at byte 60. */
function hasSuperblock({ image }: Machine, end: number): boolean {
  const fd = openSync(image, 'r');
  const bytes = new Uint8Array(4096);
  readSync(fd, bytes, 0, 4096, end - 4096);
  closeSync(fd);
  return new DataView(bytes.buffer).getUint32(60) === 0x8374026b || new DataView(bytes.buffer).getUint32(60) === 0x8374026c;
}

const growth = suite<{ folder: string; pair: Pair }>('resize');
growth.before.each(async (context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'lockstep-resize-'));
  context.pair = await newPair(context.folder, 16 * MIB, FAST);
});
growth.after.each(async ({ folder, pair }) => {
  for (const machine of [pair.alpha, pair.beta]) if (machine.child) await machine.end('SIGKILL');
  rmSync(folder, { recursive: true });
});

async function write(client: NbdClient, ledger: Ledger, block: number): Promise<void> {
  const version = ledger.issue(block);
  await client.write(block * BLOCK_BYTES, contentOf(block, version));
  ledger.acknowledge(block, version);
}
async function check(machine: Machine, ledger: Ledger): Promise<void> {
  const client = await NbdClient.open(machine.nbd, 'r0');
  for (const block of ledger.blocks()) assert.is(ledger.check(block, await client.read(block * BLOCK_BYTES, BLOCK_BYTES)), undefined);
  client.close();
}

growth('lockadm resize: both grow while in use, the metadata moves to the new ends, who opens the export now sees the new size', async ({ pair: { alpha, beta } }) => {
  await startPair({ alpha, beta, configPath: alpha.configPath });
  const ledger = new Ledger();
  const client = await NbdClient.open(alpha.nbd, 'r0');
  for (let block = 0; block < 100; block++) await write(client, ledger, block * 40);
  truncateSync(alpha.image, 48 * MIB);
  truncateSync(beta.image, 64 * MIB);
  // Nobody but the daemons has to be told: the peer looks at its device when the word comes.
  const ran = alpha.adm('resize', 'r0');
  assert.equal(ran, { code: 0, out: '', err: '' });
  for (const machine of [beta, alpha]) await machine.until('as large as the smaller device', (status) => status.devices[0]!.size * 1024 === dataOf(48 * MIB));
  await alpha.until('in sync', isHealthy);
  assert.is(client.sizeBytes, dataOf(16 * MIB), 'who has it open keeps the size that it was told');
  const larger = await NbdClient.open(alpha.nbd, 'r0');
  assert.is(larger.sizeBytes, dataOf(48 * MIB));
  for (let block = 0; block < 100; block++) await write(larger, ledger, 12_185 - block);
  await write(client, ledger, 0);
  for (const one of [client, larger]) one.close();
  for (const [machine, end] of [[alpha, 48 * MIB], [beta, 64 * MIB]] as const) {
    assert.ok(hasSuperblock(machine, end), `${machine.name} has its metadata at the new end`);
    assert.not(hasSuperblock(machine, 16 * MIB), `${machine.name} has none at the old end`);
    assert.is(new Placements(machine.run).read(0, machine.image), end / 512);
  }
  await alpha.end('SIGKILL');
  await beta.until('alone', (status) => status.connections[0]!['connection-state'] !== 'Connected');
  await beta.must('primary');
  await check(beta, ledger);
  await alpha.start();
  await beta.until('in sync', isHealthy);
  assert.is(await sizeOf(alpha), dataOf(48 * MIB));
  assert.is(await alpha.checksum(dataOf(48 * MIB)), await beta.checksum(dataOf(48 * MIB)));
});

growth('a device that grew while nobody served it: its metadata is found where it was, and moved', async ({ pair: { alpha, beta } }) => {
  await startPair({ alpha, beta, configPath: alpha.configPath });
  const ledger = new Ledger();
  const client = await NbdClient.open(alpha.nbd, 'r0');
  for (let block = 0; block < 50; block++) await write(client, ledger, block * 80);
  client.close();
  assert.equal([await alpha.end('SIGTERM'), await beta.end('SIGTERM')], [0, 0]);
  for (const machine of [alpha, beta]) truncateSync(machine.image, 32 * MIB);
  await Promise.all([alpha.start(), beta.start()]);
  await alpha.until('in sync', isHealthy);
  for (const machine of [alpha, beta]) assert.ok(hasSuperblock(machine, 32 * MIB) && !hasSuperblock(machine, 16 * MIB));
  await alpha.must('primary');
  await check(alpha, ledger);
  await alpha.end('SIGTERM');
  // Without what the daemon has kept, it is refused, and not taken for an empty disk.
  truncateSync(alpha.image, 40 * MIB);
  rmSync(join(alpha.run, 'drbd-minor-0.lkbd'));
  await alpha.start('--no-up');
  const refused = alpha.adm('attach', 'r0');
  assert.is(refused.code, 10);
  const up = alpha.adm('up', 'r0');
  assert.is(up.code, 10);
  assert.match(up.err, /^r0\/0: Failure: \(119\) No valid metadata found\n/);
});

growth('a daemon killed in the middle of a resize, ten moments: the disk is understood again, and every acknowledged byte is there', async ({ pair: { alpha, beta } }) => {
  await startPair({ alpha, beta, configPath: alpha.configPath });
  const ledger = new Ledger();
  let [primary, other] = [alpha, beta];
  let mib = 16;
  let [interrupted, takenOver] = [0, 0];
  for (let round = 0; round < 10; round++) {
    const client = await NbdClient.open(primary.nbd, 'r0');
    for (let block = 0; block < 20; block++) await write(client, ledger, (block * 31 + round * 613) % (mib * 250));
    mib += 4;
    for (const machine of [primary, other]) truncateSync(machine.image, mib * MIB);
    const victim = round % 2 === 0 ? primary : other;
    const resized = primary.order('resize', { sizeSectors: 0 }).then(() => true, () => false);
    // The whole exchange takes some tens of milliseconds.
    await sleep(round * 4);
    await victim.end('SIGKILL');
    if (!(await resized)) interrupted++;
    client.close();
    if (victim === primary) {
      await other.until('alone', (status) => status.connections[0]!['connection-state'] !== 'Connected');
      const promoted = await other.order('primary');
      // Half of the sync of what is new is no data to go on with: it waits for its source.
      if (!promoted.ok) assert.is(promoted.code, -2);
      else {
        takenOver++;
        await check(other, ledger);
      }
    }
    await victim.start();
    await other.until('in sync', isHealthy);
    if (victim === primary) {
      await other.must('primary');
      [primary, other] = [other, primary];
    }
    await check(primary, ledger);
    // What was interrupted is done when it is asked for again.
    await primary.must('resize', { sizeSectors: 0 });
    for (const machine of [primary, other]) await machine.until('grown', (status) => status.devices[0]!.size * 1024 === dataOf(mib * MIB));
    await primary.until('in sync', isHealthy);
    await check(primary, ledger);
  }
  assert.ok(interrupted > 0 && takenOver > 0, `${interrupted} resizes were interrupted, after ${takenOver} the other took over at once`);
  assert.equal([await other.end('SIGTERM'), await primary.end('SIGTERM')], [0, 0]);
  assert.is(await alpha.checksum(dataOf(mib * MIB)), await beta.checksum(dataOf(mib * MIB)));
});

growth('refusals; adjust takes a changed size over', async ({ pair: { alpha, beta, configPath } }) => {
  await startPair({ alpha, beta, configPath });
  const small = alpha.adm('resize', '--size', '8M', 'r0');
  assert.equal([small.code, small.err], [0, '']);
  for (const machine of [alpha, beta]) await machine.until('smaller', (status) => status.devices[0]!.size === 8192);
  const large = alpha.adm('resize', '--size', '1G', 'r0');
  assert.is(large.code, 10);
  assert.match(large.err, /^0: Failure: \(111\) /);
  assert.is(alpha.adm('resize', '--size', 'much', 'r0').code, 1);
  assert.is(alpha.adm('resize', '--al-stripes', 'x', 'r0').code, 1);
  assert.is(alpha.adm('--dry-run', 'resize', 'r0').out, 'lockadm resize r0/0\n');
  const text = readFileSync(configPath, 'utf8');
  writeFileSync(configPath, text.replace('disk {', 'disk { size 12M;'));
  assert.is(alpha.adm('adjust', '--dry-run', 'r0').out, 'lockadm resize r0/0\n');
  assert.is(alpha.adm('adjust', 'r0').code, 0);
  for (const machine of [alpha, beta]) await machine.until('as large as configured', (status) => status.devices[0]!.size === 12 * 1024);
  assert.is(alpha.adm('adjust', '--dry-run', 'r0').out, '');
  await alpha.must('secondary');
  const passive = alpha.adm('resize', '--size', '13M', 'r0');
  assert.is(passive.code, 10);
});

growth('a folder that cannot keep the place of the metadata: told once, and the resource works', async ({ folder, pair: { alpha } }) => {
  writeFileSync(join(folder, 'no-folder'), '');
  await alpha.start('--state', join(folder, 'no-folder'));
  await alpha.until('attached', (status) => status.devices[0]!['disk-state'] === 'Inconsistent');
  assert.ok(said(alpha, /where the metadata of [^ ]*alpha\.img lies cannot be kept in [^ ]*no-folder: .*; do not let the disk grow while it is detached/));
  assert.ok(!existsSync(join(alpha.run, 'drbd-minor-0.lkbd')) && statSync(alpha.image).size === 16 * MIB);
});

growth.run();
