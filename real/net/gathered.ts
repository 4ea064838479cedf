/**
 * One write for many pieces. What the kernel takes at once is handed to it here: a write through the queue of a socket costs
 * more, and its end comes in another turn of the event loop. What the kernel does not take goes the usual way.
 */

import { writeSync, writevSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { Arena } from '../arena.js';

/** Many small pieces are copied together: that costs less than handing them to the kernel one by one. */
const COPY_BYTES_MAX = 256 << 10;
const SMALL_PIECE_BYTES = 8192;
/** Memory for such copies that the kernel has taken. */
const copies: Uint8Array[] = [];
const COPIES_KEPT = 64;

/** What waits stays where it is, and is pinned there. `taken` hears when the kernel has all of it, perhaps in this call, or why it never will. */
export function writeGathered(socket: Socket, pieces: readonly Uint8Array[], bytes: number, arena: Arena, taken?: (error?: Error | null) => void): void {
  if (pieces.length > 1 && bytes <= COPY_BYTES_MAX && bytes <= pieces.length * SMALL_PIECE_BYTES) return writeCopied(socket, pieces, bytes, taken);
  const done = writeAtOnce(socket, pieces);
  if (done === bytes) return taken?.();
  const left = behind(pieces, done);
  arena.pin(left);
  writeQueued(socket, left, (error) => {
    arena.unpin(left);
    taken?.(error);
  });
}

function writeCopied(socket: Socket, pieces: readonly Uint8Array[], bytes: number, taken: ((error?: Error | null) => void) | undefined): void {
  const copy = copies.pop() ?? new Uint8Array(COPY_BYTES_MAX);
  let at = 0;
  for (const piece of pieces) {
    copy.set(piece, at);
    at += piece.length;
  }
  const done = writeAtOnce(socket, [copy.subarray(0, bytes)]);
  if (done === bytes) {
    giveBack(copy);
    taken?.();
    return;
  }
  socket.write(copy.subarray(done, bytes), (error) => {
    giveBack(copy);
    taken?.(error);
  });
}

function giveBack(copy: Uint8Array): void {
  if (copies.length < COPIES_KEPT) copies.push(copy);
}

/** How many bytes the kernel took. None where others wait before them, and none of what is still to be encrypted. */
function writeAtOnce(socket: Socket, pieces: readonly Uint8Array[]): number {
  const { encrypted, _handle: handle } = socket as unknown as { encrypted?: boolean; _handle?: { fd?: number } | null };
  const fd = handle?.fd;
  if (encrypted === true || fd === undefined || fd < 0 || socket.connecting || socket.writableLength > 0) return 0;
  try {
    return pieces.length === 1 ? writeSync(fd, pieces[0]!) : writevSync(fd, pieces);
  } catch {
    // Its buffer is full, or it is broken: then the socket's own write meets the same error, and tells of it.
    return 0;
  }
}

/** What is left of these pieces behind the first `bytes` bytes. */
function behind(pieces: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let skipped = 0;
  for (const [index, piece] of pieces.entries()) {
    if (skipped + piece.length > bytes) return [piece.subarray(bytes - skipped), ...pieces.slice(index + 1)];
    skipped += piece.length;
  }
  return [];
}

/** Corked writes leave as one writev. */
function writeQueued(socket: Socket, pieces: readonly Uint8Array[], taken: (error?: Error | null) => void): void {
  socket.cork();
  for (const [index, piece] of pieces.entries()) {
    if (index < pieces.length - 1) socket.write(piece);
    else socket.write(piece, taken);
  }
  socket.uncork();
}
