/**
 * The grammar of DRBD's configuration language (configuration.md §1, §2), for peggy. It knows structure and keywords; which options
 * there are, and what they mean, is in options.ts and meaning.ts.
 */

import peggy from 'peggy';
import { ConfigError, type FileItem } from './tree.js';

const grammar = String.raw`
{{
  const LIMITS = { word: 128, quoted: 255 };
}}
{
  const place = (range) => ({ file: options.grammarSource, line: range.start.line, column: range.start.column });
}

File = _ items:Item* { return items; }

Item = Include / Skip / Global / Common / Resource

Include = at:INCLUDE pattern:Value SEMICOLON { return { is: 'include', place: at, pattern }; }
Skip = SKIP Value? OPEN Balanced* CLOSE { return { is: 'skip' }; }
Balanced = OPEN Balanced* CLOSE / [^{}"#] / Comment / Quoted
Global = at:GLOBAL OPEN options:Option* CLOSE { return { is: 'global', place: at, options }; }
Common = at:COMMON OPEN sections:Section* CLOSE { return { is: 'common', place: at, sections }; }
Resource = at:RESOURCE name:Value OPEN items:ResourceItem* CLOSE { return { is: 'resource', place: at, name, items }; }

ResourceItem = Section / VolumeStatement / Volume / Host / Floating / Stacked / ProtocolWord / IgnoreOn

Section = kind:SectionKind OPEN options:(Block / Option)* CLOSE { return { is: 'section', kind: kind.kind, place: kind.place, options: options.filter(Boolean) }; }
SectionKind
  = at:NET { return { kind: 'net', place: at }; }
  / at:DISK &OPEN { return { kind: 'disk', place: at }; }
  / at:STARTUP { return { kind: 'startup', place: at }; }
  / at:OPTIONS { return { kind: 'options', place: at }; }
  / at:HANDLERS { return { kind: 'handlers', place: at }; }
  / at:PROXY &OPEN { return { kind: 'proxy', place: at }; }
  / at:SYNCER { return { kind: 'syncer', place: at }; }
Block = at:PLUGIN OPEN (Balanced _)* CLOSE { return { name: { text: 'plugin', place: at, quoted: false }, values: [] }; }

Option = name:OptionName values:Value* SEMICOLON { return { name, values }; }
OptionName "the name of an option" = Word

VolumeStatement
  = at:DEVICE device:(!MINOR value:Value { return value; })? minor:(MINOR value:Value { return value; })? SEMICOLON { return { is: 'device', place: at, device: device ?? undefined, minor: minor ?? undefined }; }
  / at:DISK disk:Value SEMICOLON { return { is: 'disk', place: at, disk }; }
  / at:META_DISK device:Value index:(BRACKET value:Value UNBRACKET { return value; })? SEMICOLON { return { is: 'meta-disk', place: at, device, index: index ?? undefined, flexible: false }; }
  / at:FLEXIBLE_META_DISK device:Value SEMICOLON { return { is: 'meta-disk', place: at, device, index: undefined, flexible: true }; }

Volume = at:VOLUME number:Number OPEN items:(Section / VolumeStatement)* CLOSE { return { is: 'volume', place: at, number, items }; }

Host = at:ON names:Value+ OPEN items:HostItem* CLOSE { return { is: 'on', place: at, names, items }; }
Floating
  = at:FLOATING address:Address SEMICOLON { return { is: 'floating', place: at, address, items: [] }; }
  / at:FLOATING address:Address OPEN items:HostItem* CLOSE { return { is: 'floating', place: at, address, items }; }
Stacked = at:STACKED Value OPEN Balanced* CLOSE { return { is: 'unsupported', place: at, what: 'a stacked resource' }; }
HostItem
  = ADDRESS address:Address SEMICOLON { return address; }
  / at:ALTERNATE Address SEMICOLON { return { is: 'unsupported', place: at, what: 'alternate-link-address' }; }
  / at:PROXY ON Value+ OPEN Balanced* CLOSE { return { is: 'unsupported', place: at, what: 'drbd-proxy' }; }
  / Section / VolumeStatement / Volume
Address
  = family:Family? BRACKET host:$[0-9A-Za-z:.%]+ UNBRACKET COLON port:Number { return { is: 'address', place: place(location()), family: family ?? 'ipv6', host, port }; }
  / family:Family? host:Ipv4 COLON port:Number { return { is: 'address', place: place(location()), family: family ?? 'ipv4', host, port }; }
Family = family:$("ipv4" / "ipv6" / "ssocks" / "sci" / "sdp") !WordCharacter _ { return family; }
Ipv4 "an IPv4 address" = host:$([0-9]+ "." [0-9]+ "." [0-9]+ "." [0-9]+) _ { return host; }

ProtocolWord = at:PROTOCOL value:Value SEMICOLON { return { is: 'protocol', place: at, value }; }
IgnoreOn = at:IGNORE_ON value:Value SEMICOLON { return { is: 'ignore-on', place: at, value }; }

Value "a value" = Word / Quoted
Word = text:$WordCharacter+ _ {
  if (text.length > LIMITS.word) error('a word of more than ' + LIMITS.word + ' characters');
  return { text, place: place(location()), quoted: false };
}
Quoted = '"' text:QuotedCharacter* '"' _ {
  if (text.length > LIMITS.quoted) error('a quoted text of more than ' + LIMITS.quoted + ' characters');
  return { text: text.join(''), place: place(location()), quoted: true };
}
QuotedCharacter = "\\" character:[^\n] { return character; } / [^"\\\n]
Number "a number" = text:$[0-9]+ !WordCharacter _ { return { text, place: place(location()), quoted: false }; }
WordCharacter = [A-Za-z0-9/._-]

INCLUDE "include" = "include" !WordCharacter at:Here _ { return at; }
SKIP "skip" = "skip" !WordCharacter at:Here _ { return at; }
GLOBAL "global" = "global" !WordCharacter at:Here _ { return at; }
COMMON "common" = "common" !WordCharacter at:Here _ { return at; }
RESOURCE "resource" = "resource" !WordCharacter at:Here _ { return at; }
NET "net" = "net" !WordCharacter at:Here _ { return at; }
DISK "disk" = "disk" !WordCharacter at:Here _ { return at; }
STARTUP "startup" = "startup" !WordCharacter at:Here _ { return at; }
OPTIONS "options" = "options" !WordCharacter at:Here _ { return at; }
HANDLERS "handlers" = "handlers" !WordCharacter at:Here _ { return at; }
PROXY "proxy" = "proxy" !WordCharacter at:Here _ { return at; }
SYNCER "syncer" = "syncer" !WordCharacter at:Here _ { return at; }
PLUGIN "plugin" = "plugin" !WordCharacter at:Here _ { return at; }
DEVICE "device" = "device" !WordCharacter at:Here _ { return at; }
MINOR "minor" = "minor" !WordCharacter at:Here _ { return at; }
META_DISK "meta-disk" = "meta-disk" !WordCharacter at:Here _ { return at; }
FLEXIBLE_META_DISK "flexible-meta-disk" = "flexible-meta-disk" !WordCharacter at:Here _ { return at; }
VOLUME "volume" = "volume" !WordCharacter at:Here _ { return at; }
ON "on" = "on" !WordCharacter at:Here _ { return at; }
FLOATING "floating" = "floating" !WordCharacter at:Here _ { return at; }
STACKED "stacked-on-top-of" = "stacked-on-top-of" !WordCharacter at:Here _ { return at; }
ADDRESS "address" = "address" !WordCharacter at:Here _ { return at; }
ALTERNATE "alternate-link-address" = "alternate-link-address" !WordCharacter at:Here _ { return at; }
PROTOCOL "protocol" = "protocol" !WordCharacter at:Here _ { return at; }
IGNORE_ON "ignore-on" = "ignore-on" !WordCharacter at:Here _ { return at; }
Here = "" { return place(location()); }

SEMICOLON "';'" = ";" _
COLON "':'" = ":" _
OPEN "'{'" = "{" _
CLOSE "'}'" = "}" _
BRACKET "'['" = "[" _
UNBRACKET "']'" = "]" _

_ "blank" = ([ \t\r\n] / Comment)*
Comment = "#" [^\n]*
`;

let parser: peggy.Parser | undefined;

/** Throws a ConfigError: which line of which file, what was there, what was expected. */
export function parseText(file: string, text: string): FileItem[] {
  parser ??= peggy.generate(grammar);
  try {
    return parser.parse(text, { grammarSource: file }) as FileItem[];
  } catch (error) {
    if (!(error instanceof parser.SyntaxError)) throw error;
    const { line, column } = error.location.start;
    // A message of our own (a word that is too long) comes without expectations.
    if (!error.expected) throw new ConfigError({ file, line, column }, error.message, 2);
    const isToken = error.found === null || /[A-Za-z0-9/._\-{};[\]:"#]/.test(error.found);
    throw new ConfigError({ file, line, column }, `${foundAt(text, error.location.start.offset)} where ${expectedWords(error.expected)} was expected`, isToken ? 10 : 2);
  }
}

/** The whole word that stands there. */
function foundAt(text: string, offset: number): string {
  if (offset >= text.length) return 'the file ends';
  const word = /^(?:[A-Za-z0-9/._-]+|"[^"\n]*"?|[^\s])/.exec(text.slice(offset))?.[0];
  return word === undefined ? 'a blank' : `'${word}'`;
}

function expectedWords(expected: readonly peggy.parser.Expectation[]): string {
  const words = new Set<string>();
  for (const one of expected) {
    if (one.type === 'other' && one.description !== 'blank') words.add(one.description);
    else if (one.type === 'end') words.add('the end of the file');
    else if (one.type === 'literal') words.add(`'${one.text}'`);
  }
  const list = [...words].sort();
  return list.length < 2 ? (list[0] ?? 'something else') : `${list.slice(0, -1).join(', ')} or ${list.at(-1)}`;
}
