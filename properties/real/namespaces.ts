/**
 * `npm run test:net`: two machines in network namespaces of their own, with heartbeats and a fence-peer handler that kills the other's daemon.
 * The Primary is killed, and then the link between them is cut: each time exactly one serves on, within the dead time and what fencing
 * takes; it has every acknowledged byte, and the other comes back as Secondary and is synced. Needs root and Debian's iproute2; what this
 * machine cannot do is unchecked, never passed. Exit 0: all passed; else 1.
 */

import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BLOCK_BYTES, contentOf, Ledger } from '../../real/demo/ledger.js';
import { isConnected, isHealthy, newPair, sleep, type Machine, type Pair } from '../../real/demo/machine.js';
import { NbdClient } from '../../real/nbd/client.js';

const DEAD_MS = 1500;
/** Beyond the dead time: the handler, the promotion, and a processor that others use too. */
const FENCING_MS = 5000;
const WORKERS = 8;
const BLOCKS = 2000;

const ip = (...words: string[]): void => {
  const { status, stderr, error } = spawnSync('ip', words, { encoding: 'utf8' });
  if (error || status !== 0) throw new Error(`ip ${words.join(' ')}: ${error?.message ?? stderr.trim()}`);
};

/** Namespaces that are this process's own. */
const spaceOf = (name: string): string => `lockstep-${process.pid}-${name}`;

function makeNetwork(): void {
  const [one, other] = [`ls${process.pid}a`, `ls${process.pid}b`];
  for (const name of ['alpha', 'beta']) ip('netns', 'add', spaceOf(name));
  ip('link', 'add', one, 'netns', spaceOf('alpha'), 'type', 'veth', 'peer', 'name', other, 'netns', spaceOf('beta'));
  for (const [name, device, address] of [['alpha', one, '10.77.0.1/24'], ['beta', other, '10.77.0.2/24']] as const) {
    const inside = (...words: string[]): void => ip('-n', spaceOf(name), ...words);
    inside('link', 'set', device, 'name', 'eth0');
    inside('addr', 'add', address, 'dev', 'eth0');
    for (const up of ['lo', 'eth0']) inside('link', 'set', up, 'up');
  }
}

function removeNetwork(): void {
  for (const name of ['alpha', 'beta']) spawnSync('ip', ['netns', 'del', spaceOf(name)]);
}

const setLink = (how: 'up' | 'down'): void => ip('-n', spaceOf('alpha'), 'link', 'set', 'eth0', how);

/** The handler that fences: it finds the daemon of the peer by its pid, kills it, and says that it was shot. */
function fencing(folder: string): string {
  const handler = join(folder, 'fence-peer');
  writeFileSync(handler, `#!/bin/sh\necho "$DRBD_RESOURCE shoots $DRBD_PEER" >> ${join(folder, 'fenced')}\nkill -9 "$(cat ${folder}/$DRBD_PEER.pid)" 2>/dev/null\nexit 7\n`);
  chmodSync(handler, 0o755);
  return `net { ping-int 1; ping-timeout 5; timeout 20; connect-int 1; } disk { fencing resource-and-stonith; c-plan-ahead 0; resync-rate 400M; c-min-rate 0; } handlers { fence-peer "${handler}"; }`;
}

async function start(machine: Machine): Promise<void> {
  await machine.start('--heartbeat', `100:${DEAD_MS}`);
  writeFileSync(join(machine.folder, `${machine.name}.pid`), String(machine.child!.pid));
}

/** Writes wherever the Primary is, for ever; what is acknowledged is noted. */
class Load {
  readonly ledger = new Ledger();
  /** When a write was acknowledged last, and the longest time without one since `watch`. */
  lastMs = Date.now();
  longestMs = 0;
  private isOver = false;
  private readonly work: Promise<unknown>;

  constructor(private readonly machines: readonly Machine[]) {
    this.work = this.run();
  }

  watch(): void {
    this.longestMs = 0;
    this.lastMs = Date.now();
  }

  async end(): Promise<void> {
    this.isOver = true;
    await this.work;
  }

  private async run(): Promise<void> {
    while (!this.isOver) {
      for (const machine of this.machines) {
        const client = await NbdClient.open(machine.nbd, 'r0').catch(() => undefined);
        if (!client) continue;
        await Promise.allSettled(Array.from({ length: WORKERS }, (_, index) => this.write(client, index)));
        client.close();
      }
      await sleep(20);
    }
  }

  private async write(client: NbdClient, worker: number): Promise<void> {
    for (let block = worker; !this.isOver; block = (block + WORKERS) % BLOCKS) {
      const version = this.ledger.issue(block);
      await client.write(block * BLOCK_BYTES, contentOf(block, version));
      this.ledger.acknowledge(block, version);
      this.longestMs = Math.max(this.longestMs, Date.now() - this.lastMs);
      this.lastMs = Date.now();
    }
  }
}

/** What happens to a pair under load; throws what is wrong. */
async function through(pair: Pair, disturb: (primary: Machine) => void, mend: () => void): Promise<string> {
  const { alpha, beta } = pair;
  await Promise.all([start(alpha), start(beta)]);
  await alpha.until('connected', isConnected);
  await alpha.must('new-current-uuid', { clearBitmap: true });
  await alpha.until('UpToDate on both sides', isHealthy);
  await alpha.must('primary');
  const load = new Load([alpha, beta]);
  for (let tries = 0; load.ledger.acknowledged < 500; tries++) {
    if (tries > 600) throw new Error('the load does not begin');
    await sleep(50);
  }
  load.watch();
  const before = load.ledger.acknowledged;
  disturb(alpha);
  for (let tries = 0; load.ledger.acknowledged < before + 500 || Date.now() - load.lastMs > 500; tries++) {
    if (tries > 600) throw new Error(`nobody serves on: ${load.ledger.acknowledged - before} writes since`);
    await sleep(50);
  }
  const pauseMs = load.longestMs;
  if (pauseMs > DEAD_MS + FENCING_MS) throw new Error(`nothing was acknowledged for ${pauseMs} ms`);
  mend();
  const dead = [alpha, beta].filter(({ child }) => child!.exitCode !== null || child!.signalCode !== null);
  if (dead.length !== 1) throw new Error(`${dead.length} daemons are dead, and one should be`);
  const [loser] = dead as [Machine];
  const survivor = loser === alpha ? beta : alpha;
  await start(loser);
  await survivor.until('in sync', isHealthy);
  const [mine, other] = [await survivor.status(), await loser.status()];
  if (mine!.role !== 'Primary' || other!.role !== 'Secondary') throw new Error(`the survivor is ${mine!.role}, the other ${other!.role}`);
  await load.end();
  const client = await NbdClient.open(survivor.nbd, 'r0');
  for (const block of load.ledger.blocks()) {
    const wrong = load.ledger.check(block, await client.read(block * BLOCK_BYTES, BLOCK_BYTES));
    if (wrong !== undefined) throw new Error(wrong);
  }
  const { sizeBytes } = client;
  await client.flush();
  client.close();
  await survivor.until('in sync', isHealthy);
  // A clean stop of both; the Secondary first, or it would take over.
  await loser.end('SIGTERM');
  await survivor.end('SIGTERM');
  if ((await alpha.checksum(sizeBytes)) !== (await beta.checksum(sizeBytes))) throw new Error('the disks are not equal in the end');
  return `${survivor.name} serves on after ${pauseMs} ms, ${load.ledger.acknowledged} writes acknowledged, none lost`;
}

const disturbances: [string, (primary: Machine) => void, () => void][] = [
  ['the Primary loses power', (primary) => void primary.child!.kill('SIGKILL'), () => undefined],
  ['the link is cut', () => setLink('down'), () => setLink('up')],
];

const folder = mkdtempSync(join(tmpdir(), 'lockstep-net-'));
let [passed, failed, unchecked] = [0, 0, 0];
for (const [index, [name, disturb, mend]] of disturbances.entries()) {
  try {
    makeNetwork();
  } catch (error) {
    removeNetwork();
    unchecked++;
    console.log(`unchecked  ${name}: this machine makes no network namespaces: ${(error as Error).message}`);
    continue;
  }
  const own = join(folder, String(index));
  mkdirSync(own);
  const pair = await newPair(own, 64 << 20, fencing(own));
  writeFileSync(pair.configPath, readFileSync(pair.configPath, 'utf8').replace(/127\.0\.0\.1:\d+/, '10.77.0.1:7788').replace(/127\.0\.0\.1:\d+/, '10.77.0.2:7788'));
  for (const machine of [pair.alpha, pair.beta]) machine.launcher = ['ip', 'netns', 'exec', spaceOf(machine.name)];
  try {
    const seen = await through(pair, disturb, mend);
    passed++;
    console.log(`passed     ${name}: ${seen}`);
  } catch (error) {
    failed++;
    console.log(`FAILED     ${name}: ${(error as Error).message}`);
  } finally {
    for (const machine of [pair.alpha, pair.beta]) if (machine.child) await machine.end('SIGKILL');
    removeNetwork();
  }
}
if (failed === 0) rmSync(folder, { recursive: true });
else console.log(`logs and images are in ${folder}`);
console.log(`${passed} passed, ${failed} failed, ${unchecked} unchecked`);
process.exit(failed === 0 && unchecked === 0 ? 0 : 1);
