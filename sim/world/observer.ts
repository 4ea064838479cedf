/**
 * Listens to what the cores say of themselves: metrics, the story, who is Primary, and, for coverage.ts, what was reached.
 */

import type { Observation } from '../../src/contract/index.js';
import { Conn, Disk, Role, isSyncState } from '../../src/state/states.js';
import type { RunMetrics, RunResult } from '../types.js';
import { Coverage } from './coverage.js';
import type { Host } from './host.js';
import { wordsOf } from './words.js';
import type { World } from './world.js';
import { volumesOf } from '../spec.js';

const STORY_LINES_MAX = 400;

export class Observer {
  readonly metrics: RunMetrics = {
    simulatedUs: 0,
    events: 0,
    inputs: 0,
    outputs: 0,
    issuedWrites: 0,
    acknowledgedWrites: 0,
    failovers: 0,
    resyncBits: 0,
    failoverUs: 0,
    resyncUs: 0,
    activeExtentsAtCrash: 0,
    disconnects: 0,
  };
  readonly lines: RunResult['story'] = [];
  private linesLeftOut = 0;
  readonly coverage = new Coverage();
  private readonly resyncStarts = new Map<string, number>();
  /** The last Primary that died, while its service is down. */
  private died: { host: Host; atUs: number; succeeded: boolean } | undefined = undefined;

  constructor(private readonly world: World) {}

  observe(host: Host, event: Observation): void {
    this.world.changes++;
    const words = wordsOf(event);
    if (words !== undefined) this.story(host.name, words);
    switch (event.event) {
      case 'state':
        return this.state(host, event);
      case 'decision':
        return this.coverage.decision(event.rule);
      case 'resync':
        return this.resync(host, event);
      case 'connection-lost':
        this.metrics.disconnects++;
        return;
      default:
        return;
    }
  }

  story(host: string, text: string): void {
    if (this.lines.length >= STORY_LINES_MAX) this.linesLeftOut++;
    else this.lines.push({ atUs: this.world.nowUs, host, text });
  }

  /** A Primary died, and its service with it. */
  primaryDied(host: Host): void {
    this.died = { host, atUs: this.world.nowUs, succeeded: false };
    const extents = host.node!.resources().flatMap((resource) => resource.volumes.map((volume) => volume.activeExtents.length));
    this.metrics.activeExtentsAtCrash = Math.max(this.metrics.activeExtentsAtCrash, ...extents);
  }

  /** A host became Primary. */
  promoted(host: Host): void {
    if (this.died && this.died.host !== host && !this.died.succeeded) {
      this.died.succeeded = true;
      this.metrics.failovers++;
    }
  }

  /** The application got an answer from this host to a write: there is service again. */
  served(host: Host): void {
    if (!this.died) return;
    if (this.died.host !== host) this.metrics.failoverUs = Math.max(this.metrics.failoverUs, this.world.nowUs - this.died.atUs);
    this.died = undefined;
  }

  finishStory(): RunResult['story'] {
    if (this.linesLeftOut > 0) this.lines.push({ atUs: this.world.nowUs, host: '', text: `… and ${this.linesLeftOut} more lines` });
    return this.lines;
  }

  private state(host: Host, event: Extract<Observation, { event: 'state' }>): void {
    const { resource, from, to } = event;
    this.coverage.stateChange(event);
    if (from.role !== to.role) this.world.roleChanged(host, resource, to.role as Role);
    if (to.role === Role.Primary && to.peer === Role.Primary) this.coverage.reached('both Primary');
    const goesOn = to.conn >= Conn.Connected && to.pdsk === Disk.UpToDate;
    if (to.disk === Disk.Failed && from.disk !== Disk.Failed && goesOn && volumesOf(host.spec).length > 1) this.coverage.reached('volume left behind');
    if (to.conn === Conn.PausedSyncT && to.flags.includes('aftrIsp')) this.coverage.reached('paused by a dependency');
    if (isSyncState(from.conn as Conn) && to.conn < Conn.Connected) this.coverage.reached('resync interrupted');
    this.world.stateChanged = true;
  }

  private resync(host: Host, event: Extract<Observation, { event: 'resync' }>): void {
    const key = `${host.name} ${event.volume} ${event.peer}`;
    if (event.what === 'started') this.resyncStarts.set(key, this.world.nowUs);
    if (event.what !== 'finished' && event.what !== 'aborted') return;
    const startedUs = this.resyncStarts.get(key);
    this.resyncStarts.delete(key);
    if (event.side === 'target') this.metrics.resyncBits += event.totalBits - event.leftBits;
    if (startedUs !== undefined && event.what === 'finished') {
      this.metrics.resyncUs = Math.max(this.metrics.resyncUs, this.world.nowUs - startedUs);
    }
  }
}
