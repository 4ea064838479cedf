// The daemon and its tools, as processes on loopback: failover under load, drbdadm's words and exit codes, one clear line for what goes wrong.

import { spawnSync } from 'node:child_process';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BLOCK_BYTES, contentOf, Ledger } from '../../real/demo/ledger.js';
import { isConnected, isHealthy, lockstepd, newPair, startPair, type Machine, type Pair } from '../../real/demo/machine.js';
import { NbdClient } from '../../real/nbd/client.js';
import { CommandFlag } from '../../real/nbd/protocol.js';

const IMAGE_BYTES = 16 << 20;
const FAST = 'net { ping-int 1; connect-int 1; } disk { c-plan-ahead 0; resync-rate 100M; c-min-rate 0; }';

const logOf = (machine: Machine): { level: string; msg: string }[] =>
  readFileSync(machine.logPath, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as { level: string; msg: string });
const errorsOf = (machine: Machine): string[] => logOf(machine).flatMap(({ level, msg }) => (level === 'error' ? [msg] : []));
const says = (machine: Machine, pattern: RegExp): boolean => logOf(machine).some(({ msg }) => pattern.test(msg));

async function endAll({ alpha, beta }: Pair): Promise<void> {
  for (const machine of [alpha, beta]) if (machine.child) await machine.end('SIGKILL');
}

// ---- One pair that lives through a failover ------------------------------------------------------------------------------

const life = suite<{ folder: string; pair: Pair }>('daemon');
life.before(async (context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'lockstep-daemon-'));
  context.pair = await newPair(context.folder, IMAGE_BYTES, FAST);
  await startPair(context.pair);
});
life.after(async ({ folder, pair }) => {
  await endAll(pair);
  rmSync(folder, { recursive: true });
});

life('looking: role, cstate, dstate, status, get-gi, events2, dump', ({ pair: { alpha, beta } }) => {
  const out = (machine: Machine, ...words: string[]): string => {
    const ran = machine.adm(...words);
    assert.is(ran.code, 0, `${words.join(' ')}: ${ran.err}`);
    return ran.out;
  };
  assert.is(out(alpha, 'role', 'r0'), 'Primary/Secondary\n');
  assert.is(out(beta, 'cstate', 'r0/0'), 'Connected\n');
  assert.is(out(beta, 'dstate', 'minor-0'), 'UpToDate/UpToDate\n');
  assert.is(out(alpha, 'status', 'r0'), 'r0 role:Primary\n  disk:UpToDate\n  beta role:Secondary\n    peer-disk:UpToDate\n\n');
  const [json] = JSON.parse(out(alpha, 'status', '--json')) as [{ name: string; devices: { size: number }[] }];
  assert.is(json.name, 'r0');
  assert.match(out(alpha, 'get-gi', 'r0'), /^[0-9A-F]{16}:0{16}:[0-9A-F]{16}:[0-9A-F]{16}:1:1:1:1:0:0:0\n$/);
  assert.is(
    out(beta, 'events2', '--now', 'r0'),
    `exists resource name:r0 role:Secondary suspended:no
exists connection name:r0 peer-node-id:0 conn-name:alpha connection:Connected role:Primary
exists device name:r0 volume:0 minor:0 disk:UpToDate
exists peer-device name:r0 peer-node-id:0 conn-name:alpha volume:0 replication:Established peer-disk:UpToDate resync-suspended:no
exists -
`,
  );
  assert.match(out(alpha, 'dump', 'r0'), /resource r0 \{/);
  assert.is(out(alpha, 'adjust', '--dry-run', 'r0'), '');
  assert.is(statSync(alpha.control).mode & 0o777, 0o600);
});

life("refusals have drbdadm's exit codes and say who is in the way", async ({ pair: { alpha, beta } }) => {
  const client = await NbdClient.open(alpha.nbd, 'r0');
  const demotion = alpha.adm('secondary', 'r0');
  assert.is(demotion.code, 11);
  assert.match(demotion.err, /r0: State change failed: \(-12\) Device is held open by someone\nadditional info from kernel:\nheld open by NBD client \d+ on /);
  client.close();
  assert.is(beta.adm('primary', 'r0').code, 11);
  assert.is(alpha.adm('detach', 'r0/3').code, 1);
  assert.is(alpha.adm('primary', 'nothing').code, 1);
  assert.is(alpha.adm('no-such-verb').code, 1);
  assert.is(alpha.adm('attach', 'r0').code, 10);
  assert.is(alpha.adm('dump-md', 'r0').code, 20);
  assert.is(alpha.adm('--control', '/nowhere/control.sock', '-c', join(alpha.folder, 'lockstep.conf'), '--node', 'alpha', 'role', 'r0').code, 20);
  assert.is(alpha.adm('wait-connect', '--wfc-timeout', '1', 'r0').code, 0);
  assert.is(alpha.adm('up', 'r0').code, 0);
  const refused = await NbdClient.open(beta.nbd, 'r0').then(
    () => assert.unreachable() as never,
    (error: Error) => error.message,
  );
  assert.match(refused, /r0\/0 is Secondary here/);
});

const CONTEXTS = ['base:allocation', 'lockstep:out-of-sync'] as const;
/** Bytes of a range that have any of these flags. */
async function flagged(client: NbdClient, context: (typeof CONTEXTS)[number], flags: number, from = 0, to = client.sizeBytes): Promise<number> {
  let bytes = 0;
  for (let at = from; at < to; ) {
    const extents = (await client.blockStatus(at, to - at)).get(context)!;
    for (const extent of extents) {
      if ((extent.flags & flags) !== 0) bytes += extent.bytes;
      at += extent.bytes;
    }
  }
  assert.ok(bytes <= to - from, 'no extent goes further than was asked');
  return bytes;
}

life('block status: holes of the disk are holes, what is written is none, and in sync the peer lacks nothing', async ({ pair: { alpha } }) => {
  const client = await NbdClient.open(alpha.nbd, 'r0', true, CONTEXTS);
  assert.is(await flagged(client, 'base:allocation', 3, 2 << 20, 4 << 20), 2 << 20);
  await client.write(3 << 20, new Uint8Array(64 << 10).fill(1));
  assert.is(await flagged(client, 'base:allocation', 3, 2 << 20, 4 << 20), (2 << 20) - (64 << 10));
  await client.writeZeroes(3 << 20, 64 << 10, CommandFlag.FastZero);
  assert.is(await flagged(client, 'base:allocation', 3, 2 << 20, 4 << 20), 2 << 20);
  assert.is(await flagged(client, 'lockstep:out-of-sync', 1), 0);
  client.close();
});

life('the Primary is killed under load: the other has every acknowledged byte, and both are equal in the end', async ({ pair: { alpha, beta } }) => {
  const ledger = new Ledger();
  const client = await NbdClient.open(alpha.nbd, 'r0');
  const blocks = Math.floor(client.sizeBytes / BLOCK_BYTES);
  const worker = async (start: number): Promise<void> => {
    for (let block = start; ; block = (block + 8) % (blocks - (blocks % 8))) {
      const version = ledger.issue(block);
      await client.write(block * BLOCK_BYTES, contentOf(block, version));
      ledger.acknowledge(block, version);
      if (ledger.acknowledged === 400) void alpha.end('SIGKILL');
    }
  };
  await Promise.allSettled([0, 1, 2, 3, 4, 5, 6, 7].map(worker));
  assert.ok(ledger.acknowledged >= 400);
  await beta.until('alone', (status) => status.connections[0]!['connection-state'] !== 'Connected');
  await beta.must('primary');
  const other = await NbdClient.open(beta.nbd, 'r0', true, CONTEXTS);
  for (const block of ledger.blocks()) assert.is(ledger.check(block, await other.read(block * BLOCK_BYTES, BLOCK_BYTES)), undefined);
  await other.trim(0, 64 << 10);
  await other.writeZeroes(1 << 20, 64 << 10);
  assert.is(await flagged(other, 'lockstep:out-of-sync', 1, 0, 64 << 10), 64 << 10, 'the peer that is away lacks what is written now');
  assert.ok((await flagged(other, 'lockstep:out-of-sync', 1)) < IMAGE_BYTES / 2);

  await alpha.start('--metrics', '127.0.0.1:0');
  await beta.until('in sync', isHealthy);
  assert.is(await flagged(other, 'lockstep:out-of-sync', 1), 0);
  const { metrics: port } = logOf(alpha).find((line) => 'metrics' in line) as unknown as { metrics: number };
  const page = async (path: string): Promise<string> => (await fetch(`http://127.0.0.1:${port}${path}`)).text();
  const text = await page('/metrics');
  for (const line of ['drbd_resource_role{name="r0",drbd_resource_role="Secondary"} 1', 'drbd_device_state{name="r0",volume="0",minor="0",drbd_device_state="UpToDate"} 1', 'drbd_peerdevice_outofsync_bytes{name="r0",conn_name="beta",peer_node_id="0",volume="0",minor="0"} 0']) {
    assert.ok(text.includes(line), `${line} in\n${text}`);
  }
  assert.is(await page('/healthz'), 'ok\n');
  assert.equal(JSON.parse(await page('/promotable')), [{ resource: 'r0', promotable: false, reason: 'beta is Primary' }]);
  await other.flush();
  other.close();
  assert.ok(says(alpha, /Began resync as SyncTarget/) && says(alpha, /Resync done/));
  for (const machine of [alpha, beta]) {
    const path = join(machine.folder, `${machine.name}.recording`);
    const recorded = machine.adm('record', path);
    assert.is(recorded.code, 0, recorded.err);
    const lockstep = fileURLToPath(new URL('../../reports/lockstep.js', import.meta.url));
    const replay = spawnSync(process.execPath, [lockstep, 'replay', path], { encoding: 'utf8', timeout: 60_000 });
    assert.is(replay.status, 0, replay.stdout + replay.stderr);
    assert.match(replay.stdout, /[1-9]\d* inputs repeated: [1-9]\d* outputs are identical to the last byte/);
  }
  const { sizeBytes } = other;
  assert.equal([await beta.end('SIGTERM'), await alpha.end('SIGTERM')], [0, 0]);
  assert.is(await alpha.checksum(sizeBytes), await beta.checksum(sizeBytes));
  assert.ok(says(beta, /role\( Primary -> Secondary \)/), 'a clean stop demotes');
  // Nothing has to be repaired after a clean stop.
  assert.match(alpha.adm('-c', join(alpha.folder, 'lockstep.conf'), '--node', 'alpha', 'get-gi', 'r0').out, /:1:1:0:[01]:0:0:0\n$/);
});

life.run();

// ---- What goes wrong ---------------------------------------------------------------------------------------------------------

const trouble = suite<{ folder: string; pair: Pair }>('trouble');
trouble.before.each(async (context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'lockstep-trouble-'));
  context.pair = await newPair(context.folder, IMAGE_BYTES, FAST);
});
trouble.after.each(async ({ folder, pair }) => {
  await endAll(pair);
  rmSync(folder, { recursive: true });
});

const started = (pair: Pair, ...args: string[]): { code: number | null; err: string } => {
  const { status, stderr } = spawnSync(process.execPath, [lockstepd, '--node', 'alpha', '--run', pair.alpha.run, ...args], { encoding: 'utf8', timeout: 30_000 });
  return { code: status, err: stderr };
};

trouble('a wrong configuration: one line with its place, exit code 10; a missing one 20; a second daemon on the sockets 20', async ({ folder, pair }) => {
  const wrong = join(folder, 'wrong.conf');
  writeFileSync(wrong, 'resource r0 {\n  net { protocl C; }\n}\n');
  const config = started(pair, '-c', wrong);
  assert.is(config.code, 10);
  assert.match(config.err, /^lockstepd: .*wrong\.conf:2: there is no option 'protocl' in net .*\n$/);
  const missing = started(pair, '-c', join(folder, 'none.conf'));
  assert.equal([missing.code, missing.err], [20, `lockstepd: Can not open '${join(folder, 'none.conf')}': No such file or directory\n`]);
  await pair.alpha.start('--no-up');
  const second = started(pair, '-c', pair.configPath);
  assert.equal([second.code, second.err], [20, `lockstepd: another daemon listens on ${pair.alpha.control}\n`]);
  const squatter = createServer().listen(0, '127.0.0.1');
  await once(squatter, 'listening');
  const taken = `127.0.0.1:${(squatter.address() as AddressInfo).port}`;
  const elsewhere = ['-c', pair.configPath, '--run', join(folder, 'elsewhere')];
  const [nbd, metrics] = [started(pair, ...elsewhere, '--nbd', taken), started(pair, ...elsewhere, '--metrics', taken)];
  squatter.close();
  assert.equal([nbd.code, nbd.err], [20, `lockstepd: NBD on ${taken}: Address already in use\n`]);
  assert.equal([metrics.code, metrics.err], [20, `lockstepd: metrics on ${taken}: Address already in use\n`]);
});

trouble('a disk in use, one without metadata, one that is too small: refused with 10 and a line in the log', async ({ pair: { alpha, beta, configPath } }) => {
  await alpha.start();
  writeFileSync(configPath, readFileSync(configPath, 'utf8').replace(beta.image, alpha.image));
  await beta.start();
  assert.is(errorsOf(beta).filter((line) => /alpha\.img is in use by another process/.test(line)).length, 1);
  const refused = beta.adm('attach', 'r0');
  assert.is(refused.code, 10);
  assert.is(refused.err, `0: Failure: (104) Cannot open the backing device\nadditional info from kernel:\n${alpha.image} is in use by another process\nCommand 'lockadm attach r0/0' terminated with exit code 10\n`);
  await alpha.end('SIGTERM');
  truncateSync(alpha.image, 0);
  truncateSync(alpha.image, IMAGE_BYTES);
  assert.match(beta.adm('attach', 'r0').err, /^0: Failure: \(119\) No valid metadata found/);
  truncateSync(alpha.image, 4096);
  assert.match(beta.adm('attach', 'r0').err, /^0: Failure: \(11[12]\)/);
});

trouble('a port that is taken, a wrong secret: the daemon says so, and goes on when it is mended', async ({ pair }) => {
  const { alpha, beta, configPath } = pair;
  const text = readFileSync(configPath, 'utf8');
  const port = Number(/on alpha .*127\.0\.0\.1:(\d+)/.exec(text)![1]);
  // Who connects to it is turned away: a connection that stays would keep it from closing.
  const squatter = createServer((socket) => socket.destroy()).listen(port, '127.0.0.1');
  await Promise.all([alpha.start(), beta.start()]);
  for (let tries = 0; tries < 100 && errorsOf(alpha).length === 0; tries++) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(errorsOf(alpha), [`drbd r0: connection to beta given up: cannot listen: 127.0.0.1:${port}: Address already in use`]);
  assert.is(alpha.adm('cstate', 'r0').out, 'StandAlone\n');
  await new Promise((resolve) => squatter.close(resolve));
  assert.is(alpha.adm('adjust', 'r0').code, 0);
  await alpha.until('connected', isConnected);

  const secret = (word: string): string => text.replace('net {', `net { cram-hmac-alg sha1; shared-secret "${word}";`);
  for (const machine of [alpha, beta]) {
    await machine.must('disconnect', { peer: machine === alpha ? 'beta' : 'alpha' });
    writeFileSync(configPath, secret(machine.name));
    assert.is(machine.adm('adjust', 'r0').code, 0);
  }
  for (let tries = 0; tries < 200 && !says(alpha, /uthenticat/); tries++) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(errorsOf(alpha).slice(1), ['drbd r0: connection to beta given up: Authentication of peer failed']);
  // Who connects while the other still has its old secret is refused once more.
  for (const machine of [alpha, beta]) await machine.order('disconnect', { peer: machine === alpha ? 'beta' : 'alpha' });
  writeFileSync(configPath, secret('the same'));
  for (const machine of [alpha, beta]) assert.is(machine.adm('adjust', 'r0').code, 0);
  await alpha.until('connected', isConnected);
});

trouble('SIGHUP takes over a changed file; what cannot change while it runs is told', async ({ pair: { alpha, configPath } }) => {
  await alpha.start();
  writeFileSync(configPath, readFileSync(configPath, 'utf8').replace('ping-int 1', 'ping-int 3'));
  assert.match(alpha.adm('adjust', '--dry-run', 'r0').out, /^lockadm options r0\n$/);
  alpha.child!.kill('SIGHUP');
  for (let tries = 0; tries < 200 && !says(alpha, /SIGHUP/); tries++) await new Promise((resolve) => setTimeout(resolve, 20));
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.is(alpha.adm('adjust', '--dry-run', 'r0').out, '');
  writeFileSync(configPath, readFileSync(configPath, 'utf8').replace('device /dev/drbd0', 'device /dev/drbd5'));
  const refused = alpha.adm('adjust', 'r0');
  assert.is(refused.code, 10);
  assert.match(refused.err, /cannot change while it runs/);
  appendFileSync(configPath, 'rubbish\n');
  const dump = alpha.adm('-c', configPath, '--node', 'alpha', 'dump');
  assert.is(dump.code, 10);
  assert.match(dump.err, /^.*lockstep\.conf:\d+: .*\n$/);
  const before = errorsOf(alpha).length;
  alpha.child!.kill('SIGHUP');
  for (let tries = 0; tries < 200 && errorsOf(alpha).length === before; tries++) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.match(errorsOf(alpha).slice(before).join('\n'), /^adjust: .*lockstep\.conf:\d+: .*$/);
  assert.is((await alpha.status())?.name, 'r0', 'it goes on as it was');
});

trouble('with heartbeats the survivor takes over by itself, within the dead time', async ({ pair }) => {
  const { alpha, beta } = pair;
  const args = ['--heartbeat', '100:1500'];
  await Promise.all([alpha.start(...args), beta.start(...args)]);
  await alpha.until('connected', isConnected);
  await alpha.must('new-current-uuid', { clearBitmap: true });
  await alpha.until('UpToDate on both sides', isHealthy);
  await alpha.must('primary');
  await new Promise((resolve) => setTimeout(resolve, 500));
  const killed = Date.now();
  await alpha.end('SIGKILL');
  await beta.until('Primary', ({ role }) => role === 'Primary');
  const tookMs = Date.now() - killed;
  // What a status tells may be said in the log only when the pass is over.
  for (let tries = 0; tries < 100 && !says(beta, /alpha is dead/); tries++) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.ok(says(beta, /alpha is dead/));
  // On a machine with other work to do everything is late.
  assert.ok(tookMs < 10_000, `it took ${tookMs} ms`);
});

trouble.run();
