#!/usr/bin/env node
/**
 * `lockadm`: drbdadm's verbs against a running lockstepd (configuration.md §4). Words, output shapes and exit codes are
 * drbdadm's; what drbdadm does with drbdsetup and drbdmeta goes through the control socket and lockmeta.
 */

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, CommanderError } from 'commander';
import type { ControlRequest, Hello, OrderVerb } from '../daemon/control.js';
import type { Answer } from '../daemon/daemon.js';
import { cstateOf, peerDevice, statusText, type ResourceStatus } from '../daemon/status.js';
import { dumpConfiguration } from '../conf/dump.js';
import { CannotOpen, defaultPaths, loadConfiguration } from '../conf/load.js';
import type { Configuration } from '../conf/meaning.js';
import { inUnit } from '../conf/options.js';
import { ConfigError } from '../conf/tree.js';
import { AdmError, ask, EXIT_CANNOT, EXIT_CONFIG, EXIT_REFUSED, EXIT_TIMEOUT, EXIT_USAGE, TimedOut } from './connection.js';
import { minorOf, targetsOf, volumesOf, type Target } from './targets.js';

interface Options {
  config?: string;
  control: string;
  node?: string;
  dryRun?: boolean;
  verbose?: boolean;
  force?: boolean;
  json?: boolean;
  statistics?: boolean;
  now?: boolean;
  timestamps?: boolean;
  clearBitmap?: boolean;
  discardMyData?: boolean;
  tentative?: boolean;
  start?: string;
  stop?: string;
  wfcTimeout?: number;
  timeout?: number;
  size?: string;
  assumeClean?: boolean;
  assumePeerHasSpace?: boolean;
  alStripes?: string;
  alStripeSizeKB?: string;
}

/** Like drbdadm's cmd-timeout-medium: no command is silent for longer. */
const COMMAND_TIMEOUT_S = 121;

/** What a verb works with. */
class Session {
  private loaded: { configuration: Configuration; path: string; node: string } | undefined = undefined;

  constructor(readonly options: Options) {}

  /** The configuration: of the file that was named, else of the daemon's, else of the usual places. */
  async configuration(): Promise<{ configuration: Configuration; path: string; node: string }> {
    if (this.loaded) return this.loaded;
    const hello = this.options.config === undefined || this.options.node === undefined ? await ask<Hello>(this.options.control, { do: 'hello' }).catch(() => undefined) : undefined;
    const path = this.options.config ?? hello?.config ?? defaultPaths.find((one) => existsSync(one)) ?? defaultPaths[0]!;
    const node = this.options.node ?? hello?.node ?? process.env['__DRBD_NODE__'] ?? hostname();
    const configuration = loadConfiguration(path, node);
    for (const warning of this.options.verbose === true ? configuration.warnings : []) warn(warning);
    this.loaded = { configuration, path, node };
    return this.loaded;
  }

  async targets(words: readonly string[]): Promise<Target[]> {
    return targetsOf((await this.configuration()).configuration, words);
  }

  async ask<T>(request: ControlRequest, what: string): Promise<T> {
    const timeoutS = this.options.timeout ?? COMMAND_TIMEOUT_S;
    try {
      return await ask<T>(this.options.control, request, timeoutS);
    } catch (error) {
      if (!(error instanceof TimedOut)) throw error;
      throw new AdmError(EXIT_CANNOT, `Command '${what}' did not terminate within ${timeoutS} seconds${await this.reason()}`);
    }
  }

  /** Why things wait, as far as the daemon knows. */
  private async reason(): Promise<string> {
    const statuses = await ask<ResourceStatus[]>(this.options.control, { do: 'status' }, 2).catch(() => []);
    const reasons = statuses.flatMap((status) => (status['frozen-reason'] === undefined ? [] : [`${status.name}: ${status['frozen-reason']}`]));
    return reasons.length > 0 ? ` (${reasons.join('; ')})` : '';
  }
}

function print(text: string): void {
  process.stdout.write(text);
}

function warn(text: string): void {
  process.stderr.write(`${text}\n`);
}

// ---- Answers of the daemon -----------------------------------------------------------------------------------------------

/** drbdsetup's exit code of a refusal. */
function exitOf({ reply }: Answer): number {
  if (reply.ok) return 0;
  if (reply.code > 100) return EXIT_CONFIG;
  return { [-2]: 17, [-4]: 16, [-16]: 5 }[reply.code] ?? EXIT_REFUSED;
}

/** Tells a refusal as drbdsetup and drbdadm do. */
function tell(answer: Answer, object: string, what: string): number {
  const code = exitOf(answer);
  if (code === 0) return 0;
  const { reply } = answer;
  warn(reply.code > 100 ? `${object}: Failure: (${reply.code}) ${reply.text}` : `${object}: State change failed: (${reply.code}) ${reply.text}`);
  const info = reply.blocker === undefined ? answer.detail : `held open by ${reply.blocker}`;
  if (info !== undefined) warn(`additional info from kernel:\n${info}`);
  warn(`Command '${what}' terminated with exit code ${code}`);
  return code;
}

/** A position in sectors, with a unit (`10G`) or without. */
function sectors<K extends string>(name: K, text: string | undefined): { [key in K]?: number } {
  if (text === undefined) return {};
  const amount = inUnit(text, 's');
  if (amount === undefined) throw new AdmError(EXIT_USAGE, `'${text}' is no position: a number of sectors, or one with K, M or G was expected`);
  return { [name]: amount } as { [key in K]?: number };
}

function wholeNumber<K extends string>(name: K, text: string | undefined): { [key in K]?: number } {
  if (text === undefined) return {};
  if (!/^\d{1,9}$/.test(text)) throw new AdmError(EXIT_USAGE, `'${text}' is no whole number`);
  return { [name]: Number(text) } as { [key in K]?: number };
}

/** An order for the resource as a whole. */
const resourceOrder =
  (verb: OrderVerb, extra: (options: Options, target: Target) => object = () => ({})) =>
  async (session: Session, target: Target): Promise<number> => {
    if (target.volume !== undefined && !perVolume.has(verb)) throw new AdmError(EXIT_USAGE, `${verb} operates on whole resources, but you specified a specific volume!`);
    const what = `lockadm ${verb} ${target.resource.name}`;
    if (session.options.dryRun === true) {
      print(`${what}\n`);
      return 0;
    }
    const answer = await session.ask<Answer>({ do: 'order', verb, resource: target.resource.name, ...extra(session.options, target) }, what);
    return tell(answer, target.resource.name, what);
  };

/** Orders that drbdadm gives to a volume, and the core to a resource: a volume may be named. */
const perVolume = new Set<OrderVerb>(['primary', 'secondary', 'suspend-io', 'resume-io']);

const volumeOrder =
  (verb: OrderVerb, extra: (options: Options, target: Target, volume: number) => object = () => ({})) =>
  async (session: Session, target: Target): Promise<number> => {
    for (const volume of volumesOf(target)) {
      const what = `lockadm ${verb} ${target.resource.name}/${volume}`;
      if (session.options.dryRun === true) {
        print(`${what}\n`);
        continue;
      }
      const answer = await session.ask<Answer>({ do: 'order', verb, resource: target.resource.name, volume, ...extra(session.options, target, volume) }, what);
      const code = tell(answer, String(minorOf(target, volume)), what);
      if (code !== 0) return code;
    }
    return 0;
  };

/** As drbdadm asks: for the size that the configuration gives. */
const resizeOf = ({ size, assumeClean, assumePeerHasSpace, alStripes, alStripeSizeKB }: Options, target: Target, volume: number): object => ({
  sizeSectors: target.local.config.volumes.find((one) => one.volume === volume)!.sizeSectors,
  ...sectors('sizeSectors', size),
  assumeClean: assumeClean === true,
  assumePeerHasSpace: assumePeerHasSpace === true,
  ...wholeNumber('alStripes', alStripes),
  ...wholeNumber('alStripeSizeKb', alStripeSizeKB),
});

const peerOrder =
  (verb: 'connect' | 'disconnect', extra: (options: Options) => object) =>
  async (session: Session, target: Target): Promise<number> => {
    for (const { name: peer } of target.local.peers) {
      const code = await resourceOrder(verb, (options) => ({ peer, ...extra(options) }))(session, target);
      if (code !== 0) return code;
    }
    return 0;
  };

async function up(session: Session, { resource: { name } }: Target): Promise<number> {
  if (session.options.dryRun === true) return printed(`lockadm up ${name}\n`);
  const answers = await session.ask<Answer[]>({ do: 'up', resource: name }, `lockadm up ${name}`);
  return answers.map((answer) => tell(answer, answer.object, `lockadm up ${name}`)).find((code) => code !== 0) ?? 0;
}

async function newResource(session: Session, { resource: { name } }: Target): Promise<number> {
  return tell(await session.ask<Answer>({ do: 'new-resource', resource: name }, `lockadm new-resource ${name}`), name, `lockadm new-resource ${name}`);
}

async function adjust(session: Session, { resource: { name } }: Target): Promise<number> {
  const dryRun = session.options.dryRun === true;
  const { steps, answers } = await session.ask<{ steps: string[]; answers: Answer[] }>({ do: 'adjust', resource: name, dryRun }, `lockadm adjust ${name}`);
  if (dryRun || session.options.verbose === true) for (const step of steps) print(`lockadm ${step}\n`);
  return answers.map((answer) => tell(answer, answer.object, `lockadm adjust ${name}`)).find((code) => code !== 0) ?? 0;
}

// ---- Looking ---------------------------------------------------------------------------------------------------------------

const statusesOf = (session: Session, resources: string[] | undefined): Promise<ResourceStatus[]> =>
  session.ask<ResourceStatus[]>(resources ? { do: 'status', resources } : { do: 'status' }, 'lockadm status');

async function status(session: Session, words: readonly string[]): Promise<number> {
  const names = words.length === 0 || words.includes('all') ? undefined : (await session.targets(words)).map(({ resource }) => resource.name);
  const statuses = await statusesOf(session, names);
  const missing = names?.find((name) => !statuses.some((one) => one.name === name));
  if (session.options.json === true) print(`${JSON.stringify(statuses, undefined, 2)}\n`);
  else {
    const { verbose = false, statistics = false } = session.options;
    for (const one of statuses) print(`${statusText(one, { verbose, statistics })}\n`);
    if (statuses.length === 0 && names === undefined) print('# No currently configured DRBD found.\n');
  }
  if (missing === undefined) return 0;
  warn(`${missing}: No such resource`);
  return EXIT_CONFIG;
}

/** One line for each volume: what it is, or that nothing is configured. */
const lookAt =
  (textOf: (status: ResourceStatus, volume: number) => string) =>
  async (session: Session, target: Target): Promise<number> => {
    const { name } = target.resource;
    const [found] = await statusesOf(session, [name]);
    for (const volume of volumesOf(target)) {
      if (!found) {
        warn(`${name}: Unknown resource`);
        return EXIT_CONFIG;
      }
      const disk = found.devices.find((device) => device.volume === volume)?.['disk-state'];
      const isUnconfigured = disk === 'Diskless' && found.connections.every((connection) => connection['connection-state'] === 'StandAlone');
      print(`${isUnconfigured ? 'Unconfigured' : textOf(found, volume)}\n`);
    }
    return 0;
  };

const role = lookAt((found) => `${found.role}/${found.connections[0]?.['peer-role'] ?? 'Unknown'}`);
const cstate = lookAt(cstateOf);
const dstate = lookAt((found, volume) => `${found.devices.find((device) => device.volume === volume)!['disk-state']}/${peerDevice(found, volume)?.['peer-disk-state'] ?? 'DUnknown'}`);

const waitFor =
  (what: 'connect' | 'sync') =>
  async (session: Session, target: Target): Promise<number> => {
    const { wfcTimeout } = session.options;
    for (const volume of volumesOf(target)) {
      const request: ControlRequest = { do: 'wait', what, resource: target.resource.name, volume, ...(wfcTimeout === undefined ? {} : { timeoutS: wfcTimeout }) };
      // Its own timeout bounds it.
      if (!(await ask<boolean>(session.options.control, request))) return EXIT_TIMEOUT;
    }
    return 0;
  };

async function events2(session: Session, words: readonly string[]): Promise<number> {
  const resources = words.length === 0 || words.includes('all') ? {} : { resources: (await session.targets(words)).map(({ resource }) => resource.name) };
  const { now = false, timestamps = false, control } = session.options;
  await ask(control, { do: 'events', now, ...resources }, undefined, (line) => print(`${timestamps ? `${timestamp(new Date())} ` : ''}${line}\n`));
  return 0;
}

/** `2026-11-24T06:00:00.123000+00:00` in the local time zone. */
function timestamp(time: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  const offset = -time.getTimezoneOffset();
  const date = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  const clock = `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${String(time.getMilliseconds()).padStart(3, '0')}000`;
  return `${date}T${clock}${offset < 0 ? '-' : '+'}${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`;
}

// ---- Configuration and metadata ------------------------------------------------------------------------------------------------

async function dump(session: Session, words: readonly string[]): Promise<number> {
  const { configuration, path } = await session.configuration();
  const names = words.length === 0 || words.includes('all') ? undefined : targetsOf(configuration, words).map(({ resource }) => resource.name);
  return printed(dumpConfiguration(path, configuration, (name) => names?.includes(name) ?? true));
}

function printed(text: string): number {
  print(text);
  return 0;
}

const lookUp =
  (textOf: (target: Target, volume: number) => string, eachVolume = true) =>
  async (_session: Session, target: Target): Promise<number> => {
    for (const volume of eachVolume ? volumesOf(target) : [0]) print(`${textOf(target, volume)}\n`);
    return 0;
  };

const lockmetaPath = fileURLToPath(new URL('../lockmeta.js', import.meta.url));

/** Runs lockmeta on the metadata of each volume. */
const metadata =
  (verb: string) =>
  async (session: Session, target: Target): Promise<number> => {
    for (const volume of volumesOf(target)) {
      const code = await runLockmeta(session, target, volume, verb);
      if (code !== 0) return code;
    }
    return 0;
  };

async function runLockmeta(session: Session, target: Target, volume: number, verb: string): Promise<number> {
  const config = target.local.config.volumes.find((one) => one.volume === volume)!;
  const { diskPath, metaPath } = target.local.volumes.find((one) => one.volume === volume)!;
  const index = config.metaDisk.kind === 'internal' ? 'internal' : config.metaDisk.kind === 'flexible' ? 'flex-external' : String(config.metaDisk.index);
  const args = [...(session.options.force === true ? ['--force'] : []), String(config.minor), 'v08', metaPath ?? diskPath, index, verb];
  if (session.options.dryRun === true) return printed(`lockmeta ${args.join(' ')}\n`);
  const { status: code, error } = spawnSync(process.execPath, [lockmetaPath, ...args], { stdio: 'inherit' });
  if (error) throw new AdmError(EXIT_CANNOT, `lockmeta: ${error.message}`);
  if (code !== 0) warn(`Command 'lockmeta ${args.join(' ')}' terminated with exit code ${code}`);
  return code ?? EXIT_CANNOT;
}

/** The daemon's word about an attached disk; else what is on the disk. */
const generations =
  (verb: 'show-gi' | 'get-gi') =>
  async (session: Session, target: Target): Promise<number> => {
    for (const volume of volumesOf(target)) {
      const text = await ask<string | null>(session.options.control, { do: verb, resource: target.resource.name, volume }).catch(() => null);
      if (text !== null) print(text);
      else {
        const code = await runLockmeta(session, target, volume, verb);
        if (code !== 0) return code;
      }
    }
    return 0;
  };

async function record(session: Session, path: string): Promise<number> {
  const { bytes, inputs } = await session.ask<{ bytes: number; inputs: number }>({ do: 'record', path: resolve(path) }, 'lockadm record');
  return printed(`${resolve(path)}: ${inputs} inputs, ${bytes} bytes\n`);
}

// ---- The command line -------------------------------------------------------------------------------------------------------------

type PerTarget = (session: Session, target: Target) => Promise<number>;

const force = ['-f, --force', 'does it in spite of what speaks against it'] as const;
const volumeVerbs: [string, string, PerTarget, (readonly [string, string])[]?][] = [
  ['up', 'brings a resource up: attaches its disks, connects', up],
  ['down', 'takes a resource down', resourceOrder('down')],
  ['adjust', 'makes a running resource what the configuration says', adjust],
  ['new-resource', 'makes a resource without disks and connection', newResource],
  ['attach', 'attaches the disk', volumeOrder('attach')],
  ['detach', 'detaches the disk', volumeOrder('detach', (options) => ({ force: options.force === true })), [force]],
  ['connect', 'connects to the peer', peerOrder('connect', ({ discardMyData, tentative }) => ({ discardMyData: discardMyData === true, tentative: tentative === true })),
    [['--discard-my-data', 'gives up what this node wrote while the two were apart'], ['--tentative', 'only finds out what would happen']]],
  ['disconnect', 'disconnects from the peer', peerOrder('disconnect', (options) => ({ force: options.force === true })), [force]],
  ['primary', 'makes this node Primary', resourceOrder('primary', (options) => ({ force: options.force === true })), [force]],
  ['secondary', 'makes this node Secondary', resourceOrder('secondary')],
  ['invalidate', "takes all data from the peer", volumeOrder('invalidate')],
  ['invalidate-remote', 'gives all data to the peer', volumeOrder('invalidate-remote')],
  ['outdate', 'marks the data of this node outdated', volumeOrder('outdate')],
  ['pause-sync', 'pauses a resync', volumeOrder('pause-sync')],
  ['resume-sync', 'goes on with a resync', volumeOrder('resume-sync')],
  ['verify', 'compares the disks', volumeOrder('verify', ({ start, stop }) => ({ ...sectors('startSector', start), ...sectors('stopSector', stop) })),
    [['--start <position>', 'from there (default: where the last verify ended)'], ['--stop <position>', 'to there']]],
  ['resize', 'takes the sizes that the disks have now', volumeOrder('resize', resizeOf),
    [['--size <size>', 'so large (default: what the configuration says, else as large as possible)'], ['--assume-clean', 'what is new is equal on both sides'], ['--assume-peer-has-space', 'the peer that is away can follow'],
      ['--al-stripes <number>', 'another activity log'], ['--al-stripe-size-kB <KiB>', 'another activity log']]],
  ['suspend-io', 'holds application I/O', resourceOrder('suspend-io')],
  ['resume-io', 'lets application I/O go on', resourceOrder('resume-io')],
  ['new-current-uuid', 'begins a new generation of the data', volumeOrder('new-current-uuid', (options) => ({ clearBitmap: options.clearBitmap === true })),
    [['--clear-bitmap', 'declares both disks equal as they are']]],
  ['role', 'prints the roles', role],
  ['cstate', 'prints the connection state', cstate],
  ['dstate', 'prints the disk states', dstate],
  ['wait-connect', 'waits until the peer is connected', waitFor('connect'), [['--wfc-timeout <seconds>', 'how long at most; 0 is for ever']]],
  ['wait-sync', 'waits until no resync is running', waitFor('sync'), [['--wfc-timeout <seconds>', 'how long at most; 0 is for ever']]],
  ['show-gi', 'explains the generation identifiers', generations('show-gi')],
  ['get-gi', 'prints the generation identifiers', generations('get-gi')],
  ['create-md', 'writes new metadata', metadata('create-md'), [force]],
  ['dump-md', 'prints the metadata', metadata('dump-md'), [force]],
  ['apply-al', 'applies the activity log to the bitmap', metadata('apply-al')],
  ['wipe-md', 'destroys the metadata', metadata('wipe-md'), [force]],
  ['sh-resource', 'prints the names of resources', lookUp(({ resource }) => resource.name, false)],
  ['sh-dev', 'prints device names', lookUp(({ local }, volume) => local.volumes.find((one) => one.volume === volume)!.device)],
  ['sh-minor', 'prints minors', lookUp((target, volume) => String(minorOf(target, volume)))],
  ['sh-ll-dev', 'prints backing disks', lookUp(({ local }, volume) => local.volumes.find((one) => one.volume === volume)!.diskPath)],
  ['sh-md-dev', 'prints metadata devices', lookUp(({ local }, volume) => {
    const { diskPath, metaPath } = local.volumes.find((one) => one.volume === volume)!;
    return metaPath ?? diskPath;
  })],
  ['sh-ip', 'prints own addresses', lookUp(({ local }) => local.peers[0]!.local.host, false)],
];

function programOf(finish: (code: number) => void): Command {
  const program = new Command('lockadm')
    .description("Administers lockstepd with drbdadm's verbs.")
    .option('-c, --config <file>', "the configuration (default: the running daemon's)")
    .option('--control <path>', 'the control socket of the daemon', process.env['LOCKSTEP_CONTROL'] ?? '/run/lockstep/control.sock')
    .option('--node <name>', "the name of this machine in the configuration (default: the running daemon's)")
    .option('-d, --dry-run', 'prints what would be done')
    .option('-v, --verbose', 'says more')
    .option('--timeout <seconds>', `how long a command may take (default: ${COMMAND_TIMEOUT_S})`, Number);
  const add = (verb: string, description: string, resources: '<resources...>' | '[resources...]', run: (session: Session, words: string[]) => Promise<number>): Command =>
    program
      .command(`${verb} ${resources}`)
      .description(description)
      .action(async (words: string[], _options: object, command: Command) => {
        const options = command.optsWithGlobals<Options>();
        if (options.wfcTimeout !== undefined) options.wfcTimeout = Number(options.wfcTimeout);
        finish(await run(new Session(options), words));
      });
  for (const [verb, description, run, options] of volumeVerbs) {
    const command = add(verb, description, '<resources...>', async (session, words) => {
      let worst = 0;
      for (const target of await session.targets(words)) {
        worst = Math.max(worst, await run(session, target));
        if (worst >= EXIT_CANNOT) break;
      }
      return worst;
    });
    for (const [flags, text] of options ?? []) command.option(flags, text);
  }
  add('status', 'prints the state of resources', '[resources...]', status).option('--json', 'as JSON').option('-s, --statistics', 'with numbers');
  add('events2', 'prints states, and then each change', '[resources...]', events2).option('--now', 'only the states').option('--timestamps', 'with the time of each').option('--statistics', 'accepted, and the same');
  add('dump', 'prints the configuration in its normal form', '[resources...]', dump);
  add('sh-resources', 'prints the names of all resources', '[resources...]', async (session) => {
    const { configuration } = await session.configuration();
    return printed(`${targetsOf(configuration, ['all']).map(({ resource }) => resource.name).join(' ')}\n`);
  });
  program
    .command('record <file>')
    .description("writes what the daemon's flight recorder holds")
    .action(async (path: string, _options: object, command: Command) => finish(await record(new Session(command.optsWithGlobals<Options>()), path)));
  return program;
}

async function main(argv: readonly string[]): Promise<number> {
  let code = 0;
  const program = programOf((result) => (code = result));
  program.exitOverride();
  for (const command of program.commands) command.exitOverride();
  try {
    // drbdadm's `-- --backend-option` is an option like any other here.
    await program.parseAsync(argv.filter((word) => word !== '--'), { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
    if (error instanceof AdmError) warn(error.message);
    else if (error instanceof ConfigError) warn(error.message);
    else if (error instanceof CannotOpen) warn(error.message);
    else throw error;
    if (error instanceof ConfigError) return error.exitCode;
    return error instanceof AdmError ? error.exitCode : EXIT_CANNOT;
  }
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // A reader that went away (`| head`) is no error.
  process.exit(error.code === 'EPIPE' ? 0 : EXIT_CANNOT);
});
process.exitCode = await main(process.argv.slice(2));
