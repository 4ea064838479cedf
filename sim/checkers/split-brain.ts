/**
 * Split brain: histories that parted are detected when the nodes meet, and never merged silently; and nodes that did not
 * part are not accused of it (I4). Parted means that each side acknowledged writes which the other lacks.
 */

import { Conn } from '../../src/state/states.js';
import type { Checker, WorldView } from '../types.js';
import { recordOf } from '../ghost.js';
import { type Lineage, isSplitBrainDecision } from './lineage.js';

export function splitBrain(lineage: Lineage): Checker {
  /** Meetings of parted nodes whose decision may still be among the outputs of this moment. */
  const meetings: { atUs: number; volume: number; decisionsBefore: number; detail: string }[] = [];
  let judged = 0;

  const settle = (world: WorldView): void => {
    while (meetings.length > 0 && meetings[0]!.atUs < world.nowUs) {
      const meeting = meetings.shift()!;
      const noticed = lineage.decisions.slice(meeting.decisionsBefore).some((decision) => decision.volume === meeting.volume && isSplitBrainDecision(decision));
      if (!noticed) world.report({ property: 'split-brain', atUs: meeting.atUs, detail: meeting.detail });
    }
    for (; judged < lineage.decisions.length; judged++) {
      const decision = lineage.decisions[judged]!;
      if (isSplitBrainDecision(decision)) world.reached('split brain detected');
    }
  };

  return {
    property: 'split-brain',
    onOutput(host, output, world) {
      if (output.type !== 'observe') return;
      const { event } = output;
      const place = lineage.hostPlace(host);
      const peer = lineage.peerOf(place);
      if (event.event === 'decision') {
        const decision = lineage.decisions.at(-1)!;
        const accused = isSplitBrainDecision(decision) && [place, peer].some((one) => lineage.parted[one]!.get(event.volume) !== true);
        if (accused) {
          const innocent = world.hosts[lineage.parted[place]!.get(event.volume) === true ? peer : place]!.name;
          const detail = `${host} says split brain on volume ${event.volume} (${decision.decidedBy}, rule ${event.rule}), but ${innocent} was given nothing that the other could not have since they were last in sync`;
          world.report({ property: 'split-brain', atUs: world.nowUs, detail });
        }
      }
      if (event.event !== 'state' || event.from.conn >= Conn.Connected || event.to.conn < Conn.Connected) return;
      const ghost = recordOf(world.ghost);
      const [mine, theirs] = [lineage.onlyOn(place, peer, event.volume, ghost), lineage.onlyOn(peer, place, event.volume, ghost)];
      if (mine.length === 0 || theirs.length === 0) return;
      const names = [place, peer].map((one) => world.hosts[one]!.name);
      meetings.push({
        atUs: world.nowUs,
        volume: event.volume,
        // The decision belongs to this handshake, so it was made at this moment or, by the other side, shortly before.
        decisionsBefore: lineage.decisions.findIndex((decision) => decision.atUs >= world.nowUs - HANDSHAKE_US),
        detail: `volume ${event.volume} connects without a word of split brain, but ${names[0]} has ${mine.length} acknowledged writes that ${names[1]} lacks and ${names[1]} has ${theirs.length} that ${names[0]} lacks`,
      });
      if (meetings.at(-1)!.decisionsBefore < 0) meetings.at(-1)!.decisionsBefore = lineage.decisions.length;
    },
    onCheckpoint: settle,
    onEnd: settle,
  };
}

/** Both sides decide within the time that a packet needs, slow links included. */
const HANDSHAKE_US = 10_000_000;
