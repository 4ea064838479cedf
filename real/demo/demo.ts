#!/usr/bin/env node
/**
 * `npm run demo`: two daemons on this machine mirror a disk. An application writes over NBD; the Primary is killed in the middle of
 * it; the other node takes over, and every acknowledged byte is there; the old one comes back, is synced, and the images are equal.
 * What the flight recorders of both kept is repeated, and lies in reports/out/demo afterwards.
 */

import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SingleBar, Presets } from 'cli-progress';
import { NbdClient } from '../nbd/client.js';
import { BLOCK_BYTES, contentOf, Ledger } from './ledger.js';
import { isHealthy, newPair, sleep, startPair, type Machine } from './machine.js';

const lockstep = fileURLToPath(new URL('../../reports/lockstep.js', import.meta.url));
const recordings = fileURLToPath(new URL('../../../reports/out/demo', import.meta.url));
/** The flight recorders keep more than by default: the kill, the failover and the return are in it. */
const RECORD_MIB = 64;

const IMAGE_BYTES = 128 << 20;
const DEPTH = 16;
const WRITE_MS = 4000;

const started = Date.now();
const say = (text: string): void => console.log(`${((Date.now() - started) / 1000).toFixed(1).padStart(5)} s  ${text}`);

/** Writes blocks at random until `isOver`, or until the server is gone; each in the ledger before it is sent, and when it is acknowledged. */
async function writeLoad(client: NbdClient, ledger: Ledger, isOver: () => boolean): Promise<void> {
  const blocks = Math.floor(client.sizeBytes / BLOCK_BYTES);
  const worker = async (): Promise<void> => {
    while (!isOver()) {
      const block = Math.floor(Math.random() * blocks);
      if (!ledger.isIdle(block)) continue;
      const version = ledger.issue(block);
      await client.write(block * BLOCK_BYTES, contentOf(block, version), version % 50 === 0);
      ledger.acknowledge(block, version);
    }
  };
  await Promise.allSettled(Array.from({ length: DEPTH }, worker));
}

async function verify(client: NbdClient, ledger: Ledger): Promise<{ blocks: number; wrong: string[] }> {
  const wrong: string[] = [];
  let blocks = 0;
  const queue = [...ledger.blocks()];
  const worker = async (): Promise<void> => {
    for (let block = queue.pop(); block !== undefined; block = queue.pop()) {
      const problem = ledger.check(block, await client.read(block * BLOCK_BYTES, BLOCK_BYTES));
      blocks++;
      if (problem !== undefined) wrong.push(problem);
    }
  };
  await Promise.all(Array.from({ length: DEPTH }, worker));
  return { blocks, wrong };
}

/** Follows a resync to its end. */
async function showResync(machine: Machine): Promise<void> {
  const isTerminal = process.stdout.isTTY === true;
  const bar = new SingleBar({ format: '         resync {bar} {percentage} % | {left} KiB left', hideCursor: true }, Presets.shades_classic);
  let shown = -10;
  if (isTerminal) bar.start(100, 0, { left: '?' });
  await machine.until(
    'in sync',
    (status) => {
      const device = status.connections[0]!.peer_devices[0]!;
      const [percent, left] = [device['percent-in-sync'], device['out-of-sync']];
      if (isTerminal) bar.update(percent, { left });
      else if (/Sync/.test(device['replication-state']) && percent >= shown + 10) {
        shown = percent;
        say(`${device['replication-state']}: ${percent.toFixed(2)} % in sync, ${left} KiB left`);
      }
      return isHealthy(status);
    },
    40_000,
  );
  if (isTerminal) bar.stop();
}

const recordingOf = (name: string): string => join(recordings, `${name}.recording`);

/** Repeats a recording as an operator would; says whether each output was the same. */
function repeats(name: string): boolean {
  const { status, stdout, stderr } = spawnSync(process.execPath, [lockstep, 'replay', recordingOf(name)], { encoding: 'utf8' });
  const lines = `${stdout}${stderr}`.trim().split('\n');
  say(`npx lockstep replay ${relative('', recordingOf(name))}: ${status === 0 ? lines.at(-1) : `exit ${status}\n${lines.join('\n')}`}`);
  return status === 0;
}

async function demonstrate(folder: string): Promise<boolean> {
  const pair = await newPair(folder, IMAGE_BYTES, 'net { protocol C; ping-int 2; connect-int 2; } disk { c-plan-ahead 0; resync-rate 100M; c-min-rate 0; }');
  const { alpha, beta } = pair;
  try {
    await startPair(pair, () => ['--record', String(RECORD_MIB)]);
    say(`two nodes mirror ${IMAGE_BYTES >> 20} MiB; alpha is Primary`);

    const ledger = new Ledger();
    const onAlpha = await NbdClient.open(alpha.nbd, 'r0');
    const sizeBytes = onAlpha.sizeBytes;
    const load = writeLoad(onAlpha, ledger, () => false);
    await sleep(WRITE_MS);
    const before = ledger.acknowledged;
    await alpha.ask({ do: 'record', path: recordingOf('alpha-killed') });
    await alpha.end('SIGKILL');
    await load;
    say(`alpha is killed (SIGKILL) while the application writes: ${ledger.acknowledged} writes were acknowledged (${Math.round(before / (WRITE_MS / 1000))} a second)`);

    await beta.until('alone', (status) => status.connections[0]!['connection-state'] !== 'Connected');
    await beta.must('primary');
    const onBeta = await NbdClient.open(beta.nbd, 'r0');
    say('beta is Primary');
    const { blocks, wrong } = await verify(onBeta, ledger);
    say(wrong.length === 0 ? `all ${blocks} blocks hold what was acknowledged` : `${wrong.length} of ${blocks} blocks are WRONG: ${wrong[0]}`);

    const until = Date.now() + 1500;
    await writeLoad(onBeta, ledger, () => Date.now() > until);
    say(`the application went on at beta: ${ledger.acknowledged} writes by now`);

    await alpha.start('--record', String(RECORD_MIB));
    say('alpha is back');
    await showResync(beta);
    say(`in sync: ${(await beta.status())!.devices[0]!['disk-state']}/${(await beta.status())!.connections[0]!.peer_devices[0]!['peer-disk-state']}`);
    const again = await verify(onBeta, ledger);
    onBeta.close();
    for (const machine of [alpha, beta]) await machine.ask({ do: 'record', path: recordingOf(machine.name) });
    const codes = [await beta.end('SIGTERM'), await alpha.end('SIGTERM')];
    const sums = [await alpha.checksum(sizeBytes), await beta.checksum(sizeBytes)];
    console.log(`         sha256 of alpha's data: ${sums[0]}\n         sha256 of beta's data:  ${sums[1]}`);
    const isEqual = sums[0] === sums[1];
    say(isEqual ? 'the images are equal' : 'the images DIFFER');
    const isRepeated = ['alpha-killed', 'alpha', 'beta'].map(repeats).every((is) => is);
    const isGood = isEqual && isRepeated && wrong.length === 0 && again.wrong.length === 0 && codes.every((code) => code === 0);
    say(isGood ? 'nothing acknowledged was lost' : `something is WRONG (exit codes ${codes.join(', ')}; ${again.wrong.length} blocks wrong after the resync)`);
    return isGood;
  } finally {
    for (const machine of [alpha, beta]) if (machine.child) await machine.end('SIGKILL');
  }
}

mkdirSync(recordings, { recursive: true });
const folder = mkdtempSync(join(tmpdir(), 'lockstep-demo-'));
let isGood = false;
try {
  isGood = await demonstrate(folder);
} catch (error) {
  say(`the demonstration failed: ${(error as Error).message}`);
}
if (isGood) rmSync(folder, { recursive: true });
else console.log(`logs and images are in ${folder}`);
process.exitCode = isGood ? 0 : 1;
