/**
 * Every way in which a state change or a configuration request can end, with DRBD's numbers (node-states.md §2). State-change
 * texts are DRBD's own (tools print them after "State change failed: (n) "). Configuration texts are in this project's words,
 * except 162, which is recorded in the captures: the tools look at the number.
 */

export const ReturnCode = {
  /** No consent of the peer was needed after all. */
  CwNoNeed: 4,
  /** The peer consented. */
  CwSuccess: 3,
  NothingToDo: 2,
  Success: 1,
  /** Internal: keep waiting for the peer's answer. */
  UnknownError: 0,
  TwoPrimaries: -1,
  NoUpToDateDisk: -2,
  NoLocalDisk: -4,
  NoRemoteDisk: -5,
  ConnectedOutdates: -6,
  PrimaryNop: -7,
  ResyncRunning: -8,
  AlreadyStandAlone: -9,
  CwFailedByPeer: -10,
  IsDiskless: -11,
  DeviceInUse: -12,
  NoNetConfig: -13,
  NoVerifyAlg: -14,
  NeedConnection: -15,
  LowerThanOutdated: -16,
  NotSupported: -17,
  InTransientState: -18,
  ConcurrentStateChange: -19,
  OtherVolumePeerPrimary: -20,
  OutdateWithoutConnection: -21,
} as const;
export type ReturnCode = (typeof ReturnCode)[keyof typeof ReturnCode];

/** Any code >= 1 is success, 0 and below is not (wire-protocol.md §3.8). */
export const isSuccess = (code: number): boolean => code >= ReturnCode.Success;

const returnTexts: Record<ReturnCode, string> = {
  [ReturnCode.CwNoNeed]: '',
  [ReturnCode.CwSuccess]: '',
  [ReturnCode.NothingToDo]: '',
  [ReturnCode.Success]: '',
  [ReturnCode.UnknownError]: '',
  [ReturnCode.TwoPrimaries]: 'Multiple primaries not allowed by config',
  [ReturnCode.NoUpToDateDisk]: 'Need access to UpToDate data',
  [ReturnCode.NoLocalDisk]: 'Can not resync without local disk',
  [ReturnCode.NoRemoteDisk]: 'Can not resync without remote disk',
  [ReturnCode.ConnectedOutdates]: 'Refusing to be Outdated while Connected',
  [ReturnCode.PrimaryNop]: 'Refusing to be Primary while peer is not outdated',
  [ReturnCode.ResyncRunning]: 'Can not start OV/resync since it is already active',
  [ReturnCode.AlreadyStandAlone]: 'Can not disconnect a StandAlone device',
  [ReturnCode.CwFailedByPeer]: 'State change was refused by peer node',
  [ReturnCode.IsDiskless]: 'Device is diskless, the requested operation requires a disk',
  [ReturnCode.DeviceInUse]: 'Device is held open by someone',
  [ReturnCode.NoNetConfig]: 'Have no net/connection configuration',
  [ReturnCode.NoVerifyAlg]: 'Need a verify algorithm to start online verify',
  [ReturnCode.NeedConnection]: 'Need a connection to start verify or resync',
  [ReturnCode.LowerThanOutdated]: 'Disk state is lower than outdated',
  [ReturnCode.NotSupported]: 'Peer does not support protocol',
  [ReturnCode.InTransientState]: 'In transient state, retry after next state change',
  [ReturnCode.ConcurrentStateChange]: 'Concurrent state changes detected and aborted',
  [ReturnCode.OtherVolumePeerPrimary]: 'Other vol primary on peer not allowed by config',
  [ReturnCode.OutdateWithoutConnection]: 'Need a connection for a graceful disconnect/outdate peer',
};

/** DRBD's text of a state-change code; empty for success, "Unknown return code" for a number that no rule gives (a peer may send any). */
export const returnText = (code: number): string => returnTexts[code as ReturnCode] ?? 'Unknown return code';

/** Results of configuration requests (node-states.md §2, "Configuration result codes"): those that this core can give. */
export const ConfigCode = {
  Ok: 101,
  LocalAddressInUse: 102,
  PeerAddressInUse: 103,
  CannotOpenDisk: 104,
  CannotOpenMetaDisk: 105,
  DiskTooSmall: 111,
  MetaDiskTooSmall: 112,
  BadIndexCombination: 116,
  MetaIoError: 118,
  NoValidMetadata: 119,
  UnknownAuthAlg: 120,
  DiscardMyDataWhilePrimary: 123,
  AlreadyAttached: 124,
  AlreadyHasNetConfig: 125,
  InvalidAttribute: 126,
  UnknownMinor: 127,
  Interrupted: 129,
  PauseAlreadySet: 134,
  PauseAlreadyCleared: 135,
  NoDisk: 138,
  NeedsProtocolC: 139,
  UnknownIntegrityAlg: 141,
  NotTheDataWeLost: 150,
  MustBeStandAlone: 151,
  StonithWithProtocolA: 154,
  PausedByDependency: 156,
  PausedByPeer: 157,
  UnknownResource: 158,
  ResourceInUse: 159,
  MinorStillConfigured: 160,
  MinorExists: 161,
  InvalidRequest: 162,
  NeedsProtocol100: 163,
  TwoPrimariesPresent: 164,
  MetadataUnclean: 165,
  ImplicitShrink: 170,
} as const;
export type ConfigCode = (typeof ConfigCode)[keyof typeof ConfigCode];

const configTexts: Record<ConfigCode, string> = {
  [ConfigCode.Ok]: '',
  [ConfigCode.LocalAddressInUse]: 'The local address is already in use',
  [ConfigCode.PeerAddressInUse]: "The peer's address is already in use",
  [ConfigCode.CannotOpenDisk]: 'Cannot open the backing device',
  [ConfigCode.CannotOpenMetaDisk]: 'Cannot open the metadata device',
  [ConfigCode.DiskTooSmall]: 'The backing device is too small',
  [ConfigCode.MetaDiskTooSmall]: 'The metadata device is too small',
  [ConfigCode.BadIndexCombination]: 'This metadata index does not fit that metadata device',
  [ConfigCode.MetaIoError]: 'I/O error while accessing the metadata',
  [ConfigCode.NoValidMetadata]: 'No valid metadata found',
  [ConfigCode.UnknownAuthAlg]: 'There is no such cram-hmac-alg',
  [ConfigCode.DiscardMyDataWhilePrimary]: 'discard-my-data is not possible while Primary',
  [ConfigCode.AlreadyAttached]: 'A disk is attached already',
  [ConfigCode.AlreadyHasNetConfig]: 'There is a net configuration already (not StandAlone)',
  [ConfigCode.InvalidAttribute]: 'An option is missing or has an impossible value',
  [ConfigCode.UnknownMinor]: 'There is no such minor or volume',
  [ConfigCode.Interrupted]: 'The request was interrupted',
  [ConfigCode.PauseAlreadySet]: 'The resync is paused already',
  [ConfigCode.PauseAlreadyCleared]: 'The resync is not paused',
  [ConfigCode.NoDisk]: 'This needs an attached disk',
  [ConfigCode.NeedsProtocolC]: 'This needs protocol C',
  [ConfigCode.UnknownIntegrityAlg]: 'There is no such data-integrity-alg',
  [ConfigCode.NotTheDataWeLost]: 'This disk does not hold the data that was lost',
  [ConfigCode.MustBeStandAlone]: 'The connection must be StandAlone',
  [ConfigCode.StonithWithProtocolA]: 'fencing resource-and-stonith cannot be combined with protocol A',
  [ConfigCode.PausedByDependency]: 'The resync is paused by a dependency',
  [ConfigCode.PausedByPeer]: 'The resync is paused by the peer',
  [ConfigCode.UnknownResource]: 'There is no such resource',
  [ConfigCode.ResourceInUse]: 'The resource is still in use',
  [ConfigCode.MinorStillConfigured]: 'The minor is still configured',
  [ConfigCode.MinorExists]: 'The minor or volume exists already',
  [ConfigCode.InvalidRequest]: 'Invalid configuration request',
  [ConfigCode.NeedsProtocol100]: 'This needs a peer that speaks protocol 100 or newer',
  [ConfigCode.TwoPrimariesPresent]: 'There are two primaries: allow-two-primaries cannot be taken back now',
  [ConfigCode.MetadataUnclean]: 'The metadata is unclean: its activity log must be applied first',
  [ConfigCode.ImplicitShrink]: 'Attaching this would shrink a device that holds consistent data',
};

export const configText = (code: ConfigCode): string => configTexts[code];
