/**
 * Options of a running resource: what an operator changes (`options`: drbdsetup's disk-options, net-options and resource-options in
 * one), and what the peer changes for both (P_PROTOCOL_UPDATE, wire-protocol.md §3.4). What a resource is made of stays. Each
 * option counts from its next use on; al-extents from the next attach on.
 */

import { checkAlgorithms, checkConfig, checkOnlineChange } from '../config/check.js';
import type { DiskOptions } from '../config/types.js';
import { expectReceived, protectSent } from '../connection/integrity.js';
import { loseConnection, refuseConnection } from '../connection/loss.js';
import { adoptedOptions, protocolPacket, syncParamPacket } from '../connection/parameters.js';
import { sendPacket } from '../connection/send.js';
import { changeMembership } from '../membership/membership.js';
import { log, signal, type Core } from '../model/core.js';
import type { Connection, Procedure, Resource } from '../model/types.js';
import { anyPeerIs, deviceOf } from '../model/view.js';
import { ConfigCode } from '../state/refusals.js';
import { Conn, Role } from '../state/states.js';
import type { ProtocolPacket } from '../wire/packets.js';
import { watchDisk } from './disk-age.js';
import { finish, wait, type CommandOf } from './procedures.js';
import { startRequestTimer } from './request-age.js';
import { checkResyncAfter } from './resync-after.js';

/** Below this the options that both sides compare cannot change on a connection (163). */
const UPDATE_PROTOCOL = 100;

export const changeOptions = (core: Core, resource: Resource, procedure: Procedure, what: CommandOf<'options'>): void => {
  const connections = [...resource.connections.values()];
  // The peer's P_PROTOCOL, which answers what we sent, is still to come and would be compared with something else.
  if (connections.some(({ stateSent, loss }) => stateSent && !loss)) return wait(procedure, 'state', 0);
  const wanted = what.config;
  const agreed = connections.filter(isLive).map(({ protocolVersion }) => protocolVersion);
  const refusal =
    checkConfig(wanted) ??
    checkAlgorithms(wanted, core.environment) ??
    checkOnlineChange(resource.config, wanted, agreed.length > 0 ? Math.min(...agreed) : undefined, hasTwoPrimaries(resource));
  if (refusal) return finish(core, resource, procedure, refusal.code);
  const isChanged = (option: 'verifyAlg' | 'csumsAlg'): boolean => wanted.peers.some(({ name, net }) => resource.connections.get(name)!.config.net[option] !== net[option]);
  if (isChanged('csumsAlg') && connections.some((connection) => isResyncing(resource, connection))) return finish(core, resource, procedure, ConfigCode.CsumsResyncRunning);
  if (isChanged('verifyAlg') && connections.some((connection) => isVerifying(resource, connection))) return finish(core, resource, procedure, ConfigCode.VerifyRunning);
  const circle = circleOf(core, resource, wanted);
  if (circle !== undefined) return finish(core, resource, procedure, circle);
  // What the log on disk says of a crashed Primary would be of another time (bug B067).
  const isLogSwitched = wanted.volumes.some(({ volume, disk }) => {
    const present = resource.volumes.get(volume)!;
    return present.backing !== undefined && present.config.disk.alUpdates !== disk.alUpdates;
  });
  if (isLogSwitched) return finish(core, resource, procedure, ConfigCode.InvalidRequest);
  apply(core, resource, wanted);
  finish(core, resource, procedure, ConfigCode.Ok);
};

const hasTwoPrimaries = (resource: Resource): boolean =>
  resource.role === Role.Primary && [...resource.volumes.values()].some((volume) => anyPeerIs(volume, Role.Primary));

/** A verify runs, or the peer was asked for one. */
const isVerifying = (resource: Resource, { peer, request }: Connection): boolean =>
  request?.change.conn === Conn.VerifyS || [...resource.volumes.values()].some((volume) => deviceOf(volume, peer).verify !== undefined);

const isResyncing = (resource: Resource, { peer }: Connection): boolean =>
  [...resource.volumes.values()].some((volume) => deviceOf(volume, peer).resync !== undefined);

const isLive = ({ cstate, loss }: Connection): boolean => cstate >= Conn.WFReportParams && !loss;

const isSame = (one: unknown, other: unknown): boolean => JSON.stringify(one) === JSON.stringify(other);

/** Judged with all of them in place: the volumes of a resource may change together. Whoever has no disk is judged when it is attached. */
const circleOf = (core: Core, resource: Resource, wanted: Resource['config']): ConfigCode | undefined => {
  const volumes = [...resource.volumes.values()];
  const before = volumes.map(({ config }) => config);
  for (const config of wanted.volumes) resource.volumes.get(config.volume)!.config = config;
  const attached = volumes.filter(({ backing }) => backing !== undefined);
  const circle = attached.map((volume) => checkResyncAfter(core.state, volume, volume.config.disk.resyncAfter)).find((code) => code !== undefined);
  volumes.forEach((volume, index) => (volume.config = before[index]!));
  return circle;
};

const apply = (core: Core, resource: Resource, wanted: Resource['config']): void => {
  const before = resource.config;
  resource.config = wanted;
  const told = new Set<number>();
  for (const config of wanted.volumes) {
    const volume = resource.volumes.get(config.volume)!;
    if (!isSame(numbersOf(volume.config.disk), numbersOf(config.disk))) told.add(volume.number);
    volume.config = config;
    watchDisk(core, volume);
  }
  for (const peer of wanted.peers) {
    const connection = resource.connections.get(peer.name)!;
    const isChanged = !isSame(connection.config.net, peer.net);
    connection.config = peer;
    // None runs where ko-count was 0.
    if (isLive(connection)) startRequestTimer(core, connection);
    if (isLive(connection)) announce(core, resource, connection, isChanged, told);
  }
  if (!isSame(before.membership, wanted.membership)) {
    resource.membership = changeMembership(resource.membership, resource.name, [...resource.connections.keys()], wanted.membership, core.nowUs);
  }
  // max-buffers may have grown.
  for (const volume of resource.volumes.values()) signal(core, { signal: 'admission', resource: resource.name, volume: volume.number });
};

/** What P_SYNC_PARAM tells the peer: whoever spoke last sets them for both (§3.5). */
const numbersOf = ({ resyncRate, cPlanAhead, cDelayTarget, cFillTarget, cMaxRate }: DiskOptions): number[] => [resyncRate, cPlanAhead, cDelayTarget, cFillTarget, cMaxRate];

/** What we send is protected by the new algorithm from right behind this packet on. */
const announce = (core: Core, resource: Resource, connection: Connection, isChanged: boolean, told: ReadonlySet<number>): void => {
  if (isChanged && connection.protocolVersion >= UPDATE_PROTOCOL) {
    const packet = protocolPacket(connection);
    sendPacket(core, connection, { ...packet, packet: 'P_PROTOCOL_UPDATE', connFlags: 0 });
    protectSent(core, connection, packet.integrityAlg ?? '');
  }
  for (const volume of resource.volumes.values()) {
    if (isChanged || told.has(volume.number)) sendPacket(core, connection, syncParamPacket(connection, volume));
  }
};

/** P_PROTOCOL_UPDATE: the peer's operator has changed what both sides must have alike. Ours is asked only about what we cannot do. */
export const receiveProtocolUpdate = (core: Core, connection: Connection, packet: ProtocolPacket): void => {
  const adopted = adoptedOptions(packet);
  if (connection.protocolVersion < UPDATE_PROTOCOL || adopted === undefined) {
    return loseConnection(core, connection, 'ProtocolError', 'P_PROTOCOL_UPDATE with options that nobody has');
  }
  if (!expectReceived(core, connection, packet.integrityAlg ?? '')) {
    return refuseConnection(core, connection, `data-integrity-alg ${packet.integrityAlg} is not available`);
  }
  const { net } = connection.config;
  if (adopted.protocol !== net.protocol) log(core, connection.resource, 'info', `the peer goes on with protocol ${adopted.protocol} instead of ${net.protocol}`);
  Object.assign(net, adopted);
  // Refused together (155), and it has nothing to do any more.
  if (net.protocol !== 'A') net.onCongestion = 'block';
};
