/**
 * `npm run test:nbd`: other people's NBD clients against two real daemons: nbdinfo, nbdcopy, qemu-io, qemu-img, fio with verify, nbdkit's nbd
 * plugin, and the first three over TLS too. Needs Debian's packages libnbd-bin, qemu-utils, fio, nbdkit, openssl; a check whose tool is missing is unchecked, never passed.
 * Exit 0: everything that could be checked passed, and something was; 1: a check failed, or nothing could be checked.
 */

import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isHealthy, newPair, sleep, startPair, type Machine, type Pair } from '../../real/demo/machine.js';
import { NbdClient } from '../../real/nbd/client.js';
import { secureChecks } from './nbd-tls.js';

export interface Check {
  name: string;
  tools: string[];
  command: string;
  /** What the output must show. */
  shows?: RegExp;
  /** What exactly one new line of a log must tell. */
  tells?: { path: string; line: RegExp } | undefined;
}

const BOUND_S = 120;

const hasTool = (tool: string): boolean => spawnSync('sh', ['-c', `command -v ${tool}`]).status === 0;

async function shell(command: string): Promise<{ code: number | null; out: string }> {
  const child = spawn('timeout', [String(BOUND_S), 'bash', '-o', 'pipefail', '-c', command], { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (out += text));
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, out };
}

/** Two hundred clients that mean no good, while one that does reads and writes; gives what went wrong for that one. */
async function hostileClients(path: string, machine: Machine): Promise<string | undefined> {
  const u32 = (value: number): Buffer => Buffer.from(new Uint32Array([value]).buffer).swap32();
  const request = (command: number, offset: number, bytes: number): Buffer => Buffer.concat([u32(0x25609513), u32(command), u32(0), u32(1), u32(0), u32(offset), u32(bytes)]);
  // IHAVEOPT, NBD_OPT_GO, `r0`, no information asked for.
  const begun = Buffer.concat([u32(3), Buffer.from('IHAVEOPT'), u32(7), u32(8), u32(2), Buffer.from('r0'), u32(0).subarray(2)]);
  const session = Buffer.concat([begun, request(1, 0, 4096), Buffer.alloc(4096), request(0, 0, 4096)]);
  const ends = [Buffer.alloc(5000, 0xa5), request(1, 0, 0xffffffff), request(0, 0xfffffe00, 0xfffffe00), request(77, 0, 0), Buffer.concat(Array.from({ length: 5000 }, () => request(0, 0, 1 << 20)))];
  const good = await NbdClient.open({ kind: 'unix', path }, 'r0');
  const area = good.sizeBytes - (1 << 20);
  const hostile = Array.from({ length: 200 }, async (_, index) => {
    const socket = connect(path);
    const closed = new Promise((resolve) => socket.on('close', resolve));
    socket.on('error', () => undefined);
    // Half of them read nothing of what they are told.
    if (index % 2 === 0) socket.resume();
    socket.write(index % 4 === 0 ? session.subarray(0, Math.floor((index * session.length) / 200)) : Buffer.concat([begun, ends[index % ends.length]!]));
    setTimeout(() => socket.destroy(), 3000);
    await closed;
  });
  let slowestMs = 0;
  try {
    for (let round = 0; round < 200; round++) {
      const started = Date.now();
      const data = new Uint8Array(4096).fill(round);
      await good.write(area + round * 4096, data);
      if (Buffer.compare(await good.read(area + round * 4096, 4096), data) !== 0) return `round ${round} read something else`;
      slowestMs = Math.max(slowestMs, Date.now() - started);
    }
  } catch (error) {
    return `who meant well was not served: ${(error as Error).message}`;
  } finally {
    good.close();
  }
  await Promise.all(hostile);
  if (machine.child?.exitCode !== null) return 'the daemon is gone';
  return slowestMs < 10_000 ? undefined : `a write and a read took ${slowestMs} ms`;
}

let [passed, failed, unchecked] = [0, 0, 0];

async function perform({ name, tools, command, shows, tells }: Check): Promise<void> {
  const missing = tools.filter((tool) => !hasTool(tool));
  if (missing.length > 0) {
    unchecked++;
    console.log(`unchecked  ${name}: ${missing.join(', ')} is not installed`);
    return;
  }
  const before = tells ? readFileSync(tells.path).length : 0;
  const { code, out } = await shell(command);
  const told = (): number => readFileSync(tells!.path).subarray(before).toString().split('\n').filter((line) => tells!.line.test(line)).length;
  for (let tries = 0; tells && told() === 0 && tries < 100; tries++) await sleep(20);
  const lines = tells ? told() : 1;
  const isGood = code === 0 && (shows?.test(out) ?? true) && lines === 1;
  if (isGood) passed++;
  else failed++;
  console.log(`${isGood ? 'passed   ' : 'FAILED   '}  ${name}${isGood ? '' : ` (exit ${code}${lines === 1 ? '' : `, ${lines} lines in the log that match ${tells!.line.source}`})\n${out}`}`);
}

const folder = mkdtempSync(join(tmpdir(), 'lockstep-clients-'));
const secureFolder = join(folder, 'tls');
mkdirSync(secureFolder);
const pairs: Pair[] = [];
const pair = await newPair(folder, 128 << 20, 'net { ping-int 2; }');
pairs.push(pair);
try {
  await startPair(pair);
  const socketOf = (name: 'alpha' | 'beta'): string => join(pair[name].run, 'nbd.sock');
  const uri = `nbd+unix:///r0?socket=${socketOf('alpha')}`;
  const [source, copy] = [join(folder, 'source'), join(folder, 'copy')];
  const fio = `fio --ioengine=nbd --uri='${uri}' --iodepth=16 --verify=crc32c --verify_fatal=1 --verify_state_save=0 --name`;
  const checks: Check[] = [
    { name: 'nbdinfo sees the export and its size', tools: ['nbdinfo'], command: `nbdinfo '${uri}'`, shows: /can_multi_conn: true[\s\S]*can_zero: true[\s\S]*block_size_minimum: 512/ },
    { name: 'nbdinfo lists the exports', tools: ['nbdinfo'], command: `nbdinfo --list 'nbd+unix:///?socket=${socketOf('alpha')}'`, shows: /export="r0\/0"/ },
    {
      name: 'nbdcopy in, over several connections',
      tools: ['nbdcopy', 'nbdinfo'],
      command: `head -c $((96<<20)) /dev/urandom > ${source} && truncate -s $(nbdinfo --size '${uri}') ${source} && nbdcopy --connections=4 --flush ${source} '${uri}'`,
    },
    { name: 'nbdcopy out gives the same', tools: ['nbdcopy'], command: `nbdcopy '${uri}' ${copy} && cmp ${source} ${copy}` },
    { name: 'qemu-img compare', tools: ['qemu-img'], command: `qemu-img compare -f raw -F raw ${source} '${uri}'`, shows: /Images are identical/ },
    {
      name: 'qemu-io: patterns, zeros with and without unmapping, discard, FUA, flush',
      tools: ['qemu-io'],
      command: `qemu-io -f raw '${uri}' -c 'write -P 7 1M 2M' -c 'read -P 7 1M 2M' -c 'write -z 1M 512k' -c 'read -P 0 1M 512k' -c 'write -z -u 2M 512k' -c 'read -P 0 2M 512k' -c 'discard 2560k 256k' -c 'write -f -P 9 8M 4k' -c 'read -P 9 8M 4k' -c flush`,
    },
    {
      name: 'nbdinfo maps holes and data',
      tools: ['nbdinfo', 'qemu-io'],
      command: `qemu-io -f raw '${uri}' -c 'write -z -u 0 16M' -c 'write -P 3 4M 1M' && nbdinfo --map '${uri}' && nbdinfo --map --totals '${uri}'`,
      shows: /^\s*0\s+4194304\s+3\s+hole,zero\n\s*4194304\s+1048576\s+0\s+data\n\s*5242880\s+11534336\s+3\s+hole,zero\n/m,
    },
    { name: 'nbdinfo maps what the peer lacks: nothing', tools: ['nbdinfo'], command: `nbdinfo --map=lockstep:out-of-sync --totals '${uri}'`, shows: /^\s*\d+\s+100\.0%\s+0\s*$/m },
    {
      name: 'qemu-img map',
      tools: ['qemu-img'],
      command: `qemu-img map --output=json -f raw '${uri}'`,
      shows: /\{ "start": 0, "length": 4194304, "depth": 0, "present": true, "zero": true, "data": false.*\},\n\{ "start": 4194304, "length": 1048576, "depth": 0, "present": true, "zero": false, "data": true/,
    },
    { name: 'qemu-img convert copies the holes as holes', tools: ['qemu-img', 'nbdcopy'], command: `qemu-img convert -f raw -O raw '${uri}' ${copy} && cmp <(nbdcopy '${uri}' -) ${copy} && [ $(du -k ${copy} | cut -f1) -lt $(( $(stat -c %s ${copy}) / 1024 - 12000 )) ]` },
    { name: 'qemu-io: zeros that must be fast', tools: ['qemu-io'], command: `qemu-io -f raw '${uri}' -c 'write -P 4 24M 1M' -c 'write -z -n 24M 1M' -c 'read -P 0 24M 1M'`, shows: /^(?![\s\S]*(failed|not supported))/ },
    { name: 'fio: random writes, verified', tools: ['fio'], command: `${fio}=v --rw=randwrite --bs=4k --size=32M --do_verify=1`, shows: /err= 0/ },
    { name: 'fio: a mix of sizes with flushes, verified', tools: ['fio'], command: `${fio}=m --rw=randrw --bsrange=512-256k --size=48M --fsync=64`, shows: /err= 0/ },
    {
      name: "nbdkit's nbd plugin as the client",
      tools: ['nbdkit', 'nbdcopy'],
      command: `nbdkit -U - nbd socket=${socketOf('alpha')} export=r0 --run 'nbdcopy "$uri" ${copy}' && nbdcopy '${uri}' ${copy}.2 && cmp ${copy} ${copy}.2`,
    },
    { name: 'a Secondary refuses', tools: ['nbdinfo'], command: `! nbdinfo 'nbd+unix:///r0?socket=${socketOf('beta')}'` },
  ];
  for (const check of checks) await perform(check);
  const hurt = await hostileClients(socketOf('alpha'), pair.alpha);
  if (hurt === undefined) passed++;
  else failed++;
  console.log(hurt === undefined ? 'passed     hostile clients: cut off anywhere, garbage, absurd lengths, unknown commands, floods; others are served' : `FAILED     hostile clients: ${hurt}`);
  const status = await pair.alpha.until('healthy', isHealthy);
  await pair.beta.end('SIGTERM');
  await pair.alpha.end('SIGTERM');
  const bytes = status.devices[0]!.size * 1024;
  const isEqual = (await pair.alpha.checksum(bytes)) === (await pair.beta.checksum(bytes));
  if (isEqual) passed++;
  else failed++;
  console.log(`${isEqual ? 'passed   ' : 'FAILED   '}  both images are equal in the end`);
  if (hasTool('openssl')) {
    const secure = await newPair(secureFolder, 64 << 20, 'net { ping-int 2; }');
    pairs.push(secure);
    for (const check of await secureChecks(secure)) await perform(check);
  } else {
    unchecked++;
    console.log('unchecked  TLS: openssl, which makes the certificates, is not installed');
  }
} finally {
  for (const machine of pairs.flatMap(({ alpha, beta }) => [alpha, beta])) if (machine.child) await machine.end('SIGKILL');
  if (failed === 0) rmSync(folder, { recursive: true });
  else console.log(`logs and images are in ${folder}`);
}
console.log(`${passed} passed, ${failed} failed, ${unchecked} unchecked`);
// Two checks need nobody else's client, and so prove nothing about them.
process.exitCode = failed === 0 && passed > 2 ? 0 : 1;
