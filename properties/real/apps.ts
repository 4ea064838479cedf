/**
 * `npm run test:apps`: filesystems and databases on a mirrored volume, their Primary's daemon killed in the middle of the load, five times
 * each. After each failover every acknowledged file, row or commit must be there, and the filesystem's and the database's own checkers
 * must be content; in the end both disks must be equal. Needs root, and Debian's packages qemu-system-common (qemu-storage-daemon with
 * FUSE), e2fsprogs, xfsprogs, sqlite3, postgresql. What this machine cannot do is unchecked, never passed.
 * Arguments choose applications by a part of their name. Exit 0: everything that could be checked passed, and something was; else 1.
 */

import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isHealthy, newPair, sleep, startPair, type Machine } from '../../real/demo/machine.js';
import { applications, type Application } from './apps/applications.js';
import { hasTool, missingForStack, Stack } from './apps/stack.js';

const IMAGE_BYTES = 400 << 20;
const FAILOVERS = 5;
/** What must have been acknowledged between two failovers. */
const ACKNOWLEDGED_MIN = 40;
const BOUND_MS = 120_000;

const filesystemTools = { ext2: ['mkfs.ext2', 'e2fsck'], ext4: ['mkfs.ext4', 'e2fsck'], xfs: ['mkfs.xfs', 'xfs_repair'] } as const;

async function untilAcknowledged(application: Application, count: number): Promise<void> {
  for (const end = Date.now() + BOUND_MS; application.acknowledged.size < count; ) {
    if (Date.now() > end) throw new Error(`${application.name}: only ${application.acknowledged.size} of ${count} things were acknowledged within ${BOUND_MS / 1000} s`);
    await sleep(20);
  }
}

/** Gives what it has seen; throws what is wrong. */
async function through(application: Application, folder: string): Promise<string> {
  mkdirSync(folder, { recursive: true });
  chmodSync(folder, 0o755);
  const pair = await newPair(folder, IMAGE_BYTES, 'net { ping-int 1; connect-int 1; } disk { c-plan-ahead 0; resync-rate 400M; c-min-rate 0; }');
  const stacks = new Map<Machine, Stack>([pair.alpha, pair.beta].map((machine) => [machine, new Stack(folder, machine, application.filesystem)]));
  try {
    await startPair(pair);
    let [primary, other] = [pair.alpha, pair.beta];
    const first = stacks.get(primary)!;
    await first.open();
    first.make();
    first.mount();
    await application.prepare(first.mountPoint);
    application.begin(first.mountPoint);
    for (let failover = 1; failover <= FAILOVERS; failover++) {
      // The one that came back is synced beside the load.
      await primary.until('in sync', isHealthy, BOUND_MS);
      await untilAcknowledged(application, application.acknowledged.size + ACKNOWLEDGED_MIN);
      await primary.end('SIGKILL');
      await application.end();
      await stacks.get(primary)!.tearDown();
      await other.until('alone', (status) => status.connections[0]!['connection-state'] !== 'Connected');
      await other.must('primary');
      const stack = stacks.get(other)!;
      await stack.open();
      stack.recover();
      const wrong = await application.check(stack.mountPoint);
      if (wrong !== undefined) throw new Error(`after failover ${failover}: ${wrong}`);
      application.begin(stack.mountPoint);
      await primary.start();
      [primary, other] = [other, primary];
    }
    await primary.until('in sync', isHealthy, BOUND_MS);
    await application.end();
    await stacks.get(primary)!.tearDown();
    const status = await primary.until('in sync', isHealthy);
    const stopped = [await primary.end('SIGTERM'), await other.end('SIGTERM')];
    if (stopped.some((code) => code !== 0)) throw new Error(`the daemons ended with ${stopped.join(' and ')}`);
    const bytes = status.devices[0]!.size * 1024;
    if ((await pair.alpha.checksum(bytes)) !== (await pair.beta.checksum(bytes))) throw new Error('the disks are not equal in the end');
    return `${FAILOVERS} failovers, ${application.acknowledged.size} acknowledged`;
  } finally {
    await application.end();
    for (const machine of [pair.alpha, pair.beta]) {
      if (machine.child) await machine.end('SIGKILL');
      await stacks.get(machine)!.tearDown();
    }
  }
}

const chosen = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), 'lockstep-apps-'));
chmodSync(folder, 0o755);
const lacking = missingForStack(folder);
let [passed, failed, unchecked] = [0, 0, 0];
for (const [index, application] of applications().entries()) {
  const { name, filesystem, tools } = application;
  if (chosen.length > 0 && !chosen.some((part) => name.includes(part))) continue;
  const missing = [...lacking, ...[...filesystemTools[filesystem], ...tools].filter((tool) => !hasTool(tool))];
  if (missing.length > 0) {
    unchecked++;
    console.log(`unchecked  ${name}: this machine lacks ${missing.join(', ')}`);
    continue;
  }
  try {
    const seen = await through(application, join(folder, String(index)));
    passed++;
    console.log(`passed     ${name}: ${seen}, nothing lost`);
  } catch (error) {
    failed++;
    console.log(`FAILED     ${name}: ${(error as Error).message}`);
  }
}
if (failed === 0) rmSync(folder, { recursive: true });
else console.log(`logs and images are in ${folder}`);
console.log(`${passed} passed, ${failed} failed, ${unchecked} unchecked`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
