/** A configuration file as it was written: what the grammar makes, before anybody asks what it means. */

export interface Place {
  file: string;
  line: number;
  column: number;
}

export interface Text {
  text: string;
  place: Place;
  /** Quoted: never a keyword. */
  quoted: boolean;
}

/** `name value …;` in a section. */
export interface Option {
  name: Text;
  values: Text[];
}

export type SectionKind = 'net' | 'disk' | 'startup' | 'options' | 'handlers' | 'proxy' | 'syncer';

export interface Section {
  is: 'section';
  kind: SectionKind;
  place: Place;
  options: Option[];
}

export type VolumeStatement =
  | { is: 'device'; place: Place; device: Text | undefined; minor: Text | undefined }
  | { is: 'disk'; place: Place; disk: Text }
  | { is: 'meta-disk'; place: Place; device: Text; index: Text | undefined; flexible: boolean };

export interface VolumeBlock {
  is: 'volume';
  place: Place;
  number: Text;
  items: (VolumeStatement | Section)[];
}

export interface AddressStatement {
  is: 'address';
  place: Place;
  family: string;
  host: string;
  port: Text;
}

export type HostItem = AddressStatement | VolumeStatement | VolumeBlock | Section | Unsupported;

export interface HostBlock {
  is: 'on';
  place: Place;
  names: Text[];
  items: HostItem[];
}

export interface FloatingBlock {
  is: 'floating';
  place: Place;
  address: AddressStatement;
  items: HostItem[];
}

/** Part of the language, and of a feature that is not here. */
export interface Unsupported {
  is: 'unsupported';
  place: Place;
  what: string;
}

export interface Word {
  is: 'protocol' | 'ignore-on';
  place: Place;
  value: Text;
}

export type ResourceItem = Section | VolumeStatement | VolumeBlock | HostBlock | FloatingBlock | Unsupported | Word;

export interface ResourceBlock {
  is: 'resource';
  place: Place;
  name: Text;
  items: ResourceItem[];
}

export type FileItem =
  | ResourceBlock
  | { is: 'global'; place: Place; options: Option[] }
  | { is: 'common'; place: Place; sections: Section[] }
  | { is: 'include'; place: Place; pattern: Text }
  | { is: 'skip' };

/** What is wrong with a configuration, and where: `r0.res:12: …`. */
export class ConfigError extends Error {
  constructor(
    readonly place: Place,
    readonly detail: string,
    /** drbdadm's: 2 for bytes that are no tokens, 10 for the rest. */
    readonly exitCode: 2 | 10 = 10,
  ) {
    super(`${place.file}:${place.line}: ${detail}`);
  }
}
