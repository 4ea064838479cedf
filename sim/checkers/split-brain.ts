/**
 * Split brain: histories that parted are detected when the nodes meet, and never merged silently; and nodes that did not
 * part are not accused of it (I4). Parted means that each side acknowledged writes which the other lacks. Nor is a machine called dead that lives.
 */

import { Disk } from '../../src/state/states.js';
import type { Checker, FaultKind, Setup, WorldView } from '../types.js';
import { recordOf } from '../ghost.js';
import { type Lineage, isSplitBrainDecision } from './lineage.js';
import { volumeView } from './marks.js';

/** What keeps a living machine from being heard. */
const deafening: readonly FaultKind[] = ['cut', 'stall', 'slow-link', 'slow-clock'];

export function splitBrain(setup: Setup, lineage: Lineage): Checker {
  /** Since when each host is up. */
  const bootedUs = setup.hosts.map(() => 0);
  /** Machines that could be heard as long as they ran: whoever calls one of them dead was not listening, and would take over beside it. */
  const audible = setup.schedule.some(({ action }) => deafening.includes(action.do))
    ? []
    : setup.hosts.map(({ name }) => name).filter((name) => !setup.schedule.some(({ action }) => action.do === 'pause' && action.host === name));
  /** Meetings of parted nodes whose decision may still be among the outputs of this moment. */
  const meetings: { atUs: number; volume: number; decisionsBefore: number; detail: string }[] = [];
  let judged = 0;

  const settle = (world: WorldView): void => {
    while (meetings.length > 0 && meetings[0]!.atUs < world.nowUs) {
      const meeting = meetings.shift()!;
      const since = lineage.decisions.slice(meeting.decisionsBefore);
      const noticed = since.some((decision) => decision.volume === meeting.volume && isSplitBrainDecision(decision));
      if (!noticed) world.report({ property: 'split-brain', atUs: meeting.atUs, detail: meeting.detail });
    }
    for (; judged < lineage.decisions.length; judged++) {
      const decision = lineage.decisions[judged]!;
      if (isSplitBrainDecision(decision)) world.reached('split brain detected');
    }
  };

  lineage.onMeeting.push((host, volume, world) => {
    const ghost = recordOf(world.ghost);
    const peer = lineage.peerOf(host);
    // Without a disk there is no history to compare: that comes when it is attached.
    const { disk, pdsk } = lineage.status(host, volume);
    if (disk < Disk.Negotiating || pdsk < Disk.Negotiating) return;
    // What the other once had and lost with its cache is a loss (or none), not another history.
    const never = (one: number, other: number): number =>
      lineage.onlyOn(one, other, volume, ghost).filter((write) => (write.lostPower & (1 << other)) === 0).length;
    const [mine, theirs] = [never(host, peer), never(peer, host)];
    if (mine === 0 || theirs === 0) return;
    // Nothing is compared, and nothing can be merged, while one of the disks is not there: its attach decides.
    if ([host, peer].some((one) => lineage.status(one, volume).disk < Disk.Inconsistent)) return;
    const names = [host, peer].map((one) => world.hosts[one]!.name);
    // The decision belongs to this handshake, so it was made at this moment or, by the other side, shortly before.
    const recent = lineage.decisions.findIndex((decision) => decision.atUs >= world.nowUs - HANDSHAKE_US);
    meetings.push({
      atUs: world.nowUs,
      volume,
      decisionsBefore: recent < 0 ? lineage.decisions.length : recent,
      detail:
        `volume ${volume} connects without a word of split brain, but ${names[0]} has ${mine} acknowledged writes ` +
        `that ${names[1]} lacks and ${names[1]} has ${theirs} that ${names[0]} lacks`,
    });
  });

  return {
    property: 'split-brain',
    onHost(name, what, world) {
      if (what === 'boot') bootedUs[lineage.hostPlace(name)] = world.nowUs;
    },
    onOutput(host, output, world) {
      if (output.type !== 'observe') return;
      const { event } = output;
      if (event.event === 'membership' && event.what === 'dead' && audible.includes(event.machine)) {
        const machine = lineage.hostPlace(event.machine);
        const deadTimeUs = (setup.hosts[machine]!.config.membership?.deadTimeMs ?? 0) * 1000;
        if (world.hosts[machine]!.state === 'running' && world.nowUs - bootedUs[machine]! > deadTimeUs) {
          world.report({ property: 'split-brain', atUs: world.nowUs, detail: `${host} calls ${event.machine} dead, which lives and could be heard` });
        }
      }
      if (event.event !== 'decision') return;
      const place = lineage.hostPlace(host);
      const peer = lineage.peerOf(place);
      const decision = lineage.decisions.at(-1)!;
      const ghost = recordOf(world.ghost);
      // Parted, or (protocol A) answered for what never reached the other before it noticed.
      const hasItsOwn = (one: number): boolean => lineage.parted[one]!.get(event.volume) === true || lineage.onlyOn(one, lineage.peerOf(one), event.volume, ghost).length > 0;
      const accused = isSplitBrainDecision(decision) && ![place, peer].every(hasItsOwn);
      // Who lost the end of a resync has marks that look like writes of its own. Rules 50b to 80b then ask an operator rather than lose what it may
      // have (ARCHITECTURE.md): safe, and counted. Without a mark it is merely behind.
      if (event.rule.endsWith('b')) {
        const ancestor = ['50b', '51b', '60b'].includes(event.rule) ? place : peer;
        const marks = volumeView(world.hosts[ancestor]!, event.volume)?.peers[0]?.bitmap?.weight;
        if (accused) world.reached('marks of an unfinished resync taken for another history');
        if (marks !== 0) return;
        const detail = `${host} says split brain on volume ${event.volume} by rule ${event.rule}, but ${world.hosts[ancestor]!.name} has nothing marked: it is behind, no more`;
        world.report({ property: 'split-brain', atUs: world.nowUs, detail });
        return;
      }
      if (!accused) return;
      const innocent = world.hosts[lineage.parted[place]!.get(event.volume) === true ? peer : place]!.name;
      const detail =
        `${host} says split brain on volume ${event.volume} (${decision.decidedBy}, rule ${event.rule}), but ` +
        `${innocent} was given nothing that the other could not have since they were last in sync`;
      world.report({ property: 'split-brain', atUs: world.nowUs, detail });
    },
    onCheckpoint: settle,
    onEnd: settle,
  };
}

/** Both sides decide within the time that a packet needs, slow links included. */
const HANDSHAKE_US = 10_000_000;
