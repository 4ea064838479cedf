// Streams: what the core wishes of the network, on loopback.

import { connect as connectSocket, createServer, type AddressInfo } from 'node:net';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Arena, PAGE_BYTES } from '../../real/arena.js';
import { Streams, type PeerAddresses } from '../../real/net/streams.js';
import { TlsFolder } from '../../real/net/tls.js';
import { checkout } from '../house/checkout.js';
import type { Input } from '../../src/contract/index.js';

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** One side: its inputs in order, and a way to wait for one. */
class Side {
  readonly inputs: Input[] = [];
  readonly warnings: string[] = [];
  readonly streams: Streams;
  readonly arena = new Arena();

  constructor(addresses: PeerAddresses, tls?: TlsFolder) {
    this.streams = new Streams(
      () => addresses,
      (input) => this.inputs.push(input.type === 'stream-received' ? { ...input, bytes: input.bytes.slice() } : input),
      (_resource, text) => this.warnings.push(text),
      this.arena,
      tls,
    );
  }

  async until<T extends Input['type']>(type: T, count = 1): Promise<Extract<Input, { type: T }>> {
    for (let tries = 0; tries < 2000; tries++) {
      const found = this.inputs.filter((input): input is Extract<Input, { type: T }> => input.type === type);
      if (found.length >= count) return found[count - 1]!;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    throw new Error(`no ${type} in ${JSON.stringify(this.inputs.map((input) => input.type))}`);
  }

  received(): Uint8Array {
    return Buffer.concat(this.inputs.filter((input) => input.type === 'stream-received').map(({ bytes }) => bytes));
  }

  async receivedBytes(count: number): Promise<Uint8Array> {
    for (let tries = 0; tries < 2000 && this.received().length < count; tries++) await new Promise((resolve) => setTimeout(resolve, 1));
    return this.received();
  }
}

async function twoSides(): Promise<{ here: Side; there: Side }> {
  const [port, otherPort] = [await freePort(), await freePort()];
  const [one, other] = [{ host: '127.0.0.1', port }, { host: '127.0.0.1', port: otherPort }];
  return { here: new Side({ local: one, remote: other }), there: new Side({ local: other, remote: one }) };
}

/** Connected: `here` opened stream 1, `there` accepted it. */
async function connected(): Promise<{ here: Side; there: Side; accepted: number }> {
  const { here, there } = await twoSides();
  there.streams.listen('r0', 'alpha');
  await new Promise((resolve) => setTimeout(resolve, 5));
  here.streams.connect(1, 'r0', 'beta');
  await here.until('stream-connected');
  const { stream } = await there.until('stream-accepted');
  return { here, there, accepted: stream };
}

const close = (...sides: Side[]): void => sides.forEach(({ streams }) => streams.closeAll());

test('bytes go both ways in order, and the transport says what it took', async () => {
  const { here, there, accepted } = await connected();
  const pieces = [new Uint8Array([1]), new Uint8Array(300_000).fill(2), new Uint8Array([3]), new Uint8Array(300_000).fill(4)];
  here.streams.send(1, pieces);
  there.streams.send(accepted, [new Uint8Array([9, 8])]);
  assert.is(Buffer.compare(await there.receivedBytes(600_002), Buffer.concat(pieces)), 0);
  assert.equal([...(await here.receivedBytes(2))], [9, 8]);
  await here.until('stream-sent');
  const totals = here.inputs.filter((input) => input.type === 'stream-sent').map(({ bytesTotal }) => bytesTotal);
  assert.is(totals.at(-1), 600_002);
  assert.ok(totals.length > 1, 'a long write shows progress');
  assert.equal(totals, [...totals].sort((a, b) => a - b));
  close(here, there);
});

test('bytes that were received stay as they are until the pass is over', async () => {
  const { here, there, accepted } = await connected();
  const kept: Uint8Array[] = [];
  const given = here.streams;
  there.streams.send(accepted, [new Uint8Array(4096).fill(1)]);
  await here.receivedBytes(4096);
  const raw: Input[] = [];
  (given as unknown as { give: (input: Input) => void }).give = (input) => raw.push(input);
  there.streams.send(accepted, [new Uint8Array(4096).fill(2)]);
  while (!raw.some((input) => input.type === 'stream-received')) await new Promise((resolve) => setTimeout(resolve, 1));
  there.streams.send(accepted, [new Uint8Array(4096).fill(3)]);
  while (raw.filter((input) => input.type === 'stream-received').length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
  for (const input of raw) if (input.type === 'stream-received') kept.push(input.bytes);
  assert.equal(kept.map((bytes) => bytes[0]), [2, 3]);
  close(here, there);
});

test('a stream that is not read holds the sender back', async () => {
  const { here, there, accepted } = await connected();
  there.streams.setReading(accepted, false);
  await new Promise((resolve) => setTimeout(resolve, 5));
  const bytes = new Uint8Array(32 << 20);
  here.streams.send(1, [bytes.subarray(0, 16 << 20), bytes.subarray(16 << 20)]);
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.ok(there.received().length <= 1 << 20, `${there.received().length} bytes were read`);
  assert.ok(!here.inputs.some((input) => input.type === 'stream-sent' && input.bytesTotal === bytes.length));
  there.streams.setReading(accepted, true);
  assert.is((await there.receivedBytes(bytes.length)).length, bytes.length);
  close(here, there);
});

test('what waits for a slow peer stays as it is, whatever else is read meanwhile', async () => {
  const { here, there, accepted } = await connected();
  there.streams.setReading(accepted, false);
  await new Promise((resolve) => setTimeout(resolve, 5));
  const { arena } = here;
  for (let piece = 0; piece < 20; piece++) here.streams.send(1, [arena.take(PAGE_BYTES)!.bytes.fill(piece)]);
  for (let page = 0; page < 40; page++) {
    arena.reclaim();
    arena.take(PAGE_BYTES)!.bytes.fill(0xee);
  }
  there.streams.setReading(accepted, true);
  const received = await there.receivedBytes(20 * PAGE_BYTES);
  for (let at = 0; at < received.length; at += 4096) assert.is(received[at], Math.floor(at / PAGE_BYTES));
  await here.until('stream-sent');
  const buffers = new Set<ArrayBufferLike>();
  for (let page = 0; page < 100; page++) {
    arena.reclaim();
    buffers.add(arena.take(PAGE_BYTES)!.bytes.buffer);
  }
  assert.ok(buffers.size < 80, 'what has left is used again');
  close(here, there);
});

test('the end of a stream is told once: closed, reset', async () => {
  const { here, there, accepted } = await connected();
  here.streams.send(1, [new Uint8Array(100_000).fill(5)]);
  here.streams.close(1);
  const { stream, how } = await there.until('stream-closed');
  assert.equal([stream, how], [accepted, 'closed']);
  // What was queued before the close has left.
  assert.is(there.received().length, 100_000);
  there.streams.close(accepted);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.is(there.inputs.filter((input) => input.type === 'stream-closed').length, 1);
  assert.is(here.inputs.filter((input) => input.type === 'stream-closed').length, 0, 'who closed is not told');
  close(here, there);
});

test('nobody listens: refused, once; a port that is taken: listen-failed', async () => {
  const { here, there } = await twoSides();
  here.streams.connect(7, 'r0', 'beta');
  assert.is((await here.until('connect-refused')).stream, 7);
  there.streams.listen('r0', 'alpha');
  await new Promise((resolve) => setTimeout(resolve, 5));
  there.streams.listen('r1', 'alpha');
  assert.match((await there.until('listen-failed')).reason, /Address already in use/);
  assert.is(here.inputs.length, 1);
  close(here, there);
});

test('a stranger is turned away', async () => {
  const port = await freePort();
  const there = new Side({ local: { host: '127.0.0.1', port }, remote: { host: '127.0.0.2', port } });
  there.streams.listen('r0', 'alpha');
  await new Promise((resolve) => setTimeout(resolve, 5));
  const socket = connectSocket({ host: '127.0.0.1', port });
  await new Promise((resolve) => socket.on('close', resolve));
  assert.is(there.inputs.length, 0);
  assert.match(there.warnings[0]!, /is not from alpha \(127.0.0.2\)/);
  close(there);
});

test('an attempt that was given up is not told of', async () => {
  const { here, there } = await twoSides();
  there.streams.listen('r0', 'alpha');
  await new Promise((resolve) => setTimeout(resolve, 5));
  here.streams.connect(1, 'r0', 'beta');
  here.streams.close(1);
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.is(here.inputs.length, 0);
  close(here, there);
});

// ---- TLS --------------------------------------------------------------------------------------------------------------------

const certificates = (name: string): TlsFolder => new TlsFolder(join(checkout, 'properties', 'real', 'certificates', name));

/** `here` calls itself alice and looks for bob. */
async function twoSecureSides(hereFolder: TlsFolder | undefined, thereFolder: TlsFolder): Promise<{ here: Side; there: Side }> {
  const [one, other] = [{ host: '127.0.0.1', port: await freePort() }, { host: '127.0.0.1', port: await freePort() }];
  const [here, there] = [new Side({ local: one, remote: other }, hereFolder), new Side({ local: other, remote: one }, thereFolder)];
  there.streams.listen('r0', 'alice');
  await new Promise((resolve) => setTimeout(resolve, 5));
  here.streams.connect(1, 'r0', 'bob');
  return { here, there };
}

const warned = async (side: Side): Promise<string> => {
  for (let tries = 0; tries < 2000 && side.warnings.length === 0; tries++) await new Promise((resolve) => setTimeout(resolve, 1));
  return side.warnings.join();
};

test('TLS: bytes go both ways, reading can be stopped, and the end of one side is told to the other', async () => {
  const { here, there } = await twoSecureSides(certificates('alice'), certificates('bob'));
  await here.until('stream-connected');
  const { stream } = await there.until('stream-accepted');
  const pieces = [new Uint8Array([1]), new Uint8Array(300_000).fill(2), new Uint8Array(300_000).fill(4)];
  here.streams.send(1, pieces);
  assert.is(Buffer.compare(await there.receivedBytes(600_001), Buffer.concat(pieces)), 0);
  // No Buffers: what the core keeps of them a snapshot would refuse.
  for (const input of there.inputs) if (input.type === 'stream-received') assert.is(Object.getPrototypeOf(input.bytes), Uint8Array.prototype);
  here.streams.setReading(1, false);
  there.streams.send(stream, [new Uint8Array([9, 8])]);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.is(here.received().length, 0);
  here.streams.setReading(1, true);
  assert.equal([...(await here.receivedBytes(2))], [9, 8]);
  there.streams.close(stream);
  assert.is((await here.until('stream-closed')).how, 'closed');
  assert.equal([here.warnings, there.warnings], [[], []]);
  close(here, there);
});

test('TLS: a server whose certificate another authority signed, or that names somebody else, is not talked to', async () => {
  for (const [folder, reason] of [['mallory', /self.signed|unable to (get|verify)/], ['alice', /bob/]] as const) {
    const { here, there } = await twoSecureSides(certificates('alice'), certificates(folder));
    assert.match((await here.until('connect-failed')).reason, reason);
    close(here, there);
  }
});

test('TLS: a client with a bad certificate, with somebody else\'s, or without TLS is sent away, with a word why', async () => {
  for (const [folder, reason] of [['bob', /is not that of alice/], [undefined, /no TLS with .*127\.0\.0\.1: /]] as const) {
    const { here, there } = await twoSecureSides(folder === undefined ? undefined : certificates(folder), certificates('bob'));
    if (folder === undefined) {
      await here.until('stream-connected');
      here.streams.send(1, [new Uint8Array(100)]);
    }
    const said = await warned(there);
    assert.match(said, reason, said);
    assert.is(there.inputs.length, 0, 'the core hears nothing of it');
    close(here, there);
  }
  // He does not care who the server is.
  for (const folder of ['mallory', undefined]) {
    const port = await freePort();
    const there = new Side({ local: { host: '127.0.0.1', port }, remote: { host: '127.0.0.1', port: 1 } }, certificates('bob'));
    there.streams.listen('r0', 'alice');
    await new Promise((resolve) => setTimeout(resolve, 5));
    const file = (name: string): Buffer => readFileSync(join(checkout, 'properties', 'real', 'certificates', folder!, name));
    const socket = connectTls({ host: '127.0.0.1', port, rejectUnauthorized: false, ...(folder !== undefined && { cert: file('server-cert.pem'), key: file('server-key.pem') }) });
    socket.on('error', () => undefined);
    const said = await warned(there);
    assert.match(said, /no TLS with .*127\.0\.0\.1: /, said);
    assert.is(there.inputs.length, 0);
    socket.destroy();
    close(there);
  }
});

test('TLS: files that are not there or not certificates are told in one line', () => {
  assert.throws(() => certificates('nobody'), (error: Error) => /TLS certificates in .*nobody: .*ENOENT|no such file/i.test(error.message) && !error.message.includes('\n'));
});

test.run();
