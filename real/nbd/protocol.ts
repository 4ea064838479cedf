/** Numbers of the NBD protocol: the fixed newstyle negotiation, commands, replies, errors. All integers on the wire are big-endian. */

export const NBD_MAGIC = 0x4e42444d41474943n;
export const OPTION_MAGIC = 0x49484156454f5054n;
export const OPTION_REPLY_MAGIC = 0x3e889045565a9n;
export const REQUEST_MAGIC = 0x25609513;
export const SIMPLE_REPLY_MAGIC = 0x67446698;
export const STRUCTURED_REPLY_MAGIC = 0x668e33ef;

export const HandshakeFlag = { FixedNewstyle: 1, NoZeroes: 2 } as const;

export const NbdOption = {
  ExportName: 1,
  Abort: 2,
  List: 3,
  StartTls: 5,
  Info: 6,
  Go: 7,
  StructuredReply: 8,
  ListMetaContext: 9,
  SetMetaContext: 10,
} as const;

export const OptionReply = {
  Ack: 1,
  Server: 2,
  Info: 3,
  MetaContext: 4,
  Unsupported: 0x80000001,
  Policy: 0x80000002,
  Invalid: 0x80000003,
  TlsRequired: 0x80000005,
  Unknown: 0x80000006,
  TooBig: 0x80000009,
} as const;

export const InfoType = { Export: 0, Name: 1, Description: 2, BlockSize: 3 } as const;

export const TransmissionFlag = {
  HasFlags: 1,
  SendFlush: 4,
  SendFua: 8,
  SendTrim: 32,
  SendWriteZeroes: 64,
  SendDf: 128,
  CanMultiConn: 256,
  SendFastZero: 2048,
} as const;

export const NbdCommand = { Read: 0, Write: 1, Disconnect: 2, Flush: 3, Trim: 4, WriteZeroes: 6, BlockStatus: 7 } as const;

export const CommandFlag = { Fua: 1, NoHole: 2, Df: 4, ReqOne: 8, FastZero: 16 } as const;

export const ReplyType = { None: 0, OffsetData: 1, BlockStatus: 5, Error: 0x8001 } as const;
export const REPLY_FLAG_DONE = 1;

export const NbdError = { Ok: 0, Permission: 1, Io: 5, Invalid: 22, NoSpace: 28, NotSupported: 95, Shutdown: 108 } as const;
export type NbdError = (typeof NbdError)[keyof typeof NbdError];

export const REQUEST_BYTES = 28;
/** The largest request that a client may make: what the protocol lets it take for granted. */
export const REQUEST_BYTES_MAX = 32 << 20;
/** A write of more than this is taken for a client that lost its way, and ends the connection. */
export const PAYLOAD_BYTES_MAX = 64 << 20;
