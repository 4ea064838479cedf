/**
 * Every packet of DRBD's protocol 86..101 as a plain value: one closed union, discriminated by DRBD's name.
 *
 * This is the vocabulary in which the rooms above talk about the wire. The bytes are in codec.ts; here are only meanings
 * (wire-protocol.md §3 and §4). Sectors are 512 bytes; sizes are in bytes; UUIDs are `bigint`, everything else a `number`.
 * Byte arrays of a decoded packet are views of received bytes (reassembly.ts says how long they live).
 *
 * `volume` is 0 in packets whose header carries none (below protocol 100). Connection-wide packets are sent with volume 0
 * and accepted with any (a DRBD 9 peer uses 0xffff).
 *
 * `pad` fields are bytes that some kernels fill with garbage: they are kept, when not 0, so that a recording encodes back
 * to the same bytes. Never set and never read them in the protocol.
 */

/** An opaque handle of the peer, as two 32-bit halves: only echoed, compared with `sameBlockId`, never computed with. */
export interface BlockId {
  high: number;
  low: number;
}

/** Marks a resync request or its acknowledgement (not used by DRBD 9 targets in requests, captures/with-drbd9 27). */
export const ID_SYNCER: BlockId = { high: 0xffffffff, low: 0xffffffff };
/** The verdicts of P_OV_RESULT; everything but the second means "in sync", also DRBD 9's "skipped" (wire-protocol.md §8). */
export const ID_IN_SYNC: BlockId = { high: 0, low: 4711 };
export const ID_OUT_OF_SYNC: BlockId = { high: 0, low: 4712 };

export const sameBlockId = (a: BlockId, b: BlockId): boolean => a.low === b.low && a.high === b.high;

/** dp_flags of P_DATA, P_TRIM, P_ZEROES, P_WSAME (wire-protocol.md §5.2). */
export const DataFlag = {
  RW_SYNC: 2,
  MAY_SET_IN_SYNC: 4,
  FUA: 16,
  FLUSH: 32,
  DISCARD: 64,
  SEND_RECEIVE_ACK: 128,
  SEND_WRITE_ACK: 256,
  WSAME: 512,
  ZEROES: 1024,
} as const;

/** dds_flags of P_SIZES (wire-protocol.md §3.6). */
export const DdsFlag = { FORCED: 1, NO_RESYNC: 2 } as const;

/** Flags of P_CONNECTION_FEATURES (wire-protocol.md §3.2). */
export const FeatureFlag = { FF_TRIM: 1, FF_THIN_RESYNC: 2, FF_WSAME: 4, FF_WZEROES: 8 } as const;

/** conn_flags of P_PROTOCOL (wire-protocol.md §3.4). */
export const ProtocolFlag = { DISCARD_MY_DATA: 1, DRY_RUN: 2 } as const;

/** dds_flags of P_SIZES (wire-protocol.md §3.6). */
export const SizesFlag = { FORCED: 1, NO_RESYNC: 2 } as const;

/** flags of P_UUIDS (wire-protocol.md §3.9). */
export const UuidsFlag = { DISCARD_MY_DATA: 1, CRASHED_PRIMARY: 2, INCONSISTENT: 4, SKIP_INITIAL_SYNC: 8 } as const;

// --- Opening and handshake -------------------------------------------------------------------------------------------

/** The first packet on a stream, sent by the side that connected: says what the stream is (§1.1). */
export interface InitialPacket {
  packet: 'P_INITIAL_DATA' | 'P_INITIAL_META';
  volume: number;
}

/** §3.2. DRBD 8.4 sends node ids 0. */
export interface FeaturesPacket {
  packet: 'P_CONNECTION_FEATURES';
  volume: number;
  protocolMin: number;
  protocolMax: number;
  /** `FeatureFlag`s, and bits unknown to us. */
  flags: number;
  senderNodeId: number;
  receiverNodeId: number;
}

/** §3.3. Sent with 64 bytes, accepted with 64..128. */
export interface AuthChallengePacket {
  packet: 'P_AUTH_CHALLENGE';
  volume: number;
  challenge: Uint8Array;
}

export interface AuthResponsePacket {
  packet: 'P_AUTH_RESPONSE';
  volume: number;
  response: Uint8Array;
}

/** §3.4. Numbers are the wire's: protocol A=1, B=2, C=3, after-sb codes 0..10. */
export interface ProtocolPacket {
  packet: 'P_PROTOCOL' | 'P_PROTOCOL_UPDATE';
  volume: number;
  protocol: number;
  afterSb0Pri: number;
  afterSb1Pri: number;
  afterSb2Pri: number;
  /** `ProtocolFlag`s. */
  connFlags: number;
  twoPrimaries: number;
  /** Name of the data-integrity algorithm, '' for none; at most 63 characters. Absent below protocol 87. */
  integrityAlg?: string;
}

/** §3.5, protocols up to 88. */
export interface SyncParamPacket {
  packet: 'P_SYNC_PARAM';
  volume: number;
  /** KiB/s */
  resyncRate: number;
  /** Only at protocol 88. */
  verifyAlg?: string;
}

/** §3.5, protocols from 89. */
export interface SyncParam89Packet {
  packet: 'P_SYNC_PARAM89';
  volume: number;
  /** KiB/s */
  resyncRate: number;
  verifyAlg: string;
  csumsAlg: string;
  /** Present from protocol 95. */
  controller?: ControllerParameters;
}

export interface ControllerParameters {
  /** 0.1 s */
  cPlanAhead: number;
  /** 0.1 s */
  cDelayTarget: number;
  /** Sectors. */
  cFillTarget: number;
  /** KiB/s */
  cMaxRate: number;
}

/** §3.6. */
export interface SizesPacket {
  packet: 'P_SIZES';
  volume: number;
  /** Usable capacity of the sender's disk, 0 if diskless. */
  diskSectors: number;
  /** The administrator's limit, 0 for none. */
  userSectors: number;
  /** Current size of the replicated device; 0 asks for a P_SIZES in return. */
  currentSectors: number;
  maxRequestBytes: number;
  queueOrderType: number;
  /** `SizesFlag`s. */
  ddsFlags: number;
  /** Present if and only if FF_WSAME is agreed. */
  limits?: QueueLimits;
}

export interface QueueLimits {
  physicalBlockBytes: number;
  logicalBlockBytes: number;
  alignmentOffsetBytes: number;
  ioMinBytes: number;
  ioOptBytes: number;
  discardEnabled: number;
  discardZeroesData: number;
  writeSameCapable: number;
  pad?: number;
}

/** §3.9. */
export interface UuidsPacket {
  packet: 'P_UUIDS';
  volume: number;
  current: bigint;
  bitmap: bigint;
  /** The most recent first. */
  history0: bigint;
  history1: bigint;
  /** Number of out-of-sync bits (4 KiB blocks). */
  dirtyBits: number;
  /** `UuidsFlag`s. */
  flags: number;
}

// --- States ----------------------------------------------------------------------------------------------------------

/** §3.7: the 32-bit state word. */
export interface StatePacket {
  packet: 'P_STATE';
  volume: number;
  state: number;
}

/** §3.8: mask and value in the bits of the state word. */
export interface StateRequestPacket {
  packet: 'P_STATE_CHG_REQ' | 'P_CONN_ST_CHG_REQ';
  volume: number;
  mask: number;
  val: number;
}

export interface StateReplyPacket {
  packet: 'P_STATE_CHG_REPLY' | 'P_CONN_ST_CHG_REPLY';
  volume: number;
  /** Signed: 1 and more is success. */
  retcode: number;
}

/** §7.2. */
export interface SyncUuidPacket {
  packet: 'P_SYNC_UUID';
  volume: number;
  uuid: bigint;
}

/** DRBD 9.3 sends it at protocol 101 although no older peer knows it: skip it (captures/with-drbd9/README.md 30). */
export interface EnableReplicationPacket {
  packet: 'P_ENABLE_REPLICATION';
  volume: number;
  enable: number;
  pad?: number;
}

// --- Data ------------------------------------------------------------------------------------------------------------

/** §5.2. A reply (`P_DATA_REPLY`, `P_RS_DATA_REPLY`) has sequence 0 and flags 0. */
export interface DataPacket {
  packet: 'P_DATA' | 'P_DATA_REPLY' | 'P_RS_DATA_REPLY';
  volume: number;
  sector: number;
  blockId: BlockId;
  sequence: number;
  /** `DataFlag`s. */
  flags: number;
  /** Present if and only if the sender of this direction announced an integrity algorithm. */
  digest?: Uint8Array;
  /** A multiple of 512 bytes. */
  data: Uint8Array;
}

/** §5.2: neither data nor digest. */
export interface TrimPacket {
  packet: 'P_TRIM' | 'P_ZEROES';
  volume: number;
  sector: number;
  blockId: BlockId;
  sequence: number;
  /** `DataFlag`s. */
  flags: number;
  sizeBytes: number;
}

/** Never sent; the kernel has no handler for it either (§4). `data` is one logical block. */
export interface WriteSamePacket {
  packet: 'P_WSAME';
  volume: number;
  sector: number;
  blockId: BlockId;
  sequence: number;
  flags: number;
  sizeBytes: number;
  digest?: Uint8Array;
  data: Uint8Array;
}

/** §4: p_block_req. The receiver must check sector and size against the device and §4's table of errors. */
export interface BlockRequestPacket {
  packet: 'P_DATA_REQUEST' | 'P_RS_DATA_REQUEST' | 'P_OV_REQUEST' | 'P_RS_THIN_REQ';
  volume: number;
  sector: number;
  blockId: BlockId;
  sizeBytes: number;
  pad?: number;
}

/** §7.4 and §8. */
export interface DigestPacket {
  packet: 'P_CSUM_RS_REQUEST' | 'P_OV_REPLY';
  volume: number;
  sector: number;
  blockId: BlockId;
  sizeBytes: number;
  digest: Uint8Array;
  pad?: number;
}

/** §4: p_block_desc. */
export interface BlockRangePacket {
  packet: 'P_OUT_OF_SYNC' | 'P_RS_DEALLOCATED';
  volume: number;
  sector: number;
  sizeBytes: number;
  pad?: number;
}

export interface UnplugPacket {
  packet: 'P_UNPLUG_REMOTE';
  volume: number;
}

/** §5.4. The number is opaque: only echoed and compared. */
export interface BarrierPacket {
  packet: 'P_BARRIER';
  volume: number;
  barrier: number;
  pad?: number;
}

// --- Bitmaps (bitmap-chunks.ts makes and reads these) ----------------------------------------------------------------

/** §6.2: whole 64-bit words, little-endian; empty as the terminator. */
export interface BitmapPacket {
  packet: 'P_BITMAP';
  volume: number;
  words: Uint8Array;
}

/** The code type in the encoding byte of P_COMPRESSED_BITMAP: run lengths in the variable-length code of §6.3, the only one. */
export const COMPRESSED_BITMAP_CODE = 2;

/** §6.3. */
export interface CompressedBitmapPacket {
  packet: 'P_COMPRESSED_BITMAP';
  volume: number;
  /** Polarity of the first run. */
  firstRunSet: boolean;
  /** Unused bits in the last byte of the code, 0..7. */
  padBits: number;
  code: Uint8Array;
}

// --- The meta stream -------------------------------------------------------------------------------------------------

/** §4: p_block_ack. `sizeBytes` is as sent: a kernel's P_NEG_ACK for a trim may hold 0 or a negative number's bits. */
export interface AckPacket {
  packet:
    | 'P_RECV_ACK'
    | 'P_WRITE_ACK'
    | 'P_RS_WRITE_ACK'
    | 'P_SUPERSEDED'
    | 'P_RETRY_WRITE'
    | 'P_NEG_ACK'
    | 'P_NEG_DREPLY'
    | 'P_NEG_RS_DREPLY'
    | 'P_OV_RESULT'
    | 'P_RS_IS_IN_SYNC'
    | 'P_RS_CANCEL';
  volume: number;
  sector: number;
  blockId: BlockId;
  sizeBytes: number;
  sequence: number;
}

export interface BarrierAckPacket {
  packet: 'P_BARRIER_ACK';
  volume: number;
  barrier: number;
  /** Number of writes of the epoch. */
  setSize: number;
}

export interface PingPacket {
  packet: 'P_PING' | 'P_PING_ACK';
  volume: number;
}

/** On either stream; nobody sends it, receivers discard it. */
export interface DelayProbePacket {
  packet: 'P_DELAY_PROBE';
  volume: number;
  sequence: number;
  offset: number;
}

export type Packet =
  | InitialPacket
  | FeaturesPacket
  | AuthChallengePacket
  | AuthResponsePacket
  | ProtocolPacket
  | SyncParamPacket
  | SyncParam89Packet
  | SizesPacket
  | UuidsPacket
  | StatePacket
  | StateRequestPacket
  | StateReplyPacket
  | SyncUuidPacket
  | EnableReplicationPacket
  | DataPacket
  | TrimPacket
  | WriteSamePacket
  | BlockRequestPacket
  | DigestPacket
  | BlockRangePacket
  | UnplugPacket
  | BarrierPacket
  | BitmapPacket
  | CompressedBitmapPacket
  | AckPacket
  | BarrierAckPacket
  | PingPacket
  | DelayProbePacket;

/** DRBD's name of a packet. */
export type PacketName = Packet['packet'];

/** The packet with this name: `PacketOf<'P_DATA'>`. */
export type PacketOf<Name extends PacketName> = Named<Packet, Name>;
type Named<Each, Name> = Each extends { packet: infer Names } ? (Name extends Names ? Each & { packet: Name } : never) : never;
