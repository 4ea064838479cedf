/**
 * Unexpected disconnects: two healthy nodes that nothing disturbs do not lose each other, and never accuse each other of
 * breaking the protocol; a node that stands alone has a reason that it says (bugs.md B198, B183: a wrong disconnect hides behind
 * a right end state).
 */

import { Conn, Disk, Role, connName } from '../../src/state/states.js';
import type { Checker, Setup, WorldView } from '../types.js';
import { type Decision, type Lineage, isRefusal, isSplitBrainDecision } from './lineage.js';

/**
 * What a fault may still cause after it ended: a link that was silent is probed after two ping-ints (20 s) at the latest, and
 * given up soon after.
 */
const FAULT_GRACE_US = 25_000_000;
/** An operator's disconnect asks the peer first; a refusal by rule drops the connection at once. */
const REASON_GRACE_US = 10_000_000;

/** A handshake that a rule aborts this way: a frozen Primary meets a peer that was restarted (wire-protocol.md §3.7 step 8). */
const ABORTED_BY_RULE = 'the peer was restarted while I/O was frozen';

/** The meta stream is far behind the data stream, which a link may do to them (timers-and-order.md §1.2, missing acks). */
const META_BEHIND = 'acknowledgements that a write of the peer comes after are missing';
/** data-integrity-alg at work; believed only of a link that did damage something. */
const DAMAGED = 'Digest integrity check FAILED';
/** on-congestion disconnect. */
const CONGESTED = 'the connection is congested';

/** What both sides compare when they meet. */
const comparedOptions = ['protocol', 'afterSb0Pri', 'afterSb1Pri', 'afterSb2Pri', 'dataIntegrityAlg', 'cramHmacAlg', 'sharedSecret'] as const;

const PARTING_VERBS = ['disconnect', 'down', 'del-resource', 'detach', 'options'];

export function unexpectedDisconnect(setup: Setup, lineage: Lineage): Checker {
  if (setup.expectations.unexpectedDisconnectsAllowed) return { property: 'unexpected-disconnect' };
  /** When an operator last parted the nodes, or a disk failed: a receiver that cannot flush gives the connection up. */
  let partedAtUs = -Infinity;
  /** Their commands that are not answered: a disconnect asks a peer that may be out of reach for as long as its link is cut. */
  const parting = new Map<string, Set<number>>();
  const mayGiveUp = setup.hosts.some(({ config }) => config.peers.some(({ net }) => net.onCongestion === 'disconnect'));

  const report = (detail: string, world: WorldView): void => world.report({ property: 'unexpected-disconnect', atUs: world.nowUs, detail });
  const hasReason = (world: WorldView): boolean => {
    const since = world.nowUs - REASON_GRACE_US;
    const ends = (decision: Decision): boolean => isRefusal(decision) || isSplitBrainDecision(decision);
    const isParting = [...parting.values()].some((commands) => commands.size > 0);
    return isParting || partedAtUs >= since || lineage.decisions.some((decision) => decision.atUs >= since && ends(decision));
  };

  return {
    property: 'unexpected-disconnect',
    onHost(host) {
      parting.delete(host);
    },
    onInput(host, input, world) {
      const parts = input.type === 'command' && PARTING_VERBS.includes(input.command.verb);
      if (parts) parting.set(host, (parting.get(host) ?? new Set()).add(input.id));
      if (parts || input.type === 'disk-failed') partedAtUs = world.nowUs;
    },
    onOutput(host, output, world) {
      if (output.type === 'reply' && parting.get(host)?.delete(output.command) === true) partedAtUs = world.nowUs;
      if (output.type !== 'observe') return;
      const { event } = output;
      if (event.event === 'connection-lost') {
        if (event.reason === 'ProtocolError' && event.detail === ABORTED_BY_RULE) world.reached('peer restarted while I/O was frozen');
        else if (/P_AUTH_/.test(event.detail) && differ(world)) world.reached('met with different options');
        else if (event.detail.startsWith(DAMAGED) && world.disturbed(host, event.peer, FAULT_GRACE_US)) world.reached('damaged data was refused');
        else if (event.reason === 'ProtocolError' && event.detail !== META_BEHIND) report(`${host} calls ${event.peer}'s bytes a protocol error: ${event.detail}`, world);
        else if (!hasReason(world) && !world.disturbed(host, event.peer, FAULT_GRACE_US)) {
          report(`${host} lost ${event.peer} (${event.reason}: ${event.detail}), though both are healthy and nothing disturbs them`, world);
        }
      }
      // Two Primaries that meet must not connect (node-states.md §3.2, first rule): both promoted while the link was away.
      if (event.event === 'state' && event.to.conn === Conn.Disconnecting && event.from.conn === Conn.WFReportParams && bothPrimary(world)) partedAtUs = world.nowUs;
      if (event.event === 'state' && event.to.conn === Conn.Disconnecting && event.reason === CONGESTED && mayGiveUp) {
        partedAtUs = world.nowUs;
        world.reached('connection given up for congestion');
      }
      if (event.event !== 'state' || event.to.conn !== Conn.StandAlone || event.from.conn === Conn.StandAlone) return;
      // A Primary without a disk, on whichever volume, meets another data generation than its applications have seen (generation-uuids.md §1).
      const volumes = lineage.hosts[lineage.hostPlace(host)]!.volumes;
      const otherData = event.from.role === Role.Primary && [...volumes.values()].some(({ disk }) => disk < Disk.Inconsistent);
      if (differ(world)) return world.reached('met with different options');
      if (hasReason(world) || otherData) return;
      report(`${host} stands alone after ${connName(event.from.conn as Conn)} and no rule or operator says why (${event.reason})`, world);
    },
  };
}

/** Have operators changed one node only, so far? (after-sb-0pri is mirrored, and other pairs of different values are none.) */
const differ = ({ hosts }: WorldView): boolean =>
  comparedOptions.some((option) => {
    const [one, other] = hosts.map(({ config }) => config.peers[0]!.net[option]);
    return one !== other && !(String(one).startsWith('discard-') && String(other).startsWith('discard-') && hosts.every(({ config, spec }) => config === spec.config));
  });

const bothPrimary = (world: WorldView): boolean =>
  world.hosts.every(({ node }) => node?.resources().some(({ volumes }) => volumes.some(({ peers }) => peers.some(({ state }) => state.role === Role.Primary))));
