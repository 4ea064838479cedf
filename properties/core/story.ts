// Stories: files of commands, each followed by exactly what it must cause, as text that a reviewer reads (the manner of etcd's
// raft). A story is
//
//     alice primary
//     ----
//     alice: role(Secondary -> Primary) because of primary
//     alice: answered 1
//
// with a blank line behind. Lines that begin with # are comments. `LOCKSTEP_REWRITE=1` writes what really happened into the
// files: the differences are then judged like any change of code. What the words mean is in `commands`, below.

import type { Command } from '../../src/contract/command.js';
import { Conn, connName, Disk as DiskState, diskName, roleName, type State } from '../../src/state/states.js';
import { corrupt, crash, cut, drive, advance, application, command, complete, exitHandler, names, configNow, newPair, start, stepUntil, type Asked, type Name, type Pair, type PairOptions } from './pair.js';
import { persist, resizeDevice, write as writeDisk } from './disk.js';
import { watchOrder, type OrderWatch } from './order.js';
import { describe, newNarrator, uuidsOf, type Narrator } from './narrate.js';

interface Teller {
  pair: Pair;
  narrator: Narrator;
}

/** The pair that the story is about now, and who watched it and those before. */
interface Holder {
  now: Teller | undefined;
  watches: OrderWatch[];
}

export interface Step {
  comments: string[];
  commands: string[];
  expected: string[];
}

/** Steps of a story file. */
export function parseStory(text: string): Step[] {
  const steps: Step[] = [];
  let step: Step = { comments: [], commands: [], expected: [] };
  let isAnswer = false;
  for (const line of [...text.split('\n'), '']) {
    if (line === '----') isAnswer = true;
    else if (line.trim() === '') {
      if (isAnswer || step.comments.length > 0) steps.push(step);
      if (isAnswer || step.comments.length > 0) step = { comments: [], commands: [], expected: [] };
      isAnswer = false;
    } else if (isAnswer) step.expected.push(line);
    else if (line.startsWith('#')) step.comments.push(line);
    else step.commands.push(line.trim());
  }
  return steps;
}

export const writeStory = (steps: readonly Step[]): string =>
  steps.map(({ comments, commands, expected }) => [...comments, ...commands, ...(commands.length > 0 ? ['----', ...expected] : [])].join('\n')).join('\n\n') + '\n';

/** Tells the story; each step's lines are what happened. `restores`: every pass ends with a node made anew of its snapshot. */
export function tellStory(steps: readonly Step[], restores = false): { steps: Step[]; pair: Pair; watches: OrderWatch[] } {
  const teller: Holder = { now: undefined, watches: [] };
  const told = steps.map((step) => {
    const expected: string[] = [];
    for (const line of step.commands) expected.push(...runLine(teller, line, restores));
    return { ...step, expected };
  });
  return { steps: told, pair: teller.now!.pair, watches: teller.watches };
}

function runLine(holder: Holder, line: string, restores: boolean): string[] {
  const words = line.split(/\s+/);
  if (words[0] === 'new') {
    const narrator = newNarrator();
    const options = { ...optionsOf(words.slice(1)), restores };
    const pair = newPair(options);
    holder.watches.push(watchOrder(pair));
    pair.watchers.push((event) => narrator.lines.push(...describe(narrator, event)));
    holder.now = { pair, narrator };
    return [];
  }
  const teller = holder.now;
  if (!teller) throw new Error('a story begins with "new"');
  const { pair, narrator } = teller;
  narrator.lines = [];
  try {
    const more = runCommand(teller, words);
    drive(pair);
    return [...narrator.lines, ...more];
  } catch (error) {
    throw new Error(`"${line}", after\n${narrator.lines.slice(-24).join('\n')}\n${(error as Error).stack}`, { cause: error });
  }
}

/** `sectors=4096 protocol=A fencing=resource-only handlers=fence-peer,split-brain on-io-error=pass_on …` */
function optionsOf(words: readonly string[]): PairOptions {
  const options: PairOptions = {};
  const disk: Record<string, unknown> = {};
  const net: Record<string, unknown> = {};
  const bobNet: Record<string, unknown> = {};
  const number = (text: string): number | string => (/^\d+$/.test(text) ? Number(text) : text);
  for (const word of words) {
    const [key, value] = word.split('=') as [string, string];
    const camel = key.replaceAll(/-(\d?\w)/g, (_, letters: string) => letters.toUpperCase());
    switch (key) {
      case 'volumes':
      case 'sectors':
        options[key] = Number(value);
        break;
      case 'internal':
        options.metaDisk = { kind: 'internal' };
        break;
      case 'protocol-max':
        options.protocolMax = value.split(',').length === 2 ? (value.split(',').map(Number) as [number, number]) : [Number(value), Number(value)];
        break;
      /** Granules in sectors, of alice and of bob. */
      case 'discards':
        options.discardGranularitySectors = value.split(',').map(Number) as [number, number];
        break;
      case 'bob-features':
        options.bobFeatures = Number(value);
        break;
      /** resync-after=1:0,2:1: volume 1 after minor 0, volume 2 after minor 1. */
      case 'resync-after':
        options.resyncAfter = Object.fromEntries(value.split(',').map((pair) => pair.split(':').map(Number)));
        break;
      case 'handlers':
        options.handlers = value.split(',');
        break;
      case 'on-no-data-accessible':
        options.onNoDataAccessible = value as 'io-error';
        break;
      case 'membership':
        options.membership = { intervalMs: 400, deadTimeMs: Number(value) };
        break;
      case 'fencing':
      case 'read-balancing':
      case 'on-io-error':
      case 'resync-rate':
      case 'al-extents':
      case 'c-plan-ahead':
      case 'disk-timeout':
      case 'rs-discard-granularity':
        disk[camel] = number(value);
        break;
      case 'discard-zeroes-if-aligned':
      case 'al-updates':
      case 'disk-flushes':
      case 'md-flushes':
        disk[camel] = value === 'yes';
        break;
      case 'allow-two-primaries':
      case 'csums-after-crash-only':
        net[camel] = value === 'yes';
        break;
      default:
        if (key.startsWith('bob-')) bobNet[camel.charAt(3).toLowerCase() + camel.slice(4)] = number(value);
        else net[camel] = number(value);
    }
  }
  if (disk['cPlanAhead'] === undefined) disk['cPlanAhead'] = 0;
  return { ...options, disk, net, bobNet };
}

const SECOND = 1_000_000;
const usOf = (text: string): number => Math.round(text.endsWith('ms') ? parseFloat(text) * 1000 : parseFloat(text) * SECOND);

/** Returns lines that come behind what happened. */
function runCommand(teller: Teller, words: string[]): string[] {
  const { pair, narrator } = teller;
  const [first, second] = words as [string, string];
  if (first === 'alice' || first === 'bob') return runOn(teller, first, words.slice(1));
  switch (first) {
    /** Both attach and connect; nothing of it is told. */
    case 'up':
      up(pair);
      narrator.lines = [];
      return status(teller);
    /** As `up`, and the first full sync runs to its end with alice as Primary. */
    case 'up-to-date':
      up(pair);
      command(pair, 'alice', { verb: 'primary', resource: 'r0', force: true });
      advance(pair, 120 * SECOND);
      narrator.lines = [];
      return status(teller);
    case 'advance':
      advance(pair, usOf(second));
      return [];
    /** Until they have found each other, and a little longer. */
    case 'meet':
      for (let seconds = 0; seconds < 120 && !isConnected(pair); seconds++) advance(pair, SECOND);
      advance(pair, 3 * SECOND);
      return [];
    /** until alice WFBitMapS hold bob>alice data, until alice thawed release X hold Y: X goes on, and at the very moment of that state Y is held. */
    case 'until': {
      const hold = words.indexOf('hold');
      if (words[3] === 'release') pair.holds.delete(words.slice(4, hold).join(' '));
      stepUntil(pair, () => statesOf(pair, second as Name).some(({ conn, suspFen }) => (words[2] === 'thawed' ? !suspFen : connName(conn) === words[2])));
      pair.holds.add(words.slice(hold + 1).join(' '));
      return [];
    }
    case 'cut':
      cut(pair);
      pair.holds.add('connect');
      return [];
    /** Nothing gets through any more, and nobody is told. */
    case 'dark':
      pair.isDark = true;
      return [];
    case 'heal':
      pair.isDark = false;
      pair.holds.delete('connect');
      return [];
    /** hold alice>bob data, hold bob meta disk, hold alice sent */
    case 'hold':
      pair.holds.add(words.slice(1).join(' '));
      return [];
    /** corrupt alice P_DATA: of the first such packet that is on its way from alice, the last byte. */
    case 'corrupt':
      corrupt(pair, second as Name, words[2]!);
      return [];
    case 'release':
      pair.holds.delete(words.slice(1).join(' '));
      return [];
    /** show packets, show disk; hide packets */
    case 'show':
      for (const word of words.slice(1)) narrator.shown.add(word);
      return [];
    case 'hide':
      for (const word of words.slice(1)) narrator.shown.delete(word);
      return [];
    case 'status':
      return status(teller);
    case 'compare':
      return compare(pair);
    default:
      throw new Error(`no such command: ${first}`);
  }
}

export function up(pair: Pair): void {
  const volumes = pair.options.volumes ?? 1;
  for (const name of names) for (let volume = 0; volume < volumes; volume++) command(pair, name, { verb: 'attach', resource: 'r0', volume });
  drive(pair);
  for (const name of names) command(pair, name, connectCommand(name));
  advance(pair, 2 * SECOND);
}

const connectCommand = (name: Name, words: readonly string[] = []): Command => ({
  verb: 'connect',
  resource: 'r0',
  peer: name === 'alice' ? 'bob' : 'alice',
  discardMyData: words.includes('discard-my-data'),
  tentative: words.includes('tentative'),
});

/** `8+16` sectors, `1:8+16` of volume 1. */
const rangeOf = (text: string): { volume: number; sector: number; sectors: number } => {
  const match = /^(?:(\d+):)?(\d+)\+(\d+)$/.exec(text);
  if (!match) throw new Error(`no range: ${text}`);
  return { volume: Number(match[1] ?? 0), sector: Number(match[2]), sectors: Number(match[3]) };
};

function runOn(teller: Teller, name: Name, words: string[]): string[] {
  const { pair } = teller;
  const machine = pair.machines[name];
  const [verb, argument] = words as [string, string];
  const give = (what: Command): string[] => {
    command(pair, name, what);
    return [];
  };
  const resource = 'r0';
  const volume = Number(words.find((word) => /^\d+$/.test(word)) ?? 0);
  const force = words.includes('force');
  switch (verb) {
    case 'attach':
    case 'outdate':
    case 'invalidate':
    case 'invalidate-remote':
    case 'pause-sync':
    case 'resume-sync':
      return give({ verb, resource, volume });
    case 'detach':
      return give({ verb, resource, volume, force });
    /** alice verify from=8 to=64 */
    case 'verify': {
      const sectorOf = (key: string): number | undefined => {
        const word = words.find((one) => one.startsWith(`${key}=`));
        return word === undefined ? undefined : Number(word.slice(key.length + 1));
      };
      const [startSector, stopSector] = [sectorOf('from'), sectorOf('to')];
      return give({ verb, resource, volume, ...(startSector !== undefined && { startSector }), ...(stopSector !== undefined && { stopSector }) });
    }
    /** bob rots 8+8 x: the medium holds other bytes, and nobody was told. */
    case 'rots': {
      const { volume: of, sector, sectors } = rangeOf(argument);
      const disk = machine.disks.get(of)!;
      writeDisk(disk, 'data', sector, new Uint8Array(sectors * 512).fill(words[2]!.charCodeAt(0)));
      persist(disk, 'data', sector, sectors);
      return [];
    }
    case 'connect':
      return give(connectCommand(name, words));
    case 'disconnect':
      return give({ verb, resource, peer: name === 'alice' ? 'bob' : 'alice', force });
    case 'primary':
      return give({ verb, resource, force });
    case 'secondary':
    case 'suspend-io':
    case 'resume-io':
    case 'down':
    case 'del-resource':
      return give({ verb, resource });
    /** alice options protocol=A resync-rate=1000: everything else stays as this machine has it. */
    case 'options': {
      const { net, disk } = optionsOf(words.slice(1));
      Object.assign(machine.changed.net, net);
      Object.assign(machine.changed.disk, disk);
      return give({ verb, resource, config: configNow(pair, name) });
    }
    case 'new-current-uuid':
      return give({ verb, resource, volume, clearBitmap: words.includes('clear-bitmap') });
    /** alice write 0+8 a 8+8 b fua: in one pass; each block is filled with the letter. */
    case 'write': {
      const asked: Asked[] = [];
      for (let at = 1; at + 1 < words.length; at += 2) {
        const { volume: of, sector, sectors } = rangeOf(words[at]!);
        asked.push({ ask: 'write', volume: of, sector, data: new Uint8Array(sectors * 512).fill(words[at + 1]!.charCodeAt(0)), fua: words.includes('fua') });
      }
      application(pair, name, asked);
      return [];
    }
    case 'read':
    case 'discard':
    case 'zeroes':
    case 'zeroes-unmap':
      application(pair, name, [{ ask: verb, ...rangeOf(argument) }]);
      return [];
    case 'flush':
      application(pair, name, [{ ask: 'flush', volume }]);
      return [];
    case 'open':
      machine.inbox.push({ type: 'app-opened', resource, volume: 0, who: argument });
      return [];
    case 'close':
      machine.inbox.push({ type: 'app-closed', resource, volume: 0, who: argument });
      return [];
    /** alice handler fence-peer 4 | hangs */
    case 'handler':
      machine.handlers.set(argument, words[2] === 'hangs' ? 'hangs' : Number(words[2]));
      return [];
    case 'exit':
      exitHandler(pair, name, argument, Number(words[2]));
      return [];
    /** alice fails write data [once] */
    case 'fails':
      machine.faults.push({ kind: argument as 'read', area: words[2] as 'data', once: words.includes('once') });
      return [];
    case 'works':
      machine.faults = [];
      return [];
    /** One operation that is held ends. */
    case 'completes': {
      const operation = machine.operations.find(({ output }) => kindText(output.type) === argument);
      if (!operation) throw new Error(`no ${argument} is held`);
      complete(pair, machine, operation);
      return [];
    }
    /** alice grows 4096, alice shrinks 4096: the device under volume 0. */
    case 'grows':
    case 'shrinks': {
      const disk = machine.disks.get(0)!;
      resizeDevice(disk, verb === 'grows' ? Number(argument) : -Number(argument));
      if (machine.node) machine.inbox.push({ type: 'disk-resized', resource, volume: 0, dataSectors: disk.dataSectors, metaSectors: disk.metaSectors });
      return [];
    }
    /** alice resize [size=SECTORS] [assume-clean] [assume-peer-has-space] [al-stripes=N] [al-stripe-size-kB=N] */
    case 'resize': {
      const option = (key: string): number | undefined => {
        const word = words.find((one) => one.startsWith(`${key}=`));
        return word === undefined ? undefined : Number(word.slice(key.length + 1));
      };
      const [alStripes, alStripeSizeKb] = [option('al-stripes'), option('al-stripe-size-kB')];
      return give({
        verb,
        resource,
        volume: 0,
        sizeSectors: option('size') ?? 0,
        assumeClean: words.includes('assume-clean'),
        assumePeerHasSpace: words.includes('assume-peer-has-space'),
        ...(alStripes !== undefined && { alStripes }),
        ...(alStripeSizeKb !== undefined && { alStripeSizeKb }),
      });
    }
    case 'crash':
    case 'power-off':
      crash(pair, name, verb === 'crash' ? 'process' : 'power');
      return [];
    case 'start':
      start(pair, name);
      return [];
    default:
      throw new Error(`no such command: ${verb}`);
  }
}

const kindText = (type: string): string => type.slice('disk-'.length);

const statesOf = (pair: Pair, name: Name): State[] =>
  (pair.machines[name].node?.resources() ?? []).flatMap(({ volumes }) => volumes.flatMap(({ peers }) => peers.map(({ state }) => state)));

const isConnected = (pair: Pair): boolean => names.every((name) => statesOf(pair, name).every(({ conn }) => conn >= Conn.Connected));

// ---- Reports ----------------------------------------------------------------------------------------------------------------------

function status(teller: Teller): string[] {
  const { pair, narrator } = teller;
  const lines: string[] = [];
  for (const name of names) {
    const { node } = pair.machines[name];
    if (!node) lines.push(`${name}: is down`);
    for (const view of node?.resources() ?? []) {
      for (const { volume, peers, uuids, waiting, sizeSectors } of view.volumes) {
        for (const { state, bitmap } of peers) {
          const where = view.volumes.length > 1 ? `${name}/${volume}` : name;
          const parts = [`${connName(state.conn)} ${roleName(state.role)}/${roleName(state.peer)} ${diskName(state.disk)}/${diskName(state.pdsk)}`];
          if (uuids) parts.push(`generation ${uuidsOf(narrator, uuids)}`, `${bitmap?.weight ?? 0} bits`);
          if (teller.narrator.shown.has('sizes')) parts.push(`${sizeSectors} sectors`);
          if (waiting > 0) parts.push(`${waiting} waiting: ${view.frozenReason}`);
          lines.push(`${where}: ${parts.join(', ')}`);
        }
      }
    }
  }
  return lines;
}

/** Where the two data disks differ, in blocks of 4 KiB. */
function compare(pair: Pair): string[] {
  const different = differingBlocks(pair);
  return [different.length === 0 ? 'the disks are equal' : `the disks differ in ${different.length} blocks: ${different.slice(0, 8).join(' ')}`];
}

export function differingBlocks(pair: Pair): number[] {
  const found: number[] = [];
  for (const [volume, mine] of pair.machines.alice.disks) {
    const theirs = pair.machines.bob.disks.get(volume)!;
    const sectorOf = (disk: typeof mine, sector: number): Uint8Array | undefined => disk.devices.data.cache.get(sector) ?? disk.devices.data.durable.get(sector);
    const end = Math.min(mine.layout.usableDataSectors, theirs.layout.usableDataSectors);
    const touched = new Set<number>();
    for (const disk of [mine, theirs]) for (const map of [disk.devices.data.cache, disk.devices.data.durable]) for (const sector of map.keys()) if (sector < end) touched.add(sector);
    for (const sector of touched) {
      const a = sectorOf(mine, sector);
      const b = sectorOf(theirs, sector);
      const isEqual = a && b ? a.every((byte, at) => byte === b[at]) : !(a ?? b)!.some((byte) => byte !== 0);
      if (!isEqual && !found.includes(sector >> 3)) found.push(sector >> 3);
    }
  }
  return found.sort((a, b) => a - b);
}

/** Both say that everything is equal and nothing is on its way. */
export const claimEqual = (pair: Pair): boolean =>
  names.every((name) => {
    const view = pair.machines[name].node?.resources()[0];
    return view?.volumes.every(({ peers, inFlight }) => inFlight.length === 0 && peers.every(({ state }) => state.conn === Conn.Connected && state.disk === DiskState.UpToDate && state.pdsk === DiskState.UpToDate));
  });
