/** Each checker must be able to fail: a violation is planted, and only that one is reported. And what is right is left alone. */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Output } from '../../src/contract/index.js';
import { setOutOfSync } from '../../src/metadata/bitmap.js';
import { emptyBlock, encodeTransaction, newCursor } from '../../src/metadata/activity-log.js';
import { SuperblockFlag, encodeSuperblock } from '../../src/metadata/superblock.js';
import { Conn, Disk, Role } from '../../src/state/states.js';
import { propertyNames } from '../../sim/types.js';
import { makeCheckers } from '../../sim/checkers/index.js';
import { ALICE, BOB, FakeWorld } from './checkers-fake.js';

const pair = (options?: ConstructorParameters<typeof FakeWorld>[0]): FakeWorld => {
  const world = new FakeWorld(options);
  world.up2date();
  return world;
};

/** bob has been told nothing more, alice goes on as Primary, then dies; bob is promoted. */
const failOver = (world: FakeWorld): void => {
  world.goDown(ALICE);
  world.state(BOB, { conn: Conn.WFConnection, pdsk: Disk.DUnknown, peer: Role.Unknown });
  world.state(BOB, { role: Role.Primary });
};

test('a quiet pair breaks nothing', () => {
  const world = pair();
  world.write(ALICE, 0);
  world.write(ALICE, 4);
  world.read(ALICE, 0, 16);
  world.flush(ALICE);
  world.checkpoint();
  world.end();
  assert.equal(world.violations, []);
});

test('every property but the real check has a checker', () => {
  const properties = new Set(makeCheckers(new FakeWorld().setup).map(({ property }) => property));
  for (const name of propertyNames) assert.is(properties.has(name), name !== 'real-check', name);
});

// ---- Durability ---------------------------------------------------------------------------------------------------

test('durability: protocol C, an acknowledged write is missing on the survivor', () => {
  const world = pair();
  world.write(ALICE, 0, [ALICE]);
  failOver(world);
  assert.ok(world.reported.includes('durability'));
});

test('durability: protocol C, older data shows through', () => {
  const world = pair();
  const old = world.write(ALICE, 0);
  world.write(ALICE, 0);
  world.disks[BOB]!.write(0, old);
  failOver(world);
  assert.ok(world.reported.includes('durability'));
});

test('durability: half of a write is missing', () => {
  const world = pair();
  const bytes = world.write(ALICE, 0, [ALICE]);
  world.disks[BOB]!.write(0, bytes.subarray(0, 4 * 512));
  failOver(world);
  assert.ok(world.reported.includes('durability'));
});

test('durability: bytes of another place are nobody\'s', () => {
  const world = pair();
  const bytes = world.write(ALICE, 0);
  world.disks[BOB]!.write(8, bytes);
  world.write(ALICE, 8, [ALICE]);
  failOver(world);
  assert.match(world.violations.find(({ property }) => property === 'durability')?.detail ?? '', /bytes that nobody wrote there/);
});

test('durability: a write in flight at the crash may be there or not', () => {
  for (const shown of [[], [ALICE], [BOB], [ALICE, BOB]]) {
    const world = pair();
    world.write(ALICE, 0);
    const { bytes } = world.issue(ALICE, 0);
    for (const place of shown) world.disks[place]!.write(0, bytes);
    // What differs is covered by the activity log in a real pair; here it is marked by hand.
    setOutOfSync(world.bitmaps[BOB]!, 0, 8);
    failOver(world);
    assert.equal(world.reported, [], `shown on ${shown}`);
  }
});

test('durability: protocol A may lose a suffix, B may not', () => {
  for (const protocol of ['A', 'B'] as const) {
    const world = pair({ protocol });
    world.write(ALICE, 0, [ALICE]);
    setOutOfSync(world.bitmaps[BOB]!, 0, 8);
    failOver(world);
    assert.equal(world.reported, protocol === 'A' ? [] : ['durability']);
  }
});

test('durability: protocol A may not lose what was finished on both sides', () => {
  const world = pair({ protocol: 'A' });
  world.write(ALICE, 0);
  world.checkpoint();
  const zeros = new Uint8Array(4096);
  world.disks[BOB]!.write(0, zeros);
  setOutOfSync(world.bitmaps[BOB]!, 0, 8);
  failOver(world);
  assert.equal(world.reported, ['durability']);
});

test('durability: both lose power, what a flush covers stays and the rest may go', () => {
  for (const flushed of [true, false]) {
    const world = pair();
    world.write(ALICE, 0);
    if (flushed) world.flush(ALICE);
    for (const disk of world.disks) disk.write(0, new Uint8Array(4096));
    world.goDown(ALICE, 'power-loss');
    world.goDown(BOB, 'power-loss');
    world.boot(BOB);
    world.state(BOB, { disk: Disk.UpToDate });
    world.state(BOB, { role: Role.Primary });
    assert.equal(world.reported, flushed ? ['durability'] : []);
  }
});

test('durability: a flush is answered when what was answered before it is in no cache, the peer\'s included', () => {
  const answered = (stable: readonly number[], options?: ConstructorParameters<typeof FakeWorld>[0], fua = false): string[] => {
    const world = pair(options);
    const { id, bytes } = world.issue(ALICE, 0);
    for (const place of [ALICE, BOB]) {
      world.says(place, { type: 'disk-write', op: 1, resource: 'r0', volume: 0, area: 'data', sector: 0, data: bytes, preflush: false, fua });
      world.disks[place]!.write(0, bytes);
      world.hears(place, { type: 'disk-done', op: 1 });
    }
    world.complete(ALICE, id, 'write');
    world.flush(ALICE, () => {
      for (const place of stable) {
        world.says(place, { type: 'disk-flush', op: 2, resource: 'r0', volume: 0, area: 'data' });
        world.hears(place, { type: 'disk-done', op: 2 });
      }
    });
    return world.violations.map(({ property, detail }) => `${property}: ${detail.replace(/^.*, and /, '')}`);
  };
  assert.equal(answered([ALICE, BOB]), []);
  assert.equal(answered([ALICE]), ["durability: what was answered before it lies in the cache of bob's disk"]);
  assert.equal(answered([BOB]), ["durability: what was answered before it lies in the cache of alice's disk"]);
  assert.equal(answered([], undefined, true), []);
  assert.equal(answered([ALICE], { protocol: 'A' }), []);
});

test('durability: a node that fencing outdated is promoted without force', () => {
  const world = pair();
  world.part();
  world.handlerExits(ALICE, 4);
  world.write(ALICE, 0, [ALICE]);
  setOutOfSync(world.bitmaps[ALICE]!, 0, 8);
  setOutOfSync(world.bitmaps[BOB]!, 0, 8);
  failOver(world);
  assert.equal(world.reported, ['durability']);
  assert.match(world.violations[0]!.detail, /outdated by the fence-peer handler/);
});

test('durability: a node that was away may be promoted where nothing fences, and that is noted', () => {
  const world = pair();
  world.part();
  world.write(ALICE, 0, [ALICE]);
  setOutOfSync(world.bitmaps[BOB]!, 0, 8);
  failOver(world);
  assert.equal(world.reported, []);
  assert.ok(world.sometimes.includes('stale node promoted'));
});

test('durability: after a resync the target owes what the source owes', () => {
  const world = pair();
  world.part();
  world.write(ALICE, 0, [ALICE]);
  setOutOfSync(world.bitmaps[ALICE]!, 0, 8);
  world.state(BOB, { conn: Conn.WFBitMapT, disk: Disk.Outdated, pdsk: Disk.UpToDate, peer: Role.Primary });
  world.state(ALICE, { conn: Conn.WFBitMapS, pdsk: Disk.Consistent, peer: Role.Secondary });
  world.state(BOB, { conn: Conn.SyncTarget, disk: Disk.Inconsistent });
  world.state(ALICE, { conn: Conn.SyncSource, pdsk: Disk.Inconsistent });
  // Nothing is copied.
  world.state(BOB, { conn: Conn.Connected, disk: Disk.UpToDate });
  world.state(ALICE, { conn: Conn.Connected, pdsk: Disk.UpToDate });
  failOver(world);
  assert.ok(world.reported.includes('durability'));
});

// ---- Write order ----------------------------------------------------------------------------------------------------

/** bob is synced by alice, up to the moment when alice would hear that it is done; then she hears it too. */
const syncFromAlice = (world: FakeWorld, beforeSheHears: () => void): void => {
  world.part();
  world.state(ALICE, { conn: Conn.SyncSource, pdsk: Disk.Inconsistent, peer: Role.Secondary });
  world.state(BOB, { conn: Conn.SyncTarget, disk: Disk.Inconsistent, pdsk: Disk.UpToDate, peer: Role.Primary });
  world.state(BOB, { conn: Conn.Connected, disk: Disk.UpToDate });
  beforeSheHears();
  world.state(ALICE, { conn: Conn.Connected, pdsk: Disk.UpToDate });
};

test('durability: protocol A, what a resync gave is on both, also where a newer write is on its way over it (degraded-then-failover 968)', () => {
  for (const shown of [[ALICE, BOB], [ALICE]]) {
    const world = pair({ protocol: 'A' });
    world.write(ALICE, 0, shown);
    setOutOfSync(world.bitmaps[BOB]!, 0, 8);
    syncFromAlice(world, () => {
      const { id } = world.issue(ALICE, 0);
      world.inFlight[ALICE]!.push({ sector: 0, sectors: 8, request: id });
    });
    failOver(world);
    assert.equal(world.reported, shown.includes(BOB) ? [] : ['durability']);
  }
});

test('durability: protocol B, what a resync gave is on a disk and outlives a crash (failover 387)', () => {
  for (const shown of [[ALICE, BOB], [ALICE]]) {
    const world = pair({ protocol: 'B' });
    world.write(ALICE, 0, shown);
    setOutOfSync(world.bitmaps[BOB]!, 0, 8);
    syncFromAlice(world, () => undefined);
    world.goDown(BOB);
    world.boot(BOB);
    world.state(BOB, { disk: Disk.UpToDate, conn: Conn.WFConnection });
    failOver(world);
    assert.is(world.reported.includes('durability'), !shown.includes(BOB));
  }
});

test('resync direction: protocol A, a target that was done took over before the source heard of that, and lacks her last write (failover 1109)', () => {
  const world = pair({ protocol: 'A' });
  syncFromAlice(world, () => {
    world.write(ALICE, 0, [ALICE]);
    world.inFlight[ALICE]!.push({ sector: 0, sectors: 8, request: world.lastRequest });
    for (const bitmap of world.bitmaps) setOutOfSync(bitmap!, 0, 8);
  });
  failOver(world);
  world.boot(ALICE);
  world.state(BOB, { conn: Conn.WFBitMapS });
  assert.equal(world.reported, []);
});

test('write order: protocol A, a later write is there and an earlier one is not', () => {
  const world = pair({ protocol: 'A' });
  world.write(ALICE, 0, [ALICE]);
  world.write(ALICE, 64, [ALICE, BOB]);
  setOutOfSync(world.bitmaps[BOB]!, 0, 8);
  failOver(world);
  assert.equal(world.reported, ['write-order']);
});

test('write order: writes that were in flight together may come in any order', () => {
  const world = pair({ protocol: 'A' });
  const first = world.issue(ALICE, 0);
  const second = world.issue(ALICE, 64);
  for (const disk of world.disks) disk.write(64, second.bytes);
  world.disks[ALICE]!.write(0, first.bytes);
  world.complete(ALICE, first.id, 'write');
  world.complete(ALICE, second.id, 'write');
  setOutOfSync(world.bitmaps[BOB]!, 0, 8);
  failOver(world);
  assert.equal(world.reported, []);
});

// ---- Linearizability ------------------------------------------------------------------------------------------------

test('linearizability: a read shows what an acknowledged write replaced', () => {
  const world = pair();
  const old = world.write(ALICE, 0);
  world.write(ALICE, 0);
  world.read(ALICE, 0, 8, old);
  assert.equal(world.reported, ['linearizability']);
});

test('linearizability: a read shows a torn block, or garbage', () => {
  for (const spoil of [(bytes: Uint8Array) => bytes.fill(0, 0, 512), (bytes: Uint8Array) => bytes.fill(7, 1000, 1010)]) {
    const world = pair();
    const bytes = world.write(ALICE, 0).slice();
    spoil(bytes);
    world.read(ALICE, 0, 8, bytes);
    assert.equal(world.reported, ['linearizability']);
  }
});

test('linearizability: what one read has shown, the next does not take back', () => {
  const world = pair();
  const old = world.write(ALICE, 0);
  const { bytes } = world.issue(ALICE, 0);
  world.read(ALICE, 0, 8, bytes);
  assert.equal(world.reported, [], 'a write in flight may show');
  world.read(ALICE, 0, 8, old);
  assert.equal(world.reported, ['linearizability']);
});

test('linearizability: an abandoned write that a read did not show does not appear later', () => {
  const world = pair();
  const old = world.write(ALICE, 0);
  const { bytes } = world.issue(ALICE, 0);
  setOutOfSync(world.bitmaps[BOB]!, 0, 8);
  failOver(world);
  world.read(BOB, 0, 8, old);
  assert.equal(world.reported, []);
  world.read(BOB, 0, 8, bytes);
  assert.equal(world.reported, ['linearizability']);
});

test('linearizability: zeros that a read has shown may be those of a write that was given up (integrity 224)', () => {
  for (const zeroes of [true, false]) {
    const world = pair();
    world.write(ALICE, 0);
    if (zeroes) world.issueZeroes(ALICE, 0);
    setOutOfSync(world.bitmaps[BOB]!, 0, 8);
    failOver(world);
    for (let reads = 0; reads < 2; reads++) world.read(BOB, 0, 8, new Uint8Array(4096));
    assert.equal(world.reported, zeroes ? [] : ['linearizability']);
  }
});

// ---- Divergence and convergence -------------------------------------------------------------------------------------

test('no silent divergence: a block differs and nobody has marked it', () => {
  const world = pair();
  world.part();
  world.write(ALICE, 0, [ALICE]);
  world.checkpoint();
  assert.equal(world.reported, ['no-silent-divergence']);
});

test('no silent divergence: a bit in either bitmap will do, so will a write in flight', () => {
  for (const mark of [(world: FakeWorld) => setOutOfSync(world.bitmaps[ALICE]!, 0, 8), (world: FakeWorld) => setOutOfSync(world.bitmaps[BOB]!, 0, 8), (world: FakeWorld) => world.inFlight[ALICE]!.push({ sector: 0, sectors: 8, request: undefined })]) {
    const world = pair();
    world.part();
    world.write(ALICE, 0, [ALICE]);
    mark(world);
    world.checkpoint();
    assert.equal(world.reported, []);
  }
});

test('no silent divergence: a mark that was there is lost', () => {
  const world = pair();
  world.part();
  world.write(ALICE, 0, [ALICE]);
  setOutOfSync(world.bitmaps[ALICE]!, 0, 8);
  world.checkpoint();
  world.bitmaps[ALICE]!.counts.fill(0);
  world.bitmaps[ALICE]!.words.clear();
  world.checkpoint();
  assert.equal(world.reported, ['no-silent-divergence']);
});

test('no silent divergence: after a crash the activity log of the Primary covers it, if the superblock says that it was one', () => {
  const crash = (flags: number, extent: number): FakeWorld => {
    const world = pair();
    const { bytes } = world.issue(ALICE, 0);
    world.disks[ALICE]!.write(0, bytes);
    const { layout } = world;
    const transaction = encodeTransaction(newCursor(), [extent], [{ slot: 0, extent }]);
    world.disks[ALICE]!.writeMeta(layout.alSector, transaction);
    world.disks[ALICE]!.writeMeta(layout.superblockSector, encodeSuperblock(world.superblock(flags)));
    world.goDown(ALICE);
    return world;
  };
  const consistent = SuperblockFlag.Consistent | SuperblockFlag.WasUpToDate;
  assert.equal(crash(consistent | SuperblockFlag.PrimaryInd, 0).reported, []);
  assert.equal(crash(consistent | SuperblockFlag.PrimaryInd, 1).reported, ['no-silent-divergence'], 'another extent');
  assert.equal(crash(consistent, 0).reported, ['no-silent-divergence'], 'not known as Primary');
});

test('convergence: both say UpToDate and a block differs, whatever the bitmap says', () => {
  const world = pair();
  world.write(ALICE, 0, [ALICE]);
  setOutOfSync(world.bitmaps[ALICE]!, 0, 8);
  world.checkpoint();
  assert.equal(world.reported, ['convergence']);
});

test('convergence: in the end every block is compared, also one that nobody wrote', () => {
  const world = pair();
  world.disks[BOB]!.write(800, new Uint8Array(512).fill(1));
  world.end();
  assert.equal(world.reported, ['convergence']);
});

// ---- Direction, split brain -------------------------------------------------------------------------------------------

/** Both were Primary and wrote while the link was cut; now they meet. */
const parted = (options?: ConstructorParameters<typeof FakeWorld>[0]): FakeWorld => {
  const world = pair(options);
  world.part();
  world.write(ALICE, 0, [ALICE]);
  world.state(BOB, { role: Role.Primary });
  world.write(BOB, 64, [BOB]);
  setOutOfSync(world.bitmaps[ALICE]!, 0, 8);
  setOutOfSync(world.bitmaps[BOB]!, 64, 8);
  world.state(BOB, { role: Role.Secondary });
  world.later();
  return world;
};

test('convergence: between disks in sync nothing stays marked, unless a verify, two Primaries or a bad disk marked it', () => {
  const marked = (prepare: (world: FakeWorld) => void, looks = 2): string[] => {
    const world = pair();
    prepare(world);
    setOutOfSync(world.bitmaps[BOB]!, 8, 16);
    for (let look = 0; look < looks; look++) world.checkpoint();
    return world.violations.map(({ property, detail }) => `${property}: ${detail}`);
  };
  assert.equal(marked(() => undefined), ['convergence: 2 blocks of volume 0 are marked on bob, both sides say Connected and UpToDate']);
  assert.equal(marked(() => undefined, 1), []);
  assert.equal(marked((world) => world.part()), []);
  assert.equal(marked((world) => (world.state(ALICE, { conn: Conn.VerifyS }), world.state(ALICE, { conn: Conn.Connected }))), []);
  assert.equal(marked((world) => world.state(BOB, { role: Role.Primary })), []);
  assert.equal(marked((world) => world.hears(ALICE, { type: 'disk-failed', op: 1, failure: 'failed' })), []);
  // A resync leaves nothing behind.
  const synced = (world: FakeWorld): void => {
    world.hears(ALICE, { type: 'disk-failed', op: 1, failure: 'failed' });
    world.state(BOB, { conn: Conn.SyncTarget, disk: Disk.Inconsistent });
    world.state(BOB, { conn: Conn.Connected, disk: Disk.UpToDate });
  };
  assert.is(marked(synced).length, 1);
});

test('resync direction: newer data is overwritten and nobody decided that', () => {
  const world = pair();
  world.part();
  world.write(ALICE, 0, [ALICE]);
  setOutOfSync(world.bitmaps[ALICE]!, 0, 8);
  world.state(ALICE, { role: Role.Secondary });
  world.decide(BOB, 'handshake: source', '40', 'uuid-compare; x');
  world.state(BOB, { conn: Conn.WFBitMapS, pdsk: Disk.Consistent });
  assert.equal(world.reported, ['resync-direction']);
});

test('resync direction: protocol B, what was written before a demotion is not only in memory any more', () => {
  for (const settles of [true, false]) {
    const world = pair({ protocol: 'B' });
    world.write(ALICE, 0);
    world.state(ALICE, { role: Role.Secondary });
    world.state(BOB, { peer: Role.Secondary });
    if (settles) world.checkpoint();
    world.goDown(BOB);
    world.state(ALICE, { conn: Conn.WFConnection, pdsk: Disk.DUnknown });
    world.boot(BOB);
    world.state(BOB, { disk: Disk.UpToDate });
    world.state(BOB, { conn: Conn.WFBitMapS, pdsk: Disk.Consistent });
    assert.equal(world.reported, settles ? [] : ['resync-direction']);
  }
});

test('resync direction: protocol A, a Primary without her disk dies with what was still on its way to the peer (congestion 99)', () => {
  for (const detaches of [true, false]) {
    const world = pair({ protocol: 'A' });
    world.write(ALICE, 0, [ALICE]);
    if (detaches) world.state(ALICE, { disk: Disk.Diskless });
    setOutOfSync(world.bitmaps[BOB]!, 0, 8);
    world.goDown(ALICE);
    world.state(BOB, { conn: Conn.WFConnection, pdsk: Disk.DUnknown, peer: Role.Unknown });
    world.boot(ALICE);
    world.state(ALICE, { disk: Disk.Consistent });
    world.state(BOB, { conn: Conn.WFBitMapS, pdsk: Disk.Consistent });
    assert.equal(world.reported, detaches ? [] : ['resync-direction']);
  }
});

test('resync direction: what a source lost with its power, while its target had no good data, is nobody\'s fault (traps 397)', () => {
  for (const isTarget of [true, false]) {
    const world = pair();
    world.write(ALICE, 0);
    world.state(ALICE, { disk: Disk.Diskless });
    world.state(ALICE, { disk: Disk.Negotiating });
    if (isTarget) world.state(ALICE, { conn: Conn.SyncTarget, disk: Disk.Inconsistent });
    else world.state(ALICE, { disk: Disk.UpToDate });
    world.disks[BOB]!.write(0, new Uint8Array(4096));
    setOutOfSync(world.bitmaps[ALICE]!, 0, 8);
    world.goDown(BOB, 'power-loss');
    world.state(ALICE, { conn: Conn.WFConnection, pdsk: Disk.DUnknown, peer: Role.Unknown });
    world.boot(BOB);
    world.state(BOB, { disk: Disk.UpToDate });
    world.state(BOB, { conn: Conn.WFBitMapS, pdsk: Disk.Inconsistent });
    assert.is(world.reported.includes('resync-direction'), !isTarget, world.reported.join());
  }
});

test('durability: what a Primary lost with its power does not settle when it comes back as a Secondary', () => {
  const world = pair();
  world.part();
  world.write(ALICE, 0, [ALICE]);
  setOutOfSync(world.bitmaps[ALICE]!, 0, 8);
  world.disks[ALICE]!.write(0, new Uint8Array(4096));
  world.goDown(ALICE, 'power-loss');
  world.boot(ALICE);
  world.state(ALICE, { disk: Disk.UpToDate, conn: Conn.WFConnection });
  for (const place of [ALICE, BOB]) world.state(place, { conn: Conn.Connected, pdsk: Disk.UpToDate, peer: Role.Secondary });
  world.checkpoint();
  world.end();
  assert.not.ok(world.reported.includes('durability'), world.violations.map(({ detail }) => detail).join());
});

test('resync direction: an operator or a policy may choose to discard', () => {
  const byOperator = pair();
  byOperator.part();
  byOperator.write(ALICE, 0, [ALICE]);
  byOperator.state(ALICE, { role: Role.Secondary });
  byOperator.command(ALICE, { verb: 'connect', resource: 'r0', peer: 'bob', discardMyData: true, tentative: false });
  byOperator.state(BOB, { conn: Conn.WFBitMapS, pdsk: Disk.Consistent });
  assert.equal(byOperator.reported, []);

  const byPolicy = parted();
  byPolicy.decide(BOB, 'handshake: source', '90', 'after-sb-0pri; x');
  byPolicy.state(BOB, { conn: Conn.WFBitMapS, pdsk: Disk.Consistent });
  byPolicy.later();
  byPolicy.checkpoint();
  assert.equal(byPolicy.reported, []);
  assert.ok(byPolicy.sometimes.includes('data discarded by policy or operator'));
});

test('resync direction: discard-zero-changes does not choose to discard changes', () => {
  const world = parted();
  world.setup.hosts[ALICE]!.config.peers[0]!.net.afterSb0Pri = 'discard-zero-changes';
  world.decide(BOB, 'handshake: source', '90', 'after-sb-0pri; x');
  world.state(BOB, { conn: Conn.WFBitMapS, pdsk: Disk.Consistent });
  assert.equal(world.reported, ['resync-direction']);
});

test('histories-agree: what a resync has made equal is equal on both, but for the role', () => {
  type Uuids = [string, string, string, string];
  const ended = (target: Uuids, between: (world: FakeWorld) => void = () => undefined): FakeWorld => {
    const world = pair();
    world.observe(BOB, { event: 'generation', resource: 'r0', volume: 0, uuids: target, why: 'end of resync as target' });
    between(world);
    world.observe(ALICE, { event: 'generation', resource: 'r0', volume: 0, uuids: ['A1', '0', 'B0', 'C0'], why: 'end of resync as source' });
    return world;
  };
  for (const oldest of ['C1', '0', 'D0']) assert.equal(ended(['A0', '0', 'B0', oldest]).violations, []);
  const others: Uuids[] = [['A2', '0', 'B0', 'C0'], ['A0', 'B0', 'B0', 'C0'], ['A0', '0', 'C0', '0'], ['A0', '0', '0', '0']];
  for (const target of others) assert.equal(ended(target).reported, ['histories-agree'], target.join(':'));
  // Only one end was written down, or something came after it: the next handshake decides.
  assert.equal(ended(['A2', '0', 'B0', 'C0'], (world) => world.part()).violations, []);
  assert.equal(ended(['A2', '0', 'B0', 'C0'], (world) => world.goDown(BOB, 'crash')).violations, []);
  assert.equal(ended(['A2', '0', 'B0', 'C0'], (world) => world.observe(BOB, { event: 'generation', resource: 'r0', volume: 0, uuids: ['D0', 'A0', 'B0', 'C0'], why: 'promotion' })).violations, []);
});

test('split brain: parted nodes connect without a word', () => {
  const world = parted();
  world.decide(BOB, 'handshake: connected', '40', 'uuid-compare; x');
  world.state(BOB, { conn: Conn.Connected, pdsk: Disk.UpToDate });
  world.later();
  world.checkpoint();
  assert.ok(world.reported.includes('split-brain'));
});

test('split brain: nodes that did not part are accused of it', () => {
  const world = pair();
  world.part();
  world.write(ALICE, 0, [ALICE]);
  world.decide(BOB, 'handshake: refuse', '90', 'split-brain; x');
  assert.equal(world.reported, ['split-brain']);
});

test('split brain: parted nodes may be accused', () => {
  const world = parted();
  world.decide(BOB, 'handshake: refuse', '90', 'split-brain; x');
  assert.equal(world.reported, []);
});

test('silent divergence: of the last block only what is of the device counts (failover 612)', () => {
  for (const sizeSectors of [12, 13]) {
    const world = pair();
    world.sizeSectors = sizeSectors;
    world.write(ALICE, 8, [ALICE, BOB], 4);
    world.disks[BOB]!.write(12, new Uint8Array(512).fill(1));
    world.checkpoint();
    world.end();
    assert.equal(world.reported.includes('no-silent-divergence'), sizeSectors === 13);
  }
});

test('online verify: what differs must be marked when it ends; of the last block only what is of the device counts (failover 1452)', () => {
  for (const sizeSectors of [12, 13]) {
    const world = pair();
    world.sizeSectors = sizeSectors;
    world.write(ALICE, 8, [ALICE, BOB], 4);
    world.disks[BOB]!.write(12, new Uint8Array(512).fill(1));
    const verify = { event: 'verify', resource: 'r0', volume: 0, peer: 'bob', side: 'source', startSector: 0, foundBits: 0 } as const;
    world.observe(ALICE, { ...verify, what: 'started', reachedSector: 0 });
    world.observe(ALICE, { ...verify, what: 'finished', reachedSector: sizeSectors });
    assert.is(world.reported.includes('online-verify'), sizeSectors === 13);
  }
});

// ---- Bounded recovery -----------------------------------------------------------------------------------------------

test('bounded recovery: an attach marks more than the active set', () => {
  for (const [marked, reported] of [[1024, []], [1032, ['bounded-recovery']]] as const) {
    const world = pair({ activeSetExtents: 1 });
    world.write(ALICE, 0);
    world.goDown(ALICE);
    world.boot(ALICE);
    setOutOfSync(world.bitmaps[ALICE]!, 0, marked * 8);
    world.state(ALICE, { disk: Disk.UpToDate });
    assert.equal(world.reported, reported);
  }
});

test('bounded recovery: a resync moves more than was marked', () => {
  for (const [total, reported] of [[10, []], [11, ['bounded-recovery']]] as const) {
    const world = pair();
    world.part();
    world.write(ALICE, 0, [ALICE], 80);
    setOutOfSync(world.bitmaps[ALICE]!, 0, 80);
    world.state(BOB, { conn: Conn.WFBitMapT, disk: Disk.Outdated, pdsk: Disk.UpToDate });
    world.state(ALICE, { conn: Conn.WFBitMapS, pdsk: Disk.Consistent });
    world.observe(ALICE, { event: 'resync', resource: 'r0', volume: 0, peer: 'bob', what: 'started', side: 'source', totalBits: total, leftBits: total, failedBits: 0 });
    assert.equal(world.reported, reported);
  }
});

test('bounded recovery: a write that is held back marks its block later, one that is answered and known does not (failover 735)', () => {
  const resyncs = (held: boolean): FakeWorld => {
    const world = pair();
    world.part();
    if (held) world.issue(ALICE, 0);
    else world.write(ALICE, 0, [ALICE]);
    world.state(BOB, { conn: Conn.WFBitMapT, disk: Disk.Outdated, pdsk: Disk.UpToDate });
    world.state(ALICE, { conn: Conn.WFBitMapS, pdsk: Disk.Consistent });
    world.observe(ALICE, { event: 'resync', resource: 'r0', volume: 0, peer: 'bob', what: 'started', side: 'source', totalBits: 1, leftBits: 1, failedBits: 0 });
    return world;
  };
  assert.equal(resyncs(true).reported, []);
  assert.equal(resyncs(false).reported, ['bounded-recovery']);
});

test('bounded recovery: what nobody wrote is marked; whole extents are, when an activity log was replayed', () => {
  for (const [marked, boots, reported] of [[0, false, []], [1, false, ['bounded-recovery']], [1, true, []], [1024, true, ['bounded-recovery']]] as const) {
    const world = pair();
    world.write(ALICE, 0);
    world.part();
    if (boots) {
      world.goDown(ALICE);
      world.boot(ALICE);
      world.state(ALICE, { disk: Disk.UpToDate, conn: Conn.WFConnection });
    }
    setOutOfSync(world.bitmaps[ALICE]!, marked * 8, 8);
    world.state(ALICE, { conn: Conn.WFBitMapS, pdsk: Disk.Consistent });
    assert.equal(world.reported, reported);
  }
});

test('bounded recovery: below protocol 96 a rule that syncs everything has marked everything (flapping-link 406)', () => {
  for (const [rule, protocolMax] of [['70', 94], ['80', 94], ['80', 101]] as const) {
    const world = pair({ protocolMax });
    world.write(ALICE, 0);
    world.part();
    world.decide(ALICE, 'handshake: source', rule, 'uuid-compare; x');
    setOutOfSync(world.bitmaps[ALICE]!, 8, 8);
    world.state(ALICE, { conn: Conn.WFBitMapS, pdsk: Disk.Consistent });
    assert.equal(world.reported, rule === '80' && protocolMax < 96 ? [] : ['bounded-recovery']);
  }
});

test('no silent divergence: what a disk would not read is marked until it is written, or read after all', () => {
  for (const [then, reported] of [
    [() => undefined, ['no-silent-divergence']],
    [(world: FakeWorld) => setOutOfSync(world.bitmaps[ALICE]!, 0, 8), []],
    [(world: FakeWorld) => world.says(ALICE, { type: 'disk-write', op: 2, resource: 'r0', volume: 0, area: 'data', sector: 0, data: new Uint8Array(4096), preflush: false, fua: false }), []],
    [(world: FakeWorld) => world.says(ALICE, { type: 'disk-read', op: 2, resource: 'r0', volume: 0, area: 'data', sector: 0, sectors: 8 }), []],
  ] as const) {
    const world = pair();
    world.says(ALICE, { type: 'disk-read', op: 1, resource: 'r0', volume: 0, area: 'data', sector: 0, sectors: 8 });
    world.hears(ALICE, { type: 'disk-failed', op: 1, failure: 'failed' });
    then(world);
    world.hears(ALICE, { type: 'disk-done', op: 2 });
    world.checkpoint();
    assert.equal(world.reported, reported);
  }
});

test('frozen I/O: nobody is answered while it is frozen', () => {
  for (const flag of ['susp', 'suspNod', 'suspFen']) {
    const world = pair();
    world.state(ALICE, { flags: [flag] });
    world.says(ALICE, { type: 'app-failed', resource: 'r0', volume: 0, id: 1, error: 'EROFS' });
    assert.equal(world.reported, []);
    world.says(ALICE, { type: 'app-done', resource: 'r0', volume: 0, id: 1 });
    assert.equal(world.reported, ['frozen-io']);
  }
  const world = pair();
  world.state(ALICE, { flags: ['suspFen'] });
  world.state(ALICE, { flags: [] });
  world.says(ALICE, { type: 'app-done', resource: 'r0', volume: 0, id: 1 });
  assert.equal(world.reported, []);
});

test('frozen I/O: when suspend-io is answered nothing is on its way to the disk, and nothing goes there until it is taken back', () => {
  const write = { type: 'disk-write', op: 1, resource: 'r0', volume: 0, area: 'data', sector: 0, data: new Uint8Array(4096), preflush: false, fua: false } as const;
  const suspends = (during: boolean, after: boolean, resumes: boolean): FakeWorld => {
    const world = pair();
    world.says(ALICE, write);
    if (!during) world.hears(ALICE, { type: 'disk-done', op: 1 });
    world.command(ALICE, { verb: 'suspend-io', resource: 'r0' });
    world.state(ALICE, { flags: ['susp'] });
    world.answer(ALICE);
    if (resumes) world.state(ALICE, { flags: [] });
    if (after) world.says(ALICE, { ...write, op: 2 });
    return world;
  };
  assert.equal(suspends(false, false, false).reported, []);
  assert.equal(suspends(true, false, false).reported, ['frozen-io']);
  assert.equal(suspends(false, true, false).reported, ['frozen-io']);
  assert.equal(suspends(false, true, true).reported, []);
});

test('frozen I/O: a Primary frozen for fencing goes on alone only by the word of a handler of this loss, and when its peer is outdated', () => {
  const fence = { type: 'run-handler', handler: 1, name: 'fence-peer', resource: 'r0', environment: [] } satisfies Output;
  const frozen = (): FakeWorld => {
    const world = pair();
    world.state(ALICE, { conn: Conn.WFConnection, pdsk: Disk.DUnknown, peer: Role.Unknown, flags: ['suspFen'] });
    return world;
  };
  const thawed = (prepare: (world: FakeWorld) => void, change: Parameters<FakeWorld['state']>[1] = {}): string[] => {
    const world = frozen();
    world.later();
    prepare(world);
    world.state(ALICE, { flags: [], ...change });
    return world.violations.map(({ property, detail }) => `${property}: ${detail}`);
  };
  const fenced = (world: FakeWorld): void => {
    world.says(ALICE, fence);
    world.handlerExits(ALICE, 4);
  };
  assert.equal(thawed(fenced, { pdsk: Disk.Outdated }), []);
  assert.equal(thawed(fenced), ['frozen-io: alice goes on without its peer, whose volume 0 may be promoted']);
  assert.equal(thawed((world) => world.command(ALICE, { verb: 'resume-io', resource: 'r0' })), []);
  assert.equal(thawed(() => undefined, { conn: Conn.Connected, pdsk: Disk.UpToDate, peer: Role.Secondary }), []);

  const late = pair();
  late.says(ALICE, fence);
  late.later();
  late.state(ALICE, { conn: Conn.WFConnection, pdsk: Disk.DUnknown, peer: Role.Unknown, flags: ['suspFen'] });
  late.handlerExits(ALICE, 4);
  late.state(ALICE, { pdsk: Disk.Outdated, flags: [] });
  assert.equal(late.violations.map(({ detail }) => detail), ['alice goes on by the word of a handler that was called before it lost its peer']);
});

test('device size: it shrinks and nobody asked for that; two connected nodes have two sizes', () => {
  const shrinks = (asked: number): FakeWorld => {
    const world = pair();
    world.checkpoint();
    world.command(ALICE, { verb: 'resize', resource: 'r0', volume: 0, sizeSectors: asked, assumeClean: false, assumePeerHasSpace: false });
    world.sizeSectors -= 800;
    world.checkpoint();
    return world;
  };
  assert.equal(shrinks(0).reported, ['device-size']);
  assert.equal(shrinks(8000).reported, []);
  const world = pair();
  world.alicesSectors = world.sizeSectors + 8;
  world.end();
  assert.equal(world.reported, ['device-size']);
});

test('device size: a crash may take back what was not on disk yet, and no more (resize 436)', () => {
  for (const storedLess of [0, 8]) {
    const world = pair();
    world.sizeSectors += 64;
    world.checkpoint();
    world.goDown(BOB);
    world.sizeSectors -= 64 + storedLess;
    world.boot(BOB);
    world.state(BOB, { disk: Disk.UpToDate });
    const bobs = world.violations.filter(({ property, detail }) => property === 'device-size' && detail.includes('on bob had'));
    assert.is(bobs.length > 0, storedLess > 0, bobs.map(({ detail }) => detail).join());
  }
});

// ---- Liveness, states, disconnects, metadata ----------------------------------------------------------------------------

test('liveness: a request hangs, a disk is not UpToDate, a link is not up, a host is down', () => {
  const hangs = pair();
  hangs.issue(ALICE, 0);
  hangs.later(60_000_000);
  hangs.end();
  assert.equal(hangs.reported, ['liveness']);

  const inconsistent = pair();
  inconsistent.state(BOB, { disk: Disk.Outdated });
  inconsistent.state(ALICE, { pdsk: Disk.Outdated });
  inconsistent.end();
  assert.equal(inconsistent.reported, ['liveness']);

  const alone = pair();
  alone.part();
  alone.end();
  assert.equal(alone.reported, ['liveness']);

  const down = pair();
  down.state(ALICE, { role: Role.Secondary });
  down.goDown(BOB);
  down.state(ALICE, { conn: Conn.WFConnection, pdsk: Disk.DUnknown });
  down.end();
  assert.equal(down.reported, ['liveness']);
});

test('liveness: a request fails although a good disk is in reach, the peer\'s or the Primary\'s own', () => {
  for (const [own, prepare, reported] of [
    [Disk.Diskless, () => undefined, ['liveness']],
    [Disk.Diskless, (world: FakeWorld) => world.part(), []],
    [Disk.Diskless, (world: FakeWorld) => world.state(ALICE, { pdsk: Disk.Inconsistent }), []],
    [Disk.Diskless, (world: FakeWorld) => world.hears(BOB, { type: 'disk-failed', op: 1, failure: 'failed' }), []],
    [Disk.UpToDate, (world: FakeWorld) => world.part(), ['liveness']],
    [Disk.UpToDate, (world: FakeWorld) => (world.part(), world.hears(ALICE, { type: 'disk-failed', op: 1, failure: 'failed' })), []],
  ] as const) {
    const world = pair();
    world.state(ALICE, { disk: own });
    world.later();
    const { id } = world.issue(ALICE, 0);
    prepare(world);
    world.says(ALICE, { type: 'app-failed', resource: 'r0', volume: 0, id, error: 'EIO' });
    assert.equal(world.reported, reported);
  }
});

test('liveness: requests may wait for ever for data that only two bad disks have', () => {
  const hangs = (onIoError: 'detach' | 'pass_on', disk: Disk, frozenReason: string | undefined): boolean => {
    const world = pair({ onIoError });
    world.issue(ALICE, 0);
    world.state(ALICE, { disk: Disk.Inconsistent, pdsk: disk });
    world.state(BOB, { disk, pdsk: Disk.Inconsistent });
    world.frozenReason = frozenReason;
    world.later(60_000_000);
    world.end();
    return world.violations.some(({ property, detail }) => property === 'liveness' && detail.includes('requests hang'));
  };
  assert.not(hangs('pass_on', Disk.Inconsistent, 'suspended: no data accessible'));
  assert.ok(hangs('pass_on', Disk.Inconsistent, 'suspended: fencing'));
  assert.ok(hangs('pass_on', Disk.Inconsistent, undefined));
  assert.ok(hangs('detach', Disk.Inconsistent, 'suspended: no data accessible'));
  assert.ok(hangs('pass_on', Disk.UpToDate, 'suspended: no data accessible'));
});

test('liveness: a split brain excuses standing alone only where the two really parted, and where it is possible', () => {
  const ends = (world: FakeWorld): string[] => {
    world.command(BOB, { verb: 'disconnect', resource: 'r0', peer: 'alice', force: false });
    world.decide(BOB, 'handshake: refuse', '90', 'split-brain; x');
    world.state(BOB, { conn: Conn.StandAlone });
    world.end();
    return world.reported;
  };
  assert.equal(ends(parted()), []);
  assert.equal(ends(parted({ splitBrainPossible: false })), ['liveness']);
  const innocent = pair();
  innocent.part();
  assert.equal(ends(innocent), ['split-brain', 'liveness']);
});

test('liveness: a source that went down before it wrote down the end of its resync may be taken for one that went on alone', () => {
  const ends = (written: boolean, rule: string): string[] => {
    const world = pair();
    const flags = SuperblockFlag.Consistent | SuperblockFlag.WasUpToDate | SuperblockFlag.PrimaryInd;
    const store = (bitmap: bigint): void =>
      world.disks[ALICE]!.writeMeta(world.layout.superblockSector, encodeSuperblock({ ...world.superblock(flags), uuids: [2n, bitmap, 0n, 0n] }));
    world.part();
    store(4n);
    world.state(BOB, { conn: Conn.SyncTarget, disk: Disk.Inconsistent, pdsk: Disk.UpToDate, peer: Role.Primary });
    world.state(ALICE, { conn: Conn.SyncSource, pdsk: Disk.Inconsistent, peer: Role.Secondary });
    world.state(BOB, { conn: Conn.Connected, disk: Disk.UpToDate });
    world.state(ALICE, { conn: Conn.Connected, pdsk: Disk.UpToDate });
    if (written) store(0n);
    world.goDown(ALICE);
    world.command(BOB, { verb: 'disconnect', resource: 'r0', peer: 'alice', force: false });
    world.state(BOB, { conn: Conn.WFConnection, pdsk: Disk.DUnknown, peer: Role.Unknown });
    world.boot(ALICE);
    world.state(ALICE, { conn: Conn.WFConnection, disk: Disk.UpToDate });
    world.decide(BOB, 'handshake: refuse', rule, 'split-brain; x');
    world.state(BOB, { conn: Conn.StandAlone });
    world.end();
    return world.reported.filter((property) => property === 'liveness');
  };
  assert.equal(ends(false, '70b'), []);
  assert.equal(ends(true, '70b'), ['liveness']);
  assert.equal(ends(false, '90'), ['liveness']);
});

test('liveness: a source whose target never began may be taken for one that went on alone', () => {
  const ends = (begins: boolean): string[] => {
    const world = pair();
    world.part();
    world.state(BOB, { conn: Conn.StartingSyncS, pdsk: Disk.Consistent });
    if (begins) world.state(ALICE, { conn: Conn.SyncTarget, disk: Disk.Inconsistent });
    world.command(BOB, { verb: 'disconnect', resource: 'r0', peer: 'alice', force: false });
    world.state(BOB, { conn: Conn.WFConnection, pdsk: Disk.DUnknown, peer: Role.Unknown });
    world.state(ALICE, { conn: Conn.WFConnection, disk: Disk.UpToDate });
    world.decide(BOB, 'handshake: refuse', '50b', 'split-brain; x');
    world.state(BOB, { conn: Conn.StandAlone });
    world.end();
    return world.reported.filter((property) => property === 'liveness');
  };
  assert.equal(ends(false), []);
  assert.equal(ends(true), ['liveness']);
});

test('liveness: unrelated data is an excuse only after as many generations as a set forgets, and an operator who gave some', () => {
  const ends = (begun: number, given: number): string[] => {
    const world = pair();
    world.part();
    world.command(BOB, { verb: 'disconnect', resource: 'r0', peer: 'alice', force: false });
    world.state(BOB, { conn: Conn.StandAlone });
    for (let number = 0; number <= begun; number++) {
      if (number > begun - given) world.command(BOB, { verb: 'new-current-uuid', resource: 'r0', volume: 0, clearBitmap: false });
      const current = (2 * number).toString(16).padStart(16, '0').toUpperCase();
      world.observe(BOB, { event: 'generation', resource: 'r0', volume: 0, uuids: [current, '0', '0', '0'], why: 'x' });
    }
    world.decide(BOB, 'handshake: refuse', '110', 'unrelated-data; x');
    world.end();
    return world.reported;
  };
  assert.equal(ends(4, 3), []);
  assert.equal(ends(3, 3), ['liveness']);
  assert.equal(ends(4, 0), ['liveness']);
});

test('complementary states: the two disagree', () => {
  for (const change of [{ conn: Conn.SyncTarget }, { peer: Role.Secondary }, { pdsk: Disk.Outdated }]) {
    const world = pair();
    world.state(BOB, change);
    world.end();
    assert.ok(world.reported.includes('complementary-states'));
  }
});

test('unexpected disconnect: a protocol error always, a lost link unless something disturbs it', () => {
  const lose = (reason: string, disturbed: boolean): FakeWorld => {
    const world = pair();
    world.later(120_000_000);
    world.isDisturbed = disturbed;
    world.observe(BOB, { event: 'connection-lost', resource: 'r0', peer: 'alice', reason, detail: 'x' });
    return world;
  };
  assert.equal(lose('ProtocolError', true).reported, ['unexpected-disconnect']);
  assert.equal(lose('NetworkFailure', false).reported, ['unexpected-disconnect']);
  assert.equal(lose('NetworkFailure', true).reported, []);
});

test('unexpected disconnect: a node stands alone without a reason', () => {
  const world = pair();
  world.later(120_000_000);
  world.state(BOB, { conn: Conn.StandAlone });
  assert.equal(world.reported, ['unexpected-disconnect']);

  const ordered = pair();
  ordered.later(120_000_000);
  ordered.command(BOB, { verb: 'disconnect', resource: 'r0', peer: 'alice', force: false });
  ordered.state(BOB, { conn: Conn.StandAlone });
  assert.equal(ordered.reported, []);

  // The peer that is asked is out of reach for a long time (resync-interrupted 751); then the order is carried out, and forgotten.
  const slow = pair();
  slow.command(BOB, { verb: 'disconnect', resource: 'r0', peer: 'alice', force: false });
  slow.later(120_000_000);
  slow.state(BOB, { conn: Conn.StandAlone });
  assert.equal(slow.reported, []);
  slow.answer(BOB);
  slow.later(120_000_000);
  slow.state(BOB, { conn: Conn.WFConnection });
  slow.state(BOB, { conn: Conn.StandAlone });
  assert.equal(slow.reported, ['unexpected-disconnect']);
});

test('outdated with cause: a peer that is no Primary is none; a Primary, a resync, an order and a handler are', () => {
  const outdated = (prepare: (world: FakeWorld) => void, change: Parameters<FakeWorld['state']>[1] = {}): FakeWorld => {
    const world = pair();
    world.state(BOB, { peer: Role.Secondary });
    prepare(world);
    world.state(BOB, { disk: Disk.Outdated, ...change });
    return world;
  };
  assert.equal(outdated(() => undefined).reported, ['outdated-with-cause']);
  assert.equal(outdated((world) => world.handlerExits(BOB, 5)).reported, ['outdated-with-cause']);
  assert.equal(outdated((world) => world.state(BOB, { peer: Role.Primary })).reported, []);
  assert.equal(outdated(() => undefined, { conn: Conn.WFBitMapT }).reported, []);
  assert.equal(outdated((world) => world.command(BOB, { verb: 'outdate', resource: 'r0', volume: 0 })).reported, []);
  assert.equal(outdated((world) => world.handlerExits(BOB, 6)).reported, []);
});

test('outdated with cause: a Primary agreed to a parting and its word was lost (resync-interrupted 279); a Secondary is no cause', () => {
  for (const role of [Role.Primary, Role.Secondary]) {
    const world = pair();
    world.state(ALICE, { role });
    world.state(BOB, { peer: Role.Unknown, conn: Conn.BrokenPipe, pdsk: Disk.DUnknown });
    world.state(BOB, { conn: Conn.Disconnecting, disk: Disk.Outdated });
    assert.equal(world.reported, role === Role.Primary ? [] : ['outdated-with-cause']);
  }
});

test('metadata sanity: the superblock or the log does not parse after a crash', () => {
  const torn = pair();
  torn.disks[ALICE]!.writeMeta(torn.layout.superblockSector, new Uint8Array(512));
  torn.goDown(ALICE);
  assert.equal(torn.reported, ['metadata-sanity']);

  const noLog = pair();
  for (let block = 0; block < noLog.layout.alBlocks; block++) noLog.disks[ALICE]!.writeMeta(noLog.layout.alSector + block * 8, emptyBlock().fill(1, 100, 200));
  noLog.goDown(ALICE);
  assert.equal(noLog.reported, ['metadata-sanity']);
});

test('metadata sanity: a Primary that had acknowledged a write is not known as one', () => {
  const world = pair();
  world.write(ALICE, 0);
  world.disks[ALICE]!.writeMeta(world.layout.superblockSector, encodeSuperblock(world.superblock(SuperblockFlag.Consistent | SuperblockFlag.WasUpToDate)));
  world.goDown(ALICE);
  assert.equal(world.reported, ['metadata-sanity']);
});

test('metadata sanity: an attach claims more than the superblock admits', () => {
  for (const [flags, disk, reported] of [
    [0, Disk.Inconsistent, []],
    [0, Disk.UpToDate, ['metadata-sanity']],
    [SuperblockFlag.Consistent, Disk.Outdated, []],
    [SuperblockFlag.Consistent, Disk.Consistent, ['metadata-sanity']],
  ] as const) {
    const world = pair();
    world.goDown(BOB);
    world.disks[BOB]!.writeMeta(world.layout.superblockSector, encodeSuperblock(world.superblock(flags)));
    world.boot(BOB);
    world.state(BOB, { disk });
    assert.equal(world.reported, reported);
  }
});

test('metadata sanity: a target\'s superblock says Inconsistent before its first block; an application\'s write is none of the resync', () => {
  const write = { type: 'disk-write', op: 1, resource: 'r0', volume: 0, area: 'data', sector: 64, data: new Uint8Array(4096), preflush: false, fua: false } as const;
  const target = (flags: number, prepare: (world: FakeWorld) => void = () => undefined): string[] => {
    const world = pair();
    world.state(BOB, { conn: Conn.SyncTarget, disk: Disk.Inconsistent });
    world.disks[BOB]!.writeMeta(world.layout.superblockSector, encodeSuperblock(world.superblock(flags)));
    prepare(world);
    world.says(BOB, write);
    return world.reported;
  };
  assert.equal(target(SuperblockFlag.Consistent), ['metadata-sanity']);
  assert.equal(target(0), []);
  assert.equal(target(SuperblockFlag.Consistent, (world) => void world.issue(ALICE, 64)), []);
  assert.equal(target(SuperblockFlag.Consistent, (world) => world.state(BOB, { conn: Conn.Connected, disk: Disk.UpToDate })), []);
});

test('metadata sanity: while the activity log is written, a Primary\'s write goes only to extents that the disk names', () => {
  const logging = { type: 'disk-write', op: 1, resource: 'r0', volume: 0, area: 'meta', sector: 8, data: new Uint8Array(4096), preflush: false, fua: false } as const;
  const written = (during: boolean, application = true): string[] => {
    const world = new FakeWorld();
    world.setup.onBoot = 'attach-and-connect';
    world.up2date();
    const { bytes } = application ? world.issue(ALICE, 64) : { bytes: new Uint8Array(4096) };
    world.says(ALICE, logging);
    if (!during) world.hears(ALICE, { type: 'disk-done', op: 1 });
    world.says(ALICE, { type: 'disk-write', op: 2, resource: 'r0', volume: 0, area: 'data', sector: 64, data: bytes, preflush: false, fua: false });
    return world.reported;
  };
  assert.equal(written(true), ['metadata-sanity']);
  assert.equal(written(false), []);
  assert.equal(written(true, false), []);
});

test('metadata sanity: a disk that was given up while the other went on is not attached as good', () => {
  const attached = (disk: Disk, goesOn = true): string[] => {
    const world = pair();
    world.state(BOB, { disk: Disk.Failed, ...(!goesOn && { conn: Conn.WFConnection, pdsk: Disk.DUnknown }) });
    world.state(BOB, { disk: Disk.Diskless });
    world.later(10_000_000);
    world.state(BOB, { disk: Disk.Attaching });
    world.state(BOB, { disk });
    return world.reported;
  };
  assert.equal(attached(Disk.Consistent), ['metadata-sanity']);
  assert.equal(attached(Disk.Inconsistent), []);
  assert.equal(attached(Disk.Outdated), []);
  assert.equal(attached(Disk.Consistent, false), []);
});

test.run();
