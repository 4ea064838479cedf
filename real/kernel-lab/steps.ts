/**
 * What the words of a case mean. `X+N` are N blocks of 4 KiB from block X.
 *
 * | words | |
 * |---|---|
 * | `begin` | both up, connected, the initial sync skipped: both UpToDate |
 * | `WHO up` | attaches and connects |
 * | `WHO is CONN ROLES DISKS` | waits until it is; `*` is anything, `A\|B` either |
 * | `WHO refuses CODE VERB …` | the command is refused with DRBD's code, and nothing changes |
 * | `WHO write X+N TEXT`, `flush`, `discard X+N`, `zero X+N` | its application |
 * | `WHO reads X+N TEXT` | reads through the device |
 * | `WHO holds X+N TEXT` | what is in its disk's file |
 * | `WHO plant X TEXT` | writes into its disk's file, behind DRBD's back |
 * | `WHO load X+N TEXT`, `WHO unload` | another application that writes these blocks over and over, until told to end |
 * | `WHO crash`, `boot`, `freeze`, `thaw` | power |
 * | `WHO generations CUR BM H1 H2` | letters stand for values: equal letters, equal values |
 * | `WHO lacks N`, `WHO size N` | KiB that it knows to be out of sync; sectors of its device |
 * | `log WORDS`, `nolog WORDS` | the kernel's log says it; does not say it |
 * | `WHO may VERB …` | the command, whatever the answer |
 * | `link FAULT N [MS]`, `link off`, `link on` | what happens to the cable at the N-th packet from now: see link.ts |
 * | `reunite` | power and cable are on, loads end, both connect; waits until both are in sync |
 * | `WHO reconnect OPTIONS` | disconnects where it is not StandAlone, and connects |
 * | `swap-disks` | each gets the other's disks (both are down) |
 * | `same-metadata` | drbdmeta on the kernel's disk reads what lockmeta reads there, and applies its log as lockmeta does |
 * | `WHO called HANDLER` | the handler ran |
 * | `forget`, `forget X+N` | what applications wrote is not what the disks must hold |
 * | `wait MS` | |
 * | `WHO VERB …` | everything else is drbdadm's verb, and must succeed |
 */

import { closeSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs';
import { BLOCK_BYTES, bytesOf, contentsOf, describe, Ledger, zeros, type Content } from './contents.js';
import { compareMetadata, swapDisks } from './disks.js';
import type { Fault, Link } from './link.js';
import { sleep, until, type Load, type Peer, type PeerName, type View } from './peer.js';
import type { Side, Step, Who } from './script.js';

/** The two nodes of a running case, and what is known of them. */
export interface Stage {
  one: Peer;
  other: Peer;
  ledger: Ledger;
  loads: Map<PeerName, Load[]>;
  /** Values that letters stand for. */
  letters: Map<string, string>;
  /** The cable, in a case that has to do with it. */
  link: Link | undefined;
  /** What the logs may say. */
  allows: RegExp[];
}

export const newStage = (one: Peer, other: Peer, link: Link | undefined, allows: RegExp[]): Stage => ({ one, other, link, ledger: new Ledger(), loads: new Map(), letters: new Map(), allows });

const peersOf = (stage: Stage, who: Who): Peer[] => {
  if (who === 'both') return [stage.one, stage.other];
  if (who === 'one' || who === 'other') return [stage[who satisfies Side]];
  return [stage.one, stage.other].filter(({ name }) => name === who);
};

const rangeOf = (word: string | undefined): { block: number; blocks: number } => {
  const match = /^(\d+)(?:\+(\d+))?$/.exec(word ?? '');
  if (!match) throw new Error(`'${word}' is no range of blocks`);
  return { block: Number(match[1]), blocks: Number(match[2] ?? 1) };
};

const textOf = (words: readonly string[]): string => words.slice(1).join(' ');

export const viewText = ({ conn, role, peerRole, disk, peerDisk }: View): string => `${conn} ${role}/${peerRole} ${disk}/${peerDisk}`;

/** Blocks of a file, which need not be as long. */
export function blocksOf(path: string, block: number, blocks: number): Buffer {
  const data = Buffer.alloc(blocks * BLOCK_BYTES);
  const fd = openSync(path, 'r');
  readSync(fd, data, 0, data.length, block * BLOCK_BYTES);
  closeSync(fd);
  return data;
}

export async function perform(stage: Stage, step: Step): Promise<void> {
  if (step.who === undefined) return performAlone(stage, step);
  const peers = peersOf(stage, step.who);
  if (step.verb !== 'generations') await Promise.all(peers.map((peer) => performOn(stage, peer, step)));
  else for (const peer of peers) await performOn(stage, peer, step);
}

async function performAlone(stage: Stage, { verb, words }: Step): Promise<void> {
  const { one, other, ledger } = stage;
  switch (verb) {
    case 'begin':
      await Promise.all([one.up(), other.up()]);
      await reach(one, ['Connected', '*', 'Inconsistent/Inconsistent']);
      await must(one, ['new-current-uuid', '--clear-bitmap']);
      await Promise.all([one, other].map((peer) => reach(peer, ['Connected', '*', 'UpToDate/UpToDate'])));
      return;
    case 'forget':
      if (words.length === 0) return ledger.forgetAll();
      return ledger.forget(rangeOf(words[0]).block, rangeOf(words[0]).blocks);
    case 'log':
    case 'nolog': {
      const kernel = [one, other].find(({ name }) => name === 'kernel')!;
      const says = async (): Promise<boolean> => new RegExp(words.join(' ')).test(await kernel.log());
      if (verb === 'log') await until(async () => ((await says()) ? true : undefined), () => `the kernel's log lacks '${words.join(' ')}'`, 5000);
      else if (await says()) throw new Error(`the kernel's log says '${words.join(' ')}'`);
      return;
    }
    case 'link':
      return handleLink(stage.link!, words);
    case 'reunite':
      return reunite(stage);
    case 'swap-disks':
      return swapDisks(stage);
    case 'same-metadata':
      return compareMetadata(stage);
    case 'wait':
      return sleep(Number(words[0]));
    default:
      throw new Error(`there is no step '${verb}'`);
  }
}

async function performOn(stage: Stage, peer: Peer, { verb, words }: Step): Promise<void> {
  const { ledger } = stage;
  switch (verb) {
    case 'up':
      return peer.up();
    case 'boot':
      return peer.boot();
    case 'crash':
      await peer.crash();
      return endLoad(stage, peer);
    case 'freeze':
      return peer.freeze();
    case 'thaw':
      return peer.thaw();
    case 'is':
      return reach(peer, words);
    case 'refuses': {
      const before = viewText(await peer.view());
      const answer = await peer.order(words.slice(1));
      if (answer.ok || answer.code !== Number(words[0])) throw new Error(`${peer.name} answers ${answer.ok ? 'that it is done' : `(${answer.code}) ${answer.text}`}`);
      const after = viewText(await peer.view());
      if (after !== before) throw new Error(`${peer.name} refused, and is ${after}; it was ${before}`);
      return;
    }
    case 'write':
      return written(ledger, peer, rangeOf(words[0]).block, contentsOf(textOf(words), rangeOf(words[0]).blocks));
    case 'zero':
    case 'discard': {
      const { block, blocks } = rangeOf(words[0]);
      await peer[verb](block, blocks);
      for (let at = block; at < block + blocks; at++) {
        ledger.issue(at, zeros);
        ledger.acknowledge(at, zeros);
      }
      return;
    }
    case 'flush':
      return peer.flush();
    case 'reads': {
      const { block, blocks } = rangeOf(words[0]);
      return compare(peer, await peer.read(block, blocks), block, textOf(words));
    }
    case 'holds': {
      const { block, blocks } = rangeOf(words[0]);
      return compare(peer, blocksOf(peer.image, block, blocks), block, textOf(words));
    }
    case 'plant': {
      const { block } = rangeOf(words[0]);
      const fd = openSync(peer.image, 'r+');
      writeSync(fd, bytesOf({ text: textOf(words), index: 0 }), 0, BLOCK_BYTES, block * BLOCK_BYTES);
      fsyncSync(fd);
      closeSync(fd);
      return;
    }
    case 'load':
      return beginLoad(stage, peer, words);
    case 'unload':
      return endLoad(stage, peer);
    case 'generations':
      return checkGenerations(stage, peer, words);
    case 'may':
      await peer.order(words);
      return;
    case 'reconnect':
      await peer.order(['disconnect']);
      await reach(peer, ['StandAlone']);
      return must(peer, ['connect', ...words]);
    case 'size':
      await until(async () => ((await peer.view()).sizeSectors === Number(words[0]) ? true : undefined), () => `${peer.name} has not ${words[0]} sectors`, 10_000);
      return;
    case 'lacks':
      await until(async () => ((await peer.view()).outOfSyncKib === Number(words[0]) ? true : undefined), () => `${peer.name} does not lack ${words[0]} KiB`, 10_000);
      return;
    case 'called':
      await until(async () => ((await peer.calls()).includes(words[0]!) ? true : undefined), () => `${peer.name} did not call ${words[0]}`, 10_000);
      return;
    default:
      return must(peer, [verb, ...words]);
  }
}

function handleLink(link: Link, [what, after, ms]: readonly string[]): void {
  if (what === 'off' || what === 'on') return link.setOff(what === 'off');
  link.arm({ do: what as Fault['do'], after: Number(after), ms: Number(ms ?? 0) });
}

/** Everybody is there again, and has the same. A guest that was off is Secondary, and so is a daemon. */
async function reunite(stage: Stage): Promise<void> {
  const peers = [stage.one, stage.other];
  stage.link?.heal();
  for (const peer of peers) await endLoad(stage, peer);
  await Promise.all(
    peers.map(async (peer) => {
      const { conn } = await peer.view();
      if (conn === 'StandAlone') await must(peer, ['connect']);
      if (conn !== 'Unconfigured') return;
      await peer.boot();
      await peer.up();
    }),
  );
  for (const peer of peers) await reach(peer, ['Connected', '*', 'UpToDate/UpToDate']);
}

async function must(peer: Peer, words: readonly string[]): Promise<void> {
  const answer = await peer.order(words);
  if (!answer.ok) throw new Error(`${peer.name} refuses '${words.join(' ')}': (${answer.code}) ${answer.text}`);
}

/** Waits until the node says that it is so. */
async function reach(peer: Peer, words: readonly string[]): Promise<void> {
  const fits = (wanted: string | undefined, found: string): boolean => wanted === undefined || wanted === '*' || wanted.split('|').some((one) => new RegExp(`^${one.replaceAll('*', '\\w+')}$`).test(found));
  let last: View | undefined;
  await until(
    async () => {
      last = await peer.view();
      const { conn, role, peerRole, disk, peerDisk } = last;
      return fits(words[0], conn) && fits(words[1], `${role}/${peerRole}`) && fits(words[2], `${disk}/${peerDisk}`) ? true : undefined;
    },
    () => `${peer.name} is ${last ? viewText(last) : 'not there'}`,
  );
}

async function written(ledger: Ledger, peer: Peer, block: number, contents: readonly Content[]): Promise<void> {
  for (const [at, content] of contents.entries()) ledger.issue(block + at, content);
  await peer.write(block, contents);
  for (const [at, content] of contents.entries()) ledger.acknowledge(block + at, content);
}

function compare(peer: Peer, found: Uint8Array, block: number, text: string): void {
  const contents = text === '' ? Array.from({ length: found.length / BLOCK_BYTES }, () => zeros) : contentsOf(text, found.length / BLOCK_BYTES);
  for (const [at, content] of contents.entries()) {
    const one = found.subarray(at * BLOCK_BYTES, (at + 1) * BLOCK_BYTES);
    if (!Buffer.from(one).equals(bytesOf(content))) throw new Error(`${peer.name}: block ${block + at} is ${describe(one)}, not ${text === '' ? 'zeros' : `'${text}'`}`);
  }
}

/** The next round is on its way as soon as one is acknowledged. Resolves when the first ones are. */
async function beginLoad(stage: Stage, peer: Peer, words: readonly string[]): Promise<void> {
  const { block, blocks } = rangeOf(words[0]);
  const text = textOf(words);
  const { ledger } = stage;
  const of = (round: number): Content => ({ text: `${text} ${round}`, index: 0 });
  let rounds = 0;
  ledger.issue(block, of(0));
  const load = await peer.load(block, blocks, text, (round) => {
    rounds++;
    ledger.acknowledge(block + (round % blocks), of(round));
    ledger.issue(block + ((round + 1) % blocks), of(round + 1));
  });
  stage.loads.set(peer.name, [...(stage.loads.get(peer.name) ?? []), load]);
  await until(async () => (rounds >= 5 ? true : undefined), () => `${peer.name}: the load does not begin`);
}

export async function endLoad(stage: Stage, peer: Peer): Promise<void> {
  const loads = stage.loads.get(peer.name) ?? [];
  stage.loads.delete(peer.name);
  await Promise.all(loads.map((load) => load.end()));
}

/** Letters stand for values, 0 for none. Waits a moment: a generation is told after its write is. */
async function checkGenerations(stage: Stage, peer: Peer, words: readonly string[]): Promise<void> {
  let why = '';
  await until(
    async () => {
      const { generations } = await peer.view();
      const letters = new Map(stage.letters);
      why = '';
      for (const [at, word] of words.entries()) {
        const value = generations[at];
        const isNone = value === undefined || BigInt(`0x${value}`) === 0n;
        const known = letters.get(word);
        const isTaken = [...letters].some(([letter, one]) => letter !== word && one === value);
        if (word === '*') continue;
        if (word === '0' ? !isNone : isNone || isTaken || (known !== undefined && known !== value)) why = `${peer.name} has ${generations.join(' ')}, where ${words.join(' ')} was expected (${[...letters].map((pair) => pair.join(' is ')).join(', ')})`;
        if (word !== '0' && value !== undefined) letters.set(word, value);
      }
      if (why !== '') return undefined;
      stage.letters = letters;
      return true;
    },
    () => why,
    3000,
  );
}
