// The NBD server, on volumes in memory: what clients agree on, what they get, and that none of them can hurt the others.

import { connect, type Socket } from 'node:net';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import fc from '../fast-check.js';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ByteQueue } from '../../real/nbd/bytes.js';
import { NbdClient, NbdFailure } from '../../real/nbd/client.js';
import type { Completion, Export, Extent, Refusal, StatusContext, Volumes } from '../../real/nbd/exports.js';
import { CommandFlag, NbdCommand, NbdError, NbdOption, OptionReply, TransmissionFlag } from '../../real/nbd/protocol.js';
import { Arena } from '../../real/arena.js';
import { TlsFolder } from '../../real/net/tls.js';
import { checkout } from '../house/checkout.js';
import { NbdServer, type NbdAddress } from '../../real/nbd/server.js';

const folder = mkdtempSync(join(tmpdir(), 'lockstep-nbd-'));
const SIZE = 40 << 20;

/** Its pages are used again as soon as nobody needs them, as in a driver. */
const arena = new Arena();

/** Volumes in memory; answers come later, or when `release` is called. */
class MemoryVolumes implements Volumes {
  readonly content = new Uint8Array(SIZE);
  readonly calls: string[] = [];
  isHeld = false;
  failure: 'EIO' | 'EROFS' | undefined = undefined;
  private held: (() => void)[] = [];

  list(): Export[] {
    return ['r0/0', 'r0/1'].map((name) => ({ resource: 'r0', volume: Number(name.at(-1)), name, description: `the volume ${name}`, sizeBytes: SIZE }));
  }
  find(name: string): Export | Refusal {
    if (name === 'secondary') return { isUnknown: false, reason: 'secondary is Secondary here' };
    return this.list().find((one) => one.name === name) ?? { isUnknown: true, reason: `there is no export ${name}` };
  }
  opened(where: Export, who: string): void {
    this.calls.push(`opened ${where.name} by ${who.replace(/\d+/g, 'N')}`);
  }
  closed(where: Export): void {
    this.calls.push(`closed ${where.name}`);
  }
  read(_where: Export, offset: number, bytes: number, completion: Completion): void {
    this.answer('read', completion, () => {
      const { bytes: data } = arena.take(bytes)!;
      data.set(this.content.subarray(offset, offset + bytes));
      return data;
    });
  }
  write(_where: Export, offset: number, data: Uint8Array, fua: boolean, completion: Completion): void {
    const own = data.slice();
    this.answer(fua ? 'write fua' : 'write', completion, () => void this.content.set(own, offset));
  }
  writeZeroes(_where: Export, offset: number, bytes: number, mayUnmap: boolean, completion: Completion): void {
    this.answer(mayUnmap ? 'zeroes' : 'zeroes kept', completion, () => void this.content.fill(0, offset, offset + bytes));
  }
  discard(_where: Export, offset: number, bytes: number, completion: Completion): void {
    this.answer('discard', completion, () => void this.content.fill(0, offset, offset + bytes));
  }
  flush(_where: Export, completion: Completion): void {
    this.answer('flush', completion, () => undefined);
  }
  status(_where: Export, context: StatusContext, _offset: number, bytes: number, extentsMax: number): Extent[] {
    if (context === 'lockstep:out-of-sync') return [{ bytes, flags: 1 }];
    const extents = Array.from({ length: Math.min(extentsMax, bytes / 4096) }, (_, index) => ({ bytes: 4096, flags: index % 2 === 0 ? 0 : 3 }));
    return extents.length > 0 ? extents : [{ bytes, flags: 0 }];
  }
  zeroesFast(where: Export): boolean {
    return where.volume === 0;
  }
  release(): void {
    this.isHeld = false;
    for (const one of this.held.splice(0)) one();
    server.sendReplies();
  }
  private answer(call: string, completion: Completion, work: () => Uint8Array | void): void {
    this.calls.push(call);
    const run = (): void => {
      if (this.failure) return completion.failed(this.failure);
      completion.done(work() ?? undefined);
    };
    if (this.isHeld) this.held.push(run);
    else
      setImmediate(() => {
        run();
        server.sendReplies();
      });
  }
}

const volumes = new MemoryVolumes();
const server = new NbdServer(volumes, () => undefined, arena);
// A pass after every turn, as a driver makes them.
const passes = setInterval(() => arena.reclaim(), 1);
const unix: NbdAddress = { kind: 'unix', path: join(folder, 'nbd.sock') };
let tcp: NbdAddress;
test.before(async () => {
  await server.listen(unix);
  tcp = await server.listen({ kind: 'tcp', host: '127.0.0.1', port: 0 });
});
test.after(() => {
  clearInterval(passes);
  server.close();
  rmSync(folder, { recursive: true });
});
test.before.each(async () => {
  volumes.failure = undefined;
  volumes.release();
  await until(() => server.clientCount === 0, 'every client is gone');
  volumes.calls.length = 0;
});

/** Waits until something holds; what never does is a failure. */
async function until(holds: () => boolean, what: string): Promise<void> {
  for (const end = Date.now() + 20_000; !holds(); ) {
    if (Date.now() > end) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

const raw = (): Socket => (tcp.kind === 'tcp' ? connect(tcp.port, tcp.host) : (assert.unreachable() as never));
const collected = (socket: Socket): Promise<Buffer> =>
  new Promise((resolve) => {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(Buffer.concat(chunks)));
  });
const u32 = (value: number): Buffer => Buffer.from(new Uint32Array([value]).buffer).swap32();
const option = (code: number, data: Uint8Array): Buffer => Buffer.concat([Buffer.from('IHAVEOPT'), u32(code), u32(data.length), data]);
const goData = (name: string): Buffer => Buffer.concat([u32(name.length), Buffer.from(name), Buffer.from([0, 0])]);
const requestBytes = (command: number, flags: number, cookie: number, offset: number, bytes: number): Buffer =>
  Buffer.concat([u32(0x25609513), Buffer.from([flags >> 8, flags & 255, command >> 8, command & 255]), u32(0), u32(cookie), u32(0), u32(offset), u32(bytes)]);
const failure = (work: Promise<unknown>): Promise<NbdFailure> => work.then(() => assert.unreachable() as never, (error: NbdFailure) => error);

test('reads give what writes wrote, over unix and TCP, with simple and structured replies', async () => {
  assert.is(statSync((unix as { path: string }).path).mode & 0o777, 0o600);
  for (const address of [unix, tcp]) {
    for (const structured of [true, false]) {
      const client = await NbdClient.open(address, 'r0/0', structured);
      assert.is(client.sizeBytes, SIZE);
      const data = new Uint8Array(5 << 20).map((_, index) => index * 7);
      await client.write(4096, data);
      assert.is(Buffer.compare(await client.read(4096, data.length), data), 0);
      await client.flush();
      client.close();
    }
  }
});

test('what the server announces is what it does: FUA, zeroes, trim, DF', async () => {
  const client = await NbdClient.open(tcp, 'r0/1');
  const expected = ['HasFlags', 'SendFlush', 'SendFua', 'SendTrim', 'SendWriteZeroes', 'SendDf', 'CanMultiConn', 'SendFastZero'] as const;
  assert.is(client.flags, expected.reduce((sum, name) => sum | TransmissionFlag[name], 0));
  volumes.calls.length = 0;
  await client.write(0, new Uint8Array(512).fill(1), true);
  await client.writeZeroes(0, 512);
  await client.writeZeroes(0, 512, CommandFlag.NoHole | CommandFlag.Fua);
  await client.trim(0, 512, CommandFlag.Fua);
  await client.request(NbdCommand.Read, CommandFlag.Df, 0, 4096, undefined, 4096);
  assert.equal(volumes.calls, ['write fua', 'zeroes', 'zeroes kept', 'flush', 'discard', 'flush', 'read']);
  client.close();
});

test('many requests at once, each with its own answer', async () => {
  const client = await NbdClient.open(unix, 'r0/0');
  await Promise.all(Array.from({ length: 200 }, (_, index) => client.write(index * 4096, new Uint8Array(4096).fill(index))));
  const read = await Promise.all(Array.from({ length: 200 }, (_, index) => client.read(index * 4096, 4096)));
  assert.equal(read.map(([first]) => first), Array.from({ length: 200 }, (_, index) => index));
  client.close();
});

test('a refusal says why: unknown export, Secondary', async () => {
  assert.match((await failure(NbdClient.open(tcp, 'nowhere'))).message, /there is no export nowhere/);
  const refused = await failure(NbdClient.open(tcp, 'secondary'));
  assert.equal([refused.message, refused.code], ['secondary is Secondary here', OptionReply.Policy]);
  assert.equal(volumes.calls, []);
});

test('NBD_OPT_LIST names the exports; NBD_OPT_EXPORT_NAME opens one; NBD_OPT_ABORT ends', async () => {
  const socket = raw();
  const all = collected(socket);
  socket.write(Buffer.concat([u32(3), option(NbdOption.List, Buffer.alloc(0)), option(NbdOption.Abort, Buffer.alloc(0))]));
  const text = (await all).toString('latin1');
  assert.ok(text.includes('r0/0') && text.includes('the volume r0/1'));

  const old = raw();
  const bytes = collected(old);
  old.write(Buffer.concat([u32(1), option(NbdOption.ExportName, Buffer.from('r0/0')), requestBytes(NbdCommand.Disconnect, 0, 0, 0, 0)]));
  // Without NO_ZEROES the export is followed by 124 zeros.
  assert.is((await bytes).length, 18 + 134);
});

test('metadata contexts: chosen ones are told of, in extents; a choice for another export, or none, is no choice', async () => {
  const both = await NbdClient.open(tcp, 'r0/0', true, ['base:allocation', 'lockstep:out-of-sync', 'base:unknown', 'base:']);
  assert.equal([...(await both.blockStatus(4096, 12_288))], [
    ['base:allocation', [{ bytes: 4096, flags: 0 }, { bytes: 4096, flags: 3 }, { bytes: 4096, flags: 0 }]],
    ['lockstep:out-of-sync', [{ bytes: 12_288, flags: 1 }]],
  ]);
  assert.is((await both.blockStatus(0, 12_288, CommandFlag.ReqOne)).get('base:allocation')!.length, 1);
  assert.is((await both.blockStatus(0, SIZE)).get('base:allocation')!.length, 1024, 'more is asked for again');
  assert.is((await failure(both.blockStatus(SIZE, 512))).code, NbdError.Invalid);
  assert.is((await failure(both.blockStatus(0, 0))).code, NbdError.Invalid);
  assert.is((await failure(both.blockStatus(0, 512, CommandFlag.Df))).code, NbdError.Invalid);
  assert.is((await both.read(0, 512)).length, 512);
  both.close();
  const one = await NbdClient.open(tcp, 'r0/0', true, ['lockstep:out-of-sync']);
  assert.equal([...(await one.blockStatus(0, 512)).keys()], ['lockstep:out-of-sync']);
  one.close();
  for (const contexts of [[], ['base:unknown']]) {
    const none = await NbdClient.open(tcp, 'r0/0', true, contexts);
    assert.is((await failure(none.blockStatus(0, 512))).code, NbdError.Invalid);
    none.close();
  }
  const asked = (name: string, ...queries: string[]): Buffer => Buffer.concat([u32(name.length), Buffer.from(name), u32(queries.length), ...queries.flatMap((query) => [u32(query.length), Buffer.from(query)])]);
  const talk = async (...options: Buffer[]): Promise<string> => {
    const socket = raw();
    const all = collected(socket);
    socket.write(Buffer.concat([u32(3), ...options, option(NbdOption.Abort, Buffer.alloc(0))]));
    return (await all).toString('latin1');
  };
  const structured = option(NbdOption.StructuredReply, Buffer.alloc(0));
  const listed = async (...queries: string[]): Promise<string[]> => (await talk(structured, option(NbdOption.ListMetaContext, asked('r0/0', ...queries)))).match(/base:allocation|lockstep:out-of-sync/g) ?? [];
  assert.equal(await listed(), ['base:allocation', 'lockstep:out-of-sync']);
  assert.equal(await listed('lockstep:'), ['lockstep:out-of-sync']);
  assert.equal(await listed('x:', 'base:allocation'), ['base:allocation']);
  assert.match(await talk(option(NbdOption.SetMetaContext, asked('r0/0', 'base:allocation'))), /metadata contexts need structured replies/);
  assert.match(await talk(structured, option(NbdOption.SetMetaContext, asked('nowhere'))), /there is no export nowhere/);
  for (const bad of [Buffer.alloc(3), Buffer.concat([asked('r0/0', 'base:allocation'), Buffer.alloc(1)]), asked('r0/0', 'base:allocation').subarray(0, 20), Buffer.concat([u32(0xffffffff), Buffer.alloc(8)])]) {
    assert.match(await talk(structured, option(NbdOption.SetMetaContext, bad)), /the option is malformed/);
  }
  // Chosen for one export, gone on with another.
  const other = raw();
  const bytes = collected(other);
  other.write(Buffer.concat([u32(3), structured, option(NbdOption.SetMetaContext, asked('r0/0', 'base:allocation')), option(NbdOption.Go, goData('r0/1')), requestBytes(NbdCommand.BlockStatus, 0, 7, 0, 4096), requestBytes(NbdCommand.Disconnect, 0, 0, 0, 0)]));
  const answer = await bytes;
  assert.equal([answer.readUInt32BE(answer.length - 26), answer.readUInt16BE(answer.length - 20), answer.readUInt32BE(answer.length - 6)], [0x668e33ef, 0x8001, NbdError.Invalid]);
});

test('a request may be larger than all that one client may have on its way', async () => {
  const client = await NbdClient.open(unix, 'r0/0');
  const data = new Uint8Array(20 << 20).map((_, index) => index * 11);
  let isWritten = false;
  client.write(4096, data).then(() => (isWritten = true), () => undefined);
  await until(() => isWritten, 'the write is answered');
  assert.is(Buffer.compare(volumes.content.subarray(4096, 4096 + data.length), data), 0);
  assert.is(Buffer.compare(await client.read(4096, data.length), data), 0);
  client.close();
});

test('who asks for fast zeros gets them, or is told at once that they are slow', async () => {
  const [fast, slow] = [await NbdClient.open(tcp, 'r0/0'), await NbdClient.open(tcp, 'r0/1')];
  await fast.writeZeroes(0, 4096, CommandFlag.FastZero);
  volumes.calls.length = 0;
  assert.is((await failure(slow.writeZeroes(0, 4096, CommandFlag.FastZero))).code, NbdError.NotSupported);
  assert.equal(volumes.calls, []);
  await slow.writeZeroes(0, 4096);
  for (const client of [fast, slow]) client.close();
});

test('the core is told who has a volume open, and when no more', async () => {
  const client = await NbdClient.open(tcp, 'r0/1');
  client.close();
  await until(() => volumes.calls.length >= 2, 'closed');
  assert.equal(volumes.calls, ['opened r0/1 by NBD client N at N.N.N.N:N', 'closed r0/1']);
});

test('what cannot be done is answered, and the next request is still understood', async () => {
  const client = await NbdClient.open(tcp, 'r0/0');
  const code = async (work: Promise<unknown>): Promise<number | undefined> => (await failure(work)).code;
  assert.is(await code(client.request(9, 0, 0, 0, undefined, 0)), NbdError.Invalid, 'unknown command');
  assert.is(await code(client.request(NbdCommand.Write, 0x8000, 0, 512, new Uint8Array(512), 0)), NbdError.Invalid, 'unknown flag, with payload');
  assert.is(await code(client.read(100, 512)), NbdError.Invalid, 'not a sector');
  assert.is(await code(client.read(0, 0)), NbdError.Invalid, 'nothing');
  assert.is(await code(client.read(SIZE, 512)), NbdError.Invalid, 'beyond the end');
  assert.is(await code(client.write(SIZE - 512, new Uint8Array(1024))), NbdError.NoSpace, 'beyond the end');
  assert.is(await code(client.request(NbdCommand.Read, 0, 0, 33 << 20, undefined, 0)), NbdError.Invalid, 'too much');
  assert.is(await code(client.write(0, new Uint8Array(33 << 20))), NbdError.Invalid, 'too much');
  volumes.failure = 'EIO';
  assert.is(await code(client.read(0, 4096)), NbdError.Io);
  assert.is(await code(client.write(0, new Uint8Array(3 << 20))), NbdError.Io);
  volumes.failure = 'EROFS';
  assert.is(await code(client.write(0, new Uint8Array(512))), NbdError.Permission);
  volumes.failure = undefined;
  assert.is((await client.read(0, 512)).length, 512);
  client.close();
});

test('suspended I/O delays and does not fail; a client that asks too much waits for itself', async () => {
  const [greedy, modest] = [await NbdClient.open(tcp, 'r0/0'), await NbdClient.open(tcp, 'r0/1')];
  volumes.isHeld = true;
  volumes.calls.length = 0;
  const writes = Array.from({ length: 64 }, (_, index) => greedy.write(index << 19, new Uint8Array(1 << 19).fill(3)));
  const begun = (): number => volumes.calls.filter((call) => call === 'write').length;
  await until(() => begun() >= 16, 'the greedy one has its share');
  const read = modest.read(0, 512);
  await until(() => volumes.calls.includes('read'), 'the modest one is served');
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.ok(begun() < 64, `${begun()} writes of 512 KiB were taken`);
  volumes.release();
  await Promise.all([...writes, read]);
  for (const client of [greedy, modest]) client.close();
});

test('a volume that the core does not admit is not served, and then is', async () => {
  const [one, other] = [await NbdClient.open(tcp, 'r0/0'), await NbdClient.open(tcp, 'r0/1')];
  server.admit('r0', 0, false);
  let isAnswered = false;
  const waiting = one.read(0, 512).then(() => (isAnswered = true));
  await other.read(0, 512);
  assert.is(isAnswered, false);
  server.admit('r0', 0, true);
  await waiting;
  for (const client of [one, other]) client.close();
});

test('hostile clients: cut off anywhere, garbage, absurd lengths; others are served', async () => {
  const good = await NbdClient.open(unix, 'r0/0');
  const session = Buffer.concat([
    u32(3),
    option(NbdOption.StructuredReply, Buffer.alloc(0)),
    option(99, Buffer.from('what')),
    option(NbdOption.Go, goData('r0/0')),
    requestBytes(NbdCommand.Write, 0, 1, 0, 4096),
    Buffer.alloc(4096, 5),
    requestBytes(NbdCommand.Read, 0, 2, 0, 4096),
  ]);
  const sent: Buffer[] = Array.from({ length: 60 }, (_, index) => session.subarray(0, Math.floor((index * session.length) / 60)));
  sent.push(
    Buffer.from('GET / HTTP/1.1\r\nHost: nbd\r\n\r\n'),
    Buffer.concat([u32(3), Buffer.from('IHAVEOPT'), u32(7), u32(0xffffffff)]),
    Buffer.concat([u32(3), option(NbdOption.Go, Buffer.concat([u32(0xfffffff0), Buffer.alloc(20)]))]),
    Buffer.concat([u32(3), option(NbdOption.Go, Buffer.alloc(3))]),
    Buffer.concat([u32(3), option(NbdOption.Go, Buffer.alloc(100_000))]),
    Buffer.concat([u32(3), option(NbdOption.ExportName, Buffer.alloc(9000, 65))]),
    Buffer.concat([u32(0xffffffff), Buffer.alloc(1000)]),
    Buffer.concat([u32(3), option(NbdOption.Go, goData('r0/0')), requestBytes(NbdCommand.Write, 0, 1, 0, 0xffffffff)]),
    Buffer.concat([u32(3), option(NbdOption.Go, goData('r0/0')), Buffer.alloc(100, 1)]),
    Buffer.concat(Array.from({ length: 2000 }, (_, index) => (index === 0 ? u32(3) : option(1000 + index, Buffer.alloc(0))))),
  );
  await Promise.all(
    sent.map(async (bytes) => {
      const socket = raw();
      const ended = collected(socket);
      socket.write(bytes);
      setTimeout(() => socket.destroy(), 50);
      await ended;
    }),
  );
  await good.write(0, new Uint8Array(512).fill(9));
  assert.is((await good.read(0, 512))[0], 9);
  good.close();
  await until(() => server.clientCount === 0, 'every client is gone');
  const count = (what: string): number => volumes.calls.filter((call) => call.startsWith(what)).length;
  assert.is(count('opened'), count('closed'));
});

test('a client that does not read its replies is not read either', async () => {
  const socket = raw();
  socket.on('error', () => undefined);
  socket.pause();
  socket.write(Buffer.concat([u32(3), option(NbdOption.Go, goData('r0/0'))]));
  socket.write(Buffer.concat(Array.from({ length: 200 }, (_, index) => requestBytes(NbdCommand.Read, 0, index, 0, 1 << 20))));
  await new Promise((resolve) => setTimeout(resolve, 300));
  const reads = volumes.calls.filter((call) => call === 'read').length;
  assert.ok(reads < 60, `${reads} MiB were read for nobody`);
  const good = await NbdClient.open(tcp, 'r0/1');
  await good.read(0, 512);
  good.close();
  socket.destroy();
});

test('bytes come out of the queue as they went in, however they were cut', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 20 }), fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 20 }), (chunks, wants) => {
      const queue = new ByteQueue();
      const all = Buffer.concat(chunks);
      const rest = [...chunks];
      let at = 0;
      for (const [index, bytes] of wants.entries()) {
        if (index % 3 === 2) {
          let left = bytes;
          while (left > 0 && (rest.length > 0 || left > 0)) {
            left -= queue.skip(left);
            const next = rest.shift();
            if (!next) break;
            queue.push(next);
          }
          at += bytes - left;
          if (left > 0) return;
          continue;
        }
        let got = queue.pull(bytes);
        while (!got) {
          const next = rest.shift();
          if (!next) return;
          queue.push(next);
          got = queue.pull(bytes);
        }
        assert.is(Buffer.compare(got, all.subarray(at, at + bytes)), 0);
        at += bytes;
      }
    }),
    { numRuns: 200 },
  );
});

// ---- TLS --------------------------------------------------------------------------------------------------------------------

const certificates = (who: string): string => join(checkout, 'properties', 'real', 'certificates', who);
const OPTION_REPLY_BYTES = 20;

/** A client of the server that speaks TLS over TCP, behind the greeting. */
async function tlsServer(): Promise<{ secure: NbdServer; said: string[]; socket: Socket; heard: () => Buffer; hears: (bytes: number) => Promise<void> }> {
  const said: string[] = [];
  const secure = new NbdServer(volumes, (text) => said.push(text), arena, new TlsFolder(certificates('bob')));
  const address = await secure.listen({ kind: 'tcp', host: '127.0.0.1', port: 0 });
  const socket = address.kind === 'tcp' ? connect(address.port, address.host) : (assert.unreachable() as never);
  let bytes = Buffer.alloc(0);
  socket.on('data', (chunk) => (bytes = Buffer.concat([bytes, chunk])));
  socket.on('error', () => undefined);
  const hears = (count: number): Promise<void> => until(() => bytes.length >= count, `${count} bytes`);
  await hears(18);
  socket.write(u32(3));
  return { secure, said, socket, heard: () => bytes.subarray(18), hears: (count) => hears(18 + count) };
}

const securely = (socket: Socket, who: string | undefined): TLSSocket => {
  socket.removeAllListeners('data');
  const file = (name: string): Buffer => readFileSync(join(certificates(who!), name));
  const secure = connectTls({ socket, ca: readFileSync(join(certificates('alice'), 'ca-cert.pem')), servername: 'bob', ...(who !== undefined && { cert: file('server-cert.pem'), key: file('server-key.pem') }) });
  secure.on('error', () => undefined);
  return secure;
};

test('what lies in one piece of an arena is given as it lies there, and the rest put together there', () => {
  const own = new Arena();
  const queue = new ByteQueue(own);
  const first = own.take(10_000)!.bytes.fill(1);
  const second = own.take(10_000)!.bytes.fill(2);
  queue.push(first);
  assert.is(queue.pull(15_000), undefined);
  queue.push(second);
  const inOnePiece = queue.pull(15_000)!;
  assert.is(inOnePiece.buffer, first.buffer);
  assert.is(inOnePiece.byteOffset, first.byteOffset);
  // A page of its own: what follows does not follow in memory.
  const elsewhere = own.takePage().memory.subarray(0, 10_000).fill(3);
  assert.is(queue.pull(8_000), undefined);
  queue.push(elsewhere);
  const together = queue.pull(8_000)!;
  assert.ok(own.lasts(together));
  assert.equal([together[0], together[4_999], together[5_000], together[7_999]], [2, 2, 3, 3]);
  const held = new Set<ArrayBufferLike>();
  queue.holds(held);
  assert.ok(held.has(elsewhere.buffer) && !held.has(first.buffer));
});

test('TLS: nothing but STARTTLS is answered before it, and everything after it', async () => {
  const { secure, socket, heard, hears } = await tlsServer();
  socket.write(option(NbdOption.List, new Uint8Array()));
  await hears(OPTION_REPLY_BYTES);
  assert.is(heard().readUInt32BE(12), OptionReply.TlsRequired);
  const refused = heard().length;
  socket.write(option(NbdOption.StartTls, new Uint8Array()));
  await hears(refused + OPTION_REPLY_BYTES);
  assert.is(heard().readUInt32BE(refused + 12), OptionReply.Ack);
  const tls = securely(socket, 'alice');
  let bytes = Buffer.alloc(0);
  tls.on('data', (chunk: Buffer) => (bytes = Buffer.concat([bytes, chunk])));
  tls.write(option(NbdOption.Go, goData('r0/0')));
  await until(() => bytes.includes('r0/0') || bytes.length >= 2 * OPTION_REPLY_BYTES, 'the export');
  await until(() => volumes.calls.includes('opened r0/0 by NBD client N at N.N.N.N:N'), 'it is open');
  tls.write(requestBytes(NbdCommand.Write, 0, 1, 0, 512));
  tls.write(Buffer.alloc(512, 7));
  await until(() => volumes.content[0] === 7, 'a write through TLS');
  tls.destroy();
  secure.close();
});

test('TLS: a client without a certificate of the authority gets no export, nor one that talks on in the clear', async () => {
  for (const who of ['mallory', undefined]) {
    const { secure, socket, hears } = await tlsServer();
    socket.write(option(NbdOption.StartTls, new Uint8Array()));
    await hears(OPTION_REPLY_BYTES);
    const tls = securely(socket, who);
    tls.write(option(NbdOption.Go, goData('r0/0')));
    await until(() => secure.clientCount === 0, 'it is sent away');
    secure.close();
  }
  const { secure, said, socket } = await tlsServer();
  socket.write(Buffer.concat([option(NbdOption.StartTls, new Uint8Array()), option(NbdOption.Go, goData('r0/0'))]));
  await until(() => secure.clientCount === 0, 'it is sent away');
  assert.match(said.join(), /did not wait for TLS/);
  secure.close();
  assert.not.ok(volumes.calls.some((call) => call.startsWith('opened')));
});

test.run();
