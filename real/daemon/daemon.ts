/**
 * The daemon: the configuration, the core with its driver, and what operators ask for. It holds no state of the protocol: after a
 * crash it is started again and brings up what is configured.
 */

import { filter, firstValueFrom, map, merge, startWith, takeUntil, timer } from 'rxjs';
import type { Command, HandlerName, MembershipConfig, Reply, ResourceView } from '../../src/contract/index.js';
import { checkOnlineChange } from '../../src/config/check.js';
import { configText, ConfigCode } from '../../src/state/refusals.js';
import { Conn, Disk, Role } from '../../src/state/states.js';
import type { LocalResource } from '../conf/local.js';
import { loadConfiguration } from '../conf/load.js';
import { ServedVolumes } from './volumes.js';
import { Driver, type DriverOptions } from './driver.js';
import type { Placements } from './placements.js';
import { StateEvents } from './events.js';
import { statusOf, type ResourceStatus } from './status.js';

/** What an operator's order came to: which object, and the core's answer. */
export interface Answer {
  object: string;
  reply: Reply;
  /** What only the driver knows of a refusal. */
  detail?: string;
}

/** A step of `adjust`: what will be done, in words, and how. */
interface Step {
  text: string;
  run: () => Promise<Answer>;
}

const isOk = ({ reply }: Answer): boolean => reply.ok;
const STOP_BOUND_MS = 10_000;

export class Daemon {
  readonly driver: Driver;
  readonly volumes: ServedVolumes;
  readonly events: StateEvents;
  /** As the running resources were configured. */
  private readonly locals = new Map<string, LocalResource>();

  constructor(
    readonly nodeName: string,
    readonly configPath: string,
    broken: (error: unknown) => void,
    /** Heartbeats between the machines, for every resource; undefined: nobody promotes by itself. */
    private readonly membership: MembershipConfig | undefined,
    placements: Placements,
    options: DriverOptions = {},
  ) {
    this.events = new StateEvents(this.minorOf);
    this.driver = new Driver(nodeName, (resource) => this.locals.get(resource), broken, configPath, placements, options);
    this.volumes = new ServedVolumes(this.driver, this.minorOf);
    this.driver.application = this.volumes;
    this.driver.observations.subscribe((event) => this.events.observed(event));
    this.driver.onHandler = (phase, resource, name: HandlerName, status) => this.events.helper(phase, resource, this.locals.get(resource)?.peers[0]?.name, name, status);
  }

  readonly minorOf = (resource: string, volume: number): number | undefined =>
    this.locals.get(resource)?.config.volumes.find((one) => one.volume === volume)?.minor;

  /** The configuration file as it is now, for this machine. Throws what `loadConfiguration` throws. */
  configured(): Map<string, LocalResource> {
    const { resources } = loadConfiguration(this.configPath, this.nodeName);
    for (const { local } of resources) if (local && this.membership) local.config.membership = { ...this.membership };
    return new Map(resources.flatMap(({ name, local }) => (local ? [[name, local] as const] : [])));
  }

  /** A running resource as it was configured. */
  running(resource: string): LocalResource | undefined {
    return this.locals.get(resource);
  }

  view(resource: string): ResourceView | undefined {
    return this.driver.node.resources().find((one) => one.resource === resource);
  }

  statuses(resources: readonly string[] | undefined): ResourceStatus[] {
    return this.driver.node
      .resources()
      .filter(({ resource }) => !resources || resources.includes(resource))
      .map((view) => statusOf(this.driver, view, this.locals.get(view.resource)));
  }

  // ---- Orders -----------------------------------------------------------------------------------------------------------

  /** Runs a command of the core. */
  async order(command: Exclude<Command, { verb: 'new-resource' | 'options' }>): Promise<Answer> {
    const before = command.verb === 'down' || command.verb === 'del-resource' ? this.statuses([command.resource])[0] : undefined;
    const reply = await this.driver.command(command);
    if (before && reply.ok) this.forget(before);
    if (command.verb === 'resize' && reply.ok) this.resized(command);
    const detail = command.verb === 'attach' && !reply.ok ? this.driver.openFailure(command.resource, command.volume) : undefined;
    return { object: objectOf(command), reply, ...(detail === undefined ? {} : { detail }) };
  }

  /** The core goes by the size that was asked for; so `adjust` compares with that. */
  private resized({ resource, volume, sizeSectors }: Extract<Command, { verb: 'resize' }>): void {
    const local = this.locals.get(resource);
    if (!local) return;
    const volumes = local.config.volumes.map((one) => (one.volume === volume ? { ...one, sizeSectors } : one));
    this.locals.set(resource, { ...local, config: { ...local.config, volumes } });
  }

  private setLocal(resource: string, local: LocalResource | undefined): void {
    if (local) this.locals.set(resource, local);
    else this.locals.delete(resource);
    this.driver.setLinks([...this.locals.values()].flatMap(({ config, peers }) => (config.membership ? peers : [])));
  }

  private forget(status: ResourceStatus): void {
    if (this.view(status.name)) return;
    this.setLocal(status.name, undefined);
    // One of that name that comes later begins afresh.
    for (const { volume } of status.devices) this.volumes.onAdmit(status.name, volume, true);
    this.events.destroyed(status);
  }

  /** new-resource, attach, connect: what is not done yet. Stops at the first refusal. */
  async up(resource: string): Promise<Answer[]> {
    const answers: Answer[] = [];
    if (!this.view(resource)) {
      answers.push(await this.newResource(resource));
      if (!answers.every(isOk)) return answers;
    }
    for (const { volume, peers } of this.view(resource)!.volumes) {
      if (peers[0]?.state.disk === Disk.Diskless) answers.push(await this.order({ verb: 'attach', resource, volume }));
      if (!answers.every(isOk)) return answers;
    }
    for (const { peer, state } of this.view(resource)!.volumes[0]?.peers ?? []) {
      if (state.conn === Conn.StandAlone) answers.push(await this.order({ verb: 'connect', resource, peer, discardMyData: false, tentative: false }));
    }
    return answers;
  }

  async newResource(resource: string): Promise<Answer> {
    const local = this.configured().get(resource);
    if (!local) return { object: resource, reply: { ok: false, code: ConfigCode.UnknownResource, text: configText(ConfigCode.UnknownResource) } };
    if (!this.view(resource)) this.setLocal(resource, local);
    const reply = await this.driver.command({ verb: 'new-resource', config: local.config });
    if (reply.ok) this.events.created(this.statuses([resource])[0]!);
    return { object: resource, reply };
  }

  /** What it takes to make the running resource what the file says, and, unless `isDryRun`, doing it. Stops at the first refusal. */
  async adjust(resource: string, isDryRun: boolean): Promise<{ steps: string[]; answers: Answer[] }> {
    const wanted = this.configured().get(resource);
    const steps = wanted ? this.stepsTo(resource, wanted) : [];
    const answers: Answer[] = [];
    if (!wanted) answers.push({ object: resource, reply: { ok: false, code: ConfigCode.UnknownResource, text: configText(ConfigCode.UnknownResource) } });
    if (!isDryRun) {
      for (const step of steps) {
        answers.push(await step.run());
        if (!answers.every(isOk)) break;
      }
    }
    return { steps: steps.map(({ text }) => text), answers };
  }

  private stepsTo(resource: string, wanted: LocalResource): Step[] {
    const running = this.locals.get(resource);
    const view = this.view(resource);
    if (!running || !view) {
      const last = async (): Promise<Answer> => (await this.up(resource)).at(-1)!;
      return [{ text: `up ${resource}`, run: last }];
    }
    const steps: Step[] = [];
    const now = <T>(verb: string, run: () => Promise<T>): { text: string; run: () => Promise<T> } => ({ text: verb, run });
    const addresses = (local: LocalResource): string => JSON.stringify(local.peers.map(({ name, local: here, remote }) => [name, here, remote]));
    const addressesChange = addresses(running) !== addresses(wanted);
    const protocolChanges = running.config.peers.some(({ net }, index) => net.protocol !== wanted.config.peers[index]?.net.protocol);
    const changesConfig = exceptSizes(running) !== exceptSizes(wanted);
    const peers = view.volumes[0]?.peers ?? [];
    const isUp = ({ state }: { state: { conn: number } }): boolean => state.conn !== Conn.StandAlone;
    const mustReconnect = addressesChange || protocolChanges;
    if (mustReconnect) {
      for (const { peer } of peers.filter(isUp)) steps.push(now(`disconnect ${resource}`, () => this.order({ verb: 'disconnect', resource, peer, force: false })));
    }
    const moved = view.volumes.filter(({ volume }) => pathsOf(running, volume) !== pathsOf(wanted, volume));
    for (const { volume, peers: [peer] } of moved) {
      if (peer?.state.disk !== Disk.Diskless) steps.push(now(`detach ${resource}/${volume}`, () => this.order({ verb: 'detach', resource, volume, force: false })));
    }
    for (const { volume, sizeSectors } of wanted.config.volumes) {
      const before = running.config.volumes.find((one) => one.volume === volume)?.sizeSectors ?? sizeSectors;
      const resize = { verb: 'resize', resource, volume, sizeSectors, assumeClean: false, assumePeerHasSpace: false } as const;
      if (before !== sizeSectors) steps.push(now(`resize ${resource}/${volume}`, () => this.order(resize)));
    }
    if (changesConfig) steps.push(now(`options ${resource}`, () => this.changeOptions(resource, wanted)));
    else if (addressesChange || moved.length > 0 || handlersOf(running) !== handlersOf(wanted)) {
      steps.push(now(`paths and addresses of ${resource}`, async () => this.replaced(resource, wanted)));
    }
    for (const { volume, peers: [peer] } of view.volumes) {
      const isMoved = moved.some((one) => one.volume === volume);
      if (isMoved || peer?.state.disk === Disk.Diskless) steps.push(now(`attach ${resource}/${volume}`, () => this.order({ verb: 'attach', resource, volume })));
    }
    for (const { peer, state } of peers) {
      const isDown = state.conn === Conn.StandAlone || mustReconnect;
      if (isDown) steps.push(now(`connect ${resource}`, () => this.order({ verb: 'connect', resource, peer, discardMyData: false, tentative: false })));
    }
    return steps;
  }

  private async changeOptions(resource: string, wanted: LocalResource): Promise<Answer> {
    const refusal = checkOnlineChange(this.locals.get(resource)!.config, wanted.config, undefined, false);
    if (refusal) return { object: resource, reply: { ok: false, code: refusal.code, text: `${refusal.text} (down and up again)` } };
    const reply = await this.driver.command({ verb: 'options', resource, config: wanted.config });
    if (reply.ok) this.setLocal(resource, wanted);
    return { object: resource, reply };
  }

  private replaced(resource: string, wanted: LocalResource): Answer {
    this.setLocal(resource, wanted);
    return { object: resource, reply: { ok: true, code: ConfigCode.Ok, text: '' } };
  }

  // ---- Waiting ------------------------------------------------------------------------------------------------------------

  /**
   * wait-connect and wait-sync: true when what is waited for has come. `timeoutMs` undefined: for ever. A connection that goes below
   * Unconnected ends the wait too (configuration.md §4).
   */
  async wait(what: 'connect' | 'sync', resource: string, volume: number | undefined, timeoutMs: number | undefined): Promise<boolean> {
    const isReached = (): boolean | undefined => {
      const view = this.view(resource);
      if (!view) return true;
      const states = view.volumes.filter((one) => volume === undefined || one.volume === volume).flatMap(({ peers }) => peers.map(({ state }) => state));
      if (states.some(({ conn }) => conn < Conn.Unconnected)) return true;
      if (what === 'connect') return states.every(({ conn }) => conn >= Conn.Connected) || undefined;
      return states.every(({ conn }) => conn === Conn.Connected) || undefined;
    };
    const changes = merge(this.driver.observations, timer(0, 1000)).pipe(startWith(undefined), map(isReached), filter((reached) => reached !== undefined));
    const bounded = timeoutMs === undefined ? changes : changes.pipe(takeUntil(timer(timeoutMs)));
    return firstValueFrom(bounded, { defaultValue: false });
  }

  /** The timeout that the configuration gives, in seconds; 0 is for ever. */
  startupTimeoutS(resource: string): number {
    return this.locals.get(resource)?.startup.wfcTimeout ?? 0;
  }

  // ---- The end --------------------------------------------------------------------------------------------------------------

  /** Takes every resource down: demoted, flushed, the peer told. Gives what was refused, or did not end in time. */
  async stop(): Promise<string[]> {
    const downs = this.driver.node.resources().map(async ({ resource, volumes }) => {
      const late = new Promise<string>((resolve) => setTimeout(() => resolve(`${resource}: down did not end within ${STOP_BOUND_MS / 1000} s`), STOP_BOUND_MS).unref());
      const down = this.order({ verb: 'down', resource }).then(({ reply }) => (reply.ok ? undefined : `${resource} (${volumes[0]?.peers[0]?.state.role === Role.Primary ? 'Primary' : 'Secondary'}): (${reply.code}) ${reply.text}`));
      return Promise.race([down, late]);
    });
    const left = (await Promise.all(downs)).filter((text) => text !== undefined);
    this.driver.stop();
    return left;
  }
}

const pathsOf = (local: LocalResource, volume: number): string => {
  const { diskPath, metaPath } = local.volumes.find((one) => one.volume === volume) ?? {};
  return JSON.stringify([diskPath, metaPath]);
};

const exceptSizes = ({ config }: LocalResource): string => JSON.stringify({ ...config, volumes: config.volumes.map((volume) => ({ ...volume, sizeSectors: 0 })) });

const handlersOf = (local: LocalResource): string => JSON.stringify([...local.handlers]);

const objectOf = (command: Command): string => {
  if (command.verb === 'new-resource') return command.config.resource;
  return 'volume' in command ? `${command.resource}/${command.volume}` : command.resource;
};
