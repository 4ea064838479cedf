/**
 * Membership: the heartbeat of one resource between its machines, and the wish to take over from a Primary that fell silent.
 *
 * It only ever asks. What it asks for is an ordinary `primary`, never with force: the promotion itself fences the peer where
 * fencing is on, and is refused when the fence handler fails, when the peer turns out to be alive, or when the disk is not
 * good enough (node-states.md §8.6). So a survivor is promoted after fencing, and never without it where fencing is on.
 *
 * It asks only when it knows something: the peer was Primary when it was last heard, and has been silent for the dead time.
 * Hence not after a restart before a first heartbeat, not when nobody was Primary, and not because this machine itself slept
 * (a late alarm says nothing about the peer: the silence is measured anew).
 *
 * The functions change the state that they are given, in place. Times are integer microseconds of the node's own clock.
 */

import type { MembershipConfig } from '../config/types.js';
import { Role } from '../state/states.js';
import { decodeHeartbeat, encodeHeartbeat } from './heartbeat.js';

export interface MembershipState {
  resource: string;
  intervalUs: number;
  deadTimeUs: number;
  /** In configuration order. */
  peers: Map<string, MemberState>;
  nextSendUs: number;
  /** The role in the last heartbeat sent; Unknown before any. */
  announcedRole: Role;
  /** The deadline given last: an alarm much later than that means that this machine stood still. */
  alarmUs: number;
  /** Not before then is a refused promotion asked for again. */
  promoteAfterUs: number;
}

export interface MemberState {
  /** Role when last heard; Unknown: never heard since the start, or its death was answered by a promotion. */
  role: Role;
  /** Silent since then. */
  heardUs: number;
  alive: boolean;
}

export interface MembershipWish {
  /** A heartbeat, for every peer. */
  send?: Uint8Array;
  /** Ask for `primary`, without force. */
  promote?: true;
  /** Peers that were declared dead now, for the log. */
  died: string[];
  /** Call `onTimer` again by then; earlier does no harm. */
  nextDeadlineUs: number;
}

const US_PER_MS = 1000;

export const newMembership = (resource: string, peers: readonly string[], config: MembershipConfig, nowUs: number): MembershipState => ({
  resource,
  intervalUs: config.intervalMs * US_PER_MS,
  deadTimeUs: config.deadTimeMs * US_PER_MS,
  peers: new Map(peers.map((peer) => [peer, { role: Role.Unknown, heardUs: nowUs, alive: false }])),
  nextSendUs: nowUs,
  announcedRole: Role.Unknown,
  alarmUs: nowUs,
  promoteAfterUs: nowUs,
});

/** Other intervals while it runs: what is known of the peers stays known. */
export const changeMembership = (
  state: MembershipState | undefined,
  resource: string,
  peers: readonly string[],
  config: MembershipConfig | undefined,
  nowUs: number,
): MembershipState | undefined => {
  if (config === undefined) return undefined;
  const fresh = newMembership(resource, peers, config, nowUs);
  return state === undefined ? fresh : { ...state, intervalUs: fresh.intervalUs, deadTimeUs: fresh.deadTimeUs };
};

/** A datagram came from machine `from`. Returns whether it was a heartbeat of this resource from one of its peers. */
export const onHeartbeat = (state: MembershipState, nowUs: number, from: string, bytes: Uint8Array): boolean => {
  const member = state.peers.get(from);
  const heartbeat = decodeHeartbeat(bytes);
  if (member === undefined || heartbeat === undefined || heartbeat.resource !== state.resource) return false;
  member.role = heartbeat.role;
  member.heardUs = nowUs;
  member.alive = true;
  return true;
};

/**
 * The alarm rang, or this node's role changed (a change is announced at once). `ownRole` is the role of this node now.
 */
export const onTimer = (state: MembershipState, nowUs: number, ownRole: Role): MembershipWish => {
  const members = [...state.peers];
  const stoodStill = nowUs > state.alarmUs + state.intervalUs;
  if (stoodStill) state.promoteAfterUs = Math.max(state.promoteAfterUs, nowUs + state.deadTimeUs);
  const died: string[] = [];
  for (const [peer, member] of members) {
    if (stoodStill) member.heardUs = nowUs;
    if (member.alive && nowUs >= member.heardUs + state.deadTimeUs) {
      member.alive = false;
      died.push(peer);
    }
    // Whoever is Primary has answered every death so far: a later demotion is an operator's wish, not to be undone.
    if (!member.alive && ownRole === Role.Primary) member.role = Role.Unknown;
  }

  const wish: MembershipWish = { died, nextDeadlineUs: 0 };
  if (nowUs >= state.nextSendUs || ownRole !== state.announcedRole) {
    wish.send = encodeHeartbeat({ resource: state.resource, role: ownRole });
    state.announcedRole = ownRole;
    state.nextSendUs = nowUs + state.intervalUs;
  }

  const primaryDied = members.some(([, member]) => !member.alive && member.role === Role.Primary);
  const primaryLives = members.some(([, member]) => member.alive && member.role === Role.Primary);
  if (ownRole === Role.Secondary && primaryDied && !primaryLives && nowUs >= state.promoteAfterUs) {
    wish.promote = true;
    state.promoteAfterUs = nowUs + state.deadTimeUs;
  }

  const deaths = members.filter(([, member]) => member.alive).map(([, member]) => member.heardUs + state.deadTimeUs);
  wish.nextDeadlineUs = Math.min(state.nextSendUs, ...deaths);
  state.alarmUs = wish.nextDeadlineUs;
  return wish;
};
