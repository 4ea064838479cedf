/** The simulator's parts, each against a naive model: clock, random streams, disk contents, packet scanner, lent buffers. */

import fc from '../fast-check.js';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { commandCode } from '../../src/wire/commands.js';
import { writeHeader } from '../../src/wire/headers.js';
import { LentBuffers } from '../../sim/world/buffers.js';
import { Clock } from '../../sim/world/clock.js';
import { ContentStore } from '../../sim/world/content.js';
import { Device } from '../../sim/world/device.js';
import { hashBytes } from '../../sim/world/hash.js';
import { PACKET_INDICES, PacketScanner, packetIndexOfName, packetNameOfIndex } from '../../sim/world/packets.js';
import { randomRoot } from '../../sim/world/random.js';
import { drawSchedule, drawSwarm } from '../../sim/world/swarm.js';

test('random streams of seed 42 are what they always were', () => {
  const root = randomRoot(42);
  const draw = (name: string): number[] => {
    const stream = root.fork(name);
    return [stream.integer(0, 999), stream.integer(0, 999), stream.integer(0, 0xffffffff), stream.integer(0, 2 ** 51)];
  };
  assert.equal(draw('setup'), PINNED.setup);
  assert.equal(draw('link/alice>bob'), PINNED.link);
  assert.equal(draw('host/bob/boot/2'), PINNED.boot);
  assert.is(root.fork('host/alice').random64().toString(16), PINNED.random64);
});

const PINNED = {
  setup: [160, 35, 1611353432, 1733824654005537],
  link: [997, 7, 2759433784, 1690152018901443],
  boot: [867, 785, 2871299285, 163502179343091],
  random64: 'eeebe70165e91200',
};

test('a fork depends on names alone', () => {
  const a = randomRoot(7);
  const b = randomRoot(7);
  for (let n = 0; n < 10; n++) a.integer(0, 100);
  assert.is(a.fork('x').integer(0, 1e9), b.fork('x').integer(0, 1e9));
  assert.is.not(a.fork('x').integer(0, 1e9), a.fork('y').integer(0, 1e9));
});

test('neighbouring seeds, and neighbouring names, draw independently of each other', () => {
  const count = 4000;
  for (const name of ['setup', 'host/bob/disk/0/data', 'boot/1']) {
    for (const distance of [1, 2, 10, 100]) {
      const first = (seed: number): number => randomRoot(seed).fork(name).integer(0, 999_999) / 1e6 - 0.5;
      let covariance = 0;
      for (let seed = 1; seed <= count; seed++) covariance += first(seed) * first(seed + distance);
      const correlation = (covariance / count) * 12;
      // Five standard deviations; a generator that is linear in its seed has half of everything in common.
      assert.ok(Math.abs(correlation) < 5 / Math.sqrt(count), `${name}, seeds ${distance} apart: ${correlation}`);
    }
  }
});

test('integers stay within bounds and reach them', () => {
  const stream = randomRoot(1);
  const seen = new Set<number>();
  for (let n = 0; n < 1000; n++) seen.add(stream.integer(-2, 3));
  assert.equal([...seen].sort((x, y) => x - y), [-2, -1, 0, 1, 2, 3]);
  for (let n = 0; n < 1000; n++) {
    const large = stream.integer(0, 2 ** 52);
    assert.ok(Number.isInteger(large) && large >= 0 && large <= 2 ** 52);
  }
});

test('the clock brings events in the order of time, then of scheduling', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 20 })), { maxLength: 300 }), (steps) => {
      const clock = new Clock<{ atUs: number; order: number }>();
      let model: { atUs: number; order: number }[] = [];
      let order = 0;
      for (const [take, delayUs] of steps) {
        if (take && model.length > 0) {
          model = model.sort((x, y) => x.atUs - y.atUs || x.order - y.order);
          const expected = model.shift()!;
          assert.is(clock.nextUs, expected.atUs);
          assert.is(clock.next(), expected);
          assert.is(clock.nowUs, expected.atUs);
        } else {
          const event = { atUs: clock.nowUs + delayUs, order: order++ };
          clock.schedule(event.atUs, event);
          model.push(event);
        }
        assert.is(clock.pending, model.length);
      }
    }),
  );
  const clock = new Clock<string>();
  clock.schedule(5, 'x');
  clock.next();
  assert.throws(() => clock.schedule(4, 'y'), /time does not go back/);
});

// ---- Disks: every sector is a list of versions, the durable ones first ------------------------------------------------------

const SECTORS = 53;

interface ModelSector {
  durable: number;
  /** Later versions, oldest first. */
  cached: number[];
}

type Step =
  | { do: 'write'; sector: number; sectors: number; durable: boolean }
  | { do: 'mark' }
  | { do: 'flush' }
  | { do: 'lose-power'; inFlight: boolean };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('write' as const), sector: fc.nat(SECTORS - 1), sectors: fc.integer({ min: 1, max: 24 }), durable: fc.nat(4).map((n) => n === 0) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('mark' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('flush' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('lose-power' as const), inFlight: fc.boolean() }) },
);

const stamped = (version: number, sectors: number): Uint8Array => {
  const data = new Uint8Array(sectors * 512);
  new Uint16Array(data.buffer).fill(version);
  return data;
};

const versionsOf = (bytes: Uint8Array): number[] => {
  const words = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
  return Array.from({ length: bytes.length / 512 }, (_, n) => {
    const sector = words.subarray(n * 256, n * 256 + 256);
    return sector.every((word) => word === sector[0]) ? sector[0]! : -1;
  });
};

test('a device keeps what was flushed and any version of the rest, sector by sector', () => {
  let torn = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.nat(), (steps, seed) => {
      const store = new ContentStore();
      const device = new Device(SECTORS, store);
      const random = randomRoot(seed);
      let model: ModelSector[] = Array.from({ length: SECTORS }, () => ({ durable: 0, cached: [] }));
      let flushMark = 0;
      let marked = model.map((sector) => [...sector.cached]);
      let version = 0;
      const current = (): number[] => {
        const bytes = new Uint8Array(SECTORS * 512);
        device.read(0, bytes);
        return versionsOf(bytes);
      };
      for (const one of steps) {
        switch (one.do) {
          case 'write': {
            const sectors = Math.min(one.sectors, SECTORS - one.sector);
            device.write(one.sector, stamped(++version, sectors), one.durable);
            for (const sector of model.slice(one.sector, one.sector + sectors)) {
              if (one.durable) {
                sector.durable = version;
                sector.cached = [];
              } else sector.cached.push(version);
            }
            break;
          }
          case 'mark':
            flushMark = device.flushMark;
            marked = model.map((sector) => [...sector.cached]);
            break;
          case 'flush':
            device.flush(flushMark);
            model.forEach((sector, n) => {
              const covered = marked[n]!.filter((old) => sector.cached.includes(old));
              if (covered.length === 0) return;
              sector.durable = covered[covered.length - 1]!;
              sector.cached = sector.cached.filter((old) => !covered.includes(old));
            });
            break;
          case 'lose-power': {
            const allowed = model.map((sector) => [sector.durable, ...sector.cached]);
            const inFlight = one.inFlight ? [{ sector: 3, sectors: 20, data: stamped(++version, 20) }] : [];
            if (one.inFlight) for (let n = 3; n < 23; n++) allowed[n]!.push(version);
            if (device.losePower(inFlight, random)) torn++;
            const now = current();
            now.forEach((found, n) => assert.ok(allowed[n]!.includes(found), `sector ${n} holds ${found}, allowed ${allowed[n]!.join()}`));
            model = now.map((found) => ({ durable: found, cached: [] }));
            marked = model.map(() => []);
            flushMark = device.flushMark;
            assert.is(device.unflushed, 0);
            break;
          }
          default:
            one satisfies never;
        }
        assert.equal(current(), model.map((sector) => sector.cached[sector.cached.length - 1] ?? sector.durable));
        const durable = new Uint8Array(SECTORS * 512);
        device.readDurable(0, durable);
        assert.equal(versionsOf(durable), model.map((sector) => sector.durable));
      }
      // Nothing is held but what the device shows.
      device.flush(device.flushMark);
      const shown = new Set(Array.from({ length: Math.ceil(SECTORS / 8) }, (_, block) => device.contentOf(block)).filter((id) => id !== 0));
      assert.is(store.size, shown.size + 1);
    }),
    { numRuns: 400 },
  );
  assert.ok(torn > 0);
});

test('equal blocks are stored once, on every device, and zeros not at all', () => {
  const store = new ContentStore();
  const devices = [new Device(2 ** 33, store), new Device(2 ** 33, store)] as const;
  for (const device of devices) {
    for (let n = 0; n < 100; n++) device.write(n * 2 ** 26 + (n % 3) * 8, stamped(1 + (n % 4), 16), true);
    device.write(2 ** 32 + 8, new Uint8Array(8192), true);
  }
  assert.is(store.size, 5);
  assert.is(store.serial(devices[0].contentOf(0)), store.serial(devices[1].contentOf(0)));
  assert.equal([...devices[0].nonZeroBlocks()], [...devices[1].nonZeroBlocks()]);
  // Two of the 200 lie where the zeros were written.
  assert.is([...devices[0].nonZeroBlocks()].length, 198);
  assert.is(devices[0].contentOf(2 ** 29 + 1), 0);
});

test('a content that nobody holds makes room, and its serial number is gone', () => {
  const store = new ContentStore();
  const device = new Device(64, store);
  const serials = new Set<number>();
  for (let version = 1; version <= 5000; version++) {
    device.write(0, stamped(version, 8), true);
    serials.add(store.serial(device.contentOf(0)));
  }
  assert.is(serials.size, 5000);
  assert.is(store.size, 2);
  for (let version = 1; version <= 5000; version++) device.write(8 * (version % 7), stamped(1 + (version % 5000), 8), version % 2 === 0);
  const bytes = new Uint8Array(4096);
  device.read(8 * (5000 % 7), bytes);
  assert.is(versionsOf(bytes)[0], 1);
});

test('many contents: the table grows and finds each again', () => {
  const store = new ContentStore();
  const device = new Device(8 * 4000, store);
  for (let block = 0; block < 4000; block++) device.write(block * 8, stamped(block + 1, 8), true);
  assert.is(store.size, 4001);
  const again = new Device(8 * 4000, store);
  for (let block = 0; block < 4000; block++) again.write(block * 8, stamped(block + 1, 8), true);
  assert.is(store.size, 4001);
  store.dispose();
});

// ---- Packets, hashes, buffers ---------------------------------------------------------------------------------------------

test('the scanner counts packets in any portions', () => {
  const forms = fc.constantFrom(0, 94, 96, 100);
  const packet = fc.tuple(forms, fc.constantFrom('P_DATA' as const, 'P_BARRIER' as const, 'P_CONNECTION_FEATURES' as const, 'P_PING' as const), fc.nat(60000));
  fc.assert(
    fc.property(fc.array(packet, { maxLength: 20 }), fc.array(fc.integer({ min: 1, max: 40000 }), { minLength: 1, maxLength: 50 }), (packets, cuts) => {
      const stream: number[] = [];
      const expected = new Map<string, number>();
      for (const [apv, name, length] of packets) {
        const bytes = apv < 95 ? length % 32769 : length;
        const head = new Uint8Array(16);
        const used = writeHeader(head, apv, 0, commandCode(name), bytes);
        stream.push(...head.subarray(0, used), ...new Uint8Array(bytes).fill(0x83));
        expected.set(name, (expected.get(name) ?? 0) + 1);
      }
      const counts = new Int32Array(PACKET_INDICES);
      const scanner = new PacketScanner();
      const all = new Uint8Array(stream);
      for (let at = 0, n = 0; at < all.length; n++) {
        const length = cuts[n % cuts.length]! % 37 === 0 ? 1 : cuts[n % cuts.length]!;
        scanner.scan(all.subarray(at, at + length), counts);
        at += length;
      }
      const found = new Map<string, number>();
      counts.forEach((count, index) => {
        if (count > 0) found.set(packetNameOfIndex(index), count);
      });
      assert.equal([...found].sort(), [...expected].sort());
    }),
    { numRuns: 50 },
  );
  assert.is(packetNameOfIndex(packetIndexOfName('P_CONNECTION_FEATURES')!), 'P_CONNECTION_FEATURES');
  assert.is(packetIndexOfName('P_NONSENSE'), undefined);
});

test('a hash sees every bit, wherever the bytes lie in memory', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), fc.nat(), fc.integer({ min: 0, max: 3 }), (bytes, bit, offset) => {
      const hash = hashBytes(bytes, 0);
      const moved = new Uint8Array(bytes.length + offset);
      moved.set(bytes, offset);
      assert.is(hashBytes(moved.subarray(offset), 0), hash);
      const flipped = bytes.slice();
      flipped[bit % bytes.length]! ^= 1 << (bit % 8);
      assert.is.not(hashBytes(flipped, 0), hash);
      assert.is.not(hashBytes(bytes.subarray(0, bytes.length - 1), 0), hash);
    }),
  );
});

test('lent buffers are overwritten when they come back', () => {
  const buffers = new LentBuffers();
  for (const length of [1, 64, 65, 512, 4096, 5000, 1 << 20, 3 << 20]) {
    const bytes = buffers.lend(length);
    assert.is(bytes.length, length);
    assert.is(bytes.byteOffset % 64, 0);
    bytes.fill(1);
    buffers.takeBack(bytes);
    assert.ok(bytes.every((byte) => byte === 0xee));
  }
  const one = buffers.lend(100);
  const two = buffers.lend(100);
  one.fill(1);
  two.fill(2);
  assert.is(one[99], 1);
});

test('a swarm uses the kinds it is given and no others', () => {
  const kinds = ['crash', 'cut', 'stall', 'hang-disk'] as const;
  const seen = new Set<string>();
  for (let seed = 0; seed < 100; seed++) {
    const random = randomRoot(seed);
    const chosen = drawSwarm(random, kinds);
    assert.ok(chosen.length > 0);
    const schedule = drawSchedule(random, {
      hosts: ['a', 'b'], durationUs: 60_000_000, kinds: chosen, meanGapUs: 3_000_000, longestUs: 10_000_000, longestRestartUs: 5_000_000,
      firstSector: 0, sectors: 1000, commands: [], oneWayCuts: true, togetherLosePower: true, atEventOneIn: 4,
    });
    assert.equal(schedule, JSON.parse(JSON.stringify(schedule)));
    assert.is(new Set(schedule.map((fault) => fault.id)).size, schedule.length);
    for (const { action } of schedule) {
      assert.ok((chosen as string[]).includes(action.do));
      seen.add(action.do);
    }
  }
  assert.equal([...seen].sort(), [...kinds].sort());
});

test.run();
