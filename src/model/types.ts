/**
 * The state of a node as plain data: resources, volumes, connections, requests. Every room works on these; `snapshot` writes
 * exactly this, so there are no functions, classes or hidden state in it.
 *
 * Connection state, replication state, role and disk states are separate fields per peer and volume. The combined state of
 * the 8.4 rules (`State`) is composed on one snapshot by resource/state-view. Nothing assumes that there is only one peer.
 */

import type { Command } from '../contract/command.js';
import type { StreamId } from '../contract/input.js';
import type { HandlerName } from '../contract/output.js';
import type { PeerConfig, ResourceConfig, VolumeConfig } from '../config/types.js';
import type { Session } from '../connection/types.js';
import type { AlCursor } from '../metadata/activity-log.js';
import type { Bitmap } from '../metadata/bitmap.js';
import type { Layout } from '../metadata/layout.js';
import type { Superblock } from '../metadata/superblock.js';
import type { MembershipState } from '../membership/membership.js';
import type { BitmapReceiver, ResyncState, VerifyState } from '../resync/types.js';
import type { Conn, Disk, Role, State } from '../state/states.js';
import type { BlockId, DataPacket, TrimPacket } from '../wire/packets.js';
import type { DiskOperation } from './operations.js';
import type { MetadataPurpose, LossReason } from './signals.js';
import type { Timer } from './timers.js';
import type { Attachment } from '../volume/attach-types.js';

export interface NodeState {
  name: string;
  resources: Map<string, Resource>;
  operations: Map<number, DiskOperation>;
  /** Which connection a stream belongs to. */
  streams: Map<StreamId, { resource: string; peer: string }>;
  timers: Map<string, Timer>;
  /** Handlers that run, or wait for `pending` superblocks to be on disk. `volume` undefined: for the whole resource. */
  handlers: Map<number, { name: HandlerName; resource: string; volume: number | undefined; peer: string | undefined; pending: number }>;
  lastOperation: number;
  lastStream: number;
  lastHandler: number;
  lastRequest: number;
}

export interface Resource {
  name: string;
  config: ResourceConfig;
  role: Role;
  /** I/O suspended: by the administrator, for want of data, by fencing. */
  susp: boolean;
  suspNod: boolean;
  suspFen: boolean;
  /** In ascending order of their numbers. */
  volumes: Map<number, Volume>;
  /** In configuration order. */
  connections: Map<string, Connection>;
  /** Application requests with a network part, in submission order, until the peer's barrier acknowledgement (wire-protocol.md §5.6). */
  log: TransferLog;
  /** After-change actions, in order (node-states.md §7); the first one may be waiting. */
  worker: AfterChange[];
  workerWaits: boolean;
  /** Commands and other things that take several steps, by command id (negative: started by the node itself). */
  procedures: Map<number, Procedure>;
  lastProcedure: number;
  membership: MembershipState | undefined;
  /** Fence-peer runs now: its handler id and the connect count it belongs to. */
  fencing: FencingRun | undefined;
}

export interface FencingRun {
  handler: number;
  peer: string;
  /** Connections made when it started: its verdict is void if one was made meanwhile. */
  connectCount: number;
  /** Procedures that wait for the verdict. */
  waiting: number[];
}

// ---- Volumes ---------------------------------------------------------------------------------------------------

export interface Volume {
  resource: string;
  number: number;
  config: VolumeConfig;
  disk: Disk;
  /** Size of the replicated device in sectors; 0 before it was ever agreed. */
  sizeSectors: number;
  openers: string[];
  /** The backing disk, from Attaching until it is quiet again after Failed. */
  backing: Backing | undefined;
  attachments: number;
  peers: Map<string, PeerDevice>;
  /** The generation that local applications have seen; 0 before any. */
  exposedUuid: bigint;
  /** Writes were answered by the peer's copy alone since the disk was lost; until the peer has said that a generation began, nothing else tells. */
  answeredWithoutDisk: boolean;
  /** A new current UUID is due but I/O is frozen (NEW_CUR_UUID). */
  newCurrentUuidDue: boolean;
  /** A new current UUID is on its way to disk: completions wait for it (D5). */
  generationPending: boolean;
  /**
   * Its disk was lost while the peer's went on, until it is good again: what the other volumes hold here is of another moment than what is
   * on that disk, so none of them is offered as good after a crash.
   */
  leftBehind: boolean;
  /** Crashed primary, until both disks are UpToDate (volatile flag of node-states.md §8.1). */
  crashedPrimary: boolean;
  /** Reasons why new application I/O is held besides the states: attach, detach, size change, bitmap being sent. */
  holds: string[];
  /** Its metadata is getting another size or place: nobody may take extents of the activity log. */
  resizing: boolean;
  /** Requests that were accepted and not yet submitted, in order. */
  waiting: Request[];
  /** The driver was not told to hold further requests back. */
  admits: boolean;
  /** Writes of a peer without a disk, which need our activity log and wait for it, in order (sync-and-activity-log.md §2). */
  waitingPeerWrites: { peer: string; write: number }[];
  /** Ranges of the data area with a write, or a resync read or request, on its way, in order of registration. */
  intervals: Interval[];
  lastInterval: number;
  /** The last read that both disks could have served went to the peer (read-balancing round-robin). */
  readThere: boolean;
  /** Application requests in flight: writes submitted and not completed. */
  writesInFlight: number;
  /** Sectors of the data area that the application and its replicated writes have read and written so far: what a resync gives way to. */
  applicationSectors: number;
}

/** A backing disk while it is attached. */
export interface Backing {
  attachment: number;
  dataSectors: number;
  metaSectors: number;
  /** Data and metadata share one device. */
  shared: boolean;
  /** Of the data device; 0 where it cannot discard. */
  discardGranularitySectors: number;
  layout: Layout;
  superblock: Superblock;
  /** Counts changes of `superblock`; `superblockWritten` is the version that is durable (B063: never a flag). */
  superblockVersion: number;
  superblockWritten: number;
  /** The superblock on disk says that we are Primary: what was written since is covered by the activity log. */
  primaryOnDisk: boolean;
  activityLog: ActivityLog;
  /** Metadata jobs, in order; the first one runs. */
  metadataJobs: MetadataJob[];
  operationsInFlight: number;
  /** Detach was forced: nothing waits for this disk any more. */
  forceDetach: boolean;
  /** A read failed on it: a bitmap that cannot be written means full sync (D20). */
  wasReadError: boolean;
  /** It had an error that on-io-error passed on, while a resync from it went on: it is Inconsistent when that is over and blocks are left. */
  isBad: boolean;
  /** A data operation failed on it: what it holds is not compared by digests any more (resync/target). */
  hadError: boolean;
  /** Given up: Failed, waits for its operations to end. */
  failed: boolean;
  /** While attaching: reading metadata, replaying the log. */
  attaching: Attachment | undefined;
}

/** One volume towards one peer. */
export interface PeerDevice {
  peer: string;
  /** Connected or above while replication is established, otherwise StandAlone (0): the connection's own state counts. */
  repl: Conn;
  /** The peer's role and disk as we know them. */
  role: Role;
  pdsk: Disk;
  aftrIsp: boolean;
  peerIsp: boolean;
  userIsp: boolean;
  /** Out-of-sync blocks towards this peer; present while the disk is attached. */
  bitmap: Bitmap | undefined;
  /** The last P_UUIDS of this connection. */
  peerUuids: PeerUuids | undefined;
  /** Capacity of the peer's disk from its last P_SIZES. */
  peerDiskSectors: number;
  /** Bits set when our UUIDs were last sent (ch_self). */
  bitsSent: number;
  /** The current UUID that we told it last; 0: none on this connection. */
  toldCurrent: bigint;
  /** It was told on this connection that nothing is to be synced at first: what it says until it has heard that is of before. */
  toldToSkip: boolean;
  /** Evaluate the handshake again at the next P_STATE (node-states.md §6.6). */
  considerResync: boolean;
  /**
   * A Primary without a disk has come, and has not written yet: it may give us up, since we hold other data than its applications saw
   * (it does not say which). A new generation begins with its first write.
   */
  generationDueOnWrite: boolean;
  /** Attached while connected: disk states of both, until the handshake decides (Negotiating). */
  negotiation: { disk: Disk; pdsk: Disk } | undefined;
  /** Sequence numbers of wire-protocol.md §5.7, restarted with each connection. */
  sequence: number;
  /** Writes sent to it in the present pass: a batch of them ends with P_UNPLUG_REMOTE. */
  batchedWrites: number;
  /** The newest of the peer's numbers on this connection. */
  peerSequence: number;
  /** Reads served for the peer, by interval: waiting for their range, being read, or (with data) waiting for our own writes to be answered. */
  reads: Map<number, PeerRead>;
  bitmapReceiver: BitmapReceiver | undefined;
  /** `dds_flags` of a P_SIZES that asks us to resize: to be answered when we have. */
  sizesAsked: number | undefined;
  /** The device has grown, and what is new is to be synced when the peer has it too. */
  hasNewPart: boolean;
  /** The device grew while connecting: what is new is to be synced although the generations are equal. */
  grownWhileConnecting: boolean;
  /** An operator has given our data up, both have agreed, and the resync has not begun: StartingSyncT, and WFSyncUUID after it. */
  isMadeAnew: boolean;
  /** P_SYNC_UUID that arrived while our own marks were still being written (StartingSyncT). */
  earlySyncUuid: bigint | undefined;
  resync: ResyncState | undefined;
  verify: VerifyState | undefined;
  /** Where the next verify begins when nobody says it: where the last one ended, or 0. */
  verifyFromSector: number;
  /** Ahead: blocks are marked that the peer was not told of since then. */
  hasUnannouncedMarks: boolean;
  /** Behind, or synced again since: what the resync before had asked for and was not answered yet. Each is answered once, somehow. */
  staleRequests: { sector: number; sectors: number }[];
  /** A before-resync handler was asked: its id, the state that it was asked in, and for a target the sync UUID that waits. */
  beforeResync: { handler: number; syncUuid: bigint | undefined; conn: Conn } | undefined;
  /** A resync was given up on this connection, and equal blocks may still be told of that were compared with another disk's or another time's. */
  hasStaleDigests: boolean;
}

export interface PeerUuids {
  current: bigint;
  bitmap: bigint;
  history1: bigint;
  history2: bigint;
  /** Bits set in the peer's bitmap. */
  bits: number;
  flags: number;
}

export type IntervalKind = 'own-read' | 'own-write' | 'peer-write' | 'peer-read' | 'peer-reply' | 'resync-request' | 'resync-read' | 'resync-write' | 'verify-request' | 'verify-read';

export interface Interval {
  id: number;
  kind: IntervalKind;
  sector: number;
  sectors: number;
  /** Nothing registered earlier overlaps any more: its operation may run, or runs. */
  started: boolean;
  /**
   * Of an own write. `waiting`: it went nowhere yet, so what comes from the peer goes first; `in-use`: it is on its way; `passable`: it is
   * on our disk and its place among the peer's writes is known, so they may overwrite it before it is answered; `again`: it is on our disk
   * too, and has to go its way once more when nothing of the peer's is left that overlaps it.
   */
  use: 'waiting' | 'in-use' | 'passable' | 'again';
  /** Who to wake when it may start. */
  owner: number;
  peer: string;
}

// ---- Activity log (sync-and-activity-log.md §1, §2) ------------------------------------------------------------------

export interface ActivityLog {
  /** Committed extent of each slot, `AL_FREE` where none: what is on disk. */
  committed: Uint32Array;
  /** Extent that a pending transaction will put into each slot; the committed one where none is pending. */
  extents: Uint32Array;
  /** Requests that use each slot's extent. */
  references: Uint32Array;
  /** Slot index by new extent number. */
  byExtent: Map<number, number>;
  /** Slots below this one were never used. */
  unusedSlots: number;
  /** Committed slots without references: the first one was used the longest ago. */
  lru: Map<number, true>;
  pendingChanges: number[];
  starving: boolean;
  /** Requests that hold references on extents which the next or the running transaction makes active. */
  waitingForCommit: Request[];
  peerWritesForCommit: { peer: string; write: number }[];
  /** The transaction's block is being made and written: its set of changes is closed. */
  transactionRunning: boolean;
  cursor: AlCursor;
  /** Statistics. */
  transactions: number;
}

// ---- Metadata jobs ---------------------------------------------------------------------------------------------------

/** Neighbouring bitmap pages as they were before the flush that makes what they say true: `bytes` is what is written. */
export interface PageRun {
  peer: string;
  firstPage: number;
  pages: number;
  bytes: Uint8Array;
}

export type MetadataJob =
  /** Writes the superblock as it is when the job starts. */
  | { job: 'superblock'; purposes: MetadataPurpose[]; step: number; pending: number; version: number }
  /** One activity-log transaction: pages of evicted extents first (D2), then the block. */
  | { job: 'transaction'; purposes: MetadataPurpose[]; step: number; pending: number; pages: PageRun[] }
  /** Dirty bitmap pages (D10: the data they describe first, where cleared), so many at a time; the next round is from page `restFrom` on, 0: there is none. */
  | { job: 'bitmap'; purposes: MetadataPurpose[]; step: number; pending: number; pages: PageRun[]; restFrom: number }
  /** FULL_SYNC flag, whole bitmap, flag off (D11). Bits are set in memory when it is queued. */
  | { job: 'full-sync'; purposes: MetadataPurpose[]; step: number; pending: number }
  /** Another size, and perhaps another place (metadata/move); `old`: where it was. */
  | { job: 'resize'; purposes: MetadataPurpose[]; step: number; pending: number; layout: Layout; old: Layout; sectors: number; assumeClean: boolean };

// ---- Connections -----------------------------------------------------------------------------------------------------

export interface Connection {
  resource: string;
  peer: string;
  config: PeerConfig;
  /** StandAlone..WFReportParams; an established link keeps WFReportParams and `repl` of each volume says the rest. */
  cstate: Conn;
  /** The streams and the handshake (connection room). */
  session: Session;
  /** Agreed protocol version and features, valid from `streams-ready` on. */
  protocolVersion: number;
  features: number;
  /** We accepted the meta stream (wire-protocol.md §1.3). */
  resolveConflicts: boolean;
  /** The streams are up, and our parameters wait for the consequences of earlier changes: nothing is received until they are sent. */
  parametersDue: boolean;
  /** Own parameters are sent and the handshake is not finished (STATE_SENT). */
  stateSent: boolean;
  /** Connections made so far (connect counter). */
  connectCount: number;
  /** One-shot: this connect discards our data; the peer said it discards its own. */
  discardMyData: boolean;
  tentative: boolean;
  peerDiscardsData: boolean;
  peerDryRun: boolean;
  /** First reason of the present loss; cleaning up until undefined again. */
  loss: { reason: LossReason; step: number; established: boolean; pending?: number } | undefined;
  /** Our state change request that waits for the peer's reply (node-states.md §3.4). */
  request: ConsentRequest | undefined;
  /** The peer's request whose answer waits for something durable (D12). */
  replyDue: { volume: number; connectionWide: boolean; code: number; pending: number } | undefined;
  sender: SenderState;
  receiver: ReceiverState;
}

export interface ConsentRequest {
  /** -1 for a connection-wide request. */
  volume: number;
  /** The volumes that it is about. */
  volumes: number[];
  change: Partial<State>;
  /** The procedure that asked. */
  procedure: number;
}

/** Sending side of the epochs on this connection (wire-protocol.md §5.4). */
export interface SenderState {
  /** Epochs with writes sent on this connection and not barrier-acked, oldest first; only the last may lack its barrier. */
  epochs: SentEpoch[];
  /** Writes that complete when the transport has taken them (protocol A), in order: request id and end position on the data stream. */
  awaitingTransport: { request: number; endBytes: number }[];
}

export interface SentEpoch {
  epoch: number;
  /** Requests of this epoch that were sent, in order. */
  requests: number[];
  barrierSentAtUs: number | undefined;
}

/** Receiving side: the peer's writes and their epochs (wire-protocol.md §5.5). */
export interface ReceiverState {
  writes: Map<number, PeerWrite>;
  lastWrite: number;
  /** Open epoch last. Oldest first. */
  epochs: ReceivedEpoch[];
  lastEpoch: number;
  /** The data stream is not read while an epoch drains, nor while we resize as the peer asked. */
  draining: boolean;
  resizing: boolean;
  /** Flushes of the running epoch end that are in flight. */
  flushesPending: number;
  /** A write that came on the data stream before acknowledgements that the peer had sent earlier; nothing behind it is read meanwhile. */
  early: DataPacket | TrimPacket | undefined;
}

export interface PeerRead {
  sector: number;
  sectors: number;
  blockId: BlockId;
  /** On its way to the disk. */
  reading: boolean;
  data: Uint8Array | undefined;
}

export interface ReceivedEpoch {
  id: number;
  /** Opaque number of the P_BARRIER that closed it; undefined while open. */
  barrier: number | undefined;
  /** Writes received, and those not completed yet. */
  size: number;
  active: number;
  /** It lost writes to conflicts: the peer does not count them either, and expects no acknowledgement if none is left. */
  lostWrites: boolean;
  /** Volumes whose disk has taken writes of it, and which attachment of the disk that was. */
  written: Map<number, number>;
  flush: 'none' | 'running' | 'done';
}

export interface PeerWrite {
  id: number;
  volume: number;
  content: WriteContent;
  sector: number;
  sectors: number;
  /** Of content `data` only. */
  data: Uint8Array | undefined;
  blockId: BlockId;
  epoch: number;
  interval: number;
  attachment: number;
  preflush: boolean;
  fua: boolean;
  sendReceiveAck: boolean;
  sendWriteAck: boolean;
  maySetInSync: boolean;
  /** It lost against writes of ours: `data` holds theirs where they overlap, and the answer is P_SUPERSEDED. */
  superseded: boolean;
  /** Extents of our activity log that it holds (only when the writer has no disk). */
  inActivityLog: boolean;
  connectCount: number;
  /** Its disk operations that have not ended, and whether one of them failed for good. */
  operations: number;
  failed: boolean;
}

// ---- Requests of the application --------------------------------------------------------------------------------------

export interface TransferLog {
  requests: Map<number, Request>;
  /** Number of the open epoch, and its writes. 32 bits, wraps. */
  epoch: number;
  epochWrites: number;
}

/** What a write leaves in its range: its data, or zeros: that may be unmapped or not, or by way of a discard (volume/zeroing). */
export type WriteContent = 'data' | 'zeroes' | 'zeroes-unmap' | 'discard';

export interface Request {
  /** Our block id. */
  id: number;
  /** What the application asked for; several requests share one when it was larger than the peer takes. */
  application: ApplicationRequest;
  kind: 'read' | 'write' | 'flush';
  volume: number;
  sector: number;
  sectors: number;
  /** Of a write; `data` for the others. */
  content: WriteContent;
  /** The only copy of a write's payload, shared by disk and streams; the result of a read. None of a write of zeros. */
  data: Uint8Array | undefined;
  fua: boolean;
  /** Epoch it belongs to once submitted (a flush: the last one that it covers), else -1. */
  epoch: number;
  local: 'none' | 'pending' | 'ok' | 'failed';
  /** Disk operations of the local part that have not ended, and whether one of them failed for good. */
  localOperations: number;
  localFailed: boolean;
  /** One for each peer that takes part. */
  net: NetPart[];
  /** Answered to the application. */
  completed: boolean;
  interval: number;
  /** Holds references on its extents of the activity log. */
  inActivityLog: boolean;
  attachment: number;
  submitted: boolean;
  /** In the log, and waits for its range or its turn: where it goes is not decided yet. */
  parked: boolean;
  /**
   * The peer answered P_RETRY_WRITE. `told`: the write that it lost against has not come yet; `due`: it is here, and ours goes its way again
   * as soon as the disk is done with it; `again`: it waits for that. Our disk may hold what the peer lacks meanwhile.
   */
  retry: 'no' | 'told' | 'due' | 'again';
}

/** A request as the application made it. */
export interface ApplicationRequest {
  /** The driver's id. */
  id: number;
  sector: number;
  /** Parts that are not answered yet. */
  pending: number;
  failed: boolean;
  /** Of a read: where the parts' data is put together, when there are several. */
  data: Uint8Array | undefined;
}

export interface NetPart {
  peer: string;
  /** The connection that it went out on. */
  connectCount: number;
  /** What ends the wait of the application: handed to the transport (A), received (B), written (C), data (reads), nothing. */
  waitsFor: 'transport' | 'receive-ack' | 'write-ack' | 'data' | 'barrier-ack' | 'nothing';
  ok: boolean;
  /** The peer's disk was UpToDate: what it alone has is not lost with the next resync. */
  onGoodDisk: boolean;
  /** A write of protocol A: the application did not wait for the peer. */
  isAsync: boolean;
  /** The peer cleared its bits (P_RS_WRITE_ACK). */
  setInSync: boolean;
  /** Nothing more is expected from the peer (barrier ack, data, loss). */
  done: boolean;
  sentAtUs: number;
  /** Sent again after a freeze: the peer may have had it before. */
  resent: boolean;
}

// ---- State changes --------------------------------------------------------------------------------------------------

/** One applied state change whose consequences are still to be drawn (node-states.md §7), in order. */
export interface AfterChange {
  volume: number;
  peer: string;
  from: State;
  to: State;
  /** Next step of resource/after-change. */
  step: number;
  /** Decided at the moment of the change, on its snapshot: a new current UUID is due (generation-uuids.md §3). */
  newGeneration: boolean;
  /** What the peer is to be told in any case: the state of this change, and our UUIDs before it. */
  announces: 'nothing' | 'state' | 'uuids';
  /** Data that a step keeps for the next. */
  reason: string;
}

/** Something that takes several steps: a command, or what the node does by itself. Interpreted in resource/procedures. */
export interface Procedure {
  id: number;
  /** Command id to answer, or undefined when the node started it. */
  command: number | undefined;
  what: Command;
  step: number;
  attempts: number;
  /** What it waits for. */
  waits: 'nothing' | 'consent' | 'fencing' | 'timer' | 'metadata' | 'part' | 'state';
  /** Scratch of the procedure: parts of the change it is building up. */
  change: Partial<State>;
  forced: boolean;
  retryUsed: boolean;
  /** How the last thing that it waited for ended (a return code). */
  result: number;
  /** The peer's own code when it refused. */
  peerCode: number;
  /** Metadata writes that it still waits for. */
  pending: number;
  /** A resize: the device's size before and after. */
  sizes: { beforeSectors: number; afterSectors: number } | undefined;
  /** The procedure that this is a part of (down). */
  parent: number | undefined;
}
