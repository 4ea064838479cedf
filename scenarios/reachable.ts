/**
 * What two nodes with the features of this release can come to: the comparison rules, the states field by field, the packets. A sweep
 * holds what it reached against these lists; what is not reachable has its argument here, and becomes reachable when the
 * feature that it names arrives.
 *
 * `reachable: true` with a `how` needs more than a failover: a sweep that never reaches it should be told what to do.
 */

import type { ComparisonRule } from '../src/generations/compare.js';
import { Conn, Disk, Role } from '../src/state/states.js';
import type { PacketName } from '../src/wire/packets.js';

export interface Reachable {
  /** True, or why not. */
  reachable: true | string;
  /** The shortest way there, where it is not an everyday one. */
  how?: string;
}

const yes = (how?: string): Reachable => (how === undefined ? { reachable: true } : { reachable: true, how });
const no = (why: string): Reachable => ({ reachable: why });

const byRule: Record<ComparisonRule, Reachable> = {
  '10': yes(),
  '20': yes(),
  '30': yes(),
  '34': yes('the link is cut between the end of a resync on the target and its P_STATE reaching the source'),
  '35': yes('rule 34, seen from the other node'),
  '36': yes('P_SYNC_UUID of a resync between equal generations (after a crash of the Primary, rule 40) is lost'),
  '37': yes('rule 36, seen from the other node'),
  '40': yes(),
  '41': yes(
    'a crashed Primary comes back, is promoted again in WFBitMapS, and loses the link while its I/O is frozen (resource-and-stonith or ' +
      'suspend-io), so that no new generation begins; then they meet again',
  ),
  '50': yes(),
  '50b': yes('rule 35, but the target that finished is promoted alone, and the source, Primary at the cut, wrote on alone'),
  '51': yes('P_SYNC_UUID of a bitmap resync is lost'),
  '51b': yes('rule 35 with writes of the source alone; the target was promoted alone and lost its own P_SYNC_UUID in a later resync'),
  '60': yes('new-current-uuid twice on a disconnected node moves the common generation into its history'),
  '60b': yes('rule 60 against a node that wrote alone while it had a bitmap UUID'),
  '70': yes(),
  '70b': yes('rule 50b, seen from the other node'),
  '71': yes('rule 51, seen from the other node'),
  '71b': yes('rule 51b, seen from the other node'),
  '80': yes('rule 60, seen from the other node'),
  '80b': yes('rule 60b, seen from the other node'),
  '90': yes(),
  '100': yes('primary --force on an Outdated disk overwrites the bitmap UUID on a node whose peer was promoted too'),
  '110': yes('new-current-uuid four times on each of two nodes that never met, or a disk of another pair with a history of its own'),
};

const connNames: Record<keyof typeof Conn, Reachable> = {
  StandAlone: yes(),
  Disconnecting: yes(),
  Unconnected: yes(),
  Timeout: yes('the peer is paused for longer than ko-count times timeout while it answers pings, or a stream stops taking bytes'),
  BrokenPipe: yes(),
  NetworkFailure: yes(),
  ProtocolError: yes('a tentative connect, seen from the node that was not asked; or frozen I/O and a returning peer that is only Consistent'),
  TearDown: yes(),
  WFConnection: yes(),
  WFReportParams: yes(),
  Connected: yes(),
  StartingSyncS: yes('invalidate-remote while Connected'),
  StartingSyncT: yes('invalidate while Connected'),
  WFBitMapS: yes(),
  WFBitMapT: yes(),
  WFSyncUUID: yes(),
  SyncSource: yes(),
  SyncTarget: yes(),
  VerifyS: yes('verify while Connected, with a verify-alg'),
  VerifyT: yes('the peer was asked to verify'),
  PausedSyncS: yes('pause-sync on either node before or during a resync'),
  PausedSyncT: yes('pause-sync on either node before or during a resync'),
  Ahead: yes('protocol A with on-congestion pull-ahead, and more on its way to the peer than congestion-fill'),
  Behind: yes('the peer is Ahead'),
};

const diskNames: Record<keyof typeof Disk, Reachable> = {
  Diskless: yes(),
  Attaching: yes(),
  Failed: yes('detach, or an I/O error with on-io-error detach'),
  Negotiating: yes('attach while Connected'),
  Inconsistent: yes(),
  Outdated: yes(),
  DUnknown: no("a node knows its own disk; DUnknown is only ever the peer's"),
  Consistent: yes('attach with fencing configured, after being UpToDate while the peer was not known to be outdated'),
  UpToDate: yes(),
};

const peerDiskNames: Record<keyof typeof Disk, Reachable> = {
  Diskless: yes(),
  Attaching: yes('the handshake falls into the attach of the peer: its first P_STATE says so'),
  Failed: yes('detach, or an I/O error with on-io-error detach, on the connected peer'),
  Negotiating: no("what a peer says of a disk that it negotiates counts as what is behind it: Inconsistent or Consistent, by flag 4 of its P_UUIDS (wire-protocol.md §3.7)"),
  Inconsistent: yes(),
  Outdated: yes(),
  DUnknown: yes(),
  Consistent: yes(),
  UpToDate: yes(),
};

const roleNames: Record<keyof typeof Role, Reachable> = {
  Unknown: no("a node knows its own role; Unknown is only ever the peer's"),
  Primary: yes(),
  Secondary: yes(),
};

const peerRoleNames: Record<keyof typeof Role, Reachable> = { Unknown: yes(), Primary: yes(), Secondary: yes() };

const packetNames: Record<PacketName, Reachable> = {
  P_DATA: yes(),
  P_DATA_REPLY: yes('a Primary reads without a good disk of its own'),
  P_RS_DATA_REPLY: yes(),
  P_BARRIER: yes(),
  P_BITMAP: yes('the peer has use-rle off, or the bitmap does not compress'),
  P_UNPLUG_REMOTE: yes('several writes of a volume are handed over together, or waited for the same transaction'),
  P_DATA_REQUEST: yes('a Primary reads without a good disk of its own'),
  P_RS_DATA_REQUEST: yes(),
  P_SYNC_PARAM: yes('the older of the two speaks at most version 88'),
  P_PROTOCOL: yes(),
  P_UUIDS: yes(),
  P_SIZES: yes(),
  P_STATE: yes(),
  P_SYNC_UUID: yes(),
  P_AUTH_CHALLENGE: yes('cram-hmac-alg'),
  P_AUTH_RESPONSE: yes('cram-hmac-alg'),
  P_STATE_CHG_REQ: yes(),
  P_PING: yes(),
  P_PING_ACK: yes(),
  P_RECV_ACK: yes(),
  P_WRITE_ACK: yes(),
  P_RS_WRITE_ACK: yes(),
  P_SUPERSEDED: yes('two Primaries write the same sectors at the same time, and one write covers the other'),
  P_NEG_ACK: yes("the peer's disk refuses a write"),
  P_NEG_DREPLY: yes("a read that a Primary without a disk asked for fails on the peer's disk too"),
  P_NEG_RS_DREPLY: yes("a resync read fails on the source's disk, with on-io-error pass_on"),
  P_BARRIER_ACK: yes(),
  P_STATE_CHG_REPLY: yes(),
  P_OV_REQUEST: yes(),
  P_OV_REPLY: yes(),
  P_OV_RESULT: yes(),
  P_CSUM_RS_REQUEST: yes('a resync with csums-alg'),
  P_RS_IS_IN_SYNC: yes('a resync with csums-alg finds blocks that are equal'),
  P_SYNC_PARAM89: yes(),
  P_COMPRESSED_BITMAP: yes(),
  P_DELAY_PROBE: no('nobody sends it: the kernel knows the number and ignores it'),
  P_OUT_OF_SYNC: yes('a write that goes to a peer in a resync that is not told to mirror it yet'),
  P_RS_CANCEL: yes('a resync request meets a source that has pulled ahead'),
  P_CONN_ST_CHG_REQ: yes(),
  P_CONN_ST_CHG_REPLY: yes(),
  P_RETRY_WRITE: yes('two Primaries write overlapping sectors at the same time, with protocol 100 or newer'),
  P_PROTOCOL_UPDATE: yes('options that both sides compare are changed while connected'),
  P_TRIM: yes('the application discards'),
  P_RS_THIN_REQ: yes('rs-discard-granularity on a target whose disk discards'),
  P_RS_DEALLOCATED: yes('a thin request for blocks that nobody has written, or that were zeroed'),
  P_WSAME: no('nobody sends it: no workload of a block device asks for a write-same any more'),
  P_ZEROES: yes('the application zeroes'),
  P_ENABLE_REPLICATION: no('only DRBD 9 sends it'),
  P_INITIAL_META: yes(),
  P_INITIAL_DATA: yes(),
  P_CONNECTION_FEATURES: yes(),
};

/** Combinations that no single field excludes. */
export const unreachableCombinations: { combination: string; why: string }[] = [
  { combination: 'conn > Connected, disk or pdsk <= Failed', why: 'the sanitizer ends the resync (node-states.md §4 step 3)' },
  { combination: 'conn < Connected, peer Primary or Secondary', why: 'the sanitizer forgets the role of a peer that is away (step 1)' },
  { combination: 'conn < Connected, pdsk Diskless, Failed, Negotiating, Consistent or UpToDate', why: 'the sanitizer makes it DUnknown (step 1)' },
];

const listed = <N extends string>(names: Record<N, Reachable>): ({ name: N } & Reachable)[] =>
  (Object.keys(names) as N[]).map((name) => ({ name, ...names[name] }));

export const reachableRules: ({ rule: ComparisonRule } & Reachable)[] = listed(byRule).map(({ name, ...rest }) => ({ rule: name, ...rest }));
export const reachablePackets = listed(packetNames);
export const reachableConns = listed(connNames);
export const reachableDisks = listed(diskNames);
export const reachablePeerDisks = listed(peerDiskNames);
export const reachableRoles = listed(roleNames);
export const reachablePeerRoles = listed(peerRoleNames);
