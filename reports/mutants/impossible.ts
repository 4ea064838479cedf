/** Bugs of the list whose wrong rule cannot be stated in this core, or does no harm in it: each with the argument why. */

import type { Impossible } from './mutant.js';

export const impossible: readonly Impossible[] = [
  {
    id: 'B005',
    first: true,
    argument:
      'the bit is set and the notice queued in one synchronous step. If the bit came last, with the end of the write, it would still come before a resync clears it: the source reads a range for the target only when no write of its own to it is on its way (volume/intervals). Tried: 60 runs hold',
  },
  {
    id: 'B075',
    first: true,
    argument:
      'a handshake that is evaluated once more, on a late state packet, comes to the same end: when a resync ends both nodes keep their own generations and those of the peer up to date in one step (resource/resync-end), so the second evaluation finds equal sets and changes nothing. Tried: 90 runs hold',
  },
  {
    id: 'B088',
    first: true,
    argument:
      'with two nodes the union of both bitmaps covers every difference since the two were last equal, wherever in the history the common generation stands: bits are cleared by data, by an acknowledgement, or by an operator who vouches for equal data. The full sync is kept for the last of these. Tried: 50 runs hold',
  },
  {
    id: 'B091',
    first: true,
    argument:
      'the set of a node cannot change between the moment it is sent and the decision: roles, attaches and orders are refused in the middle of a handshake (mutant B077 opens that), and parameters do not go out while a generation is on its way to the disk (mutant B065b). What can change, the number of marked blocks, is remembered as it was sent; to decide on the present number would matter only if a write came in those milliseconds and turned a policy over. Tried: 80 runs hold',
  },
  {
    id: 'B184',
    first: true,
    argument:
      'any byte that arrives re-arms the wait for the answer, and the meta stream of two nodes never fills its buffer, so a ping is taken by the transport when it is queued. A difference shows only on a link that carries nothing in one direction for longer than ping-timeout, and there either rule gives the connection up. Tried: 50 runs hold',
  },
  {
    id: 'B032',
    argument:
      "with two nodes a merged mark is also on the disk of the node that it came from, and goes there only when the block is equal on both. What a crash forgets of it the next exchange of bitmaps merges again, and a disk that is replaced is synced whole. Tried: 50 runs hold",
  },
  {
    id: 'B009',
    argument:
      'with the methods flush and drain the receiver takes nothing further until a closed epoch is acknowledged (D16), so there are never two; with none, one loop ends them oldest first, and there is no other place from which an acknowledgement is sent',
  },
  {
    id: 'B014',
    argument:
      'an epoch is an epoch of a connection only when a write of it was sent there; a flush without writes closes nothing, so there is nothing that a second barrier could name',
  },
  {
    id: 'B027',
    argument:
      'what a pass has sent leaves when the pass ends (connection/send `flushSends`); nothing is held back to be sent with what comes later',
  },
  {
    id: 'B028',
    argument:
      'a packet is encoded whole before it is queued, in one synchronous step; a stream that is closed drops whole packets or sends them',
  },
  {
    id: 'B045',
    argument:
      'the peer is part of the configuration that a resource is made from: an attach without it, and a peer that is configured later, do not exist',
  },
  {
    id: 'B047',
    argument:
      'an attached disk always has its bitmap in memory, with or without a connection: it is made before the attach ends and goes when the disk is closed',
  },
  {
    id: 'B067',
    argument:
      'activity log updates are never suspended because every bit is set; there is no such state to come back from',
  },
  {
    id: 'B120',
    argument:
      'what is in flight is no counter: it is summed up over the requests themselves in each tick, so a request that is gone cannot be counted',
  },
  {
    id: 'B132',
    argument:
      'a change of role that a handshake asks for is judged and made in the same pass, and refused where it would have to wait (plan demote-first)',
  },
  {
    id: 'B164',
    argument:
      'whether the own disk may be read is asked of its state for each read; nothing about it is kept from one attachment to the next',
  },
  {
    id: 'B165',
    argument:
      'an operation that is given up loses its owner (`Then` nobody), and what it brings later is dropped; no buffer is handed out twice',
  },
  {
    id: 'B176',
    argument:
      'there are no locks: a resize drains the volume first, and one input is worked off before the next',
  },
];
