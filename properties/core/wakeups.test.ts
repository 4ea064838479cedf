/**
 * Who waits is told when what it waits for comes true, on each of the ways in which it can; and what is asserted stays true in any order of events.
 * Each of these hung, or threw, once; no seed of a sweep had shown it, since in a storm something else comes along soon.
 */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Command } from '../../src/contract/index.js';
import { Conn, Disk, Role } from '../../src/state/states.js';
import { advance, application, command, complete, configNow, drive, names, newPair, otherOf, stepUntil, type Name, type Pair, type PairOptions } from './pair.js';

const SECOND_US = 1_000_000;

class Bench {
  readonly pair: Pair;

  constructor(options: PairOptions, watchers: Pair['watchers'] = []) {
    this.pair = newPair(options, watchers);
  }

  /** Gives an order and lets everything happen that needs no time. */
  order(name: Name, order: Command): () => boolean {
    const id = command(this.pair, name, order);
    drive(this.pair);
    return () => this.pair.machines[name].replies.get(id)?.ok === true;
  }

  write(name: Name, sector: number, sectors = 8): () => boolean {
    const [id] = application(this.pair, name, [{ ask: 'write', volume: 0, sector, data: new Uint8Array(sectors * 512).fill(7), fua: false }]);
    return () => !this.pair.machines[name].asked.has(id!);
  }

  read(name: Name, sector: number): () => boolean {
    const [id] = application(this.pair, name, [{ ask: 'read', volume: 0, sector, sectors: 8 }]);
    return () => !this.pair.machines[name].asked.has(id!);
  }

  resize(name: Name, sizeSectors: number): () => boolean {
    return this.order(name, { verb: 'resize', resource: 'r0', volume: 0, sizeSectors, assumeClean: false, assumePeerHasSpace: false });
  }

  state(name: Name, volume = 0): { role: Role; conn: Conn; disk: Disk; pdsk: Disk } {
    return this.pair.machines[name].node!.resources()[0]!.volumes[volume]!.peers[0]!.state;
  }

  reason(name: Name): string | undefined {
    return this.pair.machines[name].node!.resources()[0]!.frozenReason;
  }

  /** Attached, connected, in sync unless that takes longer than a minute; alice is Primary, bob as well where both may be. */
  up(volumes = 1, both = false): this {
    for (const name of names) for (let volume = 0; volume < volumes; volume++) this.order(name, { verb: 'attach', resource: 'r0', volume });
    for (const name of names) this.order(name, { verb: 'connect', resource: 'r0', peer: otherOf(name), discardMyData: false, tentative: false });
    advance(this.pair, 20 * SECOND_US);
    this.order('alice', { verb: 'primary', resource: 'r0', force: true });
    advance(this.pair, 60 * SECOND_US);
    if (both) this.order('bob', { verb: 'primary', resource: 'r0', force: false });
    advance(this.pair, 10 * SECOND_US);
    assert.is(this.state('alice').role, Role.Primary);
    assert.ok(this.state('alice').conn >= Conn.Connected);
    return this;
  }
}

test('a shrink does not wait for a request behind the new end that waits for the shrink', () => {
  const bench = new Bench({ sectors: 20_000 });
  bench.order('alice', { verb: 'attach', resource: 'r0', volume: 0 });
  bench.order('alice', { verb: 'primary', resource: 'r0', force: true });
  bench.write('alice', 16_000);
  drive(bench.pair);
  bench.pair.holds.add('alice data disk');
  bench.write('alice', 16_000);
  const parked = bench.read('alice', 16_000);
  const shrunk = bench.resize('alice', 8192);
  bench.pair.holds.clear();
  advance(bench.pair, 10 * SECOND_US);
  assert.ok(shrunk() && parked() && bench.reason('alice') === undefined);
});

test('a shrink does not wait for a read that the peer does not answer any more', () => {
  const bench = new Bench({ sectors: 20_000, disk: { readBalancing: 'prefer-remote' } }).up();
  bench.pair.holds.add('bob data disk');
  const remote = bench.read('alice', 16_000);
  drive(bench.pair);
  const shrunk = bench.resize('alice', 8192);
  bench.pair.isDark = true;
  advance(bench.pair, 200 * SECOND_US);
  assert.ok(shrunk() && remote());
});

test('a resize that the peer asks for goes on when a read for the peer has ended', () => {
  const bench = new Bench({ sectors: 20_000, disk: { readBalancing: 'prefer-remote' }, net: { allowTwoPrimaries: true } }).up(1, true);
  bench.pair.holds.add('bob data disk');
  bench.read('alice', 16_000);
  drive(bench.pair);
  const shrunk = bench.resize('alice', 8192);
  bench.pair.holds.clear();
  advance(bench.pair, 10 * SECOND_US);
  assert.ok(shrunk());
  assert.is(bench.reason('bob'), undefined);
});

test('a device that grows beside a bad disk can grow again: what is new is synced with the rest', () => {
  const bench = new Bench({ sectors: 20_000, disk: { onIoError: 'pass_on' } }).up();
  bench.resize('alice', 10_000);
  advance(bench.pair, 10 * SECOND_US);
  bench.pair.machines.bob.faults.push({ kind: 'write', area: 'data', once: true });
  bench.write('alice', 0);
  advance(bench.pair, 10 * SECOND_US);
  assert.is(bench.state('alice').pdsk, Disk.Inconsistent);
  const grown = bench.resize('alice', 14_000);
  advance(bench.pair, 10 * SECOND_US);
  const again = bench.resize('alice', 16_000);
  advance(bench.pair, 10 * SECOND_US);
  assert.ok(grown() && again());
  bench.order('alice', { verb: 'invalidate-remote', resource: 'r0', volume: 0 });
  advance(bench.pair, 60 * SECOND_US);
  assert.is(bench.state('alice').pdsk, Disk.UpToDate);
  const last = bench.resize('alice', 18_000);
  advance(bench.pair, 10 * SECOND_US);
  assert.ok(last());
});

test('a disk that is opened and refused is closed', () => {
  const seen: string[] = [];
  const bench = new Bench({ sectors: 20_000 }, [(event) => void (event.event === 'output' && event.output.type.startsWith('disk-') && seen.push(event.output.type))]);
  bench.pair.machines.alice.disks.get(0)!.metaSectors = 100;
  assert.not.ok(bench.order('alice', { verb: 'attach', resource: 'r0', volume: 0 })());
  assert.equal(seen, ['disk-open', 'disk-close']);
});

test('a target that falls behind again while its metadata stands still begins its next resync', () => {
  const bench = new Bench({ sectors: 40_000, net: { protocol: 'A', onCongestion: 'pull-ahead', congestionFill: 64 } }).up();
  const { pair } = bench;
  const congest = (from: number): void => {
    pair.holds.add('bob data disk');
    for (let index = from; index < from + 4; index++) {
      bench.write('alice', index * 64, 64);
      drive(pair);
    }
    pair.holds.delete('bob data disk');
    drive(pair);
  };
  congest(0);
  pair.holds.add('bob meta disk');
  advance(pair, 1.5 * SECOND_US);
  congest(10);
  advance(pair, 2 * SECOND_US);
  pair.holds.delete('bob meta disk');
  advance(pair, 10 * SECOND_US);
  assert.equal(names.map((name) => bench.state(name).conn), [Conn.Connected, Conn.Connected]);
});

test('a write that is to be made again is, though its rival was refused for want of a disk before', () => {
  for (const loser of names) {
    const rival = otherOf(loser);
    const bench = new Bench({ sectors: 20_000, net: { allowTwoPrimaries: true } }).up(1, true);
    const { pair } = bench;
    bench.write('alice', 0);
    bench.write('bob', 32);
    advance(pair, 2 * SECOND_US);
    for (const stream of ['data', 'meta'] as const) for (const name of names) pair.holds.add(`${name}>${otherOf(name)} ${stream}`);
    pair.holds.add(`${loser} data disk`);
    const written = bench.write(loser, 0);
    const rivals = bench.write(rival, 4);
    bench.order(loser, { verb: 'detach', resource: 'r0', volume: 0, force: true });
    pair.holds.delete(`${rival}>${loser} data`);
    drive(pair);
    pair.holds.delete(`${loser}>${rival} data`);
    drive(pair);
    pair.holds.clear();
    pair.holds.add(`${loser} data disk`);
    advance(pair, 10 * SECOND_US);
    assert.ok(written() && rivals(), loser);
  }
});

test('a verify that the peer agreed to, and ended with the next packet, is no verify', () => {
  for (const name of names) {
    const peer = otherOf(name);
    const bench = new Bench({ sectors: 20_000, net: { allowTwoPrimaries: true, verifyAlg: 'crc32c', pingTimeout: 50 } }).up(1, true);
    const { pair } = bench;
    bench.write('alice', 0);
    bench.write('bob', 32);
    advance(pair, 2 * SECOND_US);
    pair.holds.add(`${peer}>${name} meta`);
    bench.write(name, 100);
    drive(pair);
    bench.write(peer, 200);
    drive(pair);
    bench.order(name, { verb: 'verify', resource: 'r0', volume: 0 });
    bench.order(peer, { verb: 'detach', resource: 'r0', volume: 0, force: true });
    const way = pair.pipes.findLast(({ kind }) => kind === 'meta')!.ways[peer];
    if (way.chunks.length > 1) way.chunks = [new Uint8Array(Buffer.concat(way.chunks))];
    pair.holds.clear();
    advance(pair, 20 * SECOND_US);
    assert.not.equal(bench.state(name).conn, Conn.VerifyS);
  }
});

test('a flush that ends when its connection is over is none of the next one\'s (D15)', () => {
  const told: string[] = [];
  const bench = new Bench({ sectors: 20_000 }, [
    (event) => {
      if (event.event === 'output' && event.machine.name === 'bob' && event.output.type === 'disk-flush' && event.output.area === 'data') told.push('flush');
      if (event.event === 'sent' && event.packet.packet === 'P_BARRIER_ACK') told.push('barrier-ack');
    },
  ]).up();
  const { pair } = bench;
  const { bob } = pair.machines;
  const isEpochFlush = ({ output }: (typeof bob.operations)[number]): boolean => output.type === 'disk-flush' && output.area === 'data';
  bench.write('alice', 0);
  stepUntil(pair, () => bob.operations.some(isEpochFlush));
  const [late] = bob.operations.splice(bob.operations.findIndex(isEpochFlush), 1);
  pair.holds.add('connect');
  for (const pipe of pair.pipes) for (const way of Object.values(pipe.ways)) Object.assign(way, { chunks: [], closed: 'reset' });
  advance(pair, SECOND_US);
  bob.operations.push(late!);
  complete(pair, bob, late!);
  pair.holds.clear();
  advance(pair, 60 * SECOND_US);
  told.length = 0;
  for (let time = 0; time < 2; time++) {
    bench.write('alice', 0);
    advance(pair, 2 * SECOND_US);
  }
  assert.equal(told, ['flush', 'barrier-ack', 'flush', 'barrier-ack']);
});

test('suspend-io is answered when its last request has to go another way', () => {
  const bench = new Bench({ sectors: 200_000, disk: { onIoError: 'pass_on', resyncRate: 40, cPlanAhead: 0 } }).up();
  assert.is(bench.state('alice').conn, Conn.SyncSource);
  bench.pair.machines.alice.faults.push({ kind: 'read', area: 'data', once: true });
  bench.read('alice', 190_000);
  const suspended = bench.order('alice', { verb: 'suspend-io', resource: 'r0' });
  drive(bench.pair);
  assert.ok(suspended());
});

test('a bitmap waits for no write that goes again when another volume has thawed', () => {
  const bench = new Bench({ sectors: 20_000, volumes: 2, disk: { fencing: 'resource-and-stonith' }, handlers: ['fence-peer'] }).up(2);
  const { pair } = bench;
  pair.machines.alice.handlers.set('fence-peer', 'hangs');
  bench.write('alice', 0);
  advance(pair, SECOND_US);
  pair.isDark = true;
  const written = bench.write('alice', 0);
  drive(pair);
  bench.order('alice', { verb: 'detach', resource: 'r0', volume: 0, force: true });
  advance(pair, 64 * SECOND_US);
  bench.order('alice', { verb: 'attach', resource: 'r0', volume: 0 });
  // bob's states of the two volumes come in two chunks.
  let isSplit = false;
  pair.watchers.push((event) => {
    if (isSplit || event.event !== 'sent' || event.machine.name !== 'bob' || event.packet.packet !== 'P_STATE' || event.packet.volume !== 1) return;
    const way = pair.pipes.find(({ kind, ways }) => kind === 'data' && ways.bob.packets.some(({ packet }) => packet === event.packet))!.ways.bob;
    const chunk = way.chunks.pop()!;
    const at = way.packets.find(({ packet }) => packet.packet === 'P_STATE')!.endBytes - (way.queuedBytes - chunk.length);
    isSplit = at > 0 && at < chunk.length;
    if (isSplit) way.chunks.push(chunk.subarray(0, at).slice(), chunk.subarray(at).slice());
    else way.chunks.push(chunk);
  });
  pair.isDark = false;
  advance(pair, 120 * SECOND_US);
  assert.ok(isSplit && written());
  assert.equal([0, 1].map((volume) => bench.state('alice', volume).conn), [Conn.Connected, Conn.Connected]);
});

test('ko-count counts from when it is given', () => {
  const bench = new Bench({ sectors: 20_000, net: { koCount: 0, timeout: 60 } }).up();
  bench.pair.machines.alice.changed.net = { koCount: 7 };
  bench.order('alice', { verb: 'options', resource: 'r0', config: configNow(bench.pair, 'alice') });
  bench.pair.holds.add('bob data disk');
  const written = bench.write('alice', 0);
  advance(bench.pair, 300 * SECOND_US);
  assert.ok(written());
});

test.run();
