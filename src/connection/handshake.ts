/**
 * The features exchange on a new pair of streams (wire-protocol.md §3.2): which protocol version and which features both
 * sides have. Nothing else is accepted before it (B181). Then, if it is configured, authentication; then the session is up.
 */

import type { ResourceConfig } from '../config/types.js';
import { assert, emit, mustGet, signal } from '../model/core.js';
import type { Core } from '../model/core.js';
import { clearTimer, setTimer } from '../model/timers.js';
import type { Connection } from '../model/types.js';
import { isWireError } from '../wire/errors.js';
import { FeatureFlag } from '../wire/packets.js';
import type { FeaturesPacket, PacketOf } from '../wire/packets.js';
import { pullPacket } from '../wire/reassembly.js';
import { continueAuthentication, startAuthentication } from './authenticate.js';
import { loseConnection, refuseConnection } from './loss.js';
import { handshakeUs } from './periods.js';
import { queuePacket } from './send.js';
import { closeStream, signalPackets, unreadBytes } from './streams.js';

/** What we announce: only what is there. FF_WSAME stands for the limits in P_SIZES, for large discards and for comparison rule 41. */
export const OWN_FEATURES: number = FeatureFlag.FF_TRIM | FeatureFlag.FF_THIN_RESYNC | FeatureFlag.FF_WSAME | FeatureFlag.FF_WZEROES;

const featuresOf = ({ features }: Pick<ResourceConfig, 'features'>): number => OWN_FEATURES & (features ?? OWN_FEATURES);

/** From this protocol_max on the peer is DRBD 9 (wire-protocol.md §13.7). */
const DRBD_9_PROTOCOL_MAX = 110;
export const isDrbd9 = (peerProtocolMax: number): boolean => peerProtocolMax >= DRBD_9_PROTOCOL_MAX;

/** The pair of streams is complete and has stayed: nobody else is let in, and our features go out. */
export function startHandshake(core: Core, connection: Connection): void {
  const { session } = connection;
  assert(session.phase === 'checking' && session.data !== undefined, 'a handshake needs a pair of streams');
  for (const stream of session.unnamed) closeStream(core, stream.id);
  session.unnamed = [];
  clearTimer(core, 'first-packet', connection.resource, connection.peer, -1);
  emit(core, { type: 'stop-listening', resource: connection.resource, peer: connection.peer });
  session.phase = 'handshake';
  queuePacket(core, connection, session.data, featuresPacket(configOf(core, connection)));
  setTimer(core, 'handshake', connection.resource, connection.peer, -1, handshakeUs(connection));
  continueHandshake(core, connection);
}

/** Reads what is there of the peer's part; the end of it is `streams-ready`. */
export function continueHandshake(core: Core, connection: Connection): void {
  const { session } = connection;
  if (session.phase === 'handshake') readFeatures(core, connection);
  if (session.phase === 'authentication' && continueAuthentication(core, connection)) becomeUp(core, connection);
}

/** Both streams change to the agreed header form. */
function readFeatures(core: Core, connection: Connection): void {
  const { session } = connection;
  const { data } = session;
  assert(data !== undefined && session.meta !== undefined, 'a handshake has both streams');
  if (session.isOver) return;
  const packet = pullPacket(data.decoder, session.receiving, data.chunk);
  if (packet === undefined) return;
  if (isWireError(packet)) {
    // A node that talks only newer versions begins with a header that we do not know (§13): that is tried again, as in the kernel.
    if (packet.error === 'bad-magic') loseConnection(core, connection, 'ProtocolError', packet.detail);
    else refuseConnection(core, connection, `instead of the features packet: ${packet.detail}`);
    return;
  }
  if (packet.packet !== 'P_CONNECTION_FEATURES') {
    refuseConnection(core, connection, `instead of the features packet: ${packet.packet}`);
    return;
  }
  const config = configOf(core, connection);
  const agreed = negotiate(config, packet);
  if ('refusal' in agreed) {
    refuseConnection(core, connection, agreed.refusal);
    return;
  }
  const obstacle = unfit(connection, config, agreed.version);
  if (obstacle !== undefined) {
    refuseConnection(core, connection, obstacle);
    return;
  }
  connection.protocolVersion = agreed.version;
  connection.features = agreed.features;
  session.peerProtocolMax = packet.protocolMax;
  session.sending = { apv: agreed.version, features: agreed.features, digestBytes: 0 };
  session.receiving = { apv: agreed.version, features: agreed.features, digestBytes: 0 };
  if (connection.config.net.cramHmacAlg === '') becomeUp(core, connection);
  else startAuthentication(core, connection);
}

function becomeUp(core: Core, connection: Connection): void {
  const { session } = connection;
  const { data, meta } = session;
  assert(data !== undefined && meta !== undefined, 'a handshake has both streams');
  clearTimer(core, 'handshake', connection.resource, connection.peer, -1);
  session.phase = 'up';
  signal(core, { signal: 'streams-ready', resource: connection.resource, peer: connection.peer });
  if (unreadBytes(data) + unreadBytes(meta) > 0) signalPackets(core, connection);
}

export type Agreement = { version: number; features: number } | { refusal: string };

/**
 * What two nodes agree on. Only the maxima are compared, and each side computes the same; a result outside of a range means that
 * one of them is no range. No overlap ends StandAlone.
 */
export function negotiate(own: Pick<ResourceConfig, 'protocolMin' | 'protocolMax' | 'features'>, peer: FeaturesPacket): Agreement {
  const peerMax = peer.protocolMax === 0 ? peer.protocolMin : peer.protocolMax;
  const version = Math.min(own.protocolMax, peerMax);
  if (version < own.protocolMin || version < peer.protocolMin) {
    return { refusal: `no common protocol version: ours ${own.protocolMin}-${own.protocolMax}, the peer's ${peer.protocolMin}-${peerMax}` };
  }
  if (version >= 95 && version <= 99 && isDrbd9(peerMax)) {
    return { refusal: `protocol ${version} does not work with DRBD 9 (it refuses the small header of 95-99)` };
  }
  return { version, features: featuresOf(own) & peer.flags };
}

/** Why this resource cannot be served at an agreed version, or undefined. */
function unfit(connection: Connection, config: ResourceConfig, version: number): string | undefined {
  const volume = config.volumes.find((candidate) => candidate.volume !== 0);
  if (version < 100 && volume !== undefined) return `protocol ${version} knows only volume 0, this resource has volume ${volume.volume}`;
  if (version < 92 && connection.tentative) return `protocol ${version} knows no dry run`;
  return undefined;
}

const featuresPacket = (config: ResourceConfig): PacketOf<'P_CONNECTION_FEATURES'> => ({
  packet: 'P_CONNECTION_FEATURES',
  volume: 0,
  protocolMin: config.protocolMin,
  protocolMax: config.protocolMax,
  flags: featuresOf(config),
  senderNodeId: 0,
  receiverNodeId: 0,
});

const configOf = (core: Core, connection: Connection): ResourceConfig =>
  mustGet(core.state.resources, connection.resource, 'resource').config;
