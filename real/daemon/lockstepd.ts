#!/usr/bin/env node
/**
 * `lockstepd`: serves the resources of a configuration file, in the foreground. Ends with 0 after SIGTERM or SIGINT, 10 for a wrong
 * configuration, 20 for what it cannot open or have, 70 after a broken invariant.
 */

// Flushes and uncached reads of several disks, none of which shall wait for another's.
process.env['UV_THREADPOOL_SIZE'] ??= '16';
// Payload lives outside of the heap but counts for it: a heap of 15 MB was collected 30 times a second under load, for as much CPU as
// all else together. It may grow sixfold first.
setFlagsFromString('--heap-growing-percent=500');

import { mkdirSync } from 'node:fs';
import { connect } from 'node:net';
import { hostname } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { Command, InvalidArgumentError } from 'commander';
import type { MembershipConfig } from '../../src/contract/index.js';
import { CannotOpen, defaultPaths } from '../conf/load.js';
import { existsSync } from 'node:fs';
import { ConfigError } from '../conf/tree.js';
import { reasonOf } from '../reasons.js';
import { NbdServer, addressText, removeStaleSocket, type NbdAddress } from '../nbd/server.js';
import { TlsFolder } from '../net/tls.js';
import { ControlServer } from './control.js';
import { Daemon } from './daemon.js';
import { logObservation, newLogger } from './log.js';
import { Metrics } from './metrics.js';
import { Placements } from './placements.js';
import { FlightRecorder } from './recorder.js';

const EXIT_CONFIG = 10;
const EXIT_CANNOT = 20;
const EXIT_BROKEN = 70;

interface Options {
  config?: string;
  node: string;
  run: string;
  state: string;
  control?: string;
  nbd?: NbdAddress[];
  up: boolean;
  logLevel: string;
  record: number;
  heartbeat?: MembershipConfig;
  metrics?: { host: string; port: number };
  tlsCertificates?: string;
  directIo?: boolean;
}

function hostAndPort(text: string): { host: string; port: number } | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  return match && Number(match[3]) <= 65535 ? { host: (match[1] ?? match[2])!, port: Number(match[3]) } : undefined;
}

/** `unix:PATH` or `HOST:PORT`. */
function nbdAddress(text: string, before: NbdAddress[] | undefined): NbdAddress[] {
  const unix = /^unix:(.+)$/.exec(text)?.[1];
  const tcp = hostAndPort(text);
  if (unix !== undefined) return [...(before ?? []), { kind: 'unix', path: unix }];
  if (tcp) return [...(before ?? []), { kind: 'tcp', ...tcp }];
  throw new InvalidArgumentError('unix:PATH or HOST:PORT is expected.');
}

function metricsAddress(text: string): { host: string; port: number } {
  const address = hostAndPort(text);
  if (address) return address;
  throw new InvalidArgumentError('HOST:PORT is expected.');
}

/** `INTERVAL:DEAD` in milliseconds; the core checks what goes together. */
function heartbeatOf(text: string): MembershipConfig {
  const match = /^(\d{1,7}):(\d{1,7})$/.exec(text);
  if (match) return { intervalMs: Number(match[1]), deadTimeMs: Number(match[2]) };
  throw new InvalidArgumentError('INTERVAL:DEAD in milliseconds is expected.');
}

function mebibytes(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 0 && value <= 4096) return value;
  throw new InvalidArgumentError('A number in 0..4096 is expected.');
}

function die(code: number, text: string): never {
  process.stderr.write(`lockstepd: ${text}\n`);
  process.exit(code);
}

/** A unix socket that somebody answers on belongs to a daemon that runs; one that nobody does was left by one that died. */
async function claimSocket(path: string): Promise<void> {
  const isAlive = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.on('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.on('error', () => resolve(false));
  });
  if (isAlive) die(EXIT_CANNOT, `another daemon listens on ${path}`);
  removeStaleSocket(path);
}

function tlsOf(folder: string | undefined): TlsFolder | undefined {
  try {
    return folder === undefined ? undefined : new TlsFolder(resolve(folder));
  } catch (error) {
    die(EXIT_CANNOT, (error as Error).message);
  }
}

async function main(options: Options): Promise<void> {
  const configPath = resolve(options.config ?? defaultPaths.find((path) => existsSync(path)) ?? defaultPaths[0]!);
  const logger = newLogger(options.logLevel, options.node);
  const broken = (error: unknown): void => {
    logger.fatal({ err: error }, 'a broken invariant: this process ends');
    if (recorder) {
      const path = join(options.run, `crash-${new Date().toISOString().replaceAll(/[:.]/g, '-')}.recording`);
      recorder.writeNow(path);
      logger.fatal({ event: 'recording', path }, `what led to it is in ${path} (lockstep replay)`);
    }
    process.exit(EXIT_BROKEN);
  };
  const tls = tlsOf(options.tlsCertificates);
  const daemon = new Daemon(options.node, configPath, broken, options.heartbeat, new Placements(options.state), { tls, isDirect: options.directIo });
  const recorder = options.record > 0 ? new FlightRecorder(daemon.driver.node, options.record * 1048576, daemon.driver.arena) : undefined;
  daemon.driver.recorder = recorder;
  process.on('uncaughtException', broken);
  const nbd = new NbdServer(daemon.volumes, (text) => logger.info({ event: 'nbd' }, text), daemon.driver.arena, tls);
  daemon.volumes.onAdmit = (resource, volume, on) => nbd.admit(resource, volume, on);
  daemon.volumes.onCarriedOut = () => nbd.sendReplies();
  daemon.driver.observations.subscribe((event) => logObservation(logger, event, daemon.minorOf));

  let configured: string[];
  try {
    configured = [...daemon.configured().keys()];
  } catch (error) {
    if (error instanceof ConfigError) die(error.exitCode === 2 ? 2 : EXIT_CONFIG, error.message);
    if (error instanceof CannotOpen) die(EXIT_CANNOT, error.message);
    throw error;
  }

  const control = options.control ?? join(options.run, 'control.sock');
  const nbdAddresses: NbdAddress[] = options.nbd ?? [{ kind: 'unix', path: join(options.run, 'nbd.sock') }];
  const controlServer = new ControlServer(daemon, (path) => {
    if (!recorder) throw new Error('this daemon records nothing (--record 0)');
    return recorder.write(path);
  });
  try {
    for (const path of [control, ...nbdAddresses.flatMap((address) => (address.kind === 'unix' ? [address.path] : []))]) {
      mkdirSync(dirname(path), { recursive: true });
      await claimSocket(path);
    }
    await controlServer.listen(control);
    for (const address of nbdAddresses) {
      const bound = await nbd.listen(address).catch((error: Error) => die(EXIT_CANNOT, `NBD on ${addressText(address)}: ${reasonOf(error)}`));
      logger.info({ event: 'listening' }, `NBD on ${addressText(bound)}`);
    }
  } catch (error) {
    die(EXIT_CANNOT, (error as Error).message);
  }
  let metrics: Metrics | undefined;
  if (options.metrics) {
    const { host, port } = options.metrics;
    metrics = new Metrics(daemon);
    daemon.volumes.latencies = metrics.latencies;
    const bound = await metrics.listen(host, port).catch((error: Error) => die(EXIT_CANNOT, `metrics on ${host}:${port}: ${reasonOf(error)}`));
    logger.info({ event: 'listening', metrics: bound }, `metrics on ${host}:${bound}`);
  }
  logger.info({ event: 'started', config: configPath, control }, `lockstepd serves ${configPath} as ${options.node}`);

  const perform = async (what: string, work: () => Promise<{ object: string; reply: { ok: boolean; code: number; text: string } }[]>): Promise<void> => {
    try {
      for (const { object, reply } of await work()) if (!reply.ok) logger.error({ event: what }, `${what} ${object}: (${reply.code}) ${reply.text}`);
    } catch (error) {
      logger.error({ event: what }, `${what}: ${(error as Error).message}`);
    }
  };
  let isStopping = false;
  const stop = (signal: string): void => {
    if (isStopping) return;
    isStopping = true;
    logger.info({ event: 'stopping' }, `${signal}: stopping`);
    nbd.close();
    void daemon.stop().then((left) => {
      for (const text of left) logger.warn({ event: 'stopping' }, text);
      controlServer.close();
      metrics?.close();
      for (const path of [control, ...nbdAddresses.flatMap((address) => (address.kind === 'unix' ? [address.path] : []))]) removeStaleSocket(path);
      logger.info({ event: 'stopped' }, 'stopped');
      process.exit(0);
    });
  };
  process.on('SIGTERM', () => stop('SIGTERM'));
  process.on('SIGINT', () => stop('SIGINT'));
  process.on('SIGHUP', () => {
    logger.info({ event: 'adjust' }, 'SIGHUP: adjusting to the configuration');
    try {
      tls?.reload();
    } catch (error) {
      logger.error({ event: 'adjust' }, (error as Error).message);
    }
    void perform('adjust', async () => {
      const answers = [];
      for (const resource of daemon.configured().keys()) answers.push(...(await daemon.adjust(resource, false)).answers);
      return answers;
    });
  });
  if (options.up) for (const resource of configured) await perform('up', () => daemon.up(resource));
}

const program = new Command('lockstepd')
  .description('Serves mirrored block devices over NBD.')
  .option('-c, --config <file>', `configuration in DRBD's language (default: the first of ${defaultPaths.join(', ')})`)
  .option('--node <name>', 'the name of this machine in the configuration', process.env['__DRBD_NODE__'] ?? hostname())
  .option('--run <folder>', 'where the sockets are', '/run/lockstep')
  .option('--state <folder>', 'where it is kept which size each disk had, so that one that has grown is still understood', '/var/lib/lockstep')
  .option('--control <path>', 'the control socket (default: control.sock in the run folder)')
  .option('--nbd <address>', 'serves NBD there: unix:PATH or HOST:PORT; may be given several times (default: nbd.sock in the run folder)', nbdAddress)
  .option('--no-up', 'does not bring the resources up at the start')
  .option('--heartbeat <interval:dead>', 'heartbeats over UDP, every so many milliseconds; a Primary that is silent for so long is replaced (default: none)', heartbeatOf)
  .option('--metrics <address>', 'serves /metrics, /healthz and /promotable there: HOST:PORT (default: nowhere)', metricsAddress)
  .option('--direct-io', 'reads and writes data past the page cache (O_DIRECT)')
  .option('--tls-certificates <folder>', 'speaks TLS with the peers and with NBD clients over TCP, both sides with certificates: ca-cert.pem, server-cert.pem, server-key.pem (default: in the clear)')
  .option('--record <MiB>', 'how much of what went in and out of the core the flight recorder keeps; 0: nothing', mebibytes, 16)
  .option('--log-level <level>', 'trace, debug, info, warn, error, fatal or silent', 'info');

await main(program.parse().opts<Options>());
