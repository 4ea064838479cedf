// Memory that is used again only when nobody refers to it.

import { connect, createServer, type AddressInfo } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import fc from '../fast-check.js';
import { Arena, PAGE_BYTES } from '../../real/arena.js';

test('pages that somebody refers to stay as they are, and the others are used again', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: 1, max: PAGE_BYTES }), fc.constantFrom('drop', 'hold', 'pin'), fc.nat(20)), { maxLength: 60 }), (pieces) => {
      const arena = new Arena();
      const held: { bytes: Uint8Array; value: number }[] = [];
      const pinned: { bytes: Uint8Array; value: number }[] = [];
      arena.ask((all) => {
        for (const { bytes } of held) all.add(bytes.buffer);
      });
      for (const [at, [length, what, dropped]] of pieces.entries()) {
        const { bytes } = arena.take(length)!;
        assert.is(bytes.length, length);
        assert.ok(arena.lasts(bytes));
        const one = { bytes: bytes.fill(at + 1), value: at + 1 };
        if (what === 'hold') held.push(one);
        if (what === 'pin') {
          arena.pin([one.bytes]);
          pinned.push(one);
        }
        for (const { bytes: kept, value } of [...held, ...pinned]) assert.ok(kept[0] === value && kept[kept.length - 1] === value);
        held.splice(0, dropped - 10);
        for (const { bytes: free } of pinned.splice(0, dropped - 15)) arena.unpin([free]);
        arena.reclaim();
      }
      assert.ok(!arena.lasts(new Uint8Array(4)));
    }),
    { numRuns: 100 },
  );
  const arena = new Arena();
  const buffers = new Set<ArrayBufferLike>();
  for (let page = 0; page < 100; page++) {
    buffers.add(arena.take(PAGE_BYTES)!.bytes.buffer);
    arena.reclaim();
  }
  assert.ok(buffers.size < 12, `${buffers.size} pages`);
  assert.is(arena.take(PAGE_BYTES + 1), undefined);
});

test('what a socket reads lies in one piece, up to the end of a page', async () => {
  const arena = new Arena();
  const server = createServer((socket) => {
    for (let byte = 1; byte <= 60; byte++) socket.write(new Uint8Array(50_000).fill(byte));
    socket.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const read: Uint8Array[] = [];
  const { onread, watch } = arena.reader((bytes) => read.push(bytes));
  const socket = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', onread });
  watch(socket);
  await new Promise((resolve) => socket.once('close', resolve));
  server.close();
  assert.ok(Buffer.concat(read).equals(Buffer.concat(Array.from({ length: 60 }, (_, at) => new Uint8Array(50_000).fill(at + 1)))));
  for (const [at, bytes] of read.entries()) {
    const before = read[at - 1];
    if (before && before.buffer === bytes.buffer) assert.is(bytes.byteOffset, before.byteOffset + before.length);
  }
  assert.ok(new Set(read.map(({ buffer }) => buffer)).size >= 3);
});

test.run();
