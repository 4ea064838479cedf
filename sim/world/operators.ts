/**
 * The people and scripts around a pair: the init script that brings a host up, the commands that prepare a run, the operator
 * whose commands are faults, and, once the storm is over, the one who undoes what it left.
 */

import type { Command, Reply } from '../../src/contract/index.js';
import { Conn } from '../../src/state/states.js';
import type { RepairStep } from '../types.js';
import { type HandlerRun, handlerAnswered } from './handlers.js';
import type { Host } from './host.js';
import type { World } from './world.js';

/** What a command was given for, and so who gets its reply. */
export type Purpose =
  | { by: 'script'; left: Command[] }
  | { by: 'prepare'; command: Command }
  | { by: 'operator'; command: Command }
  | { by: 'manager' }
  | { by: 'repair'; command: Command; left: RepairStep[] }
  | { by: 'handler'; run: HandlerRun };

const PREPARE_TIMEOUT_US = 60_000_000;
/** Hosts that boot when the storm ends are up by then. */
const REPAIR_US = 2_000_000;
/** What could not be attached for want of a peer to ask is attached when there is one. */
const ATTACH_AGAIN_US = 30_000_000;

export class Operators {
  private preparing: 'scripts' | 'first-connection' | 'commands' | 'connection' | 'done' = 'scripts';
  private nextCommand = 0;
  private readonly scriptsRunning = new Set<Host>();
  /** Hosts whose operator waits for his disconnect to return, and what he types then: it asks a peer that may be busy or out of reach. */
  private readonly parting = new Map<Host, Command[]>();
  private commandRuns = false;
  private tooLong = false;
  private repaired = false;
  /** Steps after the storm that are still to come, where some of them wait: the run goes on until then. */
  private stepsLeft = 0;

  constructor(private readonly world: World) {}

  // ---- Coming up --------------------------------------------------------------------------------------------------------

  begin(): void {
    this.world.schedule(PREPARE_TIMEOUT_US, { kind: 'prepare' });
  }

  /** The host's init script. */
  booted(host: Host): void {
    if (this.world.setup.onBoot === 'nothing') return;
    const configs = [host.config, ...(host.spec.more ?? [])];
    const script: Command[] = [
      ...configs.map((config): Command => ({ verb: 'new-resource', config })),
      ...configs.flatMap(({ resource, volumes }) => volumes.map(({ volume }): Command => ({ verb: 'attach', resource, volume }))),
      ...configs.flatMap(({ resource, peers }) =>
        peers.map(({ name }): Command => ({ verb: 'connect', resource, peer: name, discardMyData: false, tentative: false })),
      ),
    ];
    this.scriptsRunning.add(host);
    this.runScript(host, script);
  }

  /** Its init script has not finished. */
  isComingUp(host: Host): boolean {
    return this.scriptsRunning.has(host);
  }

  stopped(host: Host): void {
    this.scriptsRunning.delete(host);
    this.parting.delete(host);
  }

  private runScript(host: Host, script: Command[]): void {
    const [first, ...left] = script;
    if (first) host.command(first, { by: 'script', left });
    else this.scriptsRunning.delete(host);
  }

  /** Takes the next step of the preparation, if its time has come; the last one begins the storm. */
  prepare(tooLong: boolean): void {
    const { world } = this;
    if (this.preparing === 'done') return;
    if (tooLong) {
      this.tooLong = true;
      world.observer.story('', 'the pair did not come up in time: on we go');
    }
    const { onBoot, prepare } = world.setup;
    if (this.preparing === 'scripts' && (this.scriptsRunning.size === 0 || this.tooLong)) this.preparing = 'first-connection';
    if (this.preparing === 'first-connection' && (onBoot === 'nothing' || this.tooLong || allConnected(world))) this.preparing = 'commands';
    if (this.preparing === 'commands' && (!this.commandRuns || this.tooLong)) {
      const step = prepare[this.nextCommand];
      if (step) {
        this.nextCommand++;
        this.commandRuns = true;
        world.host(step.host).command(step.command, { by: 'prepare', command: step.command });
      } else {
        this.preparing = 'connection';
      }
    }
    const connects = world.hosts.every(({ name }) => prepare.some((step) => step.host === name && step.command.verb === 'connect'));
    if (this.preparing === 'connection' && (this.tooLong || !connects || allConnected(world))) {
      this.preparing = 'done';
      world.beginStorm();
    }
  }

  // ---- Commands ---------------------------------------------------------------------------------------------------------

  /** An operator's act. Nobody demotes under a running application without stopping it first. */
  act(host: Host, command: Command): void {
    if (host.state === 'down') {
      this.world.observer.story(host.name, `${command.verb}: the host is down`);
      return;
    }
    const next = this.parting.get(host);
    if (command.verb === 'connect' && next) next.push(command);
    else if (command.verb === 'secondary' || command.verb === 'down') this.world.client.release(host, command);
    else this.run(host, command);
  }

  run(host: Host, command: Command): void {
    this.world.observer.story(host.name, `operator: ${command.verb}`);
    if (command.verb === 'disconnect' && !this.parting.has(host)) this.parting.set(host, []);
    host.command(command, { by: 'operator', command });
  }

  private parted(host: Host): void {
    const commands = this.parting.get(host) ?? [];
    this.parting.delete(host);
    for (const command of commands) this.run(host, command);
  }

  replied(host: Host, purpose: Purpose, reply: Reply): void {
    const { world } = this;
    const verb = 'command' in purpose ? purpose.command.verb : purpose.by;
    if (!reply.ok) world.observer.story(host.name, `${verb} is refused: ${reply.code} ${reply.text}`);
    if (reply.ok && 'command' in purpose && purpose.command.verb === 'options') host.config = purpose.command.config;
    switch (purpose.by) {
      case 'script':
        this.runScript(host, purpose.left);
        world.stateChanged = true;
        return;
      case 'prepare':
        this.commandRuns = false;
        world.stateChanged = true;
        return;
      case 'repair':
        this.runRepairs(host, purpose.left);
        return;
      case 'operator':
        if (purpose.command.verb === 'secondary' || purpose.command.verb === 'down') world.client.releaseAnswered(host);
        if (purpose.command.verb === 'disconnect') this.parted(host);
        return;
      case 'manager':
        world.manager.replied();
        return;
      case 'handler':
        handlerAnswered(world, purpose.run);
        return;
      default:
        purpose satisfies never;
    }
  }

  // ---- After the storm ----------------------------------------------------------------------------------------------------

  settle(): void {
    const { afterStorm } = this.world.setup;
    if (afterStorm.some(({ afterUs }) => afterUs !== undefined)) this.stepsLeft = afterStorm.length;
    this.world.schedule(this.world.nowUs + REPAIR_US, { kind: 'repair' });
  }

  /** The operator has something to do that takes its time. */
  get isWaiting(): boolean {
    return this.stepsLeft > 0;
  }

  /** The operator undoes what the storm left (`Setup.afterStorm`); each host's commands one after the other. Attaching is tried twice. */
  repair(): void {
    const { world } = this;
    const again = this.repaired;
    const orders = world.setup.afterStorm.filter(({ command }) => !again || command.verb === 'attach');
    if (again && this.isWaiting) this.stepsLeft += orders.length;
    for (const host of world.hosts) this.runRepairs(host, orders.filter((step) => step.host === host.name));
    if (again) return;
    this.repaired = true;
    if (orders.some(({ command }) => command.verb === 'attach')) world.schedule(world.nowUs + ATTACH_AGAIN_US, { kind: 'repair' });
    world.manager.settle();
  }

  private runRepairs(host: Host, steps: RepairStep[]): void {
    const [first] = steps;
    if (first?.afterUs === undefined) this.nextRepair(host, steps);
    else this.world.schedule(this.world.nowUs + first.afterUs, { kind: 'next-repair', host, steps });
  }

  /** The first of these steps, now. */
  nextRepair(host: Host, steps: RepairStep[]): void {
    const [first, ...left] = steps;
    if (!first || host.state !== 'running') {
      this.stepsLeft -= steps.length;
      return;
    }
    this.stepsLeft--;
    const { command } = first;
    this.world.observer.story(host.name, `after the storm: ${command.verb}`);
    host.command(command, { by: 'repair', command, left });
  }
}

function allConnected(world: World): boolean {
  return world.hosts.every(
    (host) =>
      host.state === 'running' &&
      host.node!.resources().length > 0 &&
      host.node!.resources().every((resource) =>
        resource.volumes.every((volume) => volume.peers.every(({ state }) => state.conn >= Conn.Connected)),
      ),
  );
}
