/** A resource comes into being from its configuration, Secondary, Diskless, StandAlone; and goes again (drbdadm new-resource, down). */

import type { ResourceConfig } from '../config/types.js';
import { newSession } from '../connection/establish.js';
import { newMembership } from '../membership/membership.js';
import type { Core } from '../model/core.js';
import type { Connection, PeerDevice, Resource, Volume } from '../model/types.js';
import { newSender } from '../replication/epochs.js';
import { newReceiver } from '../replication/receiver.js';
import { Conn, Disk, Role } from '../state/states.js';

/** The core's own copy: options change under way (the peer's resync numbers), and what a driver hands over stays the driver's. */
export const copyConfig = (config: ResourceConfig): ResourceConfig => ({
  ...config,
  volumes: config.volumes.map((volume) => ({ ...volume, disk: { ...volume.disk }, metaDisk: { ...volume.metaDisk } })),
  peers: config.peers.map((peer) => ({ ...peer, net: { ...peer.net } })),
  handlers: [...config.handlers],
  ...(config.membership && { membership: { ...config.membership } }),
});

const newPeerDevice = (peer: string): PeerDevice => ({
  peer,
  repl: Conn.StandAlone,
  role: Role.Unknown,
  pdsk: Disk.DUnknown,
  aftrIsp: false,
  peerIsp: false,
  userIsp: false,
  bitmap: undefined,
  peerUuids: undefined,
  peerDiskSectors: 0,
  bitsSent: 0,
  toldCurrent: 0n,
  considerResync: false,
  generationDueOnWrite: false,
  toldToSkip: false,
  negotiation: undefined,
  sequence: 0,
  batchedWrites: 0,
  peerSequence: 0,
  reads: new Map(),
  bitmapReceiver: undefined,
  sizesAsked: undefined,
  hasNewPart: false,
  grownWhileConnecting: false,
  isMadeAnew: false,
  earlySyncUuid: undefined,
  resync: undefined,
  verify: undefined,
  verifyFromSector: 0,
  hasUnannouncedMarks: false,
  staleRequests: [],
  beforeResync: undefined,
  hasStaleDigests: false,
});

/** `config` must have passed `checkConfig`. */
export const newResource = (core: Core, config: ResourceConfig): Resource => {
  const volumes = new Map<number, Volume>();
  for (const volume of [...config.volumes].sort((one, other) => one.volume - other.volume)) {
    volumes.set(volume.volume, {
      resource: config.resource,
      number: volume.volume,
      config: volume,
      disk: Disk.Diskless,
      sizeSectors: 0,
      openers: [],
      backing: undefined,
      attachments: 0,
      peers: new Map(config.peers.map(({ name }) => [name, newPeerDevice(name)])),
      exposedUuid: 0n,
      answeredWithoutDisk: false,
      newCurrentUuidDue: false,
      generationPending: false,
      leftBehind: false,
      crashedPrimary: false,
      holds: [],
      resizing: false,
      waiting: [],
      admits: true,
      waitingPeerWrites: [],
      intervals: [],
      lastInterval: 0,
      readThere: false,
      writesInFlight: 0,
      applicationSectors: 0,
    });
  }
  const connections = new Map<string, Connection>();
  for (const peer of config.peers) {
    connections.set(peer.name, {
      resource: config.resource,
      peer: peer.name,
      config: peer,
      cstate: Conn.StandAlone,
      session: newSession(),
      protocolVersion: 0,
      features: 0,
      resolveConflicts: false,
      parametersDue: false,
      stateSent: false,
      connectCount: 0,
      discardMyData: false,
      tentative: false,
      peerDiscardsData: false,
      peerDryRun: false,
      loss: undefined,
      request: undefined,
      replyDue: undefined,
      sender: newSender(),
      receiver: newReceiver(),
    });
  }
  const peers = config.peers.map(({ name }) => name);
  return {
    name: config.resource,
    config,
    role: Role.Secondary,
    susp: false,
    suspNod: false,
    suspFen: false,
    volumes,
    connections,
    log: { requests: new Map(), epoch: 0, epochWrites: 0 },
    worker: [],
    workerWaits: false,
    procedures: new Map(),
    lastProcedure: 0,
    membership: config.membership && newMembership(config.resource, peers, config.membership, core.nowUs),
    fencing: undefined,
  };
};

/** Nothing of it is in use: Secondary, diskless, StandAlone. */
export const isIdle = (resource: Resource): boolean =>
  resource.role === Role.Secondary &&
  [...resource.volumes.values()].every(({ disk, backing }) => disk === Disk.Diskless && !backing) &&
  [...resource.connections.values()].every(({ cstate }) => cstate === Conn.StandAlone);
