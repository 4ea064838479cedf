/**
 * What a configuration means for one machine: sections inherited, volumes put together, hosts told apart (configuration.md §2),
 * and the whole as the core and the drivers want it.
 */

import { networkInterfaces } from 'node:os';
import { defaultDiskOptions, defaultNetOptions } from '../../src/config/defaults.js';
import { checkConfig } from '../../src/config/check.js';
import type { DiskOptions, HandlerName, NetOptions, ResourceConfig, VolumeConfig } from '../../src/contract/index.js';
import type { LocalResource, LocalVolume } from './local.js';
import { checkSupport, diskFields, globalOptions, isForgotten, netFields, readOption, currentName, sections, type Options, type OptionValue } from './options.js';
import {
  ConfigError,
  type AddressStatement,
  type FileItem,
  type HostItem,
  type Option,
  type Place,
  type ResourceBlock,
  type ResourceItem,
  type Section,
  type Text,
  type VolumeStatement,
} from './tree.js';

type OptionSections = Record<keyof typeof sections, Options>;

/** A volume of one host, complete. */
export interface HostVolume {
  volume: number;
  device: string;
  minor: number;
  disk: string;
  meta: { kind: 'internal' } | { kind: 'flexible'; path: string } | { kind: 'indexed'; path: string; index: number };
  options: Options;
  place: Place;
}

export interface Host {
  names: string[];
  family: string;
  address: { host: string; port: number };
  volumes: HostVolume[];
  isFloating: boolean;
}

export interface MeantResource {
  name: string;
  place: Place;
  options: OptionSections;
  hosts: Host[];
  /** Undefined where no host section is this machine's: the resource is ignored. */
  local: LocalResource | undefined;
}

export interface Configuration {
  global: Map<string, OptionValue>;
  resources: MeantResource[];
  /** One line each. */
  warnings: string[];
}

const wrong = (place: Place, detail: string): ConfigError => new ConfigError(place, detail);

/** `items` of all files, includes resolved. Throws a ConfigError for the first thing that is wrong. */
export function meaningOf(items: readonly FileItem[], nodeName: string): Configuration {
  const reader = new Reader(nodeName);
  const global = new Map<string, OptionValue>();
  let seenGlobal: Place | undefined;
  let seenCommon: Place | undefined;
  const common = emptySections();
  const blocks: ResourceBlock[] = [];
  for (const item of items) {
    switch (item.is) {
      case 'global':
        if (seenGlobal) throw wrong(item.place, `a second global section (the first is at ${placeText(seenGlobal)})`);
        seenGlobal = item.place;
        for (const option of item.options) {
          const { name, value } = readOption(globalOptions, 'global', option, nodeName);
          global.set(name, value);
        }
        break;
      case 'common':
        if (seenCommon) throw wrong(item.place, `a second common section (the first is at ${placeText(seenCommon)})`);
        seenCommon = item.place;
        reader.sections(item.sections, common, undefined);
        break;
      case 'resource':
        blocks.push(item);
        break;
      case 'include':
      case 'skip':
        break;
      default:
        item satisfies never;
    }
  }
  const resources = blocks.map((block) => reader.resource(block, common));
  checkUnique(resources);
  return { global, resources, warnings: reader.warnings };
}

const placeText = ({ file, line }: Place): string => `${file}:${line}`;
const emptySections = (): OptionSections => ({ disk: new Map(), net: new Map(), options: new Map(), startup: new Map(), handlers: new Map() });

/** Statements of one volume on one level. */
interface VolumeParts {
  place: Place;
  device: Text | undefined;
  minor: Text | undefined;
  disk: Text | undefined;
  meta: Extract<VolumeStatement, { is: 'meta-disk' }> | undefined;
  options: Options;
}

const emptyParts = (place: Place): VolumeParts => ({ place, device: undefined, minor: undefined, disk: undefined, meta: undefined, options: new Map() });

interface Volumes {
  parts: Map<number, VolumeParts>;
  implicit: boolean | undefined;
}

class Reader {
  readonly warnings: string[] = [];

  constructor(private readonly nodeName: string) {}

  /** Reads sections into `into`. `volumeDisk`: disk sections of a volume go there instead. */
  sections(list: readonly Section[], into: OptionSections, seen: Set<string> | undefined): void {
    for (const section of list) {
      if (seen?.has(section.kind)) throw wrong(section.place, `a second ${section.kind} section`);
      seen?.add(section.kind);
      if (section.kind === 'proxy') throw wrong(section.place, 'drbd-proxy is not supported');
      for (const option of section.options) {
        if (isForgotten(option.name.text)) continue;
        const kind = section.kind === 'syncer' ? this.homeOf(option) : section.kind;
        this.option(kind, option, into[kind]);
      }
    }
  }

  /** The section that an option of the obsolete `syncer` belongs to. */
  private homeOf(option: Option): 'disk' | 'net' | 'options' {
    const name = currentName(option.name.text);
    for (const kind of ['disk', 'net', 'options'] as const) if (Object.hasOwn(sections[kind], name.replace(/^no-/, ''))) return kind;
    throw wrong(option.name.place, `there is no option '${option.name.text}' in syncer`);
  }

  option(kind: keyof typeof sections, option: Option, into: Options): void {
    const { name, value } = readOption(sections[kind], kind, option, this.nodeName);
    if (checkSupport(name, value, option.name) === 'without effect') {
      this.warnings.push(`${placeText(option.name.place)}: ${name} has no effect here`);
    }
    into.set(name, { value, option });
  }

  resource(block: ResourceBlock, common: OptionSections): MeantResource {
    const own = emptySections();
    const seen = new Set<string>();
    const volumes: Volumes = { parts: new Map(), implicit: undefined };
    const hostBlocks: { place: Place; names: string[]; items: readonly HostItem[]; floating: AddressStatement | undefined }[] = [];
    for (const item of block.items) {
      switch (item.is) {
        case 'section':
          this.sections([item], own, seen);
          break;
        case 'protocol':
          this.option('net', { name: { text: 'protocol', place: item.place, quoted: false }, values: [item.value] }, own.net);
          break;
        case 'ignore-on':
          break;
        case 'on':
          hostBlocks.push({ place: item.place, names: item.names.map(({ text }) => text), items: item.items, floating: undefined });
          break;
        case 'floating':
          hostBlocks.push({ place: item.place, names: [`${item.address.host}:${item.address.port.text}`], items: item.items, floating: item.address });
          break;
        case 'unsupported':
          throw wrong(item.place, `${item.what} is not supported`);
        case 'volume':
        case 'device':
        case 'disk':
        case 'meta-disk':
          this.volumePart(volumes, item);
          break;
        default:
          item satisfies never;
      }
    }
    const options = inherit(common, own);
    const hosts = hostBlocks.map((host) => this.host(host, volumes, options.disk));
    this.checkHosts(block, hosts);
    const resource: MeantResource = { name: block.name.text, place: block.name.place, options, hosts, local: undefined };
    resource.local = this.localOf(resource);
    return resource;
  }

  private volumePart(volumes: Volumes, item: Extract<ResourceItem, { is: 'volume' | 'device' | 'disk' | 'meta-disk' }>): void {
    const isImplicit = item.is !== 'volume';
    if (volumes.implicit !== undefined && volumes.implicit !== isImplicit) throw wrong(item.place, 'statements of a volume inside and outside of volume { } cannot be mixed');
    volumes.implicit = isImplicit;
    if (item.is !== 'volume') {
      let parts = volumes.parts.get(0);
      if (!parts) volumes.parts.set(0, (parts = emptyParts(item.place)));
      return this.volumeStatement(parts, item);
    }
    const number = Number(item.number.text);
    if (volumes.parts.has(number)) throw wrong(item.number.place, `a second volume ${number}`);
    const parts = emptyParts(item.place);
    volumes.parts.set(number, parts);
    for (const inner of item.items) {
      if (inner.is !== 'section') this.volumeStatement(parts, inner);
      else if (inner.kind !== 'disk') throw wrong(inner.place, `a volume has no ${inner.kind} section`);
      else for (const option of inner.options) this.option('disk', option, parts.options);
    }
  }

  private volumeStatement(parts: VolumeParts, item: VolumeStatement): void {
    const twice = (): ConfigError => wrong(item.place, `a second ${item.is} of the same volume`);
    switch (item.is) {
      case 'device':
        if (parts.device ?? parts.minor) throw twice();
        parts.device = item.device;
        parts.minor = item.minor;
        return;
      case 'disk':
        if (parts.disk) throw twice();
        parts.disk = item.disk;
        return;
      case 'meta-disk':
        if (parts.meta) throw twice();
        parts.meta = item;
        return;
      default:
        item satisfies never;
    }
  }

  private host(block: { place: Place; names: string[]; items: readonly HostItem[]; floating: AddressStatement | undefined }, shared: Volumes, resourceDisk: Options): Host {
    const volumes: Volumes = { parts: new Map(), implicit: undefined };
    let address = block.floating;
    for (const item of block.items) {
      switch (item.is) {
        case 'address':
          if (address) throw wrong(item.place, 'a second address');
          address = item;
          break;
        case 'section':
          if (item.kind !== 'options') throw wrong(item.place, `a host has no ${item.kind} section`);
          throw wrong(item.place, 'options of one host only are not supported');
        case 'unsupported':
          throw wrong(item.place, `${item.what} is not supported`);
        default:
          this.volumePart(volumes, item);
      }
    }
    const name = block.names.join(' ');
    if (!address) throw wrong(block.place, `host ${name} has no address`);
    if (address.family !== 'ipv4' && address.family !== 'ipv6') throw wrong(address.place, `addresses of the family ${address.family} are not supported`);
    const port = Number(address.port.text);
    if (port < 1 || port > 65535) throw wrong(address.port.place, `'${address.port.text}' is no port: 1..65535 was expected`);
    const numbers = [...new Set([...shared.parts.keys(), ...volumes.parts.keys()])].sort((one, other) => one - other);
    if (numbers.length === 0) throw wrong(block.place, `host ${name} has no volume`);
    return {
      names: block.names,
      family: address.family,
      address: { host: address.host, port },
      volumes: numbers.map((number) => completeVolume(number, name, block.place, volumes.parts.get(number), shared.parts.get(number), resourceDisk)),
      isFloating: block.floating !== undefined,
    };
  }

  private checkHosts(block: ResourceBlock, hosts: readonly Host[]): void {
    const [first, ...others] = hosts;
    for (const other of others) {
      if (numbersOf(other) !== numbersOf(first!)) throw wrong(block.name.place, `the hosts of ${block.name.text} have different volumes (${numbersOf(first!)}; ${numbersOf(other)})`);
    }
  }

  private localOf(resource: MeantResource): LocalResource | undefined {
    const mine = resource.hosts.filter((host) => (host.isFloating ? isLocalAddress(host.address.host) : host.names.includes(this.nodeName)));
    const [here] = mine;
    if (!here) return undefined;
    if (mine.length > 1) throw wrong(resource.place, `several hosts of ${resource.name} are this machine`);
    const peers = resource.hosts.filter((host) => host !== here);
    if (peers.length === 0) throw wrong(resource.place, `${resource.name} has no peer`);
    if (peers.length > 1) throw wrong(resource.place, `${resource.name} has more than two hosts: only two are supported`);
    const net = fieldsOf<NetOptions>(defaultNetOptions, netFields, resource.options.net);
    const handlers = new Map([...resource.options.handlers].map(([name, { value }]) => [name as HandlerName, String(value)]));
    const config: ResourceConfig = {
      resource: resource.name,
      volumes: here.volumes.map((volume): VolumeConfig => ({
        volume: volume.volume,
        minor: volume.minor,
        metaDisk: volume.meta.kind === 'indexed' ? { kind: 'indexed', index: volume.meta.index } : { kind: volume.meta.kind },
        disk: fieldsOf<DiskOptions>(defaultDiskOptions, diskFields, volume.options),
        sizeSectors: (volume.options.get('size')?.value as number | undefined) ?? 0,
      })),
      peers: peers.map((peer) => ({ name: peer.names[0]!, net: { ...net } })),
      onNoDataAccessible: (resource.options.options.get('on-no-data-accessible')?.value as ResourceConfig['onNoDataAccessible'] | undefined) ?? 'io-error',
      handlers: [...handlers.keys()],
      protocolMin: 86,
      protocolMax: 101,
    };
    const refusal = checkConfig(config);
    if (refusal) throw wrong(resource.place, refusal.text);
    return {
      config,
      volumes: here.volumes.map((volume): LocalVolume => ({
        volume: volume.volume,
        device: volume.device,
        diskPath: volume.disk,
        metaPath: volume.meta.kind === 'internal' ? undefined : volume.meta.path,
      })),
      peers: peers.map((peer) => ({ name: peer.names[0]!, local: here.address, remote: peer.address })),
      handlers,
      startup: startupOf(resource.options.startup),
    };
  }
}

const numbersOf = (host: Host): string => host.volumes.map(({ volume }) => volume).join(', ');

/** An option of the resource hides the common one. */
function inherit(common: OptionSections, own: OptionSections): OptionSections {
  const both = (kind: keyof OptionSections): Options => new Map([...common[kind], ...own[kind]]);
  return { disk: both('disk'), net: both('net'), options: both('options'), startup: both('startup'), handlers: both('handlers') };
}

/** A volume as this host has it. Disk options, weakest first: of a volume of the resource, of common and the resource, of the host's own volume. */
function completeVolume(number: number, host: string, place: Place, own: VolumeParts | undefined, shared: VolumeParts | undefined, resourceDisk: Options): HostVolume {
  const missing = (what: string): ConfigError => wrong(own?.place ?? shared?.place ?? place, `volume ${number} of host ${host} has no ${what}`);
  const hasDevice = own?.device !== undefined || own?.minor !== undefined;
  const { device, minor } = (hasDevice ? own : shared) ?? {};
  if (!device && !minor) throw missing('device');
  const disk = own?.disk ?? shared?.disk;
  if (!disk) throw missing('disk');
  if (disk.text === 'none') throw wrong(disk.place, 'a diskless host is not supported');
  const meta = own?.meta ?? shared?.meta;
  if (!meta) throw missing('meta-disk');
  return {
    volume: number,
    ...deviceOf(device, minor),
    disk: disk.text,
    meta: metaOf(meta),
    options: new Map([...(shared?.options ?? []), ...resourceDisk, ...(own?.options ?? [])]),
    place: (device ?? minor)!.place,
  };
}

function deviceOf(device: Text | undefined, minor: Text | undefined): { device: string; minor: number } {
  const number = minor && Number(minor.text);
  if (minor && !/^\d{1,7}$/.test(minor.text)) throw wrong(minor.place, `'${minor.text}' where the number of a minor was expected`);
  if (!device) return { device: `/dev/drbd${number}`, minor: number! };
  const path = device.text.startsWith('/dev/') ? device.text : `/dev/${device.text}`;
  const name = /^\/dev\/drbd(.*)$/.exec(path)?.[1];
  if (name === undefined) throw wrong(device.place, `'${device.text}' where /dev/drbd… was expected`);
  const fromName = /^(\d{1,7})$/.exec(name)?.[1];
  if (number === undefined && fromName === undefined) throw wrong(device.place, `'${device.text}' says no minor: 'minor' and a number was expected`);
  if (number !== undefined && fromName !== undefined && Number(fromName) !== number) throw wrong(device.place, `${path} and minor ${number} do not agree`);
  return { device: path, minor: number ?? Number(fromName) };
}

function metaOf(statement: Extract<VolumeStatement, { is: 'meta-disk' }>): HostVolume['meta'] {
  const { device, index, flexible } = statement;
  if (device.text === 'internal' && !flexible) {
    if (index) throw wrong(index.place, 'internal metadata has no index');
    return { kind: 'internal' };
  }
  if (index === undefined) return { kind: 'flexible', path: device.text };
  if (!/^\d{1,5}$/.test(index.text)) throw wrong(index.place, `'${index.text}' where the index of a slot was expected`);
  return { kind: 'indexed', path: device.text, index: Number(index.text) };
}

/** The defaults, with what is set. */
function fieldsOf<T extends object>(defaults: T, fields: Partial<Record<keyof T, string>>, options: Options): T {
  const result = { ...defaults };
  for (const field of Object.keys(fields) as (keyof T)[]) {
    const set = options.get(fields[field]!);
    if (set) result[field] = set.value as T[keyof T];
  }
  return result;
}

/** degr <= wfc and outdated <= degr, where 0 is for ever (configuration.md §3.4). */
function startupOf(options: Options): LocalResource['startup'] {
  const seconds = (name: string): number => (options.get(name)?.value as number | undefined) ?? 0;
  const lowered = (value: number, limit: number): number => (limit !== 0 && (value === 0 || value > limit) ? limit : value);
  const wfcTimeout = seconds('wfc-timeout');
  const degrWfcTimeout = lowered(seconds('degr-wfc-timeout'), wfcTimeout);
  const outdatedWfcTimeout = lowered(seconds('outdated-wfc-timeout'), degrWfcTimeout);
  return { wfcTimeout, degrWfcTimeout, outdatedWfcTimeout, waitAfterSb: options.get('wait-after-sb')?.value === true };
}

function isLocalAddress(host: string): boolean {
  return Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ address }) => address === host.replace(/%.*$/, '')));
}

/** Names, addresses, minors, devices, disks and metadata slots are there once (configuration.md §2). */
function checkUnique(resources: readonly MeantResource[]): void {
  const seen = new Map<string, Place>();
  const once = (what: string, place: Place): void => {
    const before = seen.get(what);
    if (before) throw wrong(place, `${what} is already used at ${placeText(before)}`);
    seen.set(what, place);
  };
  for (const resource of resources) {
    once(`resource ${resource.name}`, resource.place);
    for (const host of resource.hosts) {
      const on = `on ${host.names.join(' ')}`;
      once(`address ${host.address.host}:${host.address.port}`, resource.place);
      for (const volume of host.volumes) {
        once(`minor ${volume.minor} ${on}`, volume.place);
        once(`device ${volume.device} ${on}`, volume.place);
        once(`disk ${volume.disk} ${on}`, volume.place);
        if (volume.meta.kind !== 'internal') once(`meta-disk ${volume.meta.path}${volume.meta.kind === 'indexed' ? `[${volume.meta.index}]` : ''} ${on}`, volume.place);
      }
    }
  }
}
