/**
 * The states of a node, with the numbers that the wire, the superblock and the rules share (node-states.md §1). The order
 * of the numbers is significant everywhere: comparisons like "disk >= Inconsistent" are on them.
 */

export const Role = { Unknown: 0, Primary: 1, Secondary: 2 } as const;
export type Role = (typeof Role)[keyof typeof Role];

export const Disk = {
  Diskless: 0,
  Attaching: 1,
  Failed: 2,
  Negotiating: 3,
  Inconsistent: 4,
  Outdated: 5,
  DUnknown: 6,
  Consistent: 7,
  UpToDate: 8,
} as const;
export type Disk = (typeof Disk)[keyof typeof Disk];

/** The combined connection and replication state of the 8.4 wire. Values below Connected belong to the connection, the others to a volume on it. */
export const Conn = {
  StandAlone: 0,
  Disconnecting: 1,
  Unconnected: 2,
  Timeout: 3,
  BrokenPipe: 4,
  NetworkFailure: 5,
  ProtocolError: 6,
  TearDown: 7,
  WFConnection: 8,
  WFReportParams: 9,
  Connected: 10,
  StartingSyncS: 11,
  StartingSyncT: 12,
  WFBitMapS: 13,
  WFBitMapT: 14,
  WFSyncUUID: 15,
  SyncSource: 16,
  SyncTarget: 17,
  VerifyS: 18,
  VerifyT: 19,
  PausedSyncS: 20,
  PausedSyncT: 21,
  Ahead: 22,
  Behind: 23,
} as const;
export type Conn = (typeof Conn)[keyof typeof Conn];

/** One volume as one node sees it with one peer: everything the rules of node-states.md look at, on one snapshot. */
export interface State {
  role: Role;
  /** The peer's role. */
  peer: Role;
  conn: Conn;
  disk: Disk;
  /** The peer's disk. */
  pdsk: Disk;
  /** Resync paused: waiting for another volume; by the peer; by the administrator. */
  aftrIsp: boolean;
  peerIsp: boolean;
  userIsp: boolean;
  /** I/O suspended: by the administrator; no data accessible; fencing. Resource-wide. */
  susp: boolean;
  suspNod: boolean;
  suspFen: boolean;
}

const nameOf = <T extends Record<string, number>>(names: T): ((value: number) => string) => {
  const byValue: string[] = [];
  for (const [name, value] of Object.entries(names)) byValue[value] = name;
  return (value) => byValue[value] ?? `?${value}`;
};

/** DRBD's display names. */
export const roleName = nameOf(Role);
export const diskName = nameOf(Disk);
export const connName = nameOf(Conn);

export const isSuspended = (state: Pick<State, 'susp' | 'suspNod' | 'suspFen'>): boolean =>
  state.susp || state.suspNod || state.suspFen;

/** SyncSource, SyncTarget, PausedSyncS, PausedSyncT (node-states.md §1, "sync state"). */
export const isSyncState = (conn: Conn): boolean =>
  conn === Conn.SyncSource || conn === Conn.SyncTarget || conn === Conn.PausedSyncS || conn === Conn.PausedSyncT;
