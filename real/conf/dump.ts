/** A configuration in its normal form: everything inherited, volumes spelt out, one statement a line. Reading it gives the same meaning. */

import type { Configuration, Host, HostVolume, MeantResource } from './meaning.js';
import type { Options, OptionValue } from './options.js';

const WORD = /^[A-Za-z0-9/._-]+$/;

export const dumpConfiguration = (path: string, { global, resources }: Configuration, wanted: (name: string) => boolean): string =>
  [`# ${path}`, ...block('global', [...global].map(([name, value]) => statement(name, textOf(value)))), '', ...resources.filter(({ name }) => wanted(name)).flatMap(dumpResource)].join('\n');

const dumpResource = (resource: MeantResource): string[] => [
  `# resource ${resource.name}: ${resource.local ? 'not ignored' : 'ignored, no host section is this machine'}`,
  `# defined at ${resource.place.file}:${resource.place.line}`,
  ...block(`resource ${word(resource.name)}`, [
    ...resource.hosts.flatMap(dumpHost),
    ...(['net', 'disk', 'options', 'startup', 'handlers'] as const).flatMap((kind) => {
      const options = resource.options[kind];
      return options.size === 0 ? [] : block(kind, optionLines(options, kind));
    }),
  ]),
  '',
];

const dumpHost = (host: Host): string[] => {
  const address = `${host.family} ${host.family === 'ipv6' ? `[${host.address.host}]` : host.address.host}:${host.address.port}`;
  const volumes = host.volumes.flatMap(dumpVolume);
  return host.isFloating ? block(`floating ${address}`, volumes) : block(`on ${host.names.map(word).join(' ')}`, [...volumes, statement('address', address)]);
};

const dumpVolume = (volume: HostVolume): string[] =>
  block(`volume ${volume.volume}`, [
    statement('device', `${word(volume.device)} minor ${volume.minor}`),
    statement('disk', word(volume.disk)),
    statement('meta-disk', metaText(volume.meta)),
    ...(volume.options.size === 0 ? [] : block('disk', optionLines(volume.options, 'disk'))),
  ]);

const metaText = (meta: HostVolume['meta']): string => (meta.kind === 'internal' ? 'internal' : meta.kind === 'flexible' ? word(meta.path) : `${word(meta.path)} [${meta.index}]`);

const optionLines = (options: Options, kind: string): string[] =>
  [...options].map(([name, { value }]) => statement(name, kind === 'handlers' ? quoted(String(value)) : textOf(value, name)));

const textOf = (value: OptionValue, name = ''): string => {
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  // Several words.
  if (name === 'become-primary-on') return String(value);
  return word(String(value));
};

const word = (text: string): string => (WORD.test(text) && text.length <= 128 ? text : quoted(text));
const quoted = (text: string): string => `"${text.replaceAll(/["\\]/g, '\\$&')}"`;
const statement = (name: string, value: string): string => `${name.padEnd(16)} ${value};`;
const block = (head: string, lines: readonly string[]): string[] => [`${head} {`, ...lines.map((line) => `    ${line}`), '}'];
